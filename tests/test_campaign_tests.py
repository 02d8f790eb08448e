"""Which tests ``--retry-inject`` runs again, and that the suite does not hear of it."""

from __future__ import annotations

import re
from textwrap import dedent

import pytest
from suites import report, run

pytest_plugins = ["pytester"]


def test_tests_that_cannot_be_run_again(pytester: pytest.Pytester) -> None:
    """Those that are marked, that failed, were skipped, or look at retries themselves, are left out, which is said."""
    tests = """
    import app, pytest
    from retrywrap.testing import VirtualClock, inject, isolated_registry, observe

    @pytest.mark.no_retry_inject
    def test_counts():
        app.marked()

    def test_fails():
        app.failed()
        assert False

    @pytest.mark.skip
    def test_skipped():
        app.failed()

    @pytest.mark.xfail
    def test_expected_to_fail():
        app.failed()
        assert False

    def test_fails_too():
        test_fails()

    def test_skips_itself():
        app.skipped()
        pytest.skip("now")

    def test_injects(retry_clock):
        with inject(app.looked_at, [TimeoutError]):
            app.looked_at()

    def test_events(retry_events):
        app.looked_at()

    def test_events_of_a_fixture(events):
        app.looked_at()
        assert events.of(app.looked_at) == []

    @pytest.fixture
    def events():
        with observe() as events:
            yield events

    def test_waits_and_registry():
        with VirtualClock() as clock, isolated_registry():
            app.waited()
        assert clock.waits == []

    def test_clock_by_the_way(retry_clock, recorded):
        app.by_the_way()
        retry_clock.advance(1)

    @pytest.fixture
    def recorded(retry_events, retry_registry):
        return retry_events
    """
    names = ["marked", "failed", "skipped", "looked_at", "waited", "by_the_way"]
    app = "\n".join(f"@with_retry(interval=1)\ndef {name}(): return 1" for name in names)
    result = run(pytester, tests, "--retry-inject", "--strict-markers", app=app)
    assert result.ret == 1  # the suite's own failures
    found = "\n".join(report(result))
    assert re.search(r"not tried - app.marked \(app.py:2\)\nmarked no_retry_inject: test_it.py::test_counts\n", found)
    failed = "failed: test_it.py::test_fails, test_it.py::test_fails_too; skipped: test_it.py::test_expected_to_fail\n"
    assert failed in found
    assert "\nskipped: test_it.py::test_skips_itself\n" in found
    assert (
        "looking at retries itself (inject): test_it.py::test_injects; looking at retries itself (retry_events): "
        "test_it.py::test_events; looking at retries itself (observe): test_it.py::test_events_of_a_fixture\n"
    ) in found
    assert "looking at retries itself (isolated_registry, VirtualClock.waits): test_it.py::test_waits_and_reg" in found
    assert "survived 1 of 1 test app.by_the_way" in found


def test_many_reasons_are_counted(pytester: pytest.Pytester) -> None:
    """Three are named."""
    tests = """
    import app, pytest

    @pytest.mark.no_retry_inject
    @pytest.mark.parametrize("number", range(5))
    def test_it(number):
        app.load()
    """
    found = report(run(pytester, tests, "--retry-inject", app="@with_retry\ndef load(): return 1\n"))
    named = ", ".join(f"test_it.py::test_it[{number}]" for number in range(3))
    assert found[1] == f"marked no_retry_inject: {named} and 2 more"


AGAIN = """
    import app, pytest

    seen = set()

    def first(name):
        return name not in seen and not seen.add(name)

    def test_not_reached():
        if first("a"):
            app.not_reached()

    def test_fails_without():
        app.fails_without()
        assert first("b"), "only once"

    def test_fails_without_and_not_reached():
        if first("c"):
            app.fails_unreached()
        else:
            raise LookupError("gone")

    def test_skips_with():
        try:
            app.skips_with()
            app.skips_with()
        except OSError:
            pytest.skip("the network is down")

    def test_skips_without():
        app.skips_without()
        first("d") or pytest.skip("only once")

    @pytest.mark.parametrize("number", range(9))
    def test_further_ones_are_tried(number):
        if number > 1 or first(number):
            app.further()
"""


