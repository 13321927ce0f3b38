"""A model against the best possible score, on a log whose truth is known (definition D23)."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl

from churn_clv import config, events, metrics, timeline, training
from churn_clv import simulate as simulator
from churn_clv.recipe import Say

FOLDER = "simulator"


def simulate(settings: config.Config, judge: bool, say: Say = lambda _: None) -> dict[str, Any]:
    """Write the log, the latent states and both truths at the test cutoff and the end to ``out``/simulator.

    With ``judge`` the recipe is run on the log up to its one look at the test cutoff and compared with the truths on
    the same eligible customers. Raises UserError where the log is too short for the plan.
    """
    own = settings.simulate
    ends = own.starts + dt.timedelta(days=own.days)
    plan = timeline.make_plan(own.starts, ends, settings.timeline)
    folder = Path(settings.events.folder or ".") / settings.out / FOLDER
    say(f"simulating {own.customers:,} customers over {own.days} days")
    simulator.write(simulator.chunks(own, settings.seed), folder, [plan.test, ends], settings.timeline.horizon_days)
    document: dict[str, Any] = {
        "folder": str(folder),
        "customers": own.customers,
        "ends": ends.isoformat(),
        "truth_cutoffs": [plan.test.isoformat(), ends.isoformat()],
    }
    if judge:
        say("reading the log")
        log = events.read_log(settings)
        judged = training.out_of_time(training.judge(log, settings, say))
        document["judged"] = against_truth(judged, pl.read_parquet(folder / "truth.parquet"))
    return document


def against_truth(judged: pl.DataFrame, truth: pl.DataFrame) -> dict[str, Any]:
    """AUC and log loss of model, Bayes and latent truth on the judged rows, and the model's share of the way to Bayes.

    ``judged`` as ``training.out_of_time`` gives it, ``truth`` as the simulator writes it.
    """
    both = judged.join(truth, on=["customer_id", "cutoff"], how="inner", validate="1:1")
    assert both.height == judged.height, "the simulator knows every customer it made"
    churned = both["churned"].to_numpy()
    scores: list[dict[str, Any]] = []
    for name, column in {"model": "churn_probability", "bayes": "p_churn_bayes", "latent": "p_churn_latent"}.items():
        found = metrics.churn_metrics(churned, both[column].to_numpy())
        scores.append({"score": name, **{k: found[k] for k in ("churn_auroc", "churn_log_loss", "churn_ece")}})
    auc = {s["score"]: float(s["churn_auroc"]) for s in scores}
    share = simulator.share_of_the_way(auc["model"], auc["bayes"])
    return {"n": both.height, "scores": scores, "share_of_the_way": share}
