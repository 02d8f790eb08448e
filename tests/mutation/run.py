"""Mutation testing of what decides, runs and records: `python tests/mutation/run.py`, in the environment of the tests.

Each mutant (see `mutants`) is run against the tests that reach its line, the likeliest first, until one fails. One that
no test notices has survived; where that is right, `explained.txt` says why. No file changes: a mutant lives in memory
alone, in a process of its own. First, after the tests were collected once, each mutant is put into functions that are
there already, in a fork, for some of the tests, and where it survives for the others. What differs at import time, and
what survived, is imported anew, in a fork of a process that has not imported the package. It runs in pure Python.
Programs that a test starts run without a mutant.

What would fail without a mutant kills none. So each test runs first on functions that were swapped for their equals,
and is left out where it sees that; and each mutant that died by being imported anew has to live when
the same tests run in the same way on the original.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import itertools
import json
import math
import os
import random
import signal
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple, TypeAlias

import pytest
from mutants import Mutant, mutants, swaps
from pool import KILLER, pool

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
MODULES = (
    *("decide/context", "decide/backoff", "decide/budget", "record/registry"),
    *("run/drive", "run/track", "run/scope", "run/block"),
)
LIBRARIES = ("asyncio", "concurrent.futures", "coverage", "hypothesis", "structlog", "trio", "wrapt")
# Tests of what stands beside these modules: programs, servers, disks, documents, what reads the code.
OTHERS = ("test_atomic", "test_benchmarks", "test_campaign", "test_classifiers", "test_cli", "test_config", "test_disk")
OTHERS += ("test_examples", "test_fuzz", "test_import", "test_injecting", "test_listing", "test_logfile", "test_native")
OTHERS += (
    "test_pytest_plugin",
    "test_reader",
    "test_real",
    "test_servers",
    "test_store",
    "test_structure",
    "test_typing",
)
OTHERS += ("test_concurrency_exit", "test_concurrency_loops", "test_hostile_secrets")
# Where those tests of a module are that say most of it, and are to be tried first.
HOMES = {
    "context": ("test_context", "test_details", "test_model_context"),
    "backoff": ("test_backoff", "test_model_backoff"),
    "budget": ("test_budget", "test_model_budget"),
    "registry": ("test_registry", "test_model_registry"),
    "drive": (
        "test_operation",
        "test_tracebacks",
        "test_loops",
        "test_semantics",
        "test_scope",
        "test_blocks",
        "test_edges",
    ),
    "scope": ("test_scope", "test_blocks", "test_edges"),
    "block": ("test_blocks", "test_scope", "test_edges"),
}

COMPREHENSIONS = "<dictcomp>", "<listcomp>", "<setcomp>", "<genexpr>"
"""How the code of those is called that a module runs when it is imported."""

Living: TypeAlias = "dict[Any, list[FunctionType]]"
"""The functions that there are, by the place of their code."""


class Test(NamedTuple):
    """What is known of a test.

    Attributes:
        name: Its node id.
        seconds: The processor's time that it needs.
        lines: Those of each module that it reaches.
    """

    name: str
    seconds: float
    lines: dict[str, list[int]]


class Session:
    """A run of pytest: collected by it, but run by us, each test by itself, until one fails."""

    def __init__(self, run: Callable[[Session], None]) -> None:
        self.run = run
        self.failed = False
        self.collected = False

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Take the place of pytest's own loop."""
        self.items = {item.nodeid: item for item in session.items}
        self.collected = not session.testsfailed
        self.run(self)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of a failure."""
        self.failed = self.failed or report.failed

    def passes(self, name: str, seconds: float) -> bool:
        """Run one test; a signal ends the process where it takes much more of the processor than it needs."""
        self.failed = False
        signal.setitimer(signal.ITIMER_PROF, 3 + 10 * seconds)
        item = self.items[name]
        item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
        return not self.failed

    def measured(self, name: str) -> tuple[float, bool]:
        """Run one test; return the processor's time that it needed, and whether it passed."""
        before = sum(os.times()[:4])
        passed = self.passes(name, 100)
        return sum(os.times()[:4]) - before, passed

    def kills(self, chosen: list[Test]) -> int:
        """Return 1, as an exit status, as soon as a test fails; 0 if none does."""
        for test in chosen:
            if test.name in self.items and not self.passes(test.name, test.seconds):  # some names hold addresses
                Path(os.environ["TMPDIR"], KILLER).write_text(test.name)
                return 1
        return 0

    def in_parts(self, names: list[str], workers: int, work: Callable[[list[str]], Any]) -> Iterator[Any]:
        """Have some tests looked at by forks of this process; yield what each found out of its part of them."""
        with tempfile.TemporaryDirectory() as folder:

            def job(part: int) -> int:
                Path(folder, f"{part}").write_text(json.dumps(work(names[part :: workers * 4])))
                return 0

            for part, how, _ in pool(((n, 3600, lambda n=n: job(n)) for n in range(workers * 4)), workers):
                if how != "survived":
                    raise SystemExit(f"part {part} of the tests did not come to its end: {how}")
            for path in Path(folder).iterdir():
                yield json.loads(path.read_text())

    def known(self, paths: list[str], workers: int, kept: dict[str, Test]) -> dict[str, Test]:
        """Run each test without a mutant, but for those of which that is known; return those that pass."""

        def observe(names: list[str]) -> Any:
            import coverage

            cover = coverage.Coverage(data_file=None, include=paths, config_file=False)
            cover.set_option("run:disable_warnings", ["no-data-collected", "module-not-measured"])
            found = []
            for name in names:
                cover.start()
                cover.switch_context(name)
                seconds, passed = self.measured(name)
                cover.stop()
                passed = passed or self.passes(name, 100)  # a tracer may be what it stumbled over
                found.append((name, seconds, passed))
            return found, {path: cover.get_data().contexts_by_lineno(path) for path in paths}

        tests = {name: test for name, test in kept.items() if name in self.items}
        for found, lines in self.in_parts([name for name in self.items if name not in kept], workers, observe):
            for name, seconds, passed in found:
                if passed:
                    tests[name] = Test(name, seconds, {})
                else:
                    print(f"left out, because it fails without a mutant: {name}", flush=True)
            for path, contexts in lines.items():
                module = _named(Path(path))
                for line, names_there in contexts.items():
                    for name in tests.keys() & names_there:
                        tests[name].lines.setdefault(module, []).append(int(line))
        return tests

    def controlled(self, tests: dict[str, Test], workers: int, living: Living) -> dict[str, Test]:
        """Run each test on functions swapped for their equals; return those that pass, as they do not see the swap."""

        def control(names: list[str]) -> list[tuple[str, float, bool]]:
            for function in (each for found in living.values() for each in found):
                function.__code__ = function.__code__.replace()
            return [(name, *self.measured(name)) for name in names]

        steady: dict[str, Test] = {}
        for name, seconds, passed in itertools.chain.from_iterable(self.in_parts(list(tests), workers, control)):
            if passed:
                steady[name] = tests[name]._replace(seconds=max(seconds, tests[name].seconds))
            else:
                print(f"left out, because it fails with functions swapped for their equals: {name}", flush=True)
        return steady


