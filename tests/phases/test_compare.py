"""Comparing: the same words give the same, other words are told apart, and no book takes what it cannot bear."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.desks import desk
from tests.fakes import proposal_words
from tests.ledgers import FIVE, STRATEGIES, grow, ledger_at, reading, rows, scripted_desk, sha256
from tests.tools.test_migrations import with_steps
from trader_cli.core.agreement import summed
from trader_cli.core.errors import LedgerError
from trader_cli.core.moments import parse_iso
from trader_cli.phases.compare import compare
from trader_cli.phases.desk import Minds
from trader_cli.phases.flatten import flatten
from trader_cli.phases.judge import judge
from trader_cli.phases.plan import plan as planning
from trader_cli.phases.propose import propose
from trader_cli.phases.snapshot import snapshot
from trader_cli.schemas.comparison import Asking, Compared, Comparison, Cut
from trader_cli.schemas.question import OK, Agent, Answer, Question
from trader_cli.schemas.tool import ToolCall
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.models.recorded import RecordedModel

Words = Callable[[Question], Any]


def traces(path: Path) -> list[str]:
    return [trace for (trace,) in rows(path, "SELECT trace_id FROM decisions WHERE agent = 'PLANNER' ORDER BY id")]


class Echo:
    """Says what was said then: only to the very same questions."""

    name = "echo"

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def answer(self, question: Question) -> Answer:
        return RecordedModel(self._ledger, question.trace_id).answer(question)


class Other:
    """Another mind, which says what its functions say; the recorded answer where it has none for an agent.

    An Answer is what comes back as it is; anything else is its words.
    """

    name = "other"

    def __init__(self, ledger: Ledger, words: dict[Agent, Words]) -> None:
        self._echo, self._words = Echo(ledger), words
        self.asked: list[Question] = []

    def answer(self, question: Question) -> Answer:
        self.asked.append(question)
        if question.agent not in self._words:
            return self._echo.answer(question)
        said = self._words[question.agent](question)
        return said if isinstance(said, Answer) else Answer(self.name, OK, json.dumps(said))


def compared(path: Path, words: dict[Agent, Words] | None = None, **more: Any) -> tuple[list[Compared], Comparison]:
    """Every trace of a ledger, and what they come to; the file's bytes stay what they were."""
    before, every = sha256(path), traces(path)
    with reading(path) as ledger:
        mind = Other(ledger, words or {})
        cycles = list(compare(ledger, every, Minds(mind, mind, mind), **more))
    assert sha256(path) == before
    return cycles, summed(cycles, Asking("other", "there", None, len(every)))


def plan(mode: str) -> Words:
    return lambda question: {
        "mode": mode, "explore_ratio": 0.1, "next_wakeup_secs": 300, "strategies": STRATEGIES,
    }  # fmt: skip


def says(action: str, qty: str | None = None, policy: str = "ma_trend", confidence: float = 0.9) -> Words:
    """A trader; without a quantity it takes all the room there is, and far more."""
    most = {"HOLD": "0", "BUY": "999999", "SELL": "999999"}[action]
    return lambda question: {
        "action": action, "qty": qty or most, "policy_id": policy, "hypothesis": "so", "confidence": confidence,
    }  # fmt: skip


def verdict(decision: str, qty: Callable[[Question], str | None] = lambda question: None) -> Words:
    return lambda question: {"decision": decision, "revised_qty": qty(question), "violations": [], "notes": ""}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return ledger_at(tmp_path / "agent.db")


def test_the_recorded_words_again_agree_in_everything(path: Path) -> None:
    cycles, whole = compared(path)
    assert (whole.compared, whole.same, whole.different, whole.changes) == (len(cycles), len(cycles), 0, ())
    assert all(one.same == one.of > 0 for one in whole.agreement)
    assert [one.agent for one in whole.agreement] == [Agent.PLANNER, Agent.TRADER, Agent.TRADER, Agent.JUDGE]
    assert all(one.recorded == one.other for one in cycles if Agent.TRADER in one.asked)
    assert whole.worth is not None
    assert whole.worth.recorded == whole.worth.other
    assert whole.orders[0] == whole.orders[1] > 5
    assert sum(count for _, _, count in whole.unusable) > 0, "a reply that said nothing then says nothing now"


