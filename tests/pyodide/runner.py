"""Run pytest inside Pyodide: what no WebAssembly has is left out by name, what a test asks of it skips that test.

`run.mjs` hands this file to Pyodide. It is no module of the suite, and nothing imports it.
"""

import asyncio
import concurrent.futures
import os
import sys
import threading
import time
import types
import warnings

import pytest

RUN = """
    backoff budget classifiers_guard classifiers_http classifiers_tables classifiers_verdict codes config context
    defects edges errors faults files fuzz_config hooks hostile_depth hostile_errors hostile_hooks hostile_secrets
    inventory locks model_backoff model_budget model_context model_programs model_registry naming observe planning
    plugin presets reports scope semantics testing
"""
"""What is run, but for the tests that ask for what is missing.

Not run: what is a matter of processes, signals and sockets (``cli_*``, ``import``, ``native``, ``pytest_plugin``,
``real_*``, ``servers_*``); of Linux's files, limits and ``/proc`` (``atomic``, ``logfile``, ``reader``, ``store``), of
its numbers of errors (``log``, ``registry``, most ``classifiers_*``) and depth of its stack (``classifiers_chain``,
``classifiers_hostile``); of speed (``benchmarks``); of the source, which is the same everywhere (``structure``,
``typing``, ``examples``, ``listing``); ``bad_input``, a thousand rows that know no platform; and ``track``, which is
about the build in C.
"""


LEAST = 2500
"""How many of these tests pass at least: fewer, and something is wrong with how they are run."""


class Unavailable:
    """Stands for a function that this platform does not have: the test that calls it is skipped, and says why."""

    def __init__(self, what):
        self.what = what

    def __call__(self, *arguments, **named):
        pytest.skip(f"WebAssembly has no {self.what}")


class Idle:
    """What an event loop selects from where there is no socket: nothing ever comes, so it is a sleep."""

    def select(self, timeout):
        if timeout is None:
            raise RuntimeError("the event loop would wait for ever: nothing here can wake it")
        if timeout > 0:
            time.sleep(timeout)
        return []

    def close(self):
        pass


class Loop(asyncio.BaseEventLoop):
    """An event loop that sleeps until a timer is due. Pyodide's own cannot block, as `asyncio.run` must."""

    def __init__(self):
        super().__init__()
        self._selector = Idle()

    def _process_events(self, events):
        pass

    def _write_to_self(self):
        pass


def outside():
    """Say, as trio does, that the caller is in no task of it."""
    raise RuntimeError("must be called from async context")


def no_trio(main, *arguments):
    """Stand for `trio.run`."""
    main(*arguments).close()
    pytest.skip("WebAssembly has no sockets, which trio needs")


def prepare():
    """Make this interpreter one in which `asyncio.run` works and what is missing is said."""
    asyncio._set_running_loop(None)  # Pyodide's is marked as running for good: a plain program has none
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # policies: deprecated in 3.14, and what Pyodide has

        class Policy(asyncio.DefaultEventLoopPolicy):
            _loop_factory = Loop

        asyncio.set_event_loop_policy(Policy())
    threading.Thread.start = Unavailable("threads")
    import subprocess

    subprocess.Popen.__init__ = Unavailable("processes")
    os.fork = Unavailable("processes")
    os.mkfifo = Unavailable("named pipes")
    concurrent.futures.ProcessPoolExecutor = Unavailable("processes")
    sys.modules["trio"] = trio = types.ModuleType("trio")
    trio.run = no_trio
    trio.lowlevel = types.SimpleNamespace(current_task=outside)
    sys.modules["pwd"] = types.ModuleType("pwd")  # only tests of servers ask for users


class Slow:
    """What pytest is told of a slow interpreter, and what it passes there."""

    passed = 0

    def pytest_runtest_logreport(self, report):
        self.passed += report.when == "call" and report.passed

    def pytest_configure(self, config):
        import hypothesis

        hypothesis.settings.register_profile("few", max_examples=10, deadline=None)
        hypothesis.settings.load_profile("few")


def main(source, options):
    os.chdir(source + "/" + os.listdir(source)[0])
    prepare()
    chosen = any(each.startswith("tests") for each in options)
    files = [] if chosen else [f"tests/test_{name}.py" for name in RUN.split()]
    slow = Slow()
    status = int(pytest.main(["-o", "faulthandler_timeout=0", *files, *options], plugins=[slow]))
    if status == 0 and not chosen and slow.passed < LEAST:
        print(f"only {slow.passed} tests passed, {LEAST} should have", file=sys.stderr)
        return 1
    return status
