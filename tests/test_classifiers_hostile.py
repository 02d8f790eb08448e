"""No object, however hostile, makes a classification fail, hang, recurse without end, or forget what is forbidden."""

from __future__ import annotations

import random
import time
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrywrap.classifiers import Verdict, classify, explain, safe_message
from retrywrap.classifiers.tables import families, family
from retrywrap.codes import ErrorCode

NAMES = ["response", "status", "status_code", "headers", "errno", "reason", "args", "cmd", "returncode", "smtp_code",
         "recipients", "sqlite_errorcode", "code", "request", "method", "os_error", "exceptions", "sqlstate",
         "pgcode", "orig", "inner_exception", "kwargs", "rcvd", "sent", "reply_code", "reply_text", "details", "msg",
         "has_error_label", "errors", "connection_invalidated", "exception", "fatal", "trailing_metadata"]  # fmt: skip


class Hostile:
    """An object everything about which raises."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __hash__(self) -> int:
        raise RuntimeError("hash")

    def __bool__(self) -> bool:
        raise RuntimeError("bool")

    def __len__(self) -> int:
        raise RuntimeError("len")

    def __iter__(self) -> Any:
        raise RuntimeError("iter")

    def __str__(self) -> str:
        raise RuntimeError("str")

    def __repr__(self) -> str:
        raise RuntimeError("repr")


class Endless:
    """An object that has every attribute: itself."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self


