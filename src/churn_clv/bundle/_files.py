"""A bundle on disk: written aside and renamed, verified before anything is parsed, loaded and proved."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import lightgbm as lgb
import yaml

from churn_clv import config, segments
from churn_clv.bundle._model import Bundle
from churn_clv.bundle._proof import (
    BundleError,
    FormatError,
    as_json,
    feature_entries,
    golden_answers,
    head_file,
    installed,
    prove,
    prove_alone,
    same_code,
    whole_file,
)
from churn_clv.bundle._reference import Reference
from churn_clv.bundle._targets import TargetReference
from churn_clv.errors import UserError
from churn_clv.models import outlook, usual
from churn_clv.models.interval import ByOrders, Interval
from churn_clv.models.linear import Linear
from churn_clv.models.loss import LossTable
from churn_clv.models.margin import Margin
from churn_clv.models.predict import Head, Pool
from churn_clv.models.priced import OrderValue, Priced
from churn_clv.models.renewal import Renewal
from churn_clv.models.retention import Retention
from churn_clv.models.sound import unsound
from churn_clv.models.steps import Steps
from churn_clv.timeline import Definitions

MANIFEST = "manifest.json"
FORMAT = 6
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
# Where a bundle knows segments: one more file, which older ones have not, and which is verified like all others.
SEGMENTS = "segments.json"


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
        raw = as_json(manifest).encode()
        _write(aside / MANIFEST, raw)
        aside.chmod(0o755)
        os.replace(aside, folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return hashlib.sha256(raw).hexdigest()


def verify(folder: Path) -> dict[str, Any]:
    """The manifest of a bundle whose every file has the recorded SHA-256 sum; raises BundleError otherwise.

    FormatError, a BundleError, where only its format is another. Parses nothing but the manifest. The returned
    dictionary also holds ``version``, the manifest's own sum.
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
        raise FormatError(
            f"{folder}: bundle format {manifest['format']}, this version reads {FORMAT}. Retrain.",
            hashlib.sha256(raw).hexdigest(),
        )
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
    same_code(parts["features.json"], definitions, manifest)
    bundle = Bundle(
        definitions=definitions,
        heads=tuple(_load_head(folder, h, manifest["files"]) for h in parts["heads.json"]),
        reference=_load_reference(parts["reference.json"]),
        config=config.from_dict(yaml.safe_load((folder / "config.yaml").read_text()), where=str(folder)),
        trained_through=dt.date.fromisoformat(manifest["trained_through"]),
        report=parts["report.json"],
        manifest=manifest,
        version=manifest["version"],
        segments=segments.from_json(parts[SEGMENTS]) if SEGMENTS in parts else None,
    )
    prove(bundle, parts["golden.json"])
    prove_alone(bundle, parts["golden.json"])
    return bundle


def segments_of(folder: Path) -> segments.Segments | None:
    """The segments of a bundle that is not loaded, to name new clusters after; None where it holds none to be read."""
    try:
        held = SEGMENTS in verify(folder)["files"]
        return segments.from_json(json.loads((folder / SEGMENTS).read_text())) if held else None
    except (BundleError, ValueError, KeyError, TypeError):
        return None


def _contents(bundle: Bundle) -> dict[str, str]:
    """File name -> text of everything but the manifest."""
    reference = asdict(bundle.reference)
    heads = [
        {"file": head_file(h), "target": h.target, "horizon_days": h.horizon_days, "kind": h.kind,
         "intercept": h.intercept, "slope": h.slope, "scale": h.scale, "edges": list(h.edges), "weight": h.weight,
         "whole": whole_file(h) if h.whole else None, "pool": asdict(h.pool) if h.pool else None,
         "priced": asdict(h.priced) if h.priced else None}
        for h in bundle.heads
    ]  # fmt: skip
    return {
        "definitions.json": as_json(bundle.definitions.model_dump(mode="json")),
        "features.json": as_json(feature_entries(bundle.definitions)),
        "heads.json": as_json(heads),
        "reference.json": as_json(reference),
        "report.json": as_json(bundle.report),
        "golden.json": as_json(golden_answers(bundle)),
        "config.yaml": config.to_yaml(bundle.config),
        **({SEGMENTS: as_json(segments.to_json(bundle.segments))} if bundle.segments else {}),
        **{head_file(h): h.booster.model_to_string() for h in bundle.heads},
        **{whole_file(h): h.whole.model_to_string() for h in bundle.heads if h.whole},
    }


