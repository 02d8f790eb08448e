"""What a backoff is told apart by, what may follow it, what its planner needs to know, and its plain defaults."""

from __future__ import annotations

import re
import sys
from itertools import islice
from typing import Any

import pytest

from retrywrap import decorrelated, exponential, fibonacci, fixed, linear
from retrywrap.decide.backoff import HINT_SLACK, Backoff, as_backoff, check_wait, clamp_hint


def test_defaults() -> None:
    """A minute is the cap, waits double, jitter is full in exponential backoffs and none in Fibonacci's."""
    assert linear(1) == linear(1, 1, cap=60)
    assert exponential(1) == exponential(1, cap=60, factor=2, jitter="full")
    assert decorrelated(1) == decorrelated(1, cap=60)
    assert fibonacci(1) == fibonacci(1, cap=60, jitter=None)
    assert fixed(1).jittered() == fixed(1).jittered("full")


def test_hints_lengthen_by_five_seconds_at_most() -> None:
    """The rule of the AWS SDKs."""
    assert HINT_SLACK == 5.0
    assert [clamp_hint(hint, 2.0) for hint in (1.0, 2.0, 3.0, 7.0, 7.5)] == [2.0, 2.0, 3.0, 7.0, 7.0]


def test_different_backoffs_hash_differently() -> None:
    """By kind and by each number; otherwise a dict of them would be a list."""
    different = [fixed(1), fixed(2), linear(1), linear(1, 2), linear(1, cap=2), decorrelated(1), fixed(1).take(1)]
    assert len(set(map(hash, different))) == len(set(different)) == len(different)


@pytest.mark.parametrize(
    "first", [as_backoff([1, 1]), as_backoff(range(1, 2)), fixed(1).take(2), fixed(1) + as_backoff([0, 0])], ids=repr
)
def test_what_ends_may_be_followed(first: Backoff) -> None:
    """A list, somebody's own iterable, what was cut, and a sum with one of them."""
    assert list(islice(first.then(7), len(list(first)) + 1)) == [*first, 7.0]


@pytest.mark.parametrize("endless", [fixed(1), fixed(1) + fixed(2), as_backoff([1]).then(2), fixed(1) * 2], ids=repr)
def test_what_has_no_end_is_shown(endless: Backoff) -> None:
    """The message shows the backoff after which nothing can come."""
    text = f"then() would never be reached: {endless!r} has no end; put .take(n) before it"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        endless.then(3)


@pytest.mark.parametrize(
    ("backoff", "linearly"),
    [
        (fixed(1), True),
        (exponential(1), True),
        (fibonacci(1, jitter=0.5), True),
        (decorrelated(1), False),
        (exponential(1).capped(3), False),
        (exponential(1) + decorrelated(1), False),
        (exponential(1) + fixed(1), True),
        (decorrelated(1).take(2).then(fixed(1)), False),
    ],
    ids=repr,
)
def test_where_the_mean_is_the_wait_at_a_half(backoff: Backoff, linearly: bool) -> None:
    """Only where each wait is linear in its random numbers; one part that is not is enough to spoil it."""
    assert backoff.draws_linearly() is linearly


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (linear(1, 2, cap=3), "linear(1, 2, cap=3)"),
        (exponential(1, cap=3), "exponential(1, cap=3)"),
        (exponential(1, cap=3, factor=3, jitter=0.5), "exponential(1, cap=3, factor=3, jitter=0.5)"),
        (exponential(1, cap=3, jitter=None), "exponential(1, cap=3, jitter=None)"),
        (decorrelated(0.5, cap=3), "decorrelated(0.5, cap=3)"),
        (fibonacci(1, cap=3), "fibonacci(1, cap=3)"),
        (fibonacci(1, cap=3, jitter="equal"), "fibonacci(1, cap=3, jitter='equal')"),
    ],
)
def test_how_a_backoff_is_written(expression: Backoff, text: str) -> None:
    """As the call that makes it, without what is usual."""
    assert repr(expression) == text


@pytest.mark.parametrize("value", ["5", None, b"5", {}])
def test_a_wrong_interval_is_named(value: Any) -> None:
    """As the parameter that it was given for, which is ``interval`` unless somebody else asks."""
    with pytest.raises(TypeError, match=r"^interval must be "):
        as_backoff(value)
    with pytest.raises(TypeError, match=r"^pause must be "):
        as_backoff(value, "pause")


def test_equal_numbers_do_not_make_equal_backoffs() -> None:
    """Two waits of a second are not waits of two seconds; and nothing else is a backoff."""
    assert fixed(1).take(2) != fixed(1) * 2
    assert hash(fixed(1).take(2)) != hash(fixed(1) * 2)
    assert fixed(1).__eq__(1.0) is NotImplemented
    assert fixed(1).__mul__("2") is NotImplemented  # type: ignore[operator]  # the test's point


def test_what_cannot_be_is_shown() -> None:
    """Each message shows the value; where a user's own iterable is to blame, its error has no other behind it."""
    assert next(iter(fixed(1).take(sys.maxsize))) == 1.0
    with pytest.raises(ValueError, match=rf"^retries must be between 0 and {sys.maxsize}; got -1$"):
        fixed(1).take(-1)
    with pytest.raises(AttributeError, match=r"instead of changing fixed\(1\)$"):
        del fixed(1)._kind
    with pytest.raises(ValueError, match=r"^a wait must be .*; got 'soon'$") as caught:
        check_wait("soon")
    assert caught.value.__suppress_context__
    assert repr(fixed(1e16)) == "fixed(1e+16)"
