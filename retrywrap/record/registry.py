"""The registry: last error, counts, the newest errors, statistics per operation; exact under any number of threads."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, NoReturn, TypeAlias

from retrywrap.codes import ErrorCode
from retrywrap.decide.checks import check_name, shown
from retrywrap.decide.events import RECORDED, UNKNOWN_ERROR, RetryEvent
from retrywrap.locks import importing, new_lock
from retrywrap.record.hooks import publish
from retrywrap.record.sites import Site

__all__ = ["MOST_NEWS", "ErrorRecord", "Registry", "Snapshot", "Stats", "registry"]

_MOST_OPERATIONS = 10_000
_MOST_CODES = 1_000
_LARGEST_BUFFER = min(2**32 - 1, sys.maxsize)  # as many as 32 bits say, where a list can be that long
_OTHERS = "(others)"
MOST_NEWS = 64

_News: TypeAlias = tuple[RetryEvent, str]
"""An event, and the name of the thread in which it happened. Whoever reads makes a record of it."""

count_fast: Callable[[Any], None] | None = None
"""Does as `Registry._count_news` does; put here where the fast path is built."""

find_sites: Callable[[Any], list[Site]] | None = None
"""Finds the functions that are decorated for a registry; put here by who decorates them."""

wall_clock: Callable[[], float] = time.time
"""Seconds since the epoch, for what is recorded by hand; replaced by the clock that is in force."""


class ErrorRecord(NamedTuple):
    """One failed attempt. ``str()`` is its message; the record that stands for "no error" is falsy.

    Attributes:
        code: The `ErrorCode`; SUCCESS where there is no error.
        message: The text: redacted, one line, bounded.
        operation: The operation's name.
        attempt: The number of the attempt that failed, from 1.
        time: Seconds since the epoch.
        error_type: The exception's type; ``"result"`` for a returned value that was judged a failure.
        thread: The thread's name.
        rule: The classifier's row that spoke.
        final: Whether the operation ended with it.
    """

    code: ErrorCode = ErrorCode.SUCCESS
    message: str = "Success"
    operation: str = ""
    attempt: int = 0
    time: float = 0.0
    error_type: str = ""
    thread: str = ""
    rule: str = ""
    final: bool = False

    def __str__(self) -> str:
        return self.message

    def __bool__(self) -> bool:
        return self.code != ErrorCode.SUCCESS


class Stats(NamedTuple):
    """Counts of one operation, or of all.

    Attributes:
        errors: Failed attempts.
        retries: Attempts after the first, counted when they end.
        waited: Seconds of wait that were decided on.
        unknown: Failed attempts that no classifier rule knew.
        recovered: Operations that succeeded after a failure.
        exhausted: Operations that ran out of retries.
        rejected: Operations that ended with an error that is not to be retried.
        timed_out: Operations that ran out of time.
        budget_denied: Operations that ended because a retry budget had nothing left.
        nested_refused: Operations that did not repeat what an inner one had exhausted.
        cancelled: Operations that were cancelled or interrupted.
        failed_at_once: Operations that ended without success and without a retry.
        succeeded_at_once: Operations that succeeded without a retry. Only the fast path in C counts them, for decorated
            functions; None: nobody does.
    """

    errors: int = 0
    retries: int = 0
    waited: float = 0.0
    unknown: int = 0
    recovered: int = 0
    exhausted: int = 0
    rejected: int = 0
    timed_out: int = 0
    budget_denied: int = 0
    nested_refused: int = 0
    cancelled: int = 0
    failed_at_once: int = 0
    succeeded_at_once: int | None = None

    @property
    def failed(self) -> int:
        """Operations that ended without success."""
        return (
            self.exhausted + self.rejected + self.timed_out + self.budget_denied + self.nested_refused + self.cancelled
        )

    @property
    def calls(self) -> int | None:
        """Operations that have ended; None where those that succeeded at once are not counted."""
        return None if self.succeeded_at_once is None else self.succeeded_at_once + self.recovered + self.failed


class Snapshot(dict[str, Any]):
    """A dict that refuses to change, for `json.dumps` and for readers."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a snapshot does not change; dict(snapshot) is a copy that can")

    __setitem__ = __delitem__ = pop = popitem = clear = __ior__ = _refuse
    update = setdefault = _refuse  # pyright: ignore[reportAssignmentType]  # overloaded in dict; refused in every form

    def __reduce__(self) -> tuple[Any, ...]:  # a dict is copied and unpickled item by item, which would be refused
        return Snapshot, (dict(self),)


