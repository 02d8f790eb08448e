"""`retrywrap run`: real programs, real signals, a real terminal."""

from __future__ import annotations

import argparse
import errno
import fcntl
import io
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from retrywrap.cli import child as child_module
from retrywrap.cli import progress as progress_module
from retrywrap.cli import run as run_module
from retrywrap.cli import runner as runner_module
from retrywrap.cli import signals as signals_module
from retrywrap.cli.child import Child
from retrywrap.cli.family import descends_from, family, send_to
from retrywrap.cli.progress import Countdown, is_live, say
from retrywrap.cli.runner import Runner
from retrywrap.cli.signals import Received, Signals, has_terminal, signal_name
from retrywrap.cli.statuses import read_statuses
from retrywrap.cli.stdin import Input
from retrywrap.cli.usage import UsageError
from retrywrap.decide.allowance import Allowance
from retrywrap.run import clock as clocks
from retrywrap.testing import VirtualClock, reset

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs what only Linux has")
PATIENCE = 20.0


def parse(*arguments: str) -> argparse.Namespace:
    """Parse as the command line would."""
    parser = argparse.ArgumentParser(prog="retrywrap")
    run_module.add_parser(parser.add_subparsers())
    return parser.parse_args(["run", *arguments])


def run(*arguments: str) -> int:
    """Run the subcommand in this process."""
    parsed = parse(*arguments)
    status: int = parsed.run(parsed)
    return status


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("RETRYWRAP_")]:
        monkeypatch.delenv(name)


@pytest.fixture(params=["own group", "shared group"])
def _grouped(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test as without a controlling terminal, and as with one."""
    monkeypatch.setattr(runner_module, "has_terminal", lambda: request.param == "shared group")


@pytest.fixture
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "has_terminal", lambda: False)


def attempts() -> int:
    """How many lines the programs of a test have written into the file "log"."""
    return len(Path("log").read_text().splitlines()) if Path("log").exists() else 0


def failing(times: int, status: int = 1) -> tuple[str, str, str]:
    """A program that fails so many times, then succeeds; one line in "log" for each run."""
    return "sh", "-c", f'echo run >> log; test "$(wc -l < log)" -gt {times} || exit {status}'


FAST = ("--interval", "0", "--retry-on", "any")


# --- attempts and exit statuses


@pytest.mark.usefixtures("_grouped")
def test_a_program_that_succeeds_runs_once_and_nothing_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    """Success at once passes the streams through and adds nothing to them."""
    assert run("--", "sh", "-c", "echo out; echo err >&2") == 0
    assert capfd.readouterr() == ("out\n", "err\n")


@pytest.mark.usefixtures("_grouped")
def test_a_failing_program_is_run_again_until_it_succeeds(capfd: pytest.CaptureFixture[str]) -> None:
    """Each retry is one plain line on standard error, and so is the success in the end."""
    assert run(*FAST, "--", *failing(2, 7)) == 0
    assert attempts() == 3
    assert capfd.readouterr().err == (
        "retrywrap run: sh ended with exit status 7; retry 1 of 10 at once\n"
        "retrywrap run: sh ended with exit status 7; retry 2 of 10 at once\n"
        "retrywrap run: sh succeeded at attempt 3\n"
    )


def test_the_last_exit_status_comes_out(capfd: pytest.CaptureFixture[str]) -> None:
    """After max retries the status of the last attempt is the status of the whole."""
    assert run(*FAST, "--max", "3", "--", "sh", "-c", 'echo run >> log; exit "$(wc -l < log)"') == 4
    assert attempts() == 4
    assert capfd.readouterr().err.endswith("sh ended with exit status 4; gave up after 4 attempts\n")


def test_max_zero_is_one_attempt(capfd: pytest.CaptureFixture[str]) -> None:
    """Without retries the program runs once."""
    assert run(*FAST, "--max", "0", "--", *failing(5)) == 1
    assert attempts() == 1
    assert capfd.readouterr().err == "retrywrap run: sh ended with exit status 1; gave up after 1 attempt\n"


def test_the_wait_is_the_interval_or_the_backoff(clock: VirtualClock, capfd: pytest.CaptureFixture[str]) -> None:
    """The waits are those of --interval or of --backoff; five seconds where neither is given."""
    retry = ("--retry-on", "1", "--max", "2")
    run(*retry, "--", "false")
    run(*retry, "--interval", "1.5", "--", "false")
    run(*retry, "--backoff", "linear(1)", "--", "false")
    assert clock.waits == [5, 5, 1.5, 1.5, 1, 2]
    assert "retry 2 of 2 in 1.5 s\n" in capfd.readouterr().err


def test_what_is_not_given_comes_from_the_configuration(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's defaults hold for the command line as well; its options override them."""
    monkeypatch.setenv("RETRYWRAP_ERROR_RETRY_MAX", "1")
    monkeypatch.setenv("RETRYWRAP_ERROR_RETRY_INTERVAL", "7")
    assert run("--retry-on", "1", "--", "false") == 1
    assert clock.waits == [7]
    assert run("--retry-on", "1", "--max", "2", "--interval", "3", "--", "false") == 1
    assert clock.waits == [7, 3, 3]


@pytest.mark.parametrize(("status", "runs"), [(30, 3), (23, 1), (75, 3), (1, 1), (99, 1)])
def test_known_programs_are_judged_by_their_own_table(status: int, runs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """rsync's 30 is worth a retry and its 23 is not; 75 is for everyone, and an unknown status for nobody."""
    program = Path("rsync")
    program.write_text(f"#!/bin/sh\necho run >> log\nexit {status}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{Path.cwd()}:{os.environ['PATH']}")
    assert run("--interval", "0", "--max", "2", "--", "rsync", "-a", "x", "y") == status
    assert attempts() == runs


@pytest.mark.parametrize(
    ("options", "status", "runs", "said"),
    [
        ([], 3, 1, "not retried (--retry-on 3 would change that)"),
        (["--retry-on", "3"], 3, 2, "gave up after 2 attempts"),
        (["--retry-on", "2-4,9"], 3, 2, "gave up after 2 attempts"),
        (["--retry-on", "9", "--retry-on", "1 3"], 3, 2, "gave up after 2 attempts"),
        (["--retry-on", "any"], 126, 1, "not retried (--retry-on 126 would change that)"),
        (["--retry-on", "any,126"], 126, 2, "gave up after 2 attempts"),
        (["--retry-on", "any", "--no-retry-on", "3"], 3, 1, "not retried"),
        (["--no-retry-on", "75"], 75, 1, "not retried"),
    ],
)
def test_exit_statuses_can_be_added_and_taken_away(
    options: list[str], status: int, runs: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """--retry-on adds statuses, ranges or any; --no-retry-on has the last word."""
    assert run("--interval", "0", "--max", "1", *options, "--", *failing(9, status)) == status
    assert attempts() == runs
    assert capfd.readouterr().err.splitlines()[-1] == f"retrywrap run: sh ended with exit status {status}; {said}"


@pytest.mark.usefixtures("_grouped")
@pytest.mark.parametrize(
    ("options", "runs"),
    [([], 1), (["--retry-on", "137"], 2), (["--retry-on", "any"], 2), (["--no-retry-on", "137"], 1)],
)
def test_the_end_by_a_signal_is_128_plus_its_number(options: list[str], runs: int) -> None:
    """Where signal 9 ended the program the exit status is 137, as a shell has it; by default that is not retried."""
    assert run("--interval", "0", "--max", "1", *options, "--", "sh", "-c", "echo run >> log; kill -9 $$") == 137
    assert attempts() == runs


def test_any_leaves_out_what_somebody_wanted() -> None:
    """any is every failure but a missing program and an end by SIGHUP, SIGINT, SIGQUIT or SIGTERM."""
    assert frozenset(range(256)) - read_statuses(["any"], "--retry-on") == {0, 126, 127, 129, 130, 131, 143}
    assert read_statuses(["any, 130"], "--retry-on") >= {1, 130, 255}
    assert read_statuses(None, "--retry-on") == frozenset()


@pytest.mark.parametrize("text", ["", "x", "0", "256", "-1", "5-3", "1-", "1-999", "٣", "1.5", "ANY"])
def test_bad_exit_statuses_are_refused(text: str) -> None:
    """Only numbers from 1 to 255, ranges and any; 0 is no failure."""
    with pytest.raises(UsageError, match=r"--retry-on .*: expected exit statuses from 1 to 255, such as 75,124"):
        run(f"--retry-on={text}", "--", "true")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], r"there is nothing to run; write: retrywrap run \[options\] -- COMMAND"),
        (["--"], "there is nothing to run"),
        (["--max", "x", "--", "true"], "--max 'x'"),
        (["--timeout", "0", "--", "true"], "--timeout '0': expected seconds"),
        (["--attempt-timeout", "0", "--", "true"], "--attempt-timeout '0': expected seconds"),
        (["--interval", "-1", "--", "true"], "--interval '-1'"),
        (["--backoff", "expo(1)", "--", "true"], "'expo' is unknown"),
        (["--no-retry-on", "0", "--", "true"], "--no-retry-on '0'"),
    ],
)
def test_errors_of_use_name_the_option(arguments: list[str], message: str) -> None:
    """What cannot be used is refused before anything runs."""
    with pytest.raises(UsageError, match=message):
        run(*arguments)


