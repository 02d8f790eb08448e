"""The taosX contract, row by row, through `retrywrap.plugin`: vectors, codes, contexts, functions, log, differences."""

from __future__ import annotations

import errno
import functools
import json
import os
import re
import threading
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import retrywrap
from retrywrap import FILES, NETWORK, ErrorCode, RetryExhausted, configure, plugin, registry, return_codes, with_retry
from retrywrap.errors import ConfigurationError
from retrywrap.plugin import (
    BackupCoordinator,
    BackupRetryContext,
    RetryState,
    backup_clear_error,
    backup_coordinator_destroy,
    backup_coordinator_init,
    backup_execute_with_retry,
    backup_get_error_stats,
    backup_get_last_error,
    backup_plugin_cleanup,
    backup_plugin_clear_error,
    backup_plugin_get_error_stats,
    backup_plugin_get_last_error,
    backup_plugin_init,
    backup_plugin_name,
    backup_plugin_version,
    backup_record_error,
    backup_retry_context_destroy,
    backup_retry_context_init,
    backup_should_retry,
    backup_wait_for_retry,
    backup_write_file_with_retry,
)
from retrywrap.testing import VirtualClock

VECTORS = json.loads((Path(__file__).parent / "conformance" / "taosx_vectors.json").read_text("utf-8"))["vectors"]


@pytest.fixture(autouse=True)
def _no_instance() -> Iterator[None]:
    """No test leaves a global instance behind."""
    yield
    backup_plugin_cleanup()


def returning(*codes: int) -> Callable[[Any], int]:
    """Return an operation that returns these codes, call by call, and 0 ever after."""
    answers = iter(codes)
    return lambda user_data: next(answers, 0)


def log_lines(folder: Path) -> list[str]:
    """Return what stands in the error logs of a folder, without the times."""
    lines = [line for path in sorted(folder.glob("*")) for line in path.read_text().splitlines()]
    assert all(re.fullmatch(r"\[\d{13}\] Error -\d+: .*", line) for line in lines)
    return [line.partition(" ")[2] for line in lines]


# --- the retry loop


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['max']}x{v['interval']}s {v['returns']}"[:60])
def test_conformance(vector: dict[str, Any], clock: VirtualClock) -> None:
    """The loop does what the plugin's does: result, calls, and the context afterwards, and the seconds slept."""
    calls: list[object] = []
    answer = returning(*vector["returns"])

    def operation(user_data: object) -> int:
        calls.append(user_data)
        return answer(user_data)

    context = backup_retry_context_init(vector["max"], vector["interval"])
    result = backup_execute_with_retry(context, operation, "data")
    assert {
        "result": result,
        "calls": len(calls),
        "current_retry": context.current_retry,
        "state": context.state.name,
        "last_error": int(context.last_error),
        "slept_seconds": clock.waited,
    } == {key: vector[key] for key in ("result", "calls", "current_retry", "state", "last_error", "slept_seconds")}
    assert set(calls) == {"data"}
    assert type(result) is int
    assert {record.operation for record in registry.errors} <= {f"{__name__}.test_conformance.<locals>.operation"}
    assert clock.waits == [w for w in [float(vector["interval"])] * context.current_retry if w]


def test_the_vectors_are_all_there() -> None:
    """Every vector of the contract is run, and they reach each end."""
    assert len(VECTORS) == 140
    assert {vector["state"] for vector in VECTORS} == {"SUCCESS", "FAILED"}


def test_a_context_begins_idle() -> None:
    """Its attributes, under the plugin's names, with the plugin's defaults."""
    for context in (backup_retry_context_init(), BackupRetryContext()):
        assert isinstance(context, BackupRetryContext)
        assert (context.max_retry, context.retry_interval) == (10, 5)
        assert (context.current_retry, context.last_retry_time) == (0, 0)
        assert (context.state, context.last_error, context.error_message) == (RetryState.IDLE, 0, "")
        assert context.registry is registry


def test_the_states_have_the_plugins_numbers() -> None:
    """IDLE 0, RETRYING 1, SUCCESS 2, FAILED 3."""
    assert [(state.name, int(state)) for state in RetryState] == [
        ("IDLE", 0),
        ("RETRYING", 1),
        ("SUCCESS", 2),
        ("FAILED", 3),
    ]


