"""Who hears of failures by default, and where the first policies come from: the configuration, at first need.

The configuration is loaded by the first decoration, scope or event, not by the import of the package.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from retrywrap.decide import policy
from retrywrap.decide.policy import PolicyBook
from retrywrap.locks import importing
from retrywrap.record import hooks

if TYPE_CHECKING:
    from retrywrap.decide.events import RetryEvent

__all__: list[str] = []


def _config() -> ModuleType:
    with importing:
        from retrywrap import config
    return config


def _first_book() -> PolicyBook:
    book: PolicyBook = _config().load()
    return book


def _log_event(event: RetryEvent) -> None:
    _config().log_event(event)


def _store_error(event: RetryEvent) -> None:
    _config().store_error(event)


policy.book.load = _first_book
hooks.subscribe(_log_event)
hooks.subscribe(_store_error)
