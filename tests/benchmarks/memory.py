"""Memory: of a decorated function, of a call while it lasts, and what a call leaves behind."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from contenders import BARE, HAND, Contender, Decorate
from scenarios import EXHAUSTED, FUNCTION, RECOVERED, SUCCESS, Run, Scenario, empty, fresh
from stage import stage
from timing import Effort

__all__ = ["SCENARIOS", "Footprint", "decorated", "footprints"]

SCENARIOS = tuple(Scenario(FUNCTION, outcome) for outcome in (SUCCESS, RECOVERED, EXHAUSTED))


class Footprint(NamedTuple):
    """What one call takes."""

    peak: int
    kept: float
    garbage: float


def decorated(libraries: Iterable[Contender], effort: Effort) -> dict[str, float]:
    """Return the bytes that a decorated function takes over the function itself."""
    with stage():
        some = [one for one in [*HAND, *libraries] if one is not BARE and one.decorate is not None]
        return {one.name: _bytes_of(one.decorate, effort.calls) for one in some if one.decorate is not None}


def _bytes_of(decorate: Decorate, number: int) -> float:
    functions = [fresh() for _ in range(number)]
    decorate(functions[0])  # loads what is loaded once
    kept = list(functions)
    tracemalloc.start()
    try:
        before = _traced()
        for place, function in enumerate(functions):
            kept[place] = decorate(function)
        return (_traced() - before) / number
    finally:
        tracemalloc.stop()


def footprints(scenario: Scenario, libraries: Iterable[Contender], effort: Effort) -> dict[str, Footprint]:
    """Return what one call takes at its peak, what it keeps, and how many objects it leaves to the collector."""
    with stage(scenario.events) as loop:
        nothing = _peak(empty(loop))
        found = {}
        for one in scenario.contenders(libraries):
            run = scenario.runs(one, loop)[0]
            kept = _kept(run, effort.calls)
            found[one.name] = Footprint(max(0, _peak(run) - nothing), kept, _garbage(run, effort.calls))
        return found


def _kept(run: Run, number: int) -> float:
    """Return the bytes that a call keeps: of three counts the one nearest to nothing, since a leak shows in each."""
    tracemalloc.start()
    try:
        # A ring of the newest errors, such as ours, must be full, and full of what was traced: it replaces, then.
        run.times(number)
        marks = [_traced()]
        for _ in range(3):
            run.times(number)
            marks.append(_traced())
        return min(((after - before) / number for before, after in pairwise(marks)), key=abs)
    finally:
        tracemalloc.stop()


def _peak(run: Run) -> int:
    """Return the most bytes that one call holds, the least of several: the first fill caches and free lists."""
    tracemalloc.start()
    try:
        seen = []
        for _ in range(9):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            run.times(1)
            seen.append(tracemalloc.get_traced_memory()[1] - before)
        return min(seen)
    finally:
        tracemalloc.stop()


def _garbage(run: Run, number: int) -> float:
    """Return how many objects a call leaves in cycles, which only the collector can free."""
    gc.collect()
    gc.disable()
    try:
        run.times(number)
        return gc.collect() / number
    finally:
        gc.enable()


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
