"""The errors of TDengine's clients, by look-alikes and, where it is installed, by the real library's classes."""

from __future__ import annotations

import errno
import importlib
import importlib.util
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from servers.common import library, missing, need

from retrywrap.classifiers import classify


def fake(name: str, *bases: type) -> type[Any]:
    """Return a class that looks like a library's: ``"taosrest.errors.ConnectError"``."""
    module, _, qualname = name.rpartition(".")
    return type(qualname, bases or (Exception,), {"__module__": module})


class Base(Exception):
    """What all errors of taos and taosrest have."""

    def __init__(self, msg: Any = None, errno: Any = 0xFFFF, status: str = "") -> None:
        self.msg, self.errno, self.status = msg, errno, status

    def __str__(self) -> str:
        return f"[0x{self.errno & 0xFFFF:04x}]: {self.msg}"


def client(module: str, *names: str) -> SimpleNamespace:
    """Return look-alikes of a client's classes, all of them direct subclasses of its Error."""
    root = fake(f"{module}.Error", Base)
    return SimpleNamespace(Error=root, **{name: fake(f"{module}.{name}", root) for name in names})


TAOS = client(
    "taos.error",
    "InterfaceError",
    "ConnectionError",
    "ProgrammingError",
    "StatementError",
    "OperationalError",
    "NotSupportedError",
    "DataTypeAndRangeError",
)
TAOSREST = client("taosrest.errors", "ConnectError", "ExecutionError", "OperationalError", "NotSupportedError")


