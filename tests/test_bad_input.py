"""Every parameter of every public callable, tried with what it cannot be: the message names it and says what it can be.

The tables below are held against the signatures: a parameter that is new, or gone, fails the test until it stands here,
with wrong values or with the reason why there are none.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import importlib
import inspect
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import retrywrap
from retrywrap import Registry, RetryBudget, RetryPolicy, classifiers, plugin, testing
from retrywrap.decide.allowance import PROCESS
from retrywrap.decide.checks import shown

MODULES = ("retrywrap", "retrywrap.classifiers", "retrywrap.plugin", "retrywrap.testing")


async def coroutine_function(_: object) -> None:
    """Is refused where a plain function is needed."""


def generator_function() -> Iterator[None]:
    """Is refused where a function is needed that does something when it is called."""
    yield


async def async_generator_function() -> Any:
    """The same, in coroutines."""
    yield


class Misfit:
    """An object that is nothing that any parameter could be."""

    def __repr__(self) -> str:
        return "<a misfit>"


class SomeError(Exception):
    """An error that no table knows."""


@retrywrap.with_retry(max=0, name="op", on=SomeError)
def decorated() -> None:
    """Is a target for faults."""
    raise SomeError("x")


def events_of_one() -> testing.Events:
    """Return the events of an operation that failed."""
    with testing.observe() as events, contextlib.suppress(SomeError):
        decorated()
    return events


MISFIT = Misfit()
NUMBERS: list[Any] = [True, "3", None, MISFIT, -1, math.nan, math.inf]
SECONDS: list[Any] = [True, "3", MISFIT, -1, math.nan, math.inf, 10**400]
COUNTS: list[Any] = [True, "3", None, MISFIT, 1.5, -1]
NOT_BOOL: list[Any] = [0, 1, "no", None, MISFIT]
CODES: list[Any] = [True, "-6", None, 1.5, MISFIT]
TARGETS: list[Any] = [None, 3, len, MISFIT, MISFIT.__repr__]
REGISTRIES: list[Any] = [None, 3, {}, Registry]
NAMES: list[Any] = [3, b"x", True, MISFIT]
CLOCKS: list[Any] = [None, True, "5", math.nan, math.inf, -math.inf, MISFIT]
JITTERS: list[Any] = ["none", True, 0, 1.5, -0.1, math.nan, MISFIT]

POLICY: dict[str, list[Any]] = {
    "max": [True, 1.5, "3", -1, MISFIT],
    "interval": [*SECONDS, None, b"5", {1}, iter([1]), [1, "5"], [1, -1]],
    "timeout": SECONDS,
    "attempt_timeout": [*SECONDS, 0],
    "on": [3, "ValueError", MISFIT, KeyboardInterrupt, BaseException, (ValueError, 3), int, coroutine_function],
    "classifier": [3, "x", MISFIT, [3], int, SomeError, coroutine_function, generator_function],
    "results": [3, "x", MISFIT, int, coroutine_function],
    "idempotent": NOT_BOOL,
    "nested": ["twice", 3, None, True, MISFIT],
    "before_retry": [3, "x", MISFIT, int],
    "budget": [3, "", True, MISFIT, RetryBudget],
    "reraise": NOT_BOOL,
}
OPERATION: dict[str, list[Any]] = {
    **POLICY,
    "policy": [3, b"x", True, {}, MISFIT, RetryPolicy],
    "registry": REGISTRIES,
    "name": NAMES,
}
UNKNOWN: list[Any] = [{"retries": 3}, {"colour": 3}]
CONTEXTS: list[Any] = [3, "x", MISFIT, retrywrap.RetryContext(RetryPolicy())]
COORDINATORS: list[Any] = [3, "x", MISFIT, {}]

CASES: dict[str, dict[str, list[Any]]] = {
    # --- retrywrap
    "retrywrap.ErrorCode": {"value": CODES},
    "retrywrap.RetryState": {"value": [9, "IDLE", None]},
    "retrywrap.StopReason": {"value": ["tired", 3, None]},
    "retrywrap.RatioBudget": {"ratio": NUMBERS, "ttl": [*NUMBERS, 0], "reserve": NUMBERS},
    "retrywrap.RetryBudget": {
        "capacity": [*NUMBERS, 0, 1],
        "cost": [*NUMBERS, 0],
        "throttling_cost": [*NUMBERS, 0],
    },
    "retrywrap.Registry": {"error_buffer_size": [*COUNTS, 2**32]},
    "retrywrap.Registry.declare": {"operation": [None, *NAMES]},
    "retrywrap.Registry.record_error": {"code": [*CODES, 0], "message": NAMES, "operation": [None, *NAMES]},
    "retrywrap.Registry.resize": {"error_buffer_size": [*COUNTS, 2**32]},
    "retrywrap.Registry.stats": {"operation": NAMES},
    "retrywrap.RatioBudget.begin": {"now": CLOCKS},
    "retrywrap.RatioBudget.restore": {"paid": [None, *NUMBERS]},
    "retrywrap.RatioBudget.succeeded": {"paid": [x for x in NUMBERS if x is not None]},
    "retrywrap.RatioBudget.withdraw": {"now": CLOCKS, "throttled": NOT_BOOL},
    "retrywrap.RetryBudget.begin": {"now": CLOCKS},
    "retrywrap.RetryBudget.restore": {"paid": [None, *NUMBERS]},
    "retrywrap.RetryBudget.succeeded": {"paid": [x for x in NUMBERS if x is not None]},
    "retrywrap.RetryBudget.withdraw": {"now": CLOCKS, "throttled": NOT_BOOL},
    "retrywrap.RetryContext": {
        "policy": [3, "x", None, MISFIT],
        "operation": [None, *NAMES],
        "limits": [3, "x", None, MISFIT],
        "random": [3, None, MISFIT],
        "epoch": CLOCKS,
    },
    "retrywrap.RetryContext.begin": {"now": CLOCKS},
    "retrywrap.RetryContext.failed": {
        "error": [3, "x", None, MISFIT, SomeError, KeyboardInterrupt()],
        "now": CLOCKS,
        "spent": NAMES,
    },
    "retrywrap.RetryContext.interrupted": {"now": CLOCKS, "during_attempt": NOT_BOOL},
    "retrywrap.RetryContext.remaining": {"now": CLOCKS},
    "retrywrap.RetryContext.resumed": {"now": CLOCKS},
    "retrywrap.RetryContext.returned": {"verdict": [3, "x", MISFIT, True], "now": CLOCKS, "spent": NAMES},
    "retrywrap.RetryContext.surround": {
        "limits": [3, "x", None, MISFIT],
        "random": [3, None, MISFIT],
        "epoch": CLOCKS,
    },
    "retrywrap.RetryContext.should_retry": {"code": CODES},
    "retrywrap.RetryPolicy": {**POLICY, "unknown": UNKNOWN},
    "retrywrap.RetryPolicy.replace": {"changes": [{name: value} for name in POLICY for value in POLICY[name]]},
    "retrywrap.Verdict.of": {
        "code": CODES,
        "message": NAMES,
        "rule": [None, *NAMES],
        "changes": [{"colour": 3}],
    },
    "retrywrap.classify": {"error_or_result": [SomeError]},
    "retrywrap.configure": {
        "file": [3, b"x", True, MISFIT],
        "enable": [1, "yes", MISFIT],
        "error_retry_max": [True, 1.5, "3", -1, 2**32, MISFIT],
        "error_retry_interval": SECONDS,
        "error_store_path": [3, "", True, b"x", "a\0b", MISFIT],
        "enable_error_logging": [1, "yes", MISFIT],
        "error_buffer_size": [True, 1.5, "3", -1, 2**32, MISFIT],
        "events": [1, "yes", MISFIT],
        "policies": [3, "x", MISFIT, {"": {}}, {"x": 3}, {"x": {"max": -1}}, {"x": {"unknown": 1}}],
        "unknown": UNKNOWN,
    },
    "retrywrap.decorrelated": {"base": [None, *SECONDS], "cap": [None, *SECONDS]},
    "retrywrap.exponential": {
        "base": [None, *SECONDS],
        "cap": [None, *SECONDS],
        "factor": [*NUMBERS, 0.5],
        "jitter": JITTERS,
    },
    "retrywrap.fibonacci": {
        "base": [None, *SECONDS],
        "cap": [None, *SECONDS],
        "jitter": JITTERS,
    },
    "retrywrap.fixed": {"seconds": [None, *SECONDS]},
    "retrywrap.linear": {"start": [None, *SECONDS], "step": SECONDS, "cap": [None, *SECONDS]},
    "retrywrap.retry_scope": OPERATION,
    "retrywrap.subscribe": {"listener": [None, 3, "x", MISFIT, coroutine_function]},
    "retrywrap.with_retry": {
        **OPERATION,
        "function": [3, "x", None, MISFIT, property(), generator_function, async_generator_function],
        "unknown": UNKNOWN,
    },
    "retrywrap.write_file": {
        "path": [3, None, MISFIT, "", "a\0b"],
        "data": [3, None, MISFIT, ["x"], "\ud800"],
        "policy": [3, b"x", {}, MISFIT],
        "mode": [True, "600", 1.5, -1, 0o10000, MISFIT],
        "durable": NOT_BOOL,
        "registry": REGISTRIES,
        "name": [None, *NAMES],
    },
    # --- retrywrap.classifiers
    "retrywrap.classifiers.Chain": {
        "classifiers": [3, "x", None, MISFIT, int, SomeError, coroutine_function],
        "base": [3, "x", MISFIT, classifiers.Chain, len],
    },
    "retrywrap.classifiers.Chain.explain": {"error_or_result": [SomeError]},
    "retrywrap.classifiers.Chain.extend": {
        "classifiers": [3, "x", None, MISFIT, int, SomeError, coroutine_function],
    },
    "retrywrap.classifiers.explain": {"error_or_result": [SomeError]},
    "retrywrap.classifiers.parse_retry_after": {"now": CLOCKS[1:]},
    "retrywrap.classifiers.program_exit": {"status": [True, "1", None, 1.5, MISFIT]},
    "retrywrap.classifiers.register": {
        "target": [3, "x", MISFIT, int, coroutine_function],
        "code": [True, "-6", 1.5, MISFIT, 0],
        "retryable": [0, 1, "no", MISFIT],
        "effect": ["some", 3, None, MISFIT],
        "retry_after": [True, "3", MISFIT, -1, math.nan, math.inf],
        "forbid": NOT_BOOL,
    },
    "retrywrap.classifiers.unregister": {"target": [SomeError, coroutine_function]},
    # --- retrywrap.plugin
    "retrywrap.plugin.BackupCoordinator": {"settings": [None, 3, {}, MISFIT]},
    "retrywrap.plugin.BackupRetryContext": {
        "max_retry": COUNTS,
        "retry_interval": [None, *SECONDS],
        "registry": REGISTRIES,
    },
    "retrywrap.plugin.backup_clear_error": {"coordinator": COORDINATORS},
    "retrywrap.plugin.backup_coordinator_destroy": {"coordinator": COORDINATORS},
    "retrywrap.plugin.backup_coordinator_init": {"config": [0, 3, "x", [], MISFIT]},
    "retrywrap.plugin.backup_execute_with_retry": {
        "context": CONTEXTS,
        "operation": [3, "x", MISFIT, coroutine_function, generator_function, async_generator_function],
    },
    "retrywrap.plugin.backup_get_error_stats": {"coordinator": COORDINATORS},
    "retrywrap.plugin.backup_get_last_error": {"coordinator": COORDINATORS},
    "retrywrap.plugin.backup_plugin_init": {
        "config": [0, 3, [], MISFIT],
        "config_len": [True, "3", 1.5, -1, MISFIT],
    },
    "retrywrap.plugin.backup_record_error": {
        "coordinator": COORDINATORS,
        "error_code": CODES,
        "message": [3, b"x", MISFIT],
    },
    "retrywrap.plugin.backup_retry_context_destroy": {"context": CONTEXTS},
    "retrywrap.plugin.backup_retry_context_init": {"max_retry": COUNTS, "retry_interval": [None, *SECONDS]},
    "retrywrap.plugin.backup_should_retry": {"context": CONTEXTS, "error_code": CODES},
    "retrywrap.plugin.backup_wait_for_retry": {"context": CONTEXTS},
    "retrywrap.plugin.backup_write_file_with_retry": {
        "coordinator": COORDINATORS,
        "file_path": [3, b"x", True, MISFIT],
        "data": [3, "x", MISFIT, ["x"]],
        "data_size": [True, "3", 1.5, MISFIT],
    },
    # --- retrywrap.testing
    "retrywrap.testing.VirtualClock": {"start": [None, *SECONDS], "random": [*NUMBERS, 1]},
    "retrywrap.testing.VirtualClock.advance": {"seconds": [None, *SECONDS]},
    "retrywrap.testing.Events.of": {"target": TARGETS},
    "retrywrap.testing.Events.operation": {"target": TARGETS},
    "retrywrap.testing.Events.expect": {
        "target": TARGETS,
        "attempts": [*COUNTS, 0],
        "waits": [3, "3", None, MISFIT, [-1], ["3"], [None]],
        "codes": [3, "NETWORK", None, MISFIT, ["NO_SUCH_CODE"], [1.5], [None], [True]],
        "outcome": [3, "succeeded", MISFIT, True],
        "unknown": [{"attempt": 3}, {"colour": 3}],
    },
    "retrywrap.testing.always": {"error": [None, 3, "error", MISFIT, int]},
    "retrywrap.testing.at_rate": {
        "rate": [True, "3", None, MISFIT, -1, 1.5, math.nan],
        "errors": [3, None, "error", int, MISFIT],
        "seed": [True, "3", None, 1.5, MISFIT],
    },
    "retrywrap.testing.inject": {
        "target": [*TARGETS, "no.such.operation"],
        "faults": [None, 3, "error", b"x", {}, MISFIT, ["error"], [MISFIT], [-1], [int], [UnicodeDecodeError]],
    },
    "retrywrap.testing.latency": {"seconds": [None, *SECONDS]},
}

DATA = "plain data, which says what it is given"
ANYTHING = "may be anything"
MACHINE = "called by the machine, on the way of every failure, with what the machine made"
EXEMPT: dict[str, tuple[str, set[str]]] = {
    "retrywrap.testing.inject": ("refused itself, whatever it is: test_injecting has it", {"more"}),
    "retrywrap.ErrorRecord": (DATA, set(retrywrap.ErrorRecord._fields)),
    "retrywrap.RetryEvent": (DATA, set(retrywrap.RetryEvent._fields)),
    "retrywrap.Registry.handle": (MACHINE, {"event"}),
    "retrywrap.RetryContext": (ANYTHING, {"layer"}),
    "retrywrap.RetryExhausted": (
        DATA,
        {"message", "operation", "reason", "attempts", "elapsed", "code", "result"},
    ),
    "retrywrap.RetryPolicy.judge": (ANYTHING, {"result"}),
    "retrywrap.Verdict": ("checked where a classifier returns it", set(retrywrap.Verdict._fields)),
    "retrywrap.Verdict.of": ("checked where a classifier returns it", set()),
    "retrywrap.return_codes": (ANYTHING, {"result"}),
    "retrywrap.classifiers.Step": (DATA, set(classifiers.Step._fields)),
    "retrywrap.classifiers.parse_retry_after": ("what is no answer's headers has no hint", {"headers"}),
    "retrywrap.classifiers.program_exit": ("a command that cannot be read is an unknown program", {"command"}),
    "retrywrap.classifiers.safe_message": ("whatever it is, its text is made safe", {"error"}),
    "retrywrap.plugin.backup_execute_with_retry": (ANYTHING, {"user_data"}),
    "retrywrap.testing.Events.add": (MACHINE, {"event"}),
    "retrywrap.testing.Injection": ("made by inject, which checks it", {"faults"}),
    "retrywrap.testing.Injection.finish": (MACHINE, {"proxy"}),
    "retrywrap.testing.Injection.meets": (MACHINE, {"arguments"}),
    "retrywrap.testing.Injection.next_fault": (MACHINE, {"proxy"}),
    "retrywrap.testing.Observed": (DATA, set(testing.Observed._fields)),
    "retrywrap.testing.VirtualClock.asleep": (MACHINE, {"seconds", "limits"}),
    "retrywrap.testing.VirtualClock.sleep": (MACHINE, {"seconds", "limits"}),
}
TYPES = {"Classifier", "Effect"}
"""Public names that stand for types alone, and are not called."""

GIVEN: dict[str, dict[str, Any]] = {
    "retrywrap.RatioBudget.withdraw": {"now": 1, "throttled": False},
    "retrywrap.RetryBudget.withdraw": {"now": 1, "throttled": False},
    "retrywrap.RetryContext": {"policy": RetryPolicy()},
    "retrywrap.RetryContext.failed": {"error": SomeError("x"), "now": 1},
    "retrywrap.RetryContext.interrupted": {"now": 1, "during_attempt": True},
    "retrywrap.RetryContext.returned": {"verdict": None, "now": 1},
    "retrywrap.RetryContext.surround": {"limits": PROCESS, "random": len, "epoch": 0},
    "retrywrap.Registry.declare": {"operation": "op"},
    "retrywrap.Verdict.of": {"code": -6},
    "retrywrap.classifiers.parse_retry_after": {"headers": {}},
    "retrywrap.Registry.record_error": {"code": -6},
    "retrywrap.decorrelated": {"base": 1},
    "retrywrap.exponential": {"base": 1},
    "retrywrap.fibonacci": {"base": 1},
    "retrywrap.linear": {"start": 1},
    "retrywrap.testing.Events.expect": {"target": "op"},
    "retrywrap.testing.at_rate": {"rate": 0.5, "errors": SomeError},
    "retrywrap.testing.inject": {"target": decorated, "faults": [SomeError]},
    "retrywrap.write_file": {"path": "file", "data": b"data"},
    "retrywrap.classifiers.program_exit": {"command": "rsync"},
    "retrywrap.classifiers.register": {"target": SomeError, "code": -6},
    "retrywrap.plugin.backup_execute_with_retry": {"context": plugin.BackupRetryContext(), "operation": len},
    "retrywrap.plugin.backup_record_error": {"coordinator": plugin.backup_coordinator_init(), "error_code": -6},
    "retrywrap.plugin.backup_should_retry": {"context": plugin.BackupRetryContext(), "error_code": -6},
    "retrywrap.plugin.backup_write_file_with_retry": {
        "coordinator": plugin.backup_coordinator_init(),
        "file_path": "file",
        "data": b"data",
    },
}
"""The arguments that are right, where some are needed."""

OBJECTS: dict[type, object] = {
    Registry: Registry(),
    retrywrap.RatioBudget: retrywrap.RatioBudget(),
    retrywrap.RetryBudget: retrywrap.RetryBudget(),
    retrywrap.RetryContext: retrywrap.RetryContext(RetryPolicy()),
    RetryPolicy: RetryPolicy(),
    classifiers.Chain: classifiers.Chain(),
    testing.Events: events_of_one(),
    testing.VirtualClock: testing.VirtualClock(),
}
"""Whose methods are tried."""

# How a message may name a parameter, where it does not by its own name.
ALSO: dict[tuple[str, str], str] = {
    ("retrywrap.ErrorCode", "value"): "a code must be",
    ("retrywrap.RetryState", "value"): "is not a valid RetryState",
    ("retrywrap.StopReason", "value"): "is not a valid StopReason",
    ("retrywrap.classify", "error_or_result"): "an exception is classified",
    ("retrywrap.classifiers.explain", "error_or_result"): "an exception is classified",
    ("retrywrap.classifiers.Chain.explain", "error_or_result"): "an exception is classified",
    ("retrywrap.classifiers.Chain", "classifiers"): "classifier must be",
    ("retrywrap.classifiers.Chain.extend", "classifiers"): "classifier must be",
    ("retrywrap.classifiers.unregister", "target"): "is not registered",
    ("retrywrap.with_retry", "function"): "calling it again|a property cannot be called",
    ("retrywrap.testing.at_rate", "errors"): "error must be",
    ("retrywrap.testing.inject", "faults"): "a fault must be|seconds must be",
    ("retrywrap.RetryPolicy.replace", "changes"): "|".join(POLICY),
}
EXPECTED = re.compile(
    r"\b(must|expected|takes|valid|never|classified|registered|needs?|cannot|known|Decorate|give|mean|parameters)\b"
)


class Case(NamedTuple):
    """One wrong value for one parameter."""

    place: str
    parameter: str
    value: Any


def public_callables() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield each public function, class and public method of one, once, by the place where it is first public."""
    seen: set[int] = set()
    for module in MODULES:
        loaded = importlib.import_module(module)
        for name in loaded.__all__:
            found = getattr(loaded, name)
            if not callable(found) or name in TYPES or id(found) in seen:
                continue
            seen.add(id(found))
            yield f"{module}.{name}", found
            if isinstance(found, type) and not issubclass(found, enum.Enum):
                yield from _methods(f"{module}.{name}", found, seen)


