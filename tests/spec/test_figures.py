"""Figures: the marks stand where a hand calculation puts them, and the titles say what the numbers say."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure

from churn_clv import figures

# 100 customers: the k-th tenth by probability holds 100 * 0.1k - 5 percent predicted, and LABELS[k] churners of ten.
LABELS = [0, 1, 2, 4, 3, 5, 6, 8, 9, 10]
P = np.repeat(np.arange(10) / 10 + 0.05, 10) + np.tile(np.arange(10) - 4.5, 10) / 1000
Y = np.concatenate([[1.0] * k + [0.0] * (10 - k) for k in LABELS])
IMPORTANCE = pl.DataFrame({"feature": ["a", "b", "c"], "churn_gain": [1.0, 6.0, 3.0], "spend_gain": [0.0, 0.0, 0.0]})


def rung(name: str, auc: float | None, gini: float | None = None) -> dict[str, Any]:
    return {"rung": name, "metrics": {"churn_auroc": auc, "spend_gini": gini, "churn_ece_floor": 0.031}}


def title(figure: Figure, pane: int = 0) -> str:
    return str(figure.axes[pane].get_title(loc="left"))


def points(figure: Figure, label: str, pane: int = 0) -> np.ndarray[Any, Any]:
    line = next(line for line in figure.axes[pane].lines if line.get_label() == label)
    return np.asarray(line.get_xydata())


def oot(churned: np.ndarray[Any, Any], probability: np.ndarray[Any, Any], spend: Any, expected: Any) -> pl.DataFrame:
    columns = {"churned": churned, "churn_probability": probability, "spend": spend, "expected_spend": expected}
    return pl.DataFrame(columns, schema_overrides={"spend": pl.Float64, "expected_spend": pl.Float64})


def test_reliability_points_are_the_tenths_means() -> None:
    figure = figures.reliability(Y, P, floor=0.031)
    seen = figure.axes[0].containers[0].lines[0].get_xydata()
    assert seen == pytest.approx(np.column_stack([np.arange(10) / 10 + 0.05, np.array(LABELS) / 10]))
    # Each tenth is .05 off, but .15 in tenth 5.
    assert title(figure) == "Churn probabilities miss by 6.0 points on average (chance: 3.1)"


def test_reliability_bars_are_wilsons() -> None:
    low, high = figures._wilson(np.array([0.0, 0.5, 1.0]), 10)
    # Wilson 1927 for 0, 5 and 10 of 10, by hand: z2 = 3.8416; 0.5 -+ sqrt(2.5 + .9604) * 1.96 / 13.8416.
    assert low == pytest.approx([0.0, 0.2366, 0.7225], abs=1e-4)
    assert high == pytest.approx([0.2775, 0.7634, 1.0], abs=1e-4)


def test_reliability_counts_every_customer_in_the_histogram() -> None:
    heights = [bar.get_height() for bar in figures.reliability(Y, P).axes[1].patches]
    assert sum(heights) == 100


def test_lift_bars_fall_from_the_riskiest_tenth() -> None:
    figure = figures.lift(Y, P)
    assert [bar.get_height() for bar in figure.axes[0].patches] == pytest.approx([k / 10 for k in reversed(LABELS)])
    assert title(figure) == "The riskiest tenth churns 2.1 times as often as everyone"  # 1.0 against .48
    assert "2.1x" in [text.get_text() for text in figure.axes[0].texts]


def test_ties_do_not_let_the_order_of_rows_into_a_figure() -> None:
    flat = np.full(100, 0.5)
    for draw in (figures.lift, figures.gains):
        assert title(draw(Y, flat)) == title(draw(Y[::-1], flat))
    assert points(figures.gains(Y, flat), "this model") == pytest.approx(np.array([[0, 0], [1, 1]]))


def test_gains_counts_churners_from_the_riskiest_down() -> None:
    figure = figures.gains(Y, P)
    curve = points(figure, "this model")
    assert curve[20] == pytest.approx([0.2, 19 / 48])
    assert title(figure) == "The riskiest fifth holds 40% of those who churn"
    assert points(figure, "best possible")[1] == pytest.approx([0.48, 1.0])


def test_spend_by_decile_shows_means_and_the_total() -> None:
    expected = np.repeat(np.arange(10, 0, -1) * 10.0, 2)
    spend = expected.copy()
    spend[:2] = [150.0, 250.0]  # the top tenth spends twice what was expected
    figure = figures.spend_by_decile(spend, expected, "GBP")
    assert points(figure, "actual")[:, 1] == pytest.approx([200, 90, 80, 70, 60, 50, 40, 30, 20, 10])
    assert points(figure, "predicted")[:, 1] == pytest.approx(np.arange(100, 0, -10))
    assert title(figure) == "The top tenth brings 31% of the money; the predicted total is 15.4% too low"
    assert "GBP" in figure.axes[0].get_ylabel()


def test_importance_is_sorted_by_share_and_a_head_without_gain_has_no_panel() -> None:
    figure = figures.feature_importance(IMPORTANCE, most=2)
    assert len(figure.axes) == 1
    assert [bar.get_width() for bar in figure.axes[0].patches] == pytest.approx([0.6, 0.3])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["b", "c"]
    assert title(figure) == "churn: the first 2 hold 90%"


def test_ladder_places_each_rung_and_says_where_none_applies() -> None:
    figure = figures.rung_ladder([rung("champion", 0.86, 0.8), rung("recency_rule", 0.79), rung("logistic", 0.85)])
    left, right = figure.axes
    assert [line.get_xydata()[0].tolist() for line in left.lines] == [[0.86, 0], [0.79, 1], [0.85, 2]]
    assert [label.get_text() for label in left.get_yticklabels()] == ["this model", "recency rule", "logistic"]
    assert [text.get_text() for text in right.texts] == ["0.800", "does not apply", "does not apply"]
    assert figure.get_suptitle() == "No rung ranks customers better than this model"


def test_ladder_names_a_rung_that_is_ahead_and_a_tie_is_not_ahead() -> None:
    ahead = figures.rung_ladder([rung("champion", 0.80, 0.7), rung("last_horizon_spend", 0.8, 0.71)])
    assert ahead.get_suptitle() == "Ahead of this model: last horizon spend (spend)"
    tied = figures.rung_ladder([rung("champion", 0.80), rung("logistic", 0.80)])
    assert tied.get_suptitle() == "No rung ranks customers better than this model"


def test_draw_leaves_out_what_the_predictions_do_not_allow() -> None:
    full = {"reliability", "lift", "gains", "spend_by_decile", "importance", "ladder"}
    ladder = [rung("champion", 0.9, 0.8)]
    assert set(figures.draw(oot(Y, P, Y * 3, P), IMPORTANCE, ladder, "EUR")) == full
    assert set(figures.draw(oot(Y, P, None, None), IMPORTANCE, ladder, "EUR")) == full - {"spend_by_decile"}
    assert set(figures.draw(oot(Y * 0, P, Y * 0, P), IMPORTANCE.clear(), [], "EUR")) == set()


def test_saved_pngs_are_pictures_of_modest_size(tmp_path: Path) -> None:
    drawn = figures.draw(oot(Y, P, Y * 3, P), IMPORTANCE, [rung("champion", 0.9)], "EUR")
    paths = figures.save(drawn, tmp_path / "new")
    assert len(paths) == 6
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG\r\n")
        assert 5_000 < path.stat().st_size < 200_000


def test_threads_draw_what_one_thread_draws(tmp_path: Path) -> None:
    def drawn(name: str) -> bytes:
        return figures.save({"lift": figures.lift(Y, P)}, tmp_path / name)[0].read_bytes()

    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(drawn, "abcd")) == {drawn("alone")}


def test_pyplot_and_its_global_state_stay_out() -> None:
    code = "import sys, churn_clv.figures; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
