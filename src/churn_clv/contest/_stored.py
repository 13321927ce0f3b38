"""Whether two stored runs may be compared at all: one question, one key, and predictions that were judged."""

from __future__ import annotations

import json

from churn_clv.errors import UserError
from churn_clv.succession import check_judged
from churn_clv.tracking import QUESTION, Stored, differences


def check(a: Stored, b: Stored) -> None:
    """Raise UserError where the two runs are one, ask different questions, hide customers differently, or were not
    judged out of time."""
    if a.run_id == b.run_id:
        raise UserError(f"both are run {a.run_id}. Name two runs.")
    if a.tags.get(QUESTION) != b.tags.get(QUESTION):
        told = differences(a.parts, b.parts) if a.parts and b.parts else [_seen(a, b)]
        raise UserError(
            "the two runs answer different questions, so they cannot be compared:\n  "
            + "\n  ".join(told) + "\nCompare runs of one question."
        )  # fmt: skip
    if a.tags.get("id_key") != b.tags.get("id_key"):
        raise UserError(
            f"the runs hide their customers behind different keys ({a.tags.get('id_key')}, {b.tags.get('id_key')}), so "
            f"no customer of one can be found in the other. Train one of them again with the other's key "
            f"(CHURN_CLV_ID_KEY, or id.key in its `out` folder)."
        )
    for run in (a, b):
        check_judged(run.run_id, run.document, run.oot)


def _seen(a: Stored, b: Stored) -> str:
    names = ("dataset", "horizon_days")
    return "; ".join(f"{n}: {json.dumps(a.tags.get(n))} and {json.dumps(b.tags.get(n))}" for n in names)
