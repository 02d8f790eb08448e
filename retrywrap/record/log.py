"""Event → structlog line. structlog is loaded at the first event; its configuration is the application's."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from retrywrap.codes import ErrorCode
from retrywrap.decide.checks import shown_seconds
from retrywrap.decide.events import EVERY_NAME, SCHEDULED, UNKNOWN_ERROR, RetryEvent, StopReason, end_name
from retrywrap.locks import importing

__all__ = ["emit"]

_LEVELS = {
    SCHEDULED: "warning",
    UNKNOWN_ERROR: "warning",
    end_name(StopReason.RECOVERED): "info",
    end_name(StopReason.CANCELLED): "warning",  # somebody wanted it
}
_NUMBERS = {"info": 20, "warning": 30, "error": 40}  # of the standard library's logging


_ATTRIBUTE_MAKERS = "render_to_log_kwargs", "render_to_log_args_and_kwargs"


def is_enabled(name: str) -> bool:
    """Return whether the level of an event of this name is on, as far as that can be told without making its line.

    The application's logger can tell where it filters by level itself, as `structlog.make_filtering_bound_logger`'s do;
    ours, which is used where structlog is not configured, where the standard library's does.
    """
    structlog, ours = _loaded or _load()
    if _is_deaf(structlog.get_config()["wrapper_class"], name):
        return False
    return structlog.is_configured() or bool(ours.isEnabledFor(_number(name)))


def find_deaf() -> tuple[tuple[tuple[object, str, object], ...], frozenset[str]]:
    """Return what the second depends on (whose attribute, its name, its value), and the events nobody would read of.

    structlog is asked past its own function, which costs more than all the rest of recording a failure; where that has
    changed, nobody counts as deaf. Only the wrapper classes that structlog makes itself, one for each level, are taken
    at their word: another's may change it, and so may the standard library's loggers.
    """
    structlog, _ = _loaded or _load()
    kept, wrapper_class = getattr(structlog._config, "_CONFIG", None), structlog.get_config()["wrapper_class"]
    known = getattr(kept, "default_wrapper_class", None) is wrapper_class
    if not known or wrapper_class.__module__ != "structlog._native":
        return (), frozenset()
    deaf = frozenset(name for name in EVERY_NAME if _is_deaf(wrapper_class, name))
    return ((kept, "default_wrapper_class", wrapper_class),), deaf


def _is_deaf(wrapper_class: Any, name: str) -> bool:
    """Whether loggers of this class say that they drop an event of this name."""
    asked = getattr(wrapper_class, "is_enabled_for", None)
    try:
        return asked is not None and not asked(None, _number(name))
    except Exception:  # another's must be asked of a logger that was made; it filters when it is called
        return False


def _number(name: str) -> int:
    return _NUMBERS[_LEVELS.get(name, "error")]


class _Made(NamedTuple):
    """A logger, and what it was made from: it is made anew where any of that is another.

    Attributes:
        logger: It.
        renames: Whether the keys become attributes of a `logging.LogRecord`.
        config: structlog's configuration.
        processors: What was in its list, which may be changed in place.
        is_configured: What structlog said.
        outputs: ``sys.stdout`` and ``sys.stderr``, which some loggers take down.
    """

    logger: Any
    renames: bool
    config: dict[str, Any]
    processors: list[Any]
    is_configured: bool
    outputs: tuple[object, object]


_made: _Made | None = None


def emit(event: RetryEvent) -> None:
    """Log one event: warning for scheduled, info for recovered, error for a final failure."""
    global _made
    structlog, ours = _loaded or _load()
    made, config = _made, structlog.get_config()
    if (
        made is None
        or config != made.config
        or config["processors"] != made.processors
        or structlog.is_configured() is not made.is_configured
        or made.outputs[0] is not sys.stdout
        or made.outputs[1] is not sys.stderr
    ):
        made = _make(structlog, ours, config)
        _made = made if _may_be_kept(config) else None
    keys = _keys(event)
    if made.renames:
        keys["error_message"] = keys.pop("message")
    getattr(made.logger, _LEVELS.get(event.name, "error"))(event.name, **keys)


def _make(structlog: Any, ours: Any, config: dict[str, Any]) -> _Made:
    configured = _is_configured(structlog)
    logger = structlog.get_logger("retrywrap") if configured else _default_logger(structlog, ours)
    renames = configured and _makes_attributes(structlog)
    outputs = sys.stdout, sys.stderr
    return _Made(logger.bind(), renames, config, list(config["processors"]), structlog.is_configured(), outputs)


def _may_be_kept(config: dict[str, Any]) -> bool:
    """Whether another logger would be the same: where that is wanted, and of structlog's own factories."""
    if config["context_class"] is not dict:  # each logger may begin with another content
        return False
    factory = config["logger_factory"]
    places = {getattr(each, "__module__", None) or "" for each in (factory, type(factory))}
    return config["cache_logger_on_first_use"] is True or any(place.startswith("structlog.") for place in places)


