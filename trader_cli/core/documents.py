"""Rows with JSON in them, as documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def opened(row: Mapping[str, Any]) -> dict[str, Any]:
    """Columns that hold JSON as what they hold, under their name without `_json`."""
    return {
        name.removesuffix("_json"): json.loads(value) if name.endswith("_json") and value is not None else value
        for name, value in row.items()
    }
