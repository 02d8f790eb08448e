"""The loops that call again, in each form: which error or result comes out of a wait that is cut, and what is told."""

from __future__ import annotations

import asyncio
import contextvars
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from retrywrap import (
    ErrorCode,
    RetryExhausted,
    classify,
    registry,
    remaining,
    retry_scope,
    return_codes,
    shutdown,
    subscribe,
    with_retry,
)
from retrywrap.classifiers.verdict import Verdict
from retrywrap.decide.events import RetryEvent
from retrywrap.run import track
from retrywrap.run.drive import Operation
from retrywrap.testing import VirtualClock, observe

FORMS = ["sync", "async", "late", "awaitable"]


def run(
    form: str,
    outcomes: list[Any],
    *arguments: Any,
    named: dict[str, Any] | None = None,
    uses: Callable[..., Any] | None = None,
    **policy: Any,
) -> Any:
    """Run an operation whose attempts come to these outcomes: exceptions are raised, other values returned.

    Args:
        form: ``sync`` and ``async``: the function's kind; ``awaitable``: a plain function that returns an awaitable;
            ``late``: one whose first attempt fails before that.
        outcomes: One for each attempt.
        *arguments: What the function is called with.
        named: The same, by name.
        uses: What each attempt does with these first; given the attempt's number.
        **policy: For the decorator.
    """
    attempts = iter(range(1, 99))

    def attempt(*arguments: Any, **given: Any) -> Any:
        number = next(attempts)
        if uses is not None:
            uses(number, *arguments, **given)
        outcome = outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def later(*arguments: Any, **given: Any) -> Any:
        return attempt(*arguments, **given)

    def function(*arguments: Any, **given: Any) -> Any:
        if form == "sync" or (form == "late" and began.pop()):
            return attempt(*arguments, **given)
        return later(*arguments, **given)

    began = [False] * 9 + [True]
    retried = with_retry(name="work", **policy)(later if form == "async" else function)
    if form == "sync":
        return retried(*arguments, **(named or {}))

    async def main() -> Any:
        return await retried(*arguments, **(named or {}))

    return asyncio.run(main())


@pytest.fixture
def cut_at() -> Iterator[Callable[[int], None]]:
    """Cut the wait after the failure of this number, by shutting retrywrap down."""
    ends = []

    def cut(number: int) -> None:
        ends.append(subscribe(lambda event: shutdown() if event.wait is not None and event.attempt == number else None))

    yield cut
    for end in ends:
        end()


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("form", FORMS)
def test_the_last_error_comes_out_of_a_cut_wait(
    clock: VirtualClock, cut_at: Callable[[int], None], form: str, number: int
) -> None:
    """That of the attempt before the wait, itself."""
    errors: list[Exception] = [ConnectionResetError(f"failure {n}") for n in (1, 2, 3)]
    cut_at(number)
    with pytest.raises(ConnectionResetError) as caught:
        run(form, [*errors])
    assert caught.value is errors[number - 1]
    assert f"cancelled after {number} attempt" in caught.value.__notes__[0]


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("form", FORMS)
def test_the_last_result_comes_out_of_a_cut_wait(
    clock: VirtualClock, cut_at: Callable[[int], None], form: str, number: int
) -> None:
    """That of the attempt before the wait."""
    results: list[Any] = [-6, -11, -15]
    if form == "late":
        results[0] = ConnectionResetError("at first")
    cut_at(number)
    with pytest.raises((RetryExhausted, ConnectionResetError)) as caught:
        run(form, [*results], results=return_codes)
    if isinstance(caught.value, RetryExhausted):
        assert (caught.value.result, caught.value.attempts) == (results[number - 1], number)
    else:
        assert (form, number, caught.value) == ("late", 1, results[0])


@pytest.mark.parametrize("form", FORMS)
def test_the_last_result_is_that_of_the_error(clock: VirtualClock, form: str) -> None:
    """Where the retries are used up, with the failure's text behind the reason."""
    first: list[Any] = [ConnectionResetError("at first")] if form == "late" else [-6]
    with pytest.raises(RetryExhausted, match=r"the last failure: \S") as caught:
        run(form, [*first, -6, -11], max=2, results=return_codes)
    assert (caught.value.result, caught.value.code) == (-11, -11)


