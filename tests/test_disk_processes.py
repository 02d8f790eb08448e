"""Eight processes on one directory of error logs, with rotation and cleaning; a reader that follows meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from retrywrap.record.reader import follow
from retrywrap.record.store import ErrorLog

PROCESSES = 8
LINES = 150

WRITER = """
import os, sys
from retrywrap.record.store import ErrorLog
folder, ledger, name, count, max_bytes, max_files = sys.argv[1:]
removed = open(ledger, "a")
unlink = os.unlink
def remove(path):
    lines = open(path).read()
    unlink(path)  # whoever removed it writes down what it held
    removed.write(lines)
os.unlink = remove
log = ErrorLog(folder, max_bytes=int(max_bytes), max_files=int(max_files) or None)
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(count)):
    assert log.write(number, -6, f"{name}/{number} " + "x" * (number % 7 * 10))
assert (log.written, log.dropped) == (int(count), 0)
log.close()
removed.close()
"""


def start(folder: Path, tmp_path: Path, max_bytes: int, max_files: int) -> list[subprocess.Popen[str]]:
    """Start eight writers, and let them go when all are ready."""
    running = []
    for name in range(PROCESSES):
        arguments = [
            str(folder),
            str(tmp_path / f"ledger{name}"),
            f"{name}",
            f"{LINES}",
            f"{max_bytes}",
            f"{max_files}",
        ]
        command = [sys.executable, "-W", "error", "-c", WRITER, *arguments]
        running.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return running


def finish(running: list[subprocess.Popen[str]]) -> None:
    """Wait until each has ended well."""
    for process in running:
        process.communicate(timeout=120)
        assert process.returncode == 0


def expected() -> Counter[str]:
    """Return all lines of the eight."""
    return Counter(
        f"[{number}] Error -6: {name}/{number} {'x' * (number % 7 * 10)}"
        for name in range(PROCESSES)
        for number in range(LINES)
    )


@pytest.mark.parametrize("max_files", [0, 4])
def test_eight_processes(tmp_path: Path, max_files: int) -> None:
    """Every line is whole, and is there once, or was in a file that was cleaned away, once; nobody's count is wrong."""
    folder = tmp_path / "logs"
    finish(start(folder, tmp_path, 700, max_files))
    texts = [path.read_text() for path in folder.iterdir()]
    gone = [path.read_text() for path in tmp_path.glob("ledger*")]
    assert all(text == "" or text.endswith("\n") for text in [*texts, *gone])
    assert max(map(len, texts)) <= 700
    assert Counter("".join([*texts, *gone]).splitlines()) == expected()
    assert any(gone) is bool(max_files)
    if max_files:  # what was open when the last one cleaned may be left besides
        assert len(texts) <= max_files + PROCESSES
        with ErrorLog(folder, max_files=max_files) as log:
            log.write(1, -6, "the next process")
        assert len(list(folder.iterdir())) == max_files


def test_follow_while_files_are_rotated(tmp_path: Path) -> None:
    """Whoever follows sees each line of eight processes once, though files are begun and ended all the time."""
    folder = tmp_path / "logs"
    running = start(folder, tmp_path, 500, 0)
    looks = 0
    problems: list[object] = []

    class Enough(Exception):
        """All have ended, and two looks were taken since."""

    def sleep(_: float) -> None:
        nonlocal looks
        looks += all(process.poll() is not None for process in running)
        if looks > 1:
            raise Enough
        time.sleep(0.001)

    seen: Counter[str] = Counter()
    with pytest.raises(Enough):
        for error in follow(folder, sleep, report=lambda *what: problems.append(what)):
            seen[f"[{error.time_ms}] Error {error.code}: {error.message}"] += 1
    finish(running)
    assert seen == expected()
    assert problems == []


def test_the_command_follows_while_files_are_rotated(tmp_path: Path) -> None:
    """``retrywrap errors --follow`` prints each line once, waits for the directory first, and ends with Ctrl-C."""
    folder, output = tmp_path / "logs", tmp_path / "output"
    command = [sys.executable, "-m", "retrywrap", "errors", "--follow", "--json", str(folder)]
    with output.open("wb") as stream, subprocess.Popen(command, stdout=stream, stderr=subprocess.PIPE) as follower:
        assert follower.stderr is not None
        assert b"waiting for" in follower.stderr.readline()
        log = ErrorLog(folder, max_bytes=200)
        for number in range(100):
            assert log.write(number, -6, f"line {number}")
        end = time.monotonic() + 60
        while output.read_bytes().count(b"\n") < 100 and time.monotonic() < end:
            time.sleep(0.05)
        follower.send_signal(signal.SIGINT)
        follower.communicate(timeout=60)
    lines = output.read_text().splitlines()
    assert len(lines) == 100
    assert all(f'"message": "line {number}"' in "\n".join(lines) for number in range(100))
    assert len(os.listdir(folder)) > 10
