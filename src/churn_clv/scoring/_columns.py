"""What each column of a scoring is: type, unit and meaning. docs/scores.md and the manifest are made of this."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import polars as pl

from churn_clv.bundle import Bundle

CHANCE, PLACE, MONEY, COUNT, DAYS, WORD, DAY, FLAG = (
    "probability, 0 to 1", "percent, 0 to 100", "major units of currency", "purchase days", "days", "word", "date",
    "true or false",
)  # fmt: skip
LEVEL = "level, 1 to 5 (best)"
# How a type is called in the documentation; Parquet, SQLite and PostgreSQL have their own words for it.
TYPES = {pl.String: "text", pl.Date: "date", pl.Boolean: "boolean", pl.Float64: "double"}
INTEGER = "integer"


@dataclass(frozen=True)
class Column:
    """One column: its name (a pattern in the page), type, unit and meaning."""

    name: str
    type: str
    unit: str
    meaning: str

    def told(self) -> dict[str, str]:
        """For the manifest."""
        return {key: value for key, value in asdict(self).items() if key != "meaning"}


@dataclass(frozen=True)
class _Kind:
    """Columns of one meaning: <d> stands for days, <m> for months, <name> for a target of the config."""

    name: str
    unit: str
    meaning: str

    def fits(self, column: str) -> bool:
        pattern = re.escape(self.name).replace("<d>", "[0-9]+").replace("<m>", "[0-9]+")
        return re.fullmatch(pattern, column) is not None


KINDS = (
    _Kind("customer_id", "text", "Who; rows are sorted by it, byte by byte."),
    _Kind("cutoff", DAY, "The midnight (in the business's time zone) that starts this day: all known before it."),
    _Kind("eligible", FLAG, "Whether churn and spend are predicted."),
    _Kind("reason", WORD, "Why not: lapsed, prospect or history_too_short; null for the eligible."),
    _Kind("churn_probability", CHANCE, "Of no purchase in the horizon."),
    _Kind("percentile_in_reference", PLACE, "Rank among those at the model's test; higher is riskier."),
    _Kind("loss_probability", CHANCE, "Of no purchase in the horizon nor in the confirmation window after it."),
    _Kind("expected_spend", MONEY, "Net money in the horizon."),
    _Kind("expected_spend_low", MONEY, "At most 10% of customers come to less."),
    _Kind("expected_spend_high", MONEY, "10% of customers come to more."),
    _Kind("churn_probability_<d>d", CHANCE, "Of no purchase in the first so many days; falls with the days."),
    _Kind("expected_orders", COUNT, "In the horizon; at least 1 - churn_probability."),
    _Kind("expected_order_value", MONEY, "expected_spend / expected_orders."),
    _Kind("next_order_within_<d>d", CHANCE, "Of at least one purchase in the first so many days."),
    _Kind("churn_band", WORD, "The band of churn_probability; its edges are frozen in the bundle."),
    _Kind(
        "reliability",
        WORD,
        "How much is known: low, medium, high for 1, 2-3, 4+ purchase days; fallback: not eligible, CLV is a mean.",
    ),
    _Kind("active_probability_<m>m", CHANCE, "Of a purchase in the window of one horizon that ends so many months on."),
    _Kind("clv_<m>m", MONEY, "Discounted net margin of the next so many months; also of those not eligible."),
    _Kind("clv_<m>m_low", MONEY, "At most 10% of customers come to less; null where no such months have matured."),
    _Kind("clv_<m>m_high", MONEY, "10% of customers come to more; null where no such months have matured."),
    _Kind("clv_extrapolated_share", "share, 0 to 1", "Of the longest CLV: beyond what the log has seen mature."),
    _Kind("margin_rate", "share, -1 to 1", "Margin expected of a unit of spend: CLV is money times this."),
    _Kind("historic_value", MONEY, "Net margin so far."),
    _Kind("total_value", MONEY, "historic_value and the longest CLV."),
    _Kind("next_order_learnt_days", DAYS, "Beyond so many days no silence has matured: such chances are extrapolated."),
    _Kind("base_rate", "share, 0 to 1", "Of customers without a purchase at the model's test."),
    _Kind("currency", "ISO 4217", "Of all money."),
    _Kind("horizon_days", DAYS, "How far churn and spend look."),
    _Kind("in_sample", FLAG, "The model has learnt from labels after this cutoff: such scores look too good."),
    _Kind("model_version", "SHA-256", "Of the bundle that scored."),
    _Kind("score_valid_until", DAY, "The next day on which the score moves though nothing happens."),
    _Kind(
        "rfm_recency", LEVEL, "Of the days since the last purchase, by edges frozen in the bundle (docs/segments.md)."
    ),
    _Kind("rfm_frequency", LEVEL, "Of the purchase days so far."),
    _Kind("rfm_monetary", LEVEL, "Of the net spend so far; null without amounts."),
    _Kind("rfm_group", WORD, "The name of the three scores' cell; of those who have not bought a name of their own."),
    _Kind("value_tier", WORD, "core, potential, low, by rules; null where none holds."),
    _Kind("value_risk", WORD, "protect, win_back, grow, let_go: value tier x risk; null without a risk."),
    _Kind("lifecycle_stage", WORD, "prospect, new, growing, mature, declining, lapsed, won_back: by the own rhythm."),
    _Kind("stage_percentile", PLACE, "Of the longest CLV among those of the stage at training."),
    _Kind("cluster", WORD, "The nearest of the frozen centres; null without a purchase."),
    _Kind(
        "recommended_action",
        WORD,
        "The action with most profit for this customer, if actions are given (docs/actions.md).",
    ),
    _Kind("expected_profit", MONEY, "Of that action against leaving the customer alone; null where none pays."),
    _Kind(
        "break_even_save_rate", "share, 0 to 1", "Of would-be lapsers, the share it must keep to pay; above 1 none can."
    ),
    _Kind("save_rate_source", WORD, "assumed or measured: where the action's save rate comes from."),
    _Kind("value_at_risk", MONEY, "Margin of the horizon that lapse would take, times its chance."),
    _Kind("percentile_in_scoring", PLACE, "Rank of churn_probability among all eligible of this scoring; batch only."),
    _Kind("previous_churn_band", WORD, "churn_band in the last scoring; batch only."),
    _Kind("score_change", "probability, -1 to 1", "churn_probability less that of the last scoring; batch only."),
)
OWN = (
    _Kind("<name>_probability", CHANCE, "A target of the config that is an event: its chance; null if not asked."),
    _Kind("expected_<name>", "the target's", "A target that is a count, or money (major units)."),
    _Kind("<name>_percentile_in_reference", PLACE, "Its rank among those at the model's test."),
    _Kind("<name>_base_rate", "share, 0 to 1", "An event's share at the model's test."),
    _Kind("<name>_band", WORD, "Of an event: low below the base rate, high from twice its odds on."),
)


def columns(schema: pl.Schema, bundle: Bundle) -> list[Column]:
    """Every column of a scoring by that bundle. Raises ValueError for one that is not documented here."""
    own = {
        name: kind for head in bundle.own_heads for name in bundle.columns_of(head) for kind in OWN
        if name == kind.name.replace("<name>", head.target)
    }  # fmt: skip
    out = []
    for name, dtype in schema.items():
        kind = own.get(name) or next((k for k in KINDS if k.fits(name)), None)
        if kind is None:
            raise ValueError(f"the column {name} of a scoring has no entry in scoring/_columns.py")
        out.append(Column(name, type_name(dtype), kind.unit, kind.meaning))
    return out


def type_name(dtype: pl.DataType) -> str:
    """text, date, boolean, integer or double."""
    return INTEGER if dtype.is_integer() else TYPES[dtype.base_type()]


def page(known: Iterable[Column]) -> str:
    """The table of docs/scores.md: one line per meaning, with the type that its columns have."""
    found = list(known)
    lines = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    for kind in (*KINDS, *OWN):
        types = {c.type for c in found if c.meaning == kind.meaning} or {"date"}
        lines.append(f"| `{kind.name}` | {', '.join(sorted(types))} | {kind.unit} | {kind.meaning} |")
    return "\n".join(lines) + "\n"
