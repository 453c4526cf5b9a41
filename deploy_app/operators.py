"""The stages of ``bone-ssl analyze`` as MONAI Deploy operators: they carry, the core decides.

One file is on its way at a time, so that memory does not grow with the number of images. A file that cannot
be analysed travels on with its reason; whatever could mix two patients raises and ends the run without a
result.json.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from messages import (
    AnalysedFile,
    EndOfInput,
    EvidenceFile,
    Place,
    PreparedFile,
    StudyConcluded,
    StudyFile,
    StudyWritten,
)
from monai.deploy.core import ExecutionContext, Fragment, InputContext, Operator, OperatorSpec, OutputContext

from monai_bone_ssl.analysis import analyse_prepared, prepare_file
from monai_bone_ssl.dicom.collect import Study, find_files, group_by_study
from monai_bone_ssl.errors import ReasonCode, ReportError
from monai_bone_ssl.faults import WithoutMessage
from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.findings import ImageAnalysis, ImageFinding, RefusedImage, StudyFinding
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.pipeline import algorithm, combine, conclude_study, write_study
from monai_bone_ssl.report.evidence_objects import EvidenceKind
from monai_bone_ssl.show.results import Results, result_json
from monai_bone_ssl.shown_image import make_evidence

__all__ = [
    "LOGGER_NAME",
    "EligibilityOperator",
    "EvidenceOperator",
    "InferenceOperator",
    "ReportWriterOperator",
    "ResultWriterOperator",
    "StudyAggregationOperator",
    "StudyLoaderOperator",
]

LOGGER_NAME = "bone_ssl.map"
_log = logging.getLogger(LOGGER_NAME)


class StudyLoaderOperator(Operator):
    """Send the files of the input folder, study by study, and at the end :class:`EndOfInput`.

    Parameters
    ----------
    fragment
        The application.
    folder
        Folder with the input, files in any nesting.
    skip
        Folder of the results, which is left out.
    """

    def __init__(self, fragment: Fragment, *, folder: Path, skip: Path) -> None:
        self.folder = folder
        self.skip = skip
        super().__init__(fragment, name="study_loader")

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the port."""
        spec.output("files")

    def start(self) -> None:
        """Gather the studies: a patient conflict shows only when every header has been read."""
        with WithoutMessage():
            sources = find_files([self.folder], skip=self.skip)
            self.n_files = len(sources)
            self.waiting = _study_files(group_by_study(sources))

    def compute(self, _input: InputContext, op_output: OutputContext, _context: ExecutionContext) -> None:
        """Send the next file."""
        following = next(self.waiting, None)
        op_output.emit(following or EndOfInput(self.n_files), "files")
        if following is None:
            self.stop_execution()


def _study_files(studies: list[Study]) -> Iterator[StudyFile]:
    for group, study in enumerate(studies):
        count = len(study.sources)
        for number, source in enumerate(study.sources, start=1):
            place = Place(group, study.study_instance_uid, number, count, study.unread_files)
            yield StudyFile(place, source)


class _Stage(Operator):
    """An operator that answers one message with at most one, and passes the end of the input on."""

    accepts: ClassVar[type]

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        spec.input("in")
        spec.output("out")

    def compute(self, op_input: InputContext, op_output: OutputContext, _context: ExecutionContext) -> None:
        """Do the stage's work on one message."""
        message = op_input.receive("in")
        with WithoutMessage():  # the SDK would log an exception's message
            answer = (
                message if isinstance(message, EndOfInput) else self.process(_typed(message, self.accepts))
            )
        if answer is not None:
            op_output.emit(answer, "out")

    def process(self, message: Any) -> object | None:
        """Answer one message of the accepted type; None for no answer."""
        raise NotImplementedError


class EligibilityOperator(_Stage):
    """Read a file and decide by header and pixels whether it may be shown to the network."""

    accepts = StudyFile

    def __init__(self, fragment: Fragment, *, model: Model) -> None:
        self.spec_of_model = model.spec
        super().__init__(fragment, name="eligibility")

    def process(self, message: StudyFile) -> PreparedFile:
        """A refused file carries its reason."""
        return PreparedFile(message.place, prepare_file(message.source, self.spec_of_model))


class InferenceOperator(_Stage):
    """Run the network and decide; also what only the network can judge: body part and distance."""

    accepts = PreparedFile

    def __init__(self, fragment: Fragment, *, model: Model) -> None:
        self.model = model
        super().__init__(fragment, name="inference")

    def process(self, message: PreparedFile) -> AnalysedFile:
        """An image that is not answered carries its reason."""
        return AnalysedFile(message.place, analyse_prepared(message.image, self.model))


