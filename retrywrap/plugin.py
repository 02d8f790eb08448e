"""The taosX backup plugin's API under its own names, with its numbers; what the plugin does wrong is done right here.

Every ``backup_…`` function returns what the plugin's does. The rows of the contract, and each difference, are listed in
the documentation's page on the taosX contract.
"""

from __future__ import annotations

import inspect as _inspect
import os
from collections.abc import Callable, Mapping
from typing import Any

from retrywrap import config as _config
from retrywrap import wiring as _wiring  # noqa: F401 - for its effect: it binds failures to their listeners
from retrywrap._version import __version__
from retrywrap.classifiers import classify as _classify
from retrywrap.classifiers import return_codes as _return_codes
from retrywrap.codes import ErrorCode
from retrywrap.decide.checks import check_seconds as _check_seconds
from retrywrap.decide.checks import shown as _shown
from retrywrap.decide.context import RetryContext, RetryState
from retrywrap.decide.events import RetryEvent
from retrywrap.decide.policy import RetryPolicy
from retrywrap.errors import ConfigurationError
from retrywrap.locks import importing as _importing
from retrywrap.locks import new_lock as _new_lock
from retrywrap.record.registry import Registry
from retrywrap.record.registry import registry as _registry
from retrywrap.run import clock as _clocks
from retrywrap.run.ambient import ambient as _ambient
from retrywrap.run.drive import Operation, retry
from retrywrap.run.files import write_file as _write_file
from retrywrap.run.kinds import core as _core
from retrywrap.run.kinds import operation_name as _operation_name
from retrywrap.run.spec import OperationSpec

__all__ = [
    "BACKUP_ERROR_CONNECTION_LOST",
    "BACKUP_ERROR_DATA_CORRUPTION",
    "BACKUP_ERROR_DISK_FULL",
    "BACKUP_ERROR_FILE_IO",
    "BACKUP_ERROR_INIT_FAILED",
    "BACKUP_ERROR_INVALID_PARAM",
    "BACKUP_ERROR_MEMORY_ALLOC",
    "BACKUP_ERROR_NETWORK",
    "BACKUP_ERROR_NOT_INITIALIZED",
    "BACKUP_ERROR_PERMISSION_DENIED",
    "BACKUP_ERROR_RETRY_EXHAUSTED",
    "BACKUP_ERROR_TIMEOUT",
    "BACKUP_ERROR_UNKNOWN",
    "BACKUP_SUCCESS",
    "BackupCoordinator",
    "BackupRetryContext",
    "RetryState",
    "backup_clear_error",
    "backup_coordinator_destroy",
    "backup_coordinator_init",
    "backup_execute_with_retry",
    "backup_get_error_stats",
    "backup_get_last_error",
    "backup_plugin_cleanup",
    "backup_plugin_clear_error",
    "backup_plugin_get_error_stats",
    "backup_plugin_get_last_error",
    "backup_plugin_init",
    "backup_plugin_name",
    "backup_plugin_version",
    "backup_record_error",
    "backup_retry_context_destroy",
    "backup_retry_context_init",
    "backup_should_retry",
    "backup_wait_for_retry",
    "backup_write_file_with_retry",
]

BACKUP_SUCCESS = ErrorCode.SUCCESS
BACKUP_ERROR_INVALID_PARAM = ErrorCode.INVALID_PARAM
BACKUP_ERROR_INIT_FAILED = ErrorCode.INIT_FAILED
BACKUP_ERROR_NOT_INITIALIZED = ErrorCode.NOT_INITIALIZED
BACKUP_ERROR_MEMORY_ALLOC = ErrorCode.MEMORY_ALLOC
BACKUP_ERROR_FILE_IO = ErrorCode.FILE_IO
BACKUP_ERROR_NETWORK = ErrorCode.NETWORK
BACKUP_ERROR_TIMEOUT = ErrorCode.TIMEOUT
BACKUP_ERROR_DATA_CORRUPTION = ErrorCode.DATA_CORRUPTION
BACKUP_ERROR_PERMISSION_DENIED = ErrorCode.PERMISSION_DENIED
BACKUP_ERROR_DISK_FULL = ErrorCode.DISK_FULL
BACKUP_ERROR_CONNECTION_LOST = ErrorCode.CONNECTION_LOST
BACKUP_ERROR_RETRY_EXHAUSTED = ErrorCode.RETRY_EXHAUSTED
BACKUP_ERROR_UNKNOWN = ErrorCode.UNKNOWN

_NAME = "incremental_bitmap"