def test_during_a_run_the_context_tells_where_it_stands(clock: VirtualClock) -> None:
    """State RETRYING, retries counted, the last error with its message, the time of the last wait."""
    context = backup_retry_context_init(3, 5)
    seen: list[tuple[object, ...]] = []

    def operation(_: object) -> int:
        seen.append((context.state.name, context.current_retry, int(context.last_error), context.error_message))
        return -6 if len(seen) < 3 else 0

    assert backup_execute_with_retry(context, operation) == 0
    assert seen == [
        ("RETRYING", 0, 0, ""),
        ("RETRYING", 1, -6, "Network error"),
        ("RETRYING", 2, -6, "Network error"),
    ]
    assert context.last_retry_time == clock.epoch() + 5


def test_a_new_run_starts_from_zero(clock: VirtualClock) -> None:
    """The same context may be used again; the last error stays after a success that followed errors."""
    context = backup_retry_context_init(2, 5)
    assert backup_execute_with_retry(context, returning(-7, -7, -7)) == -7
    assert (context.current_retry, context.state) == (2, RetryState.FAILED)
    assert backup_execute_with_retry(context, returning()) == 0
    assert (context.current_retry, context.state, context.last_error) == (0, RetryState.SUCCESS, -7)
    assert backup_execute_with_retry(context, returning(-6)) == 0
    assert (context.current_retry, context.last_error) == (1, -6)


def test_an_exception_is_the_code_that_it_amounts_to(clock: VirtualClock) -> None:
    """Python's operations may raise: it counts as what `classify` says, and is not let out."""
    errors: list[Exception] = [ConnectionResetError("gone"), TimeoutError("slow"), PermissionError(errno.EACCES, "no")]

    def operation(_: object) -> int:
        raise errors.pop(0)

    context = backup_retry_context_init(5, 5)
    assert backup_execute_with_retry(context, operation) == -9
    assert (context.current_retry, context.state) == (2, RetryState.FAILED)
    assert clock.waits == [5.0, 5.0]


def test_an_interrupt_comes_out(clock: VirtualClock) -> None:
    """What is no Exception is nobody's error code."""

    def operation(_: object) -> int:
        raise KeyboardInterrupt

    context = backup_retry_context_init()
    with pytest.raises(KeyboardInterrupt):
        backup_execute_with_retry(context, operation)
    assert context.state is RetryState.FAILED


def test_what_is_no_number_is_a_success(clock: VirtualClock) -> None:
    """An operation that returns None has succeeded, as Python's functions do."""
    context = backup_retry_context_init()
    assert backup_execute_with_retry(context, lambda data: None) == 0
    assert context.state is RetryState.SUCCESS


def test_without_a_context_or_an_operation() -> None:
    """The plugin's answer to NULL."""
    assert backup_execute_with_retry(None, returning()) == -1
    assert backup_execute_with_retry(backup_retry_context_init(), None) == -1


async def _coroutine(_: object) -> int:
    return 0


def _generator(_: object) -> Iterator[int]:
    yield 0


class _AsyncObject:
    async def __call__(self, _: object) -> int:
        return 0


@pytest.mark.parametrize("operation", [3, _coroutine, functools.partial(_coroutine), _generator, _AsyncObject()])
def test_what_would_do_nothing_is_refused(operation: Any) -> None:
    """A coroutine or a generator that is only made, never run, would pass for a success."""
    with pytest.raises(TypeError, match="operation must be a plain function that takes user_data and returns a code"):
        backup_execute_with_retry(backup_retry_context_init(), operation)


def test_destroying_a_context_puts_it_back(clock: VirtualClock) -> None:
    """To its beginning; None is nothing to do."""
    context = backup_retry_context_init(1, 5)
    backup_execute_with_retry(context, returning(-6, -6))
    backup_retry_context_destroy(context)
    assert (context.state, context.last_error, context.error_message) == (RetryState.IDLE, 0, "")
    assert context.current_retry == 0
    backup_retry_context_destroy(None)