class _Counts:
    """The changing counts behind a `Stats`."""

    __slots__ = ("at_once", "declared", "errors", "reasons", "retries", "unknown", "waited")

    def __init__(self, *, declared: bool = False) -> None:
        self.declared = declared
        self.errors = self.retries = self.unknown = self.at_once = 0
        self.waited: float = 0
        self.reasons: dict[str, int] = {}

    def add(self, other: _Counts) -> None:
        self.errors += other.errors
        self.retries += other.retries
        self.unknown += other.unknown
        self.at_once += other.at_once
        self.waited += other.waited
        for reason, count in other.reasons.items():
            self.reasons[reason] = self.reasons.get(reason, 0) + count

    def frozen(self, succeeded_at_once: int | None) -> Stats:
        return Stats(
            self.errors,
            self.retries,
            self.waited,
            self.unknown,
            failed_at_once=self.at_once,
            succeeded_at_once=succeeded_at_once,
            **self.reasons,
        )


class _Contents(NamedTuple):
    """All that a registry has recorded."""

    errors: tuple[_News, ...]
    operations: dict[str, _Counts]
    by_code: dict[int, int]
    last: _News | None
    tallied: dict[str, int]
    size: int | None


class Registry:
    """Counts errors and retries and keeps the newest errors, as text and codes only; safe in threads and across fork.

    Args:
        error_buffer_size: How many of the newest errors `errors` keeps.

    Raises:
        TypeError: `error_buffer_size` is no int.
        ValueError: `error_buffer_size` is negative or has more than 32 bits.
    """

    def __init__(self, error_buffer_size: int = 1000) -> None:
        self._lock = new_lock()
        self._errors: deque[_News] = deque(maxlen=_buffer_size(error_buffer_size))
        self._operations: dict[str, _Counts] = {}
        self._tallies: dict[str, Any] = {}
        self._by_code: dict[int, int] = {}
        self._last: _News | None = None
        # What came in and is not counted yet. Threads that fail at the same time would wait for each other at a lock,
        # each time giving the interpreter to another one; to append needs none.
        self._news: deque[_News] = deque()

    def handle(self, event: RetryEvent) -> None:
        """Take note of one event.

        Args:
            event: The event.

        Raises:
            TypeError: It is no `RetryEvent`.
        """
        if not isinstance(event, RetryEvent):
            raise TypeError(f"event must be a RetryEvent, as listeners get them; got {shown(event)}")
        self._news.append((event, threading.current_thread().name))
        if len(self._news) >= MOST_NEWS:
            self.count_some()

    def count_some(self) -> None:
        """Count what came in, unless another thread is about it."""
        try:  # first: Ctrl-C may come as soon as the lock is taken
            if self._lock.acquire(blocking=False):
                self._count_news()
        finally:
            try:  # noqa: SIM105 - Ctrl-C may come inside of `suppress`, which is Python
                self._lock.release()
            except RuntimeError:  # another thread has it
                pass

    def _count_news(self) -> None:
        """Count what came in, in the order in which it came; called with the lock held."""
        if count_fast is not None:
            count_fast(self)
            return
        while self._news:
            try:
                news = self._news.popleft()
            except IndexError:  # a signal handler or a finalizer came between, and has counted it
                return
            self._count(news)

    def _count(self, news: _News) -> None:
        name, operation, reason, code, _, _, attempt, _, wait, *_, is_error, is_retry = news[0]
        counts = self._counts(operation)
        by_code, key = self._by_code, self._code_key(code) if is_error else code
        word = None if reason is None else reason.value
        if word is not None:
            counts.reasons.setdefault(word, 0)
        if is_error:
            by_code.setdefault(key, 0)
        # Nothing is called from here on, so that signals are not looked at: Ctrl-C must not leave half of it.
        if is_retry:
            counts.retries += 1
        if wait:
            counts.waited += wait
        if word is not None:
            counts.reasons[word] += 1
            if attempt == 1:
                counts.at_once += 1
        elif name == UNKNOWN_ERROR:
            counts.unknown += 1
        if is_error:
            counts.errors += 1
            by_code[key] += 1
            self._errors += (news,)
            self._last = news

    def _code_key(self, code: ErrorCode) -> int:
        """Return under which code an error is counted: its own, unless there are too many."""
        return ErrorCode.UNKNOWN if len(self._by_code) >= _MOST_CODES and code not in self._by_code else code

    def declare(self, operation: str) -> None:
        """Make an operation known before it first fails.

        Args:
            operation: Its name.

        Raises:
            TypeError: It is no str.
        """
        self._declare(_check_name(operation), lambda: None)

    def _declare(self, operation: str, new_tally: Callable[[], Any]) -> Any:
        """Return what counts the operations of this name that succeed at once: made here, where none does yet."""
        with self._counted():
            self._counts(operation).declared = True
            name = operation if operation in self._operations else _OTHERS
            tally = self._tallies.get(name)
            if tally is None:
                tally = new_tally()
                if tally is not None:
                    self._tallies[name] = tally
            return tally

    def _frozen(self, name: str, counts: _Counts) -> Stats:
        tally = self._tallies.get(name)
        return counts.frozen(None if tally is None else tally.count)

    def _frozen_total(self) -> Stats:
        total = _Counts()
        for counts in self._operations.values():
            total.add(counts)
        return total.frozen(sum(tally.count for tally in self._tallies.values()) if self._tallies else None)

    def _counts(self, operation: str) -> _Counts:
        known = self._operations.get(operation)
        if known is None:
            name = operation if len(self._operations) < _MOST_OPERATIONS else _OTHERS
            known = self._operations.setdefault(name, _Counts())
        return known

    def record_error(self, code: int, message: str | None = None, operation: str = "") -> ErrorRecord:
        """Record an error by hand: it counts, becomes the last error, and goes to the error log and the listeners.

        Args:
            code: An `ErrorCode`, or its number.
            message: The text; the code's own where it is None.
            operation: The operation's name.

        Returns:
            The record.

        Raises:
            TypeError: `code` is no int, or a text is no str.
            ValueError: `code` is 0, which means success.
        """
        if isinstance(code, bool) or not isinstance(code, int):
            raise TypeError(f"code must be an ErrorCode or its number; got {shown(code)}")
        if code == 0:
            raise ValueError("code must be an error's; 0 is success")
        if not isinstance(message, str | None):
            raise TypeError(f"message must be a str, or None for the code's own; got {shown(message)}")
        event = _by_hand(ErrorCode(int(code)), message, _check_name(operation))
        publish(event, (self,))
        return _record(event, threading.current_thread().name)

    @property
    def last_error(self) -> ErrorRecord:
        """The newest error; falsy, and "Success" as text, while there is none."""
        if self._news:
            with self._counted():
                return _last(self._last)
        return _last(self._last)

    def _counted(self) -> AbstractContextManager[object]:
        """Return the lock, with all that came in counted.

        The lock itself, for ``with`` to hold: Ctrl-C in the midst of a context manager in Python would leave it taken.
        """
        with self._lock:
            self._count_news()
        return self._lock

    @property
    def error_count(self) -> int:
        """Failed attempts so far."""
        return self.stats().errors

    @property
    def retry_count(self) -> int:
        """Attempts after the first so far, counted when they end."""
        return self.stats().retries

    @property
    def errors(self) -> tuple[ErrorRecord, ...]:
        """The newest errors, oldest first."""
        with self._counted():
            news = tuple(self._errors)
        return tuple(_record(*each) for each in news)

    @property
    def by_code(self) -> dict[ErrorCode, int]:
        """Failed attempts by code."""
        with self._counted():
            return {ErrorCode(code): count for code, count in self._by_code.items()}

    @property
    def operations(self) -> dict[str, Stats]:
        """Statistics of each operation that is known, by its name."""
        with self._counted():
            return {name: self._frozen(name, counts) for name, counts in self._operations.items()}

    def inventory(self) -> list[Site]:
        """Return every decorated function that is recorded here and alive, with its policy and its counts, by name.

        Those that are out of sight, because the program let go of them, are not there; `operations` keeps their counts.
        """
        return [] if find_sites is None else find_sites(self)

    @property
    def error_buffer_size(self) -> int:
        """How many of the newest errors are kept."""
        return self._errors.maxlen or 0

    def stats(self, operation: str | None = None) -> Stats:
        """Return the counts of one operation; of all where none is named.

        Args:
            operation: Its name.

        Raises:
            TypeError: `operation` is no str.
            KeyError: No operation of that name is known.
        """
        if operation is not None:
            operation = _check_name(operation)
        with self._counted():
            if operation is None:
                return self._frozen_total()
            if operation in self._operations:
                return self._frozen(operation, self._operations[operation])
            known = list(self._operations)
        with importing:
            from retrywrap.decide.naming import nearest
        near = nearest(operation, known)
        hint = f"did you mean {shown(near)}?" if near else "operations has them all"
        raise KeyError(f"no operation {shown(operation)} is known; {hint}")

    def snapshot(self) -> Snapshot:
        """Return everything at one moment: immutable, and fit for `json.dumps`."""
        with self._counted():
            return Snapshot(
                last_error=_plain(_last(self._last)),
                totals=Snapshot(self._frozen_total()._asdict()),
                by_code=Snapshot({str(code): count for code, count in self._by_code.items()}),
                operations=Snapshot({n: Snapshot(self._frozen(n, c)._asdict()) for n, c in self._operations.items()}),
                errors=tuple(_plain(_record(*each)) for each in self._errors),
            )

    def clear_error(self) -> None:
        """Forget the last error; the counters stay, as in the plugin."""
        with self._counted():
            self._last = None

    def reset(self) -> None:
        """Forget everything but the names of the operations."""
        self._exchange(None, every_name=True)

    def _exchange(self, contents: _Contents | None, *, every_name: bool = False) -> _Contents:
        """Put contents in the place of what is recorded, nothing where None is given, and return that.

        What counts the successes of decorated functions goes on counting, from what it had counted then. Their names
        stay known, and those of all others where `every_name` says so.
        """
        with self._counted():
            tallied = {name: tally.count for name, tally in self._tallies.items()}
            size = self._errors.maxlen
            before = _Contents(tuple(self._errors), self._operations, self._by_code, self._last, tallied, size)
            new = contents or _Contents((), {}, {}, None, {}, size)
            for name in new.operations.keys() & self._operations.keys():
                new.operations[name].declared |= self._operations[name].declared
            kept = {
                name: _Counts(declared=counts.declared)
                for name, counts in self._operations.items()
                if name not in new.operations and (every_name or counts.declared)
            }
            self._errors = deque(new.errors, maxlen=new.size)
            self._operations = {**new.operations, **kept}
            self._by_code, self._last = new.by_code, new.last
            for name, tally in self._tallies.items():
                tally.count = new.tallied.get(name, 0)
            return before

    def resize(self, error_buffer_size: int) -> None:
        """Change how many of the newest errors are kept; the newest stay.

        Args:
            error_buffer_size: How many.

        Raises:
            TypeError: It is no int.
            ValueError: It is negative or has more than 32 bits.
        """
        size = _buffer_size(error_buffer_size)
        with self._counted():
            self._errors = deque(self._errors, maxlen=size)

    def __reduce__(self) -> tuple[Any, ...]:
        if self is registry:
            return _global, ()
        raise TypeError(
            "a Registry belongs to its process and does not pickle; only retrywrap.registry does, by reference"
        )

    def __copy__(self) -> Registry:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Registry:
        return self

    def __contains__(self, operation: object) -> bool:
        with self._counted():
            return isinstance(operation, str) and check_name(operation) in self._operations

    def __iter__(self) -> Iterator[ErrorRecord]:
        return iter(self.errors)

    def __repr__(self) -> str:
        total = self.stats()
        return f"<Registry: {total.errors} errors, {total.retries} retries, last error {str(_last(self._last))!r}>"


