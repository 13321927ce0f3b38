"""A renewal model that has a share at the validation origins and cannot be fitted at the test cutoff is told."""

from __future__ import annotations

import dataclasses

import pytest
import sim

from churn_clv import recipe, training


def test_a_renewal_model_that_fails_at_the_test_cutoff_alone_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It had a share at the origins, and the calibration map was made with it."""
    judged = training.judge(sim.log(), sim.settings())
    chosen = dataclasses.replace(judged.chosen, renewal_share=0.3)
    monkeypatch.setattr(recipe, "choose", lambda shop, plan: chosen)

    def told() -> tuple[training.Judged, list[str]]:
        said: list[str] = []
        found = training.judge_at(judged.shop, judged.plan, {}, said.append)
        return found, [text for text in said if text.startswith("warning: ")]

    whole, silent = told()
    assert silent == [] and whole.heads[0].pool is not None and whole.heads[0].pool.renewal_share == 0.3
    monkeypatch.setattr(judged.shop, "renewal", lambda when, horizon_days: None)
    without, [warning] = told()
    pool = without.heads[0].pool
    assert pool is not None and (pool.renewal, pool.renewal_share) == (None, 0.0)
    assert f"no renewal model holds at {judged.plan.test}, where {judged.test.height:,} customers" in warning
    assert "its share of 30%" in warning
