"""trader loop: cycle after cycle, for tmux or a service."""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext
from typing import Annotated, Literal

import typer

from trader_cli.commands.arguments import model_name, moment, usd
from trader_cli.commands.busy import Busy
from trader_cli.commands.confirm import ConfirmReal, confirm, note
from trader_cli.commands.cycle import cycle_code
from trader_cli.commands.desks import finish, opening, say_notices, signals
from trader_cli.commands.options import DryRunAsks, Globals, command
from trader_cli.commands.telling import telling
from trader_cli.config import Settings
from trader_cli.core.decimals import ZERO, add, text
from trader_cli.core.errors import MarketEndedError, TraderError, UsageError
from trader_cli.core.moments import Moment, iso
from trader_cli.phases.cycle import loop as cycles_of
from trader_cli.phases.desk import Desk
from trader_cli.phases.startup import shutdown
from trader_cli.schemas.book import Snapshot
from trader_cli.schemas.cycle import Cycle
from trader_cli.tools.clock import wall_now
from trader_cli.tools.supervisor import Supervisor
from trader_cli.views.cycles import cycle_cells, cycle_document, cycle_line, header, waiting_line
from trader_cli.wiring import Bench, is_live, loop_lock, open_desk

_LOG = logging.getLogger("trader.loop")

Cycles = Annotated[int | None, typer.Option("--cycles", metavar="N", min=1, help="End after so many cycles.")]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help="End at this market time: a date, ISO time, or 24h from now."),
]
Speed = Annotated[
    Literal["real", "fast"],
    typer.Option("--speed", metavar="real|fast", help="fast: do not wait between cycles (virtual time only)."),
]


Model = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="One model for all three agents in this run. See: trader models"),
]
MaxCost = Annotated[
    str | None,
    typer.Option("--max-cost", metavar="USD", help="The most that models may cost in this run; then HOLD."),
]


@command
def loop(
    g: Globals,
    cycles: Cycles = None,
    until: Until = None,
    speed: Speed = "real",
    model: Model = None,
    max_cost: MaxCost = None,
    confirm_real: ConfirmReal = None,
    dry_run: DryRunAsks = False,
) -> None:
    """Run cycles, asleep until each plan's wake-up. Ctrl-C or SIGTERM ends it after the step in hand.

    A recorded market ends the loop with success when its file ends. With --speed fast the offline rules decide,
    unless both --model and --max-cost are given: nothing pays by accident.

    Example: trader loop --cycles 12 --speed fast
    """
    settings, came_in, manager = g.settings(), signals(g), Supervisor(os.environ)
    ticker, named = _Ticker(g), model_name(model, settings)
    if manager.beat_secs is not None:
        came_in.meanwhile(manager.beat_secs, manager.beat)
    bench = Bench(
        dry_run,
        fast=speed == "fast",
        signals=came_in,
        model=named,
        max_cost=usd(max_cost),
        thinks=ticker.thinks,
    )
    _refuse_what_fast_cannot(bench, settings)
    confirmed = confirm(g, settings, confirm_real, dry_run)
    with (
        loop_lock(settings, dry_run),
        nullcontext() if bench.fast else ticker,
        open_desk(settings, bench) as desk,
        telling(settings, desk, dry_run or bench.fast) as tell,
    ):
        note(desk, confirmed)
        end = None if until is None else _end(until, desk.clock.now())
        _opening(g, desk, bench)
        ticker.stands(desk.ledger.last_snapshot())
        manager.ready(opening(desk))
        tell.word("loop", f"begins: {opening(desk)}")
        cost = ZERO

        def waiting(due: Moment) -> None:
            tell.wakes_at(due)
            _LOG.info("asleep until %s", iso(due))
            ticker.waits(due)

        for came in cycles_of(desk, cycles, end, waiting):
            if isinstance(came, MarketEndedError):
                g.out.say(f"{came.message}. The loop ends here.")
            elif isinstance(came, TraderError):
                ticker.does("it is tried again soon")
                g.out.fault(came)
                _LOG.warning("the cycle did not come to its end: %s", came.message)
                manager.working(came.message)
                tell.failed(came)
            else:
                cost = add(cost, came.cost_usd)
                ticker.took(came)
                g.out.record(cycle_document(came, dry_run), [cycle_line(came, g.out.width or 80)], cycle_cells(came))
                cycle_code(g, came)
                manager.working(cycle_line(came, 80))
                tell.cycle(came)
        manager.stopping()
        tell.word("loop", f"ends: {desk.stop.ending() or 'as it was asked to'}")
        shutdown(desk)
    finish(g, dry_run, "trader ledger show", cost)


def _refuse_what_fast_cannot(bench: Bench, settings: Settings) -> None:
    if bench.fast and is_live(settings):
        raise UsageError("--speed fast needs a market that does not run by the clock", "Leave it out, or MARKET out.")
    if bench.fast and (bench.model is None) != (bench.max_cost is None):
        raise UsageError("--speed fast pays for models only with both --model and --max-cost", "Give both, or neither.")


def _end(until: str, now: Moment) -> Moment:
    end = moment(until, now, ahead=True)
    if end <= now:
        raise UsageError(f'--until must lie after now ({iso(now)} market time), was "{until}"', "Try: --until 24h")
    return end


def _opening(g: Globals, desk: Desk, bench: Bench) -> None:
    cap = desk.limits.deposit_cap
    told = [opening(desk), *([] if cap is None else [f"cap {text(cap)}"]), str(g.settings().db_path)]
    g.out.say(" | ".join(told))
    say_notices(g, desk, bench)
    if g.out.width and not g.json:
        g.out.say(header(g.out.width))


class _Ticker(Busy):
    """Between the cycles what the loop sleeps for, and how it stands; within one that it is at work."""

    def __init__(self, g: Globals) -> None:
        super().__init__(g.out, "the cycle is at work")
        self._due: Moment | None = None
        self._taken: Snapshot | None = None
        self._trades = 0

    def stands(self, taken: Snapshot | None) -> None:
        """What a run before this one left."""
        self._taken = taken

    def waits(self, due: Moment) -> None:
        """The loop sleeps until then (on the wall)."""
        self._due = due

    def took(self, came: Cycle) -> None:
        """What the newest cycle left."""
        self._taken = came.snapshot or self._taken
        order = came.execution.order
        self._trades += order is not None and bool(order.executed_qty) and not came.execution.already
        self.does(self._words)

    def text(self) -> str:
        """The line of this moment."""
        if self._due is not None:
            if (left := (self._due - wall_now()) // 1000) > 0:
                return waiting_line(self._due, left, self._taken, self._trades)
            self._due = None
            self.does(self._words)
        return super().text()
