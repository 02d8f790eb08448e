"""`retrywrap errors`: what it shows, what it understands, how it ends."""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from retrywrap.cli import errors
from retrywrap.cli.usage import UsageError
from retrywrap.record import reader
from retrywrap.record.logfile import format_line
from retrywrap.run import clock as clocks

MOMENT = 1_706_699_045_123  # 2024-01-31T11:04:05.123Z


@pytest.fixture(autouse=True)
def _far_time_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "XYZ-05:30")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Return a directory of two log files with four errors."""
    first = format_line(MOMENT, -6, "Network connection failed") + format_line(MOMENT + 2000, -6, "again")
    second = format_line(MOMENT + 1000, -9, "not allowed") + format_line(MOMENT + 3000, -4242, "héllo 连接")
    (tmp_path / "backup_error_1.log").write_bytes(first)
    (tmp_path / "backup_error_2.log").write_bytes(second)
    return tmp_path


def run(*words: str | Path, **options: Any) -> int:
    """Run the subcommand as the command line would."""
    parser = argparse.ArgumentParser(prog="retrywrap")
    errors.add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["errors", *map(str, words)])
    status: int = arguments.run(arguments, **options)
    return status


def shown(capsys: pytest.CaptureFixture[str], *words: str | Path, **options: Any) -> list[str]:
    """Run the subcommand, which must go well and quietly, and return the lines that it printed."""
    assert run(*words, **options) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


def messages(capsys: pytest.CaptureFixture[str], *words: str | Path, **options: Any) -> list[str]:
    """Run the subcommand and return the messages that it printed."""
    return [json.loads(line)["message"] for line in shown(capsys, *words, "--json", **options)]


def command(*words: str) -> list[str]:
    """Return the command line that runs the subcommand in a process of its own."""
    return [sys.executable, "-m", "retrywrap", "errors", *words]


# --- what it shows --------------------------------------------------------------------------------


def test_errors_are_listed_by_time(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Local time, code, name and message, in columns, to the letter."""
    assert shown(capsys, logs) == [
        "2024-01-31T16:34:05.123+05:30    -6  NETWORK            Network connection failed",
        "2024-01-31T16:34:06.123+05:30    -9  PERMISSION_DENIED  not allowed",
        "2024-01-31T16:34:07.123+05:30    -6  NETWORK            again",
        "2024-01-31T16:34:08.123+05:30  -4242  UNKNOWN            héllo 连接",
    ]