def test_a_context_of_ones_own(clock: VirtualClock) -> None:
    """The class takes what the function takes, and a registry."""
    mine = retrywrap.Registry()
    context = BackupRetryContext(1, 2.5, registry=mine)
    assert backup_execute_with_retry(context, returning(-6, -6)) == -6
    assert (mine.error_count, mine.retry_count, registry.error_count) == (2, 1, 0)
    assert clock.waits == [2.5]


@pytest.mark.parametrize("code", [*ErrorCode, -42, 7])
def test_should_retry(code: int) -> None:
    """Where the code is retryable, and retries are left."""
    retryable = code in (-5, -6, -7, -11)
    context = backup_retry_context_init(1, 0)
    assert backup_should_retry(context, code) is retryable
    backup_execute_with_retry(context, returning(-6, -6))
    assert backup_should_retry(context, code) is False
    assert backup_should_retry(None, code) is False


def test_waiting(clock: VirtualClock) -> None:
    """Stamps the time and waits exactly the interval; without a context, or an interval, it does not wait."""
    context = backup_retry_context_init(3, 7)
    clock.advance(2)
    backup_wait_for_retry(context)
    assert context.last_retry_time == clock.epoch() + 2
    assert clock.waits == [7.0]
    backup_wait_for_retry(None)
    backup_wait_for_retry(backup_retry_context_init(3, 0))
    assert clock.waits == [7.0]
    backup_wait_for_retry(backup_retry_context_init(3, 0.25))
    assert clock.waits == [7.0, 0.25]


# --- codes


def test_the_constants_are_the_codes() -> None:
    """Each code of the contract is there under the plugin's name, and no other."""
    constants = {name: getattr(plugin, name) for name in plugin.__all__ if re.match("BACKUP_[A-Z]", name)}
    assert constants == {code.plugin_name: code for code in ErrorCode}
    assert all(type(code) is ErrorCode for code in constants.values())


# --- the coordinator


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[BackupCoordinator]:
    """A coordinator with an error log, two retries and three seconds between them."""
    made = backup_coordinator_init(
        {"error_retry_max": 2, "error_retry_interval": 3, "error_store_path": str(tmp_path / "log")}
    )
    yield made
    backup_coordinator_destroy(made)


PARAMETERS: dict[str, Any] = {
    "enable": True,
    "error_retry_max": 4,
    "error_retry_interval": 2,
    "error_store_path": "/nowhere/at/all",
    "enable_error_logging": False,
    "error_buffer_size": 3,
}
FURTHER: dict[str, Any] = {
    "max_blocks_per_batch": 100,
    "batch_timeout_ms": 5000,
    "enable_compression": True,
    "enable_encryption": False,
    "encryption_key": "s3same",
    "backup_path": "backup",
    "backup_max_size": 1024,
    "compression_level": 6,
}


