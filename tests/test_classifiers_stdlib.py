"""The rest of the standard library's errors, retrywrap's own, and groups. Provoked for real where that can be done."""

from __future__ import annotations

import asyncio
import bz2
import concurrent.futures
import concurrent.futures.process
import gzip
import io
import json
import lzma
import multiprocessing
import pickle
import shutil
import sqlite3
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from multiprocessing import connection
from pathlib import Path
from typing import Any

import pytest

from retrywrap.classifiers import classify, explain
from retrywrap.errors import ConfigurationError, DeadlineExceeded, RetryExhausted, RetryUsageError, RetryWrapError


def caught(function: Callable[[], Any]) -> Exception:
    """Return the error that a call raises."""
    with pytest.raises(Exception) as info:  # noqa: PT011 - each test looks at what it is
        function()
    return info.value


def judge(error: BaseException) -> tuple[str, bool, str]:
    """Return code, whether it is retryable, and the rule without its beginning."""
    verdict = classify(error)
    return verdict.code.name, verdict.retryable, verdict.rule.removeprefix("stdlib.")


@pytest.mark.parametrize(
    "error", [subprocess.TimeoutExpired("x", 5), multiprocessing.TimeoutError(), concurrent.futures.TimeoutError()]
)
def test_timeouts(error: Exception) -> None:
    """Every kind of timeout is retryable, also those that are no TimeoutError."""
    assert judge(error)[:2] == ("TIMEOUT", True)
    assert classify(error).effect == "unknown"


def test_futures() -> None:
    """A cancelled future is never retried, though its error is an Exception; a broken pool stays broken."""
    future: concurrent.futures.Future[None] = concurrent.futures.Future()
    future.cancel()
    error = caught(future.result)
    verdict = classify(error)
    assert (verdict.forbid, verdict.retryable, verdict.rule) == (True, False, "never.CancelledError")
    pool = concurrent.futures.process.BrokenProcessPool("died")
    assert judge(pool) == ("NOT_INITIALIZED", False, "concurrent.BrokenExecutor")


def test_asyncio_stream_ends() -> None:
    """A stream that ends before its time was dropped."""

    async def read() -> None:
        stream = asyncio.StreamReader()
        stream.feed_data(b"ab")
        stream.feed_eof()
        await stream.readexactly(3)

    error = caught(lambda: asyncio.run(read()))
    assert judge(error) == ("CONNECTION_LOST", True, "asyncio.IncompleteReadError")


def test_multiprocessing() -> None:
    """A wrong key stays wrong; a peer that hung up raises a bare EOFError, which its origin tells."""
    assert judge(multiprocessing.AuthenticationError("digest"))[:2] == ("PERMISSION_DENIED", False)
    ours, theirs = connection.Pipe()
    theirs.close()
    with ours:
        error = caught(ours.recv)
    assert (type(error), error.args) == (EOFError, ())
    assert judge(error) == ("CONNECTION_LOST", True, "EOFError.connection")


def _broken_zip() -> None:
    zipfile.ZipFile(io.BytesIO(b"no archive"))


def _broken_tar() -> None:
    tarfile.open(fileobj=io.BytesIO(b"no archive"))  # noqa: SIM115 - it never opens


@pytest.mark.parametrize(
    ("function", "rule"),
    [
        (lambda: zlib.decompress(b"x"), "zlib.error"),
        (lambda: lzma.decompress(b"x" * 50), "_lzma.LZMAError"),
        (lambda: gzip.decompress(b"xx"), "gzip.BadGzipFile"),
        (lambda: json.loads("{"), "json.JSONDecodeError"),
        (lambda: b"\xff".decode(), "UnicodeDecodeError"),
        (lambda: pickle.loads(b"\x80"), "_pickle.UnpicklingError"),
        (lambda: tarfile.TarInfo.frombuf(b"x" * 512, "utf-8", "strict"), "tarfile.HeaderError"),
        (_broken_zip, "zipfile.BadZipFile"),
        (_broken_tar, "tarfile.ReadError"),
    ],
)
def test_corruption(function: Callable[[], Any], rule: str) -> None:
    """Data that cannot be read is not better the next time, though some of these errors are OSErrors or ValueErrors."""
    assert judge(caught(function)) == ("DATA_CORRUPTION", False, rule)


