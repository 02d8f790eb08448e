"""The error codes of TDengine's taosX backup plugin, their messages, and which are retryable by default."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ErrorCode"]


class ErrorCode(IntEnum):
    """The plugin's error codes.

    ``ErrorCode(n)`` takes every int: the plugin says "Unknown error" of each number that it does not know, and so
    ``ErrorCode(-42)`` is an `ErrorCode` that keeps its number and is named ``UNKNOWN``. A number of more than 64 bits
    is not kept: it is ``UNKNOWN`` itself.

    Source: the retry-mechanism document of TDengine's ``incremental_bitmap`` backup plugin.
    """

    SUCCESS = 0
    INVALID_PARAM = -1
    INIT_FAILED = -2
    NOT_INITIALIZED = -3
    MEMORY_ALLOC = -4
    FILE_IO = -5
    NETWORK = -6
    TIMEOUT = -7
    DATA_CORRUPTION = -8
    PERMISSION_DENIED = -9
    DISK_FULL = -10
    CONNECTION_LOST = -11
    RETRY_EXHAUSTED = -12
    UNKNOWN = -99

    @classmethod
    def _missing_(cls, value: object) -> ErrorCode:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{value!r:.80} is not a valid ErrorCode: a code must be an int, such as -6")
        if type(value) is not int:  # another library's enum
            return cls(int(value))
        if not -(2**63) <= value < 2**63:  # beyond some length Python refuses to print an int
            return cls.UNKNOWN
        code = int.__new__(cls, value)
        code._name_ = "UNKNOWN"
        code._value_ = value
        return code

    @property
    def message(self) -> str:
        """The plugin's text for the code, such as ``"Network error"``."""
        return _MESSAGES.get(self, "Unknown error")

    @property
    def retryable(self) -> bool:
        """Whether the plugin retries on this code by default."""
        return self in _RETRYABLE

    @property
    def plugin_name(self) -> str:
        """The plugin's own name for it, such as ``"BACKUP_ERROR_NETWORK"``."""
        return "BACKUP_SUCCESS" if self == 0 else f"BACKUP_ERROR_{self.name}"


_MESSAGES: dict[int, str] = {
    0: "Success",
    -1: "Invalid parameter",
    -2: "Initialization failed",
    -3: "Not initialized",
    -4: "Memory allocation failed",
    -5: "File I/O error",
    -6: "Network error",
    -7: "Operation timeout",
    -8: "Data corruption detected",
    -9: "Permission denied",
    -10: "Disk full",
    -11: "Connection lost",
    -12: "Retry attempts exhausted",
}
_RETRYABLE: frozenset[int] = frozenset({-5, -6, -7, -11})
