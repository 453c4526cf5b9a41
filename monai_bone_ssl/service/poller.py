"""New studies from a DICOMweb server, image by image into the intake."""

from __future__ import annotations

import time
from datetime import date, timedelta

from monai_bone_ssl.errors import CorruptImage, UnsupportedImage
from monai_bone_ssl.service.dicomweb import DicomWeb, RemoteInstance
from monai_bone_ssl.service.events import log_event
from monai_bone_ssl.service.intake import Intake
from monai_bone_ssl.service.ledger import Ledger
from monai_bone_ssl.service.metrics import ServiceMetrics
from monai_bone_ssl.service.settings import PollSettings

__all__ = ["Poller"]


class Poller:
    """Looks for studies and fetches what is not here yet.

    A study is held back from its analysis while it is being fetched: a server that goes away in the middle
    must not make half a study look complete.

    Parameters
    ----------
    web
        The server.
    intake, ledger
        Take what is fetched.
    settings
        Which studies.
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
        """Fetch all that is new.

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
        """Whether the image is here now. A study with one that cannot be kept stays held: nobody saw it."""
        try:
            self._intake.store(self._web.retrieve(study, image))
        except (CorruptImage, UnsupportedImage) as error:
            self._metrics.error("fetch", error.code)
            log_event("not_fetched", study=study, reason=error.code)
            return False
        return True
