"""Classifiers that users register, and those that installed distributions bring."""

from __future__ import annotations

import concurrent.futures
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from retrywrap import reports, with_retry
from retrywrap.classifiers import Chain, Verdict, classify, explain, register, unregister
from retrywrap.classifiers.plugins import GROUP, plugin_rows, reload_entry_points
from retrywrap.classifiers.registration import book
from retrywrap.codes import ErrorCode
from retrywrap.testing import VirtualClock


@pytest.fixture(autouse=True)
def _nothing_registered() -> Iterator[None]:
    """Nothing is registered and no entry point loaded, before and after."""
    book.clear()
    reload_entry_points()
    reports.forget()
    yield
    book.clear()
    reload_entry_points()


class MyError(Exception):
    """An error that nobody knows."""


class Derived(MyError):
    """A special case of it."""


def knows_text(error: object) -> ErrorCode | None:
    """Know an error by its text."""
    return ErrorCode.TIMEOUT if "late" in str(error) else None


def test_a_type() -> None:
    """A registered type, and every type derived from it, has the meaning that was registered."""
    assert register(MyError, ErrorCode.NETWORK) is MyError
    verdict = classify(Derived("x"))
    assert verdict == Verdict(
        ErrorCode.NETWORK, "x", True, rule="registered.test_classifiers_registration.MyError"
    )  # fmt: skip
    assert classify(RuntimeError()).rule == "unknown"


def test_all_that_can_be_said_of_a_type() -> None:
    """Each option becomes the field of the verdict."""
    register(MyError, -10, retryable=True, effect="none", retry_after=3)
    assert classify(MyError("x"))[:5] == (ErrorCode.DISK_FULL, "x", True, 3, "none")
    unregister(MyError)
    register(MyError, ErrorCode.NETWORK, forbid=True)
    assert (classify(MyError()).forbid, classify(MyError()).retryable) == (True, False)
    unregister(MyError)
    register(MyError, retryable=True)
    assert classify(MyError())[:3:2] == (ErrorCode.UNKNOWN, True)
    unregister(MyError)
    register(MyError, retryable=False)
    assert classify(MyError()).retryable is False
    assert classify(MyError()).rule != "unknown"


def test_the_most_derived_type_wins() -> None:
    """Of two registered types, the more special one speaks, whichever was registered first."""
    register(MyError, ErrorCode.NETWORK)
    register(Derived, ErrorCode.DISK_FULL)
    assert classify(Derived()).code is ErrorCode.DISK_FULL
    assert classify(MyError()).code is ErrorCode.NETWORK


def test_a_builtin_type() -> None:
    """What users register is asked before the tables."""
    register(ConnectionRefusedError, ErrorCode.PERMISSION_DENIED)
    assert classify(ConnectionRefusedError(111, "x")).code is ErrorCode.PERMISSION_DENIED


def test_functions_are_asked_before_types_in_their_order() -> None:
    """A function can look closer than a row for a type, so it is asked first."""
    register(MyError, ErrorCode.NETWORK)

    @register
    def first(error: object) -> ErrorCode | None:
        return ErrorCode.DISK_FULL if "full" in str(error) else None

    assert register(knows_text) is knows_text
    assert classify(MyError("late")).rule == "registered.knows_text"
    assert classify(MyError("late and full")).code is ErrorCode.DISK_FULL
    assert classify(MyError("x")).code is ErrorCode.NETWORK
    assert first(MyError("full")) is ErrorCode.DISK_FULL


def test_what_forbids_comes_before_a_classifier_of_its_own(clock: VirtualClock) -> None:
    """``classifier=`` of one operation does not lift what is forbidden for all."""
    calls: list[int] = []
    register(MyError, code=ErrorCode.INVALID_PARAM, forbid=True)

    @with_retry(max=2, interval=1, classifier=lambda error: True)
    def operation() -> None:
        calls.append(1)
        raise MyError

    with pytest.raises(MyError):
        operation()
    assert len(calls) == 1


def test_what_forbids_comes_first() -> None:
    """A type that is forbidden is never retried, whatever a function says of it or of a class above it."""

    class Flaky(Exception):
        """Retried, says the function."""

    class OutOfStock(Flaky):
        """Never retried."""

    register(OutOfStock, code=ErrorCode.INVALID_PARAM, forbid=True)
    register(lambda error: ErrorCode.NETWORK if isinstance(error, Flaky) else None)
    assert classify(OutOfStock()).forbid
    assert classify(Flaky()).code is ErrorCode.NETWORK


