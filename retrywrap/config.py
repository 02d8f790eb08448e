"""Configuration: taosX TOML, environment variables, keyword arguments and named policies → policies, error log, registry.

Precedence: arguments at the decorator > the named policy > `configure` keywords > environment > file > defaults.
A configuration is read and checked as a whole before any of it is put in force.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from retrywrap.decide import policy as policies
from retrywrap.decide.backoff import decorrelated, exponential, fibonacci, fixed, linear
from retrywrap.decide.checks import check_seconds, shown
from retrywrap.decide.policy import PolicyBook, RetryPolicy
from retrywrap.errors import ConfigurationError
from retrywrap.locks import new_lock
from retrywrap.decide.presets import FILES, NETWORK
from retrywrap.record import hooks, log
from retrywrap.record.registry import registry

if TYPE_CHECKING:
    from retrywrap.record.store import ErrorLog

__all__ = ["Settings", "configure", "parse", "read", "reset", "settings"]

_PREFIX = "RETRYWRAP_"
_SECTION = "incremental_bitmap"
_UINT32 = 2**32 - 1


class Settings(NamedTuple):
    """The configuration in force, under the plugin's names.

    Attributes:
        enable: False: every operation that names no policy runs once.
        error_retry_max: Retries after the first call, where the code says nothing else.
        error_retry_interval: Seconds between attempts, where the code says nothing else.
        error_store_path: Directory of the error log; None: no error log.
        enable_error_logging: False: no error log, even with a path.
        error_buffer_size: Newest errors that the registry keeps.
        events: False: no structlog events.
        policies: Named policies.
        coordinator: The coordinator's further settings, type-checked and passed through.
    """

    enable: bool = True
    error_retry_max: int = 10
    error_retry_interval: float = 5
    error_store_path: str | None = None
    enable_error_logging: bool = True
    error_buffer_size: int = 1000
    events: bool = True
    policies: Mapping[str, Mapping[str, Any]] = {}
    coordinator: Mapping[str, Any] = {}


class _Bad(Exception):
    """A value that is not what its key expects; the text says what is."""


def _bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if isinstance(value, _Text) and value.lower() in words:
        return words[value.lower()]
    raise _Bad("true or false")


def _uint(value: object) -> int:
    if isinstance(value, _Text) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _UINT32:
        raise _Bad("a whole number from 0 to 4294967295")
    return value


def _seconds(value: object) -> float:
    if isinstance(value, _Text):
        try:
            value = float(value)
        except ValueError:
            raise _Bad("seconds, 0 or more") from None
    try:
        seconds = check_seconds(value, "it")
    except (TypeError, ValueError):
        raise _Bad("seconds, 0 or more") from None
    return int(seconds) if seconds == int(seconds) else seconds


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _Bad("a text that is not empty")
    return str(value)


def _path(value: object) -> str:
    return _text(os.fspath(value) if isinstance(value, os.PathLike) else value)


class _Text(str):
    """A text from the environment, which has no types: it may stand for a number or a bool."""


_KEYS: dict[str, Callable[[object], Any]] = {
    "enable": _bool,
    "error_retry_max": _uint,
    "error_retry_interval": _seconds,
    "error_store_path": _path,
    "enable_error_logging": _bool,
    "error_buffer_size": _uint,
    "events": _bool,
}
_COORDINATOR: dict[str, Callable[[object], Any]] = {
    "max_blocks_per_batch": _uint,
    "batch_timeout_ms": _uint,
    "enable_compression": _bool,
    "enable_encryption": _bool,
    "encryption_key": _text,
    "backup_path": _path,
    "backup_max_size": _uint,
    "compression_level": _uint,
}
_DOTTED = {"error.retry.max": "error_retry_max", "error.retry.interval": "error_retry_interval"}
_BACKOFFS = {"fixed": fixed, "linear": linear, "exponential": exponential, "decorrelated": decorrelated, "fibonacci": fibonacci}


def _refuse(source: str, key: str, value: object, expected: str) -> ConfigurationError:
    hidden = "'***'" if "key" in key.rpartition(".")[2] else shown(value)
    return ConfigurationError(f"{source}: {key} = {hidden}: expected {expected}; nothing of this configuration was applied")


def _read_key(source: str, key: str, value: object, place: str = "") -> tuple[str, Any]:
    """Return the plain name and the checked value of one key."""
    name = _DOTTED.get(key, key)
    check = _KEYS.get(name) or _COORDINATOR.get(name)
    if check is None:
        known = ", ".join([*_KEYS, *_COORDINATOR])
        raise ConfigurationError(f"{source}: unknown key {place}{key} = {shown(value)}; known: {known}")
    try:
        return name, check(value)
    except _Bad as bad:
        raise _refuse(source, place + key, value, str(bad)) from None


def _flatten(table: Mapping[str, Any]) -> dict[str, Any]:
    """Turn TOML's ``error.retry.max = 3``, which is a table in a table, back into the dotted name."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        retry = value.get("retry") if key == "error" and isinstance(value, Mapping) else None
        if isinstance(retry, Mapping) and set(value) == {"retry"}:
            flat.update({f"error.retry.{inner}": v for inner, v in retry.items()})
        else:
            flat[key] = value
    return flat


