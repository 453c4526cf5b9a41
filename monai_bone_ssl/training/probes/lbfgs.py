"""Many regularised logistic regressions on the same rows, minimised together by L-BFGS.

Each column of a matrix is one regression. A step of all of them (Liu & Nocedal 1989, doi:10.1007/BF01589116)
costs two products of matrices; along its direction the logits change linearly, so that the search for its
length needs none. The leading principal axes of the rows precondition it (Frangella et al. 2021,
arXiv:2110.02820), so that ten to forty steps are enough unless the classes can be separated and hardly
anything regularises. Products are float32, all else is float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from monai_bone_ssl.errors import ConfigError, ReasonCode

__all__ = ["Regressions", "minimise"]

# A regression stops where the quadratic model promises to lower the loss by less than this share of the loss,
# and of what has been gained since the start.
_TOLERANCE = 1e-8
_MAX_STEPS = 2000
# Steps and changes of the gradient that L-BFGS remembers.
_HISTORY = 10
# Principal axes in the preconditioner; more of them take longer to find than the steps they save.
_AXES = 256
_TINY = torch.finfo(torch.float64).tiny


@dataclass(frozen=True, eq=False)
class Regressions:
    """K regressions on N rows of D features. Parameters are [D + 1, K], the intercepts last."""

    rows: Tensor
    """Features [N, D], float32."""
    columns: Tensor
    """Features [D, N], float32 and contiguous: the gradient's product is twice as fast on them."""
    targets: Tensor
    """Labels [N, 1], 0 or 1, float64 like all that follow."""
    inside: Tensor
    """Membership [N, K]: 1 where a row is among a regression's training rows, else 0."""
    mean: Tensor
    """Mean of each regression's training rows [D, K]."""
    scale: Tensor
    """Standard deviation of each regression's training rows [D, K]."""
    ridge: Tensor
    """Strength of the L2 penalty [K], 1 / C."""

    def take(self, chosen: Tensor) -> Regressions:
        """The regressions where ``chosen`` [K] is true."""
        return Regressions(
            self.rows,
            self.columns,
            self.targets,
            self.inside[:, chosen],
            self.mean[:, chosen],
            self.scale[:, chosen],
            self.ridge[chosen],
        )

    def logits(self, parameters: Tensor) -> Tensor:
        """Logits [N, K] of parameters [D + 1, K]."""
        weight = parameters[:-1] / self.scale
        return (self.rows @ weight.float()).double() + (parameters[-1] - (weight * self.mean).sum(0))

    def loss(self, logits: Tensor, parameters: Tensor) -> Tensor:
        """Loss [K]: the sum of log-losses + ||w||^2 / 2C."""
        losses = softplus(torch.where(self.targets > 0, -logits, logits))
        return (losses * self.inside).sum(0) + self.ridge * parameters[:-1].square().sum(0) / 2

    def gradient(self, logits: Tensor, parameters: Tensor) -> Tensor:
        """Gradient [D + 1, K] of the loss by the parameters."""
        residual = (logits.sigmoid() - self.targets) * self.inside
        total = residual.sum(0)
        weight = ((self.columns @ residual.float()).double() - self.mean * total) / self.scale
        return torch.cat((weight + self.ridge * parameters[:-1], total[None]))

    def step_length(self, logits: Tensor, change: Tensor, parameters: Tensor, direction: Tensor) -> Tensor:
        """Length [K] of the step that ends near the least loss: Newton's method inside a bracket.

        Parameters
        ----------
        logits
            Logits [N, K] before the step.
        change
            Change [N, K] of the logits by a step of length 1.
        parameters, direction
            Parameters before the step and direction of the step [D + 1, K].
        """
        tilt = self.ridge * (parameters[:-1] * direction[:-1]).sum(0)
        bend = self.ridge * direction[:-1].square().sum(0)
        change = change * self.inside
        first = ((logits.sigmoid() - self.targets) * change).sum(0) + tilt
        low, high = torch.zeros_like(tilt), torch.full_like(tilt, torch.inf)
        length = torch.ones_like(tilt)
        for _ in range(30):
            probability = (logits + length * change).sigmoid()
            slope = ((probability - self.targets) * change).sum(0) + tilt + length * bend
            if (slope.abs() <= 0.1 * first.abs()).all():
                break
            low, high = torch.where(slope < 0, length, low), torch.where(slope > 0, length, high)
            curvature = (probability * (1 - probability) * change.square()).sum(0) + bend
            newton = length - slope / curvature
            middle = torch.where(high.isinf(), 4 * length, (low + high) / 2)
            trusted = (newton > low) & (newton < torch.minimum(high, 10 * length))
            length = torch.where(trusted, newton, middle)
        return length


