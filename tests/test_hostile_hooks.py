"""Hooks of every kind that raise, block, re-enter, change their minds or what they are given: the outcome stays."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hostile import raised_by

from retrywrap import (
    Registry,
    RetryBudget,
    RetryEvent,
    Verdict,
    configure,
    registry,
    retry_scope,
    shutdown,
    subscribe,
    with_retry,
)
from retrywrap.run import clock as clocks
from retrywrap.testing import VirtualClock, reset

PATIENCE = 20  # seconds after which a thread that should go on counts as stuck
ERRORS: list[type[BaseException]] = [
    ValueError,
    StopIteration,
    StopAsyncIteration,
    RecursionError,
    MemoryError,
    ConnectionResetError,
    KeyError,
]
"""What is an `Exception`, and so must not get out of a hook."""
ENDS: list[type[BaseException]] = [GeneratorExit, KeyboardInterrupt, SystemExit, BaseException]
"""What is none, and so must get out."""
EVERY = [*ERRORS, *ENDS]


class Flaky:
    """An operation that fails so often, always with an error of its own, then succeeds."""

    def __init__(self, failures: int = 1) -> None:
        self.left = failures
        self.raised: list[Exception] = []

    def __call__(self, *_: Any, **__: Any) -> str:
        if self.left:
            self.left -= 1
            self.raised.append(ConnectionResetError("gone"))
            raise self.raised[-1]
        return "done"


class Budget(RetryBudget):
    """A budget that calls a function instead, in the step of that name."""

    def __init__(self, step: str, hook: Callable[..., Any]) -> None:
        super().__init__()
        setattr(self, step, lambda *_: hook())


class Recording(Registry):
    """A registry that calls a function before it takes note of anything."""

    def __init__(self, hook: Callable[..., Any]) -> None:
        super().__init__()
        self.hook = hook

    def handle(self, event: RetryEvent) -> None:
        self.hook()
        super().handle(event)


class Waits:
    """An iterable of seconds that calls a function before each of them."""

    def __init__(self, hook: Callable[..., Any]) -> None:
        self.hook = hook

    def __iter__(self) -> Iterator[float]:
        return iter(lambda: self.hook() or 1.0, None)


class Handler(logging.Handler):
    """A logging handler that calls a function for each record; it lets out what that raises, as some do."""

    def __init__(self, hook: Callable[..., Any]) -> None:
        super().__init__()
        self.hook = hook

    def handle(self, record: logging.LogRecord) -> bool:  # type: ignore[override]  # a bool, in every version
        self.hook()
        return True


def _judging(hook: Callable[..., Any]) -> Callable[[Any], Any]:
    return lambda value: hook() or None


HOOKS: dict[str, Callable[[Callable[..., Any]], dict[str, Any]]] = {
    "on": lambda hook: {"on": lambda error: bool(hook())},
    "classifier": lambda hook: {"classifier": _judging(hook)},
    "budget begin": lambda hook: {"budget": Budget("begin", hook)},
    "budget succeeded": lambda hook: {"budget": Budget("succeeded", hook)},
    "registry": lambda hook: {"registry": Recording(hook)},
}
"""Hooks whose failing leaves the operation as it would be without them."""
ENDING: dict[str, Callable[[Callable[..., Any]], dict[str, Any]]] = {
    "budget withdraw": lambda hook: {"budget": Budget("withdraw", hook)},
    "interval": lambda hook: {"interval": Waits(hook)},
}
"""Hooks whose failing ends the operation with its own error."""


def raising(kind: type[BaseException]) -> Callable[..., Any]:
    """Return a hook that raises such an error."""

    def hook(*_: Any) -> Any:
        raise kind("from the hook")

    return hook


Form = Callable[..., Callable[[], Any]]


def function(operation: Flaky, **policy: Any) -> Callable[[], Any]:
    """Decorate an operation as it is."""
    return with_retry(**policy)(operation)


def coroutine(operation: Flaky, **policy: Any) -> Callable[[], Any]:
    """Decorate it as a coroutine function; return what runs that in a loop of its own."""

    @with_retry(**policy)
    async def decorated() -> str:
        await asyncio.sleep(0)
        return operation()

    return lambda: asyncio.run(decorated())


in_both_forms = pytest.mark.parametrize("form", [function, coroutine])


def _listening(hook: Callable[..., Any]) -> Callable[[], None]:
    """Subscribe a hook, log to it, and let structlog process by it; return what ends that."""
    handler, logger = Handler(hook), logging.getLogger("retrywrap")
    logger.addHandler(handler)
    end = subscribe(lambda event: hook())

    def undo() -> None:
        end()
        logger.removeHandler(handler)

    return undo


@in_both_forms
@pytest.mark.parametrize("interval", [0, 1], ids=["at once", "waiting"])
@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_that_raises_changes_no_outcome(
    clock: VirtualClock, name: str, kind: type[BaseException], interval: int, form: Form
) -> None:
    """What is an `Exception` stays inside; what ends a program comes out of it."""
    operation = Flaky(2)
    decorated = form(operation, **{"max": 3, "interval": interval, **HOOKS[name](raising(kind))})
    if kind in ERRORS:
        assert decorated() == "done"
    else:
        assert type(raised_by(decorated)) is kind
    assert registry.stats().exhausted == 0


@in_both_forms
@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("name", ENDING)
def test_a_hook_that_is_needed_and_fails_ends_it_with_its_own_error(
    clock: VirtualClock, name: str, kind: type[BaseException], form: Form
) -> None:
    """The first failure's error is what comes out, not the hook's."""
    operation = Flaky(2)
    error = raised_by(form(operation, **{"max": 3, **ENDING[name](raising(kind))}))
    assert error is operation.raised[0]
    assert len(error.__notes__) == 1


@in_both_forms
@pytest.mark.parametrize("interval", [0, 1], ids=["at once", "waiting"])
@pytest.mark.parametrize("kind", EVERY)
def test_a_listener_or_handler_that_raises_changes_no_outcome(
    clock: VirtualClock, kind: type[BaseException], interval: int, form: Form
) -> None:
    """Whether it was subscribed or stands in the standard library's logging."""
    undo = _listening(raising(kind))
    try:
        ended = raised_by(form(Flaky(2), max=3, interval=interval))
    finally:
        undo()
    assert type(ended) is (type(None) if kind in ERRORS else kind)


