"""One write, or a handful of log lines, with a fault at one system call; what came of it, as a record.

Run as a module, with the shim preloaded, it makes trials and prints each record as a line of JSON.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, TypeAlias

from retrywrap import FILES, RetryPolicy, config, configure, registry, with_retry, write_file
from retrywrap.record.store import ErrorLog
from retrywrap.testing import VirtualClock, reset

from .faults import ALWAYS, Fault, Shim, What, native_shim

__all__ = ["LINES", "LOGS", "NEW", "OLD", "WRITES", "Record", "line", "trials"]

Record: TypeAlias = "dict[str, Any]"

NUMBERS = [
    errno.EIO,
    errno.ENOSPC,
    errno.EINTR,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.ESTALE,
]
OLD = b"old content\n" * 100
NEW = b"the new content, which is longer\n" * 100
LINES = 6

WRITES: dict[str, dict[str, Any]] = {
    "durable": {},
    "quick": {"durable": False},
    "new": {},
    "link": {},
    "dangling": {},
    "owner": {},
    "retried": {"policy": FILES},
}
LOGS: dict[str, tuple[int | None, int | None]] = {
    "rotating": (100, None),
    "cleaning": (100, 2),
    "plain": (None, None),
    "operation": (None, None),
}


def line(number: int) -> str:
    """Return a line of the log in these trials."""
    return f"[{number}] Error -6: {'x' * 20} {number}"


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def write_trial(kind: str, folder: Path, shim: Shim, faults: list[Fault]) -> Record:
    """Write a file once, or with retry, while the faults are in force."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    reset()
    target = path = folder / "file"
    if kind not in ("new", "dangling"):
        target.write_bytes(OLD)
        target.chmod(0o4640)
    if kind == "owner":
        os.chown(target, 12345, 54321)
        target.chmod(0o4640)  # the change of owner cleared it
    if kind in ("link", "dangling"):
        path = folder / "link"
        path.symlink_to("file")
    options = {"policy": RetryPolicy(max=0), **WRITES[kind]}
    configure(events=False)
    before = _descriptors()
    outcome: Any
    with VirtualClock() as clock:
        with shim(faults) as story:
            try:
                outcome = write_file(path, NEW, **options)
            except OSError as error:
                outcome = f"OSError {error.errno}"
                text = str(error)
            else:
                text = ""
        waits = clock.waits
    about = target.stat() if target.exists() else None
    return {
        "outcome": outcome,
        "text": text,
        "waits": len(waits),
        "errors": registry.error_count,
        "content": None if about is None else {OLD: "old", NEW: "new"}.get(target.read_bytes(), "neither"),
        "mode": about and oct(stat.S_IMODE(about.st_mode)),
        "owner": about and (about.st_uid, about.st_gid),
        "link": path == target or path.is_symlink(),
        "left": sorted(set(os.listdir(folder)) - {"file", "link"}),
        "leaked": _descriptors() - before,
        "story": story,
    }


class _Warnings(logging.Handler):
    """Keeps what the logger ``retrywrap`` is told."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def log_trial(kind: str, folder: Path, shim: Shim, faults: list[Fault]) -> Record:
    """Write lines into an error log while the faults are in force, and one afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    reset()
    path = folder / "a" / "logs"
    if kind == "plain":
        path = folder / "backup_error_1.log"
        path.touch()
    if kind == "cleaning":
        path.mkdir(parents=True)
        for number in range(3):
            (path / f"backup_error_{number}.log").write_text("[0] Error -1: of a dead process\n")
    before = _descriptors()
    handler = _Warnings()
    logging.getLogger("retrywrap").addHandler(handler)
    try:
        log, results, story, outcome = (_operate if kind == "operation" else _log)(kind, path, shim, faults)
    finally:
        logging.getLogger("retrywrap").removeHandler(handler)
    files = sorted(folder.rglob("*.log"))
    record = {
        "results": results,
        "outcome": outcome,
        "counts": (log.written, log.dropped),
        "warnings": handler.texts,
        "files": [file.read_text() for file in files],
        "modes": sorted({oct(stat.S_IMODE(file.stat().st_mode)) for file in files if file.stat().st_size}),
        "story": story,
    }
    log.close()
    reset()
    del log
    return {**record, "leaked": _descriptors() - before}


