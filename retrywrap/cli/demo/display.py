"""How a run is shown while it goes on, and its report at the end: plain lines here, a live picture in `live`."""

from __future__ import annotations

import os
from typing import TextIO

from retrywrap.cli.demo.plan import Plan
from retrywrap.cli.demo.process import ServerProcess
from retrywrap.cli.demo.progress import Progress, misbehaviour_of, sized
from retrywrap.cli.demo.report import Report, code_rows, conclusion, counted, hint, server_rows, summary_rows
from retrywrap.cli.demo.scan import Tree, printable
from retrywrap.decide.events import RetryEvent

__all__ = ["Display", "make_display", "print_line"]

_LEAST_FOR_QUARTERS = 20


def make_display(progress: Progress, stream: TextIO) -> Display:
    """Return the live display where `stream` is a terminal and rich is installed, else the plain one."""
    if not stream.isatty():
        return Display(progress, stream)
    from retrywrap.cli.demo.live import LiveDisplay, new_console

    try:
        console = new_console(stream)
    except ImportError:
        return Display(progress, stream)
    if console.is_dumb_terminal or not console.encoding.lower().startswith("utf"):
        return Display(progress, stream)
    return LiveDisplay(progress, stream, console)


def print_line(text: str, stream: TextIO) -> None:
    """Print a line, with escapes for what the stream cannot encode; in silence where nobody reads any more."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # what is still in the stream's buffer goes there, too
        os.close(nowhere)


class Display:
    """Plain lines: the milestones, and one for each error.

    Args:
        progress: What the run has come to; counted before it is shown.
        stream: Where the lines go.
    """

    def __init__(self, progress: Progress, stream: TextIO) -> None:
        self.progress = progress
        self.stream = stream
        self._quarter = 0

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing has to be taken down."""

    def introduce(self, tree: Tree, plan: Plan, server: ServerProcess) -> None:
        """Show what is about to happen."""
        wrong = ", ".join(f"{kind} {count}" for kind, count in plan.counts.items() if count) or "nothing"
        self.say(f"retrywrap demo: {counted(len(tree.files), 'file')}, {sized(tree.bytes)} of {printable(tree.source)}")
        self.say(f"server: 127.0.0.1:{server.port}, process {server.pid}; seed {plan.seed}; to go wrong: {wrong}")

    def say(self, text: str) -> None:
        """Show a line."""
        print_line(text, self.stream)

    def event(self, event: RetryEvent) -> None:
        """Show an error."""
        if event.is_error:
            kind = misbehaviour_of(event) or "error"
            where = f"{event.operation.rpartition('.')[2]} {self.progress.current}"
            self._say_when(f"{kind:<7} {where}: {event.message}; {event.detail}")

    def step(self) -> None:
        """Show how far the run is, where that is worth a line."""
        progress = self.progress
        quarter = 4 * progress.done // max(1, progress.files)
        if quarter > self._quarter and progress.files >= _LEAST_FOR_QUARTERS:
            self._quarter = quarter
            done, total = sized(progress.done_bytes), sized(progress.bytes)
            self._say_when(f"{progress.done} of {progress.files} files, {done} of {total}")

    def _say_when(self, text: str) -> None:
        self.say(f"{self.progress.elapsed:6.2f} s  {text}")

    def report(self, report: Report) -> None:
        """Show the report."""
        self.say("")
        for label, value in summary_rows(report):
            self.say(f"{label:<20} {value}")
        codes = [f"{name:<20} {code:>5} {count:>7}" for name, code, count in code_rows(report)]
        wrong = [f"{what:<42} {planned:>7} {met:>7}" for _, what, planned, met in server_rows(report)]
        heads = f"{'errors by code':<20} {'code':>5} {'count':>7}", f"{'the server':<42} {'planned':>7} {'met':>7}"
        for head, lines in zip(heads, (codes, wrong), strict=True):
            for line in ("", head, *lines) if lines else ():
                self.say(line)
        sentence, differences = conclusion(report)
        for line in ("", sentence, *(f"  {line}" for line in differences), hint(report)):
            self.say(line)
