"""Command lines and error logs of any content: a documented exit status, never a traceback, never a raw escape."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hostile import NASTY, Outcome, cli, examples, is_harmless, is_one_line
from hypothesis import example, given
from hypothesis import strategies as st

from retrywrap.cli.errorspec import read_error
from retrywrap.cli.expression import read_backoff
from retrywrap.cli.usage import UsageError
from retrywrap.decide.backoff import Backoff
from retrywrap.record.reader import read_errors

ODD = st.sampled_from(
    [*(text[:2000] for text in NASTY.values()), "", " ", "-", "--", "-1", "0", "1", "3", "nan", "1e999"]
)
WORDS = ODD | st.text(max_size=12) | st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3})?(ms|s|m|h)?", fullmatch=True)
ERRORS = st.sampled_from(
    ["OSError(28)", "OSError", "http.client.IncompleteRead", "ValueError('\\x1b')", "ENOSPC", "-6", "NETWORK",
     "ExceptionGroup('x', [OSError(1), KeyError()])", "UnicodeDecodeError('a', b'b', 1, 2, 'x')", "SystemExit(3)",
     "urllib.error.HTTPError('u', 503, 'm', None, None)", "OSError(errno.EIO, 'x', filename=3)", "os.path", "a..b"]
)  # fmt: skip
EXPRESSIONS = st.sampled_from(
    ["exponential(0.1, cap=20)", "fixed(1).take(3).then(linear(1))", "fibonacci(1) * 2 + fixed(3)", "[1, 2, 3]", "5",
     "decorrelated(1, cap=2)", "exponential(1e308)*1e308", "fixed(1)*nan", "x(1)", "fixed(**{'a': 1})", "fixed(*[1])"]
)  # fmt: skip


def _options(*names: str) -> st.SearchStrategy[list[str]]:
    one = st.tuples(st.sampled_from(names), WORDS | EXPRESSIONS).flatmap(
        lambda pair: st.sampled_from([[pair[0], pair[1]], [f"{pair[0]}={pair[1]}"], [pair[0]], [pair[1]]])
    )
    return st.lists(one, max_size=3).map(lambda lists: [word for words in lists for word in words])


# What these leave out takes long on purpose: --follow, a server, a picture, a program, the demonstration itself.
LINES = st.one_of(
    st.lists(WORDS, max_size=4),
    _options("--version", "--help", "-h", "--x").map(lambda rest: rest),
    st.tuples(ERRORS | WORDS, _options("--json", "--table", "--x")).map(lambda made: ["explain", *made[1], made[0]]),
    _options("--max", "--interval", "--backoff", "--timeout", "--seed", "--json").map(lambda rest: ["plan", *rest]),
    _options("--since", "--code", "--json", "--summary").map(lambda rest: ["errors", "/nonexistent", *rest]),
    _options("--json", "--x").map(lambda rest: ["codes", *rest]),
    WORDS.map(lambda word: ["inventory", word]),
    _options("--seed", "--json", "--x").map(lambda rest: ["demo", *rest, "--mutant"]),
    _options("--max", "--interval", "--timeout", "--attempt-timeout", "--retry-on", "--no-retry-on", "--name").map(
        lambda rest: ["run", *rest, "--", "/nonexistent/program"]
    ),
    WORDS.map(lambda word: ["run", "--max", "0", "--", f"/nonexistent/{word}", word]),
)
_LONG = re.compile(r"\d{4,}")
"""A plan of so many retries takes as long as it says."""


def check(outcome: Outcome, statuses: tuple[object, ...] = (0, 1, 2, 126, 127)) -> None:
    """Check what holds for every use of the command line."""
    assert type(outcome.status) is int
    assert outcome.status in statuses
    for line in [*outcome.out.split("\n"), *outcome.err.split("\n")]:
        assert is_harmless(line)
        assert len(line) < 10_000
    assert "Traceback" not in outcome.err
    if outcome.status == 2:
        assert outcome.err.startswith("retrywrap")
        assert outcome.err.count("\n") == 1
        assert len(outcome.err) < 2500


@examples(80)
@given(LINES)
@example(["explain", "A" + "()" * 490])
@example(["explain", f"ValueError({'-' * 900}1)"])
@example(["explain", "A(" * 450 + ")" * 450])
@example(["plan", "--backoff", "fixed(1)" + ".take(1)" * 110])
@example(["plan", "--backoff", "-" * 900 + "1"])
@example(["run", "--", "a\x00b"])
@example(["run", "--", "\ud800"])
@example(["run", "--", ""])
@example(["plan", "--timeout=--"])
@example(["explain", "--table=--"])
@example(["run", "--max=--", "true"])
@example(["errors", ".", "--since=--"])
def test_any_command_line(arguments: list[str]) -> None:
    """Words in any order, with values of any kind."""
    if not ("plan" in arguments and any(map(_LONG.search, arguments))):
        check(cli(*arguments))


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
@pytest.mark.parametrize(
    "before",
    [[], ["run"], ["run", "--retry-on"], ["run", "--"], ["errors"],
     ["errors", ".", "--since"], ["errors", ".", "--code"],
     ["explain"], ["explain", "--table"], ["plan", "--max"], ["plan", "--backoff"], ["plan", "--seed"], ["inventory"],
     ["plan", "--max", "0", "--svg"], ["codes"], ["demo", "--seed"]],
    ids=" ".join,
)  # fmt: skip
def test_odd_texts_are_not_echoed_raw(before: list[str], text: str) -> None:
    """The message names the value in escapes, cut to a bound, and says what to do: an exit status of 2, or 127."""
    outcome = cli(*before, text)
    check(outcome, (2, 126, 127))


@examples(100)
@given(st.text(max_size=60) | st.from_regex(r"[A-Za-z_.]{0,9}(\(['\"0-9a-z,=\[\](){}+*.-]{0,40}\))?", fullmatch=True))
def test_any_error_specification(text: str) -> None:
    """It names an error, or is refused in one line."""
    if "." in text.partition("(")[0]:
        return  # imports whatever is called so
    try:
        assert read_error(text) is not None
    except UsageError as refused:
        assert is_one_line(str(refused), 1000)  # noqa: PT017  # what else comes out, fails the test


@examples(100)
@given(
    st.text(max_size=60)
    | st.from_regex(r"(fixed|linear|exponential|[a-z]{1,9}|[()\[\]+*.,=0-9e-]){0,12}", fullmatch=True)
)
def test_any_backoff_expression(text: str) -> None:
    """It is a backoff, or refused in one line."""
    try:
        assert isinstance(read_backoff(text, "--backoff"), Backoff)
    except UsageError as refused:
        assert is_one_line(str(refused), 1000)  # noqa: PT017  # what else comes out, fails the test


# --- error logs

_ENTRY = st.tuples(
    st.integers(-(10**21), 10**21) | st.integers(0, 2 * 10**12), st.integers(-120, 3), st.binary(max_size=20)
)
LOGS = st.lists(
    st.binary(max_size=40)
    | st.sampled_from(
        [b"\n", b"\r\n", b"\x00", b"[", b"] Error -6: ", b"\xff\xfe", b"\xe2\x80\xa8", b"[1] Error -6: x"]
    )
    | _ENTRY.map(lambda entry: b"[%d] Error %d: %s\n" % entry),
    max_size=8,
).map(b"".join)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of two error logs, which are written over and over."""
    return tmp_path_factory.mktemp("logs")


