"""The exceptions that retrywrap itself raises.

```
Exception
└── RetryWrapError
    ├── RetryExhausted            an operation ended without success (``reraise=False``, or a bad *result*)
    ├── DeadlineExceeded          a scope's time was over before the call began   (also a TimeoutError)
    ├── RetryUsageError           a retry block was used in a way that cannot work (also a RuntimeError)
    └── ConfigurationError        a configuration was refused, whole                (also a ValueError)
```

Wrong arguments are plain ``TypeError`` and ``ValueError``: they are mistakes in the calling code, not failures of an
operation. Everything else that leaves a retried operation is the operation's own exception.
"""

from __future__ import annotations

from typing import Any

__all__ = ["ConfigurationError", "DeadlineExceeded", "RetryExhausted", "RetryUsageError", "RetryWrapError"]


class RetryWrapError(Exception):
    """Base of all exceptions that retrywrap defines."""


class RetryExhausted(RetryWrapError):
    """An operation ended without success.

    Raised instead of the last exception where ``reraise=False`` (the last exception is then its ``__cause__``), and
    where the last attempt *returned* a value which ``results=`` called a failure: that value is in ``result``.

    Args:
        message: Why it ended, in a sentence.

    Attributes:
        operation: The operation's name.
        reason: The `StopReason` value that ended it, such as ``"exhausted"``.
        attempts: How often the operation was called.
        elapsed: Seconds it took, waits included.
        code: The last error's code (an int; `ErrorCode` names it).
        result: The last returned value where the last attempt returned one, else None.
    """

    given_up: object = None
    """The note of the operation, which this exception needs no line for."""

    def __init__(
        self,
        message: str,
        *,
        operation: str = "",
        reason: str = "exhausted",
        attempts: int = 0,
        elapsed: float = 0.0,
        code: int = -12,
        result: Any = None,
    ) -> None:
        super().__init__(message)
        self.operation = operation
        self.reason = reason
        self.attempts = attempts
        self.elapsed = elapsed
        self.code = code
        self.result = result


class DeadlineExceeded(RetryWrapError, TimeoutError):
    """The time of a scope was over before the call began, so that it was not made at all."""


class RetryUsageError(RetryWrapError, RuntimeError):
    """A retry block was used in a way that cannot work; the message says how to write it."""


class ConfigurationError(RetryWrapError, ValueError):
    """A configuration was refused as a whole; nothing of it was applied."""
