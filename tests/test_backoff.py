"""Backoffs: the waits they give, how they combine, and what they refuse."""

from __future__ import annotations

import copy
import math
import pickle
import random
import sys
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrywrap.decide.backoff import (
    HINT_SLACK,
    Backoff,
    as_backoff,
    check_wait,
    clamp_hint,
    decorrelated,
    exponential,
    fibonacci,
    fixed,
    linear,
)
from retrywrap.decide.checks import shown, shown_path

LARGEST = sys.float_info.max
JUST_UNDER_ONE = math.nextafter(1.0, 0.0)
NAMES = {
    "as_backoff": as_backoff,
    "decorrelated": decorrelated,
    "exponential": exponential,
    "fibonacci": fibonacci,
    "fixed": fixed,
    "linear": linear,
}

seconds = st.floats(0, 1e6) | st.integers(0, 10**6)
any_seconds = st.floats(0, LARGEST, exclude_max=False)
pure_jitters = st.sampled_from(["full", "equal", None])
ratios = st.floats(0, 1, exclude_min=True)
factors = st.floats(1, 100)
capped_factories = st.one_of(
    st.builds(lambda a, s, c: (linear(a, s, cap=c), c), any_seconds, any_seconds, any_seconds),
    st.builds(
        lambda b, c, f, j: (exponential(b, cap=c, factor=f, jitter=j), c),
        any_seconds,
        any_seconds,
        factors,
        pure_jitters,
    ),
    st.builds(lambda b, c: (decorrelated(b, cap=c), c), any_seconds, any_seconds),
    st.builds(lambda b, c, j: (fibonacci(b, cap=c, jitter=j), c), any_seconds, any_seconds, pure_jitters),
)
atoms = st.one_of(
    capped_factories.map(lambda pair: pair[0]),
    st.builds(fixed, any_seconds),
    st.builds(lambda b, r: exponential(b, jitter=r), any_seconds, ratios),
    st.builds(as_backoff, st.lists(any_seconds, max_size=5)),
    st.builds(as_backoff, st.builds(range, st.integers(0, 9), st.integers(0, 9))),
)
backoffs = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a + b, inner, inner),
        st.builds(lambda a, n, b: a.take(n).then(b), inner, st.integers(0, 5), inner),
        st.builds(lambda a, s: a.capped(s), inner, seconds),
        st.builds(lambda a, k: a * k, inner, st.floats(0, 1e9)),
        st.builds(lambda a, j: a.jittered(j), inner, pure_jitters | ratios),
    ),
    max_leaves=6,
)


class Waits:
    """A user's own re-iterable."""

    def __init__(self, *waits: Any) -> None:
        self.waits = waits

    def __iter__(self) -> Iterator[Any]:
        return iter(self.waits)


def first(backoff: Backoff, count: int, u: float = 0.5) -> list[float]:
    return list(islice(backoff.waits(lambda: u), count))


def test_a_fixed_backoff_waits_exactly_what_was_given() -> None:
    """A fixed backoff gives the same seconds for ever, as a float, from an int, a float or a timedelta."""
    assert first(fixed(5), 3) == [5.0, 5.0, 5.0]
    assert first(fixed(0.1), 2) == [0.1, 0.1]
    assert first(fixed(timedelta(minutes=1, milliseconds=5)), 1) == [60.005]
    assert type(first(fixed(5), 1)[0]) is float


def test_a_linear_backoff_adds_its_step_up_to_its_cap() -> None:
    """A linear backoff grows by its step, which is its start where none is given, and stays at its cap."""
    assert first(linear(1), 3) == [1, 2, 3]
    assert first(linear(1, 0.5, cap=2), 5) == [1, 1.5, 2, 2, 2]
    assert first(linear(0, 0), 3) == [0, 0, 0]
    assert first(linear(9, cap=4), 2) == [4, 4]


