"""cycle: recover, then the five phases on a new trace. loop: cycles, with the planner's sleep between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from trader_cli.core.errors import (
    BusyError,
    ConfigError,
    MarketEndedError,
    OrderUnknownError,
    RefusedError,
    TraderError,
    UpstreamError,
)
from trader_cli.core.moments import Moment
from trader_cli.phases.desk import Desk
from trader_cli.phases.execute import execute
from trader_cli.phases.judge import judge
from trader_cli.phases.plan import plan
from trader_cli.phases.propose import propose
from trader_cli.phases.snapshot import snapshot
from trader_cli.phases.startup import startup
from trader_cli.schemas.cycle import Cycle, Execution
from trader_cli.schemas.decision import Decision
from trader_cli.schemas.market import ACCOUNT
from trader_cli.schemas.order import SETTLED, OrderState
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.situation import TradingState
from trader_cli.tools.ledger import Ledger

LOCK_WAIT_SECS = 30.0
"""How long a loop lets a single step of another process finish before its own cycle."""

MEND_MODELS = "Check OPENAI_API_KEY, OPENAI_MODEL_* and OPENAI_BASE_URL; see: trader models"
"""What to do when a model's server refuses a key, a model's name or a request."""

RESUME = 'trader resume --reason "..."'
"""How an operator lets trading go on."""

MEND_ACCOUNT = 'trader recover --accept-balances --reason "..."'
"""What to do when the account differs and an operator knows why."""

RETRY_SECS = 30
"""How long a loop waits after a cycle that could not reach the exchange."""


def cycle(desk: Desk, thorough: bool = False) -> Cycle:
    """All five phases on a new trace, after a startup that is `thorough` or not. The caller holds the writer lock."""
    upstream = None
    before = desk.ledger.trading_state(), desk.ledger.epoch()
    try:
        unsettled = tuple(order for order in startup(desk, thorough) if order.state not in SETTLED)
    except UpstreamError as error:
        unsettled, upstream = desk.ledger.open_orders(), error.message
        desk = replace(desk, missing=error.message)
    trace_id = desk.new_trace()
    planned = plan(desk, trace_id)
    proposed = propose(desk, planned)
    judged = judge(desk, planned, proposed)
    try:
        done = execute(desk, planned, proposed, judged)
    except UpstreamError as error:
        done, upstream = Execution(None, reason=error.message), upstream or error.message
    taken = None
    try:
        taken = snapshot(desk, trace_id)
    except UpstreamError as error:
        upstream = upstream or error.message
    upstream = upstream or planned.upstream or proposed.upstream or judged.upstream
    wrong = planned.misconfigured or proposed.misconfigured or judged.misconfigured
    changes = _changes(desk, *before)
    return Cycle(trace_id, unsettled, upstream, wrong, planned, proposed, judged, done, taken, desk.state()[0], changes)


def _changes(desk: Desk, kept: tuple[TradingState, str | None], epoch: int | None) -> tuple[str, ...]:
    """What became of the trading state by the law, and of the account's epoch, since they were these."""
    said = []
    state, reason = desk.ledger.trading_state()
    if state > kept[0] and desk.ledger.braked():
        only = "only sales" if state is TradingState.REDUCE else "nothing"
        said.append(f"trading is {state.name} now, {only}: {reason}. Start again: {RESUME}")
    if epoch is not None and desk.ledger.epoch() != epoch and (begun := desk.ledger.last_event("EPOCH")) is not None:
        said.append(
            f"epoch {begun[1]['number']} of the account began with {begun[1]['quote']} as deposit: {begun[1]['reason']}"
        )
    return tuple(said)


def account_trouble(plan: Decision[Plan]) -> str | None:
    """How the account was not as our book says when a plan was made, so that it only observes."""
    kind, _, words = (plan.cause or "").partition(": ")
    return words if kind == ACCOUNT else None


def due_at(ledger: Ledger) -> Moment | None:
    """When the newest plan wants to be woken, on the wall; None when there is no plan."""
    newest = ledger.newest_plan()
    return None if newest is None else newest.wall_at + newest.payload.next_wakeup_secs * 1000


