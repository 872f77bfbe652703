"""trader status: where we stand."""

from __future__ import annotations

from typing import Annotated

import typer

from trader_cli import looks
from trader_cli.commands.options import Globals, command
from trader_cli.tools.clock import wall_now
from trader_cli.views.status import short_line, status_lines
from trader_cli.wiring import open_reader

Short = Annotated[
    bool, typer.Option("--short", metavar="", help="One line of at most 80 columns, for tmux or a prompt.")
]


@command
def status(g: Globals, short: Short = False) -> None:
    """State, position, equity, open orders, and when the next cycle is due. Read-only.

    Example: set -g status-right '#(trader status --short)'
    """
    settings = g.settings()
    with open_reader(settings) as ledger:
        document = looks.status(settings, ledger, wall_now())
    g.out.record(document, [short_line(document)] if short else status_lines(document))
