"""One atomic file write: old or new, never a mixture, whatever fails and wherever it is killed."""

from __future__ import annotations

import array
import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import largest_file

from retrywrap.run.atomic import replace_file

OLD = b"old content\n" * 1000
NEW = b"the new content, which is longer\n" * 1000


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Set the umask for a while."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Return a file with old content, alone in its directory."""
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "file.bin"
    path.write_bytes(OLD)
    return path


def names(path: Path) -> list[str]:
    """Return the names in a file's directory."""
    return sorted(os.listdir(path.parent))


def descriptors() -> int:
    """Return how many files this process has open."""
    return len(os.listdir("/proc/self/fd"))


# --- what is written ------------------------------------------------------------------------------


def test_content_is_replaced(target: Path) -> None:
    """The file holds exactly the new data; the bytes are counted; nothing else is left in the directory."""
    before = descriptors()
    assert replace_file(target, NEW) == len(NEW)
    assert target.read_bytes() == NEW
    assert names(target) == ["file.bin"]
    assert descriptors() == before


def test_new_file_is_made(tmp_path: Path) -> None:
    """A file that was not there is there, whole."""
    assert replace_file(str(tmp_path / "new"), b"data") == 4
    assert (tmp_path / "new").read_bytes() == b"data"
    assert os.listdir(tmp_path) == ["new"]


def test_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare name means the current directory."""
    monkeypatch.chdir(tmp_path)
    replace_file("new", b"data")
    assert (tmp_path / "new").read_bytes() == b"data"


@given(st.binary(max_size=5000), st.binary(max_size=5000), st.integers(1, 700))
def test_any_content_in_any_pieces(
    tmp_path_factory: pytest.TempPathFactory, first: bytes, second: bytes, piece: int
) -> None:
    """Whatever the sizes, and in however small pieces the system takes the data, the file holds the last content."""
    path, real_write = tmp_path_factory.mktemp("atomic") / "file", os.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: real_write(descriptor, data[:piece]))
        for content in (first, second):
            assert replace_file(path, content) == len(content)
            assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abc"), b"abc"),
        (memoryview(b"abcdef")[::2], b"ace"),
        (array.array("H", [1, 2]), array.array("H", [1, 2]).tobytes()),
        (memoryview(array.array("I", [7, 8, 9]))[1:], array.array("I", [8, 9]).tobytes()),
        (memoryview(bytes(range(12))).cast("B", (3, 4)), bytes(range(12))),
        (b"", b""),
    ],
)
def test_anything_with_bytes_in_it(tmp_path: Path, data: Any, content: bytes) -> None:
    """Every object with the buffer protocol is written as its bytes, which are what is counted."""
    assert replace_file(tmp_path / "file", data) == len(content)
    assert (tmp_path / "file").read_bytes() == content


def test_data_is_let_go(tmp_path: Path) -> None:
    """A bytearray can be resized afterwards, also after a failure."""
    data = bytearray(b"abc")
    replace_file(tmp_path / "file", data)
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "nothing" / "file", data)
    data.append(1)


# --- rights ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0o022, 0o077, 0])
def test_new_file_has_the_usual_mode(tmp_path: Path, mask: int) -> None:
    """A new file gets the mode that ``open`` would give it."""
    with umask(mask):
        replace_file(tmp_path / "file", b"data")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o4755, 0o400, 0])
def test_mode_is_kept(target: Path, mode: int) -> None:
    """A file that is there keeps its mode, special bits included, whatever the umask."""
    target.chmod(mode)
    with umask(0o077):
        replace_file(target, NEW)
    assert stat.S_IMODE(target.stat().st_mode) == mode


@pytest.mark.parametrize("exists", [True, False])
def test_mode_that_is_asked_for(target: Path, exists: bool) -> None:
    """An explicit mode is the file's, exactly, new or not."""
    if not exists:
        target.unlink()
    with umask(0o077):
        replace_file(target, NEW, mode=0o664)
    assert stat.S_IMODE(target.stat().st_mode) == 0o664


