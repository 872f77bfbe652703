"""The Plan: the planner's record, the specification's draft-07 schema, and the strict wire form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trader_cli.schemas.policy import CATALOGUE, PolicySpec


@dataclass(frozen=True, slots=True)
class Strategy:
    """A policy of the catalogue with its parameters."""

    policy_id: str
    params: dict[str, int | float]


@dataclass(frozen=True, slots=True)
class Plan:
    """`mode` OBSERVE or TRADE; `explore_ratio` 0..1; `next_wakeup_secs` 30..3600; one to three strategies."""

    mode: str
    explore_ratio: float
    next_wakeup_secs: int
    strategies: tuple[Strategy, ...]

    def payload(self) -> dict[str, Any]:
        """The document as the ledger keeps it."""
        return {
            "mode": self.mode,
            "explore_ratio": self.explore_ratio,
            "next_wakeup_secs": self.next_wakeup_secs,
            "strategies": [{"policy_id": s.policy_id, "params": dict(s.params)} for s in self.strategies],
        }

    @classmethod
    def from_payload(cls, payload: dict[str, Any]) -> Plan:
        """Read a document that `SCHEMA` has passed."""
        return cls(
            mode=payload["mode"],
            explore_ratio=float(payload["explore_ratio"]),
            next_wakeup_secs=int(payload["next_wakeup_secs"]),
            strategies=tuple(Strategy(s["policy_id"], dict(s["params"])) for s in payload["strategies"]),
        )


SCHEMA: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "required": ["mode", "explore_ratio", "next_wakeup_secs", "strategies"],
    "properties": {
        "mode": {"enum": ["OBSERVE", "TRADE"]},
        "explore_ratio": {"type": "number", "minimum": 0, "maximum": 1},
        "next_wakeup_secs": {"type": "integer", "minimum": 30, "maximum": 3600},
        "strategies": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["policy_id", "params"],
                "properties": {"policy_id": {"type": "string"}, "params": {"type": "object"}},
                "additionalProperties": False,
            },
            "minItems": 1,
            "maxItems": 3,
        },
    },
    "additionalProperties": False,
}
"""The specification's §4.1, word for word."""


def _branch(spec: PolicySpec) -> dict[str, Any]:
    names = [param.name for param in spec.params]
    params = {
        "type": "object",
        "properties": {param.name: param.schema() for param in spec.params},
        "required": names,
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"policy_id": {"type": "string", "enum": [spec.policy_id]}, "params": params},
        "required": ["policy_id", "params"],
        "additionalProperties": False,
    }


WIRE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "mode": {"type": "string", "enum": ["OBSERVE", "TRADE"]},
        "explore_ratio": {"type": "number", "minimum": 0, "maximum": 1},
        "next_wakeup_secs": {"type": "integer", "minimum": 30, "maximum": 3600},
        "strategies": {
            "type": "array",
            "items": {"anyOf": [_branch(spec) for spec in CATALOGUE]},
            "minItems": 1,
            "maxItems": 3,
        },
    },
    "required": ["mode", "explore_ratio", "next_wakeup_secs", "strategies"],
    "additionalProperties": False,
}
"""What a model must answer: closed catalogue, bounded parameters, nothing optional."""
