"""Records and rows: what a phase writes comes back equal, to whoever opens the ledger next."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.ledgers import WALL, grow, ledger_at, one, reading, rows, scripted_desk, settings, wall
from trader_cli.core import accounting
from trader_cli.core.decimals import dec
from trader_cli.core.errors import ConfigError, LedgerError, NotFoundError
from trader_cli.core.moments import DAY_MS, Moment, iso, parse_iso
from trader_cli.phases.cycle import cycle
from trader_cli.schemas.book import Book, Snapshot
from trader_cli.schemas.decision import Decision, Review, Ruling
from trader_cli.schemas.judge import Verdict
from trader_cli.schemas.market import Candle, Defect, Features, Observation, Window
from trader_cli.schemas.order import Fill, Intent, Order, OrderState, Outcome, Report, Side
from trader_cli.schemas.planner import Plan, Strategy
from trader_cli.schemas.question import Agent, Answer, Question, Usage
from trader_cli.schemas.situation import Owner, TradingState
from trader_cli.schemas.trader import Proposal
from trader_cli.tools.ledger import Ledger
from trader_cli.wiring import open_desk

FIVE = 300_000
NOON = parse_iso("2026-03-02T12:00:00Z")
MIDNIGHT = parse_iso("2026-03-02")
IDENTITY = {"mode": "paper", "exchange": "paper", "symbol": "BTC/USDT", "market": "simulated:7"}


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """A pinned ledger in memory, with 1000 deposited."""
    with closing(Ledger.in_memory(wall)) as ledger:
        ledger.pin("a-ledger", IDENTITY, Decimal(1000), NOON)
        yield ledger


def anew(ledger: Ledger) -> Ledger:
    """The same rows, read by who remembers nothing."""
    return Ledger(ledger.db, None, wall)


def bar(at: Moment, close: str = "100.5", volume: str = "7") -> Candle:
    return Candle(at, Decimal(100), Decimal("101.25"), Decimal("99.75"), Decimal(close), Decimal(volume))


def seen(candles: tuple[Candle, ...], at: Moment = NOON, **window: Any) -> Observation:
    price = candles[-1].close if candles else None
    fields = {"defects": (), "price": price, "age_ms": 1234 if candles else None} | window
    features = Features(48.2, 100.1, None, 0.0019999999999999998, -1e-05, 0.0, 1.0, 3.0)
    return Observation(
        None, "t1", at, Window("simulated:7", FIVE, candles, **fields), features, Decimal("1000.00000001"), Decimal(0)
    )


def logged(ledger: Ledger, observation: Observation) -> Observation:
    with ledger.transaction() as tx:
        return ledger.log_observation(tx, observation)


def decided(payload: Any, at: Moment = NOON, trace_id: str = "t1", **more: Any) -> Decision[Any]:
    fields: dict[str, Any] = {
        "source": "rules",
        "cause": None,
        "plan_id": None,
        "proposal_id": None,
        "observation_id": None,
        "prompt_sha256": None,
        "wake_at": None,
        "review": None,
    }
    return Decision(id=0, trace_id=trace_id, at=at, wall_at=WALL, payload=payload, **(fields | more))


def log(ledger: Ledger, agent: Agent, decision: Decision[Any]) -> Decision[Any]:
    with ledger.transaction() as tx:
        return ledger.log_decision(tx, agent, decision, None)


PLAN = Plan("TRADE", 0.1, 300, (Strategy("ma_trend", {"fast": 9, "slow": 34}), Strategy("cash", {})))
BUY = Proposal("BUY", Decimal("0.00103"), "ma_trend", 'rises; [b]"so"[/b] \u202e\x1b', 0.30000000000000004)
REVIEW = Review(
    Decimal("0.00051"),
    Decimal("61630.45"),
    (
        Ruling("step", True, "multiples of 0.00001", "0.00103", Decimal("0.00103"), Decimal("0.00103")),
        Ruling("deposit_cap", False, "50", "10 used + 63 asked", Decimal("0.00103"), Decimal("0.00051")),
    ),
)
REVISE = Verdict("REVISE", Decimal("0.00051"), ("deposit_cap", "judge: calm"), "half")


def lineage(ledger: Ledger, trace_id: str = "t1", at: Moment = NOON, said: Proposal = BUY) -> tuple[Decision[Any], ...]:
    """A plan, its proposal and its verdict."""
    plan = log(ledger, Agent.PLANNER, decided(PLAN, at, trace_id, wake_at=at + FIVE))
    proposal = log(ledger, Agent.TRADER, decided(said, at, trace_id, plan_id=plan.id))
    verdict = log(ledger, Agent.JUDGE, decided(REVISE, at, trace_id, proposal_id=proposal.id, review=REVIEW))
    return plan, proposal, verdict


def reserved(
    ledger: Ledger, key: str = "t1-a", at: Moment = NOON, side: Side = Side.BUY, said: Proposal = BUY
) -> Order:
    """An order that was written down and not yet sent."""
    _, proposal, verdict = lineage(ledger, f"trace of {key}", at, said)
    intent = Intent(
        key, proposal.id, verdict.id, "BTC/USDT", side, Decimal("0.00051"), Decimal("61938.60225"),
        Decimal("31.62027584"), at,
    )  # fmt: skip
    with ledger.transaction() as tx:
        ledger.reserve(tx, intent, REVIEW, f"trace of {key}", None)
    return Order(intent, OrderState.INTENT, None, (), {})


def fill(number: int, qty: str, price: str, fee: str = "0", asset: str = "BTC", worth: str = "0") -> Fill:
    quote_qty = Decimal(qty) * Decimal(price)
    return Fill(f"p{number}", Decimal(qty), Decimal(price), quote_qty, Decimal(fee), asset, Decimal(worth), NOON + 1)


FILLS = (
    fill(1, "0.0003", "61630.45", "0.0000003", "BTC", "0.018489135"),
    fill(2, "0.00021", "61642.77", "0.00000021", "BTC", "0.0129449817"),
)


def executed(order: Order, fills: tuple[Fill, ...] = FILLS, state: OrderState = OrderState.FILLED) -> Outcome:
    intent, qty = order.intent, sum((one.qty for one in fills), Decimal(0))
    report = Report(intent.client_order_id, "x-1", intent.side, state, qty, fills)
    return Outcome(state, report, {"by": "answer"})


# What a ledger is pinned to.


def test_the_first_pin_writes_the_identity_and_the_deposit_in_one_link(ledger: Ledger) -> None:
    again = anew(ledger)
    assert again.identity() == {"ledger_id": "a-ledger", **IDENTITY, "began_at": iso(NOON)}
    assert again.last_event("DEPOSIT") == (NOON, {"amount": "1000", "reason": "opening balance"})
    assert again.next_link == 2
    assert again.ledger_id == "a-ledger"


def test_a_pin_to_the_same_settings_writes_nothing_and_keeps_the_ledgers_name(ledger: Ledger) -> None:
    head = ledger.head
    ledger.pin("another-name", IDENTITY, Decimal(5), NOON + 1)
    assert ledger.head == head
    assert ledger.identity()["ledger_id"] == "a-ledger"


@pytest.mark.parametrize("key", IDENTITY)
def test_a_pin_to_other_settings_is_refused_names_both_and_writes_nothing(ledger: Ledger, key: str) -> None:
    head = ledger.head
    setting = {"mode": "MODE", "exchange": "EXCHANGE_ID", "symbol": "SYMBOL", "market": "MARKET"}[key]
    with pytest.raises(ConfigError, match=f'is for {setting} "{IDENTITY[key]}", the settings say "Other/9"'):
        ledger.pin("a-ledger", IDENTITY | {key: "Other/9"}, Decimal(1000), NOON)
    assert ledger.head == head


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"symbol": "ETH/USDT"}, "agent-eth-usdt.db"),
        ({"simulated_seed": 8}, "agent-simulated-8.db"),
        ({"timeframe": "1h"}, "agent-1h.db"),
        ({"paper_balance_usdt": Decimal("12.5")}, "agent-12-5.db"),
    ],
)
def test_a_desk_with_other_settings_is_refused_and_the_ledger_it_suggests_would_do(
    tmp_path: Path, change: dict[str, Any], name: str
) -> None:
    path = tmp_path / "agent.db"
    with open_desk(settings(path)):
        pass
    links = rows(path, "SELECT count(*) FROM audit_chain")
    with pytest.raises(ConfigError) as refusal, open_desk(settings(path, **change)):
        pass
    suggested = tmp_path / name
    assert f'--db "{suggested}"' in str(refusal.value.hint)
    assert rows(path, "SELECT count(*) FROM audit_chain") == links
    assert not suggested.exists()
    with open_desk(settings(suggested, **change)):
        pass
    with open_desk(settings(path)):
        pass


# Events and the trading state.


def test_the_newest_event_of_a_kind_is_the_last_one_written(ledger: Ledger) -> None:
    assert ledger.last_event("STATE") is None
    for number in range(3):
        with ledger.transaction() as tx:
            ledger.log_event(tx, "NOTE", {"n": number, "words": 'é"\n'}, NOON - number, "t1")
            ledger.log_event(tx, "OTHER", {}, NOON)
    assert anew(ledger).last_event("NOTE") == (NOON - 2, {"n": 2, "words": 'é"\n'})


def test_the_trading_state_is_run_until_an_event_says_otherwise(ledger: Ledger) -> None:
    assert anew(ledger).trading_state() == (TradingState.RUN, None)
    for state in (TradingState.REDUCE, TradingState.HALT, TradingState.RUN):
        with ledger.transaction() as tx:
            ledger.log_event(tx, "STATE", {"from": "RUN", "to": state.name, "reason": "because"}, NOON)
        assert anew(ledger).trading_state() == (state, "because")


# Observations and their candles.


def test_an_observation_comes_back_equal_with_every_candle_feature_and_defect(ledger: Ledger) -> None:
    candles = tuple(bar(NOON - FIVE * n, f"100.{n}0", "0.00000001") for n in range(30, 0, -1))
    defects = (Defect("gap", "1 bar missing", NOON - FIVE), Defect("stale", "old\x00\x1b", None))
    stored = logged(ledger, seen(candles, defects=defects))
    assert stored == replace(seen(candles, defects=defects), id=stored.id)
    assert stored.id is not None
    assert anew(ledger).observation(stored.id, FIVE) == stored
    assert ledger.observation(stored.id, FIVE) == stored


def test_an_observation_of_nothing_comes_back_equal(ledger: Ledger) -> None:
    stored = logged(ledger, seen((), defects=(Defect("unavailable", "timed out"),)))
    assert stored.id is not None
    assert anew(ledger).observation(stored.id, FIVE) == stored


def test_an_observation_that_is_not_there_is_not_found(ledger: Ledger) -> None:
    with pytest.raises(NotFoundError, match="no observation 7"):
        ledger.observation(7, FIVE)


@pytest.mark.parametrize("remembered", [True, False], ids=["by who wrote it", "by another process"])
def test_a_restated_bar_is_a_new_revision_and_each_observation_keeps_what_it_saw(
    ledger: Ledger, remembered: bool
) -> None:
    old = tuple(bar(NOON - FIVE * n) for n in range(5, 0, -1))
    restated = (*old[:2], old[2]._replace(close=Decimal("100.75")), *old[3:], bar(NOON))
    again = (*old, bar(NOON), bar(NOON + FIVE))
    stored = []
    for candles in (old, restated, again):
        writer = ledger if remembered else anew(ledger)
        stored.append(logged(writer, seen(candles)))
    reader = anew(ledger)
    assert [reader.observation(one.id or 0, FIVE) for one in stored] == stored
    revisions = ledger.db.execute(
        "SELECT revision FROM candles WHERE opened_at = ? ORDER BY id", (iso(NOON - 3 * FIVE),)
    )
    assert revisions.fetchall() == [(0,), (1,), (2,)]
    assert ledger.db.execute("SELECT count(*) FROM candles").fetchone() == (7 + 2,)


def test_a_bar_that_is_written_otherwise_but_equal_is_not_stored_again(ledger: Ledger) -> None:
    logged(ledger, seen((bar(NOON - FIVE, "100.5"),)))
    logged(ledger, seen((bar(NOON - FIVE, "100.500"),)))
    assert ledger.db.execute("SELECT count(*) FROM candles").fetchone() == (1,)


def test_a_window_that_slides_far_stores_each_bar_once(ledger: Ledger) -> None:
    walk = tuple(bar(NOON + FIVE * n, f"{100 + n % 7}") for n in range(6_000))
    with ledger.transaction() as tx:
        stored = [ledger.log_observation(tx, seen(walk[start : start + 1_000])) for start in range(0, 5_001, 500)]
    assert ledger.db.execute("SELECT count(*), max(revision) FROM candles").fetchone() == (6_000, 0)
    reader = anew(ledger)
    assert reader.observation(stored[0].id or 0, FIVE) == stored[0]
    assert reader.observation(stored[-1].id or 0, FIVE) == stored[-1]


def test_a_window_from_before_what_is_remembered_is_stored_once_as_well(ledger: Ledger) -> None:
    walk = tuple(bar(NOON + FIVE * n) for n in range(30))
    for start in (20, 0, 10, 0):
        logged(ledger, seen(walk[start : start + 10]))
    late = anew(ledger)
    for start in (20, 0):
        logged(late, seen(walk[start : start + 10]))
    assert ledger.db.execute("SELECT count(*), max(revision) FROM candles").fetchone() == (30, 0)


@pytest.mark.xfail(
    strict=True, reason="an observation names first and last bar only: one that vanished between comes back"
)
def test_a_bar_that_vanished_from_the_exchanges_history_stays_out_of_the_later_observation(ledger: Ledger) -> None:
    whole = tuple(bar(NOON - FIVE * n) for n in range(5, 0, -1))
    logged(ledger, seen(whole))
    with_gap = logged(ledger, seen((*whole[:2], *whole[3:]), defects=(Defect("gap", "1 bar missing", None),)))
    assert anew(ledger).observation(with_gap.id or 0, FIVE) == with_gap


def test_the_hash_of_the_candles_is_of_every_bar_and_number_in_order(ledger: Ledger) -> None:
    candles = (bar(NOON - 2 * FIVE), bar(NOON - FIVE, "100.10"))
    logged(ledger, seen(candles))
    lines = f"{NOON - 2 * FIVE},100,101.25,99.75,100.5,7\n{NOON - FIVE},100,101.25,99.75,100.1,7"
    found = ledger.db.execute("SELECT candles_sha256, bars, first_at, last_at FROM observations").fetchone()
    assert found == (sha256(lines.encode()).hexdigest(), 2, iso(NOON - 2 * FIVE), iso(NOON - FIVE))


def test_a_transaction_that_fails_leaves_nothing_in_memory_of_the_bars_it_had(ledger: Ledger) -> None:
    candles = (bar(NOON - FIVE),)
    with pytest.raises(ZeroDivisionError), ledger.transaction() as tx:
        ledger.log_observation(tx, seen(candles))
        raise ZeroDivisionError
    stored = logged(ledger, seen(candles))
    assert ledger.db.execute("SELECT count(*) FROM candles").fetchone() == (1,)
    assert anew(ledger).observation(stored.id or 0, FIVE) == stored


# Model calls.

QUESTION = Question(Agent.TRADER, "t1", "Answer.", {"price": "1", "rsi": 0.1, "none": None}, "proposal", {"a": 1}, 10)


def test_a_model_call_is_written_with_its_prompt_once_and_its_reply_as_it_came(ledger: Ledger) -> None:
    usage = Usage(100, 20, 30, None, Decimal("0.00012"))
    answer = Answer("gpt-5", "ok", '{"a":"é"}\n', usage, 812, 2, "req-1", None)
    with ledger.transaction() as tx:
        first, sha = ledger.log_call(tx, QUESTION, answer, NOON)
        second, same = ledger.log_call(tx, QUESTION, Answer("gpt-5", "failed", None, error="time-out"), NOON)
    assert sha == same == sha256(b'Answer.\n{"a":1}').hexdigest()
    assert ledger.db.execute("SELECT sha256, agent, prompt, schema_json FROM prompts").fetchall() == [
        (sha, "TRADER", "Answer.", '{"a":1}')
    ]
    kept = ledger.db.execute(
        "SELECT id, trace_id, agent, model, attempt, prompt_sha256, facts_json, status, reply, error, input_tokens, "
        "cached_tokens, output_tokens, reasoning_tokens, cost_usd, latency_ms, request_id FROM model_calls ORDER BY id"
    ).fetchall()
    facts = '{"price":"1","rsi":0.1,"none":null}'
    assert kept == [
        (first, "t1", "TRADER", "gpt-5", 2, sha, facts, "ok", '{"a":"é"}\n', None, 100, 20, 30, None, "0.00012", 812,
         "req-1"),
        (second, "t1", "TRADER", "gpt-5", 1, sha, facts, "failed", None, "time-out", None, None, None, None, "0", 0,
         None),
    ]  # fmt: skip


def test_a_reply_with_nul_and_lone_surrogates_is_kept_in_visible_form(ledger: Ledger) -> None:
    with ledger.transaction() as tx:
        ledger.log_call(tx, QUESTION, Answer("m", "ok", "a\x00b\ud800c", error="\udfff"), NOON)
    assert ledger.db.execute("SELECT reply, error FROM model_calls").fetchone() == ("a\\x00b\\ud800c", "\\udfff")
    assert list(anew(ledger).broken_links()) == []


def test_a_fact_that_is_not_a_number_is_never_written(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="JSON compliant"), ledger.transaction() as tx:
        ledger.log_call(tx, replace(QUESTION, facts={"rsi": float("nan")}), Answer("m", "ok", "{}"), NOON)
    assert ledger.db.execute("SELECT count(*) FROM prompts").fetchone() == (0,)


# Decisions.


def test_decisions_of_all_three_agents_come_back_equal_and_by_their_lineage(ledger: Ledger) -> None:
    observation = logged(ledger, seen((bar(NOON - FIVE),)))
    with ledger.transaction() as tx:
        call_id, prompt = ledger.log_call(tx, QUESTION, Answer("m", "ok", "{}"), NOON)
    asked: dict[str, Any] = {"observation_id": observation.id, "model_call_id": call_id, "prompt_sha256": prompt}
    plan = log(ledger, Agent.PLANNER, decided(PLAN, wake_at=NOON + FIVE, **asked))
    proposal = log(ledger, Agent.TRADER, decided(BUY, NOON + 1, plan_id=plan.id, source="openai"))
    verdict = log(
        ledger, Agent.JUDGE, decided(REVISE, NOON + 2, proposal_id=proposal.id, review=REVIEW, source="operator")
    )
    reader = anew(ledger)
    wanted = {Agent.PLANNER: plan, Agent.TRADER: proposal, Agent.JUDGE: verdict}
    for agent, decision in wanted.items():
        assert reader.decision(decision.id) == (agent, decision)
        assert reader.newest(agent) == decision
        assert reader.decision_of("t1", agent) == decision
        assert reader.decision_of("another trace", agent) is None
    assert reader.newest_plan() == plan
    assert reader.proposal_of(plan.id) == proposal
    assert reader.verdict_of(proposal.id) == verdict
    assert reader.proposal_of(proposal.id) is None
    assert reader.verdict_of(plan.id) is None
    assert plan.wall_at == WALL


@pytest.mark.parametrize(
    ("agent", "payload", "more"),
    [
        (Agent.PLANNER, Plan("OBSERVE", 0.0, 3600, (Strategy("cash", {}),)), {"wake_at": NOON}),
        (Agent.PLANNER, Plan("OBSERVE", 1.0, 30, PLAN.strategies), {"source": "fallback", "cause": "openai: prose"}),
        (Agent.TRADER, Proposal("HOLD", Decimal(0), "cash", "", 0.0), {"source": "law", "cause": "stopped: é"}),
        (Agent.TRADER, Proposal("SELL", Decimal("12.000000000000000001"), "cash", "x" * 120, 1.0), {}),
        (Agent.JUDGE, Verdict("APPROVE", None, (), "as proposed"), {"review": Review(Decimal(1), Decimal(2), ())}),
        (Agent.JUDGE, Verdict("REJECT", None, ("a", "b", "c", "d"), "no"), {"review": None}),
    ],
    ids=lambda value: str(value)[:24],
)
def test_every_kind_of_decision_comes_back_equal(
    ledger: Ledger, agent: Agent, payload: Any, more: dict[str, Any]
) -> None:
    parents: dict[str, Any] = {}
    if agent is not Agent.PLANNER:
        parents = {"plan_id": log(ledger, Agent.PLANNER, decided(PLAN, wake_at=NOON)).id}
    if agent is Agent.JUDGE:
        parents = {"proposal_id": log(ledger, Agent.TRADER, decided(BUY, **parents)).id}
    stored = log(ledger, agent, decided(payload, **parents, **more))
    assert anew(ledger).decision(stored.id) == (agent, stored)
    assert stored.payload == payload


def test_a_second_proposal_for_a_plan_and_a_second_verdict_on_a_proposal_are_refused(ledger: Ledger) -> None:
    plan, proposal, _ = lineage(ledger)
    with pytest.raises(LedgerError, match="the ledger refused a row"):
        log(ledger, Agent.TRADER, decided(BUY, plan_id=plan.id))
    with pytest.raises(LedgerError, match="the ledger refused a row"):
        log(ledger, Agent.JUDGE, decided(REVISE, proposal_id=proposal.id))


def test_a_decision_that_is_not_there_is_not_found(ledger: Ledger) -> None:
    assert ledger.newest_plan() is None
    with pytest.raises(NotFoundError, match="no decision 1 in this ledger"):
        ledger.decision(1)


def test_of_several_traces_the_newest_plan_begins_the_newest(ledger: Ledger) -> None:
    lineage(ledger, "t1", NOON + FIVE)
    plan, proposal, verdict = lineage(ledger, "t2", NOON)
    assert anew(ledger).newest_plan() == plan
    assert anew(ledger).newest(Agent.TRADER) == proposal
    assert anew(ledger).newest(Agent.JUDGE) == verdict


# Orders.


def test_an_order_is_written_before_it_is_sent_and_is_open_from_then_on(ledger: Ledger) -> None:
    order = reserved(ledger)
    reader = anew(ledger)
    assert reader.open_orders() == (order,)
    assert reader.order_of_verdict(order.intent.verdict_id or 0) == order
    assert reader.order_of_trace("trace of t1-a") == order
    assert reader.order_of_trace("t1") is None
    law = ledger.db.execute("SELECT law_json FROM orders").fetchone()[0]
    assert json.loads(law)["allowed"] == "0.00051"


@pytest.mark.parametrize("state", [OrderState.FILLED, OrderState.PARTIAL])
def test_an_executed_order_comes_back_equal_with_its_fills_and_is_not_open(ledger: Ledger, state: OrderState) -> None:
    order = reserved(ledger)
    fills = FILLS if state is OrderState.FILLED else FILLS[:1]
    settled = ledger.settle(order, executed(order, fills, state), NOON + 2)
    assert settled == Order(order.intent, state, "x-1", fills, {"by": "answer"})
    reader = anew(ledger)
    assert reader.order_of_verdict(order.intent.verdict_id or 0) == settled
    assert reader.open_orders() == ()
    assert settled.executed_qty == sum(one.qty for one in fills)


@pytest.mark.parametrize("state", [OrderState.REJECTED, OrderState.ABANDONED])
def test_an_order_that_was_proved_to_come_to_nothing_is_not_open(ledger: Ledger, state: OrderState) -> None:
    order = reserved(ledger)
    evidence: dict[str, str | None] = {"code": "-1013", "message": "Filter failure: \x1b NOTIONAL"}
    settled = ledger.settle(order, Outcome(state, None, evidence), NOON)
    assert settled == Order(order.intent, state, None, (), evidence)
    assert anew(ledger).open_orders() == ()
    assert ledger.db.execute("SELECT count(*) FROM trades").fetchone() == (0,)


@pytest.mark.parametrize("state", [OrderState.UNKNOWN, OrderState.OPEN, OrderState.NEEDS_HUMAN])
def test_an_order_without_a_proof_stays_open_oldest_first(ledger: Ledger, state: OrderState) -> None:
    orders = [reserved(ledger, f"t1-{name}", NOON + n) for n, name in enumerate("cab")]
    ledger.settle(orders[1], Outcome(state, None, {"error": "time-out"}), NOON)
    waiting = anew(ledger).open_orders()
    assert [order.intent.client_order_id for order in waiting] == ["t1-c", "t1-a", "t1-b"]
    assert [order.state for order in waiting] == [OrderState.INTENT, state, OrderState.INTENT]
    assert waiting[1].evidence == {"error": "time-out"}


def test_every_step_of_an_orders_life_is_an_event_with_where_it_came_from(ledger: Ledger) -> None:
    order = reserved(ledger)
    unknown = ledger.settle(order, Outcome(OrderState.UNKNOWN, None, {"error": "lost"}), NOON + 1)
    ledger.settle(unknown, executed(order), NOON + 2)
    events = "SELECT from_state, state, exchange_order_id, ts_utc FROM order_events ORDER BY id"
    assert ledger.db.execute(events).fetchall() == [
        (None, "INTENT", None, iso(NOON)),
        ("INTENT", "UNKNOWN", None, iso(NOON + 1)),
        ("UNKNOWN", "FILLED", "x-1", iso(NOON + 2)),
    ]


def test_a_settlement_is_one_link_with_event_fills_and_trade(ledger: Ledger) -> None:
    order = reserved(ledger)
    link = ledger.next_link
    ledger.settle(order, executed(order), NOON)
    assert ledger.next_link == link + 1
    assert ledger.db.execute("SELECT rows FROM audit_chain WHERE seq = ?", (link,)).fetchone() == (1 + 2 + 1,)


def test_a_trade_has_the_quantity_average_price_and_fee_of_its_fills(ledger: Ledger) -> None:
    order = reserved(ledger)
    ledger.settle(order, executed(order), NOON + 3)
    trade = ledger.db.execute(
        "SELECT ts_utc, symbol, side, qty, price, fee, fee_asset, order_id, idempotency_key, proposal_id, status, "
        "quote_qty, trace_id FROM trades"
    ).fetchone()
    paid = Decimal("0.0003") * Decimal("61630.45") + Decimal("0.00021") * Decimal("61642.77")
    price = (paid / Decimal("0.00051")).quantize(Decimal("1e-12")).normalize()
    assert trade == (
        iso(NOON + 3), "BTC/USDT", "BUY", "0.00051", f"{price:f}", "0.00000051", "BTC", "x-1", "t1-a",
        order.intent.proposal_id, "FILLED", f"{paid.normalize():f}", "trace of t1-a",
    )  # fmt: skip


def test_a_trade_whose_fees_are_in_several_assets_names_no_single_fee(ledger: Ledger) -> None:
    order = reserved(ledger)
    mixed = (FILLS[0], fill(2, "0.0001", "61642.77", "0.00001", "BNB", "0.006"))
    settled = ledger.settle(order, executed(order, mixed, OrderState.PARTIAL), NOON)
    assert ledger.db.execute("SELECT fee, fee_asset, status FROM trades").fetchone() == (None, None, "PARTIALLY_FILLED")
    assert [one.fee_asset for one in settled.fills] == ["BTC", "BNB"]


def test_a_proposal_has_one_order_a_key_one_intent_and_a_trade_one_fill(ledger: Ledger) -> None:
    order = reserved(ledger)
    with pytest.raises(LedgerError, match="the ledger refused a row"), ledger.transaction() as tx:
        ledger.reserve(tx, replace(order.intent, client_order_id="t1-b"), REVIEW, "t", None)
    _, proposal, verdict = lineage(ledger, "t9")
    with pytest.raises(LedgerError, match="the ledger refused a row"), ledger.transaction() as tx:
        ledger.reserve(tx, replace(order.intent, proposal_id=proposal.id, verdict_id=verdict.id), REVIEW, "t", None)
    with pytest.raises(LedgerError, match="the ledger refused a row"):
        ledger.settle(order, executed(order, (FILLS[0], FILLS[0])), NOON)
    assert anew(ledger).open_orders() == (order,)
    assert list(anew(ledger).broken_links()) == []


def test_an_executed_order_without_fills_is_refused_whole(ledger: Ledger) -> None:
    order = reserved(ledger)
    with pytest.raises(LedgerError, match="an executed order needs fills"):
        ledger.settle(order, executed(order, ()), NOON)
    assert anew(ledger).open_orders() == (order,)


# The book and its snapshots.


def snapshot(at: Moment, book: Book, mark: str, peak: str = "1000", trace_id: str | None = "t1") -> Snapshot:
    price = Decimal(mark)
    return Snapshot(
        None, trace_id, at, "BTC/USDT", book, price, accounting.unrealized(book, price),
        accounting.equity(book, price), Decimal(peak), Decimal("0.00000001"), Decimal("-0.25"),
    )  # fmt: skip


def take(ledger: Ledger, taken: Snapshot) -> None:
    with ledger.transaction() as tx:
        ledger.snapshot_portfolio(tx, taken, None)


def test_a_snapshot_comes_back_equal(ledger: Ledger) -> None:
    assert ledger.last_snapshot() is None
    book = Book(
        Decimal("1000.0000000000001"), Decimal("968.55"), Decimal("0.00050949"), Decimal("31.4331248"),
        Decimal("-0.125"), Decimal("0.0314341167"),
    )  # fmt: skip
    for trace_id in ("t1", None):
        taken = snapshot(NOON, book, "61700.5", trace_id=trace_id)
        take(ledger, taken)
        found = anew(ledger).last_snapshot()
        assert found is not None
        assert found == replace(taken, id=found.id)
    assert ledger.has_snapshot("t1")
    assert not ledger.has_snapshot("t2")


def test_quote_and_base_are_where_the_specification_keeps_dollars_and_bitcoin(ledger: Ledger) -> None:
    take(ledger, snapshot(NOON, Book(Decimal(1000), Decimal(400), Decimal(2), Decimal(600)), "310"))
    columns = "balance_usdt, balance_btc, unrealized_pnl_usdt, realized_pnl_usdt, equity_usdt"
    assert ledger.db.execute(f"SELECT {columns} FROM portfolio").fetchone() == ("400", "2", "20", "0", "1020")  # noqa: S608


def test_the_book_is_the_fold_of_every_deposit_and_fill_with_and_without_snapshots(ledger: Ledger) -> None:
    expected = accounting.deposit(Book(), Decimal(1000))
    number = 0
    for round_ in range(6):
        order = reserved(ledger, f"t1-{round_}", NOON + round_ * FIVE, (Side.BUY, Side.BUY, Side.SELL)[round_ % 3])
        fills = (fill(number + 1, "0.0002", f"{61000 + round_ * 10}.5", "0.0001", "BNB", "0.06"),
                 fill(number + 2, "0.00031", "60999.25", "0.01", "USDT", "0.01"))  # fmt: skip
        number += 2
        ledger.settle(order, executed(order, fills), NOON)
        for one_fill in fills:
            expected = accounting.fold(expected, order.intent.side, one_fill, "BTC", "USDT")
        if round_ == 3:
            with ledger.transaction() as tx:
                ledger.log_event(tx, "DEPOSIT", {"amount": "-12.5", "reason": "taken out"}, NOON)
            expected = accounting.deposit(expected, Decimal("-12.5"))
        assert anew(ledger).book("BTC", "USDT") == expected
        if round_ in (1, 4):
            take(ledger, snapshot(NOON, expected, "61000"))
            assert anew(ledger).book("BTC", "USDT") == expected
    assert anew(ledger).fold_since(Book(), 0, "BTC", "USDT") == expected


def test_a_ledger_without_fills_has_its_deposit_in_cash(ledger: Ledger) -> None:
    assert anew(ledger).book("BTC", "USDT") == Book(Decimal(1000), Decimal(1000))


def test_every_snapshot_of_a_grown_ledger_is_the_fold_of_what_came_before_it(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    with reading(path) as ledger:
        last = ledger.last_snapshot()
        assert last is not None
        assert ledger.book("BTC", "USDT") == ledger.fold_since(Book(), 0, "BTC", "USDT") == last.book
        assert last.book.base > 0


# What happened lately.


def test_orders_are_counted_by_the_utc_day_up_to_the_moment(ledger: Ledger) -> None:
    for number, at in enumerate((MIDNIGHT - 1, MIDNIGHT, NOON, MIDNIGHT + DAY_MS - 1, MIDNIGHT + DAY_MS)):
        reserved(ledger, f"t1-{number}", at)
    counts = {at: anew(ledger).history(at).orders_today for at in (MIDNIGHT - 1, MIDNIGHT, NOON - 1, NOON)}
    assert counts == {MIDNIGHT - 1: 1, MIDNIGHT: 1, NOON - 1: 1, NOON: 2}
    assert anew(ledger).history(MIDNIGHT + DAY_MS - 1).orders_today == 3
    assert anew(ledger).history(MIDNIGHT + DAY_MS).orders_today == 1
    assert anew(ledger).history(MIDNIGHT + 3 * DAY_MS).orders_today == 0
    assert anew(ledger).history(NOON).last_order_at == MIDNIGHT + DAY_MS


def test_a_rejected_order_counts_as_an_order(ledger: Ledger) -> None:
    order = reserved(ledger)
    ledger.settle(order, Outcome(OrderState.REJECTED, None, {"code": "-2010"}), NOON)
    assert ledger.history(NOON).orders_today == 1


def test_the_days_equity_is_the_last_of_the_day_before_or_else_the_first_there_is(ledger: Ledger) -> None:
    assert ledger.history(NOON).day_equity is None
    assert ledger.history(NOON).peak_equity is None
    for at, quote, peak in ((NOON, 900, "1000"), (NOON + FIVE, 800, "1000"), (MIDNIGHT + DAY_MS, 700, "1010")):
        take(ledger, snapshot(at, Book(Decimal(1000), Decimal(quote)), "1", peak))
    assert anew(ledger).history(NOON + 2 * FIVE).day_equity == 900
    assert anew(ledger).history(NOON + DAY_MS).day_equity == 800
    assert anew(ledger).history(NOON + 2 * DAY_MS).day_equity == 700
    assert anew(ledger).history(NOON).peak_equity == 1010


def test_the_position_belongs_to_the_policy_of_the_newest_purchase_with_its_parameters(ledger: Ledger) -> None:
    assert ledger.owner() is None
    order = reserved(ledger, "t1-a")
    assert ledger.owner() is None
    ledger.settle(order, executed(order), NOON)
    assert anew(ledger).owner() == Owner("ma_trend", {"fast": 9, "slow": 34})
    sale = reserved(ledger, "t1-b", side=Side.SELL, said=replace(BUY, action="SELL", policy_id="cash"))
    ledger.settle(sale, executed(sale, (fill(9, "0.00051", "61000"),)), NOON)
    assert anew(ledger).owner() == Owner("ma_trend", {"fast": 9, "slow": 34})


def test_a_policy_that_its_plan_does_not_name_has_no_parameters(ledger: Ledger) -> None:
    order = reserved(ledger, said=replace(BUY, policy_id="breakout"))
    ledger.settle(order, executed(order), NOON)
    assert anew(ledger).owner() == Owner("breakout", {})


def test_market_time_is_the_newest_traces_wake_up_once_it_has_its_snapshot_and_before_that_its_own(
    ledger: Ledger,
) -> None:
    assert ledger.market_time(NOON - 7) == NOON - 7
    lineage(ledger, "t1", NOON)
    assert anew(ledger).market_time(0) == NOON
    take(ledger, snapshot(NOON, Book(), "1", trace_id="t1"))
    assert anew(ledger).market_time(0) == NOON + FIVE
    lineage(ledger, "t2", NOON + FIVE)
    assert anew(ledger).market_time(0) == NOON + FIVE
    take(ledger, snapshot(NOON, Book(), "1", trace_id=None))
    assert anew(ledger).market_time(0) == NOON + FIVE
    take(ledger, snapshot(NOON, Book(), "1", trace_id="t2"))
    assert anew(ledger).market_time(0) == NOON + 2 * FIVE


# A whole run.


def test_what_a_cycle_returns_is_what_the_ledger_keeps(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    done = grow(path, 6)
    assert any(each.execution.order for each in done)
    with reading(path) as ledger:
        for each in done:
            for agent, decision in (
                (Agent.PLANNER, each.plan),
                (Agent.TRADER, each.proposal),
                (Agent.JUDGE, each.verdict),
            ):
                assert ledger.decision_of(each.trace_id, agent) == replace(decision, cost_usd=Decimal(0))
            assert ledger.order_of_trace(each.trace_id) == each.execution.order
            assert ledger.has_snapshot(each.trace_id)
        assert ledger.last_snapshot() == done[-1].snapshot


def test_a_run_stores_each_bar_once_and_every_observation_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    kept = []
    with scripted_desk(path) as desk:
        for _ in range(3):
            with desk.ledger.writing():
                done = cycle(desk)
            kept.append(desk.ledger.observation(done.plan.observation_id or 0, FIVE))
    assert one(path, "SELECT count(*), max(revision) FROM candles") == (
        len({c for o in kept for c in o.window.candles}),
        0,
    )
    with reading(path) as ledger:
        for observation in kept:
            assert ledger.observation(observation.id or 0, FIVE) == observation
            (sha,) = one(path, "SELECT candles_sha256 FROM observations WHERE id = ?", observation.id)
            lines = [",".join([str(c.opened_at), *(f"{dec(f'{n:f}').normalize():f}" for n in c[1:])]) for c in
                     observation.window.candles]  # fmt: skip
            assert sha == sha256("\n".join(lines).encode()).hexdigest()
