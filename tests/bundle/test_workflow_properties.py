"""What MONAI's tools ask of a workflow, and what they get."""

from __future__ import annotations

import pytest
from monai.bundle import ConfigWorkflow
from monai.engines.trainer import Trainer
from monai.utils.enums import BundleProperty, BundlePropertyConfig
from toy_radiographs import write_limbs

from monai_bone_ssl.errors import ConfigError

from .bundle_commands import BUNDLE

TINY = {"architecture": "test_vit", "epochs": 2, "batch_size": 8, "long_side": 64, "size": 32,
        "recipe#local_size": 16, "recipe#local_views": 2, "recipe#prototypes": 32}  # fmt: skip


@pytest.fixture(scope="module")
def limbs(tmp_path_factory):
    return write_limbs(tmp_path_factory.mktemp("limbs"), 24).parent


def workflow(name, kind, **items):
    config = str(BUNDLE / "configs" / f"{name}.json")
    made = ConfigWorkflow(config, workflow_type=kind, logging_file=False, bundle_root=str(BUNDLE), **items)
    made.initialize()
    return made


@pytest.fixture
def pretraining(limbs, tmp_path):
    folders = {"output_dir": str(tmp_path / "out"), "cache_dir": str(tmp_path / "cache")}
    return workflow("pretrain", "train", dataset_dir=str(limbs), **folders, **TINY)


def test_pretraining_has_them_all(pretraining, tmp_path):
    assert pretraining.check_properties() == []
    assert isinstance(pretraining.trainer, Trainer)
    assert pretraining.trainer.state.device == pretraining.device
    assert pretraining.trainer.state.max_epochs == pretraining.max_epochs == 2
    assert max(pretraining.train_dataset[0].shape) == 64
    assert pretraining.train_inferer is None
    assert not (tmp_path / "out").exists(), "to be asked begins nothing"


def test_epochs_that_a_tool_sets_are_those_of_the_run(pretraining, tmp_path):
    pretraining.max_epochs = 1
    pretraining.initialize()
    pretraining.run()
    pretraining.finalize()
    assert pretraining.trainer.state.epoch == 1
    assert (tmp_path / "out" / "checkpoints" / "checkpoint_epoch=1.pt").is_file()


def test_epochs_that_make_no_sense_are_refused(pretraining):
    pretraining.max_epochs = 0
    pretraining.initialize()
    with pytest.raises(RuntimeError) as raised:  # MONAI's, around the package's own
        _ = pretraining.trainer
    assert isinstance(raised.value.__cause__, ConfigError)
    assert raised.value.__cause__.text == "epochs is 0, expected 1 or more"


# MONAI's LoadImage says where a decoder for GPUs is not installed; it is not used here.
@pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader:UserWarning")
@pytest.mark.parametrize("name", ["evaluate", "inference"])
def test_evaluation_and_inference_have_them_all(name, limbs, tmp_path):
    made = workflow(name, "inference", dataset_dir=str(limbs), output_dir=str(tmp_path / "out"))
    assert made.check_properties() == []


def test_a_fit_has_no_engine(limbs):
    """Probes are fitted by L-BFGS on features; MONAI asks every training workflow for an engine."""
    made = workflow("train", "train", dataset_dir=str(limbs))
    missing = {
        name
        for name, asked in made.properties.items()
        if asked[BundleProperty.REQUIRED] and asked[BundlePropertyConfig.ID] not in made.parser
    }
    assert missing == {"device", "trainer", "max_epochs", "train_dataset", "train_inferer"}
    assert workflow("train", None, dataset_dir=str(limbs)).check_properties() == []
