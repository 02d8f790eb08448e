"""`retrywrap demo`: a whole run for real, its report, its exit status, and what it leaves behind."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import retrywrap
from retrywrap import config
from retrywrap.cli import demo
from retrywrap.cli.demo import client, scan, session
from retrywrap.cli.demo.display import Display
from retrywrap.cli.demo.plan import MISBEHAVIOURS
from retrywrap.cli.demo.verify import verify
from retrywrap.cli.usage import UsageError
from retrywrap.record import hooks
from retrywrap.record.reader import read_errors
from retrywrap.testing import VirtualClock

CODES = {"NETWORK": 2, "CONNECTION_LOST": 1, "TIMEOUT": 1, "DATA_CORRUPTION": 1}
ROOT = str(Path(retrywrap.__file__).parents[1])


@pytest.fixture(autouse=True)
def _own_temporary_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Backups go to a folder of this test alone, in which none is left but those that were to be kept."""
    place = tmp_path_factory.mktemp("backups")
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", None)
    listeners = len(hooks._subscriptions)
    yield
    assert len(hooks._subscriptions) == listeners
    assert config.settings() == config.Settings()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a file of each kind that matters."""
    (tmp_path / "here" / "deep" / "hollow").mkdir(parents=True)
    (tmp_path / "here" / "a.txt").write_bytes(b"alpha")
    (tmp_path / "here" / "deep" / "empty").write_bytes(b"")
    (tmp_path / "here" / "deep" / "large").write_bytes(os.urandom(scan.BLOCK + 5))
    Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"here", b"bad\xff [red]"))).write_bytes(b"\0\n")
    os.mkfifo(tmp_path / "here" / "pipe")
    (tmp_path / "here" / "link").symlink_to("a.txt")
    return tmp_path / "here"


def run(*words: str | Path) -> int:
    """Run the subcommand as the command line would."""
    parser = argparse.ArgumentParser(prog="retrywrap")
    demo.add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["demo", *map(str, words)])
    status: int = arguments.run(arguments)
    return status


def environment() -> dict[str, str]:
    """Return an environment in which another process finds the same retrywrap."""
    path = os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}


def left_over() -> list[Path]:
    """Return the backups that are there."""
    return list(Path(tempfile.gettempdir()).iterdir())


def test_a_run_for_real(folder: Path, clock: VirtualClock, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder arrives at a server in another process, whatever that does wrong; all of it is met and counted."""
    assert run(folder) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == f"retrywrap demo: 4 files, 1.0 MB of {folder}"
    assert re.fullmatch(
        r"server: 127\.0\.0\.1:\d+, process \d+; seed 7; to go wrong: refuse 1, reset 1, busy 1, stall 1, lie 1",
        lines[1],
    )
    assert int(re.search(r"process (\d+)", lines[1])[1]) != os.getpid()  # type: ignore[index]  # it matched above
    errors = [line for line in lines if re.match(r" +\d+\.\d\d s ", line)]
    assert sorted(line.split()[2] for line in errors) == sorted(MISBEHAVIOURS)
    assert any("HTTP 503 Service Unavailable, Retry-After: 1; retry 1 follows in 1 s" in line for line in errors)
    assert lines[-2] == (
        f"identical: both trees were read again and compared byte for byte: 4 files, {scan.BLOCK + 12} bytes"
    )
    assert retrywrap.registry.error_count == 5
    assert {code.name: count for code, count in retrywrap.registry.by_code.items()} == CODES
    assert 1.0 in clock.waits
    assert left_over() == []