def _load_head(folder: Path, entry: Mapping[str, Any], listed: Mapping[str, str]) -> Head:
    def booster(name: str) -> lgb.Booster:
        if name not in listed:
            raise BundleError(f"{folder}: the booster '{name}' is not in the manifest. Publish the bundle again.")
        text = (folder / name).read_text(encoding="utf-8")
        if why := unsound(text):
            raise BundleError(f"{folder}: the booster '{name}' is malformed: {why}. Publish the bundle again.")
        return lgb.Booster(model_str=text)

    numbers = {k: entry[k] for k in ("target", "horizon_days", "kind", "intercept", "slope", "scale", "weight")}
    pool = _load_pool(entry["pool"]) if entry["pool"] else None
    whole = booster(entry["whole"]) if entry["whole"] else None
    priced = _load_priced(entry["priced"]) if entry["priced"] else None
    return Head(booster=booster(entry["file"]), edges=tuple(entry["edges"]), pool=pool, whole=whole, priced=priced,
                **numbers)  # fmt: skip


def _load_pool(entry: Mapping[str, Any]) -> Pool:
    linear = entry["linear"]
    if linear is not None:
        linear = Linear(linear["intercept"], *(tuple(linear[k]) for k in ("middle", "weight", "missing")))
    renewal = Renewal(**entry["renewal"]) if entry["renewal"] else None
    table = entry.get("table")  # bundles of before have none
    steps = Steps(table["column"], tuple(table["cuts"]), tuple(table["levels"])) if table else None
    return Pool(renewal, entry["renewal_share"], linear, entry["linear_share"], steps, entry.get("table_share", 0.0))


def _load_priced(entry: Mapping[str, Any]) -> Priced:
    return Priced(outlook.orders_from_json(entry["orders"]), OrderValue(**entry["value"]), entry["share"])


def _load_reference(entry: Mapping[str, Any]) -> Reference:
    return Reference(
        quantiles=tuple(entry["quantiles"]),
        base_rate=entry["base_rate"],
        band_edges=tuple(entry["band_edges"]),
        band_names=tuple(entry["band_names"]),
        interval=_load_interval(entry["interval"]) if entry["interval"] else None,
        retention=_load_retention(entry["retention"]) if entry["retention"] else None,
        targets={
            name: TargetReference(tuple(t["quantiles"]), t["base"], tuple(t["band_edges"]), _load_usual(t.get("usual")))
            for name, t in entry["targets"].items()
        },
        outlook=outlook.from_json(entry["outlook"]) if entry["outlook"] else None,
        loss=LossTable(tuple(entry["loss"]["knots"]), tuple(entry["loss"]["share"])) if entry["loss"] else None,
        usual=_load_usual(entry["usual"]),
    )


def _load_usual(entry: Mapping[str, Any] | None) -> usual.Usual | None:
    return usual.from_json(entry) if entry else None


def _load_retention(entry: Mapping[str, Any]) -> Retention:
    money, active = ({name: tuple(curve) for name, curve in entry[k].items()} for k in ("money", "active"))
    margin = Margin(**entry["margin"]) if entry.get("margin") else None  # a bundle of before there were margins
    return Retention(entry["window_days"], entry["matured"], money, entry["spend"], active, margin)


def _load_interval(entry: Mapping[str, Any]) -> ByOrders:
    def one(part: Mapping[str, Any]) -> Interval:
        return Interval(tuple(part["knots"]), tuple(part["low"]), tuple(part["high"]))

    return ByOrders(one(entry["pooled"]), {name: one(part) for name, part in entry["strata"].items()})


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
