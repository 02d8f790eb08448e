"""The chain: who is asked in which order, what answers are understood, and the way to a verdict."""

from __future__ import annotations

import copy
import gc
import itertools
import logging
import math
import pickle
import weakref
from typing import Any

import pytest

from retrywrap import reports
from retrywrap.classifiers import Chain, Verdict, classify, explain
from retrywrap.classifiers import links as links_module
from retrywrap.classifiers.chain import DEFAULT, as_chain, ask, is_known
from retrywrap.classifiers.rows import Row
from retrywrap.classifiers.tables import FAMILIES, rows_for
from retrywrap.codes import ErrorCode


@pytest.fixture(autouse=True)
def _fresh_reports() -> None:
    reports.forget()


def quota(error: object) -> ErrorCode | None:
    """Know one error."""
    return ErrorCode.DISK_FULL if "quota" in str(error) else None


def again(error: object) -> bool:
    """Retry everything."""
    return True


def silent(error: object) -> None:
    """Know nothing."""


def chain_of(*pairs: BaseException) -> BaseException:
    """Return the first error, with each next one as the cause of the one before."""
    for error, cause in itertools.pairwise(pairs):
        error.__cause__ = cause
    return pairs[0]


def test_the_first_that_answers_wins() -> None:
    """Classifiers are asked in their order; None and False pass the question on."""
    assert Chain(silent, quota, again)(RuntimeError("quota")).code is ErrorCode.DISK_FULL
    assert Chain(again, quota)(RuntimeError("quota")).code is ErrorCode.UNKNOWN
    assert Chain(lambda error: False, quota)(RuntimeError("quota")).code is ErrorCode.DISK_FULL


def test_nobody_knows() -> None:
    """A chain always answers: what nobody knows is unknown, and not retried. A bare chain has no tables."""
    for chain in (Chain(), Chain(silent)):
        verdict = chain(ConnectionResetError("x"))
        assert verdict == (ErrorCode.UNKNOWN, "x", False, None, "unknown", "unknown", False, False)
        assert not is_known(verdict)
    assert is_known(classify(ConnectionResetError()))


def test_extend() -> None:
    """An extended chain asks the new ones first, then the old chain; without new ones it is the old chain."""
    chain = Chain(quota).extend(again)
    assert chain(RuntimeError("quota")).rule == "user.again"
    assert Chain(again).extend(quota)(RuntimeError("quota")).rule == "user.quota"
    assert DEFAULT.extend(quota)(ConnectionResetError()).rule == "stdlib.ConnectionResetError"
    assert DEFAULT.extend() is DEFAULT


def test_chains_in_chains() -> None:
    """A chain among the classifiers stands for what is in it: what it does not know goes on to the next."""
    inner = Chain(quota, base=Chain(silent))
    chain = Chain(inner, again)
    assert chain(RuntimeError("quota")).rule == "user.quota"
    assert chain(RuntimeError("x")).rule == "user.again"


def test_a_classifier_that_asks_another_chain() -> None:
    """An unknown verdict that a function passes on is no answer."""
    assert Chain(lambda error: classify(error), again)(RuntimeError("x")).rule == "user.again"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), GeneratorExit(), BaseException("x")])
def test_what_is_no_exception_is_forbidden_before_anybody_is_asked(error: BaseException) -> None:
    """No classifier can make a chain retry what is no Exception."""
    verdict = Chain(again)(error)
    assert (verdict.retryable, verdict.forbid, verdict.rule) == (False, True, f"never.{type(error).__name__}")


def test_the_answers_of_a_classifier() -> None:
    """True means retry; a code brings its default; a verdict is taken as it is, its text and rule filled in."""
    error = RuntimeError("text")

    def judged(answer: Any) -> Verdict:
        def says(error: object) -> Any:
            return answer

        says.__qualname__ = "says"
        return Chain(says)(error)

    assert judged(True) == (ErrorCode.UNKNOWN, "text", True, None, "unknown", "user.says", False, False)
    assert judged(ErrorCode.NETWORK) == (ErrorCode.NETWORK, "text", True, None, "unknown", "user.says", False, False)
    assert judged(ErrorCode.DISK_FULL).retryable is False
    assert judged(Verdict(ErrorCode.TIMEOUT)) == (
        ErrorCode.TIMEOUT,
        "text",
        False,
        None,
        "unknown",
        "user.says",
        False,
        False,
    )
    mine = Verdict(ErrorCode.TIMEOUT, "mine", True, 5.0, "none", "mine.rule", False, True)
    assert judged(mine) == mine
    assert judged(Verdict.of(-6)).rule == "user.says"
    assert judged(Verdict(ErrorCode.NETWORK, forbid=True)).forbid
    plain = judged(Verdict(-6))  # type: ignore[arg-type]  # what a user may well write
    assert (plain.code, type(plain.code)) == (ErrorCode.NETWORK, ErrorCode)