def test_a_test_that_cannot_run_again_proves_nothing(pytester: pytest.Pytester) -> None:
    """Where it does not reach the function any more, or fails or is skipped without a fault, too, it is said."""
    app = """
    @with_retry(interval=1)
    def not_reached(): pass
    @with_retry(interval=1)
    def fails_without(): pass
    @with_retry(interval=1)
    def fails_unreached(): pass
    @with_retry(max=1, interval=1)
    def _skips(): pass
    def skips_with(): once()
    @with_retry(max=1, interval=1, before_retry=lambda context: fail())
    def once(): pass
    def fail(): raise OSError("down")
    @with_retry(interval=1)
    def skips_without(): pass
    @with_retry(interval=1)
    def further(): pass
    """
    result = run(pytester, AGAIN, "--retry-inject", app=app)
    found = "\n".join(report(result))
    assert result.ret == 0, found
    for name, why in [
        ("not_reached", "test_not_reached: run again, it does not reach the function"),
        ("fails_without", "test_fails_without: run again, it fails without a fault, too: AssertionError: only once"),
        (
            "fails_unreached",
            "test_fails_without_and_not_reached: run again, it fails without a fault, too: LookupError",
        ),
        ("once", "test_skips_with: run again, it is skipped: the network is down"),
        ("skips_without", "test_skips_without: run again, it is skipped: only once"),
    ]:
        assert re.search(rf"not tried - app\.{name} \(app\.py:\d+\)\ntest_it\.py::{why}", found), name
    assert "survived 3 of 3 tests app.further" in found
    assert found.endswith("1 survived, 5 not tried, 1 never reached")


def test_a_test_that_stops_calling_the_function_proves_nothing(pytester: pytest.Pytester) -> None:
    """It did when it ran without a fault and with one at every call, but not when it was to survive one."""
    tests = """
    import app

    runs = []

    def test_it():
        runs.append(1)
        if len(runs) < 4:  # with the suite, without a fault, with one at every call
            try:
                app.load()
            except OSError:
                pass
    """
    result = run(pytester, tests, "--retry-inject", app="@with_retry(max=1, interval=1)\ndef load(): return 1\n")
    found = report(result)
    assert found[0].startswith("not tried - app.load")
    assert found[1] == "test_it.py::test_it: run again, it does not reach the function"
    assert result.ret == 0


WHOLE = """
    import app, pytest, unittest, warnings

    class TestCase(unittest.TestCase):
        def test_parts(self):
            for part in range(3):
                with self.subTest(part=part):
                    self.assertEqual(app.load(), 1)

    def test_subtests(subtests):
        for part in range(2):
            with subtests.test(part=part):
                assert app.load() == 1

    def test_warns():
        warnings.warn("of the test")
        app.load()

    @pytest.mark.filterwarnings("ignore")
    def test_ignores():
        warnings.warn("not of the test", DeprecationWarning)
        app.load()
"""


def test_the_suite_hears_nothing_of_the_campaign(pytester: pytest.Pytester) -> None:
    """Its reports, warnings and exit status are those of the suite alone; the parts of a test count as the test."""
    app = "@with_retry(max=0, on=KeyError, interval=1, policy=None)\ndef none(): pass\n"
    app += "@with_retry(max=2, interval=1)\ndef load(): return 1\n"
    arguments = ("-rA", "-v", "--junitxml=report.xml", "-p", "retrywrap.pytest_plugin")
    plain = run(pytester, WHOLE, *arguments, app=app)
    before = (pytester.path / "report.xml").read_text()
    result = run(pytester, WHOLE, *arguments, "--retry-inject", "--retry-inject-tests=4", app=app)
    after = (pytester.path / "report.xml").read_text()
    assert (result.ret, plain.ret) == (0, 0)
    assert result.parseoutcomes() == plain.parseoutcomes()
    assert [line.split() for line in result.outlines if "PASSED" in line or "SUBPASS" in line or "Warn" in line] == [
        line.split() for line in plain.outlines if "PASSED" in line or "SUBPASS" in line or "Warn" in line
    ]
    assert re.sub(r'time(stamp)?="[^"]*"', "", after) == re.sub(r'time(stamp)?="[^"]*"', "", before)
    found = "\n".join(report(result))
    assert "survived 4 of 4 tests app.load" in found


