"""Two stored runs on the customers and cutoffs that both predicted: who is better, how sure, and what would change.

Everything comes from out-of-time predictions as they were judged (definition D9); no bundle is scored.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from churn_clv import contest_figure, figures, timeline, tracking
from churn_clv.comparison import LOSSES, Party, Question, Rows, leads
from churn_clv.config import Config
from churn_clv.contest import _movers, _page
from churn_clv.contest._page import basis, moves
from churn_clv.contest._stored import check
from churn_clv.errors import UserError
from churn_clv.metrics import calibration_slope, expected_calibration_error
from churn_clv.promotion import party_of, rows_of
from churn_clv.tracking import Stored

__all__ = ["basis", "compare", "moves", "run"]

KEYS = ["customer_key", "cutoff"]
CHURN = ("churn_log_loss", "churn_auroc", "churn_average_precision")
SPEND = ("spend_tweedie_deviance", "spend_gini")
DOCUMENT, PAGE, PICTURE = "contest.json", "contest.html", "contest"


def compare(settings: Config, first: str, second: str) -> tuple[dict[str, Any], pl.DataFrame]:
    """The document of ``churn-clv compare`` (docs/champion.md says what each key means) and the shared rows.

    Their columns: customer_key, cutoff, churned, spend, churn_a, spend_a, churn_b, spend_b.

    Raises UserError where a run cannot be found, the two ask different questions or share no row, where their customers
    are hidden behind different keys, or where stored predictions are not those that were judged.
    """
    tracking.prepare(settings)
    a, b = tracking.find(settings, first), tracking.find(settings, second)
    check(a, b)
    both, labels_differ = _paired(a, b)
    rows = rows_of(_one(both, "a"))
    parties = [party_of(who, _one(both, who)) for who in "ab"]
    document = {
        "model": settings.registered_name,
        "a": _about(a),
        "b": _about(b),
        "newer": "a" if a.started > b.started else "b",
        "currency": settings.events.currency,
        "rows": both.height,
        "customers": both["customer_key"].n_unique(),
        "cutoffs": [str(day) for day in rows.cutoffs],
        "independent_cutoffs": timeline.independent(rows.cutoffs, settings.timeline.horizon_days),
        "only_a": a.oot.height - both.height,
        "only_b": b.oot.height - both.height,
        "labels_differ": labels_differ,
        "same_data": a.tags.get("fingerprint") == b.tags.get("fingerprint"),
        "settings": _settings(a, b),
        "metrics": _metrics(parties, rows, settings),
        "level": [_level(party, rows) for party in parties],
        "rank_agreement": {
            what: _movers.rank_agreement(both, what) if _has(both, what) else None for what in ("churn", "spend")
        },
        "top_tenth": {what: _movers.top_tenth(both, what) if _has(both, what) else None for what in ("churn", "spend")},
        "bands": _bands(settings, a, b, both),
        "tiers": _movers.tiers(both) if _has(both, "spend") else None,
    }
    return document, both


def run(settings: Config, first: str, second: str, folder: Path | None = None) -> dict[str, Any]:
    """Compare, write contest.json, contest.png and contest.html, and attach them to the newer run.

    They go to ``folder`` (default: <out>/comparison/<a>-<b>) and to the artifacts' comparison/<the other run>. Returns
    the document with ``page``, its path, and ``attached_to``, the run's id.
    """
    document, both = compare(settings, first, second)
    a, b = (str(document[who]["run_id"]) for who in "ab")
    place = folder or Path(settings.out) / "comparison" / f"{a[:8]}-{b[:8]}"
    [picture] = figures.save({PICTURE: contest_figure.draw(document, both)}, place)
    text = json.dumps(document, indent=2, allow_nan=False)
    (place / DOCUMENT).write_text(text + "\n", encoding="utf-8")
    (place / PAGE).write_text(_page.render(document, picture.read_bytes()), encoding="utf-8")
    newer, other = (a, b) if document["newer"] == "a" else (b, a)
    tracking.attach(settings, newer, place, f"comparison/{other}")
    return document | {"page": str(place / PAGE), "attached_to": newer}


def _paired(a: Stored, b: Stored) -> tuple[pl.DataFrame, int]:
    """The rows of both, one line each, labels of the newer run; and how many labels differ."""
    names = {"churn_probability": "churn", "expected_spend": "spend"}
    old, new = (a, b) if a.started <= b.started else (b, a)
    labels = new.oot.select(*KEYS, "churned", "spend")
    said = [run.oot.select(*KEYS, **{f"{short}_{who}": name for name, short in names.items()})
            for who, run in (("a", a), ("b", b))]  # fmt: skip
    both = labels.join(said[0], on=KEYS).join(said[1], on=KEYS).sort(KEYS)
    if both.is_empty():
        raise UserError(
            f"run {a.run_id} was judged at {_dates(a)} and run {b.run_id} at {_dates(b)}: they share none of their "
            f"{a.oot.height:,} and {b.oot.height:,} rows. Train the older recipe again on the newer log."
        )
    before = old.oot.select(*KEYS, "churned", "spend").join(labels, on=KEYS, suffix="_new")
    differ = before.filter(
        pl.col("churned").ne_missing(pl.col("churned_new")) | pl.col("spend").ne_missing(pl.col("spend_new"))
    )
    return both, differ.height


def _one(both: pl.DataFrame, who: str) -> pl.DataFrame:
    """One run's predictions of the shared rows, as promotion reads them."""
    return both.select(*KEYS, "churned", "spend", churn_probability=f"churn_{who}", expected_spend=f"spend_{who}")


