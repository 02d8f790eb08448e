"""Locks that survive fork: free in the child, whoever held them in the parent, and never in the middle of an update."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from retrywrap import locks
from retrywrap.locks import new_lock

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]


def in_child(check: Callable[[], bool]) -> bool:
    """Fork, and return what `check` returned in the child; False where it raised or took longer than ten seconds."""
    child = os.fork()
    if child == 0:
        passed = False
        try:
            signal.alarm(10)
            passed = check()
        finally:
            os._exit(0 if passed else 1)
    return os.waitpid(child, 0)[1] == 0


@contextmanager
def running(work: Callable[[], object]) -> Iterator[None]:
    """Have a thread do some work again and again."""
    over = threading.Event()

    def repeat() -> None:
        while not over.is_set():
            work()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(10)


def test_a_lock_is_reentrant() -> None:
    """A thread may take it again while it has it, as a signal handler that fails in a recording does."""
    lock = new_lock()
    with lock, lock:
        assert lock.acquire(blocking=False)
        lock.release()


def test_a_lock_excludes_other_threads() -> None:
    """Another thread waits for it."""
    lock = new_lock()
    got: list[bool] = []
    with lock:
        thread = threading.Thread(target=lambda: got.append(lock.acquire(timeout=0.01)))
        thread.start()
        thread.join(10)
    assert got == [False]


def test_a_child_never_inherits_a_lock_that_is_held() -> None:
    """However often other threads hold the lock when the process forks, the child can take it."""
    lock = new_lock()

    def hold() -> None:
        with lock:
            time.sleep(0.001)

    with running(hold), running(hold):
        assert all(in_child(lambda: lock.acquire(timeout=5)) for _ in range(20))


def test_a_child_never_inherits_half_an_update() -> None:
    """What is always changed together under the lock is the same in the child, too."""
    lock = new_lock()
    pair = [0, 0]

    def change() -> None:
        with lock:
            pair[0] += 1
            time.sleep(0.0005)
            pair[1] += 1

    with running(change):
        assert all(in_child(lambda: pair[0] == pair[1]) for _ in range(20))


def test_the_parent_goes_on_after_a_fork() -> None:
    """In the parent the locks are free again, and new ones can be made, in any thread."""
    lock = new_lock()
    assert in_child(lambda: True)
    got: list[bool] = []
    thread = threading.Thread(target=lambda: got.extend([lock.acquire(timeout=5), new_lock().acquire(timeout=5)]))
    thread.start()
    thread.join(10)
    assert got == [True, True]


def test_a_thread_may_fork_while_it_holds_a_lock() -> None:
    """The forking thread's own hold goes with it into the child, which can let go of it."""
    lock = new_lock()

    def check() -> bool:
        lock.release()
        got: list[bool] = []
        thread = threading.Thread(target=lambda: got.append(lock.acquire(timeout=5)))
        thread.start()
        thread.join(10)
        return got == [True]

    with lock:
        assert in_child(check)


def test_making_locks_while_forking() -> None:
    """Threads that make locks at the moment of a fork neither break it nor stop the child from making its own."""
    with running(new_lock), running(new_lock):
        assert all(in_child(lambda: new_lock().acquire(timeout=5)) for _ in range(10))


def test_locks_are_not_kept_alive() -> None:
    """Nobody but its user holds a lock: one per scope would otherwise fill the memory."""
    lock = new_lock()
    gone = weakref.ref(lock)
    del lock
    gc.collect()
    assert gone() is None


def test_an_interrupt_before_the_fork_leaves_every_lock_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the locks are being taken: those that were taken are released, the others left alone."""

    class Interrupted:
        def acquire(self) -> None:
            raise KeyboardInterrupt

    taken = threading.RLock()
    monkeypatch.setattr(locks, "_locks", [taken, Interrupted(), threading.RLock()])
    with pytest.raises(KeyboardInterrupt):
        locks._before_fork()
    locks._after_fork()
    monkeypatch.undo()
    got: list[bool] = []
    thread = threading.Thread(target=lambda: got.extend([taken.acquire(timeout=5), new_lock().acquire(timeout=5)]))
    thread.start()
    thread.join(10)
    assert got == [True, True]
    assert locks._held == []


def test_a_lock_may_be_made_under_another_while_a_third_thread_forks() -> None:
    """Loading a module under a lock makes more locks; a fork meanwhile neither deadlocks nor misses the new one."""
    program = """
import os, threading
from retrywrap.locks import new_lock
outer, entered, go_on = new_lock(), threading.Event(), threading.Event()
made = []
def load():
    with outer:
        entered.set()
        go_on.wait(1)
        made.append(new_lock())
        made[0].acquire(); made[0].release()
thread = threading.Thread(target=load)
thread.start()
entered.wait()
threading.Timer(0.05, go_on.set).start()
pid = os.fork()
if pid == 0:
    os._exit(0 if made and made[0].acquire(timeout=5) and outer.acquire(timeout=5) else 1)
print(os.waitpid(pid, 0)[1])
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "0\n", done.stderr