def test_a_classifiers_own_text_is_made_safe() -> None:
    """The text and the rule that a classifier gives are redacted and escaped like any other."""
    verdict = Chain(lambda error: Verdict(ErrorCode.NETWORK, "password=hunter2\n", rule="a\nb"))(RuntimeError())
    assert (verdict.message, verdict.rule) == ("password=***", r"a\nb")


@pytest.mark.parametrize(
    "answer",
    [
        "retry",
        1,
        -6,
        5.0,
        (ErrorCode.NETWORK,),
        Verdict("NETWORK"),
        Verdict(True),
        Verdict(ErrorCode.SUCCESS),
        Verdict(ErrorCode.NETWORK, message=None),
        Verdict(ErrorCode.NETWORK, rule=5),
        Verdict(ErrorCode.NETWORK, retryable=1),
        Verdict(ErrorCode.NETWORK, forbid=None),
        Verdict(ErrorCode.NETWORK, throttled="no"),
        Verdict(ErrorCode.NETWORK, effect="some"),
        Verdict(ErrorCode.NETWORK, retry_after="5"),
        Verdict(ErrorCode.NETWORK, retry_after=True),
        Verdict(ErrorCode.NETWORK, retry_after=-1),
        Verdict(ErrorCode.NETWORK, retry_after=math.nan),
        Verdict(ErrorCode.NETWORK, retry_after=math.inf),
        ErrorCode.SUCCESS,
    ],
    ids=repr,
)
def test_nonsense_is_reported_and_passed_over(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An answer that is none counts as None, and is logged once."""
    chain = DEFAULT.extend(lambda error: answer)
    for _ in range(3):
        assert chain(ConnectionResetError()).rule == "stdlib.ConnectionResetError"
    assert [(record.name, record.levelname) for record in caplog.records] == [("retrywrap", "ERROR")]
    assert "the classifier" in caplog.text
    assert "failed; taken as 'not mine'" in caplog.text


def test_a_classifier_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """A classifier that raises is passed over, and its error is logged once, with its traceback."""

    def broken(error: object) -> None:
        raise ZeroDivisionError("oops")

    chain = DEFAULT.extend(broken)
    for _ in range(3):
        assert chain(ConnectionResetError()).rule == "stdlib.ConnectionResetError"
    assert caplog.text.count("ZeroDivisionError: oops") == 1
    assert "broken" in caplog.records[0].getMessage()


def test_each_broken_classifier_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """Once means once for each classifier."""
    Chain(lambda error: 1 / 0, lambda error: 1 / 0)(RuntimeError())  # type: ignore[arg-type, return-value]  # broken
    assert len(caplog.records) == 2


def test_a_classifier_that_is_interrupted() -> None:
    """Ctrl-C during a classifier comes out."""

    def interrupted(error: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Chain(interrupted)(RuntimeError())


def test_a_classifier_that_returns_a_coroutine(caplog: pytest.LogCaptureFixture) -> None:
    """A coroutine is no answer, and is closed, so that nobody complains that it was never awaited."""

    async def later() -> bool:
        return True

    assert not is_known(Chain(lambda error: later())(RuntimeError()))  # type: ignore[arg-type, return-value]  # wrong
    gc.collect()
    assert len(caplog.records) == 1


class _Async:
    async def __call__(self, error: object) -> bool:
        return True


async def _later(error: object) -> bool:
    return True


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (5, "classifier must be a function .* got 5"),
        ("text", "classifier must be a function .* got 'text'"),
        (b"text", "classifier must be a function .* got b'text'"),
        (int, "classifier must be a function .* got <class 'int'>"),
        ([quota, 5], "classifier must be a function .* got 5"),
        (ValueError, "classifier must be .* the exception class ValueError: give it as on="),
        ([ValueError], "classifier must be .* the exception class ValueError"),
        (_later, "classifier must be a plain function.*coroutine function <function _later"),
        (_Async(), "classifier must be a plain function"),
        (["x" * 1000], "got 'xxx.{90,100}…$"),
    ],
    ids=[
        "number",
        "text",
        "bytes",
        "class",
        "number-in-list",
        "exception",
        "exception-in-list",
        "coroutine-function",
        "async-callable",
        "long-text",
    ],
)
def test_what_is_no_classifier_is_refused(wrong: Any, match: str) -> None:
    """A wrong `classifier=` is refused at once, by name, value and what was expected."""
    with pytest.raises(TypeError, match=match):
        as_chain(wrong)


def test_as_chain() -> None:
    """None is the default chain, a chain is itself, and functions are asked before the default chain."""
    mine = Chain(quota)
    assert as_chain(None) is DEFAULT
    assert as_chain(mine) is mine
    assert as_chain([]) is DEFAULT
    for given in (quota, [quota], (silent, quota), iter([quota])):
        chain = as_chain(given)
        assert chain(RuntimeError("quota")).code is ErrorCode.DISK_FULL
        assert chain(ConnectionResetError()).rule == "stdlib.ConnectionResetError"


def test_a_callable_that_can_be_iterated_is_a_classifier() -> None:
    """What can be called is called, whatever else it can do."""

    class Both(list[Any]):
        def __call__(self, error: object) -> bool:
            return True

    assert as_chain(Both([5]))(RuntimeError()).rule.endswith("Both")


def test_base_must_be_a_chain() -> None:
    """A function as the base is refused; it belongs among the classifiers."""
    with pytest.raises(TypeError, match="base must be a Chain"):
        Chain(quota, base=again)  # type: ignore[arg-type]  # the point of the test


def test_chain_pickles_and_copies() -> None:
    """A chain of module-level functions survives pickling and copying; the default chain stays the one it is."""
    chain = DEFAULT.extend(quota)
    for twin in (pickle.loads(pickle.dumps(chain)), copy.deepcopy(chain)):
        assert twin.base is DEFAULT
        assert twin.classifiers == (quota,)
        assert twin(RuntimeError("quota")).code is ErrorCode.DISK_FULL
    assert pickle.loads(pickle.dumps(DEFAULT)) is copy.deepcopy(DEFAULT) is DEFAULT


def test_repr() -> None:
    """A chain shows whom it asks."""
    assert (
        repr(Chain(Chain(silent), quota, base=DEFAULT))
        == "Chain(Chain(silent, base=None), quota, base=the default chain)"
    )


def test_cause_is_followed_last() -> None:
    """An unknown error means what its cause means, however far down; a known one does not ask its cause."""
    reset = ConnectionResetError(104, "reset")
    assert classify(chain_of(RuntimeError("a"), KeyError("b"), reset)).rule == "stdlib.errno.ECONNRESET"
    assert classify(chain_of(RuntimeError("a"), KeyError("b"), reset)).message == "a"
    assert classify(chain_of(ValueError("a"), reset)).rule == "stdlib.ValueError"
    assert not is_known(classify(chain_of(RuntimeError("a"), KeyError("b"))))


def test_a_cause_that_is_no_exception_is_not_followed() -> None:
    """An error that somebody made of a cancellation is unknown, but not forbidden to who names it in on=."""
    verdict = classify(chain_of(RuntimeError(), KeyboardInterrupt()))
    assert (verdict.rule, verdict.forbid) == ("unknown", False)


def test_causes_in_a_circle() -> None:
    """Errors that are each other's cause end the search."""
    one, other = RuntimeError(), KeyError()
    one.__cause__, other.__cause__ = other, one
    assert not is_known(classify(one))
    own = RuntimeError()
    own.__cause__ = own
    assert not is_known(classify(own))


def test_causes_without_end() -> None:
    """The search stops at a depth that no honest error has."""
    near = chain_of(*(RuntimeError(str(n)) for n in range(25)), ConnectionResetError())
    far = chain_of(*(RuntimeError(str(n)) for n in range(5000)), ConnectionResetError())
    assert is_known(classify(near))
    assert not is_known(classify(far))
    assert "too deep inside" in str(explain(far))


def test_users_are_asked_about_what_is_inside() -> None:
    """A user's classifier sees the cause too, when it did not know the error itself."""
    chain = DEFAULT.extend(quota)
    verdict = chain(chain_of(RuntimeError("wrapper"), RuntimeError("quota")))
    assert (verdict.code, verdict.message) == (ErrorCode.DISK_FULL, "wrapper")


@pytest.mark.parametrize(
    ("result", "code", "retryable"),
    [
        (None, 0, False),
        (True, 0, False),
        (False, 0, False),
        (0, 0, False),
        (0.5, 0, False),
        ("text", 0, False),
        (-6, -6, True),
        (-10, -10, False),
        (ErrorCode.TIMEOUT, -7, True),
        (503, 503, False),
        (11, 11, False),
        (10**30, -99, False),
    ],
)
def test_results(result: object, code: int, retryable: bool) -> None:
    """A returned int is one of the taxonomy's codes and nothing else; other values are successes."""
    verdict = classify(result)
    assert (verdict.code, verdict.retryable) == (code, retryable)
    assert verdict.message == ErrorCode(code).message


def test_a_number_of_any_size() -> None:
    """A number too large to be anybody's code, and even to be shown, is an unknown error."""
    assert classify(-(10**5000)) == Verdict.of(ErrorCode.UNKNOWN, rule="code")


def test_a_returned_answer() -> None:
    """A returned object with an HTTP error status is that failure; its body is not in the message."""

    class Answer:
        status = 503
        headers: dict[str, str] = {"Retry-After": "2"}  # noqa: RUF012 - a look-alike

    verdict = classify(Answer())
    assert (verdict.rule, verdict.retry_after, verdict.message) == ("http.503", 2.0, "HTTP status 503")
    Answer.status = 204
    assert classify(Answer()).code == 0


def test_classifiers_of_a_chain_are_asked_about_results() -> None:
    """What was given by hand is asked about results too; the message never holds the result."""
    chain = DEFAULT.extend(Chain(lambda result: result == {"password": "hunter2"}))
    verdict = chain({"password": "hunter2"})
    assert (verdict.retryable, verdict.message) == (True, "the returned dict was called a failure")
    assert chain("fine").code == 0


@pytest.mark.parametrize("cls", [ValueError, KeyboardInterrupt])
def test_a_class_in_place_of_an_exception(cls: type[BaseException]) -> None:
    """An exception class is refused: it is a mistake that would pass for a success."""
    for asked in (classify, explain, Chain(again)):
        with pytest.raises(TypeError, match=rf"got the class {cls.__name__}: give an instance, {cls.__name__}\("):
            asked(cls)


def test_other_classes_are_results() -> None:
    """Any other class may be returned."""
    assert classify(int).code == 0


def test_ask() -> None:
    """`ask` is for results: None for success, else a verdict with a text of its own."""
    assert ask(lambda result: None, 5) is None
    assert ask(lambda result: ErrorCode.NETWORK, 5) == Verdict(
        ErrorCode.NETWORK, "the returned int was called a failure", True, rule="user." + _lambda_name()
    )
    success = ask(lambda result: ErrorCode.SUCCESS, 5)
    assert success is not None
    assert success.code == 0


def _lambda_name() -> str:
    return "test_ask.<locals>.<lambda>"


def test_explain() -> None:
    """The way holds who was asked, in order, and what came of it; its last step is the verdict itself."""
    error = chain_of(RuntimeError("a"), ConnectionResetError(104, "b"))
    steps = DEFAULT.extend(silent).explain(error)
    assert [step.rule for step in steps] == [
        "user.silent",
        "sqlstate",
        "http",
        "__cause__",
        "user.silent",
        "stdlib.OSError",
        "cause",
        "stdlib.errno.ECONNRESET",
    ]
    assert [step.answer is not None for step in steps] == [False] * 5 + [True] * 3
    assert steps[0].note == "the user classifier silent: not its business"
    assert steps[3].note == "holds a ConnectionResetError"
    assert steps[5].note == "the table's row for builtins.OSError: CONNECTION_LOST, retry"
    assert steps[-1].answer == DEFAULT.extend(silent)(error)
    assert steps[-1].note == "the verdict"


def test_explain_ends_of_the_way() -> None:
    """What is unknown, forbidden, final or a result is explained too."""
    assert explain(RuntimeError("x"))[-1] == ("unknown", classify(RuntimeError("x")), "nobody knows it: not retried")
    assert explain(KeyboardInterrupt())[0].note == "what is never retried: UNKNOWN, never retry"
    assert explain(ValueError())[0].note == "the table's row for builtins.ValueError: INVALID_PARAM, do not retry"
    assert [step.rule for step in explain(-6)] == ["code"]


def test_a_type_is_not_kept_alive() -> None:
    """That a class was seen does not keep it, and its plan goes with it."""
    chain = Chain(silent)

    class Short(Exception):
        pass

    chain(Short())
    DEFAULT(Short())
    before = len(chain._plans)
    seen = weakref.ref(Short)
    del Short
    gc.collect()
    assert seen() is None
    assert len(chain._plans) == before - 1


def test_an_error_is_not_kept_alive() -> None:
    """No error, nor what is inside it, stays alive once the verdict is there, without a garbage collection."""

    class Short(Exception):
        pass

    gc.disable()
    try:
        error = chain_of(Short(), Short())
        seen = weakref.ref(error), weakref.ref(error.__cause__)
        classify(error)
        explain(error)
        del error
        assert [ref() for ref in seen] == [None, None]
    finally:
        gc.enable()


def test_a_fault_of_our_own_does_not_hide_the_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Should a table itself fail, the error is unknown, and the fault is logged once."""

    def broken(*_: object) -> Any:
        raise ZeroDivisionError("our fault")

    monkeypatch.setattr(links_module, "forbidden", broken)

    class Fresh(Exception):
        pass

    for _ in range(2):
        verdict = classify(Fresh("text"))
        assert (verdict.rule, verdict.message) == ("unknown", "text")
    assert caplog.text.count("ZeroDivisionError: our fault") == 1
    assert caplog.records[0].levelno == logging.ERROR


def test_a_family_is_added_as_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library's own row comes before the standard library's, the most derived class's first."""
    lib = type("LibError", (ConnectionResetError,), {"__module__": "zlib.deep"})
    assert [row.rule for row in rows_for(lib)][:2] == ["stdlib.OSError", "stdlib.ConnectionResetError"]
    module = "retrywrap.classifiers.clients"
    rows = {"zlib.LibError": Row("lib", "x", answer=Verdict(ErrorCode.TIMEOUT, rule="lib"), tier=0)}
    monkeypatch.setattr(f"{module}.TABLE", rows)
    monkeypatch.setitem(FAMILIES, "zlib", ("clients",))  # type: ignore[arg-type]  # a dict behind a Mapping

    class Mine(lib):  # type: ignore[misc, valid-type]  # made at run time
        pass

    assert classify(Mine()).rule == "lib"


def test_plans_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A type that was seen before costs no look into the tables."""
    made: list[type] = []

    def counting(cls: type[BaseException]) -> tuple[Row, ...]:
        made.append(cls)
        return ()

    monkeypatch.setattr(links_module, "forbidden", counting)

    class Fresh(Exception):
        pass

    for _ in range(3):
        classify(Fresh())
    assert made == [Fresh]


class _Reading(Exception):
    """Answers for attributes that it does not have."""

    def __getattr__(self, name: str) -> int:
        if name == "status":
            return 503
        raise AttributeError(name)


class _Slotted(Exception):
    __slots__ = ("sqlstate",)


class _Hiding(Exception):
    @property
    def __dict__(self) -> dict[str, object]:  # type: ignore[override]  # this is what it lies about
        return {}


class _Plain(Exception):
    pass


def _with(error: Any, **attributes: object) -> BaseException:
    for name, value in attributes.items():
        setattr(error, name, value)
    return error  # type: ignore[no-any-return]  # as it came


@pytest.mark.parametrize(
    ("error", "rule"),
    [
        (_Plain(), "unknown"),
        (_with(_Plain(), anything=1), "unknown"),
        (_with(_Plain(), status=503), "http.503"),
        (_with(_Plain(), sqlstate="40001"), "sqlstate.40001"),
        (_Reading(), "http.503"),
        (_with(_Slotted(), sqlstate="40001"), "sqlstate.40001"),
        (_with(_Hiding(), status=503), "http.503"),
        (chain_of(_Plain(), ConnectionResetError(104, "gone")), "stdlib.errno.ECONNRESET"),
    ],
)
def test_the_short_way_leads_to_the_same_verdict(error: BaseException, rule: str) -> None:
    """An error that holds nothing is known to be unknown without a look at what it has not; whoever holds something,
    in whatever way, is looked at."""
    assert classify(error).rule == rule
    assert explain(error)[-1].rule == rule


def test_a_chain_that_goes_on_after_the_tables_asks_the_rest() -> None:
    """The short way never passes by a classifier that comes after the default chain."""
    assert Chain(DEFAULT, again)(_Plain()).rule == "user.again"


def test_the_default_chain_holds_nothing_that_was_given_by_hand() -> None:
    """Only classifiers that were given to a chain are asked about results; those that are registered are not."""
    assert [*Chain(silent, base=DEFAULT)._functions()] == [silent]
