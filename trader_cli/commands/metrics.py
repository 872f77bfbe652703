"""trader metrics: what a monitor scrapes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trader_cli import looks
from trader_cli.commands.busy import Busy
from trader_cli.commands.options import Globals, command
from trader_cli.tools.files import save
from trader_cli.views.metrics import exposition, metrics_document
from trader_cli.wiring import open_reader

Out = Annotated[
    Path | None,
    typer.Option(
        "-o", "--out", metavar="FILE.prom", help="Write it there, whole: for node_exporter's textfile collector."
    ),
]


@command
def metrics(g: Globals, out: Out = None) -> None:
    """Cycles, requests, costs, orders, equity, drawdown and policies in Prometheus' text format, from the ledger.

    Works beside a loop, from cron, and on a backup. First alert: time() - trader_last_cycle_timestamp_seconds > 7200.

    Example: trader metrics -o /var/lib/node_exporter/trader.prom
    """
    settings = g.settings()
    with Busy(g.out, "reading the ledger"), open_reader(settings) as ledger:
        found = looks.metrics(settings, ledger)
    text = exposition(found)
    if out is not None:
        save(out, [text], "--out", force=True, mode=0o644)  # node_exporter is another user
        g.out.say(f"{out}: {len(found)} metrics")
        return
    g.out.record(metrics_document(found), text.splitlines())
