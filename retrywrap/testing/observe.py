"""What operations did: their events, gathered by operation, and expectations that say what came instead."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Never

from retrywrap.classifiers.chain import classify
from retrywrap.codes import ErrorCode
from retrywrap.decide.checks import check_seconds, refuse_unknown, shown
from retrywrap.decide.events import RECORDED, SCHEDULED, UNKNOWN_ERROR, RetryEvent, StopReason
from retrywrap.locks import new_lock
from retrywrap.record.hooks import subscribe
from retrywrap.record.registry import registry
from retrywrap.run import inventory
from retrywrap.run.clock import under_trio
from retrywrap.testing.names import meant, name_of
from retrywrap.testing.plans import Error, is_error, made
from retrywrap.testing.usage import block, tell

__all__ = ["Events", "Observed", "observe"]


class _Nothing:
    """Stands for what was not given."""

    def __repr__(self) -> str:
        return "…"


_NOTHING: Any = _Nothing()
_SAME_TIME = 1e-5  # seconds: a float since the epoch has no more digits
_EXPECTED = ("attempts", "waits", "codes", "outcome")


class Observed(NamedTuple):
    """One operation that failed at least once.

    Attributes:
        name: Its name.
        attempts: How many attempts ended.
        waits: The seconds of each wait that was decided on, in order.
        codes: The `ErrorCode` of each failed attempt, in order.
        messages: The text of each failed attempt's error, redacted.
        outcome: Why it ended; None while it goes on.
    """

    name: str
    attempts: int
    waits: list[float]
    codes: list[ErrorCode]
    messages: list[str]
    outcome: StopReason | None


class Events(list[RetryEvent]):
    """The events of a test, in the order in which they came; those of threads and tasks among one another.

    >>> import retrywrap
    >>> @retrywrap.with_retry(max=2, interval=0, name="upload")
    ... def upload(left=[2]):
    ...     left[0] -= 1
    ...     if left[0]:
    ...         raise ConnectionResetError("peer went away")
    >>> with observe() as events:
    ...     upload()
    >>> events.operation(upload).attempts
    2
    >>> events.expect(upload, waits=[0.0], codes=["CONNECTION_LOST"], outcome="recovered").messages
    ['peer went away']
    """

    def __init__(self) -> None:
        super().__init__()
        self._runs: list[list[RetryEvent]] = []
        self._open: dict[str, dict[object, list[list[RetryEvent]]]] = {}  # by operation, and thread and task
        self._lock = new_lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=new_lock())

    def add(self, event: RetryEvent) -> None:
        """Take one event, as a listener does.

        Args:
            event: The event.
        """
        with self._lock:
            self.append(event)
            if event.name not in (UNKNOWN_ERROR, RECORDED):
                self._sort_in(event)

    def _sort_in(self, event: RetryEvent) -> None:
        # Operations of one name may be nested, and one may be left without an end: they are told by their numbers.
        elsewhere = self._open.setdefault(event.operation, {})
        here = threading.get_ident(), _task()
        going_on = elsewhere.setdefault(here, [])
        run = _followed(event, going_on)
        if run is None and event.attempt > 1:  # an awaitable that another task took on from a function that had failed
            run = _moved(event, elsewhere, going_on)
        if run is None:
            run = []
            going_on.append(run)
            self._runs.append(run)
        run.append(event)
        if event.final:
            going_on.remove(run)
            if not going_on:
                del elsewhere[here]

    @property
    def operations(self) -> list[Observed]:
        """Every operation that failed at least once, in the order of their first failures."""
        tell("Events")
        return [_observed(run) for run in self._runs]

    def of(self, target: object) -> list[Observed]:
        """Return the operations of one function.

        Args:
            target: A decorated function or method, or an operation's name.

        A name that is not known, and looks like one that is, brings a `UserWarning`.

        Raises:
            TypeError: It is neither.
        """
        name = name_of(target)
        found = self._of(name)
        if not found and isinstance(target, str) and name not in registry:
            known = {proxy._self_spec.name for proxy in inventory.proxies()} | {run[-1].operation for run in self._runs}
            hint = "" if name in known else meant(name, known)
            if hint:  # an operation without a function, a block's, may well have the name
                warnings.warn(f"no operation {name!r} is known, so that of() found nothing: {hint}", stacklevel=2)
        return found

    def _of(self, name: str) -> list[Observed]:
        return [each for each in self.operations if each.name == name]

    def _nothing_of(self, target: object) -> str:
        """Return what to say where no attempt of an operation failed."""
        name = name_of(target)
        failed = {each.name for each in self.operations}
        known = failed | {proxy._self_spec.name for proxy in inventory.proxies()}
        said = f"no attempt of {name} failed"
        if name not in known and name not in registry:
            hint = meant(name, known)
            said += f", and no decorated function has that name{hint and f': {hint}'}"
            if hint and not failed:
                return said
        else:
            said += f" (assert not events.of({name.rpartition('.')[2]}) says so where that is meant)"
        return said + (f"; those that did: {', '.join(sorted(failed))}" if failed else "; nor did any other operation")

    def operation(self, target: object) -> Observed:
        """Return the only operation of a function that failed.

        Args:
            target: A decorated function or method, or an operation's name.

        Raises:
            TypeError: It is neither.
            AssertionError: None failed, or several did.
        """
        found = self._of(name_of(target))
        if len(found) == 1:
            return found[0]
        if found:
            raise AssertionError(
                f"{name_of(target)} failed in {len(found)} operations: {_list(found)}; of(…) returns them all"
            )
        raise AssertionError(self._nothing_of(target))

    def expect(
        self,
        target: object,
        *,
        attempts: int = _NOTHING,
        waits: Iterable[float] = _NOTHING,
        codes: Iterable[ErrorCode | int | str] = _NOTHING,
        outcome: StopReason | str | None = _NOTHING,
        **unknown: Never,
    ) -> Observed:
        """Check what the only failed operation of a function did; return it.

        Args:
            target: A decorated function or method, or an operation's name.
            attempts: How many attempts ended.
            waits: The seconds of each wait, in order, to the millisecond.
            codes: Code, number or name of the error of each failed attempt, in order.
            outcome: Why it ended, such as ``"recovered"``; None: it goes on.
            **unknown: Refused, with what was meant.

        Raises:
            TypeError: `target` is neither, or another argument has the wrong type or an unknown name.
            ValueError: An argument is out of range, or there is no such name.
            AssertionError: Something else happened; the message says what, event by event.
        """
        if unknown:
            refuse_unknown("expect", unknown, _EXPECTED)
        seen = self.operation(target)
        wanted: dict[str, object] = {}
        if attempts is not _NOTHING:
            wanted["attempts"] = _count(attempts)
        if waits is not _NOTHING:
            wanted["waits"] = [round(check_seconds(wait, "waits"), 3) for wait in _listed(waits, "waits")]
        if codes is not _NOTHING:
            wanted["codes"] = [_code(code) for code in _listed(codes, "codes")]
        if outcome is not _NOTHING:
            wanted["outcome"] = _outcome(outcome)
        came = {**seen._asdict(), "waits": [round(wait, 3) for wait in seen.waits]}
        wrong = [
            f"{key}: {_plain(came[key])} instead of {_plain(value)}"
            for key, value in wanted.items()
            if came[key] != value
        ]
        if wrong:
            name = name_of(target)
            lines = [f"  {event.name} attempt={event.attempt} {event.code.name}: {event.detail}" for event in self
                     if event.operation == name]  # fmt: skip
            raise AssertionError("\n".join([f"{name} did other than was expected: {'; '.join(wrong)}", *lines]))
        return seen


def _plain(value: object) -> object:
    if isinstance(value, StopReason):
        return value.value
    if isinstance(value, list):
        return [_shown_code(each) if isinstance(each, ErrorCode) else each for each in value]
    return value


def _shown_code(code: ErrorCode) -> str:
    known = code.name != ErrorCode.UNKNOWN.name or code == ErrorCode.UNKNOWN
    return code.name if known else f"{code.name} {int(code)}"


def _count(attempts: object) -> int:
    if isinstance(attempts, bool) or not isinstance(attempts, int):
        raise TypeError(f"attempts must be an int; got {shown(attempts)}")
    if attempts < 1:
        raise ValueError(f"attempts must be 1 or more; got {shown(attempts)}")
    return attempts


_ORDERED = {
    "waits": "the seconds of each wait in order, as in waits=[1, 2]",
    "codes": 'the code of each failed attempt in order, as in codes=["TIMEOUT", "NETWORK"]',
}


def _listed(given: Any, name: str) -> list[Any]:
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"{name} must be a list, {_ORDERED[name]}; got {shown(given)}")
    return list(given)


def _outcome(outcome: object) -> StopReason | None:
    known = ", ".join(StopReason)
    hint = meant(outcome.lower(), [each.value for each in StopReason]) if isinstance(outcome, str) else ""
    if not isinstance(outcome, str | None):
        raise TypeError(f"outcome must be None (it goes on), or one of {known}; got {shown(outcome)}")
    try:
        return None if outcome is None else StopReason(outcome)
    except ValueError:
        raise ValueError(
            f"outcome must be None (it goes on), or one of {known}; got {shown(outcome)}{hint and f': {hint}'}"
        ) from None


def _code(code: object) -> ErrorCode:
    if isinstance(code, str):
        try:
            return ErrorCode[code]
        except KeyError:
            names = [each.name for each in ErrorCode]
            hint = meant(code.upper(), names)
            raise ValueError(
                f"codes must be codes, their numbers or names ({', '.join(names)}); got {shown(code)}"
                + (hint and f": {hint}")
            ) from None
    if isinstance(code, bool) or not isinstance(code, int):
        hint = f", an error: its code is what classify says of it, {_code_of(code)}" if is_error(code) else ""
        raise TypeError(
            f'codes must be codes, their numbers or names, as in codes=["TIMEOUT"]; got {shown(code)}{hint}'
        )
    return ErrorCode(code)


def _code_of(error: Error) -> str:
    try:
        return classify(made(error)).code.name
    except Exception:  # its type wants other arguments
        return "in classify(error).code"


def _list(operations: list[Observed]) -> str:
    return "; ".join(
        f"{each.attempts} attempt{'s' * (each.attempts != 1)}, "
        f"{'going on' if each.outcome is None else each.outcome.value}"
        for each in operations
    )


def _observed(run: list[RetryEvent]) -> Observed:
    failed = [event for event in run if event.is_error]
    last = run[-1]
    return Observed(
        name=last.operation,
        attempts=last.attempt,
        waits=[event.wait for event in run if event.name == SCHEDULED and event.wait is not None],
        codes=[event.code for event in failed],
        messages=[event.message for event in failed],
        outcome=last.reason,
    )


def _followed(event: RetryEvent, going_on: list[list[RetryEvent]]) -> list[RetryEvent] | None:
    """Return which of some operations an event belongs to: the newest, which is the innermost."""
    return next((run for run in reversed(going_on) if _follows(event, run[-1])), None)


def _moved(
    event: RetryEvent, elsewhere: dict[object, list[list[RetryEvent]]], here: list[list[RetryEvent]]
) -> list[RetryEvent] | None:
    """Return the operation of another thread or task that goes on here; None where it is not certain which one does.

    It is the only one that began when this one did.
    """
    runs = [
        (run, going_on)
        for going_on in elsewhere.values()
        for run in going_on
        if _follows(event, run[-1]) and abs(_begun(run[-1]) - _begun(event)) < _SAME_TIME
    ]
    if len(runs) != 1:
        return None
    run, going_on = runs[0]
    going_on.remove(run)
    here.append(run)
    return run


def _begun(event: RetryEvent) -> float:
    return event.time - event.elapsed


def _follows(event: RetryEvent, last: RetryEvent) -> bool:
    """Whether an event comes next in an operation whose last one that was."""
    return event.attempt == last.attempt + 1 or (event.attempt == last.attempt and not event.is_error)


def _task() -> object:
    """Return what tells the running task, of asyncio or trio, from others of the same thread."""
    import asyncio

    try:
        return id(asyncio.current_task())
    except RuntimeError:
        return id(sys.modules["trio"].lowlevel.current_task()) if under_trio() else None


@block("nothing is observed")
def observe() -> Iterator[Events]:
    """Gather the events of everything that runs while the ``with`` block does, in every thread.

    Yields:
        The events, which grow.
    """
    tell("observe")
    events = Events()
    unsubscribe = subscribe(events.add)
    try:
        yield events
    finally:
        unsubscribe()
