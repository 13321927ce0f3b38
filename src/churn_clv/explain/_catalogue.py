"""What a feature is about: its group, theme and unit, and what is usual of it. Its words stand in ``phrases``.

An entry's name is a feature's, with a {field} for what changes with the config: {w}, {near}, {far} are days, {kind} a
type of event, {wait} what is waited for, {topic} what texts are about, {items} and {item} products or categories,
{target} and {plan} what a target of one's own named. The first entry that fits a feature is its own: the
special ones stand before the general.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from churn_clv import features
from churn_clv.timeline import Definitions

THEMES = ("price", "service", "engagement", "product", "rhythm")
DAYS = ("w", "near", "far")
WAITS = "complaint_closing|ticket_answer|ticket_closing"
TOPIC = "[a-z][a-z0-9_]*"
ITEMS = {"items": "products|categories", "item": "product|category"}
# Types of events that are about price or service, by a part of their name; all others are engagement.
PRICE_KINDS = ("coupon", "discount", "offer", "promo", "redemption", "voucher")
SERVICE_KINDS = ("chat", "complain", "csat", "feedback", "nps", "refund", "review", "service", "support", "survey",
                 "ticket")  # fmt: skip
OWN_KINDS = ("purchase", "return")


@dataclass(frozen=True)
class Earlier:
    """A customer's earlier rate: what ``total`` holds beyond ``recent``, per day of the time before that, for as many
    days as the feature looks at. Known where that time is at least as long."""  # fmt: skip

    total: str
    recent: str
    before: str = "w"
    start: str | None = None


@dataclass(frozen=True)
class About:
    """An entry: ``usual`` is another feature of the customer, a number that stands for "as always", an earlier rate, or
    None, where the population's median is. ``more`` says what anyone expects of a larger value: 1 that it raises the
    risk, -1 that it lowers it, 0 either."""  # fmt: skip

    name: str
    group: str
    theme: str
    unit: str
    usual: str | float | Earlier | None = None
    more: int = 0


@dataclass(frozen=True)
class Meaning:
    """What is known of one feature: its entry, and the entry's fields filled in."""

    feature: str
    about: About
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """Features of one group say the same thing; kinds of events and targets are groups of their own."""
        return self.about.group.format(**self.fields)

    @property
    def unit(self) -> str:
        """Of its value, as the phrases name it."""
        return self.about.unit.format(**self.fields)

    @property
    def theme(self) -> str:
        """price, service, engagement, product or rhythm."""
        return _kind_theme(self.fields["kind"]) if self.about.theme == "kind" else self.about.theme

    @property
    def days(self) -> float | None:
        """How many days the feature looks at; None where it looks at no window."""
        if "w" in self.fields:
            return float(self.fields["w"])
        return float(self.fields["far"]) - float(self.fields["near"]) if "near" in self.fields else None


def _kind_theme(kind: str) -> str:
    for theme, words in (("price", PRICE_KINDS), ("service", SERVICE_KINDS)):
        if any(word in kind for word in words):
            return theme
    return "engagement"


def _window(total: str) -> Earlier:
    return Earlier(total, total + "_last_{w}d")


def _block(total: str) -> Earlier:
    return Earlier(total, total + "_last_{far}d", "far", "near")


