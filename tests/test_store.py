"""The error log on disk: many writers, full disks, vanished directories, forks, cleaning; it never raises."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from retrywrap.record import logfile
from retrywrap.record.store import ErrorLog

LINE = re.compile(r"\[\d+\] Error -?\d+: .*")
NOW = 1_700_000_000.0
DAY = 86400.0


def clock() -> float:
    """Return a time that stands still."""
    return NOW


def lines(directory: Path) -> list[str]:
    """Return all lines of all log files of a directory, in the order of the files; each must be whole, or empty."""
    found = []
    for path in sorted(directory.glob("backup_error_*.log")):
        text = path.read_bytes().decode("utf-8")
        assert text == "" or text.endswith("\n")
        found += [line for line in text.splitlines() if line]
    assert [line for line in found if not LINE.fullmatch(line)] == []
    return found


def open_below(directory: Path) -> list[str]:
    """Return the paths below a directory that this process has open now, without a garbage collection."""
    paths = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the descriptor that listed them
            paths.append(os.readlink(f"/proc/self/fd/{number}"))
    return [path.removeprefix(f"{directory}/") for path in paths if path.startswith(str(directory))]


def old_log(directory: Path, number: int, age: float) -> Path:
    """Make a log file that a dead process left behind, its last line so many seconds old."""
    path = directory / f"backup_error_{number}.log"
    path.write_text(f"[{number}] Error -6: old\n")
    os.utime(path, (NOW - age, NOW - age))
    return path


def test_first_line_makes_directory_and_file(tmp_path: Path) -> None:
    """Nothing is on disk before the first error; then a directory and a file, named for the time, the owner's alone."""
    log = ErrorLog(tmp_path / "a" / "b", clock=clock)
    assert list(tmp_path.iterdir()) == []
    assert log.write(1640995200000, -6, "Network connection failed") is True
    file = tmp_path / "a" / "b" / "backup_error_1700000000000.log"
    assert file.read_bytes() == b"[1640995200000] Error -6: Network connection failed\n"
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "a", tmp_path / "a" / "b", file)] == [
        0o700,
        0o700,
        0o600,
    ]
    assert (log.written, log.dropped) == (1, 0)


def test_lines_of_one_process_go_into_one_file(tmp_path: Path) -> None:
    """However many lines: one file, in the order in which they were written."""
    with ErrorLog(tmp_path) as log:
        for number in range(100):
            assert log.write(number, -5, f"message {number}")
    assert len(list(tmp_path.iterdir())) == 1
    assert lines(tmp_path) == [f"[{number}] Error -5: message {number}" for number in range(100)]


def test_each_line_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line reaches the system in a single call, so that no other writer can come between."""
    log, real_write, written = ErrorLog(tmp_path), os.write, []

    def counted(descriptor: int, data: bytes) -> int:
        written.append(data)
        return real_write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", counted)
        log.write(1, -6, "a\nb")
    assert written == [b"[1] Error -6: a\\nb\n"]


def test_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that changes its directory later goes on writing where it began."""
    monkeypatch.chdir(tmp_path)
    log = ErrorLog("logs")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    log.write(1, -6, "here")
    assert lines(tmp_path / "logs") == ["[1] Error -6: here"]


def test_close_ends_a_file_and_a_later_line_begins_another(tmp_path: Path) -> None:
    """After close no descriptor is left; the log can still be written."""
    log = ErrorLog(tmp_path, clock=clock)
    log.write(1, -6, "one")
    assert open_below(tmp_path) == ["backup_error_1700000000000.log"]
    log.close()
    assert open_below(tmp_path) == []
    assert log.write(2, -6, "two")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "backup_error_1700000000000.log",
        "backup_error_1700000000001.log",
    ]


def test_context_manager_closes(tmp_path: Path) -> None:
    """After the block the file is closed."""
    with ErrorLog(tmp_path) as log:
        log.write(1, -6, "one")
        assert len(open_below(tmp_path)) == 1
    assert open_below(tmp_path) == []


