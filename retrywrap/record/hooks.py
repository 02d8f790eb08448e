"""Subscribe and publish: how the news of failures leaves the machine. Nothing here can change an outcome."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from retrywrap.decide.checks import shown
from retrywrap.locks import new_lock
from retrywrap.reports import report_once

if TYPE_CHECKING:
    from retrywrap.decide.events import RetryEvent

__all__ = ["Hush", "Recorder", "hush", "publish", "subscribe", "tell"]

Listener: TypeAlias = "Callable[[RetryEvent], Any]"


class Hush(NamedTuple):
    """Which events nobody would do anything with, as long as all that this depends on stays what it is.

    Attributes:
        listeners: The subscriptions that it was found out for.
        depends: Whose attribute, its name, and the very object that it was.
        deaf: The names of the events.
    """

    listeners: tuple[Any, ...]
    depends: tuple[tuple[object, str, object], ...]
    deaf: frozenset[str]


class Recorder(Protocol):
    """What keeps count of events: the registry, and the recorder of a scope."""

    def handle(self, event: RetryEvent) -> None:
        """Take note of one event."""


class _Subscription:
    """One listener; compared by identity, because the same function may be subscribed twice."""

    __slots__ = ("listener",)

    def __init__(self, listener: Listener) -> None:
        self.listener = listener


_lock = new_lock()
_subscriptions: tuple[_Subscription, ...] = ()
_running: ContextVar[tuple[_Subscription, ...]] = ContextVar("retrywrap.listeners", default=())


def subscribe(listener: Listener) -> Callable[[], None]:
    """Have a function called with each `RetryEvent`, in the thread where it happens, until the subscription is ended.

    A listener that raises is reported once, through the logger ``retrywrap``; it never changes an operation's outcome.
    A listener may itself use retrywrap: of what fails inside it, it is not told.

    Args:
        listener: A plain function of one event. Whoever takes long here makes the operation take longer.

    Returns:
        A function without arguments that ends the subscription; calling it again does nothing.

    Raises:
        TypeError: `listener` cannot be called, or is a coroutine function, which nobody would await.
    """
    if not _is_plain(listener):
        raise TypeError(f"listener must be a plain function that takes one event; got {shown(listener)}")
    subscription = _Subscription(listener)
    global _subscriptions
    with _lock:
        _subscriptions = (*_subscriptions, subscription)

    def unsubscribe() -> None:
        global _subscriptions, _hush
        with _lock:
            _hush = None  # which holds the listeners
            _subscriptions = tuple(other for other in _subscriptions if other is not subscription)

    return unsubscribe


def _all_listen(listeners: tuple[_Subscription, ...]) -> Hush:
    return Hush(listeners, (), frozenset())


find_hush: Callable[[tuple[Any, ...]], Hush] = _all_listen
"""Tells who is deaf among these listeners; replaced by who knows those that are there by default."""

_hush: Hush | None = None


def hush() -> Hush:
    """Return which events nobody would do anything with, now."""
    global _hush
    found = _hush
    if found is not None and found.listeners is _subscriptions:
        for owner, name, value in found.depends:  # any() would make a generator at each event
            if getattr(owner, name) is not value:
                break
        else:
            return found
    found = _hush = find_hush(_subscriptions)
    return found


def _is_plain(listener: Any) -> bool:
    return callable(listener) and not any(map(inspect.iscoroutinefunction, (listener, type(listener).__call__)))


def publish(event: RetryEvent, recorders: Iterable[Recorder]) -> None:
    """Bring an event to its recorders, then to every listener."""
    for recorder in recorders:
        try:
            recorder.handle(event)
        except Exception:
            _report(recorder, event)
    tell(event)


def tell(event: RetryEvent) -> None:
    """Bring an event to every listener, unless none would do anything with it."""
    try:
        if event.name in hush().deaf:
            return
    except Exception:
        _report(find_hush, event)
    for subscription in _subscriptions:
        try:
            _tell(subscription, event)
        except Exception:
            _report(subscription.listener, event)


def _tell(subscription: _Subscription, event: RetryEvent) -> None:
    running = _running.get()
    if subscription not in running:
        try:  # first: Ctrl-C may come as soon as it is set, and would leave the listener deaf
            _running.set((*running, subscription))
            subscription.listener(event)
        finally:
            _running.set(running)


def _report(who: object, event: RetryEvent) -> None:
    report_once(
        who, f"the listener {shown(who)} raised at {event.name}; it is called on, its errors are not shown again"
    )
