"""The loops that wait and call: one sync, one async. They obey `RetryContext`; every decision is made there.

The wait stands inside the ``except`` block, because the error must be able to come out of it, traceback intact, when
the wait is cut short; a bare ``raise`` there adds no frame, no context and no cycle. The next attempt runs outside of
it, so that a later error has no ``__context__`` which its own code did not give it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from types import FrameType
from typing import Any, TypeAlias

from retrywrap.classifiers import oserrors, stdlib
from retrywrap.classifiers.verdict import Verdict
from retrywrap.decide.allowance import ALONE, Allowance, standing
from retrywrap.decide.checks import shown_seconds
from retrywrap.decide.context import RetryContext, explain_end
from retrywrap.decide.events import UNKNOWN_ERROR, RetryEvent, StopReason
from retrywrap.decide.notes import Note, attach, counted
from retrywrap.decide.policy import RetryPolicy
from retrywrap.errors import RetryExhausted
from retrywrap.record.hooks import Recorder, publish
from retrywrap.reports import report_once
from retrywrap.run import clock as clocks
from retrywrap.run import track
from retrywrap.run.ambient import ambient, leave, recorders
from retrywrap.run.kinds import is_awaitable
from retrywrap.run.oneshot import spent_argument
from retrywrap.run.opening import retried_awaitable
from retrywrap.run.spec import OperationSpec

_PRELOADED = oserrors, stdlib
"""What a first failure needs: where it is for want of file descriptors, or at the interpreter's end, it is too late."""

__all__ = [
    "Operation",
    "SoFar",
    "apause",
    "aretry",
    "forget_stale_traceback",
    "leave_note",
    "pause",
    "retried_later",
    "retry",
]


SoFar: TypeAlias = "tuple[RetryPolicy, int, float, float, int, track.Judged]"
"""Of an operation: its policy, the newest note when it began, its start, the epoch, its failures, the last verdict."""

_BLOCKS = (
    "{} is no coroutine function, and waits {} s in the thread of a running event loop, where nothing else goes on "
    "meanwhile: make it one, or call it by asyncio.to_thread or trio.to_thread.run_sync (said once)"
)


_TRACEBACK: Any = BaseException.__dict__["__traceback__"]


