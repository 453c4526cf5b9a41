"""DICOMweb, in and out: studies are found and fetched by QIDO-RS and WADO-RS, reports leave by STOW-RS."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from io import BytesIO
from typing import Any, NamedTuple

import requests
from dicomweb_client import DICOMwebClient
from pydicom import Dataset, config, dcmwrite
from pydicom.uid import UID
from requests.auth import AuthBase, HTTPBasicAuth

from monai_bone_ssl.errors import CorruptImage, ReasonCode, ServiceError, UnsupportedImage
from monai_bone_ssl.service.backoff import Backoff
from monai_bone_ssl.service.delivery import refusal
from monai_bone_ssl.service.events import log_event
from monai_bone_ssl.service.fetches import Fetches
from monai_bone_ssl.service.intake import Intake
from monai_bone_ssl.service.ledger import Ledger
from monai_bone_ssl.service.settings import DicomWebSettings, PollSettings, read_secret
from monai_bone_ssl.service.status import ServiceMetrics

__all__ = ["DicomWeb", "Poller", "RemoteInstance", "StowSender"]

_PAGE = 200  # studies or instances asked for at a time
# Answers of STOW-RS to an object that the server will never take: bad request, unsupported media type.
_REFUSED_FOR_GOOD = (400, 415)
# Failures of one study in a row, after which it goes on without the images that did not come.
_MOST_FETCHES = 20
# Images of one study that may get no answer in one attempt: perhaps the server is down.
_MOST_TIMEOUTS = 5
# Tags, as QIDO-RS names them in its answers.
_STUDY_UID, _SERIES_UID, _SOP_UID, _SOP_CLASS = "0020000D", "0020000E", "00080018", "00080016"
_N_INSTANCES = "00201208"


class RemoteInstance(NamedTuple):
    """An image on the server."""

    series_instance_uid: str
    sop_instance_uid: str


class DicomWeb:
    """A DICOMweb server.

    Parameters
    ----------
    settings
        Address of the server, and how to log in.

    Raises
    ------
    ServiceError
        ``PACS_UNREACHABLE`` or ``PACS_REFUSED``, from every method.
    """

    def __init__(self, settings: DicomWebSettings) -> None:
        session = requests.Session()
        session.trust_env = False  # a .netrc or proxy of this machine is no setting of the service
        session.auth = _Login(settings)
        if settings.ca is not None:
            session.verify = str(settings.ca)
        self._client = DICOMwebClient(
            settings.url, session=session, timeout=settings.timeout_seconds, permissive_uid=True
        )
        self._client.set_http_retry_params(retry=False)  # whoever calls tries again

    def find_studies(self, modality: str, dates: str) -> dict[str, int | None]:
        """Find the studies of a modality in a range of dates, such as ``20260101-20260102``.

        Returns
        -------
        Number of instances by Study Instance UID, None where the server does not tell.
        """

        def page(offset: int) -> list[dict[str, Any]]:
            return self._client.search_for_studies(
                limit=_PAGE,
                offset=offset,
                fields=["NumberOfStudyRelatedInstances"],
                search_filters={"ModalitiesInStudy": modality, "StudyDate": dates},
            )

        items = _all_pages(page, _STUDY_UID)
        return {study: _value(item, _N_INSTANCES) for study, item in items.items()}

    def find_images(self, study_instance_uid: str) -> set[RemoteInstance]:
        """Find all images of a study; other objects are left out."""

        def page(offset: int) -> list[dict[str, Any]]:
            return self._client.search_for_instances(study_instance_uid, limit=_PAGE, offset=offset)

        return {
            RemoteInstance(str(_value(item, _SERIES_UID)), sop_instance_uid)
            for sop_instance_uid, item in _all_pages(page, _SOP_UID).items()
            if "Image Storage" in UID(_value(item, _SOP_CLASS) or "", config.IGNORE).name
        }

    def retrieve(self, study_instance_uid: str, instance: RemoteInstance) -> bytes:
        """Fetch an instance as a DICOM file, in the transfer syntax in which the server keeps it."""
        with _errors():
            dataset = self._client.retrieve_instance(study_instance_uid, *instance)
        buffer = BytesIO()
        dcmwrite(buffer, dataset, enforce_file_format=True)
        return buffer.getvalue()

    def store(self, dataset: Dataset) -> None:
        """Store one instance; a return means that the server has it."""
        with _errors(), _refusals():
            answer = self._client.store_instances([dataset])
        for item in answer.get("FailedSOPSequence") or []:
            reason = int(item.get("FailureReason") or 0)
            raise refusal(reason, f"STOW-RS: the report is refused, failure reason {reason:04X}")
        stored = [item.ReferencedSOPInstanceUID for item in answer.get("ReferencedSOPSequence") or []]
        if dataset.SOPInstanceUID not in stored:
            raise ServiceError(ReasonCode.PACS_REFUSED, "STOW-RS: the report is not among what was stored")

    def holds(self, objects: Sequence[Dataset]) -> bool:
        """Whether the server lists some objects, see :class:`monai_bone_ssl.service.delivery.Archive`."""
        return all(self._lists(dataset) for dataset in objects)

    def _lists(self, dataset: Dataset) -> bool:
        with _errors():
            items = self._client.search_for_instances(
                str(dataset.StudyInstanceUID), search_filters={"SOPInstanceUID": str(dataset.SOPInstanceUID)}
            )
        return dataset.SOPInstanceUID in {_value(item, _SOP_UID) for item in items}


class StowSender:
    """A way to the PACS by STOW-RS.

    Parameters
    ----------
    web
        The DICOMweb server.
    """

    def __init__(self, web: DicomWeb) -> None:
        self._web = web

    def send(self, objects: Sequence[Dataset]) -> None:
        """Send objects, see :class:`monai_bone_ssl.service.delivery.Sender`."""
        for dataset in objects:
            self._web.store(dataset)


class Poller:
    """Looks for studies on a server, and fetches the images that are not here yet.

    A study is held back from its analysis while its images are being fetched: a server that goes away in the
    middle must not make half a study look complete. A study that cannot be fetched stops no other: it is
    tried again, ever more slowly, and given up in the end.

    Parameters
    ----------
    web
        The server.
    intake, ledger, fetches
        Parts of the service that take what is fetched.
    settings
        Studies to look for.
    metrics
        Counts images that cannot be kept.
    backoff
        Pauses after a failure of one study.
    """

    def __init__(
        self,
        web: DicomWeb,
        intake: Intake,
        ledger: Ledger,
        fetches: Fetches,
        settings: PollSettings,
        metrics: ServiceMetrics,
        backoff: Backoff,
    ) -> None:
        self._web = web
        self._intake = intake
        self._ledger = ledger
        self._fetches = fetches
        self._settings = settings
        self._metrics = metrics
        self._backoff = backoff
        self._next_round = 0.0
        self._found: dict[str, int | None] = {}
        self._waiting: list[str] = []

    def run_once(self) -> bool:
        """Look for studies, if it is time to, or fetch one of those found; False where nothing is to be done.

        Raises
        ------
        ServiceError, ReportError
            Where the server, the ledger or the disk refuses; the next call goes on from there.
        """
        if not self._ledger.take_duty("polling"):
            self._waiting = []
        elif self._waiting:
            self._fetch(self._waiting.pop(0))
            return True
        elif time.monotonic() >= self._next_round:
            self._next_round = time.monotonic() + self._settings.every_seconds
            self._look()
        return bool(self._waiting)

    def _look(self) -> None:
        today = date.today()
        dates = f"{today - timedelta(self._settings.lookback_days):%Y%m%d}-{today:%Y%m%d}"
        self._found = {}
        for modality in self._settings.modalities:
            self._found |= self._web.find_studies(modality, dates)
        self._waiting = self._fetches.due(self._found)
        if not self._fetches.are_failing():
            self._metrics.success("fetch")

    def _fetch(self, study: str) -> None:
        """Fetch the images of one study that are not here yet."""
        missing: list[RemoteInstance] = []
        try:
            missing = self._missing(study)
            if missing:
                self._ledger.hold(study)
            self._fetch_images(study, missing)
        except ServiceError as error:
            if error.code is ReasonCode.LEDGER_UNAVAILABLE:
                raise
            self._postpone(study, missing, error)
        else:
            self._ledger.release(study)
            self._fetches.end(study, self._found.get(study))

    def _missing(self, study: str) -> list[RemoteInstance]:
        known = self._ledger.known_sop_instances(study)
        images = self._web.find_images(study)
        if not images and study not in self._found:  # a held one
            text = "DICOMweb: the study is not in the archive any more"
            raise ServiceError(ReasonCode.PACS_REFUSED, text)
        known |= self._ledger.missing_images(study).keys()
        return sorted(image for image in images if image.sop_instance_uid not in known)

    def _fetch_images(self, study: str, images: Sequence[RemoteInstance]) -> None:
        """Fetch images; where some do not come, the others do before the failure is raised."""
        failures: list[ServiceError] = []
        for image in images:
            error = self._fetch_image(study, image)
            if error is not None:
                failures.append(error)
            if sum(failure.code is ReasonCode.PACS_UNREACHABLE for failure in failures) == _MOST_TIMEOUTS:
                break
        if failures:
            raise failures[-1]

    def _fetch_image(self, study: str, image: RemoteInstance) -> ServiceError | None:
        """Fetch an image, or give it up where it cannot be kept; the failure where it may come later."""
        try:
            self._intake.store(self._web.retrieve(study, image), "dicomweb")
        except (CorruptImage, UnsupportedImage) as error:
            self._give_up_image(study, image, error.code)
        except ServiceError as error:
            if error.code is ReasonCode.LEDGER_UNAVAILABLE:
                raise
            return error
        return None

    def _postpone(self, study: str, missing: Sequence[RemoteInstance], error: ServiceError) -> None:
        """Try a study again later; after many attempts, go on without the images that never came."""
        attempts = self._fetches.postpone(study, self._backoff.seconds)
        self._metrics.error("fetch", error.code)
        log_event("not_fetched", level=logging.WARNING, study=study, reason=error.code, attempt=attempts)
        if attempts >= _MOST_FETCHES:
            self._give_up(study, missing)
        elif error.code is ReasonCode.PACS_UNREACHABLE:  # perhaps the server is down, for all studies
            self._waiting = []

    def _give_up(self, study: str, missing: Sequence[RemoteInstance]) -> None:
        known = self._ledger.known_sop_instances(study)
        for image in missing:
            if image.sop_instance_uid not in known:
                self._give_up_image(study, image, ReasonCode.FETCH_ABANDONED)
        if missing:
            self._ledger.release(study)
        else:  # the archive does not even list its images: nobody knows what was to come
            self._ledger.give_up(study, ReasonCode.FETCH_ABANDONED)
        self._fetches.end(study, self._found.get(study))

    def _give_up_image(self, study: str, image: RemoteInstance, reason: ReasonCode) -> None:
        self._fetches.note_missing(study, image.sop_instance_uid, reason)
        self._metrics.error("fetch", reason)
        log_event("image_given_up", level=logging.WARNING, study=study, reason=reason)


class _Login(AuthBase):
    """Login that reads its secret at each request: files of a secret store change."""

    def __init__(self, settings: DicomWebSettings) -> None:
        self._settings = settings

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        settings = self._settings
        if settings.username is not None:
            password = read_secret(settings.password_file, "BONE_SSL_DICOMWEB_PASSWORD") or ""
            HTTPBasicAuth(settings.username, password)(request)
            return request
        token = read_secret(settings.token_file, "BONE_SSL_DICOMWEB_TOKEN")
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token}"
        return request


def _all_pages(page: Callable[[int], list[dict[str, Any]]], tag: str) -> dict[str, dict[str, Any]]:
    """All items of a query, by the value of an element that differs between them.

    A server may give fewer items at a time than it was asked for, or ignore the offset: the end is where no
    new item comes.
    """
    items: dict[str, dict[str, Any]] = {}
    offset = 0
    while True:
        with _errors():
            found = page(offset)
        new = {str(_value(item, tag)): item for item in found}
        if new.keys() <= items.keys():
            return items
        items = new | items
        offset += len(found)


def _value(item: Mapping[str, Any], tag: str) -> Any:
    """First value of an element in DICOM JSON; None where it is absent or empty."""
    return next(iter(item.get(tag, {}).get("Value", [])), None)


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn the answers of STOW-RS that will be the same for this object each time into an error of their own.

    A server that stores none of the objects of a request answers with 409 and says why in the body (DICOM
    PS3.18 section 10.5.3).
    """
    try:
        yield
    except requests.HTTPError as error:
        status = 0 if error.response is None else error.response.status_code
        text = f"STOW-RS answered {status}"
        if status in _REFUSED_FOR_GOOD:
            raise ServiceError(ReasonCode.REPORT_REFUSED, text) from error
        if error.response is None or status != requests.codes.conflict:
            raise
        failed = Dataset.from_json(error.response.json()).get("FailedSOPSequence") or [Dataset()]
        raise refusal(int(failed[0].get("FailureReason") or 0), text) from error


@contextmanager
def _errors() -> Iterator[None]:
    """Turn every failure of HTTP into one error, without the server's text, which may quote what was sent."""
    try:
        yield
    except requests.HTTPError as error:
        status = "an error" if error.response is None else error.response.status_code
        raise ServiceError(ReasonCode.PACS_REFUSED, f"DICOMweb answered {status}") from error
    except requests.RequestException as error:
        text = f"DICOMweb: no answer ({type(error).__name__})"
        raise ServiceError(ReasonCode.PACS_UNREACHABLE, text) from error
    except (ValueError, IndexError, KeyError, AttributeError, OSError) as error:
        text = f"DICOMweb: an answer that cannot be read ({type(error).__name__})"
        raise ServiceError(ReasonCode.PACS_REFUSED, text) from error
