"""The law's probes as a table: what each rule lets pass, what it does not, and whether it works."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from trader_cli.schemas.gate import Trial
from trader_cli.views.output import Column

COLUMNS = (
    Column("rule"),
    Column("limit", "EDGE", fills=True),
    Column("inside", "PASSES", gives_way=1),
    Column("beyond", "REFUSED OR LOWERED", gives_way=2),
    Column("result"),
)


def gate_document(tested: Sequence[Trial], market: dict[str, Any]) -> dict[str, Any]:
    """The probes as JSON; `market` names the trading rules they were made with."""
    return {
        "schema": "trader.gate/1",
        "ok": all(one.ok for one in tested),
        "market": market,
        "probes": [
            {
                "rule": one.rule,
                "kind": one.kind,
                "limit": one.limit,
                "inside": one.inside,
                "beyond": one.beyond,
                "in_force": one.in_force,
                "result": one.result,
                "ok": one.ok,
            }
            for one in tested
        ],
    }


def gate_rows(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row for each probe; beside its result, whether it needed a limit of its own."""
    for probe in document["probes"]:
        yield probe | {"result": probe["result"] + ("" if probe["in_force"] else ", not in force")}
