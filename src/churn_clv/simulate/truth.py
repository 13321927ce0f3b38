"""What can be known at best of a simulated customer: from the latent state, and from the history alone (D23).

Bayes reads nothing but the log before the cutoff. With k = orders + visits, both Gamma and Beta being conjugate:
the leaving day d has weight [S(d - 1) - S(d)] (order_rate_days + exposure(d)) ** -(order_shape + k) x mail evidence(d),
S(d) = B(leave_a, leave_b + d) / B(leave_a, leave_b) x (1 - complaint_leave_share) ** complaints before day d. One sum
over d is all that is left; nothing is sampled or fitted.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl

from churn_clv.config import Simulate
from churn_clv.simulate.process import OPEN, RETURNED_PART, UNSUBSCRIBE, Floats, Ints, cumulative, order_lift

ACTIVE_EVENTS = ("purchase", "visit", "complaint")  # each proves that the customer had not left
CHUNK_CELLS = 2_000_000  # customers x days held at once
TRUTH_COLUMNS = pl.Schema(
    {
        "customer_id": pl.String(),
        "cutoff": pl.Date(),
        "p_churn_latent": pl.Float64(),
        "p_churn_bayes": pl.Float64(),
        "spend_latent": pl.Float64(),
        "spend_bayes": pl.Float64(),
    }
)


def truths(s: Simulate, log: pl.DataFrame, latent: pl.DataFrame, cutoff: dt.date, horizon_days: int) -> pl.DataFrame:
    """TRUTH_COLUMNS for every customer with an event before the cutoff, sorted by customer_id."""
    state = latent.select("customer_id", "orders_per_day", "leave_per_day", "mean_order_value", "left")
    past = _past(log, cutoff).join(state, on="customer_id", how="left")
    step = max(1, CHUNK_CELLS // (s.days + horizon_days))
    slices = [past.filter(pl.col("row") // step == i) for i in range(-(-past["row"].n_unique() // step))]
    return pl.concat([pl.DataFrame(schema=TRUTH_COLUMNS), *(_truths(s, one, cutoff, horizon_days) for one in slices)])


def _past(log: pl.DataFrame, cutoff: dt.date) -> pl.DataFrame:
    """The log before the cutoff with row (number of the customer), day and n (days from first contact to cutoff)."""
    midnight = pl.lit(dt.datetime.combine(cutoff, dt.time()))
    past = log.filter((pl.col("time") < midnight) & (pl.col("known_at").fill_null(pl.col("time")) < midnight))
    date = pl.col("time").dt.date()
    contact = date.min().over("customer_id")
    return past.with_columns(
        row=pl.col("customer_id").rank("dense").cast(pl.Int64) - 1,
        day=(date - contact).dt.total_days(),
        n=(pl.lit(cutoff) - contact).dt.total_days(),
    )


def _truths(s: Simulate, past: pl.DataFrame, cutoff: dt.date, horizon_days: int) -> pl.DataFrame:
    """Both truths of the customers in a slice of the past."""
    past = past.with_columns(pl.col("row") - pl.col("row").min())
    bought = pl.col("event_type") == "purchase"
    one = (
        past.group_by("row")
        .agg(
            pl.col("customer_id", "n", "orders_per_day", "leave_per_day", "mean_order_value", "left").first(),
            coupons=(pl.col("event_type") == "coupon").any().cast(pl.Int64),
            orders=pl.col("order_id").filter(bought).n_unique().cast(pl.Int64),
            visits=(pl.col("event_type") == "visit").sum().cast(pl.Int64) - 1,  # the first contact is no news
            cents=(pl.col("amount").filter(bought) * 100).round().cast(pl.Int64).sum(),  # a float sum hangs on threads
            proof=pl.col("day").filter(pl.col("event_type").is_in(ACTIVE_EVENTS)).max(),
        )
        .sort("row")
    )
    refunds = _pending_refunds(s, past, len(one), horizon_days)
    p_bayes, spend_bayes = _bayes(s, past, one, horizon_days)
    p_latent, spend_latent = _clairvoyant(s, one, cutoff, horizon_days)
    return one.select(
        "customer_id",
        pl.lit(cutoff).alias("cutoff"),
        pl.Series("p_churn_latent", p_latent),
        pl.Series("p_churn_bayes", p_bayes),
        pl.Series("spend_latent", spend_latent - refunds),
        pl.Series("spend_bayes", spend_bayes - refunds),
    )


def _bayes(s: Simulate, past: pl.DataFrame, one: pl.DataFrame, horizon_days: int) -> tuple[Floats, Floats]:
    """P(no order in the horizon | history) and E[purchases less their returns in it | history]."""
    n, orders, coupons = (one[c].to_numpy() for c in ("n", "orders", "coupons"))
    rows, days = np.arange(len(n)), np.arange(n.max() + 1)
    exposure = cumulative(order_lift(s, int(n.max()) + horizon_days))
    shape = s.order_shape + orders + one["visits"].to_numpy()
    seen = s.order_rate_days + s.visits_per_order * days + exposure[coupons, : len(days)]
    evidence = -shape[:, None] * np.log(seen) + _mail_evidence(past, len(n), len(days))
    complaints = _stack(past.filter(pl.col("event_type") == "complaint").with_columns(x=pl.lit(1.0)), len(n), len(days))
    stays = (1 - s.complaint_leave_share) ** complaints
    lives = _survival(s, int(n.max()) + horizon_days)
    survival = lives[: len(days)] * stays
    possible = (days > one["proof"].to_numpy()[:, None]) & (days <= n[:, None])
    evidence -= np.where(possible, evidence, -np.inf).max(axis=1, keepdims=True)
    like = np.exp(np.where(possible, evidence, -np.inf))
    gone = (like[:, 1:] * (survival[:, :-1] - survival[:, 1:])).sum(axis=1)
    here = (like * stays)[rows, n]  # times lives[n + j]: still active j days into the window
    all_ = gone + here * lives[n]
    rate = seen[rows, n]
    lift, ahead = _window(s, coupons, n, horizon_days)
    alive = here[:, None] * lives[n[:, None] + np.arange(horizon_days)] / all_[:, None]
    leaves_after = np.append(alive[:, :-1] - alive[:, 1:], alive[:, -1:], axis=1)
    none = (rate[:, None] / (rate[:, None] + ahead[:, 1:])) ** shape[:, None]
    p_none = gone / all_ + (leaves_after * none).sum(axis=1)
    bad = s.complaint_share * s.complaint_leave_share
    fewer = (rate[:, None] / (rate[:, None] + bad * ahead[:, :-1])) ** (shape[:, None] + 1)
    per_day = alive * lift * fewer * (shape / rate)[:, None]
    value = s.amount_shape * (s.amount_prior_rate + one["cents"].to_numpy() / 100)
    value = value / (s.amount_prior_shape + s.amount_shape * orders - 1)
    return p_none, (per_day * _kept(s, horizon_days)).sum(axis=1) * value


def _clairvoyant(s: Simulate, one: pl.DataFrame, cutoff: dt.date, horizon_days: int) -> tuple[Floats, Floats]:
    """The same two, given the customer's rates and whether they have left."""
    order_rate, leave, value = (
        one[c].to_numpy()[:, None] for c in ("orders_per_day", "leave_per_day", "mean_order_value")
    )
    lift, ahead = _window(s, one["coupons"].to_numpy(), one["n"].to_numpy(), horizon_days)
    alive = (one["left"] > cutoff).to_numpy()[:, None] * (1 - leave) ** np.arange(horizon_days)
    leaves_after = np.append(alive[:, :-1] - alive[:, 1:], alive[:, -1:], axis=1)
    p_none = 1 - alive[:, 0] + (leaves_after * np.exp(-order_rate * ahead[:, 1:])).sum(axis=1)
    bad = s.complaint_share * s.complaint_leave_share
    per_day = alive * lift * order_rate * np.exp(-bad * order_rate * ahead[:, :-1])
    return p_none, (per_day * value * _kept(s, horizon_days)).sum(axis=1)


