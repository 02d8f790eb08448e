"""Events as log lines: their schema and levels, with and without structlog configured, and never on stdout."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from test_registry import ENDS

from retrywrap import ErrorCode, Registry, StopReason, Verdict, configure, registry, retry_scope, subscribe, with_retry
from retrywrap.record import log
from retrywrap.testing import VirtualClock

ALWAYS = {
    "operation": str,
    "code": int,
    "code_name": str,
    "message": str,
    "error_type": str,
    "attempt": int,
    "max": int | None,
    "wait": float | None,
    "elapsed": float,
    "rule": str,
}
LEVELS = {
    "retry.scheduled": "warning",
    "retry.unknown_error": "warning",
    "retry.recovered": "info",
    "retry.exhausted": "error",
    "retry.rejected": "error",
    "retry.timed_out": "error",
    "retry.budget_denied": "error",
    "retry.nested_refused": "error",
    "retry.cancelled": "warning",
    "error.recorded": "error",
}


@pytest.fixture(autouse=True)
def _fresh_structlog() -> Iterator[None]:
    """structlog is as it is when nobody has configured it, before and after."""
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def fail_once(error: Exception | None = None, **settings: Any) -> None:
    """Run an operation whose second attempt, five seconds later, succeeds."""
    errors = [error or ConnectionRefusedError(111, "Connection refused")]

    def operation() -> None:
        if errors:
            raise errors.pop()

    with VirtualClock():
        with_retry(**{"max": 3, "interval": 5, "name": "op", **settings})(operation)()


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int, str]]:
    """Return what went to the logger ``retrywrap``: its name, the level, the text."""
    return [(record.name, record.levelno, record.getMessage()) for record in caplog.records]


# --- the schema


@pytest.mark.parametrize(("reason", "scenario"), ENDS, ids=[reason.value for reason, _ in ENDS])
def test_each_event_has_its_keys_and_its_level(reason: StopReason, scenario: Callable[[Registry], None]) -> None:
    """Whatever ends an operation: all keys of the schema, of their types, no others, and the event's own level."""
    with capture_logs() as events:
        scenario(Registry())
    own = [event for event in events if event["operation"] == "op"]
    assert own[-1]["event"] == f"retry.{reason.value}"
    for event in own:
        name = event.pop("event")
        assert event.pop("log_level") == LEVELS[name]
        failed = name not in ("retry.scheduled", "retry.unknown_error", "retry.recovered")
        assert bool(event.pop("detail", "")) is failed
        event.pop("scope", None)
        assert event.keys() == ALWAYS.keys()
        assert all(isinstance(event[key], kind) for key, kind in ALWAYS.items())


def test_the_levels_are_complete() -> None:
    """Every event that the machine has stands in the schema."""
    assert set(LEVELS) == {
        "retry.scheduled",
        "retry.unknown_error",
        "error.recorded",
        *(f"retry.{reason.value}" for reason in StopReason),
    }


def test_a_retry_is_a_warning_and_a_recovery_is_news() -> None:
    """What the values are, in an operation that fails once."""
    with capture_logs() as events:
        fail_once()
    about = {
        "operation": "op",
        "code": -6,
        "code_name": "NETWORK",
        "message": "[Errno 111] Connection refused",
        "error_type": "builtins.ConnectionRefusedError",
        "max": 3,
        "rule": "stdlib.errno.ECONNREFUSED",
    }
    assert events == [
        {**about, "event": "retry.scheduled", "log_level": "warning", "attempt": 1, "wait": 5.0, "elapsed": 0.0},
        {**about, "event": "retry.recovered", "log_level": "info", "attempt": 2, "wait": None, "elapsed": 5.0},
    ]
    assert type(events[0]["code"]) is int


def test_times_are_rounded_to_microseconds() -> None:
    """What a clock says beyond that is noise."""
    with capture_logs() as events:
        fail_once(interval=0.123456789)
    assert events[0]["wait"] == events[1]["elapsed"] == 0.123457


