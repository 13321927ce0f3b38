"""Whether a booster's text is whole, before LightGBM reads it.

LightGBM believes its text: where one was cut or changed it reads beyond the end, follows a node to itself or asks for a
column that is not there, which ends the process, today or for another row. So every length, place and number of a tree
is looked at first. Format: v4, as LightGBM 4 writes it. Trees with categories or linear leaves are none of ours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

HEADER = ("version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "feature_names",
          "feature_infos", "tree_sizes")  # fmt: skip
MISSING_TYPES = range(0, 12, 2)  # decision_type: whether the missing go left (2), by which rule (4, 8); 1: a category
OF_LEAVES = ("leaf_value", "leaf_weight", "leaf_count")
OF_NODES = ("split_gain", "threshold", "internal_value", "internal_weight", "internal_count")
COUNTS = ("leaf_count", "internal_count")
OF_SPLITS = ("split_feature", "decision_type", "left_child", "right_child")
# What follows the trees, whose lines LightGBM takes apart without a look at them.
REST = re.compile(
    r"end of trees\n\nfeature_importances:\n([^\s=]+=[0-9]+\n)*"
    r"\nparameters:\n(\[[a-z0-9_]+: [^\n]*\]\n)+\nend of parameters\n(\npandas_categorical:[^\n]*\n)?"
)


def unsound(text: str) -> str:
    """What is wrong with a booster's text; "" where LightGBM can read it, whatever it then says."""
    try:
        _check(text)
    except (ValueError, KeyError, IndexError) as error:
        return f"{error}"[:200] or type(error).__name__
    return ""


def _check(text: str) -> None:
    _must(text.replace("\n", "").isprintable(), "it holds characters that LightGBM never writes")
    start = text.find("\nTree=0\n") + 1
    _must(start > 0 and text.startswith("tree\n"), "its head or its first tree is missing")
    head = _pairs(text[len("tree\n") : start].split("\n"))
    _must(set(HEADER) <= set(head), "its head is not whole")
    _must(head["version"] == "v4", "it is of another version of the format")
    _must(head["num_class"] == head["num_tree_per_iteration"] == "1", "it is of several classes")
    columns = _whole(head["max_feature_idx"])[0] + 1
    _must(0 <= _whole(head["label_index"])[0] <= columns, "its label is no column")
    for name in ("feature_names", "feature_infos"):
        _must(len(head[name].split(" ")) == columns, f"it has not as many {name} as columns")
    for number, size in enumerate(_whole(head["tree_sizes"])):
        end = start + size
        _must(size > 0 and end <= len(text), f"it ends within tree {number}")
        _check_tree(text[start:end], number, columns)
        start = end
    _must(REST.fullmatch(text, start) is not None, "what follows its trees is not where or what its head says")


def _check_tree(text: str, number: int, columns: int) -> None:
    lines = text.split("\n")
    _must(text.isascii(), f"tree {number} holds characters that LightGBM never writes")
    _must(
        lines[0] == f"Tree={number}" and lines[-3:] == [""] * 3 and all(lines[:-3]),
        f"tree {number} is cut or out of its place",
    )
    tree = _pairs(lines[1:])
    (leaves,) = _whole(tree["num_leaves"])
    nodes = leaves - 1
    _must(leaves > 0, f"tree {number} has no leaf")
    _must(tree["num_cat"] == "0" and tree.get("is_linear", "0") == "0", f"tree {number} is of another kind")
    _must(math.isfinite(float(tree["shrinkage"])), f"tree {number} has no shrinkage")
    if nodes == 0:
        _must(math.isfinite(float(tree["leaf_value"])), f"tree {number} has not one value")
        return
    for names, length in ((OF_LEAVES, leaves), (OF_NODES, nodes)):
        for name in names:
            values = [(int if name in COUNTS else float)(word) for word in _words(tree[name])]
            _must(len(values) == length, f"tree {number} has not {length} of {name}")
            # A split into missing and not is written as the threshold inf.
            wrong = {"threshold": math.isnan, "leaf_value": lambda value: not math.isfinite(value)}.get(name)
            _must(wrong is None or not any(map(wrong, values)), f"tree {number} has a {name} that is no number")
    feature, decision, left, right = (_whole(tree[name]) for name in OF_SPLITS)
    _must(len(feature) == len(decision) == len(left) == len(right) == nodes, f"tree {number} has not {nodes} splits")
    _must(all(0 <= f < columns for f in feature), f"tree {number} splits on a column that is not there")
    _must(all(d in MISSING_TYPES for d in decision), f"tree {number} decides in an unknown way")
    _must(_is_tree(left, right), f"tree {number} is no tree")


def _is_tree(left: Sequence[int], right: Sequence[int]) -> bool:
    """Whether every node but the first and every leaf (~leaf) hangs on one node, and all on the first."""
    met, waiting = set(), [0]
    while waiting:
        place = waiting.pop()
        if place in met or not -len(left) - 1 <= place < len(left):
            return False
        met.add(place)
        if place >= 0:
            waiting += left[place], right[place]
    return len(met) == 2 * len(left) + 1


def _whole(text: str) -> list[int]:
    return [int(word) for word in _words(text)]


def _words(text: str) -> list[str]:
    _must("_" not in text, "a number is written with a _")  # Python reads all of it, LightGBM the first digits
    return text.split(" ")


def _pairs(lines: Sequence[str]) -> dict[str, str]:
    """``key=value`` of each line that is not empty; none twice."""
    found: dict[str, str] = {}
    for line in lines:
        if line:
            key, sign, value = line.partition("=")
            _must(bool(sign) and key not in found, "a line is out of its place")
            found[key] = value
    return found


def _must(held: bool, wrong: str) -> None:
    if not held:
        raise ValueError(wrong)
