"""Who hears of failures by default, and where the first policies come from: the configuration, at first need.

Importing it binds them. The configuration is loaded by the first decoration, scope or event.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from retrywrap.decide import policy
from retrywrap.decide.policy import PolicyBook
from retrywrap.locks import importing
from retrywrap.record import hooks, registry

if TYPE_CHECKING:
    from retrywrap.decide.events import RetryEvent

__all__: list[str] = []


_loaded: Any = None


def _config() -> Any:
    global _loaded
    if _loaded is None:
        with importing:
            from retrywrap import config
        _loaded = config
    return _loaded


def _first_book() -> PolicyBook:
    book: PolicyBook = _config().load()
    return book


def _log_event(event: RetryEvent) -> None:
    _config().log_event(event)


def _store_error(event: RetryEvent) -> None:
    _config().store_error(event)


def _wall_clock() -> float:
    """Return the seconds since the epoch as the clock in force has them; the real ones, where none was loaded yet."""
    clocks: Any = sys.modules.get("retrywrap.run.clock")
    if clocks is None:
        return time.time()
    clock = clocks.current()
    now: float = clock.epoch() + clock.now()
    return now


def _find_hush(listeners: tuple[Any, ...]) -> hooks.Hush:
    ours = [_log_event, _store_error] == [subscription.listener for subscription in listeners]
    hush: hooks.Hush = _config().find_hush(listeners, ours)
    return hush


policy.book.load = _first_book
registry.wall_clock = _wall_clock
hooks.find_hush = _find_hush
hooks.subscribe(_log_event)
hooks.subscribe(_store_error)
