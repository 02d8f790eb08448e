"""Cases at the edges: layers of one name, methods of iterators, odd bindings, loops that are left, foreign contexts."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import gc
import inspect
import pickle
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types
import warnings
import weakref
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest
import wrapt
from hurry import run_hurried

from retrywrap import (
    ErrorCode,
    RatioBudget,
    RetryBudget,
    RetryExhausted,
    RetryPolicy,
    StopReason,
    Verdict,
    configure,
    exponential,
    registry,
    remaining,
    retry_scope,
    return_codes,
    shutdown,
    subscribe,
    with_retry,
)
from retrywrap.decide.allowance import PROCESS, Allowance
from retrywrap.decide.events import RetryEvent
from retrywrap.errors import RetryUsageError
from retrywrap.run.ambient import ambient
from retrywrap.run.clock import Clock
from retrywrap.testing import VirtualClock


@pytest.fixture
def events() -> Iterator[list[RetryEvent]]:
    """All events of the test."""
    seen: list[RetryEvent] = []
    end = subscribe(seen.append)
    yield seen
    end()


class Failing:
    """A function that fails so many times, and counts its calls."""

    def __init__(self, times: int = 10**9) -> None:
        self.times = times
        self.calls = 0

    def __call__(self, *_: Any) -> str:
        self.calls += 1
        if self.calls <= self.times:
            raise ConnectionResetError("gone")
        return "ok"


# --- layers


def test_layers_of_one_name_do_not_multiply(clock: VirtualClock) -> None:
    """A scope's call of a decorated function, stacked decorators, and two functions of one name: one layer retries."""
    for outer in (
        lambda f: lambda: retry_scope(max=3).call(with_retry(max=3)(f)),
        lambda f: with_retry(max=3)(with_retry(max=3)(f)),
        lambda f: with_retry(max=3, name="up")(lambda: with_retry(max=3, name="up")(f)()),
    ):
        function = Failing()
        with pytest.raises(ConnectionResetError):
            outer(function)()
        assert function.calls == 4


@pytest.mark.parametrize("parameters", [{}, {"timeout": 10_000}, {"budget": "edges"}])
def test_recursion_does_not_multiply_with_any_policy(clock: VirtualClock, parameters: dict[str, Any]) -> None:
    """Whatever the policy asks for, only the innermost level of a recursion retries."""
    calls = 0

    @with_retry(max=2, **parameters)
    def walk(depth: int) -> None:
        nonlocal calls
        if depth:
            walk(depth - 1)
        calls += 1
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        walk(3)
    assert calls == 3


def test_recursion_through_tasks_does_not_multiply(clock: VirtualClock) -> None:
    """A level that runs in a task of its own gives up for all levels above it."""
    calls = 0

    @with_retry(max=2)
    async def walk(depth: int) -> None:
        nonlocal calls
        if depth:
            async with asyncio.TaskGroup() as group:
                group.create_task(walk(depth - 1))
        calls += 1
        raise ConnectionResetError("gone")

    with pytest.raises(ExceptionGroup):
        asyncio.run(walk(3))
    assert calls == 3


@pytest.mark.parametrize("form", ["gather", "threads", "result", "blocks", "equal blocks", "async blocks", "both"])
def test_no_form_of_nesting_multiplies(clock: VirtualClock, form: str) -> None:
    """Levels in tasks and threads, blocks in blocks, their recursion, failures by result: one layer retries."""
    calls = 0

    def operation(*_: Any) -> None:
        nonlocal calls
        calls += 1
        raise ConnectionResetError("gone")

    @with_retry(max=2)
    async def walk(depth: int) -> None:
        await (asyncio.gather(walk(depth - 1)) if depth else asyncio.to_thread(operation))

    @with_retry(max=2)
    def pooled(depth: int) -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(pooled if depth else operation, depth - 1).result()

    def blocks(depth: int) -> None:
        for attempt in retry_scope(max=2):
            with attempt:
                blocks(depth - 1) if depth else operation()

    def equal_blocks() -> None:
        for outer in retry_scope(max=2):
            with outer:
                for inner in retry_scope(max=2):
                    with inner:
                        operation()

    async def async_blocks(depth: int) -> None:
        async for attempt in retry_scope(max=2):
            async with attempt:
                await async_blocks(depth - 1) if depth else operation()

    @with_retry(max=2)
    def both(depth: int) -> None:
        for attempt in retry_scope(max=2):
            with attempt:
                both(depth - 1) if depth else operation()

    @with_retry(max=2, results=return_codes)
    def code() -> int:
        nonlocal calls
        calls += 1
        return -6

    run = {
        "gather": lambda: asyncio.run(walk(2)),
        "threads": lambda: pooled(2),
        "result": with_retry(max=2, on=Exception)(lambda: code()),
        "blocks": lambda: blocks(2),
        "equal blocks": equal_blocks,
        "async blocks": lambda: asyncio.run(async_blocks(2)),
        "both": lambda: both(2),
    }
    with pytest.raises((ConnectionResetError, RetryExhausted)):
        run[form]()
    assert calls == 3


@pytest.mark.parametrize(
    "form", ["function", "two functions", "block", "coroutine", "task", "thread", "call", "result"]
)
def test_an_error_object_that_is_raised_again_is_no_nested_one(clock: VirtualClock, form: str) -> None:
    """What an operation that is over left on an exception object does not keep a later one from its retries."""
    saved = ConnectionResetError("saved")
    calls = 0

    def fail() -> None:
        nonlocal calls
        calls += 1
        raise saved

    async def afail() -> None:
        fail()

    def block() -> None:
        for attempt in retry_scope(max=2):
            with attempt:
                fail()

    def thread() -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(function).result()

    async def task() -> None:
        await asyncio.create_task(coroutine())

    function = with_retry(max=2)(fail)
    coroutine = with_retry(max=2)(afail)
    exhausted = RetryExhausted("saved", operation="earlier", attempts=3)
    operations: dict[str, list[Callable[[], Any]]] = {
        "function": [function] * 3,
        "two functions": [with_retry(max=2)(fail) for _ in range(3)],
        "block": [block] * 3,
        "coroutine": [lambda: asyncio.run(coroutine())] * 3,
        "task": [lambda: asyncio.run(task())] * 3,
        "thread": [thread] * 3,
        "call": [lambda: retry_scope(max=2).call(fail)] * 3,
        "result": [with_retry(max=2, on=RetryExhausted)(fail)] * 3,
    }
    if form == "result":
        saved = exhausted  # type: ignore[assignment]  # any error will do

    def handler(operation: Callable[[], Any]) -> None:
        with contextlib.suppress(ConnectionResetError, RetryExhausted):
            operation()

    for number, operation in enumerate(operations[form], 1):
        handler(operation)  # a caller that is gone when the next one comes
        assert calls == 3 * number


