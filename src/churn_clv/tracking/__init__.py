"""Runs, registered bundles and aliases in MLflow; the only package that imports mlflow.

A run is recorded whole or marked FAILED. A bundle leaves MLflow only as a verified copy: our own code never calls
``pyfunc.load_model``, which runs what the artifact says.
"""

from churn_clv.tracking import quiet as quiet
from churn_clv.tracking.question import check_same_question
from churn_clv.tracking.registry import Champion, champion, fetch, promote, register
from churn_clv.tracking.runs import code_version, keep_document, keyed_predictions, log_backtest, log_run
from churn_clv.tracking.store import prepare
from churn_clv.tracking.studies import Told, log_study

__all__ = [
    "Champion",
    "Told",
    "champion",
    "check_same_question",
    "code_version",
    "fetch",
    "keep_document",
    "keyed_predictions",
    "log_backtest",
    "log_run",
    "log_study",
    "prepare",
    "promote",
    "register",
]
