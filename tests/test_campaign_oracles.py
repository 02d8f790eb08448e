"""The oracles of ``--retry-inject``: no cap, no delay, another error than the injected one; and work done twice."""

from __future__ import annotations

import re

import pytest
from suites import report, run

pytest_plugins = ["pytester"]


ORACLES = """
    import app, pytest
    from retrywrap.testing import disabled

    def test_outer():
        app.outer(1)

    def test_many():
        for _ in range(12):
            app.swallowed()

    def test_first_at_once():
        app.twice()

    @pytest.mark.parametrize("handler", [app.handler, app.handler_of_the_last])
    def test_handler(handler):
        handler()

    def test_second_handler():
        with disabled():
            try:
                app.handled_later()
            except OSError:
                app.handled_later()
                None.no_such_attribute

    def test_wrapped():
        app.wrapping()

    def test_of_the_same_type():
        app.retried.clear()
        with pytest.raises(ConnectionRefusedError):
            app.refused()
            raise ConnectionRefusedError("of the test")
        if app.retried:
            raise ConnectionRefusedError("of the code")
"""


def test_the_oracles(pytester: pytest.Pytester) -> None:
    """No cap: also where the loop is around the function; not where it is called as often without faults.

    No delay: in one operation. Broke: also by a mistake in what handles the error; not by one of the same type.
    """
    app = """
    retried = []

    @with_retry(max=2, interval=1)
    def inner(item): return item

    def outer(item):
        while True:
            try:
                return inner(item)
            except OSError:
                pass

    @with_retry(max=20, interval=1)
    def often(): pass

    def swallowed():
        try:
            often()
        except OSError:
            pass

    @with_retry(interval=[0, 1])
    def at_once(): pass

    def twice():
        for _ in range(3):
            try:
                at_once()
            except OSError:
                pass

    @with_retry(max=0, on=KeyError, interval=1)
    def unhandled(): pass

    @with_retry(max=1, interval=1)
    def handled(): pass

    def handler():
        try:
            handled()
        except OSError as error:
            error.no_such_attribute

    @with_retry(max=1, interval=1)
    def handled_last(): pass

    def handler_of_the_last():
        try:
            handled_last()
        except OSError as error:
            raise TypeError("meant so") from error

    @with_retry(max=1, interval=1)
    def handled_later(): pass

    @with_retry(max=1, interval=1)
    def wrapped(): pass

    def wrapping():
        try:
            wrapped()
        except OSError:
            raise RuntimeError("wrapped")

    @with_retry(max=1, interval=1, before_retry=retried.append)
    def refused(): pass
    """
    result = run(pytester, ORACLES, "--retry-inject", app=app)
    found = "\n".join(report(result))
    assert result.ret == 1
    assert re.search(
        r"no cap 1 of 1 test app\.inner .*\n.*: 100 faults in 34 operations, and no end: what calls it .* goes on",
        found,
    ), found
    for name in ("often", "at_once", "handled_last", "wrapped"):
        assert f"survived 1 of 1 test app.{name} " in found
    assert re.search(
        r"broke 1 of 1 test app\.handled .*\n.*AttributeError: .*, while ConnectionRefusedError: .* was handled", found
    )
    assert re.search(r"broke 1 of 1 test app\.handled_later .*\n.*AttributeError: .* was handled", found)
    assert "let out 1 of 1 test app.refused" in found


HANDLERS = {
    "missing_key": "{}['x']",
    "missing_item": "[][0]",
    "division": "1 / 0",
    "no_number": "int('x')",
    "no_text": "b'\\xff'.decode()",
    "no_variable": "os.environ['no such variable']",
    "no_document": "json.loads('{')",
    "nothing_left": "next(iter(()))",
    "raised_key": "raise KeyError('x')",
    "raised_from_none": "raise ValueError('x') from None",
}


