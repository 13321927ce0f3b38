"""The configuration: complete defaults, overlays, and one clear line for each mistake."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from churn_clv import config
from churn_clv.canonical import LOG_SCHEMA
from churn_clv.errors import UserError

CONFIGS = Path(__file__).parents[2] / "configs"
DEFAULT = (CONFIGS / "default.yaml").read_text(encoding="utf-8")


def mapped(amount: Any) -> dict[str, Any]:
    return {"dataset": "x", "events": {"sources": {"s": {"path": "s.csv", "map": {"amount": amount}}}}}


def overlay(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def keys(model: BaseModel) -> dict[str, Any]:
    """The keys of a section, its sections inside; dictionaries and lists stand for themselves."""
    fields = {name: getattr(model, name) for name in type(model).model_fields}
    return {name: keys(value) if isinstance(value, BaseModel) else None for name, value in fields.items()}


def same_keys(written: Any, expected: dict[str, Any] | None, path: str = "") -> None:
    if expected is not None:
        assert list(written) == list(expected) or set(written) == set(expected), path
        for name, inner in expected.items():
            same_keys(written[name], inner, f"{path}.{name}")


def test_default_yaml_has_every_key_with_its_default() -> None:
    written = yaml.safe_load(DEFAULT)
    assert "# dataset:" in DEFAULT and "dataset" not in written
    same_keys(written | {"dataset": "x"}, keys(config.Config(dataset="x")))
    loaded = config.from_dict(written | {"dataset": "x"})
    assert loaded.model_copy(update={"targets": {}}) == config.Config(dataset="x")


def test_every_setting_is_commented_where_it_first_stands() -> None:
    commented: set[str] = set()
    for line in DEFAULT.splitlines():
        if found := re.match(r"\s*(\w+): *[^\s#]", line):
            assert "#" in line or found[1] in commented, line
        commented |= set(re.findall(r"(\w+):.*#", line))


def test_the_default_targets() -> None:
    targets = config.from_dict(yaml.safe_load(DEFAULT) | {"dataset": "x"}).targets
    assert targets["churned"].events == config.Predicate(column="event_type", is_in=("purchase",))
    assert (targets["churned"].measure, targets["churned"].at_least) == ("absent", None)
    assert targets["spend"].events.is_in == ("purchase", "return")
    assert (targets["spend"].measure, targets["spend"].at_least) == ("amount", 0)


def test_the_commented_examples_are_valid_and_complete() -> None:
    block = "\n".join(re.findall(r"^  # (.*)$", DEFAULT, flags=re.MULTILINE))
    values = yaml.safe_load(block)
    programme = config.from_dict({"dataset": "x", "loyalty": {"programme": values.pop("programme")}}).loyalty.programme
    assert programme is not None and programme.model_fields_set == set(config.Programme.model_fields)
    own = config.from_dict({"dataset": "x", "kpis": {key: values.pop(key) for key in ("costs", "aims")}}).kpis
    assert own.costs[0].model_fields_set == set(config.Cost.model_fields)
    assert own.aims["retention"].model_fields_set == set(config.Aim.model_fields)
    parsed = config.from_dict({"dataset": "x", "events": values}).events
    assert parsed.identity is not None
    examples = "".join(re.findall(r"(?:^# {3,}.*\n)+", DEFAULT, flags=re.MULTILINE)[-2:])
    target = config.from_dict({"dataset": "x", "targets": yaml.safe_load(examples.replace("#", " "))}).targets
    assert target["second_order"].population == "one_order"
    assert target["ended"].contract is not None and target["ended"].reach_days(28) == 37
    source, identity, attributes = parsed.sources["orders"], parsed.identity, parsed.attributes["demographics"]
    assert set(source.map) == set(LOG_SCHEMA)
    assert source.model_fields_set == set(config.Source.model_fields) - {"table"}
    assert attributes.model_fields_set == set(config.Attributes.model_fields) - {"table"}
    assert identity.model_fields_set == set(config.Identity.model_fields) - {"table", "format", "separator"}


@pytest.mark.parametrize(
    ("name", "horizon", "active"),
    [("completejourney", 28, 56), ("cdnow", 90, 180), ("online_retail", 60, 180)],
)
def test_shipped_configs_load(name: str, horizon: int, active: int) -> None:
    loaded = config.load(CONFIGS / f"{name}.yaml")
    assert (loaded.timeline.horizon_days, loaded.population.active_within_days) == (horizon, active)
    assert loaded.registered_name == f"churn-clv-{name}-h{horizon}"
    own = {"completejourney": {"buys_category"}, "cdnow": {"second_order", "returns"}}.get(name, set())
    assert set(loaded.targets) == {"churned", "spend"} | own
    assert config.from_dict(yaml.safe_load(config.to_yaml(loaded))) == loaded


def test_overlays_merge_left_to_right(tmp_path: Path) -> None:
    first = overlay(tmp_path, "dataset: a\ntimeline: {horizon_days: 56, step_days: 14}\n", "1.yaml")
    second = overlay(tmp_path, "timeline: {horizon_days: 84}\nevents:\n", "2.yaml")
    loaded = config.load(first, second)
    assert (loaded.timeline.horizon_days, loaded.timeline.step_days, loaded.dataset) == (84, 14, "a")
    assert loaded.events == config.Events()


def test_an_overlay_replaces_a_mapping_whole_and_keeps_the_others(tmp_path: Path) -> None:
    first = overlay(tmp_path, yaml.safe_dump(mapped({"multiply": ["a", "b"]})), "1.yaml")
    text = "events: {sources: {s: {map: {amount: {constant: 1}, time: t}}}}"
    found = config.load(first, overlay(tmp_path, text, "2.yaml")).events.sources["s"].map
    assert found == {"amount": config.Constant(constant=1), "time": "t"}


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"dataset": "x", "timelin": {}}, "unknown key 'timelin'. Did you mean 'timeline'?"),
        (
            {"dataset": "x", "timeline": {"horizon_day": 1}},
            "unknown key 'timeline.horizon_day'. Did you mean 'horizon_days'?",
        ),
        (
            {"dataset": "x", "models": {"churn": {"num_leafs": 1}}},
            "unknown key 'models.churn.num_leafs'. Did you mean 'num_leaves'?",
        ),
        (
            {"dataset": "x", "events": {"sources": {"path": {"path": "a", "map": {}, "mapp": {}}}}},
            "unknown key 'events.sources.path.mapp'. Did you mean 'map'?",
        ),
        ({}, "dataset: required, and not given."),
        ({"dataset": "a/b"}, "dataset: expected letters, digits, '_', '.' and '-' only, such as my-shop."),
        (
            {"dataset": "x", "events": {"sources": {"s": {"map": {}}}}},
            "events.sources.s: give exactly one of path (files) and table (of the adapter).",
        ),
        (
            {"dataset": "x", "events": {"sources": {"s": {"path": "a", "separator": "||", "map": {}}}}},
            "events.sources.s.separator: expected text of at most 1 character.",
        ),
        ({"dataset": "x", "seed": "seven"}, "seed: expected a whole number, found text."),
        (
            {"dataset": "x", "timeline": {"horizon_days": 2.5}},
            "timeline.horizon_days: expected a whole number, found 2.5.",
        ),
        (
            {"dataset": "x", "timeline": {"horizon_days": 0}},
            "timeline.horizon_days: expected a number above 0, found 0.",
        ),
        ({"dataset": "x", "value": {"margin_share": None}}, "value.margin_share: expected a number, found nothing."),
        (
            {"dataset": "x", "value": {"margin_share": 1.5}},
            "value.margin_share: expected a number at most 1, found 1.5.",
        ),
        ({"dataset": "x", "features": {"families": []}}, "features.families: expected at least 1 value, found none."),
        *[
            (
                {"dataset": "x", "features": {"seen_by": ["visit", kind]}},
                f"features.seen_by: {kind} cannot stand here: purchases count anyway, returns never.",
            )
            for kind in ("purchase", "return")
        ],
        ({"dataset": "x", "features": "all"}, "features: expected keys and values, found text."),
        (
            {"dataset": "x", "events": {"ends": "spring"}},
            "events.ends: expected a date such as 2024-05-31, found text.",
        ),
        ({"dataset": "x", "service": {"port": [1]}}, "service.port: expected a whole number, found a list."),
        ({"dataset": "x", "events": {"duplicates": "no"}}, "events.duplicates: expected 'keep' or 'drop', found text."),
        *[
            (
                mapped(bad),
                "events.sources.s.map.amount: not a mapping; expected a column name or one of "
                "{multiply}, {constant}, {when}.",
            )
            for bad in (3, None, ["a"], {"multiplly": ["a", "b"]}, {})
        ],
        (mapped({"multiply": ["a"]}), "events.sources.s.map.amount.multiply.1: required, and not given."),
        (mapped({"constant": [1]}), "events.sources.s.map.amount.constant: expected text, a number or true/false."),
        (
            mapped({"when": {"column": "a", "equals": 1}, "then": "b", "els": "c"}),
            "unknown key 'events.sources.s.map.amount.els'. Did you mean 'else'?",
        ),
        (
            mapped({"when": {"column": "a", "equals": 1}, "then": {"eval": "b"}}),
            "events.sources.s.map.amount.then: not a mapping; expected a column name or one of "
            "{multiply}, {constant}, {when}.",
        ),
        (
            mapped({"when": {"column": "a", "equals": 1, "less_than": 2}, "then": "b"}),
            "events.sources.s.map.amount.when: give exactly one of equals, starts_with, less_than.",
        ),
        *[
            ({"dataset": "x", "clv": {name: values}}, f"clv: {name} must rise strictly.")
            for name, values in (("months", [6, 3]), ("active_months", [3, 3]), ("next_order_days", [14, 7]))
        ],
    ],
)
def test_each_mistake_gives_one_line(values: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError) as caught:
        config.from_dict(values)
    assert str(caught.value) == f"config: 1 setting(s) refused.\n  {line}"


def test_constants_keep_their_type() -> None:
    for value in ("x", 1, 1.5, True):
        found = config.from_dict(mapped({"constant": value})).events.sources["s"].map["amount"]
        assert isinstance(found, config.Constant)
        assert (found.constant, type(found.constant)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [1", "is not valid YAML"), ("- 1", "expected keys and values at the top, found list")],
)
def test_files_that_are_no_config(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        config.load(overlay(tmp_path, text))


def test_a_missing_file_and_an_unreadable_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config file not found: .*none\.yaml"):
        config.load(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"dataset: caf\xe9")
    with pytest.raises(UserError, match=r"latin\.yaml cannot be read"):
        config.load(tmp_path / "latin.yaml")


def test_sections_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        config.Config(dataset="x").timeline.horizon_days = 3  # type: ignore[misc]


def test_the_recipe_hash_follows_what_is_learnt_only() -> None:
    base = config.Config(dataset="x")
    for same in ({"out": "o"}, {"service": {"port": 1}}, {"events": {"folder": "f"}}, {"models": {"threads": 1}}):
        assert config.from_dict({"dataset": "x"} | same).recipe_hash == base.recipe_hash
    for other in ({"seed": 8}, {"timeline": {"horizon_days": 7}}, {"events": {"duplicates": "drop"}}):
        assert config.from_dict({"dataset": "x"} | other).recipe_hash != base.recipe_hash


def test_families_of_a_head_change_the_recipe_only_where_they_are_given() -> None:
    """The hashes of two shipped configs, which give none: without such a key they would be the same."""
    for name, recipe, core in (("completejourney", "94b40b18f82818b3", "c17663684a470ac5"),
                               ("cdnow", "734c0b9600da2a1a", "1f6b57b79cebd5de")):  # fmt: skip
        found = config.load(CONFIGS / f"{name}.yaml")
        assert (found.recipe_hash, found.core_hash) == (recipe, core)
        fewer = config.load(CONFIGS / f"{name}.yaml", models={"spend": {"families": ["recency"]}})
        assert fewer.recipe_hash != recipe and fewer.core_hash != core


@pytest.mark.parametrize(
    ("uri", "written"),
    [
        ("postgresql+pg8000://u:s3cret@h/d", "postgresql+pg8000://u@h/d"),
        ("postgresql+pg8000://u:s3c%2Fr%40et@h:5432/d?ssl=1", "postgresql+pg8000://u@h:5432/d?ssl=1"),
        ("postgresql+pg8000://u:s3c/r@e:?#t@h:5432/d", "postgresql+pg8000://u@h:5432/d"),
        ("postgresql+pg8000://u@tenant:s3cret@h/d", "postgresql+pg8000://u@tenant@h/d"),
        ("postgresql://h/d?user=u&password=s3cret&ssl=1", "postgresql://h/d?user=u&password=&ssl=1"),
        ("postgresql://h:5432/d?password=a@s3cret", "postgresql://h:5432/d?password="),
        ("https://me:s3cret@mlflow:5000/x", "https://mlflow:5000/x"),
        ("https://s3cret@mlflow:5000", "https://mlflow:5000"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("http://mlflow:5000", "http://mlflow:5000"),
        ("sqlite:////home/me:x@y/mlflow.db", "sqlite:////home/me:x@y/mlflow.db"),
        ("databricks", "databricks"),
    ],
)
def test_a_password_of_the_store_is_not_written_down(uri: str, written: str) -> None:
    own = config.from_dict({"dataset": "x", "tracking": {"uri": uri, "experiment": "e"}})
    text = config.to_yaml(own)
    again = config.from_dict(yaml.safe_load(text))
    assert "s3c" not in text and again.tracking.uri == written == config.without_password(uri)
    assert own.tracking.uri == uri
    assert again.model_copy(update={"tracking": own.tracking}) == own
    assert (again.recipe_hash, again.core_hash) == (own.recipe_hash, own.core_hash)
    assert (again == own) is (uri == written)


def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("CHURN_CLV_BUNDLES", raising=False)
    plain = config.Config(dataset="x", out=str(tmp_path))
    assert plain.tracking_uri == f"sqlite:///{tmp_path.resolve() / 'mlflow.db'}"
    assert plain.bundles_folder == tmp_path / "bundles" / plain.registered_name
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    monkeypatch.setenv("CHURN_CLV_BUNDLES", "/served")
    assert plain.tracking_uri == "http://mlflow:5000"
    assert plain.bundles_folder == Path("/served")
