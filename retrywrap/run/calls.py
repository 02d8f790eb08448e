"""The closures that stand for a decorated callable: the happy path, and the door to the loops behind it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from retrywrap.decide.allowance import Allowance
from retrywrap.decide.context import ask_budget
from retrywrap.decide.notes import counted
from retrywrap.decide.policy import RetryPolicy
from retrywrap.run import clock as clocks
from retrywrap.run import drive, native
from retrywrap.run.ambient import ambient, leave, remaining
from retrywrap.run.kinds import PLAIN, is_async, is_awaitable
from retrywrap.run.opening import retried_awaitable
from retrywrap.run.spec import OperationSpec

__all__ = [
    "acall",
    "at_most",
    "awaited",
    "begin",
    "build",
    "build_fast",
    "call",
    "first_failure",
    "succeeded_at_once",
]

Call = Callable[..., Any]


def build(wrapped: Call, spec: OperationSpec) -> Call:
    """Return the closure that calls `wrapped` and retries it."""
    if is_async(wrapped):
        return _named(_simple_async(wrapped, spec) if spec.simple else _full_async(wrapped, spec), wrapped, spec)
    return _simple(wrapped, spec) if spec.simple else _full(wrapped, spec)


def build_fast(wrapped: Call, spec: OperationSpec) -> tuple[Call, OperationSpec, Any, str]:
    """Return what the fast path's proxies are set up with: what they call, and in which way."""
    if not spec.simple:
        return build(wrapped, spec), spec, spec.tally, "through"
    if is_async(wrapped):
        return _named(_packed_async(wrapped, spec), wrapped, spec), spec, spec.tally, "packed"
    return wrapped, spec, spec.tally, "retried"


def _named(call: Call, wrapped: Call, spec: OperationSpec) -> Call:
    for name in ("__name__", "__qualname__"):  # a coroutine is called so, where its await was forgotten
        setattr(call, name, str(getattr(wrapped, name, spec.name)))
    return call


def _simple(wrapped: Call, spec: OperationSpec) -> Call:
    plain, given_up = PLAIN, counted

    def retried(*arguments: Any, **named: Any) -> Any:
        since = given_up[0]
        try:
            result = wrapped(*arguments, **named)
        except Exception as error:
            operation = first_failure(spec, since, error, arguments, named)
            if operation is None:
                raise
        else:
            if type(result) in plain or not is_awaitable(result):
                return result
            return awaited(result, wrapped, spec, arguments, named)
        return drive.retry(operation, wrapped, arguments, named)

    return retried


def _simple_async(wrapped: Call, spec: OperationSpec) -> Call:
    given_up = counted

    async def retried(*arguments: Any, **named: Any) -> Any:
        since = given_up[0]
        try:
            return await wrapped(*arguments, **named)
        except Exception as error:
            operation = drive.Operation(spec, since)
            if not await drive.apause(operation, operation.failed(error, arguments, named), error):
                raise
        return await drive.aretry(operation, wrapped, arguments, named)

    return retried


def _packed_async(wrapped: Call, spec: OperationSpec) -> Call:
    """Return the same for arguments that come as the fast path has them: in one tuple, the last with these names."""
    given_up, invoke, unpack, tally = counted, native.fast.invoke, native.fast.unpack, spec.tally

    async def retried(packed: tuple[Any, ...], names: tuple[str, ...] | None) -> Any:
        since = given_up[0]
        try:
            result = await invoke(wrapped, packed, names)
        except Exception as error:
            arguments, named = unpack(packed, names)
            operation = drive.Operation(spec, since)
            if not await drive.apause(operation, operation.failed(error, arguments, named), error):
                raise
        else:
            tally()
            return result
        return await drive.aretry(operation, wrapped, arguments, named)

    return retried


def first_failure(
    spec: OperationSpec,
    since: int,
    error: Exception,
    arguments: tuple[Any, ...],
    named: dict[str, Any],
    *,
    beaten: bool = True,
) -> drive.Operation | None:
    """Wait as is decided on a first attempt that failed; return the operation, or None: the error comes out."""
    operation = drive.Operation(spec, since, beaten=beaten)
    return operation if drive.pause(operation, operation.failed(error, arguments, named), error) else None


def _full(wrapped: Call, spec: OperationSpec) -> Call:
    def retried(*arguments: Any, **named: Any) -> Any:
        return call(spec, wrapped, arguments, named)

    return retried


def _full_async(wrapped: Call, spec: OperationSpec) -> Call:
    async def retried(*arguments: Any, **named: Any) -> Any:
        return await acall(spec, wrapped, arguments, named)

    return retried