def test_a_linear_backoff_does_not_sum_up_rounding_errors() -> None:
    """The thousandth wait of step 0.1 is 0.1 · 1000 to the last digit, not a sum of a thousand rounded numbers."""
    assert next(islice(linear(0, 0.1, cap=1e9), 1000, None)) == 0.1 * 1000


def test_an_exponential_backoff_doubles_up_to_its_cap() -> None:
    """Without jitter the wait is min(cap, base·2ⁿ)."""
    assert first(exponential(0.1, cap=1, jitter=None), 6) == [0.1, 0.2, 0.4, 0.8, 1, 1]
    assert first(exponential(1, cap=100, factor=3, jitter=None), 4) == [1, 3, 9, 27]


@pytest.mark.parametrize(
    ("jitter", "u", "expected"),
    [
        ("full", 0.0, [0, 0, 0]),
        ("full", 0.25, [1, 2, 2.5]),
        ("equal", 0.0, [2, 4, 5]),
        ("equal", 0.5, [3, 6, 7.5]),
        (0.2, 0.0, [3.2, 6.4, 8]),
        (0.2, 0.5, [4, 8, 10]),
        (1, 0.0, [0, 0, 0]),
        (1, 0.75, [6, 12, 15]),
    ],
)
def test_jitter_follows_its_formula(jitter: Any, u: float, expected: list[float]) -> None:
    """Full jitter is U·e, equal e/2 + U·e/2, a ratio e·uniform(1-r, 1+r); e is capped before."""
    assert first(exponential(4, cap=10, jitter=jitter), 3, u) == pytest.approx(expected)


def test_full_jitter_is_the_default_and_a_ratio_may_exceed_the_cap() -> None:
    """Exponential waits are fully jittered unless said otherwise; a ratio goes over the cap as gRPC's does."""
    assert exponential(1) == exponential(1, cap=60.0, factor=2.0, jitter="full")
    assert first(exponential(100, cap=10, jitter=0.2), 1, JUST_UNDER_ONE)[0] == pytest.approx(12)
    assert first(exponential(100, cap=10, jitter=0.2).capped(10), 1, JUST_UNDER_ONE) == [10]


def test_decorrelated_jitter_follows_its_formula() -> None:
    """A decorrelated wait lies between the base and three times the wait before, at most at the cap."""
    assert first(decorrelated(1, cap=100), 3, 0.0) == [1, 1, 1]
    assert first(decorrelated(1, cap=100), 3, 0.5) == [2, 3.5, 5.75]
    assert first(decorrelated(1, cap=20), 4, JUST_UNDER_ONE) == pytest.approx([3, 9, 20, 20])


def test_a_fibonacci_backoff_grows_by_the_fibonacci_numbers() -> None:
    """Fibonacci waits are the base times 1, 1, 2, 3, 5, 8 up to the cap, without jitter unless asked for."""
    assert first(fibonacci(2, cap=20), 8) == [2, 2, 4, 6, 10, 16, 20, 20]
    assert first(fibonacci(2, jitter="full"), 4, 0.25) == [0.5, 0.5, 1, 1.5]


def test_addition_sums_the_waits_and_ends_with_the_shorter() -> None:
    """a + b gives the sums of their waits until one of them ends, whichever that is."""
    assert first(fixed(1) + as_backoff([1, 2]), 9) == [2, 3]
    assert first(as_backoff([1, 2]) + fixed(1), 9) == [2, 3]


def test_then_continues_with_another_backoff() -> None:
    """a.then(b) gives all of a, then b from its beginning; b may be anything that interval may be."""
    assert first(fixed(1).take(2).then(linear(5)), 4) == [1, 1, 5, 10]
    assert first(as_backoff([1]).then(7), 3) == [1, 7, 7]
    assert first(fixed(1).take(1).then([2]).then([3]), 9) == [1, 2, 3]


