"""The pairs of ``ratios.py`` under pytest-benchmark: ``pytest tests/benchmarks/bench_overhead.py``."""

from __future__ import annotations

from typing import Any

import pytest
from ratios import PAIRS, Pair


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
@pytest.mark.parametrize("who", ["hand", "ours"])
def test_happy_path(benchmark: Any, pair: Pair, who: str) -> None:
    """A call that succeeds at once, by hand and decorated, in one group."""
    benchmark.group = pair.name
    benchmark(getattr(pair, who))