def call(spec: OperationSpec, wrapped: Call, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Call with everything that a policy may ask for: deadline, budget, results."""
    policy = spec.policy()
    if policy.attempt_timeout is not None:
        raise TypeError(
            f"attempt_timeout={policy.attempt_timeout:g} needs a coroutine function; {spec.name} is not one"
        )
    since, started = counted[0], begin(policy)
    around = ambient.get()
    limits = _limits(policy, started, around)
    try:
        ambient.set(limits)
        try:
            result = wrapped(*arguments, **named)
        except Exception as error:
            operation = drive.Operation(spec, since, started=started, limits=limits)
            if not drive.pause(operation, operation.failed(error, arguments, named), error):
                raise
        else:
            if type(result) not in PLAIN and is_awaitable(result):
                return awaited(result, wrapped, spec, arguments, named, started)
            verdict = policy.judge(result)
            if verdict is None:
                succeeded_at_once(policy)
                if spec.tally is not None:
                    spec.tally()
                return result
            operation = drive.Operation(spec, since, started=started, limits=limits)
            drive.pause(operation, operation.returned(result, verdict, arguments, named), None, result)
        return drive.retry(operation, wrapped, arguments, named)
    finally:
        if limits is not around:
            limits.closed = True
        leave(around, limits)


async def acall(
    spec: OperationSpec,
    wrapped: Call,
    arguments: tuple[Any, ...],
    named: dict[str, Any],
    begun: tuple[float | None] | None = None,
) -> Any:
    """The same as `call` for a function that returns an awaitable; the policy may also limit each attempt.

    Args:
        spec: The operation's.
        wrapped: The function.
        arguments: Its positional arguments.
        named: Its keyword arguments.
        begun: The time at which the operation began, where it has begun already.
    """
    policy = spec.policy()
    since, started = counted[0], begin(policy) if begun is None else begun[0]
    around = ambient.get()
    limits = _limits(policy, started, around)
    attempt = wrapped if policy.attempt_timeout is None else _timed(wrapped, policy.attempt_timeout)
    try:
        ambient.set(limits)
        try:
            result = await attempt(*arguments, **named)
        except Exception as error:
            operation = drive.Operation(spec, since, started=started, limits=limits)
            if not await drive.apause(operation, operation.failed(error, arguments, named), error):
                raise
        else:
            verdict = policy.judge(result)
            if verdict is None:
                succeeded_at_once(policy)
                if spec.tally is not None:
                    spec.tally()
                return result
            operation = drive.Operation(spec, since, started=started, limits=limits)
            await drive.apause(operation, operation.returned(result, verdict, arguments, named), None, result)
        return await drive.aretry(operation, attempt, arguments, named)
    finally:
        if limits is not around:
            limits.closed = True
        leave(around, limits)


def begin(policy: RetryPolicy) -> float | None:
    """Return the time of the start, and tell the budget of it, where either is asked for."""
    if policy.timeout is None and policy.budget is None:
        return None
    now = clocks.current().now()
    if policy.budget is not None:
        ask_budget(policy.budget, policy.budget.begin, now)
    return now


def succeeded_at_once(policy: RetryPolicy) -> None:
    """Tell the budget of a success without retries."""
    if policy.budget is not None:
        ask_budget(policy.budget, policy.budget.succeeded, None)


def _limits(policy: RetryPolicy, started: float | None, around: Allowance) -> Allowance:
    """Return what the attempts stand under: a new deadline where the policy has a timeout."""
    if policy.timeout is None or started is None:
        return around
    return Allowance(around, deadline=started + policy.timeout)


def at_most(seconds: float) -> float:
    """Return the seconds that one attempt may take: so many, and no more than what is left to the operation."""
    left = remaining()
    return seconds if left is None else min(seconds, left)


def _timed(wrapped: Call, seconds: float) -> Call:
    """Limit each attempt to so many seconds, and to what is left to the operation."""

    async def attempt(*arguments: Any, **named: Any) -> Any:
        async with clocks.limited(at_most(seconds)):
            return await wrapped(*arguments, **named)

    return attempt


def awaited(
    first: Any,
    wrapped: Call,
    spec: OperationSpec,
    arguments: tuple[Any, ...],
    named: dict[str, Any],
    started: float | None = None,
) -> Any:
    """Retry what a sync function's awaitable does."""
    whole = retried_awaitable(first, wrapped, lambda attempt: acall(spec, attempt, arguments, named, (started,)))
    asyncio: Any = sys.modules.get("asyncio")
    if asyncio is not None and isinstance(first, asyncio.Future):
        return first.get_loop().create_task(whole)
    return whole
