"""Time and chance: now, the epoch, random numbers, and the two ways to wait. One object, replaced whole in tests."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from retrywrap.decide.allowance import Allowance

__all__ = [
    "REAL",
    "Clock",
    "current",
    "enable",
    "enabled",
    "limited",
    "replace",
    "under_event_loop",
    "under_trio",
    "until_woken",
]


def under_trio() -> bool:
    """Whether the caller runs in a trio task."""
    trio: Any = sys.modules.get("trio")
    if trio is None:
        return False
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return False
    return True


def under_event_loop() -> bool:
    """Whether the caller runs in an event loop, which a blocking wait would stop."""
    events: Any = sys.modules.get("asyncio.events")
    return (events is not None and events._get_running_loop() is not None) or ("trio" in sys.modules and under_trio())


class Clock:
    """The real time."""

    def now(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()

    def epoch(self) -> float:
        """Return the seconds since the epoch at which `now` was 0."""
        return time.time() - time.monotonic()

    def random(self) -> float:
        """Return a number in [0, 1)."""
        return random.random()

    def sleep(self, seconds: float, limits: Allowance) -> None:
        """Block for so many seconds, or until `limits` is cancelled.

        A bare lock does the waiting, because releasing one is all that a signal handler may safely do.
        """
        lock = threading.Lock()
        lock.acquire()

        def wake() -> None:
            if lock.locked():
                lock.release()

        try:
            limits.add_waker(wake)
            if not limits.cancelled:
                lock.acquire(timeout=min(seconds, threading.TIMEOUT_MAX))
        finally:
            limits.remove_waker(wake)

    async def asleep(self, seconds: float, limits: Allowance) -> None:
        """Let other tasks run for so many seconds, or until `limits` is cancelled."""
        wait = _trio_wait if under_trio() else _asyncio_wait
        await wait(seconds, limits)


async def _asyncio_wait(seconds: float, limits: Allowance) -> None:
    import asyncio

    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def finish() -> None:
        if not done.done():
            done.set_result(None)

    handle = loop.call_later(seconds, finish)
    try:
        await until_woken(limits, lambda: loop.call_soon_threadsafe(finish), lambda: done)
    finally:
        handle.cancel()


async def _trio_wait(seconds: float, limits: Allowance) -> None:
    import trio

    event = trio.Event()
    token = trio.lowlevel.current_trio_token()
    with trio.move_on_after(seconds):
        await until_woken(limits, lambda: token.run_sync_soon(event.set), event.wait)


async def until_woken(limits: Allowance, wake: Callable[[], Any], wait: Callable[[], Any]) -> None:
    """Wait, unless `limits` is cancelled, and have `wake` called when it is.

    Args:
        limits: What may be cancelled.
        wake: Ends the wait; any thread may call it.
        wait: Returns what is to be awaited.
    """
    try:
        limits.add_waker(wake)
        if not limits.cancelled:
            await wait()
    finally:
        limits.remove_waker(wake)


@asynccontextmanager
async def limited(seconds: float) -> AsyncIterator[None]:
    """Limit what runs inside to so many real seconds.

    Raises:
        TimeoutError: The time was over; what ran inside was cancelled.
    """
    text = f"the attempt took longer than {seconds:.3g} s"
    if under_trio():
        import trio

        with trio.move_on_after(seconds) as scope:
            yield
        if scope.cancelled_caught:
            raise TimeoutError(text)
        return
    import asyncio

    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if limit.expired() and not error.args:
            error.args = (text,)
        raise


REAL = Clock()
"""The real time, which is in force unless a test has replaced it."""

_current = REAL


_enabled = True


def enabled() -> bool:
    """Return whether operations may be retried at all."""
    return _enabled


def enable(on: bool) -> bool:
    """Switch all retrying on or off, in every thread; return what it was."""
    global _enabled
    before, _enabled = _enabled, on
    return before


def current() -> Clock:
    """Return the clock in force."""
    return _current


def replace(clock: Clock) -> Clock:
    """Put another clock in force, for every thread; return the one before."""
    global _current
    before, _current = _current, clock
    return before
