"""How numbers, seconds and iterables of them are read from what a user gave, and how a refused value is shown."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Collection, Iterable
from typing import Any, NoReturn, TypeVar, cast

from retrywrap.classifiers.guard import type_name
from retrywrap.decide.waits import Jitter
from retrywrap.locks import importing

__all__ = [
    "answering",
    "check_bool",
    "check_clock",
    "check_jitter",
    "check_name",
    "check_number",
    "check_reiterable",
    "check_seconds",
    "is_timedelta",
    "refuse_unknown",
    "safe",
    "shown",
    "shown_path",
    "shown_seconds",
]

F = TypeVar("F", bound=Callable[..., Any])

_LONGEST = 80


def safe(text: str) -> str:
    """Return a text as it may be told: redacted, on one line, bounded. What does that is loaded at its first use."""
    with importing:
        from retrywrap.classifiers.redact import safe_text
    return safe_text(text)


def shown(value: object) -> str:
    """Return a value's repr for a message: redacted, on one line, bounded, and never raising."""
    try:
        text = safe(repr(value))  # a partial's shows the arguments that it holds
    except Exception:  # a repr that raises, or an interpreter at its end, must not hide the message that needs it
        text = f"<{type_name(type(value))}>"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def refuse_unknown(function: str, unknown: Iterable[str], known: Collection[str]) -> NoReturn:
    """Refuse parameters that do not exist, with what was meant.

    Args:
        function: What was called.
        unknown: The names that were tried, at least one.
        known: The names that exist.

    Raises:
        TypeError: Always.
    """
    with importing:
        from retrywrap.decide.naming import unknown_parameter
    raise TypeError(f"{function}() {unknown_parameter(min(unknown), known)}")


def answering(function: F) -> F:
    """Decorate a function: what it has no parameter for is answered with what was meant, before anything is missed.

    Args:
        function: Its parameters all have names.
    """
    code = function.__code__
    known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        unknown = kwargs.keys() - known
        if unknown:
            refuse_unknown(function.__name__, unknown, known)
        return function(*args, **kwargs)

    return cast("F", checked)


def shown_path(path: object) -> str:
    """Return a path for a message, whole, since its end tells most: redacted, on one line, and never raising."""
    try:
        return safe(repr(str(path)))
    except Exception:  # as above
        return shown(path)


def check_name(value: object, name: str = "name") -> str:
    """Return what somebody called an operation as it is recorded and shown: redacted, on one line, bounded.

    Args:
        value: A str.
        name: The parameter that it was given for.

    Raises:
        TypeError: It is of another type.
    """
    if not issubclass(type(value), str):
        raise TypeError(f"{name} must be a str; got {shown(value)}")
    return safe(value)  # type: ignore[arg-type]  # a str, by the type itself


def shown_seconds(seconds: float) -> str:
    """Return seconds for a message: to three digits, no finer than milliseconds."""
    if seconds == 0:
        return "0"
    return f"{seconds:.0f}" if 100 <= seconds < 1e9 else f"{round(seconds, 3):.3g}"


def is_timedelta(value: object) -> bool:
    """Return whether a value is a `datetime.timedelta`, without importing `datetime` (2 ms) to find out."""
    datetime = sys.modules.get("datetime")
    return datetime is not None and isinstance(value, datetime.timedelta)


def check_seconds(value: Any, name: str) -> float:
    """Return a number of seconds as a float.

    Args:
        value: An int, a float or a `datetime.timedelta`.
        name: The parameter that it was given for.

    Raises:
        TypeError: It is of another type (a bool is not a number of seconds).
        ValueError: It is negative, NaN, infinite, or too large for a float.
    """
    kind = type(value)
    if kind is float and 0.0 <= value < math.inf:  # by far the most frequent
        return float(value) + 0.0  # makes 0.0 of -0.0
    number = value.total_seconds() if is_timedelta(value) else value
    expected = f"{name} must be a finite number of seconds (an int, a float or a timedelta), 0 or more"
    return _check(number, 0.0, f"{expected}; got {shown(value)}")


def check_number(value: Any, name: str, least: float) -> float:
    """Return a finite number as a float.

    Args:
        value: An int or a float.
        name: The parameter that it was given for.
        least: The least number that is allowed.

    Raises:
        TypeError: It is of another type.
        ValueError: It is less, NaN, infinite, or too large for a float.
    """
    return _check(value, least, f"{name} must be a finite number, {least:g} or more; got {shown(value)}")


def check_clock(value: Any, name: str = "now") -> None:
    """Check a moment that a monotonic clock told.

    Args:
        value: Its seconds.
        name: The parameter that it was given for.

    Raises:
        TypeError: It is no int and no float.
        ValueError: It is NaN or infinite.
    """
    if type(value) is not float or not -math.inf < value < math.inf:
        _check(value, -math.inf, f"{name} must be a clock's seconds, a finite number; got {shown(value)}")


def check_bool(value: object, name: str) -> bool:
    """Return a bool.

    Raises:
        TypeError: It is of another type.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False; got {shown(value)}")
    return value


def _check(value: Any, least: float, message: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(message)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (least <= number < math.inf and number != -math.inf):
        raise ValueError(message)
    return number + 0.0  # makes 0.0 of -0.0


def check_jitter(jitter: Any) -> Jitter:
    """Return the jitter that was asked for.

    Raises:
        TypeError: It is no string, number or None.
        ValueError: It is a string that is not known, or a ratio outside (0, 1].
    """
    message = f'jitter must be "full", "equal", None, or a ratio above 0 and at most 1; got {shown(jitter)}'
    if jitter is None:
        return None
    if isinstance(jitter, str):
        if jitter not in ("full", "equal"):
            raise ValueError(message)
        return "full" if jitter == "full" else "equal"
    ratio = _check(jitter, 0.0, message)
    if not 0.0 < ratio <= 1.0:
        raise ValueError(message)
    return ratio


def check_reiterable(value: Any, name: str) -> Iterable[Any]:
    """Return a value that can be iterated more than once.

    Raises:
        TypeError: It is no iterable of seconds, has no order, or is an iterator.
    """
    expected = f"{name} must be seconds, a backoff such as exponential(0.1), or a re-iterable of seconds"
    if isinstance(value, str | bytes | bytearray | memoryview | dict | set | frozenset | type):
        raise TypeError(f"{expected}; got {shown(value)}")
    try:
        first, second = iter(value), iter(value)
    except TypeError:
        raise TypeError(f"{expected}; got {shown(value)}") from None
    if first is value or first is second:
        raise TypeError(
            f"{expected}; got {shown(value)}, an iterator, which would be empty for the second operation: "
            f"give list(…) of it, or an object whose __iter__ makes a new iterator each time"
        )
    iterable: Iterable[Any] = value
    return iterable