def real_taos() -> Any:
    """Return the native client's classes, whose package needs the native library; skip, or fail, without them."""
    spec = importlib.util.find_spec("taos")
    if spec is None or not spec.submodule_search_locations:
        missing("taos")
    found = importlib.util.spec_from_file_location("taos.error", f"{spec.submodule_search_locations[0]}/error.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(params=["look-alikes", "taospy"])
def taos(request: pytest.FixtureRequest) -> Any:
    """The exceptions of taospy's native client."""
    return TAOS if request.param == "look-alikes" else real_taos()


@pytest.fixture(params=["look-alikes", "taospy"])
def taosrest(request: pytest.FixtureRequest) -> Any:
    """The exceptions of taospy's REST client."""
    if request.param == "look-alikes":
        return TAOSREST
    return library("taosrest.errors")


WEBSOCKET = SimpleNamespace(Error=fake("_taosws.Error"), InterfaceError=fake("_taosws.InterfaceError"))
WEBSOCKET.QueryError = fake("_taosws.QueryError", WEBSOCKET.Error)
WEBSOCKET.ConnectionError = fake("_taosws.ConnectionError", WEBSOCKET.Error)
WEBSOCKET.NotSupportedError = fake("_taosws.NotSupportedError", WEBSOCKET.Error)


@pytest.fixture(params=["look-alikes", "taosws"])
def taosws(request: pytest.FixtureRequest) -> Any:
    """The exceptions of taos-ws-py."""
    return WEBSOCKET if request.param == "look-alikes" else library("taosws")


def as_hex(value: object) -> str | None:
    """Return the name of a test for a number of TDengine's."""
    return f"0x{value:04X}" if type(value) is int else None


def judge(error: BaseException) -> tuple[str, bool, str]:
    """Return code, whether it is retryable, and the effect."""
    verdict = classify(error)
    return verdict.code.name, verdict.retryable, verdict.effect


SERVER = [
    *((code, "NETWORK", True) for code in (0x000B, 0x0020, 0x0022, 0x0023, 0x0024)),
    *((code, "CONNECTION_LOST", True) for code in (0x0018, 0x0021, 0x0213)),
    *((code, "TIMEOUT", True) for code in (0x0019, 0x012C, 0x0903)),
    *((code, "NETWORK", True) for code in (0x0130, 0x0131, 0x0529, 0x090C, 0x0911, 0x0914)),
    *((code, "UNKNOWN", True) for code in (0x0125, 0x0386, 0x0396, 0x03B8, 0x03B9, 0x03D3, 0x03EF)),
    *((code, "UNKNOWN", False) for code in (0x03D5, 0x03D7, 0x0530, 0x020F, 0x0215, 0x022D, 0x02FF)),
    *((code, "INVALID_PARAM", False) for code in (0x0013, 0x0015, 0x0200, 0x0216, 0x0217, 0x2600, 0x2603, 0x26FF)),
    *((code, "PERMISSION_DENIED", False) for code in (0x0214, 0x0303, 0x0315, 0x0357, 0x0512, 0x2644, 0x0800, 0x082E)),
    *((code, "DATA_CORRUPTION", False) for code in (0x0104, 0x011F)),
    *((code, "DISK_FULL", False) for code in (0x0129, 0x012B, 0x012E)),
    (0x0017, "INIT_FAILED", False),
    (0x0026, "NOT_INITIALIZED", False),
    (0x020B, "NOT_INITIALIZED", False),
    (0x0102, "MEMORY_ALLOC", False),
]
FORMS = {
    "masked": lambda code: code,
    "unsigned": lambda code: code | 0x8000_0000,
    "signed": lambda code: (code | 0x8000_0000) - 2**32,
}


@pytest.mark.parametrize(("code", "expected", "retryable"), SERVER, ids=as_hex)
@pytest.mark.parametrize("form", FORMS)
def test_numbers(taosrest: Any, taos: Any, code: int, expected: str, retryable: bool, form: str) -> None:
    """A number means the same in each of its forms, and whatever the class: another node may have written already."""
    for error in (taosrest.ConnectError("x", FORMS[form](code)), taos.ProgrammingError("x", FORMS[form](code))):
        assert judge(error) == (expected, retryable, "unknown")
        assert classify(error).rule.startswith("tdengine.0x")


@pytest.mark.parametrize(("code", "expected", "retryable"), SERVER, ids=as_hex)
def test_numbers_in_texts(taosws: Any, code: int, expected: str, retryable: bool) -> None:
    """taosws has the number at the beginning of the text, in either case."""
    for form in ("[0x%04X]", "[0x%04x]", "[0x8000%04X]"):
        error = taosws.QueryError(f"{form % code} Internal error: `x`")
        assert judge(error) == (expected, retryable, "unknown")


@pytest.mark.parametrize(
    ("code", "expected", "retryable"),
    [
        (0xE000, "INVALID_PARAM", False),
        (0xE001, "NETWORK", True),
        (0xE002, "CONNECTION_LOST", True),
        (0xE003, "TIMEOUT", True),
        (0xE004, "TIMEOUT", True),
        (0xE005, "NETWORK", True),
        (0xE006, "PERMISSION_DENIED", False),
        (0xE007, "DATA_CORRUPTION", False),
        (0xE008, "CONNECTION_LOST", True),
        (0xE009, "PERMISSION_DENIED", False),
    ],
    ids=as_hex,
)
def test_websocket_numbers(taosws: Any, code: int, expected: str, retryable: bool) -> None:
    """The connector's own numbers; a connection that was not made had no statement to lose."""
    text = f"[0x{code:04X}] Internal error: `x`"
    assert judge(taosws.QueryError(text)) == (expected, retryable, "unknown")
    assert judge(taosws.InterfaceError(text)) == (expected, retryable, "unknown")
    assert judge(taosws.ConnectionError(text)) == (expected, retryable, "none")


def test_the_rule_says_the_name() -> None:
    """The rule has the number, and the name where the number alone has a meaning."""
    assert classify(TAOSREST.ConnectError("x", 0x000B)).rule == "tdengine.0x000B.RPC_NETWORK_UNAVAIL"
    assert classify(TAOSREST.ConnectError("x", 0x2603)).rule == "tdengine.0x26xx"
    assert classify(WEBSOCKET.QueryError("[0xE002] x")).rule == "tdengine.0xE002.CONNECTION_CLOSED"


@pytest.mark.parametrize("code", [0x0022, 0x0024])
def test_busy(taosrest: Any, code: int) -> None:
    """Two of the numbers ask for less load."""
    assert classify(taosrest.ConnectError("x", code)).throttled


@pytest.mark.parametrize(
    ("number", "code", "retryable"),
    [
        (errno.ENOSPC, "DISK_FULL", False),
        (errno.EACCES, "PERMISSION_DENIED", False),
        (errno.EAGAIN, "FILE_IO", True),
        (errno.ECONNREFUSED, "NETWORK", True),
        (errno.ECONNRESET, "CONNECTION_LOST", True),
        (9999, "UNKNOWN", False),
    ],
)
def test_errnos_of_the_server(taosrest: Any, number: int, code: str, retryable: bool) -> None:
    """0x80FFnnnn is an errno of the server's system: EAGAIN, 11, is then no 0x000B, and the effect stays unknown."""
    for form in (0x80FF_0000 | number, (0x80FF_0000 | number) - 2**32):
        assert judge(taosrest.ConnectError("x", form)) == (code, retryable, "unknown")


def test_eleven_is_no_eagain(taosrest: Any) -> None:
    """The errno of taosrest is none."""
    verdict = classify(taosrest.ConnectError("Unable to establish connection", 11))
    assert (verdict.code.name, verdict.rule) == ("NETWORK", "tdengine.0x000B.RPC_NETWORK_UNAVAIL")


@pytest.mark.parametrize(
    "number", [0xFFFF, -1, 0, 0x81FF_000B, 0x82FF_000B, 0x1_000B, 2**32 + 11, -(2**31) - 1, 2**80, 0x0123]
)
def test_unknown_numbers(taosrest: Any, number: int) -> None:
    """A number that no table has, or that is none of TDengine's, is unknown, whatever its last digits are."""
    assert classify(taosrest.ConnectError("x", number)).rule == "unknown"


@pytest.mark.parametrize("number", [True, "11", None, 11.0])
@pytest.mark.parametrize("text", ["x", None, 5])
def test_numbers_of_any_kind(number: Any, text: Any) -> None:
    """Only an int is a number, and only a str is a text."""
    error = TAOSREST.ConnectError(text)
    error.errno = number
    assert classify(error).rule == "unknown"


def test_the_old_protocol(taosrest: Any) -> None:
    """The REST protocol of version 2 has a word and no number."""
    assert classify(taosrest.ConnectError("unable to connect", status="error")).rule == "unknown"


def test_without_the_native_library(taos: Any) -> None:
    """``import taos`` raises an error of its own, which is no ImportError; another attempt does not install it."""
    text = "unable to load taos client library: libtaos.so: cannot open shared object file"
    assert judge(taos.InterfaceError(text)) == ("INIT_FAILED", False, "none")


def test_import_without_the_native_library() -> None:
    """The same, for real."""
    need(modules=["taos"])
    try:
        with pytest.raises(Exception, match="unable to load taos client library") as caught:
            importlib.import_module("taos")
            pytest.skip("the native library is installed")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "taos"]:
            del sys.modules[name]
    assert not isinstance(caught.value, ImportError)
    assert judge(caught.value) == ("INIT_FAILED", False, "none")


