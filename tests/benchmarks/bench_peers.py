"""The scenarios under pytest-benchmark, a group for each: ``pytest tests/benchmarks/bench_peers.py -k function``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from contenders import Contender, installed
from scenarios import Scenario, everything
from stage import stage

CALLS = 100
LIBRARIES = installed()[0]
PLACES = [(scenario, one) for scenario in everything() for one in scenario.contenders(LIBRARIES)]

# What a peer says of this Python is its own affair.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def loop(scenario: Scenario) -> Iterator[asyncio.AbstractEventLoop]:
    """Set the stage of a scenario."""
    with stage(scenario.events, scenario.sleepless) as loop:
        yield loop


@pytest.mark.parametrize(
    ("scenario", "contender"), PLACES, ids=[f"{one.name}-{scenario.name}" for scenario, one in PLACES]
)
def test_calls(benchmark: Any, scenario: Scenario, contender: Contender, loop: asyncio.AbstractEventLoop) -> None:
    """A hundred calls of one contender in one scenario."""
    run = scenario.runs(contender, loop)[0]
    run.check()
    benchmark.group = scenario.name
    benchmark(run.times, CALLS)
