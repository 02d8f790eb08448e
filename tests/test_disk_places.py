"""Places that change under the writers' hands: directories, rights, links, clocks, descriptors, names."""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from disk.children import in_child

from retrywrap import RetryPolicy, configure, with_retry, write_file
from retrywrap.record.reader import follow, read_errors
from retrywrap.record.store import ErrorLog
from retrywrap.testing import VirtualClock

NOBODY = 65534


def messages(path: Path) -> list[str]:
    """Return the messages in a log, none of whose lines may be broken."""
    problems: list[object] = []
    found = [error.message for error in read_errors(path, report=lambda *what: problems.append(what))]
    assert problems == []
    return found


def as_nobody(function: Callable[[], object]) -> None:
    """Run a function in a child without root's rights; whoever has none runs it as is."""

    def without_rights() -> None:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        function()

    in_child(without_rights)


@pytest.fixture
def open_place(tmp_path: Path) -> Path:
    """Return a directory in which anybody may write, whatever the rights of those above."""
    place = tmp_path / "place"
    place.mkdir()
    for path in [place, *place.parents][:4]:
        if path.owner() == place.owner() and path != Path("/tmp"):
            path.chmod(0o777 if path == place else path.stat().st_mode | 0o055)
    return place


def outcome() -> str:
    """Return what an operation raises that fails for good."""

    @with_retry(max=1, interval=1)
    def operation() -> None:
        raise ConnectionResetError("peer went away")

    with pytest.raises(ConnectionResetError) as caught, VirtualClock():
        operation()
    return f"{caught.value!r} {caught.value.__notes__}"


# --- without rights -------------------------------------------------------------------------------


def test_directory_that_may_not_be_written(open_place: Path) -> None:
    """Lines are lost while the directory may not be written, and come back; the operation hears nothing of it."""

    def story() -> None:
        folder = open_place / "logs"
        folder.mkdir()
        expected = outcome()
        folder.chmod(0o500)
        configure(error_store_path=str(folder), events=False)
        assert outcome() == expected
        assert os.listdir(folder) == []
        folder.chmod(0o700)
        assert outcome() == expected
        assert messages(folder) == ["peer went away"] * 2

    as_nobody(story)


def test_file_in_a_directory_that_may_not_be_written(open_place: Path) -> None:
    """A missing permission is not retried; the old content stays, and becomes the new one when it is given back."""

    def story() -> None:
        folder = open_place / "folder"
        folder.mkdir()
        target = folder / "target"
        write_file(target, b"old")
        folder.chmod(0o500)
        with pytest.raises(PermissionError, match="target") as caught, VirtualClock() as clock:
            write_file(target, b"new")
        assert (clock.waits, caught.value.errno) == ([], errno.EACCES)
        assert target.read_bytes() == b"old"
        folder.chmod(0o700)
        assert write_file(target, b"new") == 3
        assert os.listdir(folder) == ["target"]

    as_nobody(story)


def test_directories_that_may_not_be_read(open_place: Path) -> None:
    """Where names may be made but not listed, both write; cleaning has to wait."""

    def story() -> None:
        folder = open_place / "blind"
        folder.mkdir()
        folder.chmod(0o300)
        log = ErrorLog(folder, max_bytes=30, max_files=1)
        assert [log.write(number, -6, f"line {number}") for number in range(3)] == [True] * 3
        assert write_file(folder / "target", b"data") == 4
        folder.chmod(0o700)
        assert messages(folder) == ["line 0", "line 1", "line 2"]
        assert (folder / "target").read_bytes() == b"data"

    as_nobody(story)


def test_plain_log_that_may_only_be_written(open_place: Path) -> None:
    """A file of somebody else's to which lines may be added, no more."""
    path = open_place / "errors.txt"
    path.write_text("[0] Error -1: first\n")
    path.chmod(0o622)

    def story() -> None:
        if os.getuid() != path.stat().st_uid:
            with pytest.raises(PermissionError):
                path.read_bytes()
        assert ErrorLog(path).write(1, -6, "second") is True

    as_nobody(story)
    assert messages(path) == ["first", "second"]


