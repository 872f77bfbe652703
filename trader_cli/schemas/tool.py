"""What a model may look up before it answers: a function without side effects, and one call of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that is offered to a model; `parameters` is its strict JSON Schema."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call as the model wrote it; `arguments` is unread JSON."""

    call_id: str
    name: str
    arguments: str
