"""trader judge: the law's and the judge's word on a proposal."""

from __future__ import annotations

from typing import Annotated

import typer

from trader_cli.commands.desks import await_pipe, finish, lineage, parent_proposal, step_desk
from trader_cli.commands.options import DryRun, Globals, command
from trader_cli.phases.judge import judge as make_verdict
from trader_cli.phases.judge import question
from trader_cli.views.steps import question_document, question_lines, verdict_document, verdict_lines

ProposalOption = Annotated[
    str | None,
    typer.Option("--proposal", metavar="ID|-", help="A proposal's id or trace, or - for the JSON on stdin."),
]


@command
def judge(g: Globals, proposal: ProposalOption = None, dry_run: DryRun = False) -> None:
    """Hold the newest unjudged proposal against the law, then the judge. Asked again, the same verdict is shown."""
    await_pipe(proposal)
    asked = None
    with step_desk(g, dry_run) as desk:
        said = parent_proposal(desk, proposal)
        known = desk.ledger.verdict_of(said.id)
        under = lineage(desk, said)
        if dry_run:
            asked = question(desk, under, said)
        made = make_verdict(desk, under, said)
    if known is not None:
        g.out.say(f"Proposal {said.id} has this verdict already; no model was asked.")
    document = verdict_document(made, dry_run)
    if asked is not None:
        document["question"] = question_document(asked)
    g.out.record(document, [*verdict_lines(made), *(question_lines(asked) if asked else ())])
    finish(g, dry_run, "trader execute")