def test_options_after_the_command_belong_to_the_command(capfd: pytest.CaptureFixture[str]) -> None:
    """The first -- ends our options, so does the command's name; later ones are the command's own."""
    assert run("echo", "--max", "x", "--", "y") == 0
    assert run("--quiet", "--", "echo", "--", "--quiet") == 0
    assert capfd.readouterr().out == "--max x -- y\n-- --quiet\n"


def test_quiet_says_nothing_of_retries(capfd: pytest.CaptureFixture[str]) -> None:
    """With --quiet only the program's own output is seen."""
    assert run(*FAST, "--quiet", "--", *failing(2)) == 0
    assert attempts() == 3
    assert capfd.readouterr() == ("", "")


def test_the_operation_is_named_after_the_program(capfd: pytest.CaptureFixture[str]) -> None:
    """--name replaces the program's name; a program without one is called so."""
    run(*FAST, "--name", "nightly", "--", *failing(1))
    assert capfd.readouterr().err.endswith("retrywrap run: nightly succeeded at attempt 2\n")
    assert run("--", "") == 127


def test_the_error_log_has_one_line_for_each_failed_attempt(capfd: pytest.CaptureFixture[str]) -> None:
    """--store writes the plugin's error log; nothing of it appears on standard error."""
    assert run(*FAST, "--quiet", "--store", "errors", "--", *failing(2)) == 0
    (file,) = Path("errors").glob("backup_error_*.log")
    lines = file.read_text().splitlines()
    assert [line.partition("] ")[2] for line in lines] == ["Error -99: sh ended with exit status 1"] * 2
    assert capfd.readouterr().err == ""


# --- what cannot be run


def test_a_missing_program_is_127(capfd: pytest.CaptureFixture[str]) -> None:
    """One clear line, even with --quiet, and no retry."""
    assert run("--quiet", "--retry-on", "any", "--", "no-such-program-anywhere") == 127
    assert run("--", "/etc/passwd/x") == 127
    assert capfd.readouterr().err == (
        "retrywrap run: no-such-program-anywhere: command not found\nretrywrap run: /etc/passwd/x: command not found\n"
    )


def test_a_whole_line_as_the_program_is_explained(capfd: pytest.CaptureFixture[str]) -> None:
    """Who quotes program and arguments as one word hears of it."""
    assert run("--", "sh -c exit") == 127
    assert "sh -c exit: command not found (give the program and its arguments as words" in capfd.readouterr().err


