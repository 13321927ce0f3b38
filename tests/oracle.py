"""Every feature and label again, in slow plain Python that imports nothing of the package.

Written from the meaning of each name, one customer at a time. An event is a dict with the log's columns (money in
minor units, quantities and values in thousandths, absent is None); ``d`` is a dict of definitions: horizon_days,
active_within_days, min_history_days, windows_days (ascending), minor_units, starts (event type -> day), columns,
event_types, families (None: all), exclude, censored_gap_days, watched (target -> column, is_in, event_types),
contracts (target -> opens, as in watched, term_days and grace_days), plans (target -> column, is_in, event_types).

Whole numbers are exact. A fraction is the nearest double of (whole / whole); where a number is a fraction of
fractions, the order of the divisions is the one the formula shows.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
import re
from collections import defaultdict
from fractions import Fraction
from typing import Any

Event = dict[str, Any]
Row = dict[str, float | None]
DAY = dt.timedelta(days=1)


# --- time ---------------------------------------------------------------------------------------
def midnight(day: dt.date) -> dt.datetime:
    """The instant at which a local day begins."""
    return dt.datetime(day.year, day.month, day.day)


def past(events: list[Event], cutoff: dt.date) -> list[Event]:
    """What had happened and was known when the cutoff's day began."""
    now = midnight(cutoff)
    return [e for e in events if e["time"] < now and (e["known_at"] is None or e["known_at"] < now)]


def in_window(events: list[Event], cutoff: dt.date, days: int) -> list[Event]:
    """Events of the ``days`` days before the cutoff."""
    return [e for e in past(events, cutoff) if e["time"] >= midnight(cutoff - days * DAY)]


def in_future(events: list[Event], cutoff: dt.date, days: int, known_by: dt.date | None = None) -> list[Event]:
    """Events of the ``days`` days from the cutoff on, without those still unknown at ``known_by``."""
    out = [e for e in events if midnight(cutoff) <= e["time"] < midnight(cutoff + days * DAY)]
    if known_by is not None:
        out = [e for e in out if e["known_at"] is None or e["known_at"] < midnight(known_by)]
    return out


def age(event: Event, cutoff: dt.date) -> int:
    """Days from the event's day to the cutoff."""
    return (cutoff - event["time"].date()).days


# --- words --------------------------------------------------------------------------------------
def bought(events: list[Event]) -> list[Event]:
    """Purchase lines."""
    return [e for e in events if e["event_type"] == "purchase"]


def given_back(events: list[Event]) -> list[Event]:
    """Returns."""
    return [e for e in events if e["event_type"] == "return"]


def total(events: list[Event], column: str) -> int:
    """Sum of a column, absent values as 0."""
    return sum(e[column] or 0 for e in events)


def net(events: list[Event]) -> int:
    """Purchases minus returns, in minor units (returns carry a negative amount)."""
    return total(bought(events), "amount") + total(given_back(events), "amount")


def by_day(events: list[Event]) -> dict[dt.date, list[Event]]:
    """Events by local day, oldest first."""
    days: dict[dt.date, list[Event]] = defaultdict(list)
    for event in events:
        days[event["time"].date()].append(event)
    return dict(sorted(days.items()))


def is_occasion(day: list[Event]) -> bool:
    """A day with a purchase, unless returns of the same day bring its money to zero or below."""
    return bool(bought(day)) and not (given_back(day) and net(day) <= 0)


def occasions(events: list[Event]) -> dict[dt.date, list[Event]]:
    """The purchase days, oldest first, each with all events of that day."""
    return {day: of_day for day, of_day in by_day(events).items() if is_occasion(of_day)}


def over(above: float | None, below: float | None) -> float | None:
    """above / below; None where either is unknown or below is 0."""
    if above is None or below is None or below == 0:
        return None
    return above / below