@pytest.mark.parametrize("wrap", [dict, lambda keys: {"plugins": {"incremental_bitmap": keys}}], ids=["flat", "taosX"])
def test_every_parameter_reaches_the_coordinator(wrap: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The plugin's own are in force; the coordinator's further ones are checked and passed through."""
    coordinator = backup_coordinator_init(wrap({**PARAMETERS, **FURTHER}))
    assert {key: getattr(coordinator.settings, key) for key in PARAMETERS} == PARAMETERS
    assert coordinator.settings.coordinator == FURTHER
    assert (coordinator.retry_context.max_retry, coordinator.retry_context.retry_interval) == (4, 2)
    assert coordinator.registry.error_buffer_size == 3


@pytest.mark.parametrize(
    "config", [{"error.retry.max": 4, "error.retry.interval": 2}, {"error": {"retry": {"max": 4, "interval": 2}}}]
)
def test_dotted_names(config: dict[str, Any]) -> None:
    """As keys, and as what TOML makes of them."""
    context = backup_coordinator_init(config).retry_context
    assert (context.max_retry, context.retry_interval) == (4, 2)


def test_the_defaults_of_a_coordinator() -> None:
    """None, and an empty mapping, are the plugin's defaults; what is configured elsewhere is not the plugin's."""
    configure(error_retry_max=1, error_buffer_size=7)
    for config in (None, {}):
        coordinator = backup_coordinator_init(config)
        assert (coordinator.retry_context.max_retry, coordinator.retry_context.retry_interval) == (10, 5)
        assert coordinator.registry.error_buffer_size == 1000


def test_a_coordinator_that_is_not_enabled_does_not_retry(clock: VirtualClock) -> None:
    """Each operation runs once."""
    coordinator = backup_coordinator_init({"enable": False})
    assert backup_execute_with_retry(coordinator.retry_context, returning(-6)) == -6
    assert clock.waits == []


@pytest.mark.parametrize("config", [{"error_retry_max": -1}, {"compression_level": "high"}, {"unknown": 1}])
def test_a_bad_configuration_makes_no_coordinator(config: dict[str, Any]) -> None:
    """It is refused whole, and the key is named."""
    with pytest.raises(ConfigurationError, match=next(iter(config))):
        backup_coordinator_init(config)


def test_recording_an_error(coordinator: BackupCoordinator, tmp_path: Path) -> None:
    """Counts, keeps the message, writes the error log in the contract's form; the log has its name from the time."""
    backup_record_error(coordinator, -6, "Network connection failed")
    backup_record_error(coordinator, -42)
    assert backup_get_last_error(coordinator) == "Unknown error"
    assert backup_get_error_stats(coordinator) == (2, 0)
    assert log_lines(tmp_path / "log") == ["Error -6: Network connection failed", "Error -42: Unknown error"]
    [file] = (tmp_path / "log").iterdir()
    assert re.fullmatch(r"backup_error_\d{13}\.log", file.name)
    assert registry.error_count == 0


def test_success_is_not_recorded(coordinator: BackupCoordinator, tmp_path: Path) -> None:
    """0 is no error, and None is no coordinator."""
    backup_record_error(coordinator, 0, "all is well")
    backup_record_error(None, -6, "nobody hears")
    assert backup_get_error_stats(coordinator) == (0, 0)
    assert not (tmp_path / "log").exists()


def test_the_last_error_step_by_step(coordinator: BackupCoordinator, clock: VirtualClock) -> None:
    """ "Success"; the message; without one, that of the context's last code; and "Success" again once cleared."""
    assert backup_get_last_error(coordinator) == "Success"
    backup_execute_with_retry(coordinator.retry_context, returning(-6, -6, -6))
    assert backup_get_last_error(coordinator) == "Network error"
    backup_record_error(coordinator, -8, "block 7 is torn")
    assert backup_get_last_error(coordinator) == "block 7 is torn"
    coordinator.registry.clear_error()
    assert backup_get_last_error(coordinator) == "Network error"
    backup_clear_error(coordinator)
    assert backup_get_last_error(coordinator) == "Success"


def test_clearing_leaves_the_counters(coordinator: BackupCoordinator, clock: VirtualClock) -> None:
    """Message and last code go, the state is IDLE; error and retry counts stay."""
    backup_execute_with_retry(coordinator.retry_context, returning(-6, -6, -6))
    assert coordinator.retry_context.state is RetryState.FAILED
    backup_clear_error(coordinator)
    assert coordinator.retry_context.state is RetryState.IDLE
    assert coordinator.retry_context.last_error == 0
    assert backup_get_error_stats(coordinator) == (3, 2)


def test_without_a_coordinator() -> None:
    """The plugin's answers to NULL."""
    assert backup_get_last_error(None) == "Invalid parameter"
    assert backup_get_error_stats(None) == (0, 0)
    backup_clear_error(None)
    backup_coordinator_destroy(None)
    assert backup_write_file_with_retry(None, "file", b"data", 4) == -1


def test_destroying_a_coordinator_closes_its_log(coordinator: BackupCoordinator) -> None:
    """Its file is not kept open; a coordinator without a log has nothing to close."""
    backup_record_error(coordinator, -6)
    assert coordinator.registry.store._file is not None
    backup_coordinator_destroy(coordinator)
    assert coordinator.registry.store._file is None
    backup_coordinator_destroy(backup_coordinator_init())


@pytest.mark.parametrize("config", [{}, {"enable_error_logging": False, "error_store_path": "somewhere"}])
def test_no_log_where_none_is_wanted(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a path, or with logging off."""
    monkeypatch.chdir(tmp_path)
    backup_record_error(backup_coordinator_init(config), -6)
    assert list(tmp_path.iterdir()) == []


# --- writing files


def test_writing_a_file(coordinator: BackupCoordinator, tmp_path: Path) -> None:
    """All of the data, or as much as `data_size` says, of anything that holds bytes."""
    path = tmp_path / "block"
    writes: list[tuple[Any, int | None, bytes]] = [
        (b"data", 4, b"data"),
        (b"data", None, b"data"),
        (b"data", 1, b"d"),
        (bytearray(b"xyz"), 3, b"xyz"),
        (memoryview(b"abcdef")[::2], None, b"ace"),
        (array("H", [0x4141, 0x4242]), 3, b"AAB"),
    ]
    for data, size, content in writes:
        assert backup_write_file_with_retry(coordinator, str(path), data, size) == 0
        assert path.read_bytes() == content
    assert backup_write_file_with_retry(coordinator, path, b"as a path") == 0
    assert backup_get_error_stats(coordinator) == (0, 0)


@pytest.mark.parametrize(
    ("path", "data", "size"),
    [
        (None, b"data", 4),
        ("", b"data", 4),
        ("a\0b", b"data", 4),
        ("\ud800", b"data", 4),
        ("file", None, 4),
        ("file", b"", 0),
        ("file", array("H"), None),
        ("file", b"data", 0),
        ("file", b"data", -1),
        ("file", b"data", 5),
    ],
)
def test_nothing_to_write_is_an_invalid_parameter(
    coordinator: BackupCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Any, data: Any, size: Any
) -> None:
    """As in the plugin; nothing is recorded, and nothing is made."""
    monkeypatch.chdir(tmp_path)
    assert backup_write_file_with_retry(coordinator, path, data, size) == -1
    assert backup_get_error_stats(coordinator) == (0, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def broken_disk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The errnos with which the next renames fail, one after the other."""
    import os

    failures: list[int] = []
    rename = os.replace

    def replace(source: str, target: str) -> None:
        if failures:
            number = failures.pop(0)
            raise OSError(number, os.strerror(number), source)
        rename(source, target)

    monkeypatch.setattr("retrywrap.run.atomic.os.replace", replace)
    return failures


def test_file_errors_are_retried(
    coordinator: BackupCoordinator, tmp_path: Path, clock: VirtualClock, broken_disk: list[int]
) -> None:
    """By the coordinator's own retries and interval; each failed attempt is recorded, and logged."""
    path = tmp_path / "block"
    broken_disk[:] = [errno.EIO, errno.EIO]
    assert backup_write_file_with_retry(coordinator, path, b"data") == 0
    assert path.read_bytes() == b"data"
    assert clock.waits == [3.0, 3.0]
    assert backup_get_error_stats(coordinator) == (2, 2)
    assert len(log_lines(tmp_path / "log")) == 2


def test_a_final_failure_is_recorded(
    coordinator: BackupCoordinator, tmp_path: Path, clock: VirtualClock, broken_disk: list[int]
) -> None:
    """FILE_IO comes back after the last retry; the old content is there, whole."""
    path = tmp_path / "block"
    path.write_bytes(b"old")
    broken_disk[:] = [errno.EIO] * 3
    assert backup_write_file_with_retry(coordinator, path, b"new") == -5
    assert path.read_bytes() == b"old"
    assert {entry.name for entry in tmp_path.iterdir()} == {"block", "log"}
    last = coordinator.registry.last_error
    assert (last.code, last.final, last.attempt) == (-5, True, 3)
    assert os.strerror(errno.EIO) in backup_get_last_error(coordinator)
    assert log_lines(tmp_path / "log")[-1].startswith("Error -5: ")


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, -10), (errno.EDQUOT, -10), (errno.EACCES, -9)])
def test_errno_decides(
    coordinator: BackupCoordinator,
    tmp_path: Path,
    clock: VirtualClock,
    broken_disk: list[int],
    number: int,
    code: int,
) -> None:
    """A full disk is DISK_FULL, a missing permission PERMISSION_DENIED; neither is retried."""
    broken_disk[:] = [number]
    assert backup_write_file_with_retry(coordinator, tmp_path / "block", b"data") == code
    assert clock.waits == []
    assert backup_get_error_stats(coordinator) == (1, 0)


