"""The Proposal: the trader's record, the specification's draft-07 schema, and the strict wire form."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from trader_cli.schemas.policy import CATALOGUE


@dataclass(frozen=True, slots=True)
class Proposal:
    """`action` BUY, SELL or HOLD; `qty` in base (0 for HOLD); `confidence` 0..1; `hypothesis` up to 120 characters."""

    action: str
    qty: Decimal
    policy_id: str
    hypothesis: str
    confidence: float

    def payload(self) -> dict[str, Any]:
        """The document as the ledger keeps it."""
        return {
            "action": self.action,
            "qty": format(self.qty, "f"),
            "policy_id": self.policy_id,
            "hypothesis": self.hypothesis,
            "confidence": self.confidence,
        }

    @classmethod
    def from_payload(cls, payload: dict[str, Any]) -> Proposal:
        """Read a document that `SCHEMA` has passed."""
        return cls(
            action=payload["action"],
            qty=Decimal(payload["qty"]),
            policy_id=payload["policy_id"],
            hypothesis=payload["hypothesis"],
            confidence=float(payload["confidence"]),
        )


SCHEMA: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "required": ["action", "qty", "policy_id", "hypothesis", "confidence"],
    "properties": {
        "action": {"enum": ["BUY", "SELL", "HOLD"]},
        "qty": {"type": "string", "pattern": "^\\d+(\\.\\d+)?$"},
        "policy_id": {"type": "string"},
        "hypothesis": {"type": "string", "maxLength": 120},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
    },
    "additionalProperties": False,
}
"""The specification's §4.2, word for word."""

QTY_PATTERN = "^(0|[1-9][0-9]{0,11})(\\.[0-9]{1,18})?$"
"""ASCII digits only, no leading zeros: a subset of the specification's pattern."""

WIRE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "action": {"type": "string", "enum": ["BUY", "SELL", "HOLD"]},
        "qty": {"type": "string", "pattern": QTY_PATTERN},
        "policy_id": {"type": "string", "enum": [spec.policy_id for spec in CATALOGUE]},
        "hypothesis": {"type": "string"},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
    },
    "required": ["action", "qty", "policy_id", "hypothesis", "confidence"],
    "additionalProperties": False,
}
"""What a model must answer; a longer hypothesis is cut at 120 characters after reading."""
