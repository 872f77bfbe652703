"""trader stop: no new orders from now on."""

from __future__ import annotations

from typing import Annotated

import typer

from trader_cli.commands.options import DryRun, Globals, command
from trader_cli.core.errors import BusyError, TraderError
from trader_cli.core.moments import iso
from trader_cli.phases.recover import note_stop
from trader_cli.wiring import Bench, at_desk, stop_file

Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is recorded.")]


@command
def stop(g: Globals, reason: Reason = "stopped by the operator", dry_run: DryRun = False) -> None:
    """Stop trading: a STOP file beside the ledger, seen before each model call and just before each order.

    It needs no lock and works while a loop runs. Positions are kept. `touch STOP` there does the same.
    """
    settings = g.settings()
    file = stop_file(settings)
    before = file.reason()
    if not dry_run and before is None:
        file.write(reason)
    recorded, held, busy = False, None, False
    if settings.db_path.is_file():
        try:
            with at_desk(settings, Bench(dry_run=dry_run, wait_secs=1.0)) as desk:
                if not dry_run:
                    note_stop(desk)
                held = desk.ledger.last_snapshot()
            recorded = not dry_run
        except BusyError:
            busy = True
        except TraderError as error:  # other settings than the ledger's, a damaged ledger: the STOP file stands
            g.out.warn(f"the stop could not be recorded in the ledger: {error.message}")
    lines = [f"Already stopped: {before}" if before else f"Stopped: {reason}. No new orders from now on."]
    if held is not None and held.book.base:
        lines.append(f"The position of {held.book.base:f} is kept (as of {iso(held.at)}).")
    if busy and not dry_run:
        lines.append("A running cycle holds the ledger; it sees the STOP file and will record the stop.")
    lines.append('Undo: trader resume --reason "..."')
    document = {
        "schema": "trader.stop/1",
        "dry_run": dry_run,
        "already": before is not None,
        "reason": before or reason,
        "file": str(file.path),
        "recorded": recorded,
    }
    g.out.record(document, lines)
    if dry_run:
        g.out.say("Dry run: nothing was written.")
