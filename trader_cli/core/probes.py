"""Probes of the law: for every rule an order just inside its edge and one just beyond it.

Each is made from the operator's own limits and the market's rules, and only what its rule says of it counts: that
another rule may refuse it as well hides nothing. A rule without a probe counts as dead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

from trader_cli.core.brakes import at_stake
from trader_cli.core.decimals import MONEY, ZERO, add, ceil_to, floor_to, mul, percent, sub
from trader_cli.core.limits import FINEST, LAW, Case, Law, reserve, review, smallest_qty
from trader_cli.schemas.book import Book
from trader_cli.schemas.decision import Review, Ruling
from trader_cli.schemas.gate import Trial
from trader_cli.schemas.market import Candle, Costs, Defect, Features, Market, Observation, Window
from trader_cli.schemas.planner import Plan, Strategy
from trader_cli.schemas.situation import History, Limits, Situation, TradingState
from trader_cli.schemas.trader import Proposal

AT = 1_800_000_000_000
PRICE = Decimal(1000)
WEALTH = Decimal(10) ** 15
CENT = Decimal("1e-8")
FIVE_MINUTES_MS = 300_000
SECOND_MS = 1000
PLANNED, UNPLANNED = "ma_trend", "breakout"


class Probe(NamedTuple):
    """A case just inside a rule's edge (None: the setting lets nothing through), one just beyond it, and whether the
    limit is the operator's own."""

    inside: Case | None
    beyond: Case
    in_force: bool = True


def ground(market: Market, costs: Costs, limits: Limits) -> Case:
    """A BUY that no gate has anything against: all is fresh, nothing was lost, money is no object."""
    newest = Candle(AT - FIVE_MINUTES_MS, PRICE, PRICE, PRICE, PRICE, ZERO)
    window = Window("live:gate", FIVE_MINUTES_MS, (newest,), (), PRICE, 0)
    features = Features(None, None, None, None, None, None, None, None)
    where = Situation(
        at=AT,
        timeframe_ms=FIVE_MINUTES_MS,
        market=market,
        costs=costs,
        limits=limits,
        observation=Observation(None, "gate", AT, window, features, None, None),
        book=Book(deposits=WEALTH, quote=WEALTH),
        owner=None,
        state=TradingState.RUN,
        stop_cause=None,
        open_orders=(),
        reserved=ZERO,
        history=History(0, None, WEALTH, WEALTH),
        posteriors=(),
    )
    qty = min(market.max_qty, mul(smallest_qty(market, PRICE), Decimal(10)))
    plan = Plan("TRADE", 0.0, 300, (Strategy(PLANNED, {}),))
    return Case(where, plan, Proposal("BUY", qty, PLANNED, "a probe", 1.0), PRICE, PRICE)


def gate(market: Market, costs: Costs, limits: Limits, law: Law = LAW) -> list[Trial]:
    """Every rule of the law at its edges, then every exemption of a SELL."""
    case = ground(market, costs, limits)
    tested: list[Trial] = []
    names = [ruling.name for ruling in review(case, law).rulings]
    for name in names:
        found = [_edge(name, probe, law) for probe in PROBES[name](case)] if name in PROBES else []
        tested += found or [Trial(name, "edge", "no probe knows this rule", None, None, True, ok=False)]
    for name in PROBES:
        if name not in names:
            tested.append(Trial(name, "edge", "no rule of this name", None, None, True, ok=False))
    return tested + [_exempt(name, sales, law) for name, sales in exemptions(case)]


def _ruling(law: Review, name: str) -> Ruling | None:
    return next((one for one in law.rulings if one.name == name), None)


def _edge(name: str, probe: Probe, law: Law) -> Trial:
    """Whether the rule lets pass what is inside, and refuses or lowers what is beyond, through the whole review."""
    inside = None if probe.inside is None else _ruling(review(probe.inside, law), name)
    whole = review(probe.beyond, law)
    beyond = _ruling(whole, name)
    passes = probe.inside is None or (inside is not None and inside.ok and inside.after == inside.before)
    fires = beyond is not None and not beyond.ok and whole.allowed <= beyond.after
    fires = fires and beyond is not None and (beyond.after < beyond.before or beyond.after == ZERO)
    return Trial(
        name,
        "edge",
        beyond.limit if beyond else "-",
        _found(inside, beyond),
        _found(beyond, inside),
        probe.in_force,
        passes and fires,
    )


