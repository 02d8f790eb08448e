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

__all__ = ["Hush", "Recorder", "hush", "listen", "publish", "subscribe", "tell"]

Listener: TypeAlias = "Callable[[RetryEvent], Any]"


class Hush(NamedTuple):
    """Who is deaf to the events of retries that go at once, as long as what it depends on stays as it is.

    Attributes:
        listeners: The subscriptions that it was found out for.
        holder: Holds a configuration that they go by, in its attribute ``state``.
        state: That configuration.
        ask: Returns a dict of what else they go by; None: nothing else.
        wrapper_class: What was found under this name in it.
        deaf: The bits 1: nobody would do anything with the event of a retry that follows; 2: with that of a recovery;
            4: with that of an operation whose retries are used up.
    """

    listeners: tuple[Any, ...]
    holder: Any
    state: object
    ask: Callable[[], dict[str, Any]] | None
    wrapper_class: object
    deaf: int


class Recorder(Protocol):
    """What keeps count of events: the registry, and the recorder of a scope."""

    def handle(self, event: RetryEvent) -> None:
        """Take note of one event."""


class _Subscription:
    """One listener; compared by identity, because the same function may be subscribed twice.

    Attributes:
        listener: What is called.
        idle: Says whether the listener would do nothing with an event, so that it need not be called; None: ask it.
    """

    __slots__ = ("idle", "listener")

    def __init__(self, listener: Listener, idle: Callable[[RetryEvent], bool] | None) -> None:
        self.listener = listener
        self.idle = idle


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
    return listen(listener)


def listen(listener: Listener, idle: Callable[[RetryEvent], bool] | None = None) -> Callable[[], None]:
    """Do as `subscribe` does, for a listener that can say beforehand to which events it would do nothing."""
    subscription = _Subscription(listener, idle)
    global _subscriptions
    with _lock:
        _subscriptions = (*_subscriptions, subscription)

    def unsubscribe() -> None:
        global _subscriptions
        with _lock:
            _subscriptions = tuple(other for other in _subscriptions if other is not subscription)

    return unsubscribe


def hush() -> Hush:
    """Return who is deaf to what, now."""
    return find_hush(_subscriptions)


class _Unchanging:
    state: object = None


def _all_listen(listeners: tuple[_Subscription, ...]) -> Hush:
    return Hush(listeners, _Unchanging, None, None, None, 0)


find_hush: Callable[[tuple[_Subscription, ...]], Hush] = _all_listen
"""Tells who is deaf among these listeners; replaced by who knows those that are there by default."""


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
    """Bring an event to every listener that would do anything with it."""
    for subscription in _subscriptions:
        try:
            if subscription.idle is None or not subscription.idle(event):
                _tell(subscription, event)
        except Exception:
            _report(subscription.listener, event)


def _tell(subscription: _Subscription, event: RetryEvent) -> None:
    running = _running.get()
    if subscription not in running:
        token = _running.set((*running, subscription))
        try:
            subscription.listener(event)
        finally:
            _running.reset(token)


def _report(who: object, event: RetryEvent) -> None:
    report_once(
        who, f"the listener {shown(who)} raised at {event.name}; it is called on, its errors are not shown again"
    )
