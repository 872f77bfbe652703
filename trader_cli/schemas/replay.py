"""A replayed step: what the ledger holds of it, and what it comes to when it is worked out again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Step(StrEnum):
    """The steps of a cycle, in their order."""

    PLAN = "plan"
    PROPOSE = "propose"
    JUDGE = "judge"
    EXECUTE = "execute"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True)
class Replay:
    """A step and what it is now.

    Attributes:
        trace_id: None for a snapshot that ends no trace.
        row: the row it left, as table and id.
        source: who decided; None for a snapshot.
        recorded, again: the step as it is recorded and as it comes out; `again` None where it was not worked out.
        answers: recorded answers of models that were used.
        differences: what is not the same, in words; none when all is.
        skipped: why it was not worked out, if so.
        notes: what could not be held against the record, and is no difference.
    """

    step: Step
    trace_id: str | None
    row: tuple[str, int]
    source: str | None
    recorded: dict[str, Any]
    again: dict[str, Any] | None
    answers: int = 0
    differences: tuple[str, ...] = ()
    skipped: str | None = None
    notes: tuple[str, ...] = ()
