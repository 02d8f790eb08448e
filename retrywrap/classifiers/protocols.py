"""What the errors of the standard library's network protocols mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from retrywrap.classifiers.guard import exact_int, key_of, read
from retrywrap.classifiers.http import BY_STATUS, by_status
from retrywrap.classifiers.rows import Codes, Entry, again, combine, inside, never, table
from retrywrap.classifiers.tries import unless_sent_before
from retrywrap.classifiers.verdict import Verdict
from retrywrap.codes import ErrorCode

__all__ = ["CODES", "TABLE"]

_MOST_RECIPIENTS = 1000
_LOST = again(ErrorCode.CONNECTION_LOST)
_INVALID = never(ErrorCode.INVALID_PARAM)
_NOT_CONNECTED = never(ErrorCode.NOT_INITIALIZED, "none")


def _by_urllib(error: Any) -> Verdict | None:
    """What the HTTP status says (code)."""
    return by_status(read(error, "code"), read(error, "headers"))


def _by_xmlrpc(error: Any) -> Verdict | None:
    """What the HTTP status says (errcode)."""
    return by_status(read(error, "errcode"), read(error, "headers"), "POST")


def _by_reply(code: object) -> Verdict | None:
    """Judge an SMTP reply: it says that what was asked was not done. Source: RFC 5321, section 4.2.1."""
    number = exact_int(code)
    if number is None or not 400 <= number <= 599:
        return None
    if number < 500:
        return again(ErrorCode.NETWORK, "none", rule="stdlib.smtplib.4xx")
    if number == 535:
        return never(ErrorCode.PERMISSION_DENIED, "none", rule="stdlib.smtplib.535")
    return never(ErrorCode.INVALID_PARAM, "none", rule="stdlib.smtplib.5xx")


def _by_smtp_code(error: Any) -> Verdict | None:
    """What the reply says (smtp_code); of a command that is not told, it may come after the mail was accepted."""
    verdict = _by_reply(read(error, "smtp_code"))
    # The end of a with block sends QUIT, and raises the plain class where that is answered otherwise than expected.
    untold = key_of(type(error))[1] == "smtplib.SMTPResponseException"
    return verdict._replace(effect="unknown") if verdict is not None and untold else verdict


def _by_recipients(error: Any) -> Verdict | None:
    """Judge a message that no recipient was accepted for: by the worst reply."""
    refused = read(error, "recipients")
    if type(refused) is not dict or not 0 < len(refused) <= _MOST_RECIPIENTS:
        return None
    replies = [_by_reply(reply[0]) if type(reply) is tuple and reply else None for reply in refused.values()]
    known = [verdict for verdict in replies if verdict is not None]
    return combine(known) if len(known) == len(replies) else None


def _by_connection(error: Any) -> Verdict:
    """Tell a connection that broke from one that was not there: on the latter every call fails the same way."""
    args = read(error, "args")
    return _NOT_CONNECTED if args == ("please run connect() first",) else _LOST


def _by_ftp_reply(error: Any) -> Verdict:
    """What the reply says, the text's first three characters."""
    args = read(error, "args")
    reply = args[0][:3] if type(args) is tuple and args and type(args[0]) is str else ""
    return _FTP_PERMANENT.get(reply, _INVALID)


_FTP_PERMANENT = {
    "530": never(ErrorCode.PERMISSION_DENIED, rule="stdlib.ftplib.530"),
    "552": never(ErrorCode.DISK_FULL, rule="stdlib.ftplib.552"),
}

_ENTRIES: Mapping[str, Entry] = {
    "http.RemoteDisconnected": _LOST,
    "http.IncompleteRead": _LOST,
    "http.NotConnected": _NOT_CONNECTED,
    "http.ImproperConnectionState": _NOT_CONNECTED,
    "http.InvalidURL": _INVALID,
    "urllib.HTTPError": unless_sent_before(_by_urllib),
    "urllib.ContentTooShortError": _LOST,
    "urllib.URLError": unless_sent_before(inside("reason")),
    "xmlrpc.ProtocolError": unless_sent_before(_by_xmlrpc),
    "smtplib.SMTPServerDisconnected": _by_connection,
    "smtplib.SMTPRecipientsRefused": _by_recipients,
    "smtplib.SMTPResponseException": _by_smtp_code,
    "smtplib.SMTPNotSupportedError": _INVALID,
    "ftplib.error_temp": again(ErrorCode.NETWORK),
    "ftplib.error_perm": _by_ftp_reply,
    "imaplib.IMAP4.abort": _LOST,
    "imaplib.IMAP4.readonly": never(ErrorCode.PERMISSION_DENIED),
}

TABLE = table(_ENTRIES, prefix="stdlib.", tier=1)
"""Rows of the classes of http.client, urllib, xmlrpc, smtplib, ftplib and imaplib."""

CODES = (
    Codes("urllib xmlrpc", "HTTP status", BY_STATUS),
    Codes("ftplib", "reply of error_perm", _FTP_PERMANENT),
)
