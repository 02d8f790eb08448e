"""The standard input of a program that may run more than once."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

__all__ = ["Input"]


class Input:
    """The standard input, which each attempt is to see from the same place on.

    Args:
        warn: Called once, with a sentence, where a retry cannot see what the first attempt saw.
        descriptor: The file descriptor.
    """

    def __init__(self, warn: Callable[[str], None], descriptor: int = 0) -> None:
        self._warn = warn
        self._descriptor = descriptor
        self._start: int | None = None
        self._spent = False
        try:
            if not os.isatty(descriptor):
                self._start = os.lseek(descriptor, 0, os.SEEK_CUR)
        except OSError as error:  # a pipe or a socket; anything else, such as none at all, leaves nothing to do
            self._spent = error.errno == errno.ESPIPE

    def again(self, _: object) -> None:
        """Prepare a retry: go back to where the first attempt began, or warn that this cannot be done."""
        if self._start is not None:
            os.lseek(self._descriptor, self._start, os.SEEK_SET)
        elif self._spent:
            self._spent = False
            self._warn("standard input is a pipe: a retry sees only what the attempts before left in it")
