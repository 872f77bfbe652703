"""`memory show`: beliefs, outcomes and calibration, from the ledger alone."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.desks import desk
from tests.fakes import proposal_words
from tests.ledgers import one, rows, tampering
from tests.test_hostile import Say, say
from trader_cli.core.regimes import FIT_BP, Regime

__all__ = ["say"]

BUYERS = set(FIT_BP[Regime.RANGE])


def document(say: Say, *words: str) -> dict[str, Any]:
    """What --json tells."""
    said = say("memory", "show", *words, "--json")
    assert said.code == 0, said
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def test_each_policy_that_buys_has_its_line_with_outcomes_first(ledger: Path, say: Say) -> None:
    found = document(say)
    policies = found["policies"]
    assert {one["policy_id"] for one in policies} == BUYERS
    assert [one["lots"] > 0 for one in policies] == sorted((one["lots"] > 0 for one in policies), reverse=True)
    (lots,) = one(
        ledger,
        "SELECT count(*) FROM (SELECT 1 FROM memory WHERE key LIKE 'ma_trend/%' "
        "GROUP BY value_json ->> '$.experiment.opened_by' HAVING sum(value_json ->> '$.experiment.share') > 0.99)",
    )
    (trend,) = [one for one in policies if one["policy_id"] == "ma_trend"]
    assert trend["lots"] == lots > 0
    assert trend["low_bp"] < trend["mean_bp"] < trend["high_bp"]
    assert trend["params_tried"]
    assert all(isinstance(value, int) for value in trend["params"].values()), "as the policy takes them"


def test_a_policy_without_outcomes_is_shown_as_a_prior(ledger: Path, say: Say) -> None:
    lines = [line.split("\t") for line in say("memory", "show").stdout.splitlines()]
    header, *body = lines
    prior = next(line for line in body if line[header.index("policy_id")] == "breakout")
    assert prior[header.index("mean_bp")] == "prior"
    assert prior[header.index("lots")] == "0"
    assert prior[header.index("params")].startswith("(")


def test_one_policy_is_told_regime_by_regime_with_its_outcomes(ledger: Path, say: Say) -> None:
    found = document(say, "--policy", "ma_trend")
    policies, outcomes = found["policies"], found["outcomes"]
    assert [one["regime"] for one in policies] == ["range-bound", "trend-up", "trend-down", "turbulent"]
    assert 0 < len(outcomes) <= 10
    assert {one["policy_id"] for one in outcomes} == {"ma_trend"}
    kept = [json.loads(row[0])["experiment"] for row in rows(ledger, "SELECT value_json FROM memory ORDER BY id")]
    for outcome in outcomes:
        parts = [one for one in kept if one["opened_by"] == outcome["opened_by"] and one["share"] > 0]
        assert Decimal(outcome["net"]) == sum(Decimal(one["net"]) for one in parts)
        assert Decimal(outcome["qty"]) == sum(Decimal(one["qty"]) for one in parts)
        assert outcome["share"] == pytest.approx(sum(one["share"] for one in parts), abs=1e-6)
        assert outcome["hypothesis"] == parts[0]["hypothesis"]
    assert any(outcome == one for outcome in outcomes for one in kept), "sold at once: the row itself"


def test_an_open_lot_is_marked_and_not_counted(say: Say, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with desk(tmp_path / "data" / "agent.db") as scene:
        scene.traded()
    found = document(say)
    (held,) = found["held"]
    assert (held["policy_id"], Decimal(held["qty"])) == ("ma_trend", Decimal("0.000999"))
    assert held["gain_bp"] is not None
    assert {one["lots"] for one in found["policies"]} == {0}


def test_a_round_trip_is_one_outcome_and_its_confidence_is_scored(say: Say, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with desk(tmp_path / "data" / "agent.db") as scene:
        scene.traded()
        scene.traded(proposal_words(action="SELL", qty="0.00099"))
    found = document(say)
    calibration = found["calibration"]
    assert (calibration["n"], len(calibration["bins"])) == (1, 1)
    assert found["held"] == []
    (trend,) = [one for one in found["policies"] if one["policy_id"] == "ma_trend"]
    assert (trend["lots"], trend["won"]) == (1, 0)


def test_what_is_no_policy_is_usage_and_no_ledger_is_not_found(say: Say) -> None:
    assert say("memory", "show", "--policy", "cash").code == 2
    assert say("memory", "show").code == 8
    assert say("plan").code == 0
    nothing = document(say)
    assert {one["lots"] for one in nothing["policies"]} == {0}
    assert nothing["outcomes"] == []


def test_lots_of_the_undefined_regime_are_not_lost_from_a_policys_regimes(ledger: Path, say: Say) -> None:
    (whole,) = [one for one in document(say)["policies"] if one["policy_id"] == "ma_trend"]
    with tampering(ledger) as db:
        db.execute(
            "UPDATE memory SET key = 'ma_trend/undefined', "
            "value_json = json_set(value_json, '$.experiment.regime', 'undefined') WHERE key LIKE 'ma_trend/%'"
        )
    found = document(say, "--policy", "ma_trend")["policies"]
    assert [one["lots"] for one in found if one["regime"] == "undefined"] == [whole["lots"]]
    assert sum(one["lots"] for one in found) == whole["lots"]


@pytest.mark.parametrize(
    "forgery",
    [
        "UPDATE memory SET value_json = json_remove(value_json, '$.experiment.cost')",
        "UPDATE memory SET value_json = json_set(value_json, '$.experiment.params', NULL)",
        "UPDATE memory SET value_json = json_set(value_json, '$.experiment.confidence', 7)",
        "UPDATE memory SET value_json = json_set(value_json, '$.experiment.confidence', 'high')",
        "UPDATE decisions SET payload_json = '{}' WHERE agent = 'PLANNER'",
        "UPDATE memory SET value_json = json_set(value_json, '$.experiment.opened_by', json('[]'))",
        "UPDATE memory SET value_json = json_set(value_json, '$.standing.lots', json('[[[],1,2,3]]')) "
        "WHERE value_json ->> '$.standing' IS NOT NULL",
        "UPDATE memory SET value_json = json_set(value_json, '$.experiment.cost', '999999999999999999')",
        "UPDATE memory SET value_json = json_set(value_json, '$.after.n', 1e300)",
        "UPDATE observations SET features_json = '{\"x\":1}'",
        "UPDATE model_calls SET cost_usd = 'abc'",
    ],
)
def test_a_row_that_cannot_be_read_is_the_ledgers_fault_and_not_a_bug(ledger: Path, say: Say, forgery: str) -> None:
    with tampering(ledger) as db:
        db.execute(forgery)
    said = say("memory", "show")
    assert said.code == 6, said
    assert "ledger verify" in said.stderr
    assert said.stdout == ""
