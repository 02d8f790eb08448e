"""Backoffs, and whatever is combined of them, against their formulas in fractions."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelling.rounds import examples
from modelling.waits import spread

from retrywrap import decorrelated, exponential, fibonacci, fixed, linear
from retrywrap.decide.backoff import Backoff, as_backoff

LARGEST = Fraction(sys.float_info.max)
Model = Callable[[Callable[[], float]], Iterator[Fraction]]


def powers(base: float, cap: float, factor: float, jitter: Any) -> Model:
    """e = min(cap, base·factorⁿ), spread."""

    def model(chance: Callable[[], float]) -> Iterator[Fraction]:
        for n in itertools.count():
            yield spread(min(Fraction(cap), Fraction(base) * Fraction(factor) ** n), jitter, chance)

    return model


def steps(start: float, step: float, cap: float) -> Model:
    """min(cap, start + n·step)."""
    return lambda chance: (min(Fraction(cap), Fraction(start) + n * Fraction(step)) for n in itertools.count())


def summed(base: float, cap: float, jitter: Any) -> Model:
    """Base times 1, 1, 2, 3, 5 …, at most cap, spread."""

    def model(chance: Callable[[], float]) -> Iterator[Fraction]:
        numbers = [1, 1]
        for n in itertools.count():
            numbers.append(numbers[-1] + numbers[-2])
            yield spread(min(Fraction(cap), Fraction(base) * numbers[n]), jitter, chance)

    return model


def wandering(base: float, cap: float) -> Model:
    """s = min(cap, uniform(base, 3·s)), s being base at first."""

    def model(chance: Callable[[], float]) -> Iterator[Fraction]:
        s = Fraction(base)
        while True:
            s = min(Fraction(cap), Fraction(base) + Fraction(chance()) * (3 * s - Fraction(base)))
            yield s

    return model


def listed(waits: list[float]) -> Model:
    """Exactly these."""
    return lambda chance: map(Fraction, waits)


def added(a: Model, b: Model) -> Model:
    """One by one, until either ends."""
    return lambda chance: (min(x + y, LARGEST) for x, y in zip(a(chance), b(chance), strict=False))


def followed(a: Model, b: Model) -> Model:
    """All of one, then the other."""
    return lambda chance: itertools.chain(a(chance), b(chance))


def mapped(a: Model, change: Callable[[Fraction, Callable[[], float]], Fraction]) -> Model:
    """Each changed."""
    return lambda chance: (min(change(wait, chance), LARGEST) for wait in a(chance))


def cut(a: Model, retries: int) -> Model:
    """The first ones."""
    return lambda chance: itertools.islice(a(chance), retries)


# Tiny numbers would lose digits below the smallest normal float; the extremes are tried in test_backoff.
seconds = st.sampled_from([0, 1, 0.1]) | st.floats(1e-6, 1e9)
factors = st.just(2.0) | st.floats(1, 1e6)
jitters = st.sampled_from([None, "full", "equal", 0.2, 1.0]) | st.floats(0.001, 1)
kinds = st.one_of(
    st.builds(lambda s: (fixed(s), steps(s, 0, s)), seconds),
    st.builds(lambda s: (as_backoff(s), steps(s, 0, s)), seconds),
    st.builds(lambda s, d, c: (linear(s, d, cap=c), steps(s, d, c)), seconds, seconds, seconds),
    st.builds(lambda s, c: (linear(s, cap=c), steps(s, s, c)), seconds, seconds),
    st.builds(
        lambda b, c, f, j: (exponential(b, cap=c, factor=f, jitter=j), powers(b, c, f, j)),
        seconds,
        seconds,
        factors,
        jitters,
    ),
    st.builds(lambda b: (exponential(b), powers(b, 60, 2, "full")), seconds),
    st.builds(lambda b, c, j: (fibonacci(b, cap=c, jitter=j), summed(b, c, j)), seconds, seconds, jitters),
    st.builds(lambda b, c: (decorrelated(b, cap=c), wandering(b, c)), seconds, seconds),
    st.builds(lambda w: (as_backoff(w), listed(w)), st.lists(seconds, max_size=6)),
)
Pair = tuple[Backoff, Model]


def combined(pairs: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    """Return pairs that are combined of these."""
    counts = st.integers(0, 12)
    return st.one_of(
        st.builds(lambda a, b: (a[0] + b[0], added(a[1], b[1])), pairs, pairs),
        st.builds(lambda a, n: (a[0].take(n), cut(a[1], n)), pairs, counts),
        st.builds(lambda a, n, b: (a[0].take(n).then(b[0]), followed(cut(a[1], n), b[1])), pairs, counts, pairs),
        st.builds(
            lambda a, c: (a[0].capped(c), mapped(a[1], lambda wait, chance: min(wait, Fraction(c)))), pairs, seconds
        ),
        st.builds(
            lambda a, f: (a[0] * f, mapped(a[1], lambda wait, chance: wait * Fraction(f))), pairs, st.floats(0, 1e6)
        ),
        st.builds(
            lambda a, j: (a[0].jittered(j), mapped(a[1], lambda wait, chance: spread(wait, j, chance))), pairs, jitters
        ),
    )


@given(st.recursive(kinds, combined, max_leaves=5), st.integers())
@examples(100)
def test_every_wait_is_what_the_formulas_say(pair: Pair, seed: int) -> None:
    """As many as they say, each to nine digits, with the same random numbers drawn in the same order; and again."""
    backoff, model = pair
    expected = list(itertools.islice(model(Random(seed).random), 40))
    for _ in range(2):
        waits = list(itertools.islice(backoff.waits(Random(seed).random), 40))
        assert waits == pytest.approx([float(wait) for wait in expected], rel=1e-9, abs=1e-12)


@given(
    pair=st.recursive(kinds, combined, max_leaves=5), seeds=st.tuples(st.integers(), st.integers()), n=st.integers(0, 9)
)
@examples(30)
def test_iterations_do_not_disturb_each_other(pair: Pair, seeds: tuple[int, int], n: int) -> None:
    """Two that are taken turn by turn give what each gives alone."""
    backoff = pair[0]
    alone = [list(itertools.islice(backoff.waits(Random(seed).random), 12)) for seed in seeds]
    one, other = (backoff.waits(Random(seed).random) for seed in seeds)
    turns: tuple[list[float], list[float]] = ([], [])
    turns[0].extend(itertools.islice(one, n))
    for _ in range(12):
        turns[1].extend(itertools.islice(other, 1))
        turns[0].extend(itertools.islice(one, 1))
    assert turns[0][:12] == alone[0]
    assert turns[1] == alone[1]


@given(seconds, seconds, factors, st.integers(0, 3000))
@examples(30)
def test_huge_exponents(base: float, cap: float, factor: float, n: int) -> None:
    """The n-th wait is min(cap, base·factorⁿ), where that power has tens of thousands of digits, too."""
    wait = next(itertools.islice(exponential(base, cap=cap, factor=factor, jitter=None), n, None))
    exact = min(Fraction(cap), Fraction(base) * Fraction(factor) ** n)
    assert wait == pytest.approx(float(exact), rel=1e-9)
