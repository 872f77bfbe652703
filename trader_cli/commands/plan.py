"""trader plan: the planner's word for the next cycle."""

from __future__ import annotations

from trader_cli.commands.desks import finish, say_notices, step_desk
from trader_cli.commands.options import DryRun, Globals, command
from trader_cli.phases.plan import plan as make_plan
from trader_cli.phases.plan import question
from trader_cli.views.steps import plan_document, plan_lines, question_document, question_lines


@command
def plan(g: Globals, dry_run: DryRun = False) -> None:
    """Ask the planner: trade or observe, and with which policies. Begins a new trace.

    With --dry-run the exact question is shown too, and nothing is written.
    """
    asked = None
    with step_desk(g, dry_run) as desk:
        trace_id = desk.new_trace()
        if dry_run:
            asked = question(desk, trace_id)
        made = make_plan(desk, trace_id)
        seen = desk.ledger.observation(made.observation_id or 0, desk.timeframe_ms)
        say_notices(g, desk)
    document = plan_document(made, seen, dry_run)
    if asked is not None:
        document["question"] = question_document(asked)
    g.out.record(document, [*plan_lines(made, seen), *(question_lines(asked) if asked else ())])
    finish(g, dry_run, "trader propose")
