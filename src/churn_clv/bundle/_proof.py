"""Whether this installation computes what the one that trained did: feature hashes and the golden customers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

import churn_clv
from churn_clv import features, golden, matrix, segments, text, timeline
from churn_clv.bundle._model import Bundle
from churn_clv.errors import UserError
from churn_clv.models.predict import Head, raw_margin
from churn_clv.timeline import Definitions

# Probabilities and money agree across processors to this, features and margins to the bit (contract K2).
TOLERANCE = 1e-12
# Of the segments those that no prediction decides: a last bit of one could move a customer across an edge.
UNPREDICTED = (*segments.SCORES, segments.GROUP, segments.STAGE, segments.CLUSTER)


class BundleError(UserError):
    """A bundle that is damaged, tampered with, or made by other feature code."""


class FormatError(BundleError):
    """A bundle of another format than this version reads; ``version`` is its manifest's own SHA-256 sum."""

    def __init__(self, text: str, version: str) -> None:
        super().__init__(text)
        self.version = version


def installed() -> str:
    """The version of churn_clv that runs."""
    return churn_clv.__version__


def feature_entries(definitions: Definitions) -> list[dict[str, Any]]:
    """The feature dictionary: name, family, meaning, null policy, window and definition hash, in matrix order."""
    by_name = {f.name: f for f in features.catalogue(definitions)}
    sums = features.hashes(by_name.values())
    return [
        {
            "name": name,
            "family": family,
            "meaning": by_name[name].meaning,
            "nulls": by_name[name].nulls,
            "window_days": by_name[name].window_days,
            "hash": sums[name],
        }
        for name, family in features.family_of(definitions).items()
    ]


def golden_answers(bundle: Bundle) -> dict[str, Any]:
    """The golden customers' features, margins and predictions as this installation computes them."""
    frame, cutoff = golden.histories(bundle.definitions)
    pairs = timeline.pairs_of(frame["customer_id"].unique(), [cutoff])
    rows = matrix.build(frame, pairs, bundle.definitions)
    # Every golden customer is predicted, eligible or not: more branches of the trees are walked.
    values = {head_file(h): bundle.values(rows, h) for h in bundle.heads}
    return {
        "cutoff": cutoff.isoformat(),
        "eligible": rows["eligible"].to_list(),
        "features": {c: rows[c].to_list() for c in bundle.features},
        "margins": {head_file(h): h.margin(values[head_file(h)]).tolist() for h in bundle.heads}
        | {whole_file(h): raw_margin(h.whole, values[head_file(h)]).tolist() for h in bundle.heads if h.whole},
        "predictions": {head_file(h): h.predict(values[head_file(h)]).tolist() for h in bundle.heads},
    } | _golden_segments(bundle, frame, pairs)


def _golden_segments(bundle: Bundle, frame: pl.DataFrame, pairs: pl.DataFrame) -> dict[str, Any]:
    """UNPREDICTED of the golden customers, where the bundle knows segments."""
    if bundle.segments is None:
        return {}
    return {"segments": bundle.score_pairs(frame, pairs).select(*UNPREDICTED).to_dict(as_series=False)}


def prove(bundle: Bundle, expected: Mapping[str, Any]) -> None:
    """Compare the golden customers with what was recorded at training."""
    found = json.loads(as_json(golden_answers(bundle)))
    wrong = [c for c in expected["features"] if found["features"].get(c) != expected["features"][c]]
    if wrong:
        raise BundleError(
            f"{len(wrong)} feature(s) of the golden customers come out differently here ({', '.join(wrong[:5])}). "
            f"{_remedy(bundle.manifest)}"
        )
    close = all(
        np.allclose(found["predictions"][h], expected["predictions"][h], rtol=TOLERANCE, atol=TOLERANCE)
        for h in expected["predictions"]
    )
    if found.get("segments") != expected.get("segments"):
        raise BundleError(f"the golden customers belong to other segments here. {_remedy(bundle.manifest)}")
    if found["margins"] != expected["margins"] or found["eligible"] != expected["eligible"] or not close:
        raise BundleError(
            "the golden customers are scored differently here. Install the locked requirements (LightGBM "
            f"{bundle.manifest['libraries']['lightgbm']}), or retrain."
        )


def prove_alone(bundle: Bundle, expected: Mapping[str, Any]) -> None:
    """One golden customer alone must come out as among the others: what the service computes is what batch does."""
    frame, cutoff = golden.histories(bundle.definitions)
    for place, name in enumerate(sorted(frame["customer_id"].unique())):
        own = frame.filter(pl.col("customer_id") == name)
        row = matrix.build(own, timeline.pairs_of([name], [cutoff]), bundle.definitions)
        wrong = [c for c in bundle.features if row[c][0] != expected["features"][c][place]]
        if wrong:
            raise BundleError(
                f"{len(wrong)} feature(s) of a golden customer alone differ from those among others "
                f"({', '.join(wrong[:5])}). {_remedy(bundle.manifest)}"
            )


def same_code(entries: list[dict[str, Any]], definitions: Definitions, manifest: Mapping[str, Any]) -> None:
    """Raise BundleError where features, or texts, would come out otherwise than where the bundle was trained."""
    try:
        text.require(definitions.rules.text)
    except UserError as error:
        raise BundleError(str(error)) from None
    there = {e["name"]: e["hash"] for e in entries}
    here = {e["name"]: e["hash"] for e in feature_entries(definitions)}
    changed = [n for n in there if here.get(n) != there[n]] + [n for n in here if n not in there]
    if changed:
        raise BundleError(
            f"{len(changed)} feature definition(s) differ from the installed code ({', '.join(changed[:5])}). "
            f"{_remedy(manifest)}"
        )


def _remedy(manifest: Mapping[str, Any]) -> str:
    """What to do about a bundle that other code made."""
    made_by = manifest["libraries"]["churn_clv"]
    if made_by == installed():
        return f"The code was edited since, or other libraries are installed than {made_by}'s locked ones: retrain."
    return f"Install churn_clv {made_by} with its locked requirements (this is {installed()}), or retrain."


def head_file(head: Head) -> str:
    return f"{head.target}_{head.horizon_days}d.txt"


def whole_file(head: Head) -> str:
    """The file of a hazard head's second booster, which sees the horizon as a whole."""
    return f"{head.target}_{head.horizon_days}d_whole.txt"


def as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, indent=1, allow_nan=False)
