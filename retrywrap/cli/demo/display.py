"""How a run is shown while it goes on, and its report at the end: as plain lines, or live on a terminal by rich."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TextIO

from retrywrap.cli.demo.plan import Plan
from retrywrap.cli.demo.process import ServerProcess
from retrywrap.cli.demo.progress import Progress, misbehaviour_of, sized
from retrywrap.cli.demo.report import Report, conclusion, server_rows, summary_rows
from retrywrap.cli.demo.scan import Tree, printable
from retrywrap.decide.events import RetryEvent

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["Display", "RichDisplay", "make_display"]

_COLORS = {"refuse": "yellow", "reset": "red", "busy": "magenta", "stall": "blue", "lie": "bright_red"}


def make_display(progress: Progress, stream: TextIO) -> Display:
    """Return the live display where `stream` is a terminal and rich is installed, else the plain one."""
    if not stream.isatty():
        return Display(progress, stream)
    try:
        from rich.console import Console
    except ImportError:
        return Display(progress, stream)
    console = Console(file=stream, highlight=False)
    if console.is_dumb_terminal or not console.encoding.startswith("utf"):
        return Display(progress, stream)
    return RichDisplay(progress, stream, console)


def _operation(event: RetryEvent) -> str:
    return event.operation.rpartition(".")[2]


class Display:
    """Plain lines: the milestones, and one for each error.

    Args:
        progress: What the run has come to; counted before it is shown.
        stream: Where the lines go. When its reader goes away, the run goes on in silence.
    """

    def __init__(self, progress: Progress, stream: TextIO) -> None:
        self.progress = progress
        self.stream = stream
        self._quarter = 0

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing has to be taken down."""

    def introduce(self, tree: Tree, plan: Plan, seed: int, server: ServerProcess) -> None:
        """Show what is about to happen."""
        wrong = ", ".join(f"{kind} {count}" for kind, count in plan.counts.items() if count) or "nothing"
        self._print(f"retrywrap demo: {len(tree.files)} files, {sized(tree.bytes)} of {printable(tree.root)}")
        self._print(f"server: 127.0.0.1:{server.port}, process {server.pid}; seed {seed}; to go wrong: {wrong}")

    def say(self, text: str) -> None:
        """Show a milestone."""
        self._print(text)

    def event(self, event: RetryEvent) -> None:
        """Show an error."""
        if event.is_error:
            kind = misbehaviour_of(event) or event.code.name
            where = f"{_operation(event)} {self.progress.current}"
            self._print(f"{self.progress.elapsed:6.2f} s  {kind:<7} {where}: {event.message}; {event.detail}")

    def step(self) -> None:
        """Show how far the run is, where that is worth a line."""
        progress = self.progress
        quarter = 4 * progress.done // max(1, progress.files)
        if quarter > self._quarter and progress.files >= 20:
            self._quarter = quarter
            done, total = sized(progress.done_bytes), sized(progress.bytes)
            self._print(f"{progress.elapsed:6.2f} s  {progress.done} of {progress.files} files, {done} of {total}")

    def report(self, report: Report) -> None:
        """Show the report."""
        self._print("")
        for label, value in summary_rows(report):
            self._print(f"{label:<20} {value}")
        self._print(f"\n{'the server':<42} {'planned':>7} {'met':>5}")
        for what, planned, met in server_rows(report):
            self._print(f"{what:<42} {planned:>7} {met:>5}")
        sentence, differences = conclusion(report)
        self._print(f"\n{sentence}")
        for line in differences:
            self._print(f"  {line}")

    def _print(self, text: str) -> None:
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        try:
            print(text.encode(encoding, "backslashreplace").decode(encoding), file=self.stream, flush=True)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())  # what is still in the stream's buffer can go there, too
            os.close(nowhere)


class RichDisplay(Display):
    """A live picture on a terminal; errors scroll by above it."""

    def __init__(self, progress: Progress, stream: TextIO, console: Console) -> None:
        super().__init__(progress, stream)
        from rich.live import Live
        from rich.spinner import Spinner

        self._console = console
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(get_renderable=self._picture, console=console, refresh_per_second=12, transient=True)

    def __enter__(self) -> Display:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """Show a milestone."""
        from rich.text import Text

        self._console.print(Text(text, style="dim"))

    def event(self, event: RetryEvent) -> None:
        """Show an error, in one line."""
        if not event.is_error:
            return
        from rich.text import Text

        kind = misbehaviour_of(event)
        line = Text.assemble(
            (f"{self.progress.elapsed:6.2f} s  ", "dim"),
            (f"{kind or event.code.name:<7} ", f"bold {_COLORS.get(kind or '', 'red')}"),
            f"{_operation(event):<13} ",
            (f"{self.progress.current}  ", "cyan"),
            event.message,
            (f"  {event.detail}", "dim" if event.reason is None else "bold red"),
        )
        self._console.print(line, no_wrap=True, overflow="ellipsis", crop=True)

    def step(self) -> None:
        """The picture is drawn anew by itself."""

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.padding import Padding
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        progress = self.progress
        bar = Table.grid(padding=(0, 2), expand=False)
        bar.add_row(
            ProgressBar(total=max(1, progress.files), completed=progress.done, width=30),
            Text(f"{progress.done} of {progress.files} files", style="bold"),
            f"{sized(progress.done_bytes + progress.sent)} of {sized(progress.bytes)}",
            Text(f"{progress.retries} retries", style="yellow"),
            Text(f"{progress.elapsed:.1f} s", style="dim"),
        )
        now = Table.grid(padding=(0, 1))
        now.add_row(self._spinner, Text(progress.current, style="cyan"), Text(progress.doing, style="dim"))
        last = Text.assemble(("last error  ", "dim"), (progress.last_error or "none", "red"))
        last.no_wrap, last.overflow = True, "ellipsis"
        return Padding(Group(bar, now, last), (1, 2))

    def report(self, report: Report) -> None:
        """Show the report."""
        self._live.stop()
        _print_report(self._console, report)


def _print_report(console: Any, report: Report) -> None:
    from rich.panel import Panel
    from rich.table import Table

    done = Table(box=None, title="The backup")
    for label, value in summary_rows(report):
        done.add_row(label, value)
    console.print(done)
    wrong = Table(box=None, title="The server")
    for row in server_rows(report):
        wrong.add_row(*row)
    console.print(wrong)
    sentence, _ = conclusion(report)
    console.print(Panel(sentence))
