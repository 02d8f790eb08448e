"""pytest's plugin, in runs of its own: the fixtures, and the campaign of ``--retry-inject``."""

from __future__ import annotations

import re
import subprocess
import sys
from textwrap import dedent

import pytest

pytest_plugins = ["pytester"]


def run(pytester: pytest.Pytester, tests: str, *arguments: str, app: str = "") -> pytest.RunResult:
    """Run tests in a process of their own."""
    pytester.makepyfile(app="from retrywrap import with_retry\n" + dedent(app), test_it=dedent(tests))
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-q", *arguments, timeout=100)


def report(result: pytest.RunResult) -> list[str]:
    """Return the lines of the campaign's report, with single blanks."""
    lines = [" ".join(line.split()) for line in result.outlines]
    start = next(i for i, line in enumerate(lines) if "faults injected into what is retried" in line)
    return [line for line in lines[start + 1 :] if line and " passed" not in line]


FIXTURES = """
    import time
    import pytest
    import retrywrap
    from retrywrap import with_retry

    retrywrap.registry.record_error(-6, "before")

    @with_retry(max=3, interval=60, name="op")
    def operation(left):
        if left:
            raise ConnectionResetError(left.pop())
        return "done"

    def test_clock_and_events(retry_clock, retry_events):
        before = time.monotonic()
        assert operation(["a", "b"]) == "done"
        assert time.monotonic() - before < 30
        assert retry_clock.waits == [60.0, 60.0]
        retry_events.expect(operation, attempts=3, waits=[60, 60], outcome="recovered")

    def test_disabled(retries_disabled):
        with pytest.raises(ConnectionResetError):
            operation(["a"])

    @pytest.mark.parametrize("turn", [1, 2])
    def test_registry(retry_registry, retry_clock, turn):
        assert retry_registry is retrywrap.registry
        assert not retry_registry.last_error
        assert retry_registry.errors == ()
        assert retry_registry.by_code == {}
        operation(["a"])
        assert retry_registry.stats("op").errors == 1
        assert retry_registry.stats("op").succeeded_at_once in (0, None)
        operation([])
        assert retry_registry.stats("op").succeeded_at_once in (1, None)

    def test_the_registry_has_what_it_had_before():
        assert str(retrywrap.registry.errors[0]) == "before"
        assert retrywrap.registry.stats("op").errors == 3
        assert retrywrap.registry.stats("op").succeeded_at_once in (0, None)
"""


def test_the_fixtures(pytester: pytest.Pytester) -> None:
    """Virtual time, events, one attempt, and a registry of one's own for each test."""
    run(pytester, FIXTURES, "-W", "error").assert_outcomes(passed=5)


def test_the_fixtures_explain_themselves(pytester: pytest.Pytester) -> None:
    """``pytest --fixtures`` has them."""
    found = run(pytester, "", "--fixtures").stdout.str()
    for name in ("retry_clock", "retries_disabled", "retry_events", "retry_registry"):
        assert name in found


def test_a_run_that_does_not_ask_for_it_loads_nothing() -> None:
    """The plugin is in every test run where retrywrap is installed."""
    code = "import sys; import retrywrap.pytest_plugin; print(*sorted(m for m in sys.modules if m[:9] == 'retrywrap'))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.split() == ["retrywrap", "retrywrap.lazy", "retrywrap.pytest_plugin"]


APP = """
    class Store:
        def __init__(self):
            self.items, self.begun = [], 0

        @with_retry(max=3, interval=1)
        def put(self, item):
            self.items.append(fetch(item))

        def put_badly(self, item):
            self.begun = 0
            return self._put_badly(item)

        @with_retry(max=3, interval=1)
        def _put_badly(self, item):
            self.begun += 1
            if self.begun > 1:
                raise RuntimeError("begun already")
            inner(item)

    @with_retry(max=3, interval=1)
    def fetch(item): return item

    @with_retry(max=0)
    def inner(item): return item

    @with_retry(max=3, interval=0)
    def hot(item): return item

    @with_retry(max=None, timeout=10**9, interval=1)
    def endless(item): return item

    @with_retry(max=3, interval=1)
    async def later(item): return item

    class Odd(Exception):
        def __init__(self, one, two): pass

    @with_retry(max=3, interval=1, on=(Odd, KeyError), classifier=lambda error: -1)
    def picky(item): return item

    @with_retry(policy="nobody defines it")
    def undefined(item): return item

    @with_retry(idempotent=False, interval=1)
    def careful(item): return item

    @with_retry
    def unused(item): return item
"""

