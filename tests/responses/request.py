"""What the service asks of a request, in its order: keys, types, model, format, tools, conversation."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from tests.responses.conversation import check_conversation, check_items
from tests.responses.models import check_model
from tests.responses.official import check_official, wrong_type
from tests.responses.refusal import RefusedError
from tests.responses.strict import check_format, check_parameters

_KEYS = (
    "access_programs background background_options context_management conversation image include input instructions"
    " max_output_tokens max_tool_calls metadata model moderation parallel_tool_calls previous_response_id prompt"
    " prompt_cache_key prompt_cache_options prompt_cache_retention reasoning safety_identifier service_tier store"
    " stream stream_options temperature text tool_choice tools top_logprobs top_p truncation user"
)
KEYS = frozenset(_KEYS.split())
MOVED = {
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "verbosity": "text.verbosity",
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
}
NESTED = {
    "text": {"format", "verbosity"},
    "reasoning": {"mode", "effort", "summary", "context", "generate_summary"},
}
FORMAT_KEYS = {"type", "name", "description", "schema", "strict"}
TOOL_KEYS = {
    "type", "name", "description", "parameters", "strict", "output_schema", "defer_loading", "allowed_callers",
}  # fmt: skip
NAME = "^[a-zA-Z0-9_-]+$"
NOT_JSON = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library"
    " correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)"
)


def read_body(raw: bytes, content_type: str) -> dict[str, Any]:
    """The body of a request. Raises RefusedError."""
    if content_type.partition(";")[0].strip().lower() != "application/json":
        message = (
            f"Unsupported content type: '{content_type}'. This API method only accepts 'application/json' requests,"
            f" but you specified the header 'Content-Type: {content_type}'."
        )
        raise RefusedError(message, "unsupported_content_type")
    try:
        body = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise RefusedError(NOT_JSON) from None
    if not isinstance(body, dict):
        raise RefusedError(NOT_JSON)
    return body


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def check_request(body: dict[str, Any], stored: dict[str, set[str]], any_model: bool = False) -> None:
    """Refuse what the service refuses. Raises RefusedError.

    `stored` has the calls that are still open of every response that was kept under `store=true`; with
    `any_model` a model may have any name and settings, as on a compatible server.
    """
    _check_keys(body)
    _check_types(body)
    _check_format_shape(body)
    _check_tools_shape(body)
    check_items(body)
    check_official(body)
    if not any_model:
        check_model(body)
    _check_limits(body)
    _check_format_name(body)
    _check_tool_choice(body)
    for number, tool in enumerate(body.get("tools") or ()):
        if tool["type"] == "function" and tool.get("strict"):
            check_parameters(f"tools[{number}]", tool["name"], tool.get("parameters"))
    check_conversation(body, stored)
    if body.get("stream") or body.get("background"):
        raise RefusedError("This loopback server neither streams nor works in the background.", "not_played_here")


def _check_keys(body: dict[str, Any]) -> None:
    for key in body:
        if key in MOVED:
            message = (
                f"Unsupported parameter: '{key}'. In the Responses API, this parameter has moved to '{MOVED[key]}'."
                " Try again with the new parameter. See the API documentation for more information:"
                " https://platform.openai.com/docs/api-reference/responses/create."
            )
            raise RefusedError(message, "unsupported_parameter", key)
        if key not in KEYS:
            raise unknown(key)
    for key, known in NESTED.items():
        _check_known(body.get(key), known, key)


def _check_known(value: Any, known: set[str], where: str) -> None:
    if isinstance(value, dict):
        for key in value:
            if key not in known:
                raise unknown(f"{where}.{key}")


def _check_types(body: dict[str, Any]) -> None:
    """The types that the rules below rely on."""
    for key in ("model", "input"):
        if body.get(key) is None and not (key == "input" and body.get("previous_response_id")):
            raise RefusedError(f"Missing required parameter: '{key}'.", "missing_required_parameter", key)
    for key, kinds, name in (
        ("model", str, "string"),
        ("text", dict, "object"),
        ("reasoning", dict, "object"),
        ("metadata", dict, "object"),
        ("tools", list, "array"),
        ("include", list, "array"),
        ("max_output_tokens", int, "integer"),
        ("store", bool, "boolean"),
        ("input", (str, list), "string or array"),
    ):
        value = body.get(key)
        if value is not None and (not isinstance(value, kinds) or (kinds is int and isinstance(value, bool))):
            raise wrong_type(key, name, value)


def _check_format_shape(body: dict[str, Any]) -> None:
    form = (body.get("text") or {}).get("format")
    if form is None:
        return
    if not isinstance(form, dict):
        raise wrong_type("text.format", "object", form)
    if form.get("type") == "json_schema":
        _check_given(form, ("name", "schema"), "text.format")
    _check_known(form, FORMAT_KEYS, "text.format")


def _check_tools_shape(body: dict[str, Any]) -> None:
    """Function tools are flat here; Chat Completions nests them."""
    for number, tool in enumerate(body.get("tools") or ()):
        where = f"tools[{number}]"
        if not isinstance(tool, dict):
            raise wrong_type(where, "object", tool)
        _check_given(tool, ("type",), where)
        if tool["type"] == "function":
            _check_given(tool, ("name",), where)
            _check_known(tool, TOOL_KEYS, where)
            _check_name(tool["name"], f"{where}.name", 128)


def _check_given(value: dict[str, Any], keys: tuple[str, ...], where: str) -> None:
    for key in keys:
        if value.get(key) is None:
            param = f"{where}.{key}"
            raise RefusedError(f"Missing required parameter: '{param}'.", "missing_required_parameter", param)


def _check_name(name: Any, param: str, most: int) -> None:
    if not isinstance(name, str):
        raise wrong_type(param, "string", name)
    if len(name) > most:
        raise too_long(param, most, len(name))
    if not re.fullmatch(NAME[1:-1], name):
        message = f"Invalid '{param}': string does not match pattern. Expected a string that matches the pattern"
        raise RefusedError(f"{message} '{NAME}'.", "invalid_value", param)


def _check_limits(body: dict[str, Any]) -> None:
    tokens = body.get("max_output_tokens")
    if tokens is not None and tokens < 16:
        message = "Invalid 'max_output_tokens': integer below minimum value."
        message += f" Expected a value >= 16, but got {tokens} instead."
        raise RefusedError(message, "integer_below_min_value", "max_output_tokens")
    if (body.get("reasoning") or {}).get("generate_summary") is not None:
        place = "reasoning.generate_summary"
        raise RefusedError(f"Unsupported parameter: '{place}'.", "unsupported_parameter", place)
    metadata = body.get("metadata") or {}
    if len(metadata) > 16:
        message = "Invalid 'metadata': too many properties. Expected an object with at most 16 properties,"
        message += f" but got an object with {len(metadata)} properties instead."
        raise RefusedError(message, "object_above_max_properties", "metadata")
    for key, value in metadata.items():
        if not isinstance(value, str):
            raise wrong_type(f"metadata.{key}", "string", value)
        for words, most in ((key, 64), (value, 512)):
            if len(words) > most:
                raise too_long(f"metadata.{key[:64]}", most, len(words))


def _check_format_name(body: dict[str, Any]) -> None:
    form = (body.get("text") or {}).get("format") or {}
    if form.get("type") == "json_schema":
        _check_name(form["name"], "text.format.name", 64)
        if form.get("strict"):
            check_format(form["name"], form["schema"])


def _check_tool_choice(body: dict[str, Any]) -> None:
    choice, tools = body.get("tool_choice"), body.get("tools") or ()
    if choice == "required" and not tools:
        message = "Tool choice 'required' must be specified with 'tools' parameter."
        raise RefusedError(message, None, "tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "function":
        name = choice.get("name")
        if name not in [tool.get("name") for tool in tools]:
            message = f"Tool choice 'function' '{name}' not found in 'tools' parameter."
            raise RefusedError(message, None, "tool_choice")


def unknown(key: str) -> RefusedError:
    """A key the service does not have."""
    return RefusedError(f"Unknown parameter: '{key}'.", "unknown_parameter", key)


def too_long(param: str, most: int, length: int) -> RefusedError:
    """A string beyond its length."""
    message = f"Invalid '{param}': string too long. Expected a string with maximum length {most},"
    message += f" but got a string with length {length} instead."
    return RefusedError(message, "string_above_max_length", param)
