"""`inject` itself: what it refuses at once, what a mistaken name was meant to be, and when it begins and ends."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import Any, cast

import pytest

from retrywrap import Registry, RetryUsageError, with_retry
from retrywrap.run import clock as clocks
from retrywrap.run import inventory
from retrywrap.testing import (
    VirtualClock,
    always,
    at_rate,
    disabled,
    inject,
    isolated_registry,
    latency,
    observe,
)

retried = with_retry(max=3, interval=1, registry=Registry())


@retried
def double(value: int) -> int:
    """Return twice the value."""
    return value * 2


class Service:
    """Has methods of all kinds."""

    @retried
    def method(self) -> None:
        """Do nothing."""

    @retried
    async def later(self) -> None:
        """Do nothing."""


class Decorated:
    """Has a method of the same name."""

    @retried
    def method(self) -> None:
        """Do nothing."""


class Odd(Exception):
    """Wants two arguments."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(one, two)


@pytest.mark.parametrize(
    "give", [lambda: inject(double, Odd), lambda: inject(double, [None, Odd]), lambda: always(Odd)]
)
def test_a_type_that_wants_arguments_is_refused_at_once(give: Any) -> None:
    """Else its TypeError would come out of the application's call; an instance is right."""
    with pytest.raises(TypeError, match=r"missing 2 required positional arguments.*give an instance of it"):
        give()
    with inject(double, Odd(1, 2)), pytest.raises(Odd):
        double(1)


@pytest.mark.parametrize(
    ("give", "said"),
    [
        (lambda: inject(double, [latency(2)]), r"a plan stands alone, not in a list"),
        (lambda: at_rate(0.5, [TimeoutError, OSError]), r"at_rate\(0\.5, A, B\)"),  # type: ignore[arg-type]  # wrong
        (lambda: at_rate("x", OSError), r"a number from 0 to 1; got 'x'"),  # type: ignore[arg-type]  # wrong
        (lambda: at_rate(-1, OSError), r"a number from 0 to 1; got -1"),
        (lambda: at_rate(1.5, OSError), r"a number from 0 to 1; got 1\.5"),
        (lambda: inject(Service, OSError), r"a class: did you mean Service\.method or Service\.later\?"),
        (lambda: inject(int, OSError), r"got int$"),
    ],
)
def test_what_is_mistaken_is_answered_with_what_was_meant(give: Any, said: str) -> None:
    """A plan in a list, a list in a plan, a rate out of range, a class in the place of its method."""
    with pytest.raises((TypeError, ValueError), match=said):
        give()


def test_an_injection_that_is_never_entered_warns() -> None:
    """At the line that made it."""
    with pytest.warns(RuntimeWarning, match=r"inject\(test_injecting\.double, …\) was never entered") as caught:
        inject(double, ConnectionResetError)
    assert (caught[0].filename, caught[0].lineno) == (__file__, here() - 1)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (disabled, "disabled() was never entered, so that retries go on: a with statement does it"),
        (observe, "observe() was never entered, so that nothing is observed"),
        (VirtualClock, "VirtualClock() was never entered, so that waits take real time"),
        (isolated_registry, "isolated_registry() was never entered, so that the registry is as it was"),
    ],
)
def test_a_block_that_is_never_entered_warns(make: Callable[[], Any], said: str) -> None:
    """At the line that made it."""
    with pytest.warns(RuntimeWarning, match=re.escape(said)) as caught:
        make()
    assert (caught[0].filename, caught[0].lineno) == (__file__, here() - 1)


