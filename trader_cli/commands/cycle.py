"""trader cycle: one whole cycle, for cron or by hand."""

from __future__ import annotations

from typing import Annotated

import typer

from trader_cli.commands.busy import Busy
from trader_cli.commands.confirm import ConfirmReal, confirm, note
from trader_cli.commands.desks import finish, opening, order_code, signals
from trader_cli.commands.options import DryRunAsks, Globals, command
from trader_cli.commands.telling import telling
from trader_cli.core.errors import ExitCode, NotFoundError
from trader_cli.core.moments import Moment, iso
from trader_cli.phases.cycle import MEND_ACCOUNT, MEND_MODELS, account_trouble, due_at
from trader_cli.phases.cycle import cycle as run_cycle
from trader_cli.schemas.cycle import Cycle
from trader_cli.schemas.order import OrderState
from trader_cli.tools.clock import wall_now
from trader_cli.views.cycles import cycle_cells, cycle_document, cycle_line
from trader_cli.wiring import Bench, cap_notices, open_desk, open_reader

IfDue = Annotated[
    bool, typer.Option("--if-due", metavar="", help="Do nothing, quietly, before the plan's wake-up (for cron).")
]
Wait = Annotated[
    float, typer.Option("--wait", metavar="SECS", min=0, help="How long to wait for another writer; then exit 7.")
]


@command
def cycle(
    g: Globals,
    if_due: IfDue = False,
    wait: Wait = 0.0,
    confirm_real: ConfirmReal = None,
    dry_run: DryRunAsks = False,
) -> ExitCode:
    """Recover, plan, propose, judge, execute, snapshot: one trace from beginning to end.

    Example, for cron: trader cycle --if-due -q
    """
    settings = g.settings()
    if if_due and _is_early(g, _due(g)):
        return ExitCode.OK
    confirmed = confirm(g, settings, confirm_real, dry_run)
    busy = Busy(g.out, "the cycle is at work")
    bench = Bench(dry_run=dry_run, wait_secs=wait, signals=signals(g), thinks=busy.thinks)
    with (
        busy,
        open_desk(settings, bench) as desk,
        telling(settings, desk, dry_run, goes_on=False) as tell,
        desk.ledger.writing(bench.wait_secs),
    ):
        if if_due and _is_early(g, due_at(desk.ledger)):  # another process was faster
            return ExitCode.OK
        note(desk, confirmed)
        what = opening(desk)
        tell.wakes_at(due_at(desk.ledger) if if_due else None)
        came = run_cycle(desk)
        tell.cycle(came)
        said = cap_notices(desk, came.snapshot.mark_price) if came.snapshot else []
    if g.out.is_terminal:
        g.out.say(what)
    for words in said:
        g.out.say(f"Note: {words}")
    g.out.record(cycle_document(came, dry_run), [cycle_line(came, g.out.width or 80)], cycle_cells(came))
    finish(g, dry_run, "trader ledger trace last", came.cost_usd)
    return cycle_code(g, came)


def cycle_code(g: Globals, came: Cycle) -> ExitCode:
    """10 when this cycle's order is unknown or an older one needs a human, 3 when settings keep a model from
    answering, 5 when the exchange or a model was out of reach."""
    for said in came.changes:
        g.out.warn(said)
    if (words := account_trouble(came.plan)) is not None:
        g.out.warn(f"{words}: nothing is traded until that is settled. If you know why: {MEND_ACCOUNT}")
    human = next((order for order in came.unsettled if order.state is OrderState.NEEDS_HUMAN), None)
    code = order_code(g, came.execution.order or human)
    if code is ExitCode.OK and came.misconfigured is not None:
        g.out.warn(f"{came.misconfigured}. The safe answer was recorded. {MEND_MODELS}")
        return ExitCode.CONFIG
    if code is ExitCode.OK and came.upstream is not None:
        g.out.warn(f"{came.upstream}. The safe answer was recorded.")
        return ExitCode.UPSTREAM
    return code


def _is_early(g: Globals, due: Moment | None) -> bool:
    """Whether the next cycle's moment on the wall is still to come."""
    if due is None or wall_now() >= due:
        return False
    if g.verbose:
        g.out.say(f"Not due until {iso(due)}.")
    return True


def _due(g: Globals) -> Moment | None:
    """When the next cycle is due on the wall; None where there is no plan or no ledger yet."""
    try:
        with open_reader(g.settings()) as ledger:
            return due_at(ledger)
    except NotFoundError:
        return None