def test_the_rule_comes_near_what_really_came_of_it(path: Path) -> None:
    """The script's orders are large for a bar, and the paper exchange has depth: near is all that it can be."""
    _, whole = compared(path)
    assert whole.worth is not None
    assert whole.worth.ledger is not None
    assert whole.worth.before == Decimal(1_000_000)
    assert abs(whole.worth.recorded - whole.worth.ledger) < Decimal(1_000)


def test_a_mind_that_always_holds_keeps_its_cash(path: Path) -> None:
    cycles, whole = compared(path, {Agent.TRADER: says("HOLD")})
    acted = [one.recorded.action for one in cycles if one.recorded.action != "HOLD"]
    assert whole.changes == tuple(
        sorted(((was, "HOLD", acted.count(was)) for was in set(acted)), key=lambda one: -one[2])
    )
    assert whole.different == len(acted)
    assert whole.worth is not None
    assert whole.worth.other == whole.worth.before
    assert whole.orders[1] == 0


def test_a_mind_that_always_buys_never_passes_the_recorded_room_or_its_own_cash(path: Path) -> None:
    cycles, whole = compared(path, {Agent.TRADER: says("BUY")})
    with reading(path) as ledger:
        mind = Other(ledger, {})
        list(compare(ledger, traces(path), Minds(mind, mind, mind)))
        room = {q.trace_id: Decimal(q.facts["room"]["max_buy"]) for q in mind.asked if q.agent is Agent.TRADER}
    bought = [one for one in cycles if one.other and one.other.ordered]
    assert bought
    spent = Decimal(0)
    for one in bought:
        assert one.other
        assert one.other.ordered <= room[one.trace_id]
        spent += one.other.ordered * (one.other.price or 0)
    assert spent <= Decimal(1_000_000)
    assert whole.worth is not None
    assert whole.worth.other > 0


def test_a_mind_that_buys_each_time_the_recorded_position_is_flat_stays_within_the_deposit_cap(tmp_path: Path) -> None:
    path, cap = tmp_path / "agent.db", Decimal(3_000)
    grow(path, 20, deposit_cap_usdt=cap, cap_in_all_modes=True)
    cycles, _ = compared(path, {Agent.TRADER: says("BUY")})
    orders = [one.other.ordered * (one.other.price or 0) for one in cycles if one.other]
    assert cap * Decimal("0.9") < sum(orders) <= cap


def test_a_mind_that_only_sells_sells_what_its_own_book_holds_and_that_is_nothing(path: Path) -> None:
    cycles, whole = compared(path, {Agent.TRADER: says("SELL")})
    assert whole.orders[1] == 0
    assert {one.other.action for one in cycles if one.other} == {"SELL", "HOLD"}
    assert whole.worth is not None
    assert whole.worth.other == whole.worth.before


