"""`retry_scope`: an allowance and a recorder for what runs inside, calls by its policy, blocks that run again."""

from __future__ import annotations

import functools
import inspect
import sys
from asyncio.events import _get_running_loop
from collections.abc import Awaitable, Callable, Iterable, Iterator
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, ParamSpec, TypeVar
from weakref import WeakSet

from retrywrap.decide.checks import check_name, refuse_unknown, shown
from retrywrap.decide.context import RetryContext, ask_budget
from retrywrap.decide.events import StopReason
from retrywrap.decide.notes import Note, attach, counted
from retrywrap.decide.policy import DEFAULTS, RetryPolicy
from retrywrap.errors import DeadlineExceeded, RetryUsageError, RetryWrapError
from retrywrap.record.registry import ErrorRecord, Registry, Stats
from retrywrap.record.registry import registry as default_registry
from retrywrap.run import calls
from retrywrap.run import clock as clocks
from retrywrap.run.ambient import Recording, ambient, leave
from retrywrap.run.block import DONE, AsyncAttempts, AsyncBlock, Block
from retrywrap.run.kinds import is_async, is_awaitable, operation_name, refuse
from retrywrap.run.spec import PARAMETERS, OperationSpec, check_plain

if TYPE_CHECKING:
    from retrywrap.classifiers.verdict import Classifier
    from retrywrap.codes import ErrorCode
    from retrywrap.decide.allowance import Allowance
    from retrywrap.decide.backoff import Interval, Seconds
    from retrywrap.decide.budget import Budget
    from retrywrap.decide.policy import On

__all__ = ["RetryScope", "retry_scope"]

P = ParamSpec("P")
T = TypeVar("T")


