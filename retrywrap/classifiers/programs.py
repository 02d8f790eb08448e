"""Exit codes: they belong to a program, never to the number alone."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from retrywrap.classifiers.guard import exact_int
from retrywrap.classifiers.rows import UNKNOWN, Codes, Row, again, by_code, never
from retrywrap.classifiers.verdict import Verdict
from retrywrap.codes import ErrorCode
from retrywrap.locks import importing

__all__ = ["CODES", "TABLE", "Command", "program_exit", "program_name"]

Command: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes] | Sequence[str | bytes | os.PathLike[str]]"
"""What `subprocess` takes: a program and its arguments, or one line for a shell."""

_LONGEST_LINE = 65_536
_OPERATORS = ";&|()`\n"
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")

_UNKNOWN = never(ErrorCode.UNKNOWN)
_INVALID = never(ErrorCode.INVALID_PARAM)
_UNREACHED = again(ErrorCode.NETWORK, "none")
_LOST = again(ErrorCode.CONNECTION_LOST)
_TIMEOUT = again(ErrorCode.TIMEOUT)


def _rows(*groups: tuple[Verdict, str]) -> Mapping[int, Verdict]:
    return by_code("program", *((verdict, map(int, statuses.split())) for verdict, statuses in groups))


# Sources: sysexits(3), and each program's manual.
_ANY = _rows(
    (again(ErrorCode.UNKNOWN), "75"),
    (never(ErrorCode.PERMISSION_DENIED, "none"), "126"),
    (never(ErrorCode.INVALID_PARAM, "none"), "127"),
)
_PROGRAMS: Mapping[str, Mapping[int, Verdict]] = {
    "timeout": _rows((_TIMEOUT, "124")),
    "rsync": _rows(
        (_UNREACHED._replace(effect="unknown"), "5"),
        (_LOST, "10 12"),
        (again(ErrorCode.FILE_IO), "11"),
        (_TIMEOUT, "30 35"),
        (_INVALID, "1 2 3 4 25"),
        (never(ErrorCode.MEMORY_ALLOC), "22"),
        (never(ErrorCode.FILE_IO), "23"),
    ),
    "curl": _rows(
        (_UNREACHED, "6 7"),
        (_LOST, "18 52 55 56"),
        (_TIMEOUT, "28"),
        (_INVALID, "3 22 35"),
        (never(ErrorCode.FILE_IO), "23"),
    ),
    "rclone": _rows((again(ErrorCode.NETWORK), "5"), (_UNKNOWN, "1 2")),
    "restic": _rows(
        (again(ErrorCode.TIMEOUT, "none"), "11"),
        (_INVALID, "10"),
        (never(ErrorCode.PERMISSION_DENIED, "none"), "12"),
    ),
    "ssh": _rows((_LOST, "255")),
}
# They end the same way for a server that is away and for a database that does not exist.
_TELLS_NOTHING = frozenset({"mysqldump", "pg_dump"})


def program_exit(command: Command, status: int) -> Verdict:
    """Return what a program's exit status means.

    Args:
        command: The program with its arguments, or a line for a shell, which names a program only if it has no pipe,
            list or substitution in it.
        status: The exit status; negative: the signal that ended it, as `subprocess` has it.

    Returns:
        The verdict; its rule is ``"unknown"`` where neither the program's table nor the common one knows the status.

    Raises:
        TypeError: `status` is not an int.
    """
    number = exact_int(status)
    if number is None:
        raise TypeError(f"status must be an int, a program's exit status; got {status!r:.100}")
    if number == 0:
        return Verdict.of(ErrorCode.SUCCESS, rule="program.0")
    words = _words(command)
    if words and _base(words[0]) == "timeout" and number != 124:
        words = _timed(words)
    name = _base(words[0]) if words else ""
    ended = f"was ended by signal {-number}" if number < 0 else f"ended with exit status {number}"
    return _look_up(name, number)._replace(message=f"{name or 'the program'} {ended}")


def program_name(command: object) -> str:
    """Return the name of the program that a command runs, without its folder; "" where that cannot be told."""
    words = _words(command)
    return _base(words[0]) if words else ""


def _look_up(name: str, status: int) -> Verdict:
    if status < 0:
        return _UNKNOWN._replace(rule="program.signal")
    if status in _PROGRAMS.get(name, ()):
        return _PROGRAMS[name][status]._replace(rule=f"program.{name}.{status}")
    if status in _ANY:
        return _ANY[status]._replace(rule=f"program.any.{status}")
    return _UNKNOWN._replace(rule=f"program.{name}") if name in _TELLS_NOTHING else UNKNOWN


def _timed(words: Sequence[str]) -> Sequence[str]:
    """Return the command that ``timeout [OPTION]... DURATION COMMAND`` runs."""
    rest = list(words[1:])
    while rest and rest[0].startswith("-"):
        del rest[: 2 if rest[0] in {"-k", "-s", "--kill-after", "--signal"} else 1]
    return rest[1:]


def _words(command: object) -> Sequence[str]:
    """Return a command's words; none where it is not one program's."""
    if isinstance(command, list | tuple):
        return [_text(word) for word in command]
    return _split(_text(command)[:_LONGEST_LINE])


def _text(word: object) -> str:
    return os.fsdecode(word) if isinstance(word, str | bytes | os.PathLike) else ""


def _split(line: str) -> Sequence[str]:
    """Split a line for a shell; a line that runs more than one program, or that no shell would take, has no words."""
    with importing:
        import shlex

    splitter = shlex.shlex(line.replace(">&", ">").replace("&>", ">"), posix=True, punctuation_chars=_OPERATORS)
    splitter.whitespace = " \t\r"
    splitter.whitespace_split = True
    splitter.commenters = ""
    try:
        words = list(splitter)
    except ValueError:  # a quotation that is not closed
        return ()
    if any(word.strip(_OPERATORS) == "" for word in words):
        return ()
    return list(itertools.dropwhile(_ASSIGNMENT.match, words))


def _base(word: str) -> str:
    return word.replace("\\", "/").rpartition("/")[2].removesuffix(".exe")


TABLE: Mapping[str, Row] = {}
"""No class is any program's own: `subprocess.CalledProcessError` stands for all of them."""

CODES = (
    *(Codes(name, "exit status", rows) for name, rows in _PROGRAMS.items()),
    Codes("subprocess", "exit status of any program", _ANY),
)
