"""Time from file to report, warm, against the bare forward pass; and the time of each stage."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from time import perf_counter

import numpy as np
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless

from benchmarks.speed.radiographs import copies, tibia
from benchmarks.speed.ratio import Row, row, seconds, take_turns
from monai_bone_ssl.analysis import analyse_prepared, prepare_file
from monai_bone_ssl.dicom.collect import find_files, group_by_study
from monai_bone_ssl.dicom.radiograph import read_radiograph
from monai_bone_ssl.findings import RefusedImage
from monai_bone_ssl.model.folder import default_model_folder
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.model.preprocessing import preprocess
from monai_bone_ssl.pipeline import analyse, analyse_study, conclude_study
from monai_bone_ssl.report.study import write_report
from monai_bone_ssl.show.overlay_file import write_png
from monai_bone_ssl.shown_image import Outputs, draw_analysis
from monai_bone_ssl.threads import images_at_once

__all__ = ["whole_path_rows"]

_FOLDER = 20
_CASES: tuple[tuple[str, UID, float], ...] = (
    ("uncompressed", ExplicitVRLittleEndian, 1.15),
    ("JPEG 2000, lossless", JPEG2000Lossless, 1.4),
)


def whole_path_rows(rounds: int) -> Iterator[Row]:
    """Row 3 of the table: one image in each transfer syntax, and a folder of several in all of them."""
    model = Model(default_model_folder())
    for label, syntax, limit in _CASES:
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "in" / "image.dcm"
            path.parent.mkdir()
            tibia(syntax).save_as(path, enforce_file_format=True)
            yield _row(model, path, label, limit, rounds)
    yield _folder_row(model, rounds)


def _folder_row(model: Model, rounds: int) -> Row:
    """A folder of images, several analysed at once on fewer cores each, as the command line does."""
    at_once, threads = images_at_once(_FOLDER)
    sharing = Model(default_model_folder(), threads=threads)
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name) / "in", Path(name) / "out"
        copies(folder, _FOLDER, per_study=2)
        first = read_radiograph(find_files([folder])[0].path)
        batch = preprocess(first.pixels, model.spec.preprocessing)[None, None]

        def whole() -> None:
            analyse([folder], out, sharing, at_once=at_once)

        def bare() -> None:
            for _ in range(_FOLDER):
                model.predict(batch)

        ours, other = take_turns(
            [lambda: 1e3 * seconds(whole) / _FOLDER, lambda: 1e3 * seconds(bare) / _FOLDER], rounds
        )
    return row(
        f"whole path, a folder of {_FOLDER}",
        ("files to SRs, overlays and page", ours),
        ("bare forward passes, one after another on all cores", other),
        unit="ms an image",
        aim="at most 1.15",
        limit=1.15,
        note=f"warm, five transfer syntaxes, two images a study; {at_once} at once, {threads} thread(s) each",
    )


def _row(model: Model, path: Path, label: str, limit: float, rounds: int) -> Row:
    out = path.parents[1] / "out"
    out.mkdir()
    batch = preprocess(read_radiograph(path).pixels, model.spec.preprocessing)[None, None]

    def whole() -> None:
        (study,) = group_by_study(find_files([path], skip=out))
        analyse_study(study, out, model, Outputs())

    ours, bare = take_turns(
        [lambda: 1e3 * seconds(whole), lambda: 1e3 * seconds(lambda: model.predict(batch))], rounds
    )
    return row(
        f"whole path, {label}",
        ("file to SR and overlay", ours),
        ("bare forward pass", bare),
        unit="ms",
        aim=f"at most {limit}",
        limit=limit,
        note="warm, one image of 1,760 x 1,760, 10 bits",
        details=_stages(model, path, out, rounds),
    )


def _stages(model: Model, path: Path, out: Path, rounds: int) -> dict[str, float]:
    """Median milliseconds of each stage."""
    taken: dict[str, list[float]] = {}
    for _ in range(rounds):
        started = perf_counter()
        stamps: list[tuple[str, float]] = []

        def stage(name: str, stamps: list[tuple[str, float]] = stamps) -> None:
            stamps.append((name, perf_counter()))

        (study,) = group_by_study(find_files([path], skip=out))
        stage("gather and read headers")
        prepared = prepare_file(study.sources[0], model.spec)
        stage("decode and prepare")
        image = analyse_prepared(prepared, model)
        stage("network and decision")
        if isinstance(image, RefusedImage):
            raise AssertionError("the tibia is analysed")
        picture = draw_analysis(image, model.spec)
        stage("draw the overlay")
        write_png(picture, out / "overlay.png")
        stage("write the overlay")
        conclusion = conclude_study(study.study_instance_uid, [image.analysis], 0, model, datetime.now())
        stage("make the report")
        if conclusion.report is None:
            raise AssertionError("the tibia's study has a report")
        write_report(conclusion.report, out)
        stage("write the report")
        for name, stamp in stamps:
            taken.setdefault(name, []).append(1e3 * (stamp - started))
            started = stamp
    return {name: float(np.median(values)) for name, values in taken.items()}
