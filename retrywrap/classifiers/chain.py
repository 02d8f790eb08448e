"""The default chain, and who speaks for it: what users registered, what entry points bring, and the tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from retrywrap.classifiers.asking import ask, check_classifier
from retrywrap.classifiers.links import Chain, is_known
from retrywrap.classifiers.plugins import plugin_rows
from retrywrap.classifiers.registration import book
from retrywrap.classifiers.rows import Row
from retrywrap.classifiers.tables import rows_for
from retrywrap.classifiers.verdict import Classifier, Verdict
from retrywrap.classifiers.walk import Step

__all__ = ["DEFAULT", "Chain", "as_chain", "ask", "classify", "explain", "is_known"]


class _Default(Chain):
    """What users registered, what entry points bring, and the tables."""

    __slots__ = ()

    def _rows_for(self, cls: type[BaseException]) -> Iterator[Row]:
        plugins = plugin_rows()
        yield from book.state.rows_for(cls)
        yield from plugins
        yield from rows_for(cls)

    def __repr__(self) -> str:
        return "the default chain"

    def __reduce__(self) -> str:  # type: ignore[override]  # pickled by name: there is one
        return "DEFAULT"


DEFAULT: Chain = _Default()
"""The default chain: what users registered, what entry points bring, and the tables."""


def as_chain(classifier: Classifier | Iterable[Classifier] | None) -> Chain:
    """Return the chain that a parameter ``classifier=`` means.

    Args:
        classifier: None: the default chain. A `Chain` stands for itself. A function, or several, are asked before the
            default chain.

    Raises:
        TypeError: It is none of these.
    """
    if classifier is None:
        return DEFAULT
    if isinstance(classifier, Chain):
        return classifier
    given: Any = classifier
    if callable(given) or isinstance(given, str | bytes) or not isinstance(given, Iterable):
        return DEFAULT.extend(check_classifier(given, "classifier"))
    return DEFAULT.extend(*given)


def classify(error_or_result: object) -> Verdict:
    """Return what the default chain says of an exception, or of what an operation returned.

    >>> classify(ConnectionRefusedError(111, "Connection refused"))
    Verdict(code=<ErrorCode.NETWORK: -6>, message='[Errno 111] Connection refused', retryable=True, retry_after=None, \
effect='none', rule='stdlib.errno.ECONNREFUSED', forbid=False, throttled=False)

    Args:
        error_or_result: An exception (an instance). Of other values, an int is read as one of the plugin's codes, what
            has an int between 400 and 599 as its ``status_code`` or ``status`` as an HTTP answer, and all else is a
            success.

    Raises:
        TypeError: An exception class was given.
    """
    return DEFAULT(error_or_result)


def explain(error_or_result: object) -> list[Step]:
    """Return the way to the default chain's verdict, which is the last step: who was asked, in order, and what came.

    Args:
        error_or_result: As for `classify`.

    Raises:
        TypeError: An exception class was given.
    """
    return DEFAULT.explain(error_or_result)
