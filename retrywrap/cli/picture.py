"""Draws planned waits on a terminal: one bar for each retry, from its least to its most, with a mark at the mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from retrywrap.decide.planning import PlannedWait

__all__ = ["ASCII", "UNICODE", "Glyphs", "draw", "format_seconds", "glyphs_for"]

_LABEL = 8
_NARROWEST = 20
_WIDEST = 120


class Glyphs(NamedTuple):
    """The characters of a picture.

    Attributes:
        before: From 0 to the least wait.
        bar: From the least wait to the most.
        mean: The mean.
        corner: Where the axes meet.
        axis: The horizontal axis.
        side: The vertical axis.
        gap: A row that stands for many.
    """

    before: str
    bar: str
    mean: str
    corner: str
    axis: str
    side: str
    gap: str


UNICODE = Glyphs("·", "━", "●", "└", "─", "│", "⋮")
ASCII = Glyphs(".", "=", "o", "+", "-", "|", ":")


def glyphs_for(encoding: str | None) -> Glyphs:
    """Return the characters that an encoding can write."""
    try:
        "".join(UNICODE).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def format_seconds(seconds: float, digits: int | None = None) -> str:
    """Return seconds as text.

    Args:
        seconds: The seconds.
        digits: Decimals; None: as many as make three significant digits, or none at all.
    """
    if seconds >= 1e7:
        return f"{seconds:.2e}"
    if digits is not None:
        return f"{seconds:,.{digits}f}"
    digits = 3 if seconds < 1 else 2 if seconds < 10 else 1 if seconds < 100 else 0
    text = f"{seconds:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits else text


def draw(rows: Sequence[PlannedWait | None], width: int, glyphs: Glyphs) -> Iterator[str]:
    """Yield the lines of the picture.

    Args:
        rows: What to draw; None for a gap.
        width: Columns that a line may take.
        glyphs: What to draw with.
    """
    room = max(_NARROWEST, min(width, _WIDEST) - _LABEL - 3)
    longest = max((row.maximum for row in rows if row), default=0.0) or 1.0
    for row in rows:
        if row is None:
            yield f"{glyphs.gap:>{_LABEL}} {glyphs.side}"
        else:
            yield f"{row.retry:>{_LABEL}} {glyphs.side}{_bar(row, longest, room, glyphs)}"
    yield f"{'':{_LABEL}} {glyphs.corner}{glyphs.axis * room}"
    yield f"{'':{_LABEL}} {_scale(longest, room)}"


def _bar(row: PlannedWait, longest: float, room: int, glyphs: Glyphs) -> str:
    least, mean, most = (_column(wait, longest, room) for wait in row[1:])
    return glyphs.before * least + glyphs.bar * (mean - least) + glyphs.mean + glyphs.bar * (most - mean)


def _column(wait: float, longest: float, room: int) -> int:
    return round(wait / longest * (room - 1))


def _scale(longest: float, room: int) -> str:
    marks = _marks(longest, room)
    line = [" "] * (room + 1)
    for text, column in marks:
        start = max(0, min(column, room + 1 - len(text)))
        line[start : start + len(text)] = text
    return "".join(line).rstrip()


def _marks(longest: float, room: int) -> Iterable[tuple[str, int]]:
    yield "0 s", 0
    half = f"{format_seconds(longest / 2)} s"
    yield half, round((room - 1) / 2) - len(half) // 2 + 1
    yield f"{format_seconds(longest)} s", room
