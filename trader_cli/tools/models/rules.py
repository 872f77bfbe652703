"""The model that needs no key: honest policies, a regime, Thompson sampling, and arithmetic.

It reads only the question's facts (and chance by trace), so equal facts get equal words. Facts
that are missing or senseless get the safest answer there is (OBSERVE, HOLD, REJECT), never an error.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

from trader_cli.core.decimals import ZERO, brief, ceil_to, dec, div, floor_to, percent, text
from trader_cli.core.policies import within_bounds
from trader_cli.core.ports import Ids
from trader_cli.core.posteriors import dof_of, draw, posterior
from trader_cli.core.regimes import FIT_BP, Regime, explore_ratio, falling, ranking, regime, tuned
from trader_cli.core.wakeups import secs_to_look
from trader_cli.schemas.market import Features
from trader_cli.schemas.memory import Posterior
from trader_cli.schemas.policy import BY_ID
from trader_cli.schemas.question import Agent, Answer, Question

Facts = Mapping[str, Any]
Payload = dict[str, Any]

SHARE_PCT = Decimal(10)
"""The most of our equity that one position takes, in percent."""
CALM_DAILY = 0.04
"""Above this volatility a day (4 %: usual for bitcoin) positions shrink, down to a quarter."""
CAREFUL_RATIO = 2.0
"""Above this volatility_ratio the judge halves a BUY."""
MAX_QTY = Decimal(10**12 - 1)
"""The largest quantity the wire form can say."""
DAY_SECS = 86_400


class RulesModel:
    """The offline model. `ids` is where chance comes from: one source for each trace."""

    name = "rules"

    def __init__(self, ids: Ids, only: tuple[str, Mapping[str, object]] | None = None) -> None:
        """`only` is the one policy, with its parameters, that is ever planned; else what is believed best."""
        self._ids = ids
        self._only = only

    def answer(self, question: Question) -> Answer:
        """Answer from the facts: always `ok`, for nothing, at once."""
        facts = _mapping(question.facts)
        if question.agent is Agent.PLANNER:
            payload = self._plan(facts, question.trace_id)
        elif question.agent is Agent.TRADER:
            payload = _propose(facts)
        else:
            payload = _judge(facts)
        said = json.dumps(payload, separators=(",", ":"), allow_nan=False)
        return Answer(model=self.name, status="ok", text=said, source="rules")

    def _plan(self, facts: Facts, trace_id: str) -> Payload:
        features = _features(facts)
        here = regime(features)
        owner = _owner(_mapping(facts.get("position")))
        state = facts.get("trading_state")
        if here is Regime.UNDEFINED or _blocked(facts) or state not in ("RUN", "REDUCE"):
            return plan_of("OBSERVE", 0.0, facts, [owner or _strategy("cash")])
        if self._only is not None:
            chosen = [] if state == "REDUCE" else [_strategy(*self._only)]
            return plan_of("TRADE", 0.0, facts, _strategies(owner, chosen, False))
        beliefs = _beliefs(facts, here)
        explore = explore_ratio(int(sum(belief.n for belief in beliefs)))
        chance = self._ids.chance(trace_id)
        tries = chance.random() < explore
        expected = {one.policy_id: draw(one, chance) if tries else one.mean_bp for one in beliefs}
        ranked = ranking(expected)[:2]
        flee = here is Regime.TURBULENT and falling(features)
        chosen = [] if flee or state == "REDUCE" else [_strategy(name, tuned(name, here)) for name in ranked]
        return plan_of("TRADE", explore, facts, _strategies(owner, chosen, flee))


# --- planner ---------------------------------------------------------------------------------


def _blocked(facts: Facts) -> bool:
    """Whether the market itself forbids trading: defects (or no word on them), or no price."""
    return facts.get("defects") != [] or not _money(facts.get("price"))


def _strategies(owner: Payload | None, chosen: list[Payload], flee: bool) -> list[Payload]:
    """The owner of the position first, so that it can be left; then the chosen; else, or to `flee`, cash."""
    own = [owner] if owner else []
    names = {strategy["policy_id"] for strategy in own}
    strategies = own + [strategy for strategy in chosen if strategy["policy_id"] not in names]
    if (flee or not strategies) and "cash" not in names:
        strategies.append(_strategy("cash"))
    return strategies


def _strategy(policy_id: str, params: Mapping[str, object] | None = None) -> Payload:
    return {"policy_id": policy_id, "params": within_bounds(policy_id, params or {})}


def _owner(position: Facts) -> Payload | None:
    """The policy that opened the position, with the parameters it had; None when nobody did."""
    policy_id = _policy(position)
    return None if policy_id is None else _strategy(policy_id, _mapping(position.get("params")))


def _beliefs(facts: Facts, here: Regime) -> list[Posterior]:
    """What is believed of each policy that buys; of one that the facts say nothing sensible of, its prior."""
    told = _mapping(facts.get("posteriors"))
    beliefs = []
    for policy_id, fit in FIT_BP[here].items():
        mean, deviation, n = (_number(_mapping(told.get(policy_id)).get(name)) for name in ("mean_bp", "sd_bp", "n"))
        if mean is None or deviation is None or n is None:
            beliefs.append(posterior(policy_id, None, fit))
            continue
        n = min(max(n, 0.0), 1e6)
        dof = dof_of(n)
        scale = max(deviation, 0.0) * math.sqrt((dof - 2) / dof)
        beliefs.append(Posterior(policy_id, n, mean, scale, dof))
    return beliefs


def plan_of(mode: str, explore: float, facts: Facts, strategies: list[Payload]) -> Payload:
    """The plan, awake again at a close of a bar."""
    timeframe = _number(facts.get("timeframe_secs")) or 300.0
    wait = _number(facts.get("secs_to_next_close"))
    held = _mapping(facts.get("position")).get("held") is not False
    look = secs_to_look(timeframe if wait is None else wait, max(timeframe, 1.0), held)
    return {
        "mode": mode,
        "explore_ratio": explore,
        "next_wakeup_secs": math.ceil(look),
        "strategies": strategies,
    }


# --- trader ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Room:
    """How much may be bought and sold, in base; `least` is the smallest BUY, on the step."""

    max_buy: Decimal
    max_sell: Decimal
    least: Decimal
    step: Decimal


def room_of(facts: Facts) -> Room | None:
    """What the facts say may be traded; None where they do not."""
    room = _mapping(facts.get("room"))
    max_buy, max_sell = _money(room.get("max_buy")), _money(room.get("max_sell"))
    least, step = _money(room.get("min_qty")), _money(room.get("step"))
    if max_buy is None or max_sell is None or least is None or not step:
        return None
    least = max(ceil_to(least, step), step)
    return Room(floor_to(min(max_buy, MAX_QTY), step), floor_to(min(max_sell, MAX_QTY), step), least, step)


def _propose(facts: Facts) -> Payload:
    plan = _mapping(facts.get("plan"))
    planned = [name for item in _items(plan.get("strategies")) if (name := _policy(item))]
    if plan.get("mode") != "TRADE" or not planned:
        return _hold(planned, "the plan is to observe")
    signals = [item for item in _items(facts.get("signals")) if _policy(item) in planned]
    signals.sort(key=lambda item: planned.index(item["policy_id"]))
    position, room = _mapping(facts.get("position")), room_of(facts)
    if not isinstance(position.get("held"), bool) or room is None:
        return _hold(planned, "does not know what is held, or how much may be traded")
    if position["held"]:
        return _leave(position, room, signals, planned)
    return _enter(facts, room, signals, planned)


def _leave(position: Facts, room: Room, signals: list[Payload], planned: list[str]) -> Payload:
    """Follow the owner's exit, or cash; every policy of the plan speaks for a position that nobody owns.

    What may be sold is the law's word, least order included: a sale is not trapped by the least BUY.
    """
    owner = position.get("policy_id")
    heard = [s for s in signals if owner not in planned or s["policy_id"] in (owner, "cash")]
    exits = [s for s in heard if s.get("action") == "SELL"]
    base = _money(position.get("base"))
    if not exits or base is None:
        return _hold(planned, f"holds on; {_said(heard[0])}" if heard else "holds on: no signal for the position")
    qty = floor_to(min(base, room.max_sell), room.step)
    if qty <= ZERO:
        return _hold(planned, f"holds {brief(base)}, but 0 of it can be sold; {_said(exits[0])}")
    return order_of("SELL", qty, exits[0]["policy_id"], _said(exits[0]), _confidence(exits[0]))


def _enter(facts: Facts, room: Room, signals: list[Payload], planned: list[str]) -> Payload:
    """Take the strongest BUY if its expected move pays for the round trip; beside cash nothing is bought."""
    buys = [s for s in signals if s.get("action") == "BUY" and "cash" not in planned]
    if not buys:
        return _hold(planned, f"stays out; {_said(signals[0])}" if signals else "stays out: no signal")
    best = max(buys, key=_strength)
    edge, costs = _number(best.get("edge_bp")), _number(_mapping(facts.get("costs")).get("round_trip_bp"))
    size = size_of(facts, room, _confidence(best))
    if edge is None or costs is None or size is None:
        return _hold(planned, "stays out: volatility, costs, price or equity is unknown")
    if edge <= costs:
        return _hold(planned, f"edge below costs: {edge:.1f} of {costs:.1f} bp; {_said(best)}", best["policy_id"])
    if size < room.least:
        named = _mapping(facts.get("room")).get("blocked_by")
        blocked = ", ".join(map(str, named)) if isinstance(named, list) else ""
        why = f"the law: {blocked}" if blocked else f"least order {brief(room.least)}"
        return _hold(planned, f"room {brief(room.max_buy)}, {why}; {_said(best)}")
    return order_of("BUY", size, best["policy_id"], f"{_said(best)}; edge {edge:.1f} bp", _confidence(best))


def size_of(facts: Facts, room: Room, confidence: float) -> Decimal | None:
    """A tenth of our equity, less where confidence is low or days are wild; within room, on the step.

    Floats end in a whole percentage here, so that none of them multiplies money.
    """
    price, equity = _money(facts.get("price")), _money(facts.get("equity"))
    volatility, timeframe = _features(facts).volatility, _number(facts.get("timeframe_secs"))
    if not price or equity is None or not volatility or not timeframe or timeframe < 1:
        return None
    daily = volatility * math.sqrt(DAY_SECS / timeframe)
    calm = 1.0 if daily <= CALM_DAILY else max(CALM_DAILY / daily, 0.25)
    budget = percent(percent(equity, SHARE_PCT), Decimal(round(100 * confidence * calm)))
    wanted = floor_to(div(budget, price), room.step)
    return min(max(wanted, room.least), room.max_buy)


def _strength(signal: Payload) -> float:
    return min(max(_number(signal.get("strength")) or 0.0, 0.0), 1.0)


def _confidence(signal: Payload) -> float:
    return round(0.5 + 0.4 * _strength(signal), 2)


def _said(signal: Payload) -> str:
    return f"{signal['policy_id']}: {_words(signal.get('reason'))}"


def _hold(planned: list[str], why: str, policy_id: str | None = None) -> Payload:
    return order_of("HOLD", ZERO, policy_id or (planned[0] if planned else "cash"), why, 0.5)


def order_of(action: str, qty: Decimal | None, policy_id: str, why: str, confidence: float) -> Payload:
    """A proposal in the words of its schema; `qty` in base, None for nothing."""
    return {
        "action": action,
        "qty": text(qty or ZERO),
        "policy_id": policy_id,
        "hypothesis": why[:120],
        "confidence": confidence,
    }


# --- judge -----------------------------------------------------------------------------------


def _judge(facts: Facts) -> Payload:
    """What the law allows, and half of it for a BUY in wild minutes; never more than was asked."""
    proposal, law = _mapping(facts.get("proposal")), _mapping(facts.get("law"))
    broken = [_words(rule.get("name"))[:40] for rule in _items(law.get("lowered_by"))][:4]
    action, asked = proposal.get("action"), _money(proposal.get("qty"))
    allowed, least, step = (_money(law.get(name)) for name in ("allowed_qty", "min_qty", "step"))
    ratio = _features(facts).volatility_ratio
    if action not in ("BUY", "SELL") or asked is None or allowed is None or least is None or not step:
        return _verdict("REJECT", None, broken, "there is no order, or the law's word is missing")
    if action == "BUY" and ratio is None:
        return _verdict("REJECT", None, broken, "volatility_ratio is unknown: no BUY")
    least = max(ceil_to(least, step), step)
    qty = floor_to(min(asked, allowed, MAX_QTY), step)
    if qty < least:
        return _verdict("REJECT", None, broken, f"allowed {brief(allowed)} is below the least {brief(least)}")
    notes = f"law allows {brief(allowed)} of {brief(asked)}"
    if action == "BUY" and ratio is not None and ratio > CAREFUL_RATIO:
        qty = max(floor_to(div(qty, Decimal(2)), step), least)
        notes += f"; halved: volatility_ratio {ratio:.3g} above {CAREFUL_RATIO:g}"
    if qty < asked:
        return _verdict("REVISE", qty, broken, notes)
    return _verdict("APPROVE", None, broken, notes)


def _verdict(decision: str, qty: Decimal | None, violations: list[str], notes: str) -> Payload:
    return {
        "decision": decision,
        "revised_qty": None if qty is None else text(qty),
        "violations": violations,
        "notes": notes[:120],
    }


# --- reading facts ---------------------------------------------------------------------------


def _mapping(value: object) -> Facts:
    return value if isinstance(value, Mapping) else {}


def _items(value: object) -> list[Payload]:
    """The objects of a list."""
    items: Sequence[object] = value if isinstance(value, list | tuple) else ()
    return [dict(item) for item in items if isinstance(item, Mapping)]


def _number(value: object) -> float | None:
    """A finite number, also one that is written as an amount."""
    if isinstance(value, str):
        value = _money(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _money(value: object) -> Decimal | None:
    """An amount that is not negative, from text as `dec` reads it."""
    try:
        amount = dec(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return None if amount is None or amount < ZERO else amount


def _features(facts: Facts) -> Features:
    given = _mapping(facts.get("features"))
    return Features(**{field.name: _number(given.get(field.name)) for field in fields(Features)})


def _policy(item: Facts) -> str | None:
    """The policy an object names, if the catalogue has it."""
    policy_id = item.get("policy_id")
    return policy_id if isinstance(policy_id, str) and policy_id in BY_ID else None


def _words(value: object) -> str:
    """Printable ASCII on one line."""
    return "".join(c if " " <= c <= "~" else " " for c in value) if isinstance(value, str) else ""
