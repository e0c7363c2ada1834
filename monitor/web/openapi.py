"""The API's own description (OpenAPI 3.1), made of the table of endpoints: it says what is served and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from monitor.web.endpoints import Endpoint
from monitor.web.responses import json

_REF: Final = "#/components/schemas/{name}"
_PROBLEM: Final = {
    "type": "object",
    "required": ["error", "field"],
    "properties": {
        "error": {"type": "string", "description": "what is wrong, in one sentence"},
        "field": {"type": ["string", "null"], "description": "the field it is about"},
    },
}
_REFUSALS: Final = {
    "400": "not understood",
    "401": "nobody is known",
    "403": "known, and may not",
    "404": "not there",
    "409": "not now",
    "413": "too long",
    "422": "a field is wrong",
    "429": "too many wrong tokens; see Retry-After",
    "502": "the revocation store refused",
    "503": "not durable, no store, or not ready; send again",
}


async def get_openapi(_: Request) -> Response:
    """Describe the API."""
    return json(_document())


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the OpenAPI document of these endpoints."""
    bodies = [endpoint.body for endpoint in endpoints if endpoint.body is not None]
    _, schemas = msgspec.json.schema_components(bodies, ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(_path(endpoint.path), {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Killcord",
            "version": version("killcord"),
            "description": "Watches what AI agents do and cuts a bad one off. The live feed, /v1/feed, is a websocket.",
        },
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Problem": _PROBLEM},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "killcord"},
            },
        },
    }


@cache
def _document() -> dict[str, Any]:
    from monitor.web.table import ENDPOINTS  # the table lists this endpoint too

    return document(ENDPOINTS)


def _path(path: str) -> str:
    """Return the path without Starlette's convertors, as OpenAPI has it."""
    return re.sub(r"\{(\w+)(:\w+)?\}", r"{\1}", path)


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _identifier(endpoint),
        "summary": endpoint.summary,
        "parameters": _parameters(endpoint),
        "responses": _responses(endpoint),
        "security": [] if endpoint.permission is None else [{"token": []}, {"session": []}],
    }
    if endpoint.permission is not None:
        operation["description"] = f"Takes the permission `{endpoint.permission}`."
    schema = endpoint.schema
    if endpoint.body is not None:
        schema = {"$ref": _REF.format(name=endpoint.body.__name__)}
    if schema is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name, _ in re.findall(r"\{(\w+)(:\w+)?\}", endpoint.path)
    ]
    in_query = [
        {
            "name": query.name,
            "in": "query",
            "description": query.meaning,
            "required": query.required,
            "schema": query.schema,
        }
        for query in endpoint.query
    ]
    return in_path + in_query


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    problem = {"application/json": {"schema": {"$ref": _REF.format(name="Problem")}}}
    refusals = {status: {"description": said, "content": problem} for status, said in _REFUSALS.items()}
    return {"2XX": {"description": "done"}, "3XX": {"description": "see there"}, **refusals}


def _identifier(endpoint: Endpoint) -> str:
    words = re.findall(r"[A-Za-z0-9]+", endpoint.path)
    return "_".join([endpoint.method.lower(), *words])
