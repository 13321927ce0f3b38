"""docs/features.md is what the catalogue says."""

from __future__ import annotations

from pathlib import Path

from churn_clv import config, events, features, simulate, timeline

ROOT = Path(__file__).parents[2]


def test_the_features_page_is_current() -> None:
    settings = config.load(*(ROOT / "configs" / f"{name}.yaml" for name in ("simulator", "targets", "membership")))
    few = settings.simulate.model_copy(update={"customers": 300})
    log = events.from_frame(simulate.simulate(few, settings.seed).log, events.rules_of(settings.events))
    definitions = timeline.define(log, settings, as_of=log.ends)
    assert features.left_out(definitions) == {}
    page = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
    assert page == features.as_markdown(definitions), "run `make features-page`"
