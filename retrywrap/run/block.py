"""The attempts of a block that runs again: ``for attempt in retry_scope(…): with attempt: …``, and its async twin."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from retrywrap.decide.allowance import Allowance
from retrywrap.decide.events import RetryEvent
from retrywrap.errors import RetryUsageError
from retrywrap.run import clock as clocks
from retrywrap.run.ambient import ambient, leave, remaining
from retrywrap.run.calls import at_most, begin, succeeded_at_once
from retrywrap.run.drive import Operation, apause, pause, prepare_async, prepare_sync

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from retrywrap.decide.policy import RetryPolicy
    from retrywrap.run.scope import RetryScope

__all__ = ["DONE", "AsyncAttempts", "AsyncBlock", "Attempt", "Block"]

_READY, _HANDED, _RUNNING, DONE = range(4)


class Attempt:
    """One attempt of a block; the same object serves all attempts of one loop."""

    # Class attributes, as in RetryScope: what a block that succeeds at once never sets costs it nothing.
    stage = _HANDED
    how = "write: for attempt in retry_scope(…): with attempt: …"
    since: int
    _operation: Operation | None = None
    _result: Any = None
    _started: float | None = None
    _limits: Allowance | None = None
    _inside: Allowance | None = None
    _own: Sequence[Allowance] = ()
    _before: Allowance | None = None

    scope: RetryScope

    def begin(self, policy: RetryPolicy) -> None:
        """Start the clock and the deadline of a block whose policy asks for more than attempts."""
        self._started = begin(policy)
        link = self.scope.link(self._started)
        self._limits = self.scope.innermost(link)
        if link is self.scope._link:
            self._inside = self._limits
            return
        own: list[Allowance] = [link]
        if policy.timeout is not None:  # which is all that what runs inside is to see of a scope that is not entered
            self._inside = Allowance(ambient.get(), deadline=link.own_deadline)
            own.append(self._inside)
        self._own = own

    @property
    def number(self) -> int:
        """The number of this attempt, from 1."""
        ended = 0 if self._operation is None else self._operation.attempts
        return max(ended, 1) if self.stage == DONE else ended + 1

    def set_result(self, result: Any) -> None:
        """Say what the block came to, for ``results=`` to judge when the block ends.

        Args:
            result: Any value.
        """
        self._result = result

    def remaining(self) -> float | None:
        """Return the seconds left to the block and all around it, never below 0.0; None: no limit."""
        return remaining()

    def _misused(self) -> RetryUsageError:
        if self.stage == _HANDED:
            return RetryUsageError(f"the attempt was not entered, so that the block could never be retried; {self.how}")
        return RetryUsageError(f"an attempt is entered once, inside its loop, and left before the next one; {self.how}")

    def _stand_under(self, limits: Allowance) -> None:
        self._before = ambient.get()
        try:
            ambient.set(limits)
        except BaseException:  # Ctrl-C: what was not entered is not left
            self._leave_limits()
            raise

    def _leave_limits(self) -> None:
        before, self._before = self._before, None
        if before is not None:
            leave(before, self._inside)

    def _leave(self, error: BaseException | None) -> RetryEvent | None:
        """Decide what follows the block, whose stage is DONE; None where the loop is over."""
        self._leave_limits()
        event = self._decide(error)
        if event is None or event.wait is None:
            self._over()
        return event

    def _over(self) -> None:
        """End what the block stood under, unless that is the entered scope's own."""
        for link in self._own:
            link.close()

    def left(self) -> None:
        """Note that the loop was left: where that was between two attempts, the operation ends without another one."""
        if self.stage == _RUNNING:
            return
        self.stage = DONE
        if self._operation is not None:  # which is open where a retry is due, or Ctrl-C came before one was decided on
            self._operation.cut_short()
        self._over()

    def _decide(self, error: BaseException | None) -> RetryEvent | None:
        if error is None:
            return self._returned(self.scope.policy)
        if not isinstance(error, Exception):
            if self._operation is not None:
                self._operation.interrupted(during_attempt=True)
            return None
        return self._failing().failed(error)

    def _returned(self, policy: RetryPolicy) -> RetryEvent | None:
        verdict = None if policy.results is None else policy.judge(self._result)
        if verdict is None and self._operation is None:
            succeeded_at_once(policy)
            return None
        return self._failing().returned(self._result, verdict)

    def _failing(self) -> Operation:
        if self._operation is None:
            limits = self._limits or self.scope.innermost(self.scope.link())
            self._operation = Operation(self.scope.block_spec(), self.since, started=self._started, limits=limits)
        return self._operation

    def __repr__(self) -> str:
        return f"<attempt {self.number} of {self.scope!r}>"


