"""The live picture of a run on a terminal, by rich; errors scroll by above it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from retrywrap.cli.demo.display import Display
from retrywrap.cli.demo.progress import Progress, misbehaviour_of, sized
from retrywrap.cli.demo.report import Report, code_rows, conclusion, counted, hint, server_rows, summary_rows
from retrywrap.cli.demo.scan import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.panel import Panel
    from rich.table import Table

    from retrywrap.cli.demo.plan import Plan
    from retrywrap.cli.demo.process import ServerProcess
    from retrywrap.cli.demo.scan import Tree
    from retrywrap.decide.events import RetryEvent

__all__ = ["LiveDisplay", "new_console"]

_COLORS = {"refuse": "yellow", "reset": "red", "busy": "magenta", "stall": "blue", "lie": "bright_red"}
_WIDE = 100


def new_console(stream: TextIO) -> Console:
    """Return a console on a stream.

    Raises:
        ImportError: rich is not installed.
    """
    from rich.console import Console

    return Console(file=stream, highlight=False, emoji=False, markup=False)


class LiveDisplay(Display):
    """A live picture: how far, how much, what is waited for, the last error.

    Args:
        progress: What the run has come to.
        stream: The terminal.
        console: The console on it.
    """

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

    def introduce(self, tree: Tree, plan: Plan, server: ServerProcess) -> None:
        """Show what is about to happen."""
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        wrong = [Text(f"{kind} {count}", _COLORS[kind]) for kind, count in plan.counts.items() if count]
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim")
        holds = f"{counted(len(tree.files), 'file')} in {counted(len(tree.folders) + 1, 'folder')}, {sized(tree.bytes)}"
        rows.add_row("from", Text.assemble((printable(tree.source), "bold cyan"), f"\n{holds}"))
        rows.add_row("to", f"127.0.0.1:{server.port}, a server in process {server.pid}")
        rows.add_row("to go wrong", Text("  ").join(wrong) if wrong else Text("nothing"))
        rows.add_row("seed", str(plan.seed))
        self._console.print(Panel(rows, title="retrywrap demo", title_align="left", border_style="cyan", expand=False))

    def say(self, text: str) -> None:
        """Show a line."""
        from rich.text import Text

        self._console.print(Text(text), soft_wrap=True)

    def event(self, event: RetryEvent) -> None:
        """Show an error, in one line."""
        if not event.is_error:
            return
        from rich.table import Table
        from rich.text import Text

        kind = misbehaviour_of(event)
        row = Table.grid(padding=(0, 2), expand=True)
        wide = self._console.width >= _WIDE
        for width in (8, 7, *((13,) if wide else ()), 28 if wide else 22):
            row.add_column(width=width, no_wrap=True)
        row.add_column(ratio=1, no_wrap=True)
        row.add_column(width=8, no_wrap=True, justify="right")
        ends = Text("gave up", "bold red") if event.wait is None else Text(f"↻ {event.wait:.2f} s", "dim")
        row.add_row(
            Text(f"{self.progress.elapsed:6.2f} s", "dim"),
            Text(kind or "error", f"bold {_COLORS.get(kind or '', 'red')}"),
            *((event.operation.rpartition(".")[2],) if wide else ()),
            Text(_end_of(self.progress.current, 28 if wide else 22), "cyan"),
            Text(event.message),
            ends,
        )
        self._console.print(row)

    def step(self) -> None:
        """The picture draws itself."""

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.padding import Padding
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        progress = self.progress
        bar = Table.grid(padding=(0, 2))
        bar.add_row(
            ProgressBar(total=max(1, progress.files), completed=progress.done, width=28),
            Text(f"{progress.done} of {counted(progress.files, 'file')}", "bold"),
            f"{sized(progress.done_bytes + progress.sent)} of {sized(progress.bytes)}",
            Text(f"↻ {progress.retries}", "yellow"),
            Text(f"{progress.elapsed:.1f} s", "dim"),
        )
        now = Table.grid(padding=(0, 1))
        now.add_row(self._spinner, Text(progress.current, "cyan"), Text(progress.doing, "dim"))
        error = Text(progress.last_error, "red") if progress.last_error else Text("none", "dim")
        last = Text.assemble(("last error  ", "dim"), error)
        last.no_wrap, last.overflow = True, "ellipsis"
        return Padding(Group(bar, now, last), (1, 1, 0, 1))

    def report(self, report: Report) -> None:
        """Show the report in place of the picture."""
        from rich.console import Group
        from rich.padding import Padding
        from rich.table import Table

        self._live.stop()
        parts = [part for part in (_server(report), _codes(report)) if part.row_count]
        whole = Table.grid(padding=(0, 4))
        if self._console.width >= _WIDE:
            whole.add_row(_summary(report), Group(*(Padding(part, (0, 0, 1, 0)) for part in parts)))
        else:
            whole.add_row(Group(_summary(report), *(Padding(part, (1, 0, 0, 0)) for part in parts)))
        self._console.print(Padding(whole, (1, 1)))
        self._console.print(_verdict(report))
        self.say(hint(report))


def _end_of(text: str, width: int) -> str:
    return text if len(text) <= width else "…" + text[1 - width :]


def _table(title: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.show_edge = table.pad_edge = False
    return table


def _summary(report: Report) -> Table:
    from rich.text import Text

    table = _table("The backup")
    table.show_header = False
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for label, value in summary_rows(report):
        table.add_row(label, Text(value))
    return table


def _codes(report: Report) -> Table:
    table = _table("Errors by code")
    table.add_column("name", style="red")
    table.add_column("code", justify="right", style="dim")
    table.add_column("count", justify="right")
    for row in code_rows(report):
        table.add_row(*row)
    return table


def _server(report: Report) -> Table:
    from rich.text import Text

    table = _table("What the server did")
    table.add_column("misbehaviour")
    table.add_column("planned", justify="right", style="dim")
    table.add_column("met", justify="right")
    for kind, what, planned, met in server_rows(report):
        table.add_row(Text(what, _COLORS[kind]), planned, met)
    return table


def _verdict(report: Report) -> Panel:
    from rich.panel import Panel
    from rich.text import Text

    sentence, differences = conclusion(report)
    same = not differences
    mark = Text("✔ " if same else "✘ ", "bold green" if same else "bold red")
    text = Text.assemble(mark, (sentence, "bold"), *(f"\n  {line}" for line in differences))
    return Panel(text, border_style="green" if same else "red", expand=False)
