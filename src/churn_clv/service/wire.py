"""What uvicorn leaves open below the application: request heads without end, and connections that never ask.

Its parser joins a header piece by piece without a limit, so that one endless header holds the process; and a
connection that sends nothing, or a byte a minute, is kept for ever. Both end here.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 10.0
REFUSAL = "Invalid HTTP request received."
log = logging.getLogger("churn_clv.service")


def guarded(protocol: type[Any]) -> type[Any]:
    """A uvicorn protocol (of httptools) whose heads have at most ``HEAD_BYTES`` bytes and ``HEAD_SECONDS``."""

    class Guarded(protocol):  # type: ignore[misc]
        """The same, with limits."""

        head: int | None = 0
        clock: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._arm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            # One piece may hold a whole head and much of a body, so a head is too long only if it goes on after that.
            if self.head is not None and self.head > HEAD_BYTES:
                self._disarm()
                self.send_400_response(REFUSAL)
                return
            if self.head is not None:
                self.head += len(data)
            super().data_received(data)
            if self.head and self.clock is None and not self.transport.is_closing():
                self._arm()

        def on_headers_complete(self) -> None:
            self.head = None
            self._disarm()
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self.head = 0
            super().on_message_complete()

        def _arm(self) -> None:
            self.clock = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

        def _disarm(self) -> None:
            if self.clock is not None:
                self.clock.cancel()
                self.clock = None

    return Guarded


def guard() -> bool:
    """Put the limits under uvicorn's server of this process; whether that could be done (it needs httptools)."""
    try:
        from uvicorn.protocols.http import auto
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:
        log.warning("httptools is not installed: request heads have no limits")
        return False
    if auto.AutoHTTPProtocol is HttpToolsProtocol:
        auto.AutoHTTPProtocol = guarded(HttpToolsProtocol)
    return True
