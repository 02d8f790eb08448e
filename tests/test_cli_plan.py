"""`retrywrap plan`: the table, the picture, the charts, and the expressions it reads."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from pathlib import Path

import pytest

from retrywrap import configure
from retrywrap.cli import plan
from retrywrap.cli.expression import read_backoff
from retrywrap.cli.options import read_count, read_seconds
from retrywrap.cli.picture import ASCII, UNICODE, draw, format_seconds, glyphs_for
from retrywrap.cli.usage import UsageError
from retrywrap.decide.backoff import Backoff, as_backoff, decorrelated, exponential, fibonacci, fixed, linear
from retrywrap.decide.planning import PlannedWait
from retrywrap.errors import ConfigurationError
from retrywrap.testing import reset


def run(*arguments: str) -> int:
    """Run the subcommand as the command line would."""
    parser = argparse.ArgumentParser(prog="retrywrap")
    plan.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["plan", *arguments])
    status: int = parsed.run(parsed)
    return status


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the subcommand and return what it printed."""
    assert run(*arguments) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_the_default_is_ten_retries_five_seconds_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """Without options it shows the defaults of with_retry, with the sums of the waits."""
    lines = printed(capsys).splitlines()
    assert lines[0] == "fixed(5): 10 retries"
    assert lines[4].split() == ["1", "5", "5", "5", "5", "5", "5"]
    assert lines[13].split() == ["10", "5", "5", "5", "50", "50", "50"]
    assert lines[-1] == "All waits together: 50 s."


def test_what_is_not_given_is_what_is_configured(capsys: pytest.CaptureFixture[str]) -> None:
    """As for the operations that give nothing themselves; what is given counts more."""
    configure(error_retry_max=3, error_retry_interval=2)
    assert printed(capsys).startswith("fixed(2): 3 retries\n")
    assert printed(capsys, "--max", "1").startswith("fixed(2): 1 retry\n")
    assert printed(capsys, "--interval", "1").startswith("fixed(1): 3 retries\n")


