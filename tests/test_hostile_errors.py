"""Exceptions that lie, fail, refuse or have no end: the operation's own error comes out, and what is told is tame."""

from __future__ import annotations

import dataclasses
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile import NASTY, Heard, is_one_line, listening, raised_by
from structlog.testing import capture_logs

from retrywrap import RetryExhausted, Verdict, classify, registry, retry_scope, with_retry
from retrywrap.classifiers import explain, redact
from retrywrap.testing import VirtualClock


def _refuse(*_: Any, **__: Any) -> Any:
    raise RuntimeError("hostile")


def raising(error: BaseException) -> Callable[..., Any]:
    """Return a function that raises this very object at each call."""

    def operation(*_: Any, **__: Any) -> None:
        raise error

    return operation


class _Lying:
    """An object that says it is another's, or fails when it is asked."""

    __class__ = property(_refuse)  # type: ignore[assignment]  # which is the lie
    __eq__ = __bool__ = __iter__ = __len__ = __str__ = __repr__ = _refuse
    __hash__ = _refuse


class _Items(list[str]):
    """A list that lies about what is in it."""

    __iter__ = __len__ = __getitem__ = __bool__ = _refuse


class _Text(str):
    """A text that lies about everything."""

    __len__ = __eq__ = __format__ = __str__ = __repr__ = strip = encode = replace = lower = isprintable = _refuse
    __hash__ = _refuse


class _Meta(type):
    """A metaclass that fails whenever its classes are asked for anything."""

    __instancecheck__ = __subclasscheck__ = __eq__ = __call__ = _refuse
    __hash__ = type.__hash__


def _made(**members: Any) -> type[Exception]:
    return type("Made", (ConnectionResetError,), members)


def _closed(kind: type[Exception]) -> Exception:
    return kind.__new__(kind)


@dataclasses.dataclass(frozen=True)
class _Frozen(ConnectionResetError):
    where: str = "there"


class _Slots(ConnectionResetError):
    __slots__ = ("__weakref__",)


LIARS: dict[str, Callable[[], Exception]] = {
    "str is another's text": lambda: _made(__str__=lambda self: _Text("gone"))("x"),
    "str says None": lambda: _made(__str__=lambda self: None)("x"),
    "str recurses": lambda: _made(__str__=lambda self: str(self))("x"),
    "str is huge": lambda: _made(__str__=lambda self: "x" * 10_000_000)("x"),
    "eq, hash and bool": lambda: _made(__eq__=_refuse, __hash__=_refuse, __bool__=_refuse, __repr__=_refuse)("x"),
    "args": lambda: ConnectionResetError(_Lying(), _Lying()),
    "args are a text": lambda: ConnectionResetError(_Text("x")),
    "getattr": lambda: _made(__getattr__=_refuse)("x"),
    "getattribute": lambda: _made(__getattribute__=_refuse)("x"),
    "class": lambda: _made(__class__=property(lambda self: KeyError))("x"),
    "dict": lambda: _made(__dict__=property(_refuse))("x"),
    "setattr": lambda: _made(__setattr__=_refuse, __delattr__=_refuse)("x"),
    "module is a lying text": lambda: _made(__module__=_Text("socket"))("x"),
    "qualname is a lying text": lambda: _made(__qualname__=_Text("Kind"))("x"),
    "frozen": _Frozen,
    "slots": lambda: _Slots("x"),
    "unmade": lambda: _closed(ConnectionResetError),
}


@pytest.mark.parametrize("interval", [0, 1], ids=["at once", "waiting"])
@pytest.mark.parametrize("make", LIARS.values(), ids=LIARS)
def test_what_an_exception_says_of_itself_changes_nothing(
    clock: VirtualClock, make: Callable[[], Exception], interval: int
) -> None:
    """Retried as its class is, it comes out as the object that it is, and is counted."""
    error = make()
    assert raised_by(with_retry(max=2, interval=interval)(raising(error))) is error
    assert registry.error_count == 3
    assert is_one_line(registry.last_error.message)
    assert is_one_line(registry.last_error.error_type)


NOTES: dict[str, Any] = {
    "none": None,
    "text": "mine",
    "number": 3,
    "tuple": ("mine",),
    "mixed": ["mine", 3, None],
    "dict": {"mine": 1},
    "lying items": [_Lying(), _Text("mine")],
    "lying object": _Lying(),
    "lying list": _Items(["mine"]),
    "lying text": _Text("mine"),
}


