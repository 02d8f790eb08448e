"""What retrywrap adds to a call that succeeds at once, as ratios to hand-written code in the same run.

    python tests/benchmarks/ratios.py

The short form of ``compare.py``: two sides, one outcome, and the import. The ratios of two runs can be compared, the
nanoseconds not.
"""

from __future__ import annotations

from contenders import LIBRARIES
from imports import loadings
from scenarios import BLOCK, COROUTINE, FORMS, MATRIX, SUCCESS, Scenario
from timing import Effort, Timing, measure

__all__ = ["SCENARIOS", "import_times", "sides"]

EFFORT = Effort(rounds=401, seconds=0.001, imports=25)
SCENARIOS = [one for one in MATRIX if one.outcome is SUCCESS and one.form in (*FORMS[:2], COROUTINE, BLOCK)]


def sides(scenario: Scenario, effort: Effort = EFFORT) -> tuple[Timing, Timing]:
    """Return what one call costs by hand and decorated."""
    found = measure(scenario, [LIBRARIES["retrywrap"].load("retrywrap")], effort)
    return found[scenario.reference.name], found["retrywrap"]


def import_times(rounds: int = EFFORT.imports) -> tuple[float, float]:
    """Return the milliseconds of processor time over ``import wrapt``: of the import, and with a first decoration.

    The best of each counts; what is decorated first loads the proxies and the configuration.
    """
    found = loadings({"wrapt": ("wrapt", None), "ours": ("wrapt, retrywrap", "retrywrap")}, rounds)
    wrapt, ours = found["wrapt"], found["ours"]
    assert ours.decorated is not None
    return ours.imported - wrapt.imported, ours.decorated - wrapt.imported


def main() -> None:
    """Print the table."""
    print("| happy path | by hand, ns | retrywrap, ns | ratio |\n|---|---|---|---|")
    for scenario in SCENARIOS:
        hand, ours = sides(scenario)
        print(f"| {scenario.form.name} | {hand.nanoseconds:.0f} | {ours.nanoseconds:.0f} | {ours.ratio:.2f} |")
    imported, decorated = import_times()
    print(f"\nimport retrywrap: import wrapt + {imported:.1f} ms; with the first decoration + {decorated:.1f} ms")


if __name__ == "__main__":
    main()
