"""Grounding: honest sentences pass, numbers that the facts do not bear out are named, and no text breaks it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_cli.core.grounding import ungrounded

FACTS: dict[str, Any] = {
    "price": "90111.40",
    "now": "2026-11-22T12:00:00.000Z",
    "features": {
        "rsi": 28.1342,
        "ma20": 90080.22,
        "volume_avg": 95.29,
        "volatility": 0.00317,
        "trend": -0.188,
        "drawdown": -0.01867,
        "volume_ratio": 1.2465,
        "volatility_ratio": 0.554,
    },
    "equity": "999.9964",
    "plan": {"strategies": [{"policy_id": "rsi_reversion", "params": {"low": 30, "high": 70}}]},
    "signals": [
        {"policy_id": "ma_trend", "edge_bp": 65.0, "reason": "mean 9 90120.5, mean 34 90001.25, gap +1.42 vol"}
    ],
    "costs": {"fee_pct": "0.1", "spread_bps": 1.0, "slippage_bps": 2.0, "round_trip_bp": 25.0},
    "position": {"base": "0.00004", "unrealized_pct": -0.4521},
}

HONEST = (
    "RSI 28.1 below 30 while price holds the 20-period mean",
    "RSI is 28 and oversold",
    "rsi: 28.13",
    "RSI=28.1342",
    "RSI(14) at 28.1",
    "RSI14 28.1 is low",
    "RSI below 40",
    "RSI 28.1 under the 30 threshold",
    "RSI still below 29",
    "price 90,111 above MA20 90,080",
    "price at 90.1k, mean 20 at 90.08k",
    "price above 90000",
    "Price 90111.4 vs SMA20 90080",
    "volatility 0.32% per bar",
    "volatility 0.00317",
    "volatility of 31.7 bp",
    "drawdown 1.9% from the top",
    "drawdown -1.87%",
    "trend -0.19, no trend",
    "volume ratio 1.25",
    "volume 1.25x average",
    "edge 65 bp beats 25 bp costs",
    "fee 0.1% twice, spread 1 bp",
    "equity 999.99 USDT, tiny size",
    "unrealized -0.45%",
    "down 0.45 %",
    "mean 9 90120.5 above mean 34 90001.25",
    "gap 1.42 vol",
    "hold 0.00004 BTC",
    "close 90111.40 over the 24-bar low",
    "9/21 cross, waits for a breakout",
    "at 12:00 nothing moves",
    "no numbers at all",
    "over the last 3 candles volume fell",
    "20 bars without a new high",
    "5m bars, 2 hours of calm",
    "between 30 and 70: neutral is over",
    "RSI (28) oversold",
    "RSI 14 at 28.1, RSI-14: 28",
    "RSI has dropped to 28.1",
    "RSI reading 28.1 <= 30",
    "SMA (20) 90,080, SMA(20)=90080.22",
    "20 SMA at 90,080 and 20-bar mean 90,080",
    "price ~$90,111",
    "price \u2248 90,111.4",
    "volatility 3.17e-3",
    "trend \u22120.188, flat",
    "drawdown 1.8% cut off",
    "price 90,100 or so, support 90,080",
    "3 signals agree, held 1.5 hours",
    "edge 0.65% covers 0.25%",
    "volume ratio: 1.24\u00d7",
    "reward to risk 2:1",
    "previous close 90,080",
    "RSI 28 signals oversold, RSI 28/100",
    "20 moving average and 20 mean hold",
    "RSI 30/70 bands, trend 9/21 is flat",
    "price at 20 MA, price above 20 mean, 3 closes lower",
    "price 90,111 tests the mean and closes at it",
    "3 tests of the low, 12 trades so far, 2 lows",
    "RSI \uff12\uff18 is low",
    "",
)
DISHONEST = (
    ("RSI 72 above 70", "RSI 72"),
    ("RSI 28.3", "RSI 28.3"),
    ("RSI 29 is low", "RSI 29"),
    ("RSI (35) is low", "35"),
    ("RSI 14 at 31", "31"),
    ("price 90,120.55", "90,120.55"),
    ("price at 89k", "89k"),
    ("trend 0.19, rising", "trend 0.19"),
    ("MA20 at 91k", "91k"),
    ("SMA(20)=90,500", "90,500"),
    ("volatility 3.17e-2", "3.17e-2"),
    ("RSI 28.1 and ADX 33", "33"),
    ("MACD 1.37 cross", "1.37"),
    ("up +0.45% unrealized", "+0.45%"),
    ("RSI is 45, neutral", "RSI is 45"),
    ("RSI(14) at 55", "55"),
    ("RSI above 75 and rising", "75"),
    ("price 91,500 breaks out", "91,500"),
    ("price above 95000", "95000"),
    ("MA20 88,000 below price", "88,000"),
    ("volatility 3.2% per bar", "3.2%"),
    ("drawdown 8% from the top", "8%"),
    ("trend 1.5 strongly up", "1.5"),
    ("volume ratio 2.8", "2.8"),
    ("volume 3.4x average", "3.4x"),
    ("edge 120 bp", "120 bp"),
    ("expects 3.5% by tomorrow", "3.5%"),
    ("funding rate 0.0421", "0.0421"),
    ("support at 87,250", "87,250"),
    ("equity 1500 to risk", "1500"),
    ("win rate 62.5 in such cases", "62.5"),
    ("RSI 72 signals overbought", "RSI 72"),
    ("RSI 72/100", "72"),
    ("RSI 72 moving up", "RSI 72"),
    ("RSI 72 mean-reversion short", "RSI 72"),
    ("price 91,500 tests resistance", "91,500"),
    ("price 95,000 closes above all", "95,000"),
    ("price 95,000 mean reverting", "95,000"),
    ("MA20 88,000 lows hold", "88,000"),
    ("RSI 1e999", "1e999"),
    ("RSI 0e9", "0e9"),
    ("RSI 0k", "0k"),
    ("RSI \uff17\uff12 is high", "72"),
)


@pytest.mark.parametrize("words", HONEST)
def test_what_the_facts_bear_out_is_not_flagged(words: str) -> None:
    assert ungrounded(words, FACTS) == ()


@pytest.mark.parametrize(("words", "said"), DISHONEST)
def test_what_the_facts_do_not_bear_out_is_named(words: str, said: str) -> None:
    claims = ungrounded(words, FACTS)
    assert len(claims) == 1, claims
    number = said.rsplit(maxsplit=1)[-1] if " bp" not in said else said
    assert number in claims[0].said


def test_a_number_behind_a_name_is_held_against_that_fact_though_another_has_it() -> None:
    (claim,) = ungrounded("RSI 70", FACTS)
    assert (claim.said, claim.fact) == ("RSI 70", "RSI 28.1342")


def test_what_was_looked_up_counts_as_a_fact() -> None:
    assert ungrounded("the hour closed at 88750.5", FACTS) != ()
    assert ungrounded("the hour closed at 88750.5", FACTS, ('{"rows":[["t",1,2,3,88750.5]]}',)) == ()


def test_an_indicator_of_a_longer_timeframe_may_be_the_one_that_was_looked_up() -> None:
    looked_up = ('{"timeframe":"1h","bars":16,"rsi":61.22,"ma20":null}',)
    assert ungrounded("1h RSI 61.2, RSI 28.1", FACTS, looked_up) == ()
    (claim,) = ungrounded("1h RSI 55", FACTS, looked_up)
    assert (claim.said, claim.fact) == ("RSI 55", "RSI 28.1342")


def test_a_comparison_that_does_not_hold_is_told_with_the_fact() -> None:
    (claim,) = ungrounded("RSI above 75", FACTS)
    assert (claim.said, claim.fact) == ("75", "RSI 28.1342")


def test_facts_count_however_much_was_looked_up() -> None:
    bars = '{"rows":[' + ",".join(f'["t",{at},{at}.5]' for at in range(100_000, 130_000)) + "]}"
    assert ungrounded("edge 65 bp, equity 999.99", FACTS, (bars,)) == ()


def test_a_lookup_that_is_no_json_is_read_as_text() -> None:
    assert ungrounded("the hour closed at 88750.5", FACTS, ("closed at 88750.5 [" + "[" * 100_000,)) == ()


@pytest.mark.parametrize("lookup", ['{"high":Infinity}', "9" * 400, '{"high":NaN}', '"inf"'])
def test_a_fact_without_bounds_bears_out_nothing(lookup: str) -> None:
    assert len(ungrounded("resistance at 87,250", FACTS, (lookup,))) == 1


def test_a_name_without_a_fact_is_any_number() -> None:
    assert ungrounded("RSI 30", {**FACTS, "features": {"rsi": None}}) == ()
    assert len(ungrounded("RSI 31", {"features": None})) == 1


@given(st.text(max_size=120) | st.text("0123456789.,-+%xkbpRSI (:/)<>=~ above", max_size=120))
def test_no_text_breaks_it(words: str) -> None:
    for claim in ungrounded(words, FACTS):
        assert claim.said


@given(st.floats(0.001, 1e6), st.integers(0, 6))
def test_a_fact_said_at_any_precision_is_grounded(value: float, digits: int) -> None:
    assert ungrounded(f"equity {value:.{digits}f}", {"equity": value}) == ()
