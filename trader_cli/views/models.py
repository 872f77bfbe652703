"""The models as a table: those in use first, on a terminal with the days that are left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trader_cli.schemas.model import SOON_DAYS
from trader_cli.views.output import Column


def columns(document: dict[str, Any]) -> tuple[Column, ...]:
    """The columns of `rows`."""
    left = {row["shutdown"]: row["shutdown_in_days"] for row in document["models"]}
    return (
        Column("model"),
        Column("used_by", "USED BY"),
        Column("effort", gives_way=4, fills=True),
        Column("temperature", gives_way=3),
        Column("input_usd", "IN", number=True),
        Column("cached_usd", "CACHED", number=True, gives_way=1),
        Column("output_usd", "OUT", number=True),
        Column("shutdown", brief=lambda day: day + _in_days(left[day])),
        Column("successor", gives_way=2),
    )


def rows(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row for each model of a `trader.models/1` document, every value plain."""
    for model in document["models"]:
        price = model["price"] or {}
        yield {
            "model": model["model"],
            "used_by": " ".join(model["used_by"]) or None,
            "effort": " ".join(model["efforts"]) or None,
            "temperature": model["temperature"],
            "input_usd": price.get("input"),
            "cached_usd": price.get("cached"),
            "output_usd": price.get("output"),
            "shutdown": model["shutdown"],
            "successor": model["successor"],
        }


def legend(document: dict[str, Any]) -> str:
    """What the figures are."""
    return f"Prices: USD per million tokens, as of {document['as_of']}. All values: trader models --json"


def _in_days(left: int) -> str:
    if left > SOON_DAYS:
        return ""
    return " gone" if left <= 0 else f" in {left} day{'s' * (left != 1)}"