def _read_policy(source: str, name: str, table: object) -> dict[str, Any]:
    """Return a named policy's parameters, checked by making the policy."""
    if isinstance(table, RetryPolicy):
        return table.settings()
    place = f"policies.{name}"
    if not isinstance(table, Mapping):
        raise _refuse(source, place, table, "a table of parameters, or a RetryPolicy")
    parameters = dict(table)
    interval = parameters.get("interval")
    try:
        if isinstance(interval, Mapping):
            parameters["interval"] = _read_backoff(interval)
        RetryPolicy(**{"max": 10, **parameters})
    except (TypeError, ValueError, KeyError) as bad:
        raise ConfigurationError(f"{source}: [{place}] {bad}; nothing of this configuration was applied") from None
    return parameters


def _read_backoff(table: Mapping[str, Any]) -> Any:
    """Return the backoff of ``interval = {backoff = "exponential", base = 0.1, cap = 20}``."""
    arguments = dict(table)
    kind = arguments.pop("backoff", None)
    if kind not in _BACKOFFS:
        raise ValueError(f"interval.backoff must be one of {', '.join(_BACKOFFS)}; got {shown(kind)}")
    first = {"fixed": "seconds", "linear": "start"}.get(kind, "base")
    if first not in arguments:
        raise ValueError(f"interval needs {first} = seconds for the backoff {kind}")
    start = arguments.pop(first)
    return _BACKOFFS[kind](start, **arguments)