@pytest.mark.parametrize(
    "read",
    [
        lambda: gzip.decompress(gzip.compress(b"x" * 1000)[:-10]),
        lambda: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(b"x" * 1000)[:-10])).read(),
        lambda: bz2.BZ2File(io.BytesIO(bz2.compress(b"x" * 1000)[:-10])).read(),
        lambda: lzma.LZMAFile(io.BytesIO(lzma.compress(b"x" * 1000)[:-10])).read(),  # noqa: SIM115 - a file in memory
    ],
)
def test_an_archive_that_is_cut_off(read: Callable[[], Any]) -> None:
    """The same EOFError as for a dropped connection, but what raised it tells."""
    error = caught(read)
    assert type(error) is EOFError
    assert judge(error) == ("DATA_CORRUPTION", False, "EOFError.archive")


def test_an_end_of_file_from_elsewhere() -> None:
    """An EOFError of anybody else, or one that was never raised, is unknown."""

    def ends() -> None:
        raise EOFError

    assert judge(caught(ends)) == ("UNKNOWN", False, "unknown")
    assert judge(EOFError()) == ("UNKNOWN", False, "unknown")


def test_an_end_of_file_from_a_module_without_a_name() -> None:
    """Code that runs without a module name is nobody's."""
    space: dict[str, Any] = {}
    exec("def ends():\n    raise EOFError", space)
    space["__name__"] = 5
    assert judge(caught(space["ends"])) == ("UNKNOWN", False, "unknown")


def test_a_very_long_traceback() -> None:
    """The search for who raised it ends somewhere."""
    error = caught(lambda: gzip.decompress(gzip.compress(b"x" * 1000)[:-10]))
    trace = error.__traceback__
    assert trace is not None
    for _ in range(20_000):
        trace = type(trace)(trace, trace.tb_frame, trace.tb_lasti, trace.tb_lineno)
    assert judge(error.with_traceback(trace))[2] == "unknown"


@pytest.mark.parametrize(
    ("error", "code", "rule"),
    [
        (MemoryError(), "MEMORY_ALLOC", "MemoryError"),
        (ValueError("x"), "INVALID_PARAM", "ValueError"),
        (TypeError("x"), "INVALID_PARAM", "TypeError"),
        (UnicodeEncodeError("ascii", "é", 0, 1, "x"), "INVALID_PARAM", "ValueError"),
        (io.UnsupportedOperation("read"), "INVALID_PARAM", "io.UnsupportedOperation"),
    ],
)
def test_builtins(error: Exception, code: str, rule: str) -> None:
    """What the program itself did wrong, and memory that ran out, are not retried."""
    assert judge(error) == (code, False, rule)


