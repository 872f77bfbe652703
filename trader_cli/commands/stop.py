"""trader stop: no new orders from now on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from trader_cli.commands.desks import finish
from trader_cli.commands.options import DryRun, Globals, Reason, command
from trader_cli.config import Settings, ledger_name
from trader_cli.core.errors import BusyError, ConfigError, TraderError
from trader_cli.core.moments import iso
from trader_cli.phases.recover import note_stop
from trader_cli.schemas.book import Snapshot
from trader_cli.tools.stopfile import StopFile
from trader_cli.wiring import Bench, at_desk, ledger_path, stop_file

NO_REASON = "stopped by the operator"


@dataclass(frozen=True, slots=True)
class _Noted:
    """Whether the ledger has the stop, and what it holds."""

    recorded: bool
    busy: bool = False
    held: Snapshot | None = None


@command
def stop(g: Globals, reason: Reason = NO_REASON, dry_run: DryRun = False) -> None:
    """Stop trading: a STOP file beside the ledger, seen before each model call and just before each order.

    It needs no lock and works while a loop runs. Positions are kept. `touch STOP` there does the same.

    Example: trader stop --reason "going on holiday"
    """
    reason = reason.strip() or NO_REASON  # an empty variable in a script must not keep the stop away
    try:
        settings = g.settings()
    except ConfigError:
        _stop_without_settings(g, reason, dry_run)
        raise
    file = stop_file(settings)
    before = file.reason()
    if not dry_run and before is None:
        file.write(reason)
    noted = _note(g, settings, dry_run)
    document = {
        "schema": "trader.stop/1",
        "dry_run": dry_run,
        "already": before is not None,
        "reason": before or reason,
        "file": str(file.path),
        "recorded": noted.recorded,
    }
    g.out.record(document, _lines(before, reason, noted, dry_run))
    finish(g, dry_run)


def _stop_without_settings(g: Globals, reason: str, dry_run: bool) -> None:
    """A wrong setting must not keep the stop away: write the file where the ledger would be, and say where."""
    ledger = g.db or Path(ledger_name(g.settings_file(), os.environ))
    file = StopFile(ledger.resolve() if ledger.is_symlink() else ledger)
    if not dry_run:
        file.write(reason)
        g.out.warn(f'The settings cannot be read; a STOP file was written at "{file.path}".')


def _note(g: Globals, settings: Settings, dry_run: bool) -> _Noted:
    """Write the stop into the ledger too, if it can be had; the file alone is enough."""
    if not ledger_path(settings).is_file():
        return _Noted(recorded=False)
    try:
        with at_desk(settings, Bench(dry_run=dry_run, wait_secs=1.0)) as desk:
            if not dry_run:
                note_stop(desk)
            return _Noted(not dry_run, held=desk.ledger.last_snapshot())
    except BusyError:
        return _Noted(recorded=False, busy=True)
    except TraderError as error:  # other settings than the ledger's, a damaged ledger: the STOP file stands
        g.out.warn(f"the stop could not be recorded in the ledger: {error.message}")
        return _Noted(recorded=False)


def _lines(before: str | None, reason: str, noted: _Noted, dry_run: bool) -> list[str]:
    said = "Would stop" if dry_run else "Stopped"
    lines = [f"Already stopped: {before}" if before else f"{said}: {reason}. No new orders from now on."]
    if noted.held is not None and noted.held.book.base:
        lines.append(f"The position of {noted.held.book.base:f} is kept (as of {iso(noted.held.at)}).")
    if noted.busy and not dry_run:
        lines.append("A running cycle holds the ledger; it sees the STOP file and will record the stop.")
    return [*lines, 'Undo: trader resume --reason "..."']
