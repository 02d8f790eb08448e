"""A disk that is really full, has no more files, or is read-only: small file systems, limits of the process, quotas."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from disk.children import in_child, mount_small, remount_read_only, skip_without_mounts
from limits import largest_file

from retrywrap import configure, registry, with_retry, write_file
from retrywrap.record.store import ErrorLog
from retrywrap.testing import VirtualClock

LINE = re.compile(r"\[[0-9]+\] Error -[0-9]+: (keep|lost|again) ([0-9]+) x*…?")
MiB = 1 << 20


class Warned(logging.Handler):
    """Keeps what the logger ``retrywrap`` is told."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        logging.getLogger("retrywrap").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.texts.append(record.getMessage())


def whole_lines(folder: Path) -> list[str]:
    """Return the lines of a folder's logs, each of which must be whole."""
    texts = [path.read_text() for path in sorted(folder.glob("*.log"))]
    assert all(text == "" or text.endswith("\n") for text in texts)
    lines = [line for text in texts for line in text.splitlines() if line]
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    return lines


def fill(path: Path) -> None:
    """Fill a file system to its last byte."""
    with path.open("ab", buffering=0) as stream:
        for size in (4096, 1):
            with pytest.raises(OSError, match="No space left"):
                while True:
                    stream.write(b"f" * size)


@pytest.fixture
def on_small_disk(tmp_path: Path) -> Callable[..., None]:
    """Return a function that runs another in a child, on a file system of its own; without the right to mount: skip."""
    skip_without_mounts()
    place = tmp_path / "small"
    place.mkdir()

    def run(function: Callable[[Path], None], options: str = "size=256k") -> None:
        def mounted() -> None:
            mount_small(place, options)
            function(place)

        in_child(mounted)

    return run


def fails(message: str) -> Callable[[], None]:
    """Return an operation that fails for good after two retries."""

    @with_retry(max=2, interval=1)
    def operation() -> None:
        raise ConnectionResetError(message)

    return operation


def outcome_of(operation: Callable[[], object]) -> str:
    """Return what an operation raises, with its notes."""
    with pytest.raises(ConnectionResetError) as caught, VirtualClock():
        operation()
    return f"{caught.value!r} {caught.value.__notes__}"


def test_log_on_a_full_disk(on_small_disk: Callable[..., None]) -> None:
    """What operations raise is as ever; one warning; every lost line is counted; with room again, lines are whole."""

    def story(place: Path) -> None:
        expected = [outcome_of(fails(f"keep {number} {'x' * 50}")) for number in range(5)]
        registry.reset()
        warned = Warned()
        configure(error_store_path=str(place / "logs"), events=False)
        assert [outcome_of(fails(f"keep {number} {'x' * 50}")) for number in range(5)] == expected
        assert len(whole_lines(place / "logs")) == 15
        fill(place / "filler")
        outcomes = [outcome_of(fails(f"lost {number} {'x' * 5000}")) for number in range(20)]
        assert all("lost" in text and "exhausted after 3 attempts" in text for text in outcomes)
        assert len(warned.texts) == 1
        assert "cannot be written, lines are lost" in warned.texts[0]
        os.unlink(place / "filler")
        assert outcome_of(fails("again 0 x"))
        lines = whole_lines(place / "logs")
        assert len(lines) < 15 + 20 + 3  # a few went into the room that was left in the file's last block
        lost = 15 + 60 + 3 - len(lines)
        assert warned.texts[1:] == [f"the error log '{place}/logs' is written again; {lost} lines were lost"]
        assert registry.error_count == 15 + 60 + 3

    on_small_disk(story)


def test_log_that_fills_the_disk_itself(on_small_disk: Callable[..., None]) -> None:
    """The line that fills the disk is taken away where a piece of it was written: the file ends with a whole line."""

    def story(place: Path) -> None:
        warned = Warned()
        log = ErrorLog(place / "logs")
        results = [log.write(1, -5, f"keep {number} {'x' * 3000}") for number in range(200)]
        assert results.count(False) > 100
        assert results == [True] * results.count(True) + [False] * results.count(False)
        assert len(whole_lines(place / "logs")) == log.written == results.count(True)
        assert log.dropped == results.count(False)
        assert len(warned.texts) == 1

    on_small_disk(story)


