"""What it costs to classify an error whose type was seen before, as a ratio to raising and catching one.

    python tests/benchmarks/classifying.py

The classes of libraries are made here under their names, because the chain goes by names; so no library is needed.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from typing import Any, NamedTuple

from retrywrap.classifiers import classify

ROUNDS, CALLS = 60, 4_000


class Case(NamedTuple):
    """One kind of error.

    Attributes:
        name: What the table calls it.
        make: Makes the error.
        parsed: Whether headers, or a text, must be read to judge it.
    """

    name: str
    make: Callable[[], BaseException]
    parsed: bool = False


def named(name: str, *bases: type) -> Any:
    """Return an exception class with the name of a library's."""
    module, _, last = name.rpartition(".")
    return type(last, bases or (Exception,), {"__module__": module})


class _Unknown(Exception):
    pass


class _Answer:
    def __init__(self) -> None:
        self.status_code = 503
        self.headers = {
            "Server": "x",
            "Date": "Tue, 24 Nov 2026 10:00:00 GMT",
            "Content-Length": "0",
            "Retry-After": "7",
        }


_Timeout = named("requests.exceptions.Timeout", named("requests.exceptions.RequestException", OSError))
_Serialization = named("psycopg.errors.SerializationFailure", named("psycopg.Error"))
_Status = named("httpx.HTTPStatusError", named("httpx.HTTPError"))
_Redis = named("redis.exceptions.ConnectionError", named("redis.exceptions.RedisError"))
_Postgres = named("psycopg.OperationalError", named("psycopg.Error"))
_Boto = named("botocore.exceptions.ClientError")


def _with(error: Any, **attributes: object) -> BaseException:
    for name, value in attributes.items():
        setattr(error, name, value)
    return error  # type: ignore[no-any-return]  # as it came


_THROTTLED = {"Error": {"Code": "SlowDown"}, "ResponseMetadata": {"HTTPStatusCode": 503, "HTTPHeaders": {}}}
_REFUSED = 'connection to server at "127.0.0.1", port 5432 failed: Connection refused\n\tIs the server running?'
CASES = [
    Case("ConnectionResetError(104, …)", lambda: ConnectionResetError(104, "Connection reset by peer")),
    Case("TimeoutError", lambda: TimeoutError("too late")),
    Case("ValueError", lambda: ValueError("no number")),
    Case("unknown", lambda: _Unknown("whatever")),
    Case("requests.Timeout", lambda: _Timeout("too late")),
    Case("psycopg 40001", lambda: _with(_Serialization("could not serialize access"), sqlstate="40001")),
    Case("httpx 503, Retry-After", lambda: _with(_Status("503"), response=_Answer()), parsed=True),
    Case("redis, connecting", lambda: _Redis("Error 111 connecting to db:6379. Connection refused."), parsed=True),
    Case("libpq, refused", lambda: _with(_Postgres(_REFUSED), sqlstate=None), parsed=True),
    Case("botocore SlowDown", lambda: _with(_Boto("SlowDown"), response=_THROTTLED), parsed=True),
]


def raise_and_catch() -> None:
    """Do what no error can come without."""
    try:
        raise KeyError
    except KeyError:
        pass


def measure(rounds: int = ROUNDS, calls: int = CALLS) -> dict[str, float]:
    """Return the nanoseconds of each case, and of raising and catching under the name ``""``; the best round counts."""
    errors = [case.make() for case in CASES]
    todo: list[Callable[[], object]] = [raise_and_catch, *(lambda error=error: classify(error) for error in errors)]
    best = [float("inf")] * len(todo)
    for _ in range(rounds):
        for place, function in enumerate(todo):
            best[place] = min(best[place], timeit.timeit(function, number=calls) / calls * 1e9)
    return dict(zip(["", *(case.name for case in CASES)], best, strict=True))


def main() -> None:
    """Print the table."""
    times = measure()
    unit = times[""]
    print(f"raise and except: {unit:.0f} ns\n")
    print("| an error of a type seen before | ns | by raise and except |\n|---|---|---|")
    for case in CASES:
        print(f"| {case.name} | {times[case.name]:.0f} | {times[case.name] / unit:.1f} |")


if __name__ == "__main__":
    main()
