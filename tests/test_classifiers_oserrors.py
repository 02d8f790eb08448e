"""The operating system's errors: by errno, and by type where there is none. Many are provoked for real."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from retrywrap.classifiers import Verdict, classify

LINUX = Path("/proc/self").exists()
NEEDS_LINUX = pytest.mark.skipif(not LINUX, reason="needs Linux")

BY_ERRNO = {
    "DISK_FULL": (False, "unknown", "ENOSPC EDQUOT EFBIG"),
    "PERMISSION_DENIED": (False, "unknown", "EACCES EPERM EROFS"),
    "CONNECTION_LOST": (True, "unknown", "ECONNRESET EPIPE ECONNABORTED ESHUTDOWN ENOTCONN ENETRESET"),
    "NETWORK": (True, "none", "ECONNREFUSED ENETUNREACH EHOSTUNREACH ENETDOWN EHOSTDOWN EADDRNOTAVAIL"),
    "INIT_FAILED": (False, "none", "EADDRINUSE"),
    "TIMEOUT": (True, "unknown", "ETIMEDOUT"),
    "FILE_IO": (True, "unknown", "EIO ESTALE EBUSY ETXTBSY EINTR ENFILE EMFILE EAGAIN"),
    "MEMORY_ALLOC": (False, "unknown", "ENOMEM ENOBUFS"),
    "DATA_CORRUPTION": (False, "unknown", "EUCLEAN EBADMSG EILSEQ"),
    "INVALID_PARAM": (
        False,
        "unknown",
        "ENOENT ENOTDIR EISDIR EEXIST ENAMETOOLONG ELOOP EINVAL EBADF ENOTEMPTY EXDEV",
    ),
}


def judge(error: BaseException) -> tuple[str, bool, str]:
    """Return code, whether it is retryable, and the rule."""
    verdict = classify(error)
    return verdict.code.name, verdict.retryable, verdict.rule


def failing(function: Any, *args: Any) -> Verdict:
    """Return the verdict on the error that a call raises."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 - each test looks at the verdict's rule, which names the errno
        function(*args)
    return classify(caught.value)


@pytest.mark.parametrize(
    ("name", "code", "retryable", "effect"),
    [(name, code, again, effect) for code, (again, effect, names) in BY_ERRNO.items() for name in names.split()],
)
def test_errno(name: str, code: str, retryable: bool, effect: str) -> None:
    """Each errno that this system has means what the table says, whatever subclass `OSError` makes of it."""
    number = getattr(errno, name, None)
    if number is None:
        pytest.skip(f"this system has no {name}")
    error = OSError(number, os.strerror(number))
    verdict = classify(error)
    assert (verdict.code.name, verdict.retryable, verdict.effect) == (code, retryable, effect)
    assert verdict.rule == f"stdlib.errno.{name}"
    assert verdict.message == str(error)
    assert verdict.retry_after is None
    assert not verdict.forbid


def test_an_errno_that_nobody_knows() -> None:
    """Another errno is unknown, and not retried."""
    assert judge(OSError(99_999, "?")) == ("UNKNOWN", False, "unknown")
    assert judge(OSError("a", "b")) == ("UNKNOWN", False, "unknown")


def test_an_errno_in_progress_is_unknown() -> None:
    """EINPROGRESS makes a BlockingIOError as EAGAIN does, but is no busy file."""
    assert isinstance(OSError(errno.EINPROGRESS, ""), BlockingIOError)
    assert judge(OSError(errno.EINPROGRESS, "")) == ("UNKNOWN", False, "unknown")


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (ConnectionRefusedError("x"), "NETWORK", True),
        (ConnectionResetError("Connection lost"), "CONNECTION_LOST", True),
        (ConnectionAbortedError(), "CONNECTION_LOST", True),
        (BrokenPipeError(), "CONNECTION_LOST", True),
        (ConnectionError("flaky"), "NETWORK", True),
        (TimeoutError(), "TIMEOUT", True),
        (asyncio.TimeoutError(), "TIMEOUT", True),  # noqa: UP041 - the alias is what many still raise
        (socket.timeout("timed out"), "TIMEOUT", True),  # noqa: UP041 - likewise
        (InterruptedError(), "FILE_IO", True),
        (PermissionError(), "PERMISSION_DENIED", False),
        (FileNotFoundError(), "INVALID_PARAM", False),
        (FileExistsError(), "INVALID_PARAM", False),
        (IsADirectoryError(), "INVALID_PARAM", False),
        (NotADirectoryError(), "INVALID_PARAM", False),
    ],
)
def test_type_without_errno(error: OSError, code: str, retryable: bool) -> None:
    """Where there is no errno, the builtin type tells."""
    assert error.errno is None
    assert judge(error) == (code, retryable, f"stdlib.{type(error).__name__}")


