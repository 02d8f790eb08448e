"""The results as a picture: bars on a logarithmic scale, one panel for each thing that may become of a call."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from report import digits
from scenarios import FUNCTION, MATRIX, Scenario
from timing import Timing

__all__ = ["draw"]

INK, OURS, HAND, PEERS = "#1f2328", "#0969da", "#57606a", "#b6bec9"


def draw(timings: Mapping[Scenario, Mapping[str, Timing]], path: Path) -> None:
    """Draw the ratios of a plain function into an SVG file, which is the same for the same ratios."""
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    scenarios = [scenario for scenario in MATRIX if scenario.form is FUNCTION]
    heights = [len(timings[scenario]) for scenario in scenarios]
    style = {"svg.hashsalt": "retrywrap", "font.size": 10, "text.color": INK, "ytick.labelcolor": INK}
    with matplotlib.rc_context(style):
        figure, panels = pyplot.subplots(
            len(scenarios),
            sharex=True,
            figsize=(9, 0.27 * sum(heights) + 2),
            gridspec_kw={"height_ratios": heights},
            layout="constrained",
        )
        for panel, scenario in zip(panels, scenarios, strict=True):
            _fill(panel, scenario, timings[scenario])
        figure.suptitle("One call of a decorated function: time as a multiple of hand-written code", fontsize=12)
        panels[-1].set_xlabel("ratio, logarithmic scale: what is further left is faster")
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
        pyplot.close(figure)


def _fill(panel: Any, scenario: Scenario, timings: Mapping[str, Timing]) -> None:
    """Fill one panel: bars that grow from 1, the fastest on top, each with its ratio written beside it."""
    names = sorted(timings, key=lambda name: timings[name].ratio, reverse=True)
    ratios = [timings[name].ratio for name in names]
    colours = [OURS if name == "retrywrap" else HAND if "hand" in name or "bare" in name else PEERS for name in names]
    bars = panel.barh(names, [ratio - 1 for ratio in ratios], left=1, color=colours, height=0.72)
    panel.set_xscale("log")
    panel.set_xlim(0.08, 400)
    panel.axvline(1, color=INK, linewidth=0.8)
    for bar, ratio in zip(bars, ratios, strict=True):
        side = 1 if ratio >= 1 else -1
        place = (max(ratio, 1) if side > 0 else ratio, bar.get_y() + bar.get_height() / 2)
        align = "left" if side > 0 else "right"
        panel.annotate(
            digits(ratio), place, (4 * side, 0), textcoords="offset points", ha=align, va="center", fontsize=9
        )
    panel.set_title(f"{scenario.outcome.name}  (1 = {scenario.reference.name})", loc="left", fontsize=10, weight="bold")
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.tick_params(axis="y", length=0)
    for label, name in zip(panel.get_yticklabels(), names, strict=True):
        label.set_weight("bold" if name == "retrywrap" else "normal")
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.grid(axis="x", color="#eaeef2", linewidth=0.8)
    panel.set_axisbelow(True)
