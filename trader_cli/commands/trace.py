"""trader ledger trace: the whole story of one cycle, on a screen, as a document, or as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trader_cli import looks
from trader_cli.commands.options import Globals, TraceId, command
from trader_cli.core.errors import UsageError
from trader_cli.core.moments import read_span
from trader_cli.tools import queries
from trader_cli.tools.files import fill
from trader_cli.tools.ledger import Ledger
from trader_cli.views.output import as_json
from trader_cli.views.trace import candles_csv, trace_files, trace_lines
from trader_cli.wiring import open_reader

Prompts = Annotated[bool, typer.Option("--prompts", metavar="", help="Also the prompts and the models' raw replies.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="DIR", help="Write all of it into a folder: the trace, prompts, replies, the candles seen."
    ),
]
Force = Annotated[
    bool, typer.Option("--force", metavar="", help="With --out: also into a folder that holds something.")
]


@command
def trace(g: Globals, trace_id: TraceId, prompts: Prompts = False, out: Out = None, force: Force = False) -> None:
    """Everything about one cycle: what it saw, decided, was allowed, sent, filled, and stands at.

    Of the law only what did not pass is listed; --json has every rule. candles.csv has the form of a MARKET file.

    Example: trader ledger trace last --out seen
    """
    if force and out is None:
        raise UsageError("--force goes with --out", "Name a folder: --out DIR")
    with open_reader(g.settings()) as ledger:
        whole = looks.trace(ledger, queries.full_trace_id(ledger, trace_id), prompts or out is not None)
        files = {} if out is None else _files(ledger, whole)
    if out is not None:
        paths = fill(out, files, "--out", force)
        document = {"schema": "trader.trace.files/1", "trace_id": whole["trace_id"], "files": [str(p) for p in paths]}
        g.out.record(document, document["files"])
        return
    g.out.record(whole, trace_lines(whole))
    if g.out.is_terminal and not g.json:
        name = whole["trace_id"][:8]
        g.out.say(f"Prompts: --prompts | files: --out DIR | older: ledger show --before {name}")


def _files(ledger: Ledger, whole: dict[str, Any]) -> dict[str, str]:
    """What --out writes: the candles of the first observation are candles.csv, of a later one candles-2.csv."""
    from trader_cli.tools.markets.recorded import HEADER

    files = trace_files(as_json(whole), whole)
    timeframe_ms = read_span(ledger.identity()["timeframe"])
    for number, seen in enumerate(whole["observations"], 1):
        window = ledger.observation(seen["id"], timeframe_ms).window
        if window.candles:
            files[f"candles{'' if number == 1 else f'-{number}'}.csv"] = candles_csv(HEADER, window.candles)
    return files
