"""Has retrywrap do `modelling.program`'s programs, sync and async, and writes down what happened.

One interpreter serves all tracks: where the track is sync, its coroutines never wait, and are driven to their end at
once by plain functions. As a program (``python -m modelling.runner``), it reads programs from stdin and answers with
reports, a line each: so that another build can be asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.message
import io
import json
import sys
import urllib.error
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import retrywrap
from modelling.program import VALUES, Program
from retrywrap import (
    DeadlineExceeded,
    ErrorCode,
    RatioBudget,
    Registry,
    RetryBudget,
    RetryEvent,
    RetryExhausted,
    Verdict,
    retry_scope,
    with_retry,
)
from retrywrap.classifiers import register, unregister
from retrywrap.testing import VirtualClock, reset

__all__ = ["ERRORS", "NAMED", "ORDINARY", "TRACKS", "close", "facts", "interval", "known", "main", "run"]

TRACKS = ("sync", "async", "later")  # later: a plain function that returns an awaitable


class Hinted(Exception):
    """Comes with a hint."""


class Forbidden(Exception):
    """Nothing may retry it."""


class Halt(BaseException):
    """What is no Exception."""


def busy() -> urllib.error.HTTPError:
    """Return an answer that asks for less load; closed, since from Python 3.14 on one that nobody closed warns."""
    error = urllib.error.HTTPError("http://host/", 429, "busy", email.message.Message(), io.BytesIO())
    error.close()
    return error


ERRORS: dict[str, Callable[[], BaseException]] = {
    "reset": lambda: ConnectionResetError(104, "reset"),
    "refused": lambda: ConnectionRefusedError(111, "refused"),
    "busy": busy,
    "hint": lambda: Hinted("later"),
    "value": lambda: ValueError("wrong"),
    "strange": lambda: RuntimeError("strange"),
    "forbidden": lambda: Forbidden("never"),
    "exhausted": lambda: RetryExhausted("exhausted"),
    "late": lambda: DeadlineExceeded("late"),
    "halt": Halt,
}
ORDINARY = [kind for kind in ERRORS if kind != "halt"]
KINDS = {type(make()): kind for kind, make in ERRORS.items()}
NAMED = {"value": ValueError, "strange": RuntimeError, "exhausted": RetryExhausted, "late": DeadlineExceeded}


@contextlib.contextmanager
def known() -> Iterator[None]:
    """Make the errors of programs known to the classifier."""
    register(Hinted, ErrorCode.NETWORK, retryable=True, retry_after=7.0)
    register(Forbidden, ErrorCode.PERMISSION_DENIED, forbid=True)
    try:
        yield
    finally:
        unregister(Hinted)
        unregister(Forbidden)


def interval(interval: Any) -> Any:
    """Return what `modelling.program` means as a parameter."""
    if not isinstance(interval, list | tuple) or not interval or not isinstance(interval[0], str):
        return interval
    kind, *values = interval
    if kind == "exponential":
        return retrywrap.exponential(values[0], cap=values[1], jitter=values[2])
    return getattr(retrywrap, kind)(*values[:-1], cap=values[-1])


def _judge(value: object) -> ErrorCode | Verdict | None:
    if value == "worse":
        return Verdict(ErrorCode.PERMISSION_DENIED)
    return ErrorCode.NETWORK if value == "bad" else None


def _drive(steps: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits."""
    try:
        steps.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a sync program waited")


class NoTime(contextlib.nullcontext[Any]):
    """Stands for the clock where a program takes no time: nothing is replaced, so that the fast path serves it."""

    def __init__(self) -> None:
        super().__init__(self)
        self.waits: list[float] = []

    def now(self) -> float:
        """No time passes that matters."""
        return 0.0


