"""Who may not be contacted, and by which rule (definition D29): from the log's events and what was sent before."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import polars as pl

from churn_clv.playbook import Bools, Policy

OPTED_OUT, NO_CONSENT, CAP, QUIET, PERIOD, COMPLAINT = (
    "opted out", "no consent", "frequency cap", "quiet days", "quiet period", "open complaint",
)  # fmt: skip
CONTACTS = pl.Schema({"customer_id": pl.String(), "day": pl.Date(), "channel": pl.String()})


def blocked(
    policy: Policy, ids: pl.Series, channels: Sequence[str], log: pl.DataFrame, sent: pl.DataFrame, day: dt.date
) -> dict[str, Bools]:
    """By rule, whom it bars from each channel on ``day``: (ids, channels).

    ``log`` has the log's columns and is read to its end: who has opted out since the scores were made stays out.
    ``sent`` (CONTACTS) are contacts of other campaigns. Ages are in whole days before ``day``.
    """
    away = (pl.lit(day) - pl.col("day")).dt.total_days()
    events = log.select("customer_id", "event_type", "channel", "time", day=pl.col("time").dt.date())
    out = {rule: np.zeros((len(ids), len(channels)), dtype=bool) for rule in (OPTED_OUT, NO_CONSENT)}
    for place, channel in enumerate(channels):
        last = _last_word(policy, events, channel)
        out[OPTED_OUT][:, place] = _among(ids, last.filter(~pl.col("agreed")))
        if policy.consent_required:
            out[NO_CONSENT][:, place] = ~_among(ids, last)
    own = events.filter(pl.col("event_type").is_in(list(policy.contacts))).select(CONTACTS.names())
    contacts = pl.concat([own, sent.select(CONTACTS.names())]).unique().filter(away >= 0)
    near = contacts.filter(away <= policy.within_days).group_by("customer_id").len()
    many = near.filter(pl.col("len") >= (policy.most_contacts or near.height + contacts.height + 1))
    found = {
        CAP: _among(ids, many),
        QUIET: _among(ids, contacts.filter(away <= policy.quiet_days) if policy.quiet_days else contacts.clear()),
        PERIOD: np.full(len(ids), any(p.first <= day <= p.last for p in policy.quiet_periods)),
        COMPLAINT: _among(ids, _complaining(policy, events).filter(away.is_between(0, policy.complaint_days))),
    }
    return out | {rule: np.repeat(who[:, None], len(channels), axis=1) for rule, who in found.items()}


def notes(policy: Policy, kinds: Sequence[str]) -> list[str]:
    """What the policy asks of events that the log does not hold."""
    out = []
    for name in ("opt_out", "opt_in", "contacts", "complaints", "complaints_closed"):
        asked = getattr(policy, name)
        if asked and not set(asked) & set(kinds):
            out.append(
                f"policy.{name}: the log has no events of type {', '.join(asked)}, so this rule bars nobody. "
                f"Map them in events.sources, or name the types that say it (the log has {', '.join(kinds)})."
            )
    return out


def _last_word(policy: Policy, events: pl.DataFrame, channel: str) -> pl.DataFrame:
    """Per customer whether the last event about consent to this channel (or to all) agreed; of two at once, no wins."""
    asked = [*policy.opt_out, *policy.opt_in]
    return (
        events.filter(
            pl.col("event_type").is_in(asked) & (pl.col("channel").is_null() | (pl.col("channel") == channel))
        )
        .with_columns(agreed=pl.col("event_type").is_in(list(policy.opt_in)))
        .sort("time", "agreed", descending=[False, True])
        .group_by("customer_id")
        .agg(pl.col("agreed").last())
    )


def _complaining(policy: Policy, events: pl.DataFrame) -> pl.DataFrame:
    """Customers whose last event about complaints opened one: customer_id, day."""
    both = events.filter(pl.col("event_type").is_in([*policy.complaints, *policy.complaints_closed]))
    opens = pl.col("event_type").is_in(list(policy.complaints))
    last = both.with_columns(opens=opens).sort("time", "opens").group_by("customer_id").agg(pl.all().last())
    return last.filter("opens").select("customer_id", "day")


def _among(ids: pl.Series, found: pl.DataFrame) -> Bools:
    return ids.is_in(found["customer_id"].implode()).to_numpy().astype(bool)
