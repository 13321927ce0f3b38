"""Tracking end to end: a run, a registered bundle, a champion and its copy, in SQLite and through a real server."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tiny

from churn_clv import config, events, figures, timeline, tracking
from churn_clv.bundle import FORMAT, Bundle, BundleError, Reference, load_bundle, verify
from churn_clv.errors import UserError
from churn_clv.metrics import METRIC_KEYS, churn_metrics, spend_metrics
from churn_clv.pseudonym import id_key, pseudonyms
from churn_clv.publish import current, publish
from churn_clv.tracking import question
from churn_clv.tracking.store import connect
from churn_clv.training import Trained

CUSTOMERS = [f"customer-{number:03d}" for number in range(200)]
TARGETS = {
    "churned": {"events": {"is_in": ["purchase"]}, "measure": "absent"},
    "spend": {"events": {"is_in": ["purchase", "return"]}, "measure": "amount"},
}
DRAW = figures.draw
PICTURES = {"reliability", "lift", "gains", "spend_by_decile", "importance", "ladder"}


def settings(out: Path, **over: Any) -> config.Config:
    values: dict[str, Any] = {"dataset": "toy", "out": str(out), "targets": TARGETS, "tracking": {"uri": None}}
    return config.from_dict(values | over)


def a_bundle(folder: Path, text: str) -> Path:
    """A folder that verifies as a bundle; tracking never looks inside."""
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps({"text": text}))
    sums = {"report.json": hashlib.sha256((folder / "report.json").read_bytes()).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps({"format": FORMAT, "files": sums}))
    return folder


def a_training(settings: config.Config) -> Trained:
    """What training hands over, with made-up predictions."""
    random = np.random.default_rng(7)
    risk = random.uniform(size=len(CUSTOMERS))
    churned = (random.uniform(size=risk.size) < risk).astype(float)
    spend, expected = (1 - churned) * 50 * random.uniform(size=risk.size), 40 * (1 - risk) + 1
    plan = timeline.make_plan(dt.date(2024, 1, 1), dt.date(2025, 1, 1), settings.timeline)
    definitions = timeline.Definitions(
        horizon_days=28, active_within_days=56, min_history_days=28, windows_days=(7, 28, 56, 84),
        rules=events.Rules(timezone="UTC", currency="USD", minor_units=2), starts={"purchase": dt.date(2024, 1, 1)},
        columns=("amount",), event_types=("purchase",), families=None, exclude=(), censored_gap_days=30,
    )  # fmt: skip
    judged: dict[str, float | None] = {**churn_metrics(churned, risk), **spend_metrics(spend, expected), "n": 200}
    recency = dict.fromkeys(METRIC_KEYS) | churn_metrics(churned, -risk, score_only=True) | {"n": 200}
    return Trained(
        bundle=Bundle(definitions, (), Reference((0.0, 1.0), 0.5, (0.5,), ("low", "high")), settings, plan.ends),
        ladder=[{"rung": "champion", "metrics": judged}, {"rung": "recency_rule", "metrics": recency}],
        oot=pl.DataFrame(
            {"customer_id": CUSTOMERS, "cutoff": [plan.test] * 200, "churned": churned.astype(int),
             "churn_probability": risk, "spend": spend, "expected_spend": expected}
        ),
        rungs={},
        plan=plan,
        data={"rows": 1234, "customers": 200, "fingerprint": "fedcba9876543210", "label_return_rate": 0.85},
        importance=pl.DataFrame({"feature": ["a", "b"], "churn_gain": [2.0, 1.0], "spend_gain": [1.0, 2.0]}),
    )  # fmt: skip


def log_and_register(settings: config.Config, folder: Path, text: str = "one") -> tuple[str, int, Path]:
    """One recorded and registered training: run id, version, bundle folder."""
    bundle = a_bundle(folder, text)
    run_id = tracking.log_run(settings, a_training(settings), {"made": text}, bundle)
    return run_id, tracking.register(settings, run_id, bundle), bundle


@pytest.fixture(autouse=True)
def only_the_given_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "CHURN_CLV_ID_KEY", "CHURN_CLV_BUNDLES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing is most of a run's time, and one test looks at it."""
    monkeypatch.setattr(figures, "draw", lambda *_: {})


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared SQLite store, made by four processes at the same moment: without a lock they break each other."""
    out = tmp_path_factory.mktemp("store") / "out"
    code = (
        "import os, sys; from churn_clv import config, tracking\n"
        "toy = config.from_dict({'dataset': 'toy', 'out': sys.argv[1]})\n"
        "for _ in range(3): child = os.fork() or os._exit(int(tracking.prepare(toy)))\n"
        "codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(3)]\n"
        "print(*{*codes, int(tracking.prepare(toy))})"
    )
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    # One experiment for all four; which number it has is the store's affair, but 0 is MLflow's own.
    assert (done.returncode, done.stderr) == (0, "") and 1 <= int(done.stdout) < 100
    return out


def copy_database(there: Path, here: Path) -> None:
    with closing(sqlite3.connect(there)) as old, closing(sqlite3.connect(here)) as new:
        old.backup(new)


@pytest.fixture
def out(empty_store: Path, tmp_path: Path) -> Path:
    """A fresh copy of the prepared store."""
    folder = tmp_path / "out"
    folder.mkdir()
    copy_database(empty_store / "mlflow.db", folder / "mlflow.db")
    with closing(sqlite3.connect(folder / "mlflow.db")) as new:
        new.execute("UPDATE experiments SET artifact_location = ?", ((folder / "artifacts").as_uri(),))
        new.commit()
    return folder


def test_prepare_uses_write_ahead_logging_and_our_artifact_folder(empty_store: Path) -> None:
    with closing(sqlite3.connect(empty_store / "mlflow.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    toy = connect(settings(empty_store)).get_experiment_by_name("churn-clv-toy-h28")
    assert toy.artifact_location == (empty_store / "artifacts").as_uri()
    assert toy.tags["mlflow.experimentKind"] == "custom_model_development"
    assert "metrics.`grade_points`" in json.loads(toy.tags["mlflow.sharedViewState.reviewer"])["selectedColumns"]


def test_a_run_holds_all_that_a_reader_and_a_comparison_need(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "draw", DRAW)
    toy = settings(out)
    trained, bundle = a_training(toy), a_bundle(tmp_path / "bundle", "one")
    ladder = [*trained.ladder, {"rung": "current_champion", "metrics": {"churn_auroc": 0.7, "spend_gini": None}}]
    graded = {"letter": "C", "why": "Grade C: the total is off.", "rules": [
        {"name": "totals", "letter": "C", "value": 0.1, "at": "2024-12-04", "text": "off", "open": False}]}  # fmt: skip
    run = connect(toy).get_run(tracking.log_run(toy, trained, {"ladder": ladder, "grade": graded}, bundle))
    assert run.info.run_name == f"train 2024-12-04 {toy.recipe_hash[:4]}"
    assert run.info.status == "FINISHED"
    judged, recency = (step["metrics"] for step in trained.ladder)
    expected = {k: v for k, v in judged.items() if v is not None} | {"vs_current_champion/churn_auroc": 0.7}
    expected |= {f"worst/{k}": v for k, v in judged.items() if v is not None}  # its one cutoff is its worst
    expected |= {f"vs_recency_rule/{k}": recency[k] for k in ("churn_auroc", "churn_lift_top_decile")}
    expected |= {"label_return_rate": trained.data["label_return_rate"], "test_cutoffs": 1, "grade_points": 2}
    assert judged["churn_ece"] is not None and judged["churn_ece_floor"] is not None
    expected["churn_ece_above_floor"] = judged["churn_ece"] - judged["churn_ece_floor"]
    assert run.data.metrics == pytest.approx(expected)
    assert run.data.params["timeline.horizon_days"] == "28"
    assert json.loads(run.data.params["targets.churned"])["measure"] == "absent"
    assert run.data.params["models.spend.tweedie_variance_power"] == "1.5"
    tags = run.data.tags
    assert (tags["dataset"], tags["fingerprint"]) == ("toy", "fedcba9876543210")
    assert tags["recipe_hash"] == toy.recipe_hash
    assert tags["bundle_sha256"] == verify(bundle)["version"]
    assert "85%" in tags["mlflow.note.content"] and "Grade C: the total is off" in tags["mlflow.note.content"]
    own = {
        "kind": "train",
        "horizon_days": "28",
        "grade": "C",
        "test_cutoff": "2024-12-04",
        "code_hash": tracking.made()["code_hash"],
    }
    own |= {"git_commit": tracking.made()["git_commit"][:12], "dirty": tracking.made()["dirty"]}
    assert {key: tags.get(key) for key in own} == own
    assert "mlflow.user" not in tags
    [dataset] = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("toy", "fedcba9876543210")
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    assert {p.stem for p in (folder / "plots").glob("*.png")} == PICTURES
    assert config.from_dict(config.yaml.safe_load((folder / "config.yaml").read_text())) == toy
    shown = json.loads(tags["mlflow.loggedArtifacts"])  # what MLflow's page draws as tables
    assert {entry["type"] for entry in shown} == {"table"}
    tables = {entry["path"]: json.loads((folder / entry["path"]).read_text()) for entry in shown}
    assert [row[0] for row in tables["ladder.json"]["data"]] == ["this run", "recency_rule", "current_champion"]
    columns = tables["ladder.json"]["columns"]
    assert set(columns) == {"rung", *METRIC_KEYS} and len(columns) == 1 + len(METRIC_KEYS)
    first, second = (dict(zip(columns, row, strict=True)) for row in tables["ladder.json"]["data"][:2])
    assert first["churn_auroc"] == pytest.approx(judged["churn_auroc"], rel=1e-3) and second["spend_gini"] == "-"
    assert tables["grade.json"]["data"] == [["totals", "C", 0.1, "2024-12-04", "off"]]
    card = (folder / "model_card.html").read_text()
    assert card.count("data:image/png;base64,") == 5 and "<h2>Grade C</h2>" in card
    assert "## Misuse" in (folder / "model_card.md").read_text()
    assert {"name", "meaning", "nulls"} <= set(json.loads((folder / "features.json").read_text())[0])


def test_a_run_is_found_again_by_id_version_and_alias_or_what_there_is_is_told(out: Path, tmp_path: Path) -> None:
    toy = settings(out)
    run_id, version, _ = log_and_register(toy, tmp_path / "bundle")
    for asked in (run_id, str(version), "challenger"):
        found = tracking.recorded(toy, asked)
        assert (found.run_id, found.document) == (run_id, {"made": "one"})
        assert config.overlaid(found.values) == toy
    known = rf"is no run, version or alias of .* in sqlite(.|\n)*{run_id}  train 2024-12-04"
    for asked in ("0" * 32, "9"):
        with pytest.raises(UserError, match=known):
            tracking.recorded(toy, asked)
    next(out.rglob("config.yaml")).unlink()
    with pytest.raises(UserError, match=r"config\.yaml cannot be read"):
        tracking.recorded(toy, run_id)


def test_no_customer_id_reaches_mlflow(out: Path, tmp_path: Path) -> None:
    toy = settings(out)
    log_and_register(toy, tmp_path / "bundle")
    names = [name.encode() for name in CUSTOMERS]
    held = [path for path in out.rglob("*") if path.is_file() and any(n in path.read_bytes() for n in names)]
    assert held == []
    stored = pl.read_parquet(next(out.rglob("oot_predictions.parquet")))
    assert stored.columns == ["customer_key", "cutoff", "churned", "churn_probability", "spend", "expected_spend"]
    mine = a_training(toy).oot.with_columns(customer_key=pseudonyms(pl.Series(CUSTOMERS), id_key(out)))
    assert stored.equals(mine.drop("customer_id").select(stored.columns).sort("customer_key"))
    key = id_key(out).hex().encode()
    assert [p.name for p in out.rglob("*") if p.is_file() and key in p.read_bytes()] == ["id.key"]


def test_a_champion_comes_back_as_it_was_stored(out: Path, tmp_path: Path) -> None:
    toy = settings(out)
    assert tracking.champion(toy) is None
    run_id, version, bundle = log_and_register(toy, tmp_path / "bundle")
    assert tracking.champion(toy) is None  # registered is not promoted
    tracking.promote(toy, version, "first of its kind", over=None)
    tracking.keep_document(toy, run_id, {"promoted": True, "why": "first of its kind"})
    champion = tracking.champion(toy)
    assert champion is not None
    assert (champion.version, champion.run_id) == (1, run_id)
    assert (champion.tags["recipe_hash"], champion.tags["fingerprint"]) == (toy.recipe_hash, "fedcba9876543210")
    assert champion.tags["why"] == "first of its kind"
    assert champion.tags["grade"] == "unknown" and champion.tags["dirty"] == tracking.made()["dirty"]
    assert champion.document == {"promoted": True, "why": "first of its kind"}
    assert champion.bundle == out / "cache" / verify(bundle)["version"]
    both = champion.oot.join(tracking.keyed_predictions(toy, a_training(toy).oot), on=["customer_key", "cutoff"])
    assert both.height == 200
    assert (both["churn_probability"] == both["churn_probability_right"]).all()
    assert publish(champion.bundle, toy.bundles_folder) == current(toy.bundles_folder) == verify(bundle)["version"]


def test_aliases_move_and_a_version_is_found_by_number_or_alias(out: Path, tmp_path: Path) -> None:
    toy = settings(out)
    _, first, _ = log_and_register(toy, tmp_path / "one", "one")
    tracking.promote(toy, first, "first", over=None)
    _, second, other = log_and_register(toy, tmp_path / "two", "two")
    client = connect(toy)
    assert client.get_registered_model(toy.registered_name).aliases == {"champion": 1, "challenger": 2}
    assert tracking.fetch(toy, "challenger").name == verify(other)["version"]
    tracking.promote(toy, second, "better", over=first)
    assert client.get_registered_model(toy.registered_name).aliases == {"champion": 2}
    assert tracking.fetch(toy) == tracking.fetch(toy, second) == tracking.fetch(toy, "2") != tracking.fetch(toy, 1)
    with pytest.raises(UserError, match=r"no alias 'champoin'\. Did you mean 'champion'"):
        tracking.fetch(toy, "champoin")
    with pytest.raises(UserError, match=r"no version 9\. Known: 1, 2"):
        tracking.fetch(toy, 9)


def test_promotion_is_refused_when_another_became_champion_meanwhile(out: Path, tmp_path: Path) -> None:
    toy = settings(out)
    versions = [log_and_register(toy, tmp_path / text, text)[1] for text in ("one", "two")]
    tracking.promote(toy, versions[0], "first", over=None)
    with pytest.raises(UserError, match="version 1 became champion while"):
        tracking.promote(toy, versions[1], "also first", over=None)
    champion = tracking.champion(toy)
    assert champion is not None
    assert champion.version == versions[0]


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"timeline": {"horizon_days": 56}}, "timeline.horizon_days: 28 there, 56 here"),
        ({"population": {"active_within_days": 91}}, "population.active_within_days: 56 there, 91 here"),
        ({"dataset": "other"}, 'dataset: "toy" there, "other" here'),
        ({"targets": {"churned": TARGETS["churned"]}}, "targets: "),
    ],
)
def test_another_question_is_refused_before_training(out: Path, over: dict[str, Any], said: str) -> None:
    toy = settings(out, model_name="mine")
    tracking.check_same_question(toy)  # nothing registered yet
    connect(toy).create_registered_model("mine", tags=question.tags(toy))
    tracking.check_same_question(toy)
    with pytest.raises(UserError, match=r"another question(.|\n)*model_name") as refused:
        tracking.check_same_question(settings(out, model_name="mine", **over))
    assert said in str(refused.value)


def test_other_settings_ask_the_same_question_and_another_one_is_not_registered(out: Path, tmp_path: Path) -> None:
    toy = settings(out, model_name="mine")
    run_id, version, bundle = log_and_register(toy, tmp_path / "bundle")
    tracking.check_same_question(settings(out, model_name="mine", seed=8, features={"exclude": ["a"]}))
    other = settings(out, model_name="mine", population={"active_within_days": 91})
    with pytest.raises(UserError, match="another question"):
        tracking.register(other, run_id, bundle)
    with pytest.raises(UserError, match="another question"):
        tracking.promote(other, version, "why", over=None)
    connect(toy).create_registered_model("theirs")
    with pytest.raises(UserError, match="not made by churn-clv"):
        tracking.check_same_question(settings(out, model_name="theirs"))


@pytest.mark.parametrize(("error", "status"), [(RuntimeError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_that_breaks_off_is_not_left_running(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], status: str
) -> None:
    toy = settings(out)

    def breaks(*_: Any) -> None:
        raise error("in the middle")

    monkeypatch.setattr(figures, "draw", breaks)
    with pytest.raises(error, match="in the middle"):
        log_and_register(toy, tmp_path / "bundle")
    client = connect(toy)
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert [run.info.status for run in runs] == [status]


def test_a_registration_that_breaks_off_leaves_no_version(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy, bundle = settings(out), a_bundle(tmp_path / "bundle", "one")
    run_id = tracking.log_run(toy, a_training(toy), {}, bundle)

    def breaks(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("churn_clv.tracking.registry._write_model", breaks)
    with pytest.raises(OSError, match="No space left"):
        tracking.register(toy, run_id, bundle)
    client = connect(toy)
    assert list(client.search_model_versions(f"name = '{toy.registered_name}'")) == []
    [logged] = client.search_logged_models([client.get_run(run_id).info.experiment_id])
    assert str(logged.status) == "FAILED"


def test_a_bundle_changed_in_the_store_is_refused_and_the_verified_copy_still_serves(out: Path, tmp_path: Path) -> None:
    toy = settings(out)
    _, version, _ = log_and_register(toy, tmp_path / "one", "one")
    copy = tracking.fetch(toy, version)
    stored = next(path for path in (out / "artifacts").rglob("report.json"))
    stored.write_text(json.dumps({"text": "evil"}))
    assert tracking.fetch(toy, version) == copy
    assert json.loads((copy / "report.json").read_text()) == {"text": "one"}
    (copy / "report.json").write_text("rot")
    with pytest.raises(BundleError, match=r"report\.json"):
        tracking.fetch(toy, version)
    # A manifest rewritten to match does not help: the version's tag names the bundle that was registered.
    manifest = stored.with_name("manifest.json")
    sums = {"report.json": hashlib.sha256(stored.read_bytes()).hexdigest()}
    manifest.write_text(json.dumps({"format": FORMAT, "files": sums}))
    with pytest.raises(BundleError, match="not the bundle that was registered"):
        tracking.fetch(toy, version)


def test_a_reviewer_can_open_the_model_with_mlflow_alone(out: Path, tiny_folder: Path) -> None:
    import mlflow  # not above: our own settings for it come first

    toy, events_frame = settings(out), tiny.plain_log(customers=20).to_pandas()
    run_id = tracking.log_run(toy, a_training(toy), {}, tiny_folder)
    version = tracking.register(toy, run_id, tiny_folder)
    connect(toy)
    model = mlflow.pyfunc.load_model(f"models:/{toy.registered_name}/{version}")
    answers = model.predict(events_frame, params=None)
    expected = load_bundle(tiny_folder).score(events_frame, tiny.TRAINED_THROUGH)
    assert answers.equals(expected)
    assert answers["churn_probability"].notna().any()
    logged = Path(mlflow.artifacts.download_artifacts(f"models:/{toy.registered_name}/{version}"))
    assert sorted(p.suffix for p in logged.rglob("*") if p.suffix in (".pkl", ".pickle", ".joblib", ".skops")) == []
    assert "churn-clv[lab]" in (logged / "requirements.txt").read_text()


def test_a_champion_whose_files_are_gone_is_explained(out: Path, tmp_path: Path) -> None:
    toy = settings(out)
    _, version, _ = log_and_register(toy, tmp_path / "bundle")
    tracking.promote(toy, version, "first", over=None)
    next(out.rglob("oot_predictions.parquet")).unlink()
    with pytest.raises(UserError, match=r"cannot be read.*remove its alias"):
        tracking.champion(toy)


def test_two_trainings_at_once_are_both_recorded(out: Path, tmp_path: Path) -> None:
    toy = settings(out)
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda text: log_and_register(toy, tmp_path / text, text), ["one", "two"]))
    assert sorted(version for _, version, _ in done) == [1, 2]
    for _, version, bundle in done:
        assert tracking.fetch(toy, version).name == verify(bundle)["version"]


def test_a_store_that_cannot_be_reached_is_the_users_to_mend(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(UserError, match="does not answer"):
        tracking.prepare(settings(tmp_path, tracking={"uri": f"http://user:hunter2@127.0.0.1:{port}"}))
    assert time.monotonic() - started < 30
    with pytest.raises(UserError, match="sqlite:///"):
        tracking.prepare(settings(tmp_path, tracking={"uri": (tmp_path / "mlruns").as_uri()}))


def wait_for(process: subprocess.Popen[bytes], url: str, log: Path, seconds: float = 300) -> None:
    """Return once the server answers; fail with its log when it ends or takes too long (half a minute is usual)."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.25)
    pytest.fail(f"the server is not up: {log.read_text()}")