def test_defaults() -> None:
    """Without arguments: files of 10 MiB, a hundred of them, for thirty days."""
    assert ErrorLog.__init__.__kwdefaults__ == {
        "max_bytes": 10_485_760,
        "max_files": 100,
        "max_age": 2_592_000.0,
        "clock": time.time,
    }


def test_dropped_log_leaves_no_descriptor(tmp_path: Path) -> None:
    """A log that nobody closed is closed when it is forgotten."""
    assert ErrorLog(tmp_path).write(1, -6, "one")
    assert open_below(tmp_path) == []


def test_repr_tells_path_and_counts(tmp_path: Path) -> None:
    """The repr says where and how much."""
    log = ErrorLog(tmp_path)
    log.write(1, -6, "one")
    assert repr(log) == f"ErrorLog({str(tmp_path)!r}, written=1, dropped=0)"


# --- rotation -------------------------------------------------------------------------------------


def test_file_is_rotated_before_it_grows_too_large(tmp_path: Path) -> None:
    """A line that would pass max_bytes goes into a new file; one that just fits does not."""
    size = len(b"[1] Error -6: abc\n")
    with ErrorLog(tmp_path, max_bytes=2 * size, clock=clock) as log:
        for _ in range(5):
            log.write(1, -6, "abc")
    assert [path.stat().st_size for path in sorted(tmp_path.iterdir())] == [2 * size, 2 * size, size]


def test_line_longer_than_a_file_is_written_nevertheless(tmp_path: Path) -> None:
    """A line that fits into no file gets one of its own, and no empty file is left before it."""
    with ErrorLog(tmp_path, max_bytes=10) as log:
        assert log.write(1, -6, "x" * 100)
        assert log.write(2, -6, "y")
    assert len(list(tmp_path.iterdir())) == 2
    assert len(lines(tmp_path)) == 2


def test_empty_file_is_used_however_long_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is empty because its first line was lost takes the next line, though it is longer than a file."""
    with ErrorLog(tmp_path, max_bytes=10) as log:
        with monkeypatch.context() as patch:
            Fault(patch, "write", 0, 1, OSError(errno.ENOSPC, "No space left on device"))
            assert log.write(1, -6, "x" * 100) is False
        assert log.write(2, -6, "x" * 100) is True
    assert len(list(tmp_path.iterdir())) == 1


def test_first_line_that_is_torn_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only a piece of the very first line can be written, the file is empty again, and the line is lost."""
    log, real_write = ErrorLog(tmp_path), os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: real_write(descriptor, data[:5]))
        assert log.write(1, -6, "torn") is False
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [0]
    assert log.write(2, -6, "whole") is True
    assert lines(tmp_path) == ["[2] Error -6: whole"]


def test_no_limit_no_rotation(tmp_path: Path) -> None:
    """With max_bytes=None a file grows for ever."""
    with ErrorLog(tmp_path, max_bytes=None) as log:
        for _ in range(50):
            log.write(1, -6, "x" * 1000)
    assert len(list(tmp_path.iterdir())) == 1


def test_rotation_leaves_one_descriptor(tmp_path: Path) -> None:
    """Rotating closes the file before."""
    log = ErrorLog(tmp_path, max_bytes=1)
    for number in range(20):
        log.write(number, -6, "x")
    assert len(open_below(tmp_path)) == 1
    log.close()


def test_threads_lose_nothing_over_rotations(tmp_path: Path) -> None:
    """Eight threads, a rotation every few lines: each line is there once, no file too large, the count exact."""
    log = ErrorLog(tmp_path, max_bytes=1000, max_files=None)
    start = threading.Barrier(8)

    def work(thread: int) -> None:
        start.wait()
        for number in range(200):
            assert log.write(number, -6, f"{thread}/{number}")

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(lines(tmp_path)) == sorted(f"[{n}] Error -6: {t}/{n}" for t in range(8) for n in range(200))
    assert max(path.stat().st_size for path in tmp_path.iterdir()) <= 1000
    assert (log.written, log.dropped) == (1600, 0)


# --- several processes ----------------------------------------------------------------------------