@pytest.mark.parametrize("name", NOTES)
def test_notes_of_any_type_stay_and_ours_comes_last(clock: VirtualClock, name: str) -> None:
    """What a library put where notes belong is not lost, whatever it is."""
    error, notes = ConnectionResetError("x"), NOTES[name]
    error.__notes__ = notes
    before = [] if notes is None else [*list.__iter__(notes)] if issubclass(type(notes), list) else [notes]
    before = [*notes] if type(notes) is tuple else before
    outer = with_retry(max=1, interval=1)(with_retry(max=1, interval=1)(raising(error)))
    assert raised_by(outer) is error
    assert [id(note) for note in error.__notes__[: len(before)]] == [id(note) for note in before]
    assert "nested refused" in error.__notes__[-1]
    assert len(error.__notes__) == len(before) + 2


def test_a_metaclass_that_fails_hides_no_error(clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    """As ``on=`` it names nothing, which is reported once; what is retried anyway is retried."""
    hostile = _Meta("Hostile", (Exception,), {})
    plain, network = KeyError("gone"), ConnectionResetError("gone")
    decorate = with_retry(max=1, interval=0, on=(hostile,))
    assert raised_by(decorate(raising(plain))) is plain
    assert raised_by(decorate(raising(plain))) is plain
    assert raised_by(decorate(raising(network))) is network
    assert registry.stats().retries == 1
    assert caplog.text.count("failed when it was asked for") == 1


def test_rings_of_causes_are_gone_round_once(clock: VirtualClock) -> None:
    """An error that is its own cause's cause, and its own context."""
    first, second = ConnectionResetError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    first.__context__, second.__context__ = second, first
    assert raised_by(with_retry(max=1, interval=0)(raising(first))) is first
    assert raised_by(with_retry(max=1, interval=0)(raising(second))) is second
    assert (first.__cause__, second.__cause__) == (second, first)
    explain(first)


def _steps(function: Callable[[], object]) -> int:
    """Return how many lines of Python a call executes: unlike seconds, the same on every machine."""
    count = 0

    def trace(*_: Any) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def _chained(length: int, kind: type[Exception] = KeyError) -> Exception:
    error: Exception = ConnectionResetError("the first")
    for number in range(length):
        error, inner = kind(number), error
        error.__cause__ = error.__context__ = inner
    return error


def _nested(depth: int) -> Exception:
    error: Exception = ConnectionResetError("the first")
    for number in range(depth):
        error = ExceptionGroup(f"level {number}", [error])
    return error


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (lambda: _chained(2_000), lambda: _chained(10_000)),
        (lambda: _chained(2_000, OSError), lambda: _chained(10_000, OSError)),
        (lambda: _nested(1_000), lambda: _nested(4_000)),
        (
            lambda: ExceptionGroup("wide", [KeyError(n) for n in range(2_000)]),
            lambda: ExceptionGroup("wide", [KeyError(n) for n in range(100_000)]),
        ),
    ],
    ids=["causes", "causes of OSError", "nested groups", "wide groups"],
)
def test_work_is_bounded_however_far_errors_reach(
    clock: VirtualClock, small: Callable[[], Exception], large: Callable[[], Exception]
) -> None:
    """Five or fifty times as many errors inside one are not looked at five times as long."""
    steps = []
    for make in (small, large):
        error = make()
        function = with_retry(max=1, interval=0, on=KeyError)(raising(error))
        raised_by(function)  # what is loaded and kept at the first time is no work of the second
        steps.append(_steps(lambda function=function: raised_by(function)))
        assert raised_by(function) is error
    assert steps[1] < 1.5 * steps[0] + 100
    assert steps[1] < 200_000


class _Endless(ExceptionGroup[Exception]):
    """A group that holds itself."""

    @property
    def exceptions(self) -> Any:  # type: ignore[override]  # which is the trick
        return (self, self)


class _Growing(ExceptionGroup[Exception]):
    """A group that holds new groups, whenever it is asked."""

    @property
    def exceptions(self) -> Any:  # type: ignore[override]  # which is the trick
        return (_Growing("more", [KeyError()]), _Growing("more", [KeyError()]))


class _Wide(ExceptionGroup[Exception]):
    """A group that says it holds more than there can be."""

    @property
    def exceptions(self) -> Any:  # type: ignore[override]  # which is the trick
        return [KeyError()] * 1_000_000


