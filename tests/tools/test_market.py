"""The market's door: what the exchange gave, checked; what it could not give, an error."""

from __future__ import annotations

from decimal import Decimal
from typing import NoReturn

import pytest

from tests.fakes import FakeExchange
from trader_cli.core.errors import UpstreamError
from trader_cli.core.moments import Moment
from trader_cli.schemas.market import Candle, CandleBatch
from trader_cli.tools.market import get_ohlcv
from trader_cli.tools.markets.simulated import SimulatedMarket

FIVE = 300_000
SOURCE = SimulatedMarket("BTC/USDT", FIVE, 3, Decimal("0.01"))
NOW = SOURCE.start(200)


class CandlesOnly(FakeExchange):
    """An exchange that answers one question, and remembers how it was asked."""

    def __init__(self, batch: CandleBatch | UpstreamError) -> None:
        super().__init__()
        self.batch = batch
        self.asked: list[tuple[int, Moment]] = []

    def candles(self, limit: int, now: Moment) -> CandleBatch:
        self.asked.append((limit, now))
        if isinstance(self.batch, UpstreamError):
            raise self.batch
        return self.batch

    def _called(self, what: str) -> NoReturn:
        raise AssertionError(f"looking at the market asks for candles and nothing else, not for {what}")


def exchange(*candles: Candle) -> CandlesOnly:
    return CandlesOnly(CandleBatch("live:fake", candles))


def test_sound_candles_come_through_with_where_they_are_from() -> None:
    fake = exchange(*SOURCE.closed(200, NOW))
    window = get_ohlcv(fake, FIVE, 200, NOW)
    assert (window.source, window.defects, window.age_ms) == ("live:fake", (), 0)
    assert window.candles == SOURCE.closed(200, NOW)
    assert window.price == window.candles[-1].close


def test_the_exchange_is_asked_once_for_the_bars_as_of_now() -> None:
    fake = exchange(*SOURCE.closed(200, NOW))
    get_ohlcv(fake, FIVE, 200, NOW)
    assert fake.asked == [(200, NOW)]


def test_an_exchange_that_cannot_be_asked_is_an_error_and_no_bar_is_made_up() -> None:
    with pytest.raises(UpstreamError, match="timed out"):
        get_ohlcv(CandlesOnly(UpstreamError("timed out")), FIVE, 200, NOW)


def test_an_exchange_without_candles_gives_an_empty_window_with_its_defect() -> None:
    window = get_ohlcv(exchange(), FIVE, 200, NOW)
    assert (window.candles, window.price, window.age_ms) == ((), None, None)
    assert [defect.kind for defect in window.defects] == ["empty"]


def test_a_missing_bar_is_a_defect_and_stays_missing() -> None:
    bars = SOURCE.closed(201, NOW)
    window = get_ohlcv(exchange(*bars[:100], *bars[101:]), FIVE, 200, NOW)
    assert [defect.kind for defect in window.defects] == ["gap"]
    assert window.candles == (*bars[:100], *bars[101:])


def test_the_forming_bar_is_a_defect_and_is_not_shown() -> None:
    forming = SOURCE.next_open(NOW)
    assert forming is not None
    window = get_ohlcv(exchange(*SOURCE.closed(199, NOW), forming), FIVE, 200, NOW)
    assert [defect.kind for defect in window.defects] == ["unclosed"]
    assert window.candles == SOURCE.closed(199, NOW)


def test_a_number_that_is_none_is_a_defect_not_a_crash() -> None:
    *bars, last = SOURCE.closed(200, NOW)
    window = get_ohlcv(exchange(*bars, last._replace(high=Decimal("NaN"))), FIVE, 200, NOW)
    assert [defect.kind for defect in window.defects] == ["impossible"]
    assert window.price == bars[-1].close
