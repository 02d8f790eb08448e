"""What TDengine's errors mean: those of taospy's native client and of its REST client, and of taos-ws-py.

No class says anything: taosrest raises `ConnectError` for every statement that failed. The number does, which is the
server's, masked to 16 bits or not; taosws has it in the text alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from retrywrap.classifiers.guard import exact_int, read
from retrywrap.classifiers.http import by_attributes
from retrywrap.classifiers.oserrors import by_numbers
from retrywrap.classifiers.rows import Codes, Entry, again, never, table
from retrywrap.classifiers.verdict import Verdict
from retrywrap.codes import ErrorCode

__all__ = ["CODES", "TABLE"]

_LONGEST_TEXT = 10_000
_OS_ERROR = 0x80FF
# Stands for a bad certificate and a wrong name too.
_CONNECTING = 0xE001
_CODE = re.compile(r"\[0x([0-9A-Fa-f]{1,8})\]")

_INVALID = never(ErrorCode.INVALID_PARAM)
_DENIED = never(ErrorCode.PERMISSION_DENIED)
_FULL = never(ErrorCode.DISK_FULL)
_CORRUPT = never(ErrorCode.DATA_CORRUPTION)
_UNREACHED = again(ErrorCode.NETWORK)
_LOST = again(ErrorCode.CONNECTION_LOST)
_TIMEOUT = again(ErrorCode.TIMEOUT)
_STATE = again(ErrorCode.UNKNOWN)
_UNKNOWN = never(ErrorCode.UNKNOWN)
_BUSY = again(ErrorCode.NETWORK, throttled=True)

# A statement may write to several nodes, and a number comes from the one that failed: the others may have written, so
# that no effect is "none".
#
# Source: TDengine's include/util/taoserror.h, and "Error Codes" in its reference manual.
_SERVER: Mapping[int, tuple[str, Verdict]] = {
    0x000B: ("RPC_NETWORK_UNAVAIL", _UNREACHED),
    0x0013: ("TIME_UNSYNCED", _INVALID),
    0x0015: ("RPC_FQDN_ERROR", _INVALID),
    0x0017: ("RPC_PORT_EADDRINUSE", never(ErrorCode.INIT_FAILED)),
    0x0018: ("RPC_BROKEN_LINK", _LOST),
    0x0019: ("RPC_TIMEOUT", _TIMEOUT),
    0x0020: ("RPC_SOMENODE_NOT_CONNECTED", _UNREACHED),
    0x0021: ("RPC_SOMENODE_BROKEN_LINK", _LOST),
    0x0022: ("RPC_MAX_SESSIONS", _BUSY),
    0x0023: ("RPC_NETWORK_ERROR", _UNREACHED),
    0x0024: ("RPC_NETWORK_BUSY", _BUSY),
    0x0026: ("RPC_MODULE_QUIT", never(ErrorCode.NOT_INITIALIZED)),
    0x0102: ("OUT_OF_MEMORY", never(ErrorCode.MEMORY_ALLOC)),
    0x0104: ("FILE_CORRUPTED", _CORRUPT),
    0x011F: ("CHECKSUM_ERROR", _CORRUPT),
    0x0125: ("NEED_RETRY", _STATE),
    0x0129: ("NO_AVAIL_DISK", _FULL),
    0x012B: ("NO_DISKSPACE", _FULL),
    0x012C: ("TIMEOUT_ERROR", _TIMEOUT),
    0x012E: ("NO_ENOUGH_DISKSPACE", _FULL),
    0x0130: ("APP_IS_STARTING", _UNREACHED),
    0x0131: ("APP_IS_STOPPING", _UNREACHED),
    0x020B: ("TSC_INVALID_CONNECTION", never(ErrorCode.NOT_INITIALIZED)),
    0x020F: ("TSC_QUERY_CANCELLED", _UNKNOWN),
    0x0213: ("TSC_DISCONNECTED", _LOST),
    0x0214: ("TSC_NO_WRITE_AUTH", _DENIED),
    0x0215: ("TSC_CONN_KILLED", _UNKNOWN),
    0x022D: ("TSC_QUERY_KILLED", _UNKNOWN),
    0x02FF: ("TSC_INTERNAL_ERROR", _UNKNOWN),
    0x0303: ("MND_NO_RIGHTS", _DENIED),
    0x0315: ("MND_USER_DISABLED", _DENIED),
    0x0357: ("MND_AUTH_FAILURE", _DENIED),
    0x0386: ("MND_DB_IN_DROPPING", _STATE),
    0x0396: ("MND_DB_IN_CREATING", _STATE),
    0x03B8: ("MND_DNODE_IN_CREATING", _STATE),
    0x03B9: ("MND_DNODE_IN_DROPPING", _STATE),
    0x03D3: ("MND_TRANS_CONFLICT", _STATE),
    # These two go on in the background: a second one would come on top.
    0x03D5: ("MND_TRANS_NETWORK_UNAVAILL", _UNKNOWN),
    0x03D7: ("MND_TRANS_SYNC_TIMEOUT", _UNKNOWN),
    0x03EF: ("MND_IN_REBALANCE", _STATE),
    0x0512: ("VND_NO_WRITE_AUTH", _DENIED),
    0x0529: ("VND_STOPPED", _UNREACHED),
    # The server has this request already.
    0x0530: ("VND_DUP_REQUEST", _UNKNOWN),
    0x0903: ("SYN_TIMEOUT", _TIMEOUT),
    0x090C: ("SYN_NOT_LEADER", _UNREACHED),
    0x0911: ("SYN_PROPOSE_NOT_READY", _UNREACHED),
    0x0914: ("SYN_RESTORING", _UNREACHED),
    0x2644: ("PAR_PERMISSION_DENIED", _DENIED),
}

# Source: the table of error codes of the WebSocket connector in TDengine's reference manual.
_WEBSOCKET: Mapping[int, tuple[str, Verdict]] = {
    0xE000: ("DSN", _INVALID),
    _CONNECTING: ("WEBSOCKET", _UNREACHED),
    0xE002: ("CONNECTION_CLOSED", _LOST),
    0xE003: ("SEND_TIMEOUT", _TIMEOUT),
    0xE004: ("RECEIVE_TIMEOUT", _TIMEOUT),
    0xE005: ("IO", _UNREACHED),
    0xE006: ("AUTHENTICATION", _DENIED),
    0xE007: ("DECODING", _CORRUPT),
    0xE008: ("CONNECTION_RESET", _LOST),
    0xE009: ("PERMISSION", _DENIED),
}

_RANGES: tuple[tuple[int, Verdict], ...] = ((0x02, _INVALID), (0x08, _DENIED), (0x26, _INVALID))

_CODES: Mapping[int, Verdict] = {
    **{
        number: verdict._replace(rule=f"tdengine.0x{high:02X}xx")
        for high, verdict in _RANGES
        for number in range(high << 8, (high + 1) << 8)
    },
    **{
        number: verdict._replace(rule=f"tdengine.0x{number:04X}.{name}")
        for number, (name, verdict) in {**_SERVER, **_WEBSOCKET}.items()
    },
}

# What fails the same way again though it has no number, or one that says less.
_TEXTS: tuple[tuple[re.Pattern[str], Verdict], ...] = (
    (
        re.compile(r"unable to load taos client library|unsupported platform"),
        never(ErrorCode.INIT_FAILED, "none", rule="tdengine.no native library"),
    ),
    (
        re.compile(
            r"(?:Cursor|Connection|Consumer) (?:is not connected|(?:was|has been|is) (?:already )?closed)", re.I
        ),
        never(ErrorCode.NOT_INITIALIZED, "none", rule="tdengine.closed"),
    ),
    (re.compile(r"Unrecognized configs"), never(ErrorCode.INVALID_PARAM, "none", rule="tdengine.configuration")),
    (
        re.compile(r"(?:\[0xE001\] )?Internal error: .{0,100}invalid peer certificate", re.S),
        never(ErrorCode.PERMISSION_DENIED, "none", rule="tdengine.certificate"),
    ),
    (
        re.compile(r"(?:\[0xE001\] )?Internal error: .{0,100}Name or service not known", re.S),
        never(ErrorCode.INVALID_PARAM, "none", rule="tdengine.name"),
    ),
    (re.compile(r"Internal error: `invalid driver|No `:` found in "), _INVALID._replace(rule="tdengine.DSN")),
)


def _by_number(number: int | None) -> Verdict | None:
    """Judge a number in any of its forms: 16 bits, or 32 with or without a sign, where 0x80FF means an errno."""
    if number is None or not -(2**31) <= number < 2**32:
        return None
    origin, code = divmod(number & 0xFFFF_FFFF, 0x1_0000)
    if origin == _OS_ERROR:
        found = by_numbers((f"[Errno {code}]",))
        return None if found is None else found._replace(effect="unknown")
    return _CODES.get(code) if origin in (0, 0x8000) else None


def _by_text(text: object) -> Verdict | None:
    """Judge by the beginning of a text: further on it may quote a statement."""
    if type(text) is not str:
        return None
    start = text[:_LONGEST_TEXT]
    return next((verdict for form, verdict in _TEXTS if form.match(start)), None)


def _by_errno(error: Any) -> Verdict | None:
    """Judge an error of taos or taosrest by its number, which is no errno though it is called so."""
    return _by_number(exact_int(read(error, "errno"))) or _by_text(read(error, "msg"))


def _by_websocket(error: Any) -> Verdict | None:
    """Judge an error of taosws, whose number stands at the beginning of its text."""
    args = read(error, "args")
    text = args[0] if type(args) is tuple and args else None
    if type(text) is not str:
        return None
    found = _CODE.match(text)
    number = None if found is None else int(found[1], 16)
    if number not in (None, _CONNECTING):
        return _by_number(number)
    return _by_text(text) or _by_number(number)


def _by_websocket_connect(error: Any) -> Verdict | None:
    """Judge a connection that was not made: there was no statement yet."""
    verdict = _by_websocket(error)
    return None if verdict is None else verdict._replace(effect="none")


_TDENGINE: Mapping[str, Entry] = {
    "taos.Error": _by_errno,
    "taos.NotSupportedError": never(ErrorCode.INVALID_PARAM, "none"),
    "taos.DataTypeAndRangeError": never(ErrorCode.INVALID_PARAM, "none"),
    "taosrest.Error": _by_errno,
    "taosrest.NotSupportedError": never(ErrorCode.INVALID_PARAM, "none"),
    "taosrest.HTTPError": by_attributes,
    "_taosws.Error": _by_websocket,
    "_taosws.InterfaceError": _by_websocket,
    "_taosws.ConnectionError": _by_websocket_connect,
    "_taosws.NotSupportedError": never(ErrorCode.INVALID_PARAM, "none"),
}

TABLE = table(_TDENGINE, prefix="tdengine.")
"""Rows of the classes of taospy and taos-ws-py."""

_NAMES = {f"0x{number:04X} {name}": verdict for number, (name, verdict) in {**_SERVER, **_WEBSOCKET}.items()}
CODES = (Codes("taos taosrest _taosws", "number", {**_NAMES, **{f"0x{high:02X}…": v for high, v in _RANGES}}),)
