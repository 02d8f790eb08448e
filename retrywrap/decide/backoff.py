"""Backoffs: re-iterables of the seconds to wait before each retry. Pure: no clock, and random numbers are passed in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, final

from retrywrap.decide import waits as formulas
from retrywrap.decide.checks import (
    answering,
    check_jitter,
    check_number,
    check_reiterable,
    check_seconds,
    is_timedelta,
    shown,
)
from retrywrap.decide.waits import LARGEST, Jitter, Random

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = [
    "HINT_SLACK",
    "Backoff",
    "as_backoff",
    "check_wait",
    "clamp_hint",
    "decorrelated",
    "exponential",
    "fibonacci",
    "fixed",
    "linear",
]

HINT_SLACK = 5.0
"""Seconds by which a server's hint may lengthen a wait. Source: the AWS SDKs' standard retry mode 2.1."""

Seconds: TypeAlias = "int | float | timedelta"
Interval: TypeAlias = "Seconds | Backoff | Iterable[Seconds]"


@final
class Backoff:
    """An immutable, re-iterable sequence of waits in seconds, usually without an end; its end means giving up.

    Each iteration starts afresh, so that one backoff serves any number of operations, threads and tasks at once. Made
    by `fixed`, `linear`, `exponential`, `decorrelated` and `fibonacci`, and combined:

    >>> from itertools import islice
    >>> list(islice(fixed(1).take(2).then(exponential(5, cap=20, jitter=None)), 6))
    [1.0, 1.0, 5.0, 10.0, 20.0, 20.0]
    >>> (fixed(2) * 3 + fibonacci(0.5)).capped(8)
    (fixed(2) * 3 + fibonacci(0.5, cap=60)).capped(8)
    """

    __slots__ = ("_arguments", "_kind")

    _kind: str
    _arguments: tuple[Any, ...]

    def __init__(self) -> None:
        raise TypeError("make a Backoff with fixed, linear, exponential, decorrelated or fibonacci")

    def waits(self, random: Random) -> Iterator[float]:
        """Return a fresh iterator over the waits.

        Args:
            random: Returns numbers in [0, 1); called once for each spreading of each wait.

        Raises:
            ValueError: While iterating: a user's own iterable yielded something that is no wait.
        """
        return _WAITS[self._kind](random, *self._arguments)

    def __iter__(self) -> Iterator[float]:
        from random import random  # here, because the import takes 1 ms, and the machine brings its own

        return self.waits(random)

    def __add__(self, other: Backoff) -> Backoff:
        """Return the element-wise sum; it ends with the shorter of the two."""
        if not isinstance(other, Backoff):
            return NotImplemented
        return _make("sum", self, other)

    def __mul__(self, factor: float) -> Backoff:
        """Return every wait times ``factor`` (0 or more)."""
        if isinstance(factor, bool) or not isinstance(factor, int | float):
            return NotImplemented
        return _make("scaled", self, check_number(factor, "factor", 0.0))

    __rmul__ = __mul__

    def then(self, following: Interval) -> Backoff:
        """Return these waits, followed by others.

        Args:
            following: Whatever ``interval`` may be: seconds, a backoff, a re-iterable of seconds.

        Raises:
            ValueError: This backoff never ends, so that the others would never come: use `take` first.
        """
        if self._endless():
            raise ValueError(f"then() would never be reached: {shown(self)} has no end; put .take(n) before it")
        return _make("then", self, as_backoff(following, "following"))

    def take(self, retries: int) -> Backoff:
        """Return the first waits only; after them it means giving up.

        Args:
            retries: How many waits; 0 or more.
        """
        if isinstance(retries, bool) or not isinstance(retries, int):
            raise TypeError(f"retries must be an int; got {shown(retries)}")
        if not 0 <= retries <= sys.maxsize:
            raise ValueError(f"retries must be between 0 and {sys.maxsize}; got {shown(retries)}")
        return _make("take", self, int(retries))

    def capped(self, seconds: Seconds) -> Backoff:
        """Return the waits with none longer than ``seconds``, jitter included."""
        return _make("capped", self, check_seconds(seconds, "seconds"))

    def jittered(self, jitter: Jitter = "full") -> Backoff:
        """Return the waits spread at random: ``"full"``, ``"equal"``, or a ratio (see `exponential`)."""
        jitter = check_jitter(jitter)
        return self if jitter is None else _make("jittered", self, jitter)

    def draws_linearly(self) -> bool:
        """Return whether each wait is linear in each random number it draws, so that 0.5 for all gives its mean."""
        return self._kind not in ("decorrelated", "capped") and all(
            inner.draws_linearly() for inner in self._arguments if isinstance(inner, Backoff)
        )

    def _endless(self) -> bool:
        """Whether it surely has no end."""
        if self._kind in ("take", "listed", "given"):
            return False
        enough = any if self._kind == "then" else all
        return enough(inner._endless() for inner in self._arguments if isinstance(inner, Backoff))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Backoff):
            return NotImplemented
        return self._kind == other._kind and self._arguments == other._arguments

    def __hash__(self) -> int:
        return hash((self._kind, self._arguments))

    def __repr__(self) -> str:
        return _expression(self._kind, self._arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return _make, (self._kind, *self._arguments)

    def __copy__(self) -> Backoff:
        return self

    def __deepcopy__(self, memo: object) -> Backoff:
        return self

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Backoff is immutable: make another one instead of changing {shown(self)}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Backoff is immutable: make another one instead of changing {shown(self)}")


@answering
def fixed(seconds: Seconds) -> Backoff:
    """Return a backoff that always waits exactly ``seconds``.

    Args:
        seconds: An int, a float or a `datetime.timedelta`, finite, 0 or more.
    """
    return _make("fixed", check_seconds(seconds, "seconds"))


@answering
def linear(start: Seconds, step: Seconds | None = None, *, cap: Seconds = 60.0) -> Backoff:
    """Return a backoff that waits ``min(cap, start + n·step)``, n counted from 0.

    Args:
        start: Seconds before the first retry.
        step: Seconds added for each further one; None: ``start`` again.
        cap: Seconds that no wait exceeds.
    """
    first = check_seconds(start, "start")
    return _make("linear", first, first if step is None else check_seconds(step, "step"), check_seconds(cap, "cap"))


@answering
def exponential(base: Seconds, *, cap: Seconds = 60.0, factor: float = 2.0, jitter: Jitter = "full") -> Backoff:
    """Return a backoff whose waits grow as ``e = min(cap, base·factorⁿ)``, n counted from 0, spread by jitter.

    Sources: "Exponential Backoff And Jitter" (AWS Architecture Blog) for full and equal jitter; gRPC's connection
    backoff for a ratio.

    Args:
        base: Seconds before the first retry, without jitter.
        cap: Seconds that no wait exceeds. As in gRPC, a ratio spreads the wait after that, up to ``cap·(1 + ratio)``;
            `Backoff.capped` cuts this too.
        factor: What each wait is multiplied with to give the next; at least 1.
        jitter: With U uniform in [0, 1): ``"full"``: U·e; ``"equal"``: e/2 + U·e/2; a ratio r in (0, 1]:
            e·uniform(1-r, 1+r), gRPC's is 0.2; None: e itself.
    """
    return _make(
        "exponential",
        check_seconds(base, "base"),
        check_seconds(cap, "cap"),
        check_number(factor, "factor", 1.0),
        check_jitter(jitter),
    )


@answering
def decorrelated(base: Seconds, *, cap: Seconds = 60.0) -> Backoff:
    """Return a backoff of decorrelated jitter: ``s = min(cap, uniform(base, 3·s))``, s being ``base`` at first.

    Source: "Exponential Backoff And Jitter" (AWS Architecture Blog).

    Args:
        base: Seconds that every wait lasts at least (up to the cap), and the first at most three times.
        cap: Seconds that no wait exceeds.
    """
    return _make("decorrelated", check_seconds(base, "base"), check_seconds(cap, "cap"))


@answering
def fibonacci(base: Seconds, *, cap: Seconds = 60.0, jitter: Jitter = None) -> Backoff:
    """Return a backoff that waits ``base`` times 1, 1, 2, 3, 5, 8 …, at most ``cap``.

    Args:
        base: Seconds before the first retry and before the second.
        cap: Seconds that no wait exceeds, before a ratio of jitter as in `exponential`.
        jitter: As in `exponential`; none by default.
    """
    return _make("fibonacci", check_seconds(base, "base"), check_seconds(cap, "cap"), check_jitter(jitter))


def as_backoff(interval: Interval, name: str = "interval") -> Backoff:
    """Return the backoff that a parameter ``interval`` means.

    Args:
        interval: Seconds (waited exactly), a backoff, or a re-iterable of seconds. A list or a tuple is checked and
            copied at once; what any other iterable yields is checked when it is reached.
        name: The parameter's name, for messages.

    Raises:
        TypeError: It is none of these, or an iterator, which would be empty for the second operation.
        ValueError: A number is negative, NaN or infinite.
    """
    if isinstance(interval, Backoff):
        return interval
    if isinstance(interval, int | float) or is_timedelta(interval):
        return _make("fixed", check_seconds(interval, name))
    if isinstance(interval, list | tuple):
        return _make("listed", tuple(check_seconds(s, f"{name}[{n}]") for n, s in enumerate(interval)))
    if isinstance(interval, range):
        for n in (0, -1) if interval else ():
            check_seconds(interval[n], f"{name}[{n}]")
        return _make("given", interval)
    return _make("given", _Given(check_reiterable(interval, name)))


def check_wait(value: object) -> float:
    """Return a wait in seconds that a user's code came up with while it ran.

    Args:
        value: An int, a float or a `datetime.timedelta`, finite, 0 or more.

    Raises:
        ValueError: It is anything else.
    """
    try:
        return check_seconds(value, "a wait")
    except TypeError as error:
        raise ValueError(str(error)) from None


def clamp_hint(hint: float, wait: float) -> float:
    """Return the wait that heeds a server's hint: ``clamp(hint, wait, wait + 5 s)``, the AWS SDKs' rule (2.1).

    Args:
        hint: Seconds that the server asks for.
        wait: Seconds that the backoff says.
    """
    return min(max(hint, wait), wait + HINT_SLACK)


class _Given:
    """A user's own iterable. It is compared by identity, because nobody can tell what it will yield."""

    __slots__ = ("iterable",)

    def __init__(self, iterable: Iterable[Any]) -> None:
        self.iterable = iterable

    def __iter__(self) -> Iterator[Any]:
        return iter(self.iterable)

    def __repr__(self) -> str:
        return shown(self.iterable)