PROCESS = """
import sys
from retrywrap.record import logfile
from retrywrap.record.store import ErrorLog
path, name, count, max_bytes, max_files = sys.argv[1:]
log = ErrorLog(path, max_bytes=int(max_bytes), max_files=int(max_files) or None)
assert log.write(0, -6, name + "/0")
print("ready", flush=True)
sys.stdin.readline()
for number in range(1, int(count)):
    assert log.write(number, -6, f"{name}/{number}")
print("done", flush=True)
sys.stdin.readline()
"""


def run_together(path: Path, processes: int, count: int, max_bytes: int, max_files: int) -> list[str]:
    """Write from several processes at once, all alive until the last has finished; return what should be there."""
    arguments = [str(path), "", str(count), str(max_bytes), str(max_files)]
    running = []
    for name in range(processes):
        arguments[1] = str(name)
        command = [sys.executable, "-W", "error", "-c", PROCESS, *arguments]
        running.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    for answer in ("ready", "done"):
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == f"{answer}\n"
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
    for process in running:
        process.communicate(timeout=60)
        assert process.returncode == 0
    return sorted(f"[{number}] Error -6: {name}/{number}" for name in range(processes) for number in range(count))


@pytest.mark.parametrize("max_bytes", [10_000_000, 1_500])
def test_processes_lose_nothing(tmp_path: Path, max_bytes: int) -> None:
    """Several processes write into one directory at once, with and without rotation: every line is there, whole."""
    expected = run_together(tmp_path, processes=8, count=300, max_bytes=max_bytes, max_files=0)
    assert sorted(lines(tmp_path)) == expected


def test_processes_share_a_plain_file(tmp_path: Path) -> None:
    """Several processes that append to one plain file: every line is there, whole."""
    (tmp_path / "backup_error_1.log").touch()
    expected = run_together(tmp_path / "backup_error_1.log", processes=8, count=300, max_bytes=100, max_files=0)
    assert sorted(lines(tmp_path)) == expected
    assert len(list(tmp_path.iterdir())) == 1


def test_cleaning_spares_the_files_of_living_processes(tmp_path: Path) -> None:
    """Processes that each may keep one file do not remove one another's; those of the dead go with the next start."""
    expected = run_together(tmp_path, processes=5, count=20, max_bytes=10_000_000, max_files=1)
    assert sorted(lines(tmp_path)) == expected
    with ErrorLog(tmp_path, max_files=1) as log:
        log.write(1, -6, "alone")
    assert lines(tmp_path) == ["[1] Error -6: alone"]


