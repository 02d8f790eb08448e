"""The command line's frame, and the commands codes and explain."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from retrywrap import ErrorCode, classify, cli
from retrywrap._version import __version__
from retrywrap.classifiers.tables import families
from retrywrap.cli import UsageError, main
from retrywrap.cli.errorspec import read_error
from retrywrap.errors import ConfigurationError


def status_of(*arguments: str) -> int:
    """Run the command line in this process; return the exit status."""
    try:
        return main(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)


def test_the_module_runs_as_a_command() -> None:
    """python -m retrywrap is the command line, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "retrywrap", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == f"retrywrap {__version__}\n"


def test_importing_the_main_module_runs_nothing() -> None:
    """Tools that import every module do not start the command line."""
    import retrywrap.__main__ as module

    assert module.main is main


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "retrywrap: the following arguments are required: COMMAND (see retrywrap --help)"),
        (("--nonsense",), "COMMAND"),
        (("codes", "--nonsense"), "retrywrap codes: unrecognized arguments: --nonsense (see retrywrap codes --help)"),
        (
            ("run", "--timout", "3", "--", "true"),
            "arguments: --timout; did you mean --timeout? (see retrywrap run --help)",
        ),
        (
            ("plan", "--retries=2"),
            "unrecognized arguments: --retries=2; did you mean --max? (see retrywrap plan --help)",
        ),
        (("run", "--attempt-timout", "3"), "; did you mean --attempt-timeout?"),
        (("plan", "--zzz"), "retrywrap plan: unrecognized arguments: --zzz (see"),
        (("errors", ".", "--directory"), "unrecognized arguments: --directory (see"),
        (("explain", "ValueError", "--erorr"), "unrecognized arguments: --erorr (see"),
        (("explain", "ValueError", "--jsn"), "; did you mean --json? (see"),
        (("plan", "3"), "retrywrap plan: unrecognized arguments: 3 (see"),
        (("plan", "exponential(1)"), "unrecognized arguments: exponential(1); --backoff takes such an expression"),
        (("codes", "exponential(1)"), "retrywrap codes: unrecognized arguments: exponential(1) (see"),
        (("run", "--retry-on=--", "--", "true"), " --retry-on"),
        (("errors", ".", "--code=--"), " --code"),
        (("backup",), "invalid choice: 'backup'"),
    ],
)
def test_errors_of_use_are_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], line: str
) -> None:
    """What argparse would print over several lines is one line on stderr."""
    assert status_of(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert line in captured.err


@pytest.mark.parametrize("command", cli._COMMANDS)
def test_each_command_has_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """--help of each command prints its usage and ends with 0."""
    assert status_of(command, "--help") == 0
    assert f"usage: retrywrap {command}" in capsys.readouterr().out


@pytest.mark.parametrize("error", [UsageError("no such thing"), ConfigurationError("bad file")])
def test_refusals_are_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A command that refuses what it was asked for ends with 2 and says why."""

    def refuse(_: object) -> int:
        raise error

    monkeypatch.setattr("retrywrap.cli.codes.run", refuse)
    assert status_of("codes") == 2
    assert capsys.readouterr().err == f"retrywrap: {error}\n"


def test_ctrl_c_ends_quietly(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """KeyboardInterrupt is status 130 without a traceback."""

    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("retrywrap.cli.codes.run", interrupted)
    assert status_of("codes") == 130
    assert capsys.readouterr().err == ""


def test_a_reader_that_has_enough_is_no_error() -> None:
    """retrywrap codes into a pipe that closes at once ends without a complaint."""
    command = [sys.executable, "-m", "retrywrap", "codes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("run -- true >&-", 0),
        ("run -- true 2>&-", 0),
        ("codes <&- >&- 2>&-", 0),
        ("codes >/dev/full", 1),
        ("plan >/dev/full", 1),
    ],
)
def test_an_output_that_is_closed_or_full(command: str, status: int) -> None:
    """What is closed takes nothing; what is full is one line; and the status of a program stays its own."""
    script = f'"{sys.executable}" -m retrywrap {command}'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr
    assert done.stderr == ("retrywrap: [Errno 28] No space left on device\n" if status else "")


def test_a_broken_environment_is_one_line(tmp_path: Path) -> None:
    """A wrong RETRYWRAP_ variable is refused by name where the library is used, not by a traceback."""
    environment = {**os.environ, "RETRYWRAP_ERROR_RETRY_MAX": "many"}
    done = subprocess.run(
        [sys.executable, "-m", "retrywrap", "run", "--", "true"],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "RETRYWRAP_ERROR_RETRY_MAX" in done.stderr


# --- codes


def test_codes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Each code with its name, whether it is retried, and its message."""
    assert status_of("codes") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  -6  NETWORK            yes      Network error" in lines
    assert " -10  DISK_FULL          no       Disk full" in lines
    assert "   0  SUCCESS            -        Success" in lines
    assert len([line for line in lines if line]) == 1 + len(ErrorCode) + 1


def test_codes_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A JSON array with the plugin's names."""
    assert status_of("codes", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[1] == {
        "code": -1,
        "name": "INVALID_PARAM",
        "plugin_name": "BACKUP_ERROR_INVALID_PARAM",
        "message": "Invalid parameter",
        "retryable": False,
    }
    assert len(rows) == 14


# --- explain


def test_explain_says_what_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    """The verdict, the rule that spoke, and the path to it."""
    assert status_of("explain", "OSError(28)") == 0
    out = capsys.readouterr().out
    assert "DISK_FULL (-10) Disk full" in out
    assert "stdlib.errno.ENOSPC" in out
    assert "No space left on device" in out
    assert status_of("explain", "ConnectionRefusedError(111, 'no')") == 0
    out = capsys.readouterr().out
    assert "NETWORK" in out
    assert "none: the failed attempt was surely not applied" in out


def test_explain_tells_a_hint_and_a_prohibition(capsys: pytest.CaptureFixture[str]) -> None:
    """Retry-After, and what is never retried."""
    assert status_of("explain", "KeyboardInterrupt") == 0
    assert "never: not even with on=" in capsys.readouterr().out
    module = Path("hinting_errors.py")
    module.write_text(
        "class Busy(Exception):\n    status_code = 503\n    headers = {'Retry-After': '7'}\n"
        "    def __init__(self):\n        self.response = self\n"
    )
    assert status_of("explain", "hinting_errors.Busy") == 0
    out = capsys.readouterr().out
    assert "retry after  7 s" in out
    assert "yes" in out


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test runs in an empty folder from which modules can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(("text", "code"), [("-6", -6), ("NETWORK", -6), ("BACKUP_ERROR_NETWORK", -6), ("-42", -42)])
def test_explain_takes_codes(capsys: pytest.CaptureFixture[str], text: str, code: int) -> None:
    """A number or a name of the plugin's codes."""
    assert status_of("explain", "--json", "--", text) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["code"] == code
    assert told["retryable"] is (code == -6)
    assert status_of("explain", text) == 0


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("404", "; an HTTP status? write urllib.error.HTTPError('url', 404, '', None, None)"),
        ("28", "; an errno? write OSError(28) or ENOSPC"),
        ("7777", "Unknown error"),
        ("KeyError('x')", "builtins.KeyError('x')"),
    ],
)
def test_explain_says_what_else_was_meant(capsys: pytest.CaptureFixture[str], text: str, hint: str) -> None:
    """A number that is no code of the plugin's; an exception is shown as it was written."""
    assert status_of("explain", text) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith(hint)


