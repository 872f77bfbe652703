"""One body of the Responses API, read with suspicion: its final message, its tool calls, its tokens, or what it lacks.

Reasoning, commentary and whatever else comes along is left aside; two final messages are none.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from typing import Any

from trader_cli.core.hostile import storable
from trader_cli.core.pricing import MOST_TOKENS
from trader_cli.schemas.question import OK, Usage
from trader_cli.schemas.tool import ToolCall

MOST_DEPTH = 32
"""Items are nested less deeply than this; what is deeper cannot be relied on to be written again."""

RETRIED_CODES = frozenset({"server_error", "rate_limit_exceeded"})
"""What a response that failed may say when it is worth another try (`error.code`)."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a body holds. `status` as `Answer.status`; `again` when another attempt may help."""

    status: str
    text: str | None = None
    error: str | None = None
    usage: Usage = field(default_factory=Usage)
    calls: tuple[ToolCall, ...] = ()
    items: tuple[dict[str, Any], ...] = ()
    again: bool = False


def read(raw: bytes) -> Reply:
    """A body as it came. Never raises: what cannot be read is a Reply that says so, with the beginning of the body."""
    try:
        document = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        return _malformed(f"the body is not JSON ({type(error).__name__})", raw)
    if not isinstance(document, dict) or not isinstance(document.get("output"), list):
        return _malformed("the body is no response", raw)
    usage = _usage(document.get("usage"))
    status = document.get("status", "completed")
    if status != "completed":
        return _unfinished(document, status, usage)
    return _completed([one for one in document["output"] if isinstance(one, dict)], usage)


def _completed(output: list[dict[str, Any]], usage: Usage) -> Reply:
    calls = [one for one in output if one.get("type") == "function_call"]
    if calls:
        return _called(calls, output, usage)
    finals = [one for one in output if one.get("type") == "message" and one.get("phase") in (None, "final_answer")]
    contents = [message.get("content") for message in finals]
    parts = [part for content in contents if isinstance(content, list) for part in content if isinstance(part, dict)]
    if refusal := next((part for part in parts if part.get("type") == "refusal"), None):
        return Reply("refused", None, _words(refusal.get("refusal")), usage)
    if len(finals) > 1:
        return Reply("malformed", None, f"{len(finals)} final messages", usage)
    texts = [part["text"] for part in parts if part.get("type") == "output_text" and isinstance(part.get("text"), str)]
    if not "".join(texts).strip():
        return Reply("empty", None, "no final message with text", usage)
    return Reply(OK, storable("".join(texts)), None, usage)


def _called(calls: list[dict[str, Any]], output: list[dict[str, Any]], usage: Usage) -> Reply:
    keys = ("call_id", "name", "arguments")
    if not all(isinstance(call.get(key), str) for call in calls for key in keys):
        return Reply("malformed", None, "a tool call without id, name or arguments", usage)
    if any(storable(call["call_id"]) != call["call_id"] for call in calls):  # its answer could not name it
        return Reply("malformed", None, "a tool call whose id cannot be kept", usage)
    if not _can_be_handed_back(output):
        return Reply("malformed", None, "a tool call among items that are no sound JSON", usage)
    made = tuple(ToolCall(*(storable(call[key]) for key in keys)) for call in calls)
    return Reply(OK, None, None, usage, made, tuple(output))


def _can_be_handed_back(items: list[dict[str, Any]]) -> bool:
    """Whether items can be written into the next request: no NaN, no lone surrogate, no nesting without end."""
    level: list[Any] = [items]
    for _ in range(MOST_DEPTH):
        within = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [child for children in within for child in children]
    with contextlib.suppress(ValueError):
        return not level and bool(json.dumps(items, ensure_ascii=False, allow_nan=False).encode("utf-8"))
    return False


def _unfinished(document: dict[str, Any], status: object, usage: Usage) -> Reply:
    """A response that did not come to its end, and why."""
    error = document.get("error")
    code = _words(error.get("code")) if isinstance(error, dict) else ""
    if status == "incomplete":
        details = document.get("incomplete_details")
        reason = _words(details.get("reason")) if isinstance(details, dict) else ""
        return Reply("incomplete", None, reason or "no reason given", usage)
    said = _words(error.get("message")) if isinstance(error, dict) else ""
    words = ": ".join(one for one in (code, said) if one) or f"status {_words(status)}"
    if code in RETRIED_CODES:
        return Reply("unavailable", None, f"the response failed: {words}", usage, again=True)
    return Reply("failed", None, words, usage)


def _usage(document: object) -> Usage:
    """The tokens as the server counts them; None for what it does not say or cannot mean."""
    if not isinstance(document, dict):
        return Usage()
    inside, outside = (document.get(name) for name in ("input_tokens_details", "output_tokens_details"))
    return Usage(
        input_tokens=_tokens(document.get("input_tokens")),
        cached_tokens=_tokens(inside.get("cached_tokens")) if isinstance(inside, dict) else None,
        output_tokens=_tokens(document.get("output_tokens")),
        reasoning_tokens=_tokens(outside.get("reasoning_tokens")) if isinstance(outside, dict) else None,
        cache_write_tokens=_tokens(inside.get("cache_write_tokens")) if isinstance(inside, dict) else None,
    )


def _tokens(value: object) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS
    return value if fits and isinstance(value, int) else None


def _malformed(why: str, raw: bytes) -> Reply:
    shown = raw[:200].decode("utf-8", "replace")
    return Reply("malformed", None, storable(f"{why}: {shown!r}"))


def _words(value: object) -> str:
    return storable(str(value))[:300] if value is not None else ""