def test_an_unknown_error_is_a_warning_of_its_own() -> None:
    """Before the rejection, so that what the tables lack can be found."""
    with capture_logs() as events, pytest.raises(LookupError):
        fail_once(LookupError("what is this"))
    assert [(event["event"], event["log_level"]) for event in events] == [
        ("retry.unknown_error", "warning"),
        ("retry.rejected", "error"),
    ]


def test_what_is_recorded_by_hand_is_an_event() -> None:
    """With the keys of all the others."""
    with capture_logs() as events:
        registry.record_error(-42, "strange", "op")
    [event] = events
    assert event.keys() == {*ALWAYS, "event", "log_level"}
    assert (event["event"], event["log_level"]) == ("error.recorded", "error")
    assert (event["code"], event["code_name"], event["message"]) == (-42, "UNKNOWN", "strange")


def test_a_hint_and_a_scope_are_there_where_there_are_any() -> None:
    """The server's hint as it was given, and the innermost scope's name."""

    def busy(error: Exception) -> Verdict:
        return Verdict(ErrorCode.NETWORK, "busy", retryable=True, retry_after=7.5)

    with capture_logs() as events, retry_scope(name="nightly"):
        fail_once(classifier=busy)
    assert [(event["retry_after"], event["scope"], event["wait"]) for event in events] == [
        (7.5, "nightly", 7.5),
        (7.5, "nightly", None),
    ]


def test_arguments_and_secrets_are_not_logged() -> None:
    """Neither what the operation was called with, nor what a text shows that looks like a secret."""
    with capture_logs() as events, pytest.raises(ConnectionError):
        with_retry(max=0)(_connect)("hunter2", password="hunter3")
    assert events
    assert "hunter" not in repr(events)


def _connect(_: str, password: str) -> None:
    raise ConnectionError(f"cannot reach https://me:{password}@host/")


def test_no_event_where_none_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    """`configure(events=False)` ends them, and True brings them back, once each."""
    configure(events=False)
    fail_once()
    assert caplog.records == []
    configure(events=True)
    configure(events=True)
    fail_once()
    assert len(caplog.records) == 1


# --- nobody has configured structlog


def test_without_a_configuration_events_go_to_logging(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """To the logger ``retrywrap``, at their levels, as one line; stdout belongs to the program."""
    caplog.set_level(logging.DEBUG, "retrywrap")
    fail_once()
    about = (
        "code=-6 code_name=NETWORK message='[Errno 111] Connection refused' error_type=builtins.ConnectionRefusedError"
    )
    assert lines(caplog) == [
        (
            "retrywrap",
            logging.WARNING,
            f"retry.scheduled operation=op {about} attempt=1 max=3 wait=5 elapsed=0 rule=stdlib.errno.ECONNREFUSED",
        ),
        (
            "retrywrap",
            logging.INFO,
            f"retry.recovered operation=op {about} attempt=2 max=3 elapsed=5 rule=stdlib.errno.ECONNREFUSED",
        ),
    ]
    assert capsys.readouterr().out == ""


def test_the_level_of_the_logger_counts(caplog: pytest.LogCaptureFixture) -> None:
    """Below the logger's level nothing is logged."""
    caplog.set_level(logging.ERROR, "retrywrap")
    fail_once()
    assert caplog.records == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("two words", "'two words'"),
        ("a=b", "'a=b'"),
        ("it's", '"it\'s"'),
        ('"', "'\"'"),
        ("", "''"),
        ("line\nend", "'line\\nend'"),
        (True, "True"),
        (12, "12"),
        (0.25, "0.25"),
        (0.1 + 0.2, "0.3"),
        ("100%d", "100%d"),
    ],
)
def test_each_value_can_be_told_from_the_next(caplog: pytest.LogCaptureFixture, value: object, text: str) -> None:
    """What would be taken for the end of a value is quoted; everything stays on one line; a percent sign is itself."""
    structlog.contextvars.bind_contextvars(mine=value)
    fail_once()
    assert lines(caplog)[0][2].endswith(f" mine={text}")


