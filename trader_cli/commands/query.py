"""trader ledger query: one SELECT of your own."""

from __future__ import annotations

import sys
from itertools import islice
from typing import Annotated

import typer

from trader_cli.commands.options import Globals, command
from trader_cli.core.errors import UsageError
from trader_cli.tools.sql import select
from trader_cli.views.output import Column
from trader_cli.wiring import open_reader

ON_A_TERMINAL = 200
"""How many rows a terminal shows unless it is asked for more."""

Sql = Annotated[str, typer.Argument(metavar="SQL", help="One SELECT; - reads it from stdin.")]
Most = Annotated[
    int | None,
    typer.Option(
        "-n", "--rows", min=0, max=10**9, metavar="N", help="At most so many rows; 0 for all.", show_default=False
    ),
]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0.1, max=86_400, metavar="SECS", help="Give up after so long.")
]


@command
def query(g: Globals, sql: Sql, rows: Most = None, timeout: Timeout = 30.0) -> None:
    """Ask the ledger in SQL. Nothing can be written, attached or loaded, whatever the statement says.

    Views made for this: v_cycles, v_trades, v_equity, v_errors. A terminal shows the first 200 rows, a pipe all.

    Example: trader ledger query "select side, count(*) as n from v_trades group by side"
    """
    if sql == "-":
        sql = sys.stdin.read(1_000_001)
    if len(sql) > 1_000_000:
        raise UsageError("the SQL is longer than a million characters", "Ask for less at once.")
    most = rows if rows is not None else ON_A_TERMINAL if g.out.is_terminal and not g.json else 0
    with open_reader(g.settings()) as ledger, select(ledger.db, sql, timeout) as (names, found):
        coming = (dict(zip(names, row, strict=True)) for row in found)
        shown = islice(coming, most) if most else coming
        g.out.table(
            [Column(name, name) for name in names], shown, empty="No rows.", schema="trader.query/1", whole=True
        )
        if most and next(coming, None) is not None:
            g.out.say(f"The first {most} rows; all of them: -n 0")
