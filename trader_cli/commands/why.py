"""trader why: the reasons of one trade or cycle, from what was seen to what was learnt, on one screen."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trader_cli.commands.options import Globals, command
from trader_cli.core.grounding import Claim, ungrounded
from trader_cli.tools import queries, reasons
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.memory import learnt_document
from trader_cli.views.trace import trace_document
from trader_cli.views.why import why_document, why_lines
from trader_cli.wiring import open_reader

Subject = Annotated[
    str,
    typer.Argument(
        help="A trade's number (310 or #310), an order's name (t1-…), a trace id or its beginning, or last.",
        metavar="TRADE|TRACE|last",
    ),
]


@command
def why(g: Globals, subject: Subject) -> None:
    """Why a trade was made, or why not: facts, plan, proposal, every rule of the law, order, outcome, what was learnt.

    Numbers of the hypothesis that the facts do not bear out are flagged UNGROUNDED. All of it is read from the
    ledger: nothing is asked and nothing is written.

    Example: trader why last
    """
    with open_reader(g.settings()) as ledger:
        document = _read(ledger, reasons.subject(ledger, subject))
    g.out.record(document, why_lines(document, g.out.width or 100))


def _read(ledger: Ledger, trace_id: str) -> dict[str, Any]:
    """The trace's rows, with what became of its order."""
    whole = trace_document(queries.trace(ledger, trace_id), ledger.identity().get("mode"), ())
    learnt, held = reasons.outcomes_of(ledger, [order["client_order_id"] for order in whole["orders"]])
    proposal = next((one for one in reversed(whole["decisions"]) if one["agent"] == "TRADER"), None)
    facts = next((one["facts"] for one in reversed(whole["model_calls"]) if one["agent"] == "TRADER"), None)
    claims: tuple[Claim, ...] = ()
    if proposal is not None and facts is not None and proposal["source"] in ("rules", "openai"):
        claims = ungrounded(proposal["payload"]["hypothesis"], facts, reasons.lookups(whole["model_calls"]))
    after = {"learnt": [{"id": one.id, **learnt_document(one)} for one in learnt], "held": held, "claims": claims}
    return why_document(whole, after, reasons.mark(ledger))
