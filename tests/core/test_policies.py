"""Policies: when each buys, when it sells, how it leaves a losing trade, and what it says of it."""

from __future__ import annotations

import math
import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader_cli.core.policies import POLICIES, Signal, signal, signals, within_bounds
from trader_cli.schemas.market import Candle, Window
from trader_cli.schemas.planner import Strategy
from trader_cli.schemas.policy import BY_ID

BAR_MS = 300_000


def bars(closes: list[float], wick: float = 0.05) -> tuple[Candle, ...]:
    """Candles that close as given; each reaches `wick` beyond its open and close."""
    candles = []
    for i, close in enumerate(closes):
        opened = closes[max(i - 1, 0)]
        high, low = max(opened, close) + wick, min(opened, close) - wick
        prices = [Decimal(f"{price:.8f}") for price in (opened, high, low, close)]
        candles.append(Candle._make([i * BAR_MS, *prices, Decimal(1)]))
    return tuple(candles)


def wave(n: int = 100, low: float = 99.0, high: float = 101.0) -> list[float]:
    """A market that goes nowhere, slowly up and down."""
    middle, reach = (low + high) / 2, (high - low) / 2
    return [middle + reach * math.sin(i / 4) for i in range(n)]


def walk(n: int, seed: int) -> list[float]:
    chance = random.Random(seed)
    price, closes = 100.0, []
    for _ in range(n):
        price *= math.exp(chance.gauss(0, 0.004))
        closes.append(price)
    return closes


def spoken(policy_id: str, closes: list[float], held: bool, **params: int) -> Signal:
    return signal(policy_id, {**BY_ID[policy_id].defaults(), **params}, bars(closes), held)


def test_the_catalogue_and_the_policies_are_the_same() -> None:
    assert set(POLICIES) == set(BY_ID)


def test_rsi_reversion_buys_weakness_above_the_floor() -> None:
    closes = wave()
    closes[70] = 96.0  # a low that holds
    closes += [closes[-1] - 0.4 * i for i in range(1, 6)]
    said = spoken("rsi_reversion", closes, held=False)
    assert said.action == "BUY"
    assert said.reason.startswith("RSI ")
    assert said.reason.endswith(" below 30")


def test_rsi_reversion_does_not_buy_what_falls_through_the_floor() -> None:
    closes = [*wave(), 98.0, 97.0, 96.0]
    said = spoken("rsi_reversion", closes, held=False)
    assert said.action == "NONE"
    assert said.reason.startswith("falls on: RSI ")


def test_rsi_reversion_sells_strength() -> None:
    closes = [*wave(), 101.5, 102.0, 102.5]
    said = spoken("rsi_reversion", closes, held=True)
    assert said.action == "SELL"
    assert said.reason.endswith(" above 60")
    assert spoken("rsi_reversion", closes, held=False).action == "NONE"


def test_rsi_reversion_gives_up_a_losing_trade_below_the_floor() -> None:
    closes = [*wave(), 98.5, 98.0, 97.5]
    said = spoken("rsi_reversion", closes, held=True)
    assert said.action == "SELL"
    assert said.reason.startswith("gives up: RSI ")
    assert "97.5 below the floor 98.9" in said.reason


def test_a_steady_decline_is_given_up_though_the_rsi_never_rises() -> None:
    chance = random.Random(1)
    closes = wave(60)
    actions = []
    for _ in range(60):
        closes.append(closes[-1] - 0.08 + chance.gauss(0, 0.05))
        actions.append(spoken("rsi_reversion", closes, held=True, high=90).action)
    assert "SELL" in actions


def test_ma_trend_buys_when_the_fast_mean_is_clearly_above_the_slow_one() -> None:
    rising = [*wave(), *[101.0 + 0.4 * i for i in range(15)]]
    said = spoken("ma_trend", rising, held=False)
    assert said.action == "BUY"
    assert "gap +" in said.reason
    assert spoken("ma_trend", rising, held=True).action == "NONE"


def test_ma_trend_sells_at_a_loss_when_the_means_cross() -> None:
    turned = [*wave(), *[101.0 + 0.4 * i for i in range(15)], *[105.0 - 1.0 * i for i in range(15)]]
    said = spoken("ma_trend", turned, held=True)
    assert said.action == "SELL"
    assert "gap -" in said.reason
    assert spoken("ma_trend", turned, held=False).action == "NONE"


@pytest.mark.parametrize("bars_seen", [120, 121], ids=["a little above", "a little below"])
def test_ma_trend_does_nothing_while_the_means_are_near_each_other(bars_seen: int) -> None:
    closes = [100.0 + (0.5 if i % 2 else -0.5) for i in range(bars_seen)]
    for held in (True, False):
        said = spoken("ma_trend", closes, held=held)
        assert said.action == "NONE"
        assert "waits for" in said.reason


