"""The gateway's OpenAPI document, made true about refusals: FastAPI does not know this app's error handlers.

A refusal is an `ErrorBody` in JSON whatever its route answers otherwise, and is one of those that the route declares
with `refusals`; FastAPI's own 422 occurs nowhere. Any route may fail with a 5XX.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from wire.http import ErrorBody

BY_TOKEN = (400, 401, 403, 426)
"""Refusals of a route that wants a token and looks at the version headers."""

BY_SESSION = (*BY_TOKEN, 404)
"""Of one that is about a session as well."""

_REFUSAL = {"application/json": {"schema": {"$ref": f"#/components/schemas/{ErrorBody.__name__}"}}}


def refusals(*statuses: int | str) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: the statuses that it refuses with."""
    return {status: {} for status in statuses}


class DocumentedApp(FastAPI):
    """FastAPI with an honest document."""

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if not self.openapi_schema:
            self.openapi_schema = _made_true(super().openapi())
        return self.openapi_schema


def _made_true(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document["components"]["schemas"]
    schemas[ErrorBody.__name__] = ErrorBody.model_json_schema()
    for guess in ("HTTPValidationError", "ValidationError"):
        schemas.pop(guess, None)
    for path in document["paths"].values():
        for operation in path.values():
            _correct(operation["responses"])
    return document


def _correct(responses: dict[str, Any]) -> None:
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    for status, response in responses.items():
        if status >= "4":
            response.setdefault("content", _REFUSAL)
