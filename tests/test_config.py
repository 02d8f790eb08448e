"""Configuration: files, environment, keywords and named policies; what wins, what is refused, and that it is whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from test_registry import event

from retrywrap import (
    FILES,
    NETWORK,
    RetryPolicy,
    config,
    configure,
    decorrelated,
    exponential,
    fibonacci,
    fixed,
    linear,
    registry,
    with_retry,
)
from retrywrap.config import Settings, settings, store_error
from retrywrap.decide import policy as policies
from retrywrap.decide.policy import resolve
from retrywrap.errors import ConfigurationError
from retrywrap.testing import VirtualClock, reset

DOCUMENT = """
[plugins.incremental_bitmap]
enable = true
error_retry_max = 6
error_retry_interval = 2
error_store_path = "{path}"
enable_error_logging = true
error_buffer_size = 500
"""


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine's own is in the way."""
    for name in [name for name in os.environ if name.startswith("RETRYWRAP_")]:
        monkeypatch.delenv(name)


def waits(**arguments: Any) -> list[float]:
    """Return how long an operation that never succeeds waits between its attempts."""

    def operation() -> None:
        raise ConnectionResetError("peer went away")

    with VirtualClock() as clock, pytest.raises(ConnectionResetError):
        with_retry(**arguments)(operation)()
    return clock.waits


def written(folder: Path) -> list[str]:
    """Return the lines of the error logs in a folder."""
    return [line for path in sorted(folder.glob("backup_error_*.log")) for line in path.read_text().splitlines()]


def in_force() -> tuple[Any, ...]:
    """Return everything that a configuration can change."""
    return settings(), policies.book.get(), registry.error_buffer_size, config._in_force.state


def refused(*arguments: Any, **keywords: Any) -> str:
    """Return the message with which a configuration is refused; nothing of it may have been applied."""
    before = in_force()
    with pytest.raises(ConfigurationError) as caught:
        configure(*arguments, **keywords)
    assert in_force() == before
    return str(caught.value)


# --- what is in force


def test_without_a_configuration_the_plugins_defaults_hold() -> None:
    """Ten retries, five seconds apart, a thousand records, events, no error log."""
    assert settings() == Settings(
        enable=True,
        error_retry_max=10,
        error_retry_interval=5,
        error_store_path=None,
        enable_error_logging=True,
        error_buffer_size=1000,
        events=True,
        policies={},
        coordinator={},
    )
    assert waits() == [5.0] * 10


def test_configure_returns_what_is_in_force() -> None:
    """And adds to what was there: what a call does not mention stays."""
    assert configure(error_retry_max=3) is settings()
    assert configure(error_retry_interval=1).error_retry_max == 3
    assert waits() == [1.0] * 3


def test_the_ends_of_the_ranges() -> None:
    """No retries, no wait, no records, and as many as 32 bits can say."""
    assert configure(error_retry_max=0, error_retry_interval=0, error_buffer_size=0).error_retry_max == 0
    assert waits() == []
    assert registry.error_buffer_size == 0
    most = min(2**32 - 1, sys.maxsize)
    assert configure(error_retry_max=most, error_buffer_size=most).error_retry_max == registry.error_buffer_size == most


def test_a_configuration_is_followed_by_what_was_decorated_before() -> None:
    """A function that is decorated when a module is imported has the defaults of when it is called."""
    errors: list[Exception] = [ConnectionResetError("x")] * 9

    @with_retry
    def operation() -> None:
        raise errors.pop()

    configure(error_retry_max=1, error_retry_interval=7)
    with VirtualClock() as clock, pytest.raises(ConnectionResetError):
        operation()
    assert clock.waits == [7.0]


