"""Running ``bone-ssl analyze`` as a user does, and reading what it wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

ROOT = Path(__file__).parents[1]


class Run(NamedTuple):
    """What a process left on the terminal."""

    code: int
    stdout: bytes
    stderr: str


def bone_ssl(
    *arguments: str | Path, prelude: str = "", before: Callable[[], None] | None = None, timeout: int = 120
) -> Run:
    """Run the command line in a process of its own, warnings as errors.

    Parameters
    ----------
    prelude
        Python that runs in the process first.
    before
        Called in the process before Python starts.
    """
    program = f"{prelude}\nimport sys; from monai_bone_ssl.cli import main; sys.exit(main())"
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    run = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", program, *map(str, arguments)],
        capture_output=True,
        timeout=timeout,
        check=False,
        preexec_fn=before,
        env=os.environ | {"PYTHONPATH": paths},
    )
    return Run(run.returncode, run.stdout, run.stderr.decode())


def strict_json(text: bytes) -> Any:
    """Parse JSON as RFC 8259 has it: no NaN, no key twice."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is no JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in pairs}) == len(pairs), "a key occurs twice"
        return dict(pairs)

    return json.loads(text.decode("utf-8"), parse_constant=refuse, object_pairs_hook=unique)


def result(out: Path) -> Any:
    """Content of result.json."""
    return strict_json((out / "result.json").read_bytes())


def outcomes(out: Path) -> dict[str, str]:
    """File name -> decision, or reason code; every file once."""
    images = result(out)["images"]
    found = {Path(i["path"]).name: i["decision"] or i["reason"]["code"] for i in images}
    assert len(found) == len(images), "a file name occurs twice"
    return found
