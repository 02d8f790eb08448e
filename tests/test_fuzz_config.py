"""Configuration files, mappings and variables of any content: applied whole, or refused whole in one line."""

from __future__ import annotations

import os
import socket
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hostile import NASTY, examples, is_one_line, raised_by
from hypothesis import given
from hypothesis import strategies as st

from retrywrap import config, configure, registry
from retrywrap.config import settings as in_force
from retrywrap.decide import policy as policies
from retrywrap.errors import ConfigurationError

LONGEST = 2500
"""Characters of a message that lists all known keys."""


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine's own is in the way."""
    for name in [name for name in os.environ if name.startswith("RETRYWRAP_") and name != "RETRYWRAP_PURE"]:
        monkeypatch.delenv(name)


def _state() -> tuple[Any, ...]:
    return config._in_force.state, policies.book.current, registry.error_buffer_size


def applied_or_refused(file: Any = None, **keywords: Any) -> str | None:
    """Configure; return why it was refused, None where it was applied. Neither is done in part."""
    in_force()
    before = _state()
    refused = raised_by(lambda: configure(file, **keywords))
    if refused is not None:
        assert type(refused) is ConfigurationError
        assert _state() == before
        assert [*map(id, _state()[:2])] == [*map(id, before[:2])]
        assert is_one_line(str(refused), LONGEST)
        return str(refused)
    found = in_force()
    assert registry.error_buffer_size == found.error_buffer_size
    book = policies.book.current
    assert book is not None
    assert book.defaults["max"] == (found.error_retry_max if found.enable else 0)
    config.reset()
    return None


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that is written over and over."""
    return tmp_path_factory.mktemp("config") / "file.toml"


# --- bytes


@examples(60)
@given(content=st.binary(max_size=300))
def test_any_bytes(file: Path, content: bytes) -> None:
    """What is no TOML is refused with the file's name."""
    file.write_bytes(content)
    refused = applied_or_refused(file)
    assert refused is None or refused.startswith(f"{file}: ")


VALID = b"""
enable = true
error.retry.max = 3
events = false
[plugins.incremental_bitmap]
error_retry_interval = 0.5
error_store_path = "/tmp/never-written"
error_buffer_size = 10
encryption_key = "s3same"
[policies.upload]
max = 4
interval = {backoff = "exponential", base = 0.1, cap = 20}
[policies.fetch]
interval = [1, 2, 3.5]
timeout = 60
"""
PIECES = [b"=", b"[", b"]", b"{", b"}", b'"', b"'", b"\n", b".", b"#", b"\x00", b"\xff", b"nan", b"inf", b"-", b"1e999",
          b"9" * 400, b"1979-05-27T07:32:00Z", b"[" * 300, b"a." * 300, b"\xef\xbb\xbf", b'"""', b"\\u001b", b"[[x]]",
          b"true", b"enable = 1\n", b"max = -1\n", b"policies = 3\n", b"[policies.x]\nmax = 1\n",
          b"\r", b"\xf0\x9f"]  # fmt: skip


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    """A valid document in which something was put, taken away, or said twice."""
    content = VALID
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + 12)))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=4) | st.just(content[start:end] * 2))
        content = content[:start] + piece + content[end:]
    return content


@examples(60)
@given(content=_mutated())
def test_a_valid_document_with_mistakes(file: Path, content: bytes) -> None:
    """Whichever byte is wrong."""
    file.write_bytes(content)
    refused = applied_or_refused(file)
    assert refused is None or refused.startswith(f"{file}: ")


