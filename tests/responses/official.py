"""The official schema of POST /v1/responses, where this checkout has it beside it: types, values, bounds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from tests.responses.models import invalid_value
from tests.responses.refusal import RefusedError

WHERE = Path("shared", "reference", "openai", "create_response.schema.json")
_CODES = {"minimum": "integer_below_min_value", "maximum": "integer_above_max_value"}


def check_official(body: dict[str, Any]) -> None:
    """Refuse what the official schema refuses; nothing is checked where it is absent. Raises RefusedError."""
    schema = official()
    if schema is None or schema.is_valid(body):
        return
    error = best_match(schema.iter_errors(body))
    raise _refusal(error) if error is not None else RefusedError("The request is invalid.")


@cache
def official() -> Draft202012Validator | None:
    """The schema, compiled once for the process; None where the file is absent."""
    found = next((one / WHERE for one in Path(__file__).resolve().parents if (one / WHERE).is_file()), None)
    if found is None:
        return None
    schemas = _lenient(json.loads(found.read_text("utf-8"))["schemas"])
    # The service takes a function tool without these two, whatever the schema says.
    schemas["FunctionTool"]["required"] = ["type", "name"]
    return Draft202012Validator({"$ref": "#/components/schemas/CreateResponse", "components": {"schemas": schemas}})


def _lenient(node: Any) -> Any:
    """OpenAPI's `oneOf` means "by the discriminator": its branches overlap, so one of them is enough."""
    if isinstance(node, list):
        return [_lenient(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {("anyOf" if key == "oneOf" else key): _lenient(value) for key, value in node.items()}


def _refusal(error: ValidationError) -> RefusedError:
    """A difference from the schema in the service's words."""
    param = place(error.absolute_path)
    match error.validator:
        case "required":
            missing = error.message.split("'")[1]
            param = f"{param}.{missing}" if param else missing
            return RefusedError(f"Missing required parameter: '{param}'.", "missing_required_parameter", param)
        case "type":
            return wrong_type(param, f"{error.validator_value}", error.instance)
        case "enum" if isinstance(error.validator_value, list):
            return invalid_value(error.instance, tuple(map(str, error.validator_value)), param)
        case kind if kind in _CODES:
            side = "below minimum" if kind == "minimum" else "above maximum"
            sign = ">=" if kind == "minimum" else "<="
            message = (
                f"Invalid '{param}': integer {side} value."
                f" Expected a value {sign} {error.validator_value}, but got {error.instance} instead."
            )
            return RefusedError(message, _CODES[str(kind)], param)
    return RefusedError(f"Invalid '{param}': {error.message}"[:500], "invalid_value", param)


def wrong_type(param: str, expected: str, value: Any) -> RefusedError:
    """A value of another JSON type than the parameter has."""
    names = {str: "a string", bool: "a boolean", int: "an integer", float: "a decimal number", list: "an array"}
    got = "null" if value is None else names.get(type(value), "an object")
    article = "an" if expected[0] in "aeio" else "a"
    message = f"Invalid type for '{param}': expected {article} {expected}, but got {got} instead."
    return RefusedError(message, "invalid_type", param)


def place(path: Iterable[str | int]) -> str:
    """A path as the service writes it: `tools[0].parameters`."""
    words = ""
    for step in path:
        words += f"[{step}]" if isinstance(step, int) else f".{step}" if words else step
    return words
