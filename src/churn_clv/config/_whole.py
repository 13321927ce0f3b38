"""The whole configuration: every section, and what follows from all of them (names, hashes, places)."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from churn_clv.config._after import Ledger, Loyalty, Watch
from churn_clv.config._base import Name, Section
from churn_clv.config._kpis import Kpis
from churn_clv.config._sections import (
    INT32,
    Actions,
    Backtest,
    Bundle,
    Clv,
    Features,
    Grade,
    Models,
    Population,
    Promotion,
    Service,
    Simulate,
    Timeline,
    Tracking,
    Value,
)
from churn_clv.config._segments import Segments
from churn_clv.config._sources import Events
from churn_clv.config._targets import CORE, Target, TargetName

# The sections that change nothing of what is learnt.
APART = {
    "out", "tracking", "service", "simulate", "promotion", "grade", "backtest", "value", "clv", "segments", "watch",
    "ledger", "actions", "kpis", "loyalty",
}  # fmt: skip


class Config(Section):
    """The whole configuration; every section frozen."""

    dataset: Name
    model_name: Name | None = None
    seed: Annotated[int, Field(ge=0, le=INT32)] = 7
    out: str = "out"
    events: Events = Events()
    timeline: Timeline = Timeline()
    population: Population = Population()
    targets: dict[TargetName, Target] = Field(default_factory=dict)
    features: Features = Features()
    models: Models = Models()
    bundle: Bundle = Bundle()
    promotion: Promotion = Promotion()
    grade: Grade = Grade()
    backtest: Backtest = Backtest()
    value: Value = Value()
    clv: Clv = Clv()
    segments: Segments = Segments()
    actions: Actions = Actions()
    watch: Watch = Watch()
    ledger: Ledger = Ledger()
    kpis: Kpis = Kpis()
    loyalty: Loyalty = Loyalty()
    tracking: Tracking = Tracking()
    service: Service = Service()
    simulate: Simulate = Simulate()

    @property
    def registered_name(self) -> str:
        """The registered model of this question (contract K4)."""
        return self.model_name or f"churn-clv-{self.dataset}-h{self.timeline.horizon_days}"

    @property
    def recipe_hash(self) -> str:
        """Hash of all that changes what is learnt; where results go and how they are served does not."""
        return self._hash(self.model_dump(mode="json", by_alias=True, exclude=APART))

    @property
    def core_hash(self) -> str:
        """The same without the targets beside churned and spend: the recipe that promotion compares.

        A target that looks further than the horizon stays in: the definitions of all features are then made earlier.
        """
        part = self.model_dump(mode="json", by_alias=True, exclude=APART)
        far = {n for n, t in self.targets.items() if (t.horizon_days or 0) > self.timeline.horizon_days}
        part["targets"] = {n: t for n, t in part["targets"].items() if n in CORE or n in far}
        for key in ("targets", "target_snapshots"):
            part["models"].pop(key)
        return self._hash(part)

    def _hash(self, part: dict[str, Any]) -> str:
        part["models"].pop("threads")
        for head in ("churn", "spend", "targets"):
            if head in part["models"] and part["models"][head]["families"] is None:
                part["models"][head].pop("families")  # not asked for: the recipe of before there was such a key
        # Where files lie and when the log ends say which data, not which recipe; attributes feed no model yet.
        for key in ("folder", "ends", "attributes"):
            part["events"].pop(key)
        if not part["events"]["text"]["read"]:
            part["events"].pop("text")  # not asked for: the recipe of before there was such a key
        for place in (*part["events"]["sources"].values(), part["events"]["identity"] or {}):
            for key in ("path", "format", "separator", "decimal"):
                place.pop(key, None)
        # Only CLV knows margins, and like its own section they change nothing of what is learnt of churn and spend.
        for source in part["events"]["sources"].values():
            for key in ("margin", "cost"):
                source["map"].pop(key, None)
        return hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def tracking_uri(self) -> str:
        """MLflow's address: the environment first, then the config, then SQLite under ``out``."""
        given = os.environ.get("MLFLOW_TRACKING_URI") or self.tracking.uri
        return given or f"sqlite:///{(Path(self.out) / 'mlflow.db').resolve()}"

    @property
    def bundles_folder(self) -> Path:
        """The folder the service reads: the environment first, then the config, then the model's own under ``out``."""
        given = os.environ.get("CHURN_CLV_BUNDLES") or self.service.bundles
        return Path(given) if given else Path(self.out) / "bundles" / self.registered_name