def test_a_part_of_a_test_that_breaks(pytester: pytest.Pytester) -> None:
    """Is seen, and stays out of the suite's report."""
    tests = """
    import app, unittest

    class TestCase(unittest.TestCase):
        def test_parts(self):
            with self.subTest(part=1):
                self.assertEqual(app.load(), 1)
    """
    app = """
    @with_retry(max=2, interval=1, before_retry=lambda context: fail())
    def load(): return 1
    def fail(): raise LookupError("not ready")
    """
    result = run(pytester, tests, "--retry-inject", app=app)
    found = "\n".join(report(result))
    assert "broke 1 of 1 test app.load" in found
    assert "LookupError: not ready, after ConnectionRefusedError" in found
    assert "A test that counts calls itself breaks, too" in found
    assert result.ret == 1
    assert "failed" not in result.parseoutcomes()


def test_the_quickest_tests_are_run_again(pytester: pytest.Pytester) -> None:
    """As the suite took them, whatever their order."""
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item):
            report = yield
            report.duration = {"test_b": 1.0, "test_d": 2.0}.get(item.name, 9.0)
            return report
        """
    )
    tests = """
    import app

    def test_a(): print("ran a"); app.f()
    def test_b(): print("ran b"); app.f()
    def test_c(): print("ran c"); app.f()
    def test_d(): print("ran d"); app.f()
    """
    app = """
    @with_retry(max=1, interval=1)
    def f(): pass
    """
    result = run(pytester, tests, "--retry-inject", "--retry-inject-tests", "2", "-s", app=app)
    assert "survived 2 of 2 tests app.f" in "\n".join(report(result))
    ran = re.findall(r"ran (\w)", result.stdout.str())
    assert ran[:4] == ["a", "b", "c", "d"]
    assert set(ran[4:]) == {"b", "d"}


@pytest.mark.parametrize("noise", [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 4, 0, 3, 1]])
def test_which_tests_are_the_quickest_does_not_depend_on_noise(pytester: pytest.Pytester, noise: list[int]) -> None:
    """Of tests that take about as long, the first in the suite are taken, in whatever order they ran."""
    pytester.makeconftest(
        f"""
        import pytest

        NOISE = dict(zip(["test_e", "test_d", "test_c", "test_b", "test_a"], {noise}))

        def pytest_collection_modifyitems(items):
            items.sort(key=lambda item: NOISE[item.name])

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item):
            report = yield
            seconds = 0.05 if item.name == "test_d" else 0.0001
            report.duration = seconds * (1 + NOISE[item.name] / 5)
            return report
        """
    )
    tests = """
    import app

    def test_e(): print("ran e"); app.f()
    def test_d(): print("ran d"); app.f()
    def test_c(): print("ran c"); app.f()
    def test_b(): print("ran b"); app.f()
    def test_a(): print("ran a"); app.f()
    """
    app = """
    @with_retry(max=1, interval=1)
    def f(): pass
    """
    result = run(pytester, tests, "--retry-inject", "-s", app=app)
    assert "survived 3 of 3 tests app.f" in "\n".join(report(result))
    ran = re.findall(r"ran (\w)", result.stdout.str())
    assert set(ran[5:]) == {"e", "c", "b"}


HEARING = """
    import pytest

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(item, call):
        if call.excinfo is not None:
            print("\\nheard", call.excinfo.value)
"""

HEARING_WRAPPERS = """
    import pytest

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(item, call):
        report = yield
        if not report.passed or call.excinfo is not None or hasattr(report, "wasxfail") and call.when != "call":
            print("\\nheard", report.when, report.outcome)
        return report
