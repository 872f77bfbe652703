"""trader snapshot: the book marked to the market."""

from __future__ import annotations

from trader_cli.commands.desks import finish, step_desk
from trader_cli.commands.options import DryRun, Globals, command
from trader_cli.core.errors import ExitCode
from trader_cli.phases.snapshot import snapshot as take
from trader_cli.views.steps import snapshot_document, snapshot_lines


@command
def snapshot(g: Globals, dry_run: DryRun = False) -> ExitCode:
    """Value the book at the last close and record it. It ends the newest trace, if that has no snapshot yet."""
    with step_desk(g, dry_run, creates=True) as desk:
        taken = take(desk)
    g.out.record(snapshot_document(taken, dry_run), snapshot_lines(taken))
    finish(g, dry_run, "trader ledger show")
    if desk.missing is None:
        return ExitCode.OK
    g.out.warn(f"{desk.missing}. The book was marked to what was known.")
    return ExitCode.UPSTREAM
