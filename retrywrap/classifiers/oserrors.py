"""What the operating system's errors mean: by errno, and by the builtin type where there is none."""

from __future__ import annotations

import errno
import functools
import re
from collections.abc import Mapping
from typing import Any

from retrywrap.classifiers.guard import exact_int, key_of, read, type_name
from retrywrap.classifiers.http import by_proxy_status
from retrywrap.classifiers.rows import Codes, Entry, again, by_code, combine, never, table
from retrywrap.classifiers.tries import unless_sent_before
from retrywrap.classifiers.verdict import Verdict
from retrywrap.codes import ErrorCode
from retrywrap.locks import importing

__all__ = ["CODES", "TABLE", "by_numbers", "goes_by_number_and_text"]

_LONGEST_TEXT = 10_000
_REJECTED = " rejected SSL upgrade"
_TUNNEL = "Tunnel connection failed: "
_SEVERAL = "Multiple exceptions: "
_LOOKED_INTO = _TUNNEL, _SEVERAL
_NUMBER = re.compile(r"\[Errno (\d{1,5})\]")

_LOST = again(ErrorCode.CONNECTION_LOST)
_UNREACHED = again(ErrorCode.NETWORK, "none")
_INVALID = never(ErrorCode.INVALID_PARAM)

_BY_NAME: tuple[tuple[Verdict, str], ...] = (
    (never(ErrorCode.DISK_FULL), "ENOSPC EDQUOT EFBIG"),
    (never(ErrorCode.PERMISSION_DENIED), "EACCES EPERM EROFS"),
    (_LOST, "ECONNRESET EPIPE ECONNABORTED ESHUTDOWN ENOTCONN ENETRESET"),
    (_UNREACHED, "ECONNREFUSED ENETUNREACH EHOSTUNREACH ENETDOWN EHOSTDOWN EADDRNOTAVAIL"),
    (never(ErrorCode.INIT_FAILED, "none"), "EADDRINUSE"),
    (again(ErrorCode.TIMEOUT), "ETIMEDOUT"),
    (again(ErrorCode.FILE_IO), "EIO ESTALE EBUSY ETXTBSY EINTR ENFILE EMFILE EAGAIN"),
    (never(ErrorCode.MEMORY_ALLOC), "ENOMEM ENOBUFS"),
    (never(ErrorCode.DATA_CORRUPTION), "EUCLEAN EBADMSG EILSEQ"),
    (_INVALID, "ENOENT ENOTDIR EISDIR EEXIST ENAMETOOLONG ELOOP EINVAL EBADF ENOTEMPTY EXDEV"),
)
# A system lacks some of the names.
_BY_NUMBER: Mapping[int, Verdict] = {
    getattr(errno, name): verdict
    for name, verdict in by_code("stdlib.errno", *((verdict, names.split()) for verdict, names in _BY_NAME)).items()
    if hasattr(errno, name)
}


def _by_errno(error: OSError) -> Verdict | None:
    """What its errno says, where it has one; else the status of a proxy that http.client asked for a tunnel."""
    given = read(error, "errno")
    number = None if given is None else exact_int(given)
    if number is None:
        args = read(error, "args")
        tunnel = by_proxy_status(args[0], _TUNNEL) if type(args) is tuple and args else None
        return tunnel or by_numbers(args, _SEVERAL)
    return _BY_NUMBER.get(number)


def goes_by_number_and_text(cls: type, text: str, verdict: Verdict) -> bool:
    """Return whether a verdict is that on every error of its class that has the same errno and the same text.

    That is so of the builtin classes where the errno decided, or the class, and no look was taken at the text.

    Args:
        cls: The error's class.
        text: What ``str()`` gives of it.
        verdict: What the tables said of it.
    """
    if key_of(cls)[0] != "builtins" or not issubclass(cls, OSError):
        return False
    if text.startswith(_LOOKED_INTO) or text.endswith(_REJECTED):
        return False
    return verdict.rule.startswith("stdlib.errno.") or verdict.rule == f"stdlib.{type_name(cls)}"


