"""flatten: sell what our book holds by an operator's own plan, proposal and verdict, through the life of any order.

Own open orders are taken back first. It passes a stop, the plan and its policies; the rest of the law binds it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from trader_cli.agents import planner
from trader_cli.agents.reading import cut
from trader_cli.core.decimals import ZERO, brief, floor_to, sub
from trader_cli.core.errors import UpstreamError
from trader_cli.core.hostile import storable
from trader_cli.core.limits import Case, review, sellable
from trader_cli.phases.desk import Desk, observe, situation
from trader_cli.phases.execute import execute
from trader_cli.phases.judge import ruled
from trader_cli.phases.recover import recover
from trader_cli.phases.snapshot import snapshot
from trader_cli.phases.startup import startup
from trader_cli.schemas.cycle import Execution
from trader_cli.schemas.decision import OPERATOR, Decision
from trader_cli.schemas.flatten import Flattened, Round
from trader_cli.schemas.market import Market, Observation
from trader_cli.schemas.order import SETTLED, Order, OrderState
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.question import Agent
from trader_cli.schemas.situation import Situation
from trader_cli.schemas.trader import Proposal

MOST_ROUNDS = 10
"""A sale larger than one order may be, or filled in part, goes on with a proposal of its own; so often at most."""

POLICY = "cash"
"""What an operator's proposal says it follows: the policy that holds no base."""

AGAIN = "Try again: trader stop --flatten"


@dataclass(frozen=True, slots=True)
class _Look:
    """What the exchange said before a round. `most` is what can be sold on the step, in base."""

    seen: Observation
    bid: Decimal
    held: Decimal
    most: Decimal


def flatten(desk: Desk, reason: str) -> Flattened:
    """Sell everything our book holds; what the account holds beside it stays. Flat already: nothing is sent.

    An exchange out of reach is told in the record, not raised. Raises OrderUnknownError when what came of an order
    that was sent cannot be written down.
    """
    market = desk.market()
    held = desk.ledger.book(market.base, market.quote).base
    start = Flattened(market, held, held)
    try:
        taken_back, waiting = _settled(desk)
    except UpstreamError as error:
        return replace(start, upstream=error.message)
    held = desk.ledger.book(market.base, market.quote).base  # an order that was open may have been filled
    start = Flattened(market, held, held, taken_back, waiting)
    return start if waiting is not None or held <= ZERO else _verified(desk, _sold(desk, start, reason))


def _settled(desk: Desk) -> tuple[tuple[Order, ...], Order | None]:
    """See that account and exchange are there, settle what is open and take it back; returns what was open, and an
    order that stays unsettled. Models are not asked for: nobody's word is needed to get out."""
    opened = tuple(order for order in desk.ledger.open_orders() if order.state is OrderState.OPEN)
    asked = startup(replace(desk, minds=replace(desk.minds, proofs=())))
    left = [order for order in asked if order.state not in SETTLED]
    if any(order.state is OrderState.OPEN for order in left):  # while nothing is stopped, as in a rehearsal of this
        for order in left:
            if order.state is OrderState.OPEN:
                desk.exchange.cancel(order.intent)
        left = [order for order in recover(desk) if order.state not in SETTLED]
    return opened, next(iter(left), None)


def _sold(desk: Desk, start: Flattened, reason: str) -> Flattened:
    """Round after round until nothing that can be sold is left, or a round came to nothing."""
    came = start
    while True:
        market, trace_id = desk.market(), desk.new_trace()
        try:
            look = _look(desk, market, trace_id)
        except UpstreamError as error:
            return replace(came, upstream=error.message)
        enough = sellable(market, look.bid, look.held, margin=ZERO)
        came = replace(
            came,
            after=look.held,
            price=look.bid,
            sellable=enough,
            account_base=look.seen.base_balance,
            market=market,
            foreign_base=_foreign(desk),
        )
        if not enough:
            return came
        if (refusal := _no_round(desk, came, look)) is not None:
            return replace(came, refused=refusal)
        one = _round(desk, market, look, reason)
        came = replace(
            came,
            rounds=(*came.rounds, one),
            after=desk.ledger.book(market.base, market.quote).base,
        )
        if (ended := _ended(came, one, look)) is not None:
            return ended


def _look(desk: Desk, market: Market, trace_id: str) -> _Look:
    """What we hold and what it fetches now. The account may hold less of it than the book; more is not ours."""
    now = desk.clock.now()
    seen = observe(desk, trace_id, now)
    held = desk.ledger.book(market.base, market.quote).base
    most = held
    if seen.base_balance is not None:
        most = max(ZERO, min(held, sub(seen.base_balance, _foreign(desk))))
    return _Look(seen, desk.exchange.quote(now).bid, held, floor_to(most, market.step))


