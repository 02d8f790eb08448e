"""Work in forks: each job in a process of its own, a few at a time."""

from __future__ import annotations

import os
import resource
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["KILLER", "pool"]

KILLER = "killer"
"""The file, in the folder for temporary files, in which a job may say what ended it."""

_ROOM = 6 << 30


def pool(jobs: Iterable[tuple[Any, float, Callable[[], int]]], workers: int) -> Iterator[tuple[Any, str, str]]:
    """Run jobs, each in a fork; yield their keys, whether they survived, were killed, or were late, and by which test.

    Args:
        jobs: For each its key, the seconds that it may take, and what returns its exit status.
        workers: How many run at once.
    """
    running: dict[int, tuple[Any, float, tempfile.TemporaryDirectory[str]]] = {}
    waiting = iter(jobs)
    job = next(waiting, None)
    while job is not None or running:
        if job is not None and len(running) < workers:
            key, seconds, work = job
            folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
            pid = os.fork()
            if pid == 0:
                _work(work, folder.name)
            running[pid] = key, time.monotonic() + seconds, folder
            job = next(waiting, None)
            continue
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            time.sleep(0.005)
            for late in [pid for pid, (_, until, _) in running.items() if time.monotonic() > until]:
                os.kill(late, signal.SIGKILL)
        elif pid in running:
            key, _, folder = running.pop(pid)
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)  # what its tests started
            killer = Path(folder.name, KILLER)
            by = killer.read_text() if killer.exists() else ""
            folder.cleanup()
            late = os.WIFSIGNALED(status) and os.WTERMSIG(status) in {signal.SIGKILL, signal.SIGPROF}
            yield key, "late" if late else "survived" if status == 0 else "killed", by


def _work(work: Callable[[], int], folder: str) -> None:
    status = 1
    try:
        os.setpgid(0, 0)
        os.environ |= {"TMPDIR": folder, "PYTEST_DEBUG_TEMPROOT": folder}
        tempfile.tempdir = folder
        resource.setrlimit(resource.RLIMIT_AS, (_ROOM, _ROOM))
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        status = work()
    finally:
        os._exit(status)
