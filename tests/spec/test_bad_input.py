"""Bad input gets one clear message that says where: what a survey of it once found to end in a traceback."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from churn_clv import bundle, cli, config, events, features, timeline, training
from churn_clv.errors import UserError

HEADER = "cust,when,amt\n"
MAP = {"customer_id": "cust", "time": "when", "amount": "amt"}


def settings(path: Path | str, **sections: object) -> config.Config:
    source = {"sources": {"orders": {"path": str(path), "map": MAP}}}
    return config.load(dataset="bad", events=source, **sections)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("timeline", "horizon_days", 10**12),
        ("timeline", "min_history_days", 3_000_000),
        ("features", "families", []),
        ("service", "poll_seconds", 0),
        ("simulate", "days", 10**9),
        ("events", "ends", "9999-12-31"),
        ("events", "attributes", {"people": {"customer_id": "id"}}),
        ("events", "identity", {"source_id": "a", "customer_id": "b"}),
    ],
)
def test_a_setting_out_of_bounds_is_refused_by_name(section: str, key: str, value: object) -> None:
    with pytest.raises(UserError, match=f"{section}.{key}"):
        config.load(dataset="bad", **{section: {key: value}})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("learning_rate", 0),
        ("num_leaves", 1),
        ("bagging_fraction", 2),
        ("lambda_l2", -1),
        ("tweedie_variance_power", 3),
    ],
)
def test_a_parameter_that_lightgbm_would_refuse_is_refused_by_name(key: str, value: float) -> None:
    with pytest.raises(UserError, match=f"models.churn.{key}"):
        config.load(dataset="bad", models={"churn": {key: value}})


def test_yaml_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deep.yaml").write_text("a: " + "[" * 5000)
    with pytest.raises(UserError, match=r"deep\.yaml"):
        config.load(tmp_path / "deep.yaml")


def test_a_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "twice.csv").write_text("cust,when,amt,amt\na,2023-01-01,1,2\n")
    with pytest.raises(UserError, match=r"'amt' stands more than once in twice\.csv"):
        events.read_log(settings(tmp_path / "twice.csv"))


def test_a_utf16_file_a_folder_and_an_impossible_path_are_named(tmp_path: Path) -> None:
    (tmp_path / "wide.csv").write_text(HEADER, encoding="utf-16")
    for path, words in ((tmp_path / "wide.csv", "UTF-16"), (tmp_path, "is a folder"), ("a" * 5000, "not a path")):
        with pytest.raises(UserError, match=words):
            events.read_log(settings(path))


def test_no_feature_left_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(HEADER + "a,2023-01-01,1\na,2023-03-01,2\n")
    own = settings(tmp_path / "log.csv", features={"families": ["channel"]})
    log = events.read_log(own)
    with pytest.raises(UserError, match="no feature is left"):
        features.catalogue(timeline.define(log, own, as_of=log.ends))


def test_purchases_of_nothing_refuse_spend_and_still_give_churn(tmp_path: Path) -> None:
    first, lines = dt.date(2023, 1, 2), []
    for customer in range(120):
        days = range(customer % 7, 200, 7) if customer % 2 else range(customer % 90, 200, 20 + customer % 60)
        lines += [f"c{customer},{first + dt.timedelta(days=d)},0\n" for d in days]
    (tmp_path / "free.csv").write_text(HEADER + "".join(lines))
    quick = {"max_rounds": 3, "min_data_in_leaf": 5}
    own = settings(tmp_path / "free.csv", models={"churn": quick, "spend": quick})
    judged = training.judge(events.read_log(own), own)
    assert [h.target for h in judged.heads] == ["churned"]
    assert "spend anything" in judged.refused["spend"]


def test_churned_counts_absence_only(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(HEADER + "a,2023-01-01,1\n")
    own = settings(tmp_path / "log.csv", targets={"churned": {"measure": "count"}})
    with pytest.raises(UserError, match=r"targets\.churned\.measure"):
        training.answerable(events.read_log(own), own)


@pytest.mark.parametrize(
    "text", ['{"format": 1, "files": []}', '{"format": 1, "files": {}}', '{"format": 1, "files": 5}']
)
def test_a_manifest_without_the_parts_is_no_bundle(tmp_path: Path, text: str) -> None:
    (tmp_path / bundle.MANIFEST).write_text(text)
    with pytest.raises(bundle.BundleError):
        bundle.load_bundle(tmp_path)


def test_a_database_that_is_none_is_named(tmp_path: Path) -> None:
    from churn_clv.tracking import store

    own = config.load(dataset="bad", tracking={"uri": f"sqlite:///{tmp_path / 'mlflow.db'}"})
    (tmp_path / "mlflow.db").write_bytes(b"garbage" * 1000)
    for ask in (store.connect, store.prepare):
        with pytest.raises(UserError, match=r"mlflow\.db cannot be opened"):
            ask(own)


def test_a_full_disk_is_an_error_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device", "/out/scores")

    monkeypatch.setattr(cli, "app", full)
    shown: list[str] = []
    monkeypatch.setattr(cli, "err", SimpleNamespace(print=shown.append))
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == cli.USER_ERROR
    assert "/out/scores: No space left on device" in shown[0]


EARLY = """
import sys
from pathlib import Path
from typer.testing import CliRunner
from churn_clv import cli

for name in sys.argv[2:]:
    for file, said in (("key.yaml", "unknown key"), ("data.yaml", "file not found"), ("out.yaml", "is a file, and")):
        result = CliRunner().invoke(cli.app, [name, str(Path(sys.argv[1]) / file)])
        assert said in str(result.exception), (name, file, result.exception)
        late = [m for m in ("mlflow", "lightgbm", "optuna", "matplotlib", "scipy", "sklearn") if m in sys.modules]
        assert not late, (name, file, late)
"""


def test_what_is_cheap_to_see_is_said_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    """A wrong key, a file of the log that is not there, a file where results should go: in every command that reads."""
    (tmp_path / "taken").write_text("")
    (tmp_path / "key.yaml").write_text("dataset: x\ntimelin: {}\n")
    (tmp_path / "data.yaml").write_text(
        f"dataset: x\nout: {tmp_path}/new/out\nevents:\n  sources:\n    log:\n"
        f"      path: {tmp_path}/none.csv\n      map: {{customer_id: a, time: b}}\n"
    )
    (tmp_path / "out.yaml").write_text(f"dataset: x\nout: {tmp_path}/taken/deeper\n")
    names = (
        "check",
        "plan",
        "advise",
        "features",
        "train",
        "backtest",
        "tune",
        "forecast",
        "whatif",
        "score",
        "segments",
    )
    ran = subprocess.run([sys.executable, "-c", EARLY, str(tmp_path), *names], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert not (tmp_path / "new").exists()


def test_every_place_of_the_config_is_looked_at(tmp_path: Path) -> None:
    place = {"path": str(tmp_path / "none.csv")}
    for section, said in (
        ({"attributes": {"people": place | {"customer_id": "a"}}}, "events.attributes.people.path: file not found"),
        ({"identity": place | {"source_id": "a", "customer_id": "b"}}, "events.identity.path: file not found"),
        ({"sources": {"log": {"table": "t", "map": {}}}}, "events.sources.log.table: 't' belongs to an adapter"),
        ({"adapter": "cdnw"}, "no adapter 'cdnw'. Did you mean 'cdnow'"),
    ):
        with pytest.raises(UserError, match=said):
            events.check_places(config.from_dict({"dataset": "x", "events": section}).events)
