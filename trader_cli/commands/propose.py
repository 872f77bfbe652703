"""trader propose: one order proposed under a plan."""

from __future__ import annotations

from typing import Annotated

import typer

from trader_cli.commands.desks import await_pipe, finish, parent_plan, step_desk
from trader_cli.commands.options import DryRun, Globals, command
from trader_cli.phases.propose import propose as make_proposal
from trader_cli.phases.propose import question
from trader_cli.views.steps import proposal_document, proposal_lines, question_document, question_lines

PlanOption = Annotated[
    str | None, typer.Option("--plan", metavar="ID|-", help="A plan's id or trace, or - for the JSON on stdin.")
]


@command
def propose(g: Globals, plan: PlanOption = None, dry_run: DryRun = False) -> None:
    """Ask the trader for one order under the newest unused plan. Asked again, the same proposal is shown."""
    await_pipe(plan)
    asked = None
    with step_desk(g, dry_run) as desk:
        parent = parent_plan(desk, plan)
        known = desk.ledger.proposal_of(parent.id)
        if dry_run:
            asked = question(desk, parent)
        made = make_proposal(desk, parent)
        seen = desk.ledger.observation(made.observation_id or 0, desk.timeframe_ms)
        base = desk.exchange.market().base
    if known is not None:
        g.out.say(f"Plan {parent.id} has this proposal already; no model was asked.")
    document = proposal_document(made, seen, dry_run)
    if asked is not None:
        document["question"] = question_document(asked)
    g.out.record(document, [*proposal_lines(made, seen, base), *(question_lines(asked) if asked else ())])
    finish(g, dry_run, "trader judge")
