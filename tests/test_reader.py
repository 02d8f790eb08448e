"""Reading error logs back: order, filters, broken lines, following, summing up."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrywrap.record import reader
from retrywrap.record.logfile import escape, format_line
from retrywrap.record.reader import CodeSummary, LoggedError, follow, read_errors, summarize
from retrywrap.record.store import ErrorLog

START = 1_700_000_000_000


class Stop(Exception):
    """Ends a following."""


class Problems(list[tuple[str, int, str]]):
    """Collects what is reported."""

    def __call__(self, file: str, line: int, what: str) -> None:
        self.append((os.path.basename(file), line, what))


def log_of(directory: Path, number: int, *times: int, code: int = -6) -> Path:
    """Write a log file with an error at each of some times."""
    path = directory / f"backup_error_{number}.log"
    path.write_bytes(b"".join(format_line(time, code, f"{number} at {time}") for time in times))
    return path


def times_of(errors: Iterator[LoggedError]) -> list[int]:
    """Return the times of errors."""
    return [error.time_ms for error in errors]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Each field of a line comes back, with the place where it stands."""
    with ErrorLog(tmp_path, clock=lambda: 1.0) as log:
        log.write(1640995200000, -6, "Network connection failed")
        log.write(1640995200001, -99, "a\nb")
    file = str(tmp_path / "backup_error_1000.log")
    assert list(read_errors(tmp_path)) == [
        LoggedError(1640995200000, -6, "Network connection failed", file, 1),
        LoggedError(1640995200001, -99, "a\\nb", file, 2),
    ]


@given(st.lists(st.tuples(st.integers(0, 2**53), st.integers(-(2**31), 2**31), st.text(st.characters())), max_size=20))
def test_any_message_survives(tmp_path_factory: pytest.TempPathFactory, written: list[tuple[int, int, str]]) -> None:
    """Whatever was logged is read as it was escaped, and nothing is taken for a broken line."""
    directory, problems = tmp_path_factory.mktemp("logs"), Problems()
    with ErrorLog(directory) as log:
        for time, code, message in written:
            log.write(time, code, message)
    read = sorted((error.time_ms, error.code, error.message) for error in read_errors(directory, report=problems))
    assert read == sorted((time, code, escape(message)) for time, code, message in written)
    assert problems == []


def test_single_file_is_read(tmp_path: Path) -> None:
    """The path may be one file, whatever its name."""
    path = log_of(tmp_path, 1, 5, 6).rename(tmp_path / "errors.txt")
    assert [(error.time_ms, error.file) for error in read_errors(str(path))] == [(5, str(path)), (6, str(path))]


def test_single_pipe_is_read(tmp_path: Path) -> None:
    """The path may be a pipe, which can be read only once."""
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(format_line(1, -6, "through a pipe")))
    writer.start()
    assert [error.message for error in read_errors(tmp_path / "pipe")] == ["through a pipe"]
    writer.join(10)


def test_nothing_there_is_an_error_at_once(tmp_path: Path) -> None:
    """A path that leads nowhere is refused by the call, not by the first step of its iterator."""
    with pytest.raises(FileNotFoundError):
        read_errors(tmp_path / "nothing")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        read_errors(tmp_path / "file" / "logs")


def test_empty_directory_has_no_errors(tmp_path: Path) -> None:
    """No logs, empty logs and other files make no errors and no problems."""
    problems = Problems()
    log_of(tmp_path, 1)
    (tmp_path / "notes.txt").write_text("not a log")
    (tmp_path / "backup_error_2.log").mkdir()
    os.mkfifo(tmp_path / "backup_error_3.log")
    assert list(read_errors(tmp_path, report=problems)) == []
    assert problems == []


# --- order ----------------------------------------------------------------------------------------


