"""The purse: nothing is asked that the budget of a day or of a run does not hold, and every doubt counts as spent."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.desks import Scene, desk
from tests.fakes import NOW, FakeClock
from trader_cli.config import Settings
from trader_cli.core.moments import DAY_MS, day_start
from trader_cli.core.pricing import most_input_tokens, worst_case
from trader_cli.schemas.question import Agent, Answer, Question, Usage
from trader_cli.tools.models.purse import Held, OverBudgetError, Purse, Tariff
from trader_cli.tools.models.table import TABLE, dearest
from trader_cli.wiring import tariff

D = Decimal
ASKED = Question(Agent.TRADER, "t1", "", {}, "proposal", {}, 4_000, at=NOW)
GPT_5 = Tariff(TABLE["gpt-5"].price, known=True)
STRANGE = Tariff(dearest(), known=False)
FREE = Tariff(None, known=False)
BYTES = 4_000
WORST = D("0.0425")
"""gpt-5 at 1.25 and 10 USD per million: 2,000 tokens read, 4,000 written."""
READ = Usage(1_000, 200, 100, 64)
COST = D("0.002025")


def hold(purse: Purse, tariff: Tariff = GPT_5, question: Question = ASKED) -> Held:
    return purse.hold_back(question, "gpt-5", tariff, BYTES)


def settle(scene: Scene, purse: Purse, held: Held, usage: Usage = READ, billed: bool | None = None) -> Usage:
    """Settle a call, and write its answer down as a phase does."""
    settled = purse.settle(held, GPT_5, usage, billed)
    answer = Answer("gpt-5", "ok", "{}", settled, request={}, reserve_id=held.reserve_id)
    with scene.ledger.transaction() as tx:
        scene.ledger.log_call(tx, ASKED, answer, NOW)
    return settled


def refusal(purse: Purse, tariff: Tariff = GPT_5) -> str:
    with pytest.raises(OverBudgetError) as found:
        hold(purse, tariff)
    return str(found.value)


# The day.


def test_the_worst_is_in_the_ledger_before_a_call_and_the_cost_after_it() -> None:
    scene = desk()
    purse = Purse(scene.ledger, D(1))
    held = hold(purse)
    assert (held.amount, scene.ledger.spent_on(NOW)) == (WORST, WORST)
    assert scene.one("SELECT amount_usd FROM model_reserves WHERE id = ?", held.reserve_id) == "0.0425"
    settled = settle(scene, purse, held)
    assert (settled.cost_usd, settled.cost_basis, scene.ledger.spent_on(NOW)) == (COST, "usage", COST)
    assert settled.price == {"input": "1.25", "cached": "0.125", "output": "10"}
    assert replace(settled, cost_usd=D(0), cost_basis=None, price=None) == READ


def test_a_budget_is_kept_to_the_last_billionth_and_a_refusal_writes_nothing() -> None:
    scene = desk()
    hold(Purse(scene.ledger, WORST))
    before = scene.rows("model_reserves")
    said = refusal(Purse(scene.ledger, WORST * 2 - D("1e-9")))
    assert said == (
        "MODEL_BUDGET_USD_PER_DAY is 0.084999999 USD: 0.0425 spent or held back, this answer may cost 0.0425"
    )
    assert scene.rows("model_reserves") == before
    hold(Purse(scene.ledger, WORST * 2))


def test_a_call_in_which_the_process_died_counts_at_its_worst_in_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with desk(path) as scene:
        hold(Purse(scene.ledger, D("0.08")))
    with desk(path) as scene:
        assert "0.0425 spent or held back" in refusal(Purse(scene.ledger, D("0.08")))


def test_a_new_day_on_the_wall_is_a_new_budget_whatever_the_markets_time_is() -> None:
    clock = FakeClock()
    scene = desk(clock=clock)
    purse = Purse(scene.ledger, WORST)
    clock.wall_at = day_start(NOW) + DAY_MS - 1
    hold(purse)
    clock.at += 3 * DAY_MS
    assert refusal(purse)
    clock.wall_at += 1
    hold(purse, question=replace(ASKED, at=NOW))
    assert refusal(purse)


@pytest.mark.parametrize("known", [True, False])
def test_a_budget_of_nothing_lets_no_call_through_that_could_cost_something(known: bool) -> None:
    scene = desk()
    assert refusal(Purse(scene.ledger, D(0)), replace(GPT_5, known=known)).startswith("MODEL_BUDGET_USD_PER_DAY is 0 ")
    assert hold(Purse(scene.ledger, D(0)), FREE).amount == 0


# The run.


def test_a_run_has_its_own_limit_and_what_was_not_used_comes_back_to_it() -> None:
    scene = desk()
    purse = Purse(scene.ledger, D(1), per_run=D("0.05"))
    settle(scene, purse, hold(purse))
    second = hold(purse)
    assert refusal(purse) == "--max-cost is 0.05 USD: 0.044525 spent or held back, this answer may cost 0.0425"
    settle(scene, purse, second, billed=False)
    hold(purse)
    hold(Purse(scene.ledger, D(1), per_run=D("0.05")))


def test_the_stricter_of_the_two_decides() -> None:
    scene = desk()
    assert "--max-cost" in refusal(Purse(scene.ledger, D(1), per_run=D("0.04")))
    assert "MODEL_BUDGET" in refusal(Purse(scene.ledger, D("0.04"), per_run=D(1)))


# What a call cost.


@pytest.mark.parametrize(
    ("usage", "billed", "cost", "basis"),
    [
        (READ, None, COST, "usage"),
        (READ, False, D(0), "not billed"),
        (Usage(), None, WORST, "worst case"),
        (Usage(), False, D(0), "not billed"),
        (Usage(input_tokens=10), None, WORST, "worst case"),
        (Usage(output_tokens=10), None, WORST, "worst case"),
        (Usage(-1, 0, 5), None, WORST, "worst case"),
        (Usage(10, -1, 5), None, WORST, "worst case"),
        (Usage(10**8, 0, 5), None, WORST, "worst case"),
        (Usage(1_000, 10**6, 0), None, D("0.000125"), "usage"),
        (Usage(0, 0, 0), None, D(0), "usage"),
    ],
)
def test_what_a_call_cost_is_what_was_used_or_the_worst_where_nobody_knows(
    usage: Usage, billed: bool | None, cost: Decimal, basis: str
) -> None:
    settled = Purse(desk().ledger, D(1)).settle(Held(1, WORST), GPT_5, usage, billed)
    assert (settled.cost_usd, settled.cost_basis) == (cost, basis)


def test_a_model_without_a_price_is_reckoned_at_the_dearest_and_said_to_be_unpriced() -> None:
    purse = Purse(desk().ledger, D(1))
    held = hold(purse, STRANGE)
    assert held.amount == worst_case(dearest(), most_input_tokens(BYTES), 4_000) == D("0.225")
    settled = purse.settle(held, STRANGE, READ, None)
    assert (settled.cost_usd, settled.cost_basis) == (D("0.0132"), "unpriced")
    assert settled.price == {"input": "10", "cached": "1", "output": "50", "cache_write": "12.5"}
    assert purse.settle(held, STRANGE, READ, False).cost_basis == "not billed"


def test_a_server_of_ones_own_costs_nothing_and_no_price_is_made_up() -> None:
    purse = Purse(desk().ledger, D(0), per_run=D(0))
    for _ in range(3):
        settled = purse.settle(hold(purse, FREE), FREE, READ, None)
        assert (settled.cost_usd, settled.cost_basis, settled.price) == (D(0), "unpriced", None)


@pytest.mark.parametrize(
    ("model", "url", "wanted"),
    [
        ("gpt-5", None, GPT_5),
        ("gpt-5-2025-08-07", None, GPT_5),
        ("gpt-5", "http://127.0.0.1:11434/v1", GPT_5),
        ("gpt-7", None, STRANGE),
        ("qwen3", "http://127.0.0.1:11434/v1", FREE),
    ],
)
def test_a_models_tariff_is_its_price_else_the_dearest_at_openai_and_none_elsewhere(
    model: str, url: str | None, wanted: Tariff
) -> None:
    assert tariff(Settings(openai_base_url=url), model) == wanted


# Whatever comes.

TOKENS = st.none() | st.integers(0, 3_000)
CALLS = st.lists(
    st.tuples(st.booleans(), st.builds(Usage, TOKENS, TOKENS, TOKENS), st.sampled_from([None, None, False])),
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(calls=CALLS, per_day=st.integers(0, 20), per_run=st.none() | st.integers(0, 20))
def test_with_answers_no_longer_than_allowed_neither_limit_is_ever_passed(
    calls: list[tuple[bool, Usage, bool | None]], per_day: int, per_run: int | None
) -> None:
    scene = desk()
    day, run = D(per_day) / 100, None if per_run is None else D(per_run) / 100
    purse = Purse(scene.ledger, day, run)
    for answered, usage, billed in calls:
        try:
            held = hold(purse)
        except OverBudgetError:
            continue
        if answered:
            settle(scene, purse, held, replace(usage, input_tokens=min(usage.input_tokens or 0, 2_000)), billed)
        spent = scene.ledger.spent_on(NOW)
        assert spent <= day
        assert run is None or spent <= run
