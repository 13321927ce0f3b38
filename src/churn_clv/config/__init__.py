"""Configuration: one frozen section per YAML section, unknown keys refused, overlays merged left to right.

Defaults live in ``configs/default.yaml`` (shipped in the wheel as ``churn_clv/default.yaml``), complete and
commented; other files are overlays of a few lines. Units stand in the key names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from churn_clv.config._after import Case, Ledger, Loyalty, Programme, Survey, Watch
from churn_clv.config._base import Section
from churn_clv.config._files import parse_yaml, read_yaml, shipped_text
from churn_clv.config._kpis import KPIS, Aim, Cost, Kpis
from churn_clv.config._refused import expected
from churn_clv.config._sections import (
    FEWEST_WINDOWS,
    LETTERS,
    Booster,
    Bundle,
    Features,
    Grade,
    Models,
    Population,
    Promotion,
    Service,
    Simulate,
    Timeline,
    Tracking,
)
from churn_clv.config._segments import (
    LEVELS,
    Bound,
    Cells,
    ClusterFeature,
    Clusters,
    Group,
    Lifecycle,
    Rfm,
    Rule,
    SegmentRules,
    Segments,
    ValueRisk,
    segment_rules,
)
from churn_clv.config._sources import (
    MAPPINGS,
    Attributes,
    Condition,
    Constant,
    Events,
    Identity,
    Mapping,
    Multiply,
    Source,
    When,
)
from churn_clv.config._targets import CORE, Contract, Predicate, Target
from churn_clv.config._text import Text
from churn_clv.config._uri import without_password
from churn_clv.config._whole import Config
from churn_clv.errors import UserError, nearest

__all__ = [
    "CORE",
    "DEFAULT",
    "FEWEST_WINDOWS",
    "KPIS",
    "LETTERS",
    "LEVELS",
    "MAPPINGS",
    "Aim",
    "Attributes",
    "Booster",
    "Bound",
    "Bundle",
    "Case",
    "Cells",
    "ClusterFeature",
    "Clusters",
    "Condition",
    "Config",
    "Constant",
    "Contract",
    "Cost",
    "Events",
    "Features",
    "Grade",
    "Group",
    "Identity",
    "Kpis",
    "Ledger",
    "Lifecycle",
    "Loyalty",
    "Mapping",
    "Models",
    "Multiply",
    "Population",
    "Predicate",
    "Programme",
    "Promotion",
    "Rfm",
    "Rule",
    "Section",
    "SegmentRules",
    "Segments",
    "Service",
    "Simulate",
    "Source",
    "Survey",
    "Target",
    "Text",
    "Timeline",
    "Tracking",
    "ValueRisk",
    "Watch",
    "When",
    "expected",
    "from_dict",
    "load",
    "names_dataset",
    "overlaid",
    "parse_yaml",
    "places",
    "read_yaml",
    "segment_rules",
    "shipped_text",
    "to_yaml",
    "without_password",
]

DEFAULT = "default.yaml"
# The sections whose keys are names that users give.
NAMED = ("targets", "sources", "attributes")


def load(*paths: str | Path, **settings: Any) -> Config:
    """Merge default.yaml, the given overlays, left to right, and ``settings`` by section; check the result.

    ``load("a.yaml", timeline={"horizon_days": 56})`` reads as an overlay with those lines would. Raises UserError
    naming the file, the key, the nearest known key and what is expected.
    """
    return _load(parse_yaml(shipped_text(DEFAULT), DEFAULT), paths, settings)


def overlaid(values: dict[str, Any], *paths: str | Path, **settings: Any) -> Config:
    """The same on top of a resolved config (``to_yaml``'s) instead of the defaults."""
    return _load(values, paths, settings)


def places(*paths: str | Path) -> Config:
    """What overlays say of where things are (``out``, ``tracking``, ``service``, ``actions``); no more."""
    merged = _merged(parse_yaml(shipped_text(DEFAULT), DEFAULT), paths)
    return from_dict({k: merged[k] for k in ("out", "tracking", "service", "actions")} | {"dataset": "unnamed"})


def names_dataset(*paths: str | Path) -> bool:
    """Whether overlays say what data they are of."""
    return "dataset" in _merged(parse_yaml(shipped_text(DEFAULT), DEFAULT), paths)


def _load(values: dict[str, Any], paths: tuple[str | Path, ...], settings: dict[str, Any]) -> Config:
    merged = _merge(_merged(values, paths), settings)
    return from_dict(merged, where=" + ".join(str(p) for p in paths) or DEFAULT)


def _merged(merged: dict[str, Any], paths: tuple[str | Path, ...]) -> dict[str, Any]:
    for path in paths:
        merged = _merge(merged, read_yaml(path, "config file"))
    return merged


def from_dict(values: dict[str, Any], where: str = "config") -> Config:
    """Check a plain dictionary (defaults already merged in) and freeze it."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = [_explain(item) for item in error.errors()]
        raise UserError(f"{where}: {len(lines)} setting(s) refused.\n  " + "\n  ".join(dict.fromkeys(lines))) from None


def to_yaml(config: Config) -> str:
    """The resolved config as YAML; ``load`` of it gives an equal config, but for a password in ``tracking.uri``.

    That one is left out, because many more may read runs, bundles and kept trainings than the store.
    """
    values = config.model_dump(mode="json", by_alias=True)
    if config.tracking.uri is not None:
        values["tracking"]["uri"] = without_password(config.tracking.uri)
    return yaml.safe_dump(values, sort_keys=False)


def _merge(base: dict[str, Any], over: dict[str, Any], within: str = "") -> dict[str, Any]:
    """Sections merge key by key; an empty section changes nothing; a mapping replaces the one before it whole."""
    out = dict(base)
    for key, value in over.items():
        old = out.get(key)
        if value is None and within in NAMED:
            out.pop(key, None)  # an entry of the user's own naming can be taken out again
            continue
        if isinstance(old, dict) and value is None:
            continue
        if isinstance(old, dict) and isinstance(value, dict) and not set(MAPPINGS) & (set(old) | set(value)):
            value = _merge(old, value, key)
        out[key] = value
    return out


def _explain(item: Any) -> str:
    """One pydantic complaint as a line a YAML author can act on."""
    place = [str(part) for part in item["loc"] if not str(part).startswith("<")]
    key = ".".join(place)
    if item["type"] == "extra_forbidden":
        return f"unknown key '{key}'.{nearest(place[-1], _known_keys(item['loc'][:-1]))}"
    if item["type"] == "missing":
        return f"{key}: required, and not given."
    return f"{key}: {expected(item)}."


def _known_keys(loc: tuple[Any, ...]) -> list[str]:
    """The keys of the section that a location points at."""
    annotation: Any = Config
    for part in loc:
        annotation = _inside(annotation, str(part))
    return [field.alias or name for model in _models_in(annotation)[:1] for name, field in model.model_fields.items()]


def _inside(annotation: Any, part: str) -> Any:
    """The type found one step down: a field of a section, an entry of a dictionary, or a kind of mapping."""
    if part.startswith("<"):
        return {"<multiply>": Multiply, "<constant>": Constant, "<when>": When}.get(part, str)
    if get_origin(annotation) is dict:
        return get_args(annotation)[1]
    fields = {
        field.alias or name: field for model in _models_in(annotation)[:1] for name, field in model.model_fields.items()
    }
    return fields[part].annotation if part in fields else None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]
