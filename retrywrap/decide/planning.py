"""What waits a backoff will give: least, mean and most, retry by retry."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from retrywrap.decide.backoff import Backoff

__all__ = ["PlannedWait", "plan", "planned_waits"]

_MOST_DRAWS = 10_000_000
_FEWEST_SAMPLES = 10


class PlannedWait(NamedTuple):
    """The wait before one retry, in seconds.

    Attributes:
        retry: The retry's number, from 1.
        minimum: The shortest that it can be.
        mean: What it is on average.
        maximum: The longest that it can be.
    """

    retry: int
    minimum: float
    mean: float
    maximum: float


def plan(backoff: Backoff, retries: int, *, samples: int = 1000, seed: int = 0) -> list[PlannedWait]:
    """Return the waits of a backoff, as many as it has, at most ``retries``.

    Args:
        backoff: The backoff.
        retries: How many waits to look at.
        samples: From how many runs to take the mean where no formula gives it; fewer where ``retries`` is so large that
            more than ten million numbers would be drawn.
        seed: Of these runs.

    Returns:
        Minimum and maximum are exact, from the least and the greatest random number there is. The mean is exact where
        each wait depends on its random numbers linearly, that is everywhere but after `decorrelated` and `capped`.
    """
    return list(planned_waits(backoff, retries, samples=samples, seed=seed))


def planned_waits(backoff: Backoff, retries: int, *, samples: int = 1000, seed: int = 0) -> Iterator[PlannedWait]:
    """Yield what `plan` returns, one by one, so that a million of them take no memory."""
    least = backoff.waits(lambda: 0.0)
    most = backoff.waits(lambda: math.nextafter(1.0, 0.0))
    means = _means(backoff, max(_FEWEST_SAMPLES, min(samples, _MOST_DRAWS // max(retries, 1))), seed)
    for retry, waits in enumerate(islice(zip(least, most, means, strict=False), retries), 1):
        low, high = min(waits[:2]), max(waits[:2])
        yield PlannedWait(retry, low, min(max(waits[2], low), high), high)


def _means(backoff: Backoff, samples: int, seed: int) -> Iterator[float]:
    if backoff.draws_linearly():
        return backoff.waits(lambda: 0.5)
    from random import Random  # here, because only the command line needs it

    random = Random(seed).random
    runs = [backoff.waits(random) for _ in range(samples)]
    return (math.fsum(waits) / samples for waits in zip(*runs, strict=False))
