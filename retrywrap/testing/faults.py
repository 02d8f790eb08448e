"""Faults on purpose: decorated functions that fail, or take their time, at the calls that a test says."""

from __future__ import annotations

import builtins
import functools
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from inspect import isawaitable, iscoroutine
from types import MethodType, TracebackType
from typing import Any, Never

from retrywrap.decide.allowance import PROCESS
from retrywrap.decide.checks import shown
from retrywrap.errors import RetryUsageError
from retrywrap.locks import new_lock
from retrywrap.run import clock as clocks
from retrywrap.run import inventory
from retrywrap.run.inventory import decorated, is_decorated
from retrywrap.run.kinds import is_async
from retrywrap.testing.clock import VirtualClock
from retrywrap.testing.names import meant, name_of
from retrywrap.testing.plans import Fault, Kept, always, at_rate, check_fault, is_error, latency, made
from retrywrap.testing.usage import Giver, tell

__all__ = ["EVERYTHING", "Injection", "inject", "injecting"]


class _Everything:
    """Stands for every decorated function."""

    def __repr__(self) -> str:
        return "EVERYTHING"


EVERYTHING = _Everything()
"""Every decorated function, those too that are decorated while the injection goes on."""


class Injection:
    """Faults that are being injected.

    Args:
        faults: What becomes of each call, in order; iterated anew for each function.

    Attributes:
        calls: How many calls there were so far, of each operation by name: attempts, in other words.
        raised: How many of them failed on purpose, of each operation by name.
        delayed: How many of them took their time on purpose, of each operation by name.
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.calls: dict[str, int] = {}
        self.raised: dict[str, int] = {}
        self.delayed: dict[str, int] = {}
        self.over = False
        self._faults = faults
        self._left: dict[int, Iterator[Fault]] = {}
        self._lock = new_lock()

    @property
    def count(self) -> int:
        """How many faults were injected so far, into all functions: errors and delays."""
        return sum(self.raised.values()) + sum(self.delayed.values())

    def meets(self, arguments: tuple[Any, ...]) -> bool:
        """Return whether a call is one of those that faults are injected into.

        Args:
            arguments: Its positional arguments.
        """
        return not self.over

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
            seconds = check_fault(fault)
            kind = self.raised if is_error(fault) else self.delayed
            kind[name] = kind.get(name, 0) + 1
        if is_error(fault):
            raise made(fault)
        return seconds

    def finish(self, proxy: Any) -> None:
        """Look at a call that has succeeded; raise what it is to raise in the place of its result.

        Args:
            proxy: The decorated function that was called.
        """

    def __repr__(self) -> str:
        errors, delays = sum(self.raised.values()), sum(self.delayed.values())
        counts = (errors, "error"), (delays, "delay"), (sum(self.calls.values()), "call")
        told = [f"{count} {what}{'s' * (count != 1)}" for count, what in counts]
        return f"<{told[0]} and {told[1]} injected into {told[2]}>"


class _OfOne(Injection):
    """Faults for the calls of a method of one object."""

    def __init__(self, faults: Iterable[Fault], instance: object) -> None:
        super().__init__(faults)
        self._instance = instance

    def meets(self, arguments: tuple[Any, ...]) -> bool:
        return super().meets(arguments) and bool(arguments) and arguments[0] is self._instance


class _Injecting(Giver, AbstractContextManager[Injection]):
    """What `inject` returns: it begins where its ``with`` block does."""

    def __init__(self, target: object, targets: list[Any], make: Callable[[], Injection]) -> None:
        self._target, self._targets, self._make = target, targets, make
        self._active: ExitStack | None = None
        name = shown(target) if target is EVERYTHING or isinstance(target, str) else name_of(target)
        super().__init__(f"inject({name}, …)", "no fault was injected", 3)

    def _anew(self) -> AbstractContextManager[Injection]:
        another = _Injecting(self._target, self._targets, self._make)
        another._used = True
        return another

    def __enter__(self) -> Injection:
        if self._active is not None:
            raise RetryUsageError(
                "this injection is in force already: call inject(…) once more for another beside it, "
                "or enter this one again when its with block is over"
            )
        self._used = True
        tell("inject")
        injection = self._make()
        with ExitStack() as stack:
            stack.enter_context(injecting(self._targets, injection, later=self._target is EVERYTHING))
            self._active = stack.pop_all()
        return injection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._active is None:
            raise RetryUsageError("this injection is not in force: enter it with a with statement first")
        active, self._active = self._active, None
        active.close()


_SHOWN = 10

_lock = new_lock()
_active: dict[int, tuple[Any, list[Injection]]] = {}  # the functions that faults are injected into, outermost last


def inject(
    target: object, faults: Iterable[Fault] | BaseException | type[BaseException], *more: Never
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
        target: A decorated function or method, the name of an operation, or `EVERYTHING`. A method of an object,
            ``store.put``, stands for the calls on that object alone; ``Store.put`` for those on all.
        faults: What becomes of each call, in order: an exception, or a type of them, that it raises; seconds that it
            takes before it begins; None, where it just goes through. Or a plan: `always`, `at_rate`, `latency`. A
            single exception or type stands for the first call alone. With several functions, each has its own count.
        *more: Refused: several faults are one list.

    Returns:
        A context manager, which gives the `Injection`, which counts. It can be entered again when it is over, and
        begins anew then. One that is never entered does nothing, and warns.

    Raises:
        TypeError: `target` is no decorated function, or `faults` are none; an exception's type cannot be made from a
            text, nor from nothing.
        ValueError: No function is decorated under that name, or seconds are out of range.
    """
    plan: Any = [faults] if is_error(faults) else faults
    is_function = is_decorated(plan)  # which old releases of wrapt make look iterable
    if more or is_function or isinstance(plan, str | bytes | Mapping) or not isinstance(plan, Iterable):
        given = (faults, *more) if more else faults
        raise TypeError(
            "faults must be an exception, an iterable of exceptions, seconds and None, or a plan "
            f"(always, at_rate, latency); got {shown(given)}{_instead(given)}"
        )
    targets = _targets(target)
    if isinstance(plan, Iterator):
        if target is EVERYTHING or len(targets) > 1:
            raise TypeError(
                f"faults for several functions must be iterable anew for each: a list, say; got {shown(plan)}"
            )
        plan = Kept(plan)
    if isinstance(plan, list | tuple):
        for fault in plan:
            check_fault(fault)
    instance = getattr(target, "__self__", None)  # of a method of one object
    if isinstance(target, MethodType) and not isinstance(instance, type):
        return _Injecting(target, targets, functools.partial(_OfOne, plan, instance))
    return _Injecting(target, targets, functools.partial(Injection, plan))


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
        injection.over = True
        if later:
            inventory.watchers.remove(touch)
        for proxy in touched:
            _remove(proxy, injection)