def test_owner_cannot_be_kept_without_rights(open_place: Path) -> None:
    """Who may not give files away becomes the owner of the new content; bits that lend rights do not come along."""
    target = open_place / "target"
    target.write_bytes(b"old")
    target.chmod(0o6755)
    others = target.stat().st_uid

    def story() -> None:
        write_file(target, b"new")
        about = target.stat()
        assert about.st_uid == os.getuid()
        assert stat.S_IMODE(about.st_mode) == (0o755 if os.getuid() != others else 0o6755)

    as_nobody(story)
    assert target.read_bytes() == b"new"


# --- what is replaced -----------------------------------------------------------------------------


def test_directory_that_gives_way_to_a_file_and_back(tmp_path: Path) -> None:
    """What stands at the path when a line comes is what takes it: no line is lost on the way."""
    path = tmp_path / "logs"
    log = ErrorLog(path)
    for number, change in enumerate([path.mkdir, path.touch, path.mkdir, path.touch]):
        if path.exists():
            path.rename(tmp_path / f"before{number}")
        change()
        assert log.write(number, -6, f"line {number}") is True
    assert log.dropped == 0
    places = [tmp_path / f"before{number}" for number in (1, 2, 3)]
    assert [messages(place) for place in [*places, path]] == [[f"line {number}"] for number in range(4)]


def test_files_that_are_renamed_from_outside(tmp_path: Path) -> None:
    """As log rotation does: each line is in one file, whole, and a file that was renamed gets no more lines."""
    log = ErrorLog(tmp_path)
    for number in range(6):
        assert log.write(number, -6, f"line {number}")
        if number % 2:
            (file,) = tmp_path.glob("*.log")
            file.rename(file.with_suffix(f".log.{number}"))
    assert [path.read_text().count("\n") for path in sorted(tmp_path.iterdir())] == [2, 2, 2]
    assert log.dropped == 0


def test_plain_file_that_is_cut_from_outside(tmp_path: Path) -> None:
    """Log rotation by copying and cutting: lines go on at the new end, without a hole; who follows goes on too."""
    path = tmp_path / "errors.txt"
    path.touch()
    log = ErrorLog(path)
    steps = iter([lambda: os.truncate(path, 0), lambda: log.write(2, -6, "after"), None])

    def sleep(_: float) -> None:
        step = next(steps)
        if step is None:
            raise KeyboardInterrupt
        step()

    assert log.write(1, -6, "before, and longer")
    seen: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        seen.extend(error.message for error in follow(path, sleep))
    assert seen == ["before, and longer", "after"]
    assert path.read_bytes() == b"[2] Error -6: after\n"


def test_links_are_followed(tmp_path: Path) -> None:
    """A log whose directory is a link, or a link that is turned to another place, writes where the link leads."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    link = tmp_path / "link"
    link.symlink_to("one")
    log = ErrorLog(link)
    assert log.write(1, -6, "in one")
    (tmp_path / "new").symlink_to("two")
    os.replace(tmp_path / "new", link)
    assert log.write(2, -6, "in two")
    assert [messages(tmp_path / name) for name in ("one", "two")] == [["in one"], ["in two"]]


# --- clocks and names -----------------------------------------------------------------------------


def test_clock_that_jumps(tmp_path: Path) -> None:
    """Forwards and backwards, by years: every line is there, the files stand in the order in which they were begun."""
    times = iter([1.7e9, 4e9, 1.0, 0.0, 1.7e9, 1.7e9])
    log = ErrorLog(tmp_path, max_bytes=1, max_age=None, clock=lambda: next(times))
    for number in range(6):
        assert log.write(number, -6, f"line {number}")
    files = sorted(tmp_path.iterdir(), key=lambda path: int(path.stem.rpartition("_")[2]))
    assert [messages(path) for path in files] == [[f"line {number}"] for number in range(6)]


def test_many_logs_begin_in_the_same_millisecond(tmp_path: Path) -> None:
    """Each gets a file of its own, and none is taken for another's."""
    logs = [ErrorLog(tmp_path, clock=lambda: 1.7e9) for _ in range(50)]
    for number, log in enumerate(logs):
        assert log.write(number, -6, f"line {number}")
    assert len(os.listdir(tmp_path)) == 50
    assert messages(tmp_path) == [f"line {number}" for number in range(50)]