@pytest.mark.parametrize(
    "endless",
    [
        fixed(1),
        decorrelated(1),
        fixed(1) + linear(1),
        fixed(1).capped(3),
        fixed(1) * 2,
        as_backoff([1]).then(fixed(1)),
    ],
)
def test_then_after_an_endless_backoff_is_refused(endless: Backoff) -> None:
    """What would never be reached is a mistake, and is said to be one, with the way out."""
    with pytest.raises(ValueError, match=r"never be reached: .* has no end; put \.take\(n\) before it"):
        endless.then(fixed(2))


@pytest.mark.parametrize("ending", [fixed(1).take(1), fixed(1) + as_backoff([1]), as_backoff([1]).jittered(None) * 2])
def test_then_after_an_ending_backoff_is_accepted(ending: Backoff) -> None:
    """A backoff that ends, or ends because a part of it does, may be followed by another."""
    assert len(first(ending.then([9]), 9)) == 2


def test_take_capped_scaled_and_jittered() -> None:
    """take ends it, capped cuts it, * scales it, jittered spreads it."""
    assert first(fixed(1).take(2), 9) == [1, 1]
    assert first(fixed(1).take(0), 9) == []
    assert first(linear(1).capped(timedelta(seconds=2)), 3) == [1, 2, 2]
    assert first(linear(1) * 3, 3) == first(3 * linear(1), 3) == [3, 6, 9]
    assert first(fixed(8).jittered(), 1, 0.25) == [2]
    assert first(fixed(8).jittered(0.5), 1, 0.0) == [4]
    assert fixed(8).jittered(None) == fixed(8)


def test_each_iteration_starts_afresh() -> None:
    """Two iterators of one backoff do not disturb each other."""
    backoff = linear(1).take(4)
    one, two = iter(backoff), iter(backoff)
    assert [next(one), next(one), next(two)] == [1, 2, 1]
    assert list(backoff) == list(backoff) == [1, 2, 3, 4]


def test_iteration_without_a_random_uses_the_global_one() -> None:
    """Plain iteration draws from the random module, so that seeding it repeats the waits."""
    random.seed(7)
    waits = list(exponential(1).take(5))
    random.seed(7)
    assert waits == [random.random() * e for e in (1, 2, 4, 8, 16)]


@given(backoffs, st.integers())
def test_the_same_random_numbers_give_the_same_waits(backoff: Backoff, seed: int) -> None:
    """A backoff has no state of its own: the same seed gives the same waits again."""
    again = list(islice(backoff.waits(random.Random(seed).random), 20))
    assert list(islice(backoff.waits(random.Random(seed).random), 20)) == again


@given(backoffs, st.sampled_from([0.0, 0.5, JUST_UNDER_ONE]))
def test_no_wait_is_ever_negative_infinite_or_no_number(backoff: Backoff, u: float) -> None:
    """Whatever is combined, at the extremes of the random numbers and of the floats, each wait can be waited."""
    waits = first(backoff, 40, u)
    assert all(type(wait) is float and 0.0 <= wait < math.inf for wait in waits)


@given(capped_factories, st.floats(0, JUST_UNDER_ONE))
def test_no_wait_exceeds_the_cap(pair: tuple[Backoff, float], u: float) -> None:
    """The cap holds for every factory, however small it is."""
    backoff, cap = pair
    assert all(wait <= cap for wait in first(backoff, 40, u))


@given(seconds, seconds, factors, st.integers(0, 200), st.floats(0, JUST_UNDER_ONE))
def test_jitter_stays_in_its_bounds(base: float, cap: float, factor: float, n: int, u: float) -> None:
    """Full jitter is below the plain wait, equal jitter in its upper half, a ratio around it."""

    def wait(jitter: Any) -> float:
        return first(exponential(base, cap=cap, factor=factor, jitter=jitter), n + 1, u)[n]

    plain = wait(None)
    assert 0 <= wait("full") <= plain
    assert plain / 2 <= wait("equal") <= plain
    assert plain * 0.8 * (1 - 1e-12) <= wait(0.2) <= plain * 1.2 * (1 + 1e-12)


