"""Features as of a cutoff, from one customer's own history only.

FAMILIES lists the modules; each says what it needs of the log and gives its entries. ``catalogue`` is the one
list from which names, matrix, bundle, service and docs follow; ``build`` computes it. The package is also the
Python API's function: ``churn_clv.features(frame, cutoff)`` (docs/adr/0002).
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from churn_clv.features._build import build
from churn_clv.features._catalogue import FAMILIES, as_markdown, catalogue, core, family_of, left_out, names
from churn_clv.features._feature import Feature, hashes
from churn_clv.features._history import grain

__all__ = [
    "FAMILIES",
    "Feature",
    "as_markdown",
    "build",
    "catalogue",
    "core",
    "family_of",
    "grain",
    "hashes",
    "left_out",
    "names",
]


class _Callable(ModuleType):
    """The package as a function, so that the house's folder and the API's name can be one word."""

    def __call__(self, frame: Any, cutoff: Any, **settings: Any) -> Any:
        """Every known customer's features at one or more cutoffs; see ``churn_clv.api.compute_features``."""
        # By name: the API stands above this package, which must not depend on it.
        return import_module("churn_clv.api").compute_features(frame, cutoff, **settings)


sys.modules[__name__].__class__ = _Callable
