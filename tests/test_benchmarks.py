"""The benchmarks start, and their pairs do the same thing; nothing is timed here, since noise must not fail a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from retrywrap.classifiers.chain import classify, is_known

FOLDER = Path(__file__).parent / "benchmarks"


def test_the_ratios_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pair can be measured, and the import as well."""
    monkeypatch.syspath_prepend(FOLDER)
    import ratios

    assert [pair.name for pair in ratios.PAIRS] == ["function", "method", "coroutine function", "block"]
    for pair in ratios.PAIRS:
        assert pair.hand() == pair.ours()
        assert len(ratios.measure(pair, rounds=1, calls=100)) == 2
    assert len(ratios.import_times(rounds=1)) == 2


def test_classifying_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every case is one that the chain knows, but for the one that it shall not know."""
    monkeypatch.syspath_prepend(FOLDER)
    import classifying

    assert [case.name for case in classifying.CASES if not is_known(classify(case.make()))] == ["unknown"]
    assert len(classifying.measure(rounds=1, calls=1)) == len(classifying.CASES) + 1


def test_the_benchmarks_run_under_pytest_benchmark() -> None:
    """One command runs them; here without timing."""
    command = [sys.executable, "-m", "pytest", "-q", "--benchmark-disable", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, str(FOLDER / "bench_overhead.py"), str(FOLDER / "bench_classifying.py")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=FOLDER.parent.parent,
    )
    assert "18 passed" in done.stdout, done.stdout + done.stderr
