"""The errors of the standard library's network protocols, most of them from real clients against a loopback server."""

from __future__ import annotations

import contextlib
import ftplib
import http.client
import imaplib
import smtplib
import socket
import threading
import urllib.error
import urllib.request
import xmlrpc.client
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from retrywrap import with_retry
from retrywrap.classifiers import Verdict, classify
from retrywrap.testing import VirtualClock


@contextlib.contextmanager
def server(*replies: bytes) -> Iterator[int]:
    """Serve one connection: the first reply at once, each other one after a line has come in; then hang up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            peer, _ = listening.accept()
            peer.settimeout(10)
            with peer, peer.makefile("rb") as lines:
                peer.sendall(replies[0])
                for reply in replies[1:]:
                    lines.readline()
                    peer.sendall(reply)
                peer.shutdown(socket.SHUT_WR)
                lines.read()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


def caught(function: Callable[[], Any]) -> Exception:
    """Return the error that a call raises."""
    with pytest.raises(Exception) as info:  # noqa: PT011 - each test looks at what it is
        function()
    return info.value


def judge(error: BaseException) -> tuple[str, bool, str]:
    """Return code, whether it is retryable, and the rule without its beginning."""
    verdict = classify(error)
    return verdict.code.name, verdict.retryable, verdict.rule.removeprefix("stdlib.")


def http_error(answer: bytes) -> Exception:
    """Return what http.client raises on an answer."""
    with server(b"", answer) as port, contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, 5)) as client:

        def ask() -> None:
            client.request("GET", "/")
            client.getresponse().read()

        return caught(ask)


def test_http_server_hangs_up() -> None:
    """A server that closes without an answer: the connection was lost, and there is no errno."""
    error = http_error(b"")
    assert type(error) is http.client.RemoteDisconnected
    assert judge(error) == ("CONNECTION_LOST", True, "http.RemoteDisconnected")


def test_http_answer_breaks_off() -> None:
    """An answer that ends before its time, though that is no OSError."""
    error = http_error(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    assert type(error) is http.client.IncompleteRead
    assert judge(error) == ("CONNECTION_LOST", True, "http.IncompleteRead")


def test_http_answer_is_none() -> None:
    """A peer that does not talk HTTP is unknown: whether it will is anybody's guess."""
    error = http_error(b"hello\r\n")
    assert type(error) is http.client.BadStatusLine
    assert judge(error) == ("UNKNOWN", False, "unknown")


def test_http_misuse() -> None:
    """A connection that is not open, or not ready, fails again the same way; so does a wrong URL."""
    client = http.client.HTTPConnection("127.0.0.1")
    assert judge(caught(client.getresponse)) == ("NOT_INITIALIZED", False, "http.ImproperConnectionState")
    client.auto_open = 0
    assert judge(caught(lambda: client.send(b"x"))) == ("NOT_INITIALIZED", False, "http.NotConnected")
    assert judge(caught(lambda: client.putrequest("GET", "/ x"))) == ("INVALID_PARAM", False, "http.InvalidURL")


def open_url(url: str) -> Exception:
    """Return what urllib raises for a URL."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return caught(lambda: opener.open(url, timeout=5))


def test_urllib_status() -> None:
    """An error status, with the hint that came with it."""
    with server(b"", b"HTTP/1.1 503 Busy\r\nRetry-After: 9\r\nConnection: close\r\n\r\n") as port:
        error = open_url(f"http://127.0.0.1:{port}/")
        assert isinstance(error, urllib.error.HTTPError)
        verdict = classify(error)
        error.close()
    assert (verdict.rule, verdict.retryable, verdict.retry_after) == ("http.503", True, 9.0)


def test_urllib_refused() -> None:
    """A URLError means what its reason means."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        error = open_url(f"http://127.0.0.1:{reserved.getsockname()[1]}/")
    assert isinstance(error, urllib.error.URLError)
    assert judge(error) == ("NETWORK", True, "errno.ECONNREFUSED")
    assert classify(error).message == str(error)


