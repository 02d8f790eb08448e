"""`RetryPolicy`: what a user asked for, validated once, frozen; and the book of defaults and named policies."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Never, TypeAlias

from retrywrap.decide.backoff import Backoff, as_backoff
from retrywrap.decide.checks import check_bool, check_seconds, refuse_unknown, shown
from retrywrap.errors import ConfigurationError
from retrywrap.locks import importing

if TYPE_CHECKING:
    from datetime import timedelta

    from retrywrap.classifiers.chain import Chain
    from retrywrap.classifiers.verdict import Classifier, Verdict
    from retrywrap.decide.backoff import Interval, Seconds
    from retrywrap.decide.budget import Budget
    from retrywrap.decide.context import RetryContext

__all__ = ["DEFAULTS", "On", "PolicyBook", "RetryPolicy", "book", "resolve"]

On: TypeAlias = (
    "type[BaseException] | tuple[type[BaseException], ...] | Callable[[Any], bool | float | timedelta | None]"
)


def check_max(value: object, name: str = "max") -> int | None:
    """Return retries after the first call, or None for no cap."""
    hint = "a whole number of retries after the first call (0 = one call), or None together with timeout="
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be {hint}; got {shown(value)}")
    if value < 0:
        raise ValueError(f"{name} must be {hint}; got {value}, which is negative")
    return value


def _check_attempt_timeout(value: object) -> float | None:
    seconds = None if value is None else check_seconds(value, "attempt_timeout")
    if seconds == 0:
        raise ValueError("attempt_timeout must be more than 0 seconds; with 0 no attempt could ever succeed")
    return seconds


def _check_function(value: object, name: str, takes: str) -> Any:
    """Return a plain callable, or None."""
    if value is None:
        return None
    if not callable(value) or isinstance(value, type):
        raise TypeError(f"{name} must be a function that takes {takes}; got {shown(value)}")
    return value


def _check_sync(value: object, name: str, takes: str) -> Any:
    function = _check_function(value, name, takes)
    if inspect.iscoroutinefunction(function):
        raise TypeError(
            f"{name} must be a plain function: it decides at once; got the coroutine function {shown(value)}"
        )
    return function


def _check_on(value: object) -> tuple[tuple[type[Exception], ...], Callable[[Exception], Any] | None]:
    """Return the exception types and the predicate that ``on=`` means."""
    if value is None:
        return (), None
    types: tuple[Any, ...] = tuple(value) if isinstance(value, tuple | list | set | frozenset) else (value,)
    if all(isinstance(t, type) and issubclass(t, BaseException) for t in types):
        for t in types:
            if not issubclass(t, Exception):
                raise TypeError(f"on must name subclasses of Exception; {t.__name__} is never retried")
        return types, None
    if not callable(value) or isinstance(value, type):
        raise TypeError(
            f"on must be an exception type, several, or a predicate (error → bool or seconds); got {shown(value)}"
        )
    return (), _check_sync(value, "on", "the error and returns a bool, seconds or a timedelta")


def _check_nested(value: object) -> Literal["once", "multiply"]:
    if value == "once":
        return "once"
    if value == "multiply":
        return "multiply"
    raise ValueError(f'nested must be "once" or "multiply"; got {shown(value)}')


def _load_chain(classifier: Any) -> Chain:
    """Return the chain that ``classifier=`` means."""
    with importing:
        from retrywrap.classifiers.chain import as_chain
    return as_chain(classifier)


def _read_budget(budget: Any) -> Budget | None:
    from retrywrap.decide.budget import as_budget

    return as_budget(budget)


class RetryPolicy:
    """What to retry, how often, and how far apart. Immutable; validated when it is made.

    Args:
        max: Retries *after* the first call: ``max=10`` is up to 11 calls, ``max=0`` is one. None: no cap, allowed only
            together with ``timeout``.
        interval: Seconds between attempts (int, float or timedelta: waited exactly), a backoff such as
            `exponential`, or any re-iterable of seconds, whose end means giving up.
        timeout: Seconds for the whole operation, waits included: no wait is begun that cannot end in time, and no
            attempt starts after it. It does not interrupt an attempt that runs.
        attempt_timeout: Seconds for one attempt; for coroutine functions only.
        on: Exception type(s), or a predicate returning a bool, seconds or a timedelta: retried in addition to what the
            classifier says.
        classifier: A classifier (or several), asked before the default chain; a `Chain` replaces that chain.
        results: A classifier of *returned values*; what it calls a failure is retried, and raised as `RetryExhausted`
            in the end.
        idempotent: False: retried only where the failed attempt surely had no effect.
        nested: ``"once"``: an error on which an inner operation has exhausted its retries is not retried here again;
            ``"multiply"``: it is.
        before_retry: Called with the `RetryContext` before each retry (reconnect, seek, reset). If it raises, that
            counts as this attempt's failure.
        budget: A retry budget, or the name of one that all who name it share.
        reraise: True: the last exception comes out as it was; False: `RetryExhausted` from it.
        **unknown: Refused, with what it is called here.

    Raises:
        TypeError: A parameter has the wrong type, or an unknown name.
        ValueError: A parameter is out of range, or two contradict each other.
    """

    __slots__ = (
        "_given",
        "attempt_timeout",
        "backoff",
        "before_retry",
        "budget",
        "idempotent",
        "max",
        "nested",
        "on_predicate",
        "on_types",
        "own_chain",
        "reraise",
        "results",
        "timeout",
    )

    _given: dict[str, Any]
    max: int | None
    backoff: Backoff
    timeout: float | None
    attempt_timeout: float | None
    on_types: tuple[type[Exception], ...]
    on_predicate: Callable[[Exception], Any] | None
    own_chain: Chain | None
    results: Callable[[Any], Any] | None
    idempotent: bool
    nested: Literal["once", "multiply"]
    before_retry: Callable[[RetryContext], Any] | None
    budget: Budget | None
    reraise: bool

    def __init__(
        self,
        *,
        max: int | None = 10,
        interval: Interval = 5,
        timeout: Seconds | None = None,
        attempt_timeout: Seconds | None = None,
        on: On | None = None,
        classifier: Classifier | Iterable[Classifier] | None = None,
        results: Callable[[Any], Any] | None = None,
        idempotent: bool = True,
        nested: Literal["once", "multiply"] = "once",
        before_retry: Callable[[RetryContext], Any] | None = None,
        budget: Budget | str | None = None,
        reraise: bool = True,
        **unknown: Never,
    ) -> None:
        if unknown:
            refuse_unknown("RetryPolicy", unknown, DEFAULTS)
        given = {name: value for name, value in locals().items() if name in DEFAULTS and value is not DEFAULTS[name]}
        on_types, on_predicate = _check_on(on)
        checked: dict[str, Any] = {
            "max": check_max(max),
            "backoff": as_backoff(interval),
            "timeout": None if timeout is None else check_seconds(timeout, "timeout"),
            "attempt_timeout": _check_attempt_timeout(attempt_timeout),
            "on_types": on_types,
            "on_predicate": on_predicate,
            "own_chain": None if classifier is None else _load_chain(classifier),
            "results": _check_sync(results, "results", "the returned value and returns a Verdict, or None for success"),
            "idempotent": check_bool(idempotent, "idempotent"),
            "nested": _check_nested(nested),
            "before_retry": _check_function(before_retry, "before_retry", "the RetryContext"),
            "budget": None if budget is None else _read_budget(budget),
            "reraise": check_bool(reraise, "reraise"),
        }
        if max is None and timeout is None:
            raise ValueError(
                "max=None needs timeout=: retrying for ever is refused. Give a number of retries, or seconds"
            )
        object.__setattr__(self, "_given", given)
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"RetryPolicy is immutable; policy.replace({name}=…) gives a changed copy")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("RetryPolicy is immutable")

    @property
    def interval(self) -> Backoff:
        """What ``interval=`` said, as a backoff: the same as `backoff`."""
        return self.backoff

    @property
    def chain(self) -> Chain:
        """What classifies errors: the default chain, unless ``classifier=`` says otherwise."""
        return self.own_chain or _load_chain(None)

    def judge(self, result: object) -> Verdict | None:
        """Return what ``results=`` says of a returned value: a failure's verdict; None for success.

        Args:
            result: The value.
        """
        if self.results is None:
            return None
        with importing:
            from retrywrap.classifiers.asking import judge_result
        return judge_result(self.results, result)

    def replace(self, **changes: Any) -> RetryPolicy:
        """Return a copy with some parameters changed.

        Args:
            **changes: The parameters.

        Raises:
            TypeError: For a name that is no parameter, or a wrong type.
            ValueError: For a value out of range.
        """
        return RetryPolicy(**{**self._given, **changes})

    def settings(self) -> dict[str, Any]:
        """Return the parameters that differ from the defaults, as they were given."""
        return dict(self._given)

    def __eq__(self, other: object) -> bool:
        return self._given == other._given if isinstance(other, RetryPolicy) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.max, self.backoff, self.timeout, self.on_types, self.nested, self.idempotent))

    def __repr__(self) -> str:
        return f"RetryPolicy({', '.join(f'{name}={shown(value)}' for name, value in self._given.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _policy, (self._given,)


DEFAULTS: Mapping[str, Any] = RetryPolicy.__init__.__kwdefaults__ or {}


def _policy(settings: dict[str, Any]) -> RetryPolicy:
    return RetryPolicy(**settings)


class PolicyBook(NamedTuple):
    """What configuration says of policies; replaced as a whole, so that nobody ever sees half a change.

    Attributes:
        defaults: Parameters that take the place of `RetryPolicy`'s own defaults.
        named: The named policies' parameters.
    """

    defaults: Mapping[str, Any] = {}
    named: Mapping[str, Mapping[str, Any]] = {}


class _Shelf:
    """Holds the book in force, and fetches the first one from whoever knows the environment."""

    def __init__(self) -> None:
        self.load: Callable[[], PolicyBook] = PolicyBook
        self.current: PolicyBook | None = None

    def get(self) -> PolicyBook:
        current = self.current
        if current is None:
            loaded = self.load()
            current = self.current = self.current or loaded  # not over a newer one that came meanwhile
        return current


book = _Shelf()


def resolve(explicit: Mapping[str, Any], policy: RetryPolicy | str | None) -> RetryPolicy:
    """Return the policy in force: explicit arguments over the policy named over the configured defaults.

    Raises:
        ConfigurationError: No policy of that name is defined.
    """
    if isinstance(policy, RetryPolicy):
        return policy.replace(**explicit) if explicit else policy
    current = book.get()
    named: Mapping[str, Any] = {}
    if policy is not None:
        if policy not in current.named:
            known, name = ", ".join(shown(name)[1:-1] for name in sorted(current.named)) or "none", shown(policy)
            raise ConfigurationError(
                f"policy {name} is not defined (defined: {known}); define it with "
                f"configure(policies={{{name}: {{...}}}}) or under [policies.{name[1:-1]}] in the configuration file"
            )
        named = current.named[policy]
    return RetryPolicy(**{**current.defaults, **named, **explicit})