@examples(80)
@given(first=LOGS, second=LOGS, mode=st.sampled_from([[], ["--json"], ["--summary"], ["--json", "--summary"]]))
def test_any_error_log(folder: Path, first: bytes, second: bytes, mode: list[str]) -> None:
    """What is no line of an error log is passed over and counted; what is one is shown in one line."""
    (folder / "backup_error_1.log").write_bytes(first)
    (folder / "backup_error_2.log").write_bytes(second)
    outcome = cli("errors", str(folder), *mode)
    check(outcome, (0,))
    found = list(read_errors(folder))
    assert len(found) <= first.count(b"\n") + second.count(b"\n")
    if "--summary" not in mode:
        assert outcome.out.count("\n") == len(found)
    if "--json" in mode:
        assert all(type(json.loads(line)) is dict for line in outcome.out.splitlines())


# --- processes


@pytest.mark.parametrize(
    "arguments",
    [["\x1b[31m"], ["explain", "OSError"], ["explain", "--table", "sql"], ["run", "--", "no\x1b[1m\nprogram"], ["plan"],
     ["errors", os.fsdecode(b"\xff\xfe")], ["inventory", os.fsdecode(b"\xff")], ["codes"],
     ["explain", os.fsdecode(b"\xe4")]],
    ids=ascii,
)  # fmt: skip
def test_a_terminal_that_knows_ascii_alone(arguments: list[str]) -> None:
    """Bytes that are no text among the arguments, and streams that encode little, end in no traceback."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "retrywrap", *arguments]
    ran = subprocess.run(command, capture_output=True, env=environment, check=False, timeout=60)
    check(Outcome(ran.returncode, ran.stdout.decode("ascii"), ran.stderr.decode("ascii")), (0, 2, 127))


ODD_ERRORS = """
import sys

class Odd:
    def __repr__(self):
        raise RuntimeError

class Unshown(Exception):
    def __init__(self):
        super().__init__(Odd(), "password=hunter2", "x\\x1b[1m")

class Argless(Exception):
    args = property(lambda self: 1 / 0)

class Refused(Exception):
    def __new__(cls, *args):
        raise RuntimeError("token=hunter2")

def __getattr__(name):
    raise ImportError(name)
"""


def test_errors_that_fail_when_they_are_shown_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of classes whose instances cannot be printed, or made, and of modules that fail when they are asked or exit."""
    (tmp_path / "odd_errors.py").write_text(ODD_ERRORS)
    (tmp_path / "odd_exit.py").write_text("raise SystemExit('token=' + 'hunter2')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    said = {name: cli("explain", name) for name in ("odd_errors.Unshown", "odd_errors.Argless", "odd_errors.Refused")}
    said |= {name: cli("explain", name) for name in ("odd_errors.Missing", "odd_exit.Error")}
    said["inventory"] = cli("inventory", "odd_exit")
    for outcome in said.values():
        check(outcome)
        assert "hunter2" not in outcome.out + outcome.err
    assert [outcome.status for outcome in said.values()] == [0, 0, 2, 2, 2, 2]
    assert said["odd_errors.Unshown"].out.startswith("odd_errors.Unshown(<Odd>, 'password=***")
    assert said["odd_errors.Argless"].out.startswith("odd_errors.Argless()\n")
    assert "SystemExit: token=***" in said["inventory"].err
