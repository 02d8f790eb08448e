"""Event loops and what runs beside them: task groups, timeouts, eager tasks, executors, trio, anyio, uvloop, gevent."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hurry import ROUNDS

from retrywrap import Registry, configure, retry_scope, with_retry
from retrywrap.decide.allowance import PROCESS
from retrywrap.run.ambient import ambient
from retrywrap.testing import VirtualClock

TASKS = 50 * ROUNDS


def flaky(registry: Registry, **policy: Any) -> Callable[[int, list[int]], Coroutine[Any, Any, int]]:
    """Return a coroutine function that fails so many times as its number says, modulo five."""

    @with_retry(**{"max": 3, "interval": 0.001, "registry": registry, "name": "op", **policy})
    async def operation(number: int, calls: list[int]) -> int:
        calls.append(number)
        if len(calls) <= number % 5:
            raise ConnectionResetError(str(number))
        return number

    return operation


async def guarded(
    operation: Callable[[int, list[int]], Coroutine[Any, Any, int]], number: int, came: list[int]
) -> None:
    """Note what an operation came to: its number; where it gave up with its own error, that as a negative one."""
    try:
        came.append(await operation(number, []))
    except ConnectionResetError as error:
        came.append(-int(error.args[0]))


EXPECTED = sorted(-number if number % 5 == 4 else number for number in range(TASKS))


def check(registry: Registry, tasks: int = TASKS) -> None:
    """Compare the counts with what `flaky` functions of that many numbers come to."""
    ways = [number % 5 for number in range(tasks)]
    stats = registry.stats("op")
    assert (stats.errors, stats.retries) == (sum(ways), sum(min(way, 3) for way in ways))
    assert (stats.recovered, stats.exhausted) == (sum(0 < way < 4 for way in ways), ways.count(4))


def factories() -> list[Any]:
    """Return how event loops are made here: with eager tasks where Python has them, uvloop's where it is there."""
    found: list[Any] = [pytest.param(asyncio.new_event_loop, id="asyncio")]
    eager = getattr(asyncio, "eager_task_factory", None)
    if eager is not None:

        def made() -> asyncio.AbstractEventLoop:
            loop = asyncio.new_event_loop()
            loop.set_task_factory(eager)
            return loop

        found.append(pytest.param(made, id="eager"))
    try:
        import uvloop
    except ImportError:
        return found
    return [*found, pytest.param(uvloop.new_event_loop, id="uvloop")]


