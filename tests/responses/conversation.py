"""The items of `input`: known keys, every call with its output and the reverse, reasoning that can be read again."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.responses.models import invalid_value
from tests.responses.official import wrong_type
from tests.responses.refusal import RefusedError

ITEM_KEYS = {
    "message": {"type", "id", "role", "content", "status", "phase"},
    "function_call": {"type", "id", "call_id", "name", "arguments", "status", "caller", "namespace"},
    "function_call_output": {"type", "id", "call_id", "output", "status", "name", "namespace", "caller"},
    "reasoning": {"type", "id", "summary", "content", "encrypted_content", "status"},
    "item_reference": {"type", "id"},
}
"""The items a client of function tools sends; others go by the official schema alone."""
REQUIRED = {
    "message": ("role", "content"),
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id", "output"),
    "reasoning": ("id", "summary"),
    "item_reference": ("id",),
}
PREFIXES = {"message": "msg", "function_call": "fc", "reasoning": "rs"}
SPOKEN = {"assistant": ("output_text", "refusal")}
ROLES = ("user", "assistant", "system", "developer")
HEARD = ("input_text", "input_image", "input_file")


def sealed(item_id: str) -> str:
    """The encrypted content of a reasoning item: opaque to a client, and known again here."""
    return "gAAAAAB" + hashlib.sha512(item_id.encode()).hexdigest()


def check_items(body: dict[str, Any]) -> None:
    """Refuse items with missing, unknown or misplaced keys, each for itself. Raises RefusedError."""
    items = body.get("input")
    for number, item in enumerate(items if isinstance(items, list) else ()):
        _check_item(f"input[{number}]", item)


def check_conversation(body: dict[str, Any], stored: dict[str, set[str]]) -> None:
    """Refuse an `input` that does not hang together. Raises RefusedError."""
    previous, keeps = body.get("previous_response_id"), body.get("store") is not False
    if previous is not None and (not keeps or previous not in stored):
        message = f"Previous response with id '{previous}' not found."
        raise RefusedError(message, "previous_response_not_found", "previous_response_id")
    items = body.get("input")
    if not isinstance(items, list):
        items = []
    _check_ids(items)
    _check_reasoning(items, keeps)
    _check_pairs(items, stored.get(previous or "", set()))


def _check_item(where: str, item: Any) -> None:
    if not isinstance(item, dict):
        raise wrong_type(where, "object", item)
    kind = item.get("type", "message")
    for key in ("type", "role", "id", "call_id", "arguments"):
        if item.get(key) is not None and not isinstance(item[key], str):
            raise wrong_type(f"{where}.{key}", "string", item[key])
    if kind not in ITEM_KEYS:
        return
    for key in REQUIRED[kind]:
        if item.get(key) is None:
            param = f"{where}.{key}"
            raise RefusedError(f"Missing required parameter: '{param}'.", "missing_required_parameter", param)
    for key in item:
        if key not in ITEM_KEYS[kind]:
            raise RefusedError(f"Unknown parameter: '{where}.{key}'.", "unknown_parameter", f"{where}.{key}")
    prefix, name = PREFIXES.get(kind), item.get("id")
    if prefix is not None and name is not None and not str(name).startswith(prefix):
        message = f"Invalid '{where}.id': '{name}'. Expected an ID that begins with '{prefix}'."
        raise RefusedError(message, "invalid_value", f"{where}.id")
    if kind == "message":
        if item["role"] not in ROLES:
            raise invalid_value(item["role"], ROLES, f"{where}.role")
        if isinstance(item["content"], list):
            _check_parts(where, item)


def _check_parts(where: str, item: dict[str, Any]) -> None:
    """An assistant has spoken, everyone else is heard."""
    known = SPOKEN.get(item["role"], HEARD)
    for number, part in enumerate(item["content"]):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in known:
            raise invalid_value(kind, known, f"{where}.content[{number}]")


def _check_ids(items: list[dict[str, Any]]) -> None:
    seen: set[str] = set()
    for item in items:
        name = item.get("id")
        if name is not None and name in seen:
            message = f"Duplicate item found with id {name}. Remove duplicate items from your input and try again."
            raise RefusedError(message, None, "input")
        seen.add(name or "")


def _check_reasoning(items: list[dict[str, Any]], keeps: bool) -> None:
    for number, item in enumerate(items):
        kind, name = item.get("type"), item.get("id")
        if not keeps and (kind == "item_reference" or (kind == "reasoning" and not item.get("encrypted_content"))):
            message = (
                f"Item with id '{name}' not found. Items are not persisted when `store` is set to false."
                " Try again with `store` set to true, or remove this item from your input."
            )
            raise RefusedError(message, None, "input", status=404)
        if kind != "reasoning":
            continue
        if item.get("encrypted_content") not in (None, sealed(str(name))):
            message = f"The encrypted content for item {name} could not be verified."
            message += " Reason: Encrypted content could not be decrypted or parsed."
            raise RefusedError(message, "invalid_encrypted_content")
        after = items[number + 1] if number + 1 < len(items) else {}
        if not (after.get("type") in ("reasoning", "function_call") or after.get("role") == "assistant"):
            message = f"Item '{name}' of type 'reasoning' was provided without its required following item."
            raise RefusedError(message, None, "input")


def _check_pairs(items: list[dict[str, Any]], earlier: set[str]) -> None:
    """Every call has its output, after it, and no output is without its call."""
    called, answered = set(earlier), set()
    for item in items:
        call = item.get("call_id")
        if item.get("type") == "function_call":
            if call in called:
                message = f"Duplicate function call found with call_id {call}."
                raise RefusedError(message, None, "input")
            called.add(str(call))
        elif item.get("type") == "function_call_output":
            if call not in called:
                message = f"No tool call found for function call output with call_id {call}."
                raise RefusedError(message, None, "input")
            if call in answered:
                message = f"Duplicate function call output found with call_id {call}."
                raise RefusedError(message, None, "input")
            answered.add(str(call))
    for call in sorted(called - answered):
        raise RefusedError(f"No tool output found for function call {call}.", None, "input")
