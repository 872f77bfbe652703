"""trader why: the reasons of one trade or cycle, from what was seen to what was learnt, on one screen."""

from __future__ import annotations

from typing import Annotated

import typer

from trader_cli import looks
from trader_cli.commands.completion import traces
from trader_cli.commands.options import Globals, command
from trader_cli.tools import reasons
from trader_cli.tools.rows import readable
from trader_cli.views.why import why_lines
from trader_cli.wiring import open_reader

Word = Annotated[
    str,
    typer.Argument(
        help="A trade's number (310 or #310), an order's name (t1-…), a trace id or its beginning, or last.",
        metavar="TRADE|TRACE|last",
        autocompletion=traces,
    ),
]


@command
def why(g: Globals, subject: Word) -> None:
    """Why a trade was made, or why not: facts, plan, proposal, every rule of the law, order, outcome, what was learnt.

    Numbers of the hypothesis that the facts do not bear out are flagged UNGROUNDED. All of it is read from the
    ledger: nothing is asked and nothing is written.

    Example: trader why last
    """
    with open_reader(g.settings()) as ledger, readable("what it stands on"):
        document = looks.why(ledger, reasons.subject(ledger, subject))
        lines = why_lines(document, g.out.width or 100)
    g.out.record(document, lines)
