"""What a run keeps: files, the data set's name, the note that a reader sees first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from mlflow.entities import Dataset, DatasetInput, InputTag

from churn_clv import figures
from churn_clv.bundle import feature_entries
from churn_clv.config import Config, to_yaml
from churn_clv.pseudonym import id_key, pseudonyms

if TYPE_CHECKING:
    from churn_clv.training import Trained

DOCUMENT = "document.json"
PREDICTIONS = "oot_predictions.parquet"


def write_artifacts(folder: Path, config: Config, trained: Trained, document: dict[str, Any]) -> None:
    drawn = figures.draw(trained.oot, trained.importance, trained.ladder, config.events.currency)
    figures.save(drawn, folder / "plots")
    # Sorted by pseudonym, so that not even the order of the customers is kept.
    keyed_predictions(config, trained.oot).sort("cutoff", "customer_key").write_parquet(folder / PREDICTIONS)
    trained.importance.write_csv(folder / "importance.csv")
    texts = {
        DOCUMENT: as_json(document),
        "config.yaml": to_yaml(config),
        "features.json": as_json(feature_entries(trained.bundle.definitions)),
        "plan.json": as_json(trained.plan.rows()),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def keyed_predictions(config: Config, oot: pl.DataFrame) -> pl.DataFrame:
    """Out-of-time predictions as they are stored: ``customer_key`` instead of ``customer_id``, rows in their order."""
    keys = pseudonyms(oot["customer_id"], id_key(config.out))
    return oot.select(keys, pl.exclude("customer_id"))


def dataset_input(config: Config, trained: Trained) -> DatasetInput:
    """The log as a data set input: its name, fingerprint and size, never its rows."""
    size = {k: trained.data[k] for k in ("rows", "customers") if k in trained.data}
    sources = {name: source.path or source.table for name, source in config.events.sources.items()}
    log = Dataset(
        name=config.dataset,
        digest=str(trained.data["fingerprint"]),
        source_type="churn_clv",
        source=json.dumps({"adapter": config.events.adapter, "sources": sources}),
        profile=json.dumps(size),
    )
    return DatasetInput(log, [InputTag("mlflow.data.context", "training")])


def note(config: Config, trained: Trained) -> str:
    """What a reader of MLflow's page sees first, as Markdown."""
    shown = ("churn_auroc", "churn_log_loss", "churn_ece", "spend_gini", "spend_tweedie_deviance", "spend_total_ratio")
    lines = ["| rung | " + " | ".join(shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for step in trained.ladder:
        values = (step["metrics"].get(key) for key in shown)
        numbers = " | ".join("" if value is None else f"{value:.4g}" for value in values)
        lines.append(f"| {step['rung']} | {numbers} |")
    days, active = config.timeline.horizon_days, config.population.active_within_days
    rate = trained.data.get("label_return_rate")
    back = "" if rate is None else f" Of those labelled churned, {rate:.0%} came back later (`label_return_rate`)."
    return (
        f"Churn and spend over {days} days for customers of **{config.dataset}** who bought in the last {active} days, "
        f"judged at {trained.plan.test.isoformat()} on labels the judged model had not seen. The registered bundle is "
        f"the same recipe, trained on to the newest label: the numbers are the recipe's.{back}\n\n" + "\n".join(lines)
    )


def as_json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, default=str)