def _found(one: Ruling | None, other: Ruling | None) -> str | None:
    """What a rule found, and its limit where that is not the same on both sides of the edge."""
    if one is None:
        return None
    return one.value if other is None or one.limit == other.limit else f"{one.value} of {one.limit}"


def _exempt(name: str, sales: tuple[Case, ...], law: Law) -> Trial:
    """Whether a rule lets sales pass that it would not as a BUY; of all rules at once, whether all of it may go."""
    if name == EVERYTHING:
        whole = review(sales[0], law)
        limit = ", ".join(whole.violations) or "nothing binds it"
        return Trial(name, "exempt", limit, "SELL", None, True, whole.allowed == sales[0].asked)
    found = [_ruling(review(sale, law), name) for sale in sales]
    free = all(one is not None and one.ok and one.after == sale.asked for one, sale in zip(found, sales, strict=True))
    return Trial(name, "exempt", found[0].limit if found[0] else "-", "SELL", None, True, free)


# --- how a case is changed -------------------------------------------------------------------


def _where(case: Case, **changes: Any) -> Case:
    return replace(case, situation=replace(case.situation, **changes))


def _limited(case: Case, **changes: Any) -> Case:
    return _where(case, limits=replace(case.situation.limits, **changes))


def _lately(case: Case, **changes: Any) -> Case:
    return _where(case, history=replace(case.situation.history, **changes))


def _looked(case: Case, **changes: Any) -> Case:
    seen = case.situation.observation
    return _where(case, observation=replace(seen, window=replace(seen.window, **changes)))


def _account(case: Case, **changes: Any) -> Case:
    return _where(case, observation=replace(case.situation.observation, **changes))


def _asks(case: Case, **changes: Any) -> Case:
    return replace(case, proposal=replace(case.proposal, **changes))


def _worth(case: Case, equity: Decimal) -> Case:
    return _where(case, book=Book(deposits=equity, quote=equity))


def _sale(case: Case, held: Decimal | None = None) -> Case:
    """The same as a SELL of what is held; the account is worth what it was."""
    held, book = case.asked if held is None else held, case.situation.book
    book = replace(book, base=held, quote=sub(book.quote, mul(held, PRICE)))
    return _asks(_where(case, book=book), action="SELL")


def _grid(case: Case) -> Decimal:
    return case.situation.market.step or FINEST


# --- gates -----------------------------------------------------------------------------------


def _action(case: Case) -> Iterator[Probe]:
    yield Probe(case, _asks(case, action="HOLD", qty=ZERO))


def _state(case: Case) -> Iterator[Probe]:
    yield Probe(case, _where(case, state=TradingState.REDUCE))
    sale = _sale(case)
    yield Probe(_where(sale, state=TradingState.REDUCE), _where(sale, state=TradingState.HALT))


def _mode(case: Case) -> Iterator[Probe]:
    yield Probe(case, replace(case, plan=replace(case.plan, mode="OBSERVE")))


def _policy(case: Case) -> Iterator[Probe]:
    yield Probe(case, _asks(case, policy_id=UNPLANNED))


def _data(case: Case) -> Iterator[Probe]:
    limit_ms = case.situation.limits.max_age_ms
    yield Probe(_looked(case, age_ms=limit_ms), _looked(case, age_ms=limit_ms + SECOND_MS))
    yield Probe(case, _looked(case, defects=(Defect("gap", "a bar is missing"),)))


def _provenance(case: Case) -> Iterator[Probe]:
    strict = _limited(case, live_only=True)
    yield Probe(strict, _looked(strict, source="simulated:1"), case.situation.limits.live_only)


def _single_order(case: Case) -> Iterator[Probe]:
    yield Probe(case, _where(case, open_orders=("an order",)))


def _verdict_age(case: Case) -> Iterator[Probe]:
    limit_ms = case.situation.limits.verdict_max_age_ms
    yield Probe(replace(case, verdict_age_ms=limit_ms), replace(case, verdict_age_ms=limit_ms + SECOND_MS))


def _drift(case: Case) -> Iterator[Probe]:
    moved = percent(PRICE, case.situation.limits.max_drift_pct)
    for edge, out in ((add(PRICE, moved), CENT), (sub(PRICE, moved), -CENT)):
        yield Probe(replace(case, price=edge), replace(case, price=add(edge, out)))


def _confidence(case: Case) -> Iterator[Probe]:
    own = case.situation.limits.min_confidence
    least = own or 0.5
    made = _limited(case, min_confidence=least)
    yield Probe(_asks(made, confidence=least), _asks(made, confidence=least * 0.9999), own > 0)


