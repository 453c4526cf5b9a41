"""Student and teacher, held against plain calls of the backbone and a loss written out in loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import normalize

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.training.networks.backbone import create_backbone
from monai_bone_ssl.training.ssl.self_distillation import SelfDistillation
from training.ssl.runs import BLOCKS, NAME

pytestmark = pytest.mark.usefixtures("narrow_networks")

PROTOTYPES = 16
IMAGES = 3
TEMPERATURE = 0.05


def make(seed=0, drop_path=0.0, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SelfDistillation(create_backbone(NAME, drop_path), prototypes=PROTOTYPES, **options)


def different_teacher(method):
    """Student and teacher that are not equal any more, as after some steps."""
    with torch.no_grad():
        for number, parameter in enumerate(method.student.parameters()):
            if parameter.requires_grad:
                random = torch.Generator().manual_seed(number)
                parameter += 0.02 * torch.randn(parameter.shape, generator=random)
        method.dino_loss.centre.value.copy_(torch.linspace(-0.3, 0.3, PROTOTYPES))
    return method


def views(local=2):
    random = torch.Generator().manual_seed(1)
    sides = [32, 32] + [16] * local
    return [torch.rand(IMAGES, 1, side, side, generator=random) for side in sides]


def some_masks():
    masks = torch.zeros(2 * IMAGES, 4, dtype=torch.bool)
    masks[0, 1] = masks[0, 2] = masks[3, 0] = masks[5, 3] = True
    return masks


def naive_dino(method, crops):
    """DINO's loss, a pair of views and an image at a time."""
    centre = method.dino_loss.centre.value
    student = [method.student.head(method.student.backbone(crop)[:, 0]) for crop in crops]
    teacher = [method.teacher.head(method.teacher.backbone(crop)[:, 0]) for crop in crops[:2]]
    losses = []
    for t, seen in enumerate(teacher):
        for s, guessed in enumerate(student):
            if s == t:
                continue
            for image in range(IMAGES):
                target = torch.softmax((seen[image].detach() - centre) / TEMPERATURE, dim=0)
                log_guess = torch.log_softmax(guessed[image] / 0.1, dim=0)
                losses.append(-(target * log_guess).sum())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("local", [0, 2])
@torch.no_grad()
def test_loss_is_dinos(local):
    method, crops = different_teacher(make()), views(local)
    expected = naive_dino(method, crops)  # before the call moves the centre
    output = method(crops, None, TEMPERATURE)
    torch.testing.assert_close(output.loss, expected, rtol=1e-4, atol=1e-5)
    assert output.loss > 0.1


@torch.no_grad()
def test_terms_are_weighted_and_koleo_is_taken_view_by_view():
    crops, masks = views(), some_masks()
    method = different_teacher(make(ibot_weight=0.5, koleo_weight=0.1))
    output = method(crops, masks, TEMPERATURE)
    parts = output.parts
    torch.testing.assert_close(output.loss, parts["dino"] + 0.5 * parts["ibot"] + 0.1 * parts["koleo"])

    plain = different_teacher(make(koleo_weight=0.1))
    spread = []
    for crop in crops[:2]:
        tokens = normalize(plain.student.backbone(crop)[:, 0], dim=1)
        distances = torch.cdist(tokens, tokens) + 1e9 * torch.eye(IMAGES)
        spread.append(-distances.min(dim=1).values.log().mean())
    koleo = plain(crops, None, TEMPERATURE).parts["koleo"]
    torch.testing.assert_close(koleo, (spread[0] + spread[1]) / 2, rtol=1e-3, atol=1e-4)


def test_teacher_gets_no_gradient_and_the_student_does():
    method = different_teacher(make(ibot_weight=1.0, koleo_weight=0.1))
    method(views(), some_masks(), TEMPERATURE).loss.backward()
    assert not [name for name, parameter in method.teacher.named_parameters() if parameter.grad is not None]
    assert not [name for name, parameter in method.student.named_parameters() if parameter.grad is None]
    assert method.mask_token.grad is not None
    assert method.mask_token.grad.abs().sum() > 0


def test_gradient_stops_at_the_teacher():
    """The gradient is that of the loss with the teacher's answers as constants."""
    crops = views()
    method = make()  # equal networks: a gradient through the teacher would change the result
    method(crops, None, TEMPERATURE).loss.backward()
    gradient = method.student.backbone.vit.blocks[-1].mlp.fc2.weight.grad.clone()
    again = make()
    naive_dino(again, crops).backward()
    expected = again.student.backbone.vit.blocks[-1].mlp.fc2.weight.grad
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-6)
    assert expected.abs().max() > 1e-6


