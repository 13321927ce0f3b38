"""What /openapi.json says beside the application's own endpoints: keys, health and metrics."""

from __future__ import annotations

from typing import Any

KEY_WAYS: tuple[dict[str, list[str]], ...] = ({"bearer": []}, {"api_key": []})
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key of this service (churn-clv key)."},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
}
_TEXT = {"text/plain": {"schema": {"type": "string"}}}
_REFUSAL = {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}


def completed(document: dict[str, Any], asks_for_keys: bool) -> dict[str, Any]:
    """The document with the security schemes (asked for, or not) and the endpoints that BentoML and the gate answer."""
    document["components"]["securitySchemes"] = SCHEMES
    if asks_for_keys:
        document["security"] = list(KEY_WAYS)
    document["paths"] |= {
        "/livez": _probe("Whether the process lives", {"200": "It does."}),
        "/readyz": _probe("Whether it can predict", {"200": "It can.", "503": "No verified model is loaded yet."}),
        "/metrics": {"get": {"summary": "What Prometheus reads", "responses": _metrics()}},
    }
    return document


def _probe(summary: str, answers: dict[str, str]) -> dict[str, Any]:
    responses = {status: {"description": text, "content": _TEXT} for status, text in answers.items()}
    return {"get": {"summary": summary, "security": [], "responses": responses}}


def _metrics() -> dict[str, Any]:
    refusals = {"400": "The host is not served here.", "401": "No known API key.", "429": "Too many requests."}
    page = {"200": {"description": "The text format 0.0.4.", "content": _TEXT}}
    return page | {status: {"description": text, "content": _REFUSAL} for status, text in refusals.items()}
