"""Operations that fail for real, what they raised, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from retrywrap import with_retry
from retrywrap.classifiers import classify

__all__ = ["Attempts", "judge"]


def judge(error: BaseException) -> tuple[str, bool, str]:
    """Return code, whether it is retryable, and the effect."""
    verdict = classify(error)
    return verdict.code.name, verdict.retryable, verdict.effect


class Attempts:
    """An operation that is told which call it is, counted from 1; keeps what its calls raised.

    Args:
        operation: What to retry.
        **options: Those of `with_retry`; 5 retries without a wait unless they say otherwise.

    Attributes:
        errors: What the calls raised, in order.
        calls: How many there were.
        retried: The operation with retry.
    """

    def __init__(self, operation: Callable[[int], Any], **options: Any) -> None:
        self.errors: list[Exception] = []
        self.calls = 0
        self._operation = operation
        self.retried = with_retry(**{"max": 5, "interval": 0, **options})(self._call)

    def _call(self) -> Any:
        self.calls += 1
        try:
            return self._operation(self.calls)
        except Exception as error:
            self.errors.append(error)
            raise

    def fail(self) -> Exception:
        """Run it, which must fail in the end; return the error."""
        with pytest.raises(Exception) as info:  # noqa: PT011 - each test looks at what it is
            self.retried()
        return info.value