TESTS = """
    import asyncio
    import unittest
    import pytest
    import app

    def test_put():
        store = app.Store()
        store.put(1)
        assert store.items == [1]

    def test_fetch_and_hot():
        assert app.fetch(1) + app.hot(1) + app.hot(1) == 3

    def test_endless():
        assert app.endless(1) == 1

    def test_inner():
        assert app.inner(1) == 1

    def test_later():
        assert asyncio.run(app.later(1)) == 1

    def test_picky_and_careful():
        assert app.picky(1) + app.careful(1) == 2

    class TestCase(unittest.TestCase):
        def test_unit(self):
            self.assertEqual(app.fetch(2), 2)

    @pytest.fixture(scope="session")
    def fetched():
        return app.fetch(3)

    def test_by_fixture(fetched):
        assert fetched == 3

    def test_local():
        from retrywrap import with_retry

        @with_retry(max=1, interval=1)
        def local():
            return 5

        assert local() == 5
"""


def test_the_campaign(pytester: pytest.Pytester) -> None:
    """Each function is tried by the tests that reach it, and the report says what came of it; nothing is bad here."""
    app = APP.replace("interval=0", "interval=1").replace("timeout=10**9", "timeout=20")
    result = run(pytester, TESTS, "--retry-inject", app=app)
    result.assert_outcomes(passed=9)
    assert result.ret == 0
    found = report(result)
    assert [line.split(" (")[0] for line in found if ".py:" in line and "::" not in line] == [
        "not retried - app.inner",
        "survived 1 test app.Store.put",
        "survived 1 test app.careful",
        "survived 1 test app.endless",
        "survived 3 tests app.fetch",
        "survived 1 test app.hot",
        "survived 1 test app.later",
        "survived 1 test app.picky",
        "survived 1 test test_it.test_local.<locals>.local",
        "never reached - app.Store._put_badly",
        "never reached - app.undefined",
        "never reached - app.unused",
    ]
    assert found[-1] == "1 not retried, 8 survived, 3 never reached"


BAD = """
    import app

    def test_hot():
        assert app.hot(1) == 1

    def test_endless():
        assert app.endless(1) == 1
"""


def test_the_campaign_finds_what_has_no_end_and_no_wait(pytester: pytest.Pytester) -> None:
    """The run fails, and names the tests."""
    result = run(pytester, BAD, "--retry-inject", app=APP)
    assert result.ret == 1
    found = "\n".join(report(result))
    assert re.search(
        r"no cap 1 test app.endless \(app.py:\d+\)\ntest_it.py::test_endless: 101 attempts of one op", found
    )
    assert re.search(r"no delay 1 test app.hot \(app.py:\d+\)\ntest_it.py::test_hot: 3 retries without a wait", found)
    assert found.endswith("1 no cap, 1 no delay, 9 never reached")


BROKEN = """
    import app

    def test_it():
        app.Broken().run()

    def test_swallows():
        app.swallows()
"""


def test_the_campaign_finds_state_that_is_not_reset(pytester: pytest.Pytester) -> None:
    """An operation that cannot run again fails otherwise than it was made to."""
    app = """
    class Broken:
        opened = False

        @with_retry(max=3, interval=1, name="outer")
        def run(self):
            if self.opened:
                raise LookupError("open already")
            self.opened = True
            connect()

    @with_retry(max=0, interval=1, name="inner")
    def connect(): pass

    @with_retry(max=3, interval=1, before_retry=lambda context: fail(), name="reset")
    def reset(): pass

    def fail():
        try:
            1 / 0
        except ZeroDivisionError as error:
            raise LookupError("not ready") from error

    def swallows():
        try:
            reset()
        except OSError:
            pass
    """
    result = run(pytester, BROKEN, "--retry-inject", app=app)
    assert result.ret == 1
    found = "\n".join(report(result))
    assert "broke 1 test reset" in found
    assert "LookupError: not ready, after ConnectionRefusedError" in found
    assert "not retried - inner" in found
    assert "survived 1 test outer" in found


