"""trader report: what trading came to, beside holding, cash and chance."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from trader_cli.commands.arguments import bound
from trader_cli.commands.ledger import Since, Until
from trader_cli.commands.options import Globals, command
from trader_cli.config import Settings
from trader_cli.core.errors import UsageError
from trader_cli.core.moments import Moment, iso
from trader_cli.schemas.performance import Performance
from trader_cli.tools.clock import wall_now
from trader_cli.tools.exports import Span
from trader_cli.tools.files import may_save, save
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.performance import performance
from trader_cli.views.chart import is_drawable
from trader_cli.views.export import as_csv
from trader_cli.views.report import COLUMNS, DAY_COLUMNS, day_rows, report_document, report_lines, report_row
from trader_cli.wiring import open_reader

Ledgers = Annotated[
    list[Path] | None, typer.Argument(metavar="[LEDGER]...", help="Ledgers to compare; unsaid, the one of DB_PATH.")
]
Html = Annotated[
    str | None, typer.Option("--html", metavar="FILE", help="Also write a page that needs nothing else, for a browser.")
]
Csv = Annotated[
    str | None, typer.Option("--csv", metavar="FILE", help="Also write a row per UTC day; - is stdout, alone.")
]
Force = Annotated[bool, typer.Option("--force", metavar="", help="Replace FILE if it is there.")]


@command
def report(
    g: Globals,
    ledgers: Ledgers = None,
    since: Since = None,
    until: Until = None,
    html: Html = None,
    csv: Csv = None,
    force: Force = False,
) -> None:
    """What trading came to: equity beside holding, cash and chance; risk, costs, policies, models.

    Every estimate has its 90 % interval; a ratio of fewer than 30 daily returns is not told. The rows of --csv add
    up to the ledger's own profit.

    Example: trader report --html report.html
    """
    outputs(g, html, csv, force)
    settings = g.settings()
    several = len(ledgers or ()) > 1
    g.out.passing("Reading…")
    found = [_read(one, since, until, several) for one in _named(settings, ledgers)]
    deliver(g, found, html, csv, force)


def outputs(g: Globals, html: str | None, csv: str | None, force: bool) -> None:
    """Refuse files that cannot be written before anything is done. Raises UsageError."""
    if csv == "-" and g.json:
        raise UsageError("--csv - and --json both want stdout", "Leave one out.")
    for option, path in (("--html", html), ("--csv", csv)):
        if path is not None and path != "-":
            may_save(Path(path), option, force)


def deliver(g: Globals, found: Sequence[Performance], html: str | None, csv: str | None, force: bool) -> None:
    """Print reports and write the files that were asked for; CSV for stdout comes alone."""
    if csv == "-":
        g.out.stream(as_csv(DAY_COLUMNS, day_rows(found)))
    else:
        _show(g, found)
    if html is not None:
        _write_page(g, found, Path(html), force)
    if csv not in (None, "-"):
        size = save(Path(str(csv)), as_csv(DAY_COLUMNS, day_rows(found)), "--csv", force)
        g.out.say(f"{csv}: {size:,} bytes")


def _show(g: Globals, found: Sequence[Performance]) -> None:
    """Print reports: a document, a line of a pipe each, or screens."""
    if g.json:
        g.out.record(report_document(found))
        return
    if g.out.width is None:
        g.out.table(COLUMNS, map(report_row, found))
        return
    plain = not is_drawable(sys.stdout.encoding)
    for number, one in enumerate(found):
        g.out.lines(*([""] if number else []), *report_lines(one, min(g.out.width, 100), plain))


def _write_page(g: Globals, found: Sequence[Performance], path: Path, force: bool) -> None:
    """Write the page for a browser, and say so."""
    from trader_cli.views.report_html import report_page

    size = save(path, report_page(found, iso(wall_now())), "--html", force)
    g.out.say(f"{path}: {size:,} bytes")


def _named(settings: Settings, ledgers: list[Path] | None) -> list[Settings]:
    return [settings.model_copy(update={"db_path": path}) for path in ledgers or [settings.db_path]]


def _read(settings: Settings, since: str | None, until: str | None, several: bool) -> Performance:
    with open_reader(settings) as ledger:
        now = _now(ledger)
        span = Span(bound("--since", since, now), bound("--until", until, now))
        if span.since is not None and span.until is not None and span.until <= span.since:
            raise UsageError(f"--until {iso(span.until)} is not after --since {iso(span.since)}")
        return performance(ledger, span, str(settings.db_path) if several else settings.db_path.name)


def _now(ledger: Ledger) -> Moment:
    """What `24h` counts back from: the newest cycle, in market time."""
    plan = ledger.newest_plan()
    return wall_now() if plan is None else plan.at