def _window(s: Simulate, coupons: Ints, n: Ints, horizon_days: int) -> tuple[Floats, Floats]:
    """Order multiplier of each window day, and its sum over the first j window days, j = 0..horizon."""
    lift = order_lift(s, int(n.max()) + horizon_days)[coupons[:, None], n[:, None] + np.arange(horizon_days)]
    return lift, cumulative(lift)


def _survival(s: Simulate, days: int) -> Floats:
    """Chance, over Beta's spread, to be active on day n if nobody complains: B(a, b + n) / B(a, b), n = 0..days."""
    steps = s.leave_b + np.arange(days)
    return np.concatenate([[1.0], np.cumprod(steps / (s.leave_a + steps))])


def _mail_evidence(past: pl.DataFrame, rows: int, width: int) -> Floats:
    """Log likelihood ratio, active against left, of what was done with the mails before day n."""
    ignored = np.log((1 - OPEN[1] - UNSUBSCRIBE[1]) / (1 - OPEN[0] - UNSUBSCRIBE[0]))
    ratios = {
        "mail": ignored,  # an answer comes beside its mail, so it takes back the mail's share
        "open": np.log(OPEN[1] / OPEN[0]) - ignored,
        "unsubscribe": np.log(UNSUBSCRIBE[1] / UNSUBSCRIBE[0]) - ignored,
    }
    kind = pl.col("event_type")
    mails = past.filter(kind.is_in(list(ratios)))
    return _stack(mails.with_columns(x=kind.replace_strict(ratios, return_dtype=pl.Float64)), rows, width)


def _stack(frame: pl.DataFrame, rows: int, width: int) -> Floats:
    """Sum of x over the days before day n, shape (rows, width)."""
    out = np.zeros((rows, width))
    np.add.at(out, (frame["row"].to_numpy(), frame["day"].to_numpy() + 1), frame["x"].to_numpy())
    return np.cumsum(out, axis=1)


def _kept(s: Simulate, horizon_days: int) -> Floats:
    """Share of the money of an order on window day j that no return takes back within the window."""
    in_time = np.minimum(np.arange(horizon_days)[::-1], s.return_within_days) / s.return_within_days
    return 1 - s.return_share * sum(RETURNED_PART) / 2 * in_time


def _pending_refunds(s: Simulate, past: pl.DataFrame, rows: int, horizon_days: int) -> Floats:
    """Expected refunds in the window, per customer, on lines bought before it whose return is not known yet."""
    line = ["order_id", "product_id"]
    open_lines = past.filter(pl.col("event_type") == "purchase").join(
        past.filter(pl.col("event_type") == "return"), on=line, how="anti", maintain_order="left"
    )
    age, span = (open_lines["n"] - open_lines["day"]).to_numpy(), s.return_within_days
    known = np.clip(age - 1 - s.return_known_after_days, 0, span)
    inside = np.clip(np.minimum(span, age + horizon_days - 1) - age + 1, 0, None)
    chance = s.return_share * inside / (span - s.return_share * known)
    money = open_lines["amount"].to_numpy() * chance * sum(RETURNED_PART) / 2
    return np.bincount(open_lines["row"].to_numpy(), money, rows).astype(np.float64)