@pytest.mark.parametrize("place", ["processor", "factory", "context"])
@pytest.mark.parametrize("kind", EVERY)
def test_structlog_that_raises_changes_no_outcome(clock: VirtualClock, kind: type[BaseException], place: str) -> None:
    """Where the application's own processors, logger factory or context class fail."""
    hook = raising(kind)
    given: dict[str, dict[str, Any]] = {
        "processor": {"processors": [hook]},
        "factory": {"logger_factory": hook},
        "context": {"context_class": hook},
    }
    structlog.configure(**given[place])
    try:
        ended = raised_by(with_retry(max=3, interval=1)(Flaky(2)))
    finally:
        structlog.reset_defaults()
    assert type(ended) is (type(None) if kind in ERRORS else kind)


@pytest.mark.parametrize("kind", ERRORS)
def test_each_hook_is_reported_once(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture, kind: type[BaseException]
) -> None:
    """However often it fails, and under each operation."""
    hook = raising(kind)
    end = subscribe(lambda event: hook())
    for name, make in HOOKS.items():
        parameters = make(hook)
        for _ in range(3):
            with_retry(max=3, interval=1, **parameters)(Flaky(2))()
        reports = [record for record in caplog.records if "from the hook" in record.getMessage()]
        assert len(reports) == (2 if name == "on" else 1), name  # the listener's own comes with the first
        caplog.clear()
    end()


@pytest.mark.parametrize("kind", EVERY)
def test_a_before_retry_that_raises_is_the_attempts_failure(clock: VirtualClock, kind: type[BaseException]) -> None:
    """It is classified like any other: what the chain retries is retried, the rest comes out."""
    failing = [kind("from the hook")]
    operation = Flaky(1)
    ended = raised_by(with_retry(max=3, before_retry=lambda context: failing and _raise(failing.pop()))(operation))
    assert type(ended) is (type(None) if kind is ConnectionResetError else kind)


