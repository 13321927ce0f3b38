"""Post audiences to a URL: bounded in time and tries; by its key the receiver knows a batch that comes again."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from churn_clv.actions import _outbox
from churn_clv.errors import UserError
from churn_clv.playbook import Webhook

SECRET = "CHURN_CLV_WEBHOOK_SECRET"
AGAIN = {408, 425, 429}  # and all of 500 and above: worth another try
LONGEST_WAIT = 60.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would lose its body."""

    def redirect_request(self, *_: Any) -> None:
        return None


def deliver(path: Path, campaign: str, hook: Webhook, say: Callable[[str], None] = lambda _: None) -> int:
    """Post what the outbox still holds of a campaign; returns how many lines arrived.

    Each batch is noted as delivered before the next, so a broken run goes on where it stopped; a batch whose answer
    was lost comes again under the same Idempotency-Key. Raises UserError when a batch does not arrive.
    """
    if hook.url is None:
        return 0
    count = 0
    batches = _outbox.waiting(path, campaign)
    for number, (key, lines) in enumerate(batches):
        say(f"posting batch {number + 1} of {len(batches)}")
        try:
            _post(hook, key, {"campaign": campaign, "batch": key, "customers": lines})
        except OSError as error:
            raise UserError(
                f"webhook: batch {key} did not arrive at {hook.url} ({error}). {count:,} lines before it "
                f"had. Mend it and run `churn-clv act --send` again: it goes on with this batch."
            ) from None
        _outbox.delivered(path, campaign, key)
        count += len(lines)
    return count


def _post(hook: Webhook, key: str, document: dict[str, Any]) -> None:
    body = json.dumps(document).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    if secret := os.environ.get(SECRET):
        headers["X-Signature"] = "sha256=" + hmac.digest(secret.encode(), body, hashlib.sha256).hex()
    request = urllib.request.Request(str(hook.url), data=body, headers=headers, method="POST")
    opener = urllib.request.build_opener(_NoRedirect)
    for attempt in range(hook.retries + 1):
        if attempt:
            time.sleep(min(hook.wait_seconds * 2 ** (attempt - 1), LONGEST_WAIT))
        try:
            with opener.open(request, timeout=hook.timeout_seconds):
                return
        except urllib.error.HTTPError as error:
            error.close()
            if attempt == hook.retries or not (error.code >= 500 or error.code in AGAIN):
                raise
        except (OSError, http.client.HTTPException) as error:
            if attempt == hook.retries:
                raise error if isinstance(error, OSError) else OSError(str(error)) from None
