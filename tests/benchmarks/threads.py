"""One decorated function, called by several threads at once."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from statistics import median
from time import perf_counter
from typing import NamedTuple

from contenders import Contender
from scenarios import FUNCTION, RECOVERED, SUCCESS, Run, Scenario
from stage import stage
from timing import Effort, number_for

__all__ = ["SCENARIOS", "Raised", "Spread", "slowdowns"]

SCENARIOS = (Scenario(FUNCTION, SUCCESS), Scenario(FUNCTION, RECOVERED))


class Spread(NamedTuple):
    """A median, and the middle half of what it is the median of: threads meet by chance."""

    median: float
    low: float
    high: float


class Raised(NamedTuple):
    """A contender let an error out that no operation raised: it cannot be called by several threads."""

    error: str


def slowdowns(scenario: Scenario, libraries: Iterable[Contender], effort: Effort) -> dict[str, list[Spread | Raised]]:
    """Return, for each number of threads, the time of a call over all threads, as a multiple of one thread's.

    With a global interpreter lock nothing below 1 can be had; what is above 1 is what the threads do to each other.
    """
    with stage(scenario.events) as loop:
        runs = {one.name: scenario.runs(one, loop, max(effort.threads)) for one in scenario.contenders(libraries)}
        numbers = {name: number_for(some[0].times, effort.thread_seconds) for name, some in runs.items()}
        seen: dict[str, list[list[float | Raised]]] = {name: [] for name in runs}
        for _ in range(effort.thread_rounds):
            for name, some in runs.items():
                seen[name].append([_time_of_a_call(some[:count], numbers[name]) for count in effort.threads])
    return {name: [_multiple(rounds, place) for place in range(len(effort.threads))] for name, rounds in seen.items()}


def _multiple(rounds: list[list[float | Raised]], place: int) -> Spread | Raised:
    """Return the multiples of one thread's time, or the error, if there was one in any round."""
    multiples = []
    for times in rounds:
        one, several = times[0], times[place]
        if isinstance(several, Raised):
            return several
        assert not isinstance(one, Raised)
        multiples.append(several / one)
    multiples.sort()
    quarter = len(multiples) // 4
    return Spread(median(multiples), multiples[quarter], multiples[-1 - quarter])


def _time_of_a_call(runs: Sequence[Run], number: int) -> float | Raised:
    """Return the seconds from the first thread's start to the last one's end, over all their calls."""
    start = threading.Barrier(len(runs) + 1)
    raised: list[Raised] = []

    def work(run: Run) -> None:
        start.wait()
        try:
            run.times(number)
        except Exception as error:
            raised.append(Raised(type(error).__name__))

    threads = [threading.Thread(target=work, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    start.wait()
    begun = perf_counter()
    for thread in threads:
        thread.join()
    spent = perf_counter() - begun
    return raised[0] if raised else spent / (number * len(runs))