def test_what_a_handler_fails_with(pytester: pytest.Pytester) -> None:
    """Where an operation of it fails, or what the standard library does for it, it broke.

    Where it raises an error of its own in the place of the injected one, that is what it is for.
    """
    app = "import json, os\n" + "\n".join(
        f"@with_retry(max=1, interval=1)\ndef {name}(): pass\n"
        f"def handling_{name}():\n    try: {name}()\n    except OSError: {handler}"
        for name, handler in HANDLERS.items()
    )
    tests = f"""
    import app, pytest

    @pytest.mark.parametrize("name", {list(HANDLERS)})
    def test_it(name):
        getattr(app, f"handling_{{name}}")()
    """
    found = report(run(pytester, tests, "--retry-inject", app=app))
    meant = {"raised_key", "raised_from_none"}
    verdicts = [re.match(r"(broke|survived) 1 of 1 test app\.(\w+) ", line) for line in found]
    assert {match[2]: match[1] for match in verdicts if match} == {
        name: "survived" if name in meant else "broke" for name in HANDLERS
    }


GOING_ON = """
    import app, asyncio, json

    def test_group():
        asyncio.run(app.group())

    def test_without():
        assert app.without() == 2

    def test_elsewhere():
        assert app.careful() is None or json.loads(app.careful()) == 1

    def test_of_its_own():
        assert json.loads(app.may_be_none()) == 1
"""


def test_what_has_to_go_on_without_the_call(pytester: pytest.Pytester) -> None:
    """A mistake in the code that goes on when retries are used up is found, as is one in a group; not the test's."""
    app = """
    import asyncio

    @with_retry(max=1, interval=1)
    async def grouped(): pass

    async def handling():
        try: await grouped()
        except OSError: {}["x"]

    async def group():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(handling())

    @with_retry(max=1, interval=1)
    def counted(): return 1

    def without():
        try: result = counted()
        except OSError: result = None
        return result + 1

    @with_retry(max=1, interval=1)
    def read(): return "1"

    def careful():
        try: return read()
        except OSError: return None

    @with_retry(max=1, interval=1)
    def read_too(): return "1"

    def may_be_none():
        try: return read_too()
        except OSError: return None
    """
    found = "\n".join(report(run(pytester, GOING_ON, "--retry-inject", app=app)))
    assert re.search(r"broke 1 of 1 test app\.grouped .*\n.*ExceptionGroup: .* was handled", found), found
    assert re.search(r"broke 1 of 1 test app\.counted .*\n.*TypeError: .*, with an error at every call", found), found
    assert "survived 1 of 1 test app.read " in found
    assert "survived 1 of 1 test app.read_too " in found


HELPED = """
    import app, helpers
    from unittest.mock import Mock

    def test_helper():
        helpers.check(app.may_be_none())

    def test_mock():
        cache = Mock()
        cache.get.side_effect = KeyError("cold")
        app.cached(cache)

    def test_clock():
        app.timed(Mock(side_effect=[0, 1]))
"""


def test_what_tests_bring_with_them_makes_no_mistakes(pytester: pytest.Pytester) -> None:
    """Neither helpers beside them, nor stand-ins that fail as they were told."""
    pytester.makepyfile(helpers="def check(result): assert result['job']")
    app = """
    @with_retry(max=1, interval=1)
    def read(): return {"job": 1}

    def may_be_none():
        try: return read()
        except OSError: return None

    @with_retry(max=1, interval=1)
    def fetch(): return 1

    def cached(cache):
        try: return fetch()
        except OSError: return cache.get("x")

    @with_retry(max=2, interval=1)
    def poll(clock): clock()

    def timed(clock):
        for _ in range(2):
            try: poll(clock)
            except OSError: clock(); clock(); clock()
    """
    found = report(run(pytester, HELPED, "--retry-inject", app=app))
    assert not [line for line in found if "broke" in line], found


BUDGETS = """
    import app, pytest

    @pytest.mark.parametrize("number", range(3))
    @pytest.mark.parametrize("function", [app.a, app.b])
    def test_it(function, number): function()
    def test_ratio(): app.c()
"""


def show_what_is_left(pytester: pytest.Pytester, *budgets: str) -> None:
    """Print what some budgets of the application have left when all is over."""
    left = ", ".join(f"app.{budget}.available" for budget in budgets)
    pytester.makeconftest(f"def pytest_unconfigure():\n    import app\n    print('left', {left})")


