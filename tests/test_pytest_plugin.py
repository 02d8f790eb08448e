"""pytest's plugin, in runs of its own: the fixtures, and the options of ``--retry-inject``."""

from __future__ import annotations

import subprocess
import sys

import pytest
from suites import run

pytest_plugins = ["pytester"]


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


def test_a_suite_that_retries_nothing_loads_nothing(pytester: pytest.Pytester) -> None:
    """From its first to its last moment, options, hooks and fixtures of the plugin included."""
    pytester.makeconftest(
        """
        import sys

        def pytest_unconfigure():
            print("loaded", *sorted(name for name in sys.modules if name.startswith("retrywrap")))
        """
    )
    result = run(pytester, "def test_it(tmp_path): assert tmp_path")
    assert "loaded retrywrap retrywrap.lazy retrywrap.pytest_plugin" in result.outlines


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--retry-inject", "--retry-inject-tests", "0"), "--retry-inject-tests must be 1 or more"),
        (("--retry-inject-tests", "3"), "--retry-inject-tests goes with --retry-inject: add that"),
        (("--retry-inject-tests", "x", "--retry-inject"), "invalid int value: 'x'"),
    ],
)
def test_wrong_options_are_refused(pytester: pytest.Pytester, arguments: tuple[str, ...], said: str) -> None:
    """By one line, with pytest's status for an error of use."""
    result = run(pytester, "", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str()


def test_distribution_is_refused(pytester: pytest.Pytester) -> None:
    """As pytest-xdist has it in its options, whether it is installed here or not; the options alone are none."""
    pytester.makeconftest(
        """
        def pytest_addoption(parser):
            parser.addoption("--dist", default="no")
            parser.addoption("--tx", action="append", default=[])
        """
    )
    refused = run(pytester, "def test(): pass", "--retry-inject", "--dist", "load", "--tx", "popen")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    assert "cannot be distributed by pytest-xdist: add -n 0" in refused.stderr.str()
    assert run(pytester, "def test(): pass", "--retry-inject", "--dist", "load").ret == 0


@pytest.mark.parametrize("arguments", [("-n", "2"), ("-n", "2", "--dist", "loadfile"), ("-d", "--tx", "2*popen")])
def test_several_processes_are_refused(pytester: pytest.Pytester, arguments: tuple[str, ...]) -> None:
    """What a worker of pytest-xdist found would be lost; one process is what the message says, and right."""
    pytest.importorskip("xdist")
    refused = run(pytester, "def test(): pass", "--retry-inject", *arguments, plugins=("xdist.plugin",))
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    assert "cannot be distributed by pytest-xdist: add -n 0" in refused.stderr.str()
    result = run(pytester, "def test(): pass", "--retry-inject", *arguments, "-n", "0", plugins=("xdist.plugin",))
    assert result.ret == 0
    assert "no function decorated with retrywrap.with_retry was found" in result.stdout.str()


def test_the_fixtures_in_several_processes(pytester: pytest.Pytester) -> None:
    """Each worker of pytest-xdist has a clock, events and a registry of its own."""
    pytest.importorskip("xdist")
    tests = """
    import os
    import pathlib
    import time
    import pytest
    import retrywrap
    from retrywrap import with_retry

    @with_retry(max=3, interval=60, name="op")
    def operation(left):
        if left:
            raise ConnectionResetError(left.pop())

    @pytest.mark.parametrize("turn", range(4))
    def test_it(retry_clock, retry_events, retry_registry, turn):
        pathlib.Path(f"{os.environ['PYTEST_XDIST_WORKER']}-{turn}").touch()
        give_up = time.monotonic() + 60
        while len({path.name[:3] for path in pathlib.Path().glob("gw*")}) < 2:
            assert time.monotonic() < give_up, "the other worker runs at the same time"
        assert retrywrap.registry.errors == ()
        operation(["a"] * (turn % 3))
        retry_registry.record_error(-6)
        assert retry_clock.waits == [60.0] * (turn % 3)
        assert len(retry_events) == (turn % 3) + (turn % 3 > 0) + 1
        assert retry_registry.stats().errors == turn % 3 + 1
    """
    run(pytester, tests, "-n", "2", "-W", "error", plugins=("xdist.plugin",)).assert_outcomes(passed=4)
