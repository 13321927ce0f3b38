"""Whether tuning paid: tuned and default recipe run whole at later cutoffs, compared by a paired bootstrap (D10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from churn_clv import comparison, config, recipe, training
from churn_clv.beside import together
from churn_clv.comparison import HIGHER, Party, Question, Rows
from churn_clv.errors import UserError
from churn_clv.recipe import Say, Workshop
from churn_clv.timeline import Plan

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
    jobs: int, say: Say,
) -> dict[str, Any]:  # fmt: skip
    """``tuned_minus_default``, by metric: both values, the difference, its 95% interval and ahead, level or behind.

    Each recipe makes its choices and its calibration map at every cutoff from what was known before it. The intervals
    of the two primary losses hold together; those of the rankings hold each alone.
    """
    default = shop.settings
    say(f"judging tuned and default recipe at {len(plans)} later cutoffs ({plans[0].test} to {plans[-1].test})")
    theirs, mine = (shop.under(settings).beside(jobs) for settings in (default, tuned))
    pairs = [*((theirs, p) for p in plans), *((mine, p) for p in tuned_plans)]
    found = _out_of_time(pairs, refused, jobs, say)
    base, own = (pl.concat(part).sort("cutoff", "customer_id") for part in (found[: len(plans)], found[len(plans) :]))
    return differences(own, base, default)


def _out_of_time(
    pairs: Sequence[tuple[Workshop, Plan]], refused: dict[str, str], jobs: int, say: Say
) -> list[pl.DataFrame]:
    """What each pair's recipe said at its test cutoff: the recipe run whole, its models learnt ``jobs`` at a time.

    Learnt first what the validation origins ask for, then, once each recipe has chosen, the chosen heads.
    """

    def learn(wishes: Sequence[recipe.Wish], why: str) -> None:
        groups = recipe.grouped(wishes)
        say(f"{why}: {len(wishes)} models of {len(groups)} sets of rows, {jobs} at a time")
        together(recipe.learn, groups, jobs)

    for pair in pairs:
        training.enough(*pair)
    learn([w for pair in pairs for w in recipe.for_choice(*pair)], "learning what the recipes choose from")
    chosen = together(lambda pair: recipe.choose(*pair), pairs, jobs)
    made = [(*pair, choice) for pair, choice in zip(pairs, chosen, strict=True)]
    learn([w for one in made for w in recipe.for_heads(*one)], "learning what they chose")
    return together(lambda one: training.out_of_time(training.judge_at(*one[:2], refused, chosen=one[2])), made, jobs)


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
