"""The beaten track: a retry that nothing else is said of is made by the fast path in C, and nobody can tell.

Where it is not built, both sides of each comparison are pure Python, and agree all the more.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import itertools
import logging
import re
import signal
import socket
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hurry import HAS_GLOBAL_LOCK, run_hurried
from hypothesis import given, settings
from hypothesis import strategies as st

import retrywrap
from retrywrap import Registry, RetryEvent, configure, retry_scope, subscribe, with_retry
from retrywrap.classifiers import register, unregister
from retrywrap.decide.allowance import PROCESS
from retrywrap.errors import RetryExhausted
from retrywrap.record import registry as counting
from retrywrap.run import track
from retrywrap.testing import VirtualClock

taken = retrywrap.__build__ == "C" and HAS_GLOBAL_LOCK
needs_track = pytest.mark.skipif(not taken, reason="pure Python runs, or a Python without its global lock")


class OffTrack(Registry):
    """A registry of a class of its own, which the fast path leaves to Python."""


class Later:
    """An awaitable."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def __await__(self) -> Iterator[Any]:
        yield from ()
        if self.error is not None:
            raise self.error
        return "awaited"


class Mine(Exception):
    """An error that a row is registered for."""


class MineWithText(Mine):
    """Its text is made by code that may fail."""

    def __str__(self) -> str:
        if self.args[0] == "broken":
            raise ValueError("no text")
        return f"text of {self.args[0]}"


@pytest.fixture(autouse=True)
def _known() -> Iterator[None]:
    register(Mine, retrywrap.ErrorCode.NETWORK, retryable=True)
    register(MineWithText, retrywrap.ErrorCode.TIMEOUT, retryable=True)
    yield
    unregister(Mine)
    unregister(MineWithText)


_again = ConnectionResetError("the same object")


def _with_cause() -> Exception:
    error = ConnectionResetError("caused")
    error.__cause__ = ValueError("by this")
    return error


def _with_note(text: str) -> Exception:
    error = ConnectionResetError("noted")
    error.add_note(text)
    return error


def _given_up() -> Exception:
    """Return what an operation inside has exhausted."""
    try:
        with_retry(max=1, interval=0, name="inner", registry=OffTrack())(_raise)(ConnectionResetError("inner"))
    except ConnectionResetError as error:
        return error
    raise AssertionError("it cannot succeed")


def _raise(error: BaseException) -> None:
    raise error


def _with_number(number: object) -> Exception:
    error = ConnectionResetError("numbered")
    error.errno = number  # type: ignore[assignment]  # a program may set anything
    return error


class Derived(ConnectionResetError):
    """Of a class that no table knows, which derives from one that it does."""


OUTCOMES: dict[str, Callable[[], Any]] = {
    "reset": lambda: ConnectionResetError("reset by peer"),
    "reset by number": lambda: ConnectionResetError(104, "Connection reset by peer"),
    "derived": lambda: Derived("of a library"),
    "refused": lambda: ConnectionRefusedError(111, "Connection refused"),
    "timeout": TimeoutError,
    "timeout by number": lambda: OSError(110, "timed out"),
    "in the text": lambda: OSError("Multiple exceptions: [Errno 111] a, [Errno 104] b"),
    "proxy": lambda: OSError("Tunnel connection failed: 503 Service Unavailable"),
    "no tls": lambda: ConnectionError("PostgreSQL server at x rejected SSL upgrade"),
    "connection": lambda: ConnectionError("of some kind"),
    "unknown number": lambda: ConnectionResetError(99999, "nobody knows it"),
    "odd number": lambda: _with_number("104"),
    "true number": lambda: _with_number(True),
    "odd argument": lambda: ConnectionResetError(["a list"]),
    "secret": lambda: ConnectionResetError("connecting to https://me:hunter2@db failed"),
    "long": lambda: ConnectionResetError("x" * 2000),
    "lines": lambda: ConnectionResetError("one\ntwo\x1b[31m"),
    "full": lambda: OSError(28, "No space left on device"),
    "wrong": lambda: ValueError("no"),
    "unknown": lambda: RuntimeError("nobody knows it"),
    "mine": lambda: Mine("a"),
    "text": lambda: MineWithText("b"),
    "broken text": lambda: MineWithText("broken"),
    "the same": lambda: _again,
    "cause": _with_cause,
    "note": lambda: _with_note("a note of the user"),
    "given up": _given_up,
    "group": lambda: ExceptionGroup("several", [ConnectionResetError("one"), TimeoutError("two")]),
    "exhausted": lambda: RetryExhausted("an operation's end"),
    "interrupt": KeyboardInterrupt,
    "exit": lambda: SystemExit(3),
    "value": lambda: "done",
    "nothing": lambda: None,
    "awaitable": Later,
    "failing awaitable": lambda: Later(ConnectionResetError("awaited")),
}

ARGUMENTS: dict[str, Callable[[], Any]] = {
    "number": lambda: 1,
    "list": lambda: [1],
    "object": object,
    "iterator": lambda: iter([1]),
    "generator": lambda: (x for x in [1]),
    "mine": Mine,
}


