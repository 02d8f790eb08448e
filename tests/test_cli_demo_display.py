"""What the demo shows: its counts, plain lines, the live picture, the report."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any

import pytest
from rich.console import Console

import retrywrap
from retrywrap.cli.demo.display import Display, make_display, print_line
from retrywrap.cli.demo.live import LiveDisplay
from retrywrap.cli.demo.plan import MISBEHAVIOURS, Plan
from retrywrap.cli.demo.progress import Progress, sized
from retrywrap.cli.demo.report import conclusion, hint, make_report
from retrywrap.cli.demo.scan import File, Tree
from retrywrap.cli.demo.verify import Verification
from retrywrap.decide.events import RetryEvent, StopReason

EVENT = RetryEvent(
    name="retry.scheduled",
    operation="retrywrap.cli.demo.client.Client.upload_file",
    reason=None,
    code=retrywrap.ErrorCode.CONNECTION_LOST,
    message="[Errno 104] Connection reset by peer",
    error_type="builtins.ConnectionResetError",
    attempt=1,
    max=10,
    wait=0.5,
    elapsed=0.1,
    time=0.0,
    rule="",
    retry_after=None,
    scope=None,
    detail="retry 1 follows in 0.5 s",
    is_error=True,
    is_retry=False,
)
GAVE_UP = EVENT._replace(
    reason=StopReason.REJECTED,
    code=retrywrap.ErrorCode.PERMISSION_DENIED,
    message="[Errno 13] Permission denied: '[red]x'",
    error_type="builtins.PermissionError",
    wait=None,
    detail="PERMISSION_DENIED is not retryable",
)
RECOVERED = EVENT._replace(reason=StopReason.RECOVERED, wait=None, is_error=False, is_retry=True)
SERVER: Any = type("Started", (), {"port": 4711, "pid": 42})()


def forty() -> Tree:
    """Return a tree of forty files of 1000 bytes."""
    tree = Tree("/some/where")
    tree.files = [File(f"f{number}", 1000) for number in range(40)]
    tree.folders = ["sub"]
    return tree


def fixed_progress(tree: Tree | None = None) -> Progress:
    """Return a progress whose time stands still."""
    return Progress(tree or forty(), now=lambda: 5.0)


def test_progress_counts_events() -> None:
    """Errors, retries, waits and misbehaviour are counted from the events; an upload that fails begins from zero."""
    progress = fixed_progress()
    progress.begin("bad\udcff")
    progress.block(400)
    assert (progress.current, progress.sent, progress.doing) == (r"bad\xff", 400, "")
    progress.event(EVENT)
    assert (progress.sent, progress.doing) == (0, "waiting 0.50 s before the next attempt")
    progress.block(1000)
    progress.event(EVENT._replace(operation="Client.get_checksum", wait=0.0, error_type="builtins.TimeoutError"))
    assert progress.sent == 1000
    progress.event(RECOVERED)
    progress.event(GAVE_UP)
    progress.finish(1000)
    assert (progress.retries, progress.waits, progress.done, progress.done_bytes) == (2, 1, 1, 1000)
    assert {kind: count for kind, count in progress.met.items() if count} == {"reset": 1, "stall": 1}
    assert progress.last_error == "PERMISSION_DENIED: [Errno 13] Permission denied: '[red]x'"
    assert (progress.sent, progress.doing, progress.elapsed) == (0, "", 0.0)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1234, "1.2 kB"), (5_600_000, "5.6 MB"), (2.5e9, "2.50 GB")]
)
def test_sized(count: float, text: str) -> None:
    """Bytes are told in the unit that suits them."""
    assert sized(count) == text


def a_report(verification: Verification | None = None, **changes: Any) -> dict[str, Any]:
    """Return a report of a run in which two things went wrong."""
    progress = fixed_progress()
    progress.event(EVENT)
    tree = forty()
    tree.links["l"] = "f1"
    tree.special.update(a="socket", b="socket")
    registry = retrywrap.Registry()
    for code in (-11, -11, -6, -42, -99):
        registry.record_error(code, "lost", "x")
    counts = {"refuse": 0, "reset": 2, "busy": 0, "stall": 0, "lie": 1}
    verification = verification or Verification(40, 40_000, ())
    client: Any = type("Counted", (), {"attempts": 83})()
    made = make_report(tree, Plan({}, counts, 7, "default"), progress, client, registry.stats(), registry, verification)
    return {**made, "backup": None, "error_log_lines": 1, **changes}


def test_report_is_plain_data() -> None:
    """The report survives JSON; codes that nobody knows are counted together as unknown."""
    report = a_report()
    assert json.loads(json.dumps(report))["errors"] == {
        "total": 5,
        "by_code": {"CONNECTION_LOST": 2, "NETWORK": 1, "UNKNOWN": 2},
    }
    assert report["left_out"] == {"symbolic link": 1, "socket": 2}
    assert report["misbehaviour"]["reset"] == {"planned": 2, "met": 1}


def test_conclusion_names_differences_up_to_a_bound() -> None:
    """The sentence says whether the trees are the same; of many differences the first ten are listed."""
    assert conclusion(a_report())[0].startswith("identical: both trees were read again and compared byte for byte: 40 ")
    lines = tuple(f"f{number}: gone" for number in range(12))
    assert conclusion(a_report(Verification(28, 28, lines))) == (
        "NOT identical: 12 differences",
        [*lines[:10], "and 2 more"],
    )
    assert conclusion(a_report(Verification(39, 39, lines[:1]))) == ("NOT identical: 1 difference", ["f0: gone"])


def test_hint_says_where_the_error_log_is() -> None:
    """The command that reads the error log is told, with the folder where it was kept."""
    assert hint(a_report()) == (
        "error log: 1 line, removed with the backup; --keep keeps both, for: retrywrap errors DIR/errors"
    )
    assert hint(a_report(backup="/tmp/b")).endswith("retrywrap errors /tmp/b/errors")


def test_plain_lines() -> None:
    """Without a terminal: a line for each error and for each quarter, none for a file or a recovery."""
    out = io.StringIO()
    progress = fixed_progress()
    with Display(progress, out) as display:
        display.introduce(forty(), Plan({}, {"reset": 2, "lie": 0}, 7, "default"), SERVER)
        progress.begin("f0")
        for event in (EVENT, RECOVERED, GAVE_UP):
            display.event(event)
        for _ in range(20):
            progress.finish(1000)
            display.step()
        display.report(a_report())
    lines = out.getvalue().splitlines()
    assert lines[:6] == [
        "retrywrap demo: 40 files, 40.0 kB of /some/where",
        "server: 127.0.0.1:4711, process 42; seed 7; to go wrong: reset 2",
        "  0.00 s  reset   upload_file f0: [Errno 104] Connection reset by peer; retry 1 follows in 0.5 s",
        "  0.00 s  error   upload_file f0: [Errno 13] Permission denied: '[red]x'; PERMISSION_DENIED is not retryable",
        "  0.00 s  10 of 40 files, 10.0 kB of 40.0 kB",
        "  0.00 s  20 of 40 files, 20.0 kB of 40.0 kB",
    ]
    assert "registry.last_error  UNKNOWN: lost" in lines
    assert f"{'CONNECTION_LOST':<20} {'-11':>5} {2:>7}" in lines
    assert f"{'resets the connection in mid-transfer':<42} {2:>7} {1:>7}" in lines
    assert "left out             2 sockets" in lines
    assert lines[-2].startswith("identical: ")


def test_plain_lines_of_little() -> None:
    """Few files have no quarters; a run without errors has no tables of them; differences are listed."""
    out = io.StringIO()
    tree = Tree("/x")
    tree.files = [File("a", 1)]
    display = Display(fixed_progress(tree), out)
    display.introduce(tree, Plan({}, {"reset": 0}, 7, "none"), SERVER)
    display.progress.finish(1)
    display.step()
    assert out.getvalue().splitlines() == [
        "retrywrap demo: 1 file, 1 B of /x",
        "server: 127.0.0.1:4711, process 42; seed 7; to go wrong: nothing",
    ]
    calm = {kind: {"planned": 0, "met": 0} for kind in MISBEHAVIOURS}
    none = {"total": 0, "by_code": {}}
    success = {"code": 0, "name": "SUCCESS", "message": "Success"}
    display.report(a_report(Verification(0, 0, ("a: gone",)), misbehaviour=calm, errors=none, last_error=success))
    assert "by code" not in out.getvalue()
    assert "planned" not in out.getvalue()
    assert "registry.last_error  Success" in out.getvalue()
    assert "\nNOT identical: 1 difference\n  a: gone\n" in out.getvalue()


def test_lines_for_a_stream_of_another_encoding() -> None:
    """What the stream cannot encode is escaped, instead of ending the run."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "ascii")
    print_line("sent 12… ä", stream)
    assert raw.getvalue() == b"sent 12\\u2026 \\xe4\n"
    nameless: Any = type("Nameless", (), {"write": lambda self, text: raw.write(text.encode()), "flush": raw.flush})()
    print_line("ä", nameless)
    assert raw.getvalue().endswith("ä\n".encode())


