"""Arguments that a first attempt uses up: a retry would see them empty, and so would do the wrong thing in silence."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Mapping
from types import CoroutineType
from typing import Any

from wrapt import FunctionWrapper

__all__ = ["spent_argument"]


def spent_argument(arguments: tuple[Any, ...], named: Mapping[str, Any], spec: object = None) -> str | None:
    """Return a description of the first argument that a failed attempt may have used up; None where there is none.

    The object whose own method is retried is none, nor is a database cursor, which its next query fills again.

    A generator or coroutine that was not begun, and a file at its beginning, are as good as new. Of other iterators
    nobody can tell.
    """
    for place, value in [*enumerate(arguments, 1), *named.items()]:
        if _is_spent(value) and not (place == 1 and _has_method(value, spec)):
            return f"argument {place!r} is a one-shot {type(value).__name__}"
    return None


def _is_spent(value: Any) -> bool:
    kind = type(value)
    if kind is CoroutineType:
        return inspect.getcoroutinestate(value) != inspect.CORO_CREATED
    if kind.__module__ == "tempfile" and hasattr(value, "file"):  # a named temporary file stands for its file
        value = value.file
        kind = type(value)
    if not (hasattr(kind, "__next__") or hasattr(kind, "__anext__")):
        return False
    if hasattr(kind, "execute"):
        return False
    if isinstance(value, Generator):
        return inspect.isgenerator(value) and inspect.getgeneratorstate(value) != inspect.GEN_CREATED
    if hasattr(kind, "readable"):
        return _is_read(value)
    return True


def _is_read(file: Any) -> bool:
    """Whether a file that can be read stands anywhere but at its beginning."""
    try:
        return bool(file.readable()) and not (file.seekable() and file.tell() == 0)
    except (OSError, ValueError):  # closed by the failed attempt: a retry would fail on it anyway, and say so
        return False


def _has_method(value: Any, spec: object) -> bool:
    """Whether the decorated function of this spec is a method of the object's class."""
    members = [member for cls in type(value).__mro__ for member in vars(cls).values()]
    return any(
        isinstance(member, FunctionWrapper) and getattr(member, "_self_spec", None) is spec for member in members
    )
