"""`retrywrap plan`: the waits of a backoff, as a table and as a picture."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from retrywrap.cli import chart
from retrywrap.cli.options import add_waiting, read_count, read_interval, read_seconds
from retrywrap.cli.picture import Glyphs, draw, format_seconds, glyphs_for
from retrywrap.decide.backoff import Backoff, as_backoff
from retrywrap.decide.planning import PlannedWait, planned_waits
from retrywrap.decide.policy import resolve

if TYPE_CHECKING:
    import argparse

__all__ = ["Outline", "Row", "add_parser", "run"]

_HEAD = 20
_TAIL = 5
_POINTS = 2000


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the subcommand ``plan``; ``run`` is its default for the attribute ``run``."""
    parser = subparsers.add_parser(
        "plan",
        help="show the waits of a backoff",
        description="Show how long each wait of a backoff is at least, on average and at most: a table and a picture.",
    )
    add_waiting(parser)
    parser.add_argument(
        "--seed", metavar="N", default="0", help="of the runs that averages are taken from (default: 0)"
    )
    parser.add_argument("--png", metavar="FILE", help="write the picture as PNG (needs the extra 'plot')")
    parser.add_argument("--svg", metavar="FILE", help="write the picture as SVG (needs the extra 'plot')")
    parser.add_argument("--json", action="store_true", help="one JSON object, with every retry, instead")
    parser.set_defaults(run=run)
    return parser


class Row(NamedTuple):
    """One retry of the plan, in seconds.

    Attributes:
        wait: The wait before it.
        least: All waits up to it, at least.
        mean: All waits up to it, on average.
        most: All waits up to it, at most.
        in_time: Whether it fits into the timeout: ``"yes"``, ``"maybe"`` or ``"no"``; ``""`` without a timeout.
    """

    wait: PlannedWait
    least: float
    mean: float
    most: float
    in_time: str


class Outline(NamedTuple):
    """A plan of any length, in bounded memory.

    Attributes:
        head: The first rows.
        tail: The last rows, where there are more than fit into the head.
        points: Rows evenly spread over the whole plan, for a chart.
        retries: How many rows there are.
        sure: How many of them fit into the timeout whatever chance brings.
        possible: How many of them may fit.
    """

    head: list[Row]
    tail: list[Row]
    points: list[Row]
    retries: int
    sure: int
    possible: int

    @property
    def last(self) -> Row:
        """The last row; there must be one."""
        return (self.tail or self.head)[-1]

    def shown(self) -> list[Row | None]:
        """Return the rows to show, with None for those left out."""
        return [*self.head, *([None] if self.retries > _HEAD + len(self.tail) else []), *self.tail]


def run(arguments: argparse.Namespace) -> int:
    """Run the subcommand.

    Args:
        arguments: What `add_parser`'s parser made.

    Returns:
        The exit status, 0.

    Raises:
        UsageError: The arguments cannot be used, an extra is missing, or a file cannot be written.
    """
    given = None if arguments.max is None else read_count(arguments.max, "--max")
    interval = read_interval(arguments)
    retries = (resolve({}, None).max or 0) if given is None else given
    backoff = resolve({}, None).backoff if interval is None else as_backoff(interval)
    timeout = None if arguments.timeout is None else read_seconds(arguments.timeout, "--timeout")
    seed = read_count(arguments.seed, "--seed")
    charts = [(path, kind) for path, kind in ((arguments.png, "png"), (arguments.svg, "svg")) if path is not None]
    if charts:
        chart.require()
    rows = _rows(planned_waits(backoff, retries, seed=seed), timeout)
    if arguments.json:
        outline = _print_json(rows, backoff, retries, timeout)
    else:
        outline = _outline(rows, retries)
        _print_text(outline, backoff, timeout)
    for path, kind in charts:
        chart.write(path, kind, outline, repr(backoff), timeout)
    return 0


def _rows(waits: Iterable[PlannedWait], timeout: float | None) -> Iterator[Row]:
    least = mean = most = 0.0
    for wait in waits:
        least, mean, most = (
            min(total + more, sys.float_info.max) for total, more in zip((least, mean, most), wait[1:], strict=True)
        )
        in_time = "" if timeout is None else "yes" if most <= timeout else "maybe" if least <= timeout else "no"
        yield Row(wait, least, mean, most, in_time)


