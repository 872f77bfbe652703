"""`gate test`: every rule fires with any settings, and one that does not is found, exactly that one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.commands.test_schemas import kept
from tests.core.test_limits import EXEMPT, NAMES
from tests.test_hostile import Say, say
from trader_cli.config import Settings
from trader_cli.core import probes
from trader_cli.core.limits import LAW, Case, Law
from trader_cli.phases.desk import Desk
from trader_cli.phases.execute import submit
from trader_cli.phases.gate import SUBMISSION, gate
from trader_cli.schemas.decision import Ruling
from trader_cli.schemas.gate import Trial
from trader_cli.schemas.order import Intent, Outcome
from trader_cli.tools.exchanges.paper_rules import costs, rules
from trader_cli.tools.trade import place_market_order
from trader_cli.wiring import limits

__all__ = ["say"]

D = Decimal


def tried(law: Law = LAW, send: Callable[[Desk, Intent], Outcome] = submit, **changes: Any) -> list[Trial]:
    """What the gate says of a law under these settings."""
    chosen = Settings(**changes)
    market = rules(chosen.symbol, chosen.paper_fee_pct)
    return gate(limits(chosen, 300_000), market, costs(chosen.paper_fee_pct, chosen.paper_slippage_bps), law, send)


def wrong(tested: list[Trial]) -> set[tuple[str, str]]:
    """The rules that do not work, with how."""
    return {(one.rule, one.result) for one in tested if not one.ok}


# Each rule is alive.


def test_every_rule_and_every_exemption_has_a_probe_and_works_by_default() -> None:
    tested = tried()
    assert wrong(tested) == set()
    assert {one.rule for one in tested if one.kind == "edge"} == {*NAMES, SUBMISSION}
    assert {one.rule for one in tested if one.kind == "exempt"} == EXEMPT | {"state", probes.EVERYTHING, SUBMISSION}
    assert {one.rule for one in tested if not one.in_force} == {
        "provenance", "cooldown", "daily_loss", "deposit_cap", "order_cap"
    }  # fmt: skip


CHOICES: dict[str, list[Any]] = {
    "symbol": ["BTC/USDT", "PEPE/USDT"],
    "mode": ["paper", "testnet", "real"],
    "paper_fee_pct": [D(0), D("0.075"), D(10)],
    "paper_slippage_bps": [D(0), D(33), D(10_000)],
    "deposit_cap_usdt": [D("1e-8"), D(5), D(10) ** 12],
    "cap_in_all_modes": [True, False],
    "max_order_usdt": [None, D("0.001"), D(77)],
    "max_orders_per_day": [0, 1, 100_000],
    "max_orders_per_hour": [0, 1, 100_000],
    "max_losing_streak": [1, 2, 1000],
    "max_rejected_streak": [1, 7],
    "streak_cooldown_secs": [0, 1, 604_800],
    "cooldown_secs": [0, 1, 604_800],
    "daily_loss_limit_usdt": [None, D("1e-8"), D(10) ** 12],
    "max_drawdown_pct": [D("0.01"), D(100)],
    "max_price_drift_pct": [D(0), D("0.5"), D(100)],
    "min_confidence": [0.0, 0.001, 1.0],
    "verdict_max_age_secs": [1, 86_400],
}
"""Settings at and beyond what anyone would choose."""


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries({name: st.sampled_from(values) for name, values in CHOICES.items()}))
def test_every_rule_works_whatever_the_settings(chosen: dict[str, Any]) -> None:
    assert wrong(tried(**chosen)) == set()


# The test of the test: a rule that lets everything through.


def lets_all_through(name: str) -> Callable[[Case], Ruling]:
    return lambda case: Ruling(name, True, "anything", "-", case.asked, case.asked)


@pytest.mark.parametrize("place", range(len(LAW.rules)), ids=NAMES[:-1])
@pytest.mark.parametrize("capped", [True, False])
def test_a_rule_that_lets_everything_through_is_found_and_no_other(place: int, capped: bool) -> None:
    name = NAMES[place]
    dead = (*LAW.rules[:place], lets_all_through(name), *LAW.rules[place + 1 :])
    assert wrong(tried(replace(LAW, rules=dead), cap_in_all_modes=capped)) == {(name, "DEAD")}


def test_a_minimum_that_lets_everything_through_is_found_and_no_other() -> None:
    law = replace(LAW, minimum=lambda case, qty: Ruling("minimum", True, "anything", "-", qty, qty))
    assert wrong(tried(law)) == {("minimum", "DEAD")}


@pytest.mark.parametrize("place", range(len(LAW.rules)), ids=NAMES[:-1])
def test_a_rule_that_lets_nothing_through_is_found(place: int) -> None:
    name = NAMES[place]

    def shut(case: Case) -> Ruling:
        return Ruling(name, False, "nothing", "-", case.asked, case.asked - case.asked)

    shut_law = replace(LAW, rules=(*LAW.rules[:place], shut, *LAW.rules[place + 1 :]))
    assert (name, "DEAD") in wrong(tried(shut_law))


@pytest.mark.parametrize("name", sorted(EXEMPT))
def test_a_rule_that_binds_a_sale_it_must_let_go_is_found(name: str) -> None:
    place = NAMES.index(name)

    def binds(case: Case) -> Ruling:
        buying = replace(case, proposal=replace(case.proposal, action="BUY"))
        return LAW.rules[place](buying)

    law = replace(LAW, rules=(*LAW.rules[:place], binds, *LAW.rules[place + 1 :]))
    assert wrong(tried(law)) == {(name, "TRAPPED"), (probes.EVERYTHING, "TRAPPED")}


def test_a_new_rule_without_a_probe_and_a_rule_that_was_dropped_are_dead() -> None:
    assert wrong(tried(replace(LAW, rules=(*LAW.rules, lets_all_through("full_moon"))))) == {("full_moon", "DEAD")}
    gone = tuple(rule for place, rule in enumerate(LAW.rules) if NAMES[place] != "drift")
    assert wrong(tried(replace(LAW, rules=gone))) == {("drift", "DEAD")}


def test_a_submission_that_does_not_look_again_or_traps_an_operator_is_found() -> None:
    def blind(desk: Desk, intent: Intent) -> Outcome:
        return place_market_order(desk.exchange, intent)

    def stubborn(desk: Desk, intent: Intent) -> Outcome:
        return submit(desk, replace(intent, origin="verdict"))

    assert wrong(tried(send=blind)) == {(SUBMISSION, "DEAD")}
    assert wrong(tried(send=stubborn)) == {(SUBMISSION, "TRAPPED")}


# The command.


def test_it_prints_a_row_for_each_probe_and_touches_no_ledger(say: Say, tmp_path: Path) -> None:
    said = say("gate", "test", "--db", "nowhere/x.db")
    assert (said.code, said.stderr) == (0, "")
    lines = said.stdout.splitlines()
    assert lines[0].split("\t") == ["rule", "limit", "inside", "beyond", "result"]
    assert "orders_per_hour\tat most 10\t9 in the last hour\t10 in the last hour\tFIRES" in lines
    assert "deposit_cap\tnot for a SELL\tSELL\t\tFREE" in lines
    assert "cooldown\t60 s after an order\t60 s\t59 s\tFIRES, not in force" in lines
    assert not (tmp_path / "nowhere").exists()


def test_its_document_keeps_its_schema(say: Say) -> None:
    said = say("gate", "test", "--json")
    assert (said.code, kept(said.stdout)) == (0, {"trader.gate/1"})
    document = json.loads(said.stdout)
    assert (document["ok"], document["market"]["symbol"]) == (True, "BTC/USDT")


def test_settings_that_cannot_be_read_are_refused_before_any_probe(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_ORDERS_PER_HOUR", "many")
    said = say("gate", "test")
    assert (said.code, said.stdout) == (3, "")