ENTRIES = (
    # how long ago, against the customer's own rhythm
    About("days_since_last_purchase", "silence", "rhythm", "days", "gap_days_median", more=1),
    About("days_since_previous_purchase", "silence", "rhythm", "days", more=1),
    About("days_since_fifth_last_purchase", "silence", "rhythm", "days", more=1),
    About("overdue_ratio", "silence", "rhythm", "times", 1.0, more=1),
    About("overdue_mean_ratio", "silence", "rhythm", "times", 1.0, more=1),
    About("overdue_longest_ratio", "silence", "rhythm", "times", more=1),
    About("overdue_sd", "silence", "rhythm", "number", 0.0, more=1),
    About("silence_share", "silence", "rhythm", "share", more=1),
    About("buying_span_share", "silence", "rhythm", "share", more=-1),
    # how often and how much: in logarithms a window's money is its orders and their value
    About("purchase_days", "activity", "rhythm", "purchases", more=-1),
    About("purchase_days_last_{w}d", "activity", "rhythm", "purchases", _window("purchase_days"), more=-1),
    About("purchase_days_from_{near}d_to_{far}d", "activity", "rhythm", "purchases", _block("purchase_days"), more=-1),
    About("purchase_days_per_week", "activity", "rhythm", "number", more=-1),
    About("purchase_events_last_{w}d", "activity", "rhythm", "lines", _window("purchase_lines"), more=-1),
    About("active_weeks_last_{w}d", "activity", "rhythm", "weeks", more=-1),
    About("active_weeks_share_last_{w}d", "activity", "rhythm", "share", more=-1),
    About("purchase_days_trend_{near}d_to_{far}d", "purchases_trend", "rhythm", "change", 0.0, more=-1),
    # the rhythm itself
    About("gap_days_mean", "gaps", "rhythm", "days"),
    About("gap_days_median", "gaps", "rhythm", "days"),
    About("gap_days_min", "gaps", "rhythm", "days"),
    About("gap_days_max", "gaps", "rhythm", "days"),
    About("gap_days_last", "gaps_trend", "rhythm", "days", "gap_days_mean"),
    About("gap_last_to_mean", "gaps_trend", "rhythm", "times", 1.0),
    About("gap_last_three_to_mean", "gaps_trend", "rhythm", "times", 1.0),
    About("gap_days_slope", "gaps_trend", "rhythm", "number", 0.0),
    About("gap_days_sd", "regularity", "rhythm", "days"),
    About("gap_days_cv", "regularity", "rhythm", "times"),
    About("clumpiness", "regularity", "rhythm", "number"),
    About("weekend_share", "weekdays", "rhythm", "share"),
    About("weekdays_distinct", "weekdays", "rhythm", "weekdays"),
    # money
    About("spend", "activity", "rhythm", "money", more=-1),
    About("spend_last_{w}d", "activity", "rhythm", "money", _window("spend"), more=-1),
    About("spend_from_{near}d_to_{far}d", "activity", "rhythm", "money", _block("spend"), more=-1),
    About("spend_per_day", "activity", "rhythm", "money", more=-1),
    About("spend_trend_{near}d_to_{far}d", "spend_trend", "rhythm", "times", 1.0, more=-1),
    About("mean_order_value", "activity", "price", "money"),
    About("mean_order_value_last_{w}d", "activity", "price", "money", "mean_order_value"),
    About("order_value_min", "activity", "price", "money"),
    About("order_value_median", "activity", "price", "money"),
    About("order_value_max", "activity", "price", "money"),
    About("order_value_first", "activity", "price", "money", "mean_order_value"),
    About("order_value_last", "order_value_trend", "price", "money", "mean_order_value"),
    About("order_value_last_to_mean", "order_value_trend", "price", "times", 1.0),
    About("order_value_last_three_to_mean", "order_value_trend", "price", "times", 1.0),
    About("order_value_sd", "order_value_spread", "price", "money"),
    About("order_value_cv", "order_value_spread", "price", "times"),
    # for how long
    About("days_since_first_purchase", "tenure", "rhythm", "days"),
    About("tenure_days", "tenure", "rhythm", "days"),
    About("tenure_is_censored", "tenure", "rhythm", "flag"),
    About("days_from_first_to_second_purchase", "second_purchase", "rhythm", "days"),
    # what is in the basket
    About("purchase_lines", "lines", "product", "lines"),
    About("purchase_lines_last_{w}d", "lines", "product", "lines", _window("purchase_lines")),
    About("lines_per_purchase_day", "lines", "product", "lines"),
    About("lines_last", "lines", "product", "lines", "lines_per_purchase_day"),
    About("units", "units", "product", "units"),
    About("units_last_{w}d", "units", "product", "units", _window("units")),
    About("units_per_line", "units", "product", "units"),
    About("price_per_unit", "price_level", "price", "money"),
    About("price_per_line", "price_level", "price", "money"),
    About("{items}_distinct", "{items}", "product", "{items}"),
    About("{items}_distinct_last_{w}d", "{items}", "product", "{items}"),
    About("{items}_per_purchase_day", "{items}", "product", "{items}"),
    About("{items}_new_last_{w}d", "new_{items}", "product", "{items}"),
    About("{items}_repeated_share", "loyal_{items}", "product", "share"),
    About("{item}_top_share", "loyal_{item}", "product", "share"),
    About("{item}_top_spend_share", "loyal_{item}", "product", "share"),
    # discounts and returns
    About("discount", "discounts", "price", "money"),
    About("discount_last_{w}d", "discounts", "price", "money", _window("discount")),
    About("discount_share", "discounts", "price", "share"),
    About("discount_share_last_{w}d", "discounts", "price", "share", "discount_share"),
    About("discounted_lines_share", "discounts", "price", "share"),
    About("days_since_last_discount", "discounts", "price", "days"),
    About("return_days", "returns", "service", "returns"),
    About("return_days_last_{w}d", "returns", "service", "returns", _window("return_days")),
    About("return_days_share", "returns", "service", "share"),
    About("days_since_last_return", "returns", "service", "days"),
    About("returned", "returns", "service", "money"),
    About("returned_last_{w}d", "returns", "service", "money", _window("returned")),
    About("returned_share", "returns", "service", "share"),
    About("voided_days", "returns", "service", "purchases"),
    # through which channels
    About("channels_distinct", "channels", "engagement", "channels"),
    About("channels_distinct_last_{w}d", "channels", "engagement", "channels"),
    About("channel_top_share", "channels", "engagement", "share"),
    About("days_since_last_top_channel", "channels", "engagement", "days"),
    About("days_since_new_channel", "channels", "engagement", "days"),
    # everything besides buying
    About("touches", "touches", "engagement", "events", more=-1),
    About("touches_last_{w}d", "touches", "engagement", "events", _window("touches"), more=-1),
    About("touch_days", "touches", "engagement", "plain_days", more=-1),
    About("days_since_last_touch", "touches", "engagement", "days", more=1),
    About("touches_per_purchase_day", "touches", "engagement", "number"),
    About("times_seen", "seen", "engagement", "events", more=-1),
    About("times_seen_per_week", "seen", "engagement", "number", more=-1),
    About("days_since_last_seen", "seen", "engagement", "days", more=1),
    About("times_seen_missed", "seen", "engagement", "number", more=1),
    # what targets of one's own asked for
    About("target_{target}_days", "target_{target}", "product", "plain_days"),
    About("days_since_last_target_{target}", "target_{target}", "product", "days"),
    About(
        "target_{target}_days_last_{w}d", "target_{target}", "product", "plain_days", _window("target_{target}_days")
    ),
    About("days_since_last_{target}_opening", "contract_{target}", "engagement", "days"),
    About("days_since_first_{target}_opening", "contract_{target}", "engagement", "days"),
    About("{target}_openings", "contract_{target}", "engagement", "events"),
    About("{target}_days_to_end", "contract_{target}", "engagement", "plain_days"),
    About("{target}_plan_{plan}", "plan_{target}", "price", "flag"),
    # surveys, and cases that wait
    About("{wait}_waiting", "wait_{wait}", "service", "number"),
    About("{wait}_days_mean", "wait_{wait}", "service", "days"),
    About("{kind}_value_mean", "value_{kind}", "kind", "number"),
    About("{kind}_value_change", "value_{kind}", "kind", "number", 0.0),
    # what texts of feedback say
    About("text_sentiment_last", "text_sentiment", "service", "number", more=-1),
    About("text_sentiment_mean", "text_sentiment", "service", "number", more=-1),
    About("text_sentiment_change", "text_sentiment", "service", "number", 0.0, more=-1),
    About("text_negative_events", "text_negative", "service", "events", more=1),
    About(
        "text_negative_events_last_{w}d", "text_negative", "service", "events", _window("text_negative_events"), more=1
    ),
    About("topic_{topic}_events", "topic_{topic}", "service", "events"),
    About("topic_{topic}_events_last_{w}d", "topic_{topic}", "service", "events", _window("topic_{topic}_events")),
    # of each type of event
    About("days_since_last_{kind}", "kind_{kind}", "kind", "days"),
    About("{kind}_events", "kind_{kind}", "kind", "events"),
    About("{kind}_events_last_{w}d", "kind_{kind}", "kind", "events", _window("{kind}_events")),
    About("{kind}_missed", "kind_{kind}", "kind", "number"),
    About("{kind}_value_last", "value_{kind}", "kind", "number"),
)


