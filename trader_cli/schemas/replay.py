"""A replayed step: a decision as it is recorded, and as it comes out when it is made again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trader_cli.schemas.decision import Decision
from trader_cli.schemas.question import Agent


@dataclass(frozen=True, slots=True)
class Replay:
    """A decision and what it is now.

    Attributes:
        decision: as it is recorded.
        again: its payload, made again.
        answers: recorded answers of models that were used.
        differences: what is not the same, in words; none when all is.
    """

    agent: Agent
    decision: Decision[Any]
    again: dict[str, Any]
    answers: int
    differences: tuple[str, ...]
