"""Settings of what comes after the scores: whom to watch, whether they held. They change nothing of what is learnt."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from churn_clv.config._base import Section

Count = Annotated[int, Field(ge=1)]
Chance = Annotated[float, Field(gt=0, lt=1)]


class Watch(Section):
    """The early-warning list: its length, and how it is told (docs/watch.md)."""

    capacity: Count = 50
    stay: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.25
    reasons: Annotated[int, Field(ge=1, le=10)] = 3
    changes: Annotated[int, Field(ge=1, le=10)] = 3
    change_p: Chance = 0.05


class Ledger(Section):
    """When the scores no longer hold (docs/ledger.md): what is tolerated, and how often the alarm may be false."""

    false_alarms: Chance = 0.05
    log_odds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.2
    spend_share: Annotated[float, Field(ge=0, lt=1)] = 0.2
    lead: Annotated[float, Field(ge=-1, le=1)] = 0.0