def _orders_per_day(case: Case) -> Iterator[Probe]:
    most = case.situation.limits.max_orders_per_day
    inside = _lately(case, orders_today=most - 1) if most else None
    yield Probe(inside, _lately(case, orders_today=most))


def _orders_per_hour(case: Case) -> Iterator[Probe]:
    own = case.situation.limits.max_orders_per_hour
    most = 10 if own is None else own
    made = _limited(case, max_orders_per_hour=most)
    inside = _lately(made, orders_last_hour=most - 1) if most else None
    yield Probe(inside, _lately(made, orders_last_hour=most), own is not None)


def _cooldown(case: Case) -> Iterator[Probe]:
    own = case.situation.limits.cooldown_ms
    rest_ms = own or 60_000
    made = _limited(case, cooldown_ms=rest_ms)
    yield Probe(_lately(made, last_order_at=AT - rest_ms), _lately(made, last_order_at=AT - rest_ms + 1), own > 0)


def _streak(case: Case) -> Iterator[Probe]:
    limits = case.situation.limits
    rest_ms = limits.streak_cooldown_ms or 3_600_000
    for kind, own in (("losses", limits.max_losing_streak), ("refusals", limits.max_rejected_streak)):
        most = own or 3
        name = "max_losing_streak" if kind == "losses" else "max_rejected_streak"
        made = _limited(case, streak_cooldown_ms=rest_ms, **{name: most})
        in_force = limits.streak_cooldown_ms > 0 and own is not None
        yield Probe(_lately(made, **{kind: (AT,) * (most - 1)}), _lately(made, **{kind: (AT,) * most}), in_force)
        over, fresh = (AT - rest_ms,) * most, (AT - rest_ms + 1,) * most
        yield Probe(_lately(made, **{kind: over}), _lately(made, **{kind: fresh}), in_force)


def _daily_loss(case: Case) -> Iterator[Probe]:
    own = case.situation.limits.daily_loss
    most = Decimal(10) if own is None else own
    made = _lately(_limited(case, daily_loss=most), day_equity=add(most, PRICE))
    yield Probe(_worth(made, add(PRICE, CENT)), _worth(made, PRICE), own is not None)


def _drawdown(case: Case) -> Iterator[Probe]:
    pct = case.situation.limits.max_drawdown_pct
    made = _lately(case, peak_equity=PRICE)
    edge = sub(PRICE, percent(at_stake(case.situation.limits, Book(deposits=PRICE), PRICE), pct))

    def fell_to(equity: Decimal) -> Case:
        return _where(made, book=Book(deposits=PRICE, quote=equity, realized=sub(equity, PRICE)))

    yield Probe(fell_to(add(edge, CENT)) if pct else None, fell_to(edge))


# --- sizes -----------------------------------------------------------------------------------


def _step(case: Case) -> Iterator[Probe]:
    own = case.situation.market.step
    step = own or Decimal(1)
    made = _where(case, market=replace(case.situation.market, step=step))
    yield Probe(_asks(made, qty=step), _asks(made, qty=add(step, mul(step, Decimal("0.5")))), own > ZERO)


def _max_qty(case: Case) -> Iterator[Probe]:
    most = case.situation.market.max_qty
    yield Probe(_asks(case, qty=most), _asks(case, qty=add(most, _grid(case))))


def _position(case: Case) -> Iterator[Probe]:
    held = case.asked
    more = add(held, _grid(case))
    booked = _sale(case, held)
    yield Probe(booked, _asks(booked, qty=more))
    seen = _account(_sale(case, WEALTH), base_balance=held)
    yield Probe(seen, _asks(seen, qty=more))


def _funds(case: Case) -> Iterator[Probe]:
    enough = mul(reserve(case, Decimal(1)), case.asked)
    less = sub(enough, CENT)
    booked = replace(case.situation.book, quote=enough)
    yield Probe(_where(case, book=booked), _where(case, book=replace(booked, quote=less)))
    yield Probe(_account(case, quote_balance=enough), _account(case, quote_balance=less))
    yield Probe(_where(case, reserved=sub(WEALTH, enough)), _where(case, reserved=sub(WEALTH, less)))


def _deposit_cap(case: Case) -> Iterator[Probe]:
    own = case.situation.limits.deposit_cap
    cap = Decimal(100) if own is None else own
    yield from _within(_limited(case, deposit_cap=cap), cap, own is not None)
    used = Book(deposits=WEALTH, quote=sub(WEALTH, cap), cost=cap)
    yield Probe(None, _where(_limited(case, deposit_cap=cap), book=used), own is not None)