def test_a_leftover_inside_of_an_error_is_none_either(clock: VirtualClock) -> None:
    """As its cause, or as a member of a group."""
    saved: list[Exception] = []
    calls = 0

    with pytest.raises(ConnectionResetError) as caught:
        with_retry(max=2)(Failing())()
    saved.append(caught.value)

    @with_retry(max=3, on=ExceptionGroup)
    def get(group: bool) -> None:
        nonlocal calls
        calls += 1
        if group:
            raise ExceptionGroup("all", saved)
        raise TimeoutError("no connection is free") from saved[0]

    for group in (False, True):
        calls = 0
        with pytest.raises((TimeoutError, ExceptionGroup)):
            get(group)
        assert calls == 4


@pytest.mark.parametrize("limit", [0, 1])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_block_may_raise_its_error_once_more(clock: VirtualClock, limit: int, is_async: bool) -> None:
    """``raise error`` in the block: what is inside still counts, and the traceback still leads to the place."""
    inner = Failing()
    again = with_retry(max=1)(inner)

    def low() -> None:
        again()

    def block() -> None:
        for attempt in retry_scope(max=limit):
            with attempt:
                try:
                    low()
                except ConnectionError as error:
                    raise error  # which is the point

    async def ablock() -> None:
        async for attempt in retry_scope(max=limit):
            async with attempt:
                try:
                    low()
                except ConnectionError as error:
                    raise error  # which is the point

    with pytest.raises(ConnectionResetError) as caught:
        asyncio.run(ablock()) if is_async else block()
    assert inner.calls == 2
    assert "low" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


def test_a_recursion_through_processes_does_not_multiply(tmp_path: Path) -> None:
    """The error that comes out of another process brings its note along."""
    program = """
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from retrywrap import with_retry

@with_retry(max=2, interval=0)
def walk(depth):
    with open(sys.argv[1], "a") as log:
        log.write(f"{depth} ")
    if not depth:
        raise ConnectionResetError("gone")
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        pool.submit(walk, depth - 1).result()

try:
    walk(2)
except ConnectionResetError:
    print("gave up")
"""
    log = tmp_path / "log"
    ran = subprocess.run(
        [sys.executable, "-c", program, str(log)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.stdout, log.read_text()) == ("gave up\n", "2 1 0 0 0 "), ran.stderr


@pytest.mark.parametrize(
    "parameters", [{"max": 0}, {"interval": []}, {"max": 0, "timeout": 3}, {"max": 2, "interval": 0}], ids=repr
)
@pytest.mark.parametrize("is_async", [False, True])
def test_no_end_keeps_an_argument_alive(clock: VirtualClock, parameters: dict[str, Any], is_async: bool) -> None:
    """However an operation ends: once the caller has dropped the error, nothing is left for the garbage collector."""

    class Big:
        """Is to go."""

    async def acall(big: Big) -> None:
        raise ConnectionResetError("gone")

    def call(big: Big) -> None:
        raise ConnectionResetError("gone")

    def one() -> weakref.ref[Big]:
        big = Big()
        with contextlib.suppress(ConnectionResetError):
            coroutine = acalled(big) if is_async else called(big)
            while True:  # no loop of asyncio's, which makes cycles of its own
                coroutine.send(None)
        return weakref.ref(big)

    called, acalled = with_retry(**parameters)(call), with_retry(**parameters)(acall)
    one()
    gc.collect()
    gc.disable()
    try:
        assert one()() is None
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("is_async", [False, True])
def test_one_exception_object_does_not_grow_in_blocks(clock: VirtualClock, is_async: bool) -> None:
    """An object that is raised again and again keeps the frames of its last way."""
    saved = ConnectionResetError("saved")

    def block() -> None:
        for attempt in retry_scope(max=50):
            with attempt:
                raise saved

    async def ablock() -> None:
        async for attempt in retry_scope(max=50):
            async with attempt:
                raise saved

    with pytest.raises(ConnectionResetError) as caught:
        asyncio.run(ablock()) if is_async else block()
    assert len(list(traceback.walk_tb(caught.value.__traceback__))) < 12


def test_an_error_that_on_knows_is_not_unknown(clock: VirtualClock, events: list[RetryEvent]) -> None:
    """Where on= names an error, and something else rejects it, it is not called unknown."""

    def strange() -> None:
        raise RuntimeError("?")

    with pytest.raises(RuntimeError):
        with_retry(on=RuntimeError, idempotent=False)(strange)()
    assert [event.name for event in events] == ["retry.rejected"]


# --- one-shot arguments


class Pages:
    """An iterator whose own method is retried."""

    def __init__(self) -> None:
        self.failing = Failing(2)

    def __iter__(self) -> Pages:
        return self

    def __next__(self) -> str:
        return self.fetch()

    @with_retry(max=5)
    def fetch(self) -> str:
        return self.failing()


def test_a_method_of_an_iterator_is_retried(clock: VirtualClock) -> None:
    """The object whose method it is, is no used-up argument; another iterator beside it is."""
    assert next(Pages()) == "ok"

    class Sender(Pages):
        @with_retry(max=5)
        def send(self, rows: Iterator[int]) -> None:
            next(rows)
            raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError) as caught:
        Sender().send(iter([1, 2]))
    assert "argument 2 is a one-shot list_iterator" in caught.value.__notes__[0]


def test_a_cursor_is_no_used_up_argument(clock: VirtualClock) -> None:
    """A database cursor is an iterator that its next query fills again."""
    failing = Failing(1)

    @with_retry
    def count(cursor: sqlite3.Cursor) -> Any:
        failing()
        return cursor.execute("select 3").fetchone()

    connection = sqlite3.connect(":memory:")
    assert count(connection.cursor()) == (3,)
    connection.close()


