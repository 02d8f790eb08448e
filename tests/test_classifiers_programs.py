"""Exit codes: what they mean depends on the program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrywrap.classifiers import classify, program_exit
from retrywrap.classifiers.programs import program_name
from retrywrap.codes import ErrorCode

RETRIED = {
    "timeout": {124: "TIMEOUT"},
    "rsync": {5: "NETWORK", 10: "CONNECTION_LOST", 11: "FILE_IO", 12: "CONNECTION_LOST", 30: "TIMEOUT", 35: "TIMEOUT"},
    "curl": {
        6: "NETWORK",
        7: "NETWORK",
        18: "CONNECTION_LOST",
        28: "TIMEOUT",
        52: "CONNECTION_LOST",
        55: "CONNECTION_LOST",
        56: "CONNECTION_LOST",
    },
    "rclone": {5: "NETWORK"},
    "restic": {11: "TIMEOUT"},
    "ssh": {255: "CONNECTION_LOST"},
}
GIVEN_UP = {
    "rsync": {
        1: "INVALID_PARAM",
        2: "INVALID_PARAM",
        3: "INVALID_PARAM",
        4: "INVALID_PARAM",
        22: "MEMORY_ALLOC",
        23: "FILE_IO",
        25: "INVALID_PARAM",
    },
    "curl": {3: "INVALID_PARAM", 22: "INVALID_PARAM", 23: "FILE_IO", 35: "INVALID_PARAM"},
    "rclone": {1: "UNKNOWN", 2: "UNKNOWN"},
    "restic": {10: "INVALID_PARAM", 12: "PERMISSION_DENIED"},
}


@pytest.mark.parametrize(
    ("program", "status", "code", "retryable"),
    [(name, status, code, True) for name, rows in RETRIED.items() for status, code in rows.items()]
    + [(name, status, code, False) for name, rows in GIVEN_UP.items() for status, code in rows.items()],
)
def test_each_program_has_its_own_table(program: str, status: int, code: str, retryable: bool) -> None:
    """A status means what the program's own table says; to another program's error it means nothing."""
    verdict = program_exit([f"/usr/bin/{program}", "x"], status)
    assert (verdict.code.name, verdict.retryable) == (code, retryable)
    assert verdict.rule == f"program.{program}.{status}"
    assert verdict.message == f"{program} ended with exit status {status}"
    assert program_exit(["other", "x"], status).rule == "unknown"


@pytest.mark.parametrize("program", ["other", "rsync", "pg_dump", "timeout"])
def test_codes_of_any_program(program: str) -> None:
    """75 asks for a retry whichever program says so; a program that cannot be started is not retried."""
    verdict = program_exit([program], 75)
    assert (verdict.code, verdict.retryable, verdict.rule) == (ErrorCode.UNKNOWN, True, "program.any.75")
    not_allowed, not_found = program_exit([program], 126), program_exit([program], 127)
    assert (not_allowed.code, not_allowed.retryable) == (ErrorCode.PERMISSION_DENIED, False)
    assert (not_found.code, not_found.retryable) == (ErrorCode.INVALID_PARAM, False)


def test_a_signal_is_no_exit_status() -> None:
    """A program that a signal ended is not retried, even if its table holds the number."""
    verdict = program_exit(["rsync"], -11)
    assert (verdict.code, verdict.retryable, verdict.rule) == (ErrorCode.UNKNOWN, False, "program.signal")
    assert verdict.message == "rsync was ended by signal 11"


@pytest.mark.parametrize("program", ["pg_dump", "mysqldump"])
def test_programs_that_tell_nothing(program: str) -> None:
    """A dump that fails says the same of a server that is away and of a database that does not exist: not retried."""
    verdict = program_exit([program, "db"], 1)
    assert (verdict.retryable, verdict.rule) == (False, f"program.{program}")


def test_zero_is_success() -> None:
    """Exit status 0 is the taxonomy's success."""
    assert program_exit(["rsync"], 0) == (
        ErrorCode.SUCCESS,
        "Success",
        False,
        None,
        "unknown",
        "program.0",
        False,
        False,
    )


def test_effect_is_none_only_where_nothing_was_done() -> None:
    """A server that was not reached, and a repository that was locked, saw nothing; a transfer that broke may have."""
    assert program_exit(["curl"], 7).effect == "none"
    assert program_exit(["restic"], 11).effect == "none"
    assert program_exit(["curl"], 56).effect == "unknown"
    assert program_exit(["rsync"], 5).effect == "unknown"