def test_report_as_json(folder: Path, clock: VirtualClock, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json the report is all that standard output holds; the lines for people go to standard error."""
    assert run(folder, "--json", "--seed", "3") == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert "seed 3" in err
    assert (report["seed"], report["faults"], report["source"]) == (3, "default", str(folder))
    assert (report["files"], report["bytes"], report["folders"]) == (4, scan.BLOCK + 12, 2)
    assert report["errors"] == {"total": 5, "by_code": CODES}
    assert report["misbehaviour"] == {kind: {"planned": 1, "met": 1} for kind in MISBEHAVIOURS}
    assert report["retries"] == report["waits"]["count"] == len(clock.waits) == 5
    assert report["waits"]["seconds"] == pytest.approx(clock.waited, abs=0.001)
    assert report["attempts"] == 4 + 4 + 1 + 5 + 1  # uploads, checksums, a folder; retries; one checksum after the lie
    assert report["left_out"] == {"symbolic link": 1, "named pipe": 1}
    assert report["last_error"]["message"] == str(retrywrap.registry.last_error)
    assert report["error_log_lines"] == 5
    assert report["verification"] == {"files": 4, "bytes": scan.BLOCK + 12, "differences": [], "identical": True}
    assert report["backup"] is None


def test_one_seed_is_one_run(folder: Path, clock: VirtualClock, capsys: pytest.CaptureFixture[str]) -> None:
    """The same seed meets the same errors at the same files in the same order."""

    def met() -> list[str]:
        assert run(folder, "--seed", "8") == 0
        lines = capsys.readouterr().out.splitlines()
        return [line[10:].partition(":")[0] for line in lines if re.match(r" +\d+\.\d\d s ", line)]

    first = met()
    assert len(first) == 5
    assert met() == first


def test_many_faults_at_many_files(tmp_path: Path, clock: VirtualClock, capsys: pytest.CaptureFixture[str]) -> None:
    """More files and a higher level meet more; each planned misbehaviour is met; of files there are four lines only."""
    for number in range(40):
        (tmp_path / f"f{number}").write_bytes(bytes([number]) * number)
    assert run(tmp_path, "--faults", "many", "--json") == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert all(counts["planned"] == counts["met"] > 0 for counts in report["misbehaviour"].values())
    assert report["errors"]["total"] >= 20
    assert [
        line.split(" s  ")[1].split(",")[0] for line in err.splitlines() if " files, " in line and " s  " in line
    ] == [f"{done} of 40 files" for done in (10, 20, 30, 40)]


def test_no_faults(folder: Path, clock: VirtualClock, capsys: pytest.CaptureFixture[str]) -> None:
    """A server that behaves is met without an error, a retry or a wait."""
    assert run(folder, "--faults", "none", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["errors"]["total"], report["retries"], clock.waits) == (0, 0, [])
    assert report["last_error"] == {"code": 0, "name": "SUCCESS", "message": "Success"}


def test_a_single_file_meets_everything(folder: Path, clock: VirtualClock, capsys: pytest.CaptureFixture[str]) -> None:
    """One file is enough for each misbehaviour."""
    assert run(folder / "a.txt", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["files"] == 1
    assert report["errors"] == {"total": 5, "by_code": CODES}


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to do, nothing goes wrong, and nothing differs."""
    assert run(tmp_path) == 0
    assert "compared byte for byte: 0 files, 0 bytes" in capsys.readouterr().out


def test_the_default_is_retrywrap_itself(
    clock: VirtualClock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a path the installed package is backed up, without what Python caches beside it."""
    assert run("--faults", "none", "--json", "--keep") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["source"] == str(Path(retrywrap.__file__).parent)
    stored = scan.scan(os.path.join(report["backup"], "files"))
    names = [file.name for file in stored.files]
    assert "run/scope.py" in names
    assert not any("__pycache__" in name for name in names)


def test_a_kept_backup(folder: Path, clock: VirtualClock, capsys: pytest.CaptureFixture[str]) -> None:
    """--keep leaves the files, a manifest of them, and an error log with a line for each error."""
    assert run(folder, "--keep") == 0
    (backup,) = left_over()
    assert f"kept: {backup} " in capsys.readouterr().out
    assert (backup / "files" / "a.txt").read_bytes() == b"alpha"
    assert (backup / "files" / "deep" / "hollow").is_dir()
    manifest = json.loads((backup / "manifest.json").read_text())
    assert sorted(manifest["files"]) == ["a.txt", "bad\udcff [red]", "deep/empty", "deep/large"]
    assert manifest["files"]["deep/empty"]["checksum"].startswith("e3b0c442")
    assert (manifest["folders"], manifest["links"]) == (["deep", "deep/hollow"], {"link": "a.txt"})
    assert sorted(error.code for error in read_errors(backup / "errors")) == [-11, -8, -7, -6, -6]


def test_a_damaged_backup(
    folder: Path, clock: VirtualClock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One wrong byte in the backup is found, named, and makes the exit status 1."""
    real = verify

    def damaging(source: Any, stored: Any, failed: Any) -> Any:
        Path(stored.path("a.txt")).write_bytes(b"alpHa")
        return real(source, stored, failed)

    monkeypatch.setattr(session, "verify", damaging)
    assert run(folder, "--faults", "none") == 1
    assert "NOT identical: 1 difference\n  a.txt: differs from byte 3 on\n" in capsys.readouterr().out
    assert left_over() == []


def test_a_file_that_cannot_be_read(
    folder: Path, clock: VirtualClock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported with its reason and not retried, the others are backed up, and the exit status is 1."""
    real = scan.open_plain

    def refusing(path: str) -> Any:
        if path.endswith("a.txt"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(client, "open_plain", refusing)
    monkeypatch.setattr(os, "access", lambda path, mode: not path.endswith("a.txt"))
    assert run(folder, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["files"] == 3
    assert report["errors"]["by_code"] == {**CODES, "PERMISSION_DENIED": 1}
    assert report["operations"]["failed"] == 1
    assert report["misbehaviour"] == {kind: {"planned": 1, "met": 1} for kind in MISBEHAVIOURS}
    assert report["verification"]["differences"] == [
        f"a.txt: [Errno 13] Permission denied: '{folder / 'a.txt'}'",
    ]


def test_no_time_left(
    folder: Path, clock: VirtualClock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What there is no time for is not begun, is said to be missing, and makes the exit status 1."""
    monkeypatch.setattr(session, "_SECONDS_TO_VERIFY", 18.5)
    assert run(folder) == 1
    assert "\n  a.txt: no time was left for it of the 18 s that a run may take\n" in capsys.readouterr().out


def test_no_manifest(
    folder: Path, clock: VirtualClock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manifest that cannot be written is a difference, too."""

    def failing(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(session, "write_file", failing)
    assert run(folder, "--faults", "none") == 1
    assert "  manifest.json: [Errno 28] No space left on device\n" in capsys.readouterr().out


def test_a_folder_that_holds_the_backups(clock: VirtualClock, capsys: pytest.CaptureFixture[str]) -> None:
    """The backup does not back up itself, where it stands inside of what is backed up."""
    place = Path(tempfile.gettempdir())
    (place / "x").write_bytes(b"x")
    assert run(place, "--json") == 0
    assert json.loads(capsys.readouterr().out)["verification"]["files"] == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", r"cannot back up '.*nothing': No such file or directory"),
        ("pipe", r"cannot back up '.*pipe': it is a named pipe; a folder or a plain file is needed"),
        ("null\0byte", r"cannot back up '.*null\\x00byte': .*embedded null"),
    ],
)
def test_errors_of_use(folder: Path, name: str, message: str) -> None:
    """What is not there, or is neither folder nor file, is refused before anything is started."""
    with pytest.raises(UsageError, match=message):
        run(f"{folder}/{name}")
    assert left_over() == []


def test_no_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup that would fill the disk is not begun."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(UsageError, match=r"needs 1\.0 MB in .*, where 1\.0 kB are free; TMPDIR names another place"):
        run(folder)


def test_interrupted(folder: Path, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Ctrl-C ends it at once with exit status 130, and nothing is left; --keep keeps what there is."""

    def interrupt(self: Display, event: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Display, "event", interrupt)
    assert run(folder) == 130
    assert capsys.readouterr().out.endswith("interrupted; the server has ended, the backup is removed\n")
    assert left_over() == []
    assert run(folder, "--keep") == 130
    assert capsys.readouterr().out.endswith("interrupted; the server has ended\n")
    assert len(left_over()) == 1


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_child_is_left_behind(folder: Path, kind: signal.Signals) -> None:
    """However the command ends, its server ends, and the backup is removed."""
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # as from a terminal
        "from retrywrap.cli import main; sys.exit(main(['demo', *sys.argv[1:]]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True, env=environment()
    ) as command:
        assert command.stdout is not None
        text = command.stdout.readline() + command.stdout.readline() + command.stdout.readline()
        child = int(re.search(r"process (\d+)", text)[1])  # type: ignore[index]  # else there is no server to speak of
        command.send_signal(kind)
        command.stdout.read()
        status = command.wait(10)
    assert status == (130 if kind == signal.SIGINT else -kind)
    until = time.monotonic() + 10
    while (_runs(child) or left_over()) and time.monotonic() < until:
        time.sleep(0.01)
    assert not _runs(child)
    assert left_over() == []


def _runs(pid: int) -> bool:
    """Return whether there is such a process that is not merely waiting to be buried."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # a system without /proc; or it has ended just now, which the next look will tell
        return True


def test_on_a_terminal(folder: Path) -> None:
    """In a terminal's real size the picture is drawn, the report stands at the end, and the cursor comes back."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    terminal = {**environment(), "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        terminal.pop(name, None)
    words = [sys.executable, "-m", "retrywrap", "demo", str(folder)]
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=terminal) as command:
        os.close(theirs)
        seen = b""
        while chunk := _read(ours):
            seen += chunk
        assert command.wait(10) == 0
    os.close(ours)
    text = seen.decode()
    for part in ("╭─", " retrywrap demo ", "of 4 files", "last error", "What the server did", "✔", "identical"):
        assert part in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux says EIO where the last writer has closed
        return b""
