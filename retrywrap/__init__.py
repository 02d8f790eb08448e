"""retrywrap: retry and error handling for anything that can be called.

It makes an operation that may fail succeed when it can, give up when it must, and always say what happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrywrap.lazy import lazily as _lazily

if TYPE_CHECKING:
    from retrywrap._version import __version__ as __version__
    from retrywrap.classifiers.chain import classify
    from retrywrap.classifiers.verdict import Verdict, return_codes
    from retrywrap.codes import ErrorCode
    from retrywrap.config import configure
    from retrywrap.decide.backoff import decorrelated, exponential, fibonacci, fixed, linear
    from retrywrap.decide.budget import RatioBudget, RetryBudget
    from retrywrap.decide.context import RetryContext, RetryState
    from retrywrap.decide.events import RetryEvent, StopReason
    from retrywrap.decide.policy import RetryPolicy
    from retrywrap.decide.presets import FILES, NETWORK
    from retrywrap.errors import ConfigurationError, DeadlineExceeded, RetryExhausted, RetryUsageError, RetryWrapError
    from retrywrap.record.hooks import subscribe
    from retrywrap.record.registry import ErrorRecord, Registry, registry
    from retrywrap.run.ambient import remaining, shutdown
    from retrywrap.run.decorator import with_retry
    from retrywrap.run.files import write_file
    from retrywrap.run.native import __build__ as __build__
    from retrywrap.run.scope import retry_scope

__all__ = [
    "FILES",
    "NETWORK",
    "ConfigurationError",
    "DeadlineExceeded",
    "ErrorCode",
    "ErrorRecord",
    "RatioBudget",
    "Registry",
    "RetryBudget",
    "RetryContext",
    "RetryEvent",
    "RetryExhausted",
    "RetryPolicy",
    "RetryState",
    "RetryUsageError",
    "RetryWrapError",
    "StopReason",
    "Verdict",
    "classify",
    "configure",
    "decorrelated",
    "exponential",
    "fibonacci",
    "fixed",
    "linear",
    "registry",
    "remaining",
    "retry_scope",
    "return_codes",
    "shutdown",
    "subscribe",
    "with_retry",
    "write_file",
]


_WHERE = {  # loaded at first need: pytest's plugin, say, is imported by every test run, whether it retries or not
    "FILES": "decide.presets",
    "NETWORK": "decide.presets",
    "ConfigurationError": "errors",
    "DeadlineExceeded": "errors",
    "ErrorCode": "codes",
    "ErrorRecord": "record.registry",
    "RatioBudget": "decide.budget",
    "Registry": "record.registry",
    "RetryBudget": "decide.budget",
    "RetryContext": "decide.context",
    "RetryEvent": "decide.events",
    "RetryExhausted": "errors",
    "RetryPolicy": "decide.policy",
    "RetryState": "decide.context",
    "RetryUsageError": "errors",
    "RetryWrapError": "errors",
    "StopReason": "decide.events",
    "Verdict": "classifiers.verdict",
    "__build__": "run.native",
    "__version__": "_version",
    "classify": "classifiers.chain",
    "configure": "config",
    "decorrelated": "decide.backoff",
    "exponential": "decide.backoff",
    "fibonacci": "decide.backoff",
    "fixed": "decide.backoff",
    "linear": "decide.backoff",
    "registry": "record.registry",
    "remaining": "run.ambient",
    "retry_scope": "run.scope",
    "return_codes": "classifiers.verdict",
    "shutdown": "run.ambient",
    "subscribe": "record.hooks",
    "with_retry": "run.decorator",
    "write_file": "run.files",
}

__getattr__, __dir__ = _lazily(__name__, _WHERE, __all__, first="wiring", modules=("classifiers", "plugin", "testing"))
