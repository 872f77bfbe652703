"""trader ledger export: rows for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from trader_cli.commands.arguments import bound
from trader_cli.commands.ledger import Since, Until
from trader_cli.commands.options import Globals, command
from trader_cli.core.errors import UsageError
from trader_cli.tools import exports
from trader_cli.tools.clock import wall_now
from trader_cli.tools.files import save
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.stopfile import StopFile
from trader_cli.views.export import FORMATS, as_csv, as_json, as_jsonl
from trader_cli.wiring import ledger_path, open_reader

What = Annotated[
    str, typer.Argument(metavar="WHAT", help="cycles, trades, returns, lots, decisions, or any table of the ledger.")
]
Format = Annotated[
    Literal["csv", "jsonl", "json"] | None,
    typer.Option("--format", metavar="csv|jsonl|json", help="Unsaid: by the file's ending, else csv."),
]
OutFile = Annotated[
    str, typer.Option("--output", "-o", metavar="FILE", help="Where to; - is stdout. Written whole or not at all.")
]
Force = Annotated[bool, typer.Option("--force", metavar="", help="Replace FILE if it is there.")]


@command
def export(
    g: Globals,
    what: What = "cycles",
    form: Format = None,
    output: OutFile = "-",
    since: Since = None,
    until: Until = None,
    force: Force = False,
) -> None:
    """Write rows for other programs, oldest first: every value whole, money as the ledger keeps it.

    trades: with policy and realized profit at average cost. lots: first in, first out. returns: a ratio per UTC day,
    for quantstats or pyfolio. In CSV a text that a spreadsheet would take for a formula begins with an apostrophe.

    Example: trader ledger export trades -o trades.csv
    """
    path = None if output == "-" else Path(output)
    if force and path is None:
        raise UsageError("--force goes with a file", "Name one: -o FILE")
    made, settings = _format(g, form, path), g.settings()
    if path is not None:
        _check_not_ours(path, ledger_path(settings))
    with open_reader(settings) as ledger:
        now = _now(ledger)
        span = exports.Span(bound("--since", since, now), bound("--until", until, now))
        pieces = _pieces(ledger, what, made, span)
        if path is None:
            g.out.stream(pieces)
            return
        size = save(path, pieces, "--output", force)
    document = {"schema": "trader.exported/1", "what": what, "format": made, "path": str(path), "bytes": size}
    g.out.record(document, [f"{what} as {made}: {path} ({size:,} bytes)"])


def _check_not_ours(path: Path, ledger: Path) -> None:
    """Refuse the ledger, what lies beside it under its name (journal, locks, copies), and the STOP file."""
    try:
        where, kept = path.resolve(), ledger.resolve()
    except (OSError, ValueError, RuntimeError):  # RuntimeError: links in a circle
        return  # no path at all: writing it says why
    if where.parent == kept.parent and (where.name.startswith(kept.name) or where.name == StopFile(kept).path.name):
        raise UsageError(f'"{path}" belongs to the ledger "{ledger}"', "Name another file: it is never replaced.")


def _format(g: Globals, form: str | None, path: Path | None) -> str:
    if form is not None:
        return form
    if path is None:
        return "json" if g.json else "csv"
    ending = path.suffix.lower().removeprefix(".")
    return ending if ending in FORMATS else "csv"


def _now(ledger: Ledger) -> int:
    """What `24h` counts back from: the newest cycle, in market time."""
    plan = ledger.newest_plan()
    return wall_now() if plan is None else plan.at


def _pieces(ledger: Ledger, what: str, made: str, span: exports.Span) -> Iterator[str]:
    columns, rows = exports.columns(ledger, what), exports.export(ledger, what, span)
    if made == "csv":
        return as_csv(columns, rows)
    return as_jsonl(rows) if made == "jsonl" else as_json(what, rows)
