"""The catalogue of policies: their names, what they do in a line, and the bounds of their parameters.

What each policy does with a window of candles is in `core/policies.py`; a model can neither
invent a policy nor leave these bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Param:
    """A policy's parameter: inclusive bounds and default; whole numbers when `integer`."""

    name: str
    low: float
    high: float
    default: float
    integer: bool = True

    def schema(self) -> dict[str, Any]:
        """This parameter as JSON Schema."""
        kind = "integer" if self.integer else "number"
        return {"type": kind, "minimum": _number(self.low, self.integer), "maximum": _number(self.high, self.integer)}


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """One entry of the catalogue."""

    policy_id: str
    summary: str
    params: tuple[Param, ...]

    def defaults(self) -> dict[str, int | float]:
        """The parameters to use when nothing better is known."""
        return {param.name: _number(param.default, param.integer) for param in self.params}


def _number(value: float, integer: bool) -> int | float:
    return int(value) if integer else float(value)


CATALOGUE: tuple[PolicySpec, ...] = (
    PolicySpec(
        "rsi_reversion",
        "buy when RSI is below `low` and the close above the floor of 48 bars, sell when RSI is above `high`"
        " or the close below the floor",
        (Param("low", 10, 45, 30), Param("high", 50, 90, 60)),
    ),
    PolicySpec(
        "ma_trend",
        "hold while the mean of `fast` closes is above the mean of `slow`",
        (Param("fast", 3, 19, 9), Param("slow", 20, 100, 34)),  # apart, so that fast < slow whatever is asked
    ),
    PolicySpec(
        "breakout",
        "buy a close above the highest high of `entry` bars, sell below the lowest low of `exit` bars",
        (Param("entry", 10, 100, 24), Param("exit", 5, 60, 12)),
    ),
    PolicySpec("cash", "hold no position; sell what is held", ()),
)

BY_ID: dict[str, PolicySpec] = {spec.policy_id: spec for spec in CATALOGUE}
