"""The subset of JSON Schema that strict mode takes: for `text.format.schema` and for a tool's parameters.

Words and codes are the service's; what is nowhere documented is refused rather than let through.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.responses.refusal import RefusedError

_PERMITTED = (
    "type properties required additionalProperties items enum const anyOf $ref $defs definitions $schema title"
    " description pattern format multipleOf minimum maximum exclusiveMinimum exclusiveMaximum minItems maxItems"
)
PERMITTED = frozenset(_PERMITTED.split())
TYPES = frozenset({"string", "number", "boolean", "integer", "object", "array", "null"})
FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
MAX_PROPERTIES, MAX_LEVELS, MAX_ENUM_VALUES, MAX_NAME_CHARS = 5_000, 10, 1_000, 120_000

Path = tuple[str, ...]


class _UnfitError(Exception):
    """Where a schema leaves the subset, and how."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"In context={path}, {problem}")


def check_format(name: str, schema: Any) -> None:
    """Refuse a `text.format.schema` that strict mode does not take. Raises RefusedError."""
    problem = problem_of(schema)
    if problem is not None:
        message = f"Invalid schema for response_format '{name}': {problem}"
        raise RefusedError(message, "invalid_json_schema", "text.format.schema")


def check_parameters(place: str, name: str, schema: Any) -> None:
    """Refuse a tool's `parameters` that strict mode does not take. Raises RefusedError."""
    problem = problem_of(schema)
    if problem is not None:
        message = f"Invalid schema for function '{name}': {problem}"
        raise RefusedError(message, "invalid_function_parameters", f"{place}.parameters")


def problem_of(schema: Any) -> str | None:
    """What is wrong with a schema, or None."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        got = schema.get("type") if isinstance(schema, dict) else None
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{got}\"'."
    if "anyOf" in schema:
        return "In context=(), 'anyOf' is not permitted at the root."
    try:
        seen = list(_walk(schema, (), 1, schema))
    except _UnfitError as unfit:
        return str(unfit)
    return _too_large(seen)


def _walk(schema: Any, path: Path, level: int, root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every schema within, each checked on the way."""
    if not isinstance(schema, dict):
        raise _UnfitError(path, f"{schema!r} is not of type 'object'.")
    _check_words(schema, path, root)
    if level > MAX_LEVELS:
        raise _UnfitError(path, f"{level} levels of nesting exceeds limit of {MAX_LEVELS}.")
    yield schema
    deeper = level + 1
    for name, within in _mapping(schema, "properties", path).items():
        yield from _walk(within, (*path, "properties", name), deeper, root)
    for defs in ("$defs", "definitions"):
        for name, within in _mapping(schema, defs, path).items():
            yield from _walk(within, (*path, defs, name), 1, root)
    if "items" in schema:
        yield from _walk(schema["items"], (*path, "items"), deeper, root)
    for number, within in enumerate(schema.get("anyOf", ())):
        yield from _walk(within, (*path, "anyOf", str(number)), level, root)


def _mapping(schema: dict[str, Any], word: str, path: Path) -> dict[str, Any]:
    found = schema.get(word, {})
    if not isinstance(found, dict):
        raise _UnfitError(path, f"{found!r} is not of type 'object'.")
    return found


def _check_words(schema: dict[str, Any], path: Path, root: dict[str, Any]) -> None:
    for word in schema:
        if word not in PERMITTED:
            raise _UnfitError(path, f"'{word}' is not permitted.")
    if "$ref" in schema:
        _check_reference(schema, path, root)
        return
    if "anyOf" in schema:
        if not isinstance(schema["anyOf"], list) or not schema["anyOf"]:
            raise _UnfitError(path, "'anyOf' must be a non-empty array.")
        if "type" not in schema:
            return
    kinds = schema.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if kinds == [None]:
        raise _UnfitError(path, "schema must have a 'type' key.")
    if not kinds or not all(isinstance(kind, str) and kind in TYPES for kind in kinds):
        raise _UnfitError(path, f"{schema['type']!r} is not valid under any of the given schemas.")
    _check_values(schema, path)
    if "object" in kinds or "properties" in schema:
        _check_object(schema, path)
    if "array" in kinds and "items" not in schema:
        raise _UnfitError(path, "array schema missing items.")


def _check_reference(schema: dict[str, Any], path: Path, root: dict[str, Any]) -> None:
    beside = set(schema) - {"$ref"}
    if beside and path:
        raise _UnfitError(path, f"$ref cannot have keywords {sorted(beside)}.")
    target: Any = root
    for step in str(schema["$ref"]).removeprefix("#").strip("/").split("/"):
        if step:
            target = target.get(step) if isinstance(target, dict) else None
    if not str(schema["$ref"]).startswith("#") or target is None:
        raise _UnfitError(path, f"reference can only point to definitions of this schema, was '{schema['$ref']}'.")


def _check_values(schema: dict[str, Any], path: Path) -> None:
    """Enumerations, patterns and formats."""
    if "enum" in schema and (not isinstance(schema["enum"], list) or not schema["enum"]):
        raise _UnfitError(path, "'enum' must be a non-empty array.")
    if "format" in schema and schema["format"] not in FORMATS:
        raise _UnfitError(path, f"'{schema['format']}' is not a valid format.")
    pattern = schema.get("pattern")
    if pattern is None:
        return
    try:
        re.compile(pattern)
    except (re.error, TypeError):
        raise _UnfitError(path, f"{pattern!r} is not a 'regex'.") from None
    if re.search(r"\(\?[=!<]", pattern):
        raise _UnfitError(path, f"{pattern!r}: look-around is not supported.")


def _check_object(schema: dict[str, Any], path: Path) -> None:
    if schema.get("additionalProperties") is not False:
        raise _UnfitError(path, "'additionalProperties' is required to be supplied and to be false.")
    names, required = _mapping(schema, "properties", path), schema.get("required")
    demand = "'required' is required to be supplied and to be an array including every key in properties."
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        if names or required is not None:
            raise _UnfitError(path, f"{demand} Missing '{next(iter(names), '')}'.")
        return
    for name in names:
        if name not in required:
            raise _UnfitError(path, f"{demand} Missing '{name}'.")
    for name in required:
        if name not in names:
            raise _UnfitError(path, f"{demand} Extra required key '{name}' supplied.")


def _too_large(seen: list[dict[str, Any]]) -> str | None:
    names = [name for schema in seen for name in schema.get("properties", {})]
    values = [value for schema in seen for value in schema.get("enum", ())]
    chars = sum(len(str(word)) for word in [*names, *values])
    for what, count, most in (
        ("properties", len(names), MAX_PROPERTIES),
        ("enum values", len(values), MAX_ENUM_VALUES),
        ("characters in names and enum values", chars, MAX_NAME_CHARS),
    ):
        if count > most:
            return f"Expected at most {most} {what} in total within a schema, but got {count}."
    return None