@pytest.mark.parametrize("make", factories())
def test_tasks_of_a_group(make: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Each has its own attempts; what gives up comes out of the group, by its type, with its note."""
    configure(events=False)
    registry, came = Registry(), []  # type: tuple[Registry, list[int]]
    operation = flaky(registry)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(TASKS):
                group.create_task(guarded(operation, number, came))
        assert sorted(came) == EXPECTED
        check(registry)
        notes: list[str] = []
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(operation(4, []))
                group.create_task(asyncio.sleep(3600))
        except* ConnectionResetError as errors:
            notes = [error.__notes__[0] for error in errors.exceptions]
        assert len(notes) == 1
        assert "op exhausted after 4 attempts" in notes[0]

    with asyncio.Runner(loop_factory=make) as runner:
        runner.run(main())


@pytest.mark.parametrize("make", factories())
def test_a_group_cancels_what_waits(make: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Where one task of a group fails, the waits of all others end at once: one end each, nobody is left waiting."""
    configure(events=False)
    registry = Registry()
    operation = flaky(registry, interval=3600)

    async def fail() -> None:
        await asyncio.sleep(0.02)
        raise LookupError

    async def main() -> None:
        with pytest.RaisesGroup(LookupError):
            async with asyncio.TaskGroup() as group:
                for _ in range(TASKS):
                    group.create_task(operation(4, []))
                group.create_task(fail())

    with asyncio.Runner(loop_factory=make) as runner:
        runner.run(main())
    assert (registry.stats().errors, registry.stats().cancelled) == (TASKS, TASKS)
    assert PROCESS._wakers == set()


@pytest.mark.parametrize("make", factories())
def test_a_timeout_around_it(make: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """`asyncio.timeout` ends a wait in a scope, whose limits do not leak into other tasks."""
    configure(events=False)
    registry = Registry()
    operation = flaky(registry, interval=3600)

    async def main() -> None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01), retry_scope(max=9) as scope:
                    await asyncio.gather(operation(4, []), scope.acall(asyncio.sleep, 0))
            assert list(ambient.get().links()) == [PROCESS]

    with asyncio.Runner(loop_factory=make) as runner:
        runner.run(main())
    assert (registry.stats().errors, registry.stats().cancelled) == (3, 3)


def test_threads_beside_a_loop() -> None:
    """`asyncio.to_thread` takes the scope along; an executor does where the function is carried; both count exactly."""
    configure(events=False)
    registry = Registry()

    @with_retry(max=1, interval=0, registry=registry, name="op")
    def operation() -> None:
        raise ConnectionResetError("gone")

    async def main() -> None:
        async with retry_scope(max=5) as scope:
            loop = asyncio.get_running_loop()
            calls = [asyncio.to_thread(operation) for _ in range(4)]
            calls += [loop.run_in_executor(None, scope.carry(operation)) for _ in range(4)]  # type: ignore[arg-type]  # futures, too
            errors = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(error) for error in errors] == [ConnectionResetError] * 8
            assert (scope.retry_count, scope.error_count) == (5, 13)
            assert await loop.run_in_executor(None, ambient.get) is PROCESS

    asyncio.run(main())
    assert registry.stats("op")[:2] == (13, 5)


def test_trio_nurseries_and_cancel_scopes(clock: VirtualClock) -> None:
    """Tasks of a nursery count exactly; `move_on_after` ends a wait; what gives up comes out of the nursery."""
    trio: Any = pytest.importorskip("trio")
    configure(events=False)
    registry, waiting, came = Registry(), Registry(), []  # type: tuple[Registry, Registry, list[int]]
    operation = flaky(registry)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(TASKS):
                nursery.start_soon(guarded, operation, number, came)
        assert sorted(came) == EXPECTED
        check(registry)
        with pytest.RaisesGroup(ConnectionResetError):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(operation, 4, [])
                nursery.start_soon(trio.sleep_forever)

    trio.run(main)

    async def move_on() -> None:
        with trio.move_on_after(0.01) as scope:
            await flaky(waiting, interval=3600)(4, [])
        assert scope.cancelled_caught

    clock.__exit__(None, None, None)  # which is real here
    try:
        trio.run(move_on)
    finally:
        clock.__enter__()
    assert (waiting.stats().errors, waiting.stats().cancelled) == (1, 1)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_anyio(backend: str) -> None:
    """Its task groups and cancel scopes, over both event loops; threads that it starts are carried into the scope."""
    anyio: Any = pytest.importorskip("anyio")
    pytest.importorskip(backend)
    configure(events=False)
    registry, waiting, came = Registry(), Registry(), []  # type: tuple[Registry, Registry, list[int]]
    operation = flaky(registry)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for number in range(TASKS):
                group.start_soon(guarded, operation, number, came)
        with anyio.move_on_after(0.01) as scope:
            await flaky(waiting, interval=3600)(4, [])
        assert scope.cancelled_caught
        async with retry_scope(max=2) as around:
            with pytest.raises(ConnectionResetError):
                await anyio.to_thread.run_sync(with_retry(max=9, interval=0)(_gone))
            assert around.retry_count == 2

    anyio.run(main, backend=backend)
    assert sorted(came) == EXPECTED
    check(registry)
    assert (waiting.stats().errors, waiting.stats().cancelled) == (1, 1)


def _gone() -> None:
    raise ConnectionResetError("gone")