def _keys(event: RetryEvent) -> dict[str, Any]:
    code = event.code if type(event.code) is ErrorCode else ErrorCode(event.code)
    keys: dict[str, Any] = {
        "operation": event.operation,
        "code": int(code),
        "code_name": code.name,
        "message": event.message,
        "error_type": event.error_type,
        "attempt": event.attempt,
        "max": event.max,
        "wait": None if event.wait is None else round(event.wait, 6),
        "elapsed": round(event.elapsed, 6),
        "rule": event.rule,
    }
    if event.retry_after is not None:
        keys["retry_after"] = event.retry_after
    if event.scope is not None:
        keys["scope"] = event.scope
    if event.final and event.reason is not StopReason.RECOVERED:
        keys["detail"] = event.detail
    return keys


def _makes_attributes(structlog: Any) -> bool:
    """Whether the keys become attributes of a `logging.LogRecord`, which has a ``message`` already and refuses ours."""
    makers = [getattr(structlog.stdlib, name, None) for name in _ATTRIBUTE_MAKERS]
    return any(processor in makers for processor in structlog.get_config()["processors"])


def _default_logger(structlog: Any, ours: Any) -> Any:
    """Return a logger that ends in the standard library's.

    structlog's own default prints to stdout, which belongs to the program's output.
    """
    return structlog.wrap_logger(
        ours,
        processors=[structlog.contextvars.merge_contextvars, _render],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=False,
    )


_loaded: tuple[Any, Any] | None = None


def _load() -> tuple[Any, Any]:
    """Import structlog and logging; return structlog and our logger of the standard library."""
    global _loaded
    with importing:
        import logging

        import structlog

    # Not under the lock above: who forks holds that of logging, which getting a logger takes, and waits for ours.
    _loaded = structlog, logging.getLogger("retrywrap")
    return _loaded


def _is_configured(structlog: Any) -> bool:
    """Whether the application has configured structlog.

    `structlog.is_configured` alone does not tell: after `structlog.testing.capture_logs`, which puts the defaults back,
    it stays True. So what is configured is compared with the defaults, object by object.
    """
    if not structlog.is_configured():
        return False
    config = structlog.get_config()
    if config["cache_logger_on_first_use"]:
        return True
    if any(config[key] is not _builtin(structlog, key) for key in ("context_class", "logger_factory", "wrapper_class")):
        return True
    return list(map(id, config["processors"])) != list(map(id, _builtin(structlog, "processors") or ()))


def _builtin(structlog: Any, key: str) -> Any:
    """Return one of structlog's defaults, for which it has no public name; None where it is called otherwise."""
    return getattr(structlog._config, f"_BUILTIN_DEFAULT_{key.upper()}", None)


def _render(_: Any, __: str, event: dict[str, Any]) -> str:
    """Render ``retry.scheduled operation=… code=…``; values with blanks are quoted."""
    name = event.pop("event")
    return " ".join([str(name), *(f"{key}={_value(value)}" for key, value in event.items() if value is not None)])


def _value(value: Any) -> str:
    if isinstance(value, float):
        return shown_seconds(value)
    text = str(value)
    plain = text.isprintable() and not any(c.isspace() or c in "\"'=" for c in text)
    return text if text and plain else repr(text)