def by_numbers(args: object, start: str = "") -> Verdict | None:
    """Return what the errnos amount to that stand in a text, as in asyncio's "Multiple exceptions: [Errno 111] …".

    Args:
        args: An exception's arguments, the first of which may be such a text.
        start: How the text must begin.

    Returns:
        None where there is no such text, or no errno in it, or one that the table does not know.
    """
    text = args[0] if type(args) is tuple and args else None
    if type(text) is not str or not text.startswith(start):
        return None
    found = [_BY_NUMBER.get(int(number)) for number in _NUMBER.findall(text[:_LONGEST_TEXT])]
    known = [verdict for verdict in found if verdict is not None]
    return combine(known) if known and len(known) == len(found) else None


def _by_address(error: OSError) -> Verdict:
    """Judge a name that could not be resolved: its numbers are negative, and are no errnos."""
    return _resolver_rows().get(exact_int(read(error, "errno")), _UNRESOLVED)


_UNRESOLVED = never(ErrorCode.INVALID_PARAM, "none")


@functools.cache
def _resolver_rows() -> Mapping[int | None, Verdict]:
    with importing:
        import socket

    return {
        getattr(socket, "EAI_AGAIN", None): again(ErrorCode.NETWORK, "none", rule="stdlib.socket.EAI_AGAIN"),
        getattr(socket, "EAI_MEMORY", None): never(ErrorCode.MEMORY_ALLOC, "none", rule="stdlib.socket.EAI_MEMORY"),
    }


_NO_FILES: Mapping[str, Entry] = {
    "socket.gaierror": _by_address,
    "socket.herror": _UNRESOLVED,
    "ssl.SSLCertVerificationError": never(ErrorCode.PERMISSION_DENIED, "none"),
    "ssl.SSLEOFError": _LOST,
    "ssl.SSLZeroReturnError": _LOST,
    "ssl.SSLSyscallError": _LOST,
    "ssl.SSLError": _INVALID,
}
_ATTEMPT = again(ErrorCode.NETWORK, rule="stdlib.ConnectionError")
_NO_TLS = never(ErrorCode.INVALID_PARAM, "none", rule="stdlib.ConnectionError.tls")


def _by_connection(error: Any) -> Verdict:
    """NETWORK, retried, unless a PostgreSQL server has no TLS to offer: asyncpg says that with no class of its own."""
    args = read(error, "args")
    text = args[0] if type(args) is tuple and args else None
    return _NO_TLS if type(text) is str and text.endswith(_REJECTED) else _ATTEMPT


_BY_TYPE: Mapping[str, Entry] = {
    "builtins.ConnectionRefusedError": _UNREACHED,
    "builtins.ConnectionError": _by_connection,
    "builtins.ConnectionResetError": _LOST,
    "builtins.ConnectionAbortedError": _LOST,
    "builtins.BrokenPipeError": _LOST,
    "builtins.TimeoutError": again(ErrorCode.TIMEOUT),
    "builtins.InterruptedError": again(ErrorCode.FILE_IO),
    "builtins.PermissionError": never(ErrorCode.PERMISSION_DENIED),
    "builtins.FileNotFoundError": _INVALID,
    "builtins.FileExistsError": _INVALID,
    "builtins.IsADirectoryError": _INVALID,
    "builtins.NotADirectoryError": _INVALID,
}

TABLE = {
    **table(_NO_FILES, prefix="stdlib.", tier=1),
    **table({"builtins.OSError": unless_sent_before(_by_errno)}, prefix="stdlib.", tier=2),
    **table(_BY_TYPE, prefix="stdlib.", tier=3),
}
"""Rows of the classes that the operating system's errors come in."""

CODES = (Codes("builtins", "errno", {errno.errorcode[number]: verdict for number, verdict in _BY_NUMBER.items()}),)
