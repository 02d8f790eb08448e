"""Who goes on first of those that wait at the same time, where time is virtual: whoever is due first.

Time may move on when all others have come to their waits. Nobody can know that of an event loop; so each waiter that
comes gives the others some turns of the loop more.
"""

from __future__ import annotations

import heapq
import itertools
import weakref
from collections.abc import Callable
from typing import Any

from retrywrap.decide.allowance import Allowance
from retrywrap.run.clock import under_trio, until_woken

__all__ = ["Turns"]

_TURNS = 20


class _Queue:
    """The waiters of one event loop."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, int, Callable[[], Any]]] = []
        self.left = 0
        self.driven = False

    def next(self) -> bool:
        """Let one turn pass, or the first waiter go on; return whether anybody is left."""
        if self.left:
            self.left -= 1
        elif self.waiting:
            self.left = _TURNS
            heapq.heappop(self.waiting)[2]()
        self.driven = bool(self.waiting)
        return self.driven


class Turns:
    """The waiters of all event loops that a virtual clock serves, each loop's by themselves."""

    def __init__(self) -> None:
        self._queues: weakref.WeakKeyDictionary[Any, _Queue] = weakref.WeakKeyDictionary()
        self._order = itertools.count()

    async def wait(self, due: float, limits: Allowance) -> None:
        """Wait until nobody on this loop is due earlier, or until `limits` is cancelled.

        Args:
            due: When, in virtual seconds.
            limits: What may be cancelled.
        """
        await (self._in_trio if under_trio() else self._in_asyncio)(due, limits)

    def _join(
        self, loop: Any, due: float, go_on: Callable[[], Any]
    ) -> tuple[_Queue, tuple[float, int, Callable[[], Any]]]:
        queue = self._queues.setdefault(loop, _Queue())
        entry = (due, next(self._order), go_on)
        heapq.heappush(queue.waiting, entry)
        queue.left = _TURNS
        return queue, entry

    async def _in_asyncio(self, due: float, limits: Allowance) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        event = asyncio.Event()

        def drive() -> None:
            if queue.next():
                loop.call_soon(drive)

        queue, entry = self._join(loop, due, event.set)
        if not queue.driven:
            queue.driven = True
            loop.call_soon(drive)
        try:
            await until_woken(limits, lambda: loop.call_soon_threadsafe(event.set), event.wait)
        finally:
            _leave(queue, entry)

    async def _in_trio(self, due: float, limits: Allowance) -> None:
        import trio

        event = trio.Event()
        token = trio.lowlevel.current_trio_token()

        async def drive() -> None:
            while queue.next():
                await trio.lowlevel.checkpoint()

        queue, entry = self._join(token, due, event.set)
        if not queue.driven:
            queue.driven = True
            trio.lowlevel.spawn_system_task(drive)
        try:
            await until_woken(limits, lambda: token.run_sync_soon(event.set), event.wait)
        finally:
            _leave(queue, entry)


def _leave(queue: _Queue, entry: tuple[float, int, Callable[[], Any]]) -> None:
    """Forget a waiter that was cancelled; one that went on is gone already."""
    if entry in queue.waiting:
        queue.waiting.remove(entry)
        heapq.heapify(queue.waiting)