def _outline(rows: Iterable[Row], retries: int) -> Outline:
    step = -(-retries // _POINTS) or 1
    head: list[Row] = []
    tail: deque[Row] = deque(maxlen=_TAIL)
    points: list[Row] = []
    count = sure = possible = 0
    for row in rows:
        if count < _HEAD:
            head.append(row)
        else:
            tail.append(row)
        if count % step == 0:
            points.append(row)
        count += 1
        sure += row.in_time == "yes"
        possible += row.in_time != "no"
    return Outline(head, list(tail), points, count, sure, possible)


def _print_json(rows: Iterable[Row], backoff: Backoff, retries: int, timeout: float | None) -> Outline:
    import json

    def written() -> Iterator[Row]:
        for row in rows:
            fields: dict[str, Any] = {"retry": row.wait.retry, "wait": _named(row.wait[1:]), "sum": _named(row[1:4])}
            if timeout is not None:
                fields["in_time"] = row.in_time
            sys.stdout.write((", " if row.wait.retry > 1 else "") + json.dumps(fields))
            yield row

    begun = json.dumps({"backoff": repr(backoff), "max": retries, "timeout": timeout})
    sys.stdout.write(f'{begun[:-1]}, "retries": [')
    outline = _outline(written(), retries)
    sys.stdout.write("]}\n")
    return outline


def _named(seconds: tuple[Any, ...]) -> dict[str, float]:
    return {name: round(value, 9) for name, value in zip(("least", "mean", "most"), seconds, strict=True)}


def _print_text(outline: Outline, backoff: Backoff, timeout: float | None) -> None:
    glyphs = glyphs_for(getattr(sys.stdout, "encoding", None))
    print(_heading(outline, backoff, timeout))
    if outline.retries:
        print()
        for line in _table(outline, timeout, glyphs):
            print(line.rstrip())
        print()
        for line in draw([row and row.wait for row in outline.shown()], _width(), glyphs):
            print(line)
        print()
        print(_conclusion(outline, timeout))


def _heading(outline: Outline, backoff: Backoff, timeout: float | None) -> str:
    retries = {0: "no retry", 1: "1 retry"}.get(outline.retries, f"{outline.retries:,} retries")
    limit = "" if timeout is None else f", timeout {format_seconds(timeout)} s"
    return f"{backoff!r}: {retries}{limit}"


def _table(outline: Outline, timeout: float | None, glyphs: Glyphs) -> Iterator[str]:
    yield f"{'':8} {'wait, in seconds':^29}   {'since the first failure':^29}"
    yield _line("retry", ["least", "mean", "most"] * 2, "" if timeout is None else "in time")
    digits = _digits(outline)
    for row in outline.shown():
        if row is None:
            yield _line(glyphs.gap, [glyphs.gap] * 6, "")
        else:
            seconds = (*row.wait[1:], *row[1:4])
            yield _line(str(row.wait.retry), [format_seconds(s, digits) for s in seconds], row.in_time)


def _line(retry: str, columns: list[str], in_time: str) -> str:
    waits, sums = ("".join(f"{text:>10}" for text in group)[1:] for group in (columns[:3], columns[3:]))
    return f"{retry:>8} {waits}   {sums}   {in_time:>7}"


def _digits(outline: Outline) -> int:
    """Return how many decimals the table needs, so that all its points stand below each other."""
    rows = [row for row in outline.shown() if row]
    waits = [wait for row in rows for wait in row.wait[1:] if wait]
    if all(abs(wait - round(wait)) < wait * 1e-9 for wait in waits):
        return 0
    fitting = next((n for n, limit in ((3, 10_000), (2, 100_000), (1, 1_000_000)) if outline.last.most < limit), 0)
    return min(fitting, 3 if min(waits) < 0.1 else 2)


def _conclusion(outline: Outline, timeout: float | None) -> str:
    last = outline.last
    total = _duration(last.most)
    if last.least < last.most:
        total = f"{_duration(last.least)} to {total}, {_duration(last.mean)} on average"
    text = f"All waits together: {total}."
    if timeout is None:
        return text
    chances = f"{outline.sure:,} for sure"
    if outline.possible > outline.sure:
        chances += f", {outline.possible:,} at most"
    return f"{text}\nRetries within {_duration(timeout)}, if the attempts themselves took no time: {chances}."


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 3 * length:
            return f"{format_seconds(seconds)} s ({format_seconds(seconds / length)} {unit})"
    return f"{format_seconds(seconds)} s"


def _width() -> int:
    import shutil

    return shutil.get_terminal_size((80, 24)).columns