class _Interpreter:
    def __init__(self, program: Program, track: str, clock: VirtualClock | NoTime) -> None:
        self.program, self.track, self.clock = program, track, clock
        self.story: list[Any] = []
        self.kept: BaseException | None = None
        self.functions: dict[str, Any] = {}
        self.hooks: dict[str, int] = {}
        self.entered: list[Any] = []
        self.scopes: list[Any] = []
        self.events = 0
        self.registries = [retrywrap.registry, Registry()]
        self.budgets: list[Any] = [
            RetryBudget(*given) if kind == "quota" else RatioBudget(given[0], ttl=given[1], reserve=given[2])
            for kind, *given in program["budgets"]
        ]

    async def run(self) -> None:
        stop = retrywrap.subscribe(self.hear)
        try:
            await self.body(self.program["steps"])
        except Exception as error:
            self.ended(error)
        except Halt:
            self.story.append(["halted"])
        finally:
            stop()

    def hear(self, event: RetryEvent) -> None:
        fields = (event.name, event.operation, event.reason, int(event.code), event.attempt, event.max, event.wait)
        elapsed = event.elapsed if isinstance(self.clock, VirtualClock) else self.clock.now()
        more = (elapsed, event.is_error, event.is_retry, event.scope, event.retry_after)
        self.story.append(["event", *fields, *more])
        self.events += 1
        for number, (what, *rest) in self.program["interruptions"]:
            if number == self.events:
                getattr(self, f"do_{what}")(*rest)

    def ended(self, error: BaseException) -> None:
        notes = [] if error is self.kept else [n.partition(" in ")[0] for n in getattr(error, "__notes__", ())]
        notes = [note for note in notes if not note.startswith("retrywrap: Python cannot")]
        cause = error.__cause__ and KINDS[type(error.__cause__)]
        self.story.append(["caught", KINDS[type(error)], cause, notes])

    # --- steps

    async def body(self, steps: Any) -> str:
        for kind, *rest in steps:
            if kind == "end":
                if rest[0] in VALUES:
                    return str(rest[0])
                raise self.error(rest[0])
            doing = getattr(self, f"do_{kind}")(*rest)
            if doing is not None:
                await doing
        return "good"

    def error(self, kind: str) -> BaseException:
        return self.kept or ERRORS["reset"]() if kind == "kept" else ERRORS[kind]()

    def do_advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def do_remaining(self) -> None:
        self.story.append(["remaining", retrywrap.remaining()])

    def do_cancel(self, which: int) -> None:
        if which < len(self.scopes):
            self.scopes[-1 - which].cancel()

    def do_shutdown(self) -> None:
        retrywrap.shutdown()

    async def do_call(self, operation: Any) -> None:
        await self.operate(operation)

    async def do_catch(self, operation: Any) -> None:
        try:
            await self.operate(operation)
        except Exception as error:
            self.ended(error)

    async def do_keep(self, operation: Any) -> None:
        try:
            await self.operate(operation)
        except Exception as error:
            self.kept = self.kept or error
            self.ended(error)

    async def do_wrap(self, operation: Any, kind: str) -> None:
        try:
            await self.operate(operation)
        except Exception as error:
            raise self.error(kind) from error

    async def do_with(self, given: Any, steps: Any) -> None:
        scope = retry_scope(**self.arguments(given, given["name"]), name=given["name"])
        with self.using(scope, given["name"]):
            try:
                if self.track == "sync":
                    with scope:
                        self.entered.append(scope)
                        await self.body(steps)
                else:
                    async with scope:
                        self.entered.append(scope)
                        await self.body(steps)
            finally:
                self.entered.remove(scope)

    @contextlib.contextmanager
    def using(self, scope: Any, name: str) -> Iterator[None]:
        self.scopes.append(scope)
        try:
            yield
        finally:
            self.scopes.pop()
            self.story.append(["scope", name, scope.error_count, scope.retry_count])

    # --- operations

    def arguments(self, policy: Any, name: str) -> dict[str, Any]:
        """Return the parameters that a policy is written with."""
        given = {**policy, "interval": interval(policy["interval"])}
        given.pop("name", None)
        if "budget" in given:
            given["budget"] = self.budgets[given["budget"]]
        if "results" in given:
            given["results"] = _judge
        if "before_retry" in given:
            given["before_retry"] = self.hook(policy["before_retry"], name)
        on = given.get("on")
        if on is not None:
            given["on"] = NAMED[on] if isinstance(on, str) else self.predicate(on[1])
        return given

    @staticmethod
    def predicate(seconds: float) -> Callable[[Exception], Any]:
        return lambda error: seconds if type(error) is ValueError else type(error) is RuntimeError

    def hook(self, outcomes: list[str], name: str) -> Any:
        def prepare(context: retrywrap.RetryContext) -> None:
            self.story.append(["hook", name, context.current_retry, context.attempts])
            number = self.hooks[name] = self.hooks.get(name, -1) + 1
            outcome = outcomes[number % len(outcomes)]
            if outcome != "good":
                raise self.error(outcome)

        async def aprepare(context: retrywrap.RetryContext) -> None:
            prepare(context)

        return aprepare if self.track == "async" else prepare

    async def attempt(self, operation: Any, made: list[int]) -> str:
        self.story.append(["attempt", operation["name"], self.clock.now()])
        made.append(1)
        bodies = operation["attempts"]
        return await self.body(bodies[min(len(made), len(bodies)) - 1])

    def attempts(self, operation: Any) -> Callable[[list[int]], Any]:
        """Return the function of an operation: sync, async, or sync with an awaitable as its result."""

        def later(made: list[int]) -> Any:
            return self.attempt(operation, made)

        async def coroutine(made: list[int]) -> Any:
            return await self.attempt(operation, made)

        def plain(made: list[int]) -> Any:
            return _drive(self.attempt(operation, made))

        return {"later": later, "async": coroutine, "sync": plain}[self.track]

    async def operate(self, operation: Any) -> None:
        form, name, made = operation["form"], operation["name"], list[int]()
        if form == "function":
            if name not in self.functions:
                self.functions[name] = with_retry(**self.own(operation))(self.attempts(operation))
            result = self.functions[name](made)
            if self.track != "sync":
                await result
        elif form in ("inside", "loop") and self.entered:
            await self.by_scope(self.entered[-1], operation, made)
        else:
            scope = retry_scope(**self.own(operation))
            with self.using(scope, name):
                await self.by_scope(scope, operation, made)

    async def by_scope(self, scope: Any, operation: Any, made: list[int]) -> None:
        if operation["form"] in ("block", "loop"):
            await self.loop(scope, operation, made)
        elif self.track == "sync":
            scope.call(self.attempts(operation), made)
        else:
            await scope.acall(self.attempts(operation), made)

    def own(self, operation: Any) -> dict[str, Any]:
        named: dict[str, Any] = {"name": operation["name"]}
        if operation["registry"]:
            named["registry"] = self.registries[1]
        return self.arguments(operation["policy"], operation["name"]) | named

    async def loop(self, scope: Any, operation: Any, made: list[int]) -> None:
        if self.track == "sync":
            for attempt in scope:
                with attempt:
                    attempt.set_result(await self.attempt(operation, made))
        elif self.track == "async":
            async for attempt in scope:
                with attempt:
                    attempt.set_result(await self.attempt(operation, made))
        else:
            async for attempt in scope:
                async with attempt:
                    attempt.set_result(await self.attempt(operation, made))