def test_a_missing_folder_is_an_invalid_parameter(coordinator: BackupCoordinator, tmp_path: Path) -> None:
    """It is not there a second later either."""
    assert backup_write_file_with_retry(coordinator, tmp_path / "no" / "folder" / "block", b"data") == -1
    assert backup_get_error_stats(coordinator) == (1, 0)


# --- the global instance


def test_identity() -> None:
    """The plugin's name, and this package's version."""
    assert backup_plugin_name() == "incremental_bitmap"
    assert backup_plugin_version() == retrywrap.__version__


def test_before_init() -> None:
    """There is no instance: the plugin's answers."""
    assert backup_plugin_get_last_error() == "Plugin not initialized"
    assert backup_plugin_get_error_stats() == (0, 0)
    backup_plugin_clear_error()
    backup_plugin_cleanup()


def test_a_second_init_fails() -> None:
    """Until the instance is cleaned up; the first one stays as it was."""
    assert backup_plugin_init({"error_retry_max": 3}) == 0
    assert backup_plugin_init({"error_retry_max": 4}) == -2
    assert backup_plugin_init("not = = TOML") == -2
    assert plugin._Instance.coordinator is not None
    assert plugin._Instance.coordinator.settings.error_retry_max == 3
    backup_plugin_cleanup()
    assert backup_plugin_get_last_error() == "Plugin not initialized"
    assert backup_plugin_init() == 0