class EvidenceOperator(_Stage):
    """Make the evidence objects that were asked for, and let go of the pixels.

    Parameters
    ----------
    fragment
        The application.
    model
        Model that made the evidence.
    kinds
        Kinds of objects to make; may be empty.
    """

    accepts = AnalysedFile

    def __init__(self, fragment: Fragment, *, model: Model, kinds: Collection[EvidenceKind]) -> None:
        self.model = model
        self.kinds = kinds
        super().__init__(fragment, name="evidence")

    def process(self, message: AnalysedFile) -> EvidenceFile:
        """An object the header does not allow is left out, and said so: the report does not depend on it."""
        image, spec, number = message.image, self.model.spec, message.place.number
        if isinstance(image, RefusedImage):
            return EvidenceFile(message.place, image, ())
        evidence = make_evidence(image, self.kinds, spec, algorithm(self.model), number, datetime.now())
        for error in evidence.left_out:
            _log.warning("evidence left out: %s", error)
        return EvidenceFile(message.place, image.analysis, evidence.objects)


class StudyAggregationOperator(_Stage):
    """Gather a study's files; with the last one, conclude and make the report."""

    accepts = EvidenceFile

    def __init__(self, fragment: Fragment, *, model: Model) -> None:
        self.model = model
        self.gathered: list[EvidenceFile] = []
        super().__init__(fragment, name="study_aggregation")

    def process(self, message: EvidenceFile) -> StudyConcluded | None:
        """Conclude the study with its last file; None before."""
        self._check(message)
        self.gathered.append(message)
        if message.place.number < message.place.count:
            return None
        files, self.gathered = self.gathered, []
        uid, unread_files = message.place.study_instance_uid, message.place.unread_files
        analyses: list[ImageAnalysis] = [file.analysis for file in files]
        evidence = [item for file in files for item in file.evidence]
        conclusion = conclude_study(uid, analyses, unread_files, self.model, datetime.now())
        return StudyConcluded(uid, conclusion, evidence)

    def _check(self, message: EvidenceFile) -> None:
        """Files come in order and study by study; anything else could mix patients."""
        place = message.place
        expected = (place.group, len(self.gathered) + 1)
        started = self.gathered[0].place.group if self.gathered else place.group
        uid = message.analysis.finding.study_instance_uid
        if (started, place.number) != expected or uid not in (None, place.study_instance_uid):
            raise _mixed(f"a file of study {uid} came among those of study {place.study_instance_uid}")


class ReportWriterOperator(_Stage):
    """Write a study's report and, only beside a report, its evidence objects."""

    accepts = StudyConcluded

    def __init__(self, fragment: Fragment, *, folder: Path) -> None:
        self.folder = folder
        super().__init__(fragment, name="report_writer")

    def process(self, message: StudyConcluded) -> StudyWritten:
        """Write the study; nothing without a report, since no answer may be relied on then."""
        conclusion = message.conclusion
        images = [analysis.finding for analysis in conclusion.analyses]
        if conclusion.finding is None or conclusion.report is None:
            return StudyWritten(images, conclusion.finding)
        if conclusion.report.StudyInstanceUID != message.study_instance_uid:
            raise _mixed(f"study {message.study_instance_uid}: a report on another study")
        path, *_ = write_study(conclusion.report, message.evidence, self.folder)
        return StudyWritten(images, msgspec.structs.replace(conclusion.finding, sr_path=path.name))


class ResultWriterOperator(Operator):
    """Gather the findings of every file; at the end of the input, write result.json."""

    def __init__(self, fragment: Fragment, *, model: Model, folder: Path) -> None:
        self.model = model
        self.folder = folder
        self.images: list[ImageFinding] = []
        self.studies: list[StudyFinding] = []
        #: Results of the run; None until result.json has been written.
        self.results: Results | None = None
        super().__init__(fragment, name="result_writer")

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the port."""
        spec.input("in")

    def compute(self, op_input: InputContext, _output: OutputContext, _context: ExecutionContext) -> None:
        """Take one study's results, or finish."""
        message = op_input.receive("in")
        with WithoutMessage():
            self._take(message)

    def _take(self, message: Any) -> None:
        if not isinstance(message, EndOfInput):
            written = _typed(message, StudyWritten)
            self.images += written.images
            self.studies += [] if written.study is None else [written.study]
            return
        if len(self.images) != message.n_files:
            raise _mixed(f"{message.n_files} files came in, {len(self.images)} have a result")
        self.results = combine(self.images, self.studies, self.model)
        write_atomically(self.folder / "result.json", result_json(self.results))


def _typed(message: Any, expected: type) -> Any:
    if not isinstance(message, expected):
        raise TypeError(f"got a {type(message).__name__}, expected a {expected.__name__}")
    return message


def _mixed(text: str) -> ReportError:
    return ReportError(ReasonCode.REPORT_FAILED, f"{text}; the run is stopped")