def test_a_program_that_cannot_be_executed_is_126(capfd: pytest.CaptureFixture[str]) -> None:
    """No permission, no known format, no interpreter: each says what is missing."""
    Path("plain").write_text("echo\n")
    Path("odd").write_text("echo\n")
    Path("orphan").write_text("#!/no/such/interpreter\n")
    for name in ("odd", "orphan"):
        Path(name).chmod(0o755)
    assert run("--", "./plain") == 126
    assert run("--", "./odd") == 126
    assert run("--", "./orphan") == 127
    assert capfd.readouterr().err.splitlines() == [
        "retrywrap run: ./plain: cannot be run: Permission denied",
        "retrywrap run: ./odd: cannot be run: Exec format error",
        "retrywrap run: ./orphan: cannot be run: the interpreter in its first line was not found",
    ]


def test_a_start_that_fails_for_a_moment_is_retried(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where the system has no process to spare just now (EAGAIN), the start is an attempt like any other."""
    real, failures = Child.__init__, [OSError(errno.EAGAIN, "Resource temporarily unavailable")]

    def start(self: Child, *arguments: Any, **named: Any) -> None:
        if failures:
            raise failures.pop()
        real(self, *arguments, **named)

    monkeypatch.setattr(Child, "__init__", start)
    assert run(*FAST, "--", "true") == 0
    assert "retry 1 of 10 at once\n" in capfd.readouterr().err


# --- time


def test_no_wait_is_begun_that_cannot_end_in_time(clock: VirtualClock, capfd: pytest.CaptureFixture[str]) -> None:
    """--timeout limits the whole: the attempt fails, the wait would be too long, its status comes out at once."""
    assert run("--retry-on", "1", "--interval", "5", "--timeout", "12", "--", *failing(9)) == 1
    assert clock.waits == [5, 5]
    assert capfd.readouterr().err.endswith("gave up after 3 attempts: another could not begin within --timeout 12\n")


def test_time_that_is_over_before_the_start_is_124(capfd: pytest.CaptureFixture[str]) -> None:
    """Where not even the first attempt begins in time, it is not made."""

    class Rushing(VirtualClock):
        def now(self) -> float:
            self.advance(1)
            return super().now()

    with Rushing():
        assert run("--timeout", "500ms", "--", "touch", "made") == 124
    assert not Path("made").exists()
    assert capfd.readouterr().err == "retrywrap run: --timeout 500ms was over before touch could be started\n"


@pytest.mark.usefixtures("_grouped")
def test_an_attempt_that_takes_too_long_is_ended_and_retried(capfd: pytest.CaptureFixture[str]) -> None:
    """--attempt-timeout asks the program to end; the attempt counts as 124 and as a timeout."""
    program = ["sh", "-c", 'echo run >> log; test "$(wc -l < log)" -gt 1 || exec sleep 60']
    assert run("--interval", "0", "--attempt-timeout", "0.3", "--store", "errors", "--", *program) == 0
    assert "sh was ended after 0.3 s; retry 1 of 10 at once\n" in capfd.readouterr().err
    (file,) = Path("errors").iterdir()
    assert "Error -7: sh was ended after 0.3 s" in file.read_text()
    assert run("--max", "0", "--attempt-timeout", "100ms", "--", "sleep", "60") == 124
    assert run("--no-retry-on", "124", "--attempt-timeout", "100ms", "--", "sleep", "60") == 124


@pytest.mark.usefixtures("_grouped")
def test_a_program_that_does_not_heed_the_request_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the grace period a program that ignores SIGTERM is killed."""
    monkeypatch.setattr(child_module, "GRACE", 0.1)
    program = "trap '' TERM; touch log; while :; do sleep 0.05; done"
    began = time.monotonic()
    assert run("--max", "0", "--attempt-timeout", "1", "--", "sh", "-c", program) == 124
    assert Path("log").exists()
    assert time.monotonic() - began < PATIENCE


@linux
@pytest.mark.usefixtures("_no_terminal")
def test_an_overdue_attempt_leaves_no_descendant_behind() -> None:
    """Without a terminal the program's whole process group is ended, those that ignore SIGTERM included."""
    script = "(trap '' TERM; exec sleep 60) & echo $! > pid; wait"
    assert run("--max", "0", "--attempt-timeout", "0.5", "--", "sh", "-c", script) == 124
    assert is_gone(int(Path("pid").read_text()))


@pytest.mark.usefixtures("_grouped")
def test_a_stopped_program_can_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that was stopped is continued, so that it can hear that its time is over."""
    monkeypatch.setattr(child_module, "_stop", lambda: None)
    monkeypatch.setattr(child_module, "GRACE", PATIENCE)
    began = time.monotonic()
    assert run("--max", "0", "--attempt-timeout", "0.3", "--", "sh", "-c", "kill -STOP $$; sleep 60") == 124
    assert time.monotonic() - began < PATIENCE / 2


def test_what_is_switched_off_is_said(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the configuration allows no retries, and the command line says nothing of them."""
    monkeypatch.setenv("RETRYWRAP_ENABLE", "false")
    reset()
    assert run("--retry-on", "1", "--", "false") == 1
    said = "gave up after 1 attempt: the configuration switches retries off (enable)\n"
    assert capfd.readouterr().err == f"retrywrap run: false ended with exit status 1; {said}"
    assert run("--retry-on", "1", "--max", "0", "--", "false") == 1
    assert capfd.readouterr().err.endswith("; gave up after 1 attempt\n")


# --- standard input


@pytest.fixture
def stdin() -> Iterator[Any]:
    """Returns a function that puts a file descriptor in the place of standard input."""
    saved = os.dup(0)

    def put(descriptor: int) -> None:
        os.dup2(descriptor, 0)
        os.close(descriptor)

    yield put
    os.dup2(saved, 0)
    os.close(saved)


def test_a_file_as_input_is_read_again_from_where_it_began(stdin: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """Each attempt sees the file from the offset at which the first one began."""
    Path("input").write_text("skipped\none\ntwo\n")
    descriptor = os.open("input", os.O_RDONLY)
    os.lseek(descriptor, 8, os.SEEK_SET)
    stdin(descriptor)
    assert run(*FAST, "--max", "1", "--quiet", "--", "sh", "-c", "cat; exit 1") == 1
    assert capfd.readouterr() == ("one\ntwo\n" * 2, "")


@pytest.mark.parametrize("quiet", [False, True])
def test_a_pipe_as_input_is_warned_of_once(quiet: bool, stdin: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """A retry cannot see what the first attempt has read: that is said when the first retry is made, not before."""
    read, write = os.pipe()
    os.write(write, b"one\ntwo\nthree\n")
    os.close(write)
    stdin(read)
    program = ["sh", "-c", "read line; echo $line; test $line = three || exit 1"]
    assert run(*FAST, *(["--quiet"] if quiet else []), "--", *program) == 0
    out, err = capfd.readouterr()
    assert out == "one\ntwo\nthree\n"
    warning = "retrywrap run: standard input is a pipe: a retry sees only what the attempts before left in it"
    assert [n for n, line in enumerate(err.splitlines()) if line == warning] == ([] if quiet else [1])


def test_input_that_needs_nothing() -> None:
    """A terminal, /dev/null and no standard input at all are no reason to warn; a socket is."""
    said: list[str] = []
    primary, secondary = pty.openpty()
    one, other = socket.socketpair()
    closed = os.dup(secondary)
    os.close(closed)
    with open(os.devnull) as null, one, other:
        for descriptor in (secondary, null.fileno(), closed):
            Input(said.append, descriptor).again(None)
        assert said == []
        Input(said.append, one.fileno()).again(None)
    os.close(primary)
    os.close(secondary)
    assert len(said) == 1


# --- signals, with the program as their sender


@pytest.mark.parametrize(("name", "status"), [("TERM", 3), ("INT", 3), ("HUP", 3), ("QUIT", 3)])
@pytest.mark.usefixtures("_no_terminal")
def test_a_signal_to_end_is_passed_on_and_ends_the_retrying(
    name: str, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """The program decides what it makes of the signal; whatever its status is then, there is no retry."""
    program = f"trap 'echo caught; exit {status}' {name}; kill -{name} $PPID; while :; do sleep 0.01; done"
    assert run(*FAST, "--", "sh", "-c", program) == status
    out, err = capfd.readouterr()
    assert out == "caught\n"
    assert err.endswith(f"retrywrap run: sh ended with exit status {status}; ended by SIG{name} after 1 attempt\n")
    assert err.count("retrywrap run") == 1


@pytest.mark.usefixtures("_no_terminal")
def test_a_program_that_is_ended_by_a_passed_signal(capfd: pytest.CaptureFixture[str]) -> None:
    """Without a handler of its own the program dies by the signal, and 128 + its number comes out."""
    assert run(*FAST, "--", "sh", "-c", "kill -TERM $PPID; while :; do sleep 0.01; done") == 143
    assert capfd.readouterr().err == "retrywrap run: sh was ended by signal 15; ended by SIGTERM after 1 attempt\n"


@pytest.mark.usefixtures("_no_terminal")
def test_a_program_that_succeeds_all_the_same() -> None:
    """A program that finishes its work at SIGTERM has succeeded."""
    program = "trap 'exit 0' TERM; kill -TERM $PPID; while :; do sleep 0.01; done"
    assert run(*FAST, "--", "sh", "-c", program) == 0


@pytest.mark.parametrize("name", ["USR1", "USR2", "WINCH", "CONT"])
@pytest.mark.usefixtures("_no_terminal")
def test_other_signals_are_passed_on_and_change_nothing(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """USR1, USR2, WINCH and CONT reach the program, and a failure is retried as ever."""
    program = (
        "import os, signal, sys\n"
        f"signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIG{name}])\n"
        f"os.kill(os.getppid(), signal.SIG{name})\n"
        f"print(signal.sigwait([signal.SIG{name}]).name, flush=True)\n"
        "sys.exit(9)\n"
    )
    assert run(*FAST, "--max", "1", "--quiet", "--", sys.executable, "-Ic", program) == 9
    assert capfd.readouterr().out == f"SIG{name}\n" * 2


def test_a_signal_from_our_own_group_is_not_given_twice(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In a shared group, what one of the group sends (or the terminal) has reached the program already."""
    monkeypatch.setattr(runner_module, "has_terminal", lambda: True)
    program = "trap 'echo caught' USR1; kill -USR1 $PPID; sleep 0.2; echo end"
    assert run("--", "sh", "-c", program) == 0
    assert capfd.readouterr().out == "end\n"


@pytest.mark.usefixtures("_no_terminal")
def test_a_signal_between_two_attempts_is_heard_before_the_next(capfd: pytest.CaptureFixture[str]) -> None:
    """SIGTERM during the wait ends it at once; no program took the signal, so that 128 + 15 comes out."""

    class Signalling(VirtualClock):
        def sleep(self, seconds: float, limits: Allowance) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            super().sleep(seconds, limits)

    with Signalling() as clock:
        assert run("--interval", "60", "--retry-on", "1", "--", *failing(9)) == 143
    assert attempts() == 1
    assert clock.waits == []
    assert capfd.readouterr().err.endswith("sh ended with exit status 1; ended by SIGTERM after 1 attempt\n")


@pytest.mark.usefixtures("_no_terminal")
def test_a_harmless_signal_during_a_wait_is_dropped() -> None:
    """SIGUSR1, which would end us by default, does nothing while no program runs."""

    class Signalling(VirtualClock):
        def sleep(self, seconds: float, limits: Allowance) -> None:
            os.kill(os.getpid(), signal.SIGUSR1)
            super().sleep(seconds, limits)

    with Signalling():
        assert run("--interval", "60", "--retry-on", "1", "--", *failing(2)) == 0
    assert attempts() == 3


def test_a_signal_before_the_first_attempt_means_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told to end before anything ran, nothing is started."""
    real = Runner.run

    def told_first(self: Runner, signals: Signals) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return real(self, signals)

    monkeypatch.setattr(Runner, "run", told_first)
    assert run(*FAST, "--", *failing(9)) == 143
    assert attempts() == 0


@pytest.mark.usefixtures("_no_terminal")
def test_an_ignored_signal_stays_ignored() -> None:
    """Under nohup neither we nor the program hear of SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        program = "kill -HUP $PPID; kill -HUP $$; echo run >> log; exit 5"
        assert run(*FAST, "--max", "1", "--", "sh", "-c", program) == 5
        assert attempts() == 2
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_nothing_of_the_process_is_left_changed() -> None:
    """Handlers, the signal mask, the clock and the listeners are as before, after success and after an error."""

    def state() -> tuple[Any, ...]:
        handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1)]
        return (*handlers, signal.pthread_sigmask(signal.SIG_BLOCK, []), clocks.current())

    before = state()
    run(*FAST, "--", *failing(1))
    run("--", "no-such-program-anywhere")
    assert state() == before


@pytest.mark.usefixtures("_no_terminal")
def test_the_program_has_the_signal_mask_that_we_had(capfd: pytest.CaptureFixture[str]) -> None:
    """What is held back while we wait is not held back in the program."""
    program = "import signal; print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))"
    assert run("--", sys.executable, "-Ic", program) == 0
    assert capfd.readouterr().out == "[]\n"


@pytest.mark.usefixtures("_grouped")
def test_an_exception_of_our_own_leaves_no_program_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks in us, the program is ended before the exception goes on; one that ignores SIGTERM too."""
    monkeypatch.setattr(child_module, "GRACE", 0.1)
    started: list[Child] = []
    real = Child.__init__

    def start(self: Child, *arguments: Any, **named: Any) -> None:
        real(self, *arguments, **named)
        started.append(self)

    def broken(*_: object) -> None:
        while not Path("ready").exists():
            pass
        raise OSError("broken")

    monkeypatch.setattr(Child, "__init__", start)
    monkeypatch.setattr(Signals, "next", broken)
    with pytest.raises(OSError, match="broken"):
        run("--", "sh", "-c", "trap '' TERM; touch ready; while :; do sleep 0.01; done")
    assert started[0]._process.returncode == -signal.SIGKILL


# --- signals on other platforms, and the small parts


@pytest.fixture
def _no_gathering(monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform without sigtimedwait, such as macOS."""
    monkeypatch.delattr(signal, "sigtimedwait")


@pytest.mark.usefixtures("_no_gathering", "_no_terminal")
def test_without_sigtimedwait_handlers_pass_the_signals_on(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where signals cannot be gathered, success, retries, time limits and signals work all the same."""
    monkeypatch.setattr(signals_module, "has_terminal", lambda: False)
    assert run(*FAST, "--quiet", "--", *failing(2)) == 0
    assert run("--max", "0", "--attempt-timeout", "0.2", "--quiet", "--", "sleep", "60") == 124
    program = "trap 'echo caught; exit 3' INT; kill -INT $PPID; while :; do sleep 0.01; done"
    assert run(*FAST, "--quiet", "--", "sh", "-c", program) == 3
    assert capfd.readouterr() == ("caught\n", "")


@pytest.mark.usefixtures("_no_gathering", "_no_terminal")
def test_without_sigtimedwait_a_signal_during_the_start_is_passed_on_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes between the program's first breath and the moment in which we know of it is not lost."""
    real = Child.__init__

    def start(self: Child, *arguments: Any, **named: Any) -> None:
        real(self, *arguments, **named)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Child, "__init__", start)
    assert run(*FAST, "--", "sleep", "60") == 143


@pytest.mark.usefixtures("_no_gathering")
def test_without_sigtimedwait_what_is_typed_is_taken_to_come_from_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGINT with a terminal has reached the program already; SIGTERM has not."""
    heard: list[Received] = []
    monkeypatch.setattr(signals_module, "has_terminal", lambda: True)
    with Signals(heard.append):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
    assert heard == [Received(signal.SIGINT, True), Received(signal.SIGTERM, False)]


def test_a_terminal_signal_is_known_by_its_sender() -> None:
    """The kernel sends what is typed; a sender that is gone, or of another group, is somebody else."""

    class Info:
        def __init__(self, code: int, pid: int) -> None:
            self.si_code, self.si_pid = code, pid

    gone = subprocess.Popen(["true"])
    gone.wait()
    stranger = subprocess.Popen(["sleep", "60"], process_group=0)
    ours = subprocess.Popen(["sleep", "60"])
    try:
        answers = [signals_module._by_group(Info(0, pid)) for pid in (gone.pid, stranger.pid, os.getpid(), 0, ours.pid)]
    finally:
        for process in (stranger, ours):
            process.kill()
            process.wait()
    assert answers == [False, False, False, False, True]
    assert signals_module._by_group(Info(0x80, 0))


def test_handlers_that_python_did_not_set_are_restored_as_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that C code set cannot be put back by Python; the default comes closest."""
    monkeypatch.setattr(signals_module, "_CAUGHT", frozenset({signal.SIGUSR2}))
    before = signal.getsignal(signal.SIGUSR2)
    with Signals(lambda _: None) as signals:
        signals._before[signal.SIGUSR2] = None
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL
    signal.signal(signal.SIGUSR2, before)


def test_a_platform_without_process_groups_shares_its_console(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows Ctrl-C reaches all programs of the console by itself."""
    monkeypatch.delattr(os, "setpgid")
    assert has_terminal()


def test_the_controlling_terminal_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/tty can be opened exactly where there is a controlling terminal."""
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, flags: real(os.devnull, flags))
    assert has_terminal()

    def none(*_: object) -> int:
        raise OSError(errno.ENXIO, "no such device")

    monkeypatch.setattr(os, "open", none)
    assert not has_terminal()


def test_signals_are_named() -> None:
    """A signal has its usual name; a real-time one its number."""
    assert signal_name(15) == "SIGTERM"
    assert signal_name(40) == "signal 40"


def test_sigtstp_is_passed_on_and_stops_us_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program is stopped, and then we are; SIGCONT is passed on like any other."""
    stops: list[str] = []
    monkeypatch.setattr(child_module, "_stop", lambda: stops.append("stop"))
    child = Child(["sleep", "60"], shared=False, mask=None)
    try:
        child.pass_on(Received(signal.SIGTSTP, False))
        assert os.waitid(os.P_PID, child._process.pid, os.WSTOPPED) is not None
        child.pass_on(Received(signal.SIGCONT, False))
        assert os.waitid(os.P_PID, child._process.pid, os.WCONTINUED) is not None
        assert stops == ["stop"]
    finally:
        child.end()


def test_stopping_ourselves_holds_sigtstp_back_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTSTP is let through for the moment in which it stops us, and held back again from then on."""
    stopped: list[int] = []
    before = signal.signal(signal.SIGTSTP, lambda number, _: stopped.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})
    try:
        child_module._stop()
        assert signal.SIGTSTP in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        assert stopped == [signal.SIGTSTP]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGTSTP, before)


def test_a_stopped_program_stops_us_only_where_a_shell_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a terminal, a program that was stopped alone stops us as well, once; without one it does not."""
    program = (
        "(until test -e seen; do sleep 0.02; done; while sleep 0.02; do kill -CONT $$; done) & "
        "kill -STOP $$; kill $!; exit 4"
    )
    stops: list[Path] = []

    def stop() -> None:
        stops.append(Path("seen"))
        Path("seen").touch()

    monkeypatch.setattr(child_module, "_stop", stop)
    for shared in (True, False):
        monkeypatch.setattr(runner_module, "has_terminal", lambda shared=shared: shared)
        assert run("--quiet", "--", "sh", "-c", program) == 4
        assert len(stops) == 1


@pytest.mark.usefixtures("_grouped")
def test_an_end_that_another_thread_hears_of_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that blocks no signals may get the one that tells it, and waits would have no end."""
    monkeypatch.setattr(child_module, "LOOK", 0.05)
    heard = signals_module.Signals.next
    monkeypatch.setattr(
        signals_module.Signals,
        "next",
        lambda self, seconds: None if (came := heard(self, seconds)) and came.number == signal.SIGCHLD else came,
    )
    assert run("--max", "0", "--", "sh", "-c", "sleep 0.2; exit 3") == 3
    assert run("--max", "0", "--attempt-timeout", "0.2", "--", "sleep", "60") == 124


@linux
def test_a_program_asks_to_die_with_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between fork and exec it takes our signal mask and asks the kernel for SIGKILL at our death."""
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(child_module, "_prctl", lambda: lambda *arguments: asked.append(arguments))
    monkeypatch.setattr(os, "_exit", lambda status: asked.append((status,)))
    monkeypatch.setattr(os, "getppid", os.getpid)
    prepare = child_module._preparation(signal.pthread_sigmask(signal.SIG_BLOCK, []))
    prepare()
    assert asked == [(1, signal.SIGKILL, 0, 0, 0)]
    monkeypatch.setattr(os, "getppid", lambda: 1)
    prepare()
    assert asked[1:] == [(1, signal.SIGKILL, 0, 0, 0), (1,)]


def test_without_prctl_it_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another system, or a Python that cannot call it, runs the program all the same."""
    import ctypes

    def none(_: object) -> None:
        raise OSError("static")

    monkeypatch.setattr(ctypes, "CDLL", none)
    assert child_module._prctl() is None
    child_module._preparation(None)()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert child_module._prctl() is None


def test_windows_knows_neither_preparation_nor_sigcont(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them a program is started and ended plainly."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(signal, "SIGCONT")
    child = Child(["sleep", "60"], shared=True, mask=None)
    assert child.end() == -signal.SIGTERM


# --- what is told


def test_a_countdown_shows_whole_seconds() -> None:
    """A wait is made in steps that end where another whole second is left, and its sum stays exact."""
    shown: list[int] = []
    with VirtualClock(start=5) as inner:
        countdown = Countdown(inner, shown.append)
        countdown.sleep(2.5, Allowance(None))
        assert inner.waits == [0.5, 1, 1]
        assert (countdown.now(), countdown.epoch(), countdown.random()) == (2.5, 5, 0.5)
    assert shown == [3, 2, 1, 0]


def test_a_countdown_ends_when_it_is_cancelled() -> None:
    """A cancelled wait shows its last line and waits no more."""
    shown: list[int] = []
    limits = Allowance(None)

    def show(left: int) -> None:
        shown.append(left)
        if left == 4:
            limits.cancel()

    with VirtualClock() as inner:
        Countdown(inner, show).sleep(5, limits)
    assert shown == [5, 4, 0]


class Screen:
    """A pseudo-terminal in the place of standard error."""

    def __init__(self, columns: int = 80) -> None:
        self.primary, secondary = pty.openpty()
        termios.tcsetwinsize(secondary, (24, columns))
        self.stream = open(secondary, "w", encoding="utf-8")  # noqa: SIM115  # closed in text()

    def text(self) -> str:
        self.stream.close()
        data = b""
        while True:
            try:
                more = os.read(self.primary, 4096)
            except OSError:  # Linux says EIO where nobody has the other end open any more
                more = b""
            if not more:
                break
            data += more
        os.close(self.primary)
        return data.decode()


def test_on_a_terminal_the_wait_counts_down_in_one_line(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line of a retry is written over once a second, and stays, in its last form, as one line."""
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen.stream)
    monkeypatch.setenv("TERM", "xterm")
    assert run("--interval", "3", "--retry-on", "1", "--max", "1", "--", "false") == 1
    clear = "\r\x1b[K"
    line = "retrywrap run: false ended with exit status 1; retry 1 of 1"
    assert screen.text() == (
        f"{clear}{line} in 3 s{clear}{line} in 2 s{clear}{line} in 1 s{clear}{line} after 3 s\r\n"
        "retrywrap run: false ended with exit status 1; gave up after 2 attempts\r\n"
    )
    assert clock.waits == [1, 1, 1]


def test_a_counting_line_is_cut_to_the_terminal(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that would wrap could not be written over; the line that stays is whole."""
    screen = Screen(columns=30)
    monkeypatch.setattr(sys, "stderr", screen.stream)
    monkeypatch.setenv("TERM", "xterm")
    assert run("--interval", "1", "--retry-on", "1", "--max", "1", "--", "false") == 1
    counting, last = screen.text().split("\r\x1b[K")[1:]
    assert counting == "retrywrap run: false ended wi"
    assert last.startswith("retrywrap run: false ended with exit status 1; retry 1 of 1 after 1 s\r\n")


def test_a_zero_wait_and_a_dumb_terminal_count_nothing(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain lines where there is nothing to count, or where a line cannot be written over."""
    for interval, term in (("0", "xterm"), ("2", "dumb")):
        screen = Screen()
        monkeypatch.setattr(sys, "stderr", screen.stream)
        monkeypatch.setenv("TERM", term)
        run("--interval", interval, "--retry-on", "1", "--max", "1", "--", "false")
        assert "\x1b" not in screen.text()


def test_a_broken_standard_error_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed, missing or full: the program is retried all the same."""

    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(errno.ENOSPC, "no space")

    closed = io.StringIO()
    closed.close()
    for stream in (closed, None, Full()):
        monkeypatch.setattr(sys, "stderr", stream)
        say("nobody hears this")
        assert not is_live(stream)
        assert run(*FAST, "--", "sh", "-c", "test -e done || { touch done; exit 1; }") == 0
        Path("done").unlink()
        assert progress_module._columns() == 80


def test_retries_without_a_cap_are_counted_alone(clock: VirtualClock, capfd: pytest.CaptureFixture[str]) -> None:
    """Where a configured policy has no cap, a retry's line names none; other operations are not told of."""
    from retrywrap.decide.events import RetryEvent

    def event(**changes: Any) -> RetryEvent:
        fields: dict[str, Any] = {
            "name": "retry.scheduled", "operation": "job", "reason": None, "code": -6, "message": "job failed",
            "error_type": "result", "attempt": 2, "max": None, "wait": 0.25, "elapsed": 0.0, "time": 0.0, "rule": "x",
            "retry_after": None, "scope": None, "detail": "", "is_error": True, "is_retry": True,
        }  # fmt: skip
        return RetryEvent(**{**fields, **changes})

    progress = progress_module.Progress("job", lambda _: "", live=False)
    progress.heard(event())
    progress.heard(event(operation="other"))
    progress.heard(event(name="retry.unknown_error", wait=None))
    assert capfd.readouterr().err == "retrywrap run: job failed; retry 2 in 0.25 s\n"


# --- whole processes


def is_gone(pid: int, patience: float = PATIENCE) -> bool:
    """Wait until a process has ended; False where it does not."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def state_of(pid: int, wanted: str) -> bool:
    """Wait until a process is in a state, such as "T" for stopped."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == wanted:
            return True
        time.sleep(0.01)
    return False


def started(*arguments: str, **named: Any) -> subprocess.Popen[str]:
    """Start ``retrywrap run`` as a process of its own, without a controlling terminal."""
    command = [sys.executable, "-m", "retrywrap", "run", *arguments]
    options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, start_new_session=True, **{**options, **named})


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_real_signal_ends_a_real_wait(number: signal.Signals, status: int) -> None:
    """A process that waits for a minute ends at once when it is told to, with 128 + the signal's number."""
    with started("--interval", "60", "--retry-on", "1", "--", "false") as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "retrywrap run: false ended with exit status 1; retry 1 of 10 in 60 s\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == status
    assert (out, err) == (
        "",
        f"retrywrap run: false ended with exit status 1; ended by {number.name} after 1 attempt\n",
    )


@linux
def test_without_a_terminal_a_signal_reaches_all_descendants() -> None:
    """SIGTERM goes to the program's whole group: what a shell started does not outlive it."""
    with started("--", "sh", "-c", "sleep 60 & echo $!; wait") as process:
        assert process.stdout is not None
        grandchild = int(process.stdout.readline())
        process.terminate()
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert is_gone(grandchild)


@linux
def test_a_killed_retrywrap_takes_the_program_with_it() -> None:
    """SIGKILL cannot be caught; the kernel ends the program when we die."""
    with started("--", "sh", "-c", "echo $$; exec sleep 60") as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.kill()
        process.wait(PATIENCE)
        assert is_gone(child)


@linux
def test_stop_and_continue_reach_the_program() -> None:
    """SIGTSTP stops the program; SIGCONT lets it go on, and the status is its own."""
    script = "echo $$; read line; exit 5"
    with started("--", "sh", "-c", script, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        child = int(process.stdout.readline())
        process.send_signal(signal.SIGTSTP)
        assert state_of(child, "T")
        process.send_signal(signal.SIGCONT)
        assert state_of(child, "S")
        process.communicate("go\n", timeout=PATIENCE)
    assert process.returncode == 5


SHELL = """
import os, signal, subprocess, sys

signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = subprocess.Popen(
    [sys.executable, "-m", "retrywrap", "run", *sys.argv[1:]], process_group=0,
    preexec_fn=lambda: (os.tcsetpgrp(0, os.getpgrp()), signal.signal(signal.SIGTTOU, signal.SIG_DFL)),
)
while True:
    _, status = os.waitpid(job.pid, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        break
    os.tcsetpgrp(0, os.getpgrp())
    print("stopped by", signal.Signals(os.WSTOPSIG(status)).name, flush=True)
    os.tcsetpgrp(0, job.pid)
    os.killpg(job.pid, signal.SIGCONT)
print("job: status", os.waitstatus_to_exitcode(status), flush=True)
job.returncode = 0
"""


SCRIPT = """
import subprocess, sys

job = subprocess.Popen([sys.executable, "-m", "retrywrap", "run", *sys.argv[1:]], stdout=subprocess.PIPE, text=True)
job.stdout.readline()
job.terminate()
print("job: status", job.wait(), flush=True)
"""


class Terminal:
    """A terminal in which a shell that knows job control, or another script, runs ``retrywrap run``."""

    def __init__(self, *arguments: str, shell: str = SHELL) -> None:
        self.primary, secondary = pty.openpty()
        termios.tcsetwinsize(secondary, (24, 200))
        self.text = ""
        self.shell = subprocess.Popen(
            [sys.executable, "-c", shell, *arguments],
            stdin=secondary,
            stdout=secondary,
            stderr=secondary,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm"},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(secondary)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.shell.kill()
        self.shell.wait()
        os.close(self.primary)

    def see(self, text: str) -> str:
        """Wait until a text was shown; return all of what was shown up to there since the last call."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.text:
            if not select.select([self.primary], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"{text!r} was not shown; shown was {self.text!r}")
            self.text += os.read(self.primary, 4096).decode()
        before, found, self.text = self.text.partition(text)
        return before + found

    def type(self, keys: bytes) -> None:
        """Type."""
        os.write(self.primary, keys)


@linux
def test_ctrl_c_reaches_the_program_once_and_ends_the_retrying() -> None:
    """The terminal itself gives SIGINT to the program; it is not given again, and no retry follows."""
    script = "trap 'echo caught' INT; echo ready; sleep 0.4; sleep 0.4; echo end; exit 6"
    with Terminal("--interval", "0", "--retry-on", "any", "--", "sh", "-c", script) as terminal:
        terminal.see("ready")
        terminal.type(b"\x03")
        shown = terminal.see("job: status 6")
    assert shown.count("caught") == 1
    assert "ended by SIGINT after 1 attempt" in shown


@linux
def test_ctrl_c_ends_a_countdown() -> None:
    """Ctrl-C while the wait counts down ends it at once, with 130."""
    with Terminal("--interval", "60", "--retry-on", "1", "--", "false") as terminal:
        terminal.see("retry 1 of 10 in 60 s")
        terminal.type(b"\x03")
        assert "ended by SIGINT after 1 attempt" in terminal.see("job: status 130")


@linux
def test_ctrl_z_stops_both_and_fg_continues_both() -> None:
    """The shell has its terminal back at Ctrl-Z, and the program reads on from it after fg."""
    script = "echo ready; read line; echo got $line; exit 7"
    with Terminal("--", "sh", "-c", script) as terminal:
        terminal.see("ready")
        terminal.type(b"\x1a")
        terminal.see("stopped by SIGTSTP")
        terminal.type(b"words\n")
        terminal.see("got words")
        terminal.see("job: status 7")


@linux
def test_a_program_that_stops_itself_gives_the_shell_its_terminal_back() -> None:
    """Where only the program was stopped, we stop with it, so that the shell that waits for us goes on."""
    with Terminal("--", "sh", "-c", "echo ready; kill -STOP $$; echo again; exit 8") as terminal:
        terminal.see("ready")
        terminal.see("stopped by SIGTSTP")
        terminal.see("again")
        terminal.see("job: status 8")


@linux
def test_a_script_that_ends_us_ends_the_program() -> None:
    """A sender of our own group is no terminal: the program has not heard of it yet."""
    with Terminal("--max", "0", "--", "sh", "-c", "echo ready; exec sleep 60", shell=SCRIPT) as terminal:
        terminal.see("job: status 143")


@linux
@pytest.mark.parametrize("stubborn", [False, True])
def test_with_a_terminal_an_overdue_attempt_leaves_no_descendant(stubborn: bool, tmp_path: Path) -> None:
    """Nor where the descendant does not heed SIGTERM and its parent is gone."""
    trap = "trap '' TERM; " if stubborn else ""
    note = tmp_path / "pid"
    script = f"sh -c '{trap}echo $$ > {note}; sleep 60; true' & wait"
    with Terminal("--attempt-timeout", "0.5", "--max", "0", "--", "sh", "-c", script) as terminal:
        terminal.see("job: status 124")
    assert is_gone(int(note.read_text()))


def test_a_family_is_found_with_its_descendants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children and theirs; nobody else, no process that is gone, and nobody where there is no /proc to ask."""
    with subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True) as shell:
        assert shell.stdout is not None
        grandchild = int(shell.stdout.readline())
        try:
            found = family(os.getpid())
            assert {os.getpid(), shell.pid, grandchild} <= set(found)
            assert os.getppid() not in found
            assert descends_from(grandchild, os.getpid())
            assert not descends_from(os.getpid(), grandchild)
            send_to({grandchild: "another time", 0x3FFFFFFF: "never"}, signal.SIGKILL)
            assert not is_gone(grandchild, patience=0.2)
        finally:
            send_to(family(shell.pid), signal.SIGKILL)
    assert is_gone(grandchild)
    assert family(shell.pid) == {}
    monkeypatch.setattr(os, "listdir", lambda _: (_ for _ in ()).throw(FileNotFoundError()))
    assert family(os.getpid()) == {}


@linux
def test_a_real_terminal_shows_the_retry_in_one_line() -> None:
    """The line that counted down stays as one line."""
    with Terminal("--interval", "0.05", "--retry-on", "1", "--max", "1", "--", "false") as terminal:
        shown = terminal.see("job: status 1")
    assert "\r\x1b[Kretrywrap run: false ended with exit status 1; retry 1 of 1 in 1 s" in shown
    assert "\r\x1b[Kretrywrap run: false ended with exit status 1; retry 1 of 1 after 0.05 s\r\n" in shown
