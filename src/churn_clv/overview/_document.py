"""Every section of the report, gathered."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from churn_clv import (
    actions,
    affinity,
    bundle,
    cohorts,
    config,
    events,
    forgotten,
    journey,
    kpis,
    playbook,
    portfolio,
    pseudonym,
    scoring,
    timeline,
    watch,
)
from churn_clv.errors import UserError
from churn_clv.overview._drivers import drivers
from churn_clv.overview._others import loyal, promised, watched
from churn_clv.overview._realised import of_judged, realised

Say = Callable[[str], None]
Document = dict[str, Any]
SECTIONS = (
    "kpis", "cohorts", "segments", "journey", "drivers", "realised", "reliability", "watch", "plan", "loyalty",
    "affinity", "ledger",
)  # fmt: skip


def run(
    settings: config.Config, own: bundle.Bundle, log: events.Log, cutoff: dt.date | None = None,
    against: dt.date | None = None, *, book: playbook.Actions | None = None, shipped: bool = True,
    judged: pl.DataFrame | None = None, past: Sequence[watch.Earlier] = (), measured: Document | None = None,
    say: Say = lambda _: None,
) -> Document:  # fmt: skip
    """The document: ``SECTIONS``, each with ``missing`` and ``how`` (null where it is there), and who, when, by what.

    ``book``: default the shipped actions, with the config's files on top. ``judged``: the out-of-time predictions that
    the model was judged on; ``past``: out-of-sample scores for the record of the watch list; ``measured``: what
    ``churn-clv measure`` wrote. Raises UserError for dates that do not fit the log.
    """
    cutoff, book = cutoff or log.ends, book or _own(settings)
    # CLV is of the months that the model was made for, whatever the config says by now.
    settings = settings.model_copy(update={"clv": own.config.clv})
    window = settings.kpis.window_days or settings.timeline.horizon_days
    against = against or cutoff - dt.timedelta(days=window)
    check(log, cutoff, against)
    known = timeline.until(log, cutoff)
    say("scoring")
    scores, source = scored(settings, own, log, cutoff)
    say(f"scoring {against}")
    before = _try(lambda: scored(settings, own, log, against)[0])
    after = portfolio.of_scores(own, scores)
    earlier = None if isinstance(before, dict) else portfolio.of_scores(own, before)
    say("counting")
    active = settings.population.active_within_days
    made: Document = {
        "kpis": kpis.document(log, settings, cutoff, against, scores=_valued(after, scores),
                              scores_before=None if earlier is None else _valued(earlier, before),
                              measured=measured),
        "cohorts": _cohorts(known, cutoff, active),
        "segments": _try(lambda: _segments(own, log, after, earlier, cutoff, against)),
        "journey": journey.document(known, cutoff, active, own.horizon_days),
        "affinity": affinity.document(known, cutoff, settings.kpis.affinity_days),
    }  # fmt: skip
    say("explaining")
    made["drivers"] = _try(lambda: drivers(own, known, scores, settings.value.margin_share))
    made["realised"] = realised(settings, known, own.horizon_days)
    made["reliability"] = of_judged(own, judged, scores)
    say("planning")
    made["plan"] = _try(lambda: _plan(settings, book, known, scores, shipped=shipped))
    say("listing who leaves, and who waits")
    made["watch"] = _try(lambda: watched(settings, own, known, scores, past))
    made["loyalty"] = _try(lambda: loyal(settings, known, scores))
    made["ledger"] = _try(lambda: promised(settings, known, book))
    head = {
        "dataset": settings.dataset, "cutoff": cutoff.isoformat(), "against": against.isoformat(),
        "log_from": log.starts["purchase"].isoformat(), "log_until": log.ends.isoformat(),
        "horizon_days": own.horizon_days, "active_within_days": active, "months": settings.clv.months[-1],
        "currency": own.currency, "customers": scores.height, "eligible": scores.filter("eligible").height,
        "model_version": own.version, "trained_through": own.trained_through.isoformat(), "scores": source,
        "in_sample": bool(cutoff < own.trained_through), "notes": list(log.notes),
        "margin_share": settings.value.margin_share,
    }  # fmt: skip
    sections = {name: {"missing": None, "how": None} | made[name] for name in SECTIONS}
    return dict(json.loads(json.dumps(head | sections, default=str, allow_nan=False)))


def check(log: events.Log, cutoff: dt.date, against: dt.date) -> None:
    """UserError for a cutoff outside the log, or a comparison that does not lie before it."""
    if not log.starts["purchase"] < cutoff <= log.ends:
        raise UserError(f"the log's purchases go from {log.starts['purchase']} to {log.ends}; the cutoff {cutoff} must "
                        "lie after their start and not after their end.")  # fmt: skip
    if against >= cutoff:
        raise UserError(f"--against {against} does not lie before the cutoff {cutoff}. Give an earlier date.")


def scored(
    settings: config.Config, own: bundle.Bundle, log: events.Log, cutoff: dt.date
) -> tuple[pl.DataFrame, str]:  # fmt: skip
    """Everyone's scores by this bundle: stored ones of that cutoff, else made in memory; without the forgotten."""
    without = forgotten.without(settings)
    found = scoring.stored(settings, log, without, cutoff, own.version)
    return (without(scoring.score(own, log, cutoff)), "made in memory") if found is None else (found[0], str(found[1]))


