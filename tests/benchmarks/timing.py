"""Time, in turns: in each round every contender has one, so that what disturbs the machine disturbs all of them.

What counts is the median, over the rounds, of the ratio to the reference *of the same round*. The ratios of best times
are as steady, but the best turn is one in which the garbage collector did not run, and some contenders leave it work.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

from contenders import BARE, CLOSURE, HAND, Contender, Decorate
from scenarios import COROUTINE, Scenario, empty, fresh
from stage import stage

__all__ = ["Effort", "Timing", "decorations", "in_turns", "measure", "number_for"]


class Effort(NamedTuple):
    """How much is measured."""

    rounds: int = 101
    seconds: float = 0.002  # of one turn
    imports: int = 15
    threads: tuple[int, ...] = (1, 2, 4, 8)
    thread_rounds: int = 15
    thread_seconds: float = 0.04  # many switch intervals: whether a lock is met at one of them is chance
    calls: int = 1_000  # whose memory is measured


class Timing(NamedTuple):
    """What one call costs."""

    ratio: float
    nanoseconds: float


def measure(scenario: Scenario, libraries: Iterable[Contender], effort: Effort) -> dict[str, Timing]:
    """Return what one call costs each contender that has the scenario's form."""
    with stage(scenario.events, scenario.sleepless) as loop:
        runs = {one.name: scenario.runs(one, loop)[0] for one in scenario.contenders(libraries)}
        for run in runs.values():
            run.check()
        functions = {name: run.times for name, run in runs.items()}
        return in_turns(functions, scenario.reference.name, effort, empty(loop, scenario.form is COROUTINE).times)


def decorations(libraries: Iterable[Contender], effort: Effort) -> dict[str, Timing]:
    """Return what decorating one function costs each contender that decorates."""

    def decorating(decorate: Decorate) -> Callable[[int], None]:
        def run(times: int) -> None:
            for _ in range(times):
                decorate(fresh())

        return run

    with stage():
        some = [one for one in [*HAND, *libraries] if one is not BARE and one.decorate is not None]
        functions = {one.name: decorating(one.decorate) for one in some if one.decorate is not None}
        return in_turns(functions, CLOSURE.name, effort, decorating(lambda function: function))


def in_turns(
    functions: Mapping[str, Callable[[int], Any]], reference: str, effort: Effort, nothing: Callable[[int], Any]
) -> dict[str, Timing]:
    """Time functions that make a number of calls, in rounds, in an order that chance makes anew for each round."""
    numbers = {name: number_for(function, effort.seconds) for name, function in functions.items()}
    loop = number_for(nothing, effort.seconds)
    overhead = min(_seconds(nothing, loop) / loop for _ in range(min(20, effort.rounds)))
    seen: dict[str, list[float]] = {name: [] for name in functions}
    order = list(functions)
    for _ in range(effort.rounds):
        random.shuffle(order)
        for name in order:
            # Never nothing: a bare call may seem to cost less than the loop around it.
            seen[name].append(max(_seconds(functions[name], numbers[name]) / numbers[name] - overhead, 1e-9))
    return {
        name: Timing(
            median(mine / theirs for mine, theirs in zip(seen[name], seen[reference], strict=True)),
            median(seen[name]) * 1e9,
        )
        for name in functions
    }


def _seconds(function: Callable[[int], Any], number: int) -> float:
    start = perf_counter()
    function(number)
    return perf_counter() - start


def number_for(function: Callable[[int], Any], seconds: float) -> int:
    """Return how many calls take about so long; the calls made to find out warm it up.

    The best of three, because one call that loads a module, or loses the processor, must not stand for all.
    """
    number = 1
    while (spent := min(_seconds(function, number) for _ in range(3))) < seconds / 2:
        number *= 2
    return max(1, round(number * seconds / spent))