def test_log_of_a_process_that_begins_on_a_full_disk(on_small_disk: Callable[..., None]) -> None:
    """Not even a file can be made where there are no inodes: lines are lost, and come back with the room for them."""

    def story(place: Path) -> None:
        warned = Warned()
        log = ErrorLog(place / "a" / "b")
        for number in range(3):
            (place / f"filler{number}").touch()
        assert [log.write(1, -5, f"lost {number} ") for number in range(3)] == [False] * 3
        assert len(warned.texts) == 1
        assert "No space left on device" in warned.texts[0]
        for number in range(3):
            os.unlink(place / f"filler{number}")
        assert log.write(1, -5, "again 3 ") is True
        assert whole_lines(place / "a" / "b") == ["[1] Error -5: again 3 "]
        assert (log.written, log.dropped) == (1, 3)

    on_small_disk(story, "nr_inodes=5")


@pytest.mark.parametrize("durable", [True, False])
def test_write_file_on_a_full_disk(on_small_disk: Callable[..., None], durable: bool) -> None:
    """The error is ENOSPC and is not retried; the old content stays, and no temporary file takes the last room."""

    def story(place: Path) -> None:
        old, new = b"o" * 100_000, b"n" * 200_000
        target = place / "target"
        write_file(target, old)
        with pytest.raises(OSError, match=f"No space left on device: '{target}'") as caught, VirtualClock() as clock:
            write_file(target, new, durable=durable)
        assert caught.value.errno == errno.ENOSPC
        assert "rejected after 1 attempt" in caught.value.__notes__[0]
        assert clock.waits == []
        assert target.read_bytes() == old
        assert os.listdir(place) == ["target"]
        assert write_file(target, b"m" * 140_000, durable=durable) == 140_000

    on_small_disk(story)


def test_read_only_disk(on_small_disk: Callable[..., None]) -> None:
    """A file system that became read-only: EROFS, not retried, the old content there; the log comes back."""

    def story(place: Path) -> None:
        target, log = place / "target", ErrorLog(place / "logs", max_bytes=100)
        write_file(target, b"old")
        assert log.write(1, -5, "keep 0 ")
        log.close()
        remount_read_only(place, True)
        with pytest.raises(OSError, match="Read-only file system") as caught, VirtualClock() as clock:
            write_file(target, b"new")
        assert caught.value.errno == errno.EROFS
        assert clock.waits == []
        assert target.read_bytes() == b"old"
        assert [log.write(1, -5, f"lost {number} ") for number in range(3)] == [False] * 3
        remount_read_only(place, False)
        assert write_file(target, b"new") == 3
        assert log.write(1, -5, "again 4 ")
        assert len(whole_lines(place / "logs")) == 2
        assert sorted(os.listdir(place)) == ["logs", "target"]

    on_small_disk(story)


def test_without_a_small_disk(tmp_path: Path) -> None:
    """Where nothing may be mounted, a limit of the process stands for the full disk: the same is promised."""
    warned = Warned()
    configure(error_store_path=str(tmp_path / "logs"), events=False)
    target = tmp_path / "target"
    write_file(target, b"old" * 100)
    outcome_of(fails(f"keep 0 {'x' * 50}"))
    (size,) = (path.stat().st_size for path in (tmp_path / "logs").iterdir())
    with largest_file(size + 10):
        lost = [outcome_of(fails(f"lost {number} {'x' * 50}")) for number in range(5)]
        with pytest.raises(OSError, match="File too large") as caught, VirtualClock() as clock:
            write_file(target, b"n" * MiB)
    assert all("exhausted after 3 attempts" in text for text in lost)
    outcome_of(fails("again 0 x"))
    assert len(whole_lines(tmp_path / "logs")) == 6
    assert len(warned.texts) == 2
    assert warned.texts[1].endswith("is written again; 16 lines were lost")
    assert caught.value.errno == errno.EFBIG
    assert clock.waits == []
    assert target.read_bytes() == b"old" * 100
    assert sorted(os.listdir(tmp_path)) == ["logs", "target"]
    logging.getLogger("retrywrap").removeHandler(warned)
