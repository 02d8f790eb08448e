"""Whole programs, against a plain interpreter of the documentation; sync against async; one build against the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelling import runner
from modelling.model import Model
from modelling.parts import FACTS
from modelling.program import Program, programs, without_time
from modelling.rounds import examples

import retrywrap
from retrywrap import classify

TESTS = Path(__file__).parent
REASONS = ("recovered", "exhausted", "rejected", "timed_out", "budget_denied", "nested_refused", "cancelled")


@pytest.fixture(autouse=True)
def _known() -> Iterator[None]:
    with runner.known():
        yield
    runner.close()


def expected_facts(events: list[Any]) -> dict[str, Any]:
    """Return what a registry must hold that heard of these events."""

    def count(own: list[Any]) -> list[Any]:
        ends = Counter(reason for _, _, reason, *_ in own)
        return [
            sum(event[8] for event in own),
            sum(event[9] for event in own),
            sum(event[6] or 0 for event in own),
            sum(event[0] == "retry.unknown_error" for event in own),
            *(ends[reason] for reason in REASONS),
            sum(event[2] is not None and event[4] == 1 for event in own),
            None,
        ]

    names = dict.fromkeys(event[1] for event in events)
    errors = [event for event in events if event[8]]
    return {
        "operations": {name: count([event for event in events if event[1] == name]) for name in names},
        "total": count(events),
        "codes": {str(code): number for code, number in Counter(event[3] for event in errors).items()},
        "errors": [[event[3], event[1], event[4], event[2] is not None] for event in errors],
        "last": [errors[-1][3], errors[-1][1], errors[-1][4]] if errors else [0, "", 0],
    }


def expected(program: Program) -> dict[str, Any]:
    """Return the report that the model gives."""
    model = Model(program)
    model.run()
    return {
        "story": model.story,
        "waits": model.waits,
        "now": model.now,
        "registries": [expected_facts(events) for events in model.heard],
        "budgets": [budget.available for budget in model.budgets],
        "at once": dict(model.at_once) if retrywrap.__build__ == "C" else None,
    }


def check(told: dict[str, Any], model: dict[str, Any]) -> None:
    """Compare, beginning with what explains most."""
    for n, (one, other) in enumerate(zip(told["story"], model["story"], strict=False)):
        assert one == other, n
    for key, value in model.items():
        assert told[key] == value, key


@pytest.mark.parametrize("kind", sorted(set(FACTS) - {"bad", "worse"}))
def test_the_models_errors_are_what_it_takes_them_for(kind: str) -> None:
    """Code, retryable, effect, throttled and hint, as the classifier has them."""
    error = runner.ERRORS[kind]()
    assert isinstance(error, Exception)
    verdict = classify(error)
    told = (verdict.code, verdict.retryable, verdict.effect == "none", verdict.throttled, verdict.retry_after)
    assert told == FACTS[kind]
    assert verdict.forbid == (kind == "forbidden")


@given(programs())
@examples(200)
def test_a_program_goes_as_the_documentation_says(program: Program) -> None:
    """Attempts, waits, events, what comes out, registries, scopes and budgets, of any tree of operations."""
    check(runner.run(program, "sync"), expected(program))


@given(programs().map(without_time), st.sampled_from(runner.TRACKS))
@examples(200)
def test_a_program_that_takes_no_time(program: Program, track: str) -> None:
    """The same on the real clock, where the fast path in C retries by itself what nothing else is said of."""
    check(runner.run(program, track, timeless=True), expected(program))


@given(programs())
@examples(60)
def test_sync_and_async_tell_the_same_story(program: Program) -> None:
    """Coroutine functions, and plain functions that return awaitables, in async scopes and loops."""
    told = runner.run(program, "sync")
    for track in ("async", "later"):
        check(runner.run(program, track), told)


def native_is_built() -> bool:
    """Whether there is another build than pure Python."""
    return find_spec("retrywrap.run._fast") is not None


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Callable[[Program, str], Any]]:
    """Runs programs in another process, on the other build where there is one."""
    pure = "0" if retrywrap.__build__ != "C" else "1"
    path = os.pathsep.join(filter(None, (str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH"))))
    other = subprocess.Popen(
        [sys.executable, "-m", "modelling.runner"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "RETRYWRAP_PURE": pure},
    )
    assert other.stdin is not None
    assert other.stdout is not None
    pipes = other.stdin, other.stdout
    assert pipes[1].readline() == f"{'pure Python' if pure == '1' else 'C' if native_is_built() else 'pure Python'}\n"

    def run(program: Program, track: str) -> Any:
        print(json.dumps([program, track]), file=pipes[0], flush=True)
        return json.loads(pipes[1].readline())

    yield run
    other.communicate(timeout=60)
    assert other.returncode == 0


@given(programs(), st.sampled_from(runner.TRACKS))
@examples(60)
def test_both_builds_tell_the_same_story(
    elsewhere: Callable[[Program, str], Any], program: Program, track: str
) -> None:
    """The one with the fast path in C, and pure Python; where only one is there, two of its processes do."""
    here, there = (told | {"at once": None} for told in (runner.run(program, track), elsewhere(program, track)))
    check(here, there)
