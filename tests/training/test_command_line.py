"""What the command line says of training before it imports it, held against training's own words."""

from __future__ import annotations

import re
from typing import get_args
from unittest.mock import Mock

import pytest

from monai_bone_ssl import cli
from monai_bone_ssl.training.comparison.compare_networks import Probe
from monai_bone_ssl.training.networks.extractors import FeatureKind
from monai_bone_ssl.training.ssl import pretrain
from monai_bone_ssl.training.ssl.recipe import Recipe


def test_pretraining_from_random_weights_without_options_is_the_recipe_as_it_stands(tmp_path, monkeypatch):
    called = Mock()
    monkeypatch.setattr(pretrain, "pretrain", called)
    arguments = ["pretrain", str(tmp_path), "-o", str(tmp_path), "--architecture", "vit_small_patch16_224"]
    assert cli.main(arguments) == 0
    recipe = called.call_args.args[3]
    assert recipe == Recipe()


@pytest.mark.parametrize(
    ("option", "verb", "choices"),
    [
        ("--probes", "compare", get_args(Probe)),
        ("--features", "features", get_args(FeatureKind)),
        ("--method", "pretrain", ("dino", "mae")),
    ],
)
def test_the_choices_are_those_of_training(option, verb, choices, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main([verb, str(tmp_path), "-o", str(tmp_path), option, "nonsense"])
    listed = capsys.readouterr().err.rpartition("choose from")[2]
    assert set(re.findall(r"\w+", listed)) == set(choices)
