"""The results as a page in Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from textwrap import fill
from typing import NamedTuple

from contenders import LIBRARIES
from imports import Loading
from memory import Footprint
from scenarios import EVENTS, FORMS, MATRIX, OUTCOMES, SLEEPS, Scenario
from threads import Raised, Spread
from timing import Effort, Timing

import retrywrap

__all__ = ["Results", "digits", "page"]

NONE = "-"  # where a contender has nothing to show


class Results(NamedTuple):
    """Everything that was measured, by scenario and contender."""

    effort: Effort
    missing: list[str]
    timings: dict[Scenario, dict[str, Timing]]
    threads: dict[Scenario, dict[str, list[Spread | Raised]]]
    footprints: dict[Scenario, dict[str, Footprint]]
    decorations: dict[str, Timing]
    decorated: dict[str, float]
    loadings: dict[str, Loading]


def page(results: Results) -> str:
    """Return the whole page."""
    parts = [_head(results), *(_matrix(results, outcome.name) for outcome in OUTCOMES)]
    parts += [_sleeps(results), _events(results), _threads(results), _once(results), _memory(results), _NOTES]
    return "\n\n".join(parts) + "\n"


_NOTES = """\
## How it was measured

- All contenders of a table are timed in one process, in turns: in each round every one of them has a turn of two
  milliseconds, in a random order. A ratio is the median, over the rounds, of a contender's time to the reference's in
  the same round. Ratios of two runs can be compared; times cannot. The garbage collector is on.
- The reference is 1. Where nothing fails it is a `functools.wraps` closure with `try` and `except`, which retries
  nothing; for a block, and wherever something fails, it is the shortest loop that does retry. *Bare call* is the
  operation itself; where it fails, in a loop at the place of the call.
- Everybody makes three calls at most, retries `ConnectionError`, and does not wait. Most peers call `time.sleep(0)` or
  `asyncio.sleep(0)` all the same, and opnieuw cannot be told not to wait: except in the table that says so, both
  functions were replaced by ones that do nothing, to the peers' advantage. retrywrap never sleeps for no seconds.
- Events: structlog was configured, with a filtering logger whose level lets none pass. retrywrap's events cannot be
  turned off, and it judges, records and counts each failure besides: this is the least that it costs. stamina's hooks
  were turned off, and backoff's logger; retrying makes log records for a silent logger of its own. In the table of
  events retrywrap and stamina's hook use the same configuration of structlog, and write to nowhere.
- google-api-core has no maximum of attempts: its predicate refuses the third error of an operation that is to be
  exhausted. redis-py's `Retry` is no decorator: it was called in a closure. tenaz ends in an exception of its own; all
  others let the operation's out.