class Recursive:
    """An object whose attributes recurse without end."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self, name + "_")


class Warns:
    """An object each of whose attributes is deprecated."""

    def __getattr__(self, name: str) -> Any:
        warnings.warn(name, DeprecationWarning, stacklevel=2)
        return 503


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**40), 10**40),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.lists(st.integers(), max_size=3),
    st.tuples(st.integers(), st.text(max_size=5)),
    st.dictionaries(st.text(max_size=5), st.tuples(st.integers(), st.binary(max_size=5)), max_size=2),
    st.builds(Hostile),
    st.builds(Endless),
    st.builds(Recursive),
    st.builds(Warns),
)
BASES = [Exception, OSError, ConnectionError, ValueError, EOFError, TimeoutError, KeyError, Exception, BaseException]
MODULES: list[object] = ["", 5, None]
MODULES += [
    "builtins",
    "aiohttp.x",
    "concurrent.futures",
    "ftplib",
    "httpx",
    "lib",
    "requests.exceptions",
    "retrywrap.errors",
    "shutil",
    "smtplib",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "urllib.error",
    "urllib3.exceptions",
    "xmlrpc.client",
]
QUALNAMES = [
    "BaseExceptionGroup",
    "CalledProcessError",
    "CancelledError",
    "ClientConnectorError",
    "ClientResponseError",
    "ConnectError",
    "ConnectionError",
    "EOFError",
    "Error",
    "HTTPError",
    "MaxRetryError",
    "OSError",
    "ProgrammingError",
    "ProtocolError",
    "SMTPRecipientsRefused",
    "SMTPResponseException",
    "SMTPServerDisconnected",
    "SSLError",
    "URLError",
    "error_perm",
    "gaierror",
]


def _make(
    base: type[BaseException],
    module: object,
    name: str,
    args: list[Any],
    attributes: dict[str, Any],
    as_property: bool,
) -> BaseException:
    """Return an error of a class made for it, with attributes that are there, or that raise when they are read."""
    space: dict[str, Any] = {"__module__": module, "__str__": lambda self: "text"}
    if as_property:
        space |= {key: property(lambda self, value=value: value.x) for key, value in attributes.items()}
    elif "args" in attributes:
        space["args"] = attributes.pop("args")
    error: BaseException = type(name, (base,), space)(*args)
    if not as_property:
        error.__dict__.update(attributes)
    return error


def _group(errors: list[Exception]) -> BaseException:
    return ExceptionGroup("group", errors)


ERRORS = st.builds(
    _make,
    st.sampled_from(BASES),
    st.sampled_from(MODULES),
    st.sampled_from(QUALNAMES),
    st.lists(st.integers() | st.text(max_size=5), max_size=2),
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4),
    st.booleans(),
)
EXCEPTIONS = ERRORS.filter(lambda error: isinstance(error, Exception))
ANY = st.recursive(
    ERRORS, lambda inner: st.lists(inner.filter(lambda e: isinstance(e, Exception)), min_size=1, max_size=4).map(_group)
)


KEYS = sorted({tuple(key.split(".", 1)) for name in families() for key in family(name)})
"""Root and name of each class that has a row in any table."""
KNOWN = st.builds(
    lambda base, key, *rest: _make(base, key[0], key[1].replace(".", "_"), *rest),
    st.sampled_from(BASES),
    st.sampled_from(KEYS),
    st.lists(st.integers() | st.text(max_size=5), max_size=2),
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6),
    st.booleans(),
)


def check(verdict: Verdict) -> None:
    """Check that a verdict is a sane one."""
    assert type(verdict) is Verdict
    assert type(verdict.code) is ErrorCode
    assert verdict.rule
    assert verdict.message.isprintable()
    assert 0 < len(verdict.message) <= 500
    assert verdict.effect in {"none", "unknown"}
    assert verdict.retry_after is None or 0 <= verdict.retry_after <= 31_536_000
    assert not (verdict.forbid and verdict.retryable)


@settings(max_examples=100, deadline=None)
@given(st.lists(ANY, min_size=1, max_size=6), st.randoms(use_true_random=False), VALUES)
def test_any_error_gets_a_sane_verdict(errors: list[BaseException], rng: random.Random, value: Any) -> None:
    """Errors of any class with any attributes, any causes and contexts, in circles too, in groups and reasons."""
    for error in errors:
        error.__cause__ = rng.choice([None, *errors])
        error.__context__ = rng.choice([None, *errors])
        for name in ("reason", "os_error"):
            if name not in type(error).__dict__:
                error.__dict__[name] = rng.choice([value, *errors])
    for error in errors:
        verdict = classify(error)
        check(verdict)
        assert explain(error)[-1].answer == verdict
        if not isinstance(error, Exception):
            assert verdict.forbid


@settings(deadline=None)
@given(VALUES)
def test_any_result_gets_a_verdict(value: Any) -> None:
    """Any returned value is a success or a failure, never an error."""
    verdict = classify(value)
    assert type(verdict.code) is ErrorCode


@pytest.mark.parametrize("number", [429, 500, 503])
def test_deprecated_attributes(number: int) -> None:
    """An attribute that warns under -W error is absent, and the next one is read."""

    class Old(Exception):
        status = number

        @property
        def status_code(self) -> int:
            raise DeprecationWarning("use status")

    assert classify(Old()).rule == f"http.{number}"


class Liar(type):
    """A metaclass that lies about its classes, or raises."""

    def __getattribute__(cls, name: str) -> Any:
        if name == "__init__":
            return type.__getattribute__(cls, name)
        raise RuntimeError(name)

    def __eq__(cls, other: object) -> bool:
        return True

    def __hash__(cls) -> int:
        raise RuntimeError("hash")

    def __instancecheck__(cls, instance: object) -> bool:
        raise RuntimeError("isinstance")

    def __subclasscheck__(cls, subclass: type) -> bool:
        raise RuntimeError("issubclass")


def test_a_metaclass_that_lies() -> None:
    """What a class says of itself through its metaclass is not believed, in the tables or for what is forbidden."""
    reset = Liar("Reset", (ConnectionResetError,), {"__module__": "lib"})
    stop = Liar("Stop", (BaseException,), {"__module__": "lib"})
    verdict = classify(reset("x"))
    assert (verdict.rule, verdict.message) == ("stdlib.ConnectionResetError", "x")
    assert classify(stop("x")).forbid


def test_an_object_that_pretends() -> None:
    """An object that says it is an exception is a result all the same."""

    class Pretends:
        @property
        def __class__(self) -> Any:
            return KeyboardInterrupt

    assert classify(Pretends()).code == 0
    assert classify(Hostile()).code == 0


def test_an_error_that_always_has_another_inside() -> None:
    """A new error inside each error ends at some depth."""

    class Russian(Exception):
        @property
        def __cause__(self) -> Any:  # type: ignore[override]  # what no honest error does
            return Russian()

    assert classify(Russian()).rule == "unknown"


def test_wide_and_deep() -> None:
    """Errors that hold many errors, each of which holds many, are looked at a bounded number of times."""
    calls = 0

    class Wide(type("ConnectionError", (OSError,), {"__module__": "requests.exceptions"})):  # type: ignore[misc]  # made
        def __getattribute__(self, name: str) -> Any:
            nonlocal calls
            if name == "args":
                calls += 1
                return tuple(Wide() for _ in range(10))
            return super().__getattribute__(name)

    classify(Wide())
    assert calls <= 1000


def test_a_recursing_text() -> None:
    """A `__str__` that recurses without end costs the message only."""

    class Deep(ConnectionResetError):
        def __str__(self) -> str:
            return str(self)

    assert classify(Deep()).retryable
    assert "RecursionError" in safe_message(Deep())


def test_a_huge_message() -> None:
    """A message of any size is cut."""
    assert len(classify(ValueError("x" * 10_000_000)).message) == 500


@settings(max_examples=400, deadline=None)
@given(KNOWN)
def test_every_row_bears_every_object(error: BaseException) -> None:
    """Whatever an error under a known name carries, its row answers soberly."""
    check(classify(error))


def test_groups_that_share_their_members() -> None:
    """Few errors to which there are very many ways take no longer than a few errors."""
    members = tuple(ValueError(str(number)) for number in range(100_000))
    many = ExceptionGroup("many", [ExceptionGroup("shared", members) for _ in range(50)])
    few = ExceptionGroup("few", [ExceptionGroup("shared", members[:900]) for _ in range(1000)])
    began = time.process_time()
    assert (classify(many).rule, classify(few).rule) == ("unknown", "unknown")
    assert time.process_time() - began < 2
    same = ExceptionGroup("few", [ExceptionGroup("shared", [ConnectionResetError(104, "x")]) for _ in range(900)])
    assert classify(same).retryable


def test_more_errors_than_are_looked_at() -> None:
    """Groups that are small each, and hold too many errors together, are unknown."""
    halves = [ExceptionGroup("half", [ConnectionResetError(104, str(n)) for n in range(600)]) for _ in range(2)]
    assert classify(ExceptionGroup("whole", halves)).rule == "unknown"
    assert classify(halves[0]).retryable
