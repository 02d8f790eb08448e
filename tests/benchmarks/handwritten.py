"""What one writes by hand: the measure of everything else."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["CALLS", "Attempts", "closure", "closure_async", "logging_loop", "loop", "loop_async"]

CALLS = 3  # of everybody: the first call, and two retries


def closure(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what one writes by hand around a function, without any retry."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception:
            raise

    return wrapper


def closure_async(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what one writes by hand around a coroutine function, without any retry."""

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except Exception:
            raise

    return wrapper


def loop(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the shortest retry of a function there is: no wait, no event, no judgement."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        for call in range(1, CALLS + 1):
            try:
                return function(*args, **kwargs)
            except ConnectionError:
                if call == CALLS:
                    raise
        raise AssertionError("unreachable")

    return wrapper


def loop_async(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the shortest retry of a coroutine function there is."""

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        for call in range(1, CALLS + 1):
            try:
                return await function(*args, **kwargs)
            except ConnectionError:
                if call == CALLS:
                    raise
        raise AssertionError("unreachable")

    return wrapper


def logging_loop(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `loop` with one line of structlog for each retry, as somebody in a hurry writes it."""
    import structlog  # here, because the time of an import is measured beside this module

    logger = structlog.get_logger("by hand")

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        for call in range(1, CALLS + 1):
            try:
                return function(*args, **kwargs)
            except ConnectionError as error:
                if call == CALLS:
                    raise
                logger.warning("retry", operation=function.__qualname__, attempt=call, error=repr(error))
        raise AssertionError("unreachable")

    return wrapper


class _Attempt:
    def __init__(self, last: bool) -> None:
        self.last = last
        self.done = False

    def __enter__(self) -> _Attempt:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> bool:
        if kind is None:
            self.done = True
            return False
        return not self.last and issubclass(kind, ConnectionError)


class Attempts:
    """The shortest attempts for a block: ``for attempt in Attempts(max=2, interval=0): with attempt: …``."""

    def __init__(self, max: int, interval: float) -> None:
        self.max = max
        self.interval = interval

    def __iter__(self) -> Iterator[_Attempt]:
        """Yield one context manager for each attempt, until one of them succeeds."""
        for retry in range(self.max + 1):
            attempt = _Attempt(retry == self.max)
            yield attempt
            if attempt.done:
                return
