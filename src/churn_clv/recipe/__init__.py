"""The recipe: from snapshots to heads, every choice made on validation origins before the test cutoff (D7, D8).

At each origin a model that learnt only labels ending by then predicts that origin's customers. The pooled predictions
choose the number of trees, whether parts of label windows that are already complete are learnt from too, the share of
the renewal model and of the two-part spend, and the calibration map. Then the chosen recipe is fitted on every label
that ends by the test cutoff, and that is what is judged.

Where events become known late (``known_at``), a model at an origin V learns the labels that end by V as they were
known at the test cutoff, not as they were known at V: it may hold a little that nobody knew at V yet, but nothing that
was unknown at the test cutoff. Without ``known_at`` the two are the same.
"""

from __future__ import annotations

import datetime as dt

from churn_clv.models import btyd, fit
from churn_clv.models.predict import SPEND_IF_ACTIVE, Head, Pool
from churn_clv.models.priced import Priced
from churn_clv.recipe._beforehand import Wish, for_choice, for_heads, grouped, learn, prepare
from churn_clv.recipe._choice import Choice, choose
from churn_clv.recipe._workshop import Lesson, Say, Workshop
from churn_clv.timeline import Plan

__all__ = [
    "Choice",
    "Lesson",
    "Say",
    "Wish",
    "Workshop",
    "choose",
    "for_choice",
    "for_heads",
    "grouped",
    "heads",
    "learn",
    "prepare",
]


def heads(shop: Workshop, plan: Plan, chosen: Choice, when: dt.date, say: Say = lambda _: None) -> tuple[Head, ...]:
    """The chosen recipe fitted on every label that ends by ``when``: the test cutoff to be judged, the end to ship."""
    horizon, trees = plan.horizon_days, chosen.trees["churned"]
    lesson = Lesson(plan, when, chosen.fresh)
    hazard, whole = fit.cut(shop.hazard(lesson, trees), trees), fit.cut(shop.whole(lesson, trees), trees)
    pool = _pool(shop, plan, chosen, when, say)
    out = [
        Head("churned", horizon, "hazard", hazard, chosen.intercept, chosen.slope, edges=plan.edges, pool=pool,
             whole=whole)
    ]  # fmt: skip
    for name, share in (("spend", 1 - chosen.two_part), (SPEND_IF_ACTIVE, chosen.two_part)):
        if "spend" in shop.targets and share > 0:
            trees = chosen.trees[name]
            booster, scale, level = shop.balanced(Lesson(plan, when), trees, active_only=name == SPEND_IF_ACTIVE)
            first = _priced(shop, plan, chosen, when, say) if len(out) == 1 else None
            out.append(Head(name, horizon, "amount", booster, level, 1.0, scale, weight=share, priced=first))
    return tuple(out)


def _priced(shop: Workshop, plan: Plan, chosen: Choice, when: dt.date, say: Say) -> Priced | None:
    """Expected orders x order value with its share; None where it has none. The first head of spend carries it."""
    # Like the renewal model's, what ships keeps the test cutoff's: it learns no label, and months hardly move it.
    value = shop.order_value(min(when, plan.test)) if chosen.priced else None
    if chosen.priced and not value:
        say(f"warning: no order value holds at {plan.test}: the boosters take its share of {chosen.priced:.0%}")
    return Priced(chosen.orders, value, chosen.priced) if value else None


def _pool(shop: Workshop, plan: Plan, chosen: Choice, when: dt.date, say: Say) -> Pool | None:
    """The other models that have a share in churn, learnt by ``when``; None where none has."""
    if not chosen.linear_share and not chosen.renewal_share:
        return None
    # What ships keeps the renewal model of the test cutoff: it learns no label, and months hardly move it.
    found = shop.renewal(min(when, plan.test), plan.horizon_days) if chosen.renewal_share else None
    if chosen.renewal_share and not found:
        count = len(shop.rows([plan.test]))
        say(f"warning: no renewal model holds at {plan.test}, where {count:,} customers are judged: the booster takes "
            f"its share of {chosen.renewal_share:.0%}, and the map was made with it")  # fmt: skip
    linear = shop.linear(Lesson(plan, when), chosen.linear_c) if chosen.linear_share else None
    return Pool(btyd.renewal(found) if found else None, chosen.renewal_share if found else 0.0,
                linear, chosen.linear_share)  # fmt: skip
