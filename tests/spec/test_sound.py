"""A booster's text is looked at before LightGBM reads it: what that writes passes, what would end the process not."""

from __future__ import annotations

import hashlib
import json
import random
import re
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

from churn_clv.bundle import Bundle, BundleError, load_bundle, save
from churn_clv.models.sound import unsound

OBJECTIVES = ("binary", "tweedie", "poisson", "regression")
GIVEN: tuple[dict[str, object], ...] = (
    {}, {"min_data_in_leaf": 400}, {"max_depth": 1}, {"monotone_constraints": [1, 0, 0]}, {"learning_rate": 1e-12}
)  # fmt: skip


def learnt(objective: str = "binary", **given: object) -> str:
    draw = np.random.default_rng(3)
    values = draw.normal(size=(300, 3))
    values[draw.random(values.shape) < 0.1] = np.nan
    answers = (np.nan_to_num(values[:, 0]) + draw.normal(size=300) > 0).astype(float)
    settings = {"objective": objective, "verbosity": -1, "num_leaves": 5, "num_threads": 1, **given}
    return str(lgb.train(settings, lgb.Dataset(values, answers), 4).model_to_string())


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("given", GIVEN)
def test_what_lightgbm_writes_is_sound(objective: str, given: dict[str, object]) -> None:
    text = learnt(objective, **given)
    assert unsound(text) == ""
    assert unsound(lgb.Booster(model_str=text).model_to_string(num_iteration=2)) == ""


def test_a_split_into_missing_and_not_is_sound() -> None:
    """LightGBM writes its threshold as inf."""
    values = np.where(np.arange(200) % 2, np.nan, np.arange(200.0) % 50)[:, None]
    answers = np.isnan(values[:, 0]).astype(float)
    booster = lgb.train(
        {"objective": "binary", "verbosity": -1, "num_leaves": 2, "num_threads": 1}, lgb.Dataset(values, answers), 1
    )
    text = booster.model_to_string()
    assert re.search(r"^threshold=inf$", text, re.MULTILINE)
    assert unsound(text) == ""


@pytest.mark.parametrize("seed", range(20))
def test_what_lightgbm_writes_of_odd_columns_is_sound(seed: int) -> None:
    """Columns that are constant, missing, without end, huge or of few values; weights and targets of every size."""
    draw = np.random.default_rng(seed)
    rows = int(draw.integers(50, 400))
    columns = [
        draw.normal(size=rows),
        np.full(rows, draw.choice([0.0, np.nan, 7.0])),
        draw.choice([np.nan, np.inf, -np.inf, 0.0, 1.0], rows),
        draw.normal(size=rows) * 10.0 ** draw.integers(-300, 300),
        draw.integers(0, 3, rows).astype(float),
        np.where(draw.random(rows) < 0.9, np.nan, 1.0),
    ]
    values = np.column_stack(columns)
    objective = OBJECTIVES[seed % len(OBJECTIVES)]
    answers = (np.isnan(values[:, int(draw.integers(6))]) + draw.random(rows) * 0.9).astype(int).astype(float)
    answers[0] = 1.0  # a sum of 0 is refused by two of the four
    if objective != "binary":
        answers = answers * 10.0 ** draw.integers(-9, 9)
    settings = {
        "objective": objective, "verbosity": -1, "num_threads": 1, "min_data_in_leaf": int(draw.integers(1, 30)),
        "num_leaves": int(draw.integers(2, 40)), "zero_as_missing": bool(draw.integers(2)), "seed": seed,
        "feature_fraction": 0.7, "use_missing": bool(draw.integers(4)),
    }  # fmt: skip
    data = lgb.Dataset(values, answers, weight=draw.random(rows) * 10.0 ** draw.integers(-6, 6))
    assert unsound(lgb.train(settings, data, 20).model_to_string()) == ""


def test_no_text_that_ends_early_is_sound() -> None:
    text = learnt()
    end = text.index("end of parameters\n") + len("end of parameters\n")
    assert unsound(text[:end]) == "" and unsound(text[: end + 1]) != ""
    for length in (*range(0, end, 41), *range(end - 30, end)):
        assert unsound(text[:length]) != "", length