def test_budgets_are_those_of_the_suite(pytester: pytest.Pytester) -> None:
    """What one run with faults spends is there for the next one, whatever the order of functions and tests."""
    show_what_is_left(pytester, "TOKENS", "RATIO")
    app = """
    from retrywrap import RatioBudget, RetryBudget

    class Counting(RetryBudget):
        __slots__ = ("refused",)

    TOKENS, RATIO = Counting(30, 10, 10), RatioBudget(0.5, ttl=60, reserve=0.05)

    @with_retry(max=10, interval=1, budget=TOKENS)
    def a(): pass

    @with_retry(max=10, interval=1, budget=TOKENS)
    def b(): pass

    @with_retry(max=10, interval=1, budget=RATIO)
    def c(): pass
    """
    result = run(pytester, BUDGETS, "--retry-inject", app=app)
    found = "\n".join(report(result))
    assert "survived 3 of 3 tests app.a" in found
    assert "survived 3 of 3 tests app.b" in found
    assert "survived 1 of 1 test app.c" in found
    assert "left 30 " in result.stdout.str()


EDGES = """
    import app

    def test_it():
        app.two_at_once(); app.one_at_once(); app.ninety(); app.nearly_ninety()
"""


def test_where_the_oracles_begin(pytester: pytest.Pytester) -> None:
    """Two retries without a wait are no delay, and one is none; ninety attempts are no cap, and one less is one."""
    app = """
    @with_retry(max=2, interval=0)
    def two_at_once(): pass

    @with_retry(max=1, interval=0)
    def one_at_once(): pass

    @with_retry(max=89, interval=1)
    def ninety(): pass

    @with_retry(max=88, interval=1)
    def nearly_ninety(): pass
    """
    found = report(run(pytester, EDGES, "--retry-inject", app=app))
    assert [line.split(" (")[0] for line in found if "app.py:" in line] == [
        "no cap 1 of 1 test app.ninety",
        "no delay 1 of 1 test app.two_at_once",
        "survived 1 of 1 test app.nearly_ninety",
        "survived 1 of 1 test app.one_at_once",
    ]


LATE = """
    import app

    def test_add():
        store = []
        app.add(store)
        assert store == [1]

    def test_put():
        store = set()
        app.put(store)
        assert store == {1}

    def test_careful():
        store = []
        app.careful(store)
        assert store == [1]

    def test_opens(opened=[0]):
        assert opened == [0]
        app.opens(opened)
        opened[0] -= 1

    def test_async():
        import asyncio
        assert asyncio.run(app.asynchronous()) == 1
        assert asyncio.run(app.awaitable()) == 1

    def test_later():
        import asyncio
        store = []
        asyncio.run(app.later(store))
        assert store == [1]
"""


def test_what_is_not_idempotent(pytester: pytest.Pytester) -> None:
    """A call that fails when its work is done is found by the test that sees it done twice, where that is asked for."""
    app = """
    @with_retry(max=1, interval=1)
    def add(store): store.append(1)

    async def added(store): store.append(1)

    @with_retry(max=1, interval=1)
    def later(store): return added(store)

    @with_retry(max=1, interval=1)
    def put(store): store.add(1)

    @with_retry(max=1, interval=1, idempotent=False)
    def careful(store): store.append(1)

    @with_retry(max=1, interval=1)
    def opens(opened): opened[0] += 1

    @with_retry(max=1, interval=1)
    async def asynchronous(): return 1

    @with_retry(max=1, interval=1)
    def awaitable(): return asynchronous()
    """
    assert run(pytester, LATE, "--retry-inject", app=app).ret == 0
    result = run(pytester, LATE, "--retry-inject-late", app=app)
    found = "\n".join(report(result))
    assert result.ret == 1
    assert re.search(
        r"not idempotent 1 of 1 test app\.add .*\n.*AssertionError: .*, after its work was done twice", found
    )
    assert re.search(r"not idempotent 1 of 1 test app\.later ", found)
    assert re.search(
        r"broke 1 of 1 test app\.opens .*\n.*did not before: AssertionError: assert \[1\] == \[0\]: the fault", found
    )
    assert found.endswith("1 broke, 2 not idempotent, 4 survived"), found


STAYS = """
    import app

    def test_a():
        assert app.queue == []
        try:
            app.outer()
        except OSError:
            pass

    def test_b():
        app.another()
        assert app.queue == []
"""


