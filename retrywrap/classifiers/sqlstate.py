"""What a SQLSTATE means, whoever carries it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from retrywrap.classifiers.guard import read
from retrywrap.classifiers.rows import again, by_code, never
from retrywrap.classifiers.verdict import Verdict
from retrywrap.codes import ErrorCode

__all__ = ["BY_SQLSTATE", "by_sqlstate", "state_reader"]

_LENGTH = 5
_INVALID = never(ErrorCode.INVALID_PARAM, "none")
_DENIED = never(ErrorCode.PERMISSION_DENIED, "none")

# Source: the PostgreSQL manual, appendix A, "PostgreSQL Error Codes", and chapter 13, "Serialization Failure Handling".
_BY_STATE: tuple[tuple[Verdict, str], ...] = (
    # The server has rolled the whole transaction back, and only the whole of it may be redone.
    (again(ErrorCode.UNKNOWN, "none"), "40001 40P01"),
    (again(ErrorCode.TIMEOUT, "none"), "55P03"),
    # A user's cancel and a statement that ran out of time look the same, and the former must not be undone.
    (never(ErrorCode.TIMEOUT), "57014"),
    (again(ErrorCode.CONNECTION_LOST), "57P01 57P02 57P05 25P03 25P04 08000 08003 08006"),
    (again(ErrorCode.NETWORK, "none"), "57P03 08001"),
    (again(ErrorCode.NETWORK, "none", throttled=True), "53300"),
    # "Resolution unknown": the commit may have gone through.
    (never(ErrorCode.CONNECTION_LOST), "08007"),
    (never(ErrorCode.UNKNOWN), "40003"),
    (never(ErrorCode.INVALID_PARAM), "08P01"),
    (never(ErrorCode.DISK_FULL), "53100"),
    (never(ErrorCode.MEMORY_ALLOC), "53200"),
    (_DENIED, "42501 25006"),
    (never(ErrorCode.DATA_CORRUPTION), "XX001 XX002"),
    # The transaction has failed before: only a new one helps, which the statement alone cannot begin.
    (never(ErrorCode.UNKNOWN, "none"), "25P02"),
)
# By the first two characters, where the whole is in no row above.
_BY_CLASS: tuple[tuple[Verdict, str], ...] = ((_INVALID, "0A 22 23 3D 42 54"), (_DENIED, "28"))
BY_SQLSTATE: Mapping[str, Verdict] = {
    f"{state}…" if len(state) < _LENGTH else state: verdict
    for verdict, states in (*_BY_STATE, *_BY_CLASS)
    for state in states.split()
}
"""The table, for a reader: what begins with two characters only stands for all its class."""


def _rows(prefix: str) -> Mapping[str, Verdict]:
    return by_code(prefix, *((verdict, states.split()) for verdict, states in (*_BY_STATE, *_BY_CLASS)))


def state_reader(prefix: str, *names: str) -> Callable[[Any], Verdict | None]:
    """Return a function that judges an error by its SQLSTATE.

    Args:
        prefix: How the rules' names begin.
        *names: The attributes that may hold it; the first that does counts.
    """
    rows = _rows(prefix)

    def judge(error: object) -> Verdict | None:
        for name in names:
            state = read(error, name)
            if type(state) is str and len(state) == _LENGTH:
                return rows.get(state) or rows.get(state[:2])
        return None

    judge.__doc__ = f"What its SQLSTATE says ({', '.join(names)})."
    return judge


by_sqlstate = state_reader("sqlstate", "sqlstate", "pgcode")
"""Judges an error of an unknown library; None where it has no SQLSTATE that is known."""