def _order_cap(case: Case) -> Iterator[Probe]:
    own = case.situation.limits.max_order
    cap = Decimal(100) if own is None else own
    yield from _within(_limited(case, max_order=cap), cap, own is not None)


def _within(case: Case, budget: Decimal, in_force: bool) -> Iterator[Probe]:
    """The most that a budget buys at the worst price with its fee, and a step more."""
    most = floor_to(MONEY.divide(budget, reserve(case, Decimal(1))), _grid(case))
    inside = _asks(case, qty=most) if most > ZERO else None
    yield Probe(inside, _asks(case, qty=add(most, _grid(case))), in_force)


def _minimum(case: Case) -> Iterator[Probe]:
    """On a desk without other limits: it is asked of what they leave."""
    market, grid = case.situation.market, _grid(case)
    free = _limited(
        case,
        deposit_cap=None,
        max_order=None,
        daily_loss=None,
        max_orders_per_day=1,
        max_orders_per_hour=None,
        max_drawdown_pct=Decimal(100),
    )
    least = smallest_qty(market, PRICE)
    yield Probe(_asks(free, qty=least), _asks(free, qty=max(ZERO, sub(least, grid))))
    least = ceil_to(max(market.min_qty, grid, MONEY.divide(market.min_notional, PRICE)), grid)
    sale = _asks(_sale(free), qty=least)
    yield Probe(sale, _asks(sale, qty=max(ZERO, sub(least, grid))))


PROBES: dict[str, Callable[[Case], Iterator[Probe]]] = {
    "action": _action,
    "state": _state,
    "mode": _mode,
    "policy": _policy,
    "data": _data,
    "provenance": _provenance,
    "single_order": _single_order,
    "verdict_age": _verdict_age,
    "drift": _drift,
    "confidence": _confidence,
    "orders_per_day": _orders_per_day,
    "orders_per_hour": _orders_per_hour,
    "cooldown": _cooldown,
    "streak": _streak,
    "daily_loss": _daily_loss,
    "drawdown": _drawdown,
    "step": _step,
    "max_qty": _max_qty,
    "position": _position,
    "funds": _funds,
    "deposit_cap": _deposit_cap,
    "order_cap": _order_cap,
    "minimum": _minimum,
}
"""Where each rule's edge is."""


# --- exemptions ------------------------------------------------------------------------------

EXEMPT = (
    "policy",
    "confidence",
    "orders_per_day",
    "orders_per_hour",
    "cooldown",
    "streak",
    "daily_loss",
    "drawdown",
    "funds",
    "deposit_cap",
    "order_cap",
)
"""Rules that do not bind a SELL."""

EVERYTHING = "all at once"


def exemptions(case: Case) -> Iterator[tuple[str, tuple[Case, ...]]]:
    """For each exemption sales of what is held, in the place of each BUY that the rule refuses."""
    yield "state", (_where(_sale(case), state=TradingState.REDUCE),)
    for name in EXEMPT:
        yield name, tuple(_sale(probe.beyond) for probe in PROBES[name](case))
    yield EVERYTHING, (_cornered(case),)


def _cornered(case: Case) -> Case:
    """A sale with all that a SELL is exempt from against it: nothing may keep it here."""
    limits = case.situation.limits
    tight = _limited(
        case,
        deposit_cap=limits.deposit_cap or CENT,
        max_order=limits.max_order or CENT,
        daily_loss=limits.daily_loss or CENT,
        min_confidence=limits.min_confidence or 0.5,
        cooldown_ms=limits.cooldown_ms or 1,
        streak_cooldown_ms=limits.streak_cooldown_ms or 1,
        max_orders_per_hour=limits.max_orders_per_hour or 1,
    )
    tired = (AT,) * max(limits.max_losing_streak or 3, limits.max_rejected_streak or 3)
    spent = replace(
        _where(tight, state=TradingState.REDUCE, reserved=WEALTH, book=Book(deposits=WEALTH, cost=WEALTH)),
        proposal=replace(case.proposal, policy_id=UNPLANNED, confidence=0.0),
    )
    most = max(limits.max_orders_per_day, limits.max_orders_per_hour or 1)
    history = History(most, AT, WEALTH, WEALTH, orders_last_hour=most, losses=tired, refusals=tired)
    return _sale(_where(spent, history=history))
