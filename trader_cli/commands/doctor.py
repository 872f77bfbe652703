"""trader doctor, health: whether all that trading needs holds; the first looks everywhere, the second quickly."""

from __future__ import annotations

from typing import Annotated

import typer

from trader_cli.checkups import OFFLINE, ONLINE, VITAL, Patient, examine, vital
from trader_cli.commands.confirm import exposed_file
from trader_cli.commands.options import Globals, command
from trader_cli.core.errors import DiffersError, TraderError, UsageError
from trader_cli.core.moments import span_ms
from trader_cli.schemas.vital import Finding, Level
from trader_cli.tools.clock import wall_now
from trader_cli.views.checkup import count, doctor_document, doctor_lines, health_document, health_line

Offline = Annotated[bool, typer.Option("--offline", metavar="", help="Ask nobody over a network.")]
Fix = Annotated[bool, typer.Option("--fix", metavar="", help="Close files to others, and remove what was left over.")]
MaxAge = Annotated[str, typer.Option("--max-age", metavar="SPAN", help="How long ago the last cycle may have been.")]


@command
def doctor(g: Globals, offline: Offline = False, fix: Fix = False) -> None:
    """Look at everything that must hold for trading to be safe: settings, files, ledger, disk, books, clock, exchange.

    Each row is ok, warn, FAIL or skip, with what to do. Nothing is written but by --fix, and nothing is ordered.
    Ends with 9 if a row is FAIL.

    Example: trader doctor --offline
    """
    try:
        patient = _patient(g, None, fix)
    except TraderError as error:
        found = [Finding("settings", Level.FAIL, error.message, error.hint)]
    else:
        found = list(examine((*OFFLINE, *(() if offline else ONLINE)), patient))
    g.out.record(doctor_document(found), doctor_lines(found))
    if failures := count(found, Level.FAIL):
        first = next(one for one in found if one.level is Level.FAIL)
        raise DiffersError(f"{failures} of {len(found)} checks failed, first: {first.name}: {first.said}", first.fix)


@command
def health(g: Globals, max_age: MaxAge = "2h") -> None:
    """Say in one line whether the ledger is sound, writable and in use. For Docker, systemd and monitors.

    Asks nobody over a network. Ends with 0 or 1.

    Example: trader health --max-age 90m
    """
    try:
        span = span_ms(max_age)
    except ValueError as error:
        raise UsageError(f"--max-age {error}", "Try: --max-age 2h") from None
    try:
        found = vital(VITAL, _patient(g, span, fixes=False))
    except TraderError as error:
        found = [Finding("settings", Level.FAIL, error.message, error.hint)]
    g.out.record(health_document(found), [health_line(found)])
    if count(found, Level.FAIL):
        raise TraderError(health_line(found).removeprefix("FAIL  "), "Look closer: trader doctor")


def _patient(g: Globals, max_age_ms: int | None, fixes: bool) -> Patient:
    return Patient(g.loaded(), g.settings_file(), exposed_file(g) is not None, wall_now(), max_age_ms, fixes)
