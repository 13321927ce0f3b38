"""YAML files as people write them, and those that come with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from churn_clv.errors import UserError


def shipped_text(name: str) -> str:
    """The text of a shipped file, such as ``default.yaml``: from the wheel, or from the checkout's configs/ folder."""
    found = resources.files("churn_clv").joinpath(name)
    if found.is_file():
        return found.read_text(encoding="utf-8")
    return (Path(__file__).parents[3] / "configs" / name).read_text(encoding="utf-8")


def read_yaml(path: str | Path, what: str) -> dict[str, Any]:
    """The keys and values of a file; ``what`` it is stands in the UserError of one that is not there or is none."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{what} not found: {path}. Give the path of a YAML file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{what} {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> dict[str, Any]:
    """Keys and values of a text, none of an empty one; UserError with ``name`` for anything else."""
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{name} is not valid YAML: {error}") from None
    except RecursionError:
        raise UserError(f"{name} is not valid YAML: it is nested too deeply. Write it flatter.") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{name}: expected keys and values at the top, found {type(values).__name__}.")
    return values
