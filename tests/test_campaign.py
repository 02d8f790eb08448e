"""``--retry-inject`` in runs of its own: what the campaign says of which function, and when it says nothing."""

from __future__ import annotations

import re

import pytest
from suites import report, run

pytest_plugins = ["pytester"]


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

    size = with_retry(len)
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
        "survived 1 of 1 test app.Store.put",
        "survived 1 of 1 test app.careful",
        "survived 1 of 1 test app.endless",
        "survived 3 of 3 tests app.fetch",
        "survived 1 of 1 test app.hot",
        "survived 1 of 1 test app.later",
        "survived 1 of 1 test app.picky",
        "survived 1 of 1 test test_it.test_local.<locals>.local",
        "never reached - app.Store._put_badly",
        "never reached - app.undefined",
        "never reached - app.unused",
    ]
    assert "never reached - len" in found  # which stands in no file
    assert found[-1] == "1 not retried, 8 survived, 4 never reached"


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
        r"no cap 1 of 1 test app.endless \(app.py:\d+\)\ntest_it.py::test_endless: 101 attempts of one op", found
    )
    assert re.search(
        r"no delay 1 of 1 test app.hot \(app.py:\d+\)\ntest_it.py::test_hot: 3 retries of one operation without", found
    )
    assert found.endswith("1 no cap, 1 no delay, 10 never reached")


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
    assert "broke 1 of 1 test reset" in found
    assert "LookupError: not ready, after ConnectionRefusedError" in found
    assert "not retried - inner" in found
    assert "whether what goes on around it, a retry or a loop, bears its failure was not tried" in found
    assert "survived 1 of 1 test outer" in found


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
    assert "survived 1 of 1 test app.load" in "\n".join(report(result))


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
    assert "let out 1 of 1 test app.load" in found
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
    assert "let out 1 of 1 test app.load" in found
    assert "RuntimeError: wrapped" in found
    assert "let out 1 of 1 test app.store" in found
