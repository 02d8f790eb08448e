"""What a library costs until it has done something: its import, its first decoration, its first failure."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

__all__ = ["Loading", "loadings"]

# Runs in a fresh process. `contenders` is imported between two measurements: what it needs itself is no library's cost.
_PROGRAM = """
import time
now = time.process_time
times = [now()]
import {module}
times.append(now())
import sys
sys.path.insert(0, {folder!r})
if {name!r} is not None:
    import contenders
    turn = iter(range(9)).__next__
    def operation():
        if turn() < 1:
            raise ConnectionResetError("reset by peer")
    time.sleep = lambda seconds: None
    times.append(now())
    decorated = contenders.LIBRARIES[{name!r}].load({name!r}).decorate(operation)
    times.append(now())
    decorated()
    times.append(now())
print(*times)
"""


class Loading(NamedTuple):
    """Milliseconds of processor time, the least of several processes."""

    imported: float
    decorated: float | None = None  # the import included
    failed: float | None = None  # the import and the first decoration included


def loadings(modules: Mapping[str, tuple[str, str | None]], rounds: int) -> dict[str, Loading]:
    """Return what it costs to load modules, in fresh processes that take turns.

    Args:
        modules: For each name, what is imported, and whose decorator is then used, if anybody's.
        rounds: How many processes for each.
    """
    seen: dict[str, list[list[float]]] = {name: [] for name in modules}
    with tempfile.TemporaryDirectory() as folder:  # compiled code is kept there, whatever the environment says of it
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for turn in range(rounds + 1):
            for name, (module, contender) in modules.items():
                program = _PROGRAM.format(module=module, name=contender, folder=str(Path(__file__).parent))
                command = [sys.executable, "-c", program]
                done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
                if turn:  # the first compiles
                    times = [float(word) for word in done.stdout.splitlines()[-1].split()]
                    seen[name].append(_steps(times))
    return {name: _best(rows) for name, rows in seen.items()}


def _steps(times: list[float]) -> list[float]:
    """Return the milliseconds of the import, of the decoration and of the failure, without what is between them."""
    pairs = [times[0:2], times[2:4], times[3:5]] if len(times) > 2 else [times]
    return [(end - start) * 1000 for start, end in pairs]


def _best(rows: list[list[float]]) -> Loading:
    best = [min(column) for column in zip(*rows, strict=True)]
    if len(best) == 1:
        return Loading(best[0])
    return Loading(best[0], best[0] + best[1], sum(best))