def facts(registry: Registry) -> dict[str, Any]:
    """Return what a registry has recorded, without what depends on the clock on the wall or on the build."""
    stats = {name: s._replace(succeeded_at_once=None) for name, s in registry.operations.items()}
    return {
        "operations": {name: list(s) for name, s in stats.items() if any(s)},
        "total": list(registry.stats()._replace(succeeded_at_once=None)),
        "codes": {str(int(code)): count for code, count in registry.by_code.items()},
        "errors": [[int(e.code), e.operation, e.attempt, e.final] for e in registry.errors],
        "last": [int(registry.last_error.code), registry.last_error.operation, registry.last_error.attempt],
    }


_loop: asyncio.Runner | None = None


def run(program: Program, track: str, *, timeless: bool = False) -> dict[str, Any]:
    """Run a program, one without time on the real clock; return all that can be seen of it."""
    global _loop
    reset()
    retrywrap.configure(events=False)
    with NoTime() if timeless else VirtualClock(random=program["chance"]) as clock:
        interpreter = _Interpreter(program, track, clock)
        if track == "sync":
            _drive(interpreter.run())
        else:
            _loop = _loop or asyncio.Runner()
            _loop.run(interpreter.run())
    at_once = {
        name: stats.succeeded_at_once
        for registry in interpreter.registries
        for name, stats in registry.operations.items()
        if stats.succeeded_at_once
    }
    return {
        "story": interpreter.story,
        "waits": clock.waits,
        "now": clock.now(),
        "registries": [facts(registry) for registry in interpreter.registries],
        "budgets": [budget.available for budget in interpreter.budgets],
        "at once": at_once if retrywrap.__build__ == "C" else None,
    }


def close() -> None:
    """Close the event loop that the programs ran in."""
    global _loop
    if _loop is not None:
        _loop.close()
        _loop = None


def main() -> None:
    """Answer programs with reports, until stdin ends."""
    print(retrywrap.__build__, flush=True)
    with known():
        for line in sys.stdin:
            program, track = json.loads(line)
            print(json.dumps(run(program, track)), flush=True)
    close()


if __name__ == "__main__":
    main()