class BackupRetryContext(RetryContext):
    """The plugin's retry context: a `RetryContext` that reads returned ints as error codes.

    Args:
        max_retry: Retries after the first call.
        retry_interval: Seconds between attempts.
        registry: Where failures are recorded.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is negative or not finite.
    """

    __slots__ = ("registry",)

    def __init__(self, max_retry: int = 10, retry_interval: float = 5, *, registry: Registry = _registry) -> None:
        _check_int("max_retry", max_retry)
        interval = _check_seconds(retry_interval, "retry_interval")
        _check("registry", registry, Registry)
        super().__init__(RetryPolicy(max=max_retry, interval=interval, results=_return_codes), operation="backup")
        self.registry = registry


class _CoordinatorRegistry(Registry):
    """A registry that also writes the coordinator's own error log."""

    store: Any = None

    def handle(self, event: RetryEvent) -> None:
        """Take note of one event, and write a line for a failed attempt."""
        super().handle(event)
        if event.is_error and self.store is not None:
            self.store.write(int(event.time * 1000), int(event.code), event.message)


class BackupCoordinator:
    """Configuration, retry context and statistics together; made by `backup_coordinator_init`.

    Args:
        settings: The configuration, checked.

    Raises:
        TypeError: `settings` is something else.

    Attributes:
        settings: The configuration, checked; the coordinator's further settings are in ``settings.coordinator``.
        registry: Its own error counts and records.
        retry_context: Its own retry context.
    """

    def __init__(self, settings: _config.Settings) -> None:
        _check("settings", settings, _config.Settings)
        self.settings = settings
        self.registry = _CoordinatorRegistry(settings.error_buffer_size)
        self.retry_context = BackupRetryContext(
            settings.error_retry_max if settings.enable else 0, settings.error_retry_interval, registry=self.registry
        )
        if settings.error_store_path is not None and settings.enable_error_logging:
            with _importing:
                from retrywrap.record.store import ErrorLog

            self.registry.store = ErrorLog(settings.error_store_path)

    def close(self) -> None:
        """Close the error log."""
        if self.registry.store is not None:
            self.registry.store.close()


def _check(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}; got {_shown(value)}")


def _check_int(name: str, value: object) -> None:
    expected = f"{name} must be a whole number, 0 or more; got {_shown(value)}"
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(expected)
    if value < 0:
        raise ValueError(expected)


def _check_code(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"error_code must be an ErrorCode or its number; got {_shown(value)}")


def _check_operation(value: Any) -> None:
    """Refuse what cannot be called, and what does nothing but make something to be awaited or iterated when called."""
    lazy = _inspect.iscoroutinefunction, _inspect.isgeneratorfunction, _inspect.isasyncgenfunction
    if not callable(value) or any(is_lazy(f) for is_lazy in lazy for f in (value, _core(value))):
        raise TypeError(
            f"operation must be a plain function that takes user_data and returns a code; got {_shown(value)}"
        )


def backup_retry_context_init(max_retry: int = 10, retry_interval: float = 5) -> BackupRetryContext:
    """Return a new retry context.

    Args:
        max_retry: Retries after the first call.
        retry_interval: Seconds between attempts.

    Raises:
        TypeError: An argument is no number.
        ValueError: An argument is negative or not finite.
    """
    return BackupRetryContext(max_retry, retry_interval)


def backup_retry_context_destroy(context: BackupRetryContext | None) -> None:
    """Put a context back to its beginning; Python frees it when nobody holds it.

    Args:
        context: The context; None is nothing to do.

    Raises:
        TypeError: It is no context.
    """
    if context is not None:
        _check("context", context, BackupRetryContext)
        context.clear()


def backup_execute_with_retry(
    context: BackupRetryContext | None, operation: Callable[[Any], Any] | None, user_data: Any = None
) -> int:
    """Run an operation that returns an error code until it returns 0 or the context gives up.

    Args:
        context: The retry context; a new run starts from zero.
        operation: Called with `user_data`. An exception counts as the failure that `retrywrap.classify` says it is.
        user_data: What to call it with.

    Returns:
        0, or the code of the last failure; INVALID_PARAM where there is no context or no operation.

    Raises:
        TypeError: `context` is no context, or `operation` is no plain function.
    """
    if context is None or operation is None:
        return int(ErrorCode.INVALID_PARAM)
    _check("context", context, BackupRetryContext)
    _check_operation(operation)
    context.operation = _operation_name(operation)
    spec = OperationSpec({}, context.policy, context.operation, context.registry)
    run = Operation(spec, context=context)
    returned: list[Any] = []

    def attempt() -> Any:
        """Call it with the same data each time, as the contract does, even where the last attempt has used it up."""
        result = operation(user_data)
        if hasattr(type(result), "__await__"):
            returned.append(result)
            raise TypeError(f"{context.operation} returned an awaitable")
        return result

    try:
        retry(run, attempt, (), {})
    except Exception:  # the code tells it; the registry keeps its text
        if not returned:
            return int(context.last_error)
    else:
        return int(ErrorCode.SUCCESS)
    if _inspect.iscoroutine(returned[0]):
        returned[0].close()
    raise TypeError(f"operation must be a plain function; {context.operation} returned {_shown(returned[0])}")


