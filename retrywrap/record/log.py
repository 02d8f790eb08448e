"""Event → structlog line. structlog is loaded at the first event; the application's configuration of it is respected."""

from __future__ import annotations

from typing import Any

from retrywrap.codes import ErrorCode
from retrywrap.decide.events import SCHEDULED, UNKNOWN_ERROR, RetryEvent, StopReason

__all__ = ["emit"]

_LEVELS = {SCHEDULED: "warning", UNKNOWN_ERROR: "warning", f"retry.{StopReason.RECOVERED.value}": "info"}


def emit(event: RetryEvent) -> None:
    """Log one event: warning for scheduled, info for recovered, error for a final failure."""
    getattr(_logger(), _LEVELS.get(event.name, "error"))(event.name, **_keys(event))


def _keys(event: RetryEvent) -> dict[str, Any]:
    keys: dict[str, Any] = {
        "operation": event.operation,
        "code": int(event.code),
        "code_name": ErrorCode(event.code).name,
        "message": event.message,
        "error_type": event.error_type,
        "attempt": event.attempt,
        "max": event.max,
        "wait": event.wait,
        "elapsed": round(event.elapsed, 6),
        "rule": event.rule,
    }
    if event.retry_after is not None:
        keys["retry_after"] = event.retry_after
    if event.scope is not None:
        keys["scope"] = event.scope
    return keys


def _logger() -> Any:
    """Return the application's structlog logger; where it configured none, one that ends in the stdlib logger ``retrywrap``.

    structlog's own default prints to stdout, which belongs to the program's output.
    """
    import structlog

    if _is_configured(structlog):
        return structlog.get_logger("retrywrap")
    import logging

    return structlog.wrap_logger(
        logging.getLogger("retrywrap"),
        processors=[structlog.contextvars.merge_contextvars, _render],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=False,
    )


def _is_configured(structlog: Any) -> bool:
    """Whether structlog would do anything but print its defaults to stdout.

    `structlog.is_configured` alone does not tell: it stays True after `structlog.testing.capture_logs`, which puts the
    defaults back.
    """
    if not structlog.is_configured():
        return False
    config = structlog.get_config()
    printing = type(config["logger_factory"]) is structlog.PrintLoggerFactory and config["logger_factory"]._file is None
    ends = config["processors"][-1] if config["processors"] else None
    return not (printing and isinstance(ends, structlog.dev.ConsoleRenderer) and len(config["processors"]) == 6)


def _render(_: Any, __: str, event: dict[str, Any]) -> str:
    """Render ``retry.scheduled operation=… code=…``; values with blanks are quoted."""
    name = event.pop("event")
    return " ".join([str(name), *(f"{key}={_value(value)}" for key, value in event.items() if value is not None)])


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return repr(text) if not text or any(c.isspace() or c in "\"'=" for c in text) else text