def test_on_what_is_closed(taos: Any, taosws: Any) -> None:
    """On a cursor that was closed every call fails the same way."""
    for error in (
        taos.ProgrammingError("Cursor is not connected"),
        taosws.Error("Cursor was already closed"),
        taosws.Error("consumer has been already closed"),
        taosws.ConnectionError("Connection was already closed"),
    ):
        assert judge(error) == ("NOT_INITIALIZED", False, "none")


def test_misuse(taosrest: Any, taosws: Any, taos: Any) -> None:
    """What a client refuses by itself is final."""
    for error in (
        taosrest.ConnectError("Unrecognized configs: uri"),
        taosrest.NotSupportedError(),
        taosws.ConnectionError("Internal error: `invalid driver foo`"),
        taosws.ConnectionError("No `:` found in nonsense, use either path:/path or driver://user:pass@host:port?k=v"),
        taosws.NotSupportedError("transactional not support"),
        taos.NotSupportedError("x"),
        taos.DataTypeAndRangeError("x"),
    ):
        assert judge(error) == ("INVALID_PARAM", False, "none")


def test_websocket_certificate_and_name(taosws: Any) -> None:
    """A bad certificate and a host that does not exist have the number of a network error."""
    begin = "[0xE001] Internal error: `WebSocket internal error: IO error: "
    wrong = taosws.ConnectionError(f"{begin}invalid peer certificate: UnknownIssuer`")
    assert judge(wrong) == ("PERMISSION_DENIED", False, "none")
    absent = taosws.ConnectionError(f"{begin}failed to lookup address information: Name or service not known`")
    assert judge(absent) == ("INVALID_PARAM", False, "none")


