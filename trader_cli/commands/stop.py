"""trader stop: no new orders from now on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from trader_cli.commands.confirm import Confirmed, ConfirmReal, confirm, note
from trader_cli.commands.desks import finish, order_code, signals
from trader_cli.commands.options import DryRun, Globals, Reason, command
from trader_cli.config import Settings, ledger_name
from trader_cli.core.errors import BusyError, ConfigError, ExitCode, TraderError
from trader_cli.core.moments import iso
from trader_cli.phases.desk import Desk
from trader_cli.phases.flatten import flatten as sell_all
from trader_cli.phases.recover import note_stop
from trader_cli.schemas.book import Snapshot
from trader_cli.schemas.flatten import Flattened
from trader_cli.tools.stopfile import StopFile
from trader_cli.views.flatten import flatten_document, flatten_lines, position_words
from trader_cli.wiring import Bench, at_desk, ledger_path, open_reader, stop_file

NO_REASON = "stopped by the operator"
UNDO = 'Undo: trader resume --reason "..."'
PATIENCE_SECS = 180.0
"""How long a flatten lets a cycle in hand come to its end: its models and its exchange may be slow."""

Flatten = Annotated[
    bool,
    typer.Option("--flatten", metavar="", help="Sell what our book holds, too. Real money: needs --confirm-real."),
]


@dataclass(frozen=True, slots=True)
class _Noted:
    """Whether the ledger has the stop, and what it holds."""

    recorded: bool
    busy: bool = False
    held: Snapshot | None = None


@command
def stop(
    g: Globals,
    reason: Reason = NO_REASON,
    flatten: Flatten = False,
    confirm_real: ConfirmReal = None,
    dry_run: DryRun = False,
) -> ExitCode:
    """Stop trading: a STOP file beside the ledger, seen before each model call and just before each order.

    It needs no lock and works while a loop runs. Positions are kept, unless --flatten sells them:
    what our book holds and nothing else, in as many orders as it takes. `touch STOP` stops as well.

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
    document: dict[str, Any] = {
        "schema": "trader.stop/1",
        "dry_run": dry_run,
        "already": before is not None,
        "reason": before or reason,
        "file": str(file.path),
    }
    if flatten:
        came = _flatten(g, settings, reason, confirm_real, dry_run)
        document |= {"recorded": came is not None and not dry_run, "flatten": came and flatten_document(came)}
        sold = flatten_lines(came) if came is not None else ["There is no ledger: nothing of ours to sell."]
        g.out.record(document, [_said(before, reason, dry_run), *sold, UNDO])
        finish(g, dry_run)
        return ExitCode.OK if came is None else _flatten_code(g, came)
    noted = _note(g, settings, dry_run)
    g.out.record(document | {"recorded": noted.recorded}, _lines(before, reason, noted, dry_run))
    finish(g, dry_run)
    return ExitCode.OK


# --- flatten ---------------------------------------------------------------------------------


def _flatten(g: Globals, settings: Settings, reason: str, given: str | None, dry_run: bool) -> Flattened | None:
    """Sell the position; None where there is no ledger. Whatever goes wrong: the stop stands, and that is said."""
    try:
        confirmed = confirm(g, settings, given, dry_run)
        if not ledger_path(settings).is_file():
            return None
        with _patient_desk(g, settings, Bench(dry_run=dry_run, signals=signals(g))) as desk:
            return _sell(desk, confirmed, reason)
    except (TraderError, KeyboardInterrupt, typer.Abort):
        if not dry_run:
            g.out.warn(f"Trading is stopped and stays so. {_position(settings)}")
        raise


def _sell(desk: Desk, confirmed: Confirmed | None, reason: str) -> Flattened:
    note_stop(desk)
    note(desk, confirmed)
    return sell_all(desk, reason)


@contextmanager
def _patient_desk(g: Globals, settings: Settings, bench: Bench) -> Iterator[Desk]:
    """A desk, also beside a loop: its cycle in hand is waited for. Raises BusyError after PATIENCE_SECS."""
    with ExitStack() as opened:
        try:
            desk = opened.enter_context(at_desk(settings, replace(bench, wait_secs=1.0)))
        except BusyError as error:
            g.out.say(f"{error.message}. Waiting for its cycle to end, {PATIENCE_SECS:.0f} s at most ...")
            desk = opened.enter_context(at_desk(settings, replace(bench, wait_secs=PATIENCE_SECS)))
        yield desk


def _position(settings: Settings) -> str:
    """What was not sold, as far as the last snapshot tells."""
    try:
        with open_reader(settings) as ledger:
            held = ledger.last_snapshot()
    except TraderError:
        held = None
    if held is None:
        return "Nothing was sold."
    if not held.book.base:
        return f"Nothing was held as of {iso(held.at)}."
    return f"Not everything was sold: {held.book.base:f} {held.symbol.partition('/')[0]} as of {iso(held.at)}."


def _flatten_code(g: Globals, came: Flattened) -> ExitCode:
    """10 while an order is not settled, 4 when something stood in the way, 5 when the exchange was out of reach."""
    if (code := order_code(g, came.unsettled)) is not ExitCode.OK:
        return code
    if came.refused is not None:
        g.out.warn(f"{came.refused}. {position_words(came)}" if came.refused[-1] != "." else came.refused)
        return ExitCode.REFUSED
    if came.upstream is not None:
        g.out.warn(f"{came.upstream}. Trading is stopped and stays so. {position_words(came)}")
        return ExitCode.UPSTREAM
    return ExitCode.OK


# --- stop ------------------------------------------------------------------------------------


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
    lines = [_said(before, reason, dry_run)]
    if noted.held is not None and noted.held.book.base:
        base = noted.held.symbol.partition("/")[0]
        lines.append(
            f"The position of {noted.held.book.base:f} {base} is kept (as of {iso(noted.held.at)}). "
            "Sell it: trader stop --flatten"
        )
    if noted.busy and not dry_run:
        lines.append("A running cycle holds the ledger; it sees the STOP file and will record the stop.")
    return [*lines, UNDO]


def _said(before: str | None, reason: str, dry_run: bool) -> str:
    if before:
        return f"Already stopped: {before}"
    return f"{'Would stop' if dry_run else 'Stopped'}: {reason}. No new orders from now on."
