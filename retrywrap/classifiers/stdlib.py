"""What the errors of the rest of the standard library mean, and of retrywrap itself."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from retrywrap.classifiers.guard import exact_int, read
from retrywrap.classifiers.oserrors import by_numbers
from retrywrap.classifiers.programs import program_exit
from retrywrap.classifiers.rows import UNKNOWN, Codes, Entry, Look, Through, again, combine, never, table
from retrywrap.classifiers.verdict import Verdict
from retrywrap.codes import ErrorCode

__all__ = ["CODES", "TABLE"]

_MOST_LEAVES = 1000
_MOST_LOOKS = 200_000
_MOST_FILES = 1000
_MOST_FRAMES = 10_000

_LOST = again(ErrorCode.CONNECTION_LOST)
_TIMEOUT = again(ErrorCode.TIMEOUT)
_INVALID = never(ErrorCode.INVALID_PARAM)
_CORRUPT = never(ErrorCode.DATA_CORRUPTION)
_DENIED = never(ErrorCode.PERMISSION_DENIED)
_USELESS = never(ErrorCode.NOT_INITIALIZED)

_exceptions = BaseExceptionGroup.__dict__["exceptions"].__get__


def _every_leaf(error: BaseExceptionGroup[Any], look: Look) -> Verdict:
    """Judge a group by all the errors in it: an unknown one makes it unknown."""
    leaves = _leaves(error)
    if leaves is None:
        return UNKNOWN
    return combine(look(leaf, "exceptions") or UNKNOWN for leaf in leaves)


def _leaves(error: BaseExceptionGroup[Any]) -> list[BaseException] | None:
    """Return each error in a group once, those of the groups in it included; None where there are too many."""
    pending: list[BaseException] = [error]
    seen: set[int] = set()
    found: list[BaseException] = []
    for _ in range(_MOST_LOOKS):  # groups may share their members: there may be few errors, and many ways to them
        if not pending:
            return found
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if issubclass(type(current), BaseExceptionGroup):
            members = _exceptions(current)
            if len(members) > _MOST_LEAVES:
                return None
            pending.extend(reversed(members))
        else:
            found.append(current)
            if len(found) > _MOST_LEAVES:
                return None
    return None


# The result code's lowest byte is the primary code. Source: https://sqlite.org/rescode.html
_SQLITE: Mapping[int, Verdict] = {
    code: verdict._replace(rule=f"stdlib.sqlite3.{name}")
    for code, name, verdict in (
        (1, "ERROR", _INVALID),
        (3, "PERM", _DENIED),
        (5, "BUSY", again(ErrorCode.TIMEOUT, "none")),
        (6, "LOCKED", again(ErrorCode.TIMEOUT, "none")),
        (7, "NOMEM", never(ErrorCode.MEMORY_ALLOC)),
        (8, "READONLY", _DENIED),
        (10, "IOERR", again(ErrorCode.FILE_IO)),
        (11, "CORRUPT", _CORRUPT),
        (13, "FULL", never(ErrorCode.DISK_FULL)),
        (14, "CANTOPEN", never(ErrorCode.FILE_IO)),
        (18, "TOOBIG", _INVALID),
        (19, "CONSTRAINT", _INVALID),
        (20, "MISMATCH", _INVALID),
        (21, "MISUSE", _INVALID),
        (23, "AUTH", _DENIED),
        (25, "RANGE", _INVALID),
        (26, "NOTADB", _CORRUPT),
    )
}


def _by_sqlite_code(error: Any) -> Verdict | None:
    """What the result code says (sqlite_errorcode)."""
    number = exact_int(read(error, "sqlite_errorcode"))
    return None if number is None else _SQLITE.get(number & 0xFF)


def _by_sqlite_use(error: Any) -> Verdict:
    """Judge what the module itself refuses; on a closed database every call fails the same way."""
    closed = read(error, "args") == ("Cannot operate on a closed database.",)
    return _by_sqlite_code(error) or (_USELESS if closed else _INVALID)


def _by_exit(error: Any) -> Verdict | None:
    """What the program's table says of its exit status (cmd, returncode)."""
    try:
        verdict = program_exit(read(error, "cmd"), read(error, "returncode"))
    except Exception:  # the command may be anything
        return None
    return None if verdict.code == 0 or verdict.rule == UNKNOWN.rule else verdict._replace(message="")


