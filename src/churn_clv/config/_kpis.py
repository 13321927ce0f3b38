"""What the KPIs of the report are counted with: windows, event types, costs, and what is aimed at (docs/report.md)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from churn_clv.config._base import Day, Section
from churn_clv.config._targets import Days
from churn_clv.errors import nearest

KPIS = (
    "retention", "lapse", "balance", "repeat", "activation", "conversion", "order_value", "revenue", "margin", "clv",
    "cac", "clv_to_cac", "payback", "attributed_roas", "incremental_roas", "retention_cost", "referral",
    "support_in_time", "support_cost", "nps", "csat",
)  # fmt: skip
# Of these there is one for each value tier or source: clv:core, cac:web.
SPLIT = ("clv", "cac")
Kinds = tuple[Annotated[str, Field(min_length=1)], ...]
Money = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class KpiEvents(Section):
    """Which event types mean what; those that the log has not are said."""

    nps: Kinds = ("nps",)
    csat: Kinds = ("csat",)
    referral: Kinds = ("referral",)
    ticket_opened: Kinds = ("ticket_opened",)
    ticket_closed: Kinds = ("ticket_closed",)
    contact: Kinds = ()


class Cost(Section):
    """Money spent evenly from ``first`` to ``last``, both included."""

    kind: Literal["acquisition", "campaign", "retention", "support"]
    first: Day
    last: Day
    amount: Money
    source: str | None = None

    @model_validator(mode="after")
    def _forwards(self) -> Cost:
        if self.last < self.first:
            raise ValueError("last lies before first")
        if self.source is not None and self.kind != "acquisition":
            raise ValueError("only acquisition costs go by source")
        return self


class Aim(Section):
    """What a KPI should reach, who sees to it, and until when."""

    target: Annotated[float, Field(allow_inf_nan=False)]
    owner: str | None = None
    due: Day | None = None


class Kpis(Section):
    """Windows, events, costs and aims of the KPIs."""

    window_days: Days | None = None
    repeat_days: Days = 60
    activation_orders: Annotated[int, Field(ge=2)] = 3
    activation_days: Days = 90
    conversion_days: Days = 28
    attribution_days: Days = 7
    support_days: PositiveInt = 2
    affinity_days: Days = 28
    csat_best: Annotated[int, Field(ge=2, le=100)] = 5
    source_column: Literal["channel", "category", "product_id"] = "channel"
    events: KpiEvents = KpiEvents()
    costs: tuple[Cost, ...] = ()
    aims: dict[str, Aim] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _aims_are_known(self) -> Kpis:
        for name in self.aims:
            head, _, rest = name.partition(":")
            if head not in KPIS or (rest and head not in SPLIT):
                raise ValueError(f"aims: unknown KPI '{name}'.{nearest(head, _names())}")
        return self


def _names() -> Iterable[str]:
    return (*KPIS, *(f"{name}:..." for name in SPLIT))