- A dash stands where a library has no such form; retrying, for one, does not retry coroutines."""


def _head(results: Results) -> str:
    facts = {
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "retrywrap": f"{retrywrap.__version__}, {getattr(retrywrap, '__build__', 'pure Python')}",
        **{name: _version(name) for name in ("wrapt", "structlog")},
        **{name: _version(name) for name in sorted({one.distribution for one in LIBRARIES.values()} - {"retrywrap"})},
    }
    missing = f"\n\nNot installed, and so left out: {', '.join(results.missing)}." if results.missing else ""
    return (
        "# Beside other libraries\n\n"
        "What a call costs, as a multiple of what one writes by hand. This page and its picture are written by\n\n"
        "```sh\npython tests/benchmarks/compare.py\n```\n\n"
        f"![Ratios to hand-written code, on a logarithmic scale](ratios.svg)\n\n"
        f"{_table('', ['measured with'], {name: [value] for name, value in facts.items()})}{missing}"
    )


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def _matrix(results: Results, outcome: str) -> str:
    scenarios = [scenario for scenario in MATRIX if scenario.outcome.name == outcome]
    columns = [form.name for form in FORMS]
    return f"## {outcome.capitalize()}\n\n{_ratios(results.timings, scenarios, columns)}"


def _sleeps(results: Results) -> str:
    text = (
        "Two failures, then success, as above, with the sleeps of no seconds left in. opnieuw has none: it would wait."
    )
    return f"## The peers' sleep(0)\n\n{text}\n\n{_ratios(results.timings, SLEEPS, [one.form.name for one in SLEEPS])}"


def _events(results: Results) -> str:
    columns = [f"{one.outcome.name}: {one.events.value}" for one in EVENTS]
    return f"## Events\n\nThrough structlog, of a function.\n\n{_ratios(results.timings, EVENTS, columns)}"


def _ratios(
    timings: Mapping[Scenario, Mapping[str, Timing]], scenarios: Sequence[Scenario], columns: Iterable[str]
) -> str:
    names = _names(timings[scenario] for scenario in scenarios)
    cells = {name: [_ratio(timings[scenario].get(name)) for scenario in scenarios] for name in names}
    hand = [f"{timings[scenario][scenario.reference.name].nanoseconds:.0f}" for scenario in scenarios]
    return _table("", columns, {**cells, "*the reference, ns*": hand})


def _threads(results: Results) -> str:
    text = (
        "One decorated function, called by several threads at once: the time for each call, over all threads, as a "
        "multiple of the time with one thread. 1 is the best that a global interpreter lock allows. "
        "In parentheses the middle half of the rounds: whether threads meet at a lock is chance. Where the name of "
        "an exception stands, the library itself raised it in one of the threads."
    )
    tables = []
    for scenario, found in results.threads.items():
        rows = {name: [_multiple(cell) for cell in cells] for name, cells in found.items()}
        tables.append(_table(scenario.outcome.name, map(str, results.effort.threads), rows))
    return "\n\n".join(["## Threads", fill(text, 120), *tables])


def _once(results: Results) -> str:
    text = (
        "Decorating one function, and the memory it takes over the function's own. Then the processor time that a "
        "fresh process spends over bare Python: on the import, up to the first decoration, up to the first failure. "
        "retrywrap and stamina load structlog at the first failure."
    )
    rows = {}
    for name in _names([results.decorations, results.loadings]):
        made, size = results.decorations.get(name), results.decorated.get(name)
        rows[name] = [
            _ratio(made),
            NONE if made is None else f"{made.nanoseconds / 1000:.1f}",
            NONE if size is None else f"{size:.0f}",
            *(NONE if time is None else f"{time:.1f}" for time in results.loadings.get(name, [None] * 3)),
        ]
    columns = ["decorating", "µs", "bytes", "import, ms", "with decoration, ms", "with failure, ms"]
    return f"## Once\n\n{fill(text, 120)}\n\n{_table('', columns, rows)}"


def _memory(results: Results) -> str:
    text = (
        "Of one call of a function: bytes at its peak / bytes that it keeps / objects that it leaves to the garbage "
        "collector."
    )
    scenarios = list(results.footprints)
    names = _names(results.footprints.values())
    rows = {name: [_footprint(results.footprints[one].get(name)) for one in scenarios] for name in names}
    return f"## Memory\n\n{fill(text, 120)}\n\n{_table('', [one.outcome.name for one in scenarios], rows)}"


def _names(found: Iterable[Mapping[str, object]]) -> list[str]:
    """Return the names of all rows, in the order of the contenders."""
    names: dict[str, None] = {}
    for some in found:
        names |= dict.fromkeys(some)
    order = ["bare call", "hand-written closure", "hand-written loop", "hand-written loop that logs", *LIBRARIES]
    return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


def _ratio(timing: Timing | None) -> str:
    return NONE if timing is None else digits(timing.ratio)


def digits(ratio: float) -> str:
    """Return a ratio with as many digits as mean something."""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def _multiple(cell: Spread | Raised) -> str:
    if isinstance(cell, Raised):
        return cell.error
    return f"{cell.median:.1f} ({cell.low:.1f} to {cell.high:.1f})"


def _footprint(cell: Footprint | None) -> str:
    return NONE if cell is None else f"{cell.peak} / {round(cell.kept)} / {round(cell.garbage)}"


def _table(corner: str, columns: Iterable[str], rows: Mapping[str, Sequence[str]]) -> str:
    heads = list(columns)
    lines = [f"| {' | '.join([corner, *heads])} |", f"|---|{'--:|' * len(heads)}"]
    for name, cells in rows.items():
        strong = "**" if name == "retrywrap" else ""
        lines.append(f"| {' | '.join(f'{strong}{cell}{strong}' for cell in [name, *cells])} |")
    return "\n".join(lines)
