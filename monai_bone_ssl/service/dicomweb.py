"""QIDO-RS, WADO-RS and STOW-RS, with every failure as one error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import Any, NamedTuple

import requests
from dicomweb_client import DICOMwebClient
from pydicom import Dataset, dcmwrite
from pydicom.uid import UID
from requests.auth import AuthBase, HTTPBasicAuth

from monai_bone_ssl.errors import ReasonCode, ServiceError
from monai_bone_ssl.service.settings import DicomWebSettings, read_secret

__all__ = ["DicomWeb", "RemoteInstance"]

_PAGE = 200
# Tags as QIDO-RS answers with them.
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
        Where it is and how to log in.

    Raises
    ------
    ServiceError
        From every method: ``PACS_UNREACHABLE`` or ``PACS_REFUSED``.
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
        self._client.set_http_retry_params(retry=False)  # we have patience of our own

    def find_studies(self, modality: str, dates: str) -> dict[str, int | None]:
        """Studies of a modality and a range of dates, as ``20260101-20260102``.

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
        """All images of a study; other objects are left out."""
        with _errors():
            items = self._client.search_for_instances(study_instance_uid, get_remaining=True)
        return {
            RemoteInstance(str(_value(item, _SERIES_UID)), str(_value(item, _SOP_UID)))
            for item in items
            if "Image Storage" in UID(_value(item, _SOP_CLASS) or "").name
        }

    def retrieve(self, study_instance_uid: str, instance: RemoteInstance) -> bytes:
        """An instance as a DICOM file, in the transfer syntax that the server has it in."""
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


class _Login(AuthBase):
    """Reads the secret at each request: files of a secret store change."""

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
    """Whatever goes wrong in HTTP, without the server's text, which may quote what was sent."""
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
