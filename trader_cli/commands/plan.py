"""trader plan: the planner's word for the next cycle."""

from __future__ import annotations

from trader_cli.commands.desks import finish, print_prompt, step_code, step_desk, with_question
from trader_cli.commands.options import DryRunAsks, Globals, ShowPrompt, command
from trader_cli.core.errors import ExitCode
from trader_cli.phases.plan import plan as make_plan
from trader_cli.schemas.question import Agent
from trader_cli.tools.queries import question_of
from trader_cli.views.steps import plan_document, plan_lines


@command
def plan(g: Globals, show_prompt: ShowPrompt = False, dry_run: DryRunAsks = False) -> ExitCode:
    """Ask the planner: trade or observe, and with which policies. Begins a new trace.

    With --dry-run the exact question is shown too, and nothing is written.

    Example: trader plan --dry-run
    """
    with step_desk(g, dry_run, creates=True, shows=show_prompt) as desk:
        made = make_plan(desk, desk.new_trace())
        if show_prompt:
            return print_prompt(g, desk, Agent.PLANNER, made)
        seen = desk.ledger.observation(made.observation_id, desk.timeframe_ms)
        question = question_of(desk.ledger, made.model_call_id)
    document, lines = plan_document(made, seen, dry_run), plan_lines(made, seen)
    g.out.record(*with_question(document, lines, question, made.cause))
    finish(g, dry_run, "trader propose", made.cost_usd)
    return step_code(g, made)