def _read_tables(source: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of one TOML document: ``[plugins.incremental_bitmap]``, dotted names, ``[policies.*]``."""
    rest = _flatten(document)
    plugins, named = rest.pop("plugins", {}), rest.pop("policies", {})
    for key, value in (("plugins", plugins), ("policies", named)):
        if not isinstance(value, Mapping):
            raise _refuse(source, key, value, "a table")
    ours = plugins.get(_SECTION, {})
    if not isinstance(ours, Mapping):
        raise _refuse(source, f"plugins.{_SECTION}", ours, "a table")
    found: dict[str, Any] = {}
    for table, place in ((rest, ""), (_flatten(ours), f"plugins.{_SECTION}.")):
        for key, value in table.items():
            name, checked = _read_key(source, key, value, place)
            found[name] = checked
    found["policies"] = {name: _read_policy(source, name, table) for name, table in named.items()}
    return found


def parse(text: str | bytes, source: str) -> dict[str, Any]:
    """Return a TOML text as a mapping.

    Raises:
        ConfigurationError: It is not TOML.
    """
    import tomllib

    try:
        return tomllib.loads(text if isinstance(text, str) else text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{source}: not valid TOML: {error}; nothing of it was applied") from error


def read(document: Mapping[str, Any], source: str = "config") -> Settings:
    """Return the settings that a document of taosX's form, or its inner table alone, amounts to.

    Raises:
        ConfigurationError: Something in it is not what was expected.
    """
    return _settings(_read_tables(source, document))


def _read_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    source = os.fspath(path)
    try:
        with open(source, "rb") as file:
            content = file.read()
    except OSError as error:
        raise ConfigurationError(f"{source}: cannot be read: {error.strerror}") from error
    return _read_tables(source, parse(content, source))


def _read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable, text in environment.items():
        key = variable.removeprefix(_PREFIX).lower()
        if not variable.startswith(_PREFIX) or key == "config":
            continue
        if key not in _KEYS and key not in _COORDINATOR:
            known = ", ".join(_PREFIX + name.upper() for name in ["config", *_KEYS])
            raise ConfigurationError(f"environment: unknown variable {variable}; known: {known}")
        try:
            found[key] = (_KEYS.get(key) or _COORDINATOR[key])(_Text(text))
        except _Bad as bad:
            raise _refuse("environment", variable, text, str(bad)) from None
    return found


class _InForce:
    """What is in force now, and what it has put up."""

    def __init__(self) -> None:
        self.lock = new_lock()
        self.file: dict[str, Any] = {}
        self.keywords: dict[str, Any] = {}
        self.settings = Settings()
        self.error_log: ErrorLog | None = None
        self.log_path: str | None = None
        self.end_log: Callable[[], None] = lambda: None
        self.end_events: Callable[[], None] | None = None


_state = _InForce()


def configure(
    file: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    /,
    *,
    enable: bool | None = None,
    error_retry_max: int | None = None,
    error_retry_interval: float | None = None,
    error_store_path: str | os.PathLike[str] | None = None,
    enable_error_logging: bool | None = None,
    error_buffer_size: int | None = None,
    events: bool | None = None,
    policies: Mapping[str, RetryPolicy | Mapping[str, Any]] | None = None,
) -> Settings:
    """Read a configuration and put it in force, as a whole or not at all.

    Without a call of it, the environment (and the file that ``RETRYWRAP_CONFIG`` names) is read when it is first needed.
    What a call does not mention stays as it was; named policies are added to those that are there.

    Args:
        file: A TOML file in taosX's form, or a mapping of the same form.
        enable: False: every operation that names no policy runs once.
        error_retry_max: Retries after the first call, where the code says nothing else.
        error_retry_interval: Seconds between attempts, where the code says nothing else.
        error_store_path: Directory of the error log.
        enable_error_logging: False: no error log, even with a path.
        error_buffer_size: Newest errors that the global registry keeps.
        events: False: no structlog events.
        policies: Named policies: each a `RetryPolicy`, or its parameters.

    Returns:
        The settings in force.

    Raises:
        ConfigurationError: Something in it is not what was expected: the message names source, key, value and what is.
    """
    keywords = {
        key: value
        for key, value in locals().items()
        if key in _KEYS and value is not None
    }
    checked = dict(_read_key("configure()", key, value) for key, value in keywords.items())
    checked["policies"] = {n: _read_policy("configure()", n, t) for n, t in (policies or {}).items()}
    read: dict[str, Any] | None = None
    if isinstance(file, Mapping):
        read = _read_tables("configure()", file)
    elif file is not None:
        read = _read_file(file)
    return _apply(read, checked)


def _apply(file: dict[str, Any] | None, keywords: dict[str, Any]) -> Settings:
    environment = _read_environment(os.environ)
    path = os.environ.get(_PREFIX + "CONFIG")
    if file is None and not _state.file and path:
        file = _read_file(path)
    with _state.lock:
        files = _merge(_state.file, file or {})
        words = _merge(_state.keywords, keywords)
        merged = _merge(_merge(files, environment), words)
        found = _settings(merged)
        _state.file, _state.keywords, _state.settings = files, words, found
    _put_in_force(found)
    return found


def _settings(merged: Mapping[str, Any]) -> Settings:
    ours = {key: value for key, value in merged.items() if key not in _COORDINATOR}
    return Settings(**ours, coordinator={key: value for key, value in merged.items() if key in _COORDINATOR})


def _merge(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    named = {**old.get("policies", {}), **new.get("policies", {})}
    return {**old, **new, "policies": named}


def _put_in_force(found: Settings) -> None:
    policies.book.current = _book(found)
    if registry.error_buffer_size != found.error_buffer_size:
        registry.resize(found.error_buffer_size)
    _switch_events(found.events)
    _switch_log(found.error_store_path if found.enable_error_logging else None)


def _book(found: Settings) -> PolicyBook:
    defaults = {
        "max": found.error_retry_max if found.enable else 0,
        "interval": found.error_retry_interval,
    }
    presets = {"network": NETWORK.settings(), "files": FILES.settings()}
    return PolicyBook(defaults, {**presets, **found.policies})


def _switch_events(on: bool) -> None:
    if on and _state.end_events is None:
        _state.end_events = hooks.subscribe(log.emit)
    elif not on and _state.end_events is not None:
        _state.end_events()
        _state.end_events = None


def _switch_log(path: str | None) -> None:
    current = _state.error_log
    if path == _state.log_path:
        return
    _state.end_log()
    _state.end_log = lambda: None
    if current is not None:
        current.close()
    _state.error_log, _state.log_path = None, path
    if path is not None:
        from retrywrap.record.store import ErrorLog

        store = _state.error_log = ErrorLog(path)
        _state.end_log = hooks.subscribe(
            lambda event: store.write(int(event.time * 1000), int(event.code), event.message) if event.is_error else None
        )


def settings() -> Settings:
    """Return the settings in force, reading the environment first where nothing was configured yet."""
    policies.book.get()
    return _state.settings


def reset() -> None:
    """Forget every configuration; the environment is read again when it is next needed."""
    _state.file, _state.keywords, _state.settings = {}, {}, Settings()
    _switch_log(None)
    _switch_events(True)
    policies.book.current = None


def _load() -> PolicyBook:
    return _book(_apply(None, {}))


policies.book.load = _load
_switch_events(True)