def test_names_that_are_no_text(tmp_path: Path) -> None:
    """A directory, a file or a link with a name of bytes that are no UTF-8 is as good as any other."""
    name = os.fsdecode(b"\xff\xfe-caf\xe9")
    assert ErrorLog(tmp_path / name).write(1, -6, "line") is True
    assert messages(tmp_path / name) == ["line"]
    (tmp_path / f"link{name}").symlink_to(f"target{name}")
    assert write_file(tmp_path / f"link{name}", b"data") == 4
    assert (tmp_path / f"target{name}").read_bytes() == b"data"
    with pytest.raises(IsADirectoryError) as caught:
        write_file(tmp_path / name, b"data")
    assert caught.value.filename == str(tmp_path / name)


@pytest.mark.parametrize("part", ["n" * 300, "/".join(["d" * 200] * 30)])
def test_paths_that_are_too_long(tmp_path: Path, part: str) -> None:
    """ENAMETOOLONG is an error like any other: lines are counted as lost, a write is not retried, nothing is left."""
    log = ErrorLog(tmp_path / part)
    assert log.write(1, -6, "line") is False
    assert log.dropped == 1
    with pytest.raises(OSError, match="File name too long") as caught, VirtualClock() as clock:
        write_file(tmp_path / part, b"data")
    assert (caught.value.errno, clock.waits) == (errno.ENAMETOOLONG, [])
    assert os.listdir(tmp_path) == []


# --- descriptors ----------------------------------------------------------------------------------


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Let this process open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.open("/dev/null", os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in held:
            os.close(descriptor)


def test_no_descriptors_are_left(tmp_path: Path) -> None:
    """A log with an open file goes on, rotations included; another loses lines; both are well afterwards."""
    begun, new = ErrorLog(tmp_path / "begun", max_bytes=60), ErrorLog(tmp_path / "new")
    assert begun.write(0, -6, "line 0")
    before = len(os.listdir("/proc/self/fd"))
    with no_descriptors():
        assert [begun.write(number, -6, f"line {number}") for number in range(1, 9)] == [True] * 8
        assert new.write(0, -6, "lost") is False
    assert new.write(1, -6, "again") is True
    assert messages(tmp_path / "begun") == [f"line {number}" for number in range(9)]
    assert (new.dropped, messages(tmp_path / "new")) == (1, ["again"])
    assert len(os.listdir("/proc/self/fd")) == before + 1


@pytest.mark.parametrize("durable", [True, False])
def test_write_file_without_descriptors(tmp_path: Path, durable: bool) -> None:
    """EMFILE is retried, and the write succeeds when a descriptor is free; the old content stays until then."""
    target = tmp_path / "target"
    target.write_bytes(b"old")
    with VirtualClock() as clock, no_descriptors(), pytest.raises(OSError, match="Too many open files"):
        write_file(target, b"new", durable=durable)
    assert clock.waits == [1.0] * 4
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["target"]
    limits: list[Any] = [no_descriptors()]
    limits[0].__enter__()

    def free(_: object) -> None:
        if limits:
            limits.pop().__exit__(None, None, None)

    policy = RetryPolicy(max=2, interval=1, before_retry=free)
    try:
        with VirtualClock():
            assert write_file(target, b"new", durable=durable, policy=policy) == 3
    finally:
        free(None)
    assert target.read_bytes() == b"new"
