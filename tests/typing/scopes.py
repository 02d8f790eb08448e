# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""Never run, only type-checked: scopes, backoffs, records and the rest of the public surface as a type checker sees it.

Lines that must be errors carry an ignore comment for each checker, as in the file on decorated functions.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, assert_type

from retrywrap import (
    ErrorCode,
    ErrorRecord,
    RatioBudget,
    Registry,
    RetryExhausted,
    RetryPolicy,
    RetryState,
    RetryWrapError,
    StopReason,
    Verdict,
    classify,
    decorrelated,
    exponential,
    fibonacci,
    fixed,
    linear,
    registry,
    remaining,
    retry_scope,
    return_codes,
    shutdown,
    subscribe,
    write_file,
)
from retrywrap.classifiers import explain, register
from retrywrap.testing import VirtualClock, disabled, reset

T = TypeVar("T")


def copy(source: str, target: str, *, follow: bool = True) -> int:
    return len(source) + len(target) + follow


async def fetch(url: str) -> bytes:
    return url.encode()


def identity(value: T) -> T:
    return value


with retry_scope(max=20, timeout=120, name="night", budget=RatioBudget()) as scope:
    assert_type(scope.call(copy, "a", "b"), int)
    assert_type(scope.call(copy, "a", "b", follow=False), int)
    assert_type(scope.call(identity, b""), bytes)
    assert_type(scope.remaining(), float | None)
    assert_type(scope.carry(copy)("a", "b", follow=True), int)
    assert_type(scope.retry_count, int)
    scope.cancel()
    scope.call(copy, "a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    scope.call(copy, 1, "b")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    scope.carry(copy)(1, "b")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

for attempt in retry_scope(max=3, interval=exponential(0.1)):
    with attempt:
        attempt.set_result(1)


async def runs() -> None:
    async with retry_scope(max=3) as inner:
        assert_type(await inner.acall(fetch, "a"), bytes)
        await inner.acall(fetch, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await inner.acall(copy, "a", "b")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async for trial in retry_scope(results=return_codes):
        async with trial:
            trial.set_result(0)


retry_scope(tries=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
retry_scope(3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

waits = (fixed(1).take(3) + linear(1, 2)).then(decorrelated(1, cap=20)).capped(10) * 2
assert_type(RetryPolicy(interval=waits).replace(max=3), RetryPolicy)
RetryPolicy(max=[1])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
fibonacci("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

assert_type(registry, Registry)
assert_type(registry.last_error, ErrorRecord)
assert_type(registry.last_error.code, ErrorCode)
assert_type(registry.error_count, int)
assert_type(registry.by_code, dict[ErrorCode, int])
assert_type(registry.errors, tuple[ErrorRecord, ...])
assert_type(registry.record_error(ErrorCode.NETWORK, "down", "upload"), ErrorRecord)

assert_type(classify(OSError(28, "full")), Verdict)
assert_type(classify(OSError(28, "full")).retry_after, float | None)
assert_type(explain(OSError(28, "full"))[-1].answer, Verdict | None)
assert_type(remaining(), float | None)
assert_type(write_file(Path("a"), b"data", durable=False), int)
write_file(Path("a"), 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@register
def gateway(error: Any) -> Verdict | None:
    return Verdict(ErrorCode.NETWORK, retryable=True, effect="none")


kept: Callable[[Any], Verdict | None] = gateway

end = subscribe(lambda event: print(event.reason is StopReason.EXHAUSTED, event.wait, event.operation))
assert_type(end, Callable[[], None])
end()
shutdown()

try:
    pass
except RetryExhausted as error:
    assert_type(error.attempts, int)
    base: RetryWrapError = error

assert_type(RetryState(3), RetryState)
with VirtualClock(random=0.5) as clock:
    assert_type(clock, VirtualClock)
    assert_type(clock.waits, list[float])
    clock.advance(1.5)
with disabled():
    reset()