def test_what_decorates_a_function_is_entered_when_that_is_called() -> None:
    """No warning, and the function's body runs inside, whatever kind it is of, whenever it goes on."""
    off = disabled()

    @off
    def plain(number: int) -> tuple[int, bool]:
        return number, clocks.enabled()

    @off
    async def waits(number: int) -> tuple[int, bool]:
        await asyncio.sleep(0)
        return number, clocks.enabled()

    @off
    def yields(number: int) -> Iterator[tuple[int, bool]]:
        for _ in range(2):
            number += yield number, clocks.enabled()

    @off
    async def rounds(number: int) -> AsyncIterator[tuple[int, bool]]:
        for _ in range(2):
            await asyncio.sleep(0)
            yield number, clocks.enabled()

    async def all_rounds() -> list[tuple[int, bool]]:
        return [each async for each in rounds(3)]

    assert clocks.enabled()
    assert plain(number=1) == (1, False)
    assert asyncio.run(waits(2)) == (2, False)
    assert asyncio.run(all_rounds()) == [(3, False)] * 2
    going = cast("Generator[tuple[int, bool], int]", yields(4))
    assert (next(going), going.send(5)) == ((4, False), (9, False))
    assert not clocks.enabled()  # it is inside still
    going.close()
    assert clocks.enabled()
    assert [each.__name__ for each in (plain, waits, yields, rounds)] == ["plain", "waits", "yields", "rounds"]
    assert inspect.iscoroutinefunction(waits)
    assert inspect.isgeneratorfunction(yields)
    assert inspect.isasyncgenfunction(rounds)


def test_a_clock_and_an_injection_decorate_functions_as_well() -> None:
    """Each call has a new one: the clock is at its start, and the faults come again."""

    @VirtualClock(start=5, random=0.25)
    @inject(double, [ConnectionResetError])
    def work() -> tuple[int, float, float, float]:
        """Say what it sees."""
        clock = clocks.current()
        return double(3), clock.now(), clock.epoch(), clock.random()

    assert [work() for _ in range(2)] == [(6, 1.0, 5.0, 0.25)] * 2
    assert work.__doc__ == "Say what it sees."


@pytest.mark.parametrize(
    ("make", "name", "said"),
    [
        (observe, "expect", r"no attribute 'expect'; a with statement gives what may have it: with observe\(\) as …:$"),
        (
            lambda: inject(double, OSError),
            "count",
            r"no attribute 'count'; .* with inject\(test_injecting.double, …\)",
        ),
        (lambda: inject(double, OSError), "_count", "no attribute '_count'$"),
        (VirtualClock, "waited_for", "no attribute 'waited_for'$"),
    ],
)
def test_what_is_taken_for_what_it_gives_says_so(make: Callable[[], Any], name: str, said: str) -> None:
    """The forgotten ``with`` is told where it shows first."""
    block = make()
    with pytest.raises(AttributeError, match=said):
        getattr(block, name)
    with block:
        pass


def test_a_decorated_async_generator_hears_what_it_is_sent() -> None:
    """Values and errors reach it, as those that make a context manager of it need, and its end does as well."""
    ends: list[str] = []

    @contextlib.asynccontextmanager
    @disabled()
    async def manager() -> AsyncIterator[bool]:
        try:
            yield clocks.enabled()
        except ValueError as error:
            ends.append(str(error))

    @disabled()
    async def echo() -> AsyncGenerator[int, int]:
        got = 0
        try:
            while got < 3:
                got = yield got
        finally:
            ends.append(f"over {clocks.enabled()}")

    async def main() -> None:
        async with manager() as enabled:
            assert not enabled
            raise ValueError("heard")
        for last in (2, 3):
            said = echo()
            assert await said.asend(None) == 0  # type: ignore[arg-type]  # as the first has to be
            assert await said.asend(1) == 1
            if last == 2:
                assert await said.asend(2) == 2
                await said.aclose()
            else:
                with pytest.raises(StopAsyncIteration):
                    await said.asend(3)

    asyncio.run(main())
    assert ends == ["heard", "over False", "over False"]
    assert clocks.enabled()


def test_a_subclass_of_the_clock_decorates_as_what_it_is() -> None:
    """What it overrides, and what it was made with, holds in each call; the time begins anew."""

    class Slow(VirtualClock):
        def __init__(self, seconds: float) -> None:
            super().__init__()
            self.seconds = seconds

        def now(self) -> float:
            return super().now() + self.seconds

    clock = Slow(3)
    clock.advance(1)

    @clock
    def work() -> float:
        clocks.current().advance(1)  # type: ignore[attr-defined]  # it is one
        return clocks.current().now()

    assert [work(), work()] == [4.0, 4.0]


