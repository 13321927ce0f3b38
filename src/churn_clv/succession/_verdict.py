"""Whether a stored run may follow the champion of now: the rules of a training, on stored predictions (D9)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from churn_clv import promotion
from churn_clv.config import Config
from churn_clv.grade import Grade
from churn_clv.promotion import INCUMBENT, Check, Decision
from churn_clv.tracking import Champion, Stored

GRADE = "grade"
KEYS = ["customer_key", "cutoff"]


@dataclass(frozen=True)
class Kinship:
    """How a challenger's recipe and data stand to the champion's: all that lets an equal one refresh it."""

    same_recipe: bool
    newer: bool
    renewed: str


def kinship(
    mine: Mapping[str, str], theirs: Mapping[str, str], ends: dt.date, ended: dt.date, after: bool
) -> Kinship:  # fmt: skip
    """By the tags recipe_hash, core_hash and code_hash of both, the ends of their logs, and which run started last.

    Only the run that started ``after`` the other refreshes it: two runs cannot refresh each other in turn.
    Only the recipe of churned and spend is compared; other targets come and go without a contest.
    """
    same = mine["core_hash"] == theirs.get("core_hash")
    others = after and same and mine["recipe_hash"] != theirs["recipe_hash"] and ends >= ended
    newer = after and (ends > ended or mine["code_hash"] != theirs["code_hash"])
    told = "with other targets beside churned and spend" if others else "on newer data"
    return Kinship(same, newer or others, told)


def lost(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Check]:
    """A failed check for each thing that the champion's run predicts and this one cannot, though its config asks.

    Both are run documents. Spend is asked for always: a config without it is another question's.
    """
    # By its metrics and not by its heads' names: spend may be the two-part model's alone.
    had = ["spend"] if before["ladder"][0]["metrics"]["spend_gini"] is not None else []
    has = ["spend"] if now["ladder"][0]["metrics"]["spend_gini"] is not None else []
    refused = now["data"]["targets_refused"]
    had += [name for name in before.get("targets", {}) if name in refused]
    out = []
    for name in (n for n in had if n not in (*has, *now["targets"])):
        told = refused.get(name, f"its config has no target '{name}'")
        out.append(Check(f"predicts_{name}", False, True, f"the champion predicts {name} and this run cannot: {told}"))
    return out


def judge(settings: Config, mine: Stored, champion: Champion | None) -> Decision:
    """The decision on a stored run now.

    Against no champion its own stored checks decide. On rows that both runs predicted the comparison is made again,
    its own checks (rungs, level) still standing; on none in common the stored verdict counts if it was against this
    very champion, and else nothing can be said, which is a refusal. The grade is held against what the config requires
    now, and not against what one did when the run was trained.
    """
    stored = [Check(**check) for check in mine.document["checks"] if check["name"] != GRADE]
    stored.append(_graded(mine.document, settings.grade.required))
    own = [check for check in stored if not check.name.startswith(INCUMBENT)]
    if champion is None:
        return promotion.of_checks(own, mine.oot)
    if why := _not_comparable(mine, champion):
        if mine.document.get("compared_with") == champion.version:
            return promotion.of_checks(stored, mine.oot)
        return promotion.of_checks([Check("incumbent.comparable", False, True, why), *own], mine.oot)
    after = mine.started > champion.started
    kin = kinship(mine.tags, champion.tags, _ends(mine.document), _ends(champion.document), after)
    band = mine.document.get("total_band")
    decision = promotion.decide(
        mine.oot,
        champion.oot,
        {},
        same_recipe=kin.same_recipe,
        newer_data=kin.newer,
        renewed=kin.renewed,
        horizon_days=settings.timeline.horizon_days,
        total_band=tuple(band) if band else None,
        draws=settings.promotion.bootstrap_draws,
        seed=settings.seed,
    )
    return promotion.with_checks(decision, [*lost(champion.document, mine.document), *own], kin.renewed)


def _graded(document: Mapping[str, Any], required: str) -> Check:
    """Whether the run's letter is one that the config lets through."""
    found = document.get("grade") or {}
    if (letter := found.get("letter")) is None:
        text = f"the run has no grade (it was made before there were grades), and {required} is required: train again"
        return Check(GRADE, False, True, text)
    return Check(
        GRADE, Grade(letter, ()).at_least(required), True, f"the grade is {letter}, and {required} is required"
    )


def _not_comparable(mine: Stored, champion: Champion) -> str | None:
    """Why the two runs' predictions share no rows, None where they share some."""
    if mine.tags.get("id_key") != champion.tags.get("id_key"):
        return (
            f"this run's customers are hidden behind another key than version {champion.version}'s, so their rows "
            f"cannot be matched (CHURN_CLV_ID_KEY or id.key has changed): train again"
        )
    if mine.oot.join(champion.oot, on=KEYS, how="semi").height:
        return None
    return (
        f"this run was judged at {_dates(mine.oot)} and version {champion.version} at {_dates(champion.oot)}, so there "
        f"is nothing to compare: train again"
    )


def _dates(oot: pl.DataFrame) -> str:
    return ", ".join(str(day) for day in oot["cutoff"].unique().sort())


def _ends(document: Mapping[str, Any]) -> dt.date:
    return dt.date.fromisoformat(document["data"]["ends"])
