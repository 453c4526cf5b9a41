"""Numbers for Prometheus, and the last error of each stage for people."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from monai_bone_ssl.errors import ReasonCode
from monai_bone_ssl.service.tables import StudyState

__all__ = ["LastError", "ServiceMetrics"]

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


@dataclass(frozen=True)
class LastError:
    """The most recent failure of a stage that has not succeeded since."""

    code: ReasonCode
    at: float
    """Seconds since the epoch."""
    in_a_row: int


class ServiceMetrics:
    """Counters of this process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._studies = Gauge(
            "bone_ssl_studies", "Studies in the ledger by state", ["state"], registry=self._registry
        )
        self._seconds = Histogram(
            "bone_ssl_stage_seconds",
            "Time a study spent in a stage: analyse, send, or total from its last image to its report sent",
            ["stage"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._errors = Counter(
            "bone_ssl_errors", "Failures by stage and reason code", ["stage", "code"], registry=self._registry
        )
        self._last: dict[str, LastError] = {}
        self._lock = Lock()

    def observe(self, stage: str, seconds: float) -> None:
        """A study went through a stage."""
        self._seconds.labels(stage).observe(seconds)

    def error(self, stage: str, code: ReasonCode) -> None:
        """A stage failed."""
        self._errors.labels(stage, code).inc()
        with self._lock:
            before = self._last.get(stage)
            self._last[stage] = LastError(code, time.time(), 1 + (before.in_a_row if before else 0))

    def success(self, stage: str) -> None:
        """A stage works."""
        with self._lock:
            self._last.pop(stage, None)

    def last_errors(self) -> Mapping[str, LastError]:
        """What does not work at the moment."""
        with self._lock:
            return dict(self._last)

    def exposition(self, studies: Mapping[StudyState, int]) -> bytes:
        """All numbers in Prometheus' text format."""
        for state, count in studies.items():
            self._studies.labels(state).set(count)
        return generate_latest(self._registry)
