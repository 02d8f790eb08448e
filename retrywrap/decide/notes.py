"""The note that a given-up operation leaves on the exception it lets out, and what an outer layer reads from it."""

from __future__ import annotations

from types import CodeType, FrameType, TracebackType
from typing import Any

from retrywrap.classifiers.guard import read
from retrywrap.decide.events import StopReason
from retrywrap.errors import RetryExhausted

__all__ = ["LAYERS", "Note", "attach", "given_up", "traceback_of"]

_MOST_CAUSES = 50

LAYERS: set[CodeType] = set()
"""The code of every frame that stands for a decorated function or a scope's call."""

_TRACEBACK: Any = BaseException.__dict__["__traceback__"]


class Note(str):
    """A PEP 678 note that remembers which operation gave up and why."""

    operation: str
    layer: object
    reason: StopReason
    attempts: int

    @classmethod
    def make(cls, text: str, operation: str, layer: object, reason: StopReason, attempts: int) -> Note:
        """Return a note with its facts beside its text."""
        note = cls(text)
        note.operation, note.layer, note.reason, note.attempts = operation, layer, reason, attempts
        return note


def attach(error: BaseException, note: Note) -> None:
    """Add a note to an exception, in place of one that the same layer left on the same object before.

    Works on exceptions that refuse new attributes (frozen dataclasses): a note must never mask the error.
    """
    try:
        notes = [n for n in _notes(error) if not (isinstance(n, Note) and _replaces(note, n))]
        BaseException.__setattr__(error, "__notes__", [*notes, note])
    except Exception:  # an exotic exception class may refuse even this; its error matters more than our note
        return


def _replaces(new: Note, old: Note) -> bool:
    """Whether a note takes the place of another; what an inner level of a recursion exhausted stays for outer ones."""
    still_needed = new.reason is StopReason.NESTED_REFUSED and old.reason is StopReason.EXHAUSTED
    return new.layer == old.layer and not still_needed


def given_up(error: BaseException, layer: object) -> tuple[str, int] | None:
    """Return the name and the attempts of an inner operation that had exhausted its retries on this error.

    Looks at the error, at the errors in its group, and along ``__cause__``. What an operation before this one left on
    an exception object that is now raised again does not count.

    Returns:
        None where there is none.
    """
    pending: list[BaseException] = [error]
    seen: set[int] = set()
    while pending and len(seen) < _MOST_CAUSES:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        found = _exhausted(current, error, layer)
        if found:
            return found
        if issubclass(type(current), BaseExceptionGroup):
            pending.extend(e for e in _members(current) if issubclass(type(e), BaseException))
        cause = read(current, "__cause__")
        if issubclass(type(cause), BaseException):
            pending.append(cause)
    return None


def _exhausted(current: BaseException, error: BaseException, layer: object) -> tuple[str, int] | None:
    if type(current) is RetryExhausted and current.reason == StopReason.EXHAUSTED.value and current.attempts > 1:
        return current.operation, current.attempts
    for note in _notes(current):
        if isinstance(note, Note) and note.reason is StopReason.EXHAUSTED and note.attempts > 1:
            if current is error and _is_left_over(error, of_this_layer=note.layer == layer):
                continue
            return note.operation, note.attempts
    return None


def _is_left_over(error: BaseException, *, of_this_layer: bool) -> bool:
    """Whether a note tells of an operation that had ended before this one began.

    The traceback says it, whose first entry is the frame that looks: what an inner operation let out comes through that
    one's frame. An object that was raised before brings its old entries along, which begin where it was caught then: in
    this frame or in one of its callers. Without either, other layers count, and an older run of this one does not.
    """
    entry = traceback_of(error)
    if entry is None:
        return of_this_layer
    callers: set[FrameType] = set()
    frame: FrameType | None = entry.tb_frame
    while frame is not None:
        callers.add(frame)
        frame = frame.f_back
    while (entry := entry.tb_next) is not None:
        if entry.tb_frame in callers:
            return True
        if entry.tb_frame.f_code in LAYERS:
            return False
    return of_this_layer


def traceback_of(error: BaseException) -> TracebackType | None:
    """Return an exception's traceback, whatever its class makes of the attribute."""
    traceback: TracebackType | None = _TRACEBACK.__get__(error)
    return traceback


def _members(group: Any) -> list[Any]:
    members = read(group, "exceptions")
    return list(members[:_MOST_CAUSES]) if type(members) in (list, tuple) else []


def _notes(error: BaseException) -> list[Any]:
    notes = read(error, "__notes__")
    return list(notes) if type(notes) in (list, tuple) else []