def test_lines_for_nobody() -> None:
    """When the reader of a pipe goes away, the lines end in nothing, and the run goes on."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stream:
        print_line("one", stream)
        print_line("two", stream)


class Terminal(io.StringIO):
    """A stream that calls itself a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """Say yes."""
        return True


def test_display_fits_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Live on a terminal with rich; plain without either, on a dumb terminal, and where no blocks can be drawn."""
    monkeypatch.setenv("TERM", "xterm-256color")
    progress = fixed_progress()
    assert type(make_display(progress, Terminal())) is LiveDisplay
    assert type(make_display(progress, io.StringIO())) is Display
    narrow = Terminal()
    narrow.encoding = "ascii"
    assert type(make_display(progress, narrow)) is Display
    monkeypatch.setenv("TERM", "dumb")
    assert type(make_display(progress, Terminal())) is Display
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert type(make_display(progress, Terminal())) is Display


@pytest.mark.parametrize("width", [80, 120])
def test_live_picture(width: int) -> None:
    """On a terminal: a panel, a line for each error that fits the width, a picture of the whole, and the tables."""
    out = Terminal()
    console = Console(file=out, force_terminal=True, width=width, height=50, color_system=None, legacy_windows=False)
    progress = fixed_progress()
    display = LiveDisplay(progress, out, console)
    display.introduce(forty(), Plan({}, {"reset": 2, "lie": 0}, 7, "default"), SERVER)
    with display:
        progress.begin("sub/" + "long" * 10)
        with console.capture() as picture:
            console.print(display._picture())
        assert "last error  none" in picture.get()
        for event in (EVENT, RECOVERED, GAVE_UP):
            progress.event(event)
            display.event(event)
        progress.finish(1000)
        display.step()
        with console.capture() as picture:
            console.print(display._picture())
        assert "1 of 40 files" in picture.get()
        assert "1.0 kB of 40.0 kB" in picture.get()
        assert "↻ 1" in picture.get()
        assert "last error  PERMISSION_DENIED: [Errno 13] Permission denied: '[red]x'" in picture.get()
        display.report(a_report())
    display.say("bye [bold]")
    text = out.getvalue()
    assert max(len(line) for line in text.splitlines() if "\x1b" not in line and "error log" not in line) <= width
    assert "retrywrap demo" in text
    assert "reset 2" in text
    assert "lie 0" not in text
    assert text.count("reset    ") == 1
    assert "longlonglong  [Errno 104] Connection res" in text
    assert "…" in text
    assert "gave up" in text
    assert ("upload_file" in text) is (width == 120)
    for title in ("The backup", "What the server did", "Errors by code"):
        assert title in text
    assert "✔ identical" in text
    assert text.rstrip().endswith("bye [bold]")


def test_live_report_of_a_calm_run_that_failed() -> None:
    """Tables without rows are left out; differences stand in the panel."""
    out = Terminal()
    console = Console(file=out, force_terminal=True, width=120, color_system=None, legacy_windows=False)
    display = LiveDisplay(fixed_progress(), out, console)
    display.introduce(forty(), Plan({}, {"reset": 0}, 7, "none"), SERVER)
    assert "nothing" in out.getvalue()
    calm = {kind: {"planned": 0, "met": 0} for kind in MISBEHAVIOURS}
    none = {"total": 0, "by_code": {}}
    display.report(a_report(Verification(0, 0, ("a: gone",)), misbehaviour=calm, errors=none))
    assert "Errors by code" not in out.getvalue()
    assert "What the server did" not in out.getvalue()
    assert "✘ NOT identical: 1 difference" in out.getvalue()
    assert "│   a: gone" in out.getvalue()