@given(seconds, seconds, st.integers())
def test_decorrelated_waits_are_at_most_three_times_the_one_before(base: float, cap: float, seed: int) -> None:
    """s ≤ min(cap, 3·previous), and s ≥ min(cap, base)."""
    previous = float(base)
    for wait in islice(decorrelated(base, cap=cap).waits(random.Random(seed).random), 50):
        assert min(cap, base) <= wait <= min(cap, max(3 * previous, base))
        previous = wait


@pytest.mark.parametrize(
    "backoff",
    [
        fixed(1),
        linear(1, 1e300, cap=1e305),
        exponential(0.1, jitter=None),
        exponential(1e300, cap=LARGEST, factor=1e300, jitter=1.0),
        decorrelated(0.1),
        fibonacci(1, cap=LARGEST),
        (exponential(1, cap=LARGEST) + fixed(LARGEST)) * 1e300,
    ],
    ids=repr,
)
def test_the_millionth_retry_is_as_good_as_the_first(backoff: Backoff) -> None:
    """At retry 10⁶ nothing overflows, no wait is NaN, and no memory has been taken."""
    waits = backoff.waits(lambda: JUST_UNDER_ONE)
    assert 0 <= next(islice(waits, 10**6, None)) < math.inf
    tracemalloc.start()
    try:
        assert 0 <= next(islice(waits, 10_000, None)) < math.inf
        assert tracemalloc.get_traced_memory()[0] < 10_000
    finally:
        tracemalloc.stop()


@given(backoffs)
def test_the_repr_is_the_constructing_expression(backoff: Backoff) -> None:
    """What repr shows makes an equal backoff."""
    again = eval(repr(backoff), NAMES)
    assert again == backoff
    assert hash(again) == hash(backoff)
    assert repr(again) == repr(backoff)


@pytest.mark.parametrize(
    ("backoff", "text"),
    [
        (fixed(5), "fixed(5)"),
        (fixed(0.1), "fixed(0.1)"),
        (fixed(-0.0), "fixed(0)"),
        (fixed(1e300), "fixed(1e+300)"),
        (linear(1, 2), "linear(1, 2, cap=60)"),
        (exponential(0.1, cap=20), "exponential(0.1, cap=20)"),
        (exponential(1, factor=3, jitter=0.2), "exponential(1, cap=60, factor=3, jitter=0.2)"),
        (exponential(1, jitter=None), "exponential(1, cap=60, jitter=None)"),
        (decorrelated(1), "decorrelated(1, cap=60)"),
        (fibonacci(1, jitter="equal"), "fibonacci(1, cap=60, jitter='equal')"),
        (fibonacci(1), "fibonacci(1, cap=60)"),
        (as_backoff([1, 0.5]), "as_backoff([1, 0.5])"),
        (as_backoff(range(3)), "as_backoff(range(0, 3))"),
        (fixed(1) + fixed(2) + fixed(3), "fixed(1) + fixed(2) + fixed(3)"),
        (fixed(1) + (fixed(2) + fixed(3)), "fixed(1) + (fixed(2) + fixed(3))"),
        ((fixed(1) + fixed(2)) * 2, "(fixed(1) + fixed(2)) * 2"),
        (fixed(1) + fixed(2) * 2, "fixed(1) + fixed(2) * 2"),
        ((fixed(1) * 2).take(3).then(fixed(2)).capped(1), "(fixed(1) * 2).take(3).then(fixed(2)).capped(1)"),
        (fixed(1).jittered(), "fixed(1).jittered('full')"),
    ],
)
def test_reprs_read_as_they_were_typed(backoff: Backoff, text: str) -> None:
    """The repr is short: whole seconds without a point, usual options left out, parentheses only where needed."""
    assert repr(backoff) == text


@given(backoffs)
def test_backoffs_pickle_and_copy(backoff: Backoff) -> None:
    """A pickled backoff comes back equal; a copy is the backoff itself."""
    assert pickle.loads(pickle.dumps(backoff)) == backoff
    assert copy.copy(backoff) is backoff
    assert copy.deepcopy([backoff])[0] is backoff


