"""Virtual time."""

from __future__ import annotations

from types import TracebackType

from retrywrap.decide.allowance import Allowance
from retrywrap.decide.checks import check_number, check_seconds, shown
from retrywrap.locks import new_lock
from retrywrap.run import clock as clocks
from retrywrap.run.turns import Turns
from retrywrap.testing.usage import ToEnter, tell

__all__ = ["VirtualClock"]

_lock = new_lock()
_clocks: list[clocks.Clock] = []  # inside a VirtualClock: the clock before, and the virtual ones, the newest in force
_MOST_LOOKS = 10_000


class VirtualClock(ToEnter, clocks.Clock):
    """Virtual time for everything of retrywrap, in every thread: waits are recorded and take no real time.

    Use it as a context manager; inside, every wait, sync or async, moves the clock on and returns at once. The waits of
    async tasks that run at the same time overlap, as real ones do; those of threads follow one another, since nobody
    knows what another thread is about to do. ``attempt_timeout`` still measures real time, since it limits code that is
    not retrywrap's.

    >>> import retrywrap
    >>> @retrywrap.with_retry(max=3, interval=5)
    ... def flaky():
    ...     raise ConnectionResetError("peer went away")
    >>> with VirtualClock() as clock:
    ...     try:
    ...         flaky()
    ...     except ConnectionResetError:
    ...         pass
    >>> clock.waits
    [5.0, 5.0, 5.0]

    Args:
        start: Seconds since the epoch at which it begins.
        random: The number in [0, 1) that jitter sees: 0.5 gives each wait in the middle of its range.

    Raises:
        TypeError: An argument is no number.
        ValueError: `start` is negative or not finite, or `random` is outside [0, 1).
    """

    def __init__(self, start: float = 1_000_000_000.0, *, random: float = 0.5) -> None:
        self._start = check_seconds(start, "start")
        self._random = check_number(random, "random", 0.0)
        if self._random >= 1:
            raise ValueError(f"random must be a number in [0, 1); got {shown(random)}")
        super().__init__("VirtualClock()", "waits take real time", 2)
        self._elapsed = 0.0
        self._looks = 0
        self._turns = Turns()
        self._lock = new_lock()
        self._waits: list[float] = []

    def now(self) -> float:
        """Return the virtual seconds since the clock was made.

        Whoever looks ten thousand times while no time passes, as a loop without waits does until its timeout, sees a
        millisecond pass at each look from then on: it would not end otherwise.
        """
        self._looks += 1
        if self._looks > _MOST_LOOKS:
            with self._lock:
                self._elapsed += 0.001
        return self._elapsed

    def epoch(self) -> float:
        """Return the seconds since the epoch at which the clock was made."""
        return self._start

    def random(self) -> float:
        """Return the pinned number."""
        return self._random

    def advance(self, seconds: float) -> None:
        """Let time pass: what the code under test would have spent.

        Args:
            seconds: How much.

        Raises:
            TypeError: It is no number.
            ValueError: It is negative or not finite.
        """
        self._used = True  # whoever has time pass knows what it is of
        passed = check_seconds(seconds, "seconds")
        with self._lock:
            self._elapsed += passed
            self._looks = 0

    def sleep(self, seconds: float, limits: Allowance) -> None:
        """Record a wait and let its time pass; nothing passes where it was cancelled before it began.

        Args:
            seconds: How long.
            limits: What may be cancelled.
        """
        if limits.cancelled:
            return
        with self._lock:
            self._waits.append(seconds)
            self._elapsed += seconds
            self._looks = 0

    async def asleep(self, seconds: float, limits: Allowance) -> None:
        """The same as `sleep`, among other tasks: of all that wait at once, who is due first goes on first.

        Time moves on when the others have had some turns of the event loop, so that those which are about to wait do
        so. Who does real input or output meanwhile may come late, since that takes real time, and no virtual one.

        Args:
            seconds: How long.
            limits: What may be cancelled.
        """
        await self._pass(seconds, limits, self._waits)

    async def _pass(self, seconds: float, limits: Allowance, waits: list[float]) -> None:
        """Let time pass as `asleep` does, and record the wait in a list."""
        due = self._elapsed + seconds
        await self._turns.wait(due, limits)
        if limits.cancelled:
            return
        with self._lock:
            waits.append(seconds)
            self._elapsed = max(self._elapsed, due)
            self._looks = 0

    @property
    def waits(self) -> list[float]:
        """The seconds of each wait so far, in order."""
        tell("VirtualClock.waits")
        return self._waits

    @property
    def waited(self) -> float:
        """The sum of all waits, in seconds."""
        return sum(self.waits)

    def _anew(self) -> VirtualClock:
        another = type(self).__new__(type(self))  # a subclass may want other arguments, and has what it has
        vars(another).update(vars(self))
        VirtualClock.__init__(another, self._start, random=self._random)
        return another

    def __enter__(self) -> VirtualClock:
        self._used = True
        with _lock:
            before = clocks.replace(self)
            if not _clocks:
                _clocks.append(before)
            _clocks.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with _lock:
            newest = len(_clocks) - 1 - _clocks[::-1].index(self)
            del _clocks[newest]  # not always the last: threads may overlap
            clocks.replace(_clocks[-1])
            if len(_clocks) == 1:
                _clocks.clear()

    def __repr__(self) -> str:
        return f"<VirtualClock at {self._elapsed:g} s, {len(self._waits)} waits>"