def test_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decorator, named policy, keywords, environment, file, defaults: each gives way to those before it."""
    file = tmp_path / "file.toml"
    file.write_text("error_retry_max = 2\nerror_retry_interval = 2")
    assert len(waits()) == 10
    configure(file)
    assert waits() == [2.0] * 2
    monkeypatch.setenv("RETRYWRAP_ERROR_RETRY_MAX", "3")
    configure()
    assert waits() == [2.0] * 3
    configure(error_retry_max=4)
    assert waits() == [2.0] * 4
    configure(policies={"upload": {"max": 5}})
    assert waits(policy="upload") == [2.0] * 5
    assert waits(policy="upload", max=6) == [2.0] * 6
    assert waits() == [2.0] * 4
    configure(file)
    assert len(waits()) == 4
    config.reset()
    assert waits() == [5.0] * 3


def test_disabled_operations_run_once() -> None:
    """Unless their code says how often, or names a policy that does."""
    configure(enable=False, policies={"upload": {"max": 2}})
    assert waits() == []
    assert waits(max=1) == [5.0]
    assert waits(policy="upload") == [5.0, 5.0]
    assert waits(policy="files") == [1.0] * 4
    configure(enable=True)
    assert len(waits()) == 10


def test_the_buffer_size_is_the_global_registrys() -> None:
    """It holds at once, and what is in the registry stays as far as it fits."""
    for code in (-5, -6, -7):
        registry.record_error(code)
    configure(error_buffer_size=2)
    assert registry.error_buffer_size == 2
    assert [record.code for record in registry.errors] == [-6, -7]


def test_events_can_be_switched_off_and_on() -> None:
    """Everywhere, at once."""
    with capture_logs() as events:
        configure(events=False)
        waits(max=0)
        assert events == []
        configure(events=True)
        waits(max=0)
    assert [event["event"] for event in events] == ["retry.exhausted"]


# --- files

EVERYTHING: dict[str, Any] = {
    "enable": True,
    "error_retry_max": 6,
    "error_retry_interval": 2,
    "error_store_path": "somewhere",
    "enable_error_logging": False,
    "error_buffer_size": 500,
    "events": False,
}
FURTHER: dict[str, Any] = {
    "max_blocks_per_batch": 100,
    "batch_timeout_ms": 5000,
    "enable_compression": True,
    "enable_encryption": True,
    "encryption_key": "s3same",
    "backup_path": "backup",
    "backup_max_size": 2**30,
    "compression_level": 6,
}


def test_a_file_in_taosx_form(tmp_path: Path) -> None:
    """Every key of the contract's example is read, and put in force."""
    file = tmp_path / "taosx.toml"
    file.write_text(DOCUMENT.format(path=tmp_path.as_posix()))
    assert configure(file) == Settings(
        error_retry_max=6, error_retry_interval=2, error_store_path=tmp_path.as_posix(), error_buffer_size=500
    )
    assert waits() == [2.0] * 6
    assert len(written(tmp_path)) == 7
    assert registry.error_buffer_size == 500


