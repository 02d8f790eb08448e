"""One file of the error log: names, lines, locks, torn pieces, and files that are not where they were."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from limits import largest_file

from retrywrap.record import logfile
from retrywrap.record.logfile import LogFile, create, escape, format_line, log_files, open_plain, try_lock

ANY_TEXT = st.text(st.characters())  # surrogates included


def is_open(descriptor: int) -> bool:
    """Return whether a descriptor is open."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_line_is_the_plugins() -> None:
    """A line looks exactly as in the plugin's documentation."""
    assert format_line(1640995200000, -6, "Network connection failed") == (
        b"[1640995200000] Error -6: Network connection failed\n"
    )


@given(ANY_TEXT)
@example("a\nb\r\nc\x85d\u2028e\u2029f\x0bg\x0ch\x1ci\ud800j\x1b[2Jk\u202el")
def test_line_is_one_line_whatever_the_message_holds(message: str) -> None:
    """No message can break the line, drive a terminal or make the file anything but UTF-8."""
    text = format_line(1, -6, message).decode("utf-8")
    assert text.endswith("\n")
    assert text.splitlines() == [text[:-1]]
    assert not {character for character in text[:-1] if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")}


@given(ANY_TEXT)
def test_escaping_twice_is_escaping_once(message: str) -> None:
    """A text that was escaped before it came here is not escaped again."""
    assert escape(escape(message)) == escape(message)


@pytest.mark.parametrize("message", ["héllo wörld", "连接失败", "a\\nb", "👩‍👩‍👧 ok", "a\u00a0b\u3000c", ""])
def test_ordinary_text_stays(message: str) -> None:
    """Letters of any script, emoji, wide spaces and backslashes are written as they are."""
    assert escape(message) == message


@pytest.mark.parametrize(
    ("character", "shown"),
    [("\n", "\\n"), ("\0", "\\x00"), ("\x85", "\\x85"), ("\u2028", "\\u2028"), ("\ud800", "\\ud800")],
)
def test_unsafe_characters_are_shown(character: str, shown: str) -> None:
    """What cannot be written as it is becomes the escape that Python's source would use."""
    assert escape(f"a{character}b") == f"a{shown}b"


def test_log_files_are_listed_by_number(tmp_path: Path) -> None:
    """Files come in the order of their numbers, not of their names; everything else in the directory is left out."""
    for name in ["backup_error_10.log", "backup_error_9.log", "backup_error_.log", "backup_error_1.log.gz", "x.log"]:
        (tmp_path / name).touch()
    assert log_files(str(tmp_path)) == [
        (9, str(tmp_path / "backup_error_9.log")),
        (10, str(tmp_path / "backup_error_10.log")),
    ]


@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o777])
def test_file_is_the_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """A new file can be read and written by its owner and by nobody else."""
    before = os.umask(umask)
    try:
        file, _ = create(str(tmp_path), 7)
    finally:
        os.umask(before)
    assert os.stat(file.path).st_mode & 0o7777 == 0o600


def test_file_is_created_without_fchmod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that cannot change the mode of an open file creates it all the same."""
    monkeypatch.delattr(os, "fchmod")
    assert create(str(tmp_path), 7)[1] == 7


def test_file_is_not_inherited_by_programs(tmp_path: Path) -> None:
    """A program that this process starts does not get the file."""
    file, _ = create(str(tmp_path), 7)
    assert not os.get_inheritable(file.descriptor)
    assert fcntl.fcntl(file.descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC


def test_taken_names_are_passed_over(tmp_path: Path) -> None:
    """The next free number is taken, and the files that were there keep what they held."""
    for number in (7, 8):
        (tmp_path / f"backup_error_{number}.log").write_text("old")
    file, number = create(str(tmp_path), 7)
    assert (number, file.path) == (9, str(tmp_path / "backup_error_9.log"))
    assert (tmp_path / "backup_error_7.log").read_text() == "old"


def test_endless_taken_names_are_an_error(tmp_path: Path) -> None:
    """The search for a free name ends."""
    for number in range(logfile._MOST_NAMES):
        (tmp_path / f"backup_error_{number}.log").touch()
    with pytest.raises(OSError, match="no free name"):
        create(str(tmp_path), 0)


def test_file_that_can_never_be_locked_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every new file seems to be taken by a cleaner, only a few are tried."""

    def taken(*_: object) -> None:
        raise BlockingIOError

    monkeypatch.setattr(fcntl, "flock", taken)
    with pytest.raises(OSError, match="no free name"):
        create(str(tmp_path), 0)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("thief", ["locks", "removes"])
