"""Ctrl-C at one bytecode after the other."""

from __future__ import annotations

import contextlib
import dis
import functools
import gc
import os
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, NamedTuple

import retrywrap
from retrywrap import locks

__all__ = ["Place", "free_locks", "interrupt_at", "places_of", "release_locks"]

_PACKAGE = os.path.dirname(os.path.abspath(retrywrap.__file__)) + os.sep
_SEEN = (_PACKAGE, contextlib.__file__)
_CHECKS = {dis.opmap[name] for name in dis.opmap if name.startswith(("CALL", "JUMP_BACKWARD"))}


class Place(NamedTuple):
    """Where an interrupt fell.

    Attributes:
        file: The module's file, from the package's folder on.
        function: The function's qualified name.
        line: The line.
        offset: The bytecode's.
        begins: Whether the function did nothing yet: since it was called or, where it is a generator, since it went on.
    """

    file: str
    function: str
    line: int | None
    offset: int
    begins: bool


@functools.cache
def _entries(code: CodeType) -> list[Any]:
    return list(dis.Bytecode(code).exception_entries)


@functools.cache
def _bytes(code: CodeType) -> bytes:
    return code.co_code


@functools.cache
def _handler(code: CodeType, offset: int) -> int | None:
    return next((entry.target for entry in _entries(code) if entry.start <= offset < entry.end), None)


def _may_fall(code: CodeType, before: int | None, here: int) -> bool:
    """Whether a real interrupt may fall here: the bytecode before looks at signals, and has the same handler."""
    return before == -1 or (before is not None and _handler(code, before) == _handler(code, here))


class _Walk:
    """Follows the bytecodes of this package, and of what it uses to write context managers, through a call."""

    def __init__(self, at: int | None, anywhere: bool) -> None:
        self.at = at
        self.anywhere = anywhere
        self.places: list[Place] = []
        self._looked: dict[FrameType, int | None] = {}  # the last bytecode, where it looks at signals; -1: none yet

    def call(self, frame: FrameType, _: str, __: Any) -> Any:
        if frame.f_back in self._looked:
            self._looked[frame.f_back] = None  # it was no C function that was called: nobody looks when it returns
        if not frame.f_code.co_filename.startswith(_SEEN):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._inside

    def _inside(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "return":
            self._looked.pop(frame, None)
        elif event == "opcode":
            code, here = frame.f_code, frame.f_lasti
            before = self._looked.get(frame, -1)
            self._looked[frame] = here if _bytes(code)[here] in _CHECKS else None
            if self.anywhere or _may_fall(code, before, here):
                name = code.co_filename.removeprefix(_PACKAGE)
                self.places.append(Place(name, code.co_qualname, frame.f_lineno, here, before == -1))
                if len(self.places) - 1 == self.at:
                    raise KeyboardInterrupt
        return self._inside

    def follow(self, work: Callable[[], object]) -> None:
        tracing, collecting = sys.gettrace(), gc.isenabled()
        gc.disable()  # the finalizers of others' garbage are no places of this work, and swallow an interrupt
        sys.settrace(self.call)
        try:
            work()
        finally:
            sys.settrace(tracing)
            if collecting:
                gc.enable()
            self._looked.clear()


def places_of(work: Callable[[], object], *, anywhere: bool = False) -> list[Place]:
    """Call a function; return where an interrupt may fall meanwhile, in order.

    Args:
        work: What is called, in this thread.
        anywhere: Every bytecode of this package counts; False: those where the interpreter looks at signals: where a
            function begins, and after the calls and loops that have the same handler.
    """
    walk = _Walk(None, anywhere)
    walk.follow(work)
    return walk.places


def interrupt_at(
    number: int, work: Callable[[], object], *, anywhere: bool = False
) -> tuple[Place, BaseException | None]:
    """Call a function with a KeyboardInterrupt at a place; return that, and what came out, its traceback with it.

    Args:
        number: Which of those that `places_of` finds.
        work: What is called, in this thread.
        anywhere: As for `places_of`.

    Raises:
        AssertionError: The call never came to the place.
    """
    walk = _Walk(number, anywhere)
    raised: BaseException | None = None
    try:
        walk.follow(work)
    except BaseException as error:
        raised = error
    assert len(walk.places) > number, f"no place {number}: this time the call had {len(walk.places)}"
    return walk.places[number], raised


def release_locks() -> None:
    """Release the locks of the package that this thread has: between two bytecodes of a ``with``, no signal falls."""
    for lock in list(locks._locks):
        with contextlib.suppress(RuntimeError):  # when it is not, or no longer, this thread's
            while True:
                lock.release()


def free_locks() -> bool:
    """Whether another thread can have every lock of the package."""
    free: list[bool] = []

    def take() -> None:
        for lock in list(locks._locks):
            free.append(lock.acquire(blocking=False))
            if free[-1]:
                lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return all(free)