def median(values: list[int]) -> float | None:
    """Middle value, or the mean of the middle two."""
    if not values:
        return None
    ordered, middle = sorted(values), len(values) // 2
    return float(ordered[middle]) if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def deviation(values: list[int]) -> float | None:
    """Sample standard deviation as sqrt((n * sum of squares - sum^2) / (n * (n - 1)))."""
    n = len(values)
    if n < 2:
        return None
    scatter = n * sum(v * v for v in values) - sum(values) ** 2
    return math.sqrt(float(scatter) / float(n * (n - 1)))


def millionths_of_log(whole: int) -> int:
    """The natural logarithm in whole millionths."""
    return round(math.log(whole) * 1_000_000)


# --- who ----------------------------------------------------------------------------------------
def is_known(events: list[Event], cutoff: dt.date) -> bool:
    """Any event before the cutoff."""
    return bool(past(events, cutoff))


def reason(events: list[Event], cutoff: dt.date, d: dict[str, Any]) -> str | None:
    """Why a known customer is outside the population; None where inside."""
    days = occasions(past(events, cutoff))
    if not days:
        return "prospect"
    if (cutoff - max(days)).days > d["active_within_days"]:
        return "lapsed"
    return "history_too_short" if (cutoff - d["starts"]["purchase"]).days < d["min_history_days"] else None


def gap_quantile(customers: list[list[Event]], as_of: dt.date, share: Fraction) -> int:
    """Kaplan-Meier: the shortest time within which ``share`` of the gaps between purchase days ended.

    The time since the last purchase is a gap that has not ended yet; each customer weighs 1 in all.
    """
    spells = []
    for events in customers:
        days = sorted({e["time"].date() for e in bought(past(events, as_of))})
        spells += [((end - day).days, Fraction(1, len(days)), True) for day, end in itertools.pairwise(days)]
        spells += [((as_of - day).days, Fraction(1, len(days)), False) for day in days[-1:]]
    if not spells:
        return 1
    alive = Fraction(1)
    for gap in sorted({g for g, _, _ in spells}):
        at_risk = sum(w for g, w, _ in spells if g >= gap)
        ended = sum(w for g, w, closed in spells if g == gap and closed)
        alive *= 1 - Fraction(ended) / at_risk
        if alive <= 1 - share:
            return gap
    return max(g for g, _, _ in spells)


# --- what happened next -------------------------------------------------------------------------
def label(
    events: list[Event], cutoff: dt.date, target: dict[str, Any], horizon: int, minor_units: int, ends: dt.date,
    known_by: dt.date | None = None,
) -> float | None:  # fmt: skip
    """A target of {column, is_in, event_types, measure, at_least} in the horizon; None where the log ends before."""
    if "contract" in target:
        return ended(events, cutoff, target, horizon, ends, known_by)
    if cutoff + horizon * DAY > ends:
        return None
    window = [e for e in in_future(events, cutoff, horizon, known_by) if e[target["column"]] in target["is_in"]]
    by_type, money = target["column"] == "event_type", target["measure"] == "amount"
    kinds = target["is_in"] if by_type else target.get("event_types") or ["purchase"] + money * ["return"]
    matching = [e for e in window if e["event_type"] in kinds]
    if money:
        sum_ = total(matching, "amount") / 10**minor_units
        return sum_ if target["at_least"] is None else max(float(target["at_least"]), sum_)
    if list(kinds) == ["purchase"]:  # days, and a reversal of the same thing on the same day voids one
        whole = in_future(events, cutoff, horizon, known_by)
        each = [whole] if by_type else [[e for e in window if e[target["column"]] == v] for v in target["is_in"]]
        times = len({day for own in each for day in occasions(own)})
    else:
        times = len(matching)
    return {"absent": float(times == 0), "present": float(times > 0), "count": float(times)}[target["measure"]]


# --- contracts ----------------------------------------------------------------------------------
def meant(event: Event, asked: dict[str, Any]) -> bool:
    """Whether an event is one that {column, is_in, event_types} means."""
    if asked["column"] == "event_type":
        return event["event_type"] in asked["is_in"]
    return event[asked["column"]] in asked["is_in"] and event["event_type"] in (asked["event_types"] or ["purchase"])


