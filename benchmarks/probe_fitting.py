"""Time to fit DINOv2's linear evaluation on data of MURA's size, against scikit-learn in a loop.

There are 36,808 x 1,152 features in seven parts, as many as MURA has training images, and 45 inverse L2
strengths from 1e-6 to 1e5 for each part. Features are drawn with a fixed seed: correlated, with variances
that fall as a power; labels come from a noisy linear model. Both sides get the same standardised features.

    python -m benchmarks.probe_fitting           # scikit-learn on every fifth strength, times 5
    python -m benchmarks.probe_fitting --full    # scikit-learn on all 45
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sklearn
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from tqdm import tqdm

from monai_bone_ssl.training.probes.logistic import LinearProbe, fit_logistic

Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

PARTS = {
    "elbow": 4931,
    "finger": 5106,
    "forearm": 1825,
    "hand": 5543,
    "humerus": 1272,
    "shoulder": 8379,
    "wrist": 9752,
}
WIDTH = 1152
STRENGTHS = tuple(float(strength) for strength in np.logspace(-6, 5, 45))
VALIDATION = 1000
EVERY = 5


@dataclass(frozen=True)
class _Seconds:
    """Wall and processor time. On a machine that others use, compare the latter, with one thread."""

    wall: float
    """Seconds on the clock."""
    cpu: float
    """Seconds of the processor."""

    def times(self, factor: float) -> _Seconds:
        return _Seconds(self.wall * factor, self.cpu * factor)

    def text(self) -> str:
        return f"{self.wall:8.1f} s ({self.cpu:8.1f} s of CPU)"


class _Clock:
    """Measures from when it is created."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def seconds(self) -> _Seconds:
        """Time since the start."""
        return _Seconds(time.perf_counter() - self._wall, time.process_time() - self._cpu)


def main() -> None:
    """Fit both ways and print both times, their ratio, and how far the two agree."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="fit all strengths with scikit-learn too")
    parser.add_argument("--shrink", type=int, default=1, metavar="N", help="1/N of the images, for a trial")
    arguments = parser.parse_args()

    drawn = {part: _draw(n // arguments.shrink, seed) for seed, (part, n) in enumerate(PARTS.items())}
    train = {part: (x[:-VALIDATION], y[:-VALIDATION]) for part, (x, y) in drawn.items()}
    held_out = {part: (x[-VALIDATION:], y[-VALIDATION:]) for part, (x, y) in drawn.items()}
    n_images = sum(len(labels) for _, labels in train.values())
    load = os.getloadavg()[0]
    print(
        f"{n_images:,} x {WIDTH} features, {len(train)} parts x {len(STRENGTHS)} strengths, "
        f"{torch.get_num_threads()} threads, load average {load:.1f} at the start"
    )

    clock = _Clock()
    probes = {part: fit_logistic(x, y, STRENGTHS) for part, (x, y) in tqdm(train.items(), desc="probes")}
    ours = clock.seconds()
    print(f"batched L-BFGS             {ours.text()}", flush=True)

    chosen = range(0, len(STRENGTHS), 1 if arguments.full else EVERY)
    runs = [(part, i) for part in train for i in chosen]
    models = {}
    clock = _Clock()
    for part, i in tqdm(runs, desc="scikit-learn", unit="fit"):
        models[part, i] = LogisticRegression(C=STRENGTHS[i], max_iter=1000).fit(*train[part])
    measured = clock.seconds()
    theirs = measured.times(len(STRENGTHS) / len(chosen))
    note = (
        ""
        if arguments.full
        else f", from {measured.wall:.1f} s for {len(chosen)} of {len(STRENGTHS)} strengths"
    )
    print(f"scikit-learn {sklearn.__version__} in a loop {theirs.text()}{note}")
    print(f"ratio                      {theirs.wall / ours.wall:8.1f}   {theirs.cpu / ours.cpu:16.1f}")
    _print_agreement(probes, models, train, held_out)
    stopped = sum(model.n_iter_[0] >= 1000 for model in models.values())
    print(f"scikit-learn ran into max_iter in {stopped} of {len(models)} fits")


def _draw(n: int, seed: int) -> tuple[Features, Labels]:
    """Standardised correlated features [n + VALIDATION, WIDTH] and labels of a noisy linear model."""
    rng = np.random.default_rng(seed)
    ranks = np.arange(1, WIDTH + 1)
    axes = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0]
    components = rng.normal(size=(n + VALIDATION, WIDTH)) * ranks**-0.7
    logits = components @ (rng.normal(size=WIDTH) * ranks**-0.3)
    labels = rng.random(len(logits)) < 1 / (1 + np.exp(0.5 - 2 * logits / logits.std()))
    features = components @ axes.T
    known = features[:n]
    standardised = (features - known.mean(axis=0)) / known.std(axis=0)
    return standardised.astype(np.float32), labels.astype(np.int64)


def _print_agreement(
    probes: dict[str, tuple[LinearProbe, ...]],
    models: dict[tuple[str, int], LogisticRegression],
    train: dict[str, tuple[Features, Labels]],
    held_out: dict[str, tuple[Features, Labels]],
) -> None:
    """Print how far objective and held-out accuracy agree, over the strengths that scikit-learn fitted."""
    objective_excess, accuracy_gap, loss_gap = [], [], []
    best: dict[str, list[tuple[float, float]]] = {part: [] for part in train}
    for (part, i), model in models.items():
        probe = probes[part][i]
        mine = _objective(probe.weight[0], float(probe.bias[0]), *train[part], STRENGTHS[i])
        other = _objective(model.coef_[0], float(model.intercept_[0]), *train[part], STRENGTHS[i])
        objective_excess.append(mine / other - 1)
        features, labels = held_out[part]
        one, two = probe.logits(features)[:, 0], model.decision_function(features)
        accuracies = ((one > 0) == labels).mean(), ((two > 0) == labels).mean()
        accuracy_gap.append(abs(accuracies[0] - accuracies[1]))
        losses = [log_loss(labels, 1 / (1 + np.exp(-z.astype(np.float64)))) for z in (one, two)]
        loss_gap.append(abs(losses[0] - losses[1]) if STRENGTHS[i] <= 1 else 0.0)
        best[part].append((float(accuracies[0]), float(accuracies[1])))
    print(
        f"training objective: {min(objective_excess):+.1e} to {max(objective_excess):+.1e} of scikit-learn's "
        "(below 0: scikit-learn stopped early)"
    )
    print(f"held-out log-loss, C up to 1: differs by at most {max(loss_gap):.1e}")
    print(
        f"held-out accuracy: differs by {np.mean(accuracy_gap):.4f} on average, "
        f"{max(accuracy_gap):.4f} at most"
    )
    for part, pairs in best.items():
        one, two = np.array(pairs).max(axis=0)
        print(f"  {part:9} best accuracy over the strengths {one:.3f}, scikit-learn {two:.3f}")


def _objective(weight: Features, bias: float, features: Features, labels: Labels, strength: float) -> float:
    weight = weight.astype(np.float64)
    logits = features @ weight + bias
    return float(
        strength * np.logaddexp(0, np.where(labels > 0, -logits, logits)).sum() + weight @ weight / 2
    )


if __name__ == "__main__":
    main()
