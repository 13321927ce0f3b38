"""What other commands tell, as the report's sections: sentences and tables of watch, ledger and loyalty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from churn_clv import actions, config, ledger, loyalty, playbook, watch
from churn_clv.bundle import Bundle
from churn_clv.events import Log

Document = dict[str, Any]
MOST_WAITING = 20


def watched(
    settings: config.Config, own: Bundle, log: Log, scores: pl.DataFrame, past: Sequence[watch.Earlier]
) -> Document:
    """The document of ``churn-clv watch``; ``past`` of cutoffs before the log's end alone."""
    before = [one for one in past if one.cutoff < log.ends]
    return watch.run(settings, own, log, scores, before)[1]


def promised(settings: config.Config, log: Log, book: playbook.Actions) -> Document:
    """The ledger: every stored scoring and released plan whose window has closed by the log's end."""
    released = [c for c in actions.campaigns(actions.outbox_file(settings)) if c["cutoff"] <= log.ends]
    found = ledger.run(settings, log, book, released)
    campaigns = found["campaigns"]["campaigns"] if found["campaigns"] else []
    if not found["scorings"] and not campaigns:
        why = found["why"] or "no scoring's window has closed, and no plan was released"
        return {
            "missing": str(why),
            "how": "score at each cutoff, and look again a horizon later",
        }
    tables = [
        {"title": "Scorings against what came", "rows": [_scoring(row) for row in found["scorings"]]},
        {"title": "Campaigns: promised and realised profit", "rows": [_campaign(row) for row in campaigns]},
    ]
    return found | {"sentences": [_alarm(found["alarm"])], "tables": tables}


def loyal(settings: config.Config, log: Log, scores: pl.DataFrame) -> Document:
    """The loyalty index against retention, surveys, and who waits for an answer."""
    found = loyalty.run(settings, log, scores)[1]
    quintiles = (found["retention"] or {}).get("quintiles") or []
    known = found["programme"]["measurable"] or settings.loyalty.programme is not None
    if not quintiles and not found["surveys"] and not found["customers"] and not known:
        return {"missing": "the log has nothing that the loyalty index or a survey could be made of",
                "how": "map surveys, complaints or points (docs/loyalty.md)"}  # fmt: skip
    said = [f"The index is of {', '.join(f'{name} {weight:+g}' for name, weight in found['weights'].items())}."]
    if quintiles:
        said.append(f"Against retention at {found['retention']['cutoff']}: {found['retention']['verdict']}.")
    said.append(loyalty.told(found["programme"], found["currency"]))
    said += [
        f"{kind}: {row['net']:+.0f} ({row['net_low']:+.0f} to {row['net_high']:+.0f}) of {row['answers']:,} answers."
        for kind, row in found["surveys"].items()
    ]
    waiting = found["customers"][:MOST_WAITING]
    tables = [
        {"title": "Retention by fifths of the index", "rows": [_quintile(row) for row in quintiles]},
        *(
            [{"title": "Loyalty programme: cost and effect", "rows": [_programme(found["programme"])]}]
            if found["programme"]["measurable"]
            else []
        ),
        {"title": f"Who waits for an answer, dearest first (of {len(found['customers']):,})", "rows": waiting},
    ]
    return found | {"sentences": [*said, *found["notes"]], "tables": tables}


def _scoring(row: Mapping[str, Any]) -> Document:
    lapse, spend = row["lapse"], row["spend"]
    return {
        "cutoff": row["cutoff"], "in_sample": row["in_sample"], "customers": row["customers"],
        "lapse_predicted": lapse["predicted"], "lapse_realised": lapse["realised"], "low": lapse["low"],
        "high": lapse["high"], "spend_predicted": spend and spend["predicted"],
        "spend_realised": spend and spend["realised"],
    }  # fmt: skip


def _campaign(row: Mapping[str, Any]) -> Document:
    found = row.get("realised") or {}
    return {
        "campaign": row["campaign"], "treated": row["treated"], "promised_profit": row["promised_profit"],
        "realised_profit": found.get("profit"), "low": found.get("low"), "high": found.get("high"),
        "why_not": row["why"],
    }  # fmt: skip


def _programme(found: Mapping[str, Any]) -> Document:
    each, lapse = found["margin"], found["lapse"]
    return {
        "since": found["since"], "until": found["until"], "in": found["treated"], "left_out": found["control"],
        "cost": found["cost"], "margin_each": each["effect"], "margin_low": each["low"], "margin_high": each["high"],
        "lapse_change": lapse["effect"], "lapse_low": lapse["low"], "lapse_high": lapse["high"],
        "profit": found["profit"], "low": found["low"], "high": found["high"],
    }  # fmt: skip


def _quintile(row: Mapping[str, Any]) -> Document:
    return {name: row[name] for name in ("quintile", "customers", "retention", "low", "high")}


def _alarm(alarm: Mapping[str, Any]) -> str:
    rate = f"{alarm['false_alarms_a_year']:.0%}"
    if not alarm["counted"]:
        return "No window of a scoring that was not in sample has closed, so no alarm is possible yet."
    if alarm["raised"]:
        return (f"Alarm since the scoring of {alarm['raised']['cutoff']}: {'; '.join(alarm['raised']['why'])}. At most "
                f"{rate} of years without cause raise one.")  # fmt: skip
    return (f"The scores hold: the evidence against them is {alarm['evidence']:.2g}, the alarm comes at "
            f"{alarm['limit']:.0f} (false in at most {rate} of years).")  # fmt: skip