def _by_files(error: Any) -> Verdict | None:
    """Judge `shutil.copytree`, whose error holds (source, destination, text of the error) of each file that failed."""
    args = read(error, "args")
    failed = args[0] if type(args) is tuple and args else None
    if type(failed) is not list or not 0 < len(failed) <= _MOST_FILES:
        return None
    found = [by_numbers(file[2:3]) if type(file) is tuple else None for file in failed]
    known = [verdict for verdict in found if verdict is not None]
    return combine(known) if len(known) == len(found) else None


_READERS = frozenset({"_compression", "bz2", "compression", "gzip", "lzma", "zipfile"})
_TALKERS = frozenset({"ftplib", "multiprocessing", "paramiko"})


def _by_raiser(error: BaseException) -> Verdict | None:
    """Judge an EOFError by who raised it: a cut-off archive and a dropped connection look the same."""
    last = read(error, "__traceback__")
    if type(last) is not TracebackType:
        return None
    for _ in range(_MOST_FRAMES):
        if last.tb_next is None:
            break
        last = last.tb_next
    module = dict.get(last.tb_frame.f_globals, "__name__")
    root = module.partition(".")[0] if type(module) is str else ""
    if root in _READERS:
        return never(ErrorCode.DATA_CORRUPTION, rule="stdlib.EOFError.archive")
    return again(ErrorCode.CONNECTION_LOST, rule="stdlib.EOFError.connection") if root in _TALKERS else None


_SPECIAL: Mapping[str, Entry] = {
    "builtins.BaseExceptionGroup": Through(_every_leaf),
    "builtins.EOFError": _by_raiser,
    "asyncio.IncompleteReadError": _LOST,
    "concurrent.BrokenExecutor": _USELESS,
    "multiprocessing.TimeoutError": _TIMEOUT,
    "multiprocessing.AuthenticationError": _DENIED,
    "subprocess.TimeoutExpired": _TIMEOUT,
    "subprocess.CalledProcessError": _by_exit,
    "sqlite3.Error": _by_sqlite_code,
    "sqlite3.ProgrammingError": _by_sqlite_use,
    "sqlite3.IntegrityError": _by_sqlite_use,
    "shutil.SameFileError": _INVALID,
    "shutil.SpecialFileError": _INVALID,
    "shutil.Error": _by_files,
    "io.UnsupportedOperation": _INVALID,
    "zlib.error": _CORRUPT,
    "_lzma.LZMAError": _CORRUPT,
    "gzip.BadGzipFile": _CORRUPT,
    "zipfile.BadZipFile": _CORRUPT,
    "tarfile.ReadError": _CORRUPT,
    "tarfile.HeaderError": _CORRUPT,
    "_pickle.UnpicklingError": _CORRUPT,
    "json.JSONDecodeError": _CORRUPT,
}
_BY_TYPE: Mapping[str, Entry] = {
    "builtins.UnicodeDecodeError": _CORRUPT,
    "builtins.MemoryError": never(ErrorCode.MEMORY_ALLOC),
    "builtins.ValueError": _INVALID,
    "builtins.TypeError": _INVALID,
}
_OWN: Mapping[str, Entry] = {
    "retrywrap.RetryExhausted": never(ErrorCode.RETRY_EXHAUSTED),
    "retrywrap.DeadlineExceeded": never(ErrorCode.TIMEOUT, "none"),
    "retrywrap.RetryUsageError": _INVALID,
    "retrywrap.ConfigurationError": never(ErrorCode.INVALID_PARAM, "none"),
}

TABLE = {
    **table(_OWN),
    **table(_SPECIAL, prefix="stdlib.", tier=1),
    **table(_BY_TYPE, prefix="stdlib.", tier=3),
}
"""Rows of the classes of the standard library that are neither the operating system's nor a protocol's; and our own."""

CODES = (Codes("sqlite3", "result code", {v.rule.rpartition(".")[2]: v for v in _SQLITE.values()}),)