def test_different_backoffs_are_not_equal() -> None:
    """Equality looks at the kind and at every argument, and a backoff equals nothing else."""
    different = [
        fixed(1),
        fixed(2),
        linear(1),
        exponential(1),
        exponential(1, jitter=None),
        fixed(1).take(1),
        fixed(1) * 2,
    ]
    assert len(set(different)) == len(different)
    assert fixed(1) != 1
    assert decorrelated(1) != exponential(1)


def test_backoffs_are_immutable() -> None:
    """No attribute can be set, added or deleted, and the class is not called directly."""
    backoff: Any = fixed(1)
    make: Any = Backoff
    with pytest.raises(AttributeError, match=r"immutable.*fixed\(1\)"):
        backoff._arguments = (2.0,)
    with pytest.raises(AttributeError, match="immutable"):
        backoff.note = "x"
    with pytest.raises(AttributeError, match="immutable"):
        del backoff._arguments
    with pytest.raises(TypeError, match="make a Backoff with fixed"):
        make()
    assert not hasattr(backoff, "__dict__")


BAD_SECONDS = [
    (-1, ValueError),
    (-0.5, ValueError),
    (math.nan, ValueError),
    (math.inf, ValueError),
    (10**400, ValueError),
    (timedelta(seconds=-1), ValueError),
    (True, TypeError),
    ("5", TypeError),
    (b"5", TypeError),
    (None, TypeError),
    (1j, TypeError),
]


@pytest.mark.parametrize(("value", "error"), BAD_SECONDS, ids=lambda v: repr(v)[:12])
def test_seconds_that_cannot_be_waited_are_refused(value: Any, error: type[Exception]) -> None:
    """Every parameter that takes seconds names itself and the value it refuses."""
    calls = {
        "seconds": [lambda: fixed(value), lambda: fixed(1).capped(value)],
        "start": [lambda: linear(value)],
        "base": [lambda: exponential(value), lambda: decorrelated(value), lambda: fibonacci(value)],
        "cap": [
            lambda: linear(1, cap=value),
            lambda: exponential(1, cap=value),
            lambda: decorrelated(1, cap=value),
            lambda: fibonacci(1, cap=value),
        ],
        "interval": [lambda: as_backoff(value)],
        r"interval\[1\]": [lambda: as_backoff([1, value])],
    }
    if value is not None:
        calls["step"] = [lambda: linear(1, value)]
    for name, functions in calls.items():
        for function in functions:
            with pytest.raises(error, match=rf"^{name} must be .*; got ."):
                function()


def test_a_refused_value_is_shown_bounded() -> None:
    """A message shows what was refused, however long or hostile its repr is, in a bounded length."""

    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

    with pytest.raises(TypeError) as caught:
        as_backoff("5" * 10_000)  # type: ignore[arg-type]  # the test's point
    assert len(str(caught.value)) < 300
    assert shown(Hostile()) == f"<{Hostile.__qualname__}>"
    assert shown("x" * 100) == "'" + "x" * 78 + "…"