def _try(make: Callable[[], Any]) -> Any:
    """What ``make`` gives, or the section that says why it cannot."""
    try:
        return make()
    except UserError as error:
        why, _, how = str(error).partition(". ")
        return _missing(why.removesuffix("."), how or "see the documentation")


def _missing(what: str, how: str) -> Document:
    return {"missing": what, "how": how}


def _valued(people: pl.DataFrame, scores: Any) -> pl.DataFrame:
    """What the KPIs need of scores: ``customer_id``, ``value_tier``, ``clv``, ``total_value``."""
    return people.select("customer_id", "value_tier", "clv").with_columns(total_value=scores["total_value"])


def _cohorts(log: events.Log, cutoff: dt.date, active_days: int) -> Document:
    found = cohorts.document(log, cutoff, active_days)
    if found["cohorts"]:
        return found
    return found | _missing(f"no {found['unit']} of first purchases is over", "give a longer log")


def _segments(
    own: bundle.Bundle, log: events.Log, after: pl.DataFrame, before: pl.DataFrame | None, cutoff: dt.date,
    against: dt.date,
) -> Document:  # fmt: skip
    if own.segments is None:
        raise UserError("this bundle was trained before there were segments. Train again (`churn-clv train`)")
    found = portfolio.document(own.segments, after, before)
    return found | portfolio.head(own, cutoff, None if before is None else against)


def _own(settings: config.Config) -> playbook.Actions:
    return playbook.load_actions(playbook.files_of(settings))


def _plan(
    settings: config.Config, book: playbook.Actions, log: events.Log, scores: pl.DataFrame, *, shipped: bool
) -> Document:  # fmt: skip
    """What ``churn-clv act`` would plan; nothing is written or released."""
    name = book.campaign or f"{settings.dataset}-{scores['cutoff'][0]}"
    situation = actions.Situation(
        scores, log.frame, actions.contacts(actions.outbox_file(settings), name), pseudonym.id_key(settings.out), name,
        book.margin_share or settings.value.margin_share,
    )  # fmt: skip
    plan = actions.make(book, situation)
    top = plan.frame.filter(arm=actions.TREATED).sort("expected_profit", "customer_id", descending=[True, False])
    columns = ("customer_id", "action", "expected_profit", "expected_cost", "lapse", "value", "break_even_save_rate")
    return plan.document | {
        "currency": settings.events.currency, "shipped_actions": shipped,
        "top": top.select(columns).head(20).to_dicts(),
    }  # fmt: skip