class RetryScope:
    """What `retry_scope` returns. Use it in one of three forms; each use starts with a fresh allowance.

    *As a context manager* it is one allowance for all retries inside: decorated functions draw from their own policy
    and from the scope's, deadlines nest by minimum, and the scope records what happened. *`call`* and *`acall`* retry a
    plain function by the scope's policy. *In a loop* it retries a block: ``for attempt in scope: with attempt: …``; its
    waits and its deadline are the scope's, and what else runs inside the block is the scope's business only where the
    scope is entered as well: ``with scope: for attempt in scope: …``.
    """

    # Class attributes, because setting a dozen slots would be most of what a block costs when it succeeds at once.
    _name: str | None = None
    _cancelled = False
    _used = False
    _since = 0
    _link: Recording | None = None
    _live: WeakSet[Recording] | None = None
    _before: Allowance | None = None
    _record: Registry | None = None

    _spec: OperationSpec

    # --- the allowance

    def link(self, started: float | None = None, name: str | None = None) -> Recording:
        """Return the scope's allowance: the one in force inside ``with``, else a new one from `started` on."""
        if self._link is not None:
            return self._link
        policy = self.policy
        if policy.timeout is not None and started is None:
            started = clocks.current().now()
        link = Recording(
            ambient.get(),
            name=name,
            deadline=None if policy.timeout is None or started is None else started + policy.timeout,
        )
        link.recorder = self._recorder()
        if self._cancelled:
            link.cancel()
        live: WeakSet[Recording] = vars(self).setdefault("_live", WeakSet())
        live.add(link)
        return link

    def _recorder(self) -> Registry:
        if self._record is None:  # in one step, for threads that share a scope
            record: Registry = vars(self).setdefault("_record", Registry())
            return record
        return self._record

    def _open(self) -> RetryScope:
        if self._link is not None:
            raise RetryUsageError(
                "the scope is entered already; one retry_scope(…) serves one with block at a time. For attempts, write "
                "the loop: for attempt in retry_scope(…): with attempt: …"
            )
        link = self.link(name=self.name)
        link.count(self.policy.max, self.policy.budget)
        if self.policy.budget is not None:
            ask_budget(self.policy.budget, self.policy.budget.begin, clocks.current().now())
        self._since = counted[0]
        self._before = ambient.get()
        try:
            self._link = link
            ambient.set(link)
        except BaseException:  # Ctrl-C: what was not entered is not left
            self._close(None)
            raise
        return self

    def _close(self, error: BaseException | None) -> None:
        link, before = self._link, self._before
        self._link = self._before = None
        if link is not None and before is not None:
            link.closed = True
            leave(before, link)
        if isinstance(error, Exception) and self._could_have_retried(error):
            layer = _HOW_TO_RETRY  # the same for all scopes, so that it is said once, however they are nested
            attach(error, Note.make(_HOW_TO_RETRY, self.name, layer, StopReason.REJECTED, 1))

    def _could_have_retried(self, error: Exception) -> bool:
        """Whether an error left a plain block that another form of the scope would have retried."""
        if self._used or self._recorder().error_count or isinstance(error, RetryWrapError):
            return False
        trial = RetryContext(self.policy.replace(budget=None))
        trial.begin(0.0)
        trial.since = self._since
        return not trial.failed(error, 0.0).final

    def __enter__(self) -> RetryScope:
        return self._open()

    def __exit__(self, kind: Any, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._close(error)

    async def __aenter__(self) -> RetryScope:
        return self._open()

    async def __aexit__(self, kind: Any, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._close(error)

    # --- blocks

    @property
    def policy(self) -> RetryPolicy:
        """The policy in force."""
        return self._spec.policy()

    def __iter__(self) -> Iterator[Block]:
        if _get_running_loop() is not None or ("trio" in sys.modules and clocks.under_trio()):
            raise RetryUsageError(
                "a plain for would block the running event loop; write: async for attempt in retry_scope(…)"
            )
        block = Block()
        block.scope = self
        block.since = counted[0]
        if not self._spec.simple:
            policy = self._spec.policy()
            if policy.attempt_timeout is not None:
                raise RetryUsageError(
                    "attempt_timeout needs async for and async with attempt: a sync block cannot be stopped from "
                    "outside; retrywrap.remaining() inside it tells what is left"
                )
            block.begin(policy)
        try:
            while True:
                yield block
                if block.stage == DONE:
                    return
                block.make_ready()
        finally:
            if block.stage != DONE or block._own or block._operation is not None:  # a success at once leaves nothing
                block.left()

    def __aiter__(self) -> AsyncAttempts:
        block = AsyncBlock()
        block.scope = self
        block.since = counted[0]
        if not self._spec.simple:
            block.begin(self._spec.policy())
        return AsyncAttempts(block)

    # --- calls

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a plain function, and retry it by the scope's policy.

        Args:
            function: What to call.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Returns:
            What the function returned.

        Raises:
            TypeError: It is a coroutine function (use `acall`) or a generator function.
            DeadlineExceeded: The scope's time was over before the call.
        """
        if is_async(function):
            raise TypeError(f"{shown(function)} is a coroutine function; write: await scope.acall(function, …)")
        made = self._link is None
        spec, link = self._before_call(function)
        around, innermost = ambient.get(), self.innermost(link)
        try:
            ambient.set(innermost)
            result: T = calls.call(spec, function, args, kwargs)
            return result
        finally:
            if made:
                link.closed = True
            leave(around, innermost)

    async def acall(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await a coroutine function's call, and retry it by the scope's policy.

        Args:
            function: What to call; anything that returns an awaitable.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Returns:
            What the awaitable came to.

        Raises:
            TypeError: It is a generator function, or returned what cannot be awaited.
            DeadlineExceeded: The scope's time was over before the call.
        """
        made = self._link is None
        spec, link = self._before_call(function)
        attempt = function if is_async(function) else _awaitable(function)
        around, innermost = ambient.get(), self.innermost(link)
        try:
            ambient.set(innermost)
            result: T = await calls.acall(spec, attempt, args, kwargs)
            return result
        finally:
            if made:
                link.closed = True
            leave(around, innermost)

    @staticmethod
    def innermost(link: Recording) -> Allowance:
        """Return what a call or a block stands under: what was entered inside this scope limits it, too."""
        around = ambient.get()
        return around if any(outer is link for outer in around.links()) else link

    def _before_call(self, function: Any) -> tuple[OperationSpec, Recording]:
        refuse(function)
        self._used = True
        spec = self._spec.named(self._spec.name or operation_name(function))
        link = self.link()
        if link.deadline is not None and clocks.current().now() > link.deadline:
            raise DeadlineExceeded(f"the time of the scope {self.name} was over before {shown(function)} was called")
        return spec, link

    def carry(self, function: Callable[P, T]) -> Callable[P, T]:
        """Return `function` such that it runs inside this scope wherever it is called: in a worker thread, in a pool.

        Context variables do not follow into threads by themselves.

        Args:
            function: A function or a coroutine function.

        Returns:
            A function of the same signature.

        Raises:
            RetryUsageError: The scope is not entered.
        """
        if not callable(function):
            raise TypeError(f"function must be something that can be called; got {shown(function)}")
        link = self._link
        if link is None:
            raise RetryUsageError(
                "carry() needs the scope entered: with retry_scope(…) as scope: pool.submit(scope.carry(f))"
            )

        @functools.wraps(function)
        def carried(*args: P.args, **kwargs: P.kwargs) -> T:
            around = ambient.get()
            try:
                ambient.set(link)
                return function(*args, **kwargs)
            finally:
                leave(around, link)

        @functools.wraps(function)
        async def acarried(*args: Any, **kwargs: Any) -> Any:
            around = ambient.get()
            try:
                ambient.set(link)
                return await function(*args, **kwargs)  # type: ignore[misc]  # a coroutine function, by is_async
            finally:
                leave(around, link)

        return acarried if is_async(function) else carried  # type: ignore[return-value]  # same signature, by wraps

    # --- state

    @property
    def name(self) -> str:
        """As what the scope is recorded: its ``name=``, else the function that uses it."""
        if self._name is None:
            self._name = self._spec.name or f"retry_scope in {_user()}"
        return self._name

    def block_spec(self) -> OperationSpec:
        """Return the spec of a block's operation."""
        spec = self._spec  # of many scopes that are written alike
        known = spec.last_named
        if known is None or known.name != self.name:
            spec.last_named = known = spec.named(self.name)
        return known

    def remaining(self) -> float | None:
        """Return the seconds left to the scope and all around it, never below 0.0; None: no limit, or not entered."""
        deadline = None if self._link is None else self._link.deadline
        return None if deadline is None else max(0.0, deadline - clocks.current().now())

    def cancel(self) -> None:
        """End every wait inside, now and later: each operation lets its last error out. Any thread may call it."""
        self._cancelled = True
        for link in self._links():
            link.cancel()

    def _links(self) -> list[Recording]:
        """Return the links that live, without a lock, since a signal handler may ask: again, where one just came."""
        while True:
            try:
                return list(self._live or ())
            except RuntimeError:
                continue

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    @property
    def last_error(self) -> ErrorRecord:
        """The newest error inside; falsy while there is none."""
        return self._recorder().last_error

    @property
    def errors(self) -> tuple[ErrorRecord, ...]:
        """The newest errors inside, oldest first."""
        return self._recorder().errors

    @property
    def by_code(self) -> dict[ErrorCode, int]:
        """Failed attempts inside, by code."""
        return self._recorder().by_code

    @property
    def error_count(self) -> int:
        """Failed attempts inside."""
        return self._recorder().error_count

    @property
    def retry_count(self) -> int:
        """Attempts after the first inside, counted when they end."""
        return self._recorder().retry_count

    def stats(self, operation: str | None = None) -> Stats:
        """Return the counts of one operation inside; of all where none is named.

        Raises:
            KeyError: No operation of that name failed inside.
        """
        return self._recorder().stats(operation)

    def __call__(self, *_: object) -> NoReturn:
        raise TypeError("a retry_scope is no decorator; write @with_retry(…), with the same parameters")

    def __repr__(self) -> str:
        return f"<retry_scope {self.name}: {self.policy!r}>"


_HOW_TO_RETRY = (
    "retrywrap: Python cannot run the body of a with block again, and nothing inside it was retried. To retry a block, "
    "write: for attempt in retry_scope(…): with attempt: … To retry a call, write: scope.call(function, …)"
)


def _awaitable(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Return the function with its result checked: what cannot be awaited gets a message that says what to write."""

    def attempt(*args: Any, **kwargs: Any) -> Awaitable[Any]:
        result = function(*args, **kwargs)
        if not is_awaitable(result):
            called = f"{operation_name(function)} returned {shown(result)}"
            raise TypeError(f"{called}, which cannot be awaited; write scope.call(…) for a plain function")
        return result

    return attempt


def _user() -> str:
    """Return the qualified name of the innermost function on the stack that is not retrywrap's own."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__")).startswith("retrywrap.run."):
        frame = frame.f_back
    return "?" if frame is None else f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"


def _spec(given: dict[str, Any]) -> OperationSpec:
    """Validate the arguments of `retry_scope`."""
    unknown = given.keys() - set(PARAMETERS)
    if unknown:
        refuse_unknown("retry_scope", unknown, PARAMETERS)
    arguments = {key: value for key, value in given.items() if key in DEFAULTS}
    name = given.get("name")
    named = "" if name is None else check_name(name)
    return OperationSpec(arguments, given.get("policy"), named, given.get("registry", default_registry))


@functools.lru_cache(maxsize=1000, typed=True)
def _plain_spec(**given: Any) -> OperationSpec:
    """Return the spec of arguments that were validated before; a cache must keep no object of the application alive."""
    check_plain(given.values())
    return _spec(given)


if TYPE_CHECKING:

    def retry_scope(
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
        policy: RetryPolicy | str | None = None,
        registry: Registry = default_registry,
        name: str | None = None,
        reraise: bool = True,
    ) -> RetryScope: ...

else:

    def retry_scope(*misplaced: Any, **given: Any) -> RetryScope:
        """Return a scope: an allowance for what runs inside, calls by its policy, or a block that runs again.

        ``with retry_scope(max=20, timeout=120) as scope:`` limits and records all retries inside.
        ``scope.call(function, …)`` retries a function. ``for attempt in retry_scope(max=3): with attempt: …`` retries a
        block; in coroutines, ``async with``, ``await scope.acall(…)`` and ``async for``.

        Args:
            max: Retries *after* the first attempt; inside ``with``, of all operations together. 10 unless configured.
            interval: Seconds between attempts, a backoff, or any re-iterable of seconds; 5 unless configured.
            timeout: Seconds for the whole, waits included.
            attempt_timeout: Seconds for one attempt; for ``acall`` and ``async for`` only.
            on: Exception type(s), or a predicate, retried in addition to what the classifier says.
            classifier: Asked before the default chain; a `Chain` replaces it.
            results: Judges what calls return, and what ``attempt.set_result()`` is given.
            idempotent: False: retried only where the failed attempt surely had no effect.
            nested: ``"once"``: what an inner operation has exhausted is not retried here again; ``"multiply"``: it is.
            before_retry: Called with the `RetryContext` before each retry.
            budget: A retry budget, or the name of a shared one.
            policy: A `RetryPolicy`, or the name of one from the configuration.
            registry: Where failures of the scope's own calls and blocks are recorded.
            name: As what they are recorded; the name of what is called, or of the function that uses the scope.
            reraise: False: `RetryExhausted` from the last exception.

        Returns:
            The scope.

        Raises:
            TypeError: An argument has the wrong type or an unknown name, or no name.
            ValueError: An argument is out of range.
        """
        if misplaced:
            raise TypeError(
                f"retry_scope takes parameters by name, as in retry_scope(max=3); got {shown(misplaced[0])}"
            )
        scope = RetryScope()
        try:
            scope._spec = _plain_spec(**given)
        except Exception:  # unhashable, not plain, or wrong: what is wrong is said below, without this context
            pass
        else:
            return scope
        scope._spec = _spec(given)
        return scope

    def _signature() -> inspect.Signature:
        """Return what a reader is to see in place of ``**given``."""
        own = {"policy": None, "registry": default_registry, "name": None}
        word = inspect.Parameter.KEYWORD_ONLY
        return inspect.Signature([inspect.Parameter(n, word, default=d) for n, d in {**DEFAULTS, **own}.items()])

    retry_scope.__signature__ = _signature()