def loop(
    desk: Desk,
    cycles: int | None = None,
    until: Moment | None = None,
    waiting: Callable[[Moment], None] = lambda due: None,
) -> Iterator[Cycle | TraderError]:
    """Cycles until a count, a moment, a signal or the market's end. Yields what an outlived cycle raised, too.

    `waiting` is told the moment on the wall that each sleep ends.

    Raises what cannot be outlived: a broken ledger or setting, an order that needs a human.
    """
    done = 0
    while (cycles is None or done < cycles) and not _over(desk, until):
        if not _wait(desk, waiting) or _over(desk, until):
            return
        several = _outlive(desk, _Batch(desk, None if cycles is None else cycles - done, until), thorough=not done)
        for came in several:
            if isinstance(came, BusyError) and desk.stop.ending() is not None:
                return
            yield came
            if isinstance(came, MarketEndedError):
                return
            if isinstance(came, Cycle) and came.misconfigured is not None:
                raise ConfigError(f"{came.misconfigured}. The loop ends here", MEND_MODELS)
            done += 1
        failed = isinstance(came, TraderError) or came.upstream is not None
        if failed and not desk.clock.sleep_until(desk.clock.wall() + RETRY_SECS * 1000):
            return


def _over(desk: Desk, until: Moment | None) -> bool:
    """Whether the moment to end at has come; it may come in a sleep."""
    return until is not None and _now(desk) >= until


def _now(desk: Desk) -> Moment:
    with desk.ledger.steady():
        return desk.clock.now()


def _wait(desk: Desk, waiting: Callable[[Moment], None]) -> bool:
    """Sleep until the newest plan's wake-up; again if another process made a newer plan meanwhile."""
    told = None
    while (due := _due_now(desk)) is not None and due != told:
        waiting(due)
        if not desk.clock.sleep_until(due):
            return False
        told = due
    return True


def _due_now(desk: Desk) -> Moment | None:
    with desk.ledger.steady():
        return due_at(desk.ledger)


class _Batch:
    """When cycles that are committed together end: by the desk's time for it, a count, a moment or a signal."""

    def __init__(self, desk: Desk, cycles: int | None, until: Moment | None) -> None:
        self._desk = desk
        self._cycles = cycles
        self._until = until
        self._deadline = desk.clock.wall() + desk.batch_ms

    def commit(self) -> AbstractContextManager[None]:
        """One commit of all that is written inside, where the desk has a time for it."""
        return self._desk.ledger.together() if self._desk.batch_ms else nullcontext()

    def over(self, done: int) -> bool:
        """Whether what is done so far should be committed now."""
        desk = self._desk
        return (
            desk.clock.wall() >= self._deadline
            or done == self._cycles
            or (self._until is not None and desk.clock.now() >= self._until)
            or desk.stop.ending() is not None
        )


def _outlive(desk: Desk, batch: _Batch, thorough: bool) -> list[Cycle | TraderError]:
    """One cycle, or all of a batch in one commit; the last may be what was raised, if a loop outlives that."""
    came: list[Cycle | TraderError] = []
    try:
        with desk.ledger.writing(LOCK_WAIT_SECS, lambda: desk.stop.ending() is not None), batch.commit():
            while not came or not (isinstance(came[-1], TraderError) or batch.over(len(came))):
                came.append(_attempt(desk, thorough and not came))
    except BusyError as error:
        return [error]
    return came


def _attempt(desk: Desk, thorough: bool) -> Cycle | TraderError:
    """One cycle, or what it raised if a loop outlives that or ends well with it."""
    try:
        came = cycle(desk, thorough)
    except (MarketEndedError, RefusedError, UpstreamError) as error:
        return error
    for order in came.unsettled:
        if order.state is OrderState.NEEDS_HUMAN:
            raise OrderUnknownError(
                f"order {order.intent.client_order_id} needs a human: {order.evidence}", "Look: trader recover"
            )
    return came