# --- the application has configured structlog


def _to(stream: io.StringIO, **settings: Any) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(stream), **settings)


def test_the_applications_configuration_is_used(caplog: pytest.LogCaptureFixture) -> None:
    """Its processors, its logger, its stream; logging sees nothing."""
    stream = io.StringIO()
    _to(stream, processors=[structlog.processors.JSONRenderer(sort_keys=True)])
    fail_once()
    first, second = stream.getvalue().splitlines()
    assert '"event": "retry.scheduled"' in first
    assert '"event": "retry.recovered"' in second
    assert caplog.records == []


@pytest.mark.parametrize(
    "settings",
    [
        {"wrapper_class": structlog.make_filtering_bound_logger(logging.WARNING)},
        {"context_class": type("Context", (dict,), {})},
        {"cache_logger_on_first_use": True},
        {"logger_factory": structlog.PrintLoggerFactory()},
        {"processors": [structlog.processors.KeyValueRenderer()]},
        # The defaults as structlog's documentation spells them out: whoever writes them wants them.
        {
            "processors": [
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.StackInfoRenderer(),
                structlog.dev.set_exc_info,
                structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
                structlog.dev.ConsoleRenderer(),
            ],
            "wrapper_class": structlog.make_filtering_bound_logger(logging.NOTSET),
            "context_class": dict,
            "logger_factory": structlog.PrintLoggerFactory(),
            "cache_logger_on_first_use": False,
        },
    ],
    ids=["wrapper_class", "context_class", "cache", "logger_factory", "processors", "all"],
)
def test_whatever_is_configured_counts(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], settings: dict[str, Any]
) -> None:
    """A single setting of the application's makes structlog its own, even where the rest are the defaults."""
    structlog.configure(**settings)
    fail_once()
    assert "retry.scheduled" in capsys.readouterr().out
    assert caplog.records == []


