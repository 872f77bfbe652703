"""trader propose: one order proposed under a plan."""

from __future__ import annotations

from typing import Annotated

import typer

from trader_cli.commands.desks import await_pipe, finish, parent_plan, print_prompt, step_code, step_desk, with_question
from trader_cli.commands.options import DryRunAsks, Globals, ShowPrompt, command
from trader_cli.core.errors import ExitCode
from trader_cli.phases.propose import propose as make_proposal
from trader_cli.schemas.question import Agent
from trader_cli.tools.queries import question_of
from trader_cli.views.steps import proposal_document, proposal_lines

PlanOption = Annotated[
    str | None, typer.Option("--plan", metavar="ID|-", help="A plan's id or trace, or - for the JSON on stdin.")
]


@command
def propose(
    g: Globals, plan: PlanOption = None, show_prompt: ShowPrompt = False, dry_run: DryRunAsks = False
) -> ExitCode:
    """Ask the trader for one order under the newest unused plan. Asked again, the same proposal is shown.

    Example: trader plan --json | trader propose --plan -
    """
    await_pipe(plan)
    with step_desk(g, dry_run, shows=show_prompt) as desk:
        parent = parent_plan(desk, plan)
        known = desk.ledger.proposal_of(parent.id)
        made = make_proposal(desk, parent)
        if show_prompt:
            return print_prompt(g, desk, Agent.TRADER, made)
        seen = desk.ledger.observation(made.observation_id, desk.timeframe_ms)
        base = desk.exchange.market().base
        question = question_of(desk.ledger, made.model_call_id)
    if known is not None:
        g.out.say(f"Plan {parent.id} has this proposal already; no model was asked.")
    document, lines = proposal_document(made, seen, dry_run), proposal_lines(made, seen, base)
    g.out.record(*with_question(document, lines, question, made.cause))
    finish(g, dry_run, "trader judge", made.cost_usd)
    return step_code(g, made)
