"""Subscribing and publishing: who hears what, and that no listener can change an operation's outcome."""

from __future__ import annotations

import functools
import logging
import subprocess
import sys
import threading
from typing import Any

import pytest

from retrywrap import Registry, registry, retry_scope, subscribe, with_retry
from retrywrap.decide.events import RetryEvent
from retrywrap.record import hooks
from retrywrap.testing import VirtualClock


def fails_once(exception: type[Exception] = ConnectionResetError) -> Any:
    """Return a function that raises at its first call and returns "done" ever after."""
    failures = [exception("a failure")]

    def operation() -> str:
        if failures:
            raise failures.pop()
        return "done"

    return operation


@pytest.fixture
def heard() -> Any:
    """The events that come out of retrywrap while the test runs."""
    events: list[RetryEvent] = []
    end = subscribe(events.append)
    yield events
    end()


def test_a_listener_hears_each_decision(clock: VirtualClock, heard: list[RetryEvent]) -> None:
    """The scheduled retry and then the recovery, in this order, each as a frozen event."""
    assert with_retry(max=1, interval=5, name="op")(fails_once())() == "done"
    assert [(event.name, event.operation, event.wait) for event in heard] == [
        ("retry.scheduled", "op", 5.0),
        ("retry.recovered", "op", None),
    ]
    with pytest.raises(AttributeError):
        heard[0].name = "changed"  # type: ignore[misc]  # that this fails is the point


def test_a_success_at_once_is_no_event(heard: list[RetryEvent]) -> None:
    """Nobody hears of what did not fail."""
    with_retry(len)([])
    assert heard == []


def test_the_recorders_hear_before_the_listeners(clock: VirtualClock) -> None:
    """When a listener is called, the registry has counted already."""
    counts: list[int] = []
    end = subscribe(lambda event: counts.append(registry.error_count))
    with_retry(max=1, interval=0)(fails_once())()
    end()
    assert counts == [1, 1]


def test_an_ended_subscription_hears_nothing_more(clock: VirtualClock) -> None:
    """Its returned function ends it, and calling that again does nothing, not even to an equal listener's."""
    events: list[RetryEvent] = []
    first = subscribe(events.append)
    second = subscribe(events.append)
    before = hooks._subscriptions
    first()
    first()
    assert len(hooks._subscriptions) == len(before) - 1
    with pytest.raises(TimeoutError):
        with_retry(max=0)(fails_once(TimeoutError))()
    assert len(events) == 1
    second()
    second()
    with pytest.raises(TimeoutError):
        with_retry(max=0)(fails_once(TimeoutError))()
    assert len(events) == 1


def test_a_listener_may_end_its_own_subscription(clock: VirtualClock) -> None:
    """Ending it while it is being called, or another's, disturbs no one."""
    events: list[str] = []

    def once(event: RetryEvent) -> None:
        events.append(event.name)
        end()

    end = subscribe(once)
    with_retry(max=1, interval=1)(fails_once())()
    assert events == ["retry.scheduled"]