def test_file_that_a_cleaner_took_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thief: str) -> None:
    """Where another process locks or removes the new file before it is locked here, the next name is used."""
    first = tmp_path / "backup_error_7.log"
    real_open, held = os.open, []

    def raced(path: str, flags: int, mode: int = 0o777) -> int:
        descriptor = real_open(path, flags, mode)
        if path == str(first):
            if thief == "locks":
                held.append(real_open(path, os.O_RDWR))
                fcntl.flock(held[0], fcntl.LOCK_EX)
            else:
                first.unlink()
        return descriptor

    monkeypatch.setattr(os, "open", raced)
    _, number = create(str(tmp_path), 7)
    assert number == 8
    for descriptor in held:
        os.close(descriptor)


def test_lock_lasts_as_long_as_the_file(tmp_path: Path) -> None:
    """An open log file cannot be locked by a cleaner; a closed one can."""
    file, _ = create(str(tmp_path), 7)
    other = os.open(file.path, os.O_RDWR)
    assert try_lock(other, exclusive=True) is False
    del file
    assert try_lock(other, exclusive=True) is True
    os.close(other)


def test_locks_may_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without fcntl, and on a file system that has no locks, the answer is that nobody knows."""
    file, _ = create(str(tmp_path), 7)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert try_lock(file.descriptor, exclusive=True) is None
    monkeypatch.setattr(logfile, "fcntl", None)
    assert try_lock(file.descriptor, exclusive=True) is None


def test_size_is_the_files(tmp_path: Path) -> None:
    """The size is that of the file on disk."""
    file, _ = create(str(tmp_path), 7)
    assert file.size() == 0
    file.append(b"abc\n", 0)
    assert file.size() == 4


def test_no_size_where_the_path_leads_elsewhere(tmp_path: Path) -> None:
    """A file that was removed, or whose name another file took, takes no more lines."""
    file, _ = create(str(tmp_path), 7)
    os.rename(file.path, tmp_path / "moved")
    assert file.size() is None
    Path(file.path).touch()
    assert file.size() is None
    os.replace(tmp_path / "moved", file.path)
    assert file.size() == 0


def test_no_size_in_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forked child does not write into its parent's file."""
    file, _ = create(str(tmp_path), 7)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert file.size() is None


def test_torn_piece_of_an_own_file_is_taken_away(tmp_path: Path) -> None:
    """Where the system writes only a piece of a line, the file ends with the last whole line, and goes on there."""
    file, _ = create(str(tmp_path), 7)
    file.append(b"first line\n", 0)
    with largest_file(16), pytest.raises(OSError, match="only 5 of 12 bytes"):
        file.append(b"second line\n", 11)
    assert Path(file.path).read_bytes() == b"first line\n"
    file.append(b"third line\n", 11)
    assert Path(file.path).read_bytes() == b"first line\nthird line\n"


def test_torn_piece_of_a_shared_file_stays_alone(tmp_path: Path) -> None:
    """A file that others may write into is never cut: the next whole line begins on a line of its own."""
    path = tmp_path / "plain"
    file = open_plain(str(path), missing=True)
    with largest_file(6), pytest.raises(OSError, match="only 6 of 11 bytes"):
        file.append(b"first line\n", 0)
    assert path.read_bytes() == b"first "
    with largest_file(7), pytest.raises(OSError, match="only 1 of 8 bytes"):
        file.append(b"second\n", 6)
    file.append(b"third\n", 7)
    file.append(b"fourth\n", 14)
    assert path.read_bytes() == b"first \n\nthird\nfourth\n"