def test_the_instance_counts_as_a_coordinator_does(clock: VirtualClock) -> None:
    """The last error, the counts, and clearing, which leaves the counts."""
    assert backup_plugin_init("error_retry_max = 2\nerror_retry_interval = 1\n") == 0
    assert backup_plugin_get_last_error() == "Success"
    coordinator = plugin._Instance.coordinator
    assert coordinator is not None
    backup_execute_with_retry(coordinator.retry_context, returning(-11, -11))
    assert clock.waits == [1.0, 1.0]
    assert backup_plugin_get_last_error() == "Connection lost"
    assert backup_plugin_get_error_stats() == (2, 2)
    backup_plugin_clear_error()
    assert backup_plugin_get_last_error() == "Success"
    assert backup_plugin_get_error_stats() == (2, 2)


TOML = "[plugins.incremental_bitmap]\nerror_retry_max = 4\n"


@pytest.mark.parametrize(
    ("arguments", "most"),
    [
        ((), 10),
        ((None,), 10),
        ((None, 0), 10),
        ((TOML,), 4),
        ((TOML.encode(),), 4),
        ((TOML + "rubbish", len(TOML)), 4),
        ((TOML.encode() + b"\0\0", len(TOML)), 4),
        ((TOML, 0), 10),
        (({"plugins": {"incremental_bitmap": {"error_retry_max": 4}}},), 4),
    ],
)
def test_the_configuration_string_is_parsed(arguments: tuple[Any, ...], most: int) -> None:
    """TOML as text or bytes, as much of it as counts, or a mapping of the same form."""
    assert backup_plugin_init(*arguments) == 0
    assert plugin._Instance.coordinator is not None
    assert plugin._Instance.coordinator.retry_context.max_retry == most


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ("error_retry_max = -4", "config: error_retry_max = -4: expected a whole number from 0 to 4294967295; "),
        ("error_retry_max = ", "config: not valid TOML: "),
        (b"\xff", "config: not valid TOML: "),
        ({"unknown": 1}, "config: unknown key unknown = 1; known: "),
        ("encryption_key = 7", "config: encryption_key = '***': expected a text that is not empty; "),
    ],
)
def test_a_refused_configuration_says_why(config: Any, text: str) -> None:
    """No instance is made, and the last error names the key, until an init succeeds or all is cleaned up."""
    assert backup_plugin_init(config) == -1
    assert backup_plugin_get_last_error().startswith(f"Plugin not initialized: {text}")
    assert backup_plugin_get_error_stats() == (0, 0)
    assert backup_plugin_init() == 0
    assert backup_plugin_get_last_error() == "Success"
    backup_plugin_cleanup()
    assert backup_plugin_get_last_error() == "Plugin not initialized"
    assert backup_plugin_init(config) == -1
    backup_plugin_cleanup()
    assert backup_plugin_get_last_error() == "Plugin not initialized"


