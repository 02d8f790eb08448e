"""Plans: what becomes of which call, and the faults that they are made of."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, TypeAlias, TypeGuard

from retrywrap.decide.checks import check_number, check_seconds, shown

__all__ = ["Error", "Fault", "Kept", "always", "at_rate", "check_fault", "is_error", "latency", "made"]

Error: TypeAlias = BaseException | type[BaseException]
Fault: TypeAlias = Error | float | timedelta | None
"""What becomes of one call: it raises this; it takes so many seconds first; None: nothing."""

_TEXT = "injected by retrywrap.testing"


class _Repeated:
    """The same for every call."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    def __iter__(self) -> Iterator[Fault]:
        return itertools.repeat(self._fault)


class Kept:
    """What an iterator gives, which may be without end: taken as it is needed, and given again from the beginning.

    Args:
        faults: The iterator.
    """

    def __init__(self, faults: Iterator[Fault]) -> None:
        self._faults = faults
        self._taken: list[Fault] = []

    def __iter__(self) -> Iterator[Fault]:
        number = 0
        while True:
            if number == len(self._taken):
                try:
                    self._taken.append(next(self._faults))
                except StopIteration:
                    return
            yield self._taken[number]
            number += 1


class _ByChance:
    """The same calls fail with the same seed."""

    def __init__(self, rate: float, errors: list[Error], seed: int) -> None:
        self._rate, self._errors, self._seed = rate, errors, seed

    def __iter__(self) -> Iterator[Fault]:
        chance = random.Random(self._seed)
        while True:
            yield chance.choice(self._errors) if chance.random() < self._rate else None


def always(error: Error) -> Iterable[Fault]:
    """Return the plan by which every call raises the same.

    Args:
        error: An exception, or a type of them.

    Raises:
        TypeError: It is neither, or a type that cannot be made from a text, nor from nothing.
    """
    return _Repeated(_check_error(error, ": several are a list of their own, as in inject(…, [A, B])"))


def latency(seconds: float | timedelta) -> Iterable[Fault]:
    """Return the plan by which every call takes so long before it begins; under a `VirtualClock`, of its time.

    Args:
        seconds: How long.

    Raises:
        TypeError: It is no number of seconds.
        ValueError: It is negative or not finite.
    """
    return _Repeated(check_seconds(seconds, "seconds"))


def at_rate(rate: float, /, *errors: Error, seed: int = 0) -> Iterable[Fault]:
    """Return the plan by which calls fail by chance, the same ones with the same seed.

    Args:
        rate: The part of the calls that fail, from 0 to 1.
        *errors: What they raise: exceptions or types of them, one of which is drawn for each.
        seed: Of the random numbers.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: `rate` is outside 0 to 1, or there is no error.
    """
    wrong = f"rate must be a part of all calls, a number from 0 to 1; got {shown(rate)}"
    try:
        rate = check_number(rate, "rate", 0.0)
    except (TypeError, ValueError) as error:
        raise type(error)(wrong) from None
    if rate > 1:
        raise ValueError(wrong)
    if not errors:
        raise ValueError("errors must be one exception, or exception type, at least")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"seed must be an int; got {shown(seed)}")
    one_by_one = ": give them one by one, as in at_rate(0.5, A, B)"
    return _ByChance(rate, [_check_error(error, one_by_one, ": is it seed=?") for error in errors], seed)


def check_fault(fault: Any) -> float:
    """Return the seconds that a call takes before it begins; 0 for one that raises, or goes through.

    Args:
        fault: What becomes of the call.

    Raises:
        TypeError: It is no fault, or a type of exceptions that cannot be made from a text, nor from nothing.
        ValueError: It is seconds, and out of range.
    """
    if fault is None:
        return 0.0
    if is_error(fault):
        _check_made(fault, "a fault")
        return 0.0
    if isinstance(fault, _Repeated | _ByChance):
        raise TypeError("a plan stands alone, not in a list: inject(…, latency(2)), say")
    try:
        return check_seconds(fault, "seconds")
    except TypeError:
        raise TypeError(
            f"a fault must be an exception, a type of them, seconds, or None: no fault; got {shown(fault)}"
        ) from None


def made(error: Error) -> BaseException:
    """Return the exception that is raised for one, or for a type of them.

    Args:
        error: That.
    """
    if isinstance(error, BaseException):
        return error
    try:
        return error(_TEXT)
    except TypeError:  # it wants nothing
        return error()


def is_error(thing: object) -> TypeGuard[Error]:
    """Return whether a thing is an exception, or a type of them."""
    return isinstance(thing, BaseException) or (isinstance(thing, type) and issubclass(thing, BaseException))


def _check_error(error: object, if_listed: str, if_number: str = "") -> Error:
    if is_error(error):
        _check_made(error, "error")
        return error
    hint = if_listed if isinstance(error, list | tuple) else if_number if isinstance(error, int) else ""
    raise TypeError(f"error must be an exception, or a type of them; got {shown(error)}{hint}")


def _check_made(error: Error, what: str) -> None:
    """Refuse a type that the call could not raise: its own failure would be taken for the application's."""
    try:
        made(error)
    except Exception as wrong:
        raise TypeError(
            f"{what} must be an exception itself where its type takes other arguments than one text "
            f"({wrong}): give an instance of it, made with them; got {shown(error)}"
        ) from None
