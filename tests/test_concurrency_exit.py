"""The interpreter's end, while threads retry, wait and record: no hang, no crash, the exit status as it should be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from hurry import ROUNDS

START = """
import asyncio, atexit, os, signal, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
import retrywrap
from retrywrap import configure, registry, retry_scope, subscribe, with_retry
configure(events=False)

def fails():
    raise ConnectionResetError("gone")

waiting = threading.Semaphore(0)
subscribe(lambda event: waiting.release() if event.wait == 3600 else None)

@with_retry(interval=3600)
def waits():
    fails()

@with_retry(max=2, interval=0)
def busy():
    fails()

def forever(work):
    while True:
        try:
            work()
        except ConnectionResetError:
            pass

def thread(work, *arguments, daemon=True):
    made = threading.Thread(target=work, args=arguments, daemon=daemon)
    made.start()

def kill(number):
    "Send a signal to those who wait; again, where it came just before the wait, which does not notice."
    waiting.acquire()
    while True:
        time.sleep(0.5)
        os.kill(os.getpid(), number)

def quiet():
    try:
        waits()
    except ConnectionResetError:
        pass
"""


def ends(program: str) -> tuple[int, str, str]:
    """Return how a program ended: its exit status, what it printed, what it said of errors."""
    command = [sys.executable, "-X", "faulthandler", "-c", START + program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "Fatal Python error" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_daemon_threads_that_wait() -> None:
    """They do not keep the program."""
    program = "for _ in range(3): thread(quiet)\nfor _ in range(3): waiting.acquire()\nprint('over')"
    assert ends(program) == (0, "over\n", "")


@pytest.mark.parametrize("round", range(3 * ROUNDS))
def test_daemon_threads_that_fail_all_the_time(round: int) -> None:
    """Wherever they are when the interpreter goes: in the fast path, in a listener, at the registry's lock."""
    program = f"""
sys.setswitchinterval(1e-6)
thread(forever, busy)
thread(forever, with_retry(max=2, interval=0, budget="b")(fails))
thread(forever, registry.snapshot)
time.sleep(0.002 + {round} * 0.0037)
print("over")
"""
    assert ends(program) == (0, "over\n", "")


def test_threads_that_wait_are_ended_by_shutdown() -> None:
    """Python waits for threads that are no daemons: `retrywrap.shutdown` has them let their last error out."""
    program = """
for _ in range(3): thread(quiet, daemon=False)
for _ in range(3): waiting.acquire()
retrywrap.shutdown()
print("over")
"""
    assert ends(program) == (0, "over\n", "")


def test_a_pool_that_waits_is_ended_by_shutdown() -> None:
    """Its threads are joined at the interpreter's end, and their futures have the last error."""
    program = """
pool = ThreadPoolExecutor(3)
futures = [pool.submit(waits) for _ in range(3)]
for _ in range(3): waiting.acquire()
atexit.register(lambda: print([type(future.exception()).__name__ for future in futures]))
retrywrap.shutdown()
"""
    assert ends(program) == (0, f"{['ConnectionResetError'] * 3}\n", "")


@pytest.mark.parametrize("first", [True, False], ids=["the first failure", "a later one"])
def test_an_exit_handler_retries(first: bool) -> None:
    """At the interpreter's end, what failed is retried, waited for, recorded and logged."""
    program = f"""
if not {first}:
    quiet_busy = with_retry(max=1, interval=0, on=KeyError)(lambda: None)
    try: busy()
    except ConnectionResetError: pass
configure(events=True)
calls = []
@with_retry(max=3, interval=0.001)
def save():
    calls.append(1)
    if len(calls) < 3:
        fails()
    print("saved", len(calls))
atexit.register(save)
"""
    status, printed, said = ends(program)
    assert (status, printed) == (0, "saved 3\n")
    assert said.count("retry.scheduled") == 2
    assert "Traceback" not in said


@pytest.mark.parametrize("where", ["function", "listener", "before_retry", "block"])
def test_sys_exit_in_the_midst(where: str) -> None:
    """It is not retried, and its status is the program's, while other threads wait."""
    program = f"""
where = {where!r}
thread(quiet)
waiting.acquire()
def leave(*_):
    sys.exit(3)
if where == "function":
    with_retry(max=3, interval=0)(leave)()
elif where == "listener":
    subscribe(leave)
    busy()
elif where == "before_retry":
    with_retry(max=3, interval=0, before_retry=leave)(fails)()
else:
    for attempt in retry_scope(max=3, interval=0):
        with attempt:
            leave() if attempt.number == 2 else fails()
"""
    assert ends(program) == (3, "", "")


def test_a_finalizer_that_fails_at_the_very_end() -> None:
    """When the modules are taken down, nothing can be retried any more: an error comes out, and nothing crashes."""
    program = """
def lost(error=ConnectionResetError):
    raise error("gone")

class Connection:
    def __del__(self, close=with_retry(max=2, interval=3600)(lost), write=os.write, every=Exception):
        try:
            close()
        except every:
            write(1, b"failed ")

sys.connection = Connection()
cycle = [Connection()]
cycle.append(cycle)
"""
    assert ends(program) == (0, "failed failed ", "")


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_signal_handler_that_shuts_down() -> None:
    """The main thread waits for an hour; SIGTERM ends that, the last error comes out, and is the program's end."""
    program = """
signal.signal(signal.SIGTERM, lambda *_: retrywrap.shutdown())
thread(kill, signal.SIGTERM)
waits()
"""
    status, _, said = ends(program)
    assert status == 1
    assert "ConnectionResetError: gone" in said
    assert "retrywrap was shut down" in said


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("is_async", [False, True])
def test_ctrl_c_ends_a_program_that_waits(is_async: bool) -> None:
    """In a thread's wait, and in a task's: the status is that of any program that is interrupted."""
    program = f"""
signal.signal(signal.SIGINT, signal.default_int_handler)
thread(kill, signal.SIGINT)
@with_retry(interval=3600)
async def awaits():
    fails()
asyncio.run(awaits()) if {is_async} else waits()
"""
    status, _, said = ends(program)
    assert status == -signal.SIGINT
    assert said.rstrip().endswith("KeyboardInterrupt")