def test_a_path_is_shown_whole() -> None:
    """Its end tells most; one that fails when it is asked for its text is told by its class."""

    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

    assert shown_path("/" + "x" * 100) == "'/" + "x" * 100 + "'"
    assert shown_path(Hostile()) == f"<{Hostile.__qualname__}>"


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: exponential(1, factor=0.9), ValueError, "factor must be a finite number, 1 or more; got 0.9"),
        (lambda: exponential(1, factor=math.nan), ValueError, "factor"),
        (lambda: exponential(1, factor=math.inf), ValueError, "factor"),
        (lambda: exponential(1, factor=True), TypeError, "factor"),
        (lambda: exponential(1, factor="2"), TypeError, "factor"),  # type: ignore[arg-type]  # the test's point
        (lambda: exponential(1, jitter="half"), ValueError, "jitter.*got 'half'"),  # type: ignore[arg-type]  # same
        (lambda: exponential(1, jitter=0), ValueError, "jitter"),
        (lambda: exponential(1, jitter=1.5), ValueError, "jitter"),
        (lambda: exponential(1, jitter=math.nan), ValueError, "jitter"),
        (lambda: exponential(1, jitter=True), TypeError, "jitter"),
        (lambda: exponential(1, jitter=[]), TypeError, "jitter"),  # type: ignore[arg-type]  # the test's point
        (lambda: fixed(1).jittered(-0.1), ValueError, "jitter"),
        (lambda: fixed(1).take(-1), ValueError, "retries must be between 0 and"),
        (lambda: fixed(1).take(sys.maxsize + 1), ValueError, "retries"),
        (lambda: fixed(1).take(True), TypeError, "retries must be an int; got True"),
        (lambda: fixed(1).take(1.0), TypeError, "retries"),  # type: ignore[arg-type]  # the test's point
        (lambda: fixed(1) * -1, ValueError, "factor must be a finite number, 0 or more; got -1"),
        (lambda: fixed(1) * math.inf, ValueError, "factor"),
        (lambda: fixed(1) * True, TypeError, "unsupported operand"),
        (lambda: fixed(1) * "2", TypeError, "."),  # type: ignore[operator]  # the test's point
        (lambda: fixed(1) + 1, TypeError, "unsupported operand"),  # type: ignore[operator]  # the test's point
        (lambda: fixed(1).take(1).then("x"), TypeError, "following"),  # type: ignore[arg-type]  # the test's point
    ],
)
def test_other_bad_arguments_are_refused(call: Any, error: type[Exception], text: str) -> None:
    """A factor, a jitter or a count that makes no sense is refused by its parameter's name."""
    with pytest.raises(error, match=text):
        call()


def test_as_backoff_takes_what_interval_may_be() -> None:
    """A number or a timedelta is waited exactly; a backoff stays itself; a re-iterable gives its own waits."""
    assert as_backoff(5) == as_backoff(5.0) == as_backoff(timedelta(seconds=5)) == fixed(5)
    assert as_backoff(0) == fixed(0)
    backoff = exponential(1)
    assert as_backoff(backoff) is backoff
    assert list(as_backoff([1, timedelta(seconds=2), 3.5])) == [1, 2, 3.5]
    assert as_backoff([1, 2]) == as_backoff((1, 2))
    assert list(as_backoff(())) == []
    assert list(as_backoff(range(1, 4))) == [1.0, 2.0, 3.0]
    assert list(as_backoff(range(0))) == []
    assert list(as_backoff(Waits(1, timedelta(seconds=2)))) == [1.0, 2.0]


def test_a_list_is_copied_when_it_is_given() -> None:
    """Changing the list afterwards changes nothing."""
    given_list = [1, 2]
    backoff = as_backoff(given_list)
    given_list.append(3)
    assert list(backoff) == [1, 2]


def test_a_range_is_checked_at_both_ends() -> None:
    """A range with a negative wait at either end, or one too large for a float, is refused when it is given."""
    with pytest.raises(ValueError, match=r"interval\[0\] .* got -1"):
        as_backoff(range(-1, 3))
    with pytest.raises(ValueError, match=r"interval\[-1\] .* got -1"):
        as_backoff(range(3, -2, -1))
    with pytest.raises(ValueError, match=r"interval\[-1\]"):
        as_backoff(range(0, 10**400, 10**399))


def test_a_users_iterable_is_compared_by_identity() -> None:
    """Nobody can tell what a user's object will yield: two backoffs are equal only if they hold the same one twice."""
    waits = Waits(1)
    assert as_backoff(waits) != as_backoff(waits)
    assert as_backoff(range(3)) == as_backoff(range(3))
    backoff = as_backoff(waits)
    assert {backoff: 1}[backoff] == 1
    assert repr(backoff).startswith("as_backoff(<")
    assert list(pickle.loads(pickle.dumps(backoff))) == [1]