GREEN = """
import sys
patched = sys.argv[1] == "patched"
if patched:
    from gevent import monkey
    monkey.patch_all()
import gevent, threading, time
import retrywrap
from retrywrap import Registry, configure, registry, retry_scope, with_retry
configure(events=False)
mine, order = Registry(), []

@with_retry(max=3, interval=0.01, registry=mine, name="op")
def operation(number, calls):
    calls.append(number)
    gevent.sleep(0)
    if len(calls) <= number % 5:
        raise ConnectionResetError(str(number))
    return number

def guarded(number):
    with retry_scope(max=9) as scope:
        try:
            return operation(number, [])
        except ConnectionResetError as error:
            assert error.args == (str(number),) and scope.retry_count == 3
            return -1

began = time.monotonic()
jobs = [gevent.spawn(guarded, number) for number in range(50)]
gevent.joinall(jobs)
took = time.monotonic() - began
assert [job.value for job in jobs] == [-1 if n % 5 == 4 else n for n in range(50)], [job.value for job in jobs]
stats = mine.stats("op")
assert stats[:2] == (100, 90) and (stats.recovered, stats.exhausted) == (30, 10), stats
assert {record.thread for record in mine.errors} != {"MainThread"} or not patched
if patched:
    ticks = []
    waiter = gevent.spawn(with_retry(interval=3600, registry=mine)(operation.__wrapped__), 4, [])
    for _ in range(20):
        gevent.sleep(0.005)
        ticks.append(1)
    assert not waiter.ready() and len(ticks) == 20
    retrywrap.shutdown()
    waiter.join(10)
    assert type(waiter.exception) is ConnectionResetError, waiter.exception
    killed = Registry()
    retrywrap.testing.reset()
    waiter = gevent.spawn(with_retry(interval=3600, registry=killed)(operation.__wrapped__), 4, [])
    gevent.sleep(0.05)
    waiter.kill(timeout=10)
    assert waiter.dead and killed.stats().cancelled == 1, killed.stats()
print("overlapped" if took < 0.6 else "one by one")
"""


@pytest.mark.parametrize(("how", "waits"), [("patched", "overlapped"), ("plain", "one by one")])
def test_gevent(how: str, waits: str) -> None:
    """Greenlets count exactly, each under its own scope; where gevent has patched the standard library, waits yield."""
    pytest.importorskip("gevent")
    done = subprocess.run(
        [sys.executable, "-c", "import retrywrap.testing\n" * (how == "plain") + GREEN, how],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")},
    )
    assert (done.returncode, done.stdout) == (0, f"{waits}\n"), done.stderr


def test_an_interpreter_inside() -> None:
    """A subinterpreter can import and use it, or says clearly that it cannot; neither one disturbs the other."""
    pytest.importorskip("_xxsubinterpreters" if sys.version_info < (3, 13) else "_interpreters")
    program = """
import sys
name = "_xxsubinterpreters" if sys.version_info < (3, 13) else "_interpreters"
interpreters = __import__(name)
import retrywrap
older = sys.version_info < (3, 13)  # 3.12 crashes where one had a GIL of its own, in pure Python, too
inside = interpreters.create(**{"isolated": False} if older else {})
code = '''
try:
    import retrywrap
    retrywrap.configure(events=False)
    calls = []
    @retrywrap.with_retry(max=2, interval=0)
    def operation():
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionResetError
        return retrywrap.registry.error_count
    print("inside", operation())
except ImportError as error:
    print("inside", type(error).__name__, "interpreter" in str(error))
'''
raised = interpreters.run_string(inside, code)
interpreters.destroy(inside)
print("outside", retrywrap.registry.error_count, retrywrap.with_retry(lambda: 1)(), raised is None, flush=True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    inside, outside = done.stdout.splitlines()
    assert inside in ("inside 2", "inside ImportError True"), done.stderr
    assert outside == "outside 0 1 True"
    assert done.returncode == 0
