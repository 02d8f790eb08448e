"""The proof: both trees are read again, and compared byte for byte."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from retrywrap.cli.demo.scan import BLOCK, Tree, open_plain, printable

__all__ = ["Verification", "verify"]


class Verification(NamedTuple):
    """What came of the comparison.

    Attributes:
        files: Files that were compared.
        bytes: Bytes that were found equal.
        differences: A line for whatever is not the same.
    """

    files: int
    bytes: int
    differences: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether there is no difference."""
        return not self.differences


def verify(source: Tree, stored: Tree, failed: Mapping[str, str]) -> Verification:
    """Compare two trees by reading every byte of both.

    Symbolic links, pipes, sockets and devices are not part of the backup, nor of the comparison. What cannot be read is
    a difference.

    Args:
        source: What was to be backed up, as it is now.
        stored: What the backup holds.
        failed: What could not be backed up, and why: a difference, whatever is found now.
    """
    files = equal = 0
    differences = [f"{printable(name)}: {reason}" for name, reason in failed.items()]
    differences += _missing_or_more(source, stored, failed)
    theirs = {file.name for file in stored.files}
    for name in (file.name for file in source.files if file.name in theirs and file.name not in failed):
        try:
            same, difference = _compare(source.path(name), stored.path(name))
        except OSError as error:
            same, difference = 0, f"cannot be read: {error.strerror}"
        files += 1
        equal += same
        if difference:
            differences.append(f"{printable(name)}: {difference}")
    return Verification(files, equal, tuple(differences))


def _missing_or_more(source: Tree, stored: Tree, failed: Mapping[str, str]) -> Iterator[str]:
    for name, reason in source.unreadable.items():
        yield f"{printable(name or '.')}: cannot be read: {reason}"
    ours = {file.name for file in source.files} | set(source.folders)
    theirs = {file.name for file in stored.files} | set(stored.folders)
    for name in sorted(ours - theirs - set(failed)):
        yield f"{printable(name)}: not in the backup"
    for name in sorted(theirs - ours):
        yield f"{printable(name)}: in the backup only"


def _compare(one: str, other: str) -> tuple[int, str]:
    """Return how many bytes two files begin with in common, and how they differ; "": not at all."""
    same = 0
    with open_plain(one) as first, open_plain(other) as second:
        while True:
            ours, theirs = first.read(BLOCK), second.read(BLOCK)
            if ours != theirs:
                shorter = min(len(ours), len(theirs))
                same += next((at for at, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), shorter)
                return same, f"differs from byte {same} on"
            if not ours:
                return same, ""
            same += len(ours)
