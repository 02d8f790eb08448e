"""The note that a given-up operation leaves on the exception it lets out, and what an outer layer reads from it."""

from __future__ import annotations

from typing import Any

from retrywrap.decide.events import StopReason

__all__ = ["Note", "attach", "given_up"]

_MOST_CAUSES = 50


class Note(str):
    """A PEP 678 note that remembers which operation gave up and why."""

    operation: str
    layer: object
    reason: StopReason
    attempts: int
    recursive: bool

    @classmethod
    def make(cls, text: str, operation: str, layer: object, reason: StopReason, attempts: int) -> Note:
        """Return a note with its facts beside its text; ``recursive``, set later: it was running inside itself."""
        note = cls(text)
        note.operation, note.layer, note.reason, note.attempts = operation, layer, reason, attempts
        note.recursive = False
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
    still_needed = new.reason is StopReason.NESTED_REFUSED and old.recursive
    return new.layer == old.layer and not still_needed


def given_up(error: BaseException, layer: object) -> Note | None:
    """Return the note of an inner operation that had exhausted its retries on this error, if there is one.

    Looks at the error, at the errors in its group, and along ``__cause__``. A note of the same layer counts only
    where it was running inside itself, or where it is found inside of the error (a task of its own gave up on it): else
    it is a leftover on an exception object that a later call raised again.
    """
    pending: list[BaseException] = [error]
    seen: set[int] = set()
    while pending and len(seen) < _MOST_CAUSES:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        for note in _notes(current):
            if isinstance(note, Note) and _counts(note, None if current is not error else layer):
                return note
        if isinstance(current, BaseExceptionGroup):
            pending.extend(current.exceptions[:_MOST_CAUSES])
        if current.__cause__ is not None:
            pending.append(current.__cause__)
    return None


def _counts(note: Note, layer: object) -> bool:
    if note.reason is not StopReason.EXHAUSTED or note.attempts < 2:
        return False
    return note.recursive or note.layer != layer


def _notes(error: BaseException) -> list[Any]:
    notes = getattr(error, "__notes__", None)
    return list(notes) if isinstance(notes, list | tuple) else []