def test_one_file_can_be_shown(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The path may be one file."""
    assert messages(capsys, logs / "backup_error_1.log") == ["Network connection failed", "again"]


def test_json_is_one_object_per_line(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything that is known of an error is in its object, and the output is ASCII."""
    lines = shown(capsys, logs, "--json")
    assert json.loads(lines[-1]) == {
        "time": "2024-01-31T16:34:08.123+05:30",
        "time_ms": MOMENT + 3000,
        "code": -4242,
        "name": "UNKNOWN",
        "message": "héllo 连接",
        "file": str(logs / "backup_error_2.log"),
        "line": 2,
    }
    assert len(lines) == 4
    assert all(line.isascii() for line in lines)


def test_summary_counts_by_code(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The most frequent code comes first, each with its first and last time."""
    assert shown(capsys, logs, "--summary") == [
        "  errors  code  name               first                          last",
        "       2    -6  NETWORK            2024-01-31T16:34:05.123+05:30  2024-01-31T16:34:07.123+05:30",
        "       1  -4242  UNKNOWN            2024-01-31T16:34:08.123+05:30  2024-01-31T16:34:08.123+05:30",
        "       1    -9  PERMISSION_DENIED  2024-01-31T16:34:06.123+05:30  2024-01-31T16:34:06.123+05:30",
    ]


def test_summary_as_json(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The summary is one object per code."""
    assert json.loads(shown(capsys, logs, "--summary", "--json")[0]) == {
        "code": -6,
        "errors": 2,
        "first_ms": MOMENT,
        "last_ms": MOMENT + 2000,
        "name": "NETWORK",
        "first": "2024-01-31T16:34:05.123+05:30",
        "last": "2024-01-31T16:34:07.123+05:30",
    }


def test_no_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing to show is no failure; the summary says so."""
    (tmp_path / "backup_error_1.log").touch()
    assert shown(capsys, tmp_path) == []
    assert shown(capsys, tmp_path, "--summary") == ["no errors"]
    assert shown(capsys, tmp_path, "--summary", "--json") == []


def test_a_folder_without_a_log_is_told_from_one_without_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may be the wrong one; that it cannot be listed is an error of use as ever."""
    assert run(tmp_path) == 0
    assert capsys.readouterr() == ("", f"retrywrap errors: there is no error log in '{tmp_path}'\n")


def test_time_that_is_none_stays_a_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A time beyond all calendars is shown as it stands in the file."""
    (tmp_path / "backup_error_1.log").write_bytes(format_line(10**18, -6, "far"))
    assert shown(capsys, tmp_path) == [f"{10**18:<29}    -6  NETWORK            far"]


def test_terminal_is_not_driven_by_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters that another program logged unescaped are shown, not obeyed."""
    (tmp_path / "backup_error_1.log").write_bytes(b"[1] Error -6: \x1b[2Jgone\n")
    assert shown(capsys, tmp_path)[0].endswith("\\x1b[2Jgone")


def test_output_that_cannot_show_a_letter(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters that the output's encoding lacks come as escapes, not as a traceback."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="latin-1"))
    assert run(logs) == 0
    sys.stdout.flush()
    assert raw.getvalue().decode("latin-1").endswith("héllo \\u8fde\\u63a5\n")


def test_output_without_an_encoding(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text stream that has no encoding gets the text as it is."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    assert run(logs) == 0
    assert out.getvalue().endswith("héllo 连接\n")


# --- since ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "first"),
    [
        ("0", 0),
        (str(MOMENT + 1000), 1),
        (str(MOMENT // 1000 + 2), 2),
        ("1706699047.123", 2),
        ("2024-01-31T16:34:06.123", 1),
        ("2024-01-31 16:34:06", 1),
        ("2024-01-31T11:04:06Z", 1),
        ("2024-01-31T12:04:06+01:00", 1),
        ("2024-01-31", 0),
        ("20240131", 0),
        ("20240201", 4),
        ("2024-02-01", 4),
        ("90s", 0),
        ("8s", 2),
        (" 9.1 s ", 1),
        ("1m", 0),
        ("2h", 0),
        ("1d", 0),
        ("1w", 0),
    ],
)
def test_since(logs: Path, capsys: pytest.CaptureFixture[str], when: str, first: int) -> None:
    """WHEN may be an ISO time, local unless it says otherwise, epoch seconds or milliseconds, or how long ago."""
    every = ["Network connection failed", "not allowed", "again", "héllo 连接"]
    now = MOMENT / 1000 + 9.6
    assert messages(capsys, logs, "--since", when, now=lambda: now) == every[first:]


@pytest.mark.parametrize(("unit", "seconds"), [("s", 1), ("m", 60), ("h", 3600), ("d", 86400), ("w", 604800)])
def test_units_of_time(tmp_path: Path, capsys: pytest.CaptureFixture[str], unit: str, seconds: int) -> None:
    """Each unit is as long as it is."""
    (tmp_path / "backup_error_1.log").write_bytes(
        format_line(MOMENT - 2000 * seconds - 1, -6, "before") + format_line(MOMENT - 2000 * seconds + 1, -6, "after")
    )
    assert messages(capsys, tmp_path, "--since", f"2{unit}", now=lambda: MOMENT / 1000) == ["after"]


def test_since_is_measured_from_now(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """How long ago counts from the present time."""
    now = int(time.time() * 1000)
    (tmp_path / "backup_error_1.log").write_bytes(
        format_line(now - 3_600_000, -6, "an hour ago") + format_line(now, -6, "now")
    )
    assert messages(capsys, tmp_path, "--since", "30m") == ["now"]
    assert messages(capsys, tmp_path, "--since", datetime.fromtimestamp(now / 1000 - 60).isoformat()) == ["now"]


@pytest.mark.parametrize(
    "when", ["yesterday", "", "5x", "-5", "2024-13-01", "99999999", "1e5", "٣s", "s", "0001-01-01"]
)
def test_wrong_since_is_refused(logs: Path, when: str) -> None:
    """What is no point in time is refused with what would be one."""
    with pytest.raises(
        UsageError, match=r"--since '.*': expected an ISO time .* or how long ago \(90s, 15m, 2h, 7d\)$"
    ):
        run(logs, f"--since={when}")


# --- code -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-9"], ["not allowed"]),
        (["PERMISSION_DENIED"], ["not allowed"]),
        (["permission_denied"], ["not allowed"]),
        (["BACKUP_ERROR_PERMISSION_DENIED"], ["not allowed"]),
        (["-9", "-4242"], ["not allowed", "héllo 连接"]),
        (["NETWORK", "-9"], ["Network connection failed", "not allowed", "again"]),
        (["BACKUP_SUCCESS"], []),
        (["UNKNOWN"], []),
    ],
)
def test_code(logs: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: list[str]) -> None:
    """Codes are chosen by number or by name, the plugin's name among them; several are possible."""
    assert messages(capsys, logs, f"--code={','.join(words)}") == expected
    repeated = [word for code in words for word in ("--code", code)]
    assert messages(capsys, *repeated, logs) == expected


@pytest.mark.parametrize("code", ["NETWORKS", "", "6.0", "BACKUP_ERROR_"])
def test_wrong_code_is_refused(logs: Path, code: str) -> None:
    """A name that is none is refused with the list of names."""
    with pytest.raises(UsageError, match=f"--code '{code}': expected a number, or one of SUCCESS, INVALID_PARAM, .*"):
        run(logs, f"--code={code}")


# --- what cannot be read --------------------------------------------------------------------------


def test_nothing_there_is_an_error_of_use(tmp_path: Path) -> None:
    """A path that leads nowhere is refused in a line that names it, however long it is."""
    far = "/".join(["a/long/way"] * 9)
    with pytest.raises(UsageError, match=rf"^cannot read '.*{far}/nothing': No such file or directory$"):
        run(tmp_path / far / "nothing")
    with pytest.raises(UsageError, match=r"^cannot read .*embedded null (byte|character)"):
        run("a\0b")


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (b"nonsense\n", "1 line was passed over; the first: {}:1: not a line of an error log"),
        (b"a\nb\n", "2 lines were passed over; the first: {}:1: not a line of an error log"),
        (b"torn", "1 line was passed over; the first: {}:1: the line was torn off, or is still being written"),
    ],
)
def test_broken_lines_are_counted(logs: Path, capsys: pytest.CaptureFixture[str], broken: bytes, text: str) -> None:
    """Lines that are none are told of at the end, on standard error, and are no failure."""
    (logs / "backup_error_3.log").write_bytes(broken)
    assert run(logs) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 4
    assert err == f"retrywrap errors: {text.format(logs / 'backup_error_3.log')}\n"


def test_unreadable_file_makes_the_status_one(
    logs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that cannot be read is told of, the others are shown, and the status says that something is missing."""

    def refuse(name: str, mode: str) -> Any:
        if name.endswith("_1.log"):
            raise PermissionError(13, "Permission denied")
        return open(name, mode)

    monkeypatch.setattr(reader, "open", refuse, raising=False)
    assert run(logs) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert err == f"retrywrap errors: {logs / 'backup_error_1.log'}: PermissionError: [Errno 13] Permission denied\n"


# --- following ------------------------------------------------------------------------------------


def steps(*actions: Callable[[], object]) -> Callable[[float], None]:
    """Return a sleep that does one action after the other, and then what Ctrl-C does."""
    remaining = list(actions)

    def sleep(seconds: float) -> None:
        if not remaining:
            raise KeyboardInterrupt
        remaining.pop(0)()

    return sleep


def test_follow_shows_what_comes(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After what is there come the new errors; Ctrl-C is left to the command line."""
    new = logs / "backup_error_9.log"
    sleep = steps(lambda: new.write_bytes(format_line(MOMENT, -7, "new") + b"nonsense\n"))
    with pytest.raises(KeyboardInterrupt):
        run(logs, "--follow", "--json", sleep=sleep)
    out, err = capsys.readouterr()
    assert [json.loads(line)["message"] for line in out.splitlines()][-2:] == ["héllo 连接", "new"]
    assert err == f"retrywrap errors: {new}:2: not a line of an error log\n"


def test_follow_says_that_it_waits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory that is not there yet may be meant, or mistyped: it is waited for, and that is said."""
    directory = tmp_path / "logs"

    def appear() -> None:
        directory.mkdir()
        (directory / "backup_error_1.log").write_bytes(format_line(MOMENT, -7, "new"))

    with pytest.raises(KeyboardInterrupt):
        run(directory, "--follow", sleep=steps(appear))
    out, err = capsys.readouterr()
    assert out.endswith("new\n")
    assert err == f"retrywrap errors: waiting for {directory} to appear\n"


def test_follow_says_when_it_cannot_go_on(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that can no longer be listed ends it with a line, not with a traceback."""

    def refuse(_: str) -> list[str]:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(UsageError, match=r"cannot read '.*': Permission denied"):
        run(logs, "--follow", sleep=steps(lambda: monkeypatch.setattr(os, "listdir", refuse)))


def test_follow_flushes_each_line(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe behind it sees each error at once."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="utf-8"))
    seen: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        run(logs, "--follow", sleep=steps(lambda: seen.append(raw.getvalue().count(b"\n"))))
    assert seen == [4]


def test_follow_sleeps_by_the_clock(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Between two looks it waits a second by the clock in force."""
    waits: list[float] = []

    class Clock(clocks.Clock):
        def sleep(self, seconds: float, limits: object) -> None:
            waits.append(seconds)
            if len(waits) == 2:
                raise KeyboardInterrupt

    before = clocks.replace(Clock())
    try:
        with pytest.raises(KeyboardInterrupt):
            run(logs, "--follow")
    finally:
        clocks.replace(before)
    assert waits == [1.0, 1.0]


def test_follow_has_no_summary(logs: Path) -> None:
    """What never ends cannot be summed up."""
    with pytest.raises(UsageError, match="--summary needs an end"):
        run(logs, "--follow", "--summary")


# --- as a program ---------------------------------------------------------------------------------


def test_interrupted_following_ends_quietly(logs: Path) -> None:
    """Ctrl-C ends it with status 130 and not a word."""
    with subprocess.Popen(command(str(logs), "--follow"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(4):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_reader_that_has_enough(tmp_path: Path) -> None:
    """``retrywrap errors DIR | head -1`` prints one line and nothing else."""
    (tmp_path / "backup_error_1.log").write_bytes(b"".join(format_line(n, -6, "x" * 100) for n in range(20_000)))
    with subprocess.Popen(command(str(tmp_path)), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().endswith(b"x\n")
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_error_of_use_is_one_line(tmp_path: Path) -> None:
    """A mistake is told in one line on standard error, with status 2."""
    ran = subprocess.run(command(str(tmp_path), "--code", "X"), capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("retrywrap: --code 'X': expected a number, or one of SUCCESS")
    assert ran.stderr.count("\n") == 1