@pytest.mark.parametrize("bad", [-1, math.nan, math.inf, True, "1", None, 10**400])
def test_what_a_users_iterable_yields_is_checked_when_it_is_reached(bad: Any) -> None:
    """A wait that is none raises ValueError at its turn, not before, also where the iterable is part of another."""
    for backoff in (as_backoff(Waits(1, bad)), as_backoff(Waits(1, bad)).capped(5) + fixed(0)):
        waits = backoff.waits(lambda: 0.5)
        assert next(waits) == 1
        with pytest.raises(ValueError, match="a wait must be a finite number of seconds"):
            next(waits)


def test_making_the_iterator_runs_no_user_code() -> None:
    """An iterable whose __iter__ fails later fails at the first wait, where the machine expects it."""

    class Fickle(Waits):
        broken = False

        def __iter__(self) -> Iterator[Any]:
            if self.broken:
                raise LookupError("gone")
            return super().__iter__()

    fickle = Fickle(1)
    backoff = as_backoff(fickle).take(3).then(fixed(1)) + fixed(1)
    fickle.broken = True
    waits = backoff.waits(lambda: 0.5)
    with pytest.raises(LookupError):
        next(waits)


class SameIterator:
    """Looks like a re-iterable, but hands out one iterator again and again."""

    def __init__(self) -> None:
        self.iterator = iter([1, 2])

    def __iter__(self) -> Iterator[int]:
        return self.iterator


@pytest.mark.parametrize(
    "one_shot", [iter([1]), (n for n in [1]), map(float, [1]), SameIterator()], ids=["list", "generator", "map", "same"]
)
def test_one_shot_iterators_are_refused_with_the_way_out(one_shot: Any) -> None:
    """An iterator would be empty for the second operation; the message says so and what to give instead."""
    with pytest.raises(TypeError, match=r"^interval must be .* empty for the second operation: give list"):
        as_backoff(one_shot)


@pytest.mark.parametrize(
    "value", ["1", b"1", bytearray(b"1"), memoryview(b"1"), {1: 2}, {1}, frozenset({1}), list, len, object()]
)
def test_what_is_no_sequence_of_seconds_is_refused(value: Any) -> None:
    """Text, bytes, things without an order and things that cannot be iterated name the parameter."""
    with pytest.raises(
        TypeError, match=r"^interval must be seconds, a backoff such as exponential\(0\.1\), or a re-iter"
    ):
        as_backoff(value)


@pytest.mark.parametrize(("value", "expected"), [(0, 0.0), (2, 2.0), (0.5, 0.5), (timedelta(seconds=3), 3.0)])
def test_check_wait_returns_seconds(value: Any, expected: float) -> None:
    """A wait that a user's code came up with is returned as a float."""
    assert check_wait(value) == expected
    assert type(check_wait(value)) is float


@pytest.mark.parametrize("value", [value for value, _ in BAD_SECONDS], ids=lambda v: repr(v)[:12])
def test_check_wait_raises_value_error_for_all_else(value: Any) -> None:
    """Of a wrong type or out of range: it is a ValueError, because the value came up while running."""
    with pytest.raises(ValueError, match=r"^a wait must be a finite number of seconds"):
        check_wait(value)


@pytest.mark.parametrize(
    ("hint", "wait", "expected"), [(0, 2, 2), (1, 2, 2), (3, 2, 3), (7, 2, 7), (7.5, 2, 7), (1e9, 2, 7), (4, 0, 4)]
)
def test_a_servers_hint_is_clamped(hint: float, wait: float, expected: float) -> None:
    """A hint never shortens the wait and lengthens it by at most five seconds."""
    assert HINT_SLACK == 5.0
    assert clamp_hint(hint, wait) == expected


def test_seconds_work_before_datetime_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody has imported datetime, no value can be a timedelta, and numbers are read all the same."""
    monkeypatch.delitem(sys.modules, "datetime")
    assert as_backoff(5) == fixed(5)
    with pytest.raises(TypeError, match="interval"):
        as_backoff(timedelta(seconds=5))