def test_of_two_threads_that_init_one_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other is told that there is an instance already."""
    results: list[int] = []
    make = plugin.backup_coordinator_init

    def overtaken(config: Any = None) -> BackupCoordinator:
        monkeypatch.setattr(plugin, "backup_coordinator_init", make)
        results.append(backup_plugin_init({"error_retry_max": 1}))
        return make(config)

    monkeypatch.setattr(plugin, "backup_coordinator_init", overtaken)
    results.append(backup_plugin_init({"error_retry_max": 2}))
    assert results == [0, -2]
    assert plugin._Instance.coordinator is not None
    assert plugin._Instance.coordinator.settings.error_retry_max == 1


def test_no_lock_is_taken_while_another_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a coordinator is made or destroyed, which takes locks, the instance's lock is free: a fork may take all."""
    free: list[bool] = []

    def look() -> None:
        free.append(plugin._Instance.lock.acquire(timeout=1))
        if free[-1]:
            plugin._Instance.lock.release()

    def watch(step: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any) -> Any:
            thread = threading.Thread(target=look)
            thread.start()
            thread.join(10)
            return step(*arguments)

        return watched

    monkeypatch.setattr(plugin, "backup_coordinator_init", watch(plugin.backup_coordinator_init))
    monkeypatch.setattr(plugin, "backup_coordinator_destroy", watch(plugin.backup_coordinator_destroy))
    assert backup_plugin_init() == 0
    backup_plugin_cleanup()
    assert free == [True, True]


# --- the error log through `configure`


def test_the_error_log_through_configure(tmp_path: Path, clock: VirtualClock) -> None:
    """The same form as a coordinator's, for everything that fails."""
    configure(error_store_path=tmp_path)
    backup_execute_with_retry(backup_retry_context_init(1, 5), returning(-6, -6))
    registry.record_error(-6, "Network connection failed")
    assert log_lines(tmp_path) == ["Error -6: Network error"] * 2 + ["Error -6: Network connection failed"]
    [file] = tmp_path.iterdir()
    assert re.fullmatch(r"backup_error_\d{13}\.log", file.name)


# --- best practice, and the differences


def test_the_presets_are_what_the_contract_asks_for(clock: VirtualClock) -> None:
    """Network work: 5-10 retries, 2-5 s; file work: 3-5 retries, 1-2 s."""
    for policy, retries, seconds in ((NETWORK, (5, 10), (2, 5)), (FILES, (3, 5), (1, 2))):
        clock.waits.clear()
        with pytest.raises(ConnectionResetError):
            with_retry(policy=policy)(_raise)(ConnectionResetError())
        assert retries[0] <= len(clock.waits) <= retries[1]
        assert all(seconds[0] <= wait <= seconds[1] for wait in clock.waits)


def _raise(error: Exception) -> None:
    raise error


def test_retries_are_counted_and_each_failure_is_recorded(coordinator: BackupCoordinator, clock: VirtualClock) -> None:
    """The plugin's count of retries is always 0, and its loop records nothing."""
    backup_execute_with_retry(coordinator.retry_context, returning(-6, -7))
    assert backup_get_error_stats(coordinator) == (2, 2)
    assert [record.code for record in coordinator.registry.errors] == [-6, -7]


def test_the_reason_of_the_end_can_be_known(clock: VirtualClock) -> None:
    """RETRY_EXHAUSTED never comes back from the plugin; here it is in what is raised, and the code is the error's."""
    with pytest.raises(RetryExhausted, match="max=2 is the limit of retries") as caught:
        with_retry(max=2, results=return_codes)(lambda: -6)()
    assert (caught.value.reason, caught.value.code, caught.value.result) == ("exhausted", -6, -6)
    assert registry.stats().exhausted == 1


def test_the_buffer_size_is_used() -> None:
    """A ring of that many records."""
    coordinator = backup_coordinator_init({"error_buffer_size": 2})
    for code in (-5, -6, -7):
        backup_record_error(coordinator, code)
    assert [record.code for record in coordinator.registry.errors] == [-6, -7]