def in_force(events: list[Event], cutoff: dt.date, target: dict[str, Any]) -> bool:
    """Opened before, not closed since the latest opening, and that opening's term not over."""
    terms, before = target["contract"], past(events, cutoff)
    openings = [e["time"] for e in before if meant(e, terms["opens"])]
    if not openings:
        return False
    latest = max(openings)
    if any(e["time"] >= latest for e in before if meant(e, target)):
        return False
    return terms["term_days"] is None or cutoff < latest.date() + terms["term_days"] * DAY


def ended(
    events: list[Event], cutoff: dt.date, target: dict[str, Any], horizon: int, ends: dt.date, known_by: dt.date | None
) -> float | None:  # fmt: skip
    """Whether a contract is closed in the window, or a term that ends there is not renewed within its grace."""
    terms, term = target["contract"], target["contract"]["term_days"]
    grace = 0 if term is None else 1 if terms["grace_days"] is None else terms["grace_days"]
    if cutoff + (horizon + grace) * DAY > ends:
        return None
    told = [e for e in events if known_by is None or e["known_at"] is None or e["known_at"] < midnight(known_by)]
    last = cutoff + (horizon - 1) * DAY
    closed = False
    for closing in [e for e in told if meant(e, target) and cutoff <= e["time"].date() <= last]:
        later = [e for e in told if meant(e, terms["opens"]) and e["time"] > closing["time"]]
        closed |= not any(e["time"].date() == closing["time"].date() for e in later)
    expired = False
    days = {e["time"].date() for e in told if meant(e, terms["opens"])}
    for day in days if term is not None else ():
        over = day + term * DAY
        renewed = any(day < other < over + grace * DAY for other in days)
        expired |= cutoff <= over <= last and not renewed
    said = closed or expired
    return float(said if target["measure"] == "present" else not said)


# --- features -----------------------------------------------------------------------------------
def features(events: list[Event], cutoff: dt.date, d: dict[str, Any]) -> Row:
    """Every feature of one customer at one cutoff."""
    history = _History(past(events, cutoff), cutoff, d)
    columns, types = set(d["columns"]), set(d["event_types"])
    there = {
        "recency": True,
        "frequency": True,
        "monetary": "amount" in columns,
        "tenure": True,
        "engagement": bool(types - {"purchase", "return"}),
        "basket": bool(columns & {"product_id", "category", "quantity"}),
        "price": "discount" in columns,
        "returns": "return" in types,
        "channel": "channel" in columns,
        "watched": any(types & set(w["event_types"] or ["purchase"]) for w in d["watched"].values()),
        "contract": any(types & _kinds(c["opens"]) for c in d["contracts"].values()),
    }
    wanted = [f for f, fed in there.items() if fed and (d["families"] is None or f in d["families"])]
    found: Row = {}
    for family in wanted:
        found |= FAMILIES[family](history)
    return {name: value if value is None else float(value) for name, value in found.items() if name not in d["exclude"]}


class _History:
    """One customer's past at one cutoff, and what many features share."""

    def __init__(self, events: list[Event], cutoff: dt.date, d: dict[str, Any]) -> None:
        self.events, self.cutoff, self.d = events, cutoff, d
        self.windows: tuple[int, ...] = tuple(d["windows_days"])
        self.horizon_window = min(self.windows, key=lambda w: (abs(w - d["horizon_days"]), w))
        self.long_window = self.windows[-2] if len(self.windows) > 1 else self.windows[0]
        self.unit = 10 ** d["minor_units"]
        self.has_money = "amount" in d["columns"]
        days = occasions(events)
        self.ages = [(cutoff - day).days for day in days]  # oldest first: falling
        self.of_days = list(days.values())
        self.values = [net(of_day) for of_day in self.of_days]
        self.gaps = [before - after for before, after in zip(self.ages, self.ages[1:], strict=False)]
        self.since = self.ages[-1] if self.ages else None
        self.tenure = max(age(e, cutoff) for e in events) if events else None

    def covered(self, window: int, *types: str) -> bool:
        """Whether the window lies inside the complete part of the log for these event types."""
        return all(self.cutoff - window * DAY >= self.d["starts"][t] for t in types if t in self.d["starts"])

    def last(self, window: int) -> list[Event]:
        return in_window(self.events, self.cutoff, window)

    def days_last(self, window: int) -> int | None:
        """Purchase days in a window."""
        return sum(a <= window for a in self.ages) if self.covered(window, "purchase") else None

    def net_last(self, window: int) -> int | None:
        return net(self.last(window)) if self.covered(window, "purchase", "return") else None


