"""Why a score is what it is: contributions that sum to it, the strongest of them in plain words (docs/explaining.md).

The log-odds of the calibrated churn probability = a base + the sum over features, to 1e-9: LightGBM's contributions,
the logistic regression's terms and the renewal model's Shapley values, carried through every step to the score. A
reason is not a cause: it says what the model went by.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from churn_clv.explain._words import DEFAULT, MOST, languages, phrases

if TYPE_CHECKING:
    from churn_clv.explain._batch import SCHEMA, by_customer, frame, of_matrix
    from churn_clv.explain._catalogue import ENTRIES, THEMES, meanings
    from churn_clv.explain._reasons import Explained, Reason, contributions, of_rows, own_targets
    from churn_clv.explain._usual import learn

__all__ = [
    "DEFAULT",
    "ENTRIES",
    "MOST",
    "SCHEMA",
    "THEMES",
    "Explained",
    "Reason",
    "by_customer",
    "contributions",
    "frame",
    "languages",
    "learn",
    "meanings",
    "of_matrix",
    "of_rows",
    "own_targets",
    "phrases",
]

# Imported when asked for: a service that only states its limits need not load LightGBM, which takes seconds.
_LATER = {
    "_batch": ("SCHEMA", "by_customer", "frame", "of_matrix"),
    "_catalogue": ("ENTRIES", "THEMES", "meanings"),
    "_reasons": ("Explained", "Reason", "contributions", "of_rows", "own_targets"),
    "_usual": ("learn",),
}


def __getattr__(name: str) -> Any:
    for module, names in _LATER.items():
        if name in names:
            return getattr(import_module(f"churn_clv.explain.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