def _methods(place: str, cls: type, seen: set[int]) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in dir(cls):
        static = inspect.getattr_static(cls, name)
        function = getattr(static, "__func__", static)
        if name.startswith("_") or not inspect.isfunction(function) or id(function) in seen:
            continue
        if function.__module__.startswith("retrywrap"):
            seen.add(id(function))
            yield f"{place}.{name}", getattr(OBJECTS.get(cls, cls), name)


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return a callable's parameters; an exception class that defines none has none of its own."""
    if isinstance(function, enum.EnumMeta):  # which shows another signature in each Python
        return {"value": inspect.Parameter("value", inspect.Parameter.POSITIONAL_ONLY)}
    try:
        found = dict(inspect.signature(function).parameters)
    except ValueError:
        return {}
    found.pop("self", None)
    return found


CALLABLES = dict(public_callables())


@pytest.mark.parametrize("place", CALLABLES)
def test_every_parameter_stands_in_the_tables(place: str) -> None:
    """Each parameter has wrong values to be tried with, or a reason why it has none, and never both."""
    tried = set(CASES.get(place, {}))
    _, exempt = EXEMPT.get(place, ("", set()))
    found = set(parameters(CALLABLES[place]))
    tried = tried & found
    assert tried | exempt == found
    assert tried & exempt == set()
    assert all(CASES.get(place, {}).values())