def minimise(problem: Regressions) -> Tensor:
    """Parameters [D + 1, K] of least loss; converged regressions are left out of further steps.

    Raises
    ------
    ConfigError
        With code ``invalid_data`` where a regression does not converge.
    """
    n_regressions = len(problem.ridge)
    solution = problem.ridge.new_zeros(problem.rows.shape[1] + 1, n_regressions)
    numbers = torch.arange(n_regressions, device=solution.device)
    precondition, memory = _Preconditioner(problem), _Memory()
    parameters = solution.clone()
    logits = problem.logits(parameters)
    gradient = problem.gradient(logits, parameters)
    start = problem.loss(logits, parameters)
    for _ in range(_MAX_STEPS):
        direction = memory.direction(gradient, precondition)
        promised = -(direction * gradient).sum(0) / 2
        loss = problem.loss(logits, parameters)
        # A regression whose numbers are NaN goes on, and so ends in the error.
        going = ~(promised <= _TOLERANCE * torch.minimum(loss, start - loss))
        if not going.all():
            solution[:, numbers[~going]] = parameters[:, ~going]
            if not going.any():
                return solution
            numbers, problem = numbers[going], problem.take(going)
            precondition.take(going)
            memory.take(going)
            parameters, direction, gradient = parameters[:, going], direction[:, going], gradient[:, going]
            logits, start = logits[:, going], start[going]
        change = problem.logits(direction)
        length = problem.step_length(logits, change, parameters, direction)
        parameters, logits = parameters + length * direction, logits + length * change
        before, gradient = gradient, problem.gradient(logits, parameters)
        memory.add(length * direction, gradient - before)
    text = f"logistic regression with C = {1 / problem.ridge[0]:g} did not converge in {_MAX_STEPS} steps"
    raise ConfigError(ReasonCode.INVALID_DATA, text)


class _Preconditioner:
    """Inverse of an upper bound of the Hessian: p (1 - p) <= 1 / 4, and the rows' leading principal axes.

    The variance that the axes leave over is taken as equal in all other directions, and as no less than that
    along the last axis.
    """

    def __init__(self, problem: Regressions) -> None:
        n, width = problem.rows.shape
        axes, variances = _leading_axes(problem.rows)
        self.axes = axes.double()  # [D, R]
        rest = (problem.rows.square().sum() - variances.sum()) / max(1, width - len(variances))
        rest = torch.maximum(rest, variances[0])
        count = problem.inside.sum(0)
        self.within = 1 / (variances[:, None] * count / n / 4 + problem.ridge)  # [R, K]
        self.outside = 1 / (rest * count / n / 4 + problem.ridge)  # [K]
        self.intercept = 4 / count  # [K]

    def take(self, chosen: Tensor) -> None:
        self.within, self.outside = self.within[:, chosen], self.outside[chosen]
        self.intercept = self.intercept[chosen]

    def __call__(self, gradient: Tensor) -> Tensor:
        """Preconditioned gradient [D + 1, K] of a gradient [D + 1, K]."""
        weight = gradient[:-1]
        along = self.axes @ ((self.within - self.outside) * (self.axes.T @ weight))
        return torch.cat((self.outside * weight + along, (self.intercept * gradient[-1])[None]))


def _leading_axes(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Principal axes [D, R], and the sums of squares along them [R], by subspace iteration."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(rows.shape[1], min(_AXES, *rows.shape), generator=generator)
    axes = torch.linalg.qr(start.to(rows)).Q
    for _ in range(2):
        axes = torch.linalg.qr(rows.T @ (rows @ axes)).Q
    projected = rows @ axes
    variances, turn = torch.linalg.eigh(projected.T @ projected)
    # A variance that float32 cannot tell from 0 is raised: the step would follow rounding errors far away.
    return axes @ turn, variances.clamp_min(1e-6 * float(variances[-1]))


class _Memory:
    """The latest steps, and the changes of the gradient along them."""

    def __init__(self) -> None:
        self.steps: list[Tensor] = []
        self.changes: list[Tensor] = []

    def add(self, step: Tensor, change: Tensor) -> None:
        """Remember a step and a change [D + 1, K]; zeros where rounding makes a regression look concave."""
        convex = (step * change).sum(0) > 0
        self.steps = [*self.steps[1 - _HISTORY :], step * convex]
        self.changes = [*self.changes[1 - _HISTORY :], change * convex]

    def take(self, chosen: Tensor) -> None:
        self.steps = [step[:, chosen] for step in self.steps]
        self.changes = [change[:, chosen] for change in self.changes]

    def direction(self, gradient: Tensor, precondition: _Preconditioner) -> Tensor:
        """Direction [D + 1, K] by the two loops of Nocedal & Wright 2006, algorithm 7.4."""
        pairs = [
            (step, change, (step * change).sum(0).clamp_min(_TINY))
            for step, change in zip(self.steps, self.changes, strict=True)
        ]
        left = -gradient
        shares = []
        for step, change, curvature in reversed(pairs):
            shares.append((step * left).sum(0) / curvature)
            left = left - shares[-1] * change
        direction = precondition(left)
        if pairs:
            _, change, curvature = pairs[-1]
            bound = (change * precondition(change)).sum(0).clamp_min(_TINY)
            direction = direction * curvature / bound
        for (step, change, curvature), share in zip(pairs, reversed(shares), strict=True):
            direction = direction + (share - (change * direction).sum(0) / curvature) * step
        return direction
