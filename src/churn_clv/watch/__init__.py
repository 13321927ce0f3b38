"""Early warning: who is leaving with money, why, what changed, and how often such a list was right (docs/watch.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from churn_clv import config, explain, features, forgotten, timeline
from churn_clv.bundle import Bundle
from churn_clv.errors import UserError
from churn_clv.events import Log
from churn_clv.watch import _changes, _phase
from churn_clv.watch._files import before, list_folder, watch_folder, write
from churn_clv.watch._list import BEFORE, NEW, STANDING, at_risk, going_on, listed, measure_of
from churn_clv.watch._past import of_predictions, of_scorings
from churn_clv.watch._record import NO_CUTOFF, Earlier, measured

__all__ = [
    "BEFORE",
    "NEW",
    "NO_CUTOFF",
    "STANDING",
    "Earlier",
    "at_risk",
    "before",
    "going_on",
    "list_folder",
    "listed",
    "measured",
    "of_predictions",
    "of_scorings",
    "run",
    "watch_folder",
    "write",
]

Say = Callable[[str], None]
# Columns of the scores that are told of each customer, as far as there are any.
OWN = ("churn_probability", "churn_band", "expected_spend", "value_tier", "lifecycle_stage", "score_change",
       "recommended_action", "expected_profit")  # fmt: skip
KNOWN = ("days_since_last_purchase", "gap_days_median", "overdue_ratio")


def run(
    settings: config.Config, bundle: Bundle, log: Log, scores: pl.DataFrame, past: Sequence[Earlier],
    capacity: int | None = None, language: str = explain.DEFAULT, say: Say = lambda _: None,
) -> tuple[pl.DataFrame, dict[str, Any]]:  # fmt: skip
    """The list as a frame and the document of ``churn-clv watch`` (with the rows under ``customers``).

    ``scores``: a scoring of one cutoff by ``bundle``; ``past``: out-of-sample scores for the record. Raises UserError
    for a language without words, and where nobody has a score.
    """
    explain.phrases(language)
    own, size = settings.watch, capacity or settings.watch.capacity
    if not scores.filter("eligible").height:
        raise UserError("nobody is eligible at this cutoff, so nobody has a risk. `churn-clv score` gives the reasons.")
    day = scores["cutoff"][0]
    rows = at_risk(scores, settings.value.margin_share)
    was = _standing(settings, log, bundle, day)
    top = listed(rows, size, own.stay, was)
    say(f"explaining {top.height:,} customers")
    frame = _told(bundle, log, top, settings, language)
    say("measuring the list's record")
    record = measured(past, log, bundle.definitions, settings, size)
    document = {
        "dataset": settings.dataset,
        "cutoff": day.isoformat(),
        "horizon_days": bundle.horizon_days,
        "window_days": bundle.definitions.horizon_window_days,
        "currency": bundle.currency,
        "language": language,
        "capacity": size,
        "model_version": bundle.version,
        "in_sample": bool(rows["in_sample"].any()) if "in_sample" in rows.columns else None,
        "by": measure_of(rows),
        "known": rows.height,
        "eligible": rows.filter("eligible").height,
        "left_out": _counts(rows.filter(~pl.col("eligible")), "reason"),
        "value_at_risk": rows["value_at_risk"].sum(),
        "listed": {
            "customers": frame.height,
            "value_at_risk": frame["value_at_risk"].sum(),
            "new": frame.filter(alert=NEW).height,
            "on_time": frame.filter(pl.col("overdue_ratio") <= 1).height,
            "themes": _counts(frame, "theme"),
        },
        "left_the_list": was.height - frame.filter(alert=STANDING).height,
        "record": record,
        "notes": _notes(rows),
        "customers": frame.with_columns(pl.col(pl.Date).cast(pl.String)).to_dicts(),
    }
    return frame, document


def _standing(settings: config.Config, log: Log, bundle: Bundle, day: Any) -> pl.DataFrame:
    """Those of the last list whose episode goes on; the forgotten are on none."""
    last = forgotten.without(settings)(before(settings, day))
    if last.is_empty():
        return last
    past = timeline.Past(log.frame, timeline.pairs_of(last["customer_id"], [day]))
    return going_on(last, features.build(past, bundle.definitions, KNOWN[:1]))


def _told(bundle: Bundle, log: Log, top: pl.DataFrame, settings: config.Config, language: str) -> pl.DataFrame:
    """What is said of each listed customer, by rank."""
    events = log.frame.filter(pl.col("customer_id").is_in(top["customer_id"].implode()))
    pairs = top.select("customer_id", "cutoff")
    past = timeline.Past(events, pairs)
    known = features.build(past, bundle.definitions, KNOWN)
    changes = _changes.found(past, bundle.definitions, settings.watch.change_p, settings.watch.changes)
    why = explain.frame(bundle, events, pairs, settings.watch.reasons, language).drop("cutoff")
    phase = _phase.risk_then(bundle, events, past)
    out = top.select(
        "rank", "customer_id", "cutoff", "alert", "since", "value_at_risk", *(n for n in OWN if n in top.columns)
    ).with_columns(known[name] for name in KNOWN)
    out = out.with_columns(
        changed=pl.Series([_changes.words(c, language, bundle.currency) for c in changes], dtype=pl.String),
        changes=pl.Series([[c.told() for c in own] for own in changes], dtype=CHANGES),
    )
    for other in (phase, why):
        out = out.join(other, on="customer_id", how="left", maintain_order="left")
    return out.with_columns(theme=_theme()).sort("rank")


CHANGES = pl.List(
    pl.Struct({"what": pl.String, "before": pl.Float64, "after": pl.Float64, "chance": pl.Float64})
)  # fmt: skip


def _theme() -> pl.Expr:
    """The theme of the strongest reason that raises the risk; null where none does."""
    raising = pl.element().filter(pl.element().struct.field("direction") == "raises")
    return pl.col("reasons").list.eval(raising).list.first().struct.field("theme")


def _counts(frame: pl.DataFrame, column: str) -> dict[str, int]:
    counted = frame.filter(pl.col(column).is_not_null()).group_by(column).len().sort(column)
    return {str(k): int(v) for k, v in counted.iter_rows()}


def _notes(rows: pl.DataFrame) -> list[str]:
    if measure_of(rows) == "value_at_risk":
        return []
    return ["the model predicts no money, so the list goes by the risk alone. Train with the target `spend`."]
