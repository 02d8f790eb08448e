"""The demo's look at a folder, and the comparison of two."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from retrywrap.cli.demo import scan, verify
from retrywrap.cli.demo.scan import File
from retrywrap.cli.demo.verify import Verification

BLOCK = scan.BLOCK


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with three files, the last one larger than a block, and an empty folder."""
    (tmp_path / "here" / "deep").mkdir(parents=True)
    (tmp_path / "here" / "hollow").mkdir()
    (tmp_path / "here" / "a.txt").write_bytes(b"alpha")
    (tmp_path / "here" / "deep" / "empty").write_bytes(b"")
    (tmp_path / "here" / "deep" / "large").write_bytes(os.urandom(BLOCK + 5))
    return tmp_path / "here"


def test_scan_tells_files_from_all_else(tmp_path: Path) -> None:
    """Files and folders are listed; links, pipes and sockets are noted apart, and nothing waits for a pipe's writer."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "hollow").mkdir()
    (tmp_path / "deep" / "er" / "file").write_bytes(b"12345")
    (tmp_path / "b").write_bytes(b"")
    (tmp_path / "link").symlink_to("deep")
    os.mkfifo(tmp_path / "hollow" / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "sock"))
        tree = scan.scan(str(tmp_path))
    assert tree.files == [File("b", 0, True), File("deep/er/file", 5, True)]
    assert tree.folders == ["deep", "deep/er", "hollow"]
    assert tree.bare_folders == ["hollow"]
    assert tree.links == {"link": "deep"}
    assert tree.special == {"hollow/pipe": "named pipe", "sock": "socket"}
    assert (tree.bytes, tree.unreadable, tree.source) == (5, {}, str(tmp_path))


def test_scan_orders_by_bytes_and_takes_any_name(tmp_path: Path) -> None:
    """Names that are no text are taken, and shown with escapes; the order is that of the bytes, whatever the locale."""
    for name in (b"z", b"Z", b"bad\xff\xfe", b"line\nend"):
        (Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))).write_bytes(b"x")
    names = [file.name for file in scan.scan(str(tmp_path)).files]
    assert [os.fsencode(name) for name in names] == [b"Z", b"bad\xff\xfe", b"line\nend", b"z"]
    assert [scan.printable(name) for name in names] == ["Z", r"bad\xff\xfe", r"line\nend", "z"]


def test_scan_of_one_file(tmp_path: Path) -> None:
    """A single file stands alone in its tree; a link to it is followed, as a link to a folder is."""
    (tmp_path / "one").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("one")
    for path in (tmp_path / "one", tmp_path / "link"):
        tree = scan.scan(str(path))
        assert tree.files == [File("one", 3, True)]
        assert tree.source == os.path.realpath(tmp_path / "one")
    (tmp_path / "to").symlink_to(tmp_path)
    assert [file.name for file in scan.scan(str(tmp_path / "to")).files] == ["one"]


def test_scan_refuses_what_is_neither_folder_nor_file(tmp_path: Path) -> None:
    """A pipe, a device and nothing at all are refused at once, with the reason."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a named pipe"):
        scan.scan(str(tmp_path / "pipe"))
    with pytest.raises(OSError, match="it is a character device"):
        scan.scan(os.devnull)
    with pytest.raises(FileNotFoundError):
        scan.scan(str(tmp_path / "nothing"))


