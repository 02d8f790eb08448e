"""The state of the process: retries switched off, a registry of its own for a test, a clean slate."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from retrywrap import config, reports
from retrywrap.decide import budget
from retrywrap.decide.allowance import PROCESS
from retrywrap.locks import new_lock
from retrywrap.record.registry import Registry, registry
from retrywrap.run import clock as clocks
from retrywrap.testing.usage import block, tell

__all__ = ["disabled", "isolated_registry", "reset"]

_lock = new_lock()
_disabled = 0
_isolated: list[list[Any]] = []  # what each block that goes on has taken out of the registry, the oldest first


@block("retries go on")
def disabled() -> Iterator[None]:
    """Make every operation of retrywrap run once, in every thread, inside the ``with`` block.

    Failures are classified, recorded and let out as ever; there is no second attempt and no wait.
    """
    _disable(1)
    try:
        yield
    finally:
        _disable(-1)


def _disable(blocks: int) -> None:
    """Count the blocks that are open: those of several threads may overlap."""
    global _disabled
    with _lock:
        _disabled += blocks
        clocks.enable(_disabled == 0)


def reset() -> None:
    """Put all global state of retrywrap back to what it was at import.

    That is: the registry's contents, the configuration and its error log, the global instance of `retrywrap.plugin`,
    budgets known by name, what was reported once, and `retrywrap.shutdown`. Subscriptions and registered classifiers of
    the application stay.
    """
    registry.reset()
    config.reset()
    plugin = sys.modules.get("retrywrap.plugin")
    if plugin is not None:
        plugin.backup_plugin_cleanup()
    budget.forget_names()
    reports.forget()
    PROCESS.reopen()


@contextmanager
def kept_budgets() -> Iterator[None]:
    """Give all retry budgets of this package that there are back, after the ``with`` block, what they had before it."""
    saved = [(each, each._saved()) for each in _budgets()]
    try:
        yield
    finally:
        for each, had in saved:
            each._put_back(had)


def _budgets() -> list[budget._Shared]:
    """Return every budget that is alive, whatever uses it: a scope's is named by nothing that could be asked."""
    kinds: list[type[budget._Shared]] = [budget._Shared]
    for kind in kinds:
        kinds += type.__subclasses__(kind)
    # The collector's word is slow, but costs nothing where budgets are made; what has no lock is being made now.
    found = (each for each in gc.get_referrers(*kinds) if issubclass(type(each), budget._Shared))
    return [each for each in found if hasattr(each, "_lock")]


@block("the registry is as it was")
def isolated_registry() -> Iterator[Registry]:
    """Empty `retrywrap.registry` for the ``with`` block, and put back what was in it afterwards.

    Decorated functions go on recording there, so nothing has to be told of it. What is recorded inside is gone at the
    end; functions that are decorated inside stay known. `Registry.inventory` lists every decorated function in there,
    too, with empty counts: functions belong to the process, not to a test.

    Yields:
        The registry.
    """
    tell("isolated_registry")
    with _lock:
        mine = [registry._exchange(None)]
        _isolated.append(mine)
    try:
        yield registry
    finally:
        with _lock:
            place = next(number for number, each in enumerate(_isolated) if each is mine)
            del _isolated[place]
            if place == len(_isolated):
                registry._exchange(mine[0])
            else:  # blocks of threads and tasks may overlap: the next one gives back what this one found
                _isolated[place][:] = mine