@pytest.mark.parametrize("given", [Registry, 3, None])
def test_a_block_decorates_nothing_but_functions(given: object) -> None:
    """Of a class, only its making would be inside."""
    with pytest.raises(TypeError, match=r"^disabled\(\) decorates functions; got .*: use it on its methods$"):
        disabled()(given)


def test_blocks_can_be_entered_again() -> None:
    """Also within one another, and around a function."""
    off = disabled()
    for _ in range(2):
        with off, off:
            assert not clocks.enabled()
        assert clocks.enabled()
    assert off(clocks.enabled)() is False
    assert clocks.enabled()


@pytest.mark.parametrize(
    ("give", "said"),
    [
        (lambda: inject(double, OSError, OSError), ": give them as one list, inject(…, [A, B])"),
        (lambda: inject(double, 5), "got 5: seconds of the first call are [seconds], of every call latency(seconds)"),
        (lambda: inject(double, always), ": call it, as in always(TimeoutError)"),
        (lambda: inject(double, at_rate), ": call it, as in at_rate(0.1, TimeoutError)"),
        (lambda: inject(double, latency), ": call it, as in latency(2)"),
        (lambda: inject(double, "OSError"), "got 'OSError': without quotes it is one"),
        (lambda: inject([OSError], double), ": the function comes first, inject(function, faults)"),
        (lambda: always([OSError]), ": several are a list of their own, as in inject(…, [A, B])"),
        (lambda: at_rate(0.1, [OSError]), ": give them one by one, as in at_rate(0.5, A, B)"),
        (lambda: at_rate(0.1, OSError, 7), "got 7: is it seed=?"),
        (
            lambda: inject(double.__wrapped__, OSError),
            "got test_injecting.double, the function that is decorated: give the decorated one, not what it wraps",
        ),
        (
            lambda: inject(functools.partial(double, 1), OSError),
            " inside a functools.partial: give the function itself",
        ),
        (lambda: inject(property(double), OSError), ", a property: give its function, which is its attribute fget"),
    ],
)
def test_what_is_near_to_right_is_answered_with_what_is(give: Callable[[], object], said: str) -> None:
    """Several faults without a list, plans that are not called, what stands around or inside the function."""
    with pytest.raises(TypeError, match=re.escape(said) + "$"):
        give()


def here() -> int:
    """Return the line of the call."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_an_injection_is_entered_once_at_a_time(clock: VirtualClock) -> None:
    """When it is over, it can begin anew; twice at once, or an end without a beginning, is refused."""
    injecting = inject(double, [ConnectionResetError])
    for _ in range(2):
        with injecting as injection:
            assert double(1) == 2
            with pytest.raises(RetryUsageError, match=r"in force already: call inject\(…\) once more"):
                injecting.__enter__()
        assert injection.count == 1
    assert clock.waits == [1.0, 1.0]
    with pytest.raises(RetryUsageError, match="not in force"):
        injecting.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("double", "did you mean 'test_injecting.double'?"),
        ("test_injecting.duoble", "did you mean 'test_injecting.double'?"),
        ("tst_injcting.dbl", "did you mean 'test_injecting.double'?"),
        ("doubel", "did you mean 'test_injecting.double'?"),
        ("Method", "did you mean 'test_injecting.Decorated.method' or 'test_injecting.Service.method'?"),
        ("EVERYTHING", "did you mean retrywrap.testing.EVERYTHING, the object, without quotes?"),
        ("*", "did you mean retrywrap.testing.EVERYTHING"),
        ("nothing.like.it", "there are "),
    ],
)
def test_a_name_that_is_not_known(name: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was meant is said."""
    mine = [each for each in inventory.proxies() if each._self_spec.name.startswith("test_injecting.")]
    monkeypatch.setattr(inventory, "proxies", lambda: mine)
    with pytest.raises(ValueError, match=re.escape(f"got {name!r}: {said}")):
        inject(name, [ConnectionResetError])


def test_a_process_without_decorated_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no name to give."""
    monkeypatch.setattr(inventory, "proxies", list)
    with pytest.raises(ValueError, match="got 'x': there are none"):
        inject("x", [ConnectionResetError])
