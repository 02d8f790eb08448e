"""What kind of callable a thing is: partials, callable objects and descriptors looked through."""

from __future__ import annotations

import contextlib
import functools
import inspect
from types import FunctionType
from typing import Any

from retrywrap.classifiers.guard import tame_name
from retrywrap.decide.checks import shown

__all__ = ["PLAIN", "core", "is_async", "is_awaitable", "operation_name", "refuse"]

PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray, list, dict, tuple, set, frozenset})
"""Types of which it is known at one look that nobody awaits their objects, or uses them up."""


# The functions that contextlib's decorators put around a generator function all have one code.
_MAKERS: tuple[Any, ...] = (contextlib.contextmanager, contextlib.asynccontextmanager)
_GENERATES = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_MANAGERS = {make(iter).__code__ for make in _MAKERS}


def core(function: Any) -> Any:
    """Return what does the work: inside partials, and a callable object's own ``__call__``."""
    while isinstance(function, functools.partial):
        function = function.func
    if isinstance(function, type) or inspect.isroutine(function):
        return function
    return getattr(type(function), "__call__", function)  # noqa: B004 - not to test it, but to look at it


def is_async(function: Any) -> bool:
    """Whether calling it makes a coroutine."""
    if type(function) is FunctionType and not function.__dict__:  # then nobody has marked it
        return bool(function.__code__.co_flags & inspect.CO_COROUTINE)
    return inspect.iscoroutinefunction(core(function)) or inspect.iscoroutinefunction(function)


def is_awaitable(value: Any) -> bool:
    """Whether something can be awaited, as its class says; where that fails when it is asked, it cannot."""
    try:
        return hasattr(type(value), "__await__")
    except Exception:  # a metaclass may do anything, and its fault must not come out in place of the result
        return False


def operation_name(function: Any) -> str:
    """Return the module-qualified name, of the inner function for partials, of the class for callable objects."""
    while isinstance(function, functools.partial):
        function = function.func
    if not hasattr(function, "__qualname__"):
        function = type(function)
    module = getattr(function, "__module__", None)
    name = tame_name(str(function.__qualname__))
    return f"{tame_name(str(module))}.{name}" if module and module != "builtins" else name


def refuse(function: Any) -> None:
    """Raise TypeError for what cannot be retried by calling it again, saying what to do instead."""
    code = function.__code__ if type(function) is FunctionType else None
    if code is not None and not code.co_flags & _GENERATES and code not in _MANAGERS:
        return  # most are of this kind
    if isinstance(function, type) and issubclass(function, BaseException):
        raise TypeError(f"{operation_name(function)} is an exception type: write @with_retry(on={function.__name__})")
    if inspect.iscoroutine(function):
        raise TypeError(
            f"function must be something that can be called; got {shown(function)}: give the function itself"
        )
    inner = core(function)
    for check, kind in (
        (inspect.isasyncgenfunction, "an async generator"),
        (inspect.isgeneratorfunction, "a generator"),
    ):
        if check(inner) or check(function):
            raise TypeError(
                f"{operation_name(function)} is {kind} function: calling it again would replay what it has yielded "
                "already. Decorate the function that fetches one item or page, or retry a block inside it: "
                "for attempt in retry_scope(…): with attempt: …"
            )
    if getattr(function, "__code__", None) in _MANAGERS:
        raise TypeError(
            f"{operation_name(function)} makes a context manager, and making one never fails: what fails is entering "
            "it. Retry the function that it calls, or a block: for attempt in retry_scope(…): with attempt: …"
        )
    if isinstance(function, property | functools.cached_property | functools.partialmethod):
        kind = type(function).__name__
        raise TypeError(f"a {kind} cannot be called; put @with_retry below @{kind}, on the function itself")
    if not callable(function):
        hint = "parameters go by name, as in @with_retry(max=3)"
        raise TypeError(f"function must be something that can be called; got {shown(function)} ({hint})")
