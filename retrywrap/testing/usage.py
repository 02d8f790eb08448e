"""Who uses this kit, and how: its parts say so when they are used, and warn where they were made and never entered."""

from __future__ import annotations

import functools
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from inspect import isasyncgenfunction, isgeneratorfunction
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Never, TypeAlias, TypeVar

from retrywrap.decide.checks import shown
from retrywrap.run.kinds import is_async

__all__ = ["Giver", "ToEnter", "block", "listeners", "tell"]

T = TypeVar("T")
Begin: TypeAlias = "Callable[[], AbstractContextManager[Any]]"

listeners: list[Callable[[str], None]] = []
"""Called with the name of the part that is used."""


def tell(part: str) -> None:
    """Say that a part of the kit is used.

    Args:
        part: Its name, as users know it.
    """
    for listener in listeners:
        listener(part)


class ToEnter(ABC):
    """A context manager that does nothing before its ``with`` block, and says so where there is none.

    Args:
        shown: What was written to make it.
        lost: What did not come of it.
        depth: How many frames away that was.
    """

    _used = True  # also of one whose making failed

    def __init__(self, shown: str, lost: str, depth: int) -> None:
        self._shown, self._lost = shown, lost
        self._used = False
        frame = sys._getframe(depth)
        self._place = frame.f_code.co_filename, frame.f_lineno

    def __call__(self, function: Any) -> Any:
        """Decorate a function: whatever kind it is of, it runs inside the block, each time a new one.

        Raises:
            TypeError: It is none: of a class, no method would run inside.
        """
        self._used = True
        if isinstance(function, type) or not callable(function):
            raise TypeError(f"{self._shown} decorates functions; got {shown(function)}: use it on its methods")
        if isasyncgenfunction(function):
            around = _around_async_generator
        elif is_async(function):
            around = _around_coroutine
        elif isgeneratorfunction(function):
            around = _around_generator
        else:
            around = _around_function
        return functools.wraps(function)(around(self._anew, function))

    @abstractmethod
    def _anew(self) -> AbstractContextManager[Any]:
        """Return another one of the same."""

    def __del__(self) -> None:
        if not self._used:
            warnings.warn_explicit(
                f"{self._shown} was never entered, so that {self._lost}: a with statement does it",
                RuntimeWarning,
                *self._place,
            )


def _around_function(begin: Begin, run: Any) -> Any:
    def inside(*args: Any, **kwargs: Any) -> Any:
        with begin():
            return run(*args, **kwargs)

    return inside


def _around_coroutine(begin: Begin, run: Any) -> Any:
    async def inside(*args: Any, **kwargs: Any) -> Any:
        with begin():
            return await run(*args, **kwargs)

    return inside


def _around_generator(begin: Begin, run: Any) -> Any:
    def inside(*args: Any, **kwargs: Any) -> Any:
        with begin():
            return (yield from run(*args, **kwargs))

    return inside


def _around_async_generator(begin: Begin, run: Any) -> Any:
    async def inside(*args: Any, **kwargs: Any) -> Any:
        with begin():
            rounds = run(*args, **kwargs)
            try:
                step = rounds.__anext__()
                while True:  # as `yield from` does, which async generators do not have
                    try:
                        each = await step
                    except StopAsyncIteration:
                        return
                    try:
                        sent = yield each
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        step = rounds.athrow(error)
                    else:
                        step = rounds.asend(sent)
            finally:
                await rounds.aclose()

    return inside


class Giver(ToEnter):
    """One whose ``with`` statement gives another object: who takes it for that hears so."""

    if not TYPE_CHECKING:  # pragma: no branch - types know what is missing by themselves

        def __getattr__(self, name: str) -> Never:
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            if not name.startswith("_"):
                message += f"; a with statement gives what may have it: with {self._shown} as …:"
            raise AttributeError(message)


class _Block(Giver, AbstractContextManager[T], Generic[T]):
    """What a function that `block` decorates returns; it can be entered again when it is over."""

    def __init__(self, make: Callable[[], Iterator[T]], name: str, lost: str) -> None:
        super().__init__(f"{name}()", lost, 3)
        self._make = contextmanager(make)
        self._active: list[AbstractContextManager[T]] = []

    def _anew(self) -> AbstractContextManager[T]:
        return self._make()

    def __enter__(self) -> T:
        self._used = True
        active = self._make()
        entered = active.__enter__()
        self._active.append(active)
        return entered

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return self._active.pop().__exit__(kind, error, traceback)


def block(lost: str) -> Callable[[Callable[[], Iterator[T]]], Callable[[], _Block[T]]]:
    """Return the decorator by which a generator function makes context managers that warn where they are not entered.

    Args:
        lost: What does not come of them then.
    """

    def decorate(make: Callable[[], Iterator[T]]) -> Callable[[], _Block[T]]:
        @functools.wraps(make)
        def begin() -> _Block[T]:
            return _Block(make, make.__name__, lost)

        return begin

    return decorate
