"""trader judge: the law's and the judge's word on a proposal."""

from __future__ import annotations

from typing import Annotated

import typer

from trader_cli.commands.desks import (
    await_pipe,
    finish,
    lineage,
    parent_proposal,
    print_prompt,
    step_code,
    step_desk,
    with_question,
)
from trader_cli.commands.options import DryRunAsks, Globals, ShowPrompt, command
from trader_cli.core.errors import ExitCode
from trader_cli.phases.judge import judge as make_verdict
from trader_cli.schemas.question import Agent
from trader_cli.tools.queries import question_of
from trader_cli.views.steps import verdict_document, verdict_lines

ProposalOption = Annotated[
    str | None,
    typer.Option("--proposal", metavar="ID|-", help="A proposal's id or trace, or - for the JSON on stdin."),
]


@command
def judge(
    g: Globals, proposal: ProposalOption = None, show_prompt: ShowPrompt = False, dry_run: DryRunAsks = False
) -> ExitCode:
    """Hold the newest unjudged proposal against the law, then the judge. Asked again, the same verdict is shown.

    Example: trader judge --proposal 12
    """
    await_pipe(proposal)
    with step_desk(g, dry_run, shows=show_prompt) as desk:
        said = parent_proposal(desk, proposal)
        known = desk.ledger.verdict_of(said.id)
        made = make_verdict(desk, lineage(desk, said), said)
        if show_prompt:
            return print_prompt(g, desk, Agent.JUDGE, made)
        question = question_of(desk.ledger, made.model_call_id)
    if known is not None:
        g.out.say(f"Proposal {said.id} has this verdict already; no model was asked.")
    g.out.record(*with_question(verdict_document(made, dry_run), verdict_lines(made), question, made.cause))
    finish(g, dry_run, "trader execute", made.cost_usd)
    return step_code(g, made)
