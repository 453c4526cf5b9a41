"""``bone-ssl adapt`` as somebody at a hospital uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from analyses import bone_ssl

from monai_bone_ssl.review.worklist import Worklist


def test_the_command_line_adapts_adopts_and_rolls_back(site: tuple[Path, Worklist], tmp_path: Path) -> None:
    root, store = site[0], tmp_path / "store"
    common = ("adapt", root / "review", "--results", root / "out", "-o", store, "--model", root / "model")
    looked = bone_ssl(*common)
    assert looked.code == 0, looked.stderr
    assert b"may be adopted" in looked.stdout
    assert not (store / "current.json").exists()
    adopted = bone_ssl(*common, "--adopt", "--by", "Doe^Anna")
    assert (adopted.code, adopted.stdout.splitlines()[-1]) == (0, b"version 0.1.0+site.1 is in use")
    analysed = bone_ssl("analyze", root / "in" / "p000_1.dcm", "-o", tmp_path / "out", "--model", store)
    assert analysed.code == 0, analysed.stderr
    assert json.loads((tmp_path / "out" / "result.json").read_text())["model"]["version"] == "0.1.0+site.1"
    back = bone_ssl("adapt", "--rollback", store, "--by", "Doe^Anna")
    assert (back.code, back.stdout) == (0, b"version 0.1.0 is in use\n")
    again = bone_ssl("adapt", "--rollback", store, "--by", "Doe^Anna")
    assert again.code == 2
    assert "is the first one" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["adapt"], "expected REVIEW, --results and -o, or --rollback"),
        (["adapt", "{root}/review", "--results", "{root}/out", "-o", "x", "--adopt"], "expected --by"),
        (["adapt", "--rollback", "{root}", "--by", "me"], "current.json"),
    ],
)
def test_wrong_use_is_one_line(site: tuple[Path, Worklist], arguments: list[str], words: str) -> None:
    run = bone_ssl(*[argument.format(root=site[0]) for argument in arguments])
    assert run.code in (1, 2)
    (line,) = run.stderr.splitlines()
    assert words in line


def test_without_onnx_it_says_what_to_install(site: tuple[Path, Worklist], tmp_path: Path) -> None:
    blocked = "import sys\nsys.modules['onnx'] = None\n"
    root = site[0]
    run = bone_ssl("adapt", root / "review", "--results", root / "out", "-o", tmp_path, prelude=blocked)
    assert run.code == 2
    assert "pip install 'monai-bone-ssl[adapt]'" in run.stderr
