"""What the tables are made of: rows that answer for a class, and the ways to write them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from retrywrap.classifiers.guard import key_of, lineage, read
from retrywrap.classifiers.verdict import Effect, Verdict
from retrywrap.codes import ErrorCode

__all__ = [
    "UNKNOWN",
    "Codes",
    "Entry",
    "Judge",
    "Look",
    "Row",
    "Through",
    "again",
    "by_code",
    "combine",
    "each",
    "error_context",
    "follows_context",
    "inside",
    "never",
    "table",
]

UNKNOWN = Verdict(ErrorCode.UNKNOWN, rule="unknown")
"""What the chain says of an error that no rule knows."""

_MOST_ARGS = 10
# Libraries whose errors have no ``__cause__``; everywhere else ``__context__`` is only what happened to be handled.
_CONTEXT_ROOTS = frozenset({"httpcore", "pymysql", "redis", "requests", "urllib3"})


class Look(Protocol):
    """Asks the whole chain about another exception, which was found inside the one in question."""

    def __call__(self, other: object, via: str) -> Verdict | None:
        """Return the chain's verdict; None where `other` is no `Exception`, or unknown, or too deep inside."""


Judge: TypeAlias = Callable[[Any], "Verdict | None"]


class Through:
    """Marks a function that needs to look at other exceptions: it takes the error and a `Look`."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[Any, Look], Verdict | None]) -> None:
        self.function = function


class Row(NamedTuple):
    """One thing to ask about an error: a constant answer, or a function.

    Attributes:
        rule: Its dotted name; a verdict without a rule of its own gets it.
        note: Where the row comes from, for `explain`.
        answer: What it always says.
        judge: Says something, or None: not mine.
        through: The same, for a function that looks at other exceptions.
        tier: Rows of a class's lineage are asked by tier, and within one the most derived class's first: 0 a library's
            own, 1 the standard library's, 2 errno, 3 what goes by a builtin type alone.
    """

    rule: str
    note: str
    answer: Verdict | None = None
    judge: Judge | None = None
    through: Callable[[Any, Look], Verdict | None] = lambda error, look: None
    tier: int = 0


class Codes(NamedTuple):
    """What judges of several classes go by: the codes that a library's errors carry.

    Attributes:
        roots: The roots of the libraries' modules, with spaces between.
        carrier: What the codes are called: ``"SQLSTATE"``.
        rows: The verdict by code. A code is a number or a text; all that a reader needs is how it prints.
    """

    roots: str
    carrier: str
    rows: Mapping[Any, Verdict]


Entry: TypeAlias = "Verdict | Judge | Through"


def again(code: ErrorCode, effect: Effect = "unknown", *, rule: str = "", throttled: bool = False) -> Verdict:
    """Return a verdict that another attempt may succeed; its text comes from the error."""
    return Verdict(code, retryable=True, effect=effect, rule=rule, throttled=throttled)


def never(code: ErrorCode, effect: Effect = "unknown", *, rule: str = "") -> Verdict:
    """Return a verdict that another attempt would fail the same way; its text comes from the error."""
    return Verdict(code, effect=effect, rule=rule)


def each(root: str, names: str, entry: Entry) -> dict[str, Entry]:
    """Return the same entry for several classes of a library.

    Args:
        root: The root of its modules.
        names: The classes, with spaces between.
        entry: What to say of them.
    """
    return {f"{root}.{name}": entry for name in names.split()}


def by_code(prefix: str, *parts: tuple[Verdict, Iterable[Any]]) -> dict[Any, Verdict]:
    """Return verdicts by code, each with a rule.

    Args:
        prefix: Put before the code, with a dot, to make the rule's name.
        *parts: A verdict, and the codes that mean it.

    Raises:
        ValueError: The table contradicts itself: a code stands in it twice, or a verdict says two things at once.
    """
    rows: dict[Any, Verdict] = {}
    for verdict, codes in parts:
        for code in codes:
            if code in rows:
                raise ValueError(f"{prefix}.{code} stands in the table twice")
            _check_constant(f"{prefix}.{code}", verdict)
            rows[code] = verdict._replace(rule=f"{prefix}.{code}")
    return rows


def table(*parts: Mapping[str, Entry], prefix: str = "", tier: int = 0) -> dict[str, Row]:
    """Return rows by key: the root of a class's module, a dot, and the class's qualified name.

    Args:
        *parts: By key, what to say of the class.
        prefix: Put before the key to make the rule's name.
        tier: See `Row`.

    Raises:
        ValueError: The table contradicts itself: a class stands in two parts, or a verdict says two things at once.
    """
    rows: dict[str, Row] = {}
    for part in parts:
        for key, entry in part.items():
            if key in rows:
                raise ValueError(f"{key} stands in the table twice")
            if isinstance(entry, Verdict):
                _check_constant(key, entry)
            rows[key] = _row(key, entry, prefix + key.removeprefix("builtins."), tier)
    return rows


def _check_constant(key: str, verdict: Verdict) -> None:
    """Refuse what no row may say of every error of a class."""
    for wrong, contradiction in (
        (verdict.code == ErrorCode.SUCCESS, "an exception is no success"),
        (verdict.forbid and verdict.retryable, "it is retryable, and a retry is forbidden"),
        (verdict.throttled and not verdict.retryable, "it asks for less load, and is not retryable"),
        (verdict.retry_after is not None and not verdict.retryable, "it has a hint, and is not retryable"),
    ):
        if wrong:
            raise ValueError(f"the row for {key} contradicts itself: {contradiction}")


def _row(key: str, entry: Entry, rule: str, tier: int) -> Row:
    note = f"the table's row for {key}"
    if isinstance(entry, Verdict):
        return Row(rule, note, answer=entry._replace(rule=entry.rule or rule), tier=tier)
    if isinstance(entry, Through):
        return Row(rule, note, through=entry.function, tier=tier)
    return Row(rule, note, judge=entry, tier=tier)


def inside(*names: str, default: Verdict | None = None) -> Through:
    """Return an entry that looks for the real error inside another one.

    Args:
        *names: The attributes that may hold it, in order; ``"args"`` means each argument. The first that the chain
            knows wins.
        default: The answer where the chain knows none of them.
    """

    def through(error: BaseException, look: Look) -> Verdict | None:
        for name in names:
            for other in _held(error, name):
                verdict = None if other is None else look(other, name)
                if verdict is not None:
                    return verdict
        return default

    otherwise = "" if default is None else f", otherwise {default.code.name}"
    through.__doc__ = f"What the error inside says ({', '.join(names)}){otherwise}."
    return Through(through)


def _held(error: BaseException, name: str) -> Sequence[object]:
    if name == "__context__":
        context = error_context(error)
        return () if context is None else (context,)
    value = read(error, name)
    if name == "args":
        return value[:_MOST_ARGS] if type(value) is tuple else ()
    return (value,)


def error_context(error: BaseException) -> BaseException | None:
    """Return ``__context__`` where it can be the cause: a library's own error or an `OSError`, not suppressed."""
    if read(error, "__suppress_context__") is True:
        return None
    context: BaseException | None = read(error, "__context__")
    return context if issubclass(type(context), OSError) or follows_context(type(context)) else None


def follows_context(cls: type) -> bool:
    """Return whether the errors of a class carry their cause in ``__context__``."""
    return any(key_of(base)[0] in _CONTEXT_ROOTS for base in lineage(cls))


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """Return what failures (one at least) amount to: retryable only if each is, without effect only if none had any."""
    said = list(verdicts)
    first = next((v for v in said if v.forbid), None) or next((v for v in said if not v.retryable), said[0])
    return first._replace(
        message="",
        retry_after=max((v.retry_after for v in said if v.retry_after is not None), default=None),
        effect="none" if all(v.effect == "none" for v in said) else "unknown",
        throttled=any(v.throttled for v in said),
    )