def changed(text: str, key: str, change: dict[int, str], tree: int = 1) -> str:
    """A booster's text with some of the values of a key of one tree written otherwise, and its sizes made to match."""
    start = text.index(f"Tree={tree}\n")
    line = re.compile(rf"^{key}=(.*)$", re.MULTILINE).search(text, start)
    assert line is not None
    values = line[1].split(" ")
    for place, value in change.items():
        values[place] = value
    new = f"{key}={' '.join(value for value in values if value)}"
    sizes = re.search(r"^tree_sizes=(.*)$", text, re.MULTILINE)
    assert sizes is not None
    told = [int(size) for size in sizes[1].split(" ")]
    told[tree] += len(new) - len(line[0])
    text = text[: line.start()] + new + text[line.end() :]
    return text.replace(sizes[0], f"tree_sizes={' '.join(map(str, told))}")


@pytest.mark.parametrize(
    ("key", "change", "told"),
    [
        ("leaf_value", {0: "0.5"}, ""),
        ("left_child", {0: "0"}, "is no tree"),  # a node that follows itself: a walk without end
        ("right_child", {0: "4"}, "is no tree"),
        ("right_child", {0: "-9"}, "is no tree"),
        ("left_child", {-1: "-1"}, "is no tree"),
        ("split_feature", {0: "3"}, "splits on a column that is not there"),
        ("split_feature", {0: "-1"}, "splits on a column that is not there"),
        ("decision_type", {0: "1"}, "decides in an unknown way"),
        ("num_leaves", {0: "6"}, "has not 6 of leaf_value"),
        ("num_leaves", {0: "0"}, "has no leaf"),
        ("num_cat", {0: "1"}, "is of another kind"),
        ("is_linear", {0: "1"}, "is of another kind"),
        ("threshold", {0: "nan"}, "has a threshold that is no number"),
        ("threshold", {0: ""}, "of threshold"),
        ("leaf_value", {1: "inf"}, "has a leaf_value that is no number"),
        ("leaf_count", {1: ""}, "of leaf_count"),
        ("split_feature", {1: ""}, "splits"),
        ("left_child", {0: "1_0"}, "written with a _"),
        ("leaf_count", {0: "1.5"}, "invalid literal"),
        ("threshold", {0: "x"}, "could not convert"),
    ],
)
def test_a_tree_is_what_its_numbers_say(key: str, change: dict[int, str], told: str) -> None:
    text = learnt()
    assert "num_leaves=5" in text[text.index("Tree=1\n") :][:40]
    found = unsound(changed(text, key, change))
    assert told in found and bool(told) == bool(found)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("tree\n", "forest\n", "its head or its first tree"),
        ("version=v4", "version=v3", "another version"),
        ("num_class=1", "num_class=2", "several classes"),
        ("num_class=1\n", "", "its head is not whole"),
        ("num_class=1\n", "num_class=1\nnum_class=1\n", "out of its place"),
        ("max_feature_idx=2", "max_feature_idx=9", "as many feature_names"),
        ("label_index=0", "label_index=70", "its label is no column"),
        ("tree_sizes=", "tree_sizes=9", "tree 0"),
        ("Tree=2", "Tree=7", "tree 2 is cut or out of its place"),
        ("shrinkage=0.1", "shrinkage_0.1", "out of its place"),
        ("end of trees", "end of treez", "what follows its trees"),
        ("[seed: ", "[seed; ", "what follows its trees"),
        ("feature_importances:\n", "feature_importances:\n[seed: 7]\n", "what follows its trees"),
        ("Column_1", "Column\0_1", "never writes"),
        ("Column_1", "Column_\r", "never writes"),  # which LightGBM takes for the end of a line
        ("leaf_count=", "leaf_count=\t", "never writes"),
        ("leaf_value=", "leaf_valué", "never writes"),
        ("Column_1", "Größe_1", ""),  # users name their event types
    ],
)
def test_head_and_end_are_where_they_belong(old: str, new: str, told: str) -> None:
    text = learnt()
    found = unsound(text.replace(old, new, 1))
    assert old in text and told in found and bool(told) == bool(found)


def test_a_bundle_whose_booster_was_cut_is_refused_by_name(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Also in its parameters, beyond the trees, where LightGBM reads on behind the end [seen: one load of two died]."""
    save(tiny_bundle, tmp_path / "b")
    path = next((tmp_path / "b").glob("churned_*d_whole.txt"))
    whole = path.read_bytes()
    draw = random.Random(1)
    for at in (whole.index(b"[monotone_con") + 9, *(draw.randrange(len(whole)) for _ in range(3))):
        path.write_bytes(whole[:at])
        manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
        manifest["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        (tmp_path / "b" / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(BundleError, match=rf"the booster '{path.name}' is malformed"):
            load_bundle(tmp_path / "b")
