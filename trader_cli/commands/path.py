"""trader ledger path: which file it is."""

from __future__ import annotations

from trader_cli.commands.options import Globals, command
from trader_cli.tools.store import exists
from trader_cli.wiring import ledger_path


@command
def path(g: Globals) -> None:
    """The ledger's file, whether or not it is there yet: sqlite3 "$(trader ledger path)"."""
    where = ledger_path(g.settings()).absolute()
    there = exists(where)
    g.out.record({"schema": "trader.path/1", "path": str(where), "exists": there}, [str(where)])
    if not there:
        g.out.say("It is not there yet. Make it: trader cycle")