class Block(Attempt):
    """An attempt of the sync loop; its waits are made where the block is left."""

    def make_ready(self) -> None:
        """Make ready for the next attempt: run `before_retry`.

        Raises:
            RetryUsageError: The attempt was not entered, or is not left yet.
        """
        if self.stage != _READY or self._operation is None:
            raise self._misused()
        self._prepare(self._operation)
        self.stage = _HANDED

    def _prepare(self, operation: Operation) -> None:
        hook = operation.policy.before_retry
        while hook is not None:
            try:
                prepare_sync(hook, operation.context)
                return
            except Exception as error:
                self.stage = DONE
                if not pause(operation, operation.failed(error), error):
                    raise
            except BaseException:
                self.stage = DONE
                operation.interrupted(during_attempt=True)
                raise

    def __enter__(self) -> Block:
        if self.stage != _HANDED:
            raise self._misused()
        self._result = None
        if self._inside is not None:
            self._stand_under(self._inside)
        self.stage = _RUNNING
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: TracebackType | None) -> bool:
        self.stage = DONE
        if error is None and self._operation is None and self._limits is None:
            return False
        event = self._leave(error)
        if self._operation is None:
            return False
        again = pause(self._operation, event, error if isinstance(error, Exception) else None, self._result)
        if again:
            self.stage = _READY
        return again


class AsyncAttempts:
    """The iterator of the async loop, which nobody but the loop holds: it dies when the loop is left."""

    __slots__ = ("_block",)

    def __init__(self, block: AsyncBlock) -> None:
        self._block = block

    def __aiter__(self) -> AsyncAttempts:
        return self

    async def __anext__(self) -> AsyncBlock:
        return await self._block.next()

    def __del__(self) -> None:
        self._block.left()


class AsyncBlock(Attempt):
    """An attempt of the async loop, entered by ``with`` or ``async with``; the waits are made by ``async for``."""

    stage = _READY
    how = "write: async for attempt in retry_scope(…): async with attempt: …"
    _timer: AbstractAsyncContextManager[None] | None = None
    _pending: tuple[RetryEvent, Exception | None] | None = None

    def left(self) -> None:
        """The same; there may be a wait that is not made any more."""
        self._pending = None
        super().left()

    async def next(self) -> AsyncBlock:
        """Wait where that is due, and make ready for the next attempt.

        Raises:
            StopAsyncIteration: The loop is over.
            RetryUsageError: The attempt was not entered, or is not left yet.
        """
        try:
            if self._pending is not None:
                await self._wait(self._pending)
            if self.stage == DONE:
                raise StopAsyncIteration
            if self.stage != _READY:
                raise self._misused()
            if self._operation is not None:
                await self._prepare(self._operation)
        except BaseException:
            if self.stage == DONE:  # at once: an error that is kept keeps the loop, too
                self._over()
            raise
        self.stage = _HANDED
        return self

    async def _wait(self, pending: tuple[RetryEvent, Exception | None]) -> None:
        operation, (event, error) = self._failing(), pending
        self._pending = None
        del pending  # a frame that an exception passes through must not hold it: that is a cycle
        try:
            if await apause(operation, event, error, self._result):
                self.stage = _READY
            elif error is not None:  # pragma: no branch - without an error, the pause itself raises the end
                raise error
        finally:
            del error

    async def _prepare(self, operation: Operation) -> None:
        hook = operation.policy.before_retry
        while hook is not None:
            try:
                await prepare_async(hook, operation.context)
                return
            except Exception as error:
                self.stage = DONE
                if not await apause(operation, operation.failed(error), error):
                    raise
            except BaseException:
                self.stage = DONE
                operation.interrupted(during_attempt=True)
                raise

    def __enter__(self) -> AsyncBlock:
        if self._limits is not None and self.scope.policy.attempt_timeout is not None:
            raise RetryUsageError("attempt_timeout needs async with attempt: a plain with cannot stop what it holds")
        return self._enter()

    def _enter(self) -> AsyncBlock:
        if self.stage != _HANDED:
            raise self._misused()
        self._result = None
        if self._inside is not None:
            self._stand_under(self._inside)
        self.stage = _RUNNING
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: TracebackType | None) -> bool:
        return self._exit(error)

    def _exit(self, error: BaseException | None) -> Literal[True, False]:
        self.stage = DONE
        event = self._leave(error)
        if event is None or event.wait is None:
            return False
        self._pending = (event, error if isinstance(error, Exception) else None)
        return True

    async def __aenter__(self) -> AsyncBlock:
        self._enter()
        seconds = None if self._limits is None else self.scope.policy.attempt_timeout
        if seconds is not None:
            self._timer = clocks.limited(at_most(seconds))
            await self._timer.__aenter__()
        return self

    async def __aexit__(
        self, kind: Any, error: BaseException | None, traceback: TracebackType | None
    ) -> Literal[True, False]:
        timer, self._timer = self._timer, None
        if timer is not None:
            try:
                await timer.__aexit__(kind, error, traceback)
            except TimeoutError as late:
                if self._exit(late):
                    return True
                raise
        return self._exit(error)
