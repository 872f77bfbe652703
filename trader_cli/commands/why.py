"""trader why: the reasons of one trade or cycle, from what was seen to what was learnt, on one screen."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from trader_cli.commands.options import Globals, command
from trader_cli.core.grounding import Claim, ungrounded
from trader_cli.schemas.decision import FALLBACK
from trader_cli.tools import reasons
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.memory import learnt_document
from trader_cli.tools.reasons import Subject
from trader_cli.tools.rows import readable
from trader_cli.views.reasons import order_document, why_document
from trader_cli.views.trace import trace_document
from trader_cli.views.why import why_lines
from trader_cli.wiring import open_reader

Word = Annotated[
    str,
    typer.Argument(
        help="A trade's number (310 or #310), an order's name (t1-…), a trace id or its beginning, or last.",
        metavar="TRADE|TRACE|last",
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
        document = _read(ledger, reasons.subject(ledger, subject))
        lines = why_lines(document, g.out.width or 100)
    g.out.record(document, lines)


def _read(ledger: Ledger, asked: Subject) -> dict[str, Any]:
    """The rows of a trace or of an order without one, with what became of the order."""
    rows, mode = reasons.rows_of(ledger, asked), ledger.identity().get("mode")
    whole = order_document(rows, mode) if asked.trace_id is None else trace_document(rows, mode, ())
    order = whole["orders"][-1] if whole["orders"] else None
    learnt, held = ([], []) if order is None else reasons.outcomes_of(ledger, order["client_order_id"])
    after = {
        "learnt": [{"id": one.id, **learnt_document(replace(one, standing=None))} for one in learnt],
        "held": held,
        "claims": _claims(whole),
    }
    return why_document(whole, after, reasons.mark(ledger))


def _claims(whole: dict[str, Any]) -> tuple[Claim, ...]:
    """The numbers of what a model proposed that the facts it was told do not bear out; its own order is a fact too."""
    proposal = next((one for one in whole["decisions"] if one["agent"] == "TRADER"), None)
    if proposal is None:
        return ()
    call = next((one for one in whole["model_calls"] if one["id"] == proposal["model_call_id"]), None)
    if call is None or proposal["source"] == FALLBACK:
        return ()
    said = proposal["payload"]
    facts = {**call["facts"], "confidence": said["confidence"], "qty": said["qty"]}
    return ungrounded(said["hypothesis"], facts, reasons.lookups(whole["model_calls"]))