def _no_round(desk: Desk, came: Flattened, look: _Look) -> str | None:
    """Why there is no further round although our book holds enough for one."""
    if not sellable(came.market, look.bid, look.most, margin=ZERO):
        return (
            f"the book holds {brief(look.held)} {came.market.base}, the account only "
            f"{brief(look.most)} of it: too little to sell. Look: trader recover"
        )
    if len(came.rounds) >= MOST_ROUNDS:
        return f"{MOST_ROUNDS} orders were not enough. {AGAIN}"
    if came.rounds and (why := desk.stop.ending()) is not None:
        return f"ended by {why} after {len(came.rounds)} orders. {AGAIN}"
    return None


def _round(desk: Desk, market: Market, look: _Look, reason: str) -> Round:
    planned, proposed, judged = _decided(desk, market, look, reason)
    try:
        done = execute(desk, planned, proposed, judged)
    except UpstreamError as error:
        done = Execution(None, reason=error.message)
        judged = replace(judged, upstream=error.message)
    try:
        taken = snapshot(desk, planned.trace_id)
    except UpstreamError:
        taken = None
    return Round(proposed, judged, done, taken)


def _verified(desk: Desk, came: Flattened) -> Flattened:
    """What the account holds after the sale, asked anew; not known when that cannot be asked."""
    if not came.rounds:
        return came
    try:
        return replace(came, account_base=desk.exchange.balances().base)
    except UpstreamError:
        return replace(came, account_base=None)


def _foreign(desk: Desk) -> Decimal:
    """What the account holds that is not ours, in base."""
    foreign = desk.ledger.foreign()
    return ZERO if foreign is None else foreign.base


def _ended(came: Flattened, one: Round, look: _Look) -> Flattened | None:
    """The end, if a round is the last: all is sold, it came to nothing, or nobody knows what it came to."""
    order = one.execution.order
    if order is None:
        if (upstream := look.seen.window.unavailable or one.verdict.upstream) is not None:
            return replace(came, upstream=upstream)
        return replace(came, refused=f"{_refusal(one)}. {AGAIN}")
    if order.state not in SETTLED:
        return replace(came, unsettled=order)
    if order.executed_qty <= ZERO:
        code, message = (order.evidence.get(key) for key in ("code", "message"))
        return replace(came, refused=f"the exchange refused the sale: {code or ''} {message or order.state}. {AGAIN}")
    return replace(came, sellable=False) if came.after <= ZERO else None


def _refusal(one: Round) -> str:
    """The rule that stood in the way, in its own words."""
    bad = one.verdict.payload.decision == "REJECT" and one.verdict.review and one.verdict.review.refusal
    if bad:
        return f"the law refused the sale: {bad.name}: {bad.value}, needs {bad.limit}"
    return f"the law refused the sale: {one.execution.reason}"


# --- an operator's decisions -----------------------------------------------------------------


def _decided(
    desk: Desk, market: Market, look: _Look, reason: str
) -> tuple[Decision[Plan], Decision[Proposal], Decision[Any]]:
    """The operator's plan, proposal and verdict in one commit; the verdict is the law's word, no model is asked."""
    where = situation(desk, look.seen, look.seen.at, market)
    chosen = planner.observe(where)
    said = Proposal("SELL", look.most, POLICY, cut(f"flatten: {storable(reason)}"), 1.0)
    law = review(case := Case(where, chosen, said, look.bid, look.bid, operator=True))
    with desk.ledger.transaction() as tx:
        seen = desk.ledger.log_observation(tx, look.seen)
        terms = desk.ledger.log_terms(tx, market, desk.costs, desk.limits)
        blank = _blank(where, seen.id, cut(f"by hand: {storable(reason)}"))
        wake_at = where.at + chosen.next_wakeup_secs * 1000
        plan = desk.ledger.log_decision(tx, Agent.PLANNER, replace(blank, payload=chosen, wake_at=wake_at), terms)
        proposal = desk.ledger.log_decision(tx, Agent.TRADER, replace(blank, payload=said, plan_id=plan.id), terms)
        ruling = replace(blank, payload=ruled(case, law, law, None), proposal_id=proposal.id, review=law)
        return plan, proposal, desk.ledger.log_decision(tx, Agent.JUDGE, ruling, terms)


def _blank(where: Situation, observation_id: int | None, cause: str) -> Decision[Any]:
    return Decision(
        id=0,
        trace_id=where.observation.trace_id,
        at=where.at,
        wall_at=0,
        source=OPERATOR,
        cause=cause,
        payload=None,
        plan_id=None,
        proposal_id=None,
        observation_id=observation_id,
        prompt_sha256=None,
        wake_at=None,
        review=None,
    )