def _masked(text: str) -> str:
    return re.sub(r"in \S+ s:", "in some s:", text)


def _told(event: RetryEvent) -> RetryEvent:
    """Return the event without its times, which differ from run to run."""
    assert 0.0 <= event.elapsed < 60.0
    assert event.time > 1e9
    return event._replace(elapsed=0.0, time=0.0)


def run(
    registry: Registry, outcomes: list[str], most: int, argument: str, listened: bool, *, deep: bool = True
) -> dict[str, Any]:
    """Run one operation, and return all that can be seen of it."""
    with contextlib.suppress(AttributeError):
        del _again.__notes__
    _again.__traceback__ = None
    calls: list[str] = []
    heard: list[RetryEvent] = []

    def raise_deeper(made: BaseException) -> None:
        raise made

    def operation(*values: Any, **named: Any) -> Any:
        kind = outcomes[len(calls)] if len(calls) < len(outcomes) else "value"
        calls.append(kind)
        made = OUTCOMES[kind]()
        if isinstance(made, BaseException):
            if deep:
                raise_deeper(made)
            raise made
        return made

    retried = with_retry(max=most, interval=0, name="operation", registry=registry)(operation)
    seen: dict[str, Any] = {}
    end = subscribe(heard.append) if listened else lambda: None
    try:
        result = retried(ARGUMENTS[argument](), key=ARGUMENTS[argument]())
        if hasattr(result, "__await__"):
            result = asyncio.run(_awaited(result))
        seen["result"] = result
    except BaseException as error:
        seen["error"] = type(error), repr(error), type(error.__cause__), type(error.__context__)
        seen["notes"] = [_masked(note) for note in getattr(error, "__notes__", ())]
        frames = [(frame.name, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
        seen["frames"] = [frame for frame in frames if frame[0] in ("operation", "raise_deeper", "__await__")]
    finally:
        end()
    seen["calls"] = calls
    seen["events"] = [_told(event) for event in heard if event.operation == "operation"]
    seen["stats"] = registry.stats("operation")._replace(succeeded_at_once=None)
    seen["by code"] = registry.by_code
    seen["errors"] = [record._replace(time=0.0) for record in registry.errors]
    seen["last"] = registry.last_error._replace(time=0.0)
    return seen


async def _awaited(result: Any) -> Any:
    return await result


@given(
    outcomes=st.lists(st.sampled_from(sorted(OUTCOMES)), max_size=6)
    | st.lists(st.sampled_from(["reset", "refused", "mine", "the same", "timeout", "secret"]), max_size=6),
    most=st.integers(0, 4),
    argument=st.sampled_from(sorted(ARGUMENTS)),
    listened=st.booleans(),
    deep=st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_nobody_can_tell_who_decided(outcomes: list[str], most: int, argument: str, listened: bool, deep: bool) -> None:
    """Calls, result, error, notes, traceback, events and all that is registered are the same on and off the track."""
    on = run(Registry(), outcomes, most, argument, listened, deep=deep)
    off = run(OffTrack(), outcomes, most, argument, listened, deep=deep)
    assert on == off


@pytest.mark.parametrize("outcome", sorted(OUTCOMES))
@pytest.mark.parametrize("listened", [False, True])
def test_each_outcome_at_each_place(outcome: str, listened: bool) -> None:
    """At once, after a failure, after two, and when the retries are used up."""
    for before in range(4):
        for most in (0, 2):
            outcomes = ["reset"] * before + [outcome]
            on = run(Registry(), outcomes, most, "number", listened)
            assert on == run(OffTrack(), outcomes, most, "number", listened), (before, most)


def fails(times: int, error: Callable[[], Exception] = lambda: ConnectionResetError("reset")) -> Callable[..., int]:
    """Return a function that fails so many times, and then succeeds."""
    left = [times]

    def operation(*_: object) -> int:
        if left[0]:
            left[0] -= 1
            raise error()
        return 1

    return operation


@needs_track
def test_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry at once makes no `Operation`; one with a wait does."""
    made: list[object] = []
    monkeypatch.setattr(
        "retrywrap.run.drive.Operation.__init__", lambda self, *_, **__: made.append(self) or _raise(LookupError())
    )
    mine = Registry()
    assert with_retry(max=2, interval=0, registry=mine)(fails(2))() == 1
    with pytest.raises(ConnectionResetError):
        with_retry(max=2, interval=0, registry=mine)(fails(3))()
    assert mine.stats().errors == 5

    class Service:
        @with_retry(max=2, interval=0, registry=mine)
        def method(self, fail: Callable[[], int]) -> int:
            return fail()

    assert Service().method(fails(2)) == 1
    assert not made
    with VirtualClock(), pytest.raises(LookupError):
        with_retry(max=2, interval=1, registry=mine)(fails(2))()
    assert made


@pytest.mark.parametrize(
    ("parameters", "calls"),
    [
        ({"on": (ConnectionResetError,)}, 3),
        ({"on": lambda error: False}, 3),
        ({"before_retry": lambda context: None}, 3),
        ({"classifier": lambda error: retrywrap.ErrorCode.DISK_FULL}, 1),
        ({"idempotent": False}, 1),
        ({"reraise": False}, 3),
        ({"interval": [0, 0, 0]}, 3),
        ({"nested": "multiply"}, 3),
        ({"policy": retrywrap.RetryPolicy(max=2, interval=0)}, 3),
    ],
)
def test_each_parameter_is_heeded(parameters: dict[str, Any], calls: int) -> None:
    """What a policy asks for besides attempts takes its operations off the track."""
    seen = []
    given = {"max": 2, "interval": 0, **parameters} if "policy" not in parameters else parameters

    @with_retry(**given, registry=Registry())
    def operation() -> None:
        seen.append(1)
        raise ConnectionResetError("reset")

    with pytest.raises((ConnectionResetError, RetryExhausted)):
        operation()
    assert len(seen) == calls


def test_a_scope_around_it_is_heeded() -> None:
    """Its allowance ends the operation, and it hears of the failures."""
    operation = with_retry(max=5, interval=0, registry=Registry())(fails(5))
    with pytest.raises(ConnectionResetError), retry_scope(max=2) as scope:
        operation()
    assert scope.stats().errors == 3


def test_retries_can_be_switched_off() -> None:
    """With the switch of the test kit, as for every operation."""
    operation = with_retry(max=5, interval=0, registry=Registry())(fails(1))
    with retrywrap.testing.disabled(), pytest.raises(ConnectionResetError):
        operation()
    assert operation() == 1


def test_a_clock_in_force_is_heeded() -> None:
    """The times of events are those of the clock."""
    heard: list[RetryEvent] = []
    operation = with_retry(max=5, interval=0, registry=Registry())(fails(1))
    end = subscribe(heard.append)
    with VirtualClock() as clock:
        clock.advance(100)
        operation()
        assert heard[0].time == clock.epoch() + 100
    end()


def test_a_frozen_time_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions of `time` that were replaced, as some test tools do, are the ones that are called."""
    mine = Registry()
    operation = with_retry(max=5, interval=0, registry=mine)(fails(1))
    monkeypatch.setattr("time.monotonic", lambda: 50.0)
    monkeypatch.setattr("time.time", lambda: 1_000_000.0)
    operation()
    assert mine.last_error.time == 1_000_000.0


def test_new_defaults_are_heeded() -> None:
    """What `configure` changes is in force at the next failure."""
    operation = with_retry(interval=0, registry=Registry())
    configure(error_retry_max=1)
    first = operation(fails(2))
    with pytest.raises(ConnectionResetError):
        first()
    configure(error_retry_max=2)
    assert operation(fails(2))() == 1


def test_what_is_registered_meanwhile_is_heeded() -> None:
    """A verdict that was kept is not used any more."""
    operation = with_retry(max=3, interval=0, registry=Registry())
    assert operation(fails(2))() == 1
    register(ConnectionResetError, retrywrap.ErrorCode.DISK_FULL, retryable=False)
    try:
        with pytest.raises(ConnectionResetError):
            operation(fails(2))()
    finally:
        unregister(ConnectionResetError)
    assert operation(fails(2))() == 1


def test_a_listener_that_comes_later_is_heard() -> None:
    """One that subscribes between two attempts hears of the second."""
    heard: list[RetryEvent] = []
    ends = []

    @with_retry(max=3, interval=0, registry=Registry())
    def operation(tries: list[int]) -> int:
        tries.append(1)
        if len(tries) == 2:
            ends.append(subscribe(heard.append))
        if len(tries) < 4:
            raise ConnectionResetError("reset")
        return 1

    configure(events=False)
    operation([])
    ends[0]()
    assert [(event.name, event.attempt) for event in heard] == [
        ("retry.scheduled", 2),
        ("retry.scheduled", 3),
        ("retry.recovered", 4),
    ]


def test_a_level_that_changes_is_heeded() -> None:
    """structlog that is configured anew between two attempts has its say at the second."""
    lines: list[dict[str, Any]] = []

    def catch(_: object, __: str, event: dict[str, Any]) -> dict[str, Any]:
        lines.append(event)
        raise structlog.DropEvent

    def level(number: int) -> None:
        structlog.configure(processors=[catch], wrapper_class=structlog.make_filtering_bound_logger(number))

    @with_retry(max=3, interval=0, registry=Registry(), name="op")
    def operation(tries: list[int]) -> int:
        tries.append(1)
        level({1: logging.CRITICAL, 2: logging.WARNING, 3: logging.ERROR, 4: logging.INFO}[len(tries)])
        if len(tries) < 4:
            raise ConnectionResetError("reset")
        return 1

    try:
        operation([])
    finally:
        structlog.reset_defaults()
    assert [(line["event"], line["attempt"]) for line in lines] == [("retry.scheduled", 2), ("retry.recovered", 4)]


def test_an_error_log_that_comes_later_is_written(tmp_path: Any) -> None:
    """One that is configured between two attempts has the second."""

    @with_retry(max=3, interval=0, registry=Registry())
    def operation(tries: list[int]) -> int:
        tries.append(1)
        if len(tries) == 2:
            configure(enable_error_logging=True, error_store_path=str(tmp_path))
        if len(tries) < 3:
            raise ConnectionResetError(f"number {len(tries)}")
        return 1

    configure(events=False)
    operation([])
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "number 2" in written
    assert "number 1" not in written


def test_a_shutdown_by_a_listener_ends_it() -> None:
    """The next attempt is not made; the end is told."""
    heard: list[RetryEvent] = []

    def listen(event: RetryEvent) -> None:
        heard.append(event)
        if event.name == "retry.scheduled":
            retrywrap.shutdown()

    mine = Registry()
    end = subscribe(listen)
    try:
        with pytest.raises(ConnectionResetError) as caught:
            with_retry(max=3, interval=0, registry=mine)(fails(3))()
    finally:
        PROCESS.reopen()
        end()
    assert [event.name for event in heard] == ["retry.scheduled", "retry.cancelled"]
    assert "retrywrap was shut down" in caught.value.__notes__[0]
    assert (mine.stats().errors, mine.stats().cancelled) == (1, 1)


# Where it falls in a finalizer or in a callback of a weak reference, Python says so and goes on.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_ends_an_endless_one() -> None:
    """Signals are looked at between attempts of a function that is no Python code."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    mine = Registry()
    configure(events=False)
    before = signal.signal(signal.SIGALRM, interrupt)
    with socket.socket() as bound, socket.socket() as client:
        bound.bind(("127.0.0.1", 0))
        place = bound.getsockname()  # nobody listens there
        connect = with_retry(max=10**9, interval=0, registry=mine)(client.connect)
        try:
            # Again and again: one that comes while a finalizer runs is lost, as Python itself loses it.
            signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
            with pytest.raises(KeyboardInterrupt):
                try:
                    connect(place)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    stats = mine.stats()
    assert stats.errors > 1
    assert stats.cancelled == 1 or not taken  # in Python it may come between two lines of ours


def test_a_listener_that_is_interrupted_ends_it() -> None:
    """Ctrl-C in a listener comes out at once, with the error as its context; the end is told."""
    heard: list[str] = []

    def listen(event: RetryEvent) -> None:
        heard.append(event.name)
        if not event.final:
            raise KeyboardInterrupt

    mine = Registry()
    end = subscribe(listen)
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            with_retry(max=3, interval=0, registry=mine)(fails(3))()
    finally:
        end()
    assert type(caught.value.__context__) is ConnectionResetError
    assert heard == ["retry.scheduled", "retry.cancelled"]
    assert (mine.stats().errors, mine.stats().cancelled) == (1, 1)


@pytest.mark.parametrize("registry", [Registry, OffTrack])
def test_an_end_that_is_interrupted_is_told_once(registry: type[Registry]) -> None:
    """Ctrl-C in a listener of the last event comes out; no second end follows."""
    heard: list[str] = []

    def listen(event: RetryEvent) -> None:
        heard.append(event.name)
        if event.final:
            raise KeyboardInterrupt

    mine = registry()
    end = subscribe(listen)
    try:
        with pytest.raises(KeyboardInterrupt):
            with_retry(max=1, interval=0, registry=mine)(fails(3))()
    finally:
        end()
    assert heard == ["retry.scheduled", "retry.exhausted"]
    assert (mine.stats().exhausted, mine.stats().cancelled) == (1, 0)


def test_a_text_that_is_interrupted_ends_it() -> None:
    """Ctrl-C while an error tells its text comes out."""

    class Interrupted(Exception):
        def __str__(self) -> str:
            raise KeyboardInterrupt

    register(Interrupted, retrywrap.ErrorCode.NETWORK, retryable=True)
    try:
        with pytest.raises(KeyboardInterrupt):
            with_retry(max=3, interval=0, registry=Registry())(fails(3, Interrupted))()
    finally:
        unregister(Interrupted)


def test_a_listener_sees_the_error_that_is_handled() -> None:
    """As in an except block, which tools that report errors look for."""
    seen = []
    end = subscribe(lambda event: seen.append(sys.exc_info()[0]))
    try:
        with_retry(max=3, interval=0, registry=Registry())(fails(2))()
    finally:
        end()
    assert seen == [ConnectionResetError, ConnectionResetError, None]
    assert sys.exc_info()[0] is None


def test_errors_tell_their_thread() -> None:
    """By the name that it has when they happen."""
    mine = Registry()
    operation = with_retry(max=3, interval=0, registry=mine)

    def work() -> None:
        operation(fails(1))()
        threading.current_thread().name = "renamed"
        operation(fails(1))()

    thread = threading.Thread(target=work, name="first")
    thread.start()
    thread.join()
    operation(fails(1))()
    assert [record.thread for record in mine.errors] == ["first", "renamed", threading.current_thread().name]


def test_a_replaced_current_thread_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As gevent replaces it, whose greenlets share one thread."""

    class Green:
        name = "green"

    mine = Registry()
    operation = with_retry(max=3, interval=0, registry=mine)
    operation(fails(1))()
    monkeypatch.setattr("threading.get_ident", lambda: 7)
    monkeypatch.setitem(threading._active, 7, Green())  # type: ignore[attr-defined]  # as gevent does
    operation(fails(1))()
    monkeypatch.setattr("threading.current_thread", Green)
    operation(fails(1))()
    assert [record.thread for record in mine.errors] == [threading.main_thread().name, "green", "green"]


def test_no_secret_is_kept() -> None:
    """Of verdicts that are kept, those whose text had to be masked are none."""
    mine = Registry()
    operation = with_retry(max=3, interval=0, registry=mine)
    for _ in range(3):
        operation(fails(2, lambda: ConnectionResetError("https://me:hunter2@db")))()
    assert "hunter2" not in repr(track.judged)
    assert "hunter2" not in repr(mine.errors)
    assert mine.stats().errors == 6


@needs_track
def test_what_is_kept_is_bounded() -> None:
    """However many texts there are."""
    operation = with_retry(max=3, interval=0, registry=Registry())
    for number in range(300):
        operation(fails(1, functools.partial(ConnectionResetError, f"number {number}")))()
    assert 0 < len(track.judged) <= 128


def test_a_class_of_errors_can_go_away() -> None:
    """What is kept of its errors does not hold it."""

    def use() -> weakref.ref[type]:
        local = type("Local", (ConnectionResetError,), {})
        register(local, retrywrap.ErrorCode.NETWORK, retryable=True)
        with_retry(max=3, interval=0, registry=Registry())(fails(2, lambda: local("x")))()
        unregister(local)
        return weakref.ref(local)

    gone = use()
    for _ in range(3):  # without the global lock, a class's references are counted for each thread, and merged later
        gc.collect()
    assert gone() is None


def test_no_error_outlives_the_next_attempt() -> None:
    """It is let go before that begins."""
    alive: list[weakref.ref[BaseException]] = []

    class Weak(ConnectionResetError):
        pass

    def operation() -> int:
        assert all(ref() is None for ref in alive)
        if len(alive) < 3:
            error = Weak("x")
            alive.append(weakref.ref(error))
            try:
                raise error
            finally:
                del error
        return 1

    register(Weak, retrywrap.ErrorCode.NETWORK, retryable=True)
    try:
        assert with_retry(max=3, interval=0, registry=Registry())(operation)() == 1
    finally:
        unregister(Weak)


def test_counts_are_exact_in_threads() -> None:
    """Eight threads that fail at a switch interval of a microsecond lose no event."""
    mine = Registry()

    def work() -> None:
        for _ in range(200):
            with_retry(max=2, interval=0, registry=mine, name="op")(fails(2))()

    configure(events=False)
    run_hurried([work] * 8)
    stats = mine.stats("op")
    assert (stats.errors, stats.retries, stats.recovered) == (3200, 3200, 1600)
    assert sum(mine.by_code.values()) == 3200


def test_events_of_any_making_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is handed to a registry by hand counts as what its fields say, in whatever types they come."""
    mine, other = Registry(), OffTrack()
    heard: list[RetryEvent] = []
    end = subscribe(heard.append)
    with_retry(max=2, interval=0, registry=Registry(), name="op")(fails(2))()
    end()
    scheduled = heard[0]
    odd: list[Any] = [
        scheduled._replace(is_error=1, is_retry=0),
        scheduled._replace(wait=2),
        scheduled._replace(attempt=True),
        scheduled._replace(operation="another"),
        *(scheduled._replace(code=retrywrap.ErrorCode(number)) for number in range(-40, -10)),
        *(scheduled._replace(reason=reason, attempt=1) for reason in retrywrap.StopReason),
        *(scheduled._replace(reason=reason, attempt=2**70) for reason in retrywrap.StopReason),
        scheduled._replace(name="retry.unknown_error"),
        scheduled._replace(name="".join(["retry.", "unknown_error"])),  # equal, as out of a pickle, but not the same
        scheduled._replace(wait=0.1),
        scheduled._replace(wait=0.7),
        scheduled._replace(wait=0.5),
    ]
    for event in odd * 3:
        mine.handle(event)
    said = mine.snapshot()
    monkeypatch.setattr(counting, "count_fast", None)
    for event in odd * 3:
        other.handle(event)
    assert said == other.snapshot()
    assert mine.stats("op").waited == pytest.approx(9.9)
    assert mine.stats("another").errors == 3


@pytest.mark.parametrize("registry", [Registry, OffTrack])
def test_a_function_that_has_no_python_frame(registry: type[Registry]) -> None:
    """The errors of builtins have no traceback when they come; the last one comes out as it is."""
    client = socket.socket()
    place = ("127.0.0.1", 1)

    def close(event: RetryEvent) -> None:
        client.close()

    end = subscribe(close)
    try:
        with pytest.raises(OSError, match="Bad file descriptor") as caught:
            with_retry(max=5, interval=0, registry=registry())(client.connect)(place)
    finally:
        end()
        client.close()
    assert "rejected after 2 attempts" in caught.value.__notes__[0]


def test_a_call_without_a_python_frame_below() -> None:
    """An exit handler, say, has none; it is retried all the same."""
    code = (
        "import atexit, retrywrap\nretrywrap.configure(events=False)\nleft = [3]\n"
        "@retrywrap.with_retry(max=5, interval=0)\n"
        "def flush():\n    if left[0]:\n        left[0] -= 1\n        raise deep()\n    print('flushed')\n"
        "def deep():\n    try:\n        raise ConnectionResetError('x')\n"
        "    except OSError as error:\n        return error\n"
        "atexit.register(flush)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (ran.stdout, ran.stderr) == ("flushed\n", "")


def test_a_cap_beyond_every_number_of_the_machine() -> None:
    """It is as good as none."""
    assert with_retry(max=10**30, interval=0, registry=Registry())(fails(3))() == 1


def test_a_registry_that_cannot_count_changes_no_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported once; results and errors come out."""

    def broken(*_: object) -> None:
        raise MemoryError

    turns = itertools.count()

    @with_retry(max=2, interval=0, registry=Registry())
    def operation() -> int:
        if next(turns) % 3 < 2:
            raise ConnectionResetError("x")
        return 1

    monkeypatch.setattr("retrywrap.record.registry.count_fast", broken)
    monkeypatch.setattr(Registry, "_count", broken)
    assert [operation() for _ in range(100)] == [1] * 100


def test_an_error_whose_attributes_cannot_be_compared() -> None:
    """A key in its dict may be anything; it is judged by what it is."""

    class Key(str):
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("no comparison")

        def __hash__(self) -> int:
            return hash("__notes__")

    def error() -> Exception:
        made = ConnectionResetError("x")
        made.__dict__[Key("k")] = 1
        return made

    assert with_retry(max=3, interval=0, registry=Registry())(fails(2, error))() == 1


@pytest.mark.parametrize("registry", [Registry, OffTrack])
def test_an_error_that_is_raised_again_where_it_was_caught(registry: type[Registry]) -> None:
    """``except … as error: raise error`` puts a frame into the traceback twice, which stays there."""

    def connect(error: Exception) -> None:
        raise error

    def operation() -> None:
        try:
            connect(ConnectionResetError("x"))
        except OSError as error:
            raise error

    with pytest.raises(ConnectionResetError) as caught:
        with_retry(max=2, interval=0, registry=registry())(operation)()
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-3:] == ["operation", "operation", "connect"]


CHANGES: dict[str, Callable[[contextlib.ExitStack], object]] = {
    "max": lambda stack: configure(error_retry_max=0),
    "interval": lambda stack: configure(error_retry_interval=0.7),
    "clock": lambda stack: stack.enter_context(VirtualClock()),
    "switch": lambda stack: stack.enter_context(retrywrap.testing.disabled()),
    "scope": lambda stack: stack.enter_context(retry_scope(max=0)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("registry", [Registry, OffTrack])
@pytest.mark.parametrize("last", [True, False])
def test_what_changes_in_an_attempt_is_for_the_next_operation(
    change: str, registry: type[Registry], last: bool
) -> None:
    """Policy, clock, switch and scopes are those of the first failure, whoever decides on the second."""
    configure(error_retry_max=3, error_retry_interval=0)
    heard: list[RetryEvent] = []
    tries: list[int] = []
    with contextlib.ExitStack() as stack:

        @with_retry(registry=registry(), name="op")
        def operation() -> int:
            tries.append(1)
            if len(tries) == 2:
                CHANGES[change](stack)
            if len(tries) < 3 or last:
                error = ConnectionResetError("x")
                error.add_note("off the track") if len(tries) == 2 else None
                raise error
            return 1

        end = subscribe(heard.append)
        try:
            with pytest.raises(ConnectionResetError) if last else contextlib.nullcontext():
                operation()
        finally:
            end()
    assert len(tries) == (4 if last else 3)
    assert [event.wait for event in heard] == [0.0, 0.0, 0.0, None] if last else [0.0, 0.0, None]
    assert all(0 <= event.elapsed < 60 and event.time > 1.5e9 for event in heard)


def test_ctrl_c_comes_out_whatever_the_configuration_has_become(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot be read any more does not take its place."""

    def operation(tries: list[int]) -> None:
        tries.append(1)
        if len(tries) == 2:
            monkeypatch.setenv("RETRYWRAP_ENABLE", "perhaps")
            retrywrap.testing.reset()
            raise KeyboardInterrupt
        raise ConnectionResetError("x")

    configure(events=False)
    with pytest.raises(KeyboardInterrupt):
        with_retry(max=3, interval=0, registry=Registry())(operation)([])
    monkeypatch.delenv("RETRYWRAP_ENABLE")


@pytest.mark.parametrize("registry", [Registry, OffTrack])
def test_a_registration_while_an_error_is_judged(registry: type[Registry]) -> None:
    """A verdict of before is not kept."""

    class Late(Exception):
        def __str__(self) -> str:
            if len(seen) == 1:
                seen.append(1)
                unregister(Late)
                register(Late, retrywrap.ErrorCode.DISK_FULL, retryable=False)
            return "late"

    seen = [1]
    operation = with_retry(max=3, interval=0, registry=registry())
    register(Late, retrywrap.ErrorCode.NETWORK, retryable=True)
    try:
        with contextlib.suppress(Late):
            operation(fails(9, Late))()
        left = []
        with pytest.raises(Late):
            operation(lambda: left.append(1) or _raise(Late()))()
        assert len(left) == 1
    finally:
        unregister(Late)


@pytest.mark.parametrize("registry", [Registry, OffTrack])
def test_functions_that_are_false_are_functions(registry: type[Registry]) -> None:
    """A callable object may have a length of nothing."""

    class Hook(list[object]):
        def __call__(self, asked: object) -> float:
            calls.append(asked)
            return 0.0

    calls: list[object] = []
    assert with_retry(max=3, interval=0, registry=registry(), before_retry=Hook())(fails(2))() == 1
    assert len(calls) == 2


@pytest.mark.parametrize("registry", [Registry, OffTrack])
def test_a_registered_retry_exhausted_multiplies_nothing(registry: type[Registry]) -> None:
    """What an operation inside has exhausted is not retried, though its error were."""
    calls: list[int] = []

    @with_retry(max=1, interval=0, registry=registry(), results=retrywrap.return_codes)
    def inner() -> int:
        calls.append(1)
        return -6

    register(RetryExhausted, retrywrap.ErrorCode.NETWORK, retryable=True)
    try:
        with pytest.raises(RetryExhausted):
            with_retry(max=2, interval=0, registry=registry())(inner)()
    finally:
        unregister(RetryExhausted)
    assert len(calls) == 2


def test_a_generator_keeps_no_error_of_others() -> None:
    """An operation inside one that is resumed in an except block leaves nothing there."""
    operation = with_retry(max=3, interval=0, registry=Registry())

    def generate() -> Iterator[object]:
        operation(fails(2))()
        yield sys.exc_info()[1]
        yield sys.exc_info()[1]

    steps = generate()
    try:
        raise ValueError("outer")
    except ValueError:
        seen = type(next(steps))
    assert (seen, next(steps)) == (ValueError, None)


def test_classes_that_are_equal_are_not_the_same() -> None:
    """A verdict is of one class, whatever its metaclass makes of equality."""

    class Equal(type):
        def __eq__(cls, other: object) -> bool:
            return getattr(other, "__name__", None) == cls.__name__

        def __hash__(cls) -> int:
            return hash(cls.__name__)

    one, other = Equal("E", (Exception,), {}), Equal("E", (Exception,), {})
    operation = with_retry(max=3, interval=0, registry=Registry())
    register(one, retrywrap.ErrorCode.NETWORK, retryable=True)
    try:
        assert operation(fails(2, lambda: one("x")))() == 1
        with pytest.raises(other):
            operation(fails(2, lambda: other("x")))()
    finally:
        unregister(one)


def test_a_proxy_whose_last_reference_goes_in_its_call() -> None:
    """A signal's handler that sets another one, say: whoever calls it holds no reference."""
    for count in (0, 2):
        fail = fails(count)

        def handle(*_: object, fail: Callable[..., int] = fail) -> None:
            signal.signal(signal.SIGUSR1, signal.SIG_DFL)
            fail()

        signal.signal(signal.SIGUSR1, with_retry(max=3, interval=0, registry=Registry())(handle))
        del handle
        signal.raise_signal(signal.SIGUSR1)
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_a_registry_with_a_function_of_its_own() -> None:
    """What stands in the place of `handle` gets every event."""
    mine = Registry()
    heard: list[RetryEvent] = []
    mine.handle = heard.append  # type: ignore[method-assign]  # as a test of somebody's does
    with_retry(max=3, interval=0, registry=mine)(fails(2))()
    assert len(heard) == 3


def test_a_listener_that_has_gone_is_let_go() -> None:
    """Nothing holds it until the next event."""

    class Listener:
        def __call__(self, event: RetryEvent) -> None:
            """Do nothing."""

    listener = Listener()
    end = subscribe(listener)
    operation = with_retry(max=3, interval=0, registry=Registry())
    operation(fails(2))()
    end()
    gone = weakref.ref(listener)
    del listener, end
    gc.collect()
    assert gone() is None


def test_details_are_right_in_threads_that_fail_first() -> None:
    """Every number has its own text."""
    code = (
        "import sys, threading, retrywrap\nsys.setswitchinterval(1e-6)\nretrywrap.configure(events=False)\n"
        "def work(mine):\n    left = [70]\n    def fail():\n        if left[0]:\n            left[0] -= 1\n"
        "            raise ConnectionResetError('x')\n"
        "    retrywrap.with_retry(max=70, interval=0, registry=mine)(fail)()\n"
        "heard = []\nretrywrap.subscribe(heard.append)\n"
        "threads = [threading.Thread(target=work, args=(retrywrap.Registry(),)) for _ in range(6)]\n"
        "[t.start() for t in threads]\n[t.join() for t in threads]\n"
        "bad = [e.detail for e in heard if e.wait == 0.0 and e.detail != f'retry {e.attempt} follows in 0 s']\n"
        "print(len(heard), bad)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "426 []\n"


def test_a_count_that_is_interrupted_loses_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the midst of counting costs the event that is being counted, at most."""
    mine = Registry()
    event = RetryEvent(
        name="retry.scheduled", operation="op", reason=None, code=retrywrap.ErrorCode.NETWORK, message="x",
        error_type="x", attempt=1, max=1, wait=0.0, elapsed=0.0, time=0.0, rule="x", retry_after=None, scope=None,
        detail="x", is_error=True, is_retry=False,
    )  # fmt: skip
    for number in range(50):
        mine.handle(event._replace(operation="another") if number == 25 else event)
    count = Registry._count

    def interrupted(self: Registry, news: Any) -> None:
        if news[0].operation == "another":
            raise KeyboardInterrupt
        count(self, news)

    monkeypatch.setattr(Registry, "_count", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mine.stats()
    assert (mine.stats().errors, len(mine.errors)) == (49, 49)


class _Asked(type):
    """Its classes fail when they are asked for what they lack."""

    def __getattr__(cls, name: str) -> object:
        raise ValueError(name)


class _Nameless(type):
    """Its classes fail when they are asked for their module."""

    @property
    def __module__(cls) -> str:
        raise RuntimeError("no module")


@pytest.mark.parametrize("registry", [Registry, OffTrack])
@pytest.mark.parametrize("kind", [_Asked, _Nameless])
@pytest.mark.parametrize("is_async", [False, True])
def test_arguments_and_results_whose_class_fails(registry: type[Registry], kind: type, is_async: bool) -> None:
    """The operation's own error comes out, with its note, and is counted; its own result is returned."""
    odd = kind("Odd", (), {})

    def operation(value: object, left: list[int]) -> object:
        if left:
            left.pop()
            raise ConnectionResetError("its own")
        return odd()

    async def aoperation(value: object, left: list[int]) -> object:
        return operation(value, left)

    mine = registry()
    retried = with_retry(max=1, interval=0, registry=mine)(aoperation if is_async else operation)

    def call(failures: int) -> object:
        result = retried(odd(), [1] * failures)
        return asyncio.run(_awaited(result)) if is_async else result

    assert type(call(0)) is odd
    assert type(call(1)) is odd
    with pytest.raises(ConnectionResetError, match="its own") as caught:
        call(2)
    assert len(caught.value.__notes__) == 1
    assert (mine.stats().errors, mine.stats().recovered, mine.stats().exhausted) == (3, 1, 1)


@pytest.mark.parametrize("registry", [Registry, OffTrack])
def test_an_attempt_that_recovered_knows_its_number(registry: type[Registry]) -> None:
    """It is the event's, after the loop as well."""
    fail = fails(2)
    for attempt in retry_scope(max=5, interval=0, registry=registry()):
        with attempt:
            fail()
    assert attempt.number == 3


def test_ctrl_c_as_python_takes_over_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation of which something was told is ended with an event where the track is left, too."""
    heard: list[str] = []

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    outcomes = iter([ConnectionResetError("on the track"), _with_note("off the track")])

    @with_retry(max=3, interval=0, registry=Registry())
    def operation() -> None:
        raise next(outcomes)

    end = subscribe(lambda event: heard.append(event.name))
    with monkeypatch.context() as patched:
        original = retrywrap.RetryContext._went_on

        def once(self: Any, *args: Any) -> None:
            patched.undo()
            original(self, *args)
            interrupt()

        patched.setattr(retrywrap.RetryContext, "_went_on", once)
        with pytest.raises(KeyboardInterrupt):
            operation()
    end()
    assert heard == ["retry.scheduled", "retry.cancelled"]


def test_ctrl_c_as_an_awaitable_is_taken_over_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where a function returns an awaitable, after failures."""
    heard: list[str] = []
    turns = iter([ConnectionResetError("on the track")])

    @with_retry(max=3, interval=0, registry=Registry())
    def operation() -> Any:
        for error in turns:
            raise error
        return Later()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("retrywrap.run.drive.retried_awaitable", interrupt)
    end = subscribe(lambda event: heard.append(event.name))
    with pytest.raises(KeyboardInterrupt):
        operation()
    end()
    assert heard == ["retry.scheduled", "retry.cancelled"]


@pytest.mark.parametrize("registry", [Registry, OffTrack])
def test_a_time_that_goes_back_is_told_as_it_is(registry: type[Registry], monkeypatch: pytest.MonkeyPatch) -> None:
    """By the note as by the event."""
    times = itertools.count(100.0, -5.0)
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    with pytest.raises(ConnectionResetError) as caught:
        with_retry(max=1, interval=0, registry=registry())(fails(2))()
    assert re.search(r"in -\d+ s:", caught.value.__notes__[0])