class Importer(importlib.abc.MetaPathFinder):
    """Lets a mutant be imported in the place of its module."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant
        self.name = ".".join(mutant.path.relative_to(CHECKOUT).with_suffix("").parts)

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> Any:
        """Find the one module."""
        if name != self.name:
            return None
        code = self.mutant.code

        class Loader(importlib.machinery.SourceFileLoader):
            def get_code(self, fullname: str) -> CodeType:
                return code

        place = str(self.mutant.path)
        return importlib.util.spec_from_file_location(name, place, loader=Loader(name, place))


def chosen_for(mutant: Mutant, tests: dict[str, Test], *, anywhere: bool) -> list[Test]:
    """Return the tests that reach a mutant's line, or its module, the quickest first."""
    reached = ((test, test.lines.get(_named(mutant.path))) for test in tests.values())
    found = [test for test, lines in reached if lines and (anywhere or not set(mutant.lines).isdisjoint(lines))]
    homes = tuple(f"tests/{home}" for home in HOMES.get(mutant.path.stem, (f"test_{mutant.path.stem}",)))
    return sorted(found, key=lambda test: (not test.name.startswith(homes) or test.seconds > 0.2, test.seconds))


def first_few(chosen: list[Test], killers: Counter[str], seconds: float) -> list[Test]:
    """Return those of some tests that are likely to kill, and need no more than these seconds together.

    These are the tests that killed other mutants of the same function, and then the quickest.
    """
    found = []
    for test in sorted(chosen, key=lambda test: -killers[test.name]):
        seconds -= test.seconds
        if seconds < 0:
            break
        found.append(test)
    return found


