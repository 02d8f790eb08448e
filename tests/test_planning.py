"""The plan of a backoff: least, mean and most of each wait."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrywrap.decide.backoff import as_backoff, decorrelated, exponential, fibonacci, fixed
from retrywrap.decide.planning import PlannedWait, plan, planned_waits


def test_a_plan_without_jitter_is_exact() -> None:
    """Without jitter least, mean and most are the wait itself; retries are counted from 1."""
    assert plan(fixed(5), 2) == [PlannedWait(1, 5, 5, 5), PlannedWait(2, 5, 5, 5)]


def test_the_mean_of_jitter_is_exact_where_a_formula_gives_it() -> None:
    """Full jitter lies between 0 and e with mean e/2; products of independent jitters multiply their means."""
    rows = plan(exponential(4, cap=10), 3)
    assert [row[:3] for row in rows] == [(1, 0, 2), (2, 0, 4), (3, 0, 5)]
    assert [row.maximum for row in rows] == pytest.approx([4, 8, 10])
    (row,) = plan(fixed(8).jittered("equal").jittered(0.5), 1)
    assert row[:3] == (1, 2, 6)
    assert row.maximum == pytest.approx(12)


def test_a_plan_ends_with_the_backoff() -> None:
    """A backoff that gives up after two waits has a plan of two."""
    assert len(plan(exponential(1).take(2), 10)) == 2
    assert plan(fixed(1), 0) == []


def test_the_mean_of_decorrelated_jitter_is_sampled() -> None:
    """Bounds stay exact; the mean of s₁ = uniform(1, 3) is close to 2, and the same for the same seed."""
    rows = plan(decorrelated(1, cap=100), 3, samples=4000, seed=3)
    assert [row.minimum for row in rows] == [1, 1, 1]
    assert [row.maximum for row in rows] == pytest.approx([3, 9, 27])
    assert [row.mean for row in rows] == pytest.approx([2, 3.5, 5.75], rel=0.05)
    assert rows == plan(decorrelated(1, cap=100), 3, samples=4000, seed=3)
    assert rows != plan(decorrelated(1, cap=100), 3, samples=4000, seed=4)


def test_the_mean_of_capped_jitter_is_sampled() -> None:
    """Half of uniform(0, 10) cut at 5 is 5: the mean is 3.75, which no pinned random number gives."""
    (row,) = plan(fixed(10).jittered().capped(5), 1, samples=20_000)
    assert (row.minimum, row.maximum) == (0, 5)
    assert row.mean == pytest.approx(3.75, rel=0.02)


def test_a_million_retries_are_planned_one_by_one() -> None:
    """Rows come as they are asked for; the bounds of a late retry are known without the whole list."""
    row = next(islice(planned_waits(fibonacci(1, jitter="full"), 10**6), 10**5, None))
    assert row[:3] == (100_001, 0, 30)
    assert row.maximum == pytest.approx(60)


def test_many_retries_are_sampled_less() -> None:
    """No more than about ten million numbers are drawn for a mean, so that a huge plan begins at once."""

    class Counted:
        begun = 0

        def __iter__(self) -> Iterator[int]:
            Counted.begun += 1
            return iter(range(1, 10**6))

    backoff = as_backoff(Counted()).capped(3)
    Counted.begun = 0
    next(planned_waits(backoff, 10**6, samples=1000))
    assert Counted.begun == 2 + 10
    Counted.begun = 0
    next(planned_waits(backoff, 100, samples=50))
    assert Counted.begun == 2 + 50


@given(
    st.one_of(
        st.builds(lambda b, c: decorrelated(b, cap=c), st.floats(0, 1e3), st.floats(0, 1e3)),
        st.builds(lambda b, r: exponential(b, jitter=r).capped(30), st.floats(0, 1e3), st.floats(0.01, 1)),
    )
)
def test_the_mean_lies_between_the_bounds(backoff: object) -> None:
    """Sampled or not, rounding never puts a mean outside of what can happen."""
    for row in plan(as_backoff(backoff), 8, samples=20):  # type: ignore[arg-type]  # a strategy's values have no type
        assert 0 <= row.minimum <= row.mean <= row.maximum < math.inf
