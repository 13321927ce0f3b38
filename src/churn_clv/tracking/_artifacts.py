"""What a run keeps: its files, tables that MLflow's page shows, the data set's name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from mlflow.entities import Dataset, DatasetInput, InputTag

from churn_clv import card, figures
from churn_clv.bundle import feature_entries
from churn_clv.config import Config, to_yaml
from churn_clv.metrics import METRIC_KEYS
from churn_clv.pseudonym import id_key, pseudonyms
from churn_clv.wording import NONE

if TYPE_CHECKING:
    from churn_clv.training import Trained

DOCUMENT = "document.json"
PREDICTIONS = "oot_predictions.parquet"
CONFIG = "config.yaml"
# Each a table of MLflow's own form: {"columns": [...], "data": [[...]]}.
TABLES = ("ladder.json", "grade.json", "strata.json")
NAMES = {"champion": "this run"}  # of the judged recipe, promoted or not
FIRST = ("churn_auroc", "churn_log_loss", "churn_ece", "spend_gini", "spend_tweedie_deviance", "spend_total_ratio")
LADDER = ("rung", *FIRST, *(key for key in METRIC_KEYS if key not in FIRST))


def write_training(
    folder: Path, config: Config, trained: Trained, document: Mapping[str, Any], bare: bool = False
) -> None:
    """Everything that a training's run keeps, into ``folder``; ``bare``: without plots and card."""
    if not bare:
        drawn = figures.draw(trained.oot, trained.importance, trained.ladder, config.events.currency)
        figures.save(drawn, folder / "plots")
    # Sorted by pseudonym, so that not even the order of the customers is kept.
    keyed_predictions(config, trained.oot).sort("cutoff", "customer_key").write_parquet(folder / PREDICTIONS)
    trained.importance.write_csv(folder / "importance.csv")
    texts = {
        DOCUMENT: as_json(document),
        CONFIG: to_yaml(config),
        "features.json": as_json(feature_entries(trained.bundle.definitions)),
        "plan.json": as_json(trained.plan.rows()),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    write_tables(folder, [{"rung": s["rung"]} | s["metrics"] for s in trained.ladder], document)
    if not bare:
        card.write(document, config, folder, folder / "plots")


def write_tables(folder: Path, ladder: Sequence[dict[str, Any]], document: Mapping[str, Any]) -> None:
    """The ladder (a row per rung, the judged recipe first), the grade's rules and the groups of customers."""
    rules = (document.get("grade") or {}).get("rules", [])
    tables = {
        "ladder.json": _table(LADDER, [row | {"rung": NAMES.get(row["rung"], row["rung"])} for row in ladder]),
        "grade.json": _table(("name", "letter", "value", "at", "text"), rules),
        "strata.json": _table(("by", "stratum", "n", "churn_rate", "mean_churn_probability", "churn_auroc",
                               "churn_skill", "spend_skill"), document.get("strata") or []),
    }  # fmt: skip
    for name, table in tables.items():
        (folder / name).write_text(json.dumps(table), encoding="utf-8")


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Numbers with as many digits as anybody reads (all are in document.json), a dash where there is none."""
    cells = [[row.get(column) for column in columns] for row in rows]
    return {"columns": list(columns), "data": [[_short(cell) for cell in line] for line in cells]}


def _short(cell: Any) -> Any:
    if cell is None:
        return NONE
    return float(f"{cell:.4g}") if isinstance(cell, float) else cell


def keyed_predictions(config: Config, oot: pl.DataFrame) -> pl.DataFrame:
    """Out-of-time predictions as they are stored: ``customer_key`` instead of ``customer_id``, rows in their order."""
    keys = pseudonyms(oot["customer_id"], id_key(config.out))
    return oot.select(keys, pl.exclude("customer_id"))


def dataset_input(config: Config, fingerprint: str, size: Mapping[str, Any], context: str) -> DatasetInput:
    """The log as a data set input: its name, fingerprint and size, never its rows."""
    sources = {name: source.path or source.table for name, source in config.events.sources.items()}
    log = Dataset(
        name=config.dataset,
        digest=fingerprint,
        source_type="churn_clv",
        source=json.dumps({"adapter": config.events.adapter, "sources": sources}),
        profile=json.dumps(size),
    )
    return DatasetInput(log, [InputTag("mlflow.data.context", context)])


def as_json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, default=str)