def test_a_one_shot_argument_is_not_retried_for_a_bad_result(clock: VirtualClock) -> None:
    """A failure that was returned does not send an emptied iterator either."""
    seen: list[list[int]] = []

    @with_retry(results=return_codes)
    def send(rows: Iterator[int]) -> int:
        seen.append(list(rows))
        return -6 if len(seen) == 1 else 0

    with pytest.raises(RetryExhausted, match="one-shot"):
        send(iter([1, 2]))
    assert seen == [[1, 2]]


# --- binding


def test_what_does_not_bind_is_called_without_self(clock: VirtualClock) -> None:
    """Builtins, callable objects and classes stay unbound as class attributes, as they are undecorated."""

    class Box:
        size = with_retry(len)
        fail = with_retry(Failing(2))
        make = with_retry(dict)

    box = Box()
    assert box.size([1, 2]) == 2
    assert box.fail() == "ok"
    assert box.make(a=1) == {"a": 1}
    assert Box.size("abc") == 3


def test_a_partial_binds_as_this_python_binds_it() -> None:
    """A partial as a class attribute does as it does undecorated: unbound to 3.12, warned of in 3.13, bound later."""
    plain = functools.partial(lambda *args: args, 1)
    both = type("Box", (), {"plain": plain, "decorated": with_retry(plain)})()
    seen = []
    for name in ("plain", "decorated"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            seen.append((getattr(both, name)(5), [str(warning.message) for warning in caught]))
    assert seen[0] == seen[1]
    assert seen[0][0] in ((1, 5), (1, both, 5))


def test_what_binds_in_its_own_way_keeps_it(clock: VirtualClock) -> None:
    """Other decorators below see the instance as they would alone; caches, bound methods and stacks work."""
    seen: list[Any] = []

    @wrapt.decorator
    def spy(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        seen.append((instance, args))
        return wrapped(*args, **kwargs)

    class Box:
        failing = Failing(2)

        @with_retry
        @spy
        def method(self, value: int) -> int:
            Box.failing()
            return value

        @with_retry
        @functools.lru_cache  # noqa: B019 - the cache is what is tested
        def cached(self, value: int) -> int:
            return value

        @with_retry(name="outer")
        @with_retry(name="inner")
        def stacked(self, value: int) -> int:
            return value

    box = Box()
    assert box.method(3) == 3
    assert seen == [(box, (3,))] * 3
    assert box.cached(4) == 4
    assert box.stacked(5) == 5
    assert with_retry(box.stacked)(6) == 6
    assert Box.method(box, 7) == 7

    class Other:
        borrowed = with_retry(box.stacked)

    assert Other().borrowed(8) == 8


# --- judges of results


class Wordless(Exception):
    """An error whose text fails."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def raising(error: Exception) -> Any:
    def judge(result: Any) -> Any:
        raise error

    return judge


@pytest.mark.parametrize(
    ("judge", "problem"),
    [
        (lambda result: result.status >= 500, "AttributeError: 'NoneType' object has no attribute 'status'"),
        (lambda result: 3, "TypeError: a Verdict, an ErrorCode, True or None was expected; got 3"),
        (raising(Wordless()), "Wordless"),
    ],
)
def test_what_could_not_be_judged_is_no_success(clock: VirtualClock, judge: Any, problem: str) -> None:
    """A judge that raises or answers nonsense makes its result a failure, which is not retried and not lost."""
    with pytest.raises(RetryExhausted, match=r"results\.failed") as caught:
        with_retry(results=judge)(lambda: None)()
    assert caught.value.result is None
    assert problem in str(registry.last_error)
    assert "could not judge the returned NoneType" in str(registry.last_error)
    assert registry.stats().rejected == 1
    assert clock.waits == []


# --- awaitables of sync functions


def test_an_awaitable_after_a_sync_failure_is_retried(clock: VirtualClock) -> None:
    """Raising at first and returning a coroutine later is one operation, to its end."""
    for failures, kind in ((3, "error"), (2, "result")):
        steps = Failing(1)
        work = Failing(failures - 1)

        async def awaited(work: Failing = work, kind: str = kind) -> int:
            if kind == "error":
                work()
                return 0
            try:
                work()
            except ConnectionResetError:
                return -6
            return 0

        @with_retry(results=return_codes)
        def start(steps: Failing = steps, awaited: Any = awaited) -> Any:
            steps()
            return awaited()

        async def main(start: Any = start) -> Any:
            return await start()

        assert asyncio.run(main()) == 0
    assert registry.stats().recovered == 2
    assert registry.stats().rejected == 0


def test_an_awaitable_after_a_sync_failure_may_fail_for_good(clock: VirtualClock) -> None:
    """Its last error comes out with a note; interrupting it ends the operation."""

    async def hopeless() -> None:
        raise ConnectionResetError("gone")

    async def interrupted() -> None:
        raise KeyboardInterrupt

    for awaited, error in ((hopeless, ConnectionResetError), (interrupted, KeyboardInterrupt)):
        steps = Failing(1)

        @with_retry(max=1)
        def start(steps: Failing = steps, awaited: Any = awaited) -> Any:
            steps()
            return awaited()

        async def main(start: Any = start) -> None:
            await start()

        coroutine = main()
        with pytest.raises(error):
            coroutine.send(None)
    assert (registry.stats().exhausted, registry.stats().cancelled) == (1, 1)


class _Request(Coroutine[Any, Any, str]):
    """Awaited or entered, as the requests of HTTP clients are."""

    def __init__(self, work: Failing, log: list[str]) -> None:
        self.work = work
        self.log = log
        self.url = "somewhere"
        self._whole = self._open()

    async def _open(self) -> str:
        self.work()
        return "response"

    def __await__(self) -> Any:
        return self._whole.__await__()

    def send(self, value: Any) -> Any:
        return self._whole.send(value)

    def throw(self, *error: Any) -> Any:
        return self._whole.throw(*error)

    def close(self) -> None:
        self._whole.close()
        self.log.append("close")

    async def __aenter__(self) -> str:
        self.log.append("enter")
        return await self

    async def __aexit__(self, kind: Any, error: BaseException | None, traceback: Any) -> bool:
        self.log.append(f"exit {error!r}")
        return isinstance(error, LookupError)


@pytest.mark.parametrize("sync_failures", [0, 1])
def test_an_awaitable_that_can_be_entered_stays_so(clock: VirtualClock, sync_failures: int) -> None:
    """``await get()``, ``async with get()`` and a task of ``get()`` are retried; the block is no part of an attempt."""
    log: list[str] = []

    async def main() -> None:
        for form in ("await", "async with", "task"):
            before, work = Failing(sync_failures), Failing(2)

            @with_retry
            def get(before: Failing = before, work: Failing = work) -> Any:
                before()
                return _Request(work, log)

            if form == "await":
                assert await get() == "response"
            elif form == "task":
                assert await asyncio.create_task(get()) == "response"
            else:
                request = get()
                assert request.url == "somewhere"
                async with request as response:
                    assert response == "response"
                    raise LookupError("which the manager swallows")
            assert work.calls == 3

    asyncio.run(main())
    assert log == ["enter", "enter", "enter", "exit LookupError('which the manager swallows')"]
    assert registry.stats().recovered == 3
    assert registry.retry_count == 6 + 3 * sync_failures


def test_what_was_entered_in_vain_is_left(clock: VirtualClock) -> None:
    """A response that results= refuses is left before the next one is entered, and the last one, too."""
    log: list[str] = []
    refused = Verdict.of(ErrorCode.NETWORK, "busy", retryable=True)

    @with_retry(max=2, results=lambda response: refused)
    def get() -> Any:
        return _Request(Failing(0), log)

    async def main() -> None:
        async with get():
            raise AssertionError("not reached")

    with pytest.raises(RetryExhausted):
        asyncio.run(main())
    assert log == ["enter", "exit None"] * 3


def test_an_awaitable_that_is_not_used_can_be_closed() -> None:
    """Closing goes to what was returned, or to the attempts once they have begun; errors may be thrown in."""
    log: list[str] = []

    @with_retry
    def get() -> Any:
        return _Request(Failing(0), log)

    get().close()
    assert log == ["close"]

    @types.coroutine
    def stop() -> Any:
        yield "stopped"

    class Slow(_Request):
        async def _open(self) -> str:
            await stop()
            return "response"

    slow = with_retry(lambda: Slow(Failing(0), log))
    begun = slow()
    assert begun.send(None) == "stopped"
    begun.close()
    begun = slow()
    assert begun.send(None) == "stopped"
    with pytest.raises(KeyboardInterrupt):
        begun.throw(KeyboardInterrupt)

    class Bare:
        def __await__(self) -> Any:
            yield

        async def __aenter__(self) -> None: ...

    with_retry(Bare)().close()


# --- before_retry


def test_an_async_hook_is_refused_where_nobody_can_await_it(clock: VirtualClock) -> None:
    """A retry that would go on unprepared does not go on."""

    async def reconnect(_: Any) -> None: ...

    future: Any = type("Ready", (), {"__await__": lambda self: iter(())})
    function = Failing()
    for hook in (reconnect, lambda _: future()):
        with pytest.raises(TypeError, match="before_retry must be a plain function here"):
            retry_scope(before_retry=hook).call(function)
        with pytest.raises(TypeError, match="before_retry must be a plain function here"):
            for attempt in retry_scope(before_retry=hook):
                with attempt:
                    function()
    assert function.calls == 4


def test_an_interrupted_hook_of_a_block_ends_the_operation(clock: VirtualClock, events: list[RetryEvent]) -> None:
    """Ctrl-C in before_retry is the end, with its event, sync and async."""

    def interrupted(_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        for attempt in retry_scope(before_retry=interrupted):
            with attempt:
                raise ConnectionResetError("gone")

    async def main() -> None:
        async for one in retry_scope(before_retry=interrupted, interval=0):
            with one:
                raise ConnectionResetError("gone")

    with pytest.raises(KeyboardInterrupt):
        main().send(None)
    assert [event.reason for event in events] == [None, StopReason.CANCELLED] * 2


# --- blocks and scopes


def test_a_loop_that_is_left_between_attempts_ends_its_operation(clock: VirtualClock, events: list[RetryEvent]) -> None:
    """break after the with block, before the retry: the operation is cancelled, and its price comes back."""
    budget = RetryBudget()
    for attempt in retry_scope(budget=budget):
        with attempt:
            raise ConnectionResetError("gone")
        break
    assert [event.reason for event in events] == [None, StopReason.CANCELLED]
    assert budget.available == 500


def test_an_async_loop_that_is_left_ends_its_operation(clock: VirtualClock, events: list[RetryEvent]) -> None:
    """The same for async for; and the error is not kept alive by the loop that was left."""
    kept: list[weakref.ref[BaseException]] = []

    class Lost(ConnectionResetError):
        pass

    async def main() -> None:
        async for attempt in retry_scope():
            with attempt:
                error = Lost("gone")
                kept.append(weakref.ref(error))
                try:
                    raise error
                finally:
                    del error
            break

    gc.disable()
    try:
        with pytest.raises(StopIteration):
            main().send(None)
        assert [ref() for ref in kept] == [None]
    finally:
        gc.enable()
    assert [event.reason for event in events] == [None, StopReason.CANCELLED]


def test_a_result_is_its_own_attempts(clock: VirtualClock) -> None:
    """What an earlier attempt set is not judged again."""
    for attempt in retry_scope(results=return_codes):
        with attempt:
            if attempt.number == 1:
                attempt.set_result(-6)
    assert attempt.number == 2


def test_a_call_of_an_outer_scope_stays_inside_the_inner_ones(clock: VirtualClock) -> None:
    """A scope only ever limits: the inner one limits what the outer one calls inside it."""
    function = Failing()
    with pytest.raises(ConnectionResetError), retry_scope(max=20) as outer, retry_scope(max=0):
        outer.call(function)
    assert function.calls == 1


def test_a_scope_that_is_left_in_another_context_lets_the_error_out() -> None:
    """Async fixtures leave in another context than they entered; the error of the block is the one that comes out."""
    scope = retry_scope()
    contextvars.copy_context().run(scope.__enter__)
    scope.__exit__(None, None, None)
    with scope:
        assert scope.remaining() is None


def test_cancel_works_while_other_threads_call(clock: VirtualClock) -> None:
    """cancel() never fails, however many links come and go."""
    scope = retry_scope(max=1, interval=0)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            scope.call(lambda: None)

    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(work)
        for _ in range(300):
            scope.cancel()
        stop.set()
    assert scope.cancelled


def test_cancel_asks_again_where_a_link_came_just_then() -> None:
    """A set that changes while it is listed is listed again."""

    class Changing:
        asked = 0

        def __iter__(self) -> Iterator[Any]:
            self.asked += 1
            if self.asked == 1:
                raise RuntimeError("Set changed size during iteration")
            return iter(())

    scope = retry_scope()
    scope._live = Changing()
    scope.cancel()
    assert scope._live.asked == 2


def test_a_named_policy_with_an_attempt_timeout_is_refused_for_sync_functions() -> None:
    """It is known at the call at the latest, and nothing runs unlimited."""
    configure(policies={"limited": {"attempt_timeout": 1}})
    function = Failing(0)
    with pytest.raises(TypeError, match="attempt_timeout=1 needs a coroutine function"):
        with_retry(policy="limited")(function)()
    assert function.calls == 0


# --- small parts


def test_a_note_never_masks_an_exotic_error(clock: VirtualClock) -> None:
    """An exception that refuses to take a note comes out as it is."""

    class Exotic(ConnectionResetError):
        @property
        def __notes__(self) -> list[str]:
            return []

    def fails() -> None:
        raise Exotic("gone")

    with pytest.raises(Exotic):
        with_retry(max=1)(fails)()


def test_cyclic_causes_are_looked_at_once(clock: VirtualClock) -> None:
    """An error that is its own cause, by way of another, ends the search for an inner note."""
    first, second = ConnectionResetError("a"), ConnectionResetError("b")
    first.__cause__, second.__cause__ = second, first

    def fails() -> None:
        raise first

    with pytest.raises(ConnectionResetError):
        with_retry(max=1)(fails)()


def test_a_policy_does_not_change_and_travels() -> None:
    """Neither setting nor deleting works; pickling keeps the parameters."""
    policy = RetryPolicy(max=3, interval=2)
    with pytest.raises(AttributeError, match=r"replace\(max=…\)"):
        policy.max = 4  # type: ignore[misc]  # the test's point
    with pytest.raises(AttributeError, match="immutable"):
        del policy.max
    again = pickle.loads(pickle.dumps(policy))
    assert again == policy
    assert again.backoff == policy.backoff
    assert hash(again) == hash(policy)
    assert policy != 3


def test_a_decorated_function_shows_and_reduces_itself() -> None:
    """repr() names what is wrapped; both reduce methods agree; defaults are shown as an ellipsis."""
    decorated = with_retry(len)
    assert repr(decorated) == "<with_retry of <built-in function len>>"
    assert decorated.__reduce__()[1] == decorated.__reduce_ex__(2)[1]
    assert "max: 'int | None' = …" in str(inspect.signature(with_retry))


def test_an_attempt_shows_itself() -> None:
    """repr() tells the number and the scope."""
    for attempt in retry_scope(max=2, name="s"):
        with attempt:
            assert repr(attempt) == "<attempt 1 of <retry_scope s: RetryPolicy(max=2)>>"
    attempts = aiter(retry_scope())
    assert aiter(attempts) is attempts


def test_a_rejected_coroutine_function_raises_at_once(clock: VirtualClock) -> None:
    """What is not retried comes out of the first attempt."""

    async def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(with_retry(fails)())


def test_an_async_result_that_stays_bad_is_raised(clock: VirtualClock) -> None:
    """Retries of a coroutine function's results end like those of a function's."""

    async def bad() -> int:
        return -6

    with pytest.raises(RetryExhausted):
        asyncio.run(with_retry(max=2, results=return_codes)(bad)())
    assert len(clock.waits) == 2


def test_a_late_awaitable_that_is_rejected_comes_out(clock: VirtualClock) -> None:
    """A sync failure, then an awaitable whose error is not retried."""
    steps = Failing(1)

    async def awaited() -> None:
        raise ValueError("no")

    @with_retry
    def start() -> Any:
        steps()
        return awaited()

    async def main() -> None:
        await start()

    with pytest.raises(ValueError, match="no"):
        asyncio.run(main())


def test_a_closed_file_is_no_used_up_argument(clock: VirtualClock, tmp_path: Path) -> None:
    """A retry with a file that the attempt closed fails by itself, and says so."""
    path = tmp_path / "data"
    path.write_text("x")

    @with_retry
    def send(file: Any) -> None:
        if file.closed:
            raise ValueError("closed file")
        file.close()
        raise ConnectionResetError("gone")

    with pytest.raises(ValueError, match="closed file"):
        send(path.open())


def test_leaving_a_scope_that_was_not_entered_does_nothing() -> None:
    """As an ExitStack gone wrong might."""
    retry_scope().__exit__(None, None, None)


class _Woken(Allowance):
    """Wakes whoever comes, twice."""

    def add_waker(self, wake: Any) -> None:
        wake()
        wake()


def test_the_real_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random numbers, a wait that is cancelled before it begins, one that is woken twice; without trio installed."""
    clock = Clock()
    assert 0 <= clock.random() < 1
    assert abs(clock.epoch() + clock.now() - time.time()) < 60
    cancelled = Allowance(None)
    cancelled.cancel()
    monkeypatch.delitem(sys.modules, "trio", raising=False)
    for limits in (cancelled, _Woken(None)):
        clock.sleep(3600, limits)
        asyncio.run(clock.asleep(3600, limits))


def test_a_late_awaitable_that_succeeds_recovers(clock: VirtualClock) -> None:
    """A sync failure, then an awaitable that succeeds at once."""
    steps = Failing(1)

    async def awaited() -> str:
        return "ok"

    @with_retry
    def start() -> Any:
        steps()
        return awaited()

    async def main() -> Any:
        return await start()

    assert asyncio.run(main()) == "ok"
    assert registry.stats().recovered == 1


@pytest.mark.parametrize("inner", [{"max": 0}, {"max": 5, "timeout": 7}])
def test_an_inner_layer_that_did_not_exhaust_its_retries_is_retried(clock: VirtualClock, inner: dict[str, Any]) -> None:
    """One attempt alone, or a deadline, is no exhaustion: the outer layer has its turn."""
    function = Failing()
    with pytest.raises(ConnectionResetError):
        with_retry(max=2, name="outer")(with_retry(name="inner", **inner)(function))()
    assert function.calls == (3 if inner["max"] == 0 else 6)


# --- scopes that are over


def test_a_scope_that_is_over_limits_nothing(clock: VirtualClock) -> None:
    """Generators that are closed in another order or context than they were begun in leave nothing in force."""
    operation = Failing(10**9)

    def scoped(name: str) -> Iterator[None]:
        with retry_scope(max=0, name=name):
            yield

    first, second = scoped("a"), scoped("b")
    next(first), next(second)
    first.close()  # type: ignore[attr-defined]  # a generator, said to be an iterator
    with pytest.raises(ConnectionResetError) as caught:
        with_retry(max=3)(operation)()
    assert "the scope b has no retries left" in caught.value.__notes__[0]
    second.close()  # type: ignore[attr-defined]  # the same
    operation = Failing(2)
    assert with_retry(max=3)(operation)() == "ok"


@pytest.mark.parametrize("form", ["scope", "block", "function"])
def test_what_an_event_loop_closes_limits_nothing(clock: VirtualClock, form: str) -> None:
    """An abandoned async generator is closed in another context; where it was begun, its scope is over as well."""

    async def pages() -> Any:
        if form == "scope":
            with retry_scope(max=1, timeout=10):
                yield 1
        elif form == "block":
            async for attempt in retry_scope(max=1, timeout=10):
                async with attempt:
                    yield 1
        else:
            first = with_retry(max=1, timeout=10)(asyncio.sleep)
            yield await first(0)

    async def main() -> None:
        generator = pages()
        async for _ in generator:
            break
        await asyncio.create_task(generator.aclose())  # a task has a context of its own
        clock.advance(100)
        assert remaining() is None
        operation = Failing(3)
        assert with_retry(max=3)(operation)() == "ok"

    asyncio.run(main())


@pytest.mark.parametrize("form", ["break", "error", "no with", "async break"])
def test_a_block_left_before_it_is_entered_ends(clock: VirtualClock, events: list[RetryEvent], form: str) -> None:
    """In a later round: its one terminal event comes, and what the retry had drawn is given back."""
    budget = RetryBudget()

    def plain() -> None:
        for attempt in retry_scope(max=3, budget=budget):
            if attempt.number == 2 and form == "break":
                break
            if attempt.number == 2 and form == "error":
                raise LookupError("mine")
            if attempt.number == 2:
                continue
            with attempt:
                raise ConnectionResetError("gone")

    async def coroutine() -> None:
        async for attempt in retry_scope(max=3, budget=budget):
            if attempt.number == 2:
                break
            async with attempt:
                raise ConnectionResetError("gone")

    with retry_scope(max=3) as scope, contextlib.suppress(LookupError, RetryUsageError):
        asyncio.run(coroutine()) if form == "async break" else plain()
    gc.collect()
    assert [event.name for event in events] == ["retry.scheduled", "retry.cancelled"]
    assert budget.available == 500
    assert scope.error_count == 1


# --- what errors, budgets and arguments may do


def _raise(*_: Any) -> Any:
    raise RuntimeError("hostile")


class _Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        return _raise() if name in ("__qualname__", "__module__", "__name__") else super().__getattribute__(name)


HOSTILE: dict[str, type[Exception]] = {
    name: type(name, (ConnectionResetError,), {name: property(_raise)})
    for name in ("__notes__", "__cause__", "__class__", "__traceback__", "__context__", "args", "errno", "__dict__")
}
HOSTILE["metaclass"] = _Meta("metaclass", (ConnectionResetError,), {})
HOSTILE["__str__"] = type("wordless", (ConnectionResetError,), {"__str__": _raise, "__repr__": _raise})
HOSTILE["no module"] = eval(
    "type('Nameless', (ConnectionResetError,), {})", {"ConnectionResetError": ConnectionResetError}
)
HOSTILE["__getattribute__"] = type("closed", (ConnectionResetError,), {"__getattribute__": _raise})


@pytest.mark.parametrize("parameters", [{}, {"on": (KeyError, LookupError)}, {"on": ConnectionError}], ids=repr)
@pytest.mark.parametrize("kind", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_error_is_retried_and_comes_out(
    clock: VirtualClock, kind: type[Exception], parameters: dict[str, Any]
) -> None:
    """Whatever an exception does when it is looked at, it is the one that comes out, after all its retries."""
    calls = 0

    def fail() -> None:
        nonlocal calls
        calls += 1
        raise kind("gone")

    try:
        with_retry(max=2, **parameters)(fail)()
    except BaseException as error:  # which one it is, is the question
        assert type(error) is kind  # noqa: PT017  # isinstance would ask the error
    assert calls == 3
    assert registry.error_count == 3


def test_a_hostile_group_comes_out(clock: VirtualClock) -> None:
    """A group that does not show its members is let out as it is."""

    class Closed(ExceptionGroup[Exception]):
        exceptions = property(_raise)  # type: ignore[assignment]  # which is the hostility

    with pytest.raises(BaseExceptionGroup):
        with_retry(max=2, on=ExceptionGroup)(_throw)(lambda: Closed("x", [ConnectionResetError()]))
    assert registry.error_count == 3


def _throw(make: Any) -> None:
    raise make()


class BrokenBudget:
    """A budget whose backend is down."""

    available = 0.0

    def __init__(self, *broken: str) -> None:
        self.broken = broken

    def begin(self, now: float) -> None:
        self._step("begin")

    def withdraw(self, now: float, throttled: bool) -> float | None:
        self._step("withdraw")
        return None if "__repr__" in self.broken else 1.0

    def succeeded(self, paid: float | None) -> None:
        self._step("succeeded")

    def restore(self, paid: float) -> None:
        self._step("restore")

    def _step(self, name: str) -> None:
        if name in self.broken:
            raise RuntimeError("the budget's backend is down")

    def __repr__(self) -> str:
        self._step("__repr__")
        return "<budget>"


@pytest.mark.parametrize("broken", ["begin", "withdraw", "succeeded", "__repr__", "none"])
def test_a_broken_budget_hides_no_outcome(clock: VirtualClock, caplog: pytest.LogCaptureFixture, broken: str) -> None:
    """It allows no retry; results and errors come out as they are, and its fault is reported once."""
    function = with_retry(max=2, budget=BrokenBudget(broken))
    assert function(lambda: 7)() == 7
    denied = broken in ("withdraw", "__repr__")
    with retry_scope(budget=BrokenBudget(broken)):
        if denied:
            with pytest.raises(ConnectionResetError):
                function(Failing(1))()
        else:
            assert function(Failing(1))() == "ok"
    assert registry.stats().budget_denied == denied
    assert ("the budget's backend is down" in caplog.text) is (broken in ("begin", "withdraw", "succeeded"))


def test_arguments_that_a_retry_would_see_used_up(clock: VirtualClock, tmp_path: Path) -> None:
    """A named temporary file that was read, and a coroutine that was awaited, are noticed; fresh ones are not."""
    sent: list[Any] = []

    @with_retry(max=2)
    def upload(file: Any, read: bool) -> None:
        if read:
            sent.append(file.read())
        raise ConnectionResetError("gone")

    for read, attempts in ((True, 1), (False, 3)):
        with tempfile.NamedTemporaryFile(dir=tmp_path) as file:
            file.write(b"data")
            file.seek(0)
            with pytest.raises(ConnectionResetError) as caught:
                upload(file, read)
        assert f"after {attempts} attempt" in caught.value.__notes__[0]
    assert sent == [b"data"]

    async def answer() -> int:
        return 3

    @with_retry(max=2)
    async def use(awaitable: Any, wait: bool) -> None:
        if wait:
            await awaitable
        raise ConnectionResetError("gone")

    for wait, attempts in ((True, 1), (False, 3)):
        coroutine = answer()
        with pytest.raises(ConnectionResetError) as caught:
            asyncio.run(use(coroutine, wait))
        coroutine.close()
        assert f"after {attempts} attempt" in caught.value.__notes__[0]


def test_an_argument_that_breaks_when_it_is_looked_at(clock: VirtualClock) -> None:
    """It hides no error."""

    class Odd:
        __next__ = None

        def readable(self) -> bool:
            raise LookupError("hostile")

    with pytest.raises(ConnectionResetError):
        with_retry(max=2)(Failing())(Odd())


# --- time


def test_a_late_awaitable_sees_the_deadline(clock: VirtualClock) -> None:
    """Also where a sync attempt had failed before the function returned an awaitable."""
    steps = Failing(1)
    seen: list[float | None] = []

    @with_retry(max=2, interval=10, timeout=60)
    def start() -> Any:
        steps()

        async def finish() -> str:
            seen.append(remaining())
            return "done"

        return finish()

    async def main() -> None:
        assert await start() == "done"
        assert remaining() is None

    asyncio.run(main())
    assert seen == [50.0]


def test_a_ratio_budget_counts_an_awaitable_once(clock: VirtualClock) -> None:
    """A sync function that returns an awaitable is one operation."""
    budget = RatioBudget(0.5, reserve=0)

    async def finish() -> str:
        return "done"

    assert asyncio.run(_awaited(with_retry(budget=budget)(lambda: finish()))) == "done"
    assert budget.available == 1.0


async def _awaited(function: Any) -> Any:
    return await function()


@pytest.mark.parametrize("parameters", [{"interval": 0}, {"interval": exponential(1)}], ids=repr)
def test_a_loop_without_waits_ends_in_virtual_time(parameters: dict[str, Any]) -> None:
    """Time goes on, if slowly, for whoever looks at a clock that stands."""
    with VirtualClock(random=0.0), pytest.raises(ConnectionResetError) as caught:
        with_retry(max=None, timeout=0.05, **parameters)(Failing())()
    assert "timed out" in caught.value.__notes__[0]


def test_no_time_means_no_retry(clock: VirtualClock) -> None:
    """timeout=0 is one call, even where no wait is asked for."""
    operation = Failing()
    with pytest.raises(ConnectionResetError) as caught:
        with_retry(max=5, timeout=0, interval=0)(operation)()
    assert operation.calls == 1
    assert "no time is left for another attempt; timeout=0 is the limit" in caught.value.__notes__[0]


# --- class hooks


def test_hooks_that_python_makes_class_methods_stay_so(clock: VirtualClock) -> None:
    """__init_subclass__ and __class_getitem__ are class methods without saying so; decorated ones, too."""
    fails = [ConnectionResetError("gone"), ConnectionResetError("gone")]

    class Base:
        made: ClassVar[list[str]] = []

        @with_retry
        def __init_subclass__(cls) -> None:
            if len(fails) > 1:
                raise fails.pop()
            Base.made.append(cls.__name__)

        @with_retry
        def __class_getitem__(cls, item: Any) -> Any:
            if fails:
                raise fails.pop()
            return cls, item

    class Child(Base):
        pass

    assert Base.made == ["Child"]
    assert Child[int] == (Child, int)


def test_a_decorated_descriptor_still_hears_its_name() -> None:
    """What another decorator made of a method gets its own ``__set_name__``."""

    class Named:
        def __call__(self, *_: Any) -> str:
            return self.name

        def __set_name__(self, owner: type, name: str) -> None:
            self.name = f"{owner.__name__}.{name}"

    class Box:
        method = with_retry(Named())

    assert Box().method() == "Box.method"


# --- scopes and threads


def test_threads_that_share_a_scope_count_exactly(clock: VirtualClock) -> None:
    """The first failures of several threads at once are counted in one place."""
    for _ in range(100):
        scope = retry_scope(max=1, interval=0)

        def work(scope: Any = scope) -> None:
            with contextlib.suppress(ConnectionResetError):
                scope.call(Failing())

        run_hurried([work] * 8)
        assert scope.error_count == 16


def test_what_cannot_be_carried_or_awaited_is_refused() -> None:
    """The message names what was given."""
    with retry_scope() as scope, pytest.raises(TypeError, match="function must be something that can be called; got 5"):
        scope.carry(5)  # type: ignore[arg-type]  # which is the mistake
    with pytest.raises(TypeError, match=r"returned 3, which cannot be awaited; write scope\.call"):
        asyncio.run(retry_scope().acall(lambda: 3))  # type: ignore[arg-type, return-value]  # the same


def test_what_began_inside_a_scope_stays_limited_and_can_be_cancelled(clock: VirtualClock) -> None:
    """A task that outlives the scope still draws from it, and ends where the scope is cancelled later."""
    calls = 0

    @with_retry(max=100)
    async def late() -> None:
        nonlocal calls
        calls += 1
        raise ConnectionResetError("gone")

    async def main(cancel: bool) -> list[str]:
        async with retry_scope(max=3) as scope:
            task = asyncio.create_task(late())
            await asyncio.sleep(0)
        if cancel:
            scope.cancel()
        with pytest.raises(ConnectionResetError) as caught:
            await task
        return list(caught.value.__notes__)

    [note] = asyncio.run(main(cancel=False))
    assert calls == 4
    assert "has no retries left of max=3" in note
    [note] = asyncio.run(main(cancel=True))
    assert "was cancelled" in note


def test_a_call_of_an_outer_scope_ends_no_inner_one(clock: VirtualClock) -> None:
    """Also where the outer one is left meanwhile."""
    seen: list[float | None] = []

    async def main() -> None:
        outer = retry_scope(name="outer")
        inside = asyncio.Event()

        async def task() -> None:
            async with retry_scope(max=1, timeout=60):
                await outer.acall(inside.wait)
                seen.append(remaining())

        async with outer:
            running = asyncio.create_task(task())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        inside.set()
        await running

    asyncio.run(main())
    assert seen == [60.0]


def test_shutting_down_and_cancelling_are_told_apart(clock: VirtualClock) -> None:
    """The note says which it was."""
    with retry_scope(name="mine") as scope:
        scope.cancel()
        with pytest.raises(ConnectionResetError) as caught:
            with_retry(Failing())()
    assert caught.value.__notes__[0].endswith("the scope mine was cancelled")
    shutdown()
    with pytest.raises(ConnectionResetError) as caught:
        with_retry(Failing())()
    assert caught.value.__notes__[0].endswith("retrywrap was shut down")


def test_a_cancelled_scope_that_is_over_cancels_nothing_later(clock: VirtualClock) -> None:
    """However its generator was closed; and no closed scope stays in the way of those that come."""

    def pages(name: str, count: int) -> Iterator[int]:
        with retry_scope(name=name, timeout=600) as scope:
            yield from range(count)
            scope.cancel()

    for _ in range(50):
        for _ in zip(pages("first", 1), pages("second", 5), strict=False):
            pass
    operation = Failing(3)
    assert with_retry(max=3)(operation)() == "ok"
    assert remaining() is None
    assert ambient.get() is PROCESS

    async def main() -> None:
        async with retry_scope() as scope:
            task = asyncio.create_task(later())
            await asyncio.sleep(0)
        scope.cancel()
        await task

    async def later() -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        operation = Failing(3)
        assert with_retry(max=3)(operation)() == "ok"

    asyncio.run(main())


def test_an_awaitable_begins_when_it_is_awaited(clock: VirtualClock) -> None:
    """What was given up between the call and the await was given up before."""
    saved = ConnectionResetError("saved")
    calls: list[str] = []

    @with_retry(max=1)
    def start(name: str) -> Any:
        async def work() -> None:
            calls.append(name)
            raise saved

        return work()

    async def main() -> None:
        started = [start("a"), start("b"), start("c")]
        for coroutine in started:
            with pytest.raises(ConnectionResetError):
                await coroutine

    asyncio.run(main())
    assert calls == ["a", "a", "b", "b", "c", "c"]


def test_what_an_inner_level_used_up_stays_known(clock: VirtualClock) -> None:
    """Also where a level above it ends for another reason, and puts its own note there."""
    leaf = Failing()

    def body(depth: int) -> Any:
        return recursive(depth - 1) if depth else leaf()

    recursive = with_retry(name="inner", max=1, nested="multiply", interval=10, timeout=15)(body)
    with pytest.raises(ConnectionResetError) as caught:
        with_retry(max=2, interval=1)(lambda: recursive(1))()
    assert leaf.calls == 2
    assert "nested refused" in caught.value.__notes__[-1]


def test_a_level_that_could_not_retry_hides_no_inner_one_that_did(clock: VirtualClock) -> None:
    """Where the scope has nothing left for a level of a recursion, what an inner one used up still counts."""
    calls: list[int] = []

    def body(depth: int) -> None:
        calls.append(depth)
        if depth:
            recursive(depth - 1)
        raise ConnectionResetError("gone")

    recursive = with_retry(max=1, interval=1, nested="multiply")(body)

    @with_retry(max=3, interval=1, name="outer")
    def outer() -> None:
        with retry_scope(max=1):
            recursive(1)

    with pytest.raises(ConnectionResetError) as caught:
        outer()
    assert calls == [1, 0, 0]
    assert "nested refused" in caught.value.__notes__[-1]


def test_a_plain_block_knows_what_was_retried_in_a_thread(clock: VirtualClock) -> None:
    """No note says that nothing was."""
    with pytest.raises(ConnectionResetError) as caught, ThreadPoolExecutor(1) as pool, retry_scope():
        pool.submit(with_retry(max=2)(Failing())).result()
    assert len(caught.value.__notes__) == 1


def test_a_large_group_is_looked_through(clock: VirtualClock) -> None:
    """What was given up counts, wherever in the group it stands."""
    calls = 0
    inner = with_retry(max=1)(Failing())

    @with_retry(max=2)
    def outer() -> None:
        nonlocal calls
        calls += 1
        errors: list[Exception] = [ConnectionResetError(str(number)) for number in range(200)]
        try:
            inner()
        except ConnectionResetError as error:
            errors.append(error)
        raise ExceptionGroup("all", errors)

    with pytest.raises(ExceptionGroup):
        outer()
    assert calls == 1