def test_as_a_decorator_of_a_class() -> None:
    """With options, `register` decorates an exception class."""

    @register(None, ErrorCode.NETWORK, effect="none")
    class Mine(Exception):
        pass

    assert classify(Mine())[:5:4] == (ErrorCode.NETWORK, "none")

    @register()
    def function(error: object) -> bool:
        return True

    assert classify(KeyError()).rule.startswith("registered.")


def test_what_was_seen_before_is_judged_anew() -> None:
    """A type that was classified before its registration has its new meaning at once, and its old one afterwards."""
    assert classify(MyError()).rule == "unknown"
    register(MyError, ErrorCode.NETWORK)
    assert classify(MyError()).code is ErrorCode.NETWORK
    assert Chain(knows_text, base=None)(MyError()).rule == "unknown"
    unregister(MyError)
    assert classify(MyError()).rule == "unknown"


def test_unregister() -> None:
    """Functions go as types do; what is not registered is refused by name."""
    register(knows_text)
    unregister(knows_text)
    assert classify(MyError("late")).rule == "unknown"
    for never in (knows_text, MyError):
        with pytest.raises(ValueError, match=f"{never.__qualname__} is not registered"):
            unregister(never)


def test_a_bound_method() -> None:
    """A method, which is a new object each time it is looked up, can be registered once and unregistered."""

    class Judge:
        def judge(self, error: object) -> bool:
            return True

    judge = Judge()
    register(judge.judge)
    register(judge.judge)
    assert len(book.state.functions) == 1
    unregister(judge.judge)
    assert book.state.functions == ()


def test_a_contradiction_is_refused() -> None:
    """The same again changes nothing; something else is an error that shows what is registered."""
    register(MyError, ErrorCode.NETWORK)
    register(MyError, ErrorCode.NETWORK)
    with pytest.raises(ValueError, match=r"MyError is registered already, as .*NETWORK.*unregister it first"):
        register(MyError, ErrorCode.TIMEOUT)
    assert classify(MyError()).code is ErrorCode.NETWORK


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: register(MyError), ValueError, "give MyError a code, such as ErrorCode.NETWORK, or retryable="),
        (lambda: register(MyError, "NETWORK"), TypeError, "code must be an ErrorCode; got 'NETWORK'"),
        (lambda: register(MyError, True), TypeError, "code must be an ErrorCode; got True"),
        (lambda: register(MyError, 0), ValueError, "SUCCESS is none"),
        (lambda: register(MyError, -6, retryable=1), TypeError, "retryable must be True or False; got 1"),
        (lambda: register(MyError, -6, effect="x"), ValueError, "effect must be .* got 'x'"),
        (lambda: register(MyError, -6, retry_after=-1), ValueError, "retry_after must be 0 or more seconds"),
        (lambda: register(MyError, -6, retry_after="1"), TypeError, "retry_after must be seconds"),
        (lambda: register(MyError, -6, forbid=None), TypeError, "forbid must be True or False"),
        (lambda: register(MyError, -6, forbid=True, retryable=True), ValueError, "contradict each other"),
        (lambda: register(KeyboardInterrupt, -6), ValueError, "KeyboardInterrupt is never retried"),
        (lambda: register(concurrent.futures.CancelledError, -6), ValueError, "CancelledError is never retried"),
        (lambda: register(knows_text, -6), TypeError, "code and options belong to an exception type"),
        (lambda: register(knows_text, retryable=True), TypeError, "code and options belong to an exception type"),
        (lambda: register(5), TypeError, "target must be a function .* got 5"),
        (lambda: register(int), TypeError, "target must be a function .* got <class 'int'>"),
    ],
)
def test_wrong_use(call: Callable[[], Any], error: type[Exception], match: str) -> None:
    """What cannot be registered is refused by name and value, and nothing is."""
    with pytest.raises(error, match=match):
        call()
    assert (book.state.functions, book.state.types) == ((), {})