@pytest.mark.parametrize("status", [True, "1", 1.0, None])
def test_a_status_that_is_no_int_is_refused(status: Any) -> None:
    """What is no exit status is refused by the parameter's name and value."""
    with pytest.raises(TypeError, match=f"status must be an int.*{status!r}"):
        program_exit(["rsync"], status)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["/usr/bin/rsync", "-a"], "rsync"),
        (("rsync",), "rsync"),
        ([b"/usr/bin/rsync"], "rsync"),
        ([Path("/usr/bin/rsync")], "rsync"),
        (Path("/usr/bin/rsync"), "rsync"),
        (b"/usr/bin/rsync -a", "rsync"),
        ("rsync -a x y", "rsync"),
        ("  rsync\t-a", "rsync"),
        ("RSYNC_PASSWORD=x LANG=C rsync -a", "rsync"),
        ("curl 'http://h/?a=1&b=2;c'", "curl"),
        ("'/opt/my tools/curl' x", "curl"),
        ("/opt/c++@2/rsync x", "rsync"),
        ("rsync a b > log 2>&1", "rsync"),
        ("rsync a b &> log", "rsync"),
        ("rsync # no comment", "rsync"),
        ([r"C:\Tools\rsync.exe"], "rsync"),
        ("", ""),
        ([], ""),
        ([5], ""),
        (5, ""),
        (None, ""),
        ("A=b", ""),
        ("rsync 'unclosed", ""),
        ("cat x | rsync", ""),
        ("rsync a && rsync b", ""),
        ("rsync a; ls", ""),
        ("rsync a\nls", ""),
        ("(rsync a)", ""),
        ("rsync `ls`", ""),
        ("rsync $(ls)", ""),
        ("rsync a &", ""),
    ],
)
def test_program_name(command: object, name: str) -> None:
    """The program is the first word's last part; a line that runs several programs names none."""
    assert program_name(command) == name


@pytest.mark.parametrize(
    "command",
    [
        ["timeout", "60", "rsync", "a"],
        ["timeout", "-k", "5", "-s", "KILL", "--foreground", "60", "rsync", "a"],
        ["timeout", "--kill-after=5", "--signal", "HUP", "1m", "/bin/rsync"],
        "timeout 60 rsync a",
    ],
)
def test_a_program_under_timeout(command: Any) -> None:
    """Of `timeout`, only 124 is its own; every other status is that of the program it runs."""
    assert program_exit(command, 124).rule == "program.timeout.124"
    assert program_exit(command, 12).rule == "program.rsync.12"
    assert program_exit(command, 12).message == "rsync ended with exit status 12"
    assert program_exit(command, 1).retryable is False


@pytest.mark.parametrize("command", [["timeout"], ["timeout", "-k"], ["timeout", "60"], ["timeout", "1"] * 5000])
def test_timeout_without_a_program(command: list[str]) -> None:
    """An incomplete command, or one that nests without end, names no program that is known."""
    assert program_exit(command, 12).rule == "unknown"


def test_a_line_of_any_length() -> None:
    """Only the beginning of a very long line is looked at."""
    assert program_name("rsync " + "x " * 1_000_000) == "rsync"


@settings(deadline=None)
@given(st.text() | st.binary() | st.lists(st.text() | st.binary() | st.none() | st.integers()), st.integers(-300, 300))
def test_any_command_gets_a_verdict(command: Any, status: int) -> None:
    """No command line, however broken, makes the answer fail."""
    assert program_exit(command, status).rule


def test_called_process_error() -> None:
    """The error of `subprocess` is judged by its command and status; its message is its own, without the arguments."""
    verdict = classify(subprocess.CalledProcessError(12, ["/bin/rsync", "secret"]))
    assert (verdict.code, verdict.retryable, verdict.rule) == (ErrorCode.CONNECTION_LOST, True, "program.rsync.12")
    assert verdict.message == "Command 'rsync …' returned non-zero exit status 12."
    assert classify(subprocess.CalledProcessError(12, "rsync a b")).rule == "program.rsync.12"


def test_a_real_program_that_asks_for_a_retry() -> None:
    """An error that `subprocess` itself raised, of a program that ended with EX_TEMPFAIL."""
    with pytest.raises(subprocess.CalledProcessError) as caught:
        subprocess.run([sys.executable, "-c", "raise SystemExit(75)"], check=True)
    assert classify(caught.value).rule == "program.any.75"
    with pytest.raises(subprocess.CalledProcessError) as caught:
        subprocess.run("exit 75", shell=True, check=True, env=dict(os.environ))
    assert classify(caught.value).retryable


class _Hostile(list[str]):
    """A command that cannot be read."""

    def __iter__(self) -> Any:
        raise RuntimeError

    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("status", "command"),
    [(1, ["other"]), (0, ["rsync"]), (None, ["rsync"]), ("5", ["rsync"]), (12, _Hostile()), (12, None), (12, 5)],
)
def test_called_process_error_that_says_nothing(status: Any, command: Any) -> None:
    """An unknown status, or a command or status that is none, leaves the error unknown."""
    verdict = classify(subprocess.CalledProcessError(status, command))
    assert (verdict.rule, verdict.retryable) == ("unknown", False)