def test_torn_piece_that_cannot_be_taken_away_stays_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where even cutting fails, the next line does not stick to the piece."""
    file, _ = create(str(tmp_path), 7)

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", refuse)
        with largest_file(3), pytest.raises(OSError, match="only 3 of 6"):
            file.append(b"first\n", 0)
    file.append(b"second\n", 3)
    assert Path(file.path).read_bytes() == b"fir\nsecond\n"


def test_write_that_fails_tears_nothing(tmp_path: Path) -> None:
    """After an error that wrote nothing, the next line follows as if it had not been."""
    file, _ = create(str(tmp_path), 7)
    file.append(b"first\n", 0)
    with largest_file(6), pytest.raises(OSError, match="File too large"):
        file.append(b"second\n", 6)
    file.append(b"third\n", 6)
    assert Path(file.path).read_bytes() == b"first\nthird\n"


def test_interrupt_in_a_write_leaves_the_next_line_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether an interrupted write was whole nobody knows; the next line does not stick to it."""
    file, _ = create(str(tmp_path), 7)
    real_write = os.write

    def interrupted(descriptor: int, data: bytes) -> int:
        real_write(descriptor, data[:3])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            file.append(b"first\n", 0)
    file.append(b"second\n", 3)
    assert Path(file.path).read_bytes() == b"fir\nsecond\n"


def test_descriptor_is_closed_with_the_last_reference(tmp_path: Path) -> None:
    """Nothing but dropping the object is needed to close the file."""
    file, _ = create(str(tmp_path), 7)
    descriptor = file.descriptor
    assert is_open(descriptor)
    del file
    gc.collect()
    assert not is_open(descriptor)


def test_descriptor_is_closed_if_it_cannot_be_examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The object owns the descriptor from the start."""
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)

    def refuse(_: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    def make() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fstat", refuse)
            with pytest.raises(OSError, match="input/output"):
                LogFile(descriptor, str(tmp_path / "file"), owned=True)

    make()
    gc.collect()
    assert not is_open(descriptor)


def test_descriptor_of_another_file_is_not_closed(tmp_path: Path) -> None:
    """Where somebody closed the descriptor and its number was given to another file, that file stays open."""
    file, _ = create(str(tmp_path), 7)
    number = file.descriptor
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    os.dup2(other, number)
    assert file.size() is None
    del file
    gc.collect()
    assert is_open(number)
    os.close(number)
    os.close(other)


def test_descriptor_that_is_closed_already_is_no_error(tmp_path: Path) -> None:
    """Where somebody closed the descriptor, dropping the object is quiet (a warning would fail this test)."""
    file, _ = create(str(tmp_path), 7)
    os.close(file.descriptor)
    assert file.size() is None
    del file
    gc.collect()


def test_descriptor_is_closed_though_the_file_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was removed on its server can be examined no more; its descriptor is given back all the same."""
    file, _ = create(str(tmp_path), 7)
    descriptor = file.descriptor

    def refuse(_: int) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(LogFile.__del__, "__defaults__", (refuse, *LogFile.__del__.__defaults__[1:]))
        del file
        gc.collect()
    assert not is_open(descriptor)


@pytest.mark.parametrize("left", [b"first line\n[1] Err", b"[", b"first line"])
def test_line_does_not_stick_to_what_another_writer_left(tmp_path: Path, left: bytes) -> None:
    """A writer that was killed, or for which the disk was full, may have left a piece: the next line stands alone."""
    path = tmp_path / "plain"
    file = open_plain(str(path), missing=True)
    file.append(b"mine\n", 0)
    with path.open("ab") as stream:
        stream.write(left)
    file.append(b"second\n", 0)
    with path.open("ab") as stream:
        stream.write(left)
    open_plain(str(path), missing=False).append(b"third\n", 0)
    assert path.read_bytes() == b"mine\n" + left + b"\nsecond\n" + left + b"\nthird\n"


def test_plain_file_that_may_only_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without permission to read takes lines all the same."""
    path, real_open = tmp_path / "plain", os.open
    path.write_bytes(b"before\n")

    def refuse(name: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied", name)
        return real_open(name, flags, mode)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        file = open_plain(str(path), missing=False)
    file.append(b"line\n", 7)
    assert path.read_bytes() == b"before\nline\n"


def test_plain_file_is_created_only_if_missing(tmp_path: Path) -> None:
    """Opening a plain file that should be there does not create it; creating it makes it the owner's alone."""
    path = str(tmp_path / "plain")
    with pytest.raises(FileNotFoundError):
        open_plain(path, missing=False)
    open_plain(path, missing=True).append(b"line\n", 0)
    assert os.stat(path).st_mode & 0o7777 == 0o600
    open_plain(path, missing=False).append(b"more\n", 5)
    assert Path(path).read_bytes() == b"line\nmore\n"