def test_files_are_merged_by_time(tmp_path: Path) -> None:
    """Errors of several files come in the order of their time, those of the same time in the order of the files."""
    log_of(tmp_path, START, START, START + 20, START + 40)
    log_of(tmp_path, START + 10, START + 10, START + 20, START + 30)
    errors = list(read_errors(tmp_path))
    assert [error.time_ms - START for error in errors] == [0, 10, 20, 20, 30, 40]
    assert [error.message.split()[0] for error in errors if error.time_ms == START + 20] == [
        str(START),
        str(START + 10),
    ]


@pytest.mark.parametrize("numbers", [(START, START + 10**9), (1, 2), (START, 1)])
def test_order_does_not_hang_on_the_names(tmp_path: Path, numbers: tuple[int, int]) -> None:
    """The lines' own times make the order, whatever numbers the files bear."""
    log_of(tmp_path, numbers[0], 10, 30, 50)
    log_of(tmp_path, numbers[1], 20, 40, 60)
    assert times_of(read_errors(tmp_path)) == [10, 20, 30, 40, 50, 60]


def test_lines_that_threads_swapped_are_sorted(tmp_path: Path) -> None:
    """Lines that stand a little out of order in a file come in order, also over the first lines of several files."""
    log_of(tmp_path, 1, 20, 10, 40, 30)
    log_of(tmp_path, 2, 15, 12)
    assert times_of(read_errors(tmp_path)) == [10, 12, 15, 20, 30, 40]


def test_long_files_are_merged(tmp_path: Path) -> None:
    """Files longer than what is held in memory at once are merged as well, lines out of order included."""
    count = 3 * reader._WINDOW
    for number in (0, 1):
        times = [2 * index + number for index in range(count)]
        times[100:110] = reversed(times[100:110])
        log_of(tmp_path, number, *times)
    assert times_of(read_errors(tmp_path)) == list(range(2 * count))


def test_reads_as_it_goes(tmp_path: Path) -> None:
    """The first error of a long file comes before its last line was read."""
    path, problems = log_of(tmp_path, 1, *range(2 * reader._WINDOW)), Problems()
    appending(path, b"nonsense\n")()
    errors = read_errors(tmp_path, report=problems)
    assert next(errors).time_ms == 0
    assert problems == []
    assert sum(1 for _ in errors) == 2 * reader._WINDOW - 1
    assert len(problems) == 1


def test_more_files_than_may_be_open(tmp_path: Path) -> None:
    """A directory with one long file after the other needs only as many open files as overlap in time."""
    hour = 3_600_000
    for number in range(60):
        lines = (START + number * hour + index for index in range(reader._WINDOW + 10))
        log_of(tmp_path, START + number * hour, *lines)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    problems = Problems()
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 12, hard))
    try:
        found = times_of(read_errors(tmp_path, report=problems))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert problems == []
    assert len(found) == 60 * (reader._WINDOW + 10)
    assert found == sorted(found)


def test_many_files_of_one_line(tmp_path: Path) -> None:
    """The plugin's way, a file for each error, is read in order."""
    for number in range(500):
        log_of(tmp_path, START + number * 7 % 500, START + number * 7 % 500)
    assert times_of(read_errors(tmp_path)) == list(range(START, START + 500))


# --- filters --------------------------------------------------------------------------------------


def test_since(tmp_path: Path) -> None:
    """Errors before a time are left out; one at that very time is not."""
    log_of(tmp_path, 1, 10, 20, 30)
    assert times_of(read_errors(tmp_path, since=20)) == [20, 30]
    assert times_of(read_errors(tmp_path, since=20.5)) == [30]
    assert times_of(read_errors(tmp_path, since=float("inf"))) == []