def test_teacher_is_the_moving_average():
    method = make()
    first = [parameter.clone() for parameter in method.teacher.parameters()]
    with torch.no_grad():
        for parameter in method.student.parameters():
            parameter += 1.0
    for _ in range(5):
        method.update_teacher(0.9)
    for before, after in zip(first, method.teacher.parameters(), strict=True):
        torch.testing.assert_close(after, before + (1 - 0.9**5), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("masks", [None, some_masks()], ids=["plain", "masked"])
def test_frozen_stem_gives_the_loss_and_gradients_of_the_plain_path(masks):
    """Same weights, whole network trained: the loss is the same and so are the last blocks' gradients."""
    options = {"ibot_weight": 1.0 if masks is not None else 0.0}
    results = []
    for blocks in (None, 2):
        method = make(trainable_blocks=blocks, **options)
        with torch.no_grad():  # the student moves where both versions train
            for block in method.student.backbone.vit.blocks[-2:]:
                block.mlp.fc1.weight += 0.02
        output = method(views(), masks, TEMPERATURE)
        output.loss.backward()
        trained = [*method.student.backbone.vit.blocks[-2:].parameters(), *method.student.head.parameters()]
        results.append((output.loss.detach(), [parameter.grad for parameter in trained]))
    (plain, plain_gradients), (frozen, frozen_gradients) = results
    torch.testing.assert_close(frozen, plain, rtol=1e-5, atol=1e-6)
    for one, other in zip(frozen_gradients, plain_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def test_frozen_part_gets_no_gradient_and_does_not_move():
    method = make(trainable_blocks=2, drop_path=0.5)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=1.0)
    method(views(), None, TEMPERATURE).loss.backward()
    optimizer.step()
    method.update_teacher(0.9)
    moved = {name for name, value in method.state_dict().items() if not torch.equal(value, before[name])}
    frozen = ["patch_embed", "pos_embed", "cls_token", *(f"blocks.{number}." for number in range(BLOCKS - 2))]
    assert not [name for name in moved for part in frozen if f"vit.{part}" in name]
    for branch in ("student", "teacher"):
        for part in ("backbone.vit.blocks.4.", "backbone.vit.blocks.5.", "backbone.vit.norm.", "head.mlp."):
            assert [name for name in moved if name.startswith(f"{branch}.{part}")], f"{branch} {part}"


def test_drop_path_is_the_students_only():
    method = make(drop_path=0.5)
    method.train()
    crop = views()[0]
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        teacher = [method.teacher.backbone(crop) for _ in range(2)]
        student = [method.student.backbone(crop) for _ in range(2)]
    assert torch.equal(*teacher)
    assert not torch.allclose(*student)


@torch.no_grad()
def test_student_does_not_see_masked_patches_and_the_teacher_does():
    method = make(ibot_weight=1.0)
    crops = views(local=0)
    masks = torch.zeros(2 * IMAGES, 4, dtype=torch.bool)
    masks[:, 0] = True  # the patch in the upper left corner
    changed = [crop.clone() for crop in crops]
    for crop in changed:
        crop[:, :, :16, :16] = 1 - crop[:, :, :16, :16]
    stems = [method._student_stem(torch.cat(seen), masks) for seen in (crops, changed)]
    assert torch.equal(*stems)
    outputs = [make(ibot_weight=1.0)(seen, masks, TEMPERATURE) for seen in (crops, changed)]
    assert not torch.allclose(outputs[0].features, outputs[1].features)


def test_prototypes_are_held_and_nothing_else():
    method = make(ibot_weight=1.0)
    method(views(), some_masks(), TEMPERATURE).loss.backward()
    method.hold_prototypes()
    without = {name for name, parameter in method.student.named_parameters() if parameter.grad is None}
    assert without == {"head.prototypes", "patch_head.prototypes"}


@torch.no_grad()
def test_what_is_watched_is_the_teachers_first_view():
    method, crops = different_teacher(make()), views()
    centre = method.dino_loss.centre.value.clone()
    output = method(crops, None, TEMPERATURE)
    tokens = method.teacher.backbone(crops[0])[:, 0]
    torch.testing.assert_close(output.features, tokens, rtol=1e-4, atol=1e-5)
    answers = torch.softmax((method.teacher.head(tokens) - centre) / TEMPERATURE, dim=1)
    torch.testing.assert_close(output.targets, answers, rtol=1e-3, atol=1e-5)
    assert not torch.equal(method.dino_loss.centre.value, centre), "the centre moved after the loss"
    assert math.isfinite(output.loss)


@pytest.mark.parametrize("blocks", [0, BLOCKS + 1, -1])
def test_blocks_that_are_not_there(blocks):
    with pytest.raises(ConfigError, match=f"trainable blocks: {blocks}, expected 1 to {BLOCKS}"):
        make(trainable_blocks=blocks)