def test_a_fault_that_stays_behind(pytester: pytest.Pytester) -> None:
    """A test that passes, and fails after a fault even without one, shows state that was left dirty: it broke.

    What runs later and fails for that alone is not blamed.
    """
    app = """
    queue = []

    @with_retry(max=3, interval=1)
    def outer():
        queue.append(1)
        inner()
        queue.clear()

    @with_retry(max=1, interval=1)
    def inner(): pass

    @with_retry(max=1, interval=1)
    def z_another(): pass

    another = z_another
    """
    result = run(pytester, STAYS, "--retry-inject", app=app)
    found = "\n".join(report(result))
    assert result.ret == 1
    assert re.search(
        r"broke 1 of 1 test app\.inner .*\ntest_it\.py::test_a: it fails without a fault now, and did not before: "
        r"AssertionError: .*: the fault stays behind\n",
        found,
    ), found
    assert re.search(
        r"not tried - app\.z_another .*\ntest_it\.py::test_b: it fails since faults were injected into app\.inner\n",
        found,
    ), found


def test_a_rerun_that_a_timeout_ended(pytester: pytest.Pytester) -> None:
    """It hangs, with errors at every call or with one: that is no survival, nor is the error let out."""
    tests = """
    import app, pytest

    def test_it():
        try:
            app.load()
        except OSError:  # as pytest-timeout ends a test
            pytest.fail("Timeout (>1.0s) from pytest-timeout.")

    def test_once():
        app.waits()
        app.retried and pytest.fail("Timeout (>1.0s) from pytest-timeout.")
    """
    app = """
    retried = []

    @with_retry(max=2, interval=1)
    def load(): pass

    @with_retry(max=1, interval=1, before_retry=retried.append)
    def _waits(): pass

    def waits():
        retried.clear()
        try:
            _waits()
        except OSError:
            retried.clear()
    """
    result = run(pytester, tests, "--retry-inject", app=app)
    found = "\n".join(report(result))
    assert result.ret == 1
    assert re.search(r"broke 1 of 1 test app\.load .*\n.*Failed: Timeout .*, with an error at every call", found), found
    assert re.search(r"broke 1 of 1 test app\._waits .*\n.*Failed: Timeout .*, with an error at the first call", found)


CAPPED = """
    import app

    def test_it():
        assert app.capped() == 1
"""


def test_a_timeout_of_many_waits_is_a_cap(pytester: pytest.Pytester) -> None:
    """Where so much of it is over that its end can be seen."""
    app = """
    @with_retry(max=None, timeout=600, interval=5)
    def capped(): return 1
    """
    result = run(pytester, CAPPED, "--retry-inject", app=app)
    assert (result.ret, report(result)[-1]) == (0, "1 survived")


OPAQUE = """
    import app, asyncio, pytest

    async def main():
        return await app.opaque()

    def test_it():
        assert asyncio.run(main()) == 1

    def test_fails():
        with pytest.raises(ValueError):
            app.fails()
"""


def test_work_whose_end_cannot_be_seen_is_not_tried_late(pytester: pytest.Pytester) -> None:
    """As that of an awaitable of a class of its own; nor is work that fails by itself."""
    app = """
    @with_retry(max=1, interval=1)
    def fails(): raise ValueError("always")

    class Opaque:
        def __await__(self):
            yield from ()
            return 1

    @with_retry(max=1, interval=1)
    def opaque(): return Opaque()
    """
    result = run(pytester, OPAQUE, "--retry-inject-late", app=app)
    assert (result.ret, report(result)[-1]) == (0, "2 not tried")
    assert "test_it.py::test_it: no call of it was seen to end well" in "\n".join(report(result))
    assert "test_it.py::test_fails: no call of it was seen to end well" in "\n".join(report(result))


UNSPOKEN = """
    import app, pytest

    @pytest.mark.parametrize("error", [app.Mute, app.Failed, app.Skip])
    def test_it(error):
        app.kind[:] = [error]
        app.load()
"""


