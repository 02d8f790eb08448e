"""Suites that tests write, and run with pytest in a process of their own."""

from __future__ import annotations

from textwrap import dedent

import pytest


def run(
    pytester: pytest.Pytester, tests: str, *arguments: str, app: str = "", plugins: tuple[str, ...] = ()
) -> pytest.RunResult:
    """Run tests in a process of their own; with no other plugins than these and ours, since loading takes seconds."""
    pytester.makepyfile(app="from retrywrap import with_retry\n" + dedent(app), test_it=dedent(tests))
    named = [part for plugin in ("retrywrap.pytest_plugin", *plugins) for part in ("-p", plugin)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-q", *named, *arguments, timeout=100)


def report(result: pytest.RunResult) -> list[str]:
    """Return the lines of the campaign's report, with single blanks."""
    lines = [" ".join(line.split()) for line in result.outlines]
    start = next(i for i, line in enumerate(lines) if "faults injected into what is retried" in line)
    return [line for line in lines[start + 1 :] if line and " passed" not in line]
