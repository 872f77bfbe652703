"""How an answer travels: statuses, delays, and everything that goes wrong between two machines."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.responses.answers import Shape, raw_text
from tests.responses.refusal import error_document

Said = dict[str, Any] | Callable[[dict[str, Any]], Any] | Shape


@dataclass(frozen=True, slots=True)
class Wire:
    """An answer and its way: `said` (a step) or `body` (the very bytes).

    Attributes:
        wait_secs: silence before the first byte, on top of the server's latency.
        head_secs, body_secs: over how long the head, the body is spread.
        ends: `well`; `cut` (half the body, then a close); `reset` (half the body, then RST); `nothing` (RST
            without an answer); `closed` (a close without an answer).
    """

    said: Said | None = None
    body: bytes = b""
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_secs: float = 0.0
    head_secs: float = 0.0
    body_secs: float = 0.0
    ends: str = "well"


Step = Said | Wire


def on_wire(step: Step) -> Wire:
    """A step with nothing special about its way, unless it says so itself."""
    return step if isinstance(step, Wire) else Wire(step)


# --- statuses --------------------------------------------------------------------------------


def status(
    code: int,
    error_code: str | None = None,
    type: str | None = "invalid_request_error",  # noqa: A002 - the field's name
    message: str = "This answer was scripted.",
    headers: Mapping[str, str] | None = None,
) -> Wire:
    """An error as the service words it."""
    body = json.dumps(error_document(message, type, None, error_code), indent=2).encode()
    return Wire(body=body, status=code, headers=dict(headers or {}))


def rate_limited(retry_after: object = None, retry_after_ms: object = None) -> Wire:
    """429: too many requests; `retry_after` in seconds, or the very words of the header."""
    headers = {"retry-after": retry_after, "retry-after-ms": retry_after_ms}
    return status(
        429,
        "rate_limit_exceeded",
        "requests",
        "Rate limit reached for requests. Limit: 500 / min. Please try again in 120ms.",
        {name: str(value) for name, value in headers.items() if value is not None},
    )


def out_of_quota() -> Wire:
    """429 that no waiting heals."""
    why = "You exceeded your current quota, please check your plan and billing details."
    return status(429, "insufficient_quota", "insufficient_quota", why)


def server_error(code: int = 500, headers: Mapping[str, str] | None = None) -> Wire:
    """500 or 503."""
    why = "The server had an error while processing your request. Sorry about that!"
    if code == 503:
        why = "The engine is currently overloaded, please try again later."
    return status(code, None, "server_error", why, headers)


def wrong_key(masked: str = "sk-proj-********************3456") -> Wire:
    """401, with the key as the service masks it."""
    return status(401, "invalid_api_key", message=wrong_key_message(masked))


def wrong_key_message(masked: str) -> str:
    """What the service says to a key it does not know."""
    where = "https://platform.openai.com/account/api-keys"
    return f"Incorrect API key provided: {masked}. You can find your API key at {where}."


def forbidden() -> Wire:
    """403: the key has no right to this."""
    why = "You have insufficient permissions for this operation. Missing scopes: api.responses.write."
    return status(403, "missing_scope", message=why)


def no_such_model(name: str = "gpt-5") -> Wire:
    """400: a model that was shut down."""
    return status(400, "model_not_found", message=f"The requested model '{name}' does not exist.")


def redirect(url: str) -> Wire:
    """307 to somewhere else."""
    return Wire(status=307, content_type="text/plain", headers={"location": url})


def other_body(body: bytes, content_type: str = "text/html; charset=utf-8", code: int = 200) -> Wire:
    """An answer of someone who does not speak this protocol."""
    return Wire(body=body, status=code, content_type=content_type)


# --- ways ------------------------------------------------------------------------------------


def slow(step: Step, secs: float) -> Wire:
    """A good answer, late."""
    return replace(on_wire(step), wait_secs=secs)


def dribble(step: Step, secs: float) -> Wire:
    """A good answer whose body takes `secs`, some bytes every 100 ms."""
    return replace(on_wire(step), body_secs=secs)


def dribble_headers(secs: float, step: Step | None = None) -> Wire:
    """A good answer whose head takes `secs`."""
    return replace(on_wire(step if step is not None else raw_text("{}")), head_secs=secs)


def hang(secs: float = 600.0) -> Wire:
    """Takes the request and says nothing for `secs`; then closes. A server that stops does not wait for it."""
    return Wire(wait_secs=secs, ends="closed")


def hang_up() -> Wire:
    """Takes the request and closes."""
    return Wire(ends="closed")


def reset() -> Wire:
    """Takes the request, whole, and resets the connection (RST) before any answer."""
    return Wire(ends="nothing")


reset_before_answer = reset


def reset_in_answer(step: Step) -> Wire:
    """Half the answer, then RST."""
    return replace(on_wire(step), ends="reset")


def cut(step: Step) -> Wire:
    """Half the body that Content-Length promised, then a close."""
    return replace(on_wire(step), ends="cut")
