"""Writers that are killed, again and again: after each kill, what they left is checked, and the next one goes on there.

A round forks writers, kills them, at a random moment or at a chosen system call, and checks. What a writer knows to be
done it counts in memory that outlives it. Run as a module, with the shim preloaded, the moments are system calls.
"""

from __future__ import annotations

import functools
import hashlib
import json
import mmap
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from retrywrap import RetryPolicy, configure, write_file
from retrywrap.record.store import ErrorLog

from .children import fork_into
from .faults import Fault, What, native_shim

__all__ = ["CAMPAIGNS", "Figures"]

Figures: TypeAlias = "Counter[str]"

LENGTHS = (0, 5, 80, 3000, 20_000)
PER_FOLDER = 25  # rounds, after which another folder is begun, so that looking through it stays quick
LONGEST_LIFE = 0.01
READERS_BREATH = 0.0002
MOST_CALLS = 60
MOMENTS = (What.KILL_BEFORE, What.KILL_MIDDLE, What.KILL_AFTER)
TEMPORARY = re.compile(r"\.target\.([0-9]+)\.[0-9a-f]{16}\.tmp")
LINE = re.compile(r"\[([0-9]+)\] Error -([0-9]+): ([0-9]+) (z*)")


def new_counts(size: int) -> memoryview:
    """Return numbers that a killed process leaves behind, each changed in one step, unlike by `struct.pack_into`."""
    return memoryview(mmap.mmap(-1, 8 * size)).cast("q")


def kill_them(writers: list[Callable[[], None]], exact: bool, chance: random.Random) -> list[int]:
    """Fork writers and kill each one, at a system call or at a random moment; return their process ids."""

    def to_the_end(writer: Callable[[], None], fault: Fault) -> None:
        with native_shim([fault]):
            writer()

    children = []
    for writer in writers:
        if exact:
            fault = Fault("*", chance.randrange(MOST_CALLS), 1, chance.choice(MOMENTS))
            children.append(fork_into(to_the_end, writer, fault))
        else:
            children.append(fork_into(writer))
    for child in children:
        if not exact:
            time.sleep(chance.random() * LONGEST_LIFE)
            os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status == -signal.SIGKILL, f"a writer ended by itself: {status}"
    return children


# --- the error log --------------------------------------------------------------------------------


def text_of(writer: int, number: int) -> str:
    """Return a line's message: short ones, and some over several pages, which the system may tear."""
    return f"{number} {'z' * LENGTHS[(7 * writer + 3 * number) % len(LENGTHS)]}"


