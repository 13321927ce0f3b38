"""Whether tuning paid: tuned and default recipe run whole at later cutoffs, compared by a paired bootstrap (D10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from churn_clv import comparison, config, training
from churn_clv.comparison import HIGHER, Party, Question, Rows
from churn_clv.errors import UserError
from churn_clv.recipe import Say, Workshop
from churn_clv.timeline import Plan
from churn_clv.tuning._beside import Beside

PRIMARY = {"churn": "churn_log_loss", "spend": "spend_tweedie_deviance"}
BESIDE = ("churn_auroc", "spend_gini")
MONEY = ("spend_tweedie_deviance", "spend_gini")
VERDICTS = {
    "ahead": "tuning paid",
    "level": "tuning did not pay: level with the default",
    "behind": "tuning did not pay: behind the default",
}


def compare(
    shop: Workshop, tuned: config.Config, plans: Sequence[Plan], tuned_plans: Sequence[Plan], refused: dict[str, str],
    both_at_once: bool, say: Say,
) -> dict[str, Any]:  # fmt: skip
    """``tuned_minus_default``, by metric: both values, the difference, its 95% interval and ahead, level or behind.

    Each recipe makes its choices and its calibration map at every cutoff from what was known before it. The intervals
    of the two primary losses hold together; those of the rankings hold each alone.
    """
    runs = [(shop, plans), (shop.under(tuned), tuned_plans)]

    def judged(run: tuple[Workshop, Sequence[Plan]]) -> pl.DataFrame:
        # Stages of two recipes at once would read as one recipe's.
        found = [training.out_of_time(training.judge_at(run[0], plan, refused)) for plan in run[1]]
        return pl.concat(found).sort("cutoff", "customer_id")

    say(f"judging tuned and default recipe at {len(plans)} later cutoffs ({plans[0].test} to {plans[-1].test})")
    beside = Beside(lambda: judged(runs[1])) if both_at_once else None
    base = judged(runs[0])
    mine = beside.result() if beside else judged(runs[1])
    return differences(mine, base, shop.settings)


def differences(mine: pl.DataFrame, base: pl.DataFrame, settings: config.Config) -> dict[str, Any]:
    """The same from out-of-time predictions of the same rows (``training.out_of_time``)."""
    keys = ["cutoff", "customer_id"]
    if not mine.select(keys).equals(base.select(keys)):
        raise ValueError("tuned and default recipe did not predict the same rows")
    money = not base["expected_spend"].null_count()
    if money and mine["expected_spend"].null_count():
        raise UserError("the tuned recipe predicts no spend, the default does")
    parties, rows = [_party(n, f, money) for n, f in (("tuned", mine), ("default", base))], _rows(base, money)
    draws, seed = settings.promotion.bootstrap_draws, settings.seed
    out = {}
    for metrics, joint in ((PRIMARY.values(), True), (BESIDE, False)):
        asked = [Question("default", m) for m in metrics if money or m not in MONEY]
        for lead in comparison.leads(parties[0], [parties[1]], asked, rows, draws, seed, joint=joint):
            higher = lead.question.metric in HIGHER
            low, high = (lead.low, lead.high) if higher else (-lead.high, -lead.low)
            verdict = "ahead" if lead.low > 0 else "behind" if lead.high < 0 else "level"
            out[lead.question.metric] = {
                "tuned": lead.mine, "default": lead.theirs, "difference": lead.mine - lead.theirs, "low": low,
                "high": high, "verdict": verdict,
            }  # fmt: skip
    return out


def in_words(found: dict[str, Any] | None) -> dict[str, str]:
    """For each head that was judged, whether tuning paid."""
    return {h: VERDICTS[found[m]["verdict"]] for h, m in PRIMARY.items() if found and m in found}


def _party(name: str, frame: pl.DataFrame, money: bool) -> Party:
    spend = frame["expected_spend"].to_numpy() if money else None
    return Party(name, frame["churn_probability"].to_numpy(), True, spend)


def _rows(frame: pl.DataFrame, money: bool) -> Rows:
    customers = (frame["customer_id"].rank("dense").cast(pl.Int64) - 1).to_numpy().astype(np.intp)
    dates = frame["cutoff"].unique(maintain_order=True).to_list()
    cutoffs = {d: np.flatnonzero((frame["cutoff"] == d).to_numpy()) for d in dates}
    churned = frame["churned"].cast(pl.Float64).to_numpy()
    return Rows(customers, cutoffs, churned, frame["spend"].to_numpy() if money else None)
