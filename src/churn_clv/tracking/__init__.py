"""Runs, registered bundles and aliases in MLflow; the only package that imports mlflow.

A run is recorded whole or marked FAILED. A bundle leaves MLflow only as a verified copy: our own code never calls
``pyfunc.load_model``, which runs what the artifact says.
"""

from churn_clv.tracking import quiet as quiet
from churn_clv.tracking.kept import keep_run, send_run, version_of_run
from churn_clv.tracking.moves import PROMOTE, ROLLBACK, Move, line, reigned
from churn_clv.tracking.question import TAG as QUESTION
from churn_clv.tracking.question import check_same_question, differences
from churn_clv.tracking.question import same as same_question
from churn_clv.tracking.reading import Recorded, recorded
from churn_clv.tracking.registry import Champion, OvertakenError, champion, history, promote, register, reigning
from churn_clv.tracking.runs import code_version, keep_document, keyed_predictions, log_backtest, log_run, made
from churn_clv.tracking.store import STORE_ERRORS, made_already, prepare
from churn_clv.tracking.stored import Stored, attach, find
from churn_clv.tracking.studies import Told, log_study
from churn_clv.tracking.versions import CHAMPION, bundle_of, fetch, number_of

__all__ = [
    "CHAMPION",
    "PROMOTE",
    "QUESTION",
    "ROLLBACK",
    "STORE_ERRORS",
    "Champion",
    "Move",
    "OvertakenError",
    "Recorded",
    "Stored",
    "Told",
    "attach",
    "bundle_of",
    "champion",
    "check_same_question",
    "code_version",
    "differences",
    "fetch",
    "find",
    "history",
    "keep_document",
    "keep_run",
    "keyed_predictions",
    "line",
    "log_backtest",
    "log_run",
    "log_study",
    "made",
    "made_already",
    "number_of",
    "prepare",
    "promote",
    "recorded",
    "register",
    "reigned",
    "reigning",
    "same_question",
    "send_run",
    "version_of_run",
]
