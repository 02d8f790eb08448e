"""Whether an HTTP client sent a request before the one that failed: it follows redirections, and tries again by itself.

Only the error's way up tells: a POST that was applied, and answered with a redirection to a port where nobody listens,
fails with the same "refused" as one that was never sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FrameType, TracebackType
from typing import Any

from retrywrap.classifiers.guard import key_of, read
from retrywrap.classifiers.http import IDEMPOTENT
from retrywrap.classifiers.rows import Entry, Look, Through
from retrywrap.classifiers.verdict import Verdict

__all__ = ["tried", "unless_sent_before"]

_MOST_FRAMES = 1000
_MOST_EARLIER = 100

# By module and function. Running at all, they handle an answer.
_AFTER_AN_ANSWER = frozenset({("requests.sessions", "resolve_redirects"), ("urllib.request", "http_error_302")})
# They call themselves for the next request.
_RECURSIVE = frozenset({("urllib3.connectionpool", "urlopen"), ("urllib3.poolmanager", "urlopen")})
_INCREMENT = ("urllib3.util.retry", "increment")
# The causes of errors that come from another process, without their way up.
_REMOTE = frozenset({"concurrent._RemoteTraceback", "multiprocessing.RemoteTraceback"})


def unless_sent_before(entry: Entry) -> Entry:
    """Return the entry, whose effect "none" becomes "unknown" where the client may have sent a request before.

    Args:
        entry: What to say of a request that was the first.
    """
    if isinstance(entry, Verdict):
        if entry.effect != "none":
            return entry
        answer = entry
        retry = "retried" if answer.retryable else "not retried"

        def judge(error: Any) -> Verdict | None:
            return _honest(error, answer)

        judge.__doc__ = f"{answer.code.name}, {retry}; without effect unless a request was sent before."
        return judge
    if isinstance(entry, Through):
        function = entry.function

        def through(error: BaseException, look: Look) -> Verdict | None:
            return _honest(error, function(error, look))

        through.__doc__ = function.__doc__
        return Through(through)
    ask = entry

    def asked(error: Any) -> Verdict | None:
        return _honest(error, ask(error))

    asked.__doc__ = ask.__doc__
    return asked


def _honest(error: object, verdict: Verdict | None) -> Verdict | None:
    if verdict is None or verdict.effect != "none" or not _sent_before(error):
        return verdict
    return verdict._replace(effect="unknown")


def tried(error: Any, look: Look) -> Verdict | None:
    """What the last try came to (reason); without effect only if every try was."""
    last = look(read(error, "reason"), "reason")
    if last is None or last.effect != "none":
        return last
    history = _retry_history(error)
    if type(history) is tuple and 0 < len(history) <= _MOST_EARLIER:
        every = (look(read(entry, "error"), "history") for entry in history)
        if all(verdict is not None and verdict.effect == "none" for verdict in every):
            return last
    return last._replace(effect="unknown")


def _retry_history(error: object) -> object:
    """Return what urllib3 knows of its tries; it keeps that to itself, in the function that gives up."""
    for place, frame in _frames(error):
        if place == _INCREMENT:
            return _local(frame, "history")
    return None


def _sent_before(error: object) -> bool:
    if key_of(type(read(error, "__cause__")))[1] in _REMOTE:
        return True
    entered: dict[CodeType, FrameType] = {}
    for place, frame in _frames(error):
        if place in _AFTER_AN_ANSWER or (place in _LOOPS and not _LOOPS[place](frame)):
            return True
        if place in _RECURSIVE:
            # A proxy's manager calls its base's function of the same name, and an error that is raised anew comes
            # through the same call twice.
            if entered.setdefault(frame.f_code, frame) is not frame:
                return True
        elif place == ("", ""):
            return True
    return False


def _nothing_answered(frame: FrameType) -> bool:
    """Return whether no answer has come: the client keeps those that it was redirected by."""
    history = _local(frame, "history")
    return type(history) is list and not history


def _is_aiohttps_first(frame: FrameType) -> bool:
    # It sends some requests again where a kept connection turns out to be closed, and then clears the variable.
    if _local(frame, "retry_persistent_connection") is False:
        method = _local(frame, "method")
        if type(method) is not str or method.upper() in IDEMPOTENT:
            return False
    return _nothing_answered(frame)


def _is_xmlrpcs_first(frame: FrameType) -> bool:
    number = _local(frame, "i")
    return type(number) is int and number == 0


# Loops, and what tells the first round of each.
_LOOPS: Mapping[tuple[str, str], Callable[[FrameType], bool]] = {
    ("aiohttp.client", "_request"): _is_aiohttps_first,
    ("httpx._client", "_send_handling_redirects"): _nothing_answered,
    ("httpx2._client", "_send_handling_redirects"): _nothing_answered,
    ("xmlrpc.client", "request"): _is_xmlrpcs_first,
}


def _local(frame: FrameType, name: str) -> object:
    try:
        return frame.f_locals[name]
    except Exception:  # the frame may have been cleared
        return None


def _frames(error: object) -> Iterator[tuple[tuple[str, str], FrameType]]:
    """Yield where an error came through, the caller first; a place without names where there is too much to read."""
    step = read(error, "__traceback__")
    for number in range(_MOST_FRAMES + 1):
        if type(step) is not TracebackType:
            return
        frame = step.tb_frame
        module = dict.get(frame.f_globals, "__name__")
        name = module if type(module) is str else "?"
        yield ("", "") if number == _MOST_FRAMES else (name, frame.f_code.co_name), frame
        step = step.tb_next
