"""What users register, and what installed distributions bring: one immutable state, replaced as a whole."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar, overload

from retrywrap.classifiers.asking import ask, check_classifier, check_verdict, name_of
from retrywrap.classifiers.guard import key_of, lineage, type_name
from retrywrap.classifiers.rows import Row
from retrywrap.classifiers.tables import forbidden
from retrywrap.classifiers.verdict import Classifier, Effect, Verdict
from retrywrap.codes import ErrorCode
from retrywrap.locks import new_lock

__all__ = ["State", "book", "function_row", "register", "unregister"]

_NOTHING_SAID = {"retryable": None, "effect": "unknown", "retry_after": None, "forbid": False}
_Target = TypeVar("_Target", bound=Callable[..., Any])


class State(NamedTuple):
    """What is registered. Its identity tells whether a plan that was made from it still holds.

    Attributes:
        functions: The registered functions, in order.
        types: By the id of an exception type: the type, and what was registered for it.
        plugins: What entry points brought; None: they have not been loaded.
    """

    functions: tuple[tuple[Classifier, Row], ...] = ()
    types: Mapping[int, tuple[type[BaseException], Row]] = {}
    plugins: tuple[Row, ...] | None = None

    def rows_for(self, cls: type) -> Iterable[Row]:
        """Yield the rows that users registered for a class: functions first, then types, most derived first.

        What forbids comes before all of them, because nothing overrides it.
        """
        types = [self.types[id(base)][1] for base in lineage(cls) if id(base) in self.types]
        yield from (row for row in types if row.answer is not None and row.answer.forbid)
        yield from (row for _, row in self.functions)
        yield from types


class _Book:
    """Holds the state in force.

    Attributes:
        mark: Another object with each state: what was made from one keeps this, not the state, which holds classes.
    """

    def __init__(self) -> None:
        self.state = State()
        self.lock = new_lock()

    @property
    def state(self) -> State:
        """What is registered."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state = state
        self.mark = object()  # after it: who reads the mark first, and then the state, never has an old state for it

    def set_plugins(self, plugins: tuple[Row, ...] | None) -> None:
        with self.lock:
            self.state = self.state._replace(plugins=plugins)

    def clear(self) -> None:
        """Forget all that users registered."""
        with self.lock:
            self.state = State(plugins=self.state.plugins)


book = _Book()


def function_row(classifier: Classifier, origin: str) -> Row:
    """Return the row that asks a classifier."""
    name = name_of(classifier)
    return Row(
        f"{origin}.{name}", f"the {origin} classifier {name}", judge=functools.partial(ask, classifier, origin=origin)
    )


@overload
def register(
    target: _Target,
    /,
    code: int | None = None,
    *,
    retryable: bool | None = None,
    effect: Effect = "unknown",
    retry_after: float | None = None,
    forbid: bool = False,
) -> _Target: ...
@overload
def register(
    target: None = None,
    /,
    code: int | None = None,
    *,
    retryable: bool | None = None,
    effect: Effect = "unknown",
    retry_after: float | None = None,
    forbid: bool = False,
) -> Callable[[_Target], _Target]: ...
def register(
    target: Any = None,
    /,
    code: int | None = None,
    *,
    retryable: bool | None = None,
    effect: Effect = "unknown",
    retry_after: float | None = None,
    forbid: bool = False,
) -> Any:
    """Make the default chain know an exception type, or ask a classifier, before its own tables.

    Three forms: ``register(MyError, ErrorCode.NETWORK, retryable=True)``, ``register(function)``, and ``@register``
    over a function, or ``@register(code=ErrorCode.NETWORK)`` over an exception class.

    Args:
        target: An exception type, which stands for its subclasses too, or a classifier. Functions are asked first, in
            the order of their registration, then the most derived type's row; but a type with ``forbid=True`` comes
            before all. None: returns a decorator.
        code: The `ErrorCode` of the type's errors; None: ``UNKNOWN``.
        retryable: Whether another attempt at it may succeed; None: what the code says.
        effect: ``"none"``: an attempt that failed so surely changed nothing.
        retry_after: Seconds that it asks to wait.
        forbid: True: nothing may retry it, not even ``on=``.

    Returns:
        `target`.

    Raises:
        TypeError: Neither an exception type nor a plain function was given, or something else has the wrong type.
        ValueError: The type is registered with another meaning (`unregister` it first), or is never retried, or nothing
            is said of it, or a value is out of range.
    """
    options: dict[str, Any] = {"retryable": retryable, "effect": effect, "retry_after": retry_after, "forbid": forbid}
    if target is None:
        return lambda target: register(target, code, **options)
    silent = code is None and options == _NOTHING_SAID
    if isinstance(target, type) and issubclass(target, BaseException):
        if silent:
            raise ValueError(f"give {type_name(target)} a code, such as ErrorCode.NETWORK, or retryable=True or False")
        _register_type(target, _meaning(target, code, **options))
    elif not silent:
        raise TypeError("code and options belong to an exception type; a classifier function answers by itself")
    else:
        _register_function(check_classifier(target, "target"))
    return target


def _meaning(target: type[BaseException], code: Any, retryable: Any, **options: Any) -> Verdict:
    if forbidden(target):
        raise ValueError(f"{type_name(target)} is never retried, whatever is registered for it")
    rule = f"registered.{key_of(target)[1]}"
    said = check_verdict(Verdict(ErrorCode.UNKNOWN if code is None else code, rule=rule, **options))
    if said.code == 0:
        raise ValueError("code must be an error's; SUCCESS is none. For 'do not retry' give retryable=False")
    if retryable and said.forbid:
        raise ValueError("forbid=True and retryable=True contradict each other; leave one out")
    default = said.code.retryable and not said.forbid
    return check_verdict(said._replace(retryable=default if retryable is None else retryable))


def _register_type(target: type[BaseException], verdict: Verdict) -> None:
    row = Row(verdict.rule, f"the registered meaning of {type_name(target)}", answer=verdict)
    with book.lock:
        state = book.state
        _, before = state.types.get(id(target), (target, row))
        if before != row:
            raise ValueError(
                f"{type_name(target)} is registered already, as {before.answer}; "
                "retrywrap.classifiers.unregister it first"
            )
        book.state = state._replace(types={**state.types, id(target): (target, row)})


def _register_function(classifier: Classifier) -> None:
    row = function_row(classifier, "registered")
    with book.lock:
        state = book.state
        if all(function != classifier for function, _ in state.functions):
            book.state = state._replace(functions=(*state.functions, (classifier, row)))


def unregister(target: Callable[..., Any]) -> None:
    """Undo `register`.

    Args:
        target: The exception type or the classifier that was registered.

    Raises:
        ValueError: It is not registered.
    """
    with book.lock:
        state = book.state
        functions = tuple(entry for entry in state.functions if entry[0] != target)
        types = {key: entry for key, entry in state.types.items() if entry[0] is not target}
        if len(functions) == len(state.functions) and len(types) == len(state.types):
            raise ValueError(f"{name_of(target)} is not registered")
        book.state = state._replace(functions=functions, types=types)
