"""Faults on purpose: decorated functions that fail, or take their time, at the calls that a test says."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any, TypeAlias, TypeGuard

from retrywrap.decide.allowance import PROCESS
from retrywrap.decide.checks import check_number, check_seconds, shown
from retrywrap.locks import new_lock
from retrywrap.run import clock as clocks
from retrywrap.run import inventory
from retrywrap.run.kinds import is_async
from retrywrap.testing.clock import VirtualClock
from retrywrap.testing.observe import decorated, name_of

__all__ = ["EVERYTHING", "Fault", "Injection", "always", "at_rate", "inject", "injecting", "latency"]

_Error: TypeAlias = BaseException | type[BaseException]
Fault: TypeAlias = _Error | float | timedelta | None
"""What becomes of one call: it raises this; it takes so many seconds first; None: nothing."""

_TEXT = "injected by retrywrap.testing"


class _Everything:
    """Stands for every decorated function."""

    def __repr__(self) -> str:
        return "EVERYTHING"


EVERYTHING = _Everything()
"""Every decorated function, those too that are decorated while the injection goes on."""


class _Repeated:
    """The same for every call."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    def __iter__(self) -> Iterator[Fault]:
        return itertools.repeat(self._fault)


class _ByChance:
    """The same calls fail with the same seed."""

    def __init__(self, rate: float, errors: list[_Error], seed: int) -> None:
        self._rate, self._errors, self._seed = rate, errors, seed

    def __iter__(self) -> Iterator[Fault]:
        chance = random.Random(self._seed)
        while True:
            yield chance.choice(self._errors) if chance.random() < self._rate else None


def always(error: _Error) -> Iterable[Fault]:
    """Return the plan by which every call raises the same.

    Args:
        error: An exception, or a type of them.

    Raises:
        TypeError: It is neither.
    """
    return _Repeated(_check_error(error))


def latency(seconds: float | timedelta) -> Iterable[Fault]:
    """Return the plan by which every call takes so long before it begins; under a `VirtualClock`, of its time.

    Args:
        seconds: How long.

    Raises:
        TypeError: It is no number of seconds.
        ValueError: It is negative or not finite.
    """
    return _Repeated(check_seconds(seconds, "seconds"))


def at_rate(rate: float, /, *errors: _Error, seed: int = 0) -> Iterable[Fault]:
    """Return the plan by which calls fail by chance, the same ones with the same seed.

    Args:
        rate: The part of the calls that fail, from 0 to 1.
        *errors: What they raise: exceptions or types of them, one of which is drawn for each.
        seed: Of the random numbers.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: `rate` is outside 0 to 1, or there is no error.
    """
    rate = check_number(rate, "rate", 0.0)
    if rate > 1:
        raise ValueError(f"rate must be a part of all calls, from 0 to 1; got {shown(rate)}")
    if not errors:
        raise ValueError("errors must be one exception, or exception type, at least")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"seed must be an int; got {shown(seed)}")
    return _ByChance(rate, [_check_error(error) for error in errors], seed)


