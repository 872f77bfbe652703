"""A metric as a monitor takes it: its name, what it is, and its values by labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Value = int | float | Decimal


@dataclass(frozen=True, slots=True)
class Sample:
    """One value. `ends` is what follows the metric's name: `_bucket`, `_count` or `_sum` of a histogram."""

    value: Value
    labels: Mapping[str, str]
    ends: str = ""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of a name without `_total`; counters only ever grow, in base units (seconds, bytes, ratios 0..1)."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    about: str
    samples: tuple[Sample, ...]
