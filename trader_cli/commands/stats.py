"""trader ledger stats: how much a ledger holds."""

from __future__ import annotations

from trader_cli.commands.busy import Busy
from trader_cli.commands.options import Globals, command
from trader_cli.tools.stats import stats as read_stats
from trader_cli.views.stats import stats_lines
from trader_cli.wiring import ledger_path, open_reader


@command
def stats(g: Globals) -> None:
    """Rows, size and growth, decisions by agent, fallbacks, trades, what the models cost."""
    settings = g.settings()
    with Busy(g.out, "reading the ledger"), open_reader(settings) as ledger:
        found = read_stats(ledger)
    path = ledger_path(settings)
    wal = path.with_name(path.name + "-wal")
    document = {
        "schema": "trader.stats/1",
        "ledger": str(path),
        "wal_bytes": wal.stat().st_size if wal.exists() else 0,
        **found,
    }
    g.out.record(document, stats_lines(document))