def swap(pairs: list[tuple[CodeType, CodeType]], living: Living) -> bool:
    """Put a mutant's functions in the place of those that are there; return whether that can be done."""
    found = [(function, old, new) for old, new in pairs for function in living.get(_place(old), ())]
    if not found or any(old.co_freevars != new.co_freevars for _, old, new in found):
        return False
    for function, _, new in found:
        function.__code__ = new
    return True


def _place(code: CodeType) -> Any:
    return code.co_filename, code.co_qualname, code.co_firstlineno


def arguments(files: Iterable[str]) -> list[str]:
    """Return pytest's command line."""
    plain = [
        "-q",
        "-s",
        "--continue-on-collection-errors",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    ]
    return [*plain, "--rootdir", str(CHECKOUT), "-c", str(CHECKOUT / "setup.cfg"), *files]


def in_functions(found: list[Mutant], files: list[str], options: argparse.Namespace, out: Path) -> int:
    """Try the mutants that are functions' own, after one collection of the tests; leave what came of it in a file."""

    def run(session: Session) -> None:
        paths = [str(CHECKOUT / "retrywrap" / f"{module}.py") for module in MODULES]
        kept = _kept(options.keep)
        tests = session.known(paths, options.workers, kept)
        for module in MODULES:  # some load at the first decoration
            importlib.import_module(f"retrywrap.{module.replace('/', '.')}")
        living: Living = {}
        for each in gc.get_objects():
            if type(each) is FunctionType and each.__code__.co_filename in paths:
                living.setdefault(_place(each.__code__), []).append(each)
        gc.freeze()
        new = {name: test for name, test in tests.items() if name not in kept}
        tests = {name: test for name, test in tests.items() if name in kept}
        tests |= session.controlled(new, options.workers, living)
        if options.keep:
            options.keep.write_text(json.dumps([_sources(), list(tests.values())]))

        ended: dict[int, str] = {}
        killers: dict[str, Counter[str]] = defaultdict(Counter)
        tried: dict[int, set[str]] = defaultdict(set)

        def jobs(seconds: float) -> Iterator[tuple[int, float, Callable[[], int]]]:
            for n, mutant in enumerate(found):
                if ended.get(n, "survived") != "survived":
                    continue
                pairs = swaps(_original(mutant.path), mutant.code)
                reaching = [test for test in chosen_for(mutant, tests, anywhere=False) if test.name not in tried[n]]
                chosen = first_few(reaching, killers[mutant.where], seconds)
                tried[n].update(test.name for test in chosen)
                if pairs and chosen:

                    def work(pairs: Any = pairs, chosen: Any = chosen) -> int:
                        return session.kills(chosen) if swap(pairs, living) else 0

                    yield n, 20 + 5 * sum(test.seconds for test in chosen), work

        for seconds in () if options.anew else (options.first, math.inf):
            for done, (n, how, by) in enumerate(pool(jobs(seconds), options.workers), start=1):
                ended[n] = how
                killers[found[n].where][by] += 1
                if options.out and how == "survived" and seconds == math.inf:
                    with options.out.open("a") as file:
                        file.write(f"{_told([(found[n].line, str(found[n]))])}\n\n")
                if done % 100 == 0:
                    print(f"{done}; mutants so far: {dict(Counter(ended.values()))}", flush=True)
            print(f"so far: {dict(Counter(ended.values()))}", flush=True)
        out.write_text(json.dumps([ended, list(tests.values())]))

    return pytest.main(arguments(files), plugins=[Session(run)])


def _told(survivors: Iterable[tuple[int, str]]) -> str:
    return "\n\n".join(f"# line {line}\n{text}" for line, text in survivors)


