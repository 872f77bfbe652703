"""trader resume: orders allowed again, with a reason."""

from __future__ import annotations

from trader_cli.commands.desks import finish
from trader_cli.commands.options import DryRun, Globals, Reason, command
from trader_cli.core.errors import NotFoundError, UsageError
from trader_cli.core.moments import iso
from trader_cli.phases.recover import set_state
from trader_cli.schemas.situation import Blocked, TradingState
from trader_cli.tools.stops import blocked
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
    kept_back = Blocked(None, 0, 0)
    if not settings.db_path.is_file():
        if stopped_by is None:
            raise NotFoundError(f'no ledger at "{settings.db_path}", and no STOP file', "Make one: trader cycle")
        if not dry_run:
            file.remove()
        was, cause = TradingState.HALT, stopped_by or None
    else:
        with at_desk(settings, Bench(dry_run=dry_run)) as desk:
            was, cause = desk.state()
            kept_back = blocked(desk.ledger)
            kept, _ = desk.ledger.trading_state()
            if kept is not TradingState.RUN or stopped_by is not None:
                with desk.ledger.transaction() as tx:
                    set_state(desk, tx, max(kept, was), TradingState.RUN, reason)
            if not dry_run and file.reason() == stopped_by:  # a stop that came meanwhile stands
                file.remove()
    document = {
        "schema": "trader.resume/1",
        "dry_run": dry_run,
        "was": was.name,
        "cause": cause,
        "reason": reason,
        "since": None if kept_back.since is None else iso(kept_back.since),
        "blocked": {"cycles": kept_back.cycles, "orders": kept_back.orders},
    }
    g.out.record(document, _lines(was, cause, kept_back, dry_run))
    if settings.trading != "run":
        g.out.warn(f"TRADING={settings.trading} in the settings is still in force.")
    finish(g, dry_run, "trader cycle")


def _lines(was: TradingState, cause: str | None, kept_back: Blocked, dry_run: bool) -> list[str]:
    """What it was, why and since when, and what that kept from happening."""
    if was is TradingState.RUN:
        return ["Nothing was stopped."]
    since = "" if kept_back.since is None else f" since {iso(kept_back.since)} (market time)"
    lines = [f"{'Would resume' if dry_run else 'Resumed'}. It was {was.name}{since}: {cause}"]
    if kept_back.cycles or kept_back.orders:
        lines.append(
            f"Blocked meanwhile: {kept_back.cycles} cycle(s) only observed, {kept_back.orders} order(s) refused."
        )
    return lines
