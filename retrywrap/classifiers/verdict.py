"""What a classifier says of one failed attempt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from retrywrap.codes import ErrorCode

__all__ = ["Classifier", "Effect", "Verdict", "return_codes"]

Effect = Literal["none", "unknown"]
"""May the failed attempt have been applied? ``"none"``: surely not. ``"unknown"``: nobody can tell."""


class Verdict(NamedTuple):
    """What a classifier says of one failed attempt.

    Attributes:
        code: The `ErrorCode` it amounts to.
        message: The error's text: redacted, escaped to one line, bounded.
        retryable: Whether another attempt may succeed. Independent of ``code``.
        retry_after: The server's hint, in seconds; None where it gave none. The policy clamps it.
        effect: Whether the failed attempt may have been applied: ``"none"`` or ``"unknown"``.
        rule: The table row that spoke, such as ``"stdlib.errno.ECONNREFUSED"``.
        forbid: Final: nothing may retry this, not even ``on=``.
        throttled: The other side asks for less load; budgets price such a retry apart.
    """

    code: ErrorCode
    message: str = ""
    retryable: bool = False
    retry_after: float | None = None
    effect: Effect = "unknown"
    rule: str = "user"
    forbid: bool = False
    throttled: bool = False

    @classmethod
    def of(cls, code: int, message: str | None = None, *, rule: str = "code", **changes: Any) -> Verdict:
        """Return the verdict that the taxonomy gives for a code: its message, and whether it is retryable.

        Args:
            code: An `ErrorCode` or its number.
            message: The text, where it is not the code's own.
            rule: What spoke.
            **changes: Other fields of `Verdict`, to differ from the default.

        Raises:
            TypeError: A field does not exist, or a text is no text.
            ValueError: `code` is no whole number.
        """
        code = ErrorCode(code)
        if not isinstance(message, str | None):
            raise TypeError(f"message must be a str, or None for the code's own; got {message!r:.80}")
        if not isinstance(rule, str):
            raise TypeError(f"rule must be a str; got {rule!r:.80}")
        if not changes.keys() <= set(cls._fields):
            unknown = min(changes.keys() - set(cls._fields))
            raise TypeError(f"changes must be fields of Verdict, {', '.join(cls._fields)}; got {unknown!r}")
        fields: dict[str, Any] = {
            "message": code.message if message is None else message,
            "retryable": code.retryable,
            "rule": rule,
            **changes,
        }
        return cls(code, **fields)


Classifier = Callable[[Any], "Verdict | ErrorCode | bool | None"]
"""Takes an error (or a result) and returns a `Verdict` (or an `ErrorCode`, or True for "retry it"); None: not mine."""


def return_codes(result: object) -> Verdict | None:
    """Read a returned int as one of the plugin's error codes: the classifier for ``results=return_codes``.

    Args:
        result: What the operation returned.

    Returns:
        None for 0 and for everything that is no int (both mean success); else the code's verdict. An int that the
        plugin does not know is an unknown error, which is not retried.
    """
    if not isinstance(result, int) or isinstance(result, bool) or result == 0:
        return None
    return Verdict.of(int(result), rule="return_codes")