def write_lines(path: Path, writer: int, counts: memoryview, slot: int) -> None:
    """Write lines until killed; count those begun, and those done."""
    log = ErrorLog(path, max_bytes=30_000, max_files=None)
    number = 0
    while True:
        counts[len(counts) // 2 + slot] = number + 1
        assert log.write(number, -writer, text_of(writer, number))
        number += 1
        counts[slot] = number


def check_lines(folder: Path, acknowledged: dict[int, int], plain: bool) -> Figures:
    """Check all files of a folder: lines whole, each once, in order, none lost; torn pieces at the end, or alone."""
    found: dict[int, list[int]] = {writer: [] for writer in acknowledged}
    figures: Figures = Counter()
    for path in sorted(folder.rglob("*.log"), key=lambda path: int(path.stem.rpartition("_")[2])):
        pieces = path.read_bytes().decode().split("\n")
        figures["files"] += 1
        for index, piece in enumerate(pieces):
            if match := LINE.fullmatch(piece):
                number, writer = int(match[1]), int(match[2])
                if match[3] + " " + match[4] == text_of(writer, number):
                    if index < len(pieces) - 1:
                        found[writer].append(number)
                        continue
                    figures["without end"] += 1  # all of it but the newline
            if not piece:
                continue
            figures["torn"] += 1
            assert plain or index == len(pieces) - 1, f"{path}: line {index + 1} is torn"
            assert re.match(r"\[?([0-9]+(\]( (E(r(r(o(r)?)?)?)?)?)?)?)?", piece)
            assert piece.count("Error") <= 1, f"{path}: line {index + 1} swallowed another"
    for writer, least in acknowledged.items():
        numbers = found[writer]
        assert numbers == [*range(len(numbers))], f"writer {writer}: {numbers}"
        assert least <= len(numbers) <= least + 1, f"writer {writer}: {least} counted, {len(numbers)} found"
        figures["lines"] += len(numbers)
    assert figures["torn"] <= len(acknowledged)
    return figures


def log_campaign(folder: Path, rounds: int, exact: bool, *, writers: int, plain: bool) -> Figures:
    """Kill writers of error logs."""
    chance = random.Random(rounds)
    figures: Figures = Counter()
    for first in range(0, rounds, PER_FOLDER):
        place = folder / f"{first}"
        path = place / "backup_error_0.log" if plain else place
        if plain:
            place.mkdir(parents=True)
            path.touch()
        acknowledged: dict[int, int] = {}
        here: Figures = Counter()
        for _ in range(first, min(rounds, first + PER_FOLDER)):
            counts = new_counts(2 * writers)
            names = [len(acknowledged) + 1 + slot for slot in range(writers)]
            works = [functools.partial(write_lines, path, name, counts, slot) for slot, name in enumerate(names)]
            kill_them(works, exact, chance)
            figures["kills"] += writers
            figures["in a call"] += sum(counts[writers + slot] > counts[slot] for slot in range(writers))
            acknowledged |= {name: counts[slot] for slot, name in enumerate(names)}
            here = check_lines(place, acknowledged, plain)
        figures += here
    return figures


# --- write_file -----------------------------------------------------------------------------------


def content_of(version: int) -> bytes:
    """Return a version's content: its number, a checksum, and some data, over several pages at times."""
    data = b"%d " % version * (1, 100, 4000, 30_000)[version % 4]
    return b"%d %s\n%s" % (version, hashlib.sha256(data).hexdigest().encode(), data)


def version_of(content: bytes) -> int:
    """Return the version that a whole content is of."""
    head, _, data = content.partition(b"\n")
    version, digest = head.split()
    assert hashlib.sha256(data).hexdigest().encode() == digest, f"half a file: {len(content)} bytes"
    return int(version)


def write_versions(target: Path, counts: memoryview, durable: bool) -> None:
    """Write versions until killed."""
    while True:
        version = counts[0] + 1
        content = content_of(version)
        counts[1] = version  # begun
        write_file(target, content, policy=RetryPolicy(max=0), durable=durable)
        counts[0] = version


def read_for_ever(target: Path, counts: memoryview) -> None:
    """Read the file until killed; what is no whole content, or older than one seen before, ends it at once."""
    last = 0
    while True:
        version = version_of(target.read_bytes())
        assert version >= last, f"{version} after {last}"
        last = version
        counts[2] += 1
        time.sleep(READERS_BREATH)  # the writers are to have their turn as well


def file_campaign(folder: Path, rounds: int, exact: bool, *, durable: bool) -> Figures:
    """Kill writers of one file, while a reader looks at it all the time."""
    chance = random.Random(rounds)
    figures: Figures = Counter()
    counts = new_counts(3)
    target = folder / "target"
    write_file(target, content_of(0), mode=0o640)
    reader = fork_into(read_for_ever, target, counts)
    try:
        for _ in range(rounds):
            before = counts[0]
            (child,) = kill_them([lambda: write_versions(target, counts, durable)], exact, chance)
            figures["kills"] += 1
            figures["in a call"] += counts[1] > counts[0]
            version = version_of(target.read_bytes())
            assert version in (counts[0], counts[1]), f"{version}; {counts[0]} are done, {counts[1]} begun"
            figures["writes"] += version - before
            counts[0] = version
            assert target.stat().st_mode & 0o7777 == 0o640
            left = set(os.listdir(folder)) - {"target"}
            assert len(left) <= 1, left
            for name in left:
                match = TEMPORARY.fullmatch(name)
                assert match, name
                assert int(match[1]) == child, f"{name} is not of process {child}"
                os.unlink(folder / name)
            figures["temporary files"] += len(left)
            assert os.waitpid(reader, os.WNOHANG) == (0, 0), "the reader saw what is no whole content"
    finally:
        os.kill(reader, signal.SIGKILL)
    os.waitpid(reader, 0)
    figures["reads"] = counts[2]
    return figures


CAMPAIGNS: dict[str, Callable[[Path, int, bool], Figures]] = {
    "log": lambda folder, rounds, exact: log_campaign(folder, rounds, exact, writers=1, plain=False),
    "logs together": lambda folder, rounds, exact: log_campaign(folder, -(-rounds // 4), exact, writers=4, plain=False),
    "plain log": lambda folder, rounds, exact: log_campaign(folder, rounds, exact, writers=1, plain=True),
    "durable file": lambda folder, rounds, exact: file_campaign(folder, rounds, exact, durable=True),
    "quick file": lambda folder, rounds, exact: file_campaign(folder, rounds, exact, durable=False),
}


def main() -> None:
    """Run campaigns, and print the name and the figures of each as JSON."""
    moment, rounds, folder, *names = sys.argv[1:]
    configure(events=False)
    write_file(Path(folder, "first"), b"")  # loads what is loaded at first use
    for name in names:
        place = Path(folder, name)
        place.mkdir()
        print(json.dumps([name, CAMPAIGNS[name](place, int(rounds), moment == "exact")]), flush=True)


if __name__ == "__main__":
    main()
