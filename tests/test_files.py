"""`write_file`: what is retried, what is recorded, and that the old content survives whatever fails."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

import retrywrap
from retrywrap import FILES, Registry, RetryExhausted, RetryPolicy, configure, registry, write_file
from retrywrap.testing import VirtualClock


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The errnos with which the next renames fail, one after the other."""
    failures: list[int] = []
    rename = os.replace

    def replace(source: str, target: str) -> None:
        if failures:
            number = failures.pop(0)
            raise OSError(number, os.strerror(number), source)
        rename(source, target)

    monkeypatch.setattr("retrywrap.run.atomic.os.replace", replace)
    return failures


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (b"bytes", b"bytes"),
        (bytearray(b"more"), b"more"),
        (memoryview(b"view")[1:], b"iew"),
        ("Grüße, 世界", "Grüße, 世界".encode()),
        (b"", b""),
        ("", b""),
    ],
)
def test_writing(tmp_path: Path, data: Any, content: bytes) -> None:
    """The whole content, in place of an old one; the number of bytes comes back; nothing is recorded."""
    for path in (tmp_path / "path", str(tmp_path / "text")):
        Path(path).write_bytes(b"old")
        assert write_file(path, data) == len(content)
        assert Path(path).read_bytes() == content
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["path", "text"]
    assert registry.error_count == 0


def test_passing_failures_are_retried(tmp_path: Path, clock: VirtualClock, disk: list[int]) -> None:
    """By the policy for files, four times a second apart; each failure is recorded under the function's name."""
    disk[:] = [errno.EIO, errno.EBUSY, errno.ESTALE, errno.EIO]
    assert write_file(tmp_path / "file", b"data") == 4
    assert clock.waits == [1.0] * 4
    stats = registry.stats("retrywrap.write_file")
    assert (stats.errors, stats.retries, stats.recovered) == (4, 4, 1)
    assert {record.code for record in registry.errors} == {-5}


def test_the_last_error_comes_out(tmp_path: Path, clock: VirtualClock, disk: list[int]) -> None:
    """With its errno, the name of the file, and a note why it ended; the old content is there, and no other file."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    disk[:] = [errno.EIO] * 5
    with pytest.raises(OSError, match=os.strerror(errno.EIO)) as caught:
        write_file(path, b"new")
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(path))
    [note] = caught.value.__notes__
    assert note.startswith("retrywrap: retrywrap.write_file exhausted after 5 attempts in 4 s: max=4")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, -10), (errno.EDQUOT, -10), (errno.EROFS, -9), (errno.EACCES, -9)]
)
def test_what_cannot_help_is_not_retried(
    tmp_path: Path, clock: VirtualClock, disk: list[int], number: int, code: int
) -> None:
    """errno decides: a full disk and a missing permission are as they are a second later."""
    disk[:] = [number]
    with pytest.raises(OSError, match=os.strerror(number)):
        write_file(tmp_path / "file", b"data")
    assert clock.waits == []
    assert registry.last_error.code == code


def test_a_missing_folder_is_not_retried(tmp_path: Path, clock: VirtualClock) -> None:
    """Nor is a directory in the place of the file."""
    with pytest.raises(FileNotFoundError):
        write_file(tmp_path / "no" / "file", b"data")
    with pytest.raises(IsADirectoryError):
        write_file(tmp_path, b"data")
    assert clock.waits == []


def test_another_policy(tmp_path: Path, clock: VirtualClock, disk: list[int]) -> None:
    """An object, or the name of one; `reraise=False` holds here as well."""
    configure(policies={"quick": {"max": 1, "interval": 7}})
    for policy, waits in ((RetryPolicy(max=2, interval=3), [3.0, 3.0]), ("quick", [7.0]), ("files", [1.0] * 4)):
        disk[:] = [errno.EIO] * 5
        clock.waits.clear()
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            write_file(tmp_path / "file", b"data", policy=policy)
        assert clock.waits == waits
    disk[:] = [errno.EIO] * 5
    with pytest.raises(RetryExhausted) as caught:
        write_file(tmp_path / "file", b"data", policy=FILES.replace(reraise=False))
    assert caught.value.code == -5


def test_where_and_as_what_it_is_recorded(tmp_path: Path, clock: VirtualClock, disk: list[int]) -> None:
    """In a registry of one's own, under another name."""
    mine = Registry()
    disk[:] = [errno.EIO]
    write_file(tmp_path / "file", b"data", registry=mine, name="state")
    assert mine.stats("state").recovered == 1
    assert registry.error_count == 0