@pytest.mark.parametrize("form", ["sync", "late"])
def test_the_error_that_says_so_without_a_result_tells_it_once(clock: VirtualClock, form: str) -> None:
    """With ``reraise=False`` the cause has the text of the last failure."""
    with pytest.raises(RetryExhausted) as caught:
        run(form, [ConnectionResetError("gone"), ConnectionResetError("the last")], max=1, reraise=False)
    assert "the last" not in str(caught.value)
    assert str(caught.value.__cause__) == "the last"
    assert (caught.value.reason, caught.value.operation) == ("exhausted", "work")


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_what_a_later_attempt_used_up_ends_it(clock: VirtualClock, form: str, by_name: bool) -> None:
    """A generator that the first attempt did not touch, and the second consumed; whether that raised or returned."""

    def uses(number: int, items: Iterator[int]) -> None:
        if number > 1:
            list(items)

    def work(outcomes: list[Any], **policy: Any) -> Any:
        if by_name:
            return run(form, outcomes, named={"items": (n for n in (1, 2))}, uses=uses, **policy)
        return run(form, outcomes, (n for n in (1, 2)), uses=uses, **policy)

    with observe() as events, pytest.raises(ConnectionResetError, match="second"):
        work([ConnectionResetError("first"), ConnectionResetError("second"), 1])
    assert [event.name for event in events] == ["retry.scheduled", "retry.rejected"]
    assert f"argument {'items' if by_name else 1} is a one-shot generator" in events[-1].detail.replace("'", "")

    first: Any = ConnectionResetError("first") if form == "late" else -6
    with observe() as events, pytest.raises(RetryExhausted) as caught:
        work([first, -11, 0], results=return_codes)
    assert caught.value.result == -11
    assert [event.name for event in events] == ["retry.scheduled", "retry.rejected"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("more", [{}, {"max": None, "timeout": 999}])
def test_ctrl_c_in_a_retry_is_an_attempt(clock: VirtualClock, form: str, more: dict[str, Any]) -> None:
    """The event of its end has the attempt's own number, and the attempt counts as a retry."""
    with observe() as events, pytest.raises(KeyboardInterrupt):
        run(form, [ConnectionResetError("first"), ConnectionResetError("second"), KeyboardInterrupt()], **more)
    assert [(event.name, event.attempt) for event in events] == [
        ("retry.scheduled", 1),
        ("retry.scheduled", 2),
        ("retry.cancelled", 3),
    ]
    assert registry.retry_count == 2
    with observe() as events, pytest.raises(KeyboardInterrupt):
        run(form, [ConnectionResetError("first"), KeyboardInterrupt()], **more)
    assert [(event.name, event.attempt) for event in events] == [("retry.scheduled", 1), ("retry.cancelled", 2)]


@pytest.mark.parametrize("form", FORMS)
def test_ctrl_c_while_a_later_result_is_judged_is_told_once(clock: VirtualClock, form: str) -> None:
    """It comes out, and the operation ends with one event."""

    def judge(value: object) -> Verdict | None:
        if value == "stop":
            raise KeyboardInterrupt
        return None

    with observe() as events, pytest.raises(KeyboardInterrupt):
        run(form, [ConnectionResetError("first"), "stop"], results=judge)
    assert [event.name for event in events] == ["retry.scheduled", "retry.cancelled"]


@pytest.mark.parametrize("form", FORMS)
def test_ctrl_c_before_anything_was_told_tells_nothing(clock: VirtualClock, form: str) -> None:
    """Where the first failure was still being judged, nobody has heard of the operation."""

    def classifier(error: BaseException) -> Verdict | None:
        raise KeyboardInterrupt

    with observe() as events, pytest.raises(KeyboardInterrupt):
        run(form, [ConnectionResetError("first")], classifier=classifier)
    assert [event.name for event in events] == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("parameters", [{}, {"interval": 0}, {"max": None, "timeout": 999}])
def test_what_the_success_says(clock: VirtualClock, form: str, parameters: dict[str, Any]) -> None:
    """The number of the attempt that succeeded, what was waited, and that it was a retry."""
    with observe() as events:
        assert run(form, [ConnectionResetError("a"), ConnectionResetError("b"), "done"], **parameters) == "done"
    last = events[-1]
    assert (last.name, last.attempt, last.is_retry, last.is_error) == ("retry.recovered", 3, True, False)
    assert (last.code, last.message) == (ErrorCode.CONNECTION_LOST, "b")
    stats = registry.stats()
    assert (stats.errors, stats.retries, stats.recovered) == (2, 2, 1)


def test_an_error_nobody_knows_is_told_apart_and_counted_once(clock: VirtualClock) -> None:
    """The event that asks for a rule is neither an error nor a retry of its own."""
    with observe() as events, pytest.raises(LookupError):
        run("sync", [ConnectionResetError("first"), LookupError("second")])
    assert [(event.name, event.is_error, event.is_retry) for event in events] == [
        ("retry.scheduled", True, False),
        ("retry.unknown_error", False, False),
        ("retry.rejected", True, True),
    ]
    assert (registry.error_count, registry.retry_count) == (2, 1)


def test_a_known_error_that_is_rejected_asks_for_no_rule(clock: VirtualClock) -> None:
    """Nor does one that ended for want of retries, though no rule knows it."""
    with observe() as events, pytest.raises(FileNotFoundError):
        run("sync", [FileNotFoundError(2, "missing")])
    assert [event.name for event in events] == ["retry.rejected"]
    with observe() as events, pytest.raises(LookupError):
        run("sync", [LookupError("a"), LookupError("b")], max=1, on=LookupError)
    assert [event.name for event in events] == ["retry.scheduled", "retry.exhausted"]


def test_a_late_awaitable_leaves_no_limit_behind(clock: VirtualClock) -> None:
    """Neither where it was awaited, nor for what was begun inside it."""
    inside: list[contextvars.Context] = []
    around: list[float | None] = []

    async def later() -> str:
        inside.append(contextvars.copy_context())
        return "done"

    outcomes: list[Any] = [ConnectionResetError("at first")]

    @with_retry(timeout=60)
    def work() -> Any:
        if outcomes:
            raise outcomes.pop()
        return later()

    async def main() -> None:
        with retry_scope(timeout=1000):
            await work()
            around.append(remaining())
        around.append(remaining())

    asyncio.run(main())
    assert around == [995.0, None]
    assert inside[0].run(remaining) is None


def test_who_waits_in_the_thread_of_an_event_loop_is_warned(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """With the way out; it is no error."""

    async def main() -> Any:
        return run("sync", [ConnectionResetError("gone"), "done"])

    assert asyncio.run(main()) == "done"
    (told,) = [record for record in caplog.records if "event loop" in record.getMessage()]
    assert told.levelname == "WARNING"
    assert "asyncio.to_thread or trio.to_thread.run_sync (said once)" in told.getMessage()


def test_what_takes_over_goes_on_where_the_fast_path_was(clock: VirtualClock) -> None:
    """Attempts, time, verdict and policy so far are those of the operation from then on."""
    told: list[RetryEvent] = []
    spec = with_retry(max=3, name="taken")(len)._self_spec
    judged = track.judged_as(ConnectionResetError(104, "gone"))
    assert judged is not None
    end = subscribe(told.append)
    try:
        operation = Operation.taken_over(spec, (spec.policy(), 7, 10.0, 1000.0, 2, judged))
        assert (operation.spec, operation.recorders, operation.is_open) == (spec, (spec.registry,), True)
        assert (operation.attempts, operation.context.since, operation.context.attempts) == (2, 7, 2)
        assert operation.context.verdict == classify(ConnectionResetError(104, "gone"))
        operation.cut_short()
    finally:
        end()
    (event,) = told
    assert (event.name, event.attempt, event.operation) == ("retry.cancelled", 2, "taken")


@pytest.mark.parametrize("interval", [0, 1])
@pytest.mark.parametrize("form", FORMS)
def test_the_traceback_is_as_long_after_two_attempts_as_after_many(
    clock: VirtualClock, form: str, interval: float
) -> None:
    """Where one exception object is raised each time; the first of the late form comes from another place."""
    lengths = []
    for times in (2, 3, 5) if form == "late" else (1, 2, 5):
        error = ConnectionResetError("the same")
        with pytest.raises(ConnectionResetError) as caught:
            run(form, [error] * (times + 1), max=times, interval=interval)
        lengths.append(len(traceback.extract_tb(caught.value.__traceback__)))
    assert len(set(lengths)) == 1
