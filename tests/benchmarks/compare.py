"""retrywrap beside other libraries and hand-written code, in one run: a page of tables, and a picture.

    python tests/benchmarks/compare.py [--quick] [--output docs/benchmarks]

The libraries are those of the extra ``bench``; those that are not installed are left out and named.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import memory
import threads
from contenders import LIBRARIES, installed
from imports import loadings
from picture import draw
from report import Results, page
from scenarios import everything
from timing import Effort, decorations, measure

DEFAULT = Path(__file__).parents[2] / "docs" / "benchmarks"
QUICK = Effort(rounds=1, seconds=1e-5, imports=1, threads=(1, 2), thread_rounds=1, thread_seconds=1e-4, calls=10)


def run(effort: Effort) -> Results:
    """Measure everything."""
    libraries, missing = installed()
    if missing:
        _say(f"not installed, left out: {', '.join(missing)}")
    timings = {}
    for scenario in everything():
        _say(scenario.name)
        timings[scenario] = measure(scenario, libraries, effort)
    _say("threads")
    slowdowns = {scenario: threads.slowdowns(scenario, libraries, effort) for scenario in threads.SCENARIOS}
    _say("memory")
    footprints = {scenario: memory.footprints(scenario, libraries, effort) for scenario in memory.SCENARIOS}
    _say("decoration and import")
    modules: dict[str, tuple[str, str | None]] = {one.name: (LIBRARIES[one.name].module, one.name) for one in libraries}
    modules |= {"wrapt alone": ("wrapt", None), "structlog alone": ("structlog", None)}
    return Results(
        effort=effort,
        missing=missing,
        timings=timings,
        threads=slowdowns,
        footprints=footprints,
        decorations=decorations(libraries, effort),
        decorated=memory.decorated(libraries, effort),
        loadings=loadings(modules, effort.imports),
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure, and write the page and the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only show that it starts: the numbers mean nothing")
    parser.add_argument("--output", type=Path, default=DEFAULT, metavar="DIR", help="where to write")
    options = parser.parse_args()
    results = run(QUICK if options.quick else Effort())
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "results.md").write_text(page(results), "utf-8")
    draw(results.timings, options.output / "ratios.svg")


if __name__ == "__main__":
    main()
