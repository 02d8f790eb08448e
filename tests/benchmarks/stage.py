"""What is the same for all while something is measured: no waits, one event loop, one configuration of structlog."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import Enum
from typing import Any
from unittest import mock

import structlog

__all__ = ["Events", "stage"]


class Events(Enum):
    """What becomes of the news of failures."""

    QUIET = "off where a library can turn them off, filtered elsewhere"
    FILTERED = "filtered"
    JSON = "rendered as JSON"


def _no_sleep(_: float) -> None:
    """Stand in for `time.sleep`."""


async def _no_async_sleep(_: float, result: object = None) -> object:
    """Stand in for `asyncio.sleep`."""
    return result


@contextmanager
def stage(events: Events = Events.QUIET, sleepless: bool = True) -> Iterator[asyncio.AbstractEventLoop]:
    """Set the stage, and yield the event loop for the coroutines.

    Args:
        events: What becomes of events, ours and stamina's.
        sleepless: `time.sleep` and `asyncio.sleep` do nothing: most peers sleep for no seconds, which costs more than
            all the rest, and some cannot be told not to wait.
    """
    with ExitStack() as stack:
        if sleepless:
            stack.enter_context(mock.patch.object(time, "sleep", _no_sleep))
            stack.enter_context(mock.patch.object(asyncio, "sleep", _no_async_sleep))
        sink = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
        level = logging.INFO if events is Events.JSON else logging.CRITICAL
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso"),
                structlog.processors.JSONRenderer(),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(level),
            logger_factory=structlog.WriteLoggerFactory(file=sink),
            cache_logger_on_first_use=True,
        )
        stack.callback(structlog.reset_defaults)
        _hook_stamina(events)
        loop = asyncio.new_event_loop()
        stack.callback(loop.close)
        # The collector stays on, as in production; what was there before is not its business on each of its rounds.
        gc.collect()
        gc.freeze()
        stack.callback(gc.unfreeze)
        yield loop


def _hook_stamina(events: Events) -> None:
    """Give stamina its own hook for structlog, afresh: it keeps the logger of the configuration it was made in."""
    stamina: Any = sys.modules.get("stamina")
    if stamina is not None:
        hooks = stamina.instrumentation
        hooks.set_on_retry_hooks(() if events is Events.QUIET else (hooks.StructlogOnRetryHook,))
