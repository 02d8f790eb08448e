# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""Never run, only type-checked: what is decorated keeps its exact type.

Lines that must be errors carry an ignore comment for each checker; both checkers report an ignore that nothing needs,
so that an error which no longer occurs is an error itself.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar, assert_type, overload

from retrywrap import (
    FILES,
    NETWORK,
    ErrorCode,
    RetryBudget,
    RetryContext,
    RetryPolicy,
    Verdict,
    exponential,
    return_codes,
    with_retry,
)

T = TypeVar("T")


@with_retry
def bare(path: str, /, size: int = 0, *, sync: bool = False) -> bytes:
    return path.encode()


assert_type(bare("a"), bytes)
assert_type(bare("a", 1, sync=True), bytes)
bare(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
bare()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
bare(path="a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
bare("a", retries=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@with_retry(max=5, interval=exponential(0.1, cap=20), timeout=timedelta(minutes=1), on=KeyError, budget=RetryBudget())
def configured(block: bytes) -> int:
    return len(block)


assert_type(configured(b""), int)
configured("")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
as_value: Callable[[bytes], int] = configured
wrong_value: Callable[[str], int] = configured  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


@with_retry(attempt_timeout=1.5)
async def fetch(url: str, *, tries: int = 1) -> list[str]:
    return [url]


async def awaits() -> None:
    assert_type(await fetch("a", tries=2), list[str])
    await fetch(b"a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


coroutine_function: Callable[[str], Coroutine[Any, Any, list[str]]] = fetch


@with_retry(results=return_codes)
def first(items: list[T]) -> T:
    return items[0]


assert_type(first([1]), int)
assert_type(first(["a"]), str)
first(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@overload
def parse(text: str) -> int: ...
@overload
def parse(text: bytes) -> float: ...
@with_retry
def parse(text: str | bytes) -> int | float:
    return 0


assert_type(parse("1"), int)
assert_type(parse(b"1"), float)


class Store:
    """One of each kind of method."""

    @with_retry(max=3, interval=1)
    def write(self, name: str, data: bytes) -> int:
        return len(data)

    @with_retry
    async def send(self, data: bytes) -> int:
        return len(data)

    @classmethod
    @with_retry
    def below(cls, path: str) -> Store:
        return cls()

    @with_retry
    @classmethod
    def above(cls, path: str) -> Store:
        return cls()

    @staticmethod
    @with_retry(max=1)
    def static_below(path: str) -> str:
        return path

    @with_retry(max=1)
    @staticmethod
    def static_above(path: str) -> str:
        return path

    @property
    @with_retry
    def size(self) -> int:
        return 1


store = Store()
assert_type(store.write("a", b""), int)
assert_type(Store.write(store, "a", data=b""), int)
assert_type(Store.below("a"), Store)
assert_type(Store.above("a"), Store)
assert_type(store.above("a"), Store)
assert_type(Store.static_below("a"), str)
assert_type(Store.static_above("a"), str)
assert_type(store.size, int)
store.write("a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
store.write("a", "b")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Store.above(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Store.static_above(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def sends() -> None:
    assert_type(await store.send(b""), int)
    await store.send("")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class Upload:
    """A callable object."""

    def __call__(self, path: str) -> int:
        return 0

    part: int = 1


upload = with_retry(Upload())
assert_type(upload, Upload)
assert_type(upload("a"), int)
assert_type(upload.part, int)
assert_type(with_retry(max=1)(functools.partial(configured, b""))(), int)
assert_type(with_retry(lambda: len(""))(), int)


def awaitable(url: str) -> Awaitable[int]:
    raise LookupError(url)


returns_awaitable: Callable[[str], Awaitable[int]] = with_retry(awaitable)


def reset(context: RetryContext) -> None:
    context.attempts += 0


def judge(error: Any) -> Verdict | None:
    return Verdict.of(ErrorCode.NETWORK)


every_parameter = with_retry(
    max=None,
    interval=[1, 2.5, timedelta(seconds=3)],
    timeout=60,
    attempt_timeout=None,
    on=(OSError, KeyError),
    classifier=judge,
    results=judge,
    idempotent=False,
    nested="multiply",
    before_retry=reset,
    budget="shared",
    policy="upload",
    name="upload",
    reraise=False,
)
with_retry(on=lambda error: isinstance(error, OSError))
with_retry(policy=NETWORK)
with_retry(policy=FILES)
with_retry(policy=RetryPolicy(max=1))
with_retry(tries=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
with_retry(max="3")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
with_retry(nested="twice")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
with_retry(10)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
