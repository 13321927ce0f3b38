"""churn_clv: from a customer event log to churn and next-period-spend predictions that can be believed.

The API is these names; everything else may change without notice. They load when first used, so the service never
imports the lab.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# Before LightGBM loads OpenMP: waiting threads that spin turn one second into twenty on busy cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Before Polars loads its allocator, jemalloc: what it gives back after half a second, as Polars has it, the next piece
# of a scoring asks for again page by page: half of the system's time, a tenth of the clock's [measured].
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:10000,muzzy_decay_ms:-1")

if TYPE_CHECKING:
    from churn_clv import features as features
    from churn_clv.api import read_log as read_log
    from churn_clv.api import train as train
    from churn_clv.bundle import Bundle as Bundle
    from churn_clv.bundle import load_bundle as load_bundle
    from churn_clv.bundle import save as save_bundle
    from churn_clv.config import load as load_config
    from churn_clv.errors import UserError as UserError

__version__ = "0.1.0"

_PLACES = {
    "Bundle": ("churn_clv.bundle", "Bundle"),
    "UserError": ("churn_clv.errors", "UserError"),
    "load_bundle": ("churn_clv.bundle", "load_bundle"),
    "load_config": ("churn_clv.config", "load"),
    "read_log": ("churn_clv.api", "read_log"),
    "save_bundle": ("churn_clv.bundle", "save"),
    "train": ("churn_clv.api", "train"),
}
__all__ = ["Bundle", "UserError", "features", "load_bundle", "load_config", "read_log", "save_bundle", "train"]


def __getattr__(name: str) -> Any:
    if name == "features":
        return import_module("churn_clv.features")
    if name in _PLACES:
        module, attribute = _PLACES[name]
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module 'churn_clv' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
