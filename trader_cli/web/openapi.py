"""The API's own description: OpenAPI 3.1 whose answers are the JSON Schemas that `--json` keeps to."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

ERROR = "trader.error/1"


def answers(schema: str, *errors: int) -> dict[int | str, dict[str, Any]]:
    """What a path may answer: a document of that schema, nothing new, or an error."""
    found: dict[int | str, dict[str, Any]] = {200: _content(schema, "The document.")}
    found[304] = {"description": "It is the one whose ETag was sent in If-None-Match."}
    for status, about in _ERRORS.items():
        if status in (401, 421, 503, *errors):
            found[status] = _content(ERROR, about)
    return found


_ERRORS = {
    401: "A token is needed.",
    404: "There is no ledger yet, or nothing of that name.",
    421: "The server is not known by that name.",
    422: "A parameter cannot be.",
    503: "The ledger cannot be read now.",
}


def _content(schema: str, about: str) -> dict[str, Any]:
    return {"description": about, "content": {"application/json": {"schema": {"$ref": _place(schema)}}}}


def _place(schema: str) -> str:
    return f"#/components/schemas/{schema.replace('/', '.')}"


def described(api: dict[str, Any]) -> dict[str, Any]:
    """FastAPI's description with every schema that it refers to, and no other."""
    wanted = sorted(set(_references(api["paths"])))
    schemas = {name: _placed(_shipped(name), name) for name in wanted}
    return {**api, "components": {"schemas": schemas}}


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        here = [node["$ref"].rpartition("/")[2]] if "$ref" in node else []
        return here + [one for value in node.values() for one in _references(value)]
    if isinstance(node, list):
        return [one for value in node for one in _references(value)]
    return []


def _shipped(name: str) -> dict[str, Any]:
    text = resources.files("trader_cli.schemas").joinpath("json", f"{name}.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    schema.pop("$schema")
    return schema


def _placed(node: Any, name: str) -> Any:
    """A schema whose own references lead to where it stands now."""
    if isinstance(node, dict):
        return {
            key: f"#/components/schemas/{name}{value[1:]}"
            if key == "$ref" and value.startswith("#/")
            else _placed(value, name)
            for key, value in node.items()
        }
    return [_placed(one, name) for one in node] if isinstance(node, list) else node
