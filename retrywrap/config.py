"""Configuration: taosX TOML, environment, keyword arguments and named policies → policies, error log, registry.

Precedence: arguments at the decorator > the named policy > `configure` keywords > environment > file > defaults.
A configuration is read and checked as a whole before any of it is put in force.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Never

from retrywrap.decide import policy as policies
from retrywrap.decide.backoff import decorrelated, exponential, fibonacci, fixed, linear
from retrywrap.decide.checks import check_seconds, refuse_unknown, safe, shown
from retrywrap.decide.events import EVERY_NAME, RetryEvent
from retrywrap.decide.policy import DEFAULTS, PolicyBook, RetryPolicy
from retrywrap.decide.presets import FILES, NETWORK
from retrywrap.errors import ConfigurationError
from retrywrap.locks import importing, new_lock
from retrywrap.record import log
from retrywrap.record.hooks import Hush
from retrywrap.record.registry import registry

if TYPE_CHECKING:
    from retrywrap.record.store import ErrorLog

__all__ = ["Settings", "configure", "parse", "read", "reset", "settings"]

_PREFIX = "RETRYWRAP_"
_SECTION = "incremental_bitmap"
_UINT32 = 2**32 - 1
_SECRET = "key", "secret", "token", "passw", "credential"
_LONGEST = 1 << 20
_LONGEST_KEY = 80


class Settings(NamedTuple):
    """The configuration in force, under the plugin's names. Its ``repr`` shows no secret.

    Attributes:
        enable: False: operations that give neither ``max`` nor a policy run once.
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

    def __repr__(self) -> str:
        coordinator = {key: "***" if _is_secret(key) else value for key, value in self.coordinator.items()}
        fields = {**self._asdict(), "coordinator": coordinator}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in fields.items())})"


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
    return _whole(value, _UINT32)


def _bytes(value: object) -> int:
    return _whole(value, 2**64 - 1)


def _whole(value: object, most: int) -> int:
    if isinstance(value, _Text) and value.isascii() and value.isdigit() and len(value) <= len(str(most)):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise _Bad(f"a whole number from 0 to {most}")
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
    text = _text(os.fspath(value) if isinstance(value, os.PathLike) else value)
    try:
        usable = b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise _Bad("a path")
    return text


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
    "backup_max_size": _bytes,
    "compression_level": _uint,
}
_DOTTED = {"error.retry.max": "error_retry_max", "error.retry.interval": "error_retry_interval"}
_BACKOFFS: dict[str, Callable[..., Any]] = {
    "fixed": fixed,
    "linear": linear,
    "exponential": exponential,
    "decorrelated": decorrelated,
    "fibonacci": fibonacci,
}


def _is_secret(key: object) -> bool:
    name = str(key).rpartition(".")[2].lower()
    return any(word in name for word in _SECRET)


def _shown(key: object, value: object) -> str:
    """Return a value for a message; what may be a secret, or may hold one, is not shown."""
    if _is_secret(key):
        return "'***'"
    if issubclass(type(value), Mapping):
        return "{…}"
    return "[…]" if issubclass(type(value), list | tuple) else shown(value)


def _assigned(place: str, key: object, value: object) -> str:
    """Return a key with its value for a message."""
    name = f"{place}{_shown_key(key)}"
    text = f"{name} = {_shown(key, value)}"
    return text if _is_secret(key) else safe(text)


def _shown_key(key: object) -> str:
    """Return a key, which may be any text, for a message."""
    text = safe(str(key))
    return text if len(text) <= _LONGEST_KEY else f"{text[: _LONGEST_KEY - 1]}…"


def _refuse(source: str, place: str, key: object, value: object, expected: str) -> ConfigurationError:
    return ConfigurationError(
        f"{source}: {_assigned(place, key, value)}: expected {expected}; nothing of this configuration was applied"
    )


def _read_key(source: str, key: str, value: object, place: str = "") -> tuple[str, Any]:
    """Return the plain name and the checked value of one key."""
    name = _DOTTED.get(key, key)
    check = _KEYS.get(name) or _COORDINATOR.get(name)
    if check is None:
        tables = [] if place else ["policies", "plugins"]
        known = [*_KEYS, *_DOTTED, *_COORDINATOR, *tables]
        meant = _close(key, known)
        hint = f"did you mean {place}{meant}? " if meant else ""
        raise ConfigurationError(
            f"{source}: unknown key {_assigned(place, key, value)}; {hint}known: {', '.join(known)}"
        )
    try:
        return name, check(value)
    except _Bad as bad:
        raise _refuse(source, place, key, value, str(bad)) from None
    except Exception as broken:  # of the value's own code: a path that fails when it is asked for its text
        raise _refuse(source, place, key, value, "a value that can be read") from broken


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


