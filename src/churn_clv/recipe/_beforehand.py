"""What choices and heads will ask for, known before they ask: to be learnt side by side, rows binned once for all.

Several recipes that share snapshots (``Workshop.under``) learn from the same rows wherever their cutoffs are the same,
and so do P(no purchase) of the whole horizon and everyone's spend. Binning is a quarter of what a booster costs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import lightgbm as lgb

from churn_clv.beside import AT_ONCE, together
from churn_clv.models import btyd
from churn_clv.models.baseline import CS
from churn_clv.models.predict import SPEND_IF_ACTIVE
from churn_clv.recipe._choice import Choice
from churn_clv.recipe._workshop import MONEY, Lesson, What, Workshop
from churn_clv.timeline import Plan


@dataclass(frozen=True)
class Wish:
    """A model that a workshop will be asked for: a booster of so many trees, or one that learns without any.

    ``c`` is the logistic regression's.
    """

    shop: Workshop
    what: What | Literal["linear", "renewal", "value"]
    lesson: Lesson
    trees: int = 0
    c: float = 0.0


def for_choice(shop: Workshop, plan: Plan) -> list[Wish]:
    """All that ``choose`` asks for."""
    models, out = shop.settings.models, []
    for lesson in (Lesson(plan, origin) for origin in plan.origins):
        for fresh in (False, True) if len(plan.edges) > 1 else (False,):
            out.append(Wish(shop, "hazard", Lesson(plan, lesson.when, fresh), models.churn.max_rounds))
        out += [Wish(shop, "whole", lesson, models.churn.max_rounds)]
        out += [Wish(shop, "linear", lesson, c=c) for c in CS]
        if {*btyd.TIMING} <= {*shop.columns}:
            out.append(Wish(shop, "renewal", lesson))
        if "spend" in shop.targets:
            out += [Wish(shop, what, lesson, models.spend.max_rounds) for what in MONEY]
            out.append(Wish(shop, "value", lesson))
    return out


def for_heads(shop: Workshop, plan: Plan, chosen: Choice) -> list[Wish]:
    """All that ``heads`` asks for at the test cutoff."""
    lesson, trees = Lesson(plan, plan.test), chosen.trees
    out = [
        Wish(shop, "hazard", Lesson(plan, plan.test, chosen.fresh), trees["churned"]),
        Wish(shop, "whole", lesson, trees["churned"]),
    ]
    if chosen.linear_share:
        out.append(Wish(shop, "linear", lesson, c=chosen.linear_c))
    if chosen.renewal_share:
        out.append(Wish(shop, "renewal", lesson))
    if "spend" not in shop.targets:
        return out
    if chosen.two_part < 1:
        out.append(Wish(shop, "amount", lesson, trees["spend"]))
    if chosen.two_part > 0:
        out.append(Wish(shop, "active", lesson, trees[SPEND_IF_ACTIVE]))
    return [*out, Wish(shop, "value", lesson)] if chosen.priced else out


def grouped(wishes: Iterable[Wish]) -> list[list[Wish]]:
    """Wishes that learn from the same rows together, the longest piece of work first.

    Within a group the most trees come first: their first trees serve who asks for fewer.
    """
    out: dict[tuple[object, ...], list[Wish]] = {}
    for wish in wishes:
        out.setdefault(_rows(wish), []).append(wish)
    return sorted((sorted(g, key=lambda w: -w.trees) for g in out.values()), key=lambda g: -sum(w.trees for w in g))


def prepare(wishes: Iterable[Wish], jobs: int = AT_ONCE) -> None:
    """Learn them all, ``jobs`` groups at a time at most, and no more than the config's ``models.threads``."""
    asked = list(wishes)
    most = min([jobs, *(wish.shop.settings.models.threads for wish in asked)])
    together(learn, grouped(replace(wish, shop=wish.shop.beside(most)) for wish in asked), most)


def learn(group: Iterable[Wish]) -> None:
    """Learn a group's models; each is then kept where it will be asked for."""
    binned: lgb.Dataset | None = None
    for wish in group:
        shop, lesson = wish.shop, wish.lesson
        if wish.what == "linear":
            shop.linear(lesson, wish.c)
        elif wish.what == "renewal":
            shop.renewal(lesson.when, lesson.plan.horizon_days)
        elif wish.what == "value":
            shop.order_value(lesson.when)
        else:
            binned = shop.learn(wish.what, lesson, wish.trees, binned)


def _rows(wish: Wish) -> tuple[object, ...]:
    if wish.what == "linear":
        return ("linear", *wish.shop.rows_of("whole", wish.lesson))
    if wish.what == "renewal" or wish.what == "value":
        return (wish.what, wish.lesson.when)
    return wish.shop.rows_of(wish.what, wish.lesson)
