"""How the service was told to run: the config's section `service`, in one variable of the environment.

``churn-clv serve`` sets it; who starts BentoML directly (a container) writes the same keys, as YAML or JSON:
``CHURN_CLV_SERVICE='{keys: /run/keys, rate_per_second: 100}'``. ``CHURN_CLV_KEYS`` holds the keys' lines, or
names their file; ``CHURN_CLV_ACTIONS`` names files of actions.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError

from churn_clv import playbook
from churn_clv.config import Service
from churn_clv.errors import UserError
from churn_clv.playbook import Actions
from churn_clv.service import keys as api_keys
from churn_clv.service.guards import THIS_MACHINE, Guards, is_loopback
from churn_clv.service.keys import Keys
from churn_clv.service.limits import Rate

VARIABLE = "CHURN_CLV_SERVICE"
POLL_VARIABLE = "CHURN_CLV_POLL_SECONDS"
ACTIONS_VARIABLE = "CHURN_CLV_ACTIONS"
log = logging.getLogger("churn_clv.service")


def from_environment() -> Service:
    """The section as the environment has it. Raises UserError naming the key that is wrong."""
    try:
        given = yaml.safe_load(os.environ.get(VARIABLE) or "{}")
        if not isinstance(given, dict):
            raise UserError(f"{VARIABLE} holds no keys and values. Write it like {{keys: /run/keys}}.")
        return Service.model_validate(given)
    except yaml.YAMLError:
        raise UserError(f"{VARIABLE} is not YAML. Write it like {{keys: /run/keys, rate_per_second: 100}}.") from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise UserError(f"{VARIABLE}: {wrong}.") from None


def as_text(settings: Service) -> str:
    """The section for the variable; the file of keys by its whole path, since a worker may start elsewhere."""
    keys = str(Path(settings.keys).absolute()) if settings.keys else None
    return settings.model_copy(update={"keys": keys}).model_dump_json()


def actions_text(files: Sequence[Path]) -> dict[str, str]:
    """The files of actions for the environment; nothing without files."""
    return {ACTIONS_VARIABLE: os.pathsep.join(map(str, files))} if files else {}


def actions() -> Actions | None:
    """What may be done to customers, of the files that the environment names, in their order. Raises UserError."""
    given = os.environ.get(ACTIONS_VARIABLE, "")
    return playbook.own([Path(path) for path in given.split(os.pathsep) if path])


def poll_seconds(settings: Service) -> float:
    """Between looks at CURRENT; CHURN_CLV_POLL_SECONDS wins where it is a number of seconds."""
    given = os.environ.get(POLL_VARIABLE, "")
    try:
        seconds = float(given or settings.poll_seconds)
    except ValueError:
        seconds = 0.0
    if 0 < seconds < 86_400:
        return seconds
    log.warning("%s is not a number of seconds; using %s.", POLL_VARIABLE, settings.poll_seconds)
    return settings.poll_seconds


def bound_to() -> str | None:
    """The address that this worker listens on, of the socket that BentoML handed it; None where there is none."""
    try:
        number = int(sys.argv[sys.argv.index("--fd") + 1])
        with socket.socket(fileno=os.dup(number)) as listening:
            name = listening.getsockname()
    except (ValueError, IndexError, OSError):
        return None
    return str(name[0]) if isinstance(name, tuple) else None


def keys_of(settings: Service) -> Keys:
    """The keys of the file and of the environment, whose variable holds lines, or names the file instead."""
    given = os.environ.get(api_keys.VARIABLE, "").strip()
    path = _key_file(settings)
    return Keys(Path(path) if path else None, "" if _is_path(given) else given)


def _key_file(settings: Service) -> str | None:
    given = os.environ.get(api_keys.VARIABLE, "").strip()
    return given if _is_path(given) else settings.keys


def _is_path(given: str) -> bool:
    """Lines hold sums behind colons; a path holds a slash, which no line does."""
    return "/" in given


def asks_for_keys(settings: Service, host: str | None) -> bool:
    """Whether a request needs a key: always, but on loopback only where the config says so."""
    if is_loopback(host):
        return bool(settings.require_key)
    if settings.require_key is False:
        log.error("service.require_key is off, but not only this machine can ask: keys are asked for all the same")
    return True


def check(settings: Service, host: str) -> None:
    """Refuse to start a service that would be open to everyone, or closed to everyone. Raises UserError."""
    if settings.require_key is False and not is_loopback(host):
        raise UserError(
            f"service.require_key is off and service.host is {host}: everyone on that network could ask. Leave "
            f"require_key out, or use host 127.0.0.1."
        )
    if not is_loopback(host) or settings.require_key:
        path = _key_file(settings)
        if path and not Path(path).is_file():
            raise UserError(f"there is no file of API keys at {path}. Make it: churn-clv key NAME --file {path}")
        if path and not os.access(path, os.R_OK):
            raise UserError(f"the file of API keys {path} cannot be read by the user who runs this: chmod a+r {path}")
        if not len(keys_of(settings)):
            raise UserError(
                "the service asks for API keys and knows none. Make one with `churn-clv key NAME --file keys.txt` and "
                "set service.keys to that file."
            )


def guards_of(settings: Service, host: str | None) -> Guards:
    """The rules of a service that listens on ``host`` (None: not known, and so taken for open to all).

    Without keys only this machine's own names are served: a web page could otherwise point its own name at loopback
    and read the answers (DNS rebinding).
    """
    keys = keys_of(settings) if asks_for_keys(settings, host) else None
    if keys is not None and not len(keys):
        log.error("API keys are asked for and none is known: every request will be refused (service.keys)")
    rate = Rate(settings.rate_per_second, settings.rate_burst) if settings.rate_per_second else None
    hosts = settings.allowed_hosts or (THIS_MACHINE if keys is None else None)
    return Guards(keys, rate, settings.max_concurrency, settings.timeout_seconds, hosts)
