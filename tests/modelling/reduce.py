"""Makes a program small that goes otherwise than the model says: ``python -m modelling.reduce NUMBER`` in ``tests``."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from typing import Any

from modelling import runner
from modelling.model import Model
from modelling.program import Program, program_of

__all__ = ["main", "reduced"]

_ESSENTIAL = ("max", "interval", "name", "form", "registry", "attempts", "policy", "steps", "budgets", "interruptions")


def difference(program: Program) -> tuple[Any, Any] | None:
    """Return where both sides differ first; None where they agree, or where it is no program any more."""
    try:
        told, model = runner.run(program, "sync")["story"], Model(program)
        model.run()
    except Exception:
        return None
    return next((pair for pair in zip(told, model.story, strict=False) if pair[0] != pair[1]), None)


def _places(part: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, value in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
        yield (*way, key)
        yield from _places(value, (*way, key))


def _smaller(program: Program) -> Iterator[Program]:
    """Yield programs with one thing left out, or one number less."""
    for *way, last in list(_places(program)):
        for value in (None, 0, 1, "function", "catch"):
            changed = copy.deepcopy(program)
            holder = changed
            for key in way:
                holder = holder[key]
            before = holder[last]
            if value is None and last not in _ESSENTIAL:
                del holder[last]
            elif type(value) is type(before) or (type(before), type(value)) == (float, int):
                if before == value or (isinstance(value, int) and value > before):
                    continue
                holder[last] = value
            else:
                continue
            yield changed


def reduced(program: Program) -> Program:
    """Return a small program on which both sides differ still."""
    program = json.loads(json.dumps(program))
    while (smaller := next(filter(difference, _smaller(program)), None)) is not None:
        program = smaller
    return program


def main() -> None:
    """Print a small program, and where both sides differ on it."""
    with runner.known():
        program = program_of(int(sys.argv[1]))
        if difference(program) is None:
            raise SystemExit("both sides agree")
        program = reduced(program)
        print(json.dumps(program, indent=1), *difference(program) or (), sep="\n")
    runner.close()


if __name__ == "__main__":
    main()