def _raise(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize("kind", ERRORS)
def test_a_judge_that_raises_lets_no_result_pass_for_good(clock: VirtualClock, kind: type[BaseException]) -> None:
    """A value that could not be judged comes in a `RetryExhausted`, once, without a retry."""
    calls: list[int] = []
    error: Any = raised_by(with_retry(max=3, results=raising(kind))(lambda: calls.append(1)))
    assert error.result is None
    assert error.reason == "rejected"
    assert calls == [1]


WRONG: list[Any] = [
    None,
    0,
    1,
    -1.0,
    float("nan"),
    float("inf"),
    10**400,
    "x",
    b"",
    [],
    {},
    object(),
    ...,
    type,
    Verdict,
]


@pytest.mark.parametrize("answer", WRONG, ids=lambda answer: repr(answer).partition(" at 0x")[0])
@pytest.mark.parametrize("name", [*HOOKS, *ENDING])
def test_an_answer_of_the_wrong_type_changes_no_error(clock: VirtualClock, name: str, answer: Any) -> None:
    """Whatever a hook returns, the operation ends with "done" or with its own error."""
    operation = Flaky(2)
    ended = raised_by(with_retry(**{"max": 3, **{**HOOKS, **ENDING}[name](lambda *_: answer)})(operation))
    assert ended is None or any(ended is own for own in operation.raised)


@pytest.mark.parametrize("step", ["begin", "withdraw", "succeeded", "restore"])
def test_a_budget_that_changes_its_mind_is_asked_anew(clock: VirtualClock, step: str) -> None:
    """An answer of one call says nothing of the next one's."""
    answers: list[Any] = [1.0, None, "x", -1, 2.0]
    budget = Budget(step, lambda: answers.pop() if answers else 1.0)
    for _ in range(4):
        operation = Flaky(1)
        ended = raised_by(with_retry(max=1, budget=budget)(operation))
        assert ended is None or ended is operation.raised[0]


def test_what_hooks_are_given_cannot_be_changed(clock: VirtualClock) -> None:
    """Events are frozen; what is done to their copies, to the registry's pictures and to given lists reaches nobody."""
    seen: list[Any] = []

    def listener(event: RetryEvent) -> None:
        seen.append(raised_by(lambda: setattr(event, "reason", "changed")))
        seen.append(raised_by(registry.snapshot().clear))
        registry.operations.clear()
        registry.by_code.clear()

    waits, kinds = [1, 2, 3], [ConnectionResetError]
    end = subscribe(listener)
    decorated = with_retry(max=3, interval=waits, on=tuple(kinds))(Flaky(2))
    waits.clear()
    kinds.clear()
    assert decorated() == "done"
    end()
    assert [type(error) for error in seen] == [AttributeError, TypeError] * 3
    assert clock.waits == [1.0, 2.0]
    assert registry.stats().recovered == 1


def _busy(do: Callable[[], object]) -> None:
    """Do something in another thread, and see that it is not kept waiting."""
    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "a lock is held while a hook runs"


def _everything() -> None:
    """Use all that has a lock."""
    with_retry(max=1, interval=0)(Flaky(1))()
    subscribe(print)()
    registry.record_error(-6, "by hand")
    registry.snapshot()
    registry.clear_error()
    configure(error_retry_max=3)
    with retry_scope(max=1):
        with_retry(max=1, interval=0)(Flaky(1))()


@pytest.mark.parametrize("name", [*HOOKS, *ENDING, "listener", "before_retry", "results"])
def test_no_lock_is_held_while_a_hook_runs(clock: VirtualClock, name: str) -> None:
    """Another thread does all there is to do, while the hook waits for it."""
    busy: list[bool] = []

    def hook(*_: Any) -> Any:
        if not busy:
            busy.append(True)
            _busy(_everything)
        return 1.0 if name in ENDING else None

    more: dict[str, dict[str, Any]] = {"before_retry": {"before_retry": hook}, "results": {"results": hook}}
    makers = {**HOOKS, **ENDING}
    undo = _listening(hook) if name == "listener" else lambda: None
    try:
        parameters = makers[name](hook) if name in makers else more.get(name, {})
        assert with_retry(**{"max": 3, "interval": 1, **parameters})(Flaky(2))() == "done"
    finally:
        undo()
    assert busy == [True]


REENTERING: dict[str, Callable[[], object]] = {
    "decorate": lambda: with_retry(max=1, interval=0, name="inside")(Flaky(1))(),
    "record": lambda: registry.record_error(-6, "by hand"),
    "subscribe": lambda: subscribe(lambda event: None)(),
    "clear": lambda: registry.clear_error(),
    "reset": lambda: registry.reset(),
    "resize": lambda: registry.resize(3),
    "configure": lambda: configure(error_retry_max=2, policies={"x": {"max": 1}}),
    "reset all": reset,
    "shutdown": shutdown,
    "scope": lambda: retry_scope(max=1).call(lambda: None),
    "clock": lambda: clocks.replace(clocks.current()),
}


@in_both_forms
@pytest.mark.parametrize("again", REENTERING)
@pytest.mark.parametrize("name", [*HOOKS, *ENDING, "listener", "before_retry", "results"])
def test_hooks_may_use_retrywrap_themselves(clock: VirtualClock, name: str, again: str, form: Form) -> None:
    """Nothing hangs, recurses without end, or raises; after a shutdown the operation ends with its own error."""
    inside: list[bool] = []
    failures: list[BaseException | None] = []

    def hook(*_: Any) -> Any:
        if not inside:  # of what it does itself, it is not to hear
            inside.append(True)
            failures.append(raised_by(REENTERING[again]))
            inside.clear()
        return 1.0 if name in ENDING else None

    more: dict[str, dict[str, Any]] = {"before_retry": {"before_retry": hook}, "results": {"results": hook}}
    makers = {**HOOKS, **ENDING}
    undo = _listening(hook) if name == "listener" else lambda: None
    operation = Flaky(2)
    try:
        parameters = makers[name](hook) if name in makers else more.get(name, {})
        ended = raised_by(form(operation, **{"max": 3, "interval": 1, **parameters}))
    finally:
        undo()
    assert ended is None or (again == "shutdown" and any(ended is own for own in operation.raised))
    assert set(failures) == {None}


def test_listeners_may_leave_and_come_while_they_are_called(clock: VirtualClock) -> None:
    """Who leaves is still told this once, who comes is told from the next event on."""
    ends: list[Callable[[], None]] = []
    heard: list[tuple[str, str]] = []

    def leaving(event: RetryEvent) -> None:
        heard.append(("leaving", event.name))
        for end in ends:
            end()
        ends.append(subscribe(lambda event: heard.append(("new", event.name))))

    ends.append(subscribe(leaving))
    ends.append(subscribe(lambda event: heard.append(("other", event.name))))
    assert with_retry(max=3, interval=1)(Flaky(1))() == "done"
    for end in ends:
        end()
    assert heard == [
        ("leaving", "retry.scheduled"),
        ("other", "retry.scheduled"),
        ("new", "retry.recovered"),
    ]


class _Sleepless(clocks.Clock):
    """A clock that cannot wait."""

    def __init__(self, hook: Callable[..., Any]) -> None:
        self.hook = hook

    def now(self) -> float:
        return 1.0

    def epoch(self) -> float:
        return 1.0

    def random(self) -> float:
        return 0.5

    def sleep(self, seconds: float, limits: Any) -> None:
        self.hook()


@pytest.mark.parametrize("kind", EVERY)
def test_a_clock_whose_sleep_raises_ends_the_operation_once(kind: type[BaseException]) -> None:
    """What a wait raises comes out, and the operation has one end: it was interrupted."""
    before, names = clocks.current(), list[str]()
    end = subscribe(lambda event: names.append(event.name))
    clocks.replace(_Sleepless(raising(kind)))
    try:
        ended = raised_by(with_retry(max=3, interval=1)(Flaky(2)))
    finally:
        clocks.replace(before)
        end()
    assert type(ended) is kind
    assert names == ["retry.scheduled", "retry.cancelled"]