def _has(both: pl.DataFrame, what: str) -> bool:
    return both[f"{what}_a"].null_count() == 0 == both[f"{what}_b"].null_count()


def _metrics(parties: list[Party], rows: Rows, settings: Config) -> list[dict[str, Any]]:
    """Each metric of both, B minus A with its interval, and who is ahead; simultaneous over all that are asked."""
    a, b = parties
    money = a.spend is not None and b.spend is not None and rows.spend is not None
    asked = [Question("a", metric) for metric in (*CHURN, *(SPEND if money else ()))]
    out = []
    for lead in leads(b, [a], asked, rows, settings.promotion.bootstrap_draws, settings.seed):
        sign = -1 if lead.question.metric in LOSSES else 1
        low, high = sorted((sign * lead.low, sign * lead.high))
        better = "b" if lead.low > 0 else "a" if lead.high < 0 else None
        out.append({
            "metric": lead.question.metric, "a": lead.theirs, "b": lead.mine, "difference": sign * lead.lead,
            "low": low, "high": high, "better": better,
        })  # fmt: skip
    return out


def _level(party: Party, rows: Rows) -> dict[str, float | None]:
    """What is no contest but should be right: calibration and the total."""
    assert party.churn is not None
    spend, actual = party.spend, rows.spend
    ratio = None if spend is None or actual is None or actual.sum() <= 0 else float(spend.sum() / actual.sum())
    return {
        "churn_ece": expected_calibration_error(rows.churned, party.churn),
        "churn_calibration_slope": calibration_slope(rows.churned, party.churn),
        "spend_total_ratio": ratio,
    }


def _bands(settings: Config, a: Stored, b: Stored, both: pl.DataFrame) -> dict[str, Any] | None:
    """Moves between bands, None where a run has no bundle here or names its bands otherwise."""
    edges, names = [], []
    for run in (a, b):
        if run.version is None:
            return None
        try:
            bundle = tracking.fetch(settings, run.version)
        except UserError:  # damaged, or gone: the rest of the comparison stands without it
            return None
        if bundle.name != run.tags["bundle_sha256"]:  # a version of another registered model
            return None
        reference = json.loads((bundle / "reference.json").read_text(encoding="utf-8"))
        edges.append(reference["band_edges"])
        names.append(reference["band_names"])
    return _movers.bands(both, edges, names[0]) if names[0] == names[1] else None


def _settings(a: Stored, b: Stored) -> list[dict[str, Any]]:
    """The recorded settings in which the two differ."""
    keys = sorted(a.params.keys() | b.params.keys())
    return [{"key": k, "a": a.params.get(k), "b": b.params.get(k)} for k in keys if a.params.get(k) != b.params.get(k)]


def _about(run: Stored) -> dict[str, Any]:
    tags = ("grade", "recipe_hash", "fingerprint", "code_version", "code_hash", "bundle_sha256")
    return {"run_id": run.run_id, "version": run.version, "aliases": list(run.aliases)} | {
        tag: run.tags.get(tag) for tag in tags
    }


def _dates(run: Stored) -> str:
    return ", ".join(str(day) for day in run.oot["cutoff"].unique().sort())
