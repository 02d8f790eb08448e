"""The side that backs up: an HTTP client whose operations retry themselves."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPMessage, HTTPResponse
from typing import BinaryIO, NamedTuple
from urllib.parse import quote_from_bytes

from retrywrap.cli.demo.scan import Tree, open_plain, printable, read_blocks
from retrywrap.codes import ErrorCode
from retrywrap.decide.backoff import exponential
from retrywrap.run.ambient import remaining
from retrywrap.run.decorator import with_retry

__all__ = ["BackupError", "ChecksumMismatch", "Client", "FileChanged", "HTTPFailure", "Stored"]

PATIENCE = 0.5
"""Seconds without a sign of the server after which an attempt is given up."""

_LARGE = 16 << 20
_PATIENCE_LARGE = 5.0  # a disk that catches up with what it was given may keep the server waiting
_WAITS = exponential(0.05, cap=0.4, jitter="equal")


class BackupError(Exception):
    """Base of what goes wrong with a backup, apart from system and network."""


class ChecksumMismatch(BackupError):
    """The server says that it has something else than what was sent."""


class FileChanged(BackupError):
    """A file became shorter while it was read."""


class HTTPFailure(BackupError):
    """An answer that is no success; the classifier reads its attributes, as those of every HTTP library.

    Args:
        response: The answer.
    """

    def __init__(self, response: HTTPResponse) -> None:
        hint = response.headers["Retry-After"]
        super().__init__(f"HTTP {response.status} {response.reason}{f', Retry-After: {hint}' if hint else ''}")
        self.status = response.status
        self.headers = response.headers


def _corrupt(error: Exception) -> ErrorCode | None:
    """Give our own exceptions a code. By itself it is not retryable; ``on=`` says that here it is."""
    return ErrorCode.DATA_CORRUPTION if isinstance(error, ChecksumMismatch | FileChanged) else None


class Stored(NamedTuple):
    """What is backed up of one file.

    Attributes:
        size: Its bytes.
        checksum: Its SHA-256.
    """

    size: int
    checksum: str


class Client:
    """Sends files to the server; one connection, made anew after each failure.

    Args:
        port: The server's port.
        token: What every path begins with.
        tree: Where the files come from.
        sent: Called with the number of bytes of each block that is sent.

    Attributes:
        attempts: How often an operation was tried.
    """

    def __init__(self, port: int, token: str, tree: Tree, sent: Callable[[int], object] = lambda size: None) -> None:
        self.attempts = 0
        self._token = token
        self._tree = tree
        self._sent = sent
        self._connection = HTTPConnection("127.0.0.1", port, blocksize=1 << 20)

    @with_retry(max=10, interval=_WAITS, on=(ChecksumMismatch, FileChanged), classifier=_corrupt)
    def upload_file(self, name: str) -> Stored:
        """Send one file, and make sure that the server has it.

        Raises:
            ChecksumMismatch: It has something else.
        """
        self.attempts += 1
        checksum = hashlib.sha256()
        with open_plain(self._tree.path(name)) as file:
            size = os.fstat(file.fileno()).st_size
            self._request("PUT", name, self._blocks(file, name, size, checksum.update), size)
        stored = self.get_checksum(name)
        if stored != checksum.hexdigest():
            raise ChecksumMismatch(f"sent {checksum.hexdigest()[:8]}…, the server says {stored[:8]}…")
        return Stored(size, stored)

    @with_retry(max=10, interval=_WAITS)
    def get_checksum(self, name: str) -> str:
        """Ask the server for the checksum of what it has."""
        self.attempts += 1
        return str(self._request("HEAD", name)["ETag"]).strip('"')

    @with_retry(max=10, interval=_WAITS)
    def make_folder(self, name: str) -> None:
        """Have the server make an empty folder."""
        self.attempts += 1
        self._request("MKCOL", name)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _blocks(self, file: BinaryIO, name: str, size: int, update: Callable[[bytes], object]) -> Iterator[bytes]:
        """Yield exactly `size` bytes of a file, which is what was announced."""
        left = size
        for block in read_blocks(file, size):
            if remaining() == 0:
                raise TimeoutError(f"the time was over with {left} of {size} bytes still to be sent")
            update(block)
            yield block
            left -= len(block)
            self._sent(len(block))
        if left:
            raise FileChanged(f"{printable(name)} lost {left} of {size} bytes while it was read")

    def _request(self, method: str, name: str, body: Iterator[bytes] | None = None, size: int = 0) -> HTTPMessage:
        """Make one request; return the headers of its answer."""
        patience = self._set_timeout(_PATIENCE_LARGE if size > _LARGE else PATIENCE)
        try:
            path = f"/{self._token}/{quote_from_bytes(os.fsencode(name))}"
            self._connection.request(method, path, body, {"Content-Length": str(size)})
            response = self._connection.getresponse()
            response.read()
        except BaseException as error:
            self._connection.close()  # nobody knows what it still holds
            if isinstance(error, TimeoutError) and not error.errno and error.args == ("timed out",):
                raise TimeoutError(f"no sign of the server for {patience:g} s") from None
            raise
        if response.status >= 400:
            raise HTTPFailure(response)
        return response.headers

    def _set_timeout(self, patience: float) -> float:
        """Let nothing take longer than our patience, nor than what is left of the scope's time."""
        left = remaining()
        self._connection.timeout = patience if left is None else max(0.01, min(patience, left))
        if self._connection.sock is not None:
            self._connection.sock.settimeout(self._connection.timeout)
        return self._connection.timeout