def _named(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


def _sources() -> str:
    """Return what tells the modules from any other version of them: with another, other tests reach other lines."""
    texts = (CHECKOUT.joinpath("retrywrap", f"{module}.py").read_bytes() for module in MODULES)
    return hashlib.sha256(b"".join(texts)).hexdigest()


def _kept(path: Path | None) -> dict[str, Test]:
    if not path or not path.exists():
        return {}
    sources, tests = json.loads(path.read_text())
    if sources != _sources():
        print(f"{path} is of other sources of these modules: the tests are looked at anew", flush=True)
        return {}
    return {each[0]: Test(*each) for each in tests}


_originals: dict[Path, CodeType] = {}


def _original(path: Path) -> CodeType:
    if path not in _originals:
        _originals[path] = compile(path.read_text("utf-8"), str(path), "exec", dont_inherit=True)
    return _originals[path]


def imported(mutant: Mutant, chosen: list[Test]) -> int:
    """Import a mutant in the place of its module, then the tests, and run these; return 1 as soon as one fails."""
    sys.meta_path.insert(0, Importer(mutant))
    status = [1]

    def run(session: Session) -> None:
        if session.collected:  # else a file of tests could not be imported, as it can without the mutant
            status[0] = session.kills(chosen)

    signal.setitimer(signal.ITIMER_PROF, 60)
    files = dict.fromkeys(test.name.partition("::")[0] for test in chosen)
    # Plain, because pytest would else import all of a package that has a plugin, as this one, by itself.
    pytest.main(["--assert=plain", *arguments([str(CHECKOUT / file) for file in files])], plugins=[Session(run)])
    return status[0]


def _blocks(path: Path) -> dict[str, str]:
    """Return the mutants that a file describes, a block for each statement, and what is said of them."""
    found: dict[str, str] = {}
    for block in path.read_text("utf-8").split("\n\n"):
        lines = [line for line in block.strip("\n").splitlines() if not line.startswith("#")]
        why = " ".join(line[2:] for line in lines if line.startswith("= "))
        for line in lines[2:]:
            if line.startswith("+ "):
                found["\n".join([*lines[:2], line])] = why
    return found


def explained() -> dict[str, str]:
    """Return the mutants that are right to survive, and why."""
    return {mutant: why for mutant, why in _blocks(HERE / "explained.txt").items() if why}


def main() -> int:
    """Run it; return 0 where no survivor is unexplained."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("modules", nargs="*", default=list(MODULES), help=f"of {', '.join(MODULES)}; all by default")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="how many mutants are tried at once")
    parser.add_argument("--sample", type=int, help="try so many of each module, chosen at random")
    parser.add_argument("--seed", type=int, default=0, help="for --sample")
    parser.add_argument("--only", type=Path, help="try those that such a file names as --out writes")
    parser.add_argument("--tests", nargs="*", help="files of tests; by default all that concern these modules")
    parser.add_argument("--first", type=float, default=4, help="seconds for the first few tests of each mutant")
    parser.add_argument("--in-place", action="store_true", help="import none anew, but try all tests")
    parser.add_argument("--anew", action="store_true", help="try none in place, but import each anew")
    parser.add_argument("--keep", type=Path, help="a file for what is known of the tests, to be read by the next run")
    parser.add_argument("--out", type=Path, help="a file for the survivors that are not explained")
    options = parser.parse_args()
    if unknown := set(options.modules) - set(MODULES):
        parser.error(f"no such module here: {', '.join(sorted(unknown))}; expected some of {', '.join(MODULES)}")
    if "retrywrap" in sys.modules:
        raise SystemExit("the package was imported already")
    os.environ["RETRYWRAP_PURE"] = "1"
    os.chdir(CHECKOUT)
    sys.path.insert(0, str(CHECKOUT))
    for library in LIBRARIES:
        importlib.import_module(library)
    import hypothesis

    hypothesis.settings.register_profile("mutation", max_examples=25, derandomize=True, database=None, deadline=None)
    hypothesis.settings.load_profile("mutation")

    found: list[Mutant] = []
    named = _blocks(options.only) if options.only else {}
    for module in options.modules:
        of_module = list(mutants(CHECKOUT / "retrywrap" / f"{module}.py"))
        if not of_module:
            raise SystemExit(f"no mutants of {module} were found")
        if options.sample is not None and options.sample < len(of_module):
            of_module = random.Random(options.seed).sample(of_module, options.sample)
        found += [mutant for mutant in of_module if not named or str(mutant) in named]
    if not found:
        raise SystemExit("no mutants were found")
    print(f"{len(found)} mutants", flush=True)
    files = options.tests or [
        str(path) for path in sorted((CHECKOUT / "tests").glob("test_*.py")) if not path.name.startswith(OTHERS)
    ]
    ended: dict[int, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "ended")
        pid = os.fork()
        if pid == 0:
            os._exit(int(in_functions(found, files, options, out)))
        os.waitpid(pid, 0)
        first, known = json.loads(out.read_text())
    ended = {int(n): how for n, how in first.items()}
    if not options.in_place:
        ended |= again(found, {test[0]: Test(*test) for test in known}, ended, options.workers)
    return report(found, ended, options)


def again(found: list[Mutant], tests: dict[str, Test], ended: dict[int, str], workers: int) -> dict[int, str]:
    """Import anew, and try by all tests that reach it, each mutant that was not killed; then the same without it."""
    chosen: dict[int, list[Test]] = {}

    def jobs() -> Iterator[tuple[int, float, Callable[[], int]]]:
        for n, mutant in enumerate(found):
            if ended.get(n, "survived") == "survived":
                pairs = swaps(_original(mutant.path), mutant.code) or []
                at_import = all(old.co_qualname.startswith(COMPREHENSIONS) for old, _ in pairs)
                mine = chosen[n] = chosen_for(mutant, tests, anywhere=at_import)
                if mine:
                    seconds = 200 + 30 * sum(test.seconds for test in mine)
                    yield n, seconds, lambda mutant=mutant, mine=mine: imported(mutant, mine)

    killers: dict[int, tuple[str, str]] = {}
    for n, how, by in pool(jobs(), workers):
        killers[n] = how, by
        if len(killers) % 20 == 0:
            print(f"{len(killers)} of these anew: {dict(Counter(how for how, _ in killers.values()))}", flush=True)

    def controls() -> Iterator[tuple[int, float, Callable[[], int]]]:
        """Yield for each that was not survived the same tests, up to the one that failed, without its mutant."""
        for n, (how, by) in killers.items():
            if how != "survived":
                mutant = found[n]._replace(code=_original(found[n].path))
                names = [test.name for test in chosen[n]]
                upto = chosen[n][: names.index(by) + 1] if by in names else chosen[n]
                seconds = 200 + 30 * sum(test.seconds for test in upto)
                yield n, seconds, lambda mutant=mutant, upto=upto: imported(mutant, upto)

    for n, how, by in pool(controls(), workers):
        if how != "survived":
            print(f"not counted as killed, because it is so without it ({how}, {by}):\n{found[n]}", flush=True)
            killers[n] = "survived", ""
    return {n: how for n, (how, _) in killers.items()}


def report(found: list[Mutant], ended: dict[int, str], options: argparse.Namespace) -> int:
    """Print a line for each module and each survivor that is not explained; return the exit status."""
    reasons = explained()
    shown = {n: f"{mutant}" for n, mutant in enumerate(found)}
    alive = {n for n in shown if ended.get(n, "survived") == "survived"}
    print("module | mutants | killed | of these by time | explained | survived | score")
    bad = 0
    for module in options.modules:
        own = {n for n, mutant in enumerate(found) if str(mutant.path).endswith(f"{module}.py")}
        told = {n for n in own & alive if shown[n] in reasons}
        late = sum(ended.get(n) == "late" for n in own)
        killed, left = len(own - alive), len((own & alive) - told)
        bad += left
        score = 100 * killed / max(1, len(own) - len(told))
        print(f"{module} | {len(own)} | {killed} | {late} | {len(told)} | {left} | {score:.1f} %")
    survivors = [(found[n].line, shown[n]) for n in sorted(alive) if shown[n] not in reasons]
    print(_told(survivors))
    if options.out:
        options.out.write_text(_told(survivors))
    stale = [text for text in reasons if text not in {shown[n] for n in alive}]
    if stale and options.sample is None and not options.in_place and set(options.modules) >= set(MODULES):
        print("explained, but killed or gone:", *stale, sep="\n\n")
        bad += len(stale)
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
