"""Studies per minute of the warm DICOM node, and the time from a study's last image to its report.

The DICOM node with the shipped model runs in this process and those that it starts; sender and receiver run
in another, as in a hospital. The quiet period is part of the time to the report and is printed too.

    python -m benchmarks.service IMAGE... [--studies 20] [--images 1] [--quiet 1] [--every 0]

IMAGE is a radiograph in DICOM; each study gets copies with UIDs of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage, generate_uid
from pynetdicom import AE, evt

from monai_bone_ssl.service.serve import serve
from monai_bone_ssl.service.settings import (
    PacsSettings,
    ReceiverSettings,
    ReportRoute,
    Settings,
    StatusSettings,
)

NODE, SENDER, PACS = "BONESSL", "SENDER", "PACS"
NODE_PORT, PACS_PORT, STATUS_PORT = 21112, 21113, 21114


class Times(NamedTuple):
    """When things happened, in seconds of CLOCK_MONOTONIC, by Study Instance UID."""

    sent: dict[str, float]
    """When the last image of a study was sent."""
    reported: dict[str, float]
    """When the report of a study was stored."""


def make_studies(images: list[Path], studies: int, per_study: int) -> dict[str, list[Dataset]]:
    """Copies of the images with new UIDs, by Study Instance UID."""
    copies: dict[str, list[Dataset]] = {}
    for number in range(studies):
        study, series = generate_uid(), generate_uid()
        copies[study] = []
        for index in range(per_study):
            dataset = pydicom.dcmread(images[(number * per_study + index) % len(images)])
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
            dataset.PatientID, dataset.PatientName = f"BENCH{number}", "Bench^Mark"
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            copies[study].append(dataset)
    return copies


def drive(images: list[Path], studies: int, per_study: int, every: float, answer: Connection) -> None:
    """The other process: receive reports, send studies, wait for all reports, and stop the service."""
    times = Times({}, {})

    def store(event: evt.Event) -> int:
        times.reported[event.dataset.StudyInstanceUID] = time.monotonic()
        return 0

    pacs = AE(PACS)
    pacs.add_supported_context(Comprehensive3DSRStorage)
    server = pacs.start_server(("127.0.0.1", PACS_PORT), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    send(make_studies(images, studies, per_study), every, times)
    while len(times.reported) < studies:
        time.sleep(0.1)
    if server is not None:
        server.shutdown()
    answer.send(times)
    os.kill(os.getppid(), signal.SIGTERM)


def send(studies: dict[str, list[Dataset]], every: float, times: Times) -> None:
    """Send studies, each in an association of its own as modalities do, one begun every so many seconds."""
    modality = AE(SENDER)
    first = next(iter(studies.values()))[0]
    for syntax in {image.file_meta.TransferSyntaxUID for images in studies.values() for image in images}:
        modality.add_requested_context(first.SOPClassUID, syntax)
    while not (association := modality.associate("127.0.0.1", NODE_PORT, ae_title=NODE)).is_established:
        time.sleep(0.2)
    association.release()
    begun = time.monotonic()
    for number, (study, images) in enumerate(studies.items()):
        time.sleep(max(0.0, begun + number * every - time.monotonic()))
        association = modality.associate("127.0.0.1", NODE_PORT, ae_title=NODE)
        for dataset in images:
            status = association.send_c_store(dataset).Status
            if status != 0:
                raise RuntimeError(f"C-STORE answered {status:04X}")
        association.release()
        times.sent[study] = time.monotonic()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--images", dest="per_study", type=int, default=1, metavar="N")
    parser.add_argument("--quiet", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--every", type=float, default=0.0, metavar="SECONDS", help="0: all at once")
    arguments = parser.parse_args()

    load_before = os.getloadavg()[0]
    here, there = multiprocessing.Pipe(duplex=False)
    work = (arguments.images, arguments.studies, arguments.per_study, arguments.every, there)
    other_side = multiprocessing.get_context("spawn").Process(target=drive, args=work)
    other_side.start()
    with tempfile.TemporaryDirectory() as spool:
        serve(settings(Path(spool), arguments.quiet))
    times: Times = here.recv()
    other_side.join()
    show(times, arguments, load_before)


def settings(spool: Path, quiet: float) -> Settings:
    """Settings of the node, as serve.toml would state them."""
    return Settings(
        spool=spool,
        send=ReportRoute.C_STORE,
        receiver=ReceiverSettings(ae_title=NODE, port=NODE_PORT, calling_ae_titles=(SENDER,)),
        pacs=PacsSettings(host="127.0.0.1", port=PACS_PORT, ae_title=PACS),
        status=StatusSettings(port=STATUS_PORT),
        quiet_seconds=quiet,
    )


def show(times: Times, arguments: argparse.Namespace, load_before: float) -> None:
    """Print the figures."""
    n, quiet = arguments.studies, arguments.quiet
    latencies = np.array([times.reported[study] - times.sent[study] for study in times.sent])
    span = max(times.reported.values()) - min(times.sent.values()) - quiet
    pace = f"one every {arguments.every:g} s" if arguments.every else "all sent at once"
    print(f"{n} studies of {arguments.per_study} images, load of the machine before: {load_before:.1f}")
    print(f"studies a minute                    {60 * n / span:8.1f} ({pace})")
    print(f"last image to report, median        {np.median(latencies):8.1f} s")
    print(f"last image to report, 95th centile  {np.percentile(latencies, 95):8.1f} s")
    print(f"of it quiet period                  {quiet:8.1f} s")


if __name__ == "__main__":
    main()