@pytest.mark.parametrize("last", ["render_to_log_kwargs", "render_to_log_args_and_kwargs"])
def test_keys_that_become_attributes_of_a_record(caplog: pytest.LogCaptureFixture, last: str) -> None:
    """A log record has a ``message`` already, and refuses another one: ours is ``error_message`` there."""
    if not hasattr(structlog.stdlib, last):
        last = "render_to_log_kwargs"  # the other one came with structlog 25
    structlog.configure(
        processors=[getattr(structlog.stdlib, last)],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    fail_once()
    first = caplog.records[0]
    assert (first.message, vars(first)["operation"]) == ("retry.scheduled", "op")
    assert vars(first)["error_message"] == "[Errno 111] Connection refused"


def test_standard_library_loggers_get_our_name(caplog: pytest.LogCaptureFixture) -> None:
    """Where structlog ends in the standard library's logging, the logger is ``retrywrap``."""
    structlog.configure(
        processors=[structlog.stdlib.add_logger_name, structlog.processors.KeyValueRenderer()],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    fail_once()
    assert caplog.records[0].name == "retrywrap"
    assert "logger='retrywrap'" in caplog.records[0].getMessage()


def test_defaults_that_cannot_be_told_are_the_applications(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a structlog that calls its defaults something else, `is_configured` is taken at its word."""
    structlog.configure()
    assert not log._is_configured(structlog)
    structlog.reset_defaults()
    monkeypatch.delattr("structlog._config._BUILTIN_DEFAULT_PROCESSORS")
    assert not log._is_configured(structlog)
    structlog.configure()
    assert log._is_configured(structlog)


def test_a_processor_that_raises_changes_no_outcome(caplog: pytest.LogCaptureFixture) -> None:
    """The operation recovers as ever; the fault is reported once."""

    def broken(*_: Any) -> Any:
        raise ValueError("cannot render")

    structlog.configure(processors=[broken])
    fail_once()
    [record] = caplog.records
    assert "ValueError: cannot render" in record.getMessage()


# --- capture_logs


def test_capturing_sees_the_events_and_leaves_no_trace(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a configuration: captured inside, and after it in logging again, not on stdout."""
    with capture_logs() as events:
        fail_once()
    assert [event["event"] for event in events] == ["retry.scheduled", "retry.recovered"]
    assert caplog.records == []
    fail_once()
    assert [text.split()[0] for _, _, text in lines(caplog)] == ["retry.scheduled"]
    assert capsys.readouterr().out == ""
    assert structlog.is_configured()


def test_capturing_with_a_configuration(caplog: pytest.LogCaptureFixture) -> None:
    """Captured inside, and after it where the application wants it."""
    stream = io.StringIO()
    _to(stream)
    with capture_logs() as events:
        fail_once()
    assert len(events) == 2
    assert stream.getvalue() == ""
    fail_once()
    assert "retry.scheduled" in stream.getvalue()
    assert caplog.records == []


# --- bound context variables


def test_bound_variables_come_along_to_logging(caplog: pytest.LogCaptureFixture) -> None:
    """What the application has bound stands in each line."""
    structlog.contextvars.bind_contextvars(request_id="r-17")
    fail_once()
    assert lines(caplog)[0][2].endswith(" request_id=r-17")


def test_bound_variables_come_along_to_structlog() -> None:
    """The application's own processors merge them, as they do for its own events."""
    stream = io.StringIO()
    _to(stream, processors=[structlog.contextvars.merge_contextvars, structlog.processors.JSONRenderer()])
    with structlog.contextvars.bound_contextvars(request_id="r-17"):
        fail_once()
    assert stream.getvalue().count('"request_id": "r-17"') == 2


def test_bound_variables_do_not_hide_the_events_own(caplog: pytest.LogCaptureFixture) -> None:
    """A variable that is called as one of our keys gives way."""
    structlog.contextvars.bind_contextvars(operation="theirs")
    fail_once()
    assert " operation=op " in lines(caplog)[0][2]


# --- in a process of its own


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run some code in a new process; it must succeed."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )


def test_in_a_plain_program_failures_are_seen_on_stderr() -> None:
    """Without any configuration at all, of logging neither; stdout has the program's output alone."""
    ran = run("""
        import retrywrap, sys
        errors = [ConnectionResetError(104, "reset")]
        @retrywrap.with_retry(interval=0)
        def operation():
            if errors: raise errors.pop()
            return "output"
        assert "structlog" not in sys.modules
        print(operation())
        assert "structlog" in sys.modules
    """)
    assert ran.stdout == "output\n"
    [line] = ran.stderr.splitlines()
    assert line.startswith("retry.scheduled operation=__main__.operation code=-11 ")


def test_structlog_is_not_loaded_for_events_that_nobody_wants() -> None:
    """With ``events=False`` a failure costs no import."""
    ran = run("""
        import retrywrap, sys
        retrywrap.configure(events=False)
        retrywrap.registry.record_error(-6)
        print("structlog" in sys.modules)
    """)
    assert ran.stdout == "False\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_a_fork_in_the_midst_of_the_first_event() -> None:
    """A child that is forked while another thread imports structlog can log: it would else wait for that for ever."""
    ran = run("""
        import os, signal, sys, threading, time, warnings
        import retrywrap
        warnings.simplefilter("ignore", DeprecationWarning)  # of newer Pythons: threads and fork are the point here

        began = threading.Event()
        class Slow:
            def find_spec(name, *_):
                if name == "structlog.testing":
                    began.set()
                    time.sleep(0.05)
        sys.meta_path.insert(0, Slow)

        thread = threading.Thread(target=retrywrap.registry.record_error, args=(-6,))
        thread.start()
        began.wait(30)
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            retrywrap.registry.record_error(-7)
            os._exit(0)
        thread.join()
        print(os.waitpid(child, 0)[1])
    """)
    assert ran.stdout == "0\n"
    assert "code=-7" in ran.stderr


def test_a_level_that_is_off_costs_no_line(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Where the application's logger, or the standard library's, filters by level, no line is made to be dropped."""
    made: list[str] = []
    emit = log.emit
    monkeypatch.setattr(log, "emit", lambda event: (made.append(event.name), emit(event)))
    fail_once()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    fail_once()
    structlog.reset_defaults()
    with caplog.at_level(logging.CRITICAL, logger="retrywrap"):
        fail_once()
    # Before structlog 25 its filtering loggers could not be asked.
    asked = hasattr(structlog.make_filtering_bound_logger(logging.ERROR), "is_enabled_for")
    assert made == ["retry.scheduled", *([] if asked else ["retry.scheduled", "retry.recovered"])]


def test_a_logger_is_made_once_for_a_configuration() -> None:
    """A factory of structlog's own, or one whose loggers are to be kept, is asked once; and again, once configured."""
    made: list[str] = []

    class Factory(structlog.PrintLoggerFactory):
        def __call__(self, *names: Any) -> Any:
            made.append(names[0])
            return super().__call__(*names)

    structlog.configure(logger_factory=Factory(file=io.StringIO()), cache_logger_on_first_use=True)
    fail_once()
    fail_once()
    assert made == ["retrywrap"]
    structlog.configure(logger_factory=Factory(file=io.StringIO()), cache_logger_on_first_use=True)
    fail_once()
    assert made == ["retrywrap"] * 2
    structlog.configure(logger_factory=Factory(file=io.StringIO()), cache_logger_on_first_use=False)
    fail_once()
    assert made == ["retrywrap"] * 4  # another's factory may have its reasons


def test_a_logger_follows_the_standard_streams(capsys: pytest.CaptureFixture[str]) -> None:
    """structlog's printing loggers take down where stdout is; ours is made anew where it is elsewhere."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(), cache_logger_on_first_use=True)
    fail_once()
    assert "retry.scheduled" in capsys.readouterr().out
    before, elsewhere = sys.stdout, io.StringIO()
    sys.stdout = elsewhere
    try:
        fail_once()
    finally:
        sys.stdout = before
    assert "retry.scheduled" in elsewhere.getvalue()
    assert capsys.readouterr().out == ""


def test_processors_that_are_changed_in_place_are_heeded(caplog: pytest.LogCaptureFixture) -> None:
    """As tools that capture events change them."""
    processors: list[Any] = [structlog.stdlib.render_to_log_kwargs]
    structlog.configure(processors=processors, logger_factory=structlog.stdlib.LoggerFactory())
    fail_once()
    assert vars(caplog.records[0])["error_message"] == "[Errno 111] Connection refused"
    seen: list[dict[str, Any]] = []

    def keep(_: object, __: str, event: dict[str, Any]) -> dict[str, Any]:
        seen.append(dict(event))
        raise structlog.DropEvent

    processors[:] = [keep]
    fail_once()
    assert seen[0]["message"] == "[Errno 111] Connection refused"


def test_a_logger_whose_level_changes_is_heeded(caplog: pytest.LogCaptureFixture) -> None:
    """Where the standard library's logging decides, each event asks it anew."""
    logger = logging.getLogger("retrywrap")
    before = logger.level
    try:
        for level, lines in [(logging.ERROR, 0), (logging.WARNING, 1), (logging.CRITICAL, 1), (logging.INFO, 3)]:
            logger.setLevel(level)
            fail_once()
            assert len(caplog.records) == lines, level
    finally:
        logger.setLevel(before)


def test_a_level_that_is_off_is_off_beside_other_listeners(caplog: pytest.LogCaptureFixture) -> None:
    """They hear what the log does not write."""
    stream, heard = io.StringIO(), []
    _to(stream, wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    end = subscribe(heard.append)
    fail_once()
    end()
    assert [event.name for event in heard] == ["retry.scheduled", "retry.recovered"]
    assert (stream.getvalue(), caplog.records) == ("", [])