"""

PHASES = """
    import app, pytest, unittest

    @pytest.fixture
    def set_up():
        app.set_up()

    def test_set_up(set_up):
        print("ran the test")

    @pytest.fixture
    def torn_down():
        yield
        app.tear_down()

    def test_torn_down(torn_down): pass

    def test_call():
        app.load()

    def test_skipped():
        try:
            app.skip()
        except OSError:
            pytest.skip("down")

    class TestCase(unittest.TestCase):
        def test_unit(self):
            app.unit()

        def tearDown(self):
            app.unit_too()

    @pytest.mark.xfail
    def test_unexpected():
        app.unexpected()

    @pytest.fixture
    def unexpected():
        app.unexpected_too()

    @pytest.mark.xfail
    def test_unexpected_too(unexpected): pass
"""


@pytest.mark.parametrize("hooks", [HEARING, HEARING_WRAPPERS])
def test_hooks_of_the_suite_hear_nothing_of_the_campaign(pytester: pytest.Pytester, hooks: str) -> None:
    """Those that make reports, at any place, see phases that passed; a test whose set-up fails does not run, even so.

    What is expected to fail, and does so with a fault, proves nothing.
    """
    pytester.mkdir("below").joinpath("conftest.py").write_text(dedent(hooks))
    pytester.makeconftest(dedent(hooks))
    names = ["set_up", "tear_down", "load", "skip", "unit", "unit_too", "unexpected", "unexpected_too"]
    app = "from retrywrap.testing import disabled\n" + "\n".join(
        f"@with_retry(max=0, on=OSError)\ndef _{name}(): pass\n"
        f"@with_retry(max=1, interval=1, on=OSError)\ndef once_{name}(): pass\n"
        f"def {name}():\n    with disabled(): once_{name}()\n"
        for name in names
    )
    pytester.makepyfile(**{"below/test_below": dedent(PHASES)})
    result = run(pytester, "", "--retry-inject", "-s", app=app)
    found = "\n".join(report(result))
    assert "heard" not in result.stdout.str()
    for name in ("set_up", "tear_down", "load", "unit", "unit_too"):
        assert f"let out 1 of 1 test app.once_{name} " in found, name
    for name in ("skip", "unexpected", "unexpected_too"):
        assert f"not tried - app.once_{name} " in found, name
    assert "test_skipped: run again, it is skipped: down" in found
    assert result.ret == 0
    assert result.stdout.str().count("ran the test") == 3  # with the suite, without a fault before, and after


def test_what_a_hook_of_the_suite_makes_fail(pytester: pytest.Pytester) -> None:
    """As plugins for checks that go on do, is what the test fails with."""
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item, call):
            import app
            report = yield
            if app.failures and call.when == "call":
                call.excinfo = pytest.ExceptionInfo.from_exception(app.failures.pop())
                report.outcome = "failed"
            return report
        """
    )
    app = """
    failures = []

    def fail(context):
        try:
            raise LookupError("not ready")
        except LookupError as error:
            failures.append(error)

    @with_retry(max=1, interval=1, before_retry=fail)
    def load(): pass
    """
    tests = """
    import app

    def test_it():
        try:
            app.load()
        except OSError:
            app.failures.clear()
    """
    result = run(pytester, tests, "--retry-inject", app=app)
    assert "LookupError: not ready, after ConnectionRefusedError" in "\n".join(report(result))
    assert "failed" not in result.parseoutcomes()


def test_the_registry_hears_nothing_of_the_campaign(pytester: pytest.Pytester) -> None:
    """What the suite recorded is there afterwards, and nothing else."""
    pytester.makeconftest(
        """
        def pytest_unconfigure():
            from retrywrap import registry
            print("recorded", registry.stats("app.f").errors, registry.stats("app.f").retries, len(registry.errors))
        """
    )
    app = """
    @with_retry(max=1, interval=1)
    def f(): pass
    """
    tests = """
    import app
    from retrywrap import registry
    registry.record_error(-1, "before", operation="app.f")
    def test_it(): app.f()
    """
    result = run(pytester, tests, "--retry-inject", app=app)
    assert "survived 1 of 1 test app.f" in "\n".join(report(result))
    assert "recorded 1 0 1" in result.outlines
