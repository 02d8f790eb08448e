"""What stands for the awaitable that a sync function returned: awaited, or entered as an async context manager."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, TypeAlias

__all__ = ["retried_awaitable"]

Attempt: TypeAlias = "Callable[..., Coroutine[Any, Any, Any]]"
Retried: TypeAlias = "Callable[[Attempt], Coroutine[Any, Any, Any]]"


def retried_awaitable(first: Any, call: Callable[..., Any], retried: Retried) -> Any:
    """Return what retries a sync function's awaitable: the first one is there already, later ones come from new calls.

    Args:
        first: The awaitable.
        call: The function that returned it.
        retried: Given an attempt (a coroutine function of the call's arguments), returns a coroutine that retries it.

    Returns:
        A coroutine; where the awaitable is an async context manager, too, an object that is both.
    """
    made = [first]

    def make(*arguments: Any, **named: Any) -> Any:
        return made.pop() if made else call(*arguments, **named)

    if hasattr(type(first), "__aenter__"):
        return _Opening(first, make, retried)
    return retried(_awaiting(make))


def _awaiting(make: Callable[..., Awaitable[Any]]) -> Attempt:
    async def attempt(*arguments: Any, **named: Any) -> Any:
        return await make(*arguments, **named)

    return attempt


class _Opening(Coroutine[Any, Any, Any]):
    """Retries ``await session.get(…)`` and ``async with session.get(…) as response:`` alike, as HTTP clients have them.

    In ``async with``, an attempt is the call and the entering; what the block does is no part of it.
    """

    def __init__(self, first: Any, make: Callable[..., Any], retried: Retried) -> None:
        self._first = first
        self._make = make
        self._retried = retried
        self._whole: Coroutine[Any, Any, Any] | None = None
        self._entered: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._first, name)

    def _coroutine(self) -> Coroutine[Any, Any, Any]:
        whole = self._whole
        if whole is None:
            whole = self._whole = self._retried(_awaiting(self._make))
        return whole

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coroutine().__await__()

    def send(self, value: Any) -> Any:
        return self._coroutine().send(value)

    def throw(self, *error: Any) -> Any:
        return self._coroutine().throw(*error)

    def close(self) -> None:
        if self._whole is not None:
            self._whole.close()
        elif hasattr(self._first, "close"):
            self._first.close()

    async def __aenter__(self) -> Any:
        try:
            return await self._retried(self._enter)
        except BaseException:
            await self._leave(None, None, None)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Any:
        return await self._leave(kind, error, traceback)

    async def _enter(self, *arguments: Any, **named: Any) -> Any:
        await self._leave(None, None, None)  # what was entered, and then judged a failure by results=
        manager = self._make(*arguments, **named)
        value = await type(manager).__aenter__(manager)
        self._entered = manager
        return value

    async def _leave(self, *error: Any) -> Any:
        manager, self._entered = self._entered, None
        return None if manager is None else await type(manager).__aexit__(manager, *error)
