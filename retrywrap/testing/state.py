"""The state of the process: retries switched off, a registry of its own for a test, a clean slate."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

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
def kept_budgets(budgets: Iterable[object]) -> Iterator[None]:
    """Give retry budgets back, after the ``with`` block, what they had before it.

    Args:
        budgets: Those of this package, each of which may come several times; others are left alone.
    """
    ours = {id(each): each for each in budgets if isinstance(each, budget.RetryBudget | budget.RatioBudget)}
    saved = {key: each._saved() for key, each in ours.items()}
    try:
        yield
    finally:
        for key, each in ours.items():
            each._put_back(saved[key])


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
    before = registry._exchange(None)
    try:
        yield registry
    finally:
        registry._exchange(before)