def test_a_listener_that_raises_changes_no_outcome(clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    """It is reported once, with its name and its error; the others are still called, and so is it."""
    calls: list[str] = []

    def broken(event: RetryEvent) -> None:
        calls.append(event.name)
        raise ZeroDivisionError("in the listener")

    heard: list[RetryEvent] = []
    ends = [subscribe(broken), subscribe(heard.append)]
    try:
        assert with_retry(max=3, interval=1)(fails_once())() == "done"
        with pytest.raises(ConnectionRefusedError, match="the operation's") as caught:
            with_retry(max=1, interval=1, on=OSError)(_raise)(ConnectionRefusedError("the operation's"))
    finally:
        for end in ends:
            end()
    assert caught.value.__context__ is None
    assert len(calls) == len(heard) == 4
    [report] = [record for record in caplog.records if "Traceback" in record.getMessage()]
    assert (report.name, report.levelno) == ("retrywrap", logging.ERROR)
    assert "broken" in report.getMessage()
    assert "retry.scheduled" in report.getMessage()
    assert "builtins.ZeroDivisionError: " in report.getMessage()


def _raise(error: Exception) -> None:
    raise error


def test_a_listener_whose_repr_raises_is_reported_too(clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    """Not even naming the culprit can do harm."""

    class Hostile:
        def __call__(self, event: RetryEvent) -> None:
            raise OSError

        def __repr__(self) -> str:
            raise ValueError

    end = subscribe(Hostile())
    assert with_retry(max=1, interval=1)(fails_once())() == "done"
    end()
    assert any("Hostile" in record.getMessage() for record in caplog.records)


def test_a_recorder_that_raises_changes_no_outcome(clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    """A registry of the application's own making is held to the same; the listeners still hear."""

    class Broken(Registry):
        def handle(self, event: RetryEvent) -> None:
            raise OSError("database is down")

    heard: list[RetryEvent] = []
    end = subscribe(heard.append)
    assert with_retry(max=1, interval=1, registry=Broken())(fails_once())() == "done"
    end()
    assert len(heard) == 2
    assert len([record for record in caplog.records if "Traceback" in record.getMessage()]) == 1


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_listener_is_not_swallowed(clock: VirtualClock, interruption: type[BaseException]) -> None:
    """What is no Exception goes through, and the listener hears of that end, and of the next operation, as before."""
    interruptions = [interruption()]
    names: list[str] = []

    def listener(event: RetryEvent) -> None:
        names.append(event.name)
        if interruptions:
            raise interruptions.pop()

    end = subscribe(listener)
    with pytest.raises(interruption):
        with_retry(max=1, interval=1)(fails_once())()
    with_retry(max=1, interval=1)(fails_once())()
    end()
    assert names == ["retry.scheduled", "retry.cancelled", "retry.scheduled", "retry.recovered"]


def test_a_listener_is_not_told_what_fails_inside_it(clock: VirtualClock) -> None:
    """An alarm that is itself sent with retries, and fails, does not set itself off; others hear of it."""
    inside: list[str] = []
    others: list[str] = []

    def alarm(event: RetryEvent) -> None:
        inside.append(event.operation)
        with_retry(max=2, interval=1, name="sending the alarm")(_raise)(ConnectionResetError("no mail today"))

    ends = [subscribe(alarm), subscribe(lambda event: others.append(event.operation))]
    with pytest.raises(TimeoutError):
        with_retry(max=1, interval=1, name="work")(_raise)(TimeoutError("slow"))
    for end in ends:
        end()
    assert inside == ["work", "work"]
    assert others == [*["sending the alarm"] * 3, "work"] * 2


def test_each_subscription_is_of_one_function_of_its_own(clock: VirtualClock) -> None:
    """A function that is subscribed twice is called twice, in the order of the subscriptions."""
    order: list[str] = []
    ends = [subscribe(functools.partial(lambda name, event: order.append(name), name)) for name in "aba"]
    with pytest.raises(TimeoutError):
        with_retry(max=0)(_raise)(TimeoutError())
    for end in ends:
        end()
    assert order == ["a", "b", "a"]


async def _coroutine(event: RetryEvent) -> None:
    raise AssertionError("never called")


class _AsyncObject:
    async def __call__(self, event: RetryEvent) -> None:
        raise AssertionError("never called")


@pytest.mark.parametrize("listener", [None, 3, "f", _coroutine, functools.partial(_coroutine), _AsyncObject()])
def test_what_cannot_be_called_at_once_is_refused(listener: Any) -> None:
    """A coroutine function would never be awaited, and so never hear anything."""
    before = hooks._subscriptions
    with pytest.raises(TypeError, match=r"^listener must be a plain function that takes one event; got "):
        subscribe(listener)
    assert hooks._subscriptions == before


def test_scopes_hear_from_the_inside_out(clock: VirtualClock) -> None:
    """Each scope around an operation records what happens in it."""
    with retry_scope(max=5, name="outer") as outer, retry_scope(max=5, name="inner") as inner:
        with_retry(max=1, interval=1, name="op")(fails_once())()
        assert inner.error_count == outer.error_count == 1


def test_subscribing_in_many_threads_loses_nobody() -> None:
    """However threads take turns, each subscription is there until it ends, and then not."""
    before = hooks._subscriptions
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        ends: list[Any] = []

        def work(step: Any) -> None:
            for _ in range(50):
                step()

        for step in (lambda: ends.append(subscribe(lambda event: None)), lambda: ends.pop()()):
            threads = [threading.Thread(target=work, args=(step,)) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            assert len(hooks._subscriptions) == len(before) + len(ends)
    finally:
        sys.setswitchinterval(interval)
    assert hooks._subscriptions == before


def test_without_a_word_of_the_listeners_all_listen() -> None:
    """The hooks alone know nothing of who is deaf."""
    code = "from retrywrap.record import hooks; print(hooks.hush().deaf, hooks.hush().listeners)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "frozenset() ()\n"
