"""`with_retry`: a wrapt proxy around anything callable, whose happy path is the call and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import wrapt

from retrywrap.decide.policy import DEFAULTS, RetryPolicy
from retrywrap.record.registry import Registry
from retrywrap.record.registry import registry as default_registry
from retrywrap.run.calls import build
from retrywrap.run.kinds import is_async, operation_name, refuse
from retrywrap.run.spec import OperationSpec

if TYPE_CHECKING:
    from retrywrap.classifiers.verdict import Classifier
    from retrywrap.decide.backoff import Interval, Seconds
    from retrywrap.decide.budget import Budget
    from retrywrap.decide.context import RetryContext
    from retrywrap.decide.policy import On

    _FunctionWrapper = wrapt.FunctionWrapper[..., Any]
else:
    _FunctionWrapper = wrapt.FunctionWrapper  # generic for type checkers alone

__all__ = ["Retried", "with_retry"]

F = TypeVar("F", bound="Callable[..., Any] | classmethod[Any, ..., Any] | staticmethod[..., Any]")


class _Unset:
    """Stands for an argument that was not given."""

    def __repr__(self) -> str:
        return "…"


UNSET: Any = _Unset()


class Retried(_FunctionWrapper):
    """The proxy that stands for a decorated callable; everything but the call is the wrapped object's own.

    ``__call__`` is a slot that holds a closure: Python's call protocol reaches it through the slot's descriptor,
    without a Python frame of ours between. Methods bind as plain bound methods of this object.
    """

    __slots__ = ("__call__",)

    def __init__(self, wrapped: Any, spec: OperationSpec) -> None:
        super().__init__(wrapped, _never)
        self._self_spec = spec
        _CALL.__set__(self, build(wrapped, spec))

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __reduce_ex__(self, protocol: Any) -> Any:
        wrapped = self.__wrapped__
        name = getattr(wrapped, "__qualname__", None)
        if name is not None and _lookup(getattr(wrapped, "__module__", None), name) is self:
            return str(name)
        return _rebuild, (wrapped, self._self_spec.settings())

    def __reduce__(self) -> Any:
        return self.__reduce_ex__(2)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        import copy

        copied = copy.deepcopy(self.__wrapped__, memo)
        return self if copied is self.__wrapped__ else type(self)(copied, self._self_spec)

    def __repr__(self) -> str:
        return f"<with_retry of {self.__wrapped__!r}>"


class _Unbound(Retried):
    """Stands for what does not bind as a class attribute: builtins, partials, callable objects, classes."""

    __slots__ = ()

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self


class _Binding(Retried):
    """Stands for what binds in its own way, as the work of other decorators does."""

    __slots__ = ()

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        bound = self.__wrapped__.__get__(instance, owner)
        return self if bound is self.__wrapped__ else _Unbound(bound, self._self_spec)


def _proxy(wrapped: Any, spec: OperationSpec) -> Retried:
    """Return the proxy that binds as the wrapped object does."""
    if type(wrapped) is FunctionType or type(wrapped) is Retried:
        return Retried(wrapped, spec)
    return _Binding(wrapped, spec) if hasattr(type(wrapped), "__get__") else _Unbound(wrapped, spec)


_CALL: Any = vars(Retried)["__call__"]


def _never(*_: Any) -> Any:
    raise AssertionError("wrapt's own call path is not used")  # pragma: no cover - __call__ is replaced


def _lookup(module: str | None, qualname: str) -> Any:
    found: Any = sys.modules.get(module or "")
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def _rebuild(wrapped: Any, settings: dict[str, Any]) -> Any:
    return with_retry(**settings)(wrapped)


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

    Returns:
        The decorated callable: the same signature, the same type.

    Raises:
        TypeError: An argument has the wrong type, or the thing cannot be retried by calling it again (generators).
        ValueError: An argument is out of range.
    """
    given = {key: value for key, value in locals().items() if key in DEFAULTS and value is not UNSET}
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name must be a str; got {name!r}")

    def decorate(function: Any) -> Any:
        if isinstance(function, classmethod | staticmethod):
            return type(function)(decorate(function.__func__))
        refuse(function)
        spec = OperationSpec(given, policy, operation_name(function) if name is None else name, registry)
        _check_fit(function, spec)
        registry.declare(spec.name)
        return _proxy(function, spec)

    if function is UNSET:
        OperationSpec(given, policy, "", registry)  # mistakes show at the decorator's own line
        return decorate
    return decorate(function)


def _check_fit(function: Any, spec: OperationSpec) -> None:
    """Refuse what a sync function cannot have."""
    if isinstance(spec.base, str) or is_async(function):
        return
    policy = spec.policy()
    if policy.attempt_timeout is not None:
        raise TypeError(
            f"attempt_timeout={policy.attempt_timeout:g} needs a coroutine function, and {spec.name} is not one: a "
            "thread cannot be stopped from outside. retrywrap.remaining() inside it tells what is left"
        )
    if is_async(policy.before_retry):
        raise TypeError(
            f"before_retry of the sync function {spec.name} must be a plain function, not a coroutine function"
        )