def test_tests_that_are_no_functions(pytester: pytest.Pytester) -> None:
    """Items of another plugin run again, too."""
    pytester.makeconftest(
        """
        import pytest

        class Item(pytest.Item):
            def runtest(self):
                import app
                assert app.load() == 1

        class File(pytest.File):
            def collect(self):
                yield Item.from_parent(self, name="item")

        def pytest_collect_file(file_path, parent):
            if file_path.suffix == ".txt":
                return File.from_parent(parent, path=file_path)
        """
    )
    pytester.makefile(".txt", it="")
    result = run(pytester, "", "--retry-inject", app="@with_retry\ndef load(): return 1\n")
    assert "survived 1 test app.load" in "\n".join(report(result))


def test_what_is_let_out_is_said(pytester: pytest.Pytester) -> None:
    """A test in which retries are switched off lets the injected error out."""
    tests = """
    import app
    from retrywrap.testing import disabled

    def test_it():
        with disabled():
            assert app.load() == 1
    """
    result = run(pytester, tests, "--retry-inject", app="@with_retry\ndef load(): return 1\n")
    assert result.ret == 0
    found = "\n".join(report(result))
    assert "let out 1 test app.load" in found
    assert "ConnectionRefusedError: [Errno 111] injected by retrywrap" in found


def test_errors_that_come_from_the_injected_one(pytester: pytest.Pytester) -> None:
    """Raised from it, or in its group, it is the same failure."""
    tests = """
    import app, pytest
    from retrywrap.testing import disabled

    @pytest.mark.parametrize("call", [app.wrapped, app.grouped])
    def test_it(call):
        with disabled():
            assert call() == 1
    """
    app = """
    @with_retry
    def load(): return 1

    @with_retry
    def store(): return 1

    def wrapped():
        try:
            return load()
        except OSError as error:
            raise RuntimeError("wrapped") from error

    def grouped():
        try:
            return store()
        except OSError as error:
            group = ExceptionGroup("several", [ValueError("another"), error])
        raise group
    """
    result = run(pytester, tests, "--retry-inject", app=app)
    found = "\n".join(report(result))
    assert result.ret == 0, found
    assert "let out 1 test app.load" in found
    assert "RuntimeError: wrapped" in found
    assert "let out 1 test app.store" in found


def test_tests_that_count_attempts_are_left_out(pytester: pytest.Pytester) -> None:
    """With a marker, which is known; so are tests that fail by themselves, or that do not reach it again."""
    tests = """
    import app, pytest

    @pytest.mark.no_retry_inject
    def test_counts():
        app.one()

    def test_fails():
        app.two()
        assert False

    seen = []

    def test_once():
        if not seen:
            seen.append(app.three())

    @pytest.mark.skip
    def test_skipped():
        app.two()
    """
    app = "@with_retry\ndef one(): return 1\n@with_retry\ndef two(): return 1\n@with_retry\ndef three(): return 1\n"
    result = run(pytester, tests, "--retry-inject", "--strict-markers", app=app)
    found = "\n".join(report(result))
    assert result.ret == 1
    assert "never reached - app.one (app.py:2) no test that could be run again reaches it" in found.replace("\n", " ")
    assert "never reached - app.two" in found
    assert "test_it.py::test_once did not reach it when it ran again" in found


def test_a_suite_without_retries(pytester: pytest.Pytester) -> None:
    """There is nothing to report, and collecting alone runs nothing."""
    assert report(run(pytester, "def test(): pass", "--retry-inject"))[-1].startswith("no function decorated")
    collected = run(pytester, TESTS, "--retry-inject", "--collect-only", app=APP)
    assert "9 tests collected" in collected.stdout.str()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--retry-inject", "--retry-inject-tests", "0"), "--retry-inject-tests must be 1 or more"),
        (("--retry-inject-tests", "x", "--retry-inject"), "invalid int value: 'x'"),
    ],
)
def test_wrong_options_are_refused(pytester: pytest.Pytester, arguments: tuple[str, ...], said: str) -> None:
    """By one line, with pytest's status for an error of use."""
    result = run(pytester, "", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str()


def test_several_processes_are_refused(pytester: pytest.Pytester) -> None:
    """What a worker of pytest-xdist found would be lost."""
    pytester.makeconftest(
        "def pytest_addoption(parser): parser.addoption('-N', '--numprocesses', type=int, dest='numprocesses')"
    )
    result = run(pytester, "", "--retry-inject", "--numprocesses", "2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "leave out -n, --numprocesses" in result.stderr.str()