def test_a_server_without_tls() -> None:
    """asyncpg says with a bare ConnectionError that a server has no TLS: it will have none next time either."""
    error = ConnectionError('PostgreSQL server at "db:5432" rejected SSL upgrade')
    assert judge(error) == ("INVALID_PARAM", False, "stdlib.ConnectionError.tls")


def test_errno_beats_the_type() -> None:
    """An errno that the table knows says more than the type it comes in."""
    assert judge(ConnectionError(errno.ENOSPC, "x"))[2] == "stdlib.errno.ENOSPC"
    assert judge(ConnectionResetError(99_999, "x"))[2] == "stdlib.ConnectionResetError"


def test_a_subclass_is_judged_as_its_base() -> None:
    """A class of one's own under a builtin one means the same, with and without errno."""

    class Dropped(ConnectionResetError):
        pass

    class Broken(OSError):
        pass

    assert judge(Dropped("x"))[:2] == ("CONNECTION_LOST", True)
    assert judge(Broken(errno.EIO, "x"))[2] == "stdlib.errno.EIO"


@pytest.mark.parametrize("error", [OSError("text"), OSError(), OSError(None, "x")])
def test_no_errno_and_no_type(error: OSError) -> None:
    """A bare OSError without an errno, as bz2 and others raise it, is unknown: it is not taken for a file error."""
    assert judge(error) == ("UNKNOWN", False, "unknown")


def test_several_failed_connections() -> None:
    """asyncio tells in one text what happened at each address: retried only if each may succeed the next time."""
    refused = "Multiple exceptions: [Errno {0}] Connect call failed ('::1', 1, 0, 0), [Errno {1}] Connect call failed"
    verdict = classify(OSError(refused.format(errno.ECONNREFUSED, errno.ECONNREFUSED)))
    assert (verdict.rule, verdict.retryable, verdict.effect) == ("stdlib.errno.ECONNREFUSED", True, "none")
    verdict = classify(OSError(refused.format(errno.ECONNREFUSED, errno.EACCES)))
    assert (verdict.rule, verdict.retryable) == ("stdlib.errno.EACCES", False)
    verdict = classify(OSError(refused.format(errno.ECONNREFUSED, errno.ETIMEDOUT)))
    assert (verdict.retryable, verdict.effect) == (True, "unknown")
    assert classify(OSError(refused.format(errno.ECONNREFUSED, 99_999))).rule == "unknown"
    assert classify(OSError("Multiple exceptions: none")).rule == "unknown"
    assert classify(OSError(f"it said [Errno {errno.ECONNREFUSED}]")).rule == "unknown"


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine at which nobody listens."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def test_refused_for_real(closed_port: int) -> None:
    """A connection to a port at which nobody listens is retryable, and surely without effect."""
    verdict = failing(socket.create_connection, ("127.0.0.1", closed_port), 5)
    assert (verdict.rule, verdict.retryable, verdict.effect) == ("stdlib.errno.ECONNREFUSED", True, "none")


def test_refused_for_real_in_asyncio(closed_port: int) -> None:
    """The same through asyncio, at one address."""
    verdict = failing(asyncio.run, asyncio.wait_for(asyncio.open_connection("127.0.0.1", closed_port), 5))
    assert verdict.rule == "stdlib.errno.ECONNREFUSED"


def test_reset_for_real() -> None:
    """A peer that drops the connection with a reset: retryable, the effect unknown."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), 5) as client:
        peer, _ = server.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        verdict = failing(client.recv, 1)
    assert (verdict.rule, verdict.retryable, verdict.effect) == ("stdlib.errno.ECONNRESET", True, "unknown")


def test_timeout_for_real() -> None:
    """A socket's own timeout has no errno, and is a timeout."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.001)
        assert failing(ours.recv, 1).rule == "stdlib.TimeoutError"


def test_address_in_use_for_real() -> None:
    """A port that is taken stays taken: the start failed."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as second:
        verdict = failing(second.bind, server.getsockname())
    assert (verdict.code.name, verdict.retryable, verdict.rule) == ("INIT_FAILED", False, "stdlib.errno.EADDRINUSE")


@NEEDS_LINUX
def test_disk_full_for_real() -> None:
    """A write to a full device is no matter of trying again."""
    with open("/dev/full", "wb", buffering=0) as full:
        verdict = failing(full.write, b"x")
    assert (verdict.code.name, verdict.retryable, verdict.rule) == ("DISK_FULL", False, "stdlib.errno.ENOSPC")


@NEEDS_LINUX
def test_file_too_large_for_real(tmp_path: Path) -> None:
    """A file that has reached the process's limit counts as a full disk."""
    from limits import largest_file

    with open(tmp_path / "x", "wb", buffering=0) as file, largest_file(0):
        verdict = failing(file.write, b"x")
    assert verdict.rule == "stdlib.errno.EFBIG"