def test_urllib_reasons() -> None:
    """A reason that is only text says nothing; a name that cannot be resolved says what the resolver says."""
    assert judge(open_url("nothing://x/")) == ("UNKNOWN", False, "unknown")
    assert judge(urllib.error.URLError(socket.gaierror(socket.EAI_AGAIN, ""))) == ("NETWORK", True, "socket.EAI_AGAIN")
    short = urllib.error.ContentTooShortError("short", ("file", None))  # type: ignore[arg-type]  # headers, which nobody reads
    assert judge(short) == ("CONNECTION_LOST", True, "urllib.ContentTooShortError")


def test_xmlrpc() -> None:
    """The status of an XML-RPC server; each call is a POST, so that a 500 is not retried."""
    busy = xmlrpc.client.ProtocolError("h/", 503, "Busy", {"Retry-After": "5"})
    assert classify(busy)[2:4] == (True, 5.0)
    assert judge(xmlrpc.client.ProtocolError("h/", 500, "Oops", {})) == ("UNKNOWN", False, "http.500")


def smtp(*replies: bytes, then: Callable[[smtplib.SMTP], Any] = lambda client: None) -> Exception:
    """Return what smtplib raises when a server gives these replies."""

    def talk() -> None:
        client = smtplib.SMTP(timeout=5)
        with contextlib.closing(client):
            client.connect("127.0.0.1", port)
            client.ehlo()
            then(client)

    with server(*replies) as port:
        return caught(talk)


def mail(client: smtplib.SMTP) -> None:
    """Send a message to two people."""
    client.sendmail("a@h", ["b@h", "c@h"], "text")


HELLO = (b"220 hello\r\n", b"250 h\r\n")


@pytest.mark.parametrize(
    ("reply", "code", "retryable", "rule"),
    [
        (b"421 busy", "NETWORK", True, "smtplib.4xx"),
        (b"451 later", "NETWORK", True, "smtplib.4xx"),
        (b"550 no such sender", "INVALID_PARAM", False, "smtplib.5xx"),
        (b"530 log in", "INVALID_PARAM", False, "smtplib.5xx"),
    ],
)
def test_smtp_replies(reply: bytes, code: str, retryable: bool, rule: str) -> None:
    """A reply that begins with 4 is temporary, one with 5 final; either way nothing was sent."""
    error = smtp(*HELLO, reply + b"\r\n", then=mail)
    assert isinstance(error, smtplib.SMTPResponseException)
    assert error.errno is None
    assert judge(error) == (code, retryable, rule)
    assert classify(error).effect == "none"


def test_smtp_end_of_a_block() -> None:
    """The mail was accepted, and then the end of the ``with`` block was answered badly: it must not be sent again."""
    mails: list[int] = []
    taken = (*[b"250 ok\r\n"] * 3, b"354 go on\r\n", b"", b"250 taken\r\n")

    def send() -> None:
        try:
            error = smtp(*HELLO, *taken, b"421 bye\r\n", then=block)
        finally:
            mails.append(1)
        raise error

    def block(client: smtplib.SMTP) -> None:
        with client:
            mail(client)

    with VirtualClock(), pytest.raises(smtplib.SMTPResponseException) as caught:
        with_retry(max=3, interval=1, idempotent=False)(send)()
    assert (type(caught.value), len(mails)) == (smtplib.SMTPResponseException, 1)
    assert judge(caught.value) == ("NETWORK", True, "smtplib.4xx")


def test_smtp_login() -> None:
    """A wrong password is final; a server that cannot check it now, 454, is not, though the class is the same."""

    def log_in(client: smtplib.SMTP) -> None:
        client.login("u", "p")

    hello = (b"220 hello\r\n", b"250-h\r\n250 AUTH PLAIN\r\n")
    wrong = smtp(*hello, b"535 wrong\r\n", then=log_in)
    later = smtp(*hello, b"454 later\r\n", then=log_in)
    assert type(wrong) is type(later) is smtplib.SMTPAuthenticationError
    assert judge(wrong) == ("PERMISSION_DENIED", False, "smtplib.535")
    assert judge(later) == ("NETWORK", True, "smtplib.4xx")


def test_smtp_recipients() -> None:
    """A message that no recipient was accepted for is retried only if each refusal was temporary."""
    error = smtp(*HELLO, b"250 ok\r\n", b"450 later\r\n", b"451 later\r\n", b"250 ok\r\n", then=mail)
    assert type(error) is smtplib.SMTPRecipientsRefused
    assert judge(error) == ("NETWORK", True, "smtplib.4xx")
    assert classify(error).effect == "none"
    error = smtp(*HELLO, b"250 ok\r\n", b"450 later\r\n", b"550 nobody\r\n", b"250 ok\r\n", then=mail)
    assert judge(error) == ("INVALID_PARAM", False, "smtplib.5xx")