@pytest.mark.parametrize(
    "words",
    [says("BUY", policy="cash"), says("BUY", confidence=0.0)],
    ids=["a policy that was not planned", "too little confidence"],
)
def test_the_recorded_law_binds_another_minds_order(words: Words, tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    grow(path, 5, min_confidence=Decimal("0.25"))
    assert compared(path, {Agent.TRADER: says("BUY")})[1].orders[1] > 0
    assert compared(path, {Agent.TRADER: words})[1].orders[1] == 0


@pytest.mark.parametrize("refused", ["a stop", "its own confidence"])
def test_what_the_recorded_law_refused_anybody_is_refused_another_mind_too(refused: str, tmp_path: Path) -> None:
    """Between the trader and its judge somebody stopped trading; or the law disliked that proposal alone."""
    path = tmp_path / "agent.db"
    with desk(path) as scene:
        scene.script(proposal_words(confidence=0.1) if refused == "its own confidence" else None)
        planned = planning(scene.desk, scene.desk.new_trace())
        proposed = propose(scene.desk, planned)
        if refused == "a stop":
            scene.stop.halt("wait")
        assert judge(scene.desk, planned, proposed).payload.decision == "REJECT"
        snapshot(scene.desk)
    (cycle,), _ = compared(path, {Agent.TRADER: says("BUY", "0.001")})
    assert cycle.asked == (Agent.PLANNER, Agent.TRADER)
    assert cycle.other
    assert cycle.other.ordered == (0 if refused == "a stop" else Decimal("0.001"))


def test_a_judge_can_keep_a_buy_back_but_not_a_sell(path: Path) -> None:
    cycles, whole = compared(path, {Agent.JUDGE: verdict("REJECT")})
    judged = [one for one in cycles if Agent.JUDGE in one.asked and one.other]
    for one in judged:
        assert one.other
        assert (one.other.decision == "REJECT") is (one.recorded.action == "BUY")
        if one.other.action == "BUY":
            assert one.other.ordered == 0
    assert {one.recorded.action for one in judged} == {"BUY", "SELL"}
    assert next(one for one in whole.agreement if one.agent is Agent.JUDGE).same < len(judged)
    assert whole.same == whole.compared, "the action is the trader's"


def test_a_judge_that_raises_an_order_keeps_it_back(path: Path) -> None:
    raised = verdict("REVISE", lambda question: "999999")
    cycles, _ = compared(path, {Agent.JUDGE: raised})
    bought = [one.other for one in cycles if one.other and one.other.action == "BUY" and Agent.JUDGE in one.asked]
    assert bought
    assert {one.decision for one in bought} == {"REJECT"}
    assert not any(one.ordered for one in bought)


def test_a_judge_that_lowers_an_order_has_it_lowered(path: Path) -> None:
    small = verdict("REVISE", lambda question: question.facts["law"]["min_qty"])
    cycles, _ = compared(path, {Agent.JUDGE: small})
    bought = [one.other for one in cycles if one.other and one.other.action == "BUY" and Agent.JUDGE in one.asked]
    assert {one.decision for one in bought} == {"REVISE"}
    assert all(0 < one.ordered < one.qty for one in bought if one.price)


def test_words_that_cannot_be_used_are_fallbacks_with_their_cause_and_hold(path: Path) -> None:
    cycles, whole = compared(path, {Agent.PLANNER: plan("TRADE"), Agent.TRADER: lambda question: "no idea"})
    causes = {(agent, cause) for agent, cause, _ in whole.unusable if agent is Agent.TRADER}
    assert len(causes) == 1
    assert "other: wire schema" in next(iter(causes))[1]
    assert {one.other.action for one in cycles if one.other} == {"HOLD"}
    assert whole.orders[1] == 0


def test_its_own_plan_to_observe_holds_whatever_its_trader_says(path: Path) -> None:
    cycles, whole = compared(path, {Agent.PLANNER: plan("OBSERVE"), Agent.TRADER: says("BUY")})
    assert {one.other.action for one in cycles if one.other} == {"HOLD"}
    assert {one.other.proposed for one in cycles if one.other} == {"BUY", None}
    assert (whole.orders[1], whole.not_followed) == (0, 0)


def test_where_it_would_trade_and_nobody_asked_a_trader_is_told(path: Path) -> None:
    cycles, whole = compared(path, {Agent.PLANNER: plan("TRADE")})
    observed = [one for one in cycles if one.recorded.mode == "OBSERVE"]
    assert whole.not_followed == len(observed) > 0
    assert all(one.other and one.other.action == "HOLD" and not one.followed for one in observed)


def test_a_cycle_that_asked_no_model_is_not_asked_now(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    grow(path, 2)
    (tmp_path / "STOP").write_text("a look around", encoding="utf-8")
    grow(path, 3)
    cycles, whole = compared(path)
    assert (whole.compared, whole.not_asked) == (2, (("stopped", 3),))
    assert [one.same for one in cycles] == [True, True, None, None, None]
    assert whole.cut is None


def test_what_a_person_sold_is_sold_on_both_sides(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    grow(path, 2)
    with scripted_desk(path) as desk, desk.ledger.writing():
        flatten(desk, "enough")
    cycles, whole = compared(path)
    assert whole.not_asked == (("a person decided", 1),)
    assert cycles[-1].recorded.action == "SELL"
    assert whole.worth is not None
    assert whole.worth.recorded == whole.worth.other


def test_what_is_put_in_on_the_way_is_put_into_both_books(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    grow(path, 3)
    with scripted_desk(path) as desk, desk.ledger.writing(), desk.ledger.transaction() as tx:
        desk.ledger.log_event(tx, "DEPOSIT", {"amount": "5000", "reason": "more"}, desk.clock.now())
    grow(path, 3)
    _, whole = compared(path, {Agent.TRADER: says("HOLD")})
    assert whole.worth is not None
    assert (whole.worth.before, whole.worth.other) == (Decimal(1_000_000), Decimal(1_005_000))
    assert abs(whole.worth.recorded - (whole.worth.ledger or 0)) < Decimal(1_000)


@pytest.mark.parametrize(
    ("status", "cut"),
    [
        ("over_budget", Cut.CEILING),
        ("unavailable", Cut.UNREACHED),
        ("quota", Cut.UNREACHED),
        ("denied", Cut.MISCONFIGURED),
        ("unknown_model", Cut.MISCONFIGURED),
        ("stopped", Cut.SIGNAL),
    ],
)
def test_where_no_more_can_be_asked_the_rest_is_not_asked(status: str, cut: Cut, path: Path) -> None:
    every = traces(path)

    def until_the_fifth(question: Question) -> Any:
        if question.trace_id == every[4]:
            return Answer("other", status, None, error="no more")
        return plan("TRADE")(question)

    cycles, whole = compared(path, {Agent.PLANNER: until_the_fifth})
    fifth = next(number for number, one in enumerate(cycles) if one.cut)
    assert (fifth, len(cycles)) == (4, 5)
    assert (whole.compared, whole.cut) == (4, cut)
    assert "no more" in str(whole.cut_because)
    assert dict(whole.not_asked) == {cut.value: len(every) - 4}


def test_a_signal_ends_it_between_two_questions(path: Path) -> None:
    seen = []

    def ending() -> str | None:
        seen.append(1)
        return "SIGINT" if len(seen) > 4 else None

    _, whole = compared(path, ending=ending)
    assert (whole.cut, whole.cut_because, len(seen)) == (Cut.SIGNAL, "SIGINT", 5)
    assert 0 < whole.compared < 4


def test_a_model_may_look_up_as_often_as_it_could_then_in_the_window_of_then(path: Path) -> None:
    def looks(question: Question) -> Any:
        if not question.may_call:
            return says("HOLD")(question)
        call = ToolCall(f"call_{len(question.turns)}", "get_ohlcv", '{"timeframe":"5m","limit":1}')
        return Answer("other", OK, None, calls=(call,), items=({"type": "function_call"},))

    with reading(path) as ledger:
        mind = Other(ledger, {Agent.TRADER: looks})
        cycles = list(compare(ledger, traces(path), Minds(mind, mind, mind)))
    offered = [one for one in mind.asked if one.agent is Agent.TRADER and one.tools]
    assert [len(one.turns) for one in offered] == [0, 1] * (len(offered) // 2)
    assert not any(one.unusable and one.unusable[0][0] is Agent.TRADER for one in cycles)
    for one in offered[1::2]:
        ((_, output),) = one.turns[0].outputs
        (bar,) = json.loads(output)["rows"]
        assert (bar[4], parse_iso(bar[0]) + FIVE) == (one.facts["price"], parse_iso(one.facts["now"]))


def test_a_ledger_of_an_older_schema_is_to_be_migrated_first(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    with with_steps(2):
        grow(path, 2)
    with pytest.raises(LedgerError, match="schema"):
        compared(path)
