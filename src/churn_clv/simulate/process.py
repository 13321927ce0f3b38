"""How the synthetic customers act: the laws from which both the log and its truths follow.

The process runs on whole local days. Write n for the days since a customer's first contact.

* Orders per day ~ Poisson(L m), L ~ Gamma(order_shape, order_rate_days); m = coupon_lift on coupon days, else 1.
* Leaving: after each day with chance t ~ Beta(leave_a, leave_b), and after each complaint with a fixed chance;
  an order brings a complaint with a fixed chance. Who has left neither orders, visits nor complains.
* Visits per day ~ Poisson(L visits_per_order): the same L, so visits tell about orders.
* Mail goes to everybody who has not unsubscribed, also after leaving; the chances to open and to unsubscribe
  depend on the state, so both tell about it.
* Amount of an order ~ Gamma(amount_shape, v), v ~ Gamma(amount_prior_shape, amount_prior_rate) (Gamma-Gamma: Fader,
  Hardie 2013). Lines are partly returned some days later, whatever the state.

Gamma is conjugate to the counts and Beta to the days survived, so with a sum over the unseen leaving day (as in
BG/BB: Fader, Hardie, Shang 2010) the posterior is exact (``truth``). Nothing else in a line (product, category,
quantity, channel, pages seen, hour) tells anything.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_clv.config import Simulate
from churn_clv.simulate.membership import memberships

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FAR_DAYS = 100_000  # a leaving day beyond every log
COUPON_EVERY_DAYS, COUPON_DAYS, COUPON_DISCOUNT = 84, 14, 0.1
OPEN = (0.06, 0.30)  # chance that a mail is opened by one who has left, by one who is active
UNSUBSCRIBE = (0.02, 0.004)
MEAN_EXTRA_LINES = 0.8
RETURNED_PART = (0.2, 0.8)  # uniform; partly, so that no return undoes an order's day
CATEGORIES, PRODUCTS_PER_CATEGORY, FAVOURITE_SHARE = 8, 25, 0.5
FIRST_MEMBERSHIP = CATEGORIES * PRODUCTS_PER_CATEGORY  # memberships are numbered behind the other products
OPENS_SECOND, CLOSES_SECOND = 8 * 3600, 22 * 3600

LOG_COLUMNS = pl.Schema(
    {
        "customer_id": pl.String(),
        "time": pl.Datetime("us"),
        "known_at": pl.Datetime("us"),
        "event_type": pl.String(),
        "amount": pl.Float64(),
        "order_id": pl.String(),
        "product_id": pl.String(),
        "category": pl.String(),
        "quantity": pl.Int64(),
        "discount": pl.Float64(),
        "channel": pl.String(),
        "value": pl.Int64(),
    }
)


def order_lift(settings: Simulate, days: int) -> Floats:
    """Order multiplier by (gets coupons 0/1, day since first contact), shape (2, days)."""
    on = np.arange(days) % COUPON_EVERY_DAYS < COUPON_DAYS
    return np.stack([np.ones(days), np.where(on, settings.coupon_lift, 1.0)])


def cumulative(daily: Floats) -> Floats:
    """Sum over the days before day n, for n = 0..days: one column more than given."""
    return np.concatenate([np.zeros((len(daily), 1)), np.cumsum(daily, axis=1)], axis=1)


def _expand(counts: Ints) -> tuple[Ints, Ints]:
    """Owner and number within the owner (from 0) of sum(counts) items."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)


