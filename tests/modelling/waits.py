"""Backoffs as their documentation has them: each wait by its formula, in fractions, whatever came before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import count
from typing import Any

__all__ = ["spread", "waits"]


def spread(wait: Fraction, jitter: Any, chance: Callable[[], Any]) -> Fraction:
    """Return a wait with jitter: full: U·e, equal: e/2 + U·e/2, a ratio r: e·uniform(1-r, 1+r)."""
    if jitter is None:
        return wait
    u = Fraction(chance())
    if jitter == "full":
        return u * wait
    if jitter == "equal":
        return wait / 2 + u * wait / 2
    return wait * (1 - Fraction(jitter) + 2 * Fraction(jitter) * u)


def _fibonacci(n: int) -> int:
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return b


def waits(interval: Any, chance: Callable[[], Any]) -> Iterator[Fraction]:
    """Yield the waits of an interval as `modelling.program` writes it."""
    if isinstance(interval, int | float):
        for _ in count():
            yield Fraction(interval)
    kind, *values = interval if interval and isinstance(interval[0], str) else ("list", *interval)
    if kind == "list":
        yield from map(Fraction, values)
        return
    base = Fraction(values[0])
    if kind == "decorrelated":
        wait, cap = base, Fraction(values[1])
        while True:
            wait = min(cap, base + Fraction(chance()) * (3 * wait - base))
            yield wait
    for n in count():
        if kind == "exponential":
            yield spread(min(Fraction(values[1]), base * 2**n), values[2], chance)
        elif kind == "linear":
            yield min(Fraction(values[2]), base + n * Fraction(values[1]))
        elif kind == "fibonacci":
            yield min(Fraction(values[1]), base * _fibonacci(n))
        else:
            raise ValueError(kind)
