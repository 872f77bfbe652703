"""What a model is asked and what it answers, as one exchange of the `Model` port."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from trader_cli.schemas.tool import Tool, ToolCall


class Agent(StrEnum):
    """The three minds, as the ledger names them."""

    PLANNER = "PLANNER"
    TRADER = "TRADER"
    JUDGE = "JUDGE"


OK = "ok"
UNREACHED = frozenset({"unavailable", "quota"})
"""Statuses of a model that could not be reached: exit 5."""
MISCONFIGURED = frozenset({"denied", "unknown_model", "invalid_request"})
"""Statuses that only other settings can mend (a key, a model's name, a server): exit 3."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One round of tools: the model's own items as it sent them, and what its calls got, by call id."""

    items: tuple[dict[str, Any], ...]
    outputs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Question:
    """One question to a model.

    Attributes:
        prompt: the system prompt, whole.
        facts: what code computed for this question; JSON values only, money as strings.
        schema_name, schema: the strict wire form the answer must have.
        max_output_tokens: ceiling of what the answer may cost.
        tools: what the model may look up before it answers; nothing with a side effect.
        turns: what it has looked up already.
        may_call: whether it may look up more.
        at: market time, ms UTC.
    """

    agent: Agent
    trace_id: str
    prompt: str
    facts: dict[str, Any]
    schema_name: str
    schema: dict[str, Any]
    max_output_tokens: int
    tools: tuple[Tool, ...] = ()
    turns: tuple[Turn, ...] = ()
    may_call: bool = False
    at: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and cost of one answer; None where the server did not say.

    Attributes:
        input_tokens: all that was read; `cached_tokens` of it out of the server's cache, `cache_write_tokens` into it.
        cost_basis: what the cost rests on: `usage` (tokens at a price), `worst case` (it may have been billed, and
            nobody knows for how many tokens), `not billed`, `unpriced` (the price is not known), None for an
            offline model.
        price: USD per million tokens the cost was reckoned with, as the ledger keeps it.
    """

    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: Decimal = Decimal(0)
    cost_basis: str | None = None
    price: dict[str, str] | None = None
    cache_write_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back of one request, unread.

    Attributes:
        status: `ok`, or why there is no usable text: `refused`, `incomplete`, `failed`, `empty`, `malformed`,
            `stopped`, `over_budget`, one of UNREACHED or of MISCONFIGURED.
        text: the raw reply; None when there was none.
        error: what went wrong, for a person.
        source: what the ledger calls a decision of this model: `openai` or `rules`.
        calls: what the model wants to look up before it answers.
        items: its own output, to be handed back with what the calls get.
        request: how it was asked beyond the question (effort, temperature …); None for an offline model.
        body_sha256: of the body as it came.
        reserve_id: the row that held its worst cost back.
        earlier: the attempts at the same request that failed before this one.
    """

    model: str
    status: str
    text: str | None
    usage: Usage = field(default_factory=Usage)
    latency_ms: int = 0
    attempt: int = 1
    request_id: str | None = None
    error: str | None = None
    source: str = "openai"
    calls: tuple[ToolCall, ...] = ()
    items: tuple[dict[str, Any], ...] = ()
    request: dict[str, Any] | None = None
    body_sha256: str | None = None
    reserve_id: int | None = None
    earlier: tuple[Answer, ...] = ()