def _recency(h: _History) -> Row:
    newest_first = h.ages[::-1]
    mean, sd = over(sum(h.gaps), len(h.gaps)), deviation(h.gaps)
    return {
        "days_since_last_purchase": h.since,
        "days_since_previous_purchase": newest_first[:2][-1] if newest_first else None,
        "days_since_fifth_last_purchase": newest_first[:5][-1] if newest_first else None,
        "overdue_ratio": over(h.since, median(h.gaps)),
        "overdue_mean_ratio": over(h.since, mean),
        "overdue_longest_ratio": over(h.since, max(h.gaps, default=None)),
        "overdue_sd": None if mean is None or h.since is None else over(h.since - mean, sd),
        "silence_share": over(h.since, h.tenure),
    }


def _frequency(h: _History) -> Row:
    out: Row = {"purchase_days": len(h.ages), "purchase_days_per_week": over(7 * len(h.ages), h.tenure)}
    for w in h.windows:
        out[f"purchase_days_last_{w}d"] = h.days_last(w)
    for near, far in zip(h.windows, h.windows[1:], strict=False):
        close, all_ = h.days_last(near), h.days_last(far)
        block = None if close is None or all_ is None else all_ - close
        out[f"purchase_days_from_{near}d_to_{far}d"] = block
        # close / near - block / (far - near), over all_ / far, as one fraction of whole numbers
        out[f"purchase_days_trend_{near}d_to_{far}d"] = (
            None
            if close is None or block is None or not all_
            else (close * (far - near) - block * near) * far / (all_ * near * (far - near))
        )
    w, long = h.horizon_window, h.long_window
    lines = sum(len(bought(of_day)) for a, of_day in zip(h.ages, h.of_days, strict=True) if a <= w)
    out[f"purchase_events_last_{w}d"] = lines if h.covered(w, "purchase") else None
    weeks = len({(a - 1) // 7 for a in h.ages if a <= long}) if h.covered(long, "purchase") else None
    out[f"active_weeks_last_{long}d"] = weeks
    out[f"active_weeks_share_last_{long}d"] = over(weeks, math.ceil(long / 7))
    weekdays = [(h.cutoff - a * DAY).isoweekday() for a in h.ages]
    out["weekend_share"] = over(sum(day in (6, 7) for day in weekdays), len(weekdays))
    out["weekdays_distinct"] = len(set(weekdays)) or None
    return out | _gaps(h.gaps)


def _gaps(gaps: list[int]) -> Row:
    n, mean, sd = len(gaps), over(sum(gaps), len(gaps)), deviation(gaps)
    last = gaps[-1] if gaps else None
    ranks = range(1, n + 1)
    # least squares of the gap on its rank: cov(rank, gap) / var(rank), both times n^2
    slope = over(
        n * sum(r * g for r, g in zip(ranks, gaps, strict=True)) - sum(ranks) * sum(gaps),
        n * sum(r * r for r in ranks) - sum(ranks) ** 2,
    )
    clumpiness = None
    if n >= 2:
        # entropy of p = gap / sum: -sum(p log p) = log(sum) - sum(gap log gap) / sum; its largest value is log(n)
        entropy = millionths_of_log(sum(gaps)) - sum(g * millionths_of_log(g) for g in gaps) / sum(gaps)
        clumpiness = 1 - entropy / millionths_of_log(n)
    return {
        "gap_days_mean": mean,
        "gap_days_sd": sd,
        "gap_days_cv": over(sd, mean),
        "gap_days_min": min(gaps, default=None),
        "gap_days_max": max(gaps, default=None),
        "gap_days_median": median(gaps),
        "gap_days_last": last,
        "gap_last_to_mean": over(last, mean),
        "gap_last_three_to_mean": over(over(sum(gaps[-3:]), len(gaps[-3:])), mean),
        "gap_days_slope": slope,
        "clumpiness": clumpiness,
    }


def _monetary(h: _History) -> Row:
    out: Row = {"spend": net(h.events) / h.unit, "spend_per_day": over(net(h.events) / h.unit, h.tenure)}
    for w in h.windows:
        out[f"spend_last_{w}d"] = over(h.net_last(w), h.unit)
    for near, far in zip(h.windows, h.windows[1:], strict=False):
        close, all_ = h.net_last(near), h.net_last(far)
        out[f"spend_from_{near}d_to_{far}d"] = None if close is None or all_ is None else (all_ - close) / h.unit
    short, long = sorted((h.horizon_window, h.long_window))
    if short < long:
        # (short net / short days) / (long net / long days)
        close, all_ = h.net_last(short), h.net_last(long)
        trend = None if close is None or all_ is None else over(close * long, all_ * short)
        out[f"spend_trend_{short}d_to_{long}d"] = trend
    return out | _order_value(h)


def _order_value(h: _History) -> Row:
    values, unit = h.values, h.unit
    mean = over(over(sum(values), len(values)), unit)
    sd = over(deviation(values), unit)
    last = values[-1] / unit if values else None
    out: Row = {
        "mean_order_value": mean,
        "order_value_sd": sd,
        "order_value_cv": over(sd, mean),
        "order_value_min": over(min(values, default=None), unit),
        "order_value_median": over(median(values), unit),
        "order_value_max": over(max(values, default=None), unit),
        "order_value_last": last,
        "order_value_first": values[0] / unit if values else None,
        "order_value_last_to_mean": over(last, mean),
        "order_value_last_three_to_mean": over(over(over(sum(values[-3:]), len(values[-3:])), unit), mean),
    }
    for w in h.windows[2:5]:
        within = [v for a, v in zip(h.ages, values, strict=True) if a <= w]
        covered = h.covered(w, "purchase")
        out[f"mean_order_value_last_{w}d"] = over(over(sum(within), len(within)), unit) if covered else None
    return out


def _tenure(h: _History) -> Row:
    first = h.ages[0] if h.ages else None
    log_days = (h.cutoff - min(h.d["starts"].values())).days
    return {
        "days_since_first_purchase": first,
        "tenure_days": h.tenure,
        # the first event lies fewer days after the log's start than the population's 90% gap
        "tenure_is_censored": None if h.tenure is None else log_days - h.tenure < h.d["censored_gap_days"],
        "days_from_first_to_second_purchase": h.gaps[0] if h.gaps else None,
        "buying_span_share": None if first is None or h.since is None else over(first - h.since, first),
    }


def _engagement(h: _History) -> Row:
    kinds = [t for t in h.d["event_types"] if t not in ("purchase", "return")]
    touches = [e for e in h.events if e["event_type"] not in ("purchase", "return")]
    ages = [age(e, h.cutoff) for e in touches]
    w = h.horizon_window
    out: Row = {
        "touches": len(touches),
        f"touches_last_{w}d": sum(a <= w for a in ages) if h.covered(w, *kinds) else None,
        "touch_days": len(set(ages)),
        "days_since_last_touch": min(ages, default=None),
        "touches_per_purchase_day": over(len(touches), len(h.ages)),
    }
    for kind in kinds:
        of_kind = [e for e in touches if e["event_type"] == kind]
        name = re.sub(r"\W+", "_", kind.lower()).strip("_")
        ages = [age(e, h.cutoff) for e in of_kind]
        out[f"{name}_events"] = len(of_kind)
        out[f"days_since_last_{name}"] = min(ages, default=None)
        for window in {w, h.long_window}:
            count = sum(a <= window for a in ages)
            out[f"{name}_events_last_{window}d"] = count if h.covered(window, kind) else None
        if kind in h.d["seen_by"]:
            out[f"{name}_missed"] = over(min(ages, default=0) * len(of_kind), h.tenure) if of_kind else None
        if "value" in h.d["columns"]:
            valued = by_day([e for e in of_kind if e["value"] is not None])
            latest = max(e["value"] for e in valued[max(valued)]) if valued else None
            out[f"{name}_value_last"] = over(latest, 1000)
    if h.d["seen_by"]:
        shown = [age(e, h.cutoff) for e in touches if e["event_type"] in h.d["seen_by"]] + h.ages
        out["times_seen"] = len(shown)
        out["times_seen_per_week"] = over(7 * len(shown), h.tenure)
        out["days_since_last_seen"] = min(shown, default=None)
        out["times_seen_missed"] = over(min(shown) * len(shown), h.tenure) if shown else None
    return out


def _basket(h: _History) -> Row:
    lines, columns = bought(h.events), h.d["columns"]
    out: Row = {
        "purchase_lines": len(lines),
        "lines_per_purchase_day": over(len(lines), len(h.ages)),
        "lines_last": len(bought(h.of_days[-1])) if h.of_days else None,
    }
    for w in h.windows[2:4]:
        out[f"purchase_lines_last_{w}d"] = len(bought(h.last(w))) if h.covered(w, "purchase") else None
    if "quantity" in columns:
        w, units = h.horizon_window, total(lines, "quantity") / 1000
        out["units"] = units
        recent = total(bought(h.last(w)), "quantity") / 1000
        out[f"units_last_{w}d"] = recent if h.covered(w, "purchase") else None
        out["units_per_line"] = over(units, len(lines))
        if h.has_money:
            paid = total(lines, "amount") / h.unit
            out |= {"price_per_unit": over(paid, units), "price_per_line": over(paid, len(lines))}
    if "product_id" in columns:
        out |= _items(h, "product_id", "products", "product")
    if "category" in columns:
        out |= _items(h, "category", "categories", "category")
    return out


def _items(h: _History, column: str, plural: str, one: str) -> Row:
    items: dict[str, list[Event]] = defaultdict(list)
    for line in bought(h.events):
        if line[column] is not None:
            items[line[column]].append(line)
    lines = [len(of_item) for of_item in items.values()]
    spent = [total(of_item, "amount") for of_item in items.values()]
    ages = [[age(e, h.cutoff) for e in of_item] for of_item in items.values()]
    out: Row = {
        f"{plural}_distinct": len(items),
        f"{plural}_repeated_share": over(sum(len(set(a)) >= 2 for a in ages), len(items)),
        f"{plural}_per_purchase_day": over(len(items), len(h.ages)),
        f"{one}_top_share": over(max(lines, default=None), sum(lines)),
    }
    for w in h.windows[2:5]:
        covered = h.covered(w, "purchase")
        out[f"{plural}_distinct_last_{w}d"] = sum(min(a) <= w for a in ages) if covered else None
        out[f"{plural}_new_last_{w}d"] = sum(max(a) <= w for a in ages) if covered else None
    if h.has_money:
        out[f"{one}_top_spend_share"] = over(max(spent, default=None), sum(spent))
    return out


def _price(h: _History) -> Row:
    lines = bought(h.events)
    discounted = [e for e in lines if (e["discount"] or 0) > 0]
    out: Row = {
        "discount": total(lines, "discount") / h.unit,
        "discounted_lines_share": over(len(discounted), len(lines)),
        "days_since_last_discount": min((age(e, h.cutoff) for e in discounted), default=None),
    }
    if h.has_money:
        off = total(lines, "discount")
        out["discount_share"] = over(off, off + total(lines, "amount"))
    for w in h.windows[2:4]:
        recent, covered = bought(h.last(w)), h.covered(w, "purchase")
        off = total(recent, "discount")
        out[f"discount_last_{w}d"] = off / h.unit if covered else None
        if h.has_money:
            share = over(off, off + total(recent, "amount"))
            out[f"discount_share_last_{w}d"] = share if covered else None
    return out


def _returns(h: _History) -> Row:
    returns, days = given_back(h.events), by_day(h.events)
    return_ages = {age(e, h.cutoff) for e in returns}
    out: Row = {
        "return_days": len(return_ages),
        "voided_days": sum(bool(bought(of_day)) and not is_occasion(of_day) for of_day in days.values()),
        "days_since_last_return": min(return_ages, default=None),
        "return_days_share": over(len(return_ages), len(h.ages)),
    }
    if h.has_money:
        out["returned"] = -total(returns, "amount") / h.unit
        out["returned_share"] = over(-total(returns, "amount"), total(bought(h.events), "amount"))
    for w in h.windows[2:4]:
        covered = h.covered(w, "purchase", "return")
        out[f"return_days_last_{w}d"] = sum(a <= w for a in return_ages) if covered else None
        if h.has_money:
            back = -total(given_back(h.last(w)), "amount") / h.unit
            out[f"returned_last_{w}d"] = back if covered else None
    return out


def _channel(h: _History) -> Row:
    ages: dict[str, set[int]] = defaultdict(set)
    for line in bought(h.events):
        if line["channel"] is not None:
            ages[line["channel"]].add(age(line, h.cutoff))
    most = max((len(a) for a in ages.values()), default=None)
    out: Row = {
        "channels_distinct": len(ages),
        "channel_top_share": over(most, sum(len(a) for a in ages.values())),
        "days_since_last_top_channel": min((min(a) for a in ages.values() if len(a) == most), default=None),
        "days_since_new_channel": min((max(a) for a in ages.values()), default=None),
    }
    for w in {h.horizon_window, h.long_window}:
        recent = sum(min(a) <= w for a in ages.values())
        out[f"channels_distinct_last_{w}d"] = recent if h.covered(w, "purchase") else None
    return out


def _watched(h: _History) -> Row:
    out: Row = {}
    for name, asked in h.d["watched"].items():
        kinds = asked["event_types"] or ["purchase"]
        if not set(kinds) & set(h.d["event_types"]):
            continue
        seen = [e for e in h.events if e[asked["column"]] in asked["is_in"] and e["event_type"] in kinds]
        ages, name = {age(e, h.cutoff) for e in seen}, f"target_{name}"
        out[f"{name}_days"] = len(ages)
        out[f"days_since_last_{name}"] = min(ages, default=None)
        for w in {h.horizon_window, h.long_window}:
            out[f"{name}_days_last_{w}d"] = sum(a <= w for a in ages) if h.covered(w, *kinds) else None
    return out


def _kinds(asked: dict[str, Any]) -> set[str]:
    return set(asked["is_in"] if asked["column"] == "event_type" else asked["event_types"] or ["purchase"])


def _contract(h: _History) -> Row:
    out: Row = {}
    for name, contract in h.d["contracts"].items():
        if not _kinds(contract["opens"]) & set(h.d["event_types"]):
            continue
        openings = [e for e in h.events if meant(e, contract["opens"])]
        ages = {age(e, h.cutoff) for e in openings}
        last = min(ages, default=None)
        out[f"days_since_last_{name}_opening"] = last
        out[f"{name}_openings"] = len(ages)
        out[f"days_since_first_{name}_opening"] = max(ages, default=None)
        if contract["term_days"] is not None:
            out[f"{name}_days_to_end"] = None if last is None else contract["term_days"] - last
        plans = h.d["plans"].get(name)
        for plan in plans["is_in"] if plans else ():
            of_last = {e[plans["column"]] for e in openings if age(e, h.cutoff) == last}
            written = re.sub(r"\W+", "_", plan.lower()).strip("_")
            out[f"{name}_plan_{written}"] = None if last is None else plan in of_last
    return out


FAMILIES = {
    "recency": _recency,
    "frequency": _frequency,
    "monetary": _monetary,
    "tenure": _tenure,
    "engagement": _engagement,
    "basket": _basket,
    "price": _price,
    "returns": _returns,
    "channel": _channel,
    "watched": _watched,
    "contract": _contract,
}