class Operation:
    """One operation that has failed at least once: how far it came, and who hears of it.

    On the beaten track it needs no context; that is made where another law than the tenth and the sixth has a say.

    Attributes:
        is_open: Whether something was told of it, and not its end.
    """

    __slots__ = (
        "_attempts",
        "_context",
        "_epoch",
        "_judged",
        "_since",
        "_started",
        "_track",
        "clock",
        "is_open",
        "limits",
        "policy",
        "recorders",
        "spec",
    )

    _judged: track.Judged
    recorders: Sequence[Recorder]

    def __init__(
        self,
        spec: OperationSpec,
        since: int | None = None,
        *,
        started: float | None = None,
        limits: Allowance | None = None,
        context: RetryContext | None = None,
        beaten: bool = True,
    ) -> None:
        self.spec = spec
        self.is_open = False
        self._since = counted[0] if since is None else since
        self._attempts = 0
        self._track: track.Track | None = None
        self._context: RetryContext | None = None
        if beaten and started is None and context is None and spec.simple and track.is_clear(limits):
            self._begin_on_track(track.track_of(spec), limits)
        if self._track is None:
            self._begin(started, ambient.get() if limits is None else limits, context)

    def _begin_on_track(self, known: track.Track, limits: Allowance | None) -> None:
        spec = self.spec
        if not known.beaten:
            return
        self._track, self.policy, self.clock = known, known.policy, clocks.REAL
        self._started, self._epoch = track.started()
        if limits is None:
            self.limits, self.recorders = ALONE, (spec.registry,)
        else:
            self.limits = standing(limits)
            self.recorders = (spec.registry, *recorders(self.limits))

    def _begin(self, started: float | None, limits: Allowance, context: RetryContext | None) -> None:
        spec = self.spec
        self.clock = clock = clocks.current()
        self.limits = under = standing(limits)
        self.recorders = (spec.registry,) if under is ALONE else (spec.registry, *recorders(under))
        begun = clock.now() if started is None else started
        if context is None:
            context = RetryContext._begun(
                spec.policy(), spec.name, spec.layer, under, clock.random, clock.epoch(), begun
            )
        else:
            context.surround(under, clock.random, clock.epoch())
            context.begin(begun)
        context.since = self._since
        if not clocks.enabled():
            context.end_retries()
        self._context = context
        self.policy = context.policy

    @classmethod
    def taken_over(cls, spec: OperationSpec, so_far: SoFar) -> Operation:
        """Return an operation that has come so far on the track elsewhere: under no scope, by the real clock."""
        self = cls.__new__(cls)
        self.spec, self.clock, self.limits, self.recorders = spec, clocks.REAL, ALONE, (spec.registry,)
        self.policy, self._since, self._started, self._epoch, self._attempts, self._judged = so_far
        self.is_open = True
        self._leave_track()
        return self

    @property
    def context(self) -> RetryContext:
        """The context, which decides from now on."""
        return self._context or self._leave_track()

    def _leave_track(self) -> RetryContext:
        spec = self.spec
        context = RetryContext._begun(
            self.policy, spec.name, spec.layer, self.limits, self.clock.random, self._epoch, self._started
        )
        context.since = self._since
        if self._attempts:
            code, message, error_type, rule, _, _ = self._judged
            context._went_on(self._attempts, Verdict(code, message, retryable=True, rule=rule), error_type)
        self._context, self._track = context, None
        return context

    @property
    def attempts(self) -> int:
        """How many attempts have ended."""
        return self._attempts if self._context is None else self._context.attempts

    def failed(
        self, error: Exception, arguments: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> RetryEvent:
        """Decide on an attempt that raised; publish; leave the note where it is to come out.

        Raises:
            RetryExhausted: It is to come out, and the policy says ``reraise=False``.
        """
        try:
            event = self._on_track(error, arguments, named)
            if event is None:
                context = self.context
                event = context._decide(error, self.clock.now(), self._spent(arguments, named))
                if context.attempts > 1:
                    forget_stale_traceback(error)
                self._publish(event)
        except BaseException:
            self.cut_short()
            raise
        if event.reason is not None:
            self._let_out(error, event)
        return event

    def _on_track(
        self, error: Exception, arguments: tuple[Any, ...], named: dict[str, Any] | None
    ) -> RetryEvent | None:
        """Decide on a failed attempt and publish, where nothing but the number of retries decides; else return None."""
        known, failures = self._track, self._attempts
        if known is None or (failures == 0 and (arguments or named) and not track.stay(arguments, named)):
            return None
        found = track.judged_as(error)
        if found is None or self.limits.cancelled_by() is not None:
            return None
        now = self._started
        if failures > 0:
            forget_stale_traceback(error)
            now = self.clock.now()
        self._judged = found
        event = self._ended(known, None if failures < known.most else StopReason.EXHAUSTED, now)
        self._attempts = failures + 1
        self._publish(event)
        return event

    def _ended(self, known: track.Track, reason: StopReason | None, now: float) -> RetryEvent:
        elapsed, moment = now - self._started, self._epoch + now
        return track.event_of(reason, known, self.spec.name, self._judged, self._attempts + 1, elapsed, moment)

    def _spent(self, arguments: tuple[Any, ...], named: dict[str, Any] | None) -> str | None:
        if self.policy.before_retry is not None or not (arguments or named):
            return None
        try:
            return spent_argument(arguments, named or {}, self.spec)
        except Exception:  # an argument may be anything, and do anything when it is looked at
            return None

    def returned(
        self,
        result: object,
        verdict: Verdict | None,
        arguments: tuple[Any, ...] = (),
        named: dict[str, Any] | None = None,
    ) -> RetryEvent | None:
        """Decide on an attempt that returned: None where that was success, so where `verdict` is None.

        Raises:
            RetryExhausted: The value was judged a failure, and no attempt follows.
        """
        try:
            known = self._track
            if known is not None and verdict is None and self._attempts > 0:
                recovered = self._ended(known, StopReason.RECOVERED, self.clock.now())
                self._attempts += 1
                self._publish(recovered)
                return None
            spent = None if verdict is None else self._spent(arguments, named)
            event = self.context.returned(verdict, self.clock.now(), spent=spent)
            if event is None:
                return None
            self._publish(event)
        except BaseException:
            self.cut_short()
            raise
        if event.reason is StopReason.RECOVERED:
            return None
        if event.final:
            raise self._exhausted(event, result)
        return event

    def resume(self, error: Exception | None, result: object = None) -> bool:
        """Look once more after the wait: whether the next attempt is to start.

        Raises:
            RetryExhausted: It is not, and there is no exception to let out, or the policy says ``reraise=False``.
        """
        if self._track is not None and self.limits.cancelled_by() is None:
            return True
        event = self.context.resumed(self.clock.now())
        if event is None:
            return True
        self._publish(event)
        if error is None:
            raise self._exhausted(event, result)
        self._let_out(error, event)
        return False

    def interrupted(self, *, during_attempt: bool) -> None:
        """Publish the end by something that is no `Exception`."""
        self._publish(self.context.interrupted(self.clock.now(), during_attempt=during_attempt))

    def cut_short(self) -> None:
        """Publish the end by what came out between two steps of ours, or out of a clock's wait.

        Only where something was told of the operation already, and not its end: Ctrl-C in the midst of the telling of
        that brings no second one.
        """
        if self.is_open:
            self.interrupted(during_attempt=False)

    def _publish(self, event: RetryEvent) -> None:
        self.is_open = event.reason is None
        if event.reason is StopReason.REJECTED and not self.context.known:
            publish(event._replace(name=UNKNOWN_ERROR, reason=None, is_error=False, is_retry=False), self.recorders)
        publish(event, self.recorders)

    def _let_out(self, error: Exception, event: RetryEvent) -> None:
        leave_note(error, event, self.spec.layer if self._context is None else self._context.layer)
        if not self.policy.reraise:
            raise self._exhausted(event, None) from error

    def _exhausted(self, event: RetryEvent, result: object) -> RetryExhausted:
        why, reason = explain_end(event), event.reason or StopReason.EXHAUSTED
        exhausted = RetryExhausted(
            why if event.error_type != "result" else f"{why}; the last failure: {event.message}",
            operation=event.operation,
            reason=str(reason),
            attempts=event.attempt,
            elapsed=event.elapsed,
            code=int(event.code),
            result=result,
        )
        exhausted.given_up = Note.make(why, event.operation, self.context.layer, reason, event.attempt)
        return exhausted


def leave_note(error: BaseException, event: RetryEvent, layer: object) -> None:
    """Leave the note of an operation's end on the error that comes out of it."""
    reason = event.reason or StopReason.EXHAUSTED
    attach(error, Note.make(explain_end(event), event.operation, layer, reason, event.attempt))


def forget_stale_traceback(error: BaseException, caller: FrameType | None = None) -> None:
    """Cut what earlier attempts left on the traceback of an exception object that is raised again and again.

    The old part begins where the first entry's frame comes a second time, at the same instruction; where that frame is
    one of our loops', also at its caller, which made the first attempt, or at what that called: the fast path, which
    has no frame of its own, makes the first attempt on behalf of its caller.

    Args:
        error: The exception.
        caller: Who made this attempt, and those before; None: one of our loops.
    """
    entry: Any = _TRACEBACK.__get__(error)  # past what its class makes of the attribute
    if entry is None:  # it comes out of a builtin function
        return
    frame, place = entry.tb_frame, entry.tb_lasti
    if caller is None and frame.f_globals.get("__package__") == __package__:
        caller = frame.f_back
    while (following := entry.tb_next) is not None:
        if (
            following.tb_frame is caller
            or (caller is not None and following.tb_frame.f_back is caller and following.tb_frame is not frame)
            or (following.tb_frame is frame and following.tb_lasti == place)
        ):
            entry.tb_next = None
            return
        entry = following


def pause(operation: Operation, event: RetryEvent | None, error: Exception | None, result: object = None) -> bool:
    """Wait as the event says; return whether the next attempt is to start."""
    if event is None or event.wait is None:
        return False
    try:
        if event.wait > 0:
            if clocks.under_event_loop():
                report_once(_BLOCKS, _BLOCKS.format(operation.spec.name, shown_seconds(event.wait)), error=False)
            operation.clock.sleep(event.wait, operation.limits)
        return operation.resume(error, result)
    except BaseException:
        operation.cut_short()
        raise


async def apause(
    operation: Operation, event: RetryEvent | None, error: Exception | None, result: object = None
) -> bool:
    """Wait as the event says, letting other tasks run; return whether the next attempt is to start."""
    if event is None or event.wait is None:
        return False
    try:
        if event.wait > 0:
            await operation.clock.asleep(event.wait, operation.limits)
        return operation.resume(error, result)
    except BaseException:
        operation.cut_short()
        raise


def prepare_sync(hook: Callable[[RetryContext], Any], context: RetryContext) -> None:
    """Call ``before_retry=``.

    Raises:
        TypeError: It returned an awaitable, which nobody here can await: the retry would go on unprepared.
    """
    answer = hook(context)
    if isinstance(answer, Awaitable):
        if isinstance(answer, Coroutine):
            answer.close()
        raise TypeError(
            "before_retry must be a plain function here; async functions and blocks await a coroutine function"
        )


async def prepare_async(hook: Callable[[RetryContext], Any], context: RetryContext) -> None:
    """Call ``before_retry=``, and await what it returns."""
    answer = hook(context)
    if isinstance(answer, Awaitable):
        await answer


def retry(operation: Operation, call: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Make attempt after attempt, from the second on, until one succeeds or the operation ends."""
    prepare, judge = operation.policy.before_retry, operation.policy.judge
    try:
        while True:
            try:
                if prepare is not None:
                    prepare_sync(prepare, operation.context)
                result = call(*arguments, **named)
            except Exception as error:
                if not pause(operation, operation.failed(error, arguments, named), error):
                    raise
                continue
            except BaseException:
                operation.interrupted(during_attempt=True)
                raise
            if is_awaitable(result):
                return retried_later(operation, result, call, arguments, named)
            if not pause(operation, operation.returned(result, judge(result), arguments, named), None, result):
                return result
    except BaseException:
        operation.cut_short()
        raise


def retried_later(
    operation: Operation, result: Any, call: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]
) -> Any:
    """Return what stands for an awaitable that came after failures, and goes on with the operation."""
    return retried_awaitable(result, call, lambda attempt: acontinue(operation, attempt, arguments, named))


async def acontinue(
    operation: Operation, call: Callable[..., Awaitable[Any]], arguments: tuple[Any, ...], named: dict[str, Any]
) -> Any:
    """Go on with an operation whose sync function now returned an awaitable."""
    around = ambient.get()
    limits = Allowance(around, deadline=operation.context.deadline)
    try:
        ambient.set(limits)
        return await _acontinue(operation, call, arguments, named)
    except BaseException:
        operation.cut_short()
        raise
    finally:
        limits.closed = True
        leave(around, limits)


async def _acontinue(
    operation: Operation, call: Callable[..., Awaitable[Any]], arguments: tuple[Any, ...], named: dict[str, Any]
) -> Any:
    judge = operation.policy.judge
    try:
        result = await call(*arguments, **named)
    except Exception as error:
        if not await apause(operation, operation.failed(error, arguments, named), error):
            raise
    except BaseException:
        operation.interrupted(during_attempt=True)
        raise
    else:
        if not await apause(operation, operation.returned(result, judge(result), arguments, named), None, result):
            return result
    return await aretry(operation, call, arguments, named)


async def aretry(
    operation: Operation, call: Callable[..., Awaitable[Any]], arguments: tuple[Any, ...], named: dict[str, Any]
) -> Any:
    """The same as `retry` for a function that returns an awaitable."""
    prepare, judge = operation.policy.before_retry, operation.policy.judge
    try:
        while True:
            try:
                if prepare is not None:
                    await prepare_async(prepare, operation.context)
                result = await call(*arguments, **named)
            except Exception as error:
                if not await apause(operation, operation.failed(error, arguments, named), error):
                    raise
                continue
            except BaseException:
                operation.interrupted(during_attempt=True)
                raise
            if not await apause(operation, operation.returned(result, judge(result), arguments, named), None, result):
                return result
    except BaseException:
        operation.cut_short()
        raise
