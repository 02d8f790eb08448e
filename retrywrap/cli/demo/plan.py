"""What the server is to do wrong, and where: decided beforehand from a seed, so that a run can be repeated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from retrywrap.cli.demo.scan import File

__all__ = ["LEVELS", "MISBEHAVIOURS", "Plan", "make_plan"]

MISBEHAVIOURS = {
    "refuse": "closes its port, connections are refused",
    "reset": "resets the connection in mid-transfer",
    "busy": "answers 503 with Retry-After: 1",
    "stall": "falls silent until the client gives up",
    "lie": "reports a wrong checksum",
}
"""What the server can do wrong, and how that is told."""

LEVELS = ("none", "default", "many")
_LARGE = 16 << 20
_COST = {"refuse": 0.1, "reset": 0.1, "busy": 1.1, "stall": 0.6, "lie": 0.1}
_WEIGHTS = {"refuse": 2, "reset": 3, "busy": 1, "stall": 1}
_MOST_SECONDS = {"default": 5.0, "many": 10.0}
_MOST_EXTRA = {"default": 12, "many": 48}
_FILES_PER_EXTRA = {"default": 6, "many": 2}
_MOST_EXTRA_PER_FILE = 3

Queues = dict[str, dict[str, list[str]]]


class Plan(NamedTuple):
    """What goes wrong in one run.

    Attributes:
        queues: For each method and file name, what the server does with the requests that come, one after the other.
            "refuse" stands at the request that is answered well, and after which the port is closed.
        counts: How often each misbehaviour is planned.
        seed: What it was made from.
        level: How much was asked for.
    """

    queues: Queues
    counts: dict[str, int]
    seed: int
    level: str


def make_plan(files: Sequence[File], seed: int, level: str) -> Plan:
    """Decide what goes wrong: each misbehaviour at least once, in proportion to the files, the lie exactly once.

    Args:
        files: The files in the order in which they are sent.
        seed: The same seed makes the same plan for the same files.
        level: One of `LEVELS`.

    Returns:
        The plan; an empty one where there is nothing that could be read.
    """
    queues: Queues = {"PUT": {}, "HEAD": {}}
    usable = [file for file in files if file.readable]
    if level == "none" or not usable:
        return Plan(queues, dict.fromkeys(MISBEHAVIOURS, 0), seed, level)
    chance = Random(seed)
    kinds = [*MISBEHAVIOURS, *_more(chance, len(usable), level)]
    chance.shuffle(kinds)
    for kind, place in zip(kinds, _places(chance, len(usable), len(kinds)), strict=True):
        file = usable[place]
        if kind == "lie" and file.size > _LARGE:  # a file whose checksum is wrong is sent again
            file = min(usable, key=lambda file: file.size)
        method = _method(chance, kind, file, last=place == len(usable) - 1)
        _enqueue(queues[method].setdefault(file.name, []), kind)
    planned = Counter(kind for named in queues.values() for queue in named.values() for kind in queue)
    return Plan(queues, {kind: planned[kind] for kind in MISBEHAVIOURS}, seed, level)


def _enqueue(queue: list[str], kind: str) -> None:
    """Add to what goes wrong with one request. A refusal follows a good answer, after which the request does not come
    again: it stands last, and once.
    """
    if kind == "refuse" and kind in queue:
        return
    queue.append(kind)
    queue.sort(key="refuse".__eq__)


def _more(chance: Random, files: int, level: str) -> Iterator[str]:
    """Yield what happens beyond once each, as far as files and time allow."""
    most = min(files // _FILES_PER_EXTRA[level], _MOST_EXTRA[level]) if level == "default" else 5 + files // 2
    left = _MOST_SECONDS[level] - sum(_COST.values())
    for _ in range(min(most, _MOST_EXTRA[level], _MOST_EXTRA_PER_FILE * files)):
        kind = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        left -= _COST[kind]
        if left < 0:
            return
        yield kind


def _places(chance: Random, files: int, count: int) -> Iterator[int]:
    """Yield `count` files: spread evenly, each where chance says within its stretch."""
    for index in range(count):
        yield min(files - 1, int((index + chance.random()) * files / count))


def _method(chance: Random, kind: str, file: File, *, last: bool) -> str:
    """Return the request that goes wrong: the upload, or the question for the checksum after it."""
    if kind == "lie":
        return "HEAD"
    if kind == "reset":
        return "PUT"
    if kind == "refuse":  # after the last file's checksum nobody connects any more
        return "PUT" if last else chance.choice(("PUT", "HEAD"))
    if file.size > _LARGE:
        return "HEAD"
    return chance.choice(("PUT", "HEAD"))
