"""trader ledger anchor: the audit chain's head, for somebody else to keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from trader_cli.commands.options import Globals, command
from trader_cli.core.moments import iso
from trader_cli.tools.anchors import append
from trader_cli.tools.clock import wall_now
from trader_cli.wiring import open_reader

Out = Annotated[
    Path | None, typer.Option("-o", "--out", metavar="FILE", help="Also add it as a line to FILE (git, a mail, paper).")
]


@command
def anchor(g: Globals, out: Out = None) -> None:
    """The newest hash of the audit chain: whoever keeps it can prove that no row before it was changed or left out.

    The file proves it only where the owner of the ledger cannot write it. `ledger verify --anchors FILE` compares.

    Example: trader ledger anchor -o anchors.jsonl
    """
    with open_reader(g.settings()) as ledger:
        found = {
            "schema": "trader.anchor/1",
            "ledger_id": ledger.ledger_id,
            "links": ledger.next_link - 1,
            "head": ledger.head,
            "wall_at": iso(wall_now()),
        }
    if out is not None:
        append(out, json.dumps(found))
    g.out.record(found, [f"{found['links']} links  head {found['head']}  ledger {found['ledger_id']}"])
