"""DINO's, iBOT's and KoLeo's losses against loops in float64, their gradients against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.training.ssl.losses import Centre, DINOLoss, IBOTPatchLoss, entropy, koleo_loss
from monai_bone_ssl.training.ssl.self_distillation import DINOHead

STUDENT_TEMP, TEACHER_TEMP = 0.1, 0.05
K = 7


def outputs(*shape, seed=0):
    """As a head gives them: cosines."""
    return 2 * torch.rand(*shape, K, generator=torch.Generator().manual_seed(seed)) - 1


def double(tensor):
    return tensor.detach().numpy().astype(np.float64)


def softmax(x):
    powers = np.exp(x - x.max())
    return powers / powers.sum()


def cross_entropy(student, teacher, centre):
    """Of two vectors [K], written out."""
    p, q = softmax((teacher - centre) / TEACHER_TEMP), softmax(student / STUDENT_TEMP)
    return -sum(p[k] * math.log(q[k]) for k in range(K))


@pytest.fixture
def dino():
    loss = DINOLoss(K)
    loss.centre.value.copy_(torch.linspace(-0.3, 0.3, K))
    return loss


# --- DINO ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("students", "teachers"), [(2, 2), (5, 2), (4, 1)])
def test_dino_is_the_mean_cross_entropy_of_pairs_of_different_views(dino, students, teachers):
    student, teacher = outputs(students, 3), outputs(teachers, 3, seed=1)
    centre = double(dino.centre.value)
    terms = [
        cross_entropy(double(student[s, b]), double(teacher[t, b]), centre)
        for t in range(teachers)
        for s in range(students)
        for b in range(3)
        if s != t
    ]
    assert dino(student, teacher, TEACHER_TEMP).item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_dino_gradient_is_the_difference_of_the_distributions_and_the_students_alone(dino):
    student, teacher = outputs(4, 3).requires_grad_(), outputs(2, 3, seed=1).requires_grad_()
    dino(student, teacher, TEACHER_TEMP).backward()
    expected = np.zeros((4, 3, K))
    centre = double(dino.centre.value)
    for s in range(4):
        for t in range(2):
            for b in range(3):
                if s != t:
                    target = softmax((double(teacher[t, b]) - centre) / TEACHER_TEMP)
                    expected[s, b] += softmax(double(student[s, b]) / STUDENT_TEMP) - target
    expected /= STUDENT_TEMP * 6 * 3  # 6 pairs of views, 3 images
    np.testing.assert_allclose(student.grad, expected, rtol=1e-4, atol=1e-6)
    assert teacher.grad is None
    assert not dino.centre.value.requires_grad


def test_the_centre_is_a_moving_average_of_all_views_and_images(dino):
    expected = double(dino.centre.value)
    for seed in (3, 4):
        teacher = outputs(2, 5, seed=seed)
        dino.centre.update(teacher)
        mean = np.mean([double(teacher[v, b]) for v in range(2) for b in range(5)], axis=0)
        expected = 0.9 * expected + 0.1 * mean
    np.testing.assert_allclose(dino.centre.value, expected, rtol=1e-5)


def test_the_centre_is_saved_with_the_loss(dino):
    other = DINOLoss(K)
    other.load_state_dict(dino.state_dict())
    teacher = outputs(2, 3)
    assert torch.equal(other(outputs(3, 3), teacher, 0.04), dino(outputs(3, 3), teacher, 0.04))


def test_a_prototype_that_takes_all_images_is_centred_away():
    teacher = outputs(2, 64) * 0.01
    teacher[..., 2] += 1  # dominates
    centre = Centre(K)
    mean_before = centre.probabilities(teacher, TEACHER_TEMP).mean(dim=(0, 1))
    for _ in range(100):
        centre.update(teacher)
    mean_after = centre.probabilities(teacher, TEACHER_TEMP).mean(dim=(0, 1))
    assert mean_before[2] > 0.99
    assert mean_after[2] < 1.5 / K


def test_no_outputs_leave_the_centre_alone():
    centre = Centre(K)
    centre.value.fill_(0.5)
    centre.update(torch.empty(0, K))
    assert torch.equal(centre.value, torch.full((K,), 0.5))


def test_entropy_at_its_limits_and_in_between():
    flat, certain = torch.full((K,), 1 / K), torch.eye(K)[0]
    torch.testing.assert_close(
        entropy(torch.stack((flat, certain))), torch.tensor([math.log(K), 0.0]), atol=1e-6, rtol=1e-6
    )


# --- iBOT ---------------------------------------------------------------------------------------------------


@pytest.fixture
def ibot():
    loss = IBOTPatchLoss(K)
    loss.centre.value.copy_(torch.linspace(0.2, -0.2, K))
    return loss


MASK = torch.tensor(
    [[0, 1, 1, 0, 0, 1], [0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0]], dtype=torch.bool
)


def test_ibot_is_the_mean_over_masked_patches_then_over_views(ibot):
    student, teacher = outputs(4, 6), outputs(4, 6, seed=1)
    centre = double(ibot.centre.value)
    total = 0.0
    for view in range(4):
        patches = [n for n in range(6) if MASK[view, n]]
        terms = [cross_entropy(double(student[view, n]), double(teacher[view, n]), centre) for n in patches]
        total += sum(terms) / max(1, len(patches))
    loss = ibot(student[MASK], teacher[MASK], MASK, TEACHER_TEMP)
    assert loss.item() == pytest.approx(total / 4, rel=1e-5)


def test_ibot_gradient_is_the_students_at_masked_patches_alone(ibot):
    student, teacher = outputs(4, 6).requires_grad_(), outputs(4, 6, seed=1).requires_grad_()
    ibot(student[MASK], teacher[MASK], MASK, TEACHER_TEMP).backward()
    assert teacher.grad is None
    touched = student.grad.abs().sum(dim=2) > 0
    assert torch.equal(touched, MASK)


def test_ibot_without_masked_patches_is_nought_and_moves_nothing(ibot):
    nothing = torch.zeros(4, 6, dtype=torch.bool)
    student = outputs(4, 6).requires_grad_()
    loss = ibot(student[nothing], outputs(4, 6)[nothing], nothing, TEACHER_TEMP)
    loss.backward()
    assert loss.item() == 0
    assert not student.grad.any()


def test_ibot_keeps_its_own_centre(ibot):
    before = double(ibot.centre.value)
    teacher = outputs(9)
    ibot.centre.update(teacher)
    np.testing.assert_allclose(
        ibot.centre.value, 0.9 * before + 0.1 * double(teacher).mean(axis=0), rtol=1e-5, atol=1e-7
    )


# --- KoLeo --------------------------------------------------------------------------------------------------


def tokens(count, width=5, seed=0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) * 3


def naive_koleo(x):
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    nearest = [min(np.linalg.norm(x[i] - x[j]) for j in range(len(x)) if j != i) for i in range(len(x))]
    return -np.mean(np.log(nearest))


@pytest.mark.parametrize("count", [2, 3, 17])
def test_koleo_is_the_mean_log_distance_to_the_nearest_neighbour(count):
    x = tokens(count)
    assert koleo_loss(x).item() == pytest.approx(naive_koleo(double(x)), rel=1e-5)


def test_koleo_does_not_depend_on_lengths():
    x = tokens(6)
    longer = x * torch.linspace(1, 9, 6)[:, None]
    torch.testing.assert_close(koleo_loss(longer), koleo_loss(x))


def test_a_step_against_koleos_gradient_spreads_the_tokens():
    x = tokens(8).requires_grad_()
    koleo_loss(x).backward()
    moved = double(x) - 0.01 * double(x.grad)
    assert naive_koleo(moved) < naive_koleo(double(x))


def test_koleo_stays_finite_when_all_tokens_are_one():
    x = torch.ones(4, 5, requires_grad=True)
    loss = koleo_loss(x)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(x.grad).all()
    assert loss > 10  # the distance is next to nothing


def test_koleo_computes_in_float32_under_autocast():
    x = tokens(6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = koleo_loss(x)
    assert torch.equal(inside, koleo_loss(x))


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("four_threads")
def test_koleos_gradient_is_the_same_bit_for_bit_though_tokens_share_a_neighbour():
    x = tokens(256, width=384)
    x[2:] = x[2:] * 1e-3 + x[:1]  # many have the first or the second as their nearest
    gradients = []
    for _ in range(10):
        leaf = x.clone().requires_grad_()
        koleo_loss(leaf).backward()
        gradients.append(leaf.grad)
    assert all(torch.equal(gradients[0], gradient) for gradient in gradients)


def test_koleo_of_one_token_is_an_error():
    with pytest.raises(ConfigError, match="at least 2"):
        koleo_loss(tokens(1))


# --- head ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def head():
    torch.manual_seed(0)
    return DINOHead(6, 11, hidden_dim=16, bottleneck_dim=4)


def test_the_head_gives_cosines_with_prototypes(head):
    x = tokens(3, 6)
    weights = [(double(layer.weight), double(layer.bias)) for layer in head.mlp[::2]]
    prototypes = double(head.prototypes)
    for row, cosines in zip(double(x), head(x).detach(), strict=True):
        for index, (weight, bias) in enumerate(weights):
            row = weight @ row + bias
            if index < 2:
                row = np.array([v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in row])  # GELU
        expected = [row @ p / np.linalg.norm(row) / np.linalg.norm(p) for p in prototypes]
        np.testing.assert_allclose(cosines, expected, rtol=1e-4, atol=1e-6)


def test_the_gain_of_the_prototypes_is_one_whatever_their_length(head):
    x = tokens(3, 6)
    before = head(x)
    longer = DINOHead(6, 11, hidden_dim=16, bottleneck_dim=4)
    longer.load_state_dict(head.state_dict())
    with torch.no_grad():
        longer.prototypes.mul_(5)
    torch.testing.assert_close(longer(x), before)


def test_the_head_starts_from_small_normal_weights():
    torch.manual_seed(0)
    head = DINOHead(384, 512)
    for weight in (*(layer.weight for layer in head.mlp[::2]), head.prototypes):
        assert weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert abs(weight.mean().item()) < 1e-3
    assert not any(layer.bias.any() for layer in head.mlp[::2])


def test_under_autocast_the_cosines_stay_float32():
    torch.manual_seed(0)
    head = DINOHead(6, 11, hidden_dim=16)
    head.mlp = torch.nn.Identity()  # what is before the last layer may be rounded
    x = tokens(3, 256)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = head(x)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, head(x))
