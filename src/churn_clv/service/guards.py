"""Who may ask, how often and how much at once: the rules that the gate applies, in one place."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable

from churn_clv.service.asgi import Scope
from churn_clv.service.call import Call
from churn_clv.service.contract import MAX_BODY_BYTES
from churn_clv.service.keys import Keys
from churn_clv.service.limits import Rate, Room
from churn_clv.service.refusals import Refused, no_key, too_often

# Bodies in memory at once, in bytes: sixteen of the largest.
BODIES = 16 * MAX_BODY_BYTES
THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]")
log = logging.getLogger("churn_clv.service")


class Guards:
    """The rules of one service; those that are not given are not asked."""

    def __init__(
        self,
        keys: Keys | None = None,
        rate: Rate | None = None,
        max_concurrency: int = 256,
        timeout_seconds: float = 30.0,
        hosts: Iterable[str] | None = None,
        bodies: int = BODIES,
    ) -> None:
        self.keys, self.rate, self.timeout_seconds = keys, rate, timeout_seconds
        self.requests, self.bodies = Room(max_concurrency), Room(bodies)
        self._hosts = None if hosts is None else tuple(name.lower() for name in hosts)

    def admit(self, scope: Scope, call: Call) -> None:
        """Raise Refused unless host, key and rate are as they should be."""
        if self._hosts is not None and not _served(_host(scope), self._hosts):
            raise Refused(400, "This host is not served here.", "host", unread=True)
        caller = f"address {scope['client'][0]}" if scope.get("client") else "address"
        if self.keys is not None and (name := self.keys.name_of(scope["headers"])):
            call.key, caller = name, f"key {name}"
        # Callers without a key have a rate, too: guessing is not free.
        if self.rate is not None and (seconds := self.rate.wait(caller)):
            raise too_often(seconds)
        if self.keys is not None and call.key is None:
            raise no_key()


def is_loopback(host: str | None) -> bool:
    """Whether only this machine can reach an address; of one that is not known: no."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _host(scope: Scope) -> str:
    """The Host header without its port; empty where there is none, or more than one."""
    given = [value.decode("latin-1").lower() for name, value in scope["headers"] if name.lower() == b"host"]
    if len(given) != 1:
        return ""
    name: str = given[0]
    return name[: name.rfind("]") + 1] if name.startswith("[") else name.partition(":")[0]


def _served(host: str, allowed: Iterable[str]) -> bool:
    return any(
        name == "*" or host == name or (name.startswith("*.") and host.endswith(name[1:]) and host != name[1:])
        for name in allowed
    )
