"""How MLflow's page shows an experiment of ours: as model training, in a view with the columns to decide by.

The view is what the page itself stores when somebody shares one:
``#/experiments/<id>/runs?viewStateShareKey=reviewer``.
"""

from __future__ import annotations

import json

VIEW = "reviewer"
COLUMNS = (
    "attributes.`Dataset`", "metrics.`grade_points`", "metrics.`churn_log_loss`", "metrics.`churn_auroc`",
    "metrics.`churn_ece_above_floor`", "metrics.`spend_tweedie_deviance`", "metrics.`spend_gini`",
    "metrics.`spend_total_ratio`", "tags.`kind`", "tags.`grade`", "tags.`dirty`",
)  # fmt: skip


def experiment_tags() -> dict[str, str]:
    """The tags that an experiment is made with."""
    state = {
        "selectedColumns": COLUMNS, "orderByKey": "metrics.`grade_points`", "orderByAsc": False, "runsPinned": [],
        "runsHidden": [], "compareRunsMode": "TABLE",
    }  # fmt: skip
    return {
        "mlflow.experimentKind": "custom_model_development",  # runs, not conversations
        f"mlflow.sharedViewState.{VIEW}": json.dumps(state),
    }