def test_scan_notes_what_it_cannot_look_into(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that may not be read, and an entry that vanishes, are noted; a root that may not be read is an error."""
    real = os.scandir

    def refusing(path: str) -> Any:
        if path.endswith("deep"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path)

    def vanished(path: str) -> str:
        raise OSError("gone")

    (folder / "link").symlink_to("a.txt")
    monkeypatch.setattr(os, "scandir", refusing)
    monkeypatch.setattr(os, "readlink", vanished)
    tree = scan.scan(str(folder))
    assert tree.unreadable == {"deep": "Permission denied", "link": "gone"}
    assert [file.name for file in tree.files] == ["a.txt"]
    with pytest.raises(PermissionError):
        scan.scan(str(folder / "deep"))


def test_scan_leaves_out_folders_by_name(folder: Path) -> None:
    """A folder of such a name is passed over with all in it; a file of the name is not."""
    tree = scan.scan(str(folder), leave_out=("deep", "a.txt"))
    assert [file.name for file in tree.files] == ["a.txt"]
    assert tree.folders == ["hollow"]


def test_scan_refuses_too_much(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More files or bytes than a demo can send in its time are refused before anything is sent."""
    monkeypatch.setattr(scan, "_MOST_BYTES", BLOCK)
    for path in (folder, folder / "deep" / "large"):
        with pytest.raises(ValueError, match=r"holds \d+ bytes, and a demo takes no more than 1048576"):
            scan.scan(str(path))
    monkeypatch.setattr(scan, "_MOST_FILES", 2)
    with pytest.raises(ValueError, match="more than 2 files"):
        scan.scan(str(folder))


def test_open_plain_opens_nothing_else(tmp_path: Path) -> None:
    """A pipe that took a file's place since the look is refused without waiting, and so is a link."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no plain file any more"):
        scan.open_plain(str(tmp_path / "pipe"))
    (tmp_path / "link").symlink_to(__file__)
    with pytest.raises(OSError, match="symbolic links"):
        scan.open_plain(str(tmp_path / "link"))


@pytest.fixture
def twin(folder: Path, tmp_path: Path) -> Path:
    """Return a copy of the folder."""
    import shutil

    return Path(shutil.copytree(folder, tmp_path / "twin"))


def compared(folder: Path, twin: Path, failed: dict[str, str] | None = None) -> Verification:
    """Compare two folders."""
    return verify.verify(scan.scan(str(folder)), scan.scan(str(twin)), failed or {})


def test_verify_same_trees(folder: Path, twin: Path) -> None:
    """Equal trees are identical, with each file and byte counted; links and pipes do not matter."""
    (folder / "link").symlink_to("a.txt")
    os.mkfifo(folder / "pipe")
    assert compared(folder, twin) == Verification(3, BLOCK + 10, ())
    assert compared(folder, twin).identical


@pytest.mark.parametrize(
    ("name", "content", "difference"),
    [
        ("a.txt", b"alphA", "a.txt: differs from byte 4 on"),
        ("a.txt", b"alph", "a.txt: differs from byte 4 on"),
        ("a.txt", b"alphabet", "a.txt: differs from byte 5 on"),
        ("deep/empty", b"!", "deep/empty: differs from byte 0 on"),
        ("deep/more", b"", "deep/more: in the backup only"),
    ],
)
def test_verify_finds_one_byte(folder: Path, twin: Path, name: str, content: bytes, difference: str) -> None:
    """One wrong, missing or surplus byte, and one surplus file, are found and named."""
    (twin / name).write_bytes(content)
    found = compared(folder, twin)
    assert found.differences == (difference,)
    assert not found.identical


def test_verify_finds_a_difference_behind_the_first_block(folder: Path, twin: Path) -> None:
    """The comparison does not stop at the first block."""
    with open(twin / "deep" / "large", "r+b") as file:
        file.seek(BLOCK + 2)
        old = file.read(1)
        file.seek(BLOCK + 2)
        file.write(bytes([old[0] ^ 1]))
    assert compared(folder, twin).differences == (f"deep/large: differs from byte {BLOCK + 2} on",)


def test_verify_finds_what_is_missing(folder: Path, twin: Path) -> None:
    """A file or a folder that is not in the backup is a difference, once, with the reason where one is known."""
    (twin / "a.txt").unlink()
    (twin / "hollow").rmdir()
    assert compared(folder, twin).differences == ("a.txt: not in the backup", "hollow: not in the backup")
    (twin / "deep" / "large").write_bytes(b"")
    assert compared(folder, twin, {"a.txt": "Permission denied", "deep/large": "no time"}).differences == (
        "a.txt: Permission denied",
        "deep/large: no time",
        "hollow: not in the backup",
    )


def test_verify_finds_what_cannot_be_read(folder: Path, twin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read cannot be called the same."""
    real = scan.open_plain

    def failing(path: str) -> Any:
        if path.endswith("a.txt"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(verify, "open_plain", failing)
    source = scan.scan(str(folder))
    source.unreadable["locked"] = "Permission denied"
    found = verify.verify(source, scan.scan(str(twin)), {})
    assert found.differences == (
        "locked: cannot be read: Permission denied",
        "a.txt: cannot be read: Permission denied",
    )