def _buffer_size(value: object) -> int:
    expected = f"error_buffer_size must be a whole number of records from 0 to {_LARGEST_BUFFER}"
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{expected}; got {shown(value)}")
    if not 0 <= value <= _LARGEST_BUFFER:
        raise ValueError(f"{expected}; got {shown(value)}")
    return value


def _check_name(operation: object) -> str:
    if not isinstance(operation, str):
        raise TypeError(f"operation must be a str, the name of an operation; got {shown(operation)}")
    return check_name(operation, "operation")


def _last(news: _News | None) -> ErrorRecord:
    return ErrorRecord() if news is None else _record(*news)


def _record(event: RetryEvent, thread: str) -> ErrorRecord:
    fields = (
        event.code,
        event.message,
        event.operation,
        event.attempt,
        event.time,
        event.error_type,
        thread,
        event.rule,
        event.reason is not None,
    )
    return tuple.__new__(ErrorRecord, fields)  # half the cost of the call


def _by_hand(code: ErrorCode, message: str | None, operation: str) -> RetryEvent:
    with importing:
        from retrywrap.classifiers.redact import safe_text

    return RetryEvent(
        name=RECORDED,
        operation=operation,
        reason=None,
        code=code,
        message=code.message if message is None else safe_text(message),
        error_type="",
        attempt=1,
        max=None,
        wait=None,
        elapsed=0.0,
        time=wall_clock(),
        rule="recorded",
        retry_after=None,
        scope=None,
        detail="recorded by hand",
        is_error=True,
        is_retry=False,
    )


def _plain(record: ErrorRecord) -> Snapshot:
    return Snapshot({**record._asdict(), "code": int(record.code)})


def _global() -> Registry:
    return registry


registry = Registry()
"""The process-wide registry, where everything is recorded that names no other."""