def test_explain_asks_for_the_arguments_of_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    """A class without parentheses may lack what its rules look at."""
    assert status_of("explain", "urllib.error.URLError") == 0
    assert "made without arguments" in capsys.readouterr().out
    assert status_of("explain", "KeyError('x')") == 0
    assert "made without arguments" not in capsys.readouterr().out


def test_explain_prints_a_family_and_a_library(capsys: pytest.CaptureFixture[str]) -> None:
    """Each class with what is said of it, or what it depends on; a library alone has its own rows only."""
    assert status_of("explain", "--table", "clients") == 0
    family = capsys.readouterr().out
    assert re.search(r"^requests\.Timeout +TIMEOUT, retried$", family, re.MULTILINE)
    assert re.search(
        r"^aiohttp\.ClientConnectorError +depends: What the error inside says \(os_error, __cause__\)\.$",
        family,
        re.MULTILINE,
    )
    assert status_of("explain", "--table", "requests", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["class"].partition(".")[0] for row in rows if "class" in row} == {"requests"}
    assert {"class": "requests.Timeout", "rule": "requests.Timeout", "says": "TIMEOUT, retried"} in rows


def test_every_family_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """None is empty, and each row that depends on something says on what."""
    for name in families():
        assert status_of("explain", "--table", name) == 0
        printed = capsys.readouterr().out
        assert printed
        assert not re.search(r"depends: *$", printed, re.MULTILINE)