def test_codes(tmp_path: Path) -> None:
    """Only errors with the codes come, and both filters hold together."""
    log_of(tmp_path, 1, 10, 40, code=-5)
    log_of(tmp_path, 2, 20, code=-6)
    log_of(tmp_path, 3, 30, code=-7)
    assert times_of(read_errors(tmp_path, codes=[-5, -7])) == [10, 30, 40]
    assert times_of(read_errors(tmp_path, codes=iter([-5]), since=11)) == [40]
    assert times_of(read_errors(tmp_path, codes=[])) == []


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"since": "now"}, TypeError, "since must be milliseconds since the epoch, or None; got 'now'"),
        ({"since": True}, TypeError, "since must be .*True"),
        ({"since": float("nan")}, ValueError, "since must be .*NaN"),
        ({"codes": -6}, TypeError, r"codes must be error codes, such as .*; got -6"),
        ({"codes": ["NETWORK"]}, TypeError, "codes must be .*'NETWORK'"),
        ({"codes": [True]}, TypeError, "codes must be .*True"),
        ({"codes": [[]]}, TypeError, "codes must be "),
    ],
)
def test_wrong_arguments_are_refused(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    """Filters that cannot be meant are refused at once, by reading and by following."""
    with pytest.raises(error, match=text):
        read_errors(tmp_path, **options)
    with pytest.raises(error, match=text):
        follow(tmp_path, print, **options)


def test_following_refuses_what_cannot_wait(tmp_path: Path) -> None:
    """Interval and sleep are checked by the call."""
    with pytest.raises(ValueError, match=r"interval must be .*-1"):
        follow(tmp_path, print, interval=-1)
    sleep: Any = 3
    with pytest.raises(TypeError, match=r"sleep must be a function.*got 3"):
        follow(tmp_path, sleep)


# --- what is broken -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        b"nonsense\n",
        b"[1] Error -6 no colon\n",
        b"[x] Error -6: text\n",
        b"[1] Error six: text\n",
        b"[1.5] Error -6: text\n",
        b" [1] Error -6: text\n",
        b"[111111111111111111111111111111] Error -6: text\n",
        b"\0\0\0\0\n",
    ],
)
def test_broken_line_is_reported_and_passed_over(tmp_path: Path, broken: bytes) -> None:
    """A line that is no error line costs only itself, and its place is told."""
    path, problems = log_of(tmp_path, 1, 10), Problems()
    path.write_bytes(path.read_bytes() + broken + format_line(20, -6, "after"))
    assert [(error.time_ms, error.line) for error in read_errors(tmp_path, report=problems)] == [(10, 1), (20, 3)]
    assert problems == [("backup_error_1.log", 2, "not a line of an error log")]
    assert times_of(read_errors(tmp_path)) == [10, 20]


def test_torn_last_line_is_reported(tmp_path: Path) -> None:
    """A last line without its end is not shown as if it were whole."""
    path, problems = log_of(tmp_path, 1, 10), Problems()
    path.write_bytes(path.read_bytes() + b"[20] Error -6: half a mess")
    assert times_of(read_errors(tmp_path, report=problems)) == [10]
    assert problems == [("backup_error_1.log", 2, "the line was torn off, or is still being written")]


def test_empty_lines_are_no_problem(tmp_path: Path) -> None:
    """The empty line that keeps a torn piece apart is not reported, and counts for the line numbers."""
    path, problems = log_of(tmp_path, 1, 10), Problems()
    path.write_bytes(b"\n" + path.read_bytes() + b"\r\n" + format_line(20, -6, "after"))
    assert [(error.time_ms, error.line) for error in read_errors(tmp_path, report=problems)] == [(10, 2), (20, 4)]
    assert problems == []