@pytest.mark.parametrize("recipients", [{}, None, {"a": None}, {"a": (250, b"")}, {"a": ()}, {"a": ("x", b"")}])
def test_smtp_recipients_without_replies(recipients: Any) -> None:
    """Refusals without a reply that is known are unknown."""
    assert judge(smtplib.SMTPRecipientsRefused(recipients))[2] == "unknown"


def test_smtp_hangs_up() -> None:
    """A reply that was lost may be that to a message: the effect is unknown."""
    error = smtp(*HELLO, b"", then=mail)
    assert type(error) is smtplib.SMTPServerDisconnected
    assert judge(error) == ("CONNECTION_LOST", True, "smtplib.SMTPServerDisconnected")
    assert classify(error).effect == "unknown"


def test_smtp_is_not_connected() -> None:
    """The same class says of every later call that there is no connection: without a reconnect that stays so."""
    error = caught(lambda: smtplib.SMTP().noop())
    assert type(error) is smtplib.SMTPServerDisconnected
    assert judge(error)[:2] == ("NOT_INITIALIZED", False)


def test_smtp_others() -> None:
    """A command that the server does not have is final; a code that is none, and the base class, are unknown."""
    assert judge(smtplib.SMTPNotSupportedError("no"))[:2] == ("INVALID_PARAM", False)
    assert judge(smtplib.SMTPResponseException(-1, "?"))[2] == "unknown"
    assert judge(smtplib.SMTPException("?"))[2] == "unknown"


def ftp(*replies: bytes) -> Exception:
    """Return what ftplib raises when a server gives these replies to a login."""

    def talk() -> None:
        client = ftplib.FTP(timeout=5)
        with contextlib.closing(client):
            client.connect("127.0.0.1", port)
            client.login("u", "p")

    with server(*replies) as port:
        return caught(talk)


@pytest.mark.parametrize(
    ("reply", "code", "retryable", "rule"),
    [
        (b"421 busy", "NETWORK", True, "ftplib.error_temp"),
        (b"530 wrong", "PERMISSION_DENIED", False, "ftplib.530"),
        (b"552 full", "DISK_FULL", False, "ftplib.552"),
        (b"550 no file", "INVALID_PARAM", False, "ftplib.error_perm"),
    ],
)
def test_ftp_replies(reply: bytes, code: str, retryable: bool, rule: str) -> None:
    """A temporary reply is retried; a permanent one means what its number says, which is the text's beginning."""
    assert judge(ftp(b"220 hello\r\n", reply + b"\r\n")) == (code, retryable, rule)


@pytest.mark.parametrize("args", [(), (5,), ("",)])
def test_ftp_reply_without_a_number(args: tuple[Any, ...]) -> None:
    """A permanent error without a number is final too."""
    assert judge(ftplib.error_perm(*args)) == ("INVALID_PARAM", False, "ftplib.error_perm")


def test_ftp_hangs_up() -> None:
    """A control connection that is dropped is a bare EOFError, which its origin tells from the end of an archive."""
    error = ftp(b"220 hello\r\n", b"")
    assert (type(error), error.args) == (EOFError, ())
    assert judge(error) == ("CONNECTION_LOST", True, "EOFError.connection")


def test_imap() -> None:
    """A connection that the IMAP server broke off is retried, a read-only mailbox is not, and a refusal is unknown."""
    assert judge(imaplib.IMAP4.abort("socket error: EOF")) == ("CONNECTION_LOST", True, "imaplib.IMAP4.abort")
    assert judge(imaplib.IMAP4.readonly("x")) == ("PERMISSION_DENIED", False, "imaplib.IMAP4.readonly")
    assert judge(imaplib.IMAP4.error("x"))[2] == "unknown"


def test_the_verdict_is_a_verdict() -> None:
    """What functions of the tables answer is filled in: a message and a rule."""
    verdict = classify(ftplib.error_temp("421 busy"))
    assert isinstance(verdict, Verdict)
    assert (verdict.message, verdict.rule) == ("421 busy", "stdlib.ftplib.error_temp")
