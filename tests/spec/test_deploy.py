"""The images' recipes: what they copy is there, what they install is locked, and nothing runs as root or is wide open.

No container engine is needed here; tests/check/test_wheel_and_bento.py runs the service image's own commands.
"""

from __future__ import annotations

import fnmatch
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from churn_clv import cli, config, service
from churn_clv.errors import UserError

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "Dockerfile"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())


def stages() -> dict[str, list[tuple[str, str]]]:
    """Each stage's instructions, those of the stage it builds on first."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", FILE.read_text(), flags=re.M))
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for line in filter(None, text.split("\n")):
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            base, _, name = rest.split()
            found[name] = list(found.get(base, []))
        else:
            found[name].append((word, rest))
    return found


STAGES = stages()
IMAGES = [name for name in STAGES if name != "base"]


@pytest.mark.parametrize("name", IMAGES)
def test_what_an_image_copies_is_there_and_sent(name: str) -> None:
    ignored = [
        x for x in (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().split("\n") if x[:1] not in ("", "#")
    ]
    sent = [line[1:] for line in ignored if line.startswith("!")]
    assert ignored[0] == "*"
    sources = [s for word, rest in STAGES[name] if word == "COPY" for s in shlex.split(rest)[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(source == s or source.startswith(f"{s}/") or fnmatch.fnmatch(source, s) for s in sent), source


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_installs_locked_wheels_only_and_does_not_run_as_root(name: str) -> None:
    installs = [rest for word, rest in STAGES[name] if word == "RUN" and "pip install" in rest]
    assert len(installs) == 1
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(shlex.split(installs[0]))
    words = [word for word, _ in STAGES[name]]
    user = dict(STAGES[name])["USER"]
    assert int(user.split(":")[0]) > 0 and words.index("USER") < words.index("ENTRYPOINT")
    assert "USER" not in words[: words.index("COPY")]  # installed by root: the service cannot change its own code


def test_the_service_image_has_no_lab() -> None:
    copied = " ".join(rest for word, rest in STAGES["serve"] if word in ("COPY", "RUN"))
    assert "serve.txt" in copied and "lab.txt" not in copied


def test_the_services_settings_are_an_overlay_that_asks_for_keys() -> None:
    found = config.load(ROOT / "configs" / "completejourney.yaml", ROOT / "deploy" / "serving.yaml").service
    ports = [rest for word, rest in STAGES["serve"] if word == "EXPOSE"]
    assert (found.host, [str(found.port)]) == ("0.0.0.0", ports)


def test_a_config_without_a_data_set_can_be_served_where_it_names_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(service, "serve", lambda *args: given.append(args))
    monkeypatch.delenv("CHURN_CLV_BUNDLES", raising=False)
    monkeypatch.delenv("CHURN_CLV_SCORES", raising=False)
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "own.yaml"
    own.write_text("service: {bundles: /bundles, port: 31987}\n")
    done = CliRunner().invoke(cli.app, ["serve", str(own)])
    assert done.exit_code == 0, done.output
    [(host, port, folder, *_, stored)] = given
    assert (host, port, str(folder)) == ("127.0.0.1", 31987, "/bundles")
    assert "CHURN_CLV_MODEL" not in stored and "CHURN_CLV_SCORES" not in stored  # the loaded bundle's own
    own.write_text("service: {port: 31987}\n")
    refused = CliRunner().invoke(cli.app, ["serve", str(own)])
    assert isinstance(refused.exception, UserError) and "names no dataset" in str(refused.exception)


def test_compose_builds_stages_that_exist_and_opens_nothing_beyond_this_machine() -> None:
    for name, one in COMPOSE["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in one.get("ports", [])), name
        assert set(one.get("secrets", [])) <= COMPOSE["secrets"].keys(), name
        if "build" in one:
            assert one["build"]["target"] in IMAGES and (ROOT / one["build"]["dockerfile"]) == FILE
            assert one["read_only"] and one["cap_drop"] == ["ALL"], name
        for volume in one.get("volumes", []):
            place = volume.split(":")[0]
            there = place.startswith("${CHURN_CLV_") or place in COMPOSE["volumes"]
            assert there or (ROOT / "deploy" / place).exists(), volume
    text = (ROOT / "deploy" / "compose.yaml").read_text()
    assert "PASSWORD:" not in text and "PASSWORD=" not in text
