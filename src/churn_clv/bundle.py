"""What ships: boosters, calibration, definitions, column order and reference; saved, verified, loaded, predicting.

A bundle is a folder of text: LightGBM's own format and JSON, under a manifest of SHA-256 sums. Nothing in it is
executed and no customer is in it. LightGBM kills the process on a damaged file, so the manifest is verified before
anything is parsed; the golden customers then prove that this installation computes the same numbers.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np
import polars as pl
import yaml

import churn_clv
from churn_clv import config, events, features, golden, matrix, timeline
from churn_clv.errors import UserError
from churn_clv.models.predict import Floats, Head
from churn_clv.timeline import Definitions

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = "manifest.json"
FORMAT = 1
# What every bundle holds beside its boosters. Only what the manifest lists is ever read.
FILES = (
    "config.yaml",
    "definitions.json",
    "features.json",
    "golden.json",
    "heads.json",
    "reference.json",
    "report.json",
)
QUANTILES = 1001
# Probabilities and money agree across processors to this, features and margins to the bit (contract K2).
TOLERANCE = 1e-12


class BundleError(UserError):
    """A bundle that is damaged, tampered with, or made by other feature code."""


@dataclass(frozen=True)
class Reference:
    """Frozen at training: the judged scores' quantiles, the base rate, and the bands' edges and names."""

    quantiles: tuple[float, ...]
    base_rate: float
    band_edges: tuple[float, ...]
    band_names: tuple[str, ...]


@dataclass(frozen=True)
class Bundle:
    """A verified model of one question, ready to predict. Build with ``training.train`` or ``load_bundle``."""

    definitions: Definitions
    heads: tuple[Head, ...]
    reference: Reference
    config: config.Config
    trained_through: dt.date
    report: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    version: str = ""

    @cached_property
    def features(self) -> tuple[str, ...]:
        """The matrix's columns in the order the boosters know them."""
        return features.names(self.definitions)

    @property
    def base_rate(self) -> float:
        """Share churned among the eligible at the test cutoff."""
        return self.reference.base_rate

    @property
    def currency(self) -> str:
        """The declared currency of all money."""
        return self.definitions.rules.currency

    @property
    def horizon_days(self) -> int:
        """How far the predictions look."""
        return self.definitions.horizon_days

    @property
    def event_types(self) -> tuple[str, ...]:
        """Purchases, returns, and the other types that the log held at training."""
        return tuple(sorted({"purchase", "return", *self.definitions.event_types}))

    def head(self, target: str) -> Head | None:
        """The head of a target, or None where the bundle has none."""
        return next((h for h in self.heads if h.target == target), None)

    def score(self, frame: pd.DataFrame | pl.DataFrame, cutoff: dt.date | str) -> pd.DataFrame | pl.DataFrame:
        """Predictions for every known customer of a frame of plain event columns; the same kind of frame back.

        ``frame`` has customer_id and time, and event_type, amount (major units), ... as ``read_log`` describes;
        events at or after ``cutoff`` (a local midnight) are ignored. Raises UserError on columns of a wrong type.
        """
        plain = events.to_polars(frame)
        log, _ = events.without_repeats(events.canonical(plain, self.definitions.rules))
        scored = self.score_log(log, as_date(cutoff))
        return scored if isinstance(frame, pl.DataFrame | pl.LazyFrame) else scored.to_pandas()

    def score_log(self, frame: pl.DataFrame, cutoff: dt.date) -> pl.DataFrame:
        """Predictions for every known customer of a canonical log frame, sorted by customer_id."""
        return self.score_pairs(frame, timeline.pairs_of(frame["customer_id"].unique(), [cutoff]))

    def score_pairs(self, frame: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
        """Predictions for the known customers among ``pairs`` (``customer_id``, ``cutoff``), in the matrix's order.

        Events of other types than ``event_types`` are ignored: the model has never met them.
        """
        met = frame.filter(pl.col("event_type").is_in(self.event_types))
        return self.predict(matrix.build(met, pairs, self.definitions))

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Predictions for a matrix, in its order; null for ineligible customers.

        Columns: customer_id, cutoff, eligible, reason, churn_probability, percentile_in_reference (0-100, higher is
        riskier), churn_band, base_rate, expected_spend (major units), currency, horizon_days, in_sample,
        model_version.
        """
        scored = rows.filter("eligible")
        found = scored.select("customer_id", "cutoff").with_columns(
            **self._numbers(matrix.values(scored, self.features))
        )
        out = rows.select(matrix.KEYS).join(found, on=["customer_id", "cutoff"], how="left", maintain_order="left")
        return out.with_columns(
            base_rate=pl.lit(self.base_rate),
            currency=pl.lit(self.currency),
            horizon_days=pl.lit(self.horizon_days),
            in_sample=pl.col("cutoff") < pl.lit(self.trained_through),
            model_version=pl.lit(self.version),
        )

    def _numbers(self, values: Floats) -> dict[str, pl.Series]:
        """The per-customer answers as columns; money is null throughout where there is no spend head."""
        churn, spend = self.head("churned"), self.head("spend")
        assert churn is not None, "a bundle always has a churn head"
        risk = churn.predict(values)
        money = spend.predict(values) if spend else np.full(len(values), np.nan)
        return {
            "churn_probability": pl.Series(risk, dtype=pl.Float64),
            "percentile_in_reference": pl.Series(self._percentile(risk), dtype=pl.Float64),
            "churn_band": pl.Series(self._band(risk), dtype=pl.String),
            "expected_spend": pl.Series(money, dtype=pl.Float64).fill_nan(None),
        }

    def _percentile(self, risk: Floats) -> Floats:
        """Mid-rank position among the frozen quantiles, 0 to 100 (contract K9)."""
        quantiles = np.asarray(self.reference.quantiles)
        below, upto = np.searchsorted(quantiles, risk, "left"), np.searchsorted(quantiles, risk, "right")
        rank = (below + upto) / 2 - 0.5
        return np.clip(rank / (len(quantiles) - 1), 0.0, 1.0) * 100

    def _band(self, risk: Floats) -> list[str]:
        place = np.searchsorted(np.asarray(self.reference.band_edges), risk, "right")
        return [self.reference.band_names[i] for i in place]


def make_reference(judged: Floats, churned: Floats, settings: config.Bundle) -> Reference:
    """Freeze the judged out-of-sample scores of the eligible at the test cutoff (contract K9).

    Default band edges: the base rate, and the probability at twice its odds.
    """
    base = float(np.mean(churned))
    quantiles = np.quantile(judged, np.linspace(0, 1, QUANTILES), method="inverted_cdf")
    edges = settings.band_edges or (base, 2 * base / (1 + base))
    return Reference(tuple(float(q) for q in quantiles), base, tuple(edges), settings.band_names)


# --- on disk ------------------------------------------------------------------------------------
def save(bundle: Bundle, folder: Path) -> str:
    """Write the bundle to a new ``folder`` (which must not exist) at once; returns its version.

    The folder appears complete or not at all: it is written aside and renamed.
    """
    if folder.exists():
        raise UserError(f"{folder} exists already. Give a folder that does not.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".bundle-", dir=folder.parent))
    try:
        files = _contents(bundle)
        for name, text in files.items():
            _write(aside / name, text.encode())
        manifest = {
            "format": FORMAT,
            "dataset": bundle.config.dataset,
            "horizon_days": bundle.horizon_days,
            "trained_through": bundle.trained_through.isoformat(),
            "files": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in sorted(files.items())},
            "libraries": {n: metadata.version(n) for n in ("lightgbm", "numpy", "polars")} | {"churn_clv": installed()},
        }
        raw = _json(manifest).encode()
        _write(aside / MANIFEST, raw)
        aside.chmod(0o755)
        os.replace(aside, folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return hashlib.sha256(raw).hexdigest()


def verify(folder: Path) -> dict[str, Any]:
    """The manifest of a bundle whose every file has the recorded SHA-256 sum; raises BundleError otherwise.

    Parses nothing but the manifest. The returned dictionary also holds ``version``, the manifest's own sum.
    """
    try:
        raw = (folder / MANIFEST).read_bytes()
        manifest: dict[str, Any] = json.loads(raw)
        files: dict[str, str] = dict(manifest["files"])
        known = manifest["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(
            f"{folder} is not a bundle: its {MANIFEST} cannot be read ({type(error).__name__})."
        ) from None
    if not known:
        raise BundleError(f"{folder}: bundle format {manifest['format']}, this version reads {FORMAT}. Retrain.")
    wrong = [name for name, digest in files.items() if _sum_of(folder, name) != digest]
    if wrong:
        raise BundleError(
            f"{folder}: {len(wrong)} of {len(files)} files do not match the manifest ({', '.join(sorted(wrong))}). "
            f"The bundle is damaged or was changed; publish it again."
        )
    return manifest | {"version": hashlib.sha256(raw).hexdigest()}


def version_of(manifest: Mapping[str, Any]) -> str:
    """The SHA-256 sum that names the bundle of a verified manifest."""
    return str(manifest["version"])


def load_bundle(folder: str | Path) -> Bundle:
    """Verify, load and prove a bundle.

    Raises BundleError where a file does not match the manifest, where the installed feature code differs from the
    one that trained it, or where the golden customers come out differently.
    """
    folder = Path(folder)
    manifest = verify(folder)
    if lacking := sorted(set(FILES) - set(manifest["files"])):
        raise BundleError(f"{folder}: its {MANIFEST} lists no {', '.join(lacking)}. Publish the bundle again.")
    parts = {name: json.loads((folder / name).read_text()) for name in manifest["files"] if name.endswith(".json")}
    definitions = Definitions.model_validate(parts["definitions.json"])
    _same_code(parts["features.json"], definitions, manifest)
    bundle = Bundle(
        definitions=definitions,
        heads=tuple(_load_head(folder, h, manifest["files"]) for h in parts["heads.json"]),
        reference=_load_reference(parts["reference.json"]),
        config=config.from_dict(yaml.safe_load((folder / "config.yaml").read_text()), where=str(folder)),
        trained_through=dt.date.fromisoformat(manifest["trained_through"]),
        report=parts["report.json"],
        manifest=manifest,
        version=manifest["version"],
    )
    _prove(bundle, parts["golden.json"])
    _prove_alone(bundle, parts["golden.json"])
    return bundle


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


def _contents(bundle: Bundle) -> dict[str, str]:
    """File name -> text of everything but the manifest."""
    reference = bundle.reference.__dict__
    heads = [
        {"file": _head_file(h), "target": h.target, "horizon_days": h.horizon_days, "kind": h.kind,
         "intercept": h.intercept, "slope": h.slope, "scale": h.scale}
        for h in bundle.heads
    ]  # fmt: skip
    return {
        "definitions.json": _json(bundle.definitions.model_dump(mode="json")),
        "features.json": _json(feature_entries(bundle.definitions)),
        "heads.json": _json(heads),
        "reference.json": _json(reference),
        "report.json": _json(bundle.report),
        "golden.json": _json(_golden(bundle)),
        "config.yaml": config.to_yaml(bundle.config),
        **{_head_file(h): h.booster.model_to_string() for h in bundle.heads},
    }


def _golden(bundle: Bundle) -> dict[str, Any]:
    """The golden customers' features, margins and predictions as this installation computes them."""
    frame, cutoff = golden.histories(bundle.definitions)
    pairs = timeline.pairs_of(frame["customer_id"].unique(), [cutoff])
    rows = matrix.build(frame, pairs, bundle.definitions)
    # Every golden customer is predicted, eligible or not: more branches of the trees are walked.
    values = matrix.values(rows, bundle.features)
    return {
        "cutoff": cutoff.isoformat(),
        "eligible": rows["eligible"].to_list(),
        "features": {c: rows[c].to_list() for c in bundle.features},
        "margins": {_head_file(h): h.margin(values).tolist() for h in bundle.heads},
        "predictions": {_head_file(h): h.predict(values).tolist() for h in bundle.heads},
    }


def _prove(bundle: Bundle, expected: Mapping[str, Any]) -> None:
    """Compare the golden customers with what was recorded at training."""
    found = json.loads(_json(_golden(bundle)))
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
    if found["margins"] != expected["margins"] or found["eligible"] != expected["eligible"] or not close:
        raise BundleError(
            "the golden customers are scored differently here. Install the locked requirements (LightGBM "
            f"{bundle.manifest['libraries']['lightgbm']}), or retrain."
        )


def _prove_alone(bundle: Bundle, expected: Mapping[str, Any]) -> None:
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


def _same_code(entries: list[dict[str, Any]], definitions: Definitions, manifest: Mapping[str, Any]) -> None:
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


def _load_head(folder: Path, entry: Mapping[str, Any], listed: Mapping[str, str]) -> Head:
    if entry["file"] not in listed:
        raise BundleError(f"{folder}: the booster '{entry['file']}' is not in the manifest. Publish the bundle again.")
    text = (folder / entry["file"]).read_text()
    numbers = {k: entry[k] for k in ("target", "horizon_days", "kind", "intercept", "slope", "scale")}
    return Head(booster=lgb.Booster(model_str=text), **numbers)


def _load_reference(entry: Mapping[str, Any]) -> Reference:
    return Reference(
        quantiles=tuple(entry["quantiles"]),
        base_rate=entry["base_rate"],
        band_edges=tuple(entry["band_edges"]),
        band_names=tuple(entry["band_names"]),
    )


def _head_file(head: Head) -> str:
    return f"{head.target}_{head.horizon_days}d.txt"


def _sum_of(folder: Path, name: str) -> str | None:
    """SHA-256 of a plain file directly in the folder; None for anything else (links, folders, paths)."""
    path = folder / name
    if Path(name).name != name or path.is_symlink() or not path.is_file():
        return None
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, indent=1, allow_nan=False)


def as_date(cutoff: dt.date | str) -> dt.date:
    """A cutoff as a date; raises UserError for text that is none."""
    if isinstance(cutoff, dt.datetime):
        cutoff = cutoff.date()
    try:
        return cutoff if isinstance(cutoff, dt.date) else dt.date.fromisoformat(cutoff)
    except ValueError:
        raise UserError(f"cutoff '{cutoff}' is not a date. Give YYYY-MM-DD.") from None
