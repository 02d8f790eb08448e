"""The cases of ``classifying.py`` under pytest-benchmark: ``pytest tests/benchmarks/bench_classifying.py``."""

from __future__ import annotations

from typing import Any

import pytest
from classifying import CASES, Case

from retrywrap.classifiers import classify


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_seen_before(benchmark: Any, case: Case) -> None:
    """An error of a type that was seen before."""
    benchmark.group = "headers or text" if case.parsed else "by type or number"
    benchmark(classify, case.make())
