"""Names, forms and the smallest pieces of a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]

LAPSE_ABOVE = 0.2  # where more of those labelled churned buy again, the word is lapse (definition D6)
FEW = 300  # customers; a stratum's skill on fewer is mostly chance (D12)
ECE_MARGIN = 0.01  # above its floor (D10)
NONE = "-"
UNMEASURED = "not measured"


@dataclass(frozen=True)
class Shown:
    """How a metric is shown; ``higher`` says whether more is better, None where neither is."""

    title: str
    form: str
    higher: bool | None
    meaning: str


METRICS = {
    "churn_auroc": Shown(
        "AUC", ".4f", True, "the chance that one who stopped buying was given the higher risk than one who went on"
    ),
    "churn_average_precision": Shown("average precision", ".4f", True, "the mean precision over all lists of riskiest"),
    "churn_log_loss": Shown("log loss", ".4f", False, "what the probabilities cost; a sure and wrong one costs most"),
    "churn_brier": Shown("Brier", ".4f", False, "the mean squared error of the probabilities"),
    "churn_ece": Shown("ECE", ".4f", False, "how far probabilities and frequencies lie apart in ten groups"),
    "churn_ece_floor": Shown("ECE's floor", ".4f", None, "the ECE of a perfectly calibrated model of this size"),
    "ece_above_floor": Shown("ECE - floor", "+.4f", False, "how far the calibration error is above pure chance"),
    "churn_calibration_slope": Shown(
        "slope", ".3f", None, "how much surer one may be than the probabilities say: 1 is right, below 1 overconfident"
    ),
    "churn_lift_top_decile": Shown("lift", ".2f", True, "how often the riskiest tenth stops buying, against everyone"),
    "churn_rate": Shown("base rate", ".4f", None, "the share that stopped buying"),
    "churn_empc": Shown("EMPC", ".3f", True, "the profit per customer of a best campaign against churn"),
    "spend_gini": Shown("Gini", ".4f", True, "how well customers are ranked by the money to come; 1 is perfect"),
    "spend_mae": Shown("MAE", ",.2f", False, "the mean absolute error per customer, in money"),
    "spend_rmse": Shown("RMSE", ",.2f", False, "the root of the mean squared error, in money"),
    "spend_rmse_winsorised": Shown("RMSE, winsorised", ",.2f", False, "the same with the largest spends cut"),
    "spend_wape": Shown("WAPE", ".4f", False, "the absolute errors over all the money"),
    "spend_tweedie_deviance": Shown("Tweedie", ",.2f", False, "what the expected spends cost; right for many zeros"),
    "spend_total_ratio": Shown("total", ".3f", None, "the predicted total over the actual"),
    "total_worst": Shown("total, worst", ".3f", None, "the predicted total over the actual, at the worst cutoff"),
    "spend_spearman": Shown("Spearman", ".4f", True, "the rank correlation of expected and actual spend"),
    "spend_decile_mape": Shown("decile MAPE", ".4f", False, "the mean relative error of the ten tenths' totals"),
    "spend_top_decile_share": Shown("top tenth's money", ".4f", None, "the share of all money of the tenth put first"),
    "n": Shown("customers", ",.0f", None, "customers judged"),
}
LADDER = (
    "churn_auroc", "churn_log_loss", "ece_above_floor", "churn_lift_top_decile", "spend_gini", "spend_mae",
    "spend_tweedie_deviance", "total_worst",
)  # fmt: skip
PRIMARY = ("churn_log_loss", "spend_tweedie_deviance")
RUNGS = {
    "champion": "this model",
    "btyd": "BTYD",
    "rfm_cells": "RFM cells",
    "days_to_end": "days to the end",
    "no_lapse": "nobody ever lapses",
}
STRATA = {"orders": "orders so far", "rhythm": "own rhythm"}


def number(metric: str, value: float | None) -> str:
    """A metric's value as it is shown everywhere; a dash where it does not apply."""
    return NONE if value is None else format(float(value), METRICS[metric].form)


def percent(value: float | None, form: str = ".1%") -> str:
    return NONE if value is None else format(float(value), form)


def rung(name: str) -> str:
    return RUNGS.get(name, name.replace("_", " "))


def listed(parts: Sequence[str]) -> str:
    """'a, b and c'."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
