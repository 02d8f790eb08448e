"""`with_retry`: what a user may ask for, and the door to the proxies."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from retrywrap.decide.checks import check_name, refuse_unknown
from retrywrap.decide.policy import DEFAULTS, RetryPolicy
from retrywrap.locks import importing
from retrywrap.record.registry import Registry
from retrywrap.record.registry import registry as default_registry

if TYPE_CHECKING:
    from retrywrap.classifiers.verdict import Classifier
    from retrywrap.decide.backoff import Interval, Seconds
    from retrywrap.decide.budget import Budget
    from retrywrap.decide.context import RetryContext
    from retrywrap.decide.policy import On

__all__ = ["with_retry"]

F = TypeVar("F", bound="Callable[..., Any] | classmethod[Any, ..., Any] | staticmethod[..., Any]")


class _Unset:
    """Stands for an argument that was not given."""

    def __repr__(self) -> str:
        return "…"


UNSET: Any = _Unset()


@overload
def with_retry(function: F, /) -> F: ...
@overload
def with_retry(
    *,
    max: int | None = ...,
    interval: Interval = ...,
    timeout: Seconds | None = ...,
    attempt_timeout: Seconds | None = ...,
    on: On | None = ...,
    classifier: Classifier | Iterable[Classifier] | None = ...,
    results: Callable[[Any], Any] | None = ...,
    idempotent: bool = ...,
    nested: Literal["once", "multiply"] = ...,
    before_retry: Callable[[RetryContext], Any] | None = ...,
    budget: Budget | str | None = ...,
    policy: RetryPolicy | str | None = ...,
    registry: Registry = ...,
    name: str | None = ...,
    reraise: bool = ...,
) -> Callable[[F], F]: ...


def with_retry(
    function: Any = UNSET,
    /,
    *,
    max: int | None = UNSET,
    interval: Interval = UNSET,
    timeout: Seconds | None = UNSET,
    attempt_timeout: Seconds | None = UNSET,
    on: On | None = UNSET,
    classifier: Classifier | Iterable[Classifier] | None = UNSET,
    results: Callable[[Any], Any] | None = UNSET,
    idempotent: bool = UNSET,
    nested: Literal["once", "multiply"] = UNSET,
    before_retry: Callable[[RetryContext], Any] | None = UNSET,
    budget: Budget | str | None = UNSET,
    policy: RetryPolicy | str | None = None,
    registry: Registry = default_registry,
    name: str | None = None,
    reraise: bool = UNSET,
    **unknown: Any,
) -> Any:
    """Retry a callable when it fails: ``@with_retry``, ``@with_retry(max=10, interval=5)``, ``with_retry(…)(f)``.

    Works on functions, coroutine functions, methods, classmethods and staticmethods (above or below their decorator),
    partials, callable objects, and functions that return an awaitable. The exception that comes out in the end is the
    last one, as it was, with a note that says why no further attempt was made.

    Args:
        function: What to decorate, where the decorator is used bare.
        max: Retries *after* the first call; 10 unless configured. ``max=10`` is up to 11 calls. None, with ``timeout``
            alone: no cap.
        interval: Seconds between attempts, a backoff, or any re-iterable of seconds; 5 unless configured.
        timeout: Seconds for the whole operation, waits included.
        attempt_timeout: Seconds for one attempt; for coroutine functions only.
        on: Exception type(s), or a predicate, retried in addition to what the classifier says.
        classifier: Asked before the default chain; a `Chain` replaces it.
        results: Judges returned values; `return_codes` reads ints as error codes.
        idempotent: False: retried only where the failed attempt surely had no effect.
        nested: ``"once"``: what an inner operation has exhausted is not retried here again; ``"multiply"``: it is.
        before_retry: Called with the `RetryContext` before each retry; a coroutine function for coroutine functions.
        budget: A retry budget, or the name of a shared one.
        policy: A `RetryPolicy`, or the name of one from the configuration; looked up at each call.
        registry: Where it is recorded.
        name: As what it is recorded; the module-qualified name where None.
        reraise: False: `RetryExhausted` from the last exception.
        **unknown: Refused, with what it is called here.

    Returns:
        The decorated callable: the same signature, the same type.

    Raises:
        TypeError: An argument has the wrong type or an unknown name, or the thing cannot be retried by calling it again
            (generators).
        ValueError: An argument is out of range.
    """
    given = {key: value for key, value in locals().items() if key in DEFAULTS and value is not UNSET}
    with importing:  # loaded by the first decoration, not by the import of the package
        from retrywrap.run.proxy import decorate
        from retrywrap.run.spec import PARAMETERS, OperationSpec, shared
    if unknown:
        refuse_unknown("with_retry", unknown, PARAMETERS)
    like: OperationSpec | None = None
    if policy is None and registry is default_registry:
        with contextlib.suppress(TypeError, ValueError):  # what is wrong is said below, without this context
            like = shared(**given)
    if like is None:
        like = OperationSpec(given, policy, "", registry)  # mistakes show at the decorator's own line
    name = None if name is None else check_name(name)
    if function is not UNSET:
        return decorate(function, like, name)
    return lambda function: decorate(function, like, name)
