"""How a reviewer opens the bundle with ``mlflow.pyfunc.load_model``. churn_clv itself never loads a model so.

MLflow stores this file as it is (models from code) and runs it on loading; nothing is unpickled. The bundle beside it
is verified before it is used, and the installed churn_clv does the work.
"""

from typing import Any, cast

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class ReviewerModel(PythonModel):
    """Scores plain event rows: columns customer_id, time, event_type, amount, ...; one answer per customer."""

    def load_context(self, context: PythonModelContext) -> None:
        """Verify and load the bundle that was logged with this model."""
        from churn_clv.bundle import load_bundle

        self.bundle = load_bundle(context.artifacts["bundle"])

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Churn and spend at ``params["cutoff"]`` (YYYY-MM-DD; default: the end of the log it learnt from)."""
        cutoff = (params or {}).get("cutoff") or self.bundle.trained_through
        return cast("pd.DataFrame", self.bundle.score(model_input, cutoff))


set_model(ReviewerModel())
