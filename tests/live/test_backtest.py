"""A backtest with a language model: paid within its limit, told beside the profit, warned of where it knows prices."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.live.test_compare import HOLDS
from tests.responses_server import ResponsesServer
from tests.test_hostile import Say, say
from trader_cli.backtests import carry_out, run_of, running, settings_of
from trader_cli.config import settings_from
from trader_cli.core.moments import parse_iso
from trader_cli.tools.markets.simulated import SimulatedMarket

__all__ = ["say"]

WORDS = ("backtest", "--simulated", "7", "--bars", "3", "-o", "runs", "--model", "gpt-5-mini")


@pytest.fixture
def server() -> Iterator[ResponsesServer]:
    """A server whose model holds, whatever is asked."""
    with ResponsesServer(otherwise=HOLDS) as listening:
        yield listening


@pytest.fixture
def online(server: ResponsesServer, say: Say, monkeypatch: pytest.MonkeyPatch) -> Say:
    """`trader` with settings that lead to the server."""
    for name, value in {**server.environment, "AGENTS": "auto", "MODEL_TIMEOUT_SECS": "5"}.items():
        monkeypatch.setenv(name, value)
    return say


def test_a_model_is_asked_and_its_cost_is_told_beside_the_profit(online: Say, server: ResponsesServer) -> None:
    said = online(*WORDS, "--max-cost", "1", "--json")
    assert said.code == 0, said.stderr
    (found,) = json.loads(said.stdout)["ledgers"]
    assert found["cycles"] == 3
    assert len(server.asked()) >= 3
    cost = Decimal(found["moved"]["model_cost_usd"])
    assert 0 < cost < 1
    assert sum(Decimal(one["cost_usd"]) for one in found["models"]) == cost
    assert found["net_return"] == pytest.approx(found["return"] - float(cost) / 1000)
    assert server.invalid == []


@pytest.mark.parametrize(
    ("year", "model", "told"),
    [
        (2021, "gpt-5-mini", "its training ended on 2024-05-31, the bars begin on 2021"),
        (2026, "gpt-6-luna", "its training ended at an unknown date"),
        (2026, "gpt-5-mini", None),
    ],
)
def test_it_warns_where_the_models_training_may_have_seen_the_prices(
    year: int, model: str, told: str | None, online: Say
) -> None:
    first = parse_iso(f"{year}-03-01T00:00:00.000Z")
    rows = [f"{first + 300_000 * number},100,101,99,{100 + number % 2},5" for number in range(203)]
    Path("b.csv").write_text("\n".join(["timestamp_ms,open,high,low,close,volume", *rows]) + "\n", encoding="utf-8")
    said = online("backtest", "--data", "b.csv", "-o", "runs", "--model", model, "--max-cost", "1")
    assert said.code == 0, said.stderr
    assert ("look-ahead: " in said.stderr) is (told is not None)
    assert (told or "") in said.stderr


def test_a_run_that_goes_on_has_spent_what_it_spent_before(
    online: Say, server: ResponsesServer, tmp_path: Path
) -> None:
    del online
    chosen = settings_from("", "", os.environ, {}).settings
    start = SimulatedMarket("BTC/USDT", 300_000, 7, Decimal("0.01")).start(chosen.ohlcv_limit)
    market = settings_from("", "", {}, {"MARKET": "simulated", "SIMULATED_SEED": "7"}).settings
    spent = "0.05"
    for bars, more in ((1, True), (3, False)):
        run = run_of(market, (None, start + bars * 300_000), model="gpt-5-mini", max_cost=spent)
        made, asked = settings_of(run, tmp_path / "run.db", chosen), len(server.requests)
        with running(run, made) as desk:
            carry_out(run, desk)
            spent = str(desk.ledger.spent())
        assert (len(server.requests) > asked) is more


def test_nothing_is_paid_past_the_limit(online: Say, server: ResponsesServer) -> None:
    for _ in range(3):
        said = online(*WORDS, "--max-cost", "0", "--json")
        assert said.code == 0
        assert "--max-cost is used up" in said.stderr
        (found,) = json.loads(said.stdout)["ledgers"]
        assert found["moved"]["model_cost_usd"] == "0"
        assert found["cycles"] == 1, "it waits, and trades no more that nobody thought"
    assert server.requests == []
    said = online(*WORDS, "--max-cost", "1", "--json")
    assert json.loads(said.stdout)["ledgers"][0]["cycles"] == 3
    assert len(server.asked()) >= 2


def test_a_limit_beyond_the_days_budget_is_refused_before_anything_is_asked(
    online: Say, server: ResponsesServer, tmp_path: Path
) -> None:
    said = online(*WORDS, "--max-cost", "5", MODEL_BUDGET_USD_PER_DAY="0.5")
    assert said.code == 2
    assert "MODEL_BUDGET_USD_PER_DAY" in said.stderr
    assert server.requests == []
    assert not (tmp_path / "runs").exists()