@pytest.mark.parametrize("kind", [_Endless, _Growing, _Wide])
def test_groups_without_an_end_come_out(clock: VirtualClock, kind: type[ExceptionGroup[Exception]]) -> None:
    """A group whose members have no end is looked into only so far."""
    error = kind("x", [ConnectionResetError("x")])
    outer = with_retry(max=1, interval=0)(raising(error))
    assert raised_by(outer) is error
    assert _steps(lambda: raised_by(outer)) < 200_000


def test_a_message_of_ten_megabytes_costs_no_memory(clock: VirtualClock) -> None:
    """Of each failure, only the short text stays; and while it is made, no more than a few copies of the long one."""
    size = 10_000_000

    def operation() -> None:
        raise ConnectionResetError("x" * size)

    function = with_retry(max=3, interval=1)(operation)
    raised_by(function)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        raised_by(function)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 100_000
    assert peak - before < 5 * size
    assert {len(record.message) for record in registry.errors} == {500}


def _check(heard: Heard) -> None:
    """Check that nothing that came out ends a line, drives a terminal, or has no bound."""
    assert heard.events
    assert all(is_one_line(text, 1000) for text in heard.told())
    assert all(is_one_line(event.message) for event in heard.events)
    assert all(is_one_line(line, 4000) for line in heard.logged())
    assert len(heard.logged()) == len(heard.events)
    assert all(is_one_line(line, 600) and line.startswith("[") for line in heard.stored())
    assert len(heard.stored()) == registry.error_count


PLACES = ["message", "class", "module", "name", "scope", "rule", "by hand", "operation by hand", "result", "policy"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_what_is_told_stays_one_line(clock: VirtualClock, tmp_path: Path, text: str, place: str) -> None:
    """Wherever a text comes in that ends lines or drives terminals, it goes out escaped and bounded, everywhere."""
    qualname = text.replace("\x00", "") or "x"
    kinds: dict[str, type[Exception]] = {
        "class": type("Odd", (ConnectionResetError,), {"__qualname__": qualname}),
        "module": type("Odd", (ConnectionResetError,), {"__module__": text}),
    }
    parameters: dict[str, dict[str, Any]] = {
        "name": {"name": text},
        "rule": {"classifier": lambda error: Verdict.of(-6, text, rule=text, retryable=True)},
        "result": {"results": lambda result: Verdict.of(-6, text, rule=text, retryable=False)},
        "policy": {"on": type("Odd", (), {"__call__": _refuse, "__repr__": lambda self: text})()},
    }
    error = kinds.get(place, ConnectionResetError)(text if place == "message" else "gone")
    with listening(tmp_path) as heard:
        if place == "by hand":
            registry.record_error(-6, text)
        elif place == "operation by hand":
            registry.record_error(-6, operation=text)
            assert text in registry
            assert registry.stats(text).errors == 1
        elif place == "result":
            assert type(raised_by(with_retry(max=1, **parameters[place])(lambda: text))) is RetryExhausted
        else:
            with retry_scope(name=text if place == "scope" else "scope"):
                function = with_retry(max=1, interval=1, **parameters.get(place, {}))(raising(error))
                assert raised_by(function) is error
            assert all(is_one_line(note, 2000) for note in error.__notes__)
        _check(heard)


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_functions_with_odd_names_are_told_in_one_line(clock: VirtualClock, tmp_path: Path, text: str) -> None:
    """A function may be called anything by whoever made it."""
    function = raising(ConnectionResetError("gone"))
    function.__qualname__ = function.__module__ = text
    with listening(tmp_path) as heard:
        raised_by(with_retry(max=1, interval=1)(function))
        raised_by(retry_scope(max=1, interval=1).call, function)
        _check(heard)


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_structlog_is_told_in_one_line(clock: VirtualClock, text: str) -> None:
    """The values that an application's own structlog gets hold nothing that has to be escaped."""
    with capture_logs() as lines:
        kind = type("Odd", (ConnectionResetError,), {"__module__": text})
        raised_by(with_retry(max=1, name=text)(raising(kind(text))))
    assert len(lines) == 2
    values = [value for line in lines for value in line.values()]
    assert all(is_one_line(value) for value in values if isinstance(value, str))


def test_the_classifier_keeps_no_hostile_text_alive() -> None:
    """What is kept of texts that were seen is bounded in number and in length."""
    for number in range(200):
        classify(ConnectionResetError(f"{number}" + "x" * (1 << (number % 20))))
    assert sum(map(len, redact._kept)) < 128 * 500