def test_the_tables_hold_nothing_else() -> None:
    """What is not public any more is not listed."""
    assert set(CASES) | set(EXEMPT) | set(GIVEN) <= set(CALLABLES)


ALL = [Case(place, name, value) for place, names in CASES.items() for name, values in names.items() for value in values]


@pytest.mark.parametrize("case", ALL, ids=lambda case: f"{case.place}-{case.parameter}")
def test_a_wrong_value_is_refused(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With TypeError or ValueError, which names the parameter, the value, and what was expected."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises((TypeError, ValueError)) as caught:
        _call(case)
    message = str(caught.value)
    also = "has no parameter" if case.parameter == "unknown" else ALSO.get((case.place, case.parameter), r"\A\Z")
    assert re.search(rf"\b{case.parameter}\b|{also}", message), message
    assert any(text in message for text in _texts(case.value)), message
    assert EXPECTED.search(message), message
    assert len(message) < 500
    assert list(tmp_path.iterdir()) == []


def _call(case: Case) -> None:
    function = CALLABLES[case.place]
    given = {} if case[:2] == ("retrywrap.classifiers.register", "target") else GIVEN.get(case.place, {})
    arguments = {**given, case.parameter: case.value}
    positional: list[Any] = []
    for name, parameter in parameters(function).items():
        if parameter.kind is parameter.VAR_KEYWORD and name in arguments:
            arguments.update(arguments.pop(name))
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL) and name in arguments:
            positional.append(arguments.pop(name))
    result = function(*positional, **arguments)
    if inspect.iscoroutine(result):
        asyncio.run(result)


def _texts(value: Any) -> list[str]:
    """Return how a message may show a value: as it is, cut, or by its name; of a table or list, what is wrong in it."""
    texts = [shown(value)[:79]]
    if isinstance(value, dict | list | tuple):
        items = [*value, *value.values()] if isinstance(value, dict) else value
        texts += [text for item in items for text in _texts(item)]
    if value in ("", 0):
        texts.append("SUCCESS" if value == 0 else "empty")
    name = "property" if isinstance(value, property) else getattr(value, "__qualname__", None)
    return texts if name is None else [*texts, name]
