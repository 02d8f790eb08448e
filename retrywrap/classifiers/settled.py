"""Verdicts that hold for every error with the same class, errno and text, so that they may be kept."""

from __future__ import annotations

from retrywrap.classifiers.chain import DEFAULT
from retrywrap.classifiers.oserrors import TABLE, goes_by_number_and_text
from retrywrap.classifiers.verdict import Verdict

__all__ = ["settled"]

_BY_ERRNO = TABLE["builtins.OSError"]


def settled(error: Exception, text: str) -> Verdict | None:
    """Return the default chain's verdict, where every error of the same class, errno and text gets it: "retry".

    Its ``effect`` is left out of that: it may depend on the way that the error came.

    Args:
        error: The error.
        text: What ``str()`` gives of it.

    Returns:
        None where more may be looked at, or it is not retried.
    """
    cls = type(error)
    rows = DEFAULT._rows_of(cls)
    always = rows[0].answer if rows else None
    if always is None:
        verdict = DEFAULT(error) if rows and rows[0] is _BY_ERRNO else None
        return verdict if verdict is not None and goes_by_number_and_text(cls, text, verdict) else None
    return DEFAULT(error) if always.retryable else None
