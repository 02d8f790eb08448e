"""Reads exit statuses from the command line."""

from __future__ import annotations

import re

from retrywrap.cli.signals import ENDING
from retrywrap.cli.usage import UsageError
from retrywrap.decide.checks import shown

__all__ = ["read_statuses"]

_CANNOT_RUN = frozenset({126, 127})
_ANY = frozenset(range(1, 256)) - _CANNOT_RUN - {128 + number for number in ENDING}


def read_statuses(texts: list[str] | None, option: str) -> frozenset[int]:
    """Return the exit statuses that an option names.

    Args:
        texts: Numbers from 1 to 255, ranges such as ``1-9``, and ``any``, separated by commas or blanks; ``any`` leaves
            out 126, 127 and the ends by a signal that somebody sent.
        option: The option.

    Raises:
        UsageError: They are anything else.
    """
    found: set[int] = set()
    for word in re.split(r"[,\s]+", ",".join(texts or []).strip(", \t\n")) if texts else ():
        if word == "any":
            found |= _ANY
            continue
        match = re.fullmatch(r"([0-9]{1,3})(?:-([0-9]{1,3}))?", word, re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= 255:
            raise UsageError(
                f"{option} {shown(word)}: expected exit statuses from 1 to 255, such as 75,124 or 1-9, or any"
            )
        found |= set(range(first, last + 1))
    return frozenset(found)
