"""What an error means, and whether another attempt may succeed: verdicts, the chain of classifiers, the tables."""

from __future__ import annotations

from retrywrap.classifiers.chain import Chain, classify, explain
from retrywrap.classifiers.http import parse_retry_after
from retrywrap.classifiers.programs import program_exit
from retrywrap.classifiers.redact import safe_message
from retrywrap.classifiers.registration import register, unregister
from retrywrap.classifiers.verdict import Classifier, Effect, Verdict, return_codes
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
