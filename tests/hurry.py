"""Threads that take turns as often as the interpreter can make them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable

__all__ = ["run_hurried"]


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