@pytest.mark.filterwarnings("ignore:.* is multi-threaded:DeprecationWarning")  # by pytest's own watchdog
def test_forked_child_writes_a_file_of_its_own(tmp_path: Path) -> None:
    """After a fork, parent and child write into two files; the child's end does not unlock the parent's file."""
    log = ErrorLog(tmp_path, clock=clock)
    log.write(1, -6, "parent")
    child = os.fork()
    if child == 0:  # the child must not come back into the test run
        status = 1
        try:
            status = 0 if log.write(2, -6, "child") and log.write(3, -6, "child") else 1
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    log.write(4, -6, "parent")
    files = sorted(tmp_path.iterdir())
    assert [path.read_text() for path in files] == [
        "[1] Error -6: parent\n[4] Error -6: parent\n",
        "[2] Error -6: child\n[3] Error -6: child\n",
    ]
    with files[0].open("r+") as stream, pytest.raises(BlockingIOError):
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_fork_while_other_threads_write(tmp_path: Path) -> None:
    """A child forked in the middle of other threads' lines can write at once: no lock stays taken, no line is torn."""
    script = (
        "import os, sys, threading, warnings\n"
        "warnings.simplefilter('ignore', DeprecationWarning)\n"  # from 3.12 on, forking with threads warns
        "from retrywrap.record.store import ErrorLog\n"
        "log, stop = ErrorLog(sys.argv[1], max_bytes=2000, max_files=None), threading.Event()\n"
        "def work():\n"
        "    while not stop.is_set(): log.write(1, -6, 'parent')\n"
        "threads = [threading.Thread(target=work) for _ in range(4)]\n"
        "[thread.start() for thread in threads]\n"
        "for number in range(20):\n"
        "    child = os.fork()\n"
        "    if not child: os._exit(0 if log.write(2, -6, 'child') else 1)\n"
        "    assert os.waitpid(child, 0)[1] == 0\n"
        "stop.set()\n"
        "[thread.join() for thread in threads]\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=60)
    assert lines(tmp_path).count("[2] Error -6: child") == 20


# --- what vanishes --------------------------------------------------------------------------------


def test_directory_below_a_thousand_missing_ones(tmp_path: Path) -> None:
    """However many directories are missing, they are made; how deep the interpreter may recurse does not matter."""
    deep = tmp_path.joinpath(*["d"] * 1100)
    try:
        assert ErrorLog(deep).write(1, -6, "deep") is True
        assert lines(deep) == ["[1] Error -6: deep"]
    finally:  # here, since what removes the tests' folders recurses
        for path in deep.glob("*.log"):
            path.unlink()
        with suppress(OSError):
            os.removedirs(deep)
    assert list(tmp_path.parent.glob(f"{tmp_path.name}/*")) == []


@pytest.mark.parametrize("what", ["directory", "file", "parent"])
def test_what_was_removed_comes_back(tmp_path: Path, what: str) -> None:
    """A directory or file that somebody removes is made again for the next line: none is lost in a deleted file."""
    directory = tmp_path / "parent" / "logs"
    log = ErrorLog(directory)
    log.write(1, -6, "before")
    if what == "file":
        next(directory.iterdir()).unlink()
    else:
        shutil.rmtree(directory if what == "directory" else tmp_path / "parent")
    assert log.write(2, -6, "after")
    assert lines(directory) == ["[2] Error -6: after"]
    assert log.dropped == 0


def test_directory_removed_while_threads_write(tmp_path: Path) -> None:
    """A directory that is removed again and again while lines come: nothing raises, and each line is counted once."""
    log = ErrorLog(tmp_path / "logs", max_bytes=500)
    stop, calls = threading.Event(), []

    def work() -> None:
        count = 0
        while not stop.is_set():
            log.write(count, -6, "x")
            count += 1
        calls.append(count)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        shutil.rmtree(tmp_path / "logs", ignore_errors=True)
    stop.set()
    for thread in threads:
        thread.join()
    assert log.written + log.dropped == sum(calls)
    assert log.write(1, -6, "after")
    assert "[1] Error -6: after" in lines(tmp_path / "logs")


def test_renamed_directory_is_left_alone(tmp_path: Path) -> None:
    """Lines do not follow a directory that was moved away."""
    log = ErrorLog(tmp_path / "logs")
    log.write(1, -6, "before")
    (tmp_path / "logs").rename(tmp_path / "archive")
    log.write(2, -6, "after")
    assert lines(tmp_path / "archive") == ["[1] Error -6: before"]
    assert lines(tmp_path / "logs") == ["[2] Error -6: after"]


def test_closed_descriptor_costs_no_line(tmp_path: Path) -> None:
    """A program that closes all its descriptors, and opens others, finds its own files untouched and no line lost."""
    log = ErrorLog(tmp_path / "logs")
    log.write(1, -6, "before")
    assert log._file is not None
    number = log._file.descriptor
    os.close(number)
    stranger = os.open(tmp_path / "stranger", os.O_RDWR | os.O_CREAT)
    os.dup2(stranger, number)
    assert log.write(2, -6, "after")
    assert (tmp_path / "stranger").read_bytes() == b""
    assert lines(tmp_path / "logs") == ["[1] Error -6: before", "[2] Error -6: after"]
    os.fstat(number)
    os.close(number)
    if stranger != number:
        os.close(stranger)


# --- no directory ---------------------------------------------------------------------------------


def test_plain_file_is_appended_to(tmp_path: Path) -> None:
    """Where the path is a file, lines go to its end; no rotation, no cleaning, no other file."""
    path = tmp_path / "errors.txt"
    path.write_text("kept\n")
    old = old_log(tmp_path, 1, 400 * DAY)
    with ErrorLog(path, max_bytes=20, max_files=1, clock=clock) as log:
        for number in range(5):
            assert log.write(number, -6, "x" * 20)
    assert path.read_text().splitlines() == ["kept", *(f"[{n}] Error -6: {'x' * 20}" for n in range(5))]
    assert sorted(tmp_path.iterdir()) == sorted([path, old])


def test_plain_file_that_was_moved_away_is_made_again(tmp_path: Path) -> None:
    """A log rotation from outside, which renames the file, gets a plain file again, not a directory."""
    path = tmp_path / "errors.txt"
    path.touch()
    log = ErrorLog(path)
    log.write(1, -6, "before")
    path.rename(tmp_path / "errors.txt.1")
    assert log.write(2, -6, "after")
    assert path.read_text() == "[2] Error -6: after\n"


def test_plain_file_that_became_a_directory(tmp_path: Path) -> None:
    """Where a file gives way to a directory, the lines go into files in it."""
    path = tmp_path / "errors"
    path.touch()
    log = ErrorLog(path)
    log.write(1, -6, "before")
    path.unlink()
    path.mkdir()
    assert log.write(2, -6, "after")
    assert lines(path) == ["[2] Error -6: after"]


def test_full_device(caplog: pytest.LogCaptureFixture) -> None:
    """On a full disk nothing raises: the lines are counted as lost, and one warning says so."""
    with ErrorLog("/dev/full") as log:
        assert [log.write(number, -6, "x") for number in range(3)] == [False, False, False]
    assert (log.written, log.dropped) == (0, 3)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "/dev/full" in caplog.text
    assert "No space left on device" in caplog.text


def test_standard_error() -> None:
    """``/dev/stderr`` shows the lines."""
    script = "from retrywrap.record.store import ErrorLog; ErrorLog('/dev/stderr').write(1, -6, 'shown')"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert (ran.stdout, ran.stderr) == ("", "[1] Error -6: shown\n")


def test_pipe_never_blocks(tmp_path: Path) -> None:
    """A pipe without a reader, and one whose reader does not read, lose lines but never time."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    log = ErrorLog(path)
    assert log.write(1, -6, "nobody reads") is False
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert log.write(2, -6, "read") is True
    assert os.read(reader, 100) == b"[2] Error -6: read\n"
    results = [log.write(3, -6, "x" * 4000) for _ in range(100)]
    assert results[0] is True
    assert results[-1] is False
    assert results.count(True) + 1 == log.written
    os.close(reader)


def test_path_below_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A directory that cannot be made costs lines, not the operation; once it can be made, lines are written again."""
    (tmp_path / "file").touch()
    log = ErrorLog(tmp_path / "file" / "logs")
    assert log.write(1, -6, "lost") is False
    assert "NotADirectoryError" in caplog.text
    (tmp_path / "file").unlink()
    assert log.write(2, -6, "kept") is True
    assert lines(tmp_path / "file" / "logs") == ["[2] Error -6: kept"]
    assert (log.written, log.dropped) == (1, 1)


def test_warning_comes_again_after_it_worked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One warning for each time that lines begin to be lost."""
    (tmp_path / "file").touch()
    log = ErrorLog(tmp_path / "file" / "logs")
    log.write(1, -6, "lost")
    log.write(2, -6, "lost")
    assert len(caplog.records) == 1
    (tmp_path / "file").unlink()
    log.write(3, -6, "kept")
    shutil.rmtree(tmp_path / "file")
    (tmp_path / "file").touch()
    log.write(4, -6, "lost")
    log.write(5, -6, "lost")
    first, again, second = [record.getMessage() for record in caplog.records]
    assert "cannot be written, lines are lost" in first
    assert again.endswith("is written again; 2 lines were lost")
    assert "cannot be written, lines are lost" in second
    assert log.dropped == 4


class Handler(logging.Handler):
    """A logging handler that does what it is given to do."""

    def __init__(self, action: Callable[[], Any]) -> None:
        super().__init__()
        self.action = action

    def emit(self, record: logging.LogRecord) -> None:
        """Do it."""
        self.action()


@contextmanager
def handling(action: Callable[[], Any]) -> Iterator[None]:
    """Have an action done for each message of the logger ``retrywrap``."""
    handler = Handler(action)
    logging.getLogger("retrywrap").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("retrywrap").removeHandler(handler)


def test_warning_is_given_without_the_lock() -> None:
    """A logging handler may wait for a thread that itself has an error to write."""
    log = ErrorLog("/dev/full")
    ended = []

    def other_thread() -> None:
        thread = threading.Thread(target=lambda: log.write(2, -6, "from the handler"), daemon=True)
        thread.start()
        thread.join(10)
        ended.append(not thread.is_alive())

    with handling(other_thread):
        log.write(1, -6, "x")
    assert ended == [True]
    assert log.dropped == 2


def test_warning_that_raises_is_kept_in() -> None:
    """A logging handler that fails changes nothing."""

    def fail() -> None:
        raise OSError("the handler is broken too")

    with handling(fail):
        assert ErrorLog("/dev/full").write(1, -6, "x") is False


# --- cleaning -------------------------------------------------------------------------------------


def test_oldest_files_beyond_the_number_are_removed(tmp_path: Path) -> None:
    """The newest max_files stay, the own one among them, whatever the clock says of their age."""
    old = [old_log(tmp_path, number, -DAY) for number in range(5)]
    ErrorLog(tmp_path, max_files=3, max_age=None, clock=clock).write(1, -6, "new")
    assert [path.exists() for path in old] == [False, False, False, True, True]
    assert len(list(tmp_path.iterdir())) == 3


def test_old_files_are_removed(tmp_path: Path) -> None:
    """A file whose last line is older than max_age goes; age counts from the last line, not from the name."""
    old, young = old_log(tmp_path, 1, 31 * DAY), old_log(tmp_path, 0, 29 * DAY)
    ErrorLog(tmp_path, clock=clock).write(1, -6, "new")
    assert (old.exists(), young.exists()) == (False, True)


def test_clock_that_was_set_back(tmp_path: Path) -> None:
    """Files from a time when the clock was wrong, far ahead, go before those that are begun later."""
    for _ in range(3):
        with ErrorLog(tmp_path, max_files=3, clock=lambda: NOW + 4000 * DAY) as log:
            log.write(1, -6, "from the future")
    for number in range(2, 5):
        with ErrorLog(tmp_path, max_files=3, clock=clock) as log:
            log.write(number, -6, "from now")
    assert lines(tmp_path) == [f"[{number}] Error -6: from now" for number in (2, 3, 4)]


def test_no_limits_no_cleaning(tmp_path: Path) -> None:
    """With both limits off, nothing is removed."""
    for number in range(120):
        old_log(tmp_path, number, 4000 * DAY)
    ErrorLog(tmp_path, max_files=None, max_age=None, clock=clock).write(1, -6, "new")
    assert len(list(tmp_path.iterdir())) == 121


def test_rotation_cleans(tmp_path: Path) -> None:
    """A process that rotates for ever keeps max_files files."""
    log = ErrorLog(tmp_path, max_bytes=1, max_files=3)
    for number in range(20):
        log.write(number, -6, "x")
    assert lines(tmp_path) == [f"[{number}] Error -6: x" for number in (17, 18, 19)]
    assert (log.written, log.dropped) == (20, 0)


def test_only_exact_names_are_removed(tmp_path: Path) -> None:
    """Other files, directories and links are never removed, even where their names are alike."""
    names = ["backup_error_1.log.gz", "xbackup_error_1.log", "backup_error_.log", "backup_error_-1.log", "notes.txt"]
    for name in [*names, "backup_error_1x.log"]:
        (tmp_path / name).touch()
    (tmp_path / "backup_error_2.log").mkdir()
    (tmp_path / "backup_error_3.log").symlink_to(tmp_path / "notes.txt")
    os.mkfifo(tmp_path / "backup_error_4.log")
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0), follow_symlinks=False)
    before = set(tmp_path.iterdir())
    ErrorLog(tmp_path, max_files=1, max_age=1, clock=clock).write(1, -6, "new")
    assert before < set(tmp_path.iterdir())


def test_open_files_are_not_removed(tmp_path: Path) -> None:
    """A file that another log holds open stays, though it is too old and one too many; once closed, it goes."""
    first = ErrorLog(tmp_path, clock=clock)
    first.write(1, -6, "first")
    path = next(tmp_path.iterdir())
    os.utime(path, (0, 0))
    ErrorLog(tmp_path, max_files=1, max_age=1, clock=clock).write(2, -6, "second")
    assert path.exists()
    first.close()
    ErrorLog(tmp_path, max_files=1, max_age=1, clock=clock).write(3, -6, "third")
    assert not path.exists()


@pytest.mark.parametrize("how", ["no fcntl", "no locks"])
def test_without_locks_young_files_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Where nobody can tell whether a file is in use, only one without a line for a day is removed."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    if how == "no fcntl":
        monkeypatch.setattr(logfile, "fcntl", None)
    else:
        monkeypatch.setattr(fcntl, "flock", refuse)
    old, young = old_log(tmp_path, 1, 1.1 * DAY), old_log(tmp_path, 2, 0.9 * DAY)
    ErrorLog(tmp_path, max_files=1, clock=clock).write(1, -6, "new")
    assert (old.exists(), young.exists()) == (False, True)
    assert len(lines(tmp_path)) == 2


def test_own_file_stays_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is far ahead of the disk's does not make a process remove the file that it has just begun."""
    monkeypatch.setattr(logfile, "fcntl", None)
    log = ErrorLog(tmp_path, max_age=1, clock=lambda: time.time() + 30 * DAY)
    log.write(1, -6, "one")
    log.write(2, -6, "two")
    assert lines(tmp_path) == ["[1] Error -6: one", "[2] Error -6: two"]


def test_cleaner_removes_no_file_that_took_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the name leads to another file by the time the old one is locked, nothing is removed."""
    path = old_log(tmp_path, 1, 400 * DAY)
    real_flock = fcntl.flock

    def raced(descriptor: int, how: int) -> None:
        real_flock(descriptor, how)
        if how & fcntl.LOCK_EX:
            path.unlink()
            path.write_text("[9] Error -6: another\n")

    monkeypatch.setattr(fcntl, "flock", raced)
    ErrorLog(tmp_path, clock=clock).write(1, -6, "new")
    assert path.read_text() == "[9] Error -6: another\n"


# --- whatever fails -------------------------------------------------------------------------------

CALLS = ["open", "write", "fstat", "stat", "lstat", "mkdir", "unlink", "listdir", "fchmod", "close", "flock"]


class Fault:
    """Makes one system call fail: from its n-th call on, for so many calls."""

    def __init__(self, patch: pytest.MonkeyPatch, name: str, first: int, times: int, error: BaseException) -> None:
        module: Any = fcntl if name == "flock" else os
        self.real = getattr(module, name)
        self.closes = name == "close"
        self.failing = range(first, first + times)
        self.calls = 0
        self.error = error
        patch.setattr(module, name, self)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        if self.calls - 1 in self.failing:
            if self.closes:  # one that fails has closed
                self.real(*arguments)
            raise type(self.error)(*self.error.args)  # a new one: the old one's traceback keeps everything alive
        return self.real(*arguments, **options)


@pytest.mark.parametrize("max_files", [2, None])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "input/output error"), BlockingIOError(), FileNotFoundError()])
@pytest.mark.parametrize("times", [1, 10**9])
@pytest.mark.parametrize("first", [0, 1, 2, 4])
@pytest.mark.parametrize("name", CALLS)
def test_no_failing_system_call_raises(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    first: int,
    times: int,
    error: OSError,
    max_files: int | None,
) -> None:
    """Whichever call fails, once or for good: nothing raises, the counts are what happened, and it recovers after."""
    directory = tmp_path / "logs"
    log = ErrorLog(directory, max_bytes=60, max_files=max_files, clock=clock)
    with monkeypatch.context() as patch:
        Fault(patch, name, first, times, error)
        results = [log.write(number, -6, "x" * 20) for number in range(4)]
        if log._file is not None:
            with suppress(FileNotFoundError):
                os.rename(log._file.path, tmp_path / "backup_error_moved.log")
        results += [log.write(number, -6, "x" * 20) for number in range(4, 8)]
    assert (log.written, log.dropped) == (results.count(True), results.count(False))
    assert log.write(99, -6, "again") is True
    kept = lines(directory)
    assert kept[-1] == "[99] Error -6: again"
    written = {f"[{number}] Error -6: {'x' * 20}" for number, whole in enumerate(results) if whole}
    found = {*kept[:-1], *lines(tmp_path)}
    assert found == written if max_files is None else found <= written
    log.close()
    assert open_below(tmp_path) == []


@pytest.mark.parametrize("name", ["open", "write", "fstat", "stat", "mkdir"])
def test_interrupt_loses_no_later_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Ctrl-C in the middle of a line comes out, and the next line is written, whole, by whichever thread."""
    log = ErrorLog(tmp_path / "logs", clock=clock)
    with monkeypatch.context() as patch:
        Fault(patch, name, 0, 1, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            log.write(1, -6, "interrupted")
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(log.write(2, -6, "after")))
    thread.start()
    thread.join(10)
    assert results == [True]
    assert lines(tmp_path / "logs") == ["[2] Error -6: after"]


@pytest.mark.parametrize("name", ["open", "write", "fstat", "stat", "listdir", "flock"])
@pytest.mark.parametrize("what", ["write", "close"])
def test_signal_handler_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, what: str) -> None:
    """A signal handler that records an error, or closes the log, in the middle of a line costs neither line."""
    log = ErrorLog(tmp_path, clock=clock, max_bytes=30)
    log.write(1, -6, "first")
    handled: list[str] = []

    def handle(*_: object) -> None:
        handled.append(what)
        if what == "write":
            assert log.write(3, -6, "handler")
        else:
            log.close()

    module: Any = fcntl if name == "flock" else os
    real = getattr(module, name)

    def interrupted(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(module, name, real)
        signal.raise_signal(signal.SIGUSR1)
        return real(*arguments, **options)

    handler = signal.signal(signal.SIGUSR1, handle)
    try:
        monkeypatch.setattr(module, name, interrupted)
        assert log.write(2, -6, "second") is True
    finally:
        signal.signal(signal.SIGUSR1, handler)
    expected = ["[1] Error -6: first", "[2] Error -6: second", "[3] Error -6: handler"][: 3 if what == "write" else 2]
    assert handled == [what]
    assert sorted(lines(tmp_path)) == expected
    assert log.written == len(expected)
    log.close()
    assert open_below(tmp_path) == []


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"path": ""}, ValueError, "path must name a directory"),
        ({"path": "a\0b"}, ValueError, r"path must name a directory.*'a\\x00b'"),
        ({"path": "\ud800"}, ValueError, "path must name a directory"),
        ({"path": b"x"}, TypeError, "path must be the path of a directory .*b'x'"),
        ({"path": None}, TypeError, "path must be .*None"),
        ({"path": 3}, TypeError, "path must be .*3"),
        ({"max_bytes": 0}, ValueError, "max_bytes must be .*None for no limit; got 0"),
        ({"max_bytes": -1}, ValueError, "max_bytes must be .*got -1"),
        ({"max_bytes": True}, TypeError, "max_bytes must be .*got True"),
        ({"max_bytes": 1e6}, TypeError, "max_bytes must be .*got 1000000.0"),
        ({"max_files": 0}, ValueError, "max_files must be .*got 0"),
        ({"max_files": "7"}, TypeError, "max_files must be .*got '7'"),
        ({"max_age": 0}, ValueError, "max_age must be more than 0 seconds, or None"),
        ({"max_age": -1.0}, ValueError, "max_age must be .*got -1.0"),
        ({"max_age": float("nan")}, ValueError, "max_age must be .*got nan"),
        ({"max_age": float("inf")}, ValueError, "max_age must be .*got inf"),
        ({"max_age": True}, TypeError, "max_age must be .*got True"),
        ({"clock": 5}, TypeError, "clock must be a function.*got 5"),
    ],
)
def test_wrong_arguments_are_refused(options: dict[str, Any], error: type[Exception], text: str) -> None:
    """Each parameter that cannot work is refused at once, with its name and what was expected."""
    arguments: dict[str, Any] = {"path": "logs", **options}
    with pytest.raises(error, match=text):
        ErrorLog(arguments.pop("path"), **arguments)
