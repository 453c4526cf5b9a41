"""The ledger under two replicas, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from monai_bone_ssl.errors import ServiceError
from monai_bone_ssl.service.ledger import Ledger
from monai_bone_ssl.service.tables import Claim, Instance, StudyState

LEASE = 60.0


@pytest.fixture(params=["sqlite", "postgresql"])
def ledgers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Ledger, Ledger]]:
    """Two replicas on one empty database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    else:
        server = request.getfixturevalue("postgresql")
        import sqlalchemy

        engine = sqlalchemy.create_engine(server, isolation_level="AUTOCOMMIT")
        name = f"t{abs(hash(str(tmp_path)))}"
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        engine.dispose()
        url = server.replace("@/postgres", f"@/{name}")
    first, second = Ledger(url, "first", LEASE), Ledger(url, "second", LEASE)
    yield first, second
    first.close()
    second.close()


def instance(study: str, number: int) -> Instance:
    return Instance(study, f"{study}.{number}", f"digest {number}")


def add(ledger: Ledger, study: str, number: int = 1, now: float = 0.0) -> bool:
    return ledger.add_instance(instance(study, number), f"{study}.{number}.{now}.dcm", now)


def claimed(claim: Claim | None) -> Claim:
    assert claim is not None
    return claim


def test_many_threads_of_two_replicas_share_the_studies(ledgers: tuple[Ledger, Ledger]) -> None:
    studies = [f"1.{number}" for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        jobs = [(ledgers[n % 2], study, image) for n, study in enumerate(studies * 2) for image in (1, 2)]
        new = list(pool.map(lambda job: add(*job), jobs))
        assert sum(new) == 40, "each image is new once"
        assert ledgers[0].complete_quiet_studies(before=1.0, now=2.0) == 20
        claims = list(pool.map(lambda n: ledgers[n % 2].claim_analysis(3.0), range(30)))
    taken = [claim.study_instance_uid for claim in claims if claim is not None]
    assert len(taken) == len(set(taken)), "no study is taken twice"
    while (claim := ledgers[1].claim_analysis(3.0)) is not None:  # those a busy moment left out
        taken.append(claim.study_instance_uid)
    assert sorted(taken) == sorted(studies)


def test_a_study_of_a_silent_replica_is_taken_over_and_its_late_word_is_void(
    ledgers: tuple[Ledger, Ledger],
) -> None:
    first, second = ledgers
    add(first, "1.1")
    first.complete_quiet_studies(1.0, 1.0)
    lost = claimed(first.claim_analysis(10.0))
    assert second.claim_analysis(10.0 + LEASE / 2) is None
    first.renew_leases(10.0 + 0.6 * LEASE)
    assert second.claim_analysis(10.0 + 1.5 * LEASE) is None, "it gave a sign of life"
    taken = claimed(second.claim_analysis(10.0 + 2 * LEASE))
    assert taken.attempts == 2
    assert not first.finish(lost, StudyState.TO_SEND, 200.0, outbox=["SR_1.dcm"])
    assert second.finish(taken, StudyState.TO_SEND, 200.0, outbox=["SR_1.dcm"])
    assert claimed(first.claim_delivery(201.0)).outbox == ["SR_1.dcm"]
    assert second.claim_delivery(201.0) is None


def test_what_was_done_on_a_study_that_has_grown_is_void(ledgers: tuple[Ledger, Ledger]) -> None:
    ledger = ledgers[0]
    add(ledger, "1.1", 1)
    ledger.complete_quiet_studies(1.0, 1.0)
    claim = claimed(ledger.claim_analysis(2.0))
    assert not add(ledger, "1.1", 1, now=3.0), "known: nothing changes"
    assert add(ledger, "1.1", 2, now=4.0)
    assert not ledger.finish(claim, StudyState.TO_SEND, 5.0, outbox=["SR_1.dcm"])
    assert ledger.count_by_state()[StudyState.RECEIVED] == 1
    assert ledger.complete_quiet_studies(before=3.5, now=6.0) == 0, "quiet only since 4.0"
    assert ledger.complete_quiet_studies(before=4.0, now=6.0) == 1
    assert claimed(ledger.claim_analysis(7.0)).revision == 2


def test_a_retry_waits_for_its_time(ledgers: tuple[Ledger, Ledger]) -> None:
    ledger = ledgers[0]
    add(ledger, "1.1")
    ledger.complete_quiet_studies(1.0, 1.0)
    ledger.retry(claimed(ledger.claim_analysis(2.0)), 50.0, "write_failed")
    assert ledger.claim_analysis(49.0) is None
    claim = claimed(ledger.claim_analysis(50.0))
    assert claim.attempts == 2
    ledger.finish(claim, StudyState.TO_SEND, 51.0, outbox=["SR_1.dcm"])
    assert claimed(ledger.claim_delivery(52.0)).attempts == 1, "each step counts its own"


def test_an_analysis_that_was_cut_short_waits_before_it_is_begun_again(
    ledgers: tuple[Ledger, Ledger],
) -> None:
    ledger = ledgers[0]
    for study, now in (("1.1", 0.0), ("1.2", 0.5)):
        add(ledger, study, now=now)
    ledger.complete_quiet_studies(1.0, 1.0)

    def pause(attempts: int) -> float:
        return 10.0**attempts

    for begun, attempts in ((2.0, 1), (12.0, 2), (112.0, 3)):
        claim = claimed(ledger.claim_analysis(begun, pause=pause))
        assert (claim.study_instance_uid, claim.attempts) == ("1.1", attempts)
        ledger.desert()  # killed, and started again
        assert claimed(ledger.claim_analysis(begun + 1, untried_only=True)).study_instance_uid == "1.2"
        ledger.desert()
        assert claimed(ledger.claim_analysis(begun + 2)).study_instance_uid == "1.2", "the other goes first"
        reset(ledger, "1.2", begun + 3)


def reset(ledger: Ledger, study: str, now: float) -> None:
    """Another image comes: the study's attempts are counted anew."""
    add(ledger, study, 100 + int(now), now=now)
    ledger.complete_quiet_studies(now, now)


def test_a_held_study_is_not_complete(ledgers: tuple[Ledger, Ledger]) -> None:
    ledger = ledgers[0]
    ledger.hold("1.1", 0.0)
    add(ledger, "1.1")
    assert ledger.held() == ["1.1"]
    assert ledger.complete_quiet_studies(1.0, 1.0) == 0
    ledger.release("1.1", 5.0)
    assert ledger.complete_quiet_studies(1.0, 6.0) == 0, "quiet only since the last of it came"
    assert ledger.complete_quiet_studies(5.0, 6.0) == 1


def test_one_replica_at_a_time_has_a_duty(ledgers: tuple[Ledger, Ledger]) -> None:
    first, second = ledgers
    assert first.take_duty("polling", 0.0)
    assert not second.take_duty("polling", LEASE / 2)
    assert first.take_duty("polling", LEASE / 2)
    assert not second.take_duty("polling", 1.2 * LEASE)
    first.desert()
    assert second.take_duty("polling", 1.2 * LEASE)


def test_images_of_old_studies_are_forgotten_and_may_come_again(ledgers: tuple[Ledger, Ledger]) -> None:
    ledger = ledgers[0]
    for study in ("1.1", "1.2"):
        add(ledger, study)
    ledger.complete_quiet_studies(1.0, 1.0)
    claim = claimed(ledger.claim_analysis(2.0))
    ledger.finish(claim, StudyState.NOTHING_ELIGIBLE, 3.0, reason="blank_image")
    assert ledger.forget_images(before=2.0) == {}
    forgotten = ledger.forget_images(before=4.0)
    assert forgotten == {claim.study_instance_uid: [f"{claim.study_instance_uid}.1.0.0.dcm"]}
    names = [f"{study}.1.0.0.dcm" for study in ("1.1", "1.2")]
    assert ledger.unknown_names(names) == set(forgotten[claim.study_instance_uid])
    assert add(ledger, claim.study_instance_uid, now=5.0)


def test_a_ledger_that_is_away_is_a_service_error(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="the ledger cannot be used"):
        Ledger(f"sqlite:///{tmp_path / 'absent' / 'ledger.sqlite'}", "first", LEASE)
