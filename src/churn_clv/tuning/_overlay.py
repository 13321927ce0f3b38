"""The overlay: what was found, as a file that ``churn-clv train CONFIG tuned.yaml`` takes as it is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from churn_clv import config
from churn_clv.config import Booster
from churn_clv.tuning._ground import coarser
from churn_clv.tuning._space import Head


def overlay_of(
    settings: config.Config, boosters: Mapping[Head, Booster], step: int, plan: Any
) -> tuple[dict[str, Any], config.Config]:
    """The lines of the overlay, and the config with them."""
    lines: dict[str, Any] = {"models": {h: b.model_dump(mode="json") for h, b in boosters.items()}}
    if step > 1:
        wide = coarser(plan, step)
        lines = {"timeline": {"step_days": wide.step_days, "max_train_cutoffs": wide.most}, **lines}
    changed = settings.model_dump(mode="json", by_alias=True)
    for section, own in lines.items():
        changed[section] |= own
    return lines, config.from_dict(changed, where="tuned overlay")


def write(path: Path, lines: Mapping[str, Any], comments: Sequence[str]) -> None:
    """Write the overlay under its comments, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"# {line}\n" for line in comments) + yaml.safe_dump(dict(lines), sort_keys=False)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