@NEEDS_LINUX
def test_too_many_open_files_for_real(tmp_path: Path) -> None:
    """A process that has no file descriptor left may have one later."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        verdict = failing(os.open, tmp_path, os.O_RDONLY)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert (verdict.rule, verdict.retryable) == ("stdlib.errno.EMFILE", True)


@NEEDS_LINUX
def test_locked_file_for_real(tmp_path: Path) -> None:
    """A lock that somebody else holds may be free the next time."""
    import fcntl

    with open(tmp_path / "x", "w") as one, open(tmp_path / "x") as other:
        fcntl.flock(one, fcntl.LOCK_EX)
        verdict = failing(fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert (verdict.rule, verdict.retryable) == ("stdlib.errno.EAGAIN", True)


@pytest.mark.parametrize(
    ("function", "rule"),
    [
        (lambda path: os.open(path / "no", os.O_RDONLY), "ENOENT"),
        (lambda path: os.open(path, os.O_WRONLY), "EISDIR"),
        (lambda path: os.mkdir(path), "EEXIST"),
        (lambda path: os.rmdir(path.parent), "ENOTEMPTY"),
        (lambda path: os.open(path / ("x" * 10_000), os.O_RDONLY), "ENAMETOOLONG"),
        (lambda path: os.close(10_000_000), "EBADF"),
    ],
)
@NEEDS_LINUX
def test_wrong_use_of_files_for_real(tmp_path: Path, function: Any, rule: str) -> None:
    """What fails for a name, a folder or a descriptor that is wrong is not retried."""
    verdict = failing(function, tmp_path)
    assert (verdict.code.name, verdict.retryable, verdict.rule) == ("INVALID_PARAM", False, f"stdlib.errno.{rule}")


@pytest.mark.parametrize(
    ("error", "code", "retryable", "rule"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "try again"), "NETWORK", True, "stdlib.socket.EAI_AGAIN"),
        (socket.gaierror(socket.EAI_MEMORY, "memory"), "MEMORY_ALLOC", False, "stdlib.socket.EAI_MEMORY"),
        (socket.gaierror(socket.EAI_NONAME, "no name"), "INVALID_PARAM", False, "stdlib.socket.gaierror"),
        (socket.gaierror(socket.EAI_FAIL, "failed"), "INVALID_PARAM", False, "stdlib.socket.gaierror"),
        (socket.gaierror("text"), "INVALID_PARAM", False, "stdlib.socket.gaierror"),
        (socket.herror(1, "unknown host"), "INVALID_PARAM", False, "stdlib.socket.herror"),
    ],
)
def test_names_that_cannot_be_resolved(error: OSError, code: str, retryable: bool, rule: str) -> None:
    """The resolver's numbers are its own: no errno, and no code of the taxonomy, though they collide with both."""
    assert judge(error) == (code, retryable, rule)
    assert classify(error).effect == "none"


def test_an_address_that_cannot_be_for_real() -> None:
    """The resolver itself raises what the table expects."""
    verdict = failing(socket.getaddrinfo, "256.256.256.256", 80, 0, 0, 0, socket.AI_NUMERICHOST)
    assert (verdict.code.name, verdict.retryable) == ("INVALID_PARAM", False)


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (ssl.SSLCertVerificationError(1, "certificate verify failed"), "PERMISSION_DENIED", False),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), "CONNECTION_LOST", True),
        (ssl.SSLZeroReturnError(6, "closed"), "CONNECTION_LOST", True),
        (ssl.SSLSyscallError(5, "syscall"), "CONNECTION_LOST", True),
        (ssl.SSLWantReadError(2, "did not complete"), "INVALID_PARAM", False),
        (ssl.SSLWantWriteError(3, "did not complete"), "INVALID_PARAM", False),
        (ssl.SSLError(1, "wrong version number"), "INVALID_PARAM", False),
    ],
)
def test_ssl(error: ssl.SSLError, code: str, retryable: bool) -> None:
    """TLS errors go by their class: their errno is OpenSSL's, and collides with EPERM, ENOENT and others."""
    assert judge(error)[:2] == (code, retryable)
    assert judge(error)[2].startswith("stdlib.ssl.")


def test_ssl_for_real() -> None:
    """A handshake without a peer, with one that hangs up, and with one that talks no TLS."""

    def handshake(received: bytes, end: bool) -> None:
        incoming = ssl.MemoryBIO()
        incoming.write(received)
        if end:
            incoming.write_eof()
        with contextlib.closing(socket.socket()):
            ssl.create_default_context().wrap_bio(incoming, ssl.MemoryBIO(), server_hostname="h").do_handshake()

    assert failing(handshake, b"", False).rule == "stdlib.ssl.SSLError"
    assert failing(handshake, b"", True).rule == "stdlib.ssl.SSLEOFError"
    assert failing(handshake, b"HTTP/1.1 400 Bad Request\r\n\r\n", False).code.name == "INVALID_PARAM"