def test_an_oserror_that_is_a_value_error_too() -> None:
    """A known errno beats the general type, in whichever order a class names its bases."""
    both = type("Both", (ValueError, OSError), {})
    error = both()
    error.errno = 104
    assert judge(error)[0] == "CONNECTION_LOST"
    assert judge(both())[0] == "INVALID_PARAM"


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyError("x"), Exception("x"), AssertionError(), StopIteration()])
def test_what_nobody_knows(error: Exception) -> None:
    """Other errors are unknown, and unknown is not retried."""
    assert judge(error) == ("UNKNOWN", False, "unknown")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A database with one row, at which a second connection does not wait."""
    with sqlite3.connect(tmp_path / "x.db", timeout=0, isolation_level=None) as opened:
        opened.execute("create table t (a integer primary key, b text unique)")
        opened.execute("insert into t values (1, 'x')")
    yield opened
    opened.close()


def test_sqlite_is_busy(database: sqlite3.Connection, tmp_path: Path) -> None:
    """A database that another connection writes to is retryable, and surely unchanged."""
    other = sqlite3.connect(tmp_path / "x.db", timeout=0, isolation_level=None)
    database.execute("begin immediate")
    error = caught(lambda: other.execute("insert into t values (2, 'y')"))
    other.close()
    assert judge(error) == ("TIMEOUT", True, "sqlite3.BUSY")
    assert classify(error).effect == "none"


def test_sqlite_is_full(database: sqlite3.Connection) -> None:
    """A database that may not grow is a full disk."""
    database.execute("pragma max_page_count = 3")
    error = caught(lambda: database.execute("insert into t values (2, zeroblob(100000))"))
    assert judge(error) == ("DISK_FULL", False, "sqlite3.FULL")


@pytest.mark.parametrize("statement", ["insert into t values (1, 'y')", "insert into t values (2, 'x')"])
def test_sqlite_constraint(database: sqlite3.Connection, statement: str) -> None:
    """The extended codes (1555, 2067) are cut down to the primary one."""
    error = caught(lambda: database.execute(statement))
    assert getattr(error, "sqlite_errorcode", 0) > 255
    assert judge(error) == ("INVALID_PARAM", False, "sqlite3.CONSTRAINT")


def test_sqlite_errors_for_real(database: sqlite3.Connection, tmp_path: Path) -> None:
    """Wrong SQL, a file that is no database, one that may not be written, and one that cannot be opened."""
    assert judge(caught(lambda: database.execute("selekt")))[2] == "sqlite3.ERROR"
    (tmp_path / "no.db").write_bytes(b"no database, but long enough to be read as one" * 100)
    no = sqlite3.connect(tmp_path / "no.db")
    assert judge(caught(lambda: no.execute("select * from t"))) == ("DATA_CORRUPTION", False, "sqlite3.NOTADB")
    no.close()
    read = sqlite3.connect(f"file:{tmp_path / 'x.db'}?mode=ro", uri=True)
    assert judge(caught(lambda: read.execute("delete from t"))) == ("PERMISSION_DENIED", False, "sqlite3.READONLY")
    read.close()
    assert judge(caught(lambda: sqlite3.connect(tmp_path / "no" / "x.db"))) == ("FILE_IO", False, "sqlite3.CANTOPEN")


@pytest.mark.parametrize(
    ("number", "code", "retryable", "name"),
    [
        (3, "PERMISSION_DENIED", False, "PERM"),
        (262, "TIMEOUT", True, "LOCKED"),
        (517, "TIMEOUT", True, "BUSY"),
        (7, "MEMORY_ALLOC", False, "NOMEM"),
        (10, "FILE_IO", True, "IOERR"),
        (11, "DATA_CORRUPTION", False, "CORRUPT"),
        (18, "INVALID_PARAM", False, "TOOBIG"),
        (20, "INVALID_PARAM", False, "MISMATCH"),
        (21, "INVALID_PARAM", False, "MISUSE"),
        (23, "PERMISSION_DENIED", False, "AUTH"),
        (25, "INVALID_PARAM", False, "RANGE"),
    ],
)
def test_sqlite_codes(number: int, code: str, retryable: bool, name: str) -> None:
    """The lowest byte of the result code counts."""
    error = sqlite3.OperationalError("x")
    error.sqlite_errorcode = number
    assert judge(error) == (code, retryable, f"sqlite3.{name}")


@pytest.mark.parametrize("number", [9, "5", None, True])
def test_sqlite_code_that_says_nothing(number: Any) -> None:
    """A code that is no number, or not in the table, is unknown."""
    error = sqlite3.OperationalError("x")
    error.sqlite_errorcode = number
    assert judge(error) == ("UNKNOWN", False, "unknown")


def test_sqlite_misuse(database: sqlite3.Connection) -> None:
    """A closed database fails the same way again; so does a wrong call."""
    assert judge(caught(lambda: database.execute("select ?"))) == ("INVALID_PARAM", False, "sqlite3.ProgrammingError")
    database.close()
    error = caught(lambda: database.execute("select 1"))
    assert judge(error) == ("NOT_INITIALIZED", False, "sqlite3.ProgrammingError")
    assert judge(sqlite3.InterfaceError("x"))[2] == "unknown"


def test_shutil(tmp_path: Path) -> None:
    """Copying a file onto itself is a mistake; a tree that could not be copied is judged by each file's errno."""
    (tmp_path / "a").write_text("x")
    assert judge(caught(lambda: shutil.copyfile(tmp_path / "a", tmp_path / "a")))[:2] == ("INVALID_PARAM", False)

    def copy(error: OSError) -> Exception:
        def fails(source: str, target: str) -> None:
            raise error

        return caught(lambda: shutil.copytree(tmp_path, tmp_path / "b", copy_function=fails, dirs_exist_ok=True))

    full = copy(OSError(28, "No space left on device"))
    assert type(full) is shutil.Error
    assert judge(full) == ("DISK_FULL", False, "errno.ENOSPC")
    assert judge(copy(OSError(5, "Input/output error"))) == ("FILE_IO", True, "errno.EIO")
    assert judge(copy(OSError("what?")))[2] == "unknown"


@pytest.mark.parametrize("args", [(), ("text",), ([],), ([1],), ([("a", "b")],), ([("a", "b", 5)],)])
def test_shutil_without_numbers(args: tuple[Any, ...]) -> None:
    """A shutil.Error that lists no files with their errnos is unknown, and no file error."""
    assert judge(shutil.Error(*args)) == ("UNKNOWN", False, "unknown")


def test_shutil_special_file() -> None:
    """A named pipe cannot be copied, now or later."""
    assert judge(shutil.SpecialFileError("pipe"))[:2] == ("INVALID_PARAM", False)