@pytest.fixture
def server(empty_store: Path, tmp_path: Path) -> Iterator[str]:
    """A real MLflow server on loopback, one worker, no jobs; stopped by its process group."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    copy_database(empty_store / "mlflow.db", tmp_path / "server.db")
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", address.rsplit(":")[-1],
        "--workers", "1", "--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}",
        "--artifacts-destination", str(tmp_path / "served"),
    ]  # fmt: skip
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log = (tmp_path / "server.log").open("w")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(process, f"http://{address}/health", tmp_path / "server.log")
        yield f"http://{address}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)
        log.close()


def test_the_whole_way_through_a_server(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    toy = settings(tmp_path / "here", model_name="served", tracking={"experiment": "served"})
    tracking.prepare(toy)
    tracking.check_same_question(toy)
    run_id, version, bundle = log_and_register(toy, tmp_path / "bundle")
    tracking.promote(toy, version, "first", over=None)
    champion = tracking.champion(toy)
    assert champion is not None
    assert (champion.run_id, champion.document) == (run_id, {"made": "one"})
    assert champion.bundle.name == verify(bundle)["version"]
    assert champion.oot.height == 200
    assert list((tmp_path / "served").rglob("oot_predictions.parquet")) != []  # the server keeps the files, not we
    assert list((tmp_path / "here").rglob("oot_predictions.parquet")) == []