def test_what_is_given_needs_no_configuration(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is wrong is in nobody's way then."""
    monkeypatch.setenv("RETRYWRAP_TYPO", "3")
    reset()
    assert printed(capsys, "--max", "1", "--interval", "1").startswith("fixed(1): 1 retry\n")
    with pytest.raises(ConfigurationError, match="RETRYWRAP_TYPO"):
        printed(capsys, "--max", "1")


def test_the_whole_output_of_a_jittered_backoff(capsys: pytest.CaptureFixture[str]) -> None:
    """Table, picture and conclusion, to the letter: points stand below each other, bars from least to most."""
    text = printed(capsys, "--backoff", "exponential(1, cap=4, jitter='equal')", "--max", "4", "--timeout", "8")
    assert text == EXPECTED


EXPECTED = """\
exponential(1, cap=4, jitter='equal'): 4 retries, timeout 8 s

               wait, in seconds             since the first failure
   retry     least      mean      most       least      mean      most   in time
       1      0.50      0.75      1.00        0.50      0.75      1.00       yes
       2      1.00      1.50      2.00        1.50      2.25      3.00       yes
       3      2.00      3.00      4.00        3.50      5.25      7.00       yes
       4      2.00      3.00      4.00        5.50      8.25     11.00     maybe

       1 │········━━━━━●━━━━
       2 │·················━━━━━━━━━●━━━━━━━━
       3 │··································━━━━━━━━━━━━━━━━━●━━━━━━━━━━━━━━━━━
       4 │··································━━━━━━━━━━━━━━━━━●━━━━━━━━━━━━━━━━━
         └─────────────────────────────────────────────────────────────────────
         0 s                               2 s                              4 s

All waits together: 5.5 s to 11 s, 8.25 s on average.
Retries within 8 s, if the attempts themselves took no time: 3 for sure, 4 at most.
"""


def test_retries_that_cannot_happen_in_time_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    """A retry whose waits add up to exactly the timeout fits; the next one does not."""
    lines = printed(capsys, "--max", "4", "--interval", "5s", "--timeout", "10").splitlines()
    assert [line.split()[-1] for line in lines[4:8]] == ["yes", "yes", "no", "no"]
    assert lines[-1].endswith("within 10 s, if the attempts themselves took no time: 2 for sure.")


def test_no_line_is_wider_than_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The picture takes the columns there are, between a least and a most that can be read."""
    arguments = ["--backoff", "exponential(0.01, cap=9e6)", "--max", "40", "--timeout", "1h"]
    assert max(map(len, printed(capsys, *arguments).splitlines()[:-3])) == 80
    for columns, width in (("100", 100), ("500", 120), ("10", 31)):
        monkeypatch.setenv("COLUMNS", columns)
        axis = next(line for line in printed(capsys, *arguments).splitlines() if "└" in line)
        assert len(axis) == width - 1


def test_a_million_retries_are_elided(capsys: pytest.CaptureFixture[str]) -> None:
    """The first twenty and the last five stand for a million, in the table and in the picture."""
    text = printed(capsys, "--max", "1000000", "--interval", "60")
    lines = text.splitlines()
    assert len(lines) < 70
    assert lines[0] == "fixed(60): 1,000,000 retries"
    assert [line.split()[0] for line in lines[4:30]] == [
        *map(str, range(1, 21)),
        "⋮",
        *map(str, range(999_996, 1_000_001)),
    ]
    assert text.count("⋮") == 8
    assert lines[-1] == "All waits together: 6.00e+07 s (694 days)."


def test_twenty_five_retries_are_not_elided(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing is left out, no gap is shown."""
    assert "⋮" not in printed(capsys, "--max", "25")
    assert "⋮" in printed(capsys, "--max", "26")


def test_no_retries_need_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    """A plan without any retry says so in one line; one retry is not called retries."""
    assert printed(capsys, "--max", "0") == "fixed(5): no retry\n"
    assert printed(capsys, "--backoff", "[]") == "as_backoff([]): no retry\n"
    assert printed(capsys, "--max", "1").startswith("fixed(5): 1 retry\n")


def test_waits_of_zero_are_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    """No division by zero where every wait is 0."""
    lines = printed(capsys, "--interval", "0", "--max", "1").splitlines()
    assert "       1 │●" in lines
    assert lines[-1] == "All waits together: 0 s."


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_cannot_write_blocks_gets_ascii(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the encoding has no box characters the picture is drawn with plain ones."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    monkeypatch.setattr(sys, "stdout", stream)
    assert run("--backoff", "exponential(1)", "--max", "30") == 0
    stream.flush()
    text = raw.getvalue().decode("ascii")
    assert "       2 |=o=\n" in text
    assert "         +------" in text
    assert "       :" in text


def test_glyphs_follow_the_encoding() -> None:
    """Unicode where it can be written; ASCII where it cannot or where nobody knows."""
    assert glyphs_for("utf-8") is UNICODE
    assert glyphs_for("ascii") is ASCII
    assert glyphs_for(None) is ASCII
    assert glyphs_for("no-such-encoding") is ASCII


def test_json_has_every_retry_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON object holds the backoff, the limits and all retries, not elided."""
    text = printed(capsys, "--json", "--max", "40", "--interval", "0.1", "--timeout", "3.95")
    assert text.count("\n") == 1
    found = json.loads(text)
    assert (found["backoff"], found["max"], found["timeout"]) == ("fixed(0.1)", 40, 3.95)
    assert len(found["retries"]) == 40
    assert found["retries"][2] == {
        "retry": 3,
        "wait": {"least": 0.1, "mean": 0.1, "most": 0.1},
        "sum": {"least": 0.3, "mean": 0.3, "most": 0.3},
        "in_time": "yes",
    }
    assert found["retries"][-1]["in_time"] == "no"
    assert "in_time" not in json.loads(printed(capsys, "--json", "--max", "1"))["retries"][0]
    assert json.loads(printed(capsys, "--json", "--max", "0"))["retries"] == []


def test_the_seed_decides_sampled_averages(capsys: pytest.CaptureFixture[str]) -> None:
    """The same seed prints the same averages, another seed others."""
    arguments = ["--json", "--max", "3", "--backoff", "decorrelated(1, cap=9)"]
    first = printed(capsys, *arguments, "--seed", "5")
    assert printed(capsys, *arguments, "--seed", "5") == first
    assert printed(capsys, *arguments, "--seed", "6") != first


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0"), (0.05, "0.05"), (0.1234, "0.123"), (1.25, "1.25"), (10, "10"), (12.75, "12.8"), (100.4, "100")],
)
def test_seconds_are_shown_in_three_digits(seconds: float, text: str) -> None:
    """Short numbers without trailing zeros; whole ones are never cut."""
    assert format_seconds(seconds) == text


def test_large_seconds_stay_readable() -> None:
    """Thousands are grouped, and what fits into no column is written with an exponent."""
    assert format_seconds(1234.5) == "1,234"
    assert format_seconds(1234.5, 2) == "1,234.50"
    assert format_seconds(1e300, 2) == "1.00e+300"


def test_the_picture_of_a_gap_and_of_nothing() -> None:
    """A gap is one row; no rows are only the axes."""
    lines = list(draw([PlannedWait(1, 0, 1, 2), None, PlannedWait(9, 2, 2, 2)], 40, ASCII))
    assert lines[0] == "       1 |==============o=============="
    assert lines[1] == "       : |"
    assert lines[2] == "       9 |............................o"
    assert len(list(draw([], 40, ASCII))) == 2


@pytest.mark.parametrize(
    ("timeout", "text"), [("1000", "1,000 s (16.7 min)"), ("20000", "20,000 s (5.56 h)"), ("9", "9 s")]
)
def test_long_durations_are_also_given_in_a_larger_unit(
    timeout: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody reads 20000 seconds: hours and minutes stand beside them."""
    assert f"Retries within {text}, if" in printed(capsys, "--timeout", timeout)


def test_decimals_get_fewer_as_the_sums_grow(capsys: pytest.CaptureFixture[str]) -> None:
    """Three decimals where waits are tiny, none where all are whole, one where the sums are huge."""
    assert "     0.050 " in printed(capsys, "--interval", "50ms", "--max", "2")
    assert "      0.50 " in printed(capsys, "--interval", "0.5", "--max", "2")
    assert " 3,600.5 " in printed(capsys, "--interval", "3600.5", "--max", "30")


# --- charts


def test_png_and_svg_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both files are pictures; the SVG's texts name what is drawn, and it is the same each time."""
    png, svg, again = tmp_path / "plan.png", tmp_path / "plan.svg", tmp_path / "again.svg"
    arguments = ["--backoff", "exponential(0.1, cap=20)", "--timeout", "30"]
    printed(capsys, *arguments, "--png", str(png), "--svg", str(svg))
    printed(capsys, *arguments, "--svg", str(again))
    assert png.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    text = svg.read_text("utf-8")
    for words in (
        "exponential(0.1, cap=20)",
        "wait, in seconds",
        "all waits so far, in minutes",
        "timeout of 30 s",
        "retry",
    ):
        assert words.replace("minutes", "seconds") in text
    assert again.read_bytes() == svg.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.svg", "plan.png", "plan.svg"]


def test_the_chart_of_many_retries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Thousands of retries are drawn as a band, with a bounded number of points, in a unit that can be read."""
    svg = tmp_path / "plan.svg"
    text = "fixed(600).jittered(0.1)" + " + fixed(0)" * 8
    printed(capsys, "--max", "5000", "--backoff", text, "--svg", str(svg))
    drawn = svg.read_text("utf-8")
    assert len(drawn) < 400_000
    assert "wait, in minutes" in drawn
    assert "all waits so far, in days" in drawn
    assert f"{text[:79]}…" in drawn


def test_json_and_a_chart_go_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json replaces the text, not the chart."""
    json.loads(printed(capsys, "--json", "--png", str(tmp_path / "plan.png")))
    assert (tmp_path / "plan.png").stat().st_size > 1000


def test_without_matplotlib_one_line_says_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing extra is noticed before anything is printed or written."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"pip install 'retrywrap\[plot\]'"):
        run("--png", str(tmp_path / "plan.png"))
    assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_chart_that_cannot_be_written_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing folder, an impossible name, or nothing to draw is an error of use that names the option."""
    missing = os.path.join(tmp_path, "missing", "plan.png")
    with pytest.raises(UsageError, match=r"--png '.*plan\.png' cannot be written: No such file or directory"):
        run("--png", missing)
    with pytest.raises(UsageError, match="--svg '' cannot be written: "):
        run("--svg", "")
    with pytest.raises(UsageError, match="there is no retry to draw"):
        run("--png", str(tmp_path / "plan.png"), "--max", "0")
    assert list(tmp_path.iterdir()) == []


# --- options and expressions


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5),
        ("0.5", 0.5),
        ("500ms", 0.5),
        ("2m", 120),
        ("1h", 3600),
        ("3s", 3),
        (" 1 S ", 1),
        ("0", 0),
        ("1e3", 1000),
    ],
)
def test_seconds_are_read_with_or_without_a_unit(text: str, seconds: float) -> None:
    """Plain numbers are seconds; ms, s, m and h are understood."""
    assert read_seconds(text, "--timeout") == seconds


@pytest.mark.parametrize("text", ["", "x", "-1", "nan", "inf", "1e400", "5 minutes", "0x10", "s", "1e308h"])
def test_seconds_that_are_none_are_refused(text: str) -> None:
    """The message names the option, the value and what is expected."""
    with pytest.raises(UsageError, match=rf"--interval '{text}': expected seconds such as 5, .* 0 or more"):
        run(f"--interval={text}")


def test_zero_seconds_are_refused_where_they_make_no_sense() -> None:
    """An option may ask for more than nothing."""
    with pytest.raises(UsageError, match=r"--attempt-timeout '0': expected seconds .*, more than 0"):
        read_seconds("0", "--attempt-timeout", zero=False)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "x", "1_000", "٣", "1" * 19, " 1"])
def test_counts_that_are_none_are_refused(text: str) -> None:
    """Only ASCII digits are a count."""
    with pytest.raises(UsageError, match=r"--max .*: expected a whole number, 0 or more"):
        run(f"--max={text}")
    assert read_count("0123", "--max") == 123


def test_interval_and_backoff_exclude_each_other() -> None:
    """Two answers to one question are refused."""
    with pytest.raises(UsageError, match="--interval and --backoff both say how long to wait"):
        run("--interval", "5", "--backoff", "fixed(5)")


@pytest.mark.parametrize(
    ("text", "backoff"),
    [
        ("fixed(5)", fixed(5)),
        (" exponential(0.1, cap=20, jitter=None) ", exponential(0.1, cap=20, jitter=None)),
        ("exponential(1, factor=3, jitter='equal')", exponential(1, factor=3, jitter="equal")),
        ("linear(1, 2)", linear(1, 2)),
        ("decorrelated(base=1)", decorrelated(1)),
        ("fibonacci(1).jittered(0.2).capped(9)", fibonacci(1).jittered(0.2).capped(9)),
        ("fixed(1).take(3).then(exponential(2) + fixed(1))", fixed(1).take(3).then(exponential(2) + fixed(1))),
        ("(fixed(1) + fixed(2)) * 2", (fixed(1) + fixed(2)) * 2),
        ("2 * fixed(1)", fixed(1) * 2),
        ("fixed(1).take(1).then([2, 3.5])", fixed(1).take(1).then([2, 3.5])),
        ("[1, 2]", as_backoff([1, 2])),
        ("1, 2", as_backoff([1, 2])),
        ("7", fixed(7)),
        ("as_backoff([1])", as_backoff([1])),
    ],
)
def test_expressions_are_read_as_python_writes_them(text: str, backoff: Backoff) -> None:
    """The five factories, +, *, the methods, numbers and lists of numbers; what repr shows can be pasted."""
    assert read_backoff(text, "--backoff") == backoff
    assert read_backoff(repr(backoff), "--backoff") == backoff


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is no expression"),
        ("exponential(", "it is no expression .*was never closed"),
        ("fixed(1); fixed(2)", "it is no expression"),
        ("fixed", "fixed needs its arguments, in parentheses"),
        ("fixed(1).take", r"'fixed\(1\)\.take' is not allowed"),
        ("expo(1)", "'expo' is unknown; there are the functions fixed, linear, .* and the methods capped,"),
        ("__import__('os').system('true')", r".*system\" is unknown"),
        ("fixed.__class__(1)", "unknown"),
        ("fixed(1).__reduce__()", "unknown"),
        ("fixed(1).waits(1)", "unknown"),
        ("(lambda: 1)()", "unknown"),
        ("fixed(lambda: 1)", "'lambda: 1' is not allowed"),
        ("fixed(10 ** 10 ** 10)", "not allowed"),
        ("fixed(not 1)", "not allowed"),
        ("fixed(-x)", "not allowed"),
        ("fixed(True)", "seconds must be .* got True"),
        ("fixed(b'1')", "not allowed"),
        ("fixed(-1)", "seconds must be .* got -1"),
        ("fixed('1')", "seconds must be .* got '1'"),
        ("exponential(1, caps=20)", "no parameter 'caps': did you mean cap="),
        ("exponential(1, **{})", "not allowed"),
        ("exponential(1, **fixed(1))", r"no parameter '\*\*'"),
        ("exponential(*[1])", "not allowed"),
        ("fixed()", "missing 1 required positional argument"),
        ("fixed(1) + 1", r"'1' is no backoff; fixed\(…\) makes one"),
        ("(1).take(3)", "'1' is no backoff"),
        ("fixed(1) * fixed(2)", r"\* takes a backoff and a number"),
        ("2 * 3", r"\* takes a backoff and a number"),
        ("fixed(1) * 'x'", "."),
        ("fixed(1).then(2)", "never be reached"),
        ("[1, -2]", r"interval\[1\] must be .* got -2"),
        ("'5'", "interval must be"),
        ("None", "interval must be"),
        ("-" * 500 + "1", "not allowed|nested too deeply"),
        ("(" * 400 + ")" * 400, "no expression|nested too deeply"),
        ("fixed(" * 90 + ")" * 90, "."),
        ("1" * 2000, "longer than 1000 characters"),
        ("fixed(1)\0", "."),
    ],
)
def test_what_is_no_backoff_is_refused_with_the_reason(text: str, reason: str) -> None:
    """Nothing but backoffs is ever evaluated, and every refusal is one line that shows how to write it."""
    with pytest.raises(UsageError) as caught:
        read_backoff(text, "--backoff")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("--backoff ")
    assert message.endswith("; write for example 'exponential(0.1, cap=20)'")
    with pytest.raises(UsageError, match=reason):
        read_backoff(text, "--backoff")


def test_a_parser_that_runs_out_of_memory_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python's own parser cannot take is said to be nested too deeply."""
    for error in (MemoryError, RecursionError):

        def parse(*_: object, error: type[Exception] = error, **__: object) -> None:
            raise error

        monkeypatch.setattr("ast.parse", parse)
        with pytest.raises(UsageError, match="nested too deeply"):
            read_backoff("fixed(1)", "--backoff")
