from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from analyses import ROOT
from outside import small_file_system

from monai_bone_ssl.errors import ConfigError, ReportError
from monai_bone_ssl.review.lock import ReaderLock
from monai_bone_ssl.review.reader import Reader
from monai_bone_ssl.review.session import ReviewSession
from monai_bone_ssl.review.session_files import read_journals, read_verdicts
from monai_bone_ssl.review.verdict import Agreement, Location, Reading
from monai_bone_ssl.review.worklist import Worklist, worklist_from_results

from .reviews import ANNA, BEN, by_name, events, read, review

# --- keeping ----------------------------------------------------------------------------------------------


def test_a_review_resumes_where_it_was_left(tmp_path: Path, worklist: Worklist) -> None:
    mark = Location("ruler", ((1.5, 2.0), (3.0, 4.25)), 12.5)
    with ReviewSession.open(tmp_path, ANNA, worklist) as session:
        assert (session.position, session.progress(worklist)) == (None, (0, 5))
        read(session, worklist, {"1": Reading.ABNORMAL}, (mark,), "Grünholz? 骨折")
        session.opened(by_name(worklist)["2"].key)
        before = dict(session.verdicts)
    with ReviewSession.open(tmp_path, ANNA, worklist) as again:
        assert again.verdicts == before
        assert (again.position, again.progress(worklist)) == (by_name(worklist)["2"].key, (1, 5))
    (verdict,) = before.values()
    assert verdict.agreement is Agreement.AGREE
    assert (verdict.locations, verdict.comment, verdict.model_version) == ((mark,), "Grünholz? 骨折", "0.1.0")


def test_a_changed_verdict_keeps_the_former_one(tmp_path: Path, worklist: Worklist) -> None:
    with ReviewSession.open(tmp_path, ANNA, worklist) as session:
        read(session, worklist, {"1": Reading.ABNORMAL})
        read(session, worklist, {"1": Reading.NORMAL})
        assert session.verdicts[by_name(worklist)["1"].key].reading is Reading.NORMAL
    (journal,) = read_journals(tmp_path)
    readings = [event.verdict.reading for event in journal.events if event.verdict is not None]
    assert readings == [Reading.ABNORMAL, Reading.NORMAL]