@pytest.mark.parametrize("options", [{}, {"mode": 0o600}])
def test_content_is_never_more_readable_than_the_file(
    target: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """While it is written, the temporary file of a private file is private too."""
    target.chmod(0o600 if not options else 0o666)
    real_write, modes = os.write, []

    def watched(descriptor: int, data: bytes) -> int:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return real_write(descriptor, data)

    monkeypatch.setattr(os, "write", watched)
    replace_file(target, NEW, **options)
    assert modes == [0o600]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_owner_is_kept(target: Path) -> None:
    """Where it is permitted, the file stays its owner's and its group's."""
    os.chown(target, 12345, 54321)
    target.chmod(0o4750)
    replace_file(target, NEW)
    about = target.stat()
    assert (about.st_uid, about.st_gid, stat.S_IMODE(about.st_mode)) == (12345, 54321, 0o4750)


@pytest.mark.parametrize("group_too", [True, False])
def test_owner_that_cannot_be_kept(target: Path, monkeypatch: pytest.MonkeyPatch, group_too: bool) -> None:
    """Where only root might keep the owner, the group is tried alone, and the file no longer runs as its owner."""
    target.chmod(0o6755)
    asked: list[tuple[int, int]] = []
    real_fstat = os.fstat

    def refuse(descriptor: int, user: int, group: int) -> None:
        asked.append((user, group))
        if user >= 0 or group_too:
            raise PermissionError(errno.EPERM, "Operation not permitted")

    def another(descriptor: int) -> os.stat_result:
        values = list(real_fstat(descriptor))
        values[4] += 1
        return os.stat_result(values)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", another)
        patch.setattr(os, "fchown", refuse)
        replace_file(target, NEW)
    assert asked == [(os.getuid(), target.stat().st_gid), (-1, target.stat().st_gid)]
    assert stat.S_IMODE(target.stat().st_mode) == 0o755


def test_failing_disk_gives_no_file_away(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where changing the owner fails as such, the write fails, and the old file stays its owner's."""
    target.chmod(0o6755)
    real_fstat = os.fstat

    def another(descriptor: int) -> os.stat_result:
        values = list(real_fstat(descriptor))
        values[4] += 1
        return os.stat_result(values)

    def refuse(*_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", another)
        patch.setattr(os, "fchown", refuse)
        with pytest.raises(OSError, match="Input/output error"):
            replace_file(target, NEW)
    assert target.read_bytes() == OLD
    assert stat.S_IMODE(target.stat().st_mode) == 0o6755
    assert names(target) == ["file.bin"]


def test_mode_without_fchmod(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that cannot change an open file's mode writes it all the same."""
    monkeypatch.delattr(os, "fchmod")
    replace_file(target, NEW)
    assert target.read_bytes() == NEW


# --- links, devices, directories ------------------------------------------------------------------


def test_link_stays_and_its_target_is_replaced(target: Path, tmp_path: Path) -> None:
    """A symbolic link, over several steps, leads to the same file as before, which has the new content."""
    (tmp_path / "second").symlink_to(target)
    (tmp_path / "first").symlink_to("second")
    replace_file(tmp_path / "first", NEW)
    assert (tmp_path / "first").is_symlink()
    assert (tmp_path / "second").is_symlink()
    assert target.read_bytes() == NEW
    assert names(target) == ["file.bin"]


def test_dangling_link_gets_its_target(tmp_path: Path) -> None:
    """A link to a file that is not there creates that file, as ``open`` would."""
    (tmp_path / "link").symlink_to("file")
    replace_file(tmp_path / "link", NEW)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == NEW


@pytest.mark.parametrize("dangling", [False, True])
def test_link_that_cannot_be_looked_at_stays(target: Path, monkeypatch: pytest.MonkeyPatch, dangling: bool) -> None:
    """Where the disk fails while the path is resolved, the write fails: no file takes the link's place."""
    link = target.with_name("link")
    link.symlink_to("nowhere" if dangling else "file.bin")
    real_lstat = os.lstat

    def refuse(path: Any, **options: Any) -> os.stat_result:
        if os.fspath(path) == str(link):
            raise OSError(errno.EIO, "Input/output error", path)
        return real_lstat(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", refuse)
        with pytest.raises(OSError, match=r"the link could not be followed: .*link'") as caught:
            replace_file(link, NEW)
    assert caught.value.errno == errno.EIO
    assert link.is_symlink()
    assert target.read_bytes() == OLD
    assert names(target) == ["file.bin", "link"]


def test_target_that_may_be_a_link_is_not_replaced(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can tell whether the path is a link, that is the error."""

    def refuse(path: Any) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "readlink", refuse)
        with pytest.raises(PermissionError, match=r"file\.bin"):
            replace_file(target, NEW)
    assert target.read_bytes() == OLD


def test_link_in_a_circle(tmp_path: Path) -> None:
    """A link to itself is an error, and stays."""
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(OSError, match="link") as caught:
        replace_file(tmp_path / "link", NEW)
    assert caught.value.errno == errno.ELOOP
    assert (tmp_path / "link").is_symlink()


def test_hard_link_keeps_the_old_content(target: Path) -> None:
    """Another name of the old file is not changed."""
    other = target.with_name("other")
    other.hardlink_to(target)
    replace_file(target, NEW)
    assert (target.read_bytes(), other.read_bytes()) == (NEW, OLD)


@pytest.mark.parametrize("slash", ["", "/"])
def test_directory_is_refused(target: Path, slash: str) -> None:
    """A directory is no file, and nothing is left in it."""
    with pytest.raises(IsADirectoryError):
        replace_file(f"{target.parent}{slash}", NEW)
    assert names(target) == ["file.bin"]


def test_name_of_a_directory_that_is_not_there(tmp_path: Path) -> None:
    """A path that ends with a slash does not make a file."""
    with pytest.raises(IsADirectoryError):
        replace_file(f"{tmp_path}/new/", NEW)
    assert os.listdir(tmp_path) == []


def test_missing_directory(tmp_path: Path) -> None:
    """Where the directory is not there, the error says so; directories are not made."""
    with pytest.raises(FileNotFoundError, match="nothing"):
        replace_file(tmp_path / "nothing" / "file", NEW)
    with pytest.raises(FileNotFoundError, match="nothing/file'"):
        replace_file(tmp_path / "nothing" / "file", NEW, durable=False)


def test_path_below_a_file(target: Path) -> None:
    """A file is no directory."""
    with pytest.raises(NotADirectoryError):
        replace_file(target / "below", NEW)


@pytest.fixture
def _no_replacing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make sure that no failing test can cost the machine a device."""

    def refuse(source: str, destination: str) -> None:
        raise AssertionError(f"{destination} would have been replaced")

    monkeypatch.setattr(os, "replace", refuse)


@pytest.mark.usefixtures("_no_replacing")
def test_null_device() -> None:
    """A device is written, not replaced."""
    assert replace_file("/dev/null", NEW) == len(NEW)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.usefixtures("_no_replacing")
def test_full_device() -> None:
    """A full device says so, stays a device, and no descriptor is left."""
    before = descriptors()
    with pytest.raises(OSError, match="No space left") as caught:
        replace_file("/dev/full", NEW)
    assert caught.value.errno == errno.ENOSPC
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    assert descriptors() == before


def test_pipe_gets_all_of_it(tmp_path: Path) -> None:
    """Everything goes through a pipe, however much that is, and the pipe stays."""
    os.mkfifo(tmp_path / "pipe")
    data, received = NEW * 10, []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    assert replace_file(tmp_path / "pipe", data) == len(data)
    reader.join(10)
    assert received == [data]
    assert (tmp_path / "pipe").is_fifo()


def test_open_file_without_a_name(target: Path) -> None:
    """A file that lives only as a descriptor is overwritten: nothing could take its place."""
    with target.open("rb") as stream:
        target.unlink()
        assert replace_file(f"/proc/self/fd/{stream.fileno()}", b"short") == 5
        assert stream.read() == b"short"
    assert names(target) == []


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a" * 255, "é" * 127, "连" * 85, ".hidden", "a b\nc"])
def test_any_name(tmp_path: Path, name: str) -> None:
    """A name as long as the file system allows, of any letters, can be written."""
    replace_file(tmp_path / name, NEW)
    assert os.listdir(tmp_path) == [name]


def test_name_that_is_no_text(tmp_path: Path) -> None:
    """A name of bytes that are no text can be written."""
    path = os.path.join(os.fsencode(tmp_path), b"\xff" * 200)
    replace_file(os.fsdecode(path), NEW)
    assert os.listdir(os.fsencode(tmp_path)) == [b"\xff" * 200]


def test_name_of_the_temporary_file(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary file is hidden, beside the target, and says whose it is; each write has its own."""
    seen, real_replace = [], os.replace

    def watched(source: str, destination: str) -> None:
        seen.append(source)
        real_replace(source, destination)

    monkeypatch.setattr(os, "replace", watched)
    replace_file(target, NEW)
    replace_file(target, NEW)
    for name in seen:
        assert os.path.dirname(name) == str(target.parent)
        assert os.path.basename(name).startswith(f".file.bin.{os.getpid()}.")
        assert name.endswith(".tmp")
    assert len(set(seen)) == 2


# --- whatever fails -------------------------------------------------------------------------------


class Calls:
    """Counts the system calls of a write, and has something happen at one of them, before or after it takes effect."""

    NAMES = ("stat", "fstat", "open", "write", "fsync", "fchown", "fchmod", "close", "replace", "urandom")

    def __init__(
        self, patch: pytest.MonkeyPatch, at: int, action: Callable[[], None], *, after: bool, piece: int
    ) -> None:
        self.names: list[str] = []
        self.at = at
        self.action = action
        self.after = after
        self.piece = piece
        for name in self.NAMES:
            patch.setattr(os, name, self.watched(name, getattr(os, name)))

    def watched(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        """Return a system call that is counted."""

        def call(*arguments: Any, **options: Any) -> Any:
            if name == "write":  # in small pieces, so that something can happen in the middle of the data
                arguments = (arguments[0], arguments[1][: self.piece])
            number = len(self.names)
            self.names.append(name)
            if number == self.at and not self.after and name != "close":  # a close that fails has closed
                self.action()
            try:
                return real(*arguments, **options)
            finally:
                if number == self.at and (self.after or name == "close"):
                    self.action()

        return call


PIECE = len(NEW) // 8 + 1


def prepare(target: Path, exists: bool) -> None:
    """Put the old content, or nothing, in the target's place, alone in its directory."""
    for path in target.parent.iterdir():
        path.unlink()
    if exists:
        target.write_bytes(OLD)


def calls_of_a_write(target: Path, *, durable: bool, exists: bool) -> list[str]:
    """Return the system calls that a write makes when nothing happens."""
    prepare(target, exists)
    with pytest.MonkeyPatch.context() as patch:
        calls = Calls(patch, -1, lambda: None, after=False, piece=PIECE)
        replace_file(target, NEW, durable=durable)
    assert calls.names.count("write") == 8
    return calls.names


def content(target: Path) -> bytes | None:
    """Return what a file holds; None where it is not there."""
    return target.read_bytes() if target.exists() else None


def raising(error: BaseException) -> Callable[[], None]:
    """Return a function that raises."""

    def action() -> None:
        raise error

    return action


WAYS = pytest.mark.parametrize(("durable", "exists"), [(True, True), (True, False), (False, True), (False, False)])


@WAYS
@pytest.mark.parametrize(
    "error",
    [OSError(errno.EIO, "Input/output error"), OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()],
)
def test_failure_at_any_call_leaves_the_old_content(
    target: Path, error: BaseException, durable: bool, exists: bool
) -> None:
    """Whichever call fails: the error comes out, the old content stays, no temporary file, no descriptor is left.

    After the change of names only waiting for the disk can fail; then the new content is there. That closing the
    directory fails is not worth an error.
    """
    calls = calls_of_a_write(target, durable=durable, exists=exists)
    before = descriptors()
    for number, name in enumerate(calls):
        prepare(target, exists)
        replaced = number > calls.index("replace")
        with pytest.MonkeyPatch.context() as patch:
            Calls(patch, number, raising(error), after=False, piece=PIECE)
            if replaced and name == "close" and isinstance(error, OSError):
                replace_file(target, NEW, durable=durable)
            else:
                with pytest.raises(type(error)) as caught:
                    replace_file(target, NEW, durable=durable)
                assert caught.value is error
                assert isinstance(error, OSError) or vars(error) == {}
        assert content(target) == (NEW if replaced else OLD if exists else None), name
        assert names(target) == ([] if content(target) is None else ["file.bin"]), name
        assert descriptors() == before, name


@WAYS
def test_interrupt_after_any_call_leaves_no_temporary_file(target: Path, durable: bool, exists: bool) -> None:
    """Ctrl-C just after a call took effect, creating the temporary file among them, leaves no more than one before."""
    calls = calls_of_a_write(target, durable=durable, exists=exists)
    for number, name in enumerate(calls):
        prepare(target, exists)
        with pytest.MonkeyPatch.context() as patch:
            Calls(patch, number, raising(KeyboardInterrupt()), after=True, piece=PIECE)
            with pytest.raises(KeyboardInterrupt):
                replace_file(target, NEW, durable=durable)
        assert content(target) == (NEW if number >= calls.index("replace") else OLD if exists else None), name
        assert names(target) == ([] if content(target) is None else ["file.bin"]), name


@pytest.mark.filterwarnings("ignore:.* is multi-threaded:DeprecationWarning")  # by pytest's own watchdog
@WAYS
@pytest.mark.parametrize("after", [False, True])
def test_kill_at_any_call_leaves_the_old_or_the_new_content(
    target: Path, durable: bool, exists: bool, after: bool
) -> None:
    """A process that is killed at any point leaves one of the two contents whole, and at most a temporary file."""
    calls = calls_of_a_write(target, durable=durable, exists=exists)
    for number, name in enumerate(calls):
        prepare(target, exists)
        child = os.fork()
        if child == 0:  # the child must not come back into the test run
            try:
                kill_at(number, target, durable, after)
            finally:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, name
        took_effect = number + (after or name == "close") > calls.index("replace")
        assert content(target) == (NEW if took_effect else OLD if exists else None), name
        assert len([left for left in names(target) if left != "file.bin"]) <= 1, name


def kill_at(number: int, target: Path, durable: bool, after: bool) -> None:
    """Write, and end this process by SIGKILL at one system call."""
    with pytest.MonkeyPatch.context() as patch:
        Calls(patch, number, lambda: os.kill(os.getpid(), signal.SIGKILL), after=after, piece=PIECE)
        replace_file(target, NEW, durable=durable)


def test_readers_see_whole_contents_only(target: Path) -> None:
    """While a process writes as fast as it can, whoever opens the file reads the one content or the other."""
    script = (
        "import sys; from retrywrap.run.atomic import replace_file; from pathlib import Path\n"
        "path, *contents = sys.argv[1:]; contents = [Path(name).read_bytes() for name in contents]\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    for content in contents: replace_file(path, content, durable=False)\n"
    )
    sources = [target.parent.with_name("one"), target.parent.with_name("two")]
    sources[0].write_bytes(OLD * 20)
    sources[1].write_bytes(NEW * 20)
    target.write_bytes(OLD * 20)
    command = [sys.executable, "-c", script, str(target), *map(str, sources)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        seen = {target.read_bytes() for _ in range(300)}
        end = time.monotonic() + 60
        while len(seen) < 2 and time.monotonic() < end:  # on a busy machine the writer may not have had its turn
            seen.add(target.read_bytes())
        writer.kill()
    seen.add(target.read_bytes())
    assert seen == {OLD * 20, NEW * 20}


@pytest.mark.parametrize("linked", [False, True])
def test_writers_that_meet(target: Path, monkeypatch: pytest.MonkeyPatch, linked: bool) -> None:
    """Another writer may replace the file at any instant: it is replaced all the same, and never emptied in place."""
    path = target
    if linked:
        target.parent.with_name("link").symlink_to(target.parent)
        path = target.parent.with_name("link") / target.name
    real_stat, real_open = os.stat, os.open
    opened: list[int] = []

    def stat_and_meet(name: Any, **named: Any) -> os.stat_result:
        found = real_stat(name, **named)
        other = target.with_name("other")
        other.write_bytes(OLD)
        os.rename(other, target)
        return found

    def open_and_tell(name: Any, flags: int, *more: Any, **named: Any) -> int:
        opened.append(flags)
        return real_open(name, flags, *more, **named)

    meetings = iter(range(5))
    monkeypatch.setattr(os, "open", open_and_tell)
    monkeypatch.setattr(
        os,
        "stat",
        lambda name, **named: (stat_and_meet if next(meetings, None) is not None else real_stat)(name, **named),
    )
    replace_file(path, NEW)
    monkeypatch.undo()
    assert target.read_bytes() == NEW
    assert not any(flags & os.O_TRUNC for flags in opened)


def test_a_file_that_goes_while_it_is_looked_at(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was removed meanwhile is written anew."""
    link = target.parent.with_name("link")
    link.symlink_to(target.parent)
    real_realpath = os.path.realpath

    def remove_and_resolve(name: Any, **named: Any) -> Any:
        found = real_realpath(name, **named)
        target.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(os.path, "realpath", remove_and_resolve)
    assert replace_file(link / target.name, NEW) == len(NEW)
    assert target.read_bytes() == NEW


def test_file_too_large_for_the_system(target: Path) -> None:
    """Where the system takes only the first bytes, the error has the file's name, and the old content stays."""
    with largest_file(5000), pytest.raises(OSError, match=r"File too large.*file.bin'") as caught:
        replace_file(target, NEW)
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(target)
    assert target.read_bytes() == OLD
    assert names(target) == ["file.bin"]


def test_temporary_name_that_is_taken(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or link that bears the temporary name already is neither written through nor removed."""
    monkeypatch.setattr(os, "urandom", bytes)
    other = target.parent.with_name("other")
    trap = target.with_name(f".file.bin.{os.getpid()}.{'0' * 16}.tmp")
    trap.symlink_to(other)
    with pytest.raises(FileExistsError):
        replace_file(target, NEW)
    assert trap.is_symlink()
    assert not other.exists()
    assert target.read_bytes() == OLD


def test_failed_change_of_names_tells_both(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of the last step names the temporary file and the target, as the system does."""

    def refuse(source: str, destination: str) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", source, None, destination)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError, match=r"'.*\.tmp' -> '.*file\.bin'$"):
        replace_file(target, NEW)


def test_write_that_takes_nothing_is_an_error(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that takes no bytes and reports no error does not make the write run for ever."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda *_: 0)
        with pytest.raises(OSError, match="only 0 of 33000 bytes"):
            replace_file(target, NEW)
    assert target.read_bytes() == OLD


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_file_system_that_syncs_no_directories(target: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Where a directory cannot be brought to the disk at all, the write is no failure."""
    real_fsync = os.fsync

    def refuse(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    assert replace_file(target, NEW) == len(NEW)


def test_directory_that_may_not_be_opened(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files may be made in a directory that may not be read, the write is no failure."""
    real_open = os.open

    def refuse(path: str, flags: int, *mode: int) -> int:
        if path == str(target.parent):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real_open(path, flags, *mode)

    monkeypatch.setattr(os, "open", refuse)
    assert replace_file(target, NEW) == len(NEW)
    assert target.read_bytes() == NEW


@pytest.mark.parametrize(("options", "syncs"), [({}, ["file", "directory"]), ({"durable": False}, [])])
def test_durable_waits_for_the_disk(
    target: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], syncs: list[str]
) -> None:
    """A durable write, which is the default, brings first the data and then the name to the disk; another neither."""
    seen: list[str] = []
    real_fsync, real_replace = os.fsync, os.replace

    def watched(descriptor: int) -> None:
        about = os.fstat(descriptor)
        seen.append("directory" if stat.S_ISDIR(about.st_mode) else "file" if about.st_size == len(NEW) else "early")
        real_fsync(descriptor)

    def replacing(source: str, destination: str) -> None:
        assert seen == syncs[:1]
        real_replace(source, destination)

    monkeypatch.setattr(os, "fsync", watched)
    monkeypatch.setattr(os, "replace", replacing)
    replace_file(target, NEW, **options)
    assert seen == syncs


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"path": ""}, ValueError, "path must name a file.*got ''"),
        ({"path": "a\0b"}, ValueError, "path must name a file"),
        ({"path": None}, TypeError, "path must be the path of a file .*None"),
        ({"path": 1}, TypeError, "path must be .*got 1"),
        ({"path": b"file"}, TypeError, "path must be .*b'file'"),
        ({"data": None}, TypeError, "data must be bytes.*got None$"),
        ({"data": "text"}, TypeError, "data must be bytes.*'text'; encode it first"),
        ({"data": [1, 2]}, TypeError, r"data must be bytes.*\[1, 2\]"),
        ({"data": 5}, TypeError, "data must be bytes.*got 5"),
        ({"mode": True}, TypeError, "mode must be permission bits.*True"),
        ({"mode": "0600"}, TypeError, "mode must be .*'0600'"),
        ({"mode": -1}, ValueError, "mode must be .*-1"),
        ({"mode": 0o10000}, ValueError, "mode must be .*4096"),
    ],
)
def test_wrong_arguments_are_refused(
    target: Path, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    """What cannot be meant is refused with the parameter's name, before anything is touched."""
    given_arguments = {"path": target, "data": NEW, **arguments}
    with pytest.raises(error, match=text):
        replace_file(given_arguments.pop("path"), given_arguments.pop("data"), **given_arguments)
    assert target.read_bytes() == OLD
    assert names(target) == ["file.bin"]