@pytest.mark.skipif(os.name == "nt", reason="needs permission bits")
def test_the_mode_is_passed_on(tmp_path: Path) -> None:
    """Exactly these bits."""
    write_file(tmp_path / "file", b"data", mode=0o640)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


@pytest.mark.parametrize("durable", [True, False])
def test_durability_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool) -> None:
    """Unless it is wanted, nothing waits for the disk."""
    synced: list[int] = []
    monkeypatch.setattr("retrywrap.run.atomic.os.fsync", synced.append)
    write_file(tmp_path / "file", b"data", durable=durable)
    assert bool(synced) is durable


def test_it_waits_for_the_disk_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data and the new name."""
    synced: list[int] = []
    monkeypatch.setattr("retrywrap.run.atomic.os.fsync", synced.append)
    write_file(tmp_path / "file", b"data")
    assert len(synced) == (1 if os.name == "nt" else 2)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"path": 3}, TypeError, "path must be the path of a file"),
        ({"path": ""}, ValueError, "path must name a file"),
        ({"data": 3}, TypeError, "data must be bytes"),
        ({"data": "a\ud800"}, ValueError, r"data must be a text that UTF-8 can express, or bytes; it cannot express "),
        ({"policy": 3}, TypeError, "policy must be a RetryPolicy or the name of one; got 3"),
        ({"mode": -1}, ValueError, "mode must be permission bits"),
        ({"durable": 1}, TypeError, "durable must be True or False; got 1"),
        ({"registry": {}}, TypeError, "registry must be a Registry; got {}"),
        ({"name": None}, TypeError, "name must be a str; got None"),
    ],
)
def test_wrong_arguments(tmp_path: Path, change: dict[str, Any], error: type[Exception], text: str) -> None:
    """Are refused by the parameter's name, and nothing is written."""
    arguments = {"path": tmp_path / "file", "data": b"data", **change}
    with pytest.raises(error) as caught:
        write_file(**arguments)
    assert str(caught.value).startswith(text)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("mode", "octal"), [(644, "0o644"), (777, "0o777"), (755, "0o755")])
def test_a_mode_in_decimal_is_refused(tmp_path: Path, mode: int, octal: str) -> None:
    """mode=644 would be 0o1204; what was surely meant is said. Real bits above 0o777 pass."""
    with pytest.raises(ValueError, match=f"mode must be written in octal: {octal}; got the decimal {mode}"):
        write_file(tmp_path / "file", b"", mode=mode)
    write_file(tmp_path / "file", b"", mode=0o1644)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o1644


@pytest.mark.parametrize("change", [{"path": 3}, {"data": 3}, {"mode": "600"}])
def test_a_mistake_in_the_code_is_no_failed_write(tmp_path: Path, change: dict[str, Any]) -> None:
    """What was called wrongly is not recorded as an operation that failed."""
    with pytest.raises(TypeError) as caught:
        write_file(**{"path": tmp_path / "file", "data": b"data", **change})
    assert not hasattr(caught.value, "__notes__")
    assert registry.error_count == 0


def test_it_is_loaded_when_it_is_first_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """`from retrywrap import write_file` works, and finds it again; it is listed all the time."""
    monkeypatch.delitem(vars(retrywrap), "write_file")
    assert "write_file" in dir(retrywrap)
    assert retrywrap.write_file is write_file
    assert vars(retrywrap)["write_file"] is write_file
    with pytest.raises(AttributeError, match="module 'retrywrap' has no attribute 'writefile'"):
        _ = retrywrap.writefile
