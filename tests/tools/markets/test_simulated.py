"""The simulated market: equal for everybody, endless, and shaped like a real one."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from hashlib import sha256
from itertools import pairwise
from math import log, sqrt
from pathlib import Path
from statistics import correlation, fmean, pstdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader_cli.core.candles import examine
from trader_cli.core.moments import parse_iso, span_ms
from trader_cli.schemas.market import Candle, CandleBatch
from trader_cli.tools.markets.simulated import SimulatedMarket

pytestmark = pytest.mark.untraced

ROOT = Path(__file__).parents[3]
TICK = Decimal("0.01")
FIVE = 300_000
BARS = 20_000
SEEDS = (1, 2, 3, 4, 5)


def market(seed: int = 7, timeframe: str = "5m", symbol: str = "BTC/USDT") -> SimulatedMarket:
    return SimulatedMarket(symbol, span_ms(timeframe), seed, TICK)


def digest(bars: tuple[Candle, ...]) -> str:
    return sha256("\n".join(" ".join(map(str, bar)) for bar in bars).encode()).hexdigest()


def autocorrelation(values: list[float], lag: int) -> float:
    mean = fmean(values)
    off = [value - mean for value in values]
    return sum(a * b for a, b in zip(off, off[lag:], strict=False)) / sum(a * a for a in off)


@pytest.fixture(scope="module", params=SEEDS)
def bars(request: pytest.FixtureRequest) -> tuple[Candle, ...]:
    source = market(request.param)
    return source.closed(BARS, source.start(200) + BARS * FIVE)


@pytest.fixture(scope="module")
def returns(bars: tuple[Candle, ...]) -> list[float]:
    return [log(after.close / before.close) for before, after in pairwise(bars)]


# Equal for everybody.


def test_the_bars_are_these_on_every_python_and_every_platform() -> None:
    source = market()
    assert (
        digest(source.closed(1000, source.start(200)))
        == "83b7afccea6eac7be7dcc1750f6b5070e4db70db5d47281c23dd3043d5d0fef6"
    )
    assert (
        digest(market(7, "1d").closed(1000, source.start(200)))
        == "974d5e38d9dcac1545c13f505a1e3dffbf99dede137a35085377f2642955b1eb"
    )


def test_a_fresh_process_computes_the_same_bars() -> None:
    code = f"""