def _log(kind: str, path: Path, shim: Shim, faults: list[Fault]) -> tuple[ErrorLog, list[bool], list[str], Any]:
    max_bytes, max_files = LOGS[kind]
    log = ErrorLog(path, max_bytes=max_bytes, max_files=max_files, clock=lambda: 1_700_000_000.0)
    with shim(faults) as story:
        results = [log.write(number, -6, f"{'x' * 20} {number}") for number in range(LINES)]
    results.append(log.write(LINES, -6, f"{'x' * 20} {LINES}"))
    return log, results, story, None


def _operate(kind: str, path: Path, shim: Shim, faults: list[Fault]) -> tuple[ErrorLog, list[bool], list[str], Any]:
    configure(error_store_path=str(path), events=False)
    log: Any = config._in_force.state.error_log
    calls: list[int] = []

    def fail() -> None:
        calls.append(0)
        raise ConnectionResetError(f"{'x' * 20} {len(calls) - 1}")

    @with_retry(max=2, interval=1)
    def lost() -> None:
        fail()

    @with_retry(max=2, interval=1)
    def recovering() -> str:
        if len(calls) < LINES - 1:
            fail()
        return "the value"

    outcome: list[str] = []
    with VirtualClock(), shim(faults) as story:
        try:
            lost()
        except Exception as error:
            outcome.append(repr(error))
        try:
            outcome.append(recovering())
        except Exception as error:
            outcome.append(repr(error))
    outcome.append(str(registry.error_count))
    again = log.write(LINES, -6, f"{'x' * 20} {LINES}")
    return log, [again], story, outcome


_TRIALS: dict[str, Callable[..., Record]] = {
    **dict.fromkeys(WRITES, write_trial),
    **dict.fromkeys(LOGS, log_trial),
}


def _faults(story: list[str]) -> Iterator[list[Fault]]:
    """Yield, for a story without faults, those to be tried: each call fails, once and from then on, in each way."""
    for call in dict.fromkeys(story):
        for first in range(story.count(call)):
            for number in NUMBERS:
                yield [Fault(call, first, 1, What.FAIL, number)]
            yield [Fault(call, first, 1, What.FAIL_AFTER, errno.EIO)]
            for number in (errno.EIO, errno.ENOSPC):
                yield [Fault(call, first, ALWAYS, What.FAIL, number)]
                yield [
                    Fault(call, first, 1, What.FAIL, number),
                    Fault("unlink", 0, ALWAYS, What.FAIL, errno.EACCES),
                ]
            if call == "write":
                yield [Fault(call, first, 1, What.SHORT)]
                yield [Fault(call, first, ALWAYS, What.SHORT)]
                yield [Fault(call, first, 1, What.SHORT), Fault("write", first + 1, 1, What.FAIL, errno.ENOSPC)]
                yield [Fault(call, first, 1, What.SHORT), Fault("ftruncate", 0, ALWAYS, What.FAIL, errno.EIO)]


def _sample(story: list[str]) -> Iterator[list[Fault]]:
    """Yield so many of `_faults` that each call fails at each place, and each way and errno has its turn."""
    turns = cycle([*range(len(NUMBERS)), *range(len(NUMBERS), len(NUMBERS) + 5)])
    for call in dict.fromkeys(story):
        for first in range(story.count(call)):
            ways = [faults for faults in _faults([call] * (first + 1)) if faults[0].first == first]
            yield ways[next(turns)]
            yield from ways[-4:] if call == "write" and first in (0, 1) else ()


def trials(kind: str, folder: Path, shim: Shim, amount: str) -> Iterator[Record]:
    """Make ``every`` trial of a kind, a ``sample``, or ``none`` but the first, which is without a fault."""
    trial = _TRIALS[kind]
    trial(kind, folder / "trial", shim, [])  # loads what is loaded at first use
    well = trial(kind, folder / "trial", shim, [])
    yield {"faults": [], **well}
    choose = {"every": _faults, "sample": _sample, "none": lambda _: ()}[amount]
    for faults in choose(well["story"]):
        yield {"faults": faults, **trial(kind, folder / "trial", shim, faults)}


def main() -> None:
    """Print the records of all trials of some kinds, each with its kind."""
    folder, amount, *kinds = sys.argv[1:]
    logging.getLogger("retrywrap").propagate = False
    for kind in kinds:
        for record in trials(kind, Path(folder), native_shim, amount):
            print(json.dumps({"kind": kind, **record}))


if __name__ == "__main__":
    main()
