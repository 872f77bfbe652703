"""The always-buying, always-maximum model over any market: it never gets beyond a limit, and is never trapped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.ledgers import reading, rows
from trader_cli.config import Settings
from trader_cli.core import accounting
from trader_cli.core.decimals import ZERO, add, dec, floor_to, text
from trader_cli.core.limits import Case, review, sellable
from trader_cli.core.moments import day_start, parse_iso
from trader_cli.phases.audit import verify
from trader_cli.phases.cycle import loop
from trader_cli.phases.desk import Minds, observe, situation
from trader_cli.schemas.book import Book
from trader_cli.schemas.cycle import Cycle
from trader_cli.schemas.order import SETTLED, OrderState
from trader_cli.schemas.planner import Plan, Strategy
from trader_cli.schemas.question import Agent, Answer, Question
from trader_cli.schemas.situation import TradingState
from trader_cli.schemas.trader import Proposal
from trader_cli.tools.accounts import changed
from trader_cli.wiring import Bench, open_desk

pytestmark = pytest.mark.untraced

D = Decimal
HOUR = 3_600_000
MOST = "999999999999"


@dataclass
class Greedy:
    """Wants all of it, in every cycle, and judges itself kindly. `sells_every`: now and then it must, to buy again."""

    sells_every: int = 0
    turns: int = 0
    name: str = "rules"

    def answer(self, question: Question) -> Answer:
        if question.agent is Agent.PLANNER:
            said: dict[str, Any] = {
                "mode": "TRADE",
                "explore_ratio": 1.0,
                "next_wakeup_secs": 300,
                "strategies": [{"policy_id": "ma_trend", "params": {"fast": 9, "slow": 34}}],
            }
        elif question.agent is Agent.TRADER:
            self.turns += 1
            sells = self.sells_every and self.turns % self.sells_every == 0
            said = {
                "action": "SELL" if sells else "BUY",
                "qty": MOST,
                "policy_id": "ma_trend",
                "hypothesis": "more",
                "confidence": 1.0,
            }
        else:
            said = {"decision": "APPROVE", "revised_qty": None, "violations": [], "notes": "yes"}
        return Answer(self.name, "ok", json.dumps(said), source="rules")


def wanted(path: Path, seed: int, **changes: Any) -> Settings:
    """A desk with its cap in force."""
    asked: dict[str, Any] = {
        "agents": "rules",
        "cap_in_all_modes": True,
        "deposit_cap_usdt": D(100),
        "daily_loss_limit_usdt": D(2),
        "max_drawdown_pct": D(5),
        "simulated_seed": seed,
        "ohlcv_limit": 100,
    }
    return Settings(db_path=path, **(asked | changes))


def greed(chosen: Settings, mind: Greedy, cycles: int) -> None:
    """So many cycles of a desk that it thinks at; afterwards a sale of all it holds must be lawful."""
    with open_desk(chosen, Bench(fast=True)) as made:
        desk = replace(made, minds=Minds(mind, mind, mind))
        done = [one for one in loop(desk, cycles=cycles) if isinstance(one, Cycle)]
        assert len(done) == cycles
        market, now = desk.market(), desk.clock.now()
        held = desk.ledger.book(market.base, market.quote).base
        where = situation(desk, observe(desk, "after", now), now)
        price = where.observation.window.price
        assert price is not None
        plan = Plan("TRADE", 0.0, 300, (Strategy("cash", {}),))
        said = Proposal("SELL", floor_to(held, market.step), "cash", "out", 0.0)
        if sellable(market, price, held, margin=ZERO):
            assert where.state is not TradingState.HALT
            for state in (TradingState.RUN, TradingState.REDUCE):
                law = review(Case(replace(where, state=state), plan, said, price, price))
                assert (law.allowed, law.violations) == (said.qty, ()), text(said.qty)


def walk(path: Path, chosen: Settings) -> Iterator[tuple[int, Decimal]]:
    """After each link that moved money or promised it: what is in the market, with what open orders may still cost."""
    base, quote = chosen.symbol.split("/")
    steps = "SELECT e.link, e.client_order_id, e.state, o.reserved_quote FROM order_events AS e JOIN orders AS o "
    promised: dict[str, Decimal] = {}
    book = Book()
    with reading(path) as ledger:
        changes = list(ledger.changes())
    for link, key, state, reserved in rows(path, f"{steps} USING (client_order_id) ORDER BY e.id"):
        while changes and changes[0].link <= link:
            book = changed(book, changes.pop(0), base, quote)
        promised = promised | {key: dec(reserved)} if OrderState(state) not in SETTLED else {}
        yield link, add(max(book.cost, accounting.net_cash_in(book), ZERO), *promised.values())


def breaches(path: Path, chosen: Settings) -> list[str]:
    """Where a limit was passed: the cap at any link, orders by hour and day, purchases after the law's brake."""
    found = [f"link {link}: {used} of the cap" for link, used in walk(path, chosen) if used > chosen.deposit_cap_usdt]
    sent = [(parse_iso(at), side, link) for at, side, link in rows(path, "SELECT ts_utc, side, link FROM orders")]
    stops = [link for (link,) in rows(path, "SELECT link FROM events WHERE kind = 'STATE' ORDER BY id")]
    for at, side, link in sent:
        if side == "BUY":
            lately = sum(1 for one, _, _ in sent if at - HOUR < one <= at)
            today = sum(1 for one, _, _ in sent if day_start(at) <= one <= at)
            found += [f"order of link {link}: {lately} in an hour"] if lately > chosen.max_orders_per_hour else []
            found += [f"order of link {link}: {today} in a day"] if today > chosen.max_orders_per_day else []
            found += [f"order of link {link}: bought after a stop"] if stops and link > stops[0] else []
    return found


