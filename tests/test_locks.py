"""Locks that survive fork: free in the child, whoever held them in the parent, and never in the middle of an update."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from retrywrap import locks
from retrywrap.locks import new_lock

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


TOOLS = """
import os, signal, threading, time, warnings
from retrywrap.locks import new_lock

warnings.simplefilter("ignore", DeprecationWarning)  # of newer Pythons: threads and fork are the point here

def in_child(check):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        passed = False
        try:
            passed = check()
        finally:
            os._exit(0 if passed else 1)
    return os.waitpid(child, 0)[1] == 0

over = threading.Event()
def repeat(work):
    def repeated():
        while not over.is_set():
            work()
    thread = threading.Thread(target=repeated)
    thread.start()
    return thread
"""


def forked(program: str) -> str:
    """Return what a program prints that forks while it has threads.

    In a process of its own, because what measures coverage has locks that do not survive that. It has `in_child`, which
    forks and returns what a check says in the child, and `repeat`, which has a thread work until `over` is set.
    """
    command = [sys.executable, "-W", "error", "-c", TOOLS + textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    return done.stdout


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
    printed = forked("""
        lock = new_lock()
        def hold():
            with lock:
                time.sleep(0.001)
        threads = [repeat(hold), repeat(hold)]
        print(all(in_child(lambda: lock.acquire(timeout=5)) for _ in range(20)))
        over.set()
    """)
    assert printed == "True\n"


def test_a_child_never_inherits_half_an_update() -> None:
    """What is always changed together under the lock is the same in the child, too."""
    printed = forked("""
        lock = new_lock()
        pair = [0, 0]
        def change():
            with lock:
                pair[0] += 1
                time.sleep(0.0005)
                pair[1] += 1
        repeat(change)
        print(all(in_child(lambda: pair[0] == pair[1]) for _ in range(20)))
        over.set()
    """)
    assert printed == "True\n"


def test_the_parent_goes_on_after_a_fork() -> None:
    """In the parent the locks are free again, and new ones can be made, in any thread."""
    printed = forked("""
        lock = new_lock()
        print(in_child(lambda: True))
        def use():
            print(lock.acquire(timeout=5), new_lock().acquire(timeout=5))
        threading.Thread(target=use).start()
    """)
    assert printed == "True\nTrue True\n"


def test_a_thread_may_fork_while_it_holds_a_lock() -> None:
    """The forking thread's own hold goes with it into the child, which can let go of it."""
    printed = forked("""
        lock = new_lock()
        def check():
            lock.release()
            got = []
            thread = threading.Thread(target=lambda: got.append(lock.acquire(timeout=5)))
            thread.start()
            thread.join()
            return got == [True]
        with lock:
            print(in_child(check))
    """)
    assert printed == "True\n"


def test_making_locks_while_forking() -> None:
    """Threads that make locks at the moment of a fork neither break it nor stop the child from making its own."""
    printed = forked("""
        threads = [repeat(new_lock), repeat(new_lock)]
        print(all(in_child(lambda: new_lock().acquire(timeout=5)) for _ in range(10)))
        over.set()
    """)
    assert printed == "True\n"


def test_no_lock_is_made_during_a_fork() -> None:
    """One that another thread made, and took, between the taking of all locks and the fork would be held for ever."""
    made: list[object] = []
    thread = threading.Thread(target=lambda: made.append(new_lock()))
    locks._before_fork()
    thread.start()
    thread.join(0.05)
    before = list(made)
    locks._after_fork()
    thread.join(10)
    assert (before, len(made)) == ([], 1)


def test_threads_that_fork_at_once() -> None:
    """Each takes all locks in its turn, and none is left over in any child or in the parent."""
    printed = forked("""
        locks = [new_lock() for _ in range(30)]
        def check():
            return all(lock.acquire(timeout=5) for lock in locks)
        results = []
        fork = lambda: results.extend(in_child(check) for _ in range(10))
        threads = [threading.Thread(target=fork) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(results == [True] * 40, check())
    """)
    assert printed == "True True\n"


def test_a_second_thread_forks_only_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is still taking locks is not overtaken: what it has taken already would be missing for the other."""
    steps: list[str] = []
    second_is_in = threading.Event()

    class Gate:
        """Lets the second thread through first, if it ever comes here before the first one goes on."""

        def __init__(self) -> None:
            self.came = 0

        def acquire(self) -> None:
            self.came += 1
            if self.came == 1:
                second.start()
                second_is_in.wait(0.1)

        def release(self) -> None:
            return

    def fork(name: str) -> None:
        locks._before_fork()
        steps.append(f"{name} in")
        if name == "second":
            second_is_in.set()
        steps.append(f"{name} out")
        locks._after_fork()

    second = threading.Thread(target=fork, args=("second",))
    monkeypatch.setattr(locks, "_locks", [threading.RLock(), Gate(), threading.RLock()])
    fork("first")
    second.join(10)
    assert steps == ["first in", "first out", "second in", "second out"]
    assert locks._held == []


class Passing:
    """A lock that hands over: as soon as it is free, another thread comes in, before its last holder goes on."""

    def __init__(self, come_in: Callable[[], None]) -> None:
        self.lock = threading.RLock()
        self.come_in = come_in
        self.depth = 0

    def acquire(self, blocking: bool = True) -> bool:
        got = self.lock.acquire(blocking)
        self.depth += got
        return got

    def release(self) -> None:
        self.depth -= 1
        self.lock.release()
        if self.depth == 0:
            come_in, self.come_in = self.come_in, lambda: None
            come_in()


def test_what_the_next_thread_has_taken_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that forked releases what it took itself, even where the next one forks before it looks again."""
    inside, go_on = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def fork() -> None:
        try:
            locks._before_fork()
            inside.set()
            go_on.wait(10)
            locks._after_fork()
        except BaseException as error:
            failed.append(error)

    def come_in() -> None:
        second.start()
        assert inside.wait(10)

    second = threading.Thread(target=fork)
    mine = threading.RLock()
    monkeypatch.setattr(locks, "_locks", [mine])
    monkeypatch.setattr(locks, "_forking", Passing(come_in))
    locks._before_fork()
    locks._after_fork()
    assert len(locks._held) == 3
    go_on.set()
    second.join(10)
    assert (failed, locks._held) == ([], [])
    assert mine.acquire(blocking=False)


def test_a_fork_that_took_nothing_releases_nothing() -> None:
    """Ctrl-C while it waits for its turn: what is held then is another thread's, who still needs it."""
    locks._before_fork()
    before = list(locks._held)
    other = threading.Thread(target=locks._after_fork)
    other.start()
    other.join(10)
    after = list(locks._held)
    locks._after_fork()
    assert after == before != []
    assert locks._held == []


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

        def release(self) -> None:
            raise RuntimeError("cannot release un-acquired lock")

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
    free = [lock.acquire(timeout=5) for lock in (outer, *made)]
    os._exit(0 if free == [True, True] else 1)
print(os.waitpid(pid, 0)[1])
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "0\n", done.stderr
