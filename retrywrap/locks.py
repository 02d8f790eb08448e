"""Locks that survive `os.fork`: a child never inherits one that a vanished thread holds, nor a half-made update.

They are re-entrant, because a signal handler or a finalizer may fail, and so record, in the middle of a recording.
Rule of the house: no thread ever asks for a second one while it holds one (making one is allowed), so that taking them
all before a fork cannot deadlock.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import suppress

__all__ = ["importing", "new_lock", "process_id"]

_forking = threading.RLock()
_registry_lock = threading.RLock()
_locks: weakref.WeakSet[threading.RLock] = weakref.WeakSet()
_held: list[threading.RLock] = []


def new_lock() -> threading.RLock:
    """Return a new re-entrant lock that is held over every later `os.fork`."""
    lock = threading.RLock()
    with _registry_lock:
        _locks.add(lock)
    return lock


importing = new_lock()
"""Held over each import that a first failure makes: a child could never end one that another thread had begun."""


def process_id() -> int:
    """Return the number of this process, which a fork changes."""
    return os.getpid()


def _before_fork() -> None:
    """Take every lock, and last the one that guards the making of locks: who holds one of the others may make more.

    One thread at a time: two that fork at once would each wait for what the other has taken.
    """
    _take(_forking)
    while True:
        with _registry_lock:
            missing = [lock for lock in _locks if not any(lock is held for held in _held)]
            if not missing:
                _take(_registry_lock)
                return
        for lock in missing:
            _take(lock)


def _take(lock: threading.RLock) -> None:
    try:
        lock.acquire()
    except BaseException:  # Ctrl-C, which may come as soon as it is taken, or while another thread has it
        with suppress(RuntimeError):
            lock.release()
        raise
    _held.append(lock)  # one by one: Ctrl-C may end this anywhere, and what was not taken cannot be released


def _after_fork() -> None:
    if not _forking.acquire(blocking=False):  # Ctrl-C came before anything was taken: what is held is another thread's
        return
    try:
        while _held:
            _held.pop().release()
    finally:
        _forking.release()  # and not before the list is empty: from then on it is the next thread's


if hasattr(os, "register_at_fork"):  # pragma: no branch - absent on Windows only
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