def test_own_errors() -> None:
    """An operation that used up its retries is not retried by whoever is around it; nor is one that came too late."""
    assert judge(RetryExhausted("x", code=-6)) == ("RETRY_EXHAUSTED", False, "retrywrap.RetryExhausted")
    late = classify(DeadlineExceeded("x"))
    assert (late.code.name, late.retryable, late.effect) == ("TIMEOUT", False, "none")
    assert judge(RetryUsageError("x"))[:2] == ("INVALID_PARAM", False)
    assert judge(ConfigurationError("x")) == ("INVALID_PARAM", False, "retrywrap.ConfigurationError")
    assert judge(RetryWrapError("x"))[2] == "unknown"


def refused() -> OSError:
    """Return an error that is retryable and without effect."""
    return ConnectionRefusedError(111, "refused")


def test_group() -> None:
    """A group is retryable only if each error in it is; what they amount to is what the worst one says."""
    group = ExceptionGroup("both", [refused(), TimeoutError()])
    verdict = classify(group)
    assert (verdict.code.name, verdict.retryable, verdict.effect) == ("NETWORK", True, "unknown")
    assert verdict.message == "both (2 sub-exceptions)"
    assert classify(ExceptionGroup("", [refused(), refused()])).effect == "none"
    assert judge(ExceptionGroup("", [refused(), PermissionError()])) == ("PERMISSION_DENIED", False, "PermissionError")
    assert judge(ExceptionGroup("", [refused(), RuntimeError(), PermissionError()]))[1:] == (False, "unknown")


def test_nested_group() -> None:
    """Groups in groups count with all that is in them."""
    inner = ExceptionGroup("inner", [refused(), ExceptionGroup("innermost", [ValueError()])])
    assert judge(ExceptionGroup("", [refused(), inner]))[:2] == ("INVALID_PARAM", False)
    assert classify(ExceptionGroup("", [ExceptionGroup("", [refused()]), refused()])).retryable


def test_group_with_an_error_twice() -> None:
    """An error, or a group, that stands in it several times is looked at once, and counts all the same."""
    one = refused()
    group = ExceptionGroup("", [one, one])
    for _ in range(100):
        group = ExceptionGroup("", [group, group])
    assert classify(group).retryable


def test_group_with_an_error_that_is_another_ones_cause() -> None:
    """What was found by another way already keeps its verdict."""
    cause = refused()
    wrapper = RuntimeError("wrapped")
    wrapper.__cause__ = cause
    assert classify(ExceptionGroup("", [wrapper, cause])).retryable
    assert classify(ExceptionGroup("", [cause, wrapper])).retryable


def test_group_forbids_and_hints() -> None:
    """One cancellation in a group forbids the retry; the longest hint and a throttled answer count for all."""
    cancelled = classify(ExceptionGroup("", [refused(), concurrent.futures.CancelledError()]))
    assert (cancelled.forbid, cancelled.retryable) == (True, False)

    class Answer(Exception):
        def __init__(self, status: int, seconds: int) -> None:
            self.status = status
            self.headers = {"Retry-After": seconds}

    verdict = classify(ExceptionGroup("", [Answer(502, 3), Answer(429, 9), refused()]))
    assert (verdict.retryable, verdict.retry_after, verdict.throttled) == (True, 9.0, True)


def test_group_that_is_no_exception() -> None:
    """A group with a cancellation in it is no Exception, and never retried."""
    verdict = classify(BaseExceptionGroup("", [refused(), asyncio.CancelledError()]))
    assert (verdict.forbid, verdict.rule) == (True, "never.BaseExceptionGroup")


def test_huge_group() -> None:
    """A group of very many errors is not looked at in full, and so not retried."""
    assert classify(ExceptionGroup("", [refused() for _ in range(900)])).retryable
    verdict = classify(ExceptionGroup("", [refused() for _ in range(100_000)]))
    assert (verdict.retryable, verdict.rule) == (False, "unknown")


def test_deep_group() -> None:
    """However deep groups stand in groups, it costs no recursion."""
    group = ExceptionGroup("", [refused()])
    for _ in range(50_000):
        group = ExceptionGroup("", [group])
    assert classify(group).retryable


def test_unknown_group_is_not_excused_by_its_cause() -> None:
    """A group's cause does not make up for an error in it that is not retryable."""
    group = ExceptionGroup("", [RuntimeError()])
    group.__cause__ = refused()
    assert not classify(group).retryable


def test_every_leaf_is_explained() -> None:
    """The way to a group's verdict names the errors in it."""
    notes = [step.note for step in explain(ExceptionGroup("", [refused(), ValueError()]))]
    assert "holds a ConnectionRefusedError" in notes
    assert "holds a ValueError" in notes