def test_the_document_that_is_mutated_is_valid(file: Path) -> None:
    """Else nothing of it would ever be looked at but its first mistake."""
    file.write_bytes(VALID)
    assert applied_or_refused(file) is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xef\xbb\xbfenable = true", "not valid TOML"),
        ("enable = true".encode("utf-16"), "not valid TOML"),
        ("enable = true".encode("utf-32"), "not valid TOML"),
        (b'backup_path = "\xe4"', "not valid TOML"),
        (b"a = " + b"[" * 5000 + b"]" * 5000, "not valid TOML"),
        (b"a." * 3000 + b"b = 1", ""),
        (b"a = " + b"{a = " * 3000, "not valid TOML"),
        (b"x = 1\n" * 2, "not valid TOML"),
        (b"error_retry_max = 99999999999999999999999", "expected a whole number"),
        (b"error_retry_max = 1979-05-27", "expected a whole number"),
        (b"error_retry_interval = nan", "expected seconds"),
        (b"error_retry_interval = inf", "expected seconds"),
        (b"error_retry_interval = 1e999", "expected seconds"),
        (b"enable = 07:32:00", "expected true or false"),
        (b"#" * (1 << 20) + b"\n", "longer than the 1048576 bytes"),
    ],
    ids=lambda value: str(value[:24]),
)
def test_documents_that_are_wrong_as_a_whole(file: Path, content: bytes, problem: str) -> None:
    """Byte order marks, other encodings, nesting without end, numbers and dates where they do not belong, length."""
    file.write_bytes(content)
    refused = applied_or_refused(file)
    assert refused is not None
    assert refused.startswith(f"{file}: ")
    assert problem in refused


def test_the_longest_file_is_read(file: Path) -> None:
    """One byte less than too long."""
    file.write_bytes(b"enable = false #".ljust(1 << 20, b"x"))
    assert applied_or_refused(file) is None


# --- what is no file