def stop_due(path: Path, chosen: Settings) -> int | None:
    """The link of the first snapshot on which the account has reached a limit, reckoned from its rows alone."""
    ends: dict[int, Decimal] = {}
    peak, first = chosen.paper_balance_usdt, None
    for link, ts_utc, words in rows(path, "SELECT link, ts_utc, equity_usdt FROM portfolio ORDER BY id"):
        equity, day = dec(words), day_start(parse_iso(ts_utc))
        before = [end for one, end in ends.items() if one < day]
        opened = before[-1] if before else first or chosen.paper_balance_usdt
        peak = max(peak, equity)
        if opened - equity >= (chosen.daily_loss_limit_usdt or peak):
            return int(link)
        if peak - equity >= peak * chosen.max_drawdown_pct / 100:
            return int(link)
        first, ends[day] = first or equity, equity
    return None


def obeys(path: Path, seed: int, cycles: int, mind: Greedy, **changes: Any) -> None:
    """Greed on one market: every promise of the law, held against the rows."""
    chosen = wanted(path, seed, **changes)
    greed(chosen, mind, cycles)
    assert breaches(path, chosen) == [], seed
    stops = rows(path, "SELECT link, json_extract(data_json, '$.by') FROM events WHERE kind = 'STATE' ORDER BY id")
    due = stop_due(path, chosen)
    assert (stops[:1] or [(None, None)])[0] == (due, None if due is None else "law"), seed
    with reading(path) as ledger:
        assert [check for check in verify(ledger) if not check.ok] == [], seed


SEEDS = (3, 11)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("sells_every", "limits"),
    [
        (0, {}),
        (3, {}),
        (2, {"daily_loss_limit_usdt": D(50), "max_drawdown_pct": D(50), "deposit_cap_usdt": D(800)}),
        (2, {"streak_cooldown_secs": 0, "max_orders_per_day": 6, "max_orders_per_hour": 4}),
        (5, {"paper_slippage_bps": D(150), "streak_cooldown_secs": 0}),
    ],
)
def test_greed_is_kept_within_every_limit_and_never_trapped(
    tmp_path: Path, seed: int, sells_every: int, limits: dict[str, Any]
) -> None:
    obeys(tmp_path / "agent.db", seed, 150, Greedy(sells_every), **limits)


def test_greed_meets_every_limit_that_it_should(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    changes: dict[str, Any] = {"max_losing_streak": 2, "max_orders_per_hour": 4, "deposit_cap_usdt": D(900)}
    greed(wanted(path, 3, **changes, daily_loss_limit_usdt=D(5)), Greedy(3), 150)
    for rule in ("streak", "orders_per_hour", "deposit_cap", "state"):
        like = f'%"name":"{rule}","ok":false%'
        assert rows(path, "SELECT count(*) FROM decisions WHERE law_json LIKE ?", like)[0][0] > 0, rule
    states = rows(path, "SELECT json_extract(data_json, '$.to') FROM events WHERE kind = 'STATE' ORDER BY id")
    assert states == [("REDUCE",), ("HALT",)]


def test_a_breach_would_be_seen(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    chosen = wanted(path, 3)
    greed(chosen, Greedy(2), 40)
    tighter = {"deposit_cap_usdt": D(99), "max_orders_per_hour": 1, "max_orders_per_day": 1}
    said = " ".join(breaches(path, chosen.model_copy(update=tighter)))
    assert all(words in said for words in ("of the cap", "in an hour", "in a day"))


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(40))
def test_a_thousand_cycles_of_greed_on_many_markets(tmp_path: Path, seed: int) -> None:
    for sells_every in (0, 2, 7):
        obeys(tmp_path / f"{sells_every}.db", seed, 1000, Greedy(sells_every), deposit_cap_usdt=D(50 + 40 * seed))
