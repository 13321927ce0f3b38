"""A run made again from MLflow alone: the same metrics to the digit, and words where that cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sim
import yaml
from click.testing import Result
from typer.testing import CliRunner

from churn_clv import cli, config, retraining, tracking
from churn_clv.cli import _lab
from churn_clv.errors import UserError

COLUMNS = ("customer_id", "time", "event_type", "amount", "order_id", "product_id", "category", "channel")


def call(*words: str) -> Result:
    return CliRunner().invoke(cli.app, list(words))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small log and the config that trains on it."""
    folder = tmp_path_factory.mktemp("again")
    log = sim.log(900)
    frame = log.frame.select(COLUMNS).with_columns(amount=log.frame["amount"] / 100)
    frame.write_parquet(folder / "log.parquet")
    log_section = {"timezone": "UTC", "ends": log.ends, "sources": {
        "log": {"path": str(folder / "log.parquet"), "map": {c: c for c in COLUMNS}}}}  # fmt: skip
    own = sim.settings(events=log_section, promotion={"bootstrap_draws": 100}, grade={"required": "D"})
    (folder / "shop.yaml").write_text(config.to_yaml(own.model_copy(update={"out": str(folder / "out")})))
    # overlays need not be whole: these sources and targets mean something only on top of the run's config
    (folder / "out.yaml").write_text(f"out: {folder / 'out'}\ntargets: {{gone: null}}\n"
                                     f"events: {{sources: {{log: {{path: {folder / 'log.parquet'}}}}}}}\n")  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def first(shop: Path) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        done = call("train", str(shop / "shop.yaml"), "--json")
    assert done.exit_code in (0, 3), done.output
    return dict(json.loads(done.stdout))


@pytest.fixture(autouse=True)
def only_the_given_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "CHURN_CLV_BUNDLES"):
        monkeypatch.delenv(name, raising=False)


def test_a_run_alone_gives_the_same_metrics_to_the_digit(shop: Path, first: dict[str, Any]) -> None:
    done = call("train", str(shop / "out.yaml"), "--from-run", first["run_id"], "--json")
    again = json.loads(done.stdout)
    assert again["run_id"] != first["run_id"]
    assert {step["rung"]: step["metrics"] for step in again["ladder"] if step["rung"] != "current_champion"} == {
        step["rung"]: step["metrics"] for step in first["ladder"]
    }
    told = again["reproduces"]
    assert (told["run_id"], told["differing"]) == (first["run_id"], [])
    assert told["same_data"] and told["same_code"] and told["same_recipe"]
    assert "every metric is the same, to the digit" in done.stderr
    if first["promoted"]:  # the same recipe on the same data takes nobody's place
        assert (done.exit_code, again["promoted"], again["already_champion"]) == (0, False, True)
    else:
        assert (done.exit_code, again["already_champion"]) == (3, False)
    here = config.load(shop / "shop.yaml")
    found = [tracking.recorded(here, document["run_id"]) for document in (first, again)]
    assert found[0].values == found[1].values and found[1].tags["reproduces"] == first["run_id"]


def test_an_unknown_run_says_which_there_are(shop: Path, first: dict[str, Any]) -> None:
    done = call("train", str(shop / "out.yaml"), "--from-run", "f" * 32)
    assert isinstance(done.exception, UserError)
    assert first["run_id"] in str(done.exception) and "The newest there are" in str(done.exception)


def test_a_run_is_found_by_its_beginning_and_no_store_is_made(
    shop: Path, first: dict[str, Any], tmp_path: Path
) -> None:
    here = config.load(shop / "shop.yaml")
    assert tracking.recorded(here, first["run_id"][:12]).run_id == first["run_id"]
    elsewhere = here.model_copy(update={"out": str(tmp_path / "elsewhere")})
    with pytest.raises(UserError, match=r"there is no tracking store at .*names `out`"):
        tracking.recorded(elsewhere, first["run_id"])
    assert not (tmp_path / "elsewhere").exists()


def test_the_store_of_a_run_made_again_is_the_users_not_the_one_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written down lacks the password."""
    uri, overlay = "postgresql+pg8000://u:s3cret@h/d", tmp_path / "own.yaml"
    overlay.write_text(f"tracking: {{uri: '{uri}'}}\n")
    values = yaml.safe_load(config.to_yaml(sim.settings(tracking={"uri": uri})))
    assert values["tracking"]["uri"] == "postgresql+pg8000://u@h/d"
    monkeypatch.setattr(tracking, "recorded", lambda *_: SimpleNamespace(values=values))
    assert _lab._recorded([overlay], "a")[1].tracking_uri == uri
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://other:5000")
    assert _lab._recorded([], "a")[1].tracking_uri == "http://other:5000"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert _lab._recorded([], "a")[1].tracking.uri is None


def test_train_wants_a_config_or_a_run() -> None:
    done = call("train")
    assert isinstance(done.exception, UserError) and "--from-run" in str(done.exception)


def test_a_card_comes_from_the_store_alone(shop: Path, first: dict[str, Any]) -> None:
    shown = call("card", first["run_id"], str(shop / "shop.yaml"))
    assert shown.exit_code == 0 and first["run_id"] in shown.stdout and "## Misuse" in shown.stdout
    page = shop / "cards" / "card.html"
    assert call("card", first["model_version"], str(shop / "shop.yaml"), "--out", str(page)).exit_code == 0
    assert page.read_text().count("<img") >= 4 and "<h2>Limits</h2>" in page.read_text()
    assert json.loads(call("card", first["run_id"], str(shop / "shop.yaml"), "--json").stdout)["file"] is None


def test_other_data_code_and_recipe_are_said_and_so_is_every_metric_that_differs() -> None:
    then = {"churn_auroc": 0.7, "spend_gini": None, "n": 10}
    again: Any = SimpleNamespace(
        run_id="a", document={"ladder": [{"metrics": then}]},
        tags={"fingerprint": "old", "code_hash": "old", "recipe_hash": "old"},
    )  # fmt: skip
    trained: Any = SimpleNamespace(ladder=[{"metrics": then | {"churn_auroc": 0.7000000000000001}}])
    log: Any = SimpleNamespace(fingerprint="new")
    told = retraining.compared(again, log, trained, sim.settings())
    assert told["differing"] == [["churn_auroc", 0.7, 0.7000000000000001]]
    assert not (told["same_data"] or told["same_code"] or told["same_recipe"])
    assert [note.split(" of that")[0] for note in told["notes"][:3]] == [
        "The data are not those", "The code is not that", "The recipe is not that",
    ]  # fmt: skip
    assert told["notes"][3] == "Against that run 1 of its 3 metrics differ."
