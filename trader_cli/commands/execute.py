"""trader execute: a verdict carried out, at most once."""

from __future__ import annotations

from typing import Annotated

import typer

from trader_cli.commands.confirm import ConfirmReal, confirm, note
from trader_cli.commands.desks import (
    await_pipe,
    finish,
    judged_proposal,
    lineage,
    order_code,
    parent_verdict,
    refuse_while_unknown,
    step_desk,
)
from trader_cli.commands.options import DryRun, Globals, command
from trader_cli.core.errors import ExitCode, RefusedError
from trader_cli.phases.execute import execute as carry_out
from trader_cli.schemas.situation import TradingState
from trader_cli.views.steps import execution_document, execution_lines

VerdictOption = Annotated[
    str | None, typer.Option("--verdict", metavar="ID|-", help="A verdict's id or trace, or - for the JSON on stdin.")
]


@command
def execute(
    g: Globals, verdict: VerdictOption = None, confirm_real: ConfirmReal = None, dry_run: DryRun = False
) -> ExitCode:
    """Carry out the newest verdict: the law once more, then at most one order. Twice sends nothing twice.

    Example: trader execute --dry-run
    """
    confirmed = confirm(g, g.settings(), confirm_real, dry_run)
    await_pipe(verdict)
    with step_desk(g, dry_run) as desk:
        note(desk, confirmed)
        ruled = parent_verdict(desk, verdict)
        said = judged_proposal(desk, ruled)
        if desk.ledger.order_of_verdict(ruled.id) is None:
            refuse_while_unknown(desk)
            state, cause = desk.state()
            if state is TradingState.HALT:
                raise RefusedError(f"trading is stopped: {cause}", 'Start again: trader resume --reason "..."')
        done = carry_out(desk, lineage(desk, said), said, ruled)
    g.out.record(execution_document(ruled, done, dry_run), execution_lines(ruled, done))
    finish(g, dry_run, "trader snapshot")
    return order_code(g, done.order)
