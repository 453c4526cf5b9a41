"""The ledger under two replicas, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import text

from monai_bone_ssl.errors import ServiceError
from monai_bone_ssl.service.database import Database
from monai_bone_ssl.service.fetches import Fetches
from monai_bone_ssl.service.ledger import Ledger
from monai_bone_ssl.service.tables import Claim, Instance, StudyState

LEASE = 60.0
NAMES = itertools.count()


class Clock:
    """The database's clock, set by a test."""

    now = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(Database, "now", lambda *_: clock.now)
    return clock


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    server: str = request.getfixturevalue("postgresql")
    engine = sqlalchemy.create_engine(server, isolation_level="AUTOCOMMIT")
    name = f"t{abs(hash(str(tmp_path)))}"
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return server.replace("@/postgres", f"@/{name}")


@pytest.fixture
def databases(url: str) -> Iterator[tuple[Database, Database]]:
    """The connections of two replicas to one database."""
    first, second = Database(url), Database(url)
    yield first, second
    first.close()
    second.close()


@pytest.fixture
def ledgers(databases: tuple[Database, Database]) -> tuple[Ledger, Ledger]:
    """Two replicas on one empty database."""
    return Ledger(databases[0], "first", LEASE), Ledger(databases[1], "second", LEASE)


def instance(study: str, number: int) -> Instance:
    return Instance(study, f"{study}.{number}", f"digest {number}")


def add(ledger: Ledger, study: str, number: int = 1) -> bool:
    return ledger.add_instance(instance(study, number), f"{study}.{number}.{next(NAMES)}.dcm")


def step(ledger: Ledger, study: str, *states: StudyState) -> None:
    """Bring a study through states; no other may be due."""
    for state in states:
        claim = ledger.claim_delivery() if state is StudyState.SENT else ledger.claim_analysis()
        assert claimed(claim).study_instance_uid == study
        assert ledger.finish(claimed(claim), state, outbox={"SR_1.dcm": "00"})


def claimed(claim: Claim | None) -> Claim:
    assert claim is not None
    return claim


