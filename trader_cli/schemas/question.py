"""What a model is asked and what it answers, as one exchange of the `Model` port."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any


class Agent(StrEnum):
    """The three minds, as the ledger names them."""

    PLANNER = "PLANNER"
    TRADER = "TRADER"
    JUDGE = "JUDGE"


@dataclass(frozen=True, slots=True)
class Question:
    """One question to a model.

    Attributes:
        prompt: the system prompt, whole.
        facts: what code computed for this question; JSON values only, money as strings.
        schema_name, schema: the strict wire form the answer must have.
        max_output_tokens: ceiling of what the answer may cost.
    """

    agent: Agent
    trace_id: str
    prompt: str
    facts: dict[str, Any]
    schema_name: str
    schema: dict[str, Any]
    max_output_tokens: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and cost of one answer; None where the server did not say."""

    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, unread.

    Attributes:
        status: `ok`, or why there is no usable text (`refused`, `incomplete`, `failed`, `unavailable`).
        text: the raw reply; None when there was none.
        error: what went wrong, for a person.
        source: what the ledger calls a decision of this model: `openai` or `rules`.
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