def _read_policies(source: str, tables: object) -> dict[str, dict[str, Any]]:
    """Return the parameters of each named policy."""
    if not isinstance(tables, Mapping):
        raise _refuse(source, "", "policies", tables, "a table of policies by their names")
    for name in tables:
        if not isinstance(name, str) or not name:
            expected = "a policy's name that is a text, not empty"
            raise _refuse(source, "policies.", shown(name), tables[name], expected)
    return {name: _read_policy(source, name, table) for name, table in tables.items()}


def _read_policy(source: str, name: str, table: object) -> dict[str, Any]:
    """Return a named policy's parameters, checked by making the policy."""
    if isinstance(table, RetryPolicy):
        return {**DEFAULTS, **table.settings()}  # all of them, because a policy that was made leaves nothing open
    if not isinstance(table, Mapping):
        raise _refuse(source, "policies.", name, table, "a table of parameters, or a RetryPolicy")
    parameters = dict(table)
    interval = parameters.get("interval")
    try:
        if isinstance(interval, Mapping):
            parameters["interval"] = _read_backoff(interval)
        elif isinstance(interval, list):
            parameters["interval"] = tuple(interval)  # the list may change, when nobody looks at it any more
        _check_names(parameters)
        RetryPolicy(**{"max": 10, **parameters})
    except (TypeError, ValueError) as bad:
        place = f"[policies.{_shown_key(name)}]"
        raise ConfigurationError(f"{source}: {place} {bad}; nothing of this configuration was applied") from None
    return parameters


def _check_names(parameters: Mapping[Any, object]) -> None:
    for name, value in parameters.items():
        if name not in DEFAULTS:
            with importing:
                from retrywrap.decide.naming import unknown_parameter
            raise ValueError(f"{unknown_parameter(name, DEFAULTS)}; got {_assigned('', name, value)}")


def _read_backoff(table: Mapping[str, Any]) -> Any:
    """Return the backoff of ``interval = {backoff = "exponential", base = 0.1, cap = 20}``."""
    arguments = dict(table)
    kind = arguments.pop("backoff", None)
    if not isinstance(kind, str) or kind not in _BACKOFFS:
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
    if not isinstance(plugins, Mapping):
        raise _refuse(source, "", "plugins", plugins, "a table")
    if _SECTION in plugins:  # a file for others, too: their tables are none of our business, unless ours are meant
        rest = {key: value for key, value in rest.items() if not _is_foreign(key, value)}
    elif meant := next((key for key in plugins if _close(str(key).replace("-", "_"), [_SECTION])), None):
        raise _refuse(source, "plugins.", meant, plugins[meant], f"the name plugins.{_SECTION}")
    ours = plugins.get(_SECTION, {})
    if not isinstance(ours, Mapping):
        raise _refuse(source, "plugins.", _SECTION, ours, "a table")
    return {
        **_read_keys(source, rest, ""),
        **_read_keys(source, _flatten(ours), f"plugins.{_SECTION}."),
        "policies": _read_policies(source, named),
    }


def _is_foreign(key: object, value: object) -> bool:
    """Whether a top-level table belongs to another program that reads the same file."""
    return isinstance(value, Mapping) and not _close(key, ["policies", "plugins", _SECTION])


def _close(name: object, known: Collection[str]) -> str:
    """Return the known name that was probably meant; an empty text where there is none."""
    with importing:
        from retrywrap.decide.naming import nearest

    return nearest(str(name), known, cutoff=0.7)


