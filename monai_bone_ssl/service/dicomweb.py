"""DICOMweb, in and out: studies are found and fetched by QIDO-RS and WADO-RS, reports leave by STOW-RS."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
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
from monai_bone_ssl.service.events import log_event
from monai_bone_ssl.service.intake import Intake
from monai_bone_ssl.service.ledger import Ledger
from monai_bone_ssl.service.settings import DicomWebSettings, PollSettings, read_secret
from monai_bone_ssl.service.status import ServiceMetrics

__all__ = ["DicomWeb", "Poller", "RemoteInstance", "StowSender"]

_PAGE = 200  # studies asked for at a time
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
        found: dict[str, int | None] = {}
        while True:
            with _errors():
                page = self._client.search_for_studies(
                    limit=_PAGE,
                    offset=len(found),
                    fields=["NumberOfStudyRelatedInstances"],
                    search_filters={"ModalitiesInStudy": modality, "StudyDate": dates},
                )
            before = len(found)
            found |= {str(_value(item, _STUDY_UID)): _value(item, _N_INSTANCES) for item in page}
            if len(page) < _PAGE or len(found) == before:
                return found

    def find_images(self, study_instance_uid: str) -> set[RemoteInstance]:
        """Find all images of a study; other objects are left out."""
        with _errors():
            items = self._client.search_for_instances(study_instance_uid, get_remaining=True)
        return {
            RemoteInstance(str(_value(item, _SERIES_UID)), str(_value(item, _SOP_UID)))
            for item in items
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
        with _errors():
            answer = self._client.store_instances([dataset])
        stored = [item.ReferencedSOPInstanceUID for item in answer.get("ReferencedSOPSequence") or []]
        if dataset.SOPInstanceUID not in stored:
            raise ServiceError(ReasonCode.PACS_REFUSED, "STOW-RS: the report is not among what was stored")


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
        """Send objects, see :class:`monai_bone_ssl.service.worker.Sender`."""
        for dataset in objects:
            self._web.store(dataset)


class Poller:
    """Looks for studies on a server, and fetches the images that are not here yet.

    A study is held back from its analysis while its images are being fetched: a server that goes away in the
    middle must not make half a study look complete.

    Parameters
    ----------
    web
        The server.
    intake, ledger
        Take what is fetched.
    settings
        Studies to look for.
    metrics
        Counts images that cannot be kept.
    """

    def __init__(
        self, web: DicomWeb, intake: Intake, ledger: Ledger, settings: PollSettings, metrics: ServiceMetrics
    ) -> None:
        self._web = web
        self._intake = intake
        self._ledger = ledger
        self._settings = settings
        self._metrics = metrics
        self._seen: dict[str, int] = {}

    def run_once(self) -> None:
        """Fetch all images that are new.

        Raises
        ------
        ServiceError, ReportError
            Where the server, the ledger or the disk refuses; the next call goes on from there.
        """
        today = date.today()
        dates = f"{today - timedelta(self._settings.lookback_days):%Y%m%d}-{today:%Y%m%d}"
        found: dict[str, int | None] = dict.fromkeys(self._ledger.held())
        for modality in self._settings.modalities:
            found |= self._web.find_studies(modality, dates)
        for study, count in found.items():
            if count is None or self._seen.get(study) != count:
                self._fetch(study)
            if count is not None:
                self._seen[study] = count
        self._seen = {study: count for study, count in self._seen.items() if study in found}

    def _fetch(self, study: str) -> None:
        images = self._web.find_images(study)
        known = self._ledger.known_sop_instances(study)
        missing = sorted(image for image in images if image.sop_instance_uid not in known)
        if missing:
            self._ledger.hold(study, time.time())
        is_whole = [self._fetch_image(study, image) for image in missing]
        if all(is_whole):
            self._ledger.release(study, time.time())

    def _fetch_image(self, study: str, image: RemoteInstance) -> bool:
        """Fetch an image; False where it cannot be kept. Its study stays held then: nobody saw that image."""
        try:
            self._intake.store(self._web.retrieve(study, image), "dicomweb")
        except (CorruptImage, UnsupportedImage) as error:
            self._metrics.error("fetch", error.code)
            log_event("not_fetched", study=study, reason=error.code)
            return False
        return True


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


def _value(item: Mapping[str, Any], tag: str) -> Any:
    """First value of an element in DICOM JSON; None where it is absent or empty."""
    return next(iter(item.get(tag, {}).get("Value", [])), None)


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
