"""execute: the law once more, the intent written down, one submission, and what it proves booked."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal

from trader_cli.core.decimals import ZERO
from trader_cli.core.errors import ConfigError, OrderUnknownError, TraderError, UpstreamError
from trader_cli.core.limits import Case, reserve, review
from trader_cli.core.moments import Moment
from trader_cli.phases.desk import Desk, seen_by, situation
from trader_cli.phases.recover import believed, resolve
from trader_cli.schemas.cycle import Execution
from trader_cli.schemas.decision import OPERATOR, Decision, Review
from trader_cli.schemas.judge import Verdict
from trader_cli.schemas.market import Market, Observation, Quote
from trader_cli.schemas.order import Intent, Order, OrderState, Outcome, Side
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.situation import Situation, TradingState
from trader_cli.schemas.trader import Proposal
from trader_cli.tools.logs import on_trace
from trader_cli.tools.rows import review_document
from trader_cli.tools.store import Transaction
from trader_cli.tools.trade import place_market_order

ASK_AFTER_MS = (300, 1_000, 3_000)
"""How long to wait before each look at an order whose answer proved nothing."""


def execute(desk: Desk, plan: Decision[Plan], proposal: Decision[Proposal], verdict: Decision[Verdict]) -> Execution:
    """Carry a verdict out once. Sent before: that order is returned and nothing is sent."""
    on_trace(verdict.trace_id)
    if done := desk.ledger.order_of_verdict(verdict.id):
        return Execution(done, already=True)
    approved = approved_qty(proposal.payload, verdict.payload)
    if approved <= ZERO:
        action, broken = proposal.payload.action, ", ".join(verdict.payload.violations)
        why = f": {broken}" if broken and action != "HOLD" else ""
        return Execution(None, reason=f"verdict {verdict.payload.decision} on {action}{why}")
    now = desk.clock.now()
    seen = seen_by(desk, proposal.observation_id, proposal.trace_id, now)
    look = _Look(seen, desk.exchange.quote(now), desk.exchange.market())
    intent, law = _write_intent(desk, Lineage(plan, proposal, verdict), look, approved)
    if intent is None:
        return Execution(None, reason=words_of(law))
    sent = _book(desk, Order(intent, OrderState.INTENT, None, (), {}), submit(desk, intent))
    return Execution(_ask_soon(desk, sent))


def _ask_soon(desk: Desk, order: Order) -> Order:
    """Ask a few times what became of an order whose answer proved nothing; it may show within seconds.

    What does not stays unknown and is asked about by `recover`, the first act of every later command.
    """
    for wait_ms in ASK_AFTER_MS:
        if order.state not in (OrderState.UNKNOWN, OrderState.OPEN):
            break
        if not desk.clock.pause(wait_ms):
            break
        with suppress(ConfigError, UpstreamError):
            order = resolve(desk, order)
    return order


def _book(desk: Desk, order: Order, outcome: Outcome) -> Order:
    """Settle what was sent. What cannot be written down is unknown to the ledger, whatever we know here."""
    outcome = believed(desk, order, outcome)
    try:
        return desk.ledger.settle(order, outcome, desk.clock.now())
    except TraderError as error:
        raise OrderUnknownError(
            f"order {order.intent.client_order_id} was sent and what came of it could not be written: {error.message}",
            "Mend that; then: trader recover   (it asks and never sends)",
        ) from error


@dataclass(frozen=True, slots=True)
class Lineage:
    """The decisions that an order stands on."""

    plan: Decision[Plan]
    proposal: Decision[Proposal]
    verdict: Decision[Verdict]


@dataclass(frozen=True, slots=True)
class _Look:
    """What the exchange said before the transaction began: none is open while it is asked."""

    seen: Observation
    quote: Quote
    market: Market


def approved_qty(proposal: Proposal, verdict: Verdict) -> Decimal:
    """What a verdict lets through of a proposal; nothing when the two do not fit."""
    if proposal.action == "HOLD" or verdict.decision == "REJECT":
        return ZERO
    if verdict.decision == "APPROVE":
        return proposal.qty if verdict.revised_qty is None else ZERO
    if verdict.revised_qty is None or verdict.revised_qty > proposal.qty:
        return ZERO
    return verdict.revised_qty


def _write_intent(desk: Desk, of: Lineage, look: _Look, approved: Decimal) -> tuple[Intent | None, Review]:
    """In one transaction: the law with today's facts, then the intent, or a NOT_SENT event that says why not."""
    with desk.ledger.transaction() as tx:
        now = desk.clock.now()
        seen = look.seen if look.seen.id is not None else desk.ledger.log_observation(tx, look.seen)
        where = situation(desk, seen, now, look.market)
        side = Side(of.proposal.payload.action)
        price = look.quote.ask if side is Side.BUY else look.quote.bid
        case = case_at(where, of, price, approved)
        law = review(case)
        terms = desk.ledger.log_terms(tx, where.market, where.costs, where.limits)
        if law.allowed != approved:
            _not_sent(desk, tx, of, law, (now, terms))
            return None, law
        intent = intended(case, of, desk.ids.client_order_id(desk.ledger.next_link, desk.ledger.head))
        desk.ledger.reserve(tx, intent, law, of.proposal.trace_id, terms)
        return intent, law


def case_at(where: Situation, of: Lineage, price: Decimal, approved: Decimal) -> Case:
    """What a verdict approved, before the law again: at today's price, in the situation of the moment."""
    return Case(
        where,
        of.plan.payload,
        of.proposal.payload,
        price,
        seen_price=of.verdict.review.price if of.verdict.review else price,
        verdict_age_ms=where.at - of.verdict.at,
        ceiling=approved,
        operator=of.verdict.source == OPERATOR,
    )


def intended(case: Case, of: Lineage, client_order_id: str) -> Intent:
    """The order of a case that the law lets through."""
    approved = case.ceiling or ZERO
    return Intent(
        client_order_id=client_order_id,
        proposal_id=of.proposal.id,
        verdict_id=of.verdict.id,
        symbol=case.situation.market.symbol,
        side=Side(case.proposal.action),
        qty=approved,
        worst_price=case.worst_price,
        reserved_quote=reserve(case, approved),
        at=case.situation.at,
        origin="operator" if case.operator else "verdict",
    )


def submit(desk: Desk, intent: Intent) -> Outcome:
    """Look at the stop signs one last time, then send, once. Only an operator's own order passes a stop."""
    state, reason = desk.state()
    stopped = state is TradingState.HALT or (state is TradingState.REDUCE and intent.side is Side.BUY)
    flattens = intent.origin == OPERATOR and intent.side is Side.SELL
    if stopped and not flattens:
        evidence: dict[str, str | None] = {"by": "not sent", "message": f"stopped: {reason}"}
        return Outcome(OrderState.REJECTED, None, evidence)
    return place_market_order(desk.exchange, intent)


def _not_sent(desk: Desk, tx: Transaction, of: Lineage, law: Review, at: tuple[Moment, str]) -> None:
    """The law's word on what it no longer lets through, at a moment and under the terms of a hash."""
    now, terms = at
    content = {
        "verdict_id": of.verdict.id,
        "reason": words_of(law),
        "law": review_document(law),
        "terms_sha256": terms,
    }
    desk.ledger.log_event(tx, "NOT_SENT", content, now, of.verdict.trace_id)


def words_of(law: Review) -> str:
    """Why the law does not let something through: the first rule that does not hold."""
    bad = next((ruling for ruling in law.rulings if not ruling.ok), None)
    return f"{bad.name}: {bad.value}, needs {bad.limit}" if bad else "the law"