def test_threads() -> None:
    """Registrations from many threads are all kept, while others classify."""
    types = [type(f"Error{n}", (Exception,), {}) for n in range(200)]
    start = threading.Barrier(8)

    def work(mine: list[type[Exception]]) -> None:
        start.wait()
        for cls in mine:
            register(cls, ErrorCode.NETWORK)
            assert classify(cls()).code is ErrorCode.NETWORK

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [types[n::8] for n in range(8)]))
    assert len(book.state.types) == 200


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install a distribution that has entry points and a module, for this test."""

    def install(source: str, **points: str) -> None:
        info = tmp_path / "plug-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 1.0\n")
        lines = "".join(f"{name} = {value}\n" for name, value in points.items())
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}")
        (tmp_path / "plug_module.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "plug_module", raising=False)
        reload_entry_points()

    return install


PLUGIN = """\
from retrywrap import ErrorCode
def judge(error):
    return ErrorCode.NETWORK if "plug" in str(error) else None
def other(error):
    return ErrorCode.TIMEOUT if "plug" in str(error) else None
"""


def test_entry_points(install: Callable[..., None]) -> None:
    """What an installed distribution brings is asked after what users registered and before the tables, by name."""
    install(PLUGIN, b="plug_module:other", a="plug_module:judge")
    assert classify(ValueError("plug")).rule == "plugin.judge"
    assert [row.rule for row in plugin_rows()] == ["plugin.judge", "plugin.other"]
    assert [step.rule for step in explain(ValueError("x"))][:2] == ["plugin.judge", "plugin.other"]
    register(ValueError, ErrorCode.DISK_FULL)
    assert classify(ValueError("plug")).code is ErrorCode.DISK_FULL
    assert Chain()(ValueError("plug")).rule == "unknown"


def test_entry_points_are_loaded_once_at_the_first_failure(install: Callable[..., None]) -> None:
    """Neither a success nor what is forbidden anyway loads them; the first failure does, and no later one again."""
    install("import builtins\nbuiltins.loads = getattr(builtins, 'loads', 0) + 1\n" + PLUGIN, a="plug_module:judge")
    classify(0)
    classify(KeyboardInterrupt())
    assert book.state.plugins is None
    classify(ValueError())
    loaded = book.state.plugins
    classify(KeyError())
    assert book.state.plugins is loaded
    assert loaded is not None


def test_broken_entry_points(install: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    """One that cannot be imported, is not there, or is no classifier, is logged once and left out."""
    install(PLUGIN, a="no_such_module:judge", b="plug_module:absent", c="plug_module", d="plug_module:judge")
    for _ in range(2):
        assert classify(ValueError("plug")).rule == "plugin.judge"
        reload_entry_points()
    assert [record.getMessage().partition("\n")[0] for record in caplog.records] == [
        "the entry point a = no_such_module:judge of retrywrap.classifiers failed; going on without it",
        "the entry point b = plug_module:absent of retrywrap.classifiers failed; going on without it",
        "the entry point c = plug_module of retrywrap.classifiers failed; going on without it",
    ]


def test_metadata_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Where the metadata as a whole is broken, there are no entry points, and a report."""

    def broken(**_: object) -> Any:
        raise RuntimeError("broken metadata")

    monkeypatch.setattr("importlib.metadata.entry_points", broken)
    reload_entry_points()
    assert classify(ValueError()).rule == "stdlib.ValueError"
    assert "cannot be read" in caplog.text


def test_an_entry_point_that_classifies_while_it_is_loaded(install: Callable[..., None]) -> None:
    """Code that fails during the load finds no entry points, and no endless recursion; afterwards they are there."""
    source = "from retrywrap import classify\nduring = classify(ValueError('plug')).rule\n" + PLUGIN
    install(source, a="plug_module:judge")
    assert classify(ValueError("plug")).rule == "plugin.judge"
    assert sys.modules["plug_module"].during == "stdlib.ValueError"


def test_an_entry_point_that_registers_while_it_is_loaded(install: Callable[..., None]) -> None:
    """A module may register classifiers when it is imported; they count from the next classification on."""
    source = "from retrywrap.classifiers import register\nregister(ZeroDivisionError, -6)\n" + PLUGIN
    install(source, a="plug_module:judge")
    classify(ValueError())
    assert classify(ZeroDivisionError()).code is ErrorCode.NETWORK


def test_clearing_keeps_the_entry_points(install: Callable[..., None]) -> None:
    """To forget what users registered does not unload what is installed."""
    install(PLUGIN, a="plug_module:judge")
    register(knows_text)
    assert classify(ValueError("plug")).rule == "plugin.judge"
    book.clear()
    assert classify(ValueError("plug late")).rule == "plugin.judge"