def test_many_threads_of_two_replicas_share_the_studies(ledgers: tuple[Ledger, Ledger]) -> None:
    studies = [f"1.{number}" for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        jobs = [(ledgers[n % 2], study, image) for n, study in enumerate(studies * 2) for image in (1, 2)]
        new = list(pool.map(lambda job: add(*job), jobs))
        assert sum(new) == 40, "each image is new once"
        assert ledgers[0].complete_quiet_studies(0) == 20
        claims = list(pool.map(lambda n: ledgers[n % 2].claim_analysis(), range(30)))
    taken = [claim.study_instance_uid for claim in claims if claim is not None]
    assert len(taken) == len(set(taken)), "no study is taken twice"
    while (claim := ledgers[1].claim_analysis()) is not None:  # those a busy moment left out
        taken.append(claim.study_instance_uid)
    assert sorted(taken) == sorted(studies)


def test_a_study_of_a_silent_replica_is_taken_over_and_its_late_word_is_void(
    ledgers: tuple[Ledger, Ledger], clock: Clock
) -> None:
    first, second = ledgers
    add(first, "1.1")
    first.complete_quiet_studies(0)
    clock.now = 10.0
    lost = claimed(first.claim_analysis())
    clock.now += LEASE / 2
    assert second.claim_analysis() is None
    clock.now += 0.1 * LEASE
    first.renew_leases()
    clock.now += 0.9 * LEASE
    assert second.claim_analysis() is None, "it gave a sign of life"
    clock.now += 0.5 * LEASE
    taken = claimed(second.claim_analysis())
    assert taken.attempts == 2
    assert not first.finish(lost, StudyState.TO_SEND, outbox={"SR_1.dcm": "00"})
    assert second.finish(taken, StudyState.TO_SEND, outbox={"SR_1.dcm": "00"})
    assert claimed(first.claim_delivery()).outbox == {"SR_1.dcm": "00"}
    assert second.claim_delivery() is None


def test_what_was_done_on_a_study_that_has_grown_is_void(
    ledgers: tuple[Ledger, Ledger], clock: Clock
) -> None:
    ledger = ledgers[0]
    add(ledger, "1.1", 1)
    ledger.complete_quiet_studies(0)
    claim = claimed(ledger.claim_analysis())
    assert not add(ledger, "1.1", 1), "known: nothing changes"
    clock.now = 4.0
    assert add(ledger, "1.1", 2)
    assert not ledger.finish(claim, StudyState.TO_SEND, outbox={"SR_1.dcm": "00"})
    assert ledger.count_by_state()[StudyState.RECEIVED] == 1
    clock.now = 6.0
    assert ledger.complete_quiet_studies(2.5) == 0, "quiet only since 4.0"
    assert ledger.complete_quiet_studies(2.0) == 1
    assert claimed(ledger.claim_analysis()).revision == 2


def test_a_retry_waits_for_its_time(ledgers: tuple[Ledger, Ledger], clock: Clock) -> None:
    ledger = ledgers[0]
    add(ledger, "1.1")
    ledger.complete_quiet_studies(0)
    ledger.retry(claimed(ledger.claim_analysis()), StudyState.COMPLETE, 50.0, "write_failed")
    clock.now = 49.0
    assert ledger.claim_analysis() is None
    clock.now = 50.0
    claim = claimed(ledger.claim_analysis())
    assert claim.attempts == 2
    ledger.finish(claim, StudyState.TO_SEND, outbox={"SR_1.dcm": "00"})
    assert claimed(ledger.claim_delivery()).attempts == 1, "each step counts its own"


def test_an_analysis_that_was_cut_short_waits_before_it_is_begun_again(
    ledgers: tuple[Ledger, Ledger], clock: Clock
) -> None:
    ledger = ledgers[0]
    add(ledger, "1.1")
    clock.now = 0.5
    add(ledger, "1.2")
    ledger.complete_quiet_studies(0)

    def pause(attempts: int) -> float:
        return 10.0**attempts

    for begun, attempts in ((2.0, 1), (12.0, 2), (112.0, 3)):
        clock.now = begun
        claim = claimed(ledger.claim_analysis(pause=pause))
        assert (claim.study_instance_uid, claim.attempts) == ("1.1", attempts)
        ledger.desert()  # killed, and started again
        clock.now += 1
        assert claimed(ledger.claim_analysis(untried_only=True)).study_instance_uid == "1.2"
        ledger.desert()
        assert claimed(ledger.claim_analysis()).study_instance_uid == "1.2", "the other goes first"
        clock.now = begun + 10.0**attempts + 1  # another image comes: the study's attempts are counted anew
        add(ledger, "1.2", 100 + attempts)
        ledger.complete_quiet_studies(0)


def test_a_study_that_a_silent_replica_began_is_not_left_behind_by_a_stream_of_others(
    ledgers: tuple[Ledger, Ledger], clock: Clock
) -> None:
    first, second = ledgers
    add(first, "1.1")
    first.complete_quiet_studies(0)
    assert first.claim_analysis() is not None
    clock.now = 2 * LEASE
    add(second, "1.2")
    second.complete_quiet_studies(0)
    assert claimed(second.claim_analysis()).study_instance_uid == "1.1"


def test_a_held_study_is_not_complete(ledgers: tuple[Ledger, Ledger], clock: Clock) -> None:
    ledger = ledgers[0]
    ledger.hold("1.1")
    add(ledger, "1.1")
    assert ledger.complete_quiet_studies(0) == 0
    clock.now = 5.0
    ledger.release("1.1")
    clock.now = 6.0
    assert ledger.complete_quiet_studies(2.0) == 0, "quiet only since the last of it came"
    assert ledger.complete_quiet_studies(1.0) == 1


def test_one_replica_at_a_time_has_a_duty(ledgers: tuple[Ledger, Ledger], clock: Clock) -> None:
    first, second = ledgers
    assert first.take_duty("polling")
    clock.now = LEASE / 2
    assert not second.take_duty("polling")
    assert first.take_duty("polling")
    clock.now = 1.2 * LEASE
    assert not second.take_duty("polling")
    first.desert()
    assert second.take_duty("polling")


def test_a_replica_whose_clock_is_ahead_completes_no_study_early(
    ledgers: tuple[Ledger, Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both replicas ask the database for the time, however late it is on their own machines."""
    first, second = ledgers
    add(first, "1.1")
    real = time.time()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real + 120)
        assert second.complete_quiet_studies(60) == 0
    assert second.complete_quiet_studies(0) == 1
    assert abs(claimed(second.claim_analysis()).age) < 60


def test_a_clock_that_is_set_back_keeps_no_study_waiting(
    ledgers: tuple[Ledger, Ledger], clock: Clock
) -> None:
    first, second = ledgers
    clock.now = 7200.0
    for study in ("1.1", "1.2", "1.3"):
        add(first, study)
    first.complete_quiet_studies(0)
    assert first.claim_analysis() is not None
    second.retry(claimed(second.claim_analysis()), StudyState.COMPLETE, 30.0, "write_failed")
    assert first.take_duty("polling")
    add(first, "1.3", 2)
    clock.now = 3600.0
    second.forgive_clock(longest_pause=60.0)
    assert second.complete_quiet_studies(1.0) == 0, "the quiet period starts again"
    clock.now += LEASE + 1
    assert second.complete_quiet_studies(1.0) == 1
    assert [second.claim_analysis() is not None for _ in range(4)] == [True, True, True, False]
    assert second.take_duty("polling")


def end(ledger: Ledger, study: str, images: int = 1) -> None:
    for number in range(images):
        add(ledger, study, number)
    ledger.complete_quiet_studies(0)
    step(ledger, study, StudyState.NOTHING_ELIGIBLE)


def test_images_of_old_studies_are_forgotten_and_may_come_again(
    ledgers: tuple[Ledger, Ledger], clock: Clock
) -> None:
    ledger = ledgers[0]
    end(ledger, "1.1")
    add(ledger, "1.2")
    (name,) = ledger.image_names(Claim("1.1", StudyState.SENT, 1, 1, 0.0, {}))
    clock.now = 3.0
    assert ledger.forget_images(age=4.0) == {}
    assert ledger.forget_images(age=2.0) == {"1.1": [name]}
    assert list(ledger.unknown_names([name, *ledger.image_names(claim_of("1.2"))])) == [name]
    assert add(ledger, "1.1")


def claim_of(study: str) -> Claim:
    return Claim(study, StudyState.RECEIVED, 1, 1, 0.0, {})


def test_a_study_has_an_end_too(ledgers: tuple[Ledger, Ledger], clock: Clock) -> None:
    ledger = ledgers[0]
    for number in range(3):
        end(ledger, f"1.{number}")
    assert ledger.count_by_state()[StudyState.NOTHING_ELIGIBLE] == 3
    clock.now = 100.0
    assert ledger.forget_studies(age=50.0) == 0, "their images are there"
    while ledger.forget_images(age=50.0):
        pass
    assert ledger.forget_studies(age=150.0) == 0
    add(ledger, "1.0")
    assert ledger.forget_studies(age=50.0) == 2
    counts = ledger.count_by_state()
    assert (counts[StudyState.NOTHING_ELIGIBLE], counts[StudyState.RECEIVED]) == (0, 1)


@pytest.mark.parametrize("count", [65_536, 250_001])
def test_any_number_of_files_may_be_unknown(ledgers: tuple[Ledger, Ledger], count: int) -> None:
    ledger = ledgers[0]
    ledger.add_instance(instance("1.1", 1), "known.dcm")
    names = [f"{number}.dcm" for number in range(count - 1)]
    unknown = list(ledger.unknown_names(["known.dcm", *names]))
    assert sorted(unknown) == sorted(names)


@pytest.mark.slow
def test_a_million_studies_cost_what_ten_do(
    databases: tuple[Database, Database], ledgers: tuple[Ledger, Ledger]
) -> None:
    """Median times of what the service does all the time: below the time of one commit, give or take."""
    database, ledger = databases[0], ledgers[0]
    fetches = Fetches(database)

    def milliseconds() -> dict[str, float]:
        def work() -> dict[str, float]:
            study = f"2.{next(NAMES)}"
            steps = {
                "add": lambda: add(ledger, study),
                "complete": lambda: ledger.complete_quiet_studies(0),
                "claim": lambda: step(ledger, study, StudyState.TO_SEND),
                "send": lambda: step(ledger, study, StudyState.SENT),
                "count": ledger.count_by_state,
                "renew": ledger.renew_leases,
                "forgive": lambda: ledger.forgive_clock(60),
                "forget": lambda: ledger.forget_images(1e6),
                "due": lambda: fetches.due({study: 1}),
            }
            return {name: 1000 * seconds(action) for name, action in steps.items()}

        rounds = [work() for _ in range(21)]
        return {name: sorted(times[name] for times in rounds)[10] for name in rounds[0]}

    few = milliseconds()
    with database.transaction() as session:
        session.execute(
            text(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) "
                "INSERT INTO studies (study_instance_uid, state, revision, has_images, held, "
                "last_instance_at, changed_at, attempts, next_attempt, lease_until, outbox) "
                "SELECT '1.2.' || i, 'sent', 1, false, false, i, i, 0, i, 0, '{}' FROM n"
            )
        )
        session.execute(text("UPDATE tallies SET studies = studies + 1000000 WHERE state = 'sent'"))
    many = milliseconds()
    print({name: (round(few[name], 2), round(many[name], 2)) for name in few})
    assert ledger.count_by_state()[StudyState.SENT] == 1_000_042
    assert {name: times for name, times in many.items() if times > 3 * few[name] + 2} == {}


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def test_a_ledger_of_version_0_1_0_is_brought_up_to_date(url: str) -> None:
    """The dump was written by version 0.1.0: a study in every state, and one that was being fetched."""
    dump = (Path(__file__).parent / "ledger_0.1.0.sql").read_text()
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        for statement in sql_statements(dump, engine.dialect.name):
            connection.execute(text(statement))
    engine.dispose()
    for _ in range(2):  # a second start finds nothing to do
        database = Database(url)
        ledger = Ledger(database, "node", LEASE)
        assert ledger.count_by_state() == {
            StudyState.RECEIVED: 2,
            StudyState.COMPLETE: 2,
            StudyState.ANALYSING: 1,
            StudyState.TO_SEND: 0,
            StudyState.SENT: 1,
            StudyState.NOTHING_ELIGIBLE: 1,
            StudyState.FAILED: 1,
        }
        database.close()
    database = Database(url)
    ledger = Ledger(database, "node", LEASE)
    ledger.desert()
    ledger.complete_quiet_studies(60)
    claims = list(iter(ledger.claim_analysis, None))
    assert {c.study_instance_uid for c in claims if c} == {"1.2.4", "1.2.5", "1.2.6", "1.2.7"}
    assert all(len(ledger.image_names(claim)) == 2 for claim in claims if claim)
    assert Fetches(database).due({}) == ["1.2.8"]
    assert set(ledger.forget_images(0)) == {"1.2.1", "1.2.2", "1.2.3"}
    assert ledger.forget_studies(0) == 3
    database.close()


def sql_statements(dump: str, dialect: str) -> list[str]:
    statements = [part for part in dump.split(";\n") if part and part not in ("BEGIN TRANSACTION", "COMMIT")]
    if dialect == "sqlite":
        return statements
    tables = [part.replace("DOUBLE", "FLOAT") for part in statements if part.startswith("CREATE")]
    rows = [part for part in statements if part.startswith("INSERT")]
    # PostgreSQL checks references at once, and has a type of its own for yes and no.
    order = ["duties", "studies", "instances"]
    tables.sort(key=lambda part: next((i for i, n in enumerate(order) if f"TABLE {n}" in part), 9))
    rows.sort(key=lambda part: next(i for i, n in enumerate(order) if f'"{n}"' in part))
    held = re.compile(r"('\w+',\d+),([01]),")
    yes_or_no = {"0": "false", "1": "true"}
    return tables + [held.sub(lambda m: f"{m[1]},{yes_or_no[m[2]]},", part) for part in rows]


def test_a_ledger_that_is_away_is_a_service_error(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="the ledger cannot be used"):
        Database(f"sqlite:///{tmp_path / 'absent' / 'ledger.sqlite'}")
