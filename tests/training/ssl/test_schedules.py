"""Schedules at their ends and middle, against closed forms."""

from __future__ import annotations

import math

import pytest

from monai_bone_ssl.training.ssl.schedules import cosine, warmup_constant, warmup_cosine

CLOSE = pytest.approx


def test_cosine_is_half_a_cosine():
    assert cosine(0, 0.04, 0.4, 100) == CLOSE(0.04)
    assert cosine(50, 0.04, 0.4, 100) == CLOSE(0.22)  # the mean, half-way
    assert cosine(100, 0.04, 0.4, 100) == 0.4
    third = 0.4 - 0.36 * math.cos(math.pi / 6) ** 2  # (1 + cos 2x) / 2 = cos^2 x
    assert cosine(100, 0.04, 0.4, 300) == CLOSE(third)


def test_the_teachers_momentum_ends_at_exactly_one_and_stays():
    values = [cosine(step, 0.996, 1.0, 1000) for step in range(1200)]
    assert values == sorted(values)
    assert set(values[1000:]) == {1.0}


def test_a_warm_up_is_a_line():
    assert [warmup_constant(step, 0.04, 0.07, 3) for step in range(5)] == CLOSE(
        [0.04, 0.05, 0.06, 0.07, 0.07]
    )


def test_without_warm_up_the_end_holds_from_the_first_step():
    assert warmup_constant(0, 0.04, 0.07, 0) == 0.07
    assert warmup_cosine(0, 1e-3, 1e-6, 0, 100) == CLOSE(1e-3)


def test_learning_rate_rises_to_its_peak_and_falls_as_a_cosine():
    rate = [warmup_cosine(step, 1e-3, 1e-6, 10, 110) for step in range(121)]
    assert rate[:11] == CLOSE([1e-4 * step for step in range(11)])
    assert rate[60] == CLOSE((1e-3 + 1e-6) / 2)
    assert rate[35] == CLOSE(1e-6 + (1e-3 - 1e-6) * (1 + math.sqrt(0.5)) / 2)
    assert rate[110:] == [1e-6] * 11
    assert max(rate) == CLOSE(rate[10])


def test_a_run_that_is_all_warm_up_ends_at_its_end():
    assert warmup_cosine(9, 1.0, 0.1, 10, 10) == CLOSE(0.9)
    assert warmup_cosine(10, 1.0, 0.1, 10, 10) == 0.1