def test_numbers_elsewhere_in_a_text(taosws: Any) -> None:
    """A text may quote a statement: a number counts at the beginning only."""
    assert classify(taosws.QueryError("Internal error: `syntax error near [0xE002] x`")).rule == "unknown"
    assert classify(taosws.QueryError("[0x2600] Internal error: `near '[0xE002]'`")).rule == "tdengine.0x26xx"
    assert classify(taosws.QueryError("[0x123456789] x")).rule == "unknown"


@pytest.mark.parametrize("args", [(), (5,), (None, "[0xE002]")])
def test_arguments_of_any_kind(args: tuple[Any, ...]) -> None:
    """Arguments that are no text say nothing."""
    error = WEBSOCKET.QueryError("x")
    error.args = args
    assert classify(error).rule == "unknown"
    error = WEBSOCKET.ConnectionError("x")
    error.args = args
    assert classify(error).rule == "unknown"


@pytest.mark.parametrize(
    ("status", "code", "retryable", "throttled"),
    [(401, "PERMISSION_DENIED", False, False), (503, "NETWORK", True, True), (500, "UNKNOWN", False, False)],
)
@pytest.mark.parametrize("real", [False, True], ids=["look-alikes", "taospy"])
def test_rest_status(status: int, code: str, retryable: bool, throttled: bool, real: bool) -> None:
    """A status that is not 200 comes as an error of its own, which has no number of TDengine's."""
    cls = fake("taosrest.errors.HTTPError")
    if real:
        cls = library("taosrest.errors").HTTPError
    error = cls(status, "text") if real else cls("text")
    error.status_code = status
    verdict = classify(error)
    assert (verdict.code.name, verdict.retryable, verdict.throttled) == (code, retryable, throttled)
    assert verdict.rule == f"http.{status}"


@pytest.mark.parametrize(
    "error",
    [
        TAOSREST.ConnectError("Table does not exist", 0x2603),
        TAOSREST.ConnectError("Authentication failure", 0x0357),
        TAOSREST.ConnectError("unable to connect", status="error"),
        TAOSREST.ConnectError("Operation timed out, which goes on in the background", 0x03D7),
        TAOSREST.ConnectError("Duplicate write request", 0x0530),
        TAOSREST.ConnectError("No space left on device", 0x80FF_0000 | errno.ENOSPC),
        TAOS.ConnectionError("Invalid user", 0x0315),
        TAOS.OperationalError("x", 0x0129),
        WEBSOCKET.ConnectionError("[0xE006] Internal error: `Authentication failure`"),
        WEBSOCKET.ConnectionError("nonsense"),
    ],
    ids=str,
)
def test_what_looks_transient_and_is_not_safe(error: Exception) -> None:
    """None of these is retried."""
    assert not classify(error).retryable
