"""Threads that take turns as often as the interpreter can make them."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable

__all__ = ["HAS_GLOBAL_LOCK", "ROUNDS", "run_hurried"]

ROUNDS = int(os.environ.get("CONCURRENCY_ROUNDS", "1"))
"""How many times as long as in a usual run the campaigns of ``test_concurrency_*.py`` are."""


HAS_GLOBAL_LOCK = getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether this Python has its global lock. Without it, what another thread holds at a fork (any dict, of whatever
program) stays locked in the child, and `sys.getallocatedblocks` counts what waits to be freed as well."""


def run_hurried(works: Iterable[Callable[[], object]]) -> None:
    """Run functions at the same time, each in a thread of its own, at a switch interval of a microsecond."""
    threads = [threading.Thread(target=work) for work in works]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
