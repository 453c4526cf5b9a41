"""Times that a user waits: for the first answer of a fresh process, and for a thousand images."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from benchmarks.speed.peer import core_python, peer_python, run_ours, run_peer
from benchmarks.speed.radiographs import copies
from benchmarks.speed.ratio import Row, not_measured, row, seconds, take_turns

__all__ = ["cold_start_rows", "install_rows", "throughput_row"]

_NO_PEER = "BONE_SSL_PEER_PYTHON names no environment with the App SDK, monai and torch"
_COLD, _THROUGHPUT = "cold start, one image", "throughput"
_PEER_STUDIES = 5  # of the peer, which takes as long for each


def cold_start_rows(rounds: int) -> Iterator[Row]:
    """Row 4: ``bone-ssl analyze`` of one image against the peer application, and against its limit of 2 s."""
    aim = "at most 0.333"
    with tempfile.TemporaryDirectory() as name:
        (study,) = copies(Path(name) / "in", images=1, per_study=1)
        out = Path(name) / "out"
        peer = peer_python()
        measures = [lambda: seconds(lambda: run_ours(study, out))]
        if peer is not None:
            measures.append(lambda: seconds(lambda: run_peer(peer, study, out)))
        ours, *others = take_turns(measures, rounds)
    yield row(
        f"{_COLD}, against 2 s",
        ("bone-ssl analyze", ours),
        ("the aim", [2.0] * rounds),
        unit="s",
        aim="at most 1",
        limit=1.0,
        note="process start to exit; SR, overlay, page and result.json written",
    )
    if not others:
        yield not_measured(_COLD, aim, _NO_PEER)
        return
    yield row(
        _COLD,
        ("bone-ssl analyze", ours),
        ("example-style MONAI Deploy app", others[0]),
        unit="s",
        aim=aim,
        limit=1 / 3,
        note="the same model.onnx; the app writes a text SR",
    )


def throughput_row(images: int) -> Row:
    """Row 5: many images in one run, against the peer study by study; and the peak memory of that run."""
    peer = peer_python()
    with tempfile.TemporaryDirectory() as name:
        studies = copies(Path(name) / "in", images, per_study=1)
        out = Path(name) / "out"
        alone = run_ours(studies[0], out)
        started = perf_counter()
        peak = run_ours(Path(name) / "in", out)
        ours = images / (perf_counter() - started)
        if peer is None:
            return not_measured(_THROUGHPUT, "at least 3", f"ours: {ours:.2f} images/s; {_NO_PEER}")
        sample = studies[:: max(1, len(studies) // _PEER_STUDIES)][:_PEER_STUDIES]
        times = [seconds(lambda study=study: run_peer(peer, study, out)) for study in sample]
    return row(
        _THROUGHPUT,
        ("bone-ssl analyze, one run", [ours] * len(times)),
        ("example-style app, a run a study", [1 / taken for taken in times]),
        unit="images/s",
        aim="at least 3",
        limit=3.0,
        note=f"{images} studies of one image each, five transfer syntaxes; the peer: {len(times)} of them",
        details={"peak memory of one image alone, MB": alone, "of all, MB": peak},
    )


def install_rows(rounds: int) -> Iterator[Row]:
    """Size of the core's environment and the time to import it, against those of torch, monai and timm."""
    core = core_python()

    def importing(modules: str, python: Path) -> float:
        return seconds(lambda: subprocess.run([python, "-c", f"import {modules}"], check=True))

    ours, other = take_turns(
        [
            lambda: importing("monai_bone_ssl.pipeline", core),
            lambda: importing("torch, monai.networks.nets", Path(sys.executable)),
        ],
        rounds,
    )
    yield row(
        "import time",
        ("import monai_bone_ssl.pipeline", ours),
        ("import torch, monai.networks.nets", other),
        unit="s",
        aim="at most 0.5",
        limit=0.5,
        note="a fresh process; the aim for the left side is 1 s",
    )
    site = core.parent.parent
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file() and not path.is_symlink())
    yield row(
        "size of the core's environment",
        ("core, model included", [size / 1e6]),
        ("the aim", [300.0]),
        unit="MB",
        aim="at most 1",
        limit=1.0,
    )
