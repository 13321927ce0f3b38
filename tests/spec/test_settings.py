"""How the service is told to run: one variable, the config's own keys, and never open to a network by mistake."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from churn_clv import config, playbook
from churn_clv.config import Service
from churn_clv.errors import UserError
from churn_clv.service import keys, settings
from churn_clv.service.guards import THIS_MACHINE

KEY, LINE = keys.make("shop")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (settings.VARIABLE, settings.POLL_VARIABLE, keys.VARIABLE):
        monkeypatch.delenv(name, raising=False)


def test_the_section_survives_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert settings.from_environment() == Service()
    monkeypatch.chdir(tmp_path)
    given = Service(keys="k.txt", rate_per_second=5, cors_origins=("https://shop.example",), allowed_hosts=("a.b",))
    monkeypatch.setenv(settings.VARIABLE, settings.as_text(given))
    assert settings.from_environment() == given.model_copy(update={"keys": str(tmp_path / "k.txt")})
    monkeypatch.setenv(settings.VARIABLE, "{rate_per_second: 3, require_key: true}")
    assert settings.from_environment() == Service(rate_per_second=3, require_key=True)


@pytest.mark.parametrize(
    "text", ["[1]", "{rate_per_second: -1}", "{kees: a}", "{a: [", "{cors_origins: ['*']}", "{max_concurrency: 0}"]
)
def test_what_cannot_be_meant_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(settings.VARIABLE, text)
    with pytest.raises(UserError, match=settings.VARIABLE):
        settings.from_environment()


@pytest.mark.parametrize("text", ["x", "0", "-1", "inf", "nan"])
def test_a_poll_that_is_no_number_is_the_sections(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(settings.POLL_VARIABLE, text)
    assert settings.poll_seconds(Service(poll_seconds=7)) == 7
    monkeypatch.setenv(settings.POLL_VARIABLE, "0.5")
    assert settings.poll_seconds(Service(poll_seconds=7)) == 0.5


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "::"])
def test_a_network_without_keys_is_refused(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="require_key is off"):
        settings.check(Service(require_key=False), host)
    with pytest.raises(UserError, match="knows none"):
        settings.check(Service(), host)
    with pytest.raises(UserError, match="there is no file"):
        settings.check(Service(keys=str(tmp_path / "none")), host)
    keys.add(tmp_path / "keys.txt", LINE)
    settings.check(Service(keys=str(tmp_path / "keys.txt")), host)
    for given in (LINE, str(tmp_path / "keys.txt")):
        monkeypatch.setenv(keys.VARIABLE, given)
        settings.check(Service(), host)
        assert len(settings.keys_of(Service())) == 1
    settings.check(Service(require_key=False), "127.0.0.1")
    settings.check(Service(), "127.0.0.1")


def test_a_worker_that_does_not_know_its_address_asks_for_keys(caplog: pytest.LogCaptureFixture) -> None:
    """Also where the config says otherwise: `bentoml serve --host 0.0.0.0` never went through `check`."""
    assert settings.bound_to() is None
    for section in (Service(), Service(require_key=False)):
        guards = settings.guards_of(section, None)
        assert guards.keys is not None and len(guards.keys) == 0
    assert [r.levelno for r in caplog.records] == [logging.ERROR] * 3
    assert settings.guards_of(Service(), "127.0.0.1").keys is None
    assert settings.guards_of(Service(require_key=True), "127.0.0.1").keys is not None


def test_without_keys_only_this_machines_names_are_served() -> None:
    assert settings.guards_of(Service(), "127.0.0.1")._hosts == THIS_MACHINE
    assert settings.guards_of(Service(require_key=True), "127.0.0.1")._hosts is None
    assert settings.guards_of(Service(allowed_hosts=("a.b",)), "127.0.0.1")._hosts == ("a.b",)


def test_files_of_actions_are_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In their order, the last winning; without any nothing may be recommended."""
    monkeypatch.delenv(settings.ACTIONS_VARIABLE, raising=False)
    assert settings.actions() is None and settings.actions_text([]) == {}
    for name, cost in (("a", 0.5), ("b", 0.7)):
        (tmp_path / f"{name}.yaml").write_text(f"actions: {{reminder: {{contact: {cost}}}}}", encoding="utf-8")
    own = config.from_dict(
        {"dataset": "shop", "actions": {"files": [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]}}
    )
    for name, value in settings.actions_text(playbook.files_of(own)).items():
        monkeypatch.setenv(name, value)
    found = settings.actions()
    assert found is not None and found.actions["reminder"].contact == 0.7 and "coupon" in found.actions
    monkeypatch.setenv(settings.ACTIONS_VARIABLE, str(tmp_path / "none.yaml"))
    with pytest.raises(UserError, match="actions file not found"):
        settings.actions()