def test_a_familys_codes_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Below the classes stand the codes that they go by, those of one meaning together, spans of numbers as spans."""
    assert status_of("explain", "--table", "sql") == 0
    printed = capsys.readouterr().out
    assert "psycopg, psycopg2, asyncpg: by SQLSTATE\n  UNKNOWN, retried, surely not applied: 40001, 40P01\n" in printed
    assert "28…\n" in printed
    assert '\n  TIMEOUT, retried\n    "timeout expired", "Connection timed out"\n' in printed
    assert status_of("explain", "--table", "rsync") == 2
    assert status_of("explain", "--table", "programs") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("timeout: by exit status\n  TIMEOUT, retried: 124\n\nrsync: by exit status\n")
    assert "INVALID_PARAM, not retried: 1-4, 25\n" in printed
    assert status_of("explain", "--table", "asyncpg", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {
        "library": "psycopg psycopg2 asyncpg",
        "carrier": "SQLSTATE",
        "code": "57014",
        "says": "TIMEOUT, not retried",
    } in rows
    assert not any("psycopg" in row.get("class", "") for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "explain takes an ERROR, or --table NAME, and not both"),
        (("OSError", "--table", "sql"), "explain takes an ERROR, or --table NAME, and not both"),
        (("--table", "nope"), "--table 'nope': expected a family (clients, "),
    ],
)
def test_explain_takes_one_question(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    """An error or a table; a table that does not exist names those that do."""
    assert status_of("explain", *arguments) == 2
    assert message in capsys.readouterr().err


def test_explain_takes_success(capsys: pytest.CaptureFixture[str]) -> None:
    """Code 0 is success."""
    assert status_of("explain", "0") == 0
    assert "SUCCESS" in capsys.readouterr().out


def test_explain_as_json_has_the_path(capsys: pytest.CaptureFixture[str]) -> None:
    """Verdict and path for programs."""
    assert status_of("explain", "--json", "ENOSPC") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["code_name"] == "DISK_FULL"
    assert told["path"][-1]["spoke"] is True


def test_errors_are_read_from_text() -> None:
    """Exceptions with and without arguments, of builtins and of modules; errno names; codes."""
    error = read_error("ENOSPC")
    assert isinstance(error, OSError)
    assert error.errno == 28
    error = read_error("OSError(28)")
    assert isinstance(error, OSError)
    assert error.errno == 28
    assert isinstance(read_error("socket.timeout"), TimeoutError)
    assert isinstance(read_error("http.client.IncompleteRead(b'x', 3)"), Exception)
    unicode_error = read_error("UnicodeDecodeError")
    assert isinstance(unicode_error, UnicodeDecodeError)
    assert read_error("BACKUP_SUCCESS") == 0
    assert repr(read_error("OSError(ENOSPC)")) == repr(read_error("OSError(errno.ENOSPC)")) == repr(error)
    assert str(read_error("ValueError('a', 3)")) == "('a', 3)"
    group = read_error("ExceptionGroup('x', [OSError(errno.ENOSPC), urllib.error.URLError(TimeoutError('late'))])")
    assert isinstance(group, ExceptionGroup)
    assert group.exceptions[0].errno == 28
    assert isinstance(group.exceptions[1].reason, TimeoutError)
    locked = read_error("sqlite3.OperationalError('database is locked', sqlite_errorcode=5)")
    assert classify(locked).rule == "stdlib.sqlite3.BUSY"
    assert read_error("ImportError('x', name='y')").name == "y"  # type: ignore[union-attr]  # it has one


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("OSError(", "is no error that is understood"),
        ("OSError(open)", "is no error that is understood"),
        ("a+b(1)", "is no error that is understood"),
        ("f()(1)", "is no error that is understood"),
        ("int", "is no exception class"),
        ("os.nothing.here", "is no exception class"),
        ("nosuchmodule.Error", "no module 'nosuchmodule' is installed, nor in the current folder; give an exception"),
        ("nosuchmodule.Error(password='hunter2')", "^nosuchmodule.Error: no module 'nosuchmodule' is installed"),
        ("OSError(password=secret.hunter2(3))", r"^'OSError\(password=\*\*\* is no error that is understood"),
        ("ConnectionResetErr", r"is no exception class; did you mean ConnectionResetError or "),
        ("ECONREFUSED", r"is no exception class; did you mean ECONNREFUSED or "),
        ("NETWRK", r"is no exception class; did you mean NETWORK\?$"),
        ("socket.gaierr", r"is no exception class; did you mean gaierror"),
        ("socket.timeout.zzz", "is no exception class; give an exception"),
        ("OSError(ENOSUCH)", "is no error that is understood"),
        ("cancelled_module.X", "cancelled_module cannot be imported: CancelledError"),
        ("exits_module.Exits()", "exits_module.Exits cannot be made of these arguments: SystemExit: 0"),
        ("broken_module.Error", "broken_module cannot be imported: RuntimeError: at import"),
        ("needy_module.Error", "needy_module cannot be imported"),
        ("UnicodeDecodeError(1)", "cannot be made of these arguments: TypeError"),
        ("NoSuchError", "is no exception class"),
        ("ExceptionGroup", "ExceptionGroup needs its arguments, in parentheses"),
        ("OSError(99999999999999)", "cannot be made of these arguments: OverflowError"),
        ("9" * 5000, "is longer than the 1000 characters"),
        ("3 + 4", "is no error that is understood"),
        ("OSError(errno.ENOSUCH)", "is no error that is understood"),
        ("ValueError(ValueError(lambda: 3))", "is no error that is understood"),
    ],
)
def test_what_is_no_error_is_refused(text: str, message: str) -> None:
    """One line that says what would be understood; nothing of the text is run."""
    Path("broken_module.py").write_text("raise RuntimeError('at import')\n")
    Path("needy_module.py").write_text("import not_installed_anywhere\n")
    Path("cancelled_module.py").write_text("import asyncio\nraise asyncio.CancelledError\n")
    Path("exits_module.py").write_text(
        "class Exits(Exception):\n    def __init__(self):\n        raise SystemExit(0)\n"
    )
    with pytest.raises(UsageError, match=message):
        read_error(text)


def test_exceptions_of_the_current_folder_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind all that is installed; the path is left as it was, and Ctrl-C is no error of a module."""
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each != os.getcwd()])
    before = list(sys.path)
    Path("own_errors.py").write_text("class OwnError(Exception):\n    def __new__(cls):\n        raise SystemExit\n")
    monkeypatch.delitem(sys.modules, "netrc", raising=False)
    Path("netrc.py").write_text("raise RuntimeError('hides a module')\n")
    Path("interrupted_module.py").write_text("raise KeyboardInterrupt\n")
    Path("interrupting.py").write_text(
        "class Ended(Exception):\n    def __init__(self, *_):\n        raise KeyboardInterrupt\n"
        "class Second(Exception):\n    errors = [KeyboardInterrupt, OSError]\n"
        "    def __new__(cls):\n        raise cls.errors.pop()\n"
    )
    with pytest.raises(UsageError, match=r"^OwnError needs its arguments, in parentheses \(SystemExit: SystemExit\)$"):
        read_error("own_errors.OwnError")
    assert isinstance(read_error("netrc.NetrcParseError('x')"), Exception)
    for text in ("interrupted_module.X", "interrupting.Ended", "interrupting.Ended(3)", "interrupting.Second"):
        with pytest.raises(KeyboardInterrupt):
            read_error(text)
    assert sys.path == before


def test_a_folder_that_is_gone_is_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current one may have been removed."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert repr(read_error("OSError(28)")) == repr(OSError(28, os.strerror(28)))


def test_commands_are_those_of_the_package() -> None:
    """Every command of the list is a module with add_parser and run."""
    assert cli._COMMANDS == ("run", "errors", "codes", "explain", "plan", "inventory", "demo")