def test_text_of_other_encodings_and_systems_is_shown(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 come as backslash escapes, and a carriage return at the end is no part of the message."""
    path = tmp_path / "backup_error_1.log"
    path.write_bytes(b"[1] Error -6: caf\xe9\r\n[2] Error -6: \n")
    assert [error.message for error in read_errors(tmp_path)] == ["caf\\xe9", ""]


def test_line_without_end_takes_bounded_memory(tmp_path: Path) -> None:
    """A file that is no text is read in pieces of bounded length, and what follows is still read."""
    path, problems = tmp_path / "backup_error_1.log", Problems()
    path.write_bytes(b"x" * (2 * reader._LONGEST + 5) + b"\n" + format_line(20, -6, "after"))
    assert [(error.time_ms, error.line) for error in read_errors(tmp_path, report=problems)] == [(20, 2)]
    assert problems == [("backup_error_1.log", 1, "not a line of an error log")] * 3


def test_unreadable_file_is_reported_with_line_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file that cannot be read hides none of the others."""
    log_of(tmp_path, 1, 10)
    log_of(tmp_path, 2, 20)
    problems, refuse = Problems(), opening(tmp_path / "backup_error_1.log", PermissionError(13, "Permission denied"))
    monkeypatch.setattr(reader, "open", refuse, raising=False)
    assert times_of(read_errors(tmp_path, report=problems)) == [20]
    assert problems == [("backup_error_1.log", 0, "PermissionError: [Errno 13] Permission denied")]


def test_file_that_vanishes_is_passed_over(tmp_path: Path) -> None:
    """A file that is cleaned away between the listing and the reading is no problem."""
    log_of(tmp_path, 1, 10)
    gone, problems = log_of(tmp_path, 2, 20), Problems()
    errors = read_errors(tmp_path, report=problems)
    gone.unlink()
    assert times_of(errors) == [10]
    assert problems == []


def opening(path: Path, error: OSError) -> Callable[..., Any]:
    """Return an ``open`` that fails for one path."""

    def refuse(name: str, mode: str) -> Any:
        if name == str(path):
            raise error
        return open(name, mode)

    return refuse


# --- following ------------------------------------------------------------------------------------


def followed(path: Path, *steps: Callable[[], object], **options: Any) -> list[list[int]]:
    """Follow a log; between two looks do one of some steps; return the times of the errors that each look found."""
    looks: list[list[int]] = [[]]
    remaining = list(steps)

    def sleep(seconds: float) -> None:
        if not remaining:
            raise Stop
        looks.append([])
        remaining.pop(0)()

    with suppress(Stop):
        for error in follow(path, sleep, **options):
            looks[-1].append(error.time_ms)
    return looks


def appending(path: Path, data: bytes) -> Callable[[], object]:
    """Return a step that appends to a file."""

    def step() -> None:
        with path.open("ab") as stream:
            stream.write(data)

    return step


def test_follow_shows_what_comes(tmp_path: Path) -> None:
    """First what is there, then each line that comes, once; in a file that is there and in a new one."""
    path = log_of(tmp_path, 1, 10)
    looks = followed(
        tmp_path,
        lambda: None,
        appending(path, format_line(20, -6, "more")),
        lambda: log_of(tmp_path, 2, 30),
        appending(path, format_line(40, -6, "more")),
    )
    assert looks == [[10], [], [20], [30], [40]]


def test_follow_waits_the_interval(tmp_path: Path) -> None:
    """Between two looks the given function is called with the interval."""
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            raise Stop

    with pytest.raises(Stop):
        list(follow(tmp_path, sleep, interval=0.25))
    assert waits == [0.25, 0.25]


def test_follow_survives_rotation_and_cleaning(tmp_path: Path) -> None:
    """New files of a rotation are followed, and files that vanish are forgotten; no line comes twice."""
    clock = iter(range(1, 100))
    log = ErrorLog(tmp_path, max_bytes=30, max_files=2, clock=lambda: float(next(clock)))
    steps = [lambda time=time: log.write(time, -6, "x") for time in range(1, 8)]
    assert followed(tmp_path, *steps) == [[], [1], [2], [3], [4], [5], [6], [7]]


def test_follow_waits_for_the_directory(tmp_path: Path) -> None:
    """A directory that is made with the first error may be followed before."""
    log = ErrorLog(tmp_path / "logs")
    assert followed(tmp_path / "logs", lambda: None, lambda: log.write(5, -6, "x")) == [[], [], [5]]


def test_follow_waits_for_the_end_of_a_line(tmp_path: Path) -> None:
    """A line that is half there is shown when it is whole; a piece that another line follows is reported."""
    path, problems = log_of(tmp_path, 1, 10), Problems()
    looks = followed(
        tmp_path,
        appending(path, b"[20] Error -6: ha"),
        lambda: None,
        appending(path, b"lf\n"),
        appending(path, b"[3"),
        appending(path, b"\n[40] Error -6: x\n"),
        report=problems,
    )
    assert looks == [[10], [], [], [20], [], [40]]
    assert problems == [("backup_error_1.log", 3, "not a line of an error log")]


def test_follow_a_file_that_is_replaced_or_cut(tmp_path: Path) -> None:
    """A file that a rotation from outside replaces, or cuts to nothing, is read again from its start."""
    path = tmp_path / "errors.txt"
    path.write_bytes(format_line(10, -6, "x" * 50))
    new = tmp_path / "new"
    new.write_bytes(format_line(20, -6, "longer than before" * 10))
    looks = followed(
        path,
        lambda: new.rename(path),
        lambda: path.write_bytes(format_line(30, -6, "cut")),
        lambda: path.unlink(),
        lambda: path.write_bytes(format_line(40, -6, "back")),
    )
    assert looks == [[10], [20], [30], [], [40]]


def test_follow_filters(tmp_path: Path) -> None:
    """The filters hold for what comes as for what is there."""
    path = log_of(tmp_path, 1, 10, 20)
    step = appending(path, format_line(15, -6, "x") + format_line(30, -6, "x") + format_line(40, -5, "x"))
    assert followed(tmp_path, step, since=20, codes=[-6]) == [[20], [30]]


def test_follow_reports_an_unreadable_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be read is not reported again at every look; when it can be read, it is."""
    path, problems = log_of(tmp_path, 1, 10), Problems()
    monkeypatch.setattr(reader, "open", opening(path, PermissionError(13, "Permission denied")), raising=False)
    looks = followed(tmp_path, lambda: None, lambda: None, lambda: monkeypatch.delattr(reader, "open"), report=problems)
    assert looks == [[], [], [], [10]]
    assert len(problems) == 1


def test_follow_does_not_read_what_has_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at a hundred quiet files opens none of them."""
    for number in range(100):
        log_of(tmp_path, number, number)
    opened: list[str] = []

    def counted(name: str, mode: str) -> Any:
        opened.append(name)
        return open(name, mode)

    monkeypatch.setattr(reader, "open", counted, raising=False)
    assert len(followed(tmp_path, opened.clear, lambda: None)[0]) == 100
    assert opened == []


def test_follow_passes_over_a_file_that_vanishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is cleaned away while a look is under way is no problem."""
    gone, problems, isfile = log_of(tmp_path, 1, 10), Problems(), os.path.isfile
    log_of(tmp_path, 2, 20)

    def raced(path: str) -> bool:
        found = isfile(path)
        gone.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(os.path, "isfile", raced)
    assert followed(tmp_path, report=problems) == [[20]]
    assert problems == []


# --- summing up -----------------------------------------------------------------------------------


def test_summary_counts_by_code(tmp_path: Path) -> None:
    """How often, first and last of each code; the most frequent first, then by code."""
    log_of(tmp_path, 1, 20, 10, code=-6)
    log_of(tmp_path, 2, 30, code=-5)
    log_of(tmp_path, 3, 40, code=-7)
    assert summarize(read_errors(tmp_path)) == [
        CodeSummary(-6, 2, 10, 20),
        CodeSummary(-7, 1, 40, 40),
        CodeSummary(-5, 1, 30, 30),
    ]


def test_summary_of_nothing() -> None:
    """No errors make an empty summary."""
    assert summarize([]) == []