def _make(kind: str, *arguments: Any) -> Backoff:
    backoff = object.__new__(Backoff)
    object.__setattr__(backoff, "_kind", kind)
    object.__setattr__(backoff, "_arguments", arguments)
    return backoff


def _given(random: Random, iterable: Iterable[Any]) -> Iterator[float]:
    for wait in iterable:
        yield check_wait(wait)


_WAITS: dict[str, Callable[..., Iterator[float]]] = {
    "fixed": lambda random, seconds: repeat(seconds),
    "linear": lambda random, start, step, cap: formulas.linear(start, step, cap),
    "exponential": lambda random, base, cap, factor, jitter: formulas.spread(
        random, formulas.growing(base, cap, factor), jitter
    ),
    "decorrelated": formulas.decorrelated,
    "fibonacci": lambda random, base, cap, jitter: formulas.spread(random, formulas.summing(base, cap), jitter),
    "listed": lambda random, waits: iter(waits),
    "given": _given,
    "sum": lambda random, a, b: (min(x + y, LARGEST) for x, y in zip(a.waits(random), b.waits(random), strict=False)),
    "then": lambda random, a, b: (wait for part in (a, b) for wait in part.waits(random)),
    "take": lambda random, a, retries: islice(a.waits(random), retries),
    "capped": lambda random, a, cap: (min(wait, cap) for wait in a.waits(random)),
    "scaled": lambda random, a, factor: (min(wait * factor, LARGEST) for wait in a.waits(random)),
    "jittered": lambda random, a, jitter: formulas.spread(random, a.waits(random), jitter),
}