def backup_should_retry(context: BackupRetryContext | None, error_code: int) -> bool:
    """Return whether a retry would follow on this code: it is retryable, and retries are left.

    Args:
        context: The retry context; None has no retries left.
        error_code: The code.

    Raises:
        TypeError: `context` is no context, or `error_code` no int.
    """
    _check_code(error_code)
    if context is None:
        return False
    _check("context", context, BackupRetryContext)
    return context.should_retry(error_code)


def backup_wait_for_retry(context: BackupRetryContext | None) -> None:
    """Stamp ``last_retry_time`` and wait the context's interval; the wait ends early on `retrywrap.shutdown`.

    Args:
        context: The retry context; None does not wait.

    Raises:
        TypeError: It is no context.
    """
    if context is None:
        return
    _check("context", context, BackupRetryContext)
    clock = _clocks.current()
    context.last_retry_time = clock.epoch() + clock.now()
    if context.retry_interval > 0:
        clock.sleep(context.retry_interval, _ambient.get())


def backup_coordinator_init(config: Mapping[str, Any] | None = None) -> BackupCoordinator:
    """Return a coordinator.

    Args:
        config: The settings, as a mapping of the plugin's names, or of a whole taosX document; None: the defaults.

    Raises:
        ConfigurationError: A setting is not what was expected; nothing was made.
        TypeError: `config` is no mapping.
    """
    if config is None:
        config = {}
    elif not isinstance(config, Mapping):
        raise TypeError(f"config must be a mapping of settings, or None for the defaults; got {_shown(config)}")
    return BackupCoordinator(_config.read(config))


def backup_coordinator_destroy(coordinator: BackupCoordinator | None) -> None:
    """Close a coordinator's error log.

    Args:
        coordinator: The coordinator; None is nothing to do.

    Raises:
        TypeError: It is no coordinator.
    """
    if coordinator is not None:
        _check("coordinator", coordinator, BackupCoordinator)
        coordinator.close()


def backup_record_error(coordinator: BackupCoordinator | None, error_code: int, message: str | None = None) -> None:
    """Count an error, keep its message as the last error, and write it to the error log.

    Args:
        coordinator: The coordinator; None is nothing to do.
        error_code: The code; 0 is no error and is not recorded.
        message: The text; the code's own where it is None.

    Raises:
        TypeError: An argument has the wrong type.
    """
    _check_code(error_code)
    if coordinator is None or error_code == 0:
        return
    _check("coordinator", coordinator, BackupCoordinator)
    coordinator.registry.record_error(error_code, message, "backup_record_error")


def backup_get_last_error(coordinator: BackupCoordinator | None) -> str:
    """Return the last error's message; "Success" while there is none.

    Args:
        coordinator: The coordinator; for None the message is that of INVALID_PARAM.

    Raises:
        TypeError: It is no coordinator.
    """
    if coordinator is None:
        return ErrorCode.INVALID_PARAM.message
    _check("coordinator", coordinator, BackupCoordinator)
    last = coordinator.registry.last_error
    return str(last) if last else coordinator.retry_context.last_error.message


def backup_get_error_stats(coordinator: BackupCoordinator | None) -> tuple[int, int]:
    """Return the counts of errors and of retries.

    Args:
        coordinator: The coordinator; None has none.

    Raises:
        TypeError: It is no coordinator.
    """
    if coordinator is None:
        return (0, 0)
    _check("coordinator", coordinator, BackupCoordinator)
    stats = coordinator.registry.stats()
    return (stats.errors, stats.retries)


def backup_clear_error(coordinator: BackupCoordinator | None) -> None:
    """Forget the message and the last code, and put the state to IDLE; the counters stay.

    Args:
        coordinator: The coordinator; None is nothing to do.

    Raises:
        TypeError: It is no coordinator.
    """
    if coordinator is not None:
        _check("coordinator", coordinator, BackupCoordinator)
        coordinator.registry.clear_error()
        coordinator.retry_context.clear()