def generate(
    s: Simulate, rng: np.random.Generator, first: int, count: int, apart: np.random.Generator
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The log and the latent state of customers first .. first + count - 1 (columns: see ``Simulated``).

    Memberships are drawn from ``apart``, so that the rest of the log is the same with and without them.
    """
    acquired = rng.integers(0, s.days, count)
    rate = rng.gamma(s.order_shape, 1 / s.order_rate_days, count)
    leave = rng.beta(s.leave_a, s.leave_b, count)
    price = rng.gamma(s.amount_prior_shape, 1 / s.amount_prior_rate, count)
    coupons = (rng.random(count) < s.coupon_share).astype(np.int64)
    lived = np.minimum(rng.geometric(np.maximum(leave, 1e-9)), FAR_DAYS)
    orders, lived = _orders(s, rng, rate, coupons, s.days - acquired, lived)
    seen = np.minimum(lived, s.days - acquired)
    lines = _lines(s, rng, orders, price)
    events = [
        lines,
        _returns(s, rng, lines),
        orders.filter("complaint").select(
            "who", "day", pl.col("second") + 3600, "number", event_type=pl.lit("complaint")
        ),
        _visits(s, rng, rate, seen),
        _mail(s, rng, s.days - acquired, lived),
        _coupons(s.days - acquired, coupons),
    ]
    if s.membership_share:
        events.append(_memberships(s, apart, s.days - acquired, lived))
    latent = pl.DataFrame(
        {
            "customer_id": _ids(pl.Series(np.arange(first, first + count))),
            "acquired": acquired,
            "left": acquired + lived,
            "orders_per_day": rate,
            "leave_per_day": leave,
            "mean_order_value": s.amount_shape / price,
            "coupons": coupons == 1,
        }
    ).with_columns((pl.lit(s.starts) + pl.duration(days=c)).alias(c) for c in ("acquired", "left"))
    return _assemble(s, pl.concat(events, how="diagonal"), first, acquired), latent


def _orders(
    s: Simulate, rng: np.random.Generator, rate: Floats, coupons: Ints, room: Ints, lived: Ints
) -> tuple[pl.DataFrame, Ints]:
    """Orders (who, day since first contact, second, number, complaint, coupon) and the days lived after complaints."""
    lift = order_lift(s, s.days)
    exposure = cumulative(lift)
    total = exposure[coupons, np.minimum(lived, room)]
    who, _ = _expand(rng.poisson(rate * total))
    at = rng.random(len(who)) * total[who]
    with_coupons = np.searchsorted(exposure[1], at, side="right") - 1
    day = np.minimum(np.where(coupons[who] == 1, with_coupons, at.astype(np.int64)), np.minimum(lived, room)[who] - 1)
    complaint = rng.random(len(who)) < s.complaint_share
    fatal = complaint & (rng.random(len(who)) < s.complaint_leave_share)
    lived = lived.copy()
    np.minimum.at(lived, who[fatal], day[fatal] + 1)
    second = rng.integers(OPENS_SECOND, CLOSES_SECOND, len(who))
    frame = pl.DataFrame(
        {
            "who": who,
            "day": day,
            "second": second,
            "complaint": complaint,
            "coupon": (coupons[who] == 1) & (day % COUPON_EVERY_DAYS < COUPON_DAYS),
        }
    ).filter(day < lived[who])
    frame = frame.sort("who", "day", "second", maintain_order=True)
    return frame.with_columns(number=pl.int_range(pl.len()).over("who") + 1), lived


def _lines(s: Simulate, rng: np.random.Generator, orders: pl.DataFrame, price: Floats) -> pl.DataFrame:
    """Purchase rows: an order's cents are split over its lines to the cent."""
    n = len(orders)
    owner = orders["who"].to_numpy()
    amount = rng.gamma(s.amount_shape, 1 / price[owner])
    cents = np.maximum(np.rint(100 * amount), 1).astype(np.int64)
    order, _ = _expand(1 + rng.poisson(MEAN_EXTRA_LINES, n))
    favourite = rng.integers(0, CATEGORIES, len(price))[owner[order]]
    own = rng.random(len(order)) < FAVOURITE_SHARE
    category = np.where(own, favourite, rng.integers(0, CATEGORIES, len(order)))
    within = (PRODUCTS_PER_CATEGORY * rng.random(len(order)) ** 2).astype(np.int64)  # low numbers sell more
    products = CATEGORIES * PRODUCTS_PER_CATEGORY  # a product stands once in an order, so a return names its line
    order, product = np.divmod(np.unique(order * products + category * PRODUCTS_PER_CATEGORY + within), products)
    weight = rng.integers(1, 10, len(order))
    ends = np.cumsum(weight)
    total = np.bincount(order, weight, n).astype(np.int64)
    before = (np.cumsum(total) - total)[order]
    split = (ends - before) * cents[order] // total[order] - (ends - weight - before) * cents[order] // total[order]
    discount = pl.Series(np.rint(split * COUPON_DISCOUNT / (1 - COUPON_DISCOUNT)))
    shop = (rng.random(n) < 0.4)[order]
    return orders[order].select(
        "who",
        "day",
        "second",
        "number",
        event_type=pl.lit("purchase"),
        cents=pl.Series(split),
        discount_cents=(pl.col("coupon") * discount).cast(pl.Int64),
        category=pl.Series(product // PRODUCTS_PER_CATEGORY),
        product=pl.Series(product),
        quantity=pl.Series(1 + rng.poisson(0.3, len(order))),
        channel=pl.Series(shop).replace_strict({True: "shop", False: "web"}, return_dtype=pl.String),
    )


def _returns(s: Simulate, rng: np.random.Generator, lines: pl.DataFrame) -> pl.DataFrame:
    """A share of lines gives part of its money back, 1 to return_within_days days later."""
    back = lines.filter(rng.random(len(lines)) < s.return_share)
    part = pl.Series(rng.uniform(*RETURNED_PART, len(back)))
    late = pl.Series(rng.integers(1, s.return_within_days + 1, len(back)))
    return back.select(
        "who",
        "number",
        "category",
        "product",
        "channel",
        second=pl.lit(OPENS_SECOND, pl.Int64),
        day=pl.col("day") + late,
        event_type=pl.lit("return"),
        cents=-(pl.col("cents") * part).round().cast(pl.Int64),
        quantity=pl.lit(1, pl.Int64),
    )


def _visits(s: Simulate, rng: np.random.Generator, rate: Floats, seen: Ints) -> pl.DataFrame:
    """The first contact, then visits while active; the value is the pages seen."""
    who, number = _expand(1 + rng.poisson(rate * s.visits_per_order * seen))
    contact = number == 0
    day = np.where(contact, 0, (rng.random(len(who)) * seen[who]).astype(np.int64))
    second = np.where(contact, OPENS_SECOND - 1, rng.integers(OPENS_SECOND, CLOSES_SECOND, len(who)))
    return pl.DataFrame({"who": who, "day": day, "second": second, "value": 1 + rng.poisson(3, len(who))}).with_columns(
        event_type=pl.lit("visit"), channel=pl.lit("web")
    )


def _mail(s: Simulate, rng: np.random.Generator, room: Ints, lived: Ints) -> pl.DataFrame:
    """Mails until one is answered by unsubscribing, and what was done with each."""
    who, number = _expand((room - 1) // s.mail_every_days)
    day = (number + 1) * s.mail_every_days
    active = (day < lived[who]).astype(np.int64)
    luck = rng.random(len(who))
    left = luck < np.array(UNSUBSCRIBE)[active]
    opened = ~left & (luck < np.array(UNSUBSCRIBE)[active] + np.array(OPEN)[active])
    last = np.full(len(room), FAR_DAYS)
    np.minimum.at(last, who[left], day[left])
    kinds = [("mail", np.ones(len(who), dtype=bool), 0), ("open", opened, 3600), ("unsubscribe", left, 3600)]
    return pl.concat(
        pl.DataFrame({"who": who, "day": day})
        .filter(pick & (day <= last[who]))
        .with_columns(second=pl.lit(9 * 3600 + later, pl.Int64), event_type=pl.lit(kind), channel=pl.lit("email"))
        for kind, pick, later in kinds
    )


def _coupons(room: Ints, coupons: Ints) -> pl.DataFrame:
    who, number = _expand(np.where(coupons == 1, (room - 1) // COUPON_EVERY_DAYS + 1, 0))
    return pl.DataFrame({"who": who, "day": number * COUPON_EVERY_DAYS}).with_columns(
        second=pl.lit(OPENS_SECOND, pl.Int64), event_type=pl.lit("coupon"), channel=pl.lit("email")
    )


def _memberships(s: Simulate, rng: np.random.Generator, room: Ints, lived: Ints) -> pl.DataFrame:
    """Subscriptions, renewals and cancellations; the product is the plan."""
    return memberships(s, rng, room, lived).select(
        "who",
        "day",
        "event_type",
        product=FIRST_MEMBERSHIP + pl.col("plan"),
        second=pl.lit(OPENS_SECOND, pl.Int64),
        channel=pl.lit("web"),
    )


def _ids(numbers: pl.Series) -> pl.Series:
    return "C" + numbers.cast(pl.String).str.zfill(8)


def _assemble(s: Simulate, events: pl.DataFrame, first: int, acquired: Ints) -> pl.DataFrame:
    """Plain columns out of chunk-local numbers; what lies after the log's end is not in it."""
    who = events["who"].to_numpy()
    events = events.with_columns(
        customer_id=_ids(events["who"] + first), at=pl.col("day") + pl.Series(acquired[who])
    ).filter(pl.col("at") < s.days)
    time = pl.lit(dt.datetime.combine(s.starts, dt.time())) + pl.duration(days="at", seconds="second")
    late = pl.duration(days=s.return_known_after_days)
    is_late = (pl.col("event_type") == "return") & (s.return_known_after_days > 0)
    return (
        events.sort("who", "at", "second", "event_type", maintain_order=True)
        .select(
            "customer_id",
            time=time,
            known_at=pl.when(is_late).then(time + late),
            event_type="event_type",
            amount=pl.col("cents") / 100,
            order_id=pl.format("{}-{}", "customer_id", "number"),
            product_id=pl.format("P{}", pl.col("product").cast(pl.String).str.zfill(3)),
            category=pl.format("category {}", "category"),
            quantity="quantity",
            discount=pl.col("discount_cents") / 100,
            channel="channel",
            value="value",
        )
        .cast(LOG_COLUMNS)
    )