def meanings(definitions: Definitions) -> dict[str, Meaning]:
    """What is known of every feature of the definitions, in the matrix's order; KeyError where no entry fits one."""
    return named(features.names(definitions), definitions)


def named(names: tuple[str, ...], definitions: Definitions) -> dict[str, Meaning]:
    """The same for the definitions' features ``names``, which take milliseconds to work out."""
    kinds = tuple(re.sub(r"\W+", "_", t.lower()).strip("_") for t in definitions.event_types if t not in OWN_KINDS)
    targets = tuple({**definitions.watched, **definitions.contracts})
    return _meanings(names, kinds, targets)


@lru_cache(maxsize=32)
def _meanings(names: tuple[str, ...], kinds: tuple[str, ...], targets: tuple[str, ...]) -> dict[str, Meaning]:
    patterns = [(entry, _pattern(entry.name, kinds, targets)) for entry in ENTRIES]
    out = {}
    for name in names:
        found = next(((entry, fits) for entry, own in patterns if (fits := own.fullmatch(name))), None)
        if found is None:
            raise KeyError(f"no entry of explain says what the feature '{name}' is about")
        out[name] = Meaning(name, found[0], found[1].groupdict())
    return out


def _pattern(name: str, kinds: tuple[str, ...], targets: tuple[str, ...]) -> re.Pattern[str]:
    """An entry's name as a pattern with a group for each field."""
    named = {"kind": kinds, "target": targets}
    groups = dict.fromkeys(DAYS, r"\d+") | ITEMS | {"plan": ".+", "wait": WAITS, "topic": TOPIC}
    groups |= {key: "|".join(map(re.escape, words)) or "(?!)" for key, words in named.items()}
    return re.compile(re.sub(r"\{(\w+)\}", lambda m: f"(?P<{m[1]}>{groups[m[1]]})", name))
