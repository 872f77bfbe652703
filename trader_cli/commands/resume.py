"""trader resume: orders allowed again, with a reason."""

from __future__ import annotations

from trader_cli.commands.desks import finish
from trader_cli.commands.options import DryRun, Globals, Reason, command
from trader_cli.core.errors import NotFoundError, UsageError
from trader_cli.phases.recover import set_state
from trader_cli.schemas.situation import TradingState
from trader_cli.wiring import Bench, at_desk, stop_file


@command
def resume(g: Globals, reason: Reason, dry_run: DryRun = False) -> None:
    """Allow orders again: removes the STOP file and records the reason in the ledger.

    Example: trader resume --reason "back at the desk"
    """
    if not reason.strip():
        raise UsageError("--reason must say why, was empty")
    settings = g.settings()
    file = stop_file(settings)
    stopped_by = file.reason()
    if not settings.db_path.is_file():
        if stopped_by is None:
            raise NotFoundError(f'no ledger at "{settings.db_path}", and no STOP file', "Make one: trader cycle")
        if not dry_run:
            file.remove()
        was, cause = TradingState.HALT, stopped_by or None
    else:
        with at_desk(settings, Bench(dry_run=dry_run)) as desk:
            was, cause = desk.state()
            kept, _ = desk.ledger.trading_state()
            if kept is not TradingState.RUN or stopped_by is not None:
                with desk.ledger.transaction() as tx:
                    set_state(desk, tx, max(kept, was), TradingState.RUN, reason)
            if not dry_run and file.reason() == stopped_by:  # a stop that came meanwhile stands
                file.remove()
    document = {"schema": "trader.resume/1", "dry_run": dry_run, "was": was.name, "cause": cause, "reason": reason}
    g.out.record(
        document, [f"Resumed. It was {was.name}: {cause}" if was is not TradingState.RUN else "Nothing was stopped."]
    )
    if settings.trading != "run":
        g.out.warn(f"TRADING={settings.trading} in the settings is still in force.")
    finish(g, dry_run, "trader cycle")
