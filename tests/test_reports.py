"""What went wrong in hooks is logged once each, and logging it can do no harm."""

from __future__ import annotations

import logging
import sys
import weakref
from collections.abc import Iterator

import pytest

from retrywrap import reports
from retrywrap.reports import forget, report_once


class Culprit:
    """Something whose identity can be reported."""


@pytest.fixture
def texts() -> Iterator[list[str]]:
    """The texts alone of what is logged: a record would hold a traceback, and so the frames with the culprit."""
    kept: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        kept.append(record.getMessage())
        return False

    logger = logging.getLogger("retrywrap")
    logger.addFilter(keep)
    yield kept
    logger.removeFilter(keep)


def report(who: object, text: str = "it raised") -> None:
    """Report an exception that is being handled."""
    try:
        raise LookupError("the cause")
    except LookupError:
        report_once(who, text)


def test_a_report_is_an_error_of_our_logger_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """The text goes to the logger ``retrywrap``, as it is, with what is known of the exception being handled."""
    report(Culprit(), "100% of %s raised")
    [record] = caplog.records
    assert (record.name, record.levelno) == ("retrywrap", logging.ERROR)
    first, *middle, last = record.getMessage().splitlines()
    assert first == "100% of %s raised"
    assert middle[0] == "Traceback (most recent call last):"
    assert "in report" in middle[1]
    assert last == "builtins.LookupError: the cause"


def test_a_report_tells_no_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """Not the culprit's own, and nothing of the operation's error, in whose handling it failed."""
    secret = "hunter"
    try:
        try:
            raise ConnectionResetError(f"cannot reach https://admin:{secret}2@db.example/x\nforged line")
        except ConnectionResetError as error:
            error.args = (f"https://admin:{secret}3@db.example\nforged, too",)
            raise RuntimeError(*error.args)  # noqa: B904  # the context is what must not be shown
    except RuntimeError:
        report_once(Culprit(), "it raised")
    assert "RuntimeError: https://" in caplog.text
    assert "hunter" not in caplog.text
    assert "\nforged" not in caplog.text


def test_a_report_outside_of_a_failure_is_the_text_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Where no exception is being handled there is none to show; a warning never shows one."""
    report_once(Culprit(), "odd")
    report_once(Culprit(), "slow", error=False)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "odd"),
        ("WARNING", "slow"),
    ]


def test_where_logging_cannot_be_loaded_nothing_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of the interpreter, or without a file descriptor to read the module."""
    monkeypatch.setitem(sys.modules, "logging", None)
    report(Culprit())


def test_the_same_culprit_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is said of it later; another one, even an equal one, is reported as well."""
    first, second = [], []  # type: ignore[var-annotated]  # their types do not matter, only that they are equal
    for who in (first, first, second, first, second):
        report(who)
    report(first, "something else")
    assert len(caplog.records) == 2


def test_who_comes_after_a_dead_culprit_is_not_taken_for_it(texts: list[str]) -> None:
    """A new object at the place of one that was reported and is gone is reported, too."""
    addresses = set()
    count = 0
    while len(addresses) == count and count < 1000:  # until an address has come again
        who = Culprit()
        addresses.add(id(who))
        count += 1
        report(who)
        del who
    assert len(addresses) < count
    assert len(texts) == count


@pytest.mark.usefixtures("texts")
def test_a_culprit_is_not_kept_alive() -> None:
    """Being reported keeps nothing in memory."""
    who = Culprit()
    gone = weakref.ref(who)
    report(who)
    del who
    assert gone() is None


def test_memory_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """Of many culprits the early ones are forgotten; they are then reported once more."""
    culprits = [Culprit() for _ in range(1001)]
    for who in culprits:
        report(who)
    assert len(reports._reported) <= 1000
    caplog.clear()
    report(culprits[-1])
    assert caplog.records == []
    report(culprits[0])
    assert len(caplog.records) == 1


def test_forgetting_lets_reports_come_again(caplog: pytest.LogCaptureFixture) -> None:
    """After `forget`, as between tests, the same culprit is reported again."""
    who = Culprit()
    report(who)
    forget()
    report(who)
    assert len(caplog.records) == 2


def test_a_broken_logging_handler_does_no_harm() -> None:
    """An exception that logging itself raises stops here."""

    class Broken(logging.Handler):
        emitted = 0

        def emit(self, record: logging.LogRecord) -> None:
            Broken.emitted += 1
            raise OSError("no space")

    handler = Broken()
    logger = logging.getLogger("retrywrap")
    logger.addHandler(handler)
    try:
        report(Culprit())
    finally:
        logger.removeHandler(handler)
    assert Broken.emitted == 1
