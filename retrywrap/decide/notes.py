"""The note that a given-up operation leaves on the exception it lets out, and what an outer layer reads from it."""

from __future__ import annotations

from typing import Any, TypeGuard

from retrywrap.classifiers.guard import read
from retrywrap.decide.events import StopReason
from retrywrap.errors import RetryExhausted
from retrywrap.locks import new_lock, process_id

__all__ = ["Note", "attach", "counted", "given_up", "next_number"]

_MOST_CAUSES = 1000

counted = [0]
"""How many notes were made: the number of the newest, as the only item.

An operation takes it down when it begins, which must cost next to nothing: whatever was given up before bears no higher
number. Notes that come out of a pickle, so from another process, get a number when they arrive.
"""

_lock = new_lock()
_set = BaseException.__setattr__


class Note(str):
    """A PEP 678 note that remembers which operation gave up and why."""

    __slots__ = ("attempts", "layer", "number", "operation", "reason")

    operation: str
    layer: object
    reason: StopReason
    attempts: int
    number: int

    @classmethod
    def make(cls, text: str, operation: str, layer: object, reason: StopReason, attempts: int) -> Note:
        """Return a note with its facts beside its text, numbered."""
        note = cls(text)
        note.operation, note.layer, note.reason, note.attempts = operation, layer, reason, attempts
        note.number = next_number()
        return note

    def __reduce__(self) -> Any:
        facts = (str(self), self.operation, self.layer, self.reason, self.attempts)
        return _arrived, (facts, self.number, process_id())


def _arrived(facts: Any, number: int, process: int) -> Note:
    """Return a note that was copied: one of this process keeps its number, one of another is news."""
    note = Note.make(*facts)
    if process == process_id():
        note.number = number
    return note


def next_number() -> int:
    """Return the number of the next note."""
    with _lock:
        counted[0] += 1
        return counted[0]


def attach(error: BaseException, note: Note) -> None:
    """Add a note to an exception, in place of one that the same layer left on the same object before.

    Works on exceptions that refuse new attributes (frozen dataclasses): a note must never mask the error.
    """
    try:
        notes = [n for n in _notes(error) if not (_is_ours(n) and _replaces(note, n))]
        notes.append(note)
        _set(error, "__notes__", notes)
    except Exception:  # an exotic exception class may refuse even this; its error matters more than our note
        return


def _is_ours(note: object) -> TypeGuard[Note]:
    """Whether a note is one of these; unlike `isinstance`, never asks the object itself."""
    return issubclass(type(note), Note)


def _replaces(new: Note, old: Note) -> bool:
    """Whether a note takes the place of another; what an inner level of a recursion exhausted stays for outer ones."""
    says_less = new.reason is not StopReason.EXHAUSTED or new.attempts < 2 <= old.attempts
    still_needed = old.reason is StopReason.EXHAUSTED and says_less
    return new.layer == old.layer and not still_needed


def given_up(error: BaseException, since: int) -> tuple[str, int] | None:
    """Return the name and the attempts of an inner operation that had exhausted its retries on this error.

    Looks at the error, at the errors in its group, and along ``__cause__``.

    Args:
        error: The error.
        since: What `counted` said when the asking operation began: what was given up before is a leftover, on an
            exception object that is now raised again, and tells nothing of this operation.

    Returns:
        None where there is none.
    """
    if read(error, "__notes__") is None and read(error, "__cause__") is None and _stands_alone(error):
        return None  # by far the most frequent
    pending: list[BaseException] = [error]
    seen: set[int] = set()
    while pending and len(seen) < _MOST_CAUSES:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        found = _exhausted(current, since)
        if found:
            return found
        if issubclass(type(current), BaseExceptionGroup):
            pending.extend(e for e in _members(current) if issubclass(type(e), BaseException))
        cause = read(current, "__cause__")
        if issubclass(type(cause), BaseException):
            pending.append(cause)
    return None


def _stands_alone(error: BaseException) -> bool:
    return type(error) is not RetryExhausted and not issubclass(type(error), BaseExceptionGroup)


def _exhausted(current: BaseException, since: int) -> tuple[str, int] | None:
    own = current.given_up if type(current) is RetryExhausted else None
    for note in [own, *_notes(current)]:
        if _is_ours(note) and note.reason is StopReason.EXHAUSTED and note.attempts > 1 and note.number > since:
            return note.operation, note.attempts
    return None


def _members(group: Any) -> list[Any]:
    members = read(group, "exceptions")
    return list(members[:_MOST_CAUSES]) if type(members) in (list, tuple) else []


def _notes(error: BaseException) -> list[Any]:
    """Return an error's notes; what is no list of them, or a tuple, as the only one."""
    notes = read(error, "__notes__")
    for kind in (list, tuple):  # asked for their items past what a subclass makes of that
        if issubclass(type(notes), kind):
            return [*kind.__iter__(notes)]
    return [] if notes is None else [notes]