_PARAMETERS: dict[str, tuple[tuple[str, Any], ...]] = {
    "fixed": (("", ...),),
    "linear": (("", ...), ("", ...), ("cap=", ...)),
    "exponential": (("", ...), ("cap=", ...), ("factor=", 2.0), ("jitter=", "full")),
    "decorrelated": (("", ...), ("cap=", ...)),
    "fibonacci": (("", ...), ("cap=", ...), ("jitter=", None)),
}
"""How a factory's call is written: a prefix for each argument, and the value for which it is left out."""


def _expression(kind: str, arguments: tuple[Any, ...]) -> str:
    """Return the Python expression that makes the backoff."""
    if kind in _PARAMETERS:
        written = zip(_PARAMETERS[kind], arguments, strict=True)
        return f"{kind}({', '.join(prefix + _argument(a) for (prefix, usual), a in written if a != usual)})"
    if kind in ("listed", "given"):
        return f"as_backoff({_argument(arguments[0])})"
    backoff, argument = arguments
    if kind == "sum":
        return f"{backoff!r} + {_operand(argument) if argument._kind == 'sum' else repr(argument)}"
    if kind == "scaled":
        return f"{_operand(backoff)} * {_argument(argument)}"
    return f"{_operand(backoff)}.{kind}({_argument(argument)})"


def _operand(backoff: Backoff) -> str:
    return f"({backoff!r})" if backoff._kind in ("sum", "scaled") else repr(backoff)


def _argument(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_argument, value))}]"
    if isinstance(value, float) and value.is_integer() and value < 1e16:
        return str(int(value))
    return repr(value)
