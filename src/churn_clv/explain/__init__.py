"""Why a score is what it is: contributions that sum to it, the strongest of them in plain words (docs/explaining.md).

The log-odds of the calibrated churn probability = a base + the sum over features, to 1e-9: LightGBM's contributions,
the logistic regression's terms and the renewal model's Shapley values, carried through every step to the score. A
reason is not a cause: it says what the model went by.
"""

from churn_clv.explain._batch import SCHEMA, by_customer, frame, of_matrix
from churn_clv.explain._catalogue import ENTRIES, THEMES, meanings
from churn_clv.explain._reasons import MOST, Explained, Reason, contributions, of_rows
from churn_clv.explain._usual import learn
from churn_clv.explain._words import DEFAULT, languages, phrases

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
    "phrases",
]
