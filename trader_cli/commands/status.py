"""trader status: where we stand."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trader_cli import looks
from trader_cli.commands.desks import signals
from trader_cli.commands.options import Globals, command
from trader_cli.tools.clock import wall_now
from trader_cli.views.status import short_line, status_lines
from trader_cli.wiring import open_reader

Short = Annotated[
    bool, typer.Option("--short", metavar="", help="One line of at most 80 columns, for tmux or a prompt.")
]


Watch = Annotated[
    bool, typer.Option("--watch", metavar="", help="Again each second, until Ctrl-C; in a pipe, after each cycle.")
]


@command
def status(g: Globals, short: Short = False, watch: Watch = False) -> None:
    """State, position, equity, open orders, and when the next cycle is due. Read-only.

    Example: set -g status-right '#(trader status --short)'
    """
    came_in, shown = signals(g, quietly=True) if watch else None, None
    while True:
        document = _look(g)
        lines = [short_line(document)] if short else status_lines(document)
        what = (document["last_trace_id"], document["state"], document["unsettled_orders"])
        if came_in is not None and g.out.is_watched:
            g.out.again(lines)
        elif what != shown:
            g.out.record(document, lines)
        shown = what
        if came_in is None or g.out.closed or not came_in.wait(1.0):
            return


def _look(g: Globals) -> dict[str, Any]:
    settings = g.settings()
    with open_reader(settings) as ledger:
        return looks.status(settings, ledger, wall_now())