def _read_keys(source: str, table: Mapping[str, Any], place: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        name, checked = _read_key(source, key, value, place)
        if name in found:
            raise _refuse(source, place, key, value, f"no second spelling of {name}")
        found[name] = checked
    return found


def parse(text: str | bytes, source: str) -> dict[str, Any]:
    """Return a TOML text as a mapping.

    Raises:
        ConfigurationError: It is not TOML.
    """
    with importing:
        import tomllib

    try:
        return tomllib.loads(text if isinstance(text, str) else text.decode())
    except (ValueError, RecursionError) as error:  # tomllib lets out what Python itself says of endless numbers
        raise ConfigurationError(f"{source}: not valid TOML: {error}; nothing of it was applied") from error


def read(document: Mapping[str, Any], source: str = "config") -> Settings:
    """Return the settings that a document of taosX's form, or its inner table alone, amounts to.

    Raises:
        ConfigurationError: Something in it is not what was expected.
    """
    return _settings(_read_tables(source, document))


def _read_file(path: object, said_by: str = "") -> dict[str, Any]:
    if not isinstance(path, str | os.PathLike) or not isinstance(source := os.fspath(path), str):
        raise TypeError(f"file must be the path of a TOML file, or a mapping of the same form; got {shown(path)}")
    name = safe(source) or shown(source)
    try:
        content = _content(source)
    except OSError as error:
        raise ConfigurationError(f"{said_by}{name}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # a null byte, or text that cannot be the name of a file
        raise ConfigurationError(f"{said_by}{shown(source)}: cannot be read: {error}") from error
    return _read_tables(name, parse(content, name))


def _content(path: str) -> bytes:
    """Return what stands in a file that can be read as often as wanted, without waiting for anybody, to its end.

    Raises:
        OSError: It cannot be read, or is not such a file.
        ValueError: The path can be none.
    """
    mode = os.stat(path).st_mode
    if path != os.devnull and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is no file, but a pipe, a socket or a device")
    with open(path, "rb") as file:
        content = file.read(_LONGEST + 1)
    if len(content) > _LONGEST:
        raise OSError(errno.EFBIG, f"it is longer than the {_LONGEST} bytes that it may have")
    return content


_ELSEWHERE = ("config", "pure")  # read before: where the file is; and, when the package is loaded, which build runs


def _read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable, text in environment.items():
        key = variable.removeprefix(_PREFIX).lower()
        if not variable.startswith(_PREFIX) or key in _ELSEWHERE:
            continue
        if key not in _KEYS and key not in _COORDINATOR:
            known = [*_ELSEWHERE, *_KEYS]
            meant = _close(key, known)
            hint = f"did you mean {_PREFIX}{meant.upper()}? " if meant else ""
            raise ConfigurationError(
                f"environment: unknown variable {_shown_key(variable)}; {hint}"
                f"known: {', '.join(_PREFIX + name.upper() for name in known)}"
            )
        try:
            found[key] = (_KEYS.get(key) or _COORDINATOR[key])(_Text(text))
        except _Bad as bad:
            raise _refuse("environment", "", variable, text, str(bad)) from None
    return found


class _State(NamedTuple):
    """What is in force; replaced as a whole.

    Attributes:
        file: What files said so far; None: none was read, not even the one that the environment names.
        keywords: What `configure` was told so far.
        settings: What that and the environment amount to.
        error_log: Where errors are written.
    """

    file: Mapping[str, Any] | None = None
    keywords: Mapping[str, Any] = {}
    settings: Settings = Settings()
    error_log: ErrorLog | None = None


class _InForce:
    """Holds the state in force."""

    def __init__(self) -> None:
        self.lock = new_lock()
        self.state = _State()


_in_force = _InForce()


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
    **unknown: Never,
) -> Settings:
    """Read a configuration and put it in force, as a whole or not at all.

    Without a call of it, the environment is read when it is first needed, and with it the file that
    ``RETRYWRAP_CONFIG`` names. What a call does not mention stays as it was; named policies are added to those that are
    there.

    Args:
        file: A TOML file in taosX's form, or a mapping of the same form.
        enable: False: operations that give neither ``max`` nor a policy run once.
        error_retry_max: Retries after the first call, where the code says nothing else.
        error_retry_interval: Seconds between attempts, where the code says nothing else.
        error_store_path: Directory of the error log.
        enable_error_logging: False: no error log, even with a path.
        error_buffer_size: Newest errors that the global registry keeps.
        events: False: no structlog events.
        policies: Named policies: each a `RetryPolicy`, or its parameters.
        **unknown: Refused, with what it is called here.

    Returns:
        The settings in force.

    Raises:
        ConfigurationError: Something in it is not what was expected: the message names source, key, value and what is.
        TypeError: `file` is neither a path nor a mapping, or a parameter has an unknown name.
    """
    if unknown:
        refuse_unknown("configure", unknown, [*_KEYS, "policies"])
    keywords = {key: value for key, value in locals().items() if key in _KEYS and value is not None}
    checked = _read_keys("configure()", keywords, "")
    checked["policies"] = _read_policies("configure()", {} if policies is None else policies)
    read: dict[str, Any] = {}
    if isinstance(file, Mapping):
        read = _read_tables("configure()", file)
    elif file is not None:
        read = _read_file(file)
    return _apply(read, checked)


def _apply(file: dict[str, Any], keywords: dict[str, Any]) -> Settings:
    """Put in force what a file and keywords add to what was there before, and what the environment says now."""
    environment = _read_environment(os.environ)
    path = os.environ.get(_PREFIX + "CONFIG")
    named = _read_file(path, f"environment: {_PREFIX}CONFIG = ") if _in_force.state.file is None and path else {}
    while True:  # until no other thread has been quicker; the lock is not held while something new is made
        before = _in_force.state
        files = _merge(named if before.file is None else before.file, file)
        words = _merge(before.keywords, keywords)
        found = _settings(_merge(_merge(files, environment), words))
        if _replace(before, _State(files, words, found, _error_log(before, found)), _book(found)):
            return found


def _replace(before: _State, after: _State, book: PolicyBook | None) -> bool:
    """Put a state in force, unless the one that it was made from is not in force any more."""
    with _in_force.lock:
        if _in_force.state is not before:
            return False
        _in_force.state = after
        policies.book.current = book
    if before.error_log is not None and before.error_log is not after.error_log:
        before.error_log.close()
    while registry.error_buffer_size != (size := _in_force.state.settings.error_buffer_size):
        registry.resize(size)  # again, where another thread has put another size in force meanwhile
    return True


def _error_log(before: _State, found: Settings) -> ErrorLog | None:
    path = _log_path(found)
    if path == _log_path(before.settings):
        return before.error_log
    if path is None:
        return None
    with importing:
        from retrywrap.record.store import ErrorLog

    return ErrorLog(path)


def _log_path(found: Settings) -> str | None:
    return found.error_store_path if found.enable_error_logging else None


def _settings(merged: Mapping[str, Any]) -> Settings:
    """Return settings that share nothing that can be changed with what is kept."""
    ours = {key: value for key, value in merged.items() if key not in _COORDINATOR}
    ours["policies"] = _copied(merged["policies"])
    return Settings(**ours, coordinator={key: value for key, value in merged.items() if key in _COORDINATOR})


def _copied(named: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: dict(parameters) for name, parameters in named.items()}


def _merge(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    named = {**old.get("policies", {}), **new.get("policies", {})}
    return {**old, **new, "policies": named}


def _book(found: Settings) -> PolicyBook:
    defaults = {
        "max": found.error_retry_max if found.enable else 0,
        "interval": found.error_retry_interval,
    }
    presets = {"network": NETWORK.settings(), "files": FILES.settings()}
    return PolicyBook(defaults, {**presets, **_copied(found.policies)})


def _current() -> _State:
    """Return what is in force, reading the environment first where nothing was configured yet."""
    if policies.book.current is None:
        policies.book.get()
    return _in_force.state


def settings() -> Settings:
    """Return the settings in force, reading the environment first where nothing was configured yet."""
    return _current().settings


def reset() -> None:
    """Forget every configuration; the environment is read again when it is next needed."""
    while not _replace(_in_force.state, _State(), None):
        pass


def load() -> PolicyBook:
    """Read the environment, and the file that it names, and return the policies of that."""
    return _book(_apply({}, {}))


def log_event(event: RetryEvent) -> None:
    """Have an event logged, where events are wanted and its level is on."""
    if _current().settings.events and log.is_enabled(event.name):
        log.emit(event)


def find_hush(listeners: tuple[Any, ...], ours: bool) -> Hush:
    """Return who is deaf to what among listeners.

    Args:
        listeners: All that are subscribed.
        ours: Whether these are the log and the error log alone.
    """
    state = _current()
    depends = ((_in_force, "state", state),)
    if not ours or state.error_log is not None:
        return Hush(listeners, depends, frozenset())
    if not state.settings.events:
        return Hush(listeners, depends, EVERY_NAME)
    logs, deaf = log.find_deaf()
    return Hush(listeners, (*depends, *logs), deaf)


def store_error(event: RetryEvent) -> None:
    """Have a failed attempt written to the error log, where there is one."""
    error_log = _current().error_log
    if event.is_error and error_log is not None:
        error_log.write(int(event.time * 1000), int(event.code), event.message)
