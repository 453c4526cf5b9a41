"""``bone-ssl pretrain``."""

from __future__ import annotations

import pytest

from monai_bone_ssl.cli import main
from training.ssl.runs import record

NAME = "vit_tiny_patch16_224"  # with heads of full size, unlike the other tests' networks

ARGUMENTS = ("--epochs", "1", "--batch-size", "8", "--long-side", "64", "--size", "32", "--local-size", "16",
             "--local-views", "1", "--prototypes", "16")  # fmt: skip


def test_command_line(data, cache, tmp_path):
    start = ("--architecture", NAME, "--cache", str(cache))
    assert main(["pretrain", str(data), "-o", str(tmp_path), *start, *ARGUMENTS]) == 0
    arguments = record(tmp_path)["arguments"]
    assert (arguments["epochs"], arguments["local_views"], arguments["learning_rate"]) == (1, 1, 5e-4)
    assert arguments["study_partners"] is True


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (("--architecture", "no_such_net"), "no_such_net: expected the name of a timm model"),
        (
            ("--backbone", "wrong.safetensors"),
            "wrong.safetensors: expected a name that begins with a timm model",
        ),
    ],
)
def test_command_line_says_what_is_wrong(start, message, data, cache, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.safetensors").touch()
    assert main(["pretrain", str(data), "-o", "out", *start, *ARGUMENTS, "--cache", str(cache)]) == 2
    assert message in capsys.readouterr().err


def test_command_line_refuses_a_folder_without_images(cache, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    out = str(tmp_path / "out")
    assert (
        main(["pretrain", str(tmp_path / "empty"), "-o", out, "--architecture", NAME, "--cache", str(cache)])
        == 2
    )
    assert "empty: no image in it, expected PNG, JPEG or DICOM radiographs" in capsys.readouterr().err
