"""Draws a plan as PNG or SVG with matplotlib (the extra ``plot``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrywrap.cli.picture import format_seconds
from retrywrap.cli.usage import UsageError
from retrywrap.decide.checks import shown_path

if TYPE_CHECKING:
    from retrywrap.cli.plan import Outline

__all__ = ["require", "write"]

_FEW = 60
_LONGEST = 80
_BLUE, _ORANGE, _RED, _GREY = "#2563a8", "#c2570c", "#b3202c", "#6b7280"
_STYLE = {
    "axes.edgecolor": _GREY,
    "axes.labelcolor": "#374151",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "retrywrap",
    "xtick.color": _GREY,
    "ytick.color": _GREY,
}


def require() -> Any:
    """Return matplotlib.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise UsageError("--png and --svg draw with matplotlib: pip install 'retrywrap[plot]'") from None
    return matplotlib


def write(path: str, kind: str, outline: Outline, title: str, timeout: float | None) -> None:
    """Draw a plan and write it to a file, whole or not at all.

    Args:
        path: The file.
        kind: ``"png"`` or ``"svg"``.
        outline: The plan.
        title: What stands above.
        timeout: Seconds at which a line is drawn; None: no line.

    Raises:
        UsageError: There is nothing to draw, matplotlib is not installed, or the file cannot be written.
    """
    import io

    from retrywrap.run.atomic import replace_file

    if not outline.points:
        raise UsageError(f"--{kind} {shown_path(path)}: there is no retry to draw")
    picture = io.BytesIO()
    with require().rc_context(_STYLE):
        figure = _figure(outline, title, timeout)
        figure.savefig(picture, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    try:
        replace_file(path, picture.getvalue())
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--{kind} {shown_path(path)} cannot be written: {getattr(error, 'strerror', None) or error}"
        ) from error


def _figure(outline: Outline, title: str, timeout: float | None) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    figure = Figure(figsize=(8, 6), layout="constrained")
    figure.suptitle(title if len(title) <= _LONGEST else title[: _LONGEST - 1] + "…", fontsize=12)
    waits, sums = figure.subplots(2, sharex=True)
    _draw_waits(waits, outline)
    _draw_sums(sums, outline, timeout)
    for axes in (waits, sums):
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", color="#e5e7eb", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=9, borderaxespad=0.2)
    sums.set_xlabel("retry")
    figure.align_ylabels()
    return figure


def _draw_waits(axes: Any, outline: Outline) -> None:
    unit, scale = _unit(max(row.wait.maximum for row in outline.points))
    retries = [row.wait.retry for row in outline.points]
    least, mean, most = ([row.wait[n] / scale for row in outline.points] for n in (1, 2, 3))
    axes.set_ylabel(f"wait, in {unit}")
    if outline.retries > _FEW:
        axes.fill_between(retries, least, most, color=_BLUE, alpha=0.25, linewidth=0, label="least to most")
        axes.plot(retries, mean, color=_BLUE, linewidth=1.5, label="mean")
        return
    width = max(2.5, min(14.0, 320 / outline.retries))
    axes.vlines(retries, 0, least, color="#d1d5db", linewidth=1.2)
    axes.vlines(retries, least, most, color=_BLUE, alpha=0.35, linewidth=width, label="least to most")
    axes.plot(retries, mean, "o", color=_BLUE, markersize=5, label="mean")


def _draw_sums(axes: Any, outline: Outline, timeout: float | None) -> None:
    unit, scale = _unit(outline.last.most)
    retries = [0, *(row.wait.retry for row in outline.points)]
    sums = [(0.0, 0.0, 0.0), *((row.least, row.mean, row.most) for row in outline.points)]
    least, mean, most = ([row[n] / scale for row in sums] for n in range(3))
    axes.set_ylabel(f"all waits so far, in {unit}")
    axes.fill_between(retries, least, most, color=_ORANGE, alpha=0.2, linewidth=0, label="least to most")
    marker = "o" if outline.retries <= _FEW else ""
    axes.plot(retries, mean, color=_ORANGE, linewidth=1.8, marker=marker, markersize=4, label="mean")
    if timeout is not None:
        label = f"timeout of {format_seconds(timeout)} s"
        axes.axhline(timeout / scale, color=_RED, linewidth=1.2, linestyle="--", label=label)


def _unit(longest: float) -> tuple[str, float]:
    """Return the unit in which the axis is easiest to read, and its seconds."""
    for unit, seconds in (("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if longest >= 4 * seconds:
            return unit, seconds
    return "seconds", 1.0
