"""The benchmarks start, and everybody in them does the same thing; nothing is timed: noise must not fail a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from retrywrap.classifiers.chain import classify, is_known

FOLDER = Path(__file__).parent / "benchmarks"


def python(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python at the top of the checkout."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=240, check=False, cwd=FOLDER.parent.parent, encoding="utf-8"
    )


def test_the_ratios_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pair can be measured, and the import as well."""
    monkeypatch.syspath_prepend(FOLDER)
    import ratios
    from timing import Effort

    assert [scenario.form.name for scenario in ratios.SCENARIOS] == ["function", "method", "coroutine", "block"]
    for scenario in ratios.SCENARIOS:
        assert len(ratios.sides(scenario, Effort(rounds=1, seconds=1e-5))) == 2
    assert len(ratios.import_times(rounds=1)) == 2


def test_classifying_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every case is one that the chain knows, but for the one that it shall not know."""
    monkeypatch.syspath_prepend(FOLDER)
    import classifying

    assert [case.name for case in classifying.CASES if not is_known(classify(case.make()))] == ["unknown"]
    assert len(classifying.measure(rounds=1, calls=1)) == len(classifying.CASES) + 1


def test_the_comparison_writes_its_page_and_its_picture(tmp_path: Path) -> None:
    """One command measures everything that is installed, and writes where it is told to."""
    done = python(FOLDER / "compare.py", "--quick", "--output", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "results" / "results.md").read_text("utf-8")
    titles = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert titles == [
        "Success at once",
        "Two failures, then success",
        "Exhausted",
        "The peers' sleep(0)",
        "Events",
        "Threads",
        "Once",
        "Memory",
        "How it was measured",
    ]
    assert "| **retrywrap** | **" in text
    assert "</svg>" in (tmp_path / "results" / "ratios.svg").read_text("utf-8")


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that cannot be imported is missing, and nothing else is."""
    monkeypatch.syspath_prepend(FOLDER)
    import contenders

    peers = contenders.LIBRARIES.keys() - {"retrywrap"}
    for module in ("redis", "tenaz", "opnieuw", "google.api_core", "backoff", "retrying", "tenacity", "stamina"):
        monkeypatch.setitem(sys.modules, module, None)
    found, missing = contenders.installed()
    assert [contender.name for contender in found] == ["retrywrap"]
    assert set(missing) == peers


def test_the_benchmarks_run_under_pytest_benchmark() -> None:
    """Each scenario is there for each contender that can do it; here without timing."""
    done = python(
        "-m",
        "pytest",
        "-q",
        "--benchmark-disable",
        "-p",
        "no:cacheprovider",
        FOLDER / "bench_peers.py",
        FOLDER / "bench_classifying.py",
        "-k",
        "retrywrap or seen_before",
    )
    assert " passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
