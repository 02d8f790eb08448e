"""A process and all that it started: who is to be ended together where a process group cannot tell."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

__all__ = ["descends_from", "family", "send_to"]

Family = dict[int, str]
"""By process id: when it started, so that a number that was given to another process is not taken for the old one."""


def family(root: int) -> Family:
    """Return a process and its living descendants, parents first; nothing where there is no ``/proc`` to ask."""
    started, children = {}, dict[int, list[int]]()
    for pid, parent, start in _processes():
        started[pid] = start
        children.setdefault(parent, []).append(pid)
    found: Family = {}
    pending = [root]
    while pending:
        pid = pending.pop()
        if pid in started and pid not in found:
            found[pid] = started[pid]
            pending.extend(children.get(pid, ()))
    return found


def descends_from(pid: int, ancestor: int) -> bool:
    """Return whether a process was started by another, directly or not."""
    return pid != ancestor and pid in family(ancestor)


def send_to(members: Family, number: int) -> None:
    """Send a signal to those that still live."""
    for pid, start in members.items():
        about = _about(pid)
        if about is not None and about[1] == start:
            with suppress(OSError):
                os.kill(pid, number)


def _processes() -> Iterator[tuple[int, int, str]]:
    try:
        names = os.listdir("/proc")
    except OSError:
        return
    for name in names:
        if name.isdigit() and (about := _about(int(name))) is not None:
            yield int(name), *about


def _about(pid: int) -> tuple[int, str] | None:
    """Return a process's parent and when it started (fields 4 and 22 of proc(5)'s ``stat``); None: it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return int(fields[1]), fields[19].decode()
    except (OSError, ValueError, IndexError):
        return None
