"""The Verdict: the judge's record, the specification's draft-07 schema, and the strict wire form."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from trader_cli.schemas.trader import QTY_PATTERN


@dataclass(frozen=True, slots=True)
class Verdict:
    """`decision` APPROVE, REVISE (then `revised_qty` in base) or REJECT, with up to four violations."""

    decision: str
    revised_qty: Decimal | None = None
    violations: tuple[str, ...] = ()
    notes: str = ""

    def payload(self) -> dict[str, Any]:
        """The document as the ledger keeps it."""
        document: dict[str, Any] = {"decision": self.decision}
        if self.revised_qty is not None:
            document["revised_qty"] = format(self.revised_qty, "f")
        document["violations"] = list(self.violations)
        document["notes"] = self.notes
        return document

    @classmethod
    def from_payload(cls, payload: dict[str, Any]) -> Verdict:
        """Read a document that `SCHEMA` has passed (the wire form's null quantity is none)."""
        revised = payload.get("revised_qty")
        return cls(
            decision=payload["decision"],
            revised_qty=None if revised is None else Decimal(revised),
            violations=tuple(payload.get("violations", ())),
            notes=payload.get("notes", ""),
        )


SCHEMA: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "required": ["decision"],
    "properties": {
        "decision": {"enum": ["APPROVE", "REVISE", "REJECT"]},
        "revised_qty": {"type": "string", "pattern": "^\\d+(\\.\\d+)?$"},
        "violations": {"type": "array", "items": {"type": "string"}, "maxItems": 4},
        "notes": {"type": "string", "maxLength": 120},
    },
    "additionalProperties": False,
}
"""The specification's §4.3, word for word."""

WIRE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "decision": {"type": "string", "enum": ["APPROVE", "REVISE", "REJECT"]},
        "revised_qty": {"anyOf": [{"type": "string", "pattern": QTY_PATTERN}, {"type": "null"}]},
        "violations": {"type": "array", "items": {"type": "string"}, "maxItems": 4},
        "notes": {"type": "string"},
    },
    "required": ["decision", "revised_qty", "violations", "notes"],
    "additionalProperties": False,
}
"""What a model must answer: nothing optional, no quantity is null."""