import runpy
test = runpy.run_path({str(Path(__file__))!r})
source = test["market"](3)
print(test["digest"](source.closed(700, source.start(1))))
"""
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "4711"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    source = market(3)
    assert done.stdout.strip() == digest(source.closed(700, source.start(1)))


def test_asking_backwards_gives_the_same_bars_as_asking_forwards() -> None:
    forwards, backwards, begin = market(), market(), market().start(200)
    moments = [begin + step * 97 * FIVE for step in range(60)]
    ahead = [forwards.closed(200, now) for now in moments]
    back = [backwards.closed(200, now) for now in reversed(moments)]
    assert ahead == back[::-1]


@settings(deadline=None, max_examples=60)
@given(
    now=st.integers(0, 4_000_000_000_000),
    limit=st.integers(0, 700),
    timeframe=st.sampled_from(["1m", "5m", "1h", "1d"]),
)
def test_any_stretch_at_any_time_is_made_of_the_bars_one_gets_one_by_one(now: int, limit: int, timeframe: str) -> None:
    source = market(11, timeframe)
    seen, step = source.closed(limit, now), source.timeframe_ms
    last = now // step * step
    assert [bar.opened_at for bar in seen] == list(range(max(last - limit * step, 0), last, step))
    for bar in seen[:: max(len(seen) // 5, 1)]:
        assert market(11, timeframe).next_open(bar.opened_at) == bar


def test_another_seed_symbol_or_timeframe_is_another_market() -> None:
    now = market().start(200)
    others = [market(8), market(7, "15m"), market(7, "5m", "ETH/USDT"), market(7, "5m", "BTC/EUR")]
    closes = {tuple(bar.close for bar in other.closed(50, now)) for other in [market(), *others]}
    assert len(closes) == 5


def test_the_work_for_one_bar_far_away_is_one_block_and_the_memory_stays_bounded() -> None:
    source = market()
    for century in range(40):
        source.next_open(century * parse_iso("2070-01-01"))
    assert source._block.cache_info().misses == 40
    assert source._block.cache_info().currsize <= 8


def test_walking_forward_computes_each_block_once() -> None:
    source = market()
    for step in range(2560):
        now = source.start(200) + step * FIVE
        source.closed(200, now)
        source.next_open(now)
    assert source._block.cache_info().misses <= 12


# Time.


@pytest.mark.parametrize("timeframe", ["1m", "5m", "1h", "1d", "7d"])
def test_virtual_time_begins_on_the_grid_in_2026_with_its_warm_up_already_there(timeframe: str) -> None:
    source = market(1, timeframe)
    begin = source.start(200)
    assert 0 <= begin - parse_iso("2026-01-01") < source.timeframe_ms
    assert begin % source.timeframe_ms == 0
    assert len(source.closed(200, begin)) == 200


def test_the_market_never_ends() -> None:
    assert market().end() is None
    assert market().next_open(parse_iso("2999-12-31")) is not None


def test_a_bar_is_closed_at_its_last_millisecond_and_not_before() -> None:
    source, begin = market(), market().start(200)
    assert source.closed(1, begin)[-1].opened_at == begin - FIVE
    assert source.closed(1, begin - 1)[-1].opened_at == begin - 2 * FIVE


def test_the_next_open_is_now_or_later_never_earlier() -> None:
    source, begin = market(), market().start(200)
    bar, later = source.next_open(begin), source.next_open(begin + 1)
    assert bar is not None and later is not None
    assert (bar.opened_at, later.opened_at) == (begin, begin + FIVE)


def test_before_1970_there_is_no_bar() -> None:
    assert market().closed(200, -5) == ()
    assert market().closed(200, 3 * FIVE) == market().closed(3, 3 * FIVE)


def test_where_it_comes_from_names_the_seed() -> None:
    assert market(42).provenance == "simulated:42"


@pytest.mark.parametrize(("timeframe_ms", "tick"), [(0, TICK), (FIVE, Decimal(0)), (FIVE, Decimal("NaN"))])
def test_a_timeframe_or_tick_that_is_not_positive_is_refused(timeframe_ms: int, tick: Decimal) -> None:
    with pytest.raises(ValueError, match="needs a positive timeframe and tick"):
        SimulatedMarket("BTC/USDT", timeframe_ms, 1, tick)


# Shape.


def test_every_window_is_sound(bars: tuple[Candle, ...]) -> None:
    for stop in range(200, BARS, 200):
        now = bars[stop - 1].opened_at + FIVE
        window = examine(CandleBatch("simulated:1", bars[stop - 200 : stop]), FIVE, now, 200)
        assert window.defects == ()


@pytest.mark.parametrize("timeframe", ["1m", "1h", "4h", "1d"])
def test_every_window_is_sound_on_other_timeframes_too(timeframe: str) -> None:
    source = market(5, timeframe, "DOGE/USDT")
    for step in range(0, 6000, 200):
        now = source.start(200) + step * source.timeframe_ms
        window = examine(CandleBatch("s", source.closed(200, now)), source.timeframe_ms, now, 200)
        assert window.defects == ()


def test_prices_and_volumes_are_exact_multiples_of_their_steps(bars: tuple[Candle, ...]) -> None:
    for bar in bars[::7]:
        assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
        assert all(price > 0 and price % TICK == 0 for price in bar[1:5])
        assert bar.volume > 0
        assert bar.volume % Decimal("0.000001") == 0


def test_returns_have_fat_tails(returns: list[float]) -> None:
    mean = fmean(returns)
    variance = fmean((value - mean) ** 2 for value in returns)
    assert fmean((value - mean) ** 4 for value in returns) / variance**2 > 4


def test_large_moves_follow_large_moves(returns: list[float]) -> None:
    sizes = [abs(value) for value in returns]
    assert autocorrelation(sizes, 1) > 0.1
    assert autocorrelation(sizes, 20) > 0.05


def test_the_direction_of_a_move_says_little_about_the_next(returns: list[float]) -> None:
    assert abs(autocorrelation(returns, 1)) < 0.1


def test_five_minutes_move_about_as_much_as_bitcoin_does(returns: list[float]) -> None:
    assert 0.0012 < pstdev(returns) < 0.0028


def test_the_price_wanders_but_stays_plausible(bars: tuple[Candle, ...]) -> None:
    closes = [bar.close for bar in bars]
    assert 1.1 < max(closes) / min(closes) < 5
    assert min(closes) > 15_000
    assert max(closes) < 170_000


def test_the_price_stays_plausible_for_a_century() -> None:
    source = market(9, "1d")
    closes = [bar.close for bar in source.closed(36_500, parse_iso("2069-01-01"))]
    assert min(closes) > 12_000
    assert max(closes) < 250_000


def test_blocks_join_without_a_jump() -> None:
    joins: list[float] = []
    every: list[float] = []
    for seed in range(20, 26):
        bars = market(seed).closed(256 * 60, 1_767_225_600_000)
        for before, after in pairwise(bars):
            move = log(after.close / before.close)
            every.append(abs(move))
            if after.opened_at // FIVE % 256 == 0:
                joins.append(abs(move))
            assert abs(after.open / before.close - 1) < Decimal("0.002")
    assert len(joins) > 300
    assert 0.7 < fmean(joins) / fmean(every) < 1.4


def test_volume_grows_with_the_move(bars: tuple[Candle, ...], returns: list[float]) -> None:
    volumes, sizes = [float(bar.volume) for bar in bars[1:]], [abs(value) for value in returns]
    assert correlation(volumes, sizes) > 0.4


def test_calm_and_turbulent_stretches_last_for_many_bars(returns: list[float]) -> None:
    spans = [pstdev(returns[i : i + 100]) for i in range(0, len(returns) - 100, 100)]
    ordered = sorted(spans)
    assert ordered[len(spans) * 9 // 10] > 2 * ordered[len(spans) // 10]
    assert autocorrelation([log(span) for span in spans], 1) > 0.3


def test_there_are_trends_and_there_are_ranges(returns: list[float]) -> None:
    days = [returns[i : i + 256] for i in range(0, len(returns) - 256, 64)]
    reach = [abs(sum(day)) / (pstdev(day) * sqrt(256)) for day in days]
    assert sum(value > 2 for value in reach) > 0.05 * len(days)
    assert sum(value < 0.4 for value in reach) > 0.1 * len(days)