@pytest.mark.parametrize("wrap", [dict, lambda keys: {"plugins": {"incremental_bitmap": keys}}], ids=["flat", "taosX"])
def test_a_mapping_of_the_same_form(wrap: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """With the plugin's table or without it around; the coordinator's keys are passed through."""
    assert configure(wrap({**EVERYTHING, **FURTHER})) == Settings(**EVERYTHING, coordinator=FURTHER)


@pytest.mark.parametrize("spelling", ["error.retry.{} = {}", '"error.retry.{}" = {}', "error_retry_{} = {}"])
@pytest.mark.parametrize("header", ["", "[plugins.incremental_bitmap]\n"])
def test_dotted_names(tmp_path: Path, header: str, spelling: str) -> None:
    """As TOML's tables in tables, as quoted keys, and with underscores: the same keys."""
    file = tmp_path / "file.toml"
    file.write_text(header + spelling.format("max", 3) + "\n" + spelling.format("interval", 0.5))
    configure(str(file))
    assert waits() == [0.5] * 3


def test_the_plugins_table_is_nearer_than_the_top() -> None:
    """Where both say something, the table counts."""
    configure({"error_retry_max": 1, "plugins": {"incremental_bitmap": {"error_retry_max": 2}}})
    assert settings().error_retry_max == 2


def test_other_plugins_are_none_of_our_business() -> None:
    """A taosX file may configure other plugins in tables of their own."""
    configure({"plugins": {"another": {"error_retry_max": "whatever"}}})
    assert settings() == Settings()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"enable = ", "not valid TOML: "),
        (b"enable = true\nenable = true", "not valid TOML: "),
        (b"\xff\xfe", "not valid TOML: 'utf-8' codec can't decode"),
        (b"a = " + b"1" * 5000, "not valid TOML: "),
        (b"a = " + b"[" * 100_000, "not valid TOML: "),
    ],
    ids=["syntax", "twice", "encoding", "endless number", "endless nesting"],
)
def test_what_is_not_toml_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    """With the file's name and what is wrong."""
    file = tmp_path / "file.toml"
    file.write_bytes(content)
    message = refused(file)
    assert message.startswith(f"{file}: {problem}")
    assert message.endswith("; nothing of it was applied")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """With its name and the reason; a name that cannot be one as well."""
    assert (
        refused(tmp_path / "missing.toml") == f"{tmp_path / 'missing.toml'}: cannot be read: No such file or directory"
    )
    assert refused(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"
    assert refused("") == "'': cannot be read: No such file or directory"
    assert refused("a\0b").startswith(r"'a\x00b': cannot be read: ")


@pytest.mark.parametrize("file", [3, b"file.toml", ["file.toml"], True])
def test_what_is_no_file_is_a_mistake(file: Any) -> None:
    """A TypeError, which names the parameter, the value, and what it can be."""
    with pytest.raises(TypeError) as caught:
        configure(file)
    assert str(caught.value) == f"file must be the path of a TOML file, or a mapping of the same form; got {file!r}"


# --- refusals

WHOLE = "a whole number from 0 to 4294967295"
BOOL = "true or false"
TEXT = "a text that is not empty"
SECONDS = "seconds, 0 or more"
WRONG: list[tuple[str, Any, str]] = [
    *[(key, value, BOOL) for key in ("enable", "enable_error_logging", "events") for value in ("yes", 1, 0.0, [])],
    *[
        (key, value, WHOLE)
        for key in ("error_retry_max", "error_buffer_size")
        for value in (-1, 2**32, 1.5, True, "3", float("nan"))
    ],
    *[("error_retry_interval", value, SECONDS) for value in (-1, True, "5", float("nan"), float("inf"), 10**400, [])],
    *[("error_store_path", value, TEXT) for value in (3, True, "", b"x")],
    *[("error_store_path", value, "a path") for value in ("a\0b", "\ud800")],
]
WRONG_FURTHER: list[tuple[str, Any, str]] = [
    *[(key, "x", WHOLE) for key in ("max_blocks_per_batch", "batch_timeout_ms")],
    ("backup_max_size", "x", "a whole number from 0 to 18446744073709551615"),
    ("compression_level", -1, WHOLE),
    ("enable_compression", 1, BOOL),
    ("enable_encryption", "on", BOOL),
    ("backup_path", 7, TEXT),
    ("backup_path", "\0", "a path"),
]


def _shown(value: Any) -> str:
    return "[…]" if value == [] else repr(value) if len(repr(value)) <= 80 else repr(value)[:79]


@pytest.mark.parametrize(("key", "value", "expected"), WRONG)
def test_a_wrong_keyword_is_refused(key: str, value: Any, expected: str) -> None:
    """The message names the key, the value and what was expected; of the rest nothing is applied either."""
    rest = {"error_retry_max": 1} if key != "error_retry_max" else {"error_retry_interval": 1}
    message = refused(policies={"x": {"max": 1}}, **rest, **{key: value})
    assert message.startswith(f"configure(): {key} = {_shown(value)}")
    assert message.endswith(f": expected {expected}; nothing of this configuration was applied")


@pytest.mark.parametrize(("key", "value", "expected"), WRONG + WRONG_FURTHER)
@pytest.mark.parametrize("place", ["", "plugins.incremental_bitmap."])
def test_a_wrong_key_in_a_document_is_refused(key: str, value: Any, expected: str, place: str) -> None:
    """With the place where it stands; what stands right beside it is not applied."""
    table = {"events": False, key: value, "policies": {"x": {"max": 1}}}
    document = {"plugins": {"incremental_bitmap": {key: value}}, "error_retry_max": 7} if place else table
    message = refused(document)
    assert message.startswith(f"configure(): {place}{key} = {_shown(value)}")
    assert message.endswith(f": expected {expected}; nothing of this configuration was applied")


def test_a_refused_file_names_itself(tmp_path: Path) -> None:
    """The source is the file as it was given."""
    file = tmp_path / "file.toml"
    file.write_text("error_retry_interval = 1\n[plugins.incremental_bitmap]\nerror_retry_max = -1")
    assert refused(file) == (
        f"{file}: plugins.incremental_bitmap.error_retry_max = -1: expected {WHOLE}; "
        "nothing of this configuration was applied"
    )


@pytest.mark.parametrize(
    ("document", "start"),
    [
        (
            {"eror_retry_max": 3},
            "configure(): unknown key eror_retry_max = 3; did you mean error_retry_max? known: enable, ",
        ),
        ({3: 4}, "configure(): unknown key 3 = 4; known: "),
        ({"error": 3}, "configure(): unknown key error = 3; known: "),
        ({"error": {"retry": 3}}, "configure(): unknown key error = {…}; known: "),
        (
            {"error": {"retry": {"maxx": 3}}},
            "configure(): unknown key error.retry.maxx = 3; did you mean error.retry",
        ),
        ({"policy": {"up": {"max": 3}}}, "configure(): unknown key policy = {…}; did you mean policies? known: "),
        ({"retrywrap": {"max": 3}}, "configure(): unknown key retrywrap = {…}; known: "),
        (
            {"plugins": {"incremental-bitmap": {"error_retry_max": 3}}},
            "configure(): plugins.incremental-bitmap = {…}: expected the name plugins.incremental_bitmap; ",
        ),
        (
            {"plugins": {"incremental_bitmap": {}}, "policys": {}},
            "configure(): unknown key policys = {…}; did you mean policies?",
        ),
        ({"error": {"retry": {"max": 3}, "x": 1}}, "configure(): unknown key error = {…}; known: "),
        ({"plugins": {"incremental_bitmap": {"x": 1}}}, "configure(): unknown key plugins.incremental_bitmap.x = 1; "),
        ({"plugins": 3}, "configure(): plugins = 3: expected a table; "),
        ({"plugins": {"incremental_bitmap": [1]}}, "configure(): plugins.incremental_bitmap = […]: expected a table; "),
        ({"policies": 3}, "configure(): policies = 3: expected a table of policies by their names; "),
    ],
)
def test_what_is_not_known_is_refused(document: dict[Any, Any], start: str) -> None:
    """A typing mistake does not pass in silence: the known keys are listed, the dotted ones with them."""
    message = refused(document)
    assert message.startswith(start)
    if "unknown key" in message:
        assert "error.retry.max" in message
        assert "compression_level" in message


def test_two_spellings_of_one_key_are_refused() -> None:
    """Nobody could tell which of them is meant."""
    message = refused({"error_retry_max": 3, "error.retry.max": 4})
    assert message.startswith("configure(): error.retry.max = 4: expected no second spelling of error_retry_max; ")


def test_unknown_keywords_are_pythons_to_refuse() -> None:
    """There is nothing that swallows them."""
    with pytest.raises(TypeError, match="error_retry_maximum"):
        configure(error_retry_maximum=3)  # type: ignore[call-arg]  # that this fails is the point


@pytest.mark.parametrize(
    "arguments",
    [
        ({"encryption_key": 12345},),
        ({"encryption_key": ["s3same"]},),
        ({"encryptionkey": "s3same"},),
        ({"password": "s3same"},),
        ({"api_token": "s3same"},),
        ({"incremental_bitmap": {"encryption_key": "s3same"}},),
        ({"plugins": {"incremental_bitmap": [{"encryption_key": "s3same"}]}},),
        ({"plugins": [{"encryption_key": "s3same"}]},),
        ({"policies": {"upload": {"encryption_key": "s3same"}}},),
        ({"policies": {"upload": [{"encryption_key": "s3same"}]}},),
    ],
)
def test_secrets_are_not_shown(arguments: Any) -> None:
    """Nothing that is, or may hold, a secret stands in a message, even where its key is misspelt or misplaced."""
    message = refused(*arguments)
    assert "12345" not in message
    assert "s3same" not in message


def test_the_repr_of_the_settings_shows_no_secret() -> None:
    """They may be logged; the key itself is in them."""
    found = configure({"encryption_key": "s3same", "compression_level": 6})
    assert found.coordinator["encryption_key"] == "s3same"
    assert "s3same" not in repr(found)
    assert "'encryption_key': '***', 'compression_level': 6" in repr(found)
    assert repr(found).startswith("Settings(enable=True, error_retry_max=10, ")


# --- environment

VARIABLES: list[tuple[str, str, str, Any]] = [
    *[
        (f"RETRYWRAP_{key.upper()}", text, key, value)
        for key in ("enable", "enable_error_logging", "events")
        for text, value in [
            ("1", True),
            ("true", True),
            ("Yes", True),
            ("on", True),
            ("0", False),
            ("FALSE", False),
            ("no", False),
            ("off", False),
        ]
    ],
    ("RETRYWRAP_ERROR_RETRY_MAX", "3", "error_retry_max", 3),
    ("RETRYWRAP_ERROR_RETRY_INTERVAL", "0.5", "error_retry_interval", 0.5),
    ("RETRYWRAP_ERROR_RETRY_INTERVAL", "2", "error_retry_interval", 2),
    ("RETRYWRAP_ERROR_STORE_PATH", "errors", "error_store_path", "errors"),
    ("RETRYWRAP_ERROR_BUFFER_SIZE", "7", "error_buffer_size", 7),
]


@pytest.mark.parametrize(("variable", "text", "key", "value"), VARIABLES)
def test_each_variable(monkeypatch: pytest.MonkeyPatch, variable: str, text: str, key: str, value: Any) -> None:
    """The environment has no types: its texts are read as what the key expects."""
    monkeypatch.setenv(variable, text)
    assert configure() == Settings(**{key: value})
    assert type(getattr(settings(), key)) is type(value)


def test_every_key_has_a_variable() -> None:
    """None of the keys is missing above."""
    assert {key for _, _, key, _ in VARIABLES} == set(Settings._fields) - {"policies", "coordinator"}


def test_the_coordinators_keys_have_variables_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a secret need not stand in a file."""
    monkeypatch.setenv("RETRYWRAP_ENCRYPTION_KEY", "s3same")
    assert configure().coordinator == {"encryption_key": "s3same"}


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("RETRYWRAP_ENABLE", "maybe", BOOL),
        ("RETRYWRAP_ERROR_RETRY_MAX", "-1", WHOLE),
        ("RETRYWRAP_ERROR_RETRY_MAX", "4294967296", WHOLE),
        ("RETRYWRAP_ERROR_RETRY_MAX", "many", WHOLE),
        ("RETRYWRAP_ERROR_RETRY_MAX", "٣", WHOLE),
        ("RETRYWRAP_ERROR_RETRY_INTERVAL", "nan", SECONDS),
        ("RETRYWRAP_ERROR_RETRY_INTERVAL", "1e999", SECONDS),
        ("RETRYWRAP_ERROR_RETRY_INTERVAL", "soon", SECONDS),
        ("RETRYWRAP_ERROR_STORE_PATH", "", TEXT),
    ],
)
def test_a_wrong_variable_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, text: str, expected: str) -> None:
    """By the variable's own name."""
    configure()
    monkeypatch.setenv(variable, text)
    message = refused(error_buffer_size=3)
    assert message == (
        f"environment: {variable} = {text!r}: expected {expected}; nothing of this configuration was applied"
    )


def test_a_wrong_secret_in_the_environment_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables are in capitals; their secrets are secrets all the same."""
    configure()
    monkeypatch.setenv("RETRYWRAP_ENCRYPTION_KEY", "")
    assert "RETRYWRAP_ENCRYPTION_KEY = '***': expected" in refused()


def test_an_unknown_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the ones that there are; others' variables are not looked at."""
    configure()
    monkeypatch.setenv("NOT_RETRYWRAP_X", "1")
    monkeypatch.setenv("RETRYWRAPX", "1")
    configure()
    monkeypatch.setenv("RETRYWRAP_ERROR_RETRY_MAXIMUM", "3")
    message = refused()
    said = "environment: unknown variable RETRYWRAP_ERROR_RETRY_MAXIMUM; did you mean RETRYWRAP_ERROR_RETRY_MAX? "
    assert message.startswith(f"{said}known: RETRYWRAP_CONFIG, ")
    assert "RETRYWRAP_EVENTS" in message
    monkeypatch.delenv("RETRYWRAP_ERROR_RETRY_MAXIMUM")
    monkeypatch.setenv("RETRYWRAP_ZZ", "3")
    assert refused().startswith("environment: unknown variable RETRYWRAP_ZZ; known: RETRYWRAP_CONFIG, ")


def test_the_environment_names_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read when the configuration is first needed, by a failure as well as by a question."""
    file = tmp_path / "file.toml"
    file.write_text("error_retry_max = 2\nerror_retry_interval = 3\n[policies.upload]\nmax = 1")
    monkeypatch.setenv("RETRYWRAP_CONFIG", str(file))
    config.reset()
    assert waits() == [3.0] * 2
    assert waits(policy="upload") == [3.0]
    file.unlink()
    assert configure(error_retry_max=1).error_retry_interval == 3


def test_a_file_that_is_given_comes_on_top_of_the_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever is needed first: the order of imports makes no difference."""
    monkeypatch.setenv("RETRYWRAP_CONFIG", str(tmp_path / "environment.toml"))
    (tmp_path / "environment.toml").write_text("error_retry_max = 2\nerror_retry_interval = 3")
    found = set()
    for use_first in (True, False):
        config.reset()
        if use_first:
            waits()
        found.add(str(configure({"error_retry_max": 7})))
    assert found == {str(Settings(error_retry_max=7, error_retry_interval=3))}


def test_a_bad_file_in_the_environment_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the first use, and as often as it is used; an empty variable names none."""
    monkeypatch.setenv("RETRYWRAP_CONFIG", str(tmp_path / "missing.toml"))
    config.reset()
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"^environment: RETRYWRAP_CONFIG = .*missing\.toml: cannot be"):
            with_retry(len)
    monkeypatch.setenv("RETRYWRAP_CONFIG", "")
    assert waits(max=1) == [5.0]


def test_importing_does_not_read_the_environment() -> None:
    """Only the first use does: a program that uses nothing of retrywrap runs, whatever the environment says."""
    code = (
        "import retrywrap\n"
        "print('imported')\n"
        "try:\n    retrywrap.with_retry(len)\n"
        "except ValueError as error:\n    print(error)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "RETRYWRAP_ERROR_RETRY_MAX": "many"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ran.stdout.startswith("imported\nenvironment: RETRYWRAP_ERROR_RETRY_MAX = 'many': expected ")


# --- named policies


@pytest.mark.parametrize(
    ("table", "backoff"),
    [
        ('{backoff = "fixed", seconds = 3}', fixed(3)),
        ('{backoff = "linear", start = 1}', linear(1)),
        ('{backoff = "linear", start = 1, step = 2, cap = 9}', linear(1, 2, cap=9)),
        ('{backoff = "exponential", base = 0.1, cap = 20}', exponential(0.1, cap=20)),
        ('{backoff = "exponential", base = 1, factor = 3, jitter = "equal"}', exponential(1, factor=3, jitter="equal")),
        ('{backoff = "exponential", base = 1, jitter = 0.2}', exponential(1, jitter=0.2)),
        ('{backoff = "decorrelated", base = 0.5, cap = 9}', decorrelated(0.5, cap=9)),
        ('{backoff = "fibonacci", base = 2, cap = 9, jitter = "full"}', fibonacci(2, cap=9, jitter="full")),
        ("3", fixed(3)),
        ("0.5", fixed(0.5)),
        ("[1, 2, 4]", RetryPolicy(interval=[1, 2, 4]).backoff),
    ],
)
def test_an_interval_in_toml(tmp_path: Path, table: str, backoff: object) -> None:
    """A number, a list, or a table that names a backoff and its parameters."""
    file = tmp_path / "file.toml"
    file.write_text(f"[policies.upload]\nmax = 2\ninterval = {table}")
    configure(file)
    policy = resolve({}, "upload")
    assert (policy.max, policy.backoff) == (2, backoff)


def test_every_backoff_can_be_named() -> None:
    """None of them is missing above."""
    import retrywrap.decide.backoff as module

    factories = {name for name in module.__all__ if name in dir(__import__("retrywrap"))}
    assert set(config._BACKOFFS) == factories


def test_a_policy_in_toml_has_what_toml_can_express(tmp_path: Path) -> None:
    """Each of these parameters arrives in the policy."""
    file = tmp_path / "file.toml"
    file.write_text(
        """
        [policies.upload]
        max = 3
        interval = 1
        timeout = 60
        attempt_timeout = 5
        idempotent = false
        nested = "multiply"
        reraise = false
        """
    )
    configure(file)
    assert resolve({}, "upload") == RetryPolicy(
        max=3, interval=1, timeout=60, attempt_timeout=5, idempotent=False, nested="multiply", reraise=False
    )


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"max": -1}, "max must be a whole number of retries"),
        ({"max": True}, "max must be a whole number of retries"),
        ({"max": None}, "max=None needs timeout="),
        ({"interval": -1}, "interval must be a finite number of seconds"),
        ({"interval": [1, -1]}, "interval[1] must be a finite number of seconds"),
        ({"interval": {"backoff": "quadratic"}}, "interval.backoff must be one of fixed, linear, exponential, "),
        ({"interval": {"backoff": ["fixed"]}}, "interval.backoff must be one of "),
        ({"interval": {"base": 1}}, "interval.backoff must be one of "),
        ({"interval": {"backoff": "exponential"}}, "interval needs base = seconds for the backoff exponential"),
        ({"interval": {"backoff": "linear", "base": 1}}, "interval needs start = seconds for the backoff linear"),
        ({"interval": {"backoff": "fixed", "base": 1}}, "interval needs seconds = seconds for the backoff fixed"),
        (
            {"interval": {"backoff": "fixed", "seconds": 1, "cap": 2}},
            "fixed() has no parameter 'cap'; its parameters are seconds",
        ),
        ({"interval": {"backoff": "exponential", "base": 1, "cap": -1}}, "cap must be a finite number of seconds"),
        ({"nested": "twice"}, 'nested must be "once" or "multiply"; got \'twice\''),
        ({"on": "ValueError"}, "on must be an exception type"),
        (
            {"maxx": 3},
            "has no parameter 'maxx': did you mean max=, which counts ",
        ),
        ({1: 3}, "has no parameter 1; its parameters are max, "),
        ({"policy": "other"}, "has no parameter 'policy'; its parameters are max, "),
    ],
)
def test_a_bad_policy_is_refused(table: dict[Any, Any], problem: str) -> None:
    """It is tried when it is defined, so that nobody is surprised when it is used."""
    for message in (refused(policies={"bad": table}), refused({"policies": {"bad": table}})):
        assert message.startswith(f"configure(): [policies.bad] {problem}")
        assert message.endswith("; nothing of this configuration was applied")


def test_tables_of_others_may_stand_beside_ours() -> None:
    """A file with the plugin's own table may be an application's: the tables of others are none of our business."""
    ours = {"incremental_bitmap": {"error_retry_max": 3}, "other_plugin": {"x": 1}}
    assert configure({"plugins": ours, "database": {"url": "x"}, "log": {"level": 3}}).error_retry_max == 3
    assert "unknown key level = 3" in refused({"plugins": ours, "level": 3})


@pytest.mark.parametrize("digits", ["9" * 5000, "4294967296"])
def test_a_number_of_any_length_is_refused(digits: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variable's name, however many digits it has."""
    monkeypatch.setenv("RETRYWRAP_ERROR_RETRY_MAX", digits)
    with pytest.raises(ConfigurationError, match=r"^environment: RETRYWRAP_ERROR_RETRY_MAX = "):
        configure()


def test_a_backup_may_be_larger_than_four_gigabytes() -> None:
    """backup_max_size counts bytes: it is no 32-bit number."""
    assert configure({"backup_max_size": 2**40}).coordinator["backup_max_size"] == 2**40


@pytest.mark.parametrize(
    ("named", "start"),
    [
        (3, "configure(): policies = 3: expected a table of policies by their names; "),
        ("upload", "configure(): policies = 'upload': expected a table of policies by their names; "),
        ([], "configure(): policies = […]: expected a table of policies by their names; "),
        ({"upload": 3}, "configure(): policies.upload = 3: expected a table of parameters, or a RetryPolicy; "),
        ({3: {}}, "configure(): policies.3 = {…}: expected a policy's name that is a text, not empty; "),
        ({"": {}}, "configure(): policies.'' = {…}: expected a policy's name that is a text, not empty; "),
    ],
)
def test_what_is_no_policy_is_refused(named: Any, start: str) -> None:
    """By its name."""
    assert refused(policies=named).startswith(start)


def test_policies_are_added_to_those_that_are_there(tmp_path: Path) -> None:
    """A name that is defined again stands for the new one, as a whole; keywords win over files."""
    file = tmp_path / "file.toml"
    file.write_text("[policies.a]\nmax = 1\ntimeout = 9\n[policies.b]\nmax = 2")
    configure(file)
    configure({"policies": {"a": {"max": 3}}})
    assert set(settings().policies) == {"a", "b"}
    assert resolve({}, "a") == RetryPolicy(max=3)
    configure(policies={"b": {"max": 4}})
    configure({"policies": {"b": {"max": 5}}})
    assert resolve({}, "b").max == 4


def test_a_policy_object_is_taken_as_it_is() -> None:
    """What it leaves at its defaults was decided, too, when it was made: configured defaults do not change it."""
    policy = RetryPolicy(max=10, interval=5, on=OSError, results=lambda value: None)
    configure(error_retry_max=1, error_retry_interval=1, policies={"upload": policy})
    assert resolve({}, "upload") == policy
    assert len(waits(policy="upload")) == 10
    assert waits(policy="upload", max=2) == [5.0, 5.0]


def test_a_table_leaves_open_what_it_does_not_say() -> None:
    """There the configured defaults hold."""
    configure(error_retry_max=2, error_retry_interval=7, policies={"upload": {"timeout": 60}})
    assert waits(policy="upload") == [7.0, 7.0]


def test_the_presets_are_there_by_name() -> None:
    """Whatever the defaults are; and an application may define its own in their place."""
    configure(error_retry_max=1, error_retry_interval=9)
    assert resolve({}, "network") == NETWORK
    assert resolve({}, "files") == FILES
    configure(policies={"files": {"max": 2, "interval": 3}})
    assert waits(policy="files") == [3.0, 3.0]


def test_a_name_that_nobody_defined() -> None:
    """Is refused before the first attempt, with the names that there are."""
    configure(policies={"upload": {}})
    calls: list[int] = []
    with pytest.raises(ConfigurationError, match=r"'uplaod' is not defined \(defined: files, network, upload\)"):
        with_retry(policy="uplaod")(calls.append)(1)
    assert calls == []


# --- nobody else can change what is in force


def test_what_was_given_may_change_later() -> None:
    """The mappings and lists that a configuration came from are not looked at again."""
    waiting = [1.0, 2.0]
    table: dict[str, Any] = {"max": 2, "interval": waiting}
    document = {"policies": {"a": table}}
    configure(document, policies={"b": table})
    waiting[:] = [9.0]
    table["max"] = 9
    document.clear()
    configure(error_retry_max=1)
    for name in ("a", "b"):
        assert waits(policy=name) == [1.0, 2.0]


def test_what_was_returned_may_change_too() -> None:
    """The settings that are handed out are nobody's but the caller's."""
    found: Any = configure({"compression_level": 1}, policies={"a": {"max": 2}})
    found.policies["a"]["max"] = 9
    found.policies["b"] = {"max": 1}
    found.coordinator.clear()
    assert len(waits(policy="a")) == 2
    configure()
    assert settings().policies == {"a": {"max": 2}}
    assert settings().coordinator == {"compression_level": 1}
    reset()
    assert settings() == Settings()


@given(st.timedeltas(timedelta(0), timedelta(days=999)))
def test_an_interval_may_be_a_timedelta(interval: timedelta) -> None:
    """Wherever seconds may stand."""
    assert configure(error_retry_interval=interval).error_retry_interval == pytest.approx(interval.total_seconds())  # type: ignore[arg-type]  # the annotation promises less than there is
    reset()


# --- the error log


def test_failures_are_written_to_the_error_log(tmp_path: Path) -> None:
    """One line per failed attempt, of any operation; by hand as well."""
    configure(error_store_path=tmp_path)
    waits(max=1, name="op")
    registry.record_error(-8, "torn\nblock")
    first, second, third = written(tmp_path)
    assert first == "[1000000000000] Error -11: peer went away"
    assert second == "[1000000005000] Error -11: peer went away"
    assert re.fullmatch(r"\[\d{13}\] Error -8: torn\\nblock", third)


def test_a_recovery_is_no_error(tmp_path: Path) -> None:
    """Nothing is written twice, and nothing that is not an error."""
    configure(error_store_path=tmp_path)
    errors = [ConnectionResetError("x")]

    @with_retry(interval=0)
    def operation() -> None:
        if errors:
            raise errors.pop()

    operation()
    with pytest.raises(LookupError):
        with_retry(dict.__getitem__)({}, 1)
    assert [line.split("Error ")[1] for line in written(tmp_path)] == ["-11: x", "-99: 1"]


def test_the_error_log_can_be_switched(tmp_path: Path) -> None:
    """Off, on, and to another directory; the same directory is not begun anew."""
    one, two = tmp_path / "one", tmp_path / "two"
    configure(error_store_path=one)
    waits(max=0)
    configure(error_store_path=one, error_retry_max=1)
    waits(max=0)
    assert len(list(one.iterdir())) == 1
    configure(enable_error_logging=False)
    waits(max=0)
    assert len(written(one)) == 2
    configure(enable_error_logging=True, error_store_path=str(two))
    waits(max=0)
    assert (len(written(one)), len(written(two))) == (2, 1)
    config.reset()
    waits(max=0)
    assert len(written(two)) == 1


def test_the_old_error_log_is_closed(tmp_path: Path) -> None:
    """Its file is not kept open when another takes its place, nor after a reset."""
    logs = []
    for step in (lambda: configure(error_store_path=tmp_path / "two"), config.reset):
        configure(error_store_path=tmp_path / "one")
        waits(max=0)
        log = config._in_force.state.error_log
        assert log is not None
        assert log._file is not None
        logs.append(log)
        step()
    assert [log._file for log in logs] == [None, None]


def test_an_unwritable_error_log_changes_no_outcome(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The operation's own error comes out, and one warning says what is lost."""
    (tmp_path / "file").write_text("")
    configure(error_store_path=tmp_path / "file" / "below", events=False)
    assert waits(max=1) == [5.0]
    [record] = caplog.records
    assert "cannot be written" in record.getMessage()


def test_the_first_record_reads_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even one by hand, where nothing was decorated or configured before it."""
    monkeypatch.setenv("RETRYWRAP_ERROR_STORE_PATH", str(tmp_path))
    monkeypatch.setenv("RETRYWRAP_EVENTS", "off")
    config.reset()
    with capture_logs() as events:
        registry.record_error(-6, "down")
    assert [line.split("Error ")[1] for line in written(tmp_path)] == ["-6: down"]
    assert events == []


# --- reset, and threads


def test_reset_puts_everything_back(tmp_path: Path) -> None:
    """Defaults, policies, the registry's size, events and the error log are as at import."""
    configure(
        {"compression_level": 3},
        enable=False,
        error_retry_max=1,
        error_retry_interval=1,
        error_store_path=tmp_path,
        error_buffer_size=7,
        events=False,
        policies={"upload": {}},
    )
    config.reset()
    assert registry.error_buffer_size == 1000
    assert config._in_force.state == config._State()
    assert policies.book.current is None
    assert settings() == Settings()
    with capture_logs() as events:
        assert len(waits()) == 10
    assert len(events) == 11
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Threads take turns as often as the interpreter can make them."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(*steps: Callable[[], object]) -> None:
    """Run each step in a thread of its own, all at the same time; what one of them raises comes out."""
    barrier = threading.Barrier(len(steps))
    problems: list[BaseException] = []

    def work(step: Callable[[], object]) -> None:
        try:
            barrier.wait(10)
            step()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []


@pytest.mark.usefixtures("eager_switching")
def test_the_first_failures_in_many_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All threads that need the configuration first get the same one, and no error is written twice."""
    monkeypatch.setenv("RETRYWRAP_EVENTS", "no")
    for turn in range(20):
        folder = tmp_path / str(turn)
        monkeypatch.setenv("RETRYWRAP_ERROR_STORE_PATH", str(folder))
        config.reset()
        at_once(*[lambda: registry.record_error(-6)] * 8)
        assert len(written(folder)) == 8


@pytest.mark.usefixtures("eager_switching")
def test_configuring_in_many_threads_ends_in_one_state() -> None:
    """Nothing that one of them says is lost, and settings, policies and registry say the same in the end."""
    for _ in range(20):
        config.reset()
        at_once(
            *[
                lambda n=n: configure(error_buffer_size=n, error_retry_max=n, policies={f"p{n}": {"max": n}})
                for n in range(1, 9)
            ]
        )
        found = settings()
        assert set(found.policies) == {f"p{n}" for n in range(1, 9)}
        assert found.error_buffer_size == found.error_retry_max == registry.error_buffer_size
        assert policies.book.get().defaults["max"] == found.error_retry_max


class _Overtaking:
    """A lock in whose taking another thread is quicker, once."""

    def __init__(self, overtake: Callable[[], object]) -> None:
        self.overtake: Callable[[], object] | None = overtake

    def __enter__(self) -> None:
        overtake, self.overtake = self.overtake, None
        if overtake is not None:
            overtake()

    def __exit__(self, *_: object) -> None:
        return


@pytest.mark.parametrize("step", [lambda: configure(error_retry_interval=3), config.reset])
def test_a_quicker_thread_is_not_undone(monkeypatch: pytest.MonkeyPatch, step: Callable[[], object]) -> None:
    """What was put in force while a configuration was being made is built upon, or reset, as if it had come before."""
    monkeypatch.setattr(config._in_force, "lock", _Overtaking(lambda: configure(error_retry_max=4)))
    step()
    expected: Mapping[str, int] = {"error_retry_max": 4, "error_retry_interval": 3} if step is not config.reset else {}
    assert settings() == Settings(**expected)  # type: ignore[arg-type]  # the fields are of several types


def test_an_error_log_that_was_taken_away_meanwhile() -> None:
    """An event that was meant for it goes nowhere, without an error."""
    store_error(event())
