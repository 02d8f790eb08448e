"""The formulas of the backoffs, as iterators: each step costs the same however far it is, and nothing overflows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Literal, TypeAlias

__all__ = ["LARGEST", "Jitter", "Random", "decorrelated", "growing", "linear", "spread", "summing"]

Jitter: TypeAlias = Literal["full", "equal"] | float | None
"""How a wait w is spread: ``"full"``: over [0, w); ``"equal"``: over [w/2, w); a ratio r: over [w·(1-r), w·(1+r));
None: not at all."""

Random = Callable[[], float]
"""Returns numbers in [0, 1)."""

LARGEST = sys.float_info.max


def linear(start: float, step: float, cap: float) -> Iterator[float]:
    """Yield ``min(cap, start + n·step)``."""
    n = 0
    wait = start
    while wait < cap:
        yield wait
        n += 1
        wait = start + step * n  # not a running sum, whose rounding errors would grow
    yield from repeat(cap)


def growing(wait: float, cap: float, factor: float) -> Iterator[float]:
    """Yield ``min(cap, wait·factorⁿ)``."""
    while wait < cap:
        yield wait
        wait *= factor
    yield from repeat(cap)


def summing(wait: float, cap: float) -> Iterator[float]:
    """Yield ``wait`` times the Fibonacci numbers 1, 1, 2, 3, 5 …, at most ``cap``."""
    previous = 0.0
    while wait < cap:
        yield wait
        previous, wait = wait, previous + wait
    yield from repeat(cap)


def decorrelated(random: Random, base: float, cap: float) -> Iterator[float]:
    """Yield ``s = min(cap, uniform(base, 3·s))``, beginning with s = ``base``."""
    wait = base
    while True:
        highest = min(3.0 * wait, LARGEST)  # an infinity here would make a NaN of 0·∞
        wait = min(cap, base + random() * (highest - base))
        yield wait


def spread(random: Random, waits: Iterator[float], jitter: Jitter) -> Iterator[float]:
    """Return the waits with jitter."""
    if jitter is None:
        return waits
    if jitter == "full":
        return (random() * wait for wait in waits)
    if jitter == "equal":
        return (wait / 2 + random() * (wait / 2) for wait in waits)
    low, width = 1.0 - jitter, 2.0 * jitter
    return (min(wait * (low + width * random()), LARGEST) for wait in waits)