def _instead(given: Any) -> str:
    """Return what to write in the place of something that is near to faults; nothing where it is not."""
    if isinstance(given, tuple):
        return ": give them as one list, inject(…, [A, B])"
    if isinstance(given, int | float):
        return ": seconds of the first call are [seconds], of every call latency(seconds)"
    if any(given is plan for plan in (always, at_rate, latency)):
        arguments = {always: "TimeoutError", at_rate: "0.1, TimeoutError", latency: "2"}[given]
        return f": call it, as in {given.__name__}({arguments})"
    if isinstance(given, str) and is_error(getattr(builtins, given, None)):
        return ": without quotes it is one"
    if is_decorated(given):
        return ": the function comes first, inject(function, faults)"
    return ""


def _targets(target: object) -> list[Any]:
    if target is EVERYTHING:
        return inventory.proxies()
    if isinstance(target, str):
        found = [proxy for proxy in inventory.proxies() if proxy._self_spec.name == target]
        if found:
            return found
        known = {proxy._self_spec.name for proxy in inventory.proxies()}
        hint = meant(target, known) or f"there are {', '.join(sorted(known)[:_SHOWN]) or 'none'}"
        if target.lower() in ("everything", "all", "*"):
            hint = "did you mean retrywrap.testing.EVERYTHING, the object, without quotes?"
        raise ValueError(f"target must be the name of a decorated function; got {shown(target)}: {hint}")
    name_of(target)  # says what is wrong with it
    function = decorated(target)
    if inventory.known.get(id(function)) is function:
        return [function]
    # What binds in its own way is another object each time.
    return [proxy for proxy in inventory.proxies() if proxy._self_spec is function._self_spec]


def _add(proxy: Any, injection: Injection) -> None:
    with _lock:
        if not _active:
            inventory.binders.append(_bound)
        _, injections = _active.setdefault(id(proxy), (proxy, []))
        injections.append(injection)
        _wire(proxy, proxy, injections)


def _remove(proxy: Any, injection: Injection) -> None:
    with _lock:
        _, injections = _active[id(proxy)]
        injections.remove(injection)
        if not injections:
            del _active[id(proxy)]
        if not _active:
            inventory.binders.remove(_bound)
        _wire(proxy, proxy, injections)


def _bound(proxy: Any, method: Any) -> None:
    """Put what is before a function before what it has just been bound to."""
    with _lock:
        if id(proxy) in _active:
            instance = getattr(method, "__self__", None)
            _wire(method, proxy, _active[id(proxy)][1], () if instance is None else (instance,))


def _wire(called: Any, proxy: Any, injections: list[Injection], bound: tuple[Any, ...] = ()) -> None:
    from retrywrap.run.proxy import rewire

    function = called.__wrapped__
    for injection in injections:
        function = _faulty(proxy, function, injection, bound)
    rewire(called, function)


def _faulty(
    proxy: Any, function: Callable[..., Any], injection: Injection, bound: tuple[Any, ...]
) -> Callable[..., Any]:
    """Return the function, bound or not, with the faults of an injection before it."""

    async def async_attempt(*args: Any, **kwargs: Any) -> Any:
        if not injection.meets(bound + args):
            return await function(*args, **kwargs)
        await _pass_async(injection.next_fault(proxy))
        result = await function(*args, **kwargs)
        injection.finish(proxy)
        return result

    def attempt(*args: Any, **kwargs: Any) -> Any:
        if not injection.meets(bound + args):
            return function(*args, **kwargs)
        _pass(injection.next_fault(proxy))
        result = function(*args, **kwargs)
        if iscoroutine(result):
            return _finishing(result, injection, proxy)
        if not isawaitable(result):  # that has not run yet
            injection.finish(proxy)
        return result

    faulty: Callable[..., Any] = async_attempt if is_async(function) else attempt
    return functools.wraps(function)(faulty) if hasattr(function, "__name__") else faulty


async def _finishing(coroutine: Coroutine[Any, Any, Any], injection: Injection, proxy: Any) -> Any:
    result = await coroutine
    injection.finish(proxy)
    return result


def _pass(seconds: float) -> None:
    clock = clocks.current()
    if isinstance(clock, VirtualClock):
        clock.advance(seconds)
    elif seconds:
        clocks.REAL.sleep(seconds, PROCESS)


async def _pass_async(seconds: float) -> None:
    clock = clocks.current()
    if isinstance(clock, VirtualClock):
        if seconds:
            await clock._pass(seconds, PROCESS, waits=[])  # a delay is no wait of a retry
    elif seconds:
        await clocks.REAL.asleep(seconds, PROCESS)