@pytest.mark.parametrize("name", ["Mute", "Failed", "Skip"])
def test_an_error_that_has_no_text(pytester: pytest.Pytester, name: str) -> None:
    """Whatever an exception's own code does when it is asked for its text, the campaign goes on, and says so."""
    app = """
    import unittest

    class Mute(Exception):
        def __str__(self): raise RuntimeError("no text")

    class Failed(Mute): pass  # as pytest-timeout's is called
    class Skip(Mute, unittest.SkipTest): pass

    kind = []

    def load():
        try:
            once()
        except OSError:
            raise kind[0] from None

    @with_retry(max=1, interval=1, before_retry=lambda context: fail())
    def once(): pass

    def fail(): raise kind[0]
    """
    result = run(pytester, UNSPOKEN, "--retry-inject", "-k", name, app=app)
    said = f"{name} (no text: its __str__ raised RuntimeError)"
    whole = f"run again, it is skipped: {said}" if name == "Skip" else f"{name}: {said}, after ConnectionRefusedError: "
    assert report(result)[1].startswith(f"test_it.py::test_it[{name}]: {whole}")


SHARED = """
    import app, pytest, retrywrap

    @pytest.mark.parametrize("number", range(3))
    def test_scope(number):
        with retrywrap.retry_scope(budget=app.SCOPE):
            app.get()

    @pytest.fixture(scope="session")
    def policies():
        retrywrap.configure(policies={"ours": retrywrap.RetryPolicy(max=10, interval=1, budget=app.POLICY)})
        yield
        retrywrap.testing.reset()

    @pytest.mark.parametrize("number", range(3))
    def test_policy(policies, number):
        app.put()
"""


def test_budgets_that_no_function_names_are_those_of_the_suite(pytester: pytest.Pytester) -> None:
    """That of a scope, whatever is in its slots, and that of a policy which a fixture defines, are given back, too."""
    show_what_is_left(pytester, "SCOPE", "POLICY")
    app = """
    import retrywrap.testing
    from retrywrap import RetryBudget

    class Referable(RetryBudget):
        __slots__ = ("__weakref__",)

    SCOPE, POLICY = Referable(30, 10, 10), RetryBudget(30, 10, 10)

    @with_retry(max=10, interval=1)
    def get(): pass

    @with_retry(policy="ours")
    def put(): pass
    """
    result = run(pytester, SHARED, "--retry-inject", app=app)
    found = "\n".join(report(result))
    assert "survived 3 of 3 tests app.get" in found
    assert "survived 3 of 3 tests app.put" in found
    assert "left 30 30" in result.outlines


SPENT = """
    import app, io

    def test_up():
        assert app.up(io.BytesIO(b"abc")) == 3

    def test_down():
        file = io.BytesIO(b"abc")
        file.read(1)
        assert app.down(file) == 2

    def test_flaky():
        assert app.flaky([1, 2]) == 1
"""


def test_what_is_let_out_says_why(pytester: pytest.Pytester) -> None:
    """What an operation ended by is shown; where its work was done before it failed, a retry may be refused then."""
    app = """
    @with_retry(max=2, interval=1)
    def up(file): return len(file.read())

    @with_retry(max=2, interval=1)
    def down(file): return len(file.read())

    @with_retry(max=2, interval=1)
    def flaky(left):
        if left:
            error = ConnectionRefusedError(left.pop())
            error.add_note("of the application")
            raise error
        return 1
    """
    refused = "rejected after 1 attempt in 0 s: argument 1 is a one-shot BytesIO, which a retry would see used up"
    injected = "ConnectionRefusedError: [Errno 111] injected by retrywrap"
    early = report(run(pytester, SPENT, "--retry-inject", app=app))
    assert early[0].startswith("let out 1 of 1 test app.down ")
    assert early[1].startswith(f"test_it.py::test_down: {injected}; app.down {refused}")
    assert early[2].startswith("let out 1 of 1 test app.flaky ")
    assert early[3].startswith(
        "test_it.py::test_flaky: ConnectionRefusedError: 1; app.flaky exhausted after 3 attempts "
    )
    assert early[4].startswith("survived 1 of 1 test app.up ")
    late = report(run(pytester, SPENT, "--retry-inject-late", app=app))
    assert late[:4] == early[:4]
    assert late[4].startswith("let out 1 of 1 test app.up ")
    assert late[5].startswith(f"test_it.py::test_up: {injected}, when its work was done; app.up {refused}")
