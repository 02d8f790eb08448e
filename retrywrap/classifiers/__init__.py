"""What an error means, and whether another attempt may succeed: verdicts, the chain of classifiers, the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrywrap.classifiers.verdict import Classifier, Effect, Verdict, return_codes
from retrywrap.lazy import lazily as _lazily

if TYPE_CHECKING:
    from retrywrap.classifiers.chain import Chain, classify, explain
    from retrywrap.classifiers.http import parse_retry_after
    from retrywrap.classifiers.programs import program_exit
    from retrywrap.classifiers.redact import safe_message
    from retrywrap.classifiers.registration import register, unregister
    from retrywrap.classifiers.walk import Step

__all__ = [
    "Chain",
    "Classifier",
    "Effect",
    "Step",
    "Verdict",
    "classify",
    "explain",
    "parse_retry_after",
    "program_exit",
    "register",
    "return_codes",
    "safe_message",
    "unregister",
]

# The chain and its tables are loaded when they are first asked: a program that never fails never needs them.
_WHERE = {
    "Chain": "chain",
    "Step": "walk",
    "classify": "chain",
    "explain": "chain",
    "parse_retry_after": "http",
    "program_exit": "programs",
    "register": "registration",
    "safe_message": "redact",
    "unregister": "registration",
}

__getattr__, __dir__ = _lazily(__name__, _WHERE, __all__)
