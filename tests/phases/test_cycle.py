"""cycle and loop: all phases on one trace, what a bad day leaves behind, and when a loop sleeps and ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.desks import Scene, desk
from tests.fakes import (
    FIVE,
    NOW,
    FakeClock,
    breaks,
    loses_the_answer,
    plan_words,
    proposal_words,
    report,
    verdict_words,
)
from trader_cli.core.errors import (
    BusyError,
    ConfigError,
    LedgerError,
    MarketEndedError,
    OrderUnknownError,
    RefusedError,
    TraderError,
    UpstreamError,
)
from trader_cli.core.moments import Moment, iso
from trader_cli.phases.cycle import LOCK_WAIT_SECS, RETRY_SECS, cycle, due_at, loop
from trader_cli.phases.judge import case_of
from trader_cli.schemas.cycle import Cycle
from trader_cli.schemas.order import Absent, OrderState
from trader_cli.schemas.question import Agent, Answer
from trader_cli.schemas.situation import TradingState
from trader_cli.tools.lock import FileLock
from trader_cli.tools.store import lock_path

D = Decimal


def lines(scene: Scene) -> list[tuple[str, str]]:
    """Every decision as agent and source."""
    return scene.ledger.db.execute("SELECT agent, source FROM decisions ORDER BY id").fetchall()


# One cycle.


def test_a_cycle_is_plan_proposal_verdict_order_and_snapshot_on_one_trace() -> None:
    scene = desk()
    scene.script()
    came = cycle(scene.desk)
    assert lines(scene) == [("PLANNER", "openai"), ("TRADER", "openai"), ("JUDGE", "openai")]
    assert came.execution.order is not None
    assert came.snapshot is not None
    assert (came.unsettled, came.upstream) == ((), None)
    traces = {came.plan.trace_id, came.proposal.trace_id, came.verdict.trace_id, came.snapshot.trace_id}
    assert traces == {came.trace_id}
    assert scene.ledger.order_of_trace(came.trace_id) == came.execution.order
    assert scene.ledger.has_snapshot(came.trace_id)
    assert scene.model.calls == {"PLANNER": 1, "TRADER": 1, "JUDGE": 1}
    assert scene.problems() == []


def test_every_cycle_is_a_new_trace() -> None:
    scene = desk()
    first, second = scene.traded(), scene.traded()
    assert first.trace_id != second.trace_id
    assert scene.exchange.sends == {"t1-1": 1, "t1-2": 1}


def test_a_cycle_asks_the_exchange_for_no_more_than_it_needs() -> None:
    scene = desk()
    scene.traded()
    assert {what: scene.exchange.calls[what] for what in ("candles", "quote", "submit", "find")} == {
        "candles": 1,
        "quote": 1,
        "submit": 1,
        "find": 0,
    }


def test_buying_and_selling_again_leaves_books_that_verify() -> None:
    scene = desk()
    scene.traded(proposal_words("BUY", "0.002"))
    scene.exchange.price = D(51_000)
    scene.traded(proposal_words("SELL", "1"))
    book = scene.ledger.book("BTC", "USDT")
    assert book.base == D("0.000008")
    assert book.realized > 0
    assert scene.problems() == []


def test_a_model_that_always_buys_stays_within_the_cap_and_the_orders_of_a_day() -> None:
    scene = desk()
    scene.limit(deposit_cap=D(120), max_orders_per_day=4)
    for _ in range(8):
        scene.traded(proposal_words("BUY", "1", confidence=1.0))
        book = scene.ledger.book("BTC", "USDT")
        assert max(book.cost, book.deposits - book.quote) <= D(120)
    assert scene.rows("orders") <= 4
    assert scene.problems() == []


def test_an_operators_stop_makes_a_cycle_that_observes_asks_nobody_and_takes_its_snapshot() -> None:
    scene = desk()
    scene.stop.halt("fire")
    came = cycle(scene.desk)
    assert (came.plan.payload.mode, came.proposal.payload.action) == ("OBSERVE", "HOLD")
    assert (came.verdict.payload.decision, came.execution.order) == ("REJECT", None)
    assert came.snapshot is not None
    assert scene.model.asked == []
    assert lines(scene) == [("PLANNER", "law"), ("TRADER", "law"), ("JUDGE", "law")]
    assert scene.problems() == []


@pytest.mark.parametrize("agent", Agent)
def test_a_stop_is_seen_before_each_model_call(agent: Agent) -> None:
    scene = desk()
    scene.script()
    order = list(Agent)
    scene.stop.when = lambda: (
        TradingState.HALT if len(scene.model.asked) >= order.index(agent) else TradingState.RUN,
        "fire",
    )
    came = cycle(scene.desk)
    assert [question.agent for question in scene.model.asked] == order[: order.index(agent)]
    assert (came.execution.order, scene.exchange.calls["submit"]) == (None, 0)
    assert scene.problems() == []


# Bad days.


@pytest.mark.parametrize("down", [{"candles"}, {"balances"}, {"candles", "quote", "balances", "find"}])
def test_with_the_exchange_down_a_cycle_records_observe_and_asks_no_model(down: set[str]) -> None:
    scene = desk()
    scene.exchange.down = down
    came = cycle(scene.desk)
    assert (came.plan.payload.mode, came.proposal.payload.action, came.execution.order) == ("OBSERVE", "HOLD", None)
    assert came.upstream is not None
    assert "the fake exchange is down" in came.upstream
    assert scene.model.asked == []
    assert lines(scene) == [("PLANNER", "law"), ("TRADER", "law"), ("JUDGE", "law")]
    assert scene.problems() == []


def test_with_the_exchange_wholly_down_a_cycle_records_observe_by_the_rules_it_knows() -> None:
    scene = desk()
    scene.traded()
    scene.model.asked.clear()
    scene.exchange.down = {"all"}
    came = cycle(scene.desk)
    assert (came.plan.payload.mode, came.execution.order) == ("OBSERVE", None)
    assert came.upstream == "connect: the fake exchange is down"
    assert came.snapshot is not None
    assert scene.model.asked == []
    assert scene.problems() == []


def test_an_exchange_that_was_never_reached_is_an_upstream_error() -> None:
    scene = desk()
    scene.exchange.down = {"all"}
    with pytest.raises(UpstreamError):
        cycle(scene.desk)
    assert (scene.model.asked, scene.rows("decisions")) == ([], 0)


def test_with_the_exchange_down_and_an_order_unknown_a_cycle_records_observe_and_keeps_both() -> None:
    scene = desk()
    scene.exchange.manners = [breaks(TimeoutError())]
    scene.exchange.down = {"find"}
    scene.traded()
    scene.model.asked.clear()
    scene.exchange.down = {"find", "candles", "quote", "balances"}
    came = cycle(scene.desk)
    assert came.plan.payload.mode == "OBSERVE"
    assert came.upstream == "find: the fake exchange is down"
    assert [(order.intent.client_order_id, order.state) for order in came.unsettled] == [("t1-1", OrderState.UNKNOWN)]
    assert (scene.model.asked, scene.exchange.sends) == ([], {"t1-1": 1})
    assert scene.problems() == []


def test_the_quote_that_cannot_be_had_before_the_order_ends_no_cycle_and_nothing_is_sent() -> None:
    scene = desk()
    scene.script()
    scene.exchange.down = {"quote"}
    came = cycle(scene.desk)
    assert (came.execution.order, came.execution.reason) == (None, "quote: the fake exchange is down")
    assert came.upstream == "quote: the fake exchange is down"
    assert came.snapshot is not None
    assert (scene.exchange.calls["submit"], scene.rows("orders")) == (0, 0)
    assert scene.problems() == []


@pytest.mark.parametrize("agent", Agent)
def test_whichever_model_cannot_be_reached_the_cycle_says_so_and_sends_nothing(agent: Agent) -> None:
    scene = desk()
    down = Answer("gpt-x", "unavailable", None, error="503")
    said: dict[Agent, str | Answer] = {
        Agent.PLANNER: plan_words(),
        Agent.TRADER: proposal_words(),
        Agent.JUDGE: verdict_words(),
    }
    for one, reply in (said | {agent: down}).items():
        scene.model.will_say(one, reply)
    came = cycle(scene.desk)
    assert came.upstream == "gpt-x unavailable: 503"
    assert (came.execution.order, scene.exchange.calls["submit"]) == (None, 0)
    assert scene.problems() == []


def test_a_lost_answer_blocks_until_it_is_found_and_is_never_repeated() -> None:
    scene = desk()
    scene.exchange.manners = [loses_the_answer(TimeoutError())]
    scene.exchange.found = lambda intent: Absent(final=False, evidence="not visible yet")
    first = scene.traded()
    assert first.execution.order is not None
    assert first.execution.order.state is OrderState.UNKNOWN
    for _ in range(3):
        blocked = cycle(scene.desk)
        assert (blocked.plan.payload.mode, len(blocked.unsettled)) == ("OBSERVE", 1)
    scene.exchange.found = None
    scene.exchange.manners = [lambda exchange, intent: exchange.execute(intent)]
    free = scene.traded()
    assert free.unsettled == ()
    assert scene.exchange.sends == {"t1-1": 1, "t1-2": 1}
    assert scene.rows("trades") == 2
    assert scene.exchange.held.base == scene.ledger.book("BTC", "USDT").base
    assert scene.problems() == []


def test_what_an_unknown_order_may_cost_counts_against_the_cap_until_it_is_settled() -> None:
    scene = desk()
    scene.limit(deposit_cap=D(60))
    judged = scene.judged()
    scene.exchange.manners = [breaks(TimeoutError())]
    scene.exchange.found = lambda intent: Absent(final=False, evidence="not yet")
    scene.traded()
    case = case_of(scene.desk, judged[0], judged[1])
    assert case.situation.reserved == D("50.3127625")
    assert case.situation.open_orders == ("t1-1",)


def test_every_cycle_of_a_long_bad_day_leaves_a_ledger_that_verifies() -> None:
    scene = desk()
    days: list[Callable[[], None]] = [
        lambda: None,
        lambda: scene.exchange.down.add("candles"),
        scene.exchange.down.clear,
        lambda: scene.stop.halt("fire"),
        lambda: setattr(scene.exchange, "rows", ()),
        lambda: setattr(scene.exchange, "rows", None),
    ]
    for day in days:
        day()
        scene.script()
        cycle(scene.desk)
        scene.clock.advance(FIVE)
    assert scene.problems() == []


# The loop.


def walked(
    scene: Scene, cycles: int | None = None, until: Moment | None = None, most: int = 50
) -> list[Cycle | TraderError]:
    """What a loop yields; it must end by itself."""
    came: list[Cycle | TraderError] = []
    for one in loop(scene.desk, cycles, until):
        came.append(one)
        assert len(came) < most
    return came


def test_a_loop_sleeps_from_each_cycle_until_the_plans_wake_up() -> None:
    scene = desk()
    for secs in (300, 60, 3600):
        scene.script(proposal_words("HOLD", "0"), planned=plan_words("TRADE", secs))
    assert len(walked(scene, 3)) == 3
    assert scene.clock.sleeps == [NOW + 300_000, NOW + 360_000]


def test_a_loop_that_starts_anew_first_sleeps_out_what_the_last_plan_asked_for() -> None:
    scene = desk()
    scene.script(proposal_words("HOLD", "0"), planned=plan_words("TRADE", 900))
    cycle(scene.desk)
    scene.clock.advance(60_000)
    scene.script(proposal_words("HOLD", "0"))
    walked(scene, 1)
    assert scene.clock.sleeps == [NOW + 900_000]
    assert due_at(scene.ledger) == NOW + 900_000 + 300_000


def test_a_loop_that_is_late_does_not_wait() -> None:
    scene = desk()
    scene.script(proposal_words("HOLD", "0"), cycles=2)
    cycle(scene.desk)
    scene.clock.advance(10**9)
    before = scene.clock.at
    walked(scene, 1)
    assert scene.clock.at == before


def test_without_a_plan_nothing_is_due() -> None:
    scene = desk()
    assert due_at(scene.ledger) is None


def test_whoever_watches_a_loop_is_told_when_it_will_wake() -> None:
    scene = desk()
    scene.script(proposal_words("HOLD", "0"), cycles=3)
    told: list[Moment] = []
    list(loop(scene.desk, 3, waiting=told.append))
    assert told == scene.clock.sleeps == [NOW + FIVE, NOW + 2 * FIVE]


@pytest.mark.parametrize("cycles", [1, 2, 5])
def test_a_loop_ends_after_so_many_cycles(cycles: int) -> None:
    scene = desk()
    scene.script(proposal_words("HOLD", "0"), cycles=cycles)
    assert len(walked(scene, cycles)) == cycles
    assert scene.rows("portfolio") == cycles


def test_a_loop_ends_at_its_moment_of_market_time() -> None:
    scene = desk()
    scene.script(proposal_words("HOLD", "0"), cycles=9)
    walked(scene, until=NOW + 3 * FIVE)
    assert scene.column("SELECT ts_utc FROM portfolio ORDER BY id") == [iso(NOW + bar * FIVE) for bar in range(3)]


def test_a_loop_whose_moment_passes_in_its_sleep_ends_without_another_cycle() -> None:
    scene = desk()
    scene.script(proposal_words("HOLD", "0"), planned=plan_words("TRADE", 3600), cycles=9)
    assert len(walked(scene, until=NOW + FIVE)) == 1


def test_a_loop_whose_moment_has_passed_does_nothing() -> None:
    scene = desk()
    assert walked(scene, until=NOW) == []


@pytest.mark.parametrize("sleeps", [0, 2])
def test_a_signal_ends_a_loop_in_its_sleep_after_a_whole_cycle(sleeps: int) -> None:
    scene = desk(clock=FakeClock(signal_after=sleeps))
    scene.script(proposal_words("HOLD", "0"), cycles=9)
    assert len(walked(scene)) == sleeps + 1
    assert scene.rows("portfolio") == sleeps + 1


def test_the_end_of_the_market_ends_a_loop_quietly() -> None:
    scene = desk()
    scene.script(proposal_words("HOLD", "0"), cycles=9)

    def end(what: str) -> None:
        if what == "candles" and scene.clock.at > NOW + 2 * FIVE:
            raise MarketEndedError("the market ended")

    scene.exchange.watch = end
    *cycles, last = walked(scene)
    assert len(cycles) == scene.rows("portfolio") == 3
    assert isinstance(last, MarketEndedError)
    assert scene.problems() == []


# What a loop outlives, and what it does not.


def raising(scene: Scene, errors: list[TraderError]) -> None:
    """The next looks at the candles raise these, one after another."""

    def look(what: str) -> None:
        if what == "candles" and errors:
            raise errors.pop(0)

    scene.exchange.watch = look


def test_a_loop_outlives_an_exchange_that_is_down_and_waits_between_its_tries() -> None:
    scene = desk()
    scene.script(proposal_words("HOLD", "0"), cycles=9)
    raising(scene, [UpstreamError("502"), UpstreamError("503")])
    came = walked(scene, 3)
    upstream = [one.upstream for one in came if isinstance(one, Cycle)]
    assert upstream == ["502", "503", None]
    wait = RETRY_SECS * 1000
    assert scene.clock.sleeps == [NOW + wait, NOW + FIVE, NOW + FIVE + wait, NOW + 2 * FIVE]
    assert scene.model.calls["PLANNER"] == 1


@pytest.mark.parametrize("error", [RefusedError("no"), BusyError("locked by a shell")])
def test_a_loop_yields_the_error_that_it_outlives_and_goes_on_after_a_wait(error: TraderError) -> None:
    scene = desk()
    scene.script(cycles=2)
    errors = [error]

    def look(what: str) -> None:
        if what == "quote" and errors:
            raise errors.pop()

    scene.exchange.watch = look
    came = walked(scene, 2)
    assert came[0] is error
    assert isinstance(came[1], Cycle)
    assert came[1].execution.order is not None
    assert scene.clock.sleeps[0] == NOW + RETRY_SECS * 1000
    assert scene.exchange.sends == {"t1-1": 1}


def test_a_signal_ends_a_loop_in_the_wait_after_a_failure() -> None:
    scene = desk(clock=FakeClock(signal_after=0))
    scene.exchange.down = {"candles"}
    assert len(walked(scene)) == 1
    assert len(scene.clock.sleeps) == 1


@pytest.mark.parametrize("error", [LedgerError("disk full"), ConfigError("pinned"), OrderUnknownError("look")])
def test_what_cannot_be_outlived_ends_a_loop(error: TraderError) -> None:
    scene = desk()
    raising(scene, [error])
    with pytest.raises(type(error)):
        walked(scene)


def test_a_loop_goes_on_asking_about_an_unknown_order_and_trades_again_when_it_is_settled() -> None:
    scene = desk()
    scene.exchange.manners = [loses_the_answer(TimeoutError()), lambda exchange, intent: exchange.execute(intent)]
    scene.exchange.found = lambda intent: (
        Absent(final=False, evidence="not yet")
        if len(scene.exchange.asked_about) < 6
        else scene.exchange.truth[intent.client_order_id]
    )
    scene.script(cycles=9)
    came = walked(scene, 4)
    assert [len(one.unsettled) for one in came if isinstance(one, Cycle)] == [0, 1, 1, 0]
    assert scene.exchange.asked_about == ["t1-1"] * 6
    assert scene.exchange.sends == {"t1-1": 1, "t1-2": 1}
    assert scene.problems() == []


def test_an_order_that_needs_a_human_ends_a_loop_with_an_error_that_says_so() -> None:
    scene = desk()
    scene.exchange.manners = [breaks(TimeoutError())]
    scene.exchange.found = lambda intent: report(intent, intent.qty * 2)
    scene.script()
    came: list[object] = []

    def go() -> Iterator[object]:
        yield from loop(scene.desk)

    with pytest.raises(OrderUnknownError, match=r"order t1-1 needs a human: .*executed 0\.002, we sent 0\.001"):
        came.extend(go())
    assert scene.rows("portfolio") == 2
    assert scene.exchange.sends == {"t1-1": 1}
    assert scene.problems() == []


def test_a_signal_ends_a_loop_that_waits_for_another_process_to_let_go_of_the_ledger(tmp_path: Path) -> None:
    began = time.monotonic()
    with desk(tmp_path / "agent.db") as scene:
        scene.unlock()
        scene.stop.ends = "SIGTERM"
        with FileLock(lock_path(tmp_path / "agent.db"), 0.0, "the ledger"):
            assert walked(scene) == []
        assert scene.rows("decisions") == 0
    assert time.monotonic() - began < LOCK_WAIT_SECS


def test_a_loop_holds_the_writer_lock_in_its_cycles_and_not_in_its_sleep(tmp_path: Path) -> None:
    free: list[bool] = []

    def try_lock() -> bool:
        try:
            with FileLock(lock_path(tmp_path / "agent.db"), 0.0, "the ledger"):
                return True
        except BusyError:
            return False

    class Napping(FakeClock):
        def sleep_until(self, moment: Moment) -> bool:
            free.append(try_lock())
            return super().sleep_until(moment)

    with desk(tmp_path / "agent.db", clock=Napping()) as scene:
        scene.unlock()
        scene.exchange.watch = lambda what: free.append(not try_lock()) if what == "candles" else None
        scene.script(proposal_words("HOLD", "0"), cycles=2)
        assert len(walked(scene, 2)) == 2
        assert free == [True, True, True]
