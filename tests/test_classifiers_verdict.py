"""Verdicts, the classifier of returned codes, and the package's lazy names."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from retrywrap import classifiers
from retrywrap.classifiers import Verdict, return_codes
from retrywrap.codes import ErrorCode


def test_verdict_of_a_code() -> None:
    """A code alone brings its message and its default; each field can be said otherwise."""
    assert Verdict.of(-6) == Verdict(ErrorCode.NETWORK, "Network error", True, rule="code")
    verdict = Verdict.of(-6, "mine", rule="rule", retryable=False, effect="none")
    assert verdict == Verdict(ErrorCode.NETWORK, "mine", False, effect="none", rule="rule")
    assert Verdict.of(-42) == Verdict(ErrorCode(-42), "Unknown error", False, rule="code")


@pytest.mark.parametrize("result", [0, None, False, True, "x", 0.0, -6.0, ErrorCode.SUCCESS])
def test_results_that_are_no_error_code(result: object) -> None:
    """Zero, and what is no int, a bool included, is a success."""
    assert return_codes(result) is None


@pytest.mark.parametrize(
    ("result", "retryable"), [(-6, True), (ErrorCode.TIMEOUT, True), (-10, False), (503, False), (1, False)]
)
def test_results_that_are_an_error_code(result: Any, retryable: bool) -> None:
    """Any other int is one of the plugin's codes; an unknown one is not retried."""
    verdict = return_codes(result)
    assert verdict is not None
    assert (verdict.code, verdict.retryable, verdict.rule) == (result, retryable, "return_codes")


def test_every_public_name_can_be_had() -> None:
    """What `__all__` lists is there and shown by dir(); anything else is an AttributeError."""
    assert [name for name in classifiers.__all__ if getattr(classifiers, name, None) is None] == []
    assert set(classifiers.__all__) <= set(dir(classifiers))
    with pytest.raises(AttributeError, match="has no attribute 'clasify'"):
        _ = classifiers.clasify  # type: ignore[attr-defined]  # a misspelling


def test_no_table_is_loaded_before_an_error_needs_it() -> None:
    """A first failure loads the tables of its own family, and no library that it does not come from."""
    code = (
        "import sys, errno\nfrom retrywrap import classify\nbefore = set(sys.modules)\n"
        "tables = {f'retrywrap.classifiers.{name}' for name in ('stdlib', 'oserrors', 'protocols', 'clients')}\n"
        "assert not tables & before, tables & before\n"
        "assert classify(OSError(errno.EIO, 'x')).retryable\n"
        "new = set(sys.modules) - before\n"
        "assert 'retrywrap.classifiers.oserrors' in new\n"
        "assert not {'retrywrap.classifiers.protocols', 'retrywrap.classifiers.clients'} & new, new\n"
        "assert not {'smtplib', 'sqlite3', 'ftplib', 'http.client', 'shlex'} & new, new\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