def test_what_was_saved_is_on_the_disk_when_the_process_is_killed(tmp_path: Path, analysed: Path) -> None:
    program = f"""
from pathlib import Path
from monai_bone_ssl.review.reader import Reader
from monai_bone_ssl.review.session import ReviewSession
from monai_bone_ssl.review.verdict import Reading
from monai_bone_ssl.review.worklist import worklist_from_results
worklist = worklist_from_results(Path({str(analysed / "out")!r}))
session = ReviewSession.open(Path({str(tmp_path)!r}), Reader("Doe^Anna"), worklist)
for reading in [*Reading] * 1000:
    for case in worklist.cases:
        session.save(session.verdict(case, reading, seconds=1))
        print(case.key, reading, flush=True)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        told = dict(process.stdout.readline().split() for _ in range(12))
        process.kill()
        told |= dict(line.split() for line in process.stdout.read().splitlines())
    with ReviewSession.open(tmp_path, Reader("Doe^Anna"), worklist_from_results(analysed / "out")) as session:
        kept = {key: verdict.reading.value for key, verdict in session.verdicts.items()}
    n_kept = sum(event in ("saved", "changed") for event in events(tmp_path))
    # Of what was told, nothing is missing; one more may have been saved and not told any more.
    differing = [key for key in told if kept[key] != told[key]]
    assert len(differing) <= 1
    assert n_kept >= 12


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_verdict_and_its_audit_entry_are_kept_both_or_neither(
    tmp_path: Path, worklist: Worklist, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    """Whichever of the writes fails."""
    calls: list[int] = []

    def fail_once(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == nth:
            raise OSError(28, "No space left on device")

    with ReviewSession.open(tmp_path, ANNA, worklist) as session:
        read(session, worklist, {"0": Reading.NORMAL})
        with monkeypatch.context() as full:
            full.setattr(os, "fsync", fail_once)
            with suppress(ReportError):
                session.save(session.verdict(by_name(worklist)["1"], Reading.NORMAL, seconds=1))
        n_kept = len(session.verdicts)
        assert len(read_verdicts(tmp_path)["Doe^Anna"]) == events(tmp_path).count("saved") == n_kept
        assert n_kept == 1 or nth > 1
        read(session, worklist, {"1": Reading.ABNORMAL})
        assert len(session.verdicts) == len(read_verdicts(tmp_path)["Doe^Anna"]) == 2


def test_a_disk_that_fills_in_the_middle_of_a_verdict(tmp_path: Path, worklist: Worklist) -> None:
    with small_file_system(tmp_path / "disk", "64k") as folder:
        with ReviewSession.open(folder, ANNA, worklist) as session:
            read(session, worklist, {"0": Reading.NORMAL})
            (journal,) = folder.glob("journal_*")
            before = journal.read_bytes()
            (folder / "other").write_bytes(bytes(64 * 1024 - 4 * 4096))
            long = session.verdict(by_name(worklist)["1"], Reading.NORMAL, seconds=1, comment="x" * 9000)
            with pytest.raises(ReportError, match="No space left"):
                session.save(long)
            assert journal.read_bytes() == before
            assert len(session.verdicts) == 1
            (folder / "other").unlink()
            session.save(long)
        assert len(read_verdicts(folder)["Doe^Anna"]) == 2


@pytest.mark.parametrize("left", [1, 50, -1])
def test_a_verdict_that_a_crash_cut_short_is_lost_whole_and_told(
    tmp_path: Path, worklist: Worklist, left: int
) -> None:
    """With one byte of the line, some, or all but its end."""
    review(tmp_path, ANNA, worklist, {"0": Reading.NORMAL, "1": Reading.ABNORMAL})
    (path,) = tmp_path.glob("journal_*")
    *lines, saved, _ = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines) + saved[:left])
    keys = {name: case.key for name, case in by_name(worklist).items()}
    assert list(read_verdicts(tmp_path)["Doe^Anna"]) == [keys["0"]], "others read on meanwhile"
    with ReviewSession.open(tmp_path, ANNA, worklist) as session:
        assert session.recovered
        assert (list(session.verdicts), session.position) == ([keys["0"]], keys["1"])
    assert events(tmp_path)[-3:] == ["opened", "recovered", "closed"]
    with ReviewSession.open(tmp_path, ANNA, worklist) as session:
        assert not session.recovered


def test_a_review_whose_end_cannot_be_noted_locks_nobody_out(
    tmp_path: Path, worklist: Worklist, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = ReviewSession.open(tmp_path, ANNA, worklist)
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", _no_space)
        with pytest.raises(ReportError, match="No space left"):
            session.close()
    ReviewSession.open(tmp_path, ANNA, worklist).close()


def test_a_lock_that_cannot_be_written_locks_nobody_out(tmp_path: Path) -> None:
    with small_file_system(tmp_path / "disk", "64k") as folder:
        (folder / "other").write_bytes(bytes(64 * 1024))
        with pytest.raises(ReportError, match="No space left"):
            ReaderLock.acquire(folder / "a.lock", "Doe^Anna")
        (folder / "other").unlink()
        ReaderLock.acquire(folder / "a.lock", "Doe^Anna").release()
        assert list(folder.iterdir()) == []


def _no_space(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_folder_that_cannot_be_made(tmp_path: Path, worklist: Worklist) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ReportError, match="cannot be written"):
        ReviewSession.open(tmp_path / "file" / "review", ANNA, worklist)


@pytest.mark.parametrize("name", ["review.json", "journal"])
@pytest.mark.parametrize("content", [b"", b"{", b'{"schema_version": 1, "unknown": 2}', b"\xff\xfe"])
def test_a_damaged_file_is_named_and_never_overwritten(
    tmp_path: Path, worklist: Worklist, name: str, content: bytes
) -> None:
    review(tmp_path, ANNA, worklist, {"1": Reading.ABNORMAL})
    (file,) = tmp_path.glob(f"{name}*")
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=f"{file.name}.*left as it is"):
        ReviewSession.open(tmp_path, ANNA, worklist)
    with pytest.raises(ConfigError, match=file.name):
        read_verdicts(tmp_path)
    assert file.read_bytes() == content
    assert not list(tmp_path.glob("*.lock")), "a review that was not opened is not locked"


def test_an_impossible_verdict_in_a_file_is_damage(tmp_path: Path, worklist: Worklist) -> None:
    review(tmp_path, ANNA, worklist, {"1": Reading.ABNORMAL})
    (file,) = tmp_path.glob("journal_*")
    file.write_text(file.read_text().replace('"seconds":2.0', '"seconds":-2.0'))
    with pytest.raises(ConfigError, match=r"journal_.*line 3.*expected 0 or more"):
        read_verdicts(tmp_path)


# --- several readers --------------------------------------------------------------------------------------


def test_readers_do_not_touch_each_others_verdicts(tmp_path: Path, worklist: Worklist) -> None:
    with (
        ReviewSession.open(tmp_path, ANNA, worklist) as first,
        ReviewSession.open(tmp_path, BEN, worklist) as second,
    ):
        read(first, worklist, {"1": Reading.ABNORMAL})
        read(second, worklist, {"1": Reading.NORMAL})
    key = by_name(worklist)["1"].key
    found = {reader: verdicts[key].reading for reader, verdicts in read_verdicts(tmp_path).items()}
    assert found == {"Doe^Anna": Reading.ABNORMAL, "Ben Roe": Reading.NORMAL}


def test_names_that_look_alike_in_a_file_name_have_files_of_their_own(
    tmp_path: Path, worklist: Worklist
) -> None:
    readers = [Reader(name) for name in ("Roe^Ben", "Roe Ben", "roe^ben", "李^明", "王^明")]
    for reader in readers:
        review(tmp_path, reader, worklist, {"1": Reading.NORMAL})
    assert set(read_verdicts(tmp_path)) == {reader.name for reader in readers}
    assert all(path.name.isascii() for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["", " ", "^", "a^b^c^d^e^f", "x" * 65, "Doe\\Anna", "Doe\nAnna", "Doe=Anna"]
)
def test_a_reader_has_a_name(name: str) -> None:
    with pytest.raises(ConfigError, match="the reader's name"):
        Reader(name)


def test_the_same_reader_twice_is_refused_with_who_and_since_when(tmp_path: Path, worklist: Worklist) -> None:
    with ReviewSession.open(tmp_path, ANNA, worklist) as session:
        read(session, worklist, {"1": Reading.ABNORMAL})
        with pytest.raises(ConfigError) as caught:
            ReviewSession.open(tmp_path, ANNA, worklist)
    for part in ("Doe^Anna", socket.gethostname(), str(os.getpid()), "since 20", "delete this file"):
        assert part in caught.value.text
    ReviewSession.open(tmp_path, ANNA, worklist).close()


def test_a_lock_of_a_process_that_has_ended_is_taken_over(tmp_path: Path, worklist: Worklist) -> None:
    ReviewSession.open(tmp_path, ANNA, worklist)
    (lock,) = tmp_path.glob("*.lock")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    holder = json.loads(lock.read_text())
    lock.write_text(json.dumps(holder | {"pid": ended.pid}))
    ReviewSession.open(tmp_path, ANNA, worklist).close()


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"pid": 1}])
def test_a_lock_of_a_process_that_may_be_running_is_kept(
    tmp_path: Path, worklist: Worklist, change: dict[str, object]
) -> None:
    ReviewSession.open(tmp_path, ANNA, worklist)
    (lock,) = tmp_path.glob("*.lock")
    lock.write_text(json.dumps(json.loads(lock.read_text()) | change))
    with pytest.raises(ConfigError, match="close that session"):
        ReviewSession.open(tmp_path, ANNA, worklist)


def test_who_was_taken_over_overwrites_nothing(tmp_path: Path, worklist: Worklist) -> None:
    first = ReviewSession.open(tmp_path, ANNA, worklist)
    next(tmp_path.glob("*.lock")).unlink()  # as the message says
    with ReviewSession.open(tmp_path, ANNA, worklist) as second:
        read(second, worklist, {"1": Reading.ABNORMAL})
        with pytest.raises(ConfigError, match="close that session"):
            first.save(first.verdict(by_name(worklist)["1"], Reading.NORMAL, seconds=1))
        first.close()
        assert list(tmp_path.glob("*.lock")), "only the holder gives the lock back"
    assert [v.reading for v in read_verdicts(tmp_path)["Doe^Anna"].values()] == [Reading.ABNORMAL]


def test_who_joins_has_the_same_model_and_the_same_rules(
    tmp_path: Path, worklist: Worklist, analysed: Path
) -> None:
    review(tmp_path, ANNA, worklist, {"1": Reading.ABNORMAL})
    with pytest.raises(ConfigError, match=r"blinded False, expected True"):
        ReviewSession.open(tmp_path, BEN, worklist, blinded=True)
    assert worklist.model is not None
    other = Worklist(worklist.cases, msgspec.structs.replace(worklist.model, version="9"), worklist.target)
    with pytest.raises(ConfigError, match=r"model tiny 0\.1\.0 .*expected tiny 9"):
        ReviewSession.open(tmp_path, BEN, other)
    with pytest.raises(ConfigError, match="target fracture, expected None"):
        ReviewSession.open(tmp_path, BEN, worklist_from_results(analysed / "out"))


# --- blinded ----------------------------------------------------------------------------------------------


def test_a_blinded_reader_sees_the_answer_after_the_first_reading(tmp_path: Path, worklist: Worklist) -> None:
    key = by_name(worklist)["1"].key
    with ReviewSession.open(tmp_path, ANNA, worklist, blinded=True) as session:
        assert not session.may_see_ai(key)
        with pytest.raises(ConfigError, match="hidden until the first reading"):
            session.revealed(key)
        read(session, worklist, {"1": Reading.NORMAL})
        first = session.verdicts[key]
        assert session.may_see_ai(key)
        session.revealed(key)
        read(session, worklist, {"1": Reading.ABNORMAL})
        read(session, worklist, {"1": Reading.UNCERTAIN})
        last = session.verdicts[key]
    assert (first.blinded, first.first_reading) == (True, Reading.NORMAL)
    assert (last.blinded, last.first_reading, last.reading) == (False, Reading.NORMAL, Reading.UNCERTAIN)


def test_without_blinding_there_is_no_first_reading(tmp_path: Path, worklist: Worklist) -> None:
    with ReviewSession.open(tmp_path, ANNA, worklist) as session:
        read(session, worklist, {"1": Reading.NORMAL})
        (verdict,) = session.verdicts.values()
    assert (verdict.blinded, verdict.first_reading) == (False, None)


# --- audit ------------------------------------------------------------------------------------------------


def test_the_audit_trail_tells_everything_in_order(tmp_path: Path, worklist: Worklist) -> None:
    with ReviewSession.open(tmp_path, ANNA, worklist, blinded=True) as session:
        read(session, worklist, {"1": Reading.NORMAL})
        session.revealed(by_name(worklist)["1"].key)
        time.sleep(0.002)
        read(session, worklist, {"1": Reading.ABNORMAL})
    (path,) = tmp_path.glob("journal_*")
    (journal,) = read_journals(tmp_path)
    assert events(tmp_path) == ["opened", "saved", "revealed", "opened", "changed", "closed"]
    changed = journal.events[4].verdict
    assert changed is not None
    assert (changed.reading, changed.decision, changed.first_reading) == ("abnormal", "positive", "normal")
    start = path.read_bytes()
    with ReviewSession.open(tmp_path, ANNA, worklist, blinded=True) as session:
        read(session, worklist, {"2": Reading.NORMAL})
    assert path.read_bytes().startswith(start), "only appended to"
