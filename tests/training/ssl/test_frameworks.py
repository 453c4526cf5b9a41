"""Which views of which images a framework learns from."""

from __future__ import annotations

import numpy as np
import pytest

from monai_bone_ssl.training.networks.backbone import create_backbone
from monai_bone_ssl.training.ssl.batches import Batches, BatchPlan
from monai_bone_ssl.training.ssl.collapse import CollapseGuard
from monai_bone_ssl.training.ssl.frameworks import make_framework
from monai_bone_ssl.training.ssl.pretrain import make_pretrainer
from monai_bone_ssl.training.ssl.recipe import Recipe
from monai_bone_ssl.training.ssl.training_step import TrainingStep, make_optimizer
from training.ssl.runs import ALONE, NAME, SMALL

pytestmark = pytest.mark.usefixtures("narrow_networks")


class DarkAndBright:
    """Stands in for the decoded images: those of odd number are bright."""

    def __getitem__(self, index):
        return np.full((64, 64), 255 * (index % 2), dtype=np.uint8)


def bright(images):
    return (images.float().amax(dim=(1, 2, 3)) > 0.6).tolist()


def images_and_views(method):
    """A step's images, each with a partner of the other brightness, and the views that the network got."""
    recipe = Recipe(**(SMALL | {"method": method}))
    plan = BatchPlan([np.arange(8)], {image: np.array([image ^ 1]) for image in range(8)}, 8, seed=0)
    framework = make_framework(create_backbone(NAME), recipe)
    inputs = []
    framework.module.register_forward_pre_hook(lambda _module, arguments: inputs.append(arguments[0]))
    optimizer = make_optimizer(framework.module, ALONE.device)
    step = TrainingStep(framework, optimizer, CollapseGuard(patience=9), recipe, plan.steps, ALONE)
    batch = next(iter(Batches(DarkAndBright(), plan, 64, ALONE)))
    step(None, batch)
    return batch.canvases, inputs[0]


def test_mae_learns_from_one_view_of_each_image_and_none_of_its_partner():
    images, view = images_and_views("mae")
    assert view.shape == (8, 1, SMALL["size"], SMALL["size"])
    assert bright(view) == bright(images)


def test_half_of_dinos_views_are_the_partners():
    images, views = images_and_views("dino")
    others = [not each for each in bright(images)]
    assert [bright(view) for view in views] == [bright(images), others, bright(images), others]


@pytest.mark.parametrize(("method", "partnered"), [("mae", False), ("dino", True)])
def test_partners_are_drawn_where_a_view_shows_them(method, partnered, data, cache, tmp_path):
    recipe = Recipe(**(SMALL | {"method": method}))
    trainer = make_pretrainer([data], tmp_path, NAME, recipe, ALONE, cache=cache)
    images, partners = trainer.batches.plan.epoch(0)
    assert sorted(images.ravel()) == list(range(24)), "every image once in an epoch"
    assert (images != partners).all() == partnered
