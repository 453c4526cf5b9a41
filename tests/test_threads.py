"""Work on threads: in order, little ahead, and nothing more after an error."""

from __future__ import annotations

import time
from contextlib import closing
from threading import Barrier

import pytest

from monai_bone_ssl.threads import available_cores, images_at_once, map_in_order


def test_results_come_in_the_order_of_the_items_whichever_is_ready_first() -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.05 if number % 3 == 0 else 0)
        return number

    assert list(map_in_order(slow_first, range(20), 3)) == list(range(20))


def test_as_many_run_together_as_there_are_threads() -> None:
    meeting = Barrier(3, timeout=20)
    assert len(list(map_in_order(lambda _: meeting.wait(), range(6), 3))) == 6


def test_only_a_few_are_begun_before_they_are_asked_for() -> None:
    begun: list[int] = []
    with closing(map_in_order(begun.append, range(100), 2)) as results:
        next(results)
        time.sleep(0.1)
    assert len(begun) <= 5


def test_an_error_comes_in_its_turn_and_ends_the_work() -> None:
    begun: list[int] = []

    def fail_at_three(number: int) -> int:
        begun.append(number)
        if number == 3:
            raise KeyError(number)
        return number

    results = map_in_order(fail_at_three, range(100), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError):
        next(results)
    assert len(begun) < 15


def test_there_is_a_core() -> None:
    assert available_cores() >= 1


@pytest.mark.parametrize(
    ("files", "cores", "expected"),
    [(0, 2, (1, 2)), (1, 2, (1, 2)), (9, 2, (2, 1)), (3, 8, (3, 2)), (99, 16, (4, 4)), (99, 1, (1, 1))],
)
def test_one_image_gets_all_cores_and_many_share_them(
    files: int, cores: int, expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monai_bone_ssl.threads.available_cores", lambda: cores)
    assert images_at_once(files) == expected