class Injection:
    """Faults that are being injected.

    Args:
        faults: What becomes of each call, in order; iterated anew for each function.

    Attributes:
        calls: How many calls there were so far, of each operation by name: attempts, in other words.
        raised: How many of them failed on purpose, of each operation by name.
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.calls: dict[str, int] = {}
        self.raised: dict[str, int] = {}
        self._faults = faults
        self._left: dict[int, Iterator[Fault]] = {}
        self._lock = new_lock()

    @property
    def count(self) -> int:
        """How many calls failed on purpose so far, of all functions."""
        return sum(self.raised.values())

    def next_fault(self, proxy: Any) -> float:
        """Count a call; raise what it is to raise, or return the seconds that it takes before it begins.

        Args:
            proxy: The decorated function that is called.
        """
        name = proxy._self_spec.name
        with self._lock:
            self.calls[name] = self.calls.get(name, 0) + 1
            if id(proxy) not in self._left:
                self._left[id(proxy)] = iter(self._faults)
            fault = next(self._left[id(proxy)], None)
            if fault is None:
                return 0.0
            if not _is_error(fault):
                return _check_latency(fault)
            self.raised[name] = self.raised.get(name, 0) + 1
        raise _made(fault)

    def __repr__(self) -> str:
        return f"<{self.count} faults injected into {sum(self.calls.values())} calls>"


_lock = new_lock()
_active: dict[int, tuple[Any, list[Injection]]] = {}  # the functions that faults are injected into, outermost last


def inject(
    target: object, faults: Iterable[Fault] | BaseException | type[BaseException]
) -> AbstractContextManager[Injection]:
    """Make calls of a decorated function fail, or take their time, while the ``with`` block runs.

    The fault comes in the place of the call of the function itself, inside its retries: each attempt is a call. Where
    the plan has come to its end, calls go through.

    >>> import retrywrap
    >>> @retrywrap.with_retry(max=3, interval=1)
    ... def upload():
    ...     return "done"
    >>> with VirtualClock() as clock, inject(upload, [ConnectionResetError, TimeoutError("too slow")]) as injection:
    ...     upload()
    'done'
    >>> injection.count, clock.waits
    (2, [1.0, 1.0])

    Args:
        target: A decorated function or method, the name of an operation, or `EVERYTHING`.
        faults: What becomes of each call, in order: an exception, or a type of them, that it raises; seconds that it
            takes before it begins; None, where it just goes through. Or a plan: `always`, `at_rate`, `latency`. A
            single exception or type stands for the first call alone. With several functions, each has its own count.

    Returns:
        A context manager, which gives the `Injection`, which counts.

    Raises:
        TypeError: `target` is no decorated function, or `faults` are none.
        ValueError: No function is decorated under that name, or seconds are out of range.
    """
    plan: Any = [faults] if _is_error(faults) else faults
    if isinstance(plan, str | bytes | Mapping) or not isinstance(plan, Iterable):
        raise TypeError(
            "faults must be an exception, an iterable of exceptions, seconds and None, or a plan "
            f"(always, at_rate, latency); got {shown(plan)}"
        )
    targets = _targets(target)
    if isinstance(plan, Iterator):
        if target is EVERYTHING or len(targets) > 1:
            raise TypeError(
                f"faults for several functions must be iterable anew for each: a list, say; got {shown(plan)}"
            )
        plan = list(plan)
    if isinstance(plan, list | tuple):
        for fault in plan:
            if fault is not None and not _is_error(fault):
                _check_latency(fault)
    return _injected(targets, Injection(plan), later=target is EVERYTHING)


@contextmanager
def _injected(targets: list[Any], injection: Injection, *, later: bool) -> Iterator[Injection]:
    with injecting(targets, injection, later=later):
        yield injection


@contextmanager
def injecting(targets: Iterable[Any], injection: Injection, *, later: bool) -> Iterator[None]:
    """Put an injection before decorated functions.

    Args:
        targets: The functions.
        injection: What is asked at each call of them.
        later: Whether it is put before those, too, that are decorated meanwhile.
    """
    touched: list[Any] = []

    def touch(proxy: Any) -> None:
        touched.append(proxy)
        _add(proxy, injection)

    if later:
        inventory.watchers.append(touch)
    try:
        for proxy in targets:
            touch(proxy)
        yield
    finally:
        if later:
            inventory.watchers.remove(touch)
        for proxy in touched:
            _remove(proxy, injection)


def _targets(target: object) -> list[Any]:
    if target is EVERYTHING:
        return inventory.proxies()
    if isinstance(target, str):
        found = [proxy for proxy in inventory.proxies() if proxy._self_spec.name == target]
        if not found:
            known = sorted({proxy._self_spec.name for proxy in inventory.proxies()})
            shortly = f"{', '.join(known[:10])}{', …' if len(known) > 10 else ''}" or "none is"
            raise ValueError(f"target must be the name of a decorated function ({shortly}); got {shown(target)}")
        return found
    name_of(target)  # says what is wrong with it
    return [decorated(target)]


def _add(proxy: Any, injection: Injection) -> None:
    with _lock:
        _, injections = _active.setdefault(id(proxy), (proxy, []))
        injections.append(injection)
        _wire(proxy, injections)


def _remove(proxy: Any, injection: Injection) -> None:
    with _lock:
        _, injections = _active[id(proxy)]
        injections.remove(injection)
        if not injections:
            del _active[id(proxy)]
        _wire(proxy, injections)


def _wire(proxy: Any, injections: list[Injection]) -> None:
    from retrywrap.run.proxy import rewire

    function = proxy.__wrapped__
    for injection in injections:
        function = _faulty(proxy, function, injection)
    rewire(proxy, function)


def _faulty(proxy: Any, function: Callable[..., Any], injection: Injection) -> Callable[..., Any]:
    """Return the function with the faults of an injection before it."""

    async def async_attempt(*args: Any, **kwargs: Any) -> Any:
        await _pass_async(injection.next_fault(proxy))
        return await function(*args, **kwargs)

    def attempt(*args: Any, **kwargs: Any) -> Any:
        _pass(injection.next_fault(proxy))
        return function(*args, **kwargs)

    made: Callable[..., Any] = async_attempt if is_async(function) else attempt
    return functools.wraps(function)(made) if hasattr(function, "__name__") else made


def _pass(seconds: float) -> None:
    clock = clocks.current()
    if isinstance(clock, VirtualClock):
        clock.advance(seconds)
    elif seconds:
        clocks.REAL.sleep(seconds, PROCESS)


async def _pass_async(seconds: float) -> None:
    clock = clocks.current()
    if isinstance(clock, VirtualClock):
        clock.advance(seconds)
    elif seconds:
        await clocks.REAL.asleep(seconds, PROCESS)


def _made(kind: _Error) -> BaseException:
    if isinstance(kind, BaseException):
        return kind
    try:
        return kind(_TEXT)
    except TypeError:  # it wants more, or nothing
        return kind()


def _check_latency(fault: Any) -> float:
    try:
        return check_seconds(fault, "seconds")
    except TypeError:
        raise TypeError(
            f"a fault must be an exception, a type of them, seconds, or None: no fault; got {shown(fault)}"
        ) from None


def _check_error(error: object) -> _Error:
    if _is_error(error):
        return error
    raise TypeError(f"error must be an exception, or a type of them; got {shown(error)}")


def _is_error(thing: object) -> TypeGuard[_Error]:
    return isinstance(thing, BaseException) or (isinstance(thing, type) and issubclass(thing, BaseException))