def test_messages_cannot_forge_lines(coordinator: BackupCoordinator, tmp_path: Path) -> None:
    """One line per error whatever the message holds, and no secret in it."""
    backup_record_error(coordinator, -6, "first\n[1640995200000] Error -8: forged\x1b[2J password=hunter2")
    [line] = log_lines(tmp_path / "log")
    assert line.startswith(r"Error -6: first\n[1640995200000] Error -8: forged\x1b[2J password=")
    assert "hunter2" not in line


def test_the_last_error_is_a_text_of_its_own(coordinator: BackupCoordinator) -> None:
    """Not a pointer that another thread may free: what was read stays as it was."""
    backup_record_error(coordinator, -6, "first")
    before = backup_get_last_error(coordinator)
    backup_record_error(coordinator, -7, "second")
    backup_clear_error(coordinator)
    assert before == "first"


def test_threads_write_files_of_their_own(coordinator: BackupCoordinator, tmp_path: Path) -> None:
    """The plugin's file writer shares one context between threads; here each write is whole, and disturbs no other."""
    results: list[int] = []

    def write(n: int) -> None:
        results.append(backup_write_file_with_retry(coordinator, tmp_path / f"block {n}", bytes([n]) * 10_000))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [0] * 8
    assert all((tmp_path / f"block {n}").read_bytes() == bytes([n]) * 10_000 for n in range(8))


def test_a_wait_ends_early() -> None:
    """The plugin's sleep cannot be interrupted; this one ends at `shutdown`, from any thread."""
    context = backup_retry_context_init(3, 3600)
    waiting = threading.Event()
    results: list[int] = []

    def operation(_: object) -> int:
        waiting.set()
        return -6

    threads = [
        threading.Thread(target=lambda: results.append(backup_execute_with_retry(context, operation))),
        threading.Thread(target=lambda: backup_wait_for_retry(backup_retry_context_init(3, 3600))),
    ]
    for thread in threads:
        thread.start()
    waiting.wait(10)
    retrywrap.shutdown()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert results == [-6]
    assert registry.stats().cancelled == 1


def test_an_operation_that_returns_an_awaitable_is_refused(clock: VirtualClock) -> None:
    """Nobody here would await it: a code of 0 would say that something was done."""

    async def work(data: Any) -> int:
        raise AssertionError("not run")

    class Later:
        def __await__(self) -> Any:
            yield

    for operation in (lambda data: work(data), lambda data: Later()):
        with pytest.raises(TypeError, match=r"operation must be a plain function; .* returned <"):
            backup_execute_with_retry(backup_retry_context_init(3, 5), operation)
    assert clock.waits == []


def test_the_same_data_goes_to_each_attempt(clock: VirtualClock) -> None:
    """As in the contract, which knows nothing of iterators that are used up."""
    codes = iter([-6, -6, 0])
    assert backup_execute_with_retry(backup_retry_context_init(3, 5), lambda data: next(data), codes) == 0
    assert clock.waits == [5.0, 5.0]


def test_what_was_retried_inside_an_operation_is_not_retried_again(clock: VirtualClock) -> None:
    """Nor is what was given up before the run taken for that."""
    calls = []
    old = ConnectionResetError("old")

    @with_retry(max=2, interval=0)
    def inner(error: Exception) -> int:
        calls.append(error)
        raise error

    with pytest.raises(ConnectionResetError):
        inner(old)
    calls.clear()
    context = BackupRetryContext(3, 1)
    assert backup_execute_with_retry(context, lambda _: inner(ConnectionResetError("new"))) == -11
    assert len(calls) == 3

    def outer(_: object) -> int:
        calls.append(old)
        raise old

    calls.clear()
    backup_execute_with_retry(context, outer)
    assert len(calls) == 4


def test_a_context_without_waits_counts_as_well(clock: VirtualClock) -> None:
    """What a run without an interval came to is in its context, as with one."""
    codes = [-6, -11, -6, 0]
    context = BackupRetryContext(2, 0)
    assert backup_execute_with_retry(context, lambda _: -6) == -6
    assert (context.last_error, context.attempts) == (-6, 3)
    context = BackupRetryContext(5, 0)
    assert backup_execute_with_retry(context, lambda _: codes.pop(0)) == 0
    assert (codes, context.attempts) == ([], 4)