def test_breakout_buys_above_the_channel_without_the_current_bar() -> None:
    closes = [*wave(), 101.4]
    said = spoken("breakout", closes, held=False)
    assert said.action == "BUY"
    assert said.reason.startswith("close 101.4 above the 24-bar high 101.0")
    assert spoken("breakout", [*wave(), 101.0], held=False).action == "NONE"


def test_breakout_sells_below_the_shorter_channel() -> None:
    closes = [*wave(), 98.5]
    said = spoken("breakout", closes, held=True)
    assert said.action == "SELL"
    assert "below the 12-bar low" in said.reason
    assert spoken("breakout", closes, held=False).action == "NONE"


def test_cash_sells_what_is_held_and_needs_no_bars_for_it() -> None:
    assert spoken("cash", [], held=True).action == "SELL"
    assert spoken("cash", [], held=False).action == "NONE"


@pytest.mark.parametrize("policy_id", ["rsi_reversion", "ma_trend", "breakout"])
@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("closes", [[], [100.0], wave(48), [100.0] * 200], ids=["none", "one", "few", "flat"])
def test_too_few_bars_or_a_flat_market_say_nothing(policy_id: str, held: bool, closes: list[float]) -> None:
    said = spoken(policy_id, closes, held)
    assert said.action == "NONE"
    assert said.strength == 0
    assert "bars that move, has" in said.reason


@pytest.mark.parametrize("held", [True, False])
def test_an_unknown_policy_is_an_error(held: bool) -> None:
    with pytest.raises(ValueError, match=r"needs a policy of the catalogue .*'moon'"):
        signal("moon", {}, bars(wave()), held)


def test_strength_grows_with_the_distance_and_stops_at_one() -> None:
    strengths = [spoken("breakout", [*wave(), 101.1 + step / 20], held=False).strength for step in range(60)]
    assert strengths == sorted(strengths)
    assert strengths[0] < 0.2
    assert strengths[-1] == 1.0


def test_parameters_that_are_missing_or_senseless_become_usable() -> None:
    assert within_bounds("rsi_reversion", {}) == {"low": 30, "high": 60}
    assert within_bounds("rsi_reversion", {"low": 99, "high": -1, "more": 1}) == {"low": 45, "high": 50}
    assert within_bounds("ma_trend", {"fast": math.nan, "slow": "90"}) == {"fast": 9, "slow": 34}
    assert within_bounds("breakout", {"entry": True, "exit": 11.6}) == {"entry": 24, "exit": 12}
    assert within_bounds("cash", {"x": 1}) == {}


def test_a_plan_is_spoken_for_in_its_order() -> None:
    plan = [Strategy("breakout", {"entry": 30, "exit": 10}), Strategy("cash", {}), Strategy("ma_trend", {})]
    candles = bars(walk(200, 4))
    window = Window("simulated:1", 300_000, candles, (), candles[-1].close, 0)
    said = signals(plan, window, held=True)
    assert said == tuple(signal(strategy.policy_id, strategy.params, candles, True) for strategy in plan)
    assert [one.params for one in said] == [{"entry": 30, "exit": 10}, {}, {"fast": 9, "slow": 34}]


@given(
    st.sampled_from(sorted(BY_ID)),
    st.dictionaries(st.sampled_from(["low", "high", "fast", "slow", "entry", "exit"]), st.floats() | st.integers()),
    st.integers(0, 500),
    st.integers(0, 200),
    st.booleans(),
)
@settings(deadline=None, max_examples=200)
def test_a_signal_is_pure_bounded_and_never_of_the_wrong_side(
    policy_id: str, params: dict[str, float], seed: int, n: int, held: bool
) -> None:
    candles = bars(walk(n, seed))
    said = signal(policy_id, params, candles, held)
    assert said == signal(policy_id, params, candles, held)
    assert said.action in ("NONE", "SELL" if held else "BUY")
    assert 0.0 <= said.strength <= 1.0
    assert said.reason.isascii()
    assert 0 < len(said.reason) <= 100


@pytest.mark.parametrize("policy_id", ["rsi_reversion", "ma_trend", "breakout"])
def test_no_policy_buys_and_sells_on_the_same_bar(policy_id: str) -> None:
    for seed in range(150):
        closes = walk(150, seed)
        both = {spoken(policy_id, closes, held=False).action, spoken(policy_id, closes, held=True).action}
        assert both != {"BUY", "SELL"}


@pytest.mark.parametrize("policy_id", ["rsi_reversion", "ma_trend", "breakout"])
def test_every_policy_leaves_a_market_that_collapses(policy_id: str) -> None:
    closes = [*wave(), *[100.0 * 0.99**i for i in range(1, 25)]]
    actions = [spoken(policy_id, closes[:end], held=True).action for end in range(101, len(closes) + 1)]
    assert "SELL" in actions
