"""One training, one run: parameters, metrics, the data set's fingerprint, plots and out-of-time predictions.

Metric keys: ``churn_auroc`` is the judged recipe's, ``recency_rule/churn_auroc`` a rung's (MLflow's page groups by
the slash). A metric that does not apply is left out: MLflow cannot hold a null.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import polars as pl
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

import churn_clv
from churn_clv import figures
from churn_clv.bundle import feature_entries, verify
from churn_clv.config import Config, to_yaml
from churn_clv.pseudonym import id_key, key_name, pseudonyms
from churn_clv.tracking import owner, question
from churn_clv.tracking.store import connect, experiment, locked

if TYPE_CHECKING:
    from churn_clv.training import Trained

JUDGED = "champion"
DOCUMENT = "document.json"
PREDICTIONS = "oot_predictions.parquet"
PARAMETERS = ("seed", "timeline", "population", "targets", "features", "models", "bundle", "promotion")


def log_run(config: Config, trained: Trained, document: dict[str, Any], bundle_folder: Path) -> str:
    """Record one training; returns the run's id. A run that breaks off is marked FAILED (by Ctrl-C: KILLED).

    ``document`` is what ``train --json`` prints, kept as document.json; its ``ladder`` (default: the training's) is
    what metrics, note and plot show. ``bundle_folder`` is the saved bundle, of which only the identity is recorded
    here (``register`` stores it). Customers appear under keyed pseudonyms only.
    """
    client = connect(config)
    trained = replace(trained, ladder=document.get("ladder", trained.ladder))
    name = f"{config.registered_name} {trained.plan.test.isoformat()}"
    run = client.create_run(
        experiment(config), tags=_tags(config, trained, bundle_folder) | owner.tags(), run_name=name
    )
    run_id = str(run.info.run_id)
    with _ended(client, run_id):
        with locked(config):  # two runs that record one data set at once break MLflow's unique index
            client.log_inputs(run_id, [_dataset(config, trained)])
        client.log_batch(
            run_id,
            metrics=_data_metrics(trained.data) + _metrics(trained.ladder) + _own(trained),
            params=_parameters(config),
        )
        with TemporaryDirectory() as folder:
            _write_artifacts(Path(folder), config, trained, document)
            client.log_artifacts(run_id, folder)
    return run_id


def log_backtest(config: Config, document: dict[str, Any], folder: Path) -> str:
    """Record one backtest; returns the run's id. ``folder`` holds its report, which becomes the run's artifacts.

    Metric keys: ``churn_auroc`` the recipe's mean over the cutoffs, ``worst/churn_auroc`` its worst, and
    ``logistic/churn_auroc`` a rung's mean.
    """
    client, ladder = connect(config), document["ladder"]
    version, code = code_version()
    tags = {
        "kind": "backtest",
        "dataset": config.dataset,
        "recipe_hash": config.recipe_hash,
        "final": str(document["final"]),
        "cutoffs": ", ".join(document["cutoffs"]),
        "code_version": version,
        "code_hash": code,
        "mlflow.source.name": "churn-clv backtest",
        "mlflow.source.type": "LOCAL",
    }
    name = f"{config.registered_name} backtest {document['cutoffs'][-1]}"
    run_id = str(client.create_run(experiment(config), tags=tags | owner.tags(), run_name=name).info.run_id)
    with _ended(client, run_id):
        now = int(time.time() * 1000)
        found = {f"worst/{k}": v for k, v in ladder[0]["worst"].items()}
        for row in ladder:
            found |= {k if row["rung"] == JUDGED else f"{row['rung']}/{k}": v for k, v in row["mean"].items()}
        metrics = [Metric(k, float(v), now, 0) for k, v in found.items() if v is not None]
        client.log_batch(run_id, metrics=metrics, params=_parameters(config))
        client.log_artifacts(run_id, str(folder))
    return run_id


def keep_document(config: Config, run_id: str, document: dict[str, Any]) -> None:
    """Replace a run's document.json: run id, model version and verdict are known only after the run is recorded."""
    connect(config).log_text(run_id, _json(document), DOCUMENT)


def keyed_predictions(config: Config, oot: pl.DataFrame) -> pl.DataFrame:
    """Out-of-time predictions as they are stored: ``customer_key`` instead of ``customer_id``, rows in their order."""
    keys = pseudonyms(oot["customer_id"], id_key(config.out))
    return oot.select(keys, pl.exclude("customer_id"))


def code_version() -> tuple[str, str]:
    """The version and 16 hex digits over the package's own source."""
    root = Path(churn_clv.__path__[0])
    source = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        source.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return churn_clv.__version__, source.hexdigest()[:16]


@contextmanager
def _ended(client: MlflowClient, run_id: str) -> Iterator[None]:
    """End the run in any case. The first error counts: a store that is gone cannot take the status either."""
    try:
        yield
    except BaseException as error:
        with suppress(Exception):
            client.set_terminated(run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    client.set_terminated(run_id, "FINISHED")


def _tags(config: Config, trained: Trained, bundle_folder: Path) -> dict[str, str]:
    version, code = code_version()
    return {
        "dataset": config.dataset,
        "fingerprint": str(trained.data["fingerprint"]),
        "recipe_hash": config.recipe_hash,
        "core_hash": config.core_hash,
        "horizon_days": str(config.timeline.horizon_days),
        question.TAG: question.tags(config)[question.TAG],
        "bundle_sha256": verify(bundle_folder)["version"],
        "id_key": key_name(id_key(config.out)),
        "code_version": version,
        "code_hash": code,
        "mlflow.source.name": "churn-clv train",
        "mlflow.source.type": "LOCAL",
        "mlflow.note.content": _note(config, trained),
    }


def _dataset(config: Config, trained: Trained) -> DatasetInput:
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


def _metrics(ladder: list[dict[str, Any]]) -> list[Metric]:
    now = int(time.time() * 1000)
    return [
        Metric(key if step["rung"] == JUDGED else f"{step['rung']}/{key}", float(value), now, 0)
        for step in ladder
        for key, value in step["metrics"].items()
        if value is not None
    ]


def _own(trained: Trained) -> list[Metric]:
    """The user's own targets: ``target.second_order/auroc``, and of a rung ``target.second_order/logistic/auroc``."""
    out = []
    for name, found in trained.targets.items():
        for metric in _metrics(found["ladder"]):
            out.append(Metric(f"target.{name}/{metric.key}", metric.value, metric.timestamp, metric.step))
    return out


def _data_metrics(data: dict[str, Any]) -> list[Metric]:
    """What the labels mean, as numbers that runs can be sorted by."""
    rate = data.get("label_return_rate")
    return [] if rate is None else [Metric("label_return_rate", float(rate), int(time.time() * 1000), 0)]


def _parameters(config: Config) -> list[Param]:
    values = config.model_dump(mode="json", by_alias=True, include=set(PARAMETERS))
    return [Param(key, value) for key, value in _flat(values)]


def _flat(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as dotted names; lists and targets as JSON."""
    for key, value in values.items():
        if isinstance(value, dict) and above != "targets.":
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value if isinstance(value, str) else json.dumps(value)


def _write_artifacts(folder: Path, config: Config, trained: Trained, document: dict[str, Any]) -> None:
    drawn = figures.draw(trained.oot, trained.importance, trained.ladder, config.events.currency)
    figures.save(drawn, folder / "plots")
    # Sorted by pseudonym, so that not even the order of the customers is kept.
    keyed_predictions(config, trained.oot).sort("cutoff", "customer_key").write_parquet(folder / PREDICTIONS)
    trained.importance.write_csv(folder / "importance.csv")
    texts = {
        DOCUMENT: _json(document),
        "config.yaml": to_yaml(config),
        "features.json": _json(feature_entries(trained.bundle.definitions)),
        "plan.json": _json(trained.plan.rows()),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _note(config: Config, trained: Trained) -> str:
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


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, default=str)
