"""trader ledger tail: the newest cycles, oldest first, and with -f every one that is added."""

from __future__ import annotations

import select
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from trader_cli.commands.options import Globals, Rows, command
from trader_cli.config import Settings
from trader_cli.tools import queries
from trader_cli.tools.clock import Signals
from trader_cli.views.ledger import CYCLES, tail_header, tail_line
from trader_cli.wiring import open_reader

LOOK_SECS = 1.0
"""How often -f looks whether there is more."""

Follow = Annotated[
    bool, typer.Option("--follow", "-f", metavar="", help="Go on with each cycle that is added; Ctrl-C ends it.")
]


@command
def tail(g: Globals, rows: Rows = 10, follow: Follow = False) -> None:
    """The newest cycles, oldest first. With --json one document per line.

    With -f a cycle is shown once it is whole: when its snapshot was taken or a newer cycle began.

    Example: trader ledger tail -f --json
    """
    settings, signals = g.settings(), Signals()
    if follow:
        signals.install()
    with open_reader(settings) as ledger:
        newest = ledger.newest_plan()
        begun = newest is not None and not ledger.has_snapshot(newest.trace_id)
        shown = _before(queries.newest_plan_ids(ledger, rows + 2), rows + (follow and begun)) if rows else 0
        if newest is None:
            g.out.say(f'No cycles yet in "{settings.db_path}". Make one: trader cycle')
    if not g.json:
        g.out.record({"schema": "trader.tail/1"}, [tail_header(g.out.width or 80)], [column.key for column in CYCLES])
    while True:
        for row in _added(settings, shown, follow):
            cells = [row[column.key] for column in CYCLES]
            g.out.record({"schema": "trader.tail/1", **row}, [tail_line(row, g.out.width or 80)], cells)
            shown = row["plan_id"]
        if not follow or g.out.closed or _nobody_reads() or not signals.wait(LOOK_SECS):
            return


def _before(ids: list[int], rows: int) -> int:
    """The plan after which the newest `rows` cycles come; 0 when there are no more than these."""
    return ids[rows] if rows < len(ids) else 0


def _added(settings: Settings, shown: int, follow: bool) -> Iterator[queries.Row]:
    """The cycles after the one shown last; when following, the newest only once it is whole."""
    with open_reader(settings) as ledger:
        held = None
        for row in queries.cycles_after(ledger, shown):
            if held is not None:
                yield held
            held = row
        if held is not None and (held["equity"] is not None or not follow):
            yield held


def _nobody_reads() -> bool:
    """Whether the reader of our stdout has gone: a pipe tells, before anything is written to it."""
    if sys.stdout is None or sys.stdout.closed or not hasattr(select, "poll"):
        return False
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
