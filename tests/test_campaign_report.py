"""What the report of ``--retry-inject`` says where there is nothing to say of a function."""

from __future__ import annotations

import re

import pytest
from suites import report, run

pytest_plugins = ["pytester"]


def test_a_suite_without_retries(pytester: pytest.Pytester) -> None:
    """There is nothing to report."""
    found = report(run(pytester, "def test(): pass", "--retry-inject"))
    assert found[-1] == "no function decorated with retrywrap.with_retry was found"


@pytest.mark.parametrize(
    ("tests", "arguments", "said"),
    [
        (
            "def test(): assert False\ndef test_2(): pass",
            ("-x",),
            r"not run: the suite was not run to its end \(.*stopping",
        ),
        ("import no_such_module", (), r"not run: the suite was not run to its end \(Interrupted: 1 error during coll"),
        ("def test(): raise KeyboardInterrupt", (), r"not run: the suite was not run to its end \(KeyboardInterrupt\)"),
        ("import app", (), "not run: no test ran"),
        ("import app\ndef test(): pass", ("-k", "nothing"), "not run: no test ran"),
    ],
)
def test_a_campaign_that_does_not_run_says_why(
    pytester: pytest.Pytester, tests: str, arguments: tuple[str, ...], said: str
) -> None:
    """And not that there was nothing to find."""
    result = run(pytester, tests, "--retry-inject", *arguments, app="@with_retry\ndef load(): return 1\n")
    found = "\n".join(report(result))
    assert re.search(said, found)
    assert "was found" not in found


def test_collecting_alone_runs_nothing(pytester: pytest.Pytester) -> None:
    """And reports nothing."""
    shown = run(pytester, "def test(): pass", "--retry-inject", "--collect-only").stdout.str()
    assert "1 test collected" in shown
    assert "faults injected" not in shown


def test_an_interrupted_campaign_says_what_it_has_found(pytester: pytest.Pytester) -> None:
    """And how far it came, and what was running."""
    tests = """
    import app

    def test_a():
        app.a()

    def test_b():
        try:
            app.b()
        except OSError:
            raise KeyboardInterrupt
    """
    app = "@with_retry(interval=1)\ndef a(): pass\n@with_retry(interval=1)\ndef b(): pass\n"
    result = run(pytester, tests, "--retry-inject", app=app)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    found = report(result)
    assert found[0].startswith("survived 1 of 1 test app.a")
    assert found[1] == (
        "not run: the campaign was interrupted: 1 of 2 functions were tried; test_it.py::test_b was running, "
        "with faults in app.b"
    )
    assert found[2] == "1 survived"


def test_what_the_tests_that_ran_do_not_reach(pytester: pytest.Pytester) -> None:
    """It is said where tests were deselected, and where something else calls it."""
    tests = """
    import app

    def test_a(): app.a()
    def test_b(): app.b()

    app.at_import()
    """
    app = "\n".join(f"@with_retry(interval=1)\ndef {name}(): pass" for name in ("a", "b", "at_import"))
    found = "\n".join(report(run(pytester, tests, "--retry-inject", "-k", "test_a", app=app)))
    assert re.search(
        r"never reached - app.at_import .*\nit is called, but by no test: at import, say\nnever reached - app.b", found
    )
    assert "Never reached by the tests that ran: 1 was deselected.\n1 survived, 2 never reached" in found
