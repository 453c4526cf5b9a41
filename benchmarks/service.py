"""Studies a minute of the warm DICOM node, and how long a study takes from its last image to its report.

The service of this package, with the shipped model, between a sender and a receiver of its own on this
machine. The quiet period is the shortest that makes sense here and is part of the latency; it is printed
apart. The share outside the model is what an analysis takes beyond the network's forward pass.

    python benchmarks/service.py IMAGE... [--studies 20] [--images 1] [--quiet 1]

IMAGE is a radiograph in DICOM; each study gets copies of them with UIDs of its own.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage, generate_uid
from pynetdicom import AE, evt

from monai_bone_ssl import pipeline
from monai_bone_ssl.model import Model, Prediction
from monai_bone_ssl.service import worker
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


class Clock:
    """Seconds in the network and in whole analyses."""

    def __init__(self) -> None:
        self.forward = self.analysis = 0.0
        predict, analyse = Model.predict, pipeline.analyse_study

        def timed_predict(model: Model, batch: npt.NDArray[np.float32]) -> Prediction:
            started = time.perf_counter()
            prediction = predict(model, batch)
            self.forward += time.perf_counter() - started
            return prediction

        def timed_analyse(*arguments: object, **options: object) -> pipeline.StudyOutcome:
            started = time.perf_counter()
            outcome = analyse(*arguments, **options)  # type: ignore[arg-type]
            self.analysis += time.perf_counter() - started
            return outcome

        Model.predict = timed_predict  # type: ignore[method-assign]
        worker.analyse_study = timed_analyse


def make_studies(images: list[Path], studies: int, per_study: int) -> dict[str, list[Dataset]]:
    """Copies of the images with new UIDs, by Study Instance UID."""
    made: dict[str, list[Dataset]] = {}
    for number in range(studies):
        study, series = generate_uid(), generate_uid()
        made[study] = []
        for index in range(per_study):
            dataset = pydicom.dcmread(images[(number * per_study + index) % len(images)])
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
            dataset.PatientID, dataset.PatientName = f"BENCH{number}", "Bench^Mark"
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            made[study].append(dataset)
    return made


class Run(threading.Thread):
    """Receives reports, sends studies, waits for all, and stops the service."""

    def __init__(self, studies: dict[str, list[Dataset]]) -> None:
        super().__init__(name="benchmark")
        self._studies = studies
        self.sent: dict[str, float] = {}
        self.reported: dict[str, float] = {}

    def run(self) -> None:
        """Send everything as fast as the node takes it."""
        pacs = AE(PACS)
        pacs.add_supported_context(Comprehensive3DSRStorage)
        server = pacs.start_server(
            ("127.0.0.1", PACS_PORT), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )
        modality = AE(SENDER)
        syntaxes = {d.file_meta.TransferSyntaxUID for images in self._studies.values() for d in images}
        first = next(iter(self._studies.values()))[0]
        for syntax in syntaxes:
            modality.add_requested_context(first.SOPClassUID, syntax)
        while not (association := modality.associate("127.0.0.1", NODE_PORT, ae_title=NODE)).is_established:
            time.sleep(0.2)
        for study, images in self._studies.items():
            for dataset in images:
                status = association.send_c_store(dataset).Status
                if status != 0:
                    raise RuntimeError(f"C-STORE answered {status:04X}")
            self.sent[study] = time.perf_counter()
        association.release()
        while len(self.reported) < len(self._studies):
            time.sleep(0.2)
        if server is not None:
            server.shutdown()
        os.kill(os.getpid(), signal.SIGTERM)

    def _store(self, event: evt.Event) -> int:
        self.reported[event.dataset.StudyInstanceUID] = time.perf_counter()
        return 0


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--images", dest="per_study", type=int, default=1, metavar="N")
    parser.add_argument("--quiet", type=float, default=1.0, metavar="SECONDS")
    arguments = parser.parse_args()

    clock = Clock()
    run = Run(make_studies(arguments.images, arguments.studies, arguments.per_study))
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as spool:
        settings = Settings(
            spool=Path(spool),
            send=ReportRoute.C_STORE,
            receiver=ReceiverSettings(ae_title=NODE, port=NODE_PORT, calling_ae_titles=(SENDER,)),
            pacs=PacsSettings(host="127.0.0.1", port=PACS_PORT, ae_title=PACS),
            status=StatusSettings(port=STATUS_PORT),
            quiet_seconds=arguments.quiet,
        )
        run.start()
        serve(settings)
    run.join()
    latencies = np.array([run.reported[study] - run.sent[study] for study in run.sent])
    span = max(run.reported.values()) - min(run.sent.values())
    n = arguments.studies
    print(f"{n} studies of {arguments.per_study} images, load of the machine before: {load_before:.1f}")
    print(f"studies a minute                    {60 * n / span:8.1f}")
    print(f"last image to report, median        {np.median(latencies):8.1f} s (all sent at once)")
    print(f"last image to report, 95th centile  {np.percentile(latencies, 95):8.1f} s")
    print(f"of it quiet period                  {arguments.quiet:8.1f} s")
    print(f"analysis, mean                      {clock.analysis / n:8.2f} s")
    print(f"network's forward pass, mean        {clock.forward / n:8.2f} s")
    print(f"share of analysis outside of it     {1 - clock.forward / clock.analysis:8.1%}")
    print(f"share of all time outside of it     {1 - clock.forward / (span - arguments.quiet):8.1%}")


if __name__ == "__main__":
    main()
