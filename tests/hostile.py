"""What hostile input is tried with, where it may be seen, and how often: for ``test_hostile_*`` and ``test_fuzz_*``.

``FUZZ_EXAMPLES=2000`` in the environment makes each property try so many examples.
"""

from __future__ import annotations

import io
import json
import logging
import os
import pickle
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import HealthCheck, Phase, settings

from retrywrap import configure, registry, subscribe
from retrywrap.classifiers.redact import LONGEST
from retrywrap.cli import main
from retrywrap.decide.events import RetryEvent

__all__ = ["NASTY", "Heard", "Outcome", "cli", "examples", "is_harmless", "is_one_line", "listening", "raised_by"]

NASTY = {
    "newlines": "a\nb\r\nc\x0bd\x0ce\x85f\u2028g\u2029h",
    "nul": "a\x00b",
    "ANSI": "\x1b[31mred\x1b[0m\x1b[2J\x9b31m",
    "OSC": "\x1b]0;title\x07\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\",
    "bidi": "\u202eevil\u202c\u2066x\u2069\u200f\u061c",
    "surrogates": "\ud800\udcff\udfff",
    "log line": "x\n[1700000000000] Error -6: forged\nretry.recovered operation=forged",
    "invisible": "\u200b\ufeff\xad\u2060",
    "private": "\ue000\U000f0000\uffff",
    "long": "x" * 100_000,
    "long escapes": "\x1b" * 100_000,
}
"""Texts that must not come out as they are, wherever they come in."""


def examples(number: int) -> Any:
    """Return hypothesis's settings for so many examples, or for as many as the environment asks for."""
    wanted = int(os.environ.get("FUZZ_EXAMPLES", number))
    phases = Phase.explicit, Phase.reuse, Phase.generate  # to make failures smaller takes longer than to find them
    return settings(max_examples=wanted, deadline=None, suppress_health_check=list(HealthCheck), phases=phases)


def is_one_line(text: str, longest: int = LONGEST) -> bool:
    """Whether a text is bounded, and neither ends a line, nor drives a terminal, nor reorders what is shown."""
    text.encode()  # a surrogate would break whoever writes it
    return text.isprintable() and len(text) <= longest


_CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DIRECTIONS = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
_MARKS = frozenset("\u061c\u200e\u200f")


def is_harmless(text: str) -> bool:
    """Whether a text neither ends a line, nor drives a terminal, nor reorders what is shown. Odd letters do not."""
    return not any(
        unicodedata.category(character) in _CONTROLS
        or unicodedata.bidirectional(character) in _DIRECTIONS
        or character in _MARKS
        for character in text
    )


class Heard(logging.Handler):
    """All that came out of retrywrap, by where it came out.

    Attributes:
        lines: What the standard library's logging was told.
        events: What listeners were told.
        folder: Where the error log is.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.events: list[RetryEvent] = []
        self.folder = folder

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def logged(self) -> list[str]:
        """Return the lines of the log that stand for events."""
        return [line for line in self.lines if line.startswith(("retry.", "error.recorded"))]

    def stored(self) -> list[str]:
        """Return the lines of the error log, as bytes split them, and nothing else does."""
        files = sorted(self.folder.glob("backup_error_*.log"))
        return [line.decode() for file in files for line in file.read_bytes().removesuffix(b"\n").split(b"\n")]

    def told(self) -> list[str]:
        """Return each text in the events and in the registry."""
        kept = [record._replace(thread="") for record in registry.errors]
        values = [value for entry in (*self.events, *kept) for value in entry]
        return [*(value for value in values if isinstance(value, str)), *registry.operations]

    def everything(self) -> str:
        """Return all of it in one text, reports and pickles included."""
        snapshot = registry.snapshot()
        pickled = [pickle.dumps(thing).decode("latin-1") for thing in (self.events, registry.errors, snapshot)]
        known = [repr(registry), repr(registry.errors), repr(self.events), json.dumps(snapshot)]
        return "\n".join([*self.lines, *self.stored(), *self.told(), *known, *pickled])


@contextmanager
def listening(folder: Path) -> Iterator[Heard]:
    """Gather all that comes out, with the error log in a folder."""
    heard, logger = Heard(folder), logging.getLogger("retrywrap")
    configure(error_store_path=folder)
    logger.addHandler(heard)
    end = subscribe(heard.events.append)
    try:
        yield heard
    finally:
        end()
        logger.removeHandler(heard)


def raised_by(function: Callable[..., Any], *arguments: Any) -> BaseException | None:
    """Return what a call raises; None where it returns. Unlike `pytest.raises`, it asks the exception nothing."""
    try:
        function(*arguments)
    except BaseException as error:
        return error
    return None


class Outcome(NamedTuple):
    """What one use of the command line came to."""

    status: object
    out: str
    err: str


def cli(*arguments: str) -> Outcome:
    """Run the command line in this process; its exit by argparse is an exit status like any other."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status: object = main(arguments)
        except SystemExit as end:
            status = end.code
    return Outcome(status, out.getvalue(), err.getvalue())
