"""The law: what code allows of a proposed order, whatever a model said.

Every rule is a small function that names itself, its limit, what it found, and the quantity
before and after. Gates let all or nothing through, sizes lower, and `minimum` refuses what has
become too small. All rules are always evaluated, so a verdict lists every one of them.

A SELL that reduces the position is never trapped: the rules wrapped in `_buy_only` do not bind it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from trader_cli.core import accounting
from trader_cli.core.brakes import SECOND, at_stake, fallen, in_a_row, lost_today
from trader_cli.core.decimals import MONEY, ZERO, add, brief, ceil_to, floor_to, mul, percent, round_up, sub
from trader_cli.schemas.decision import Review, Ruling
from trader_cli.schemas.market import Costs, Market
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.situation import Limits, Situation, TradingState
from trader_cli.schemas.trader import Proposal

NOTIONAL_MARGIN_PCT = Decimal(2)
"""Exchanges value a market order at an average price of their own, so the least notional needs a margin."""

FINEST = Decimal("1e-18")
"""The step of a market that names none: what the ledger can hold."""


@dataclass(frozen=True, slots=True)
class Case:
    """One order before the law.

    Attributes:
        price: what one unit costs now: ask for a BUY, bid for a SELL.
        seen_price: the price the decision saw.
        verdict_age_ms: how old the verdict is; 0 while it is being made.
        ceiling: the most that may pass (a verdict's quantity when it is carried out).
        operator: a person sells what we hold; a stop, the plan and its policies do not bind that.
        is_buy: whether the position would grow.
        asked: the quantity that is asked for, in base; nothing for HOLD.
        worst_price: the price an order is reckoned at, before and when it is sent: what was seen plus what may
            still be added, which is the drift that is tolerated and on top half the spread and the slippage.
    """

    situation: Situation
    plan: Plan
    proposal: Proposal
    price: Decimal
    seen_price: Decimal
    verdict_age_ms: int = 0
    ceiling: Decimal | None = None
    operator: bool = False

    is_buy: bool = field(init=False)
    asked: Decimal = field(init=False)
    worst_price: Decimal = field(init=False)

    def __post_init__(self) -> None:
        """What nearly every rule asks for, reckoned once."""
        keep = object.__setattr__
        keep(self, "is_buy", self.proposal.action == "BUY")
        keep(self, "asked", self._asked())
        keep(self, "worst_price", self._worst_price())

    def _asked(self) -> Decimal:
        if self.proposal.action == "HOLD":
            return ZERO
        if self.ceiling is None:
            return self.proposal.qty
        return min(self.ceiling, self.proposal.qty)

    def _worst_price(self) -> Decimal:
        if not self.is_buy:
            return self.price
        margin = percent(self.seen_price, margin_pct(self.situation.limits, self.situation.costs))
        return round_up(add(self.seen_price, margin))


Rule = Callable[[Case], Ruling]
Least = Callable[[Case, Decimal], Ruling]
StateAndCause = tuple[TradingState, str | None]


def in_force(kept: StateAndCause, asked: StateAndCause) -> StateAndCause:
    """The stricter of the state the ledger keeps and the one an operator asks for, with its cause."""
    state, cause = max(asked, kept, key=lambda one: one[0])
    return state, None if state is TradingState.RUN else cause


@dataclass(frozen=True, slots=True)
class Law:
    """All rules in the order in which a verdict lists them, `action` first; `minimum` follows on what they leave."""

    rules: tuple[Rule, ...]
    minimum: Least


def review(case: Case, law: Law | None = None) -> Review:
    """The law's word: every rule, and the quantity that all of them let through. On a HOLD only that it is none."""
    law = law or LAW
    if case.proposal.action == "HOLD":  # there is no order that a rule could bind
        return Review(allowed=ZERO, price=case.price, rulings=(law.rules[0](case),))
    rulings = [rule(case) for rule in law.rules]
    if case.situation.limits.edition < SECOND:
        rulings = [ruling for ruling in rulings if ruling.name not in SINCE_SECOND]
    allowed = min((ruling.after for ruling in rulings), default=ZERO)
    last = law.minimum(case, floor_to(allowed, case.situation.market.step))
    return Review(allowed=last.after, price=case.price, rulings=(*rulings, last))


def reserve(case: Case, qty: Decimal) -> Decimal:
    """What `qty` may cost at worst with its fee, in quote; a SELL reserves nothing."""
    if not case.is_buy:
        return ZERO
    notional = mul(qty, case.worst_price)
    return round_up(add(notional, percent(notional, case.situation.market.fee_pct)))


def smallest_qty(market: Market, price: Decimal, held: Decimal = ZERO) -> Decimal:
    """The least quantity of a BUY that can also be sold again after its fee, on the step."""
    kept = sub(Decimal(1), percent(Decimal(1), market.fee_pct))
    if price <= ZERO or kept <= ZERO:
        return market.max_qty
    step = market.step or FINEST
    floor_price = sub(price, percent(price, NOTIONAL_MARGIN_PCT))
    least = ceil_to(max(market.min_qty, step, MONEY.divide(market.min_notional, floor_price)), step)
    return max(least, ceil_to(MONEY.divide(sub(least, held), kept), step))


def sellable_after(market: Market, price: Decimal, qty: Decimal, held: Decimal) -> bool:
    """Whether a BUY of `qty` passes the minimum now, and what it leaves could be sold again."""
    floor_price = sub(price, percent(price, NOTIONAL_MARGIN_PCT))
    if qty < market.min_qty or mul(qty, floor_price) < market.min_notional:
        return False
    return sellable(market, price, add(held, sub(qty, percent(qty, market.fee_pct))))


def sellable(market: Market, price: Decimal, held: Decimal, margin: Decimal = NOTIONAL_MARGIN_PCT) -> bool:
    """Whether `held` base is enough for an order at `price`; less is dust. A SELL is tried without the margin."""
    qty = floor_to(held, market.step)
    floor_price = sub(price, percent(price, margin))
    return qty > ZERO and qty >= market.min_qty and mul(qty, floor_price) >= market.min_notional


def margin_pct(limits: Limits, costs: Costs) -> Decimal:
    """What the worst price lies above the one that was seen: the tolerated drift, and on top spread and slippage."""
    expected = mul(add(mul(costs.spread_bps, Decimal("0.5")), costs.slippage_bps), Decimal("0.01"))
    if limits.edition < SECOND:
        return max(limits.max_drift_pct, expected)
    return add(limits.max_drift_pct, expected)


def smallest_cap(market: Market, price: Decimal, margin: Decimal) -> Decimal:
    """The least deposit cap under which one round trip fits, in whole quote units; reckoned as `reserve` does."""
    worst = round_up(add(price, percent(price, margin)))
    unit = round_up(add(worst, percent(worst, market.fee_pct)))
    cost = mul(smallest_qty(market, price), unit)
    return cost.to_integral_value(rounding="ROUND_CEILING", context=MONEY)


# --- gates -----------------------------------------------------------------------------------


def _gate(case: Case, name: str, ok: bool, limit: str, value: str) -> Ruling:
    return Ruling(name, ok, limit, value, case.asked, case.asked if ok else ZERO)


def _exempt(case: Case, name: str) -> Ruling:
    return Ruling(name, True, "not for a SELL", "-", case.asked, case.asked)


def _flattens(case: Case) -> bool:
    return case.operator and case.proposal.action == "SELL"


def _action(case: Case) -> Ruling:
    return _gate(case, "action", case.proposal.action != "HOLD", "BUY or SELL", case.proposal.action)


def _state(case: Case) -> Ruling:
    state = case.situation.state
    ok = state is TradingState.RUN or (state is TradingState.REDUCE and not case.is_buy) or _flattens(case)
    return _gate(case, "state", ok, "RUN" if case.is_buy else "RUN or REDUCE", state.name)


def _mode(case: Case) -> Ruling:
    return _gate(case, "mode", case.plan.mode == "TRADE" or _flattens(case), "TRADE", case.plan.mode)


def _policy(case: Case) -> Ruling:
    planned = [strategy.policy_id for strategy in case.plan.strategies]
    ok = case.proposal.policy_id in planned
    return _gate(case, "policy", ok, ", ".join(planned), case.proposal.policy_id)


def _data(case: Case) -> Ruling:
    window = case.situation.observation.window
    if window.defects and (case.is_buy or window.price is None or window.jumped or window.unavailable):
        return _gate(case, "data", False, "no defects", f"{window.defects[0].kind}: {window.defects[0].detail}")
    if window.age_ms is None:
        return _gate(case, "data", False, "a closed candle", "none")
    age_ms = window.age_ms + case.situation.at - case.situation.observation.at
    limit_ms = case.situation.limits.max_age_ms
    return _gate(case, "data", age_ms <= limit_ms, f"at most {limit_ms // 1000} s old", f"{age_ms // 1000} s")


def _provenance(case: Case) -> Ruling:
    source = case.situation.observation.window.source
    live_only = case.situation.limits.live_only
    ok = not live_only or source.startswith("live:")
    return _gate(case, "provenance", ok, "live" if live_only else "any", source)


def _single_order(case: Case) -> Ruling:
    waiting = case.situation.open_orders
    return _gate(case, "single_order", not waiting, "no unsettled order", waiting[0] if waiting else "none")


def _verdict_age(case: Case) -> Ruling:
    limit_ms = case.situation.limits.verdict_max_age_ms
    age_ms = case.verdict_age_ms
    ok = 0 <= age_ms <= limit_ms
    return _gate(case, "verdict_age", ok, f"at most {limit_ms // 1000} s", f"{age_ms // 1000} s")


def _drift(case: Case) -> Ruling:
    limit_pct = case.situation.limits.max_drift_pct
    moved = abs(sub(case.price, case.seen_price))
    ok = moved <= percent(case.seen_price, limit_pct)
    return _gate(case, "drift", ok, f"within {brief(limit_pct)} % of {brief(case.seen_price)}", brief(case.price))


def _confidence(case: Case) -> Ruling:
    limit = case.situation.limits.min_confidence
    return _gate(
        case, "confidence", case.proposal.confidence >= limit, f"at least {limit:g}", f"{case.proposal.confidence:g}"
    )


def _orders_per_day(case: Case) -> Ruling:
    limit = case.situation.limits.max_orders_per_day
    found = case.situation.history.orders_today
    return _gate(case, "orders_per_day", found < limit, f"at most {limit}", f"{found} so far")


def _orders_per_hour(case: Case) -> Ruling:
    limit = case.situation.limits.max_orders_per_hour
    found = f"{case.situation.history.orders_last_hour} in the last hour"
    if limit is None:
        return _gate(case, "orders_per_hour", True, "none", found)
    ok = case.situation.history.orders_last_hour < limit
    return _gate(case, "orders_per_hour", ok, f"at most {limit}", found)


def _cooldown(case: Case) -> Ruling:
    limit_ms = case.situation.limits.cooldown_ms
    last_at = case.situation.history.last_order_at
    since_ms = None if last_at is None else case.situation.at - last_at
    ok = since_ms is None or since_ms >= limit_ms
    value = "no order yet" if since_ms is None else f"{since_ms // 1000} s"
    return _gate(case, "cooldown", ok, f"{limit_ms // 1000} s after an order", value)


def _streak(case: Case) -> Ruling:
    limits, history = case.situation.limits, case.situation.history
    rest_ms = limits.streak_cooldown_ms
    if not rest_ms:
        return _gate(case, "streak", True, "none", "-")
    said, ok = [], True
    for what, times, limit in (
        ("sales at a loss", history.losses, limits.max_losing_streak),
        ("refused orders", history.refusals, limits.max_rejected_streak),
    ):
        count = in_a_row(times, limit or 0, rest_ms)
        since_ms = case.situation.at - times[-1] if times else rest_ms
        closed = limit is not None and count >= limit and since_ms < rest_ms
        said.append(f"{count} {what}" + (f", the last {since_ms // 1000} s ago" if closed else ""))
        ok = ok and not closed
    most = " or ".join(str(one or "any") for one in (limits.max_losing_streak, limits.max_rejected_streak))
    return _gate(case, "streak", ok, f"{rest_ms // 1000} s after {most} in a row", "; ".join(said))


def _daily_loss(case: Case) -> Ruling:
    limit = case.situation.limits.daily_loss
    if limit is None:
        return _gate(case, "daily_loss", True, "none", "-")
    lost = lost_today(case.situation.history, case.situation.book, _equity(case))
    return _gate(case, "daily_loss", lost < limit, f"below {brief(limit)}", brief(lost))


def _drawdown(case: Case) -> Ruling:
    limit_pct = case.situation.limits.max_drawdown_pct
    peak = case.situation.history.peak_equity
    peak = case.situation.book.deposits if peak is None else peak
    stake = at_stake(case.situation.limits, case.situation.book, peak)
    fall, reached = fallen(peak, _equity(case), percent(stake, limit_pct))
    return _gate(case, "drawdown", not reached, f"below {brief(limit_pct)} % of {brief(stake)}", brief(fall))


def _equity(case: Case) -> Decimal:
    return accounting.equity(case.situation.book, case.seen_price)


# --- sizes -----------------------------------------------------------------------------------


def _size(case: Case, name: str, most: Decimal, limit: str, value: str) -> Ruling:
    after = min(case.asked, max(ZERO, most))
    return Ruling(name, after == case.asked, limit, value, case.asked, after)


def _step(case: Case) -> Ruling:
    step = case.situation.market.step
    return _size(case, "step", floor_to(case.asked, step), f"multiples of {brief(step)}", brief(case.asked))


def _max_qty(case: Case) -> Ruling:
    most = case.situation.market.max_qty
    return _size(case, "max_qty", most, f"at most {brief(most)}", brief(case.asked))


def _position(case: Case) -> Ruling:
    held = _seen_at_most(case, case.situation.book.base, case.situation.observation.base_balance)
    if case.is_buy:
        return Ruling("position", True, "not for a BUY", brief(held), case.asked, case.asked)
    return _size(case, "position", held, f"held {brief(held)}", brief(case.asked))


def _affordable(case: Case, budget: Decimal) -> Decimal:
    """How much base `budget` quote buys at the worst price with its fee."""
    unit = reserve(case, Decimal(1))
    return (
        ZERO if unit <= ZERO else floor_to(MONEY.divide(max(ZERO, budget), unit), case.situation.market.step or FINEST)
    )


def _seen_at_most(case: Case, booked: Decimal, seen: Decimal | None) -> Decimal:
    """What our book holds of a currency, or what the account was seen to hold if that is less."""
    return booked if seen is None or case.situation.limits.edition < SECOND else min(booked, seen)


def _funds(case: Case) -> Ruling:
    quote = _seen_at_most(case, case.situation.book.quote, case.situation.observation.quote_balance)
    free = sub(quote, case.situation.reserved)
    needed = reserve(case, case.asked)
    return _size(case, "funds", _affordable(case, free), f"{brief(free)} free", brief(needed))


def _deposit_cap(case: Case) -> Ruling:
    cap = case.situation.limits.deposit_cap
    book = case.situation.book
    used = add(max(book.cost, accounting.net_cash_in(book), ZERO), case.situation.reserved)
    value = f"{brief(used)} used + {brief(reserve(case, case.asked))} asked"
    if cap is None:
        return Ruling("deposit_cap", True, "not in force", value, case.asked, case.asked)
    return _size(case, "deposit_cap", _affordable(case, sub(cap, used)), brief(cap), value)


def _order_cap(case: Case) -> Ruling:
    cap = case.situation.limits.max_order
    value = brief(reserve(case, case.asked))
    if cap is None:
        return Ruling("order_cap", True, "none", value, case.asked, case.asked)
    return _size(case, "order_cap", _affordable(case, cap), brief(cap), value)


def _minimum(case: Case, qty: Decimal) -> Ruling:
    """The exchange's least order, on what the other rules left; a BUY must also be sellable again."""
    market = case.situation.market
    limit = f"{brief(market.min_qty)} {market.base} and {brief(market.min_notional)} {market.quote} with a margin"
    value = f"{brief(qty)} = {brief(mul(qty, case.price))} {market.quote}"
    if case.is_buy:
        ok = qty > ZERO and sellable_after(market, case.price, qty, case.situation.book.base)
    else:
        ok = sellable(market, case.price, qty, margin=ZERO)
    return Ruling("minimum", ok, limit, value, qty, qty if ok else ZERO)


def _buy_only(rule: Rule) -> Rule:
    name = rule.__name__.removeprefix("_")
    return lambda case: _exempt(case, name) if case.proposal.action == "SELL" else rule(case)


RULES: tuple[Rule, ...] = (
    _action,
    _state,
    _mode,
    _buy_only(_policy),
    _data,
    _provenance,
    _single_order,
    _verdict_age,
    _drift,
    _buy_only(_confidence),
    _buy_only(_orders_per_day),
    _buy_only(_orders_per_hour),
    _buy_only(_cooldown),
    _buy_only(_streak),
    _buy_only(_daily_loss),
    _buy_only(_drawdown),
    _step,
    _max_qty,
    _position,
    _buy_only(_funds),
    _buy_only(_deposit_cap),
    _buy_only(_order_cap),
)
"""In the order in which a verdict lists them."""

LAW = Law(RULES, _minimum)
"""The law that is in force."""

SINCE_SECOND = frozenset({"orders_per_hour", "streak"})
