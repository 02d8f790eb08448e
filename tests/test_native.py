"""The fast path in C: what it is made of, when it refuses itself, and that nothing leaks or crashes.

That it behaves as pure Python does is what the whole suite says, which runs with each.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import os
import pickle
import subprocess
import sys
import sysconfig
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import wrapt
from hurry import HAS_GLOBAL_LOCK, run_hurried

import retrywrap
from retrywrap import Registry, configure, with_retry
from retrywrap.run import native
from retrywrap.run.links import links

needs_c = pytest.mark.skipif(retrywrap.__build__ != "C", reason="pure Python runs")


def build_where(before: str = "", **environment: str) -> str:
    """Return what a new interpreter says that it runs."""
    program = f"{before}\nimport retrywrap; print(retrywrap.__build__, retrywrap.with_retry(len)([1]))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, **environment},
    )
    assert not done.stderr
    return done.stdout.strip()


def test_the_build_is_named() -> None:
    """One of two."""
    assert retrywrap.__build__ in ("C", "pure Python")
    assert (native.fast is None) == (retrywrap.__build__ == "pure Python")


def test_the_fast_path_can_be_switched_off() -> None:
    """By an environment variable; 0 and nothing leave it on."""
    assert build_where(RETRYWRAP_PURE="1") == "pure Python 1"
    here = build_where(RETRYWRAP_PURE="0")
    assert here == build_where(RETRYWRAP_PURE="")


def test_without_the_extension_module_pure_python_runs() -> None:
    """Where there was no compiler it was not built; nobody notices but by the name of the build."""
    assert build_where("import sys; sys.modules['retrywrap.run._fast'] = None") == "pure Python 1"


def test_the_fast_path_refuses_a_wrapt_in_pure_python() -> None:
    """Its objects have another layout; everything works, only slower."""
    assert build_where(WRAPT_DISABLE_EXTENSIONS="1") == "pure Python 1"


class _Sized:
    __slots__ = ()


class _Meta(type):
    pass


class _Unusual(metaclass=_Meta):
    pass


@needs_c
@pytest.mark.parametrize("base", [int, tuple, type, object, 3, None, _Sized, _Unusual, bool], ids=repr)
def test_a_base_of_another_layout_is_refused(base: Any) -> None:
    """Nothing is derived from what cannot be derived from, or has no room for what belongs behind it."""
    with pytest.raises(TypeError, match="its layout is not known"):
        native.fast.make_type(base, "x.Y", "method")


@needs_c
def test_a_proxy_that_was_not_set_up_is_no_crash() -> None:
    """Calling it says what is wrong, and so does asking it what it is."""
    kind = type(with_retry(len))
    raw = kind(len, len)
    with pytest.raises(TypeError, match="does not support vectorcall"):
        raw([])
    with pytest.raises(AttributeError):
        raw._self_spec  # noqa: B018 - to ask is the point
    with pytest.raises(TypeError, match="cannot be set up"):
        native.fast.set_up(len, len, None, native.new_tally(), "retried")
    done = with_retry(len)
    with pytest.raises(TypeError, match="cannot be set up"):
        native.fast.set_up(done, len, None, native.new_tally(), "retried")
    assert done([1]) == 1


@needs_c
def test_helpers_refuse_what_they_do_not_expect() -> None:
    """A mistake of ours would be an error, not a crash."""
    with pytest.raises(TypeError, match="invoke takes"):
        native.fast.invoke(len, [1], None)
    with pytest.raises(TypeError):
        native.fast.unpack([1], None)
    with pytest.raises(TypeError, match="not what the fast path knows"):
        native.fast.connect([])
    with pytest.raises(KeyError, match="counted"):
        native.fast.connect({})
    with pytest.raises(TypeError, match="not what the fast path knows"):
        native.fast.connect({**links(), "counted": []})
    assert with_retry(len)([1]) == 1  # what was connected before still is
    with pytest.raises(TypeError, match="a tally takes no arguments"):
        native.new_tally()(1)  # type: ignore[call-arg]  # to give it one is the point


@needs_c
def test_the_types_are_final() -> None:
    """What is behind an instance must be ours."""
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Sub", (type(with_retry(len)),), {})


def test_a_cycle_through_a_decorated_function_is_collected() -> None:
    """A function that holds itself, decorated, goes away with all that it holds; so does one that fails."""

    class Held:
        pass

    def made() -> Any:
        held = Held()

        @with_retry(max=1, interval=0, on=KeyError, registry=Registry())
        def function(fail: bool) -> Any:
            if fail:
                raise KeyError(held)
            return function, held

        function(False)
        with pytest.raises(KeyError):
            function(True)
        return weakref.ref(held), weakref.ref(function)

    held, function = made()
    gc.collect()
    assert held() is None
    assert function() is None


def test_weak_references_end_with_the_proxy() -> None:
    """Their callbacks run, once."""
    ended: list[object] = []
    decorated = with_retry(lambda: 1)
    reference = weakref.ref(decorated, ended.append)
    assert reference()() == 1
    del decorated
    gc.collect()
    assert ended == [reference]


def test_a_function_may_drop_its_own_proxy() -> None:
    """While it runs, fails and is retried."""
    box: list[Any] = []
    calls: list[int] = []

    @with_retry(max=2, interval=0)
    def function() -> int:
        box.clear()
        gc.collect()
        calls.append(1)
        if len(calls) < 3:
            raise TimeoutError
        return len(calls)

    box.append(function)
    del function
    assert box[0]() == 3


def test_methods_bind_once_and_for_all_kinds() -> None:
    """Whichever way Python calls a method, the arguments arrive as they were given."""

    class Service:
        @with_retry
        def method(self, *arguments: Any, **named: Any) -> Any:
            return self, arguments, named

        @classmethod
        @with_retry
        def made(cls, *arguments: Any, **named: Any) -> Any:
            return cls, arguments, named

        @staticmethod
        @with_retry
        def free(*arguments: Any, **named: Any) -> Any:
            return None, arguments, named

    service = Service()
    bound = service.method
    for _ in range(20):  # often enough for the interpreter to specialize the calls
        assert service.method(1, b=2) == (service, (1,), {"b": 2})
        assert Service.method(service, 1, b=2) == (service, (1,), {"b": 2})
        assert bound(*(1, 2), **{"c": 3}) == (service, (1, 2), {"c": 3})
        assert service.made(1, b=2) == Service.made(1, b=2) == (Service, (1,), {"b": 2})
        assert service.free(1, b=2) == Service.free(1, b=2) == (None, (1,), {"b": 2})
        assert list(map(bound, "ab")) == [(service, ("a",), {}), (service, ("b",), {})]


def test_arguments_arrive_again_at_each_attempt() -> None:
    """Positional and by name, sync and async."""
    seen: list[Any] = []

    def run(*arguments: Any, **named: Any) -> int:
        seen.append((arguments, named))
        if len(seen) % 3:
            raise TimeoutError
        return len(seen)

    async def arun(*arguments: Any, **named: Any) -> int:
        return run(*arguments, **named)

    retried = with_retry(max=2, interval=0)
    assert retried(run)(1, 2, c=3, d=4) == 3
    assert asyncio.run(retried(arun)(1, 2, c=3, d=4)) == 6
    assert seen == [((1, 2), {"c": 3, "d": 4})] * 6


def test_an_error_that_is_handled_meanwhile_stays_so() -> None:
    """Inside an ``except`` block, what is handled there is seen again after the call, and is the context within."""

    @with_retry(max=1, interval=0)
    def function() -> None:
        raise TimeoutError("inner")

    outer = ValueError("outer")
    try:
        raise outer
    except ValueError:
        with pytest.raises(TimeoutError) as caught:
            function()
        assert sys.exc_info()[1] is outer
    assert caught.value.__context__ is outer
    assert sys.exc_info() == (None, None, None)


def references_kept(work: Callable[[], object], times: int = 200) -> float:
    """Return how many references each run of some work leaves behind, which only a debug build can tell."""
    for _ in range(20):
        work()
    gc.collect()
    before: int = sys.gettotalrefcount()  # type: ignore[attr-defined]  # of a debug build alone
    for _ in range(times):
        work()
    gc.collect()
    kept: int = sys.gettotalrefcount() - before  # type: ignore[attr-defined]  # likewise
    return kept / times


@pytest.mark.skipif(not hasattr(sys, "gettotalrefcount"), reason="only a debug build counts all references")
def test_no_reference_is_lost_in_a_debug_build() -> None:
    """Calls that succeed, fail and are retried keep none; decorating keeps no more than wrapt itself does."""
    configure(events=False)  # pytest would keep what is logged
    mine = Registry(10)
    retried = with_retry(max=1, interval=0, on=KeyError, registry=mine)

    def function(error: type[Exception] | None, *rest: Any, **named: Any) -> None:
        if error is not None:
            raise error("x")

    async def coroutine(error: type[Exception] | None, *rest: Any, **named: Any) -> None:
        function(error)

    call, acall = retried(function), retried(coroutine)
    beaten = with_retry(max=1, interval=0, registry=mine)(function)
    loop = asyncio.new_event_loop()
    for error in (None, KeyError, ValueError, TimeoutError):

        def work() -> None:
            for each in (call, beaten):
                with contextlib.suppress(KeyError, ValueError, TimeoutError):
                    each(error, 1, named=2)  # noqa: B023 - of this round
            with contextlib.suppress(KeyError, ValueError, TimeoutError):
                loop.run_until_complete(acall(error, 1, named=2))  # noqa: B023 - of this round
            mine.stats()  # counts what waits to be counted, which is kept until then

        assert references_kept(work) < 0.5
    loop.close()
    assert references_kept(lambda: retried(function)) < references_kept(lambda: wrapt.FunctionWrapper(len, len)) + 0.5


def mixed_calls(times: int) -> None:
    """Decorate and call in all ways, with successes, failures and cycles."""
    registry = Registry(10)
    retried = with_retry(max=1, interval=0, registry=registry, on=KeyError)
    beaten = with_retry(max=2, interval=0, registry=registry)
    loop = asyncio.new_event_loop()
    for number in range(times):

        @retried
        def function(fail: int, *rest: Any, **named: Any) -> Any:
            if fail:
                raise (KeyError, TimeoutError, StopIteration)[fail % 3](f"number {times % 200}")
            return function

        @retried
        async def coroutine(fail: int, *rest: Any, **named: Any) -> Any:
            return function(fail, *rest, **named)

        class Service:
            @beaten
            def method(self, fail: int, *rest: Any, **named: Any) -> Any:
                return function(fail, *rest, **named)

        for fail in (0, number % 4):
            for call in (function, Service().method, copy.copy(function)):
                with contextlib.suppress(Exception):
                    call(fail, number, name=number)
            with contextlib.suppress(Exception):
                loop.run_until_complete(coroutine(fail, number, name=number))
        coroutine(0).close()
        Service.cycle = Service  # type: ignore[attr-defined]  # to be collected
    loop.close()


@pytest.mark.skipif(not HAS_GLOBAL_LOCK, reason="the blocks counted include those that wait to be freed")
def test_memory_stays_where_it_was() -> None:
    """Mixed calls, failures and cycles leave nothing behind, as the count of allocated blocks shows."""
    configure(events=False)  # pytest would keep what is logged
    blocks: list[int] = []
    for _ in range(6):
        mixed_calls(100)
        gc.collect()
        blocks.append(sys.getallocatedblocks())
    assert blocks[-1] - blocks[2] < 300


def test_counts_are_exact_under_threads() -> None:
    """Eight threads on one function, switching as often as can be: each success at once is counted, once."""
    mine = Registry()
    decorated = with_retry(registry=mine, name="op")(lambda: None)
    run_hurried([lambda: [decorated() for _ in range(5_000)]] * 8)
    assert mine.stats("op").calls in (None, 40_000)
    assert (mine.stats("op").calls is None) == (native.fast is None)


def test_pickled_and_copied_proxies_work() -> None:
    """By reference where they can be found by name, else made anew with the same settings."""
    assert pickle.loads(pickle.dumps(found)) is found
    partial = with_retry(max=1)(_Callable())
    for again in (pickle.loads(pickle.dumps(partial)), copy.deepcopy(partial)):
        assert again is not partial
        assert again(2) == 4
        assert type(again) is type(partial)


class _Callable:
    def __call__(self, value: int) -> int:
        return value * 2


@with_retry
def found() -> None:
    """Be found by its name."""


SUBINTERPRETERS = """
import sys, threading
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
code = '''
import sys
sys.path[:] = {path!r}
import retrywrap
from retrywrap import with_retry, registry
calls = []
@with_retry(max=2, interval=0)
def run(x):
    calls.append(x)
    if len(calls) < 3:
        raise TimeoutError
    return x
assert run(7) == 7 and registry.retry_count == 2, registry.stats()
'''.format(path=sys.path)
import retrywrap
here = retrywrap.with_retry(len)
for _ in range(3):
    one = interpreters.create({legacy})
    failed = interpreters.run_string(one, code)
    assert failed is None, failed
    interpreters.destroy(one)
    assert here([1]) == 1
print("fine", retrywrap.__build__)
"""


@pytest.mark.skipif(not sysconfig.get_config_var("HAVE_DYNAMIC_LOADING") and sys.platform == "win32", reason="no")
def test_subinterpreters_have_their_own() -> None:
    """Each loads its own, and takes it with it when it ends."""
    legacy = "" if sys.version_info < (3, 12) else "'legacy'" if sys.version_info >= (3, 13) else "isolated=False"
    done = subprocess.run(
        [sys.executable, "-c", SUBINTERPRETERS.replace("{legacy}", legacy)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == f"fine {retrywrap.__build__}\n", done.stderr