@pytest.fixture
def unreadable(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Paths at which nothing can be read to its end, by what they are."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "ring").symlink_to("ring")
    (tmp_path / "link to the pipe").symlink_to("pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
        yield {
            "pipe": str(tmp_path / "pipe"),
            "link": str(tmp_path / "link to the pipe"),
            "socket": str(tmp_path / "socket"),
            "directory": str(tmp_path),
            "ring": str(tmp_path / "ring"),
            "zeros": "/dev/zero",
            "random": "/dev/urandom",
            "missing": str(tmp_path / "missing"),
            "below a file": f"{__file__}/x",
            "too long": "x" * 5000,
            "empty": "",
            "null byte": "a\x00b",
            "surrogate": "\ud800",
        }


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_what_is_no_file_is_refused_at_once(
    unreadable: dict[str, str], by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pipes nobody writes into, devices without an end, directories, rings of links: none is waited for."""
    for what, path in unreadable.items():
        if by == "environment":
            if what in ("empty", "null byte", "surrogate"):
                continue
            monkeypatch.setenv("RETRYWRAP_CONFIG", path)
            config.reset()
            before = _state()
            with pytest.raises(ConfigurationError) as caught:
                configure(error_retry_max=1)
            assert _state() == before
            refused: str | None = str(caught.value)
        else:
            refused = applied_or_refused(path)
        assert refused is not None
        assert "cannot be read: " in refused, what


def test_the_null_device_is_an_empty_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one says "no file" to programs."""
    assert applied_or_refused(os.devnull) is None


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_odd_texts_stay_one_line_wherever_they_stand(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In file names, keys, values, policies' names, their parameters, and in the environment."""
    documents: list[Any] = [{text: 1}, {text: text}, {"enable": text}, {"policies": {text: 1}}, {"plugins": text}]
    documents += [{"policies": {text: {text: text}}}, {"policies": {"x": {"interval": {"backoff": text}}}}]
    documents += [{"plugins": {"incremental_bitmap": {text: text}}}, {"error": {"retry": {text: text}}}]
    documents += [{"backup_path": text, text: 1}, str(tmp_path / text)]
    for document in documents:
        assert applied_or_refused(document) is not None
    variable = "RETRYWRAP_" + text.replace("=", "").replace("\x00", "")[:1000].encode("ascii", "ignore").decode()
    monkeypatch.setenv(variable, "1")
    assert applied_or_refused() is not None


# --- values

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.integers(-2, 12),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["exponential", "fixed", "linear", "fibonacci", "decorrelated", "once", "multiply", "full"]),
    st.binary(max_size=4),
    st.dates() | st.times() | st.datetimes(),
    st.builds(object),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
KEYS = st.sampled_from(
    [*config._KEYS, *config._DOTTED, *config._COORDINATOR, "policies", "plugins", "error"]
) | st.text(max_size=12)
PARAMETERS = st.dictionaries(
    st.sampled_from(sorted(policies.DEFAULTS)) | st.sampled_from(["backoff", "base", "cap", "jitter", ""]),
    VALUES | st.dictionaries(st.sampled_from(["backoff", "base", "cap", "jitter", "start", "seconds"]), SCALARS),
    max_size=4,
)
NAMED = st.dictionaries(st.text(max_size=6), PARAMETERS | VALUES, max_size=3)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=4) | st.fixed_dictionaries(
    {"policies": NAMED},
    optional={"plugins": st.fixed_dictionaries({}, optional={"incremental_bitmap": st.dictionaries(KEYS, VALUES)})},
)


@examples(50)
@given(document=DOCUMENTS, keywords=st.dictionaries(st.sampled_from(sorted(config._KEYS)), VALUES, max_size=2))
def test_any_mapping_and_keywords(document: Mapping[str, Any], keywords: dict[str, Any]) -> None:
    """Values of any type at any key, whichever way they come."""
    with mock.patch.object(config, "_error_log", return_value=None):  # a path is only to be read, not written to
        applied_or_refused(document, **keywords)


@examples(60)
@given(
    name=st.sampled_from(["ERROR_RETRY_MAX", "ERROR_RETRY_INTERVAL", "ENABLE", "EVENTS", "ERROR_BUFFER_SIZE",
                          "BACKUP_MAX_SIZE", "ENCRYPTION_KEY", "COMPRESSION_LEVEL", "NOBODY_KNOWS"]),
    text=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30)
    | st.from_regex("[-+]?[0-9_]{1,25}([.][0-9]{0,3})?(e[0-9]{1,4})?", fullmatch=True)
    | st.sampled_from(["nan", "inf", "-0", "true", "False", "on", " 1 ", "\u0663", "\uff11", "1e400", ""]),
)  # fmt: skip
def test_any_text_in_a_variable(name: str, text: str) -> None:
    """It is read as its key wants it, or refused with the variable's name."""
    with mock.patch.dict(os.environ, {f"RETRYWRAP_{name}": text}):
        config.reset()
        before = _state()
        refused = raised_by(configure)
        if refused is None:
            assert name != "NOBODY_KNOWS"
        else:
            assert type(refused) is ConfigurationError
            assert _state() == before
            assert is_one_line(str(refused), LONGEST)
            assert f"RETRYWRAP_{name}" in str(refused)
            assert str(refused).startswith("environment: ")
    config.reset()


class _Unreadable:
    """A path that fails when it is asked for its text, or shown."""

    def __repr__(self) -> str:
        raise RuntimeError

    def __fspath__(self) -> str:
        raise RuntimeError


class _Lying(_Unreadable):
    """A value that fails when it is asked what it is."""

    __class__ = property(lambda self: 1 / 0)  # type: ignore[assignment]  # which is the hostility


@pytest.mark.parametrize("key", [*config._KEYS, *config._COORDINATOR, "nobody knows"])
def test_a_value_that_fails_when_it_is_looked_at(key: str) -> None:
    """Is refused like any other that is wrong."""
    for value in (_Unreadable(), _Lying()):
        for document in ({key: value}, {"plugins": {"incremental_bitmap": {key: value}}}):
            refused = applied_or_refused(document)
            assert refused is not None
            assert key in refused


@pytest.mark.parametrize("key", ["policies", "plugins"])
def test_a_table_that_fails_when_it_is_shown(key: str) -> None:
    """Is refused, too."""
    for document in ({key: _Unreadable()}, {"policies": {"x": {"interval": _Unreadable()}}}):
        assert applied_or_refused(document) is not None


def test_dates_of_the_parser_are_what_is_tried() -> None:
    """The types that tomllib makes are among those above."""
    made = tomllib.loads("a = 1979-05-27\nb = 07:32:00\nc = 1979-05-27T07:32:00")
    assert [type(value) for value in made.values()] == [date, time, datetime]