def backup_write_file_with_retry(
    coordinator: BackupCoordinator | None,
    file_path: str | os.PathLike[str] | None,
    data: bytes | bytearray | memoryview | None,
    data_size: int | None = None,
) -> int:
    """Write a file with the coordinator's retries, atomically.

    Args:
        coordinator: The coordinator.
        file_path: The file.
        data: Its content.
        data_size: How many bytes of `data` to write; None: all.

    Returns:
        0, or the code of the last failure; INVALID_PARAM where an argument is missing, where there is nothing to write,
        where `file_path` can name no file, or where `data_size` is more than there is.

    Raises:
        TypeError: An argument has the wrong type.
    """
    if coordinator is None or file_path is None or data is None:
        return int(ErrorCode.INVALID_PARAM)
    _check("coordinator", coordinator, BackupCoordinator)
    content = _content(data)
    if isinstance(data_size, bool) or not isinstance(data_size, int | None):
        raise TypeError(f"data_size must be a number of bytes, or None for all; got {_shown(data_size)}")
    size = len(content) if data_size is None else data_size
    if not _can_be_written(file_path) or not 0 < size <= len(content):
        return int(ErrorCode.INVALID_PARAM)
    policy = coordinator.retry_context.policy.replace(results=None)
    try:
        _write_file(file_path, content[:size], policy=policy, registry=coordinator.registry, name="backup_write_file")
    except OSError as error:
        return int(_classify(error).code)
    return int(ErrorCode.SUCCESS)


def _content(data: object) -> memoryview:
    try:
        view = memoryview(data)  # type: ignore[arg-type]  # whether it fits is the question
    except TypeError:
        raise TypeError(f"data must be bytes, or another object with bytes in it; got {_shown(data)}") from None
    return view.cast("B") if view.c_contiguous and view.nbytes else memoryview(view.tobytes())


def _can_be_written(file_path: object) -> bool:
    """Whether a path may be a file's; C's texts can neither be empty here, nor hold a null byte."""
    if not isinstance(file_path, str | os.PathLike):
        raise TypeError(f"file_path must be the path of a file (str or os.PathLike); got {_shown(file_path)}")
    try:
        name = os.fsencode(file_path)
    except UnicodeEncodeError:
        return False
    return bool(name) and b"\0" not in name


class _Instance:
    """The plugin's global instance."""

    lock = _new_lock()
    coordinator: BackupCoordinator | None = None
    refused = ""


def backup_plugin_name() -> str:
    """Return the plugin's name."""
    return _NAME


def backup_plugin_version() -> str:
    """Return retrywrap's version."""
    return __version__


def backup_plugin_init(config: str | bytes | Mapping[str, Any] | None = None, config_len: int | None = None) -> int:
    """Make the global instance.

    Args:
        config: taosX TOML text, or a mapping of the same form; None: the defaults.
        config_len: How much of the text counts; None: all.

    Returns:
        0; INIT_FAILED where there is an instance already; INVALID_PARAM where the configuration is refused, and then
        `backup_plugin_get_last_error` says why.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: `config_len` is negative.
    """
    if not isinstance(config, str | bytes | Mapping | None):
        raise TypeError(f"config must be TOML text or a mapping; got {_shown(config)}")
    if config_len is not None:
        _check_int("config_len", config_len)
    if _Instance.coordinator is not None:
        return int(ErrorCode.INIT_FAILED)
    try:
        document = config if isinstance(config, Mapping | None) else _config.parse(config[:config_len], "config")
        made = backup_coordinator_init(document)
    except ConfigurationError as error:
        _Instance.refused = f": {error}"
        return int(ErrorCode.INVALID_PARAM)
    return int(ErrorCode.SUCCESS if _install(made) else ErrorCode.INIT_FAILED)


def _install(made: BackupCoordinator) -> bool:
    """Make a coordinator the global instance; False where another thread was quicker."""
    with _Instance.lock:
        if _Instance.coordinator is None:
            _Instance.coordinator, _Instance.refused = made, ""
        return _Instance.coordinator is made


def backup_plugin_cleanup() -> None:
    """End the global instance; after it, `backup_plugin_init` works again."""
    with _Instance.lock:
        ended, _Instance.coordinator = _Instance.coordinator, None
        _Instance.refused = ""
    backup_coordinator_destroy(ended)


def backup_plugin_get_last_error() -> str:
    """Return the last error's message; "Success" while there is none, "Plugin not initialized" before init."""
    coordinator = _Instance.coordinator
    if coordinator is None:
        return f"Plugin not initialized{_Instance.refused}"
    return backup_get_last_error(coordinator)


def backup_plugin_get_error_stats() -> tuple[int, int]:
    """Return the counts of errors and of retries; (0, 0) before init."""
    return backup_get_error_stats(_Instance.coordinator)


def backup_plugin_clear_error() -> None:
    """Forget the last error of the global instance; the counters stay."""
    backup_clear_error(_Instance.coordinator)
