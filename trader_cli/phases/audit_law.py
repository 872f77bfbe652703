"""The law again: what it says of each proposal and each order, given what the ledger held before it.

The trading state is the one thing taken as recorded, for a STOP file leaves no row; it must not be milder than the
state the ledger kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from trader_cli.agents import judge as mind
from trader_cli.core.decimals import ZERO, dec, mul, text
from trader_cli.core.limits import Case, review
from trader_cli.phases.audit_replies import read_again
from trader_cli.phases.execute import approved_qty
from trader_cli.phases.judge import lowered, ruled
from trader_cli.schemas.decision import OPERATOR
from trader_cli.schemas.judge import Verdict
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.question import Agent
from trader_cli.schemas.situation import TradingState
from trader_cli.schemas.trader import Proposal
from trader_cli.tools import verification_past
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.rows import review_document
from trader_cli.tools.verification import Count, Problems
from trader_cli.tools.verification_past import Ruled

HELD = (
    "orders_per_day", "orders_per_hour", "cooldown", "streak", "daily_loss", "drawdown", "position", "funds",
    "deposit_cap", "order_cap"
)  # fmt: skip
"""Limits that must hold whenever an order was written down, under the terms of its verdict."""

_BY_SETTINGS = ("state", "data", "provenance", "funds", "deposit_cap", "order_cap", "minimum", "max_qty", "step")
"""Rules of an order whose words hang on settings, candles or an exchange that may have changed since its verdict."""


def verdicts(ledger: Ledger, count: Count) -> Problems:
    """Each verdict as the law, its judge's reply and the law again make it."""
    for one in verification_past.verdicts(ledger):
        count.seen += 1
        if isinstance(one, str):
            yield one
        elif one.source != OPERATOR:
            yield from (f"verdict {one.id}: {words}" for words in _verdict_again(one))


def orders(ledger: Ledger, count: Count) -> Problems:
    """Each order when it was written down: the law's words that can be found again, and every limit kept."""
    for one in verification_past.orders(ledger):
        count.seen += 1
        if isinstance(one, str):
            yield one
        elif one.source != OPERATOR:
            yield from (f"order {one.key}: {words}" for words in _order_again(one))


def _case(one: Ruled) -> Case:
    price = one.where.observation.window.price or ZERO
    return Case(one.where, Plan.from_payload(one.plan), Proposal.from_payload(one.proposal), price, price)


def _stated(one: Ruled, case: Case) -> tuple[Case, list[str]]:
    """The case in the state that was recorded, and what is wrong with that state."""
    rules = one.law["rules"] if one.law else []
    said = next((rule["value"] for rule in rules if rule["name"] == "state"), None)
    if said is None:
        return case, []
    if said not in TradingState.__members__:
        return case, [f"the state is {said!r}, needs one of {', '.join(TradingState.__members__)}"]
    state, kept = TradingState[said], one.where.state
    wrong = [f"the state is {said}, the ledger kept {kept.name}"] if state < kept else []
    return replace(case, situation=replace(one.where, state=state)), wrong


def _verdict_again(one: Ruled) -> Iterator[str]:
    case, wrong = _stated(one, _case(one))
    yield from wrong
    law = first = review(case)
    asked = None
    if law.allowed > ZERO and one.answer is None:
        yield "the law lets something through, and no judge was asked"
        return
    if law.allowed <= ZERO and one.answer is not None:
        yield "the law lets nothing through, and a judge was asked"
    if law.allowed > ZERO and one.answer is not None:
        asked = read_again(Agent.JUDGE, one.answer, mind.read)
        law = lowered(case, law, asked)
    yield from _differences(one.law or {}, review_document(law))
    wanted = ruled(case, first, law, asked).payload()
    for key in {**wanted, **one.verdict}:
        if (was := one.verdict.get(key)) != (now := wanted.get(key)):
            yield f"{key} is {was!r}, the law and the judge make it {now!r}"
    failed = asked is not None and asked.record is None
    if failed != (one.cause is not None):
        yield f"cause is {one.cause!r}, the judge's reply {'cannot' if failed else 'can'} be used"
    expected = ("fallback" if case.is_buy else "law") if failed else "law" if asked is None else None
    if (expected or one.source) != one.source or (expected is None and one.source in ("law", "fallback")):
        yield f"source is {one.source}, the ledger makes it {expected or 'a model'}"


def _differences(said: dict[str, Any], wanted: dict[str, Any]) -> Iterator[str]:
    """Where two words of the law differ, rule by rule."""
    for key in ("allowed", "price"):
        if said.get(key) != wanted[key]:
            yield f"the law's {key} is {said.get(key)}, it makes it {wanted[key]}"
    rules, again = ({rule["name"]: rule for rule in document.get("rules", ())} for document in (said, wanted))
    for name in {**again, **rules}:
        if rules.get(name) != again.get(name):
            yield f"rule {name} is {_brief(rules.get(name))}, the ledger makes it {_brief(again.get(name))}"
    if [*rules] != [*again] and sorted(rules) == sorted(again):
        yield "the law's rules are in another order"


def _brief(rule: dict[str, Any] | None) -> str:
    if rule is None:
        return "not there"
    return f"{'ok' if rule['ok'] else 'NO'} {rule['value']} (limit {rule['limit']}) {rule['before']} -> {rule['after']}"


def _order_again(one: Ruled) -> Iterator[str]:
    case, wrong = _stated(one, _case(one))
    yield from wrong
    law, sent = one.law, one.sent
    if law is None or sent is None:
        yield "the law's word is not there"
        return
    side, qty, worst, reserved = sent
    proposal, verdict = Proposal.from_payload(one.proposal), Verdict.from_payload(one.verdict)
    again = review(
        replace(
            case,
            price=dec(law["price"]),
            verdict_age_ms=one.at - one.verdict_at,
            ceiling=approved_qty(proposal, verdict),
        )
    )
    if law["allowed"] != text(qty):
        yield f"the law allowed {law['allowed']}, {text(qty)} was sent"
    rules = {rule["name"]: rule for rule in law["rules"]}
    for ruling in again.rulings:
        rule = rules.get(ruling.name)
        if rule is None or not rule["ok"]:
            yield f"rule {ruling.name} is {_brief(rule)}, and it was sent"
        elif ruling.name not in _BY_SETTINGS and rule["limit"] == ruling.limit and rule["value"] != ruling.value:
            yield f"rule {ruling.name}: value is {rule['value']}, the ledger makes it {ruling.value}"
        if ruling.name in HELD and not ruling.ok:
            yield f"{ruling.name} was not kept: {ruling.value}, the limit of its verdict is {ruling.limit}"
    least = mul(qty, worst) if side == "BUY" else ZERO
    if reserved < least or (side == "SELL" and reserved != ZERO):
        yield f"reserved_quote is {text(reserved)}, {text(qty)} at {text(worst)} needs {text(least)}"
