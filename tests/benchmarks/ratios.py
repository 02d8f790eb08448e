"""What retrywrap adds to a call that succeeds at once, as ratios to hand-written code in the same run.

    python tests/benchmarks/ratios.py

Each pair is timed in turns, many short rounds of each, and the best round of each counts: what disturbs the machine
disturbs both. The ratios of two runs can be compared, the nanoseconds not.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import timeit
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from retrywrap import retry_scope, with_retry

ROUNDS, CALLS = 400, 2_000
IMPORTS = 25


def by_hand(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what one writes by hand around a function."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception:
            raise

    return wrapper


def by_hand_async(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what one writes by hand around a coroutine function."""

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except Exception:
            raise

    return wrapper


class _Attempt:
    def __init__(self) -> None:
        self.done = False

    def __enter__(self) -> _Attempt:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> bool:
        if kind is None:
            self.done = True
            return False
        return issubclass(kind, Exception)


class _Attempts:
    def __init__(self, max: int, interval: float) -> None:
        self.max = max
        self.interval = interval

    def __iter__(self) -> Iterator[_Attempt]:
        for _ in range(self.max + 1):
            attempt = _Attempt()
            yield attempt
            if attempt.done:
                return


def work(value: int, extra: int = 1) -> int:
    """Do nothing much."""
    return value


async def awork(value: int, extra: int = 1) -> int:
    """Do nothing much, asynchronously."""
    return value


class Service:
    """Methods by hand and decorated."""

    def method(self, value: int, extra: int = 1) -> int:
        """Do nothing much."""
        return value

    by_hand = by_hand(method)
    decorated = with_retry(method)


def _awaiting(function: Callable[..., Any]) -> Callable[[], None]:
    """Return a function that awaits a coroutine function a hundred times, without an event loop between."""

    async def main() -> None:
        for _ in range(100):
            await function(1, extra=2)

    def run() -> None:
        try:
            main().send(None)
        except StopIteration:
            return

    return run


def _block_by_hand() -> None:
    for attempt in _Attempts(max=3, interval=1):
        with attempt:
            work(1, extra=2)


def _block() -> None:
    for attempt in retry_scope(max=3, interval=1):
        with attempt:
            work(1, extra=2)


class Pair(NamedTuple):
    """Two ways to the same end, and how many calls one run of them makes."""

    name: str
    hand: Callable[[], object]
    ours: Callable[[], object]
    calls: int


_service = Service()
_hand, _ours = by_hand(work), with_retry(work)
PAIRS = [
    Pair("function", lambda: _hand(1, extra=2), lambda: _ours(1, extra=2), 1),
    Pair("method", lambda: _service.by_hand(1, extra=2), lambda: _service.decorated(1, extra=2), 1),
    Pair("coroutine function", _awaiting(by_hand_async(awork)), _awaiting(with_retry(awork)), 100),
    Pair("block", _block_by_hand, _block, 1),
]


def measure(pair: Pair, rounds: int = ROUNDS, calls: int = CALLS) -> tuple[float, float]:
    """Return the nanoseconds of one call by hand and of ours, less what the empty lambda costs."""
    number = max(1, calls // pair.calls)
    best = [float("inf")] * 3
    empty = lambda: None  # noqa: E731 - what the pairs' own lambdas cost is measured by one of them
    for _ in range(rounds):
        for place, function in enumerate((empty, pair.hand, pair.ours)):
            best[place] = min(best[place], timeit.timeit(function, number=number) / number * 1e9)
    return (best[1] - best[0]) / pair.calls, (best[2] - best[0]) / pair.calls


def import_times(rounds: int = IMPORTS) -> tuple[float, float]:
    """Return the milliseconds of processor time over ``import wrapt``: of the import, and with a first decoration.

    The best of each counts; what is decorated first loads the proxies and the configuration.
    """
    program = "import time; t = time.process_time(); import wrapt\n{}\nprint(time.process_time() - t)"
    decorating = "import retrywrap\n@retrywrap.with_retry\ndef f(): ..."
    times: dict[str, list[float]] = {"": [], "import retrywrap": [], decorating: []}
    with tempfile.TemporaryDirectory() as folder:  # compiled code is kept there, whatever the environment says of it
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(rounds + 1):
            for name, seen in times.items():
                command = [sys.executable, "-c", program.format(name)]
                done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
                seen.append(float(done.stdout))
    wrapt, ours, first = (min(seen) * 1000 for seen in times.values())
    return ours - wrapt, first - wrapt


def main() -> None:
    """Print the table."""
    print("| happy path | by hand, ns | retrywrap, ns | ratio |\n|---|---|---|---|")
    for pair in PAIRS:
        hand, ours = measure(pair)
        print(f"| {pair.name} | {hand:.0f} | {ours:.0f} | {ours / hand:.2f} |")
    imported, decorated = import_times()
    print(f"\nimport retrywrap: import wrapt + {imported:.1f} ms; with the first decoration + {decorated:.1f} ms")


if __name__ == "__main__":
    main()
