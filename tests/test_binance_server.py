"""The loopback Binance server behaves like the service: driven over plain HTTP and by the genuine ccxt class."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.binance.candles import INTERVALS
from tests.binance_server import BinanceServer, Fault, Request, faults
from trader_cli.tools.exchanges.ccxt_class import exchange_class, exchange_errors

ROOT = Path(__file__).resolve().parent.parent
D = Decimal
MARKET = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.002"}
LIMIT = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.002",
    "price": "50000",
}


@dataclass
class Asker:
    """A client that signs, and nothing else; no retry, no redirect."""

    server: BinanceServer
    timeout_secs: float = 5.0

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, body: str = "") -> Any:
        """Status, body as it is, headers."""
        host = self.server.url.removeprefix("http://")
        with closing(http.client.HTTPConnection(host, timeout=self.timeout_secs)) as line:
            line.request(method, path, body or None, headers or {})
            answer = line.getresponse()
            return answer.status, answer.read(), answer.headers

    def public(self, path: str, **sent: object) -> Any:
        """Status and JSON."""
        status, body, _ = self.ask("GET", f"/api/v3/{path}?{urlencode(sent)}" if sent else f"/api/v3/{path}")
        return status, json.loads(body)

    def signed(self, method: str, path: str, **sent: object) -> Any:
        """Status and JSON of a signed request; GET and DELETE by query, POST by body."""
        status, body, _ = self.raw(method, path, **sent)
        return status, json.loads(body)

    def raw(self, method: str, path: str, **sent: object) -> Any:
        """The same, as it came."""
        text = self.sign(urlencode({"timestamp": self.server.now(), **sent}))
        headers = {"X-MBX-APIKEY": self.server.key}
        full = path if path.startswith("/") else f"/api/v3/{path}"
        if method == "POST":
            return self.ask(method, full, {**headers, "Content-Type": "application/x-www-form-urlencoded"}, text)
        return self.ask(method, f"{full}?{text}", headers)

    def sign(self, text: str) -> str:
        """With a signature behind it."""
        made = hmac.new(self.server.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        return f"{text}&signature={made}"

    def control(self, name: str, **body: object) -> Any:
        """Status and JSON of a setting."""
        status, answer, _ = self.ask("POST", f"/control/{name}", body=json.dumps(body))
        return status, json.loads(answer)


@pytest.fixture
def server() -> Iterator[BinanceServer]:
    """BTCUSDT stands at 60000."""
    with BinanceServer(price=D(60_000)) as running:
        yield running


@pytest.fixture
def asker(server: BinanceServer) -> Asker:
    """Who asks it."""
    return Asker(server)


@pytest.fixture
def ccxt(server: BinanceServer) -> Iterator[Any]:
    """ccxt's own class, with the one market loaded."""
    config = server.ccxt_config(apiKey=server.key, secret=server.secret, number=str, enableRateLimit=False)
    config["options"]["fetchCurrencies"] = config["options"]["fetchMargins"] = False
    exchange = exchange_class("binance")(config)
    exchange.load_markets(False, {"symbol": "BTCUSDT"})
    yield exchange
    exchange.session.close()


# --- what anybody may ask


def test_the_clock_is_the_servers_own_and_can_be_moved(server: BinanceServer, asker: Asker) -> None:
    assert asker.public("ping") == (200, {})
    before = asker.public("time")[1]["serverTime"]
    server.advance(3_600_000)
    assert 3_600_000 <= asker.public("time")[1]["serverTime"] - before < 3_605_000


def test_the_clock_can_be_virtual() -> None:
    with BinanceServer(clock=lambda: 1_790_000_000_000) as server:
        assert Asker(server).public("time") == (200, {"serverTime": 1_790_000_000_000})
        assert Asker(server).signed("GET", "account")[0] == 200


def test_exchange_info_knows_one_symbol_some_and_all(asker: Asker) -> None:
    [bitcoin] = asker.public("exchangeInfo", symbol="BTCUSDT")[1]["symbols"]
    rules = {one["filterType"]: one for one in bitcoin["filters"]}
    assert rules["LOT_SIZE"]["stepSize"] == "0.00001000"
    assert rules["NOTIONAL"]["applyMinToMarket"] is True
    assert len(asker.public("exchangeInfo", symbols='["BTCUSDT","ETHUSDT"]')[1]["symbols"]) == 2
    assert len(asker.public("exchangeInfo")[1]["symbols"]) == 5
    assert asker.public("exchangeInfo", symbol="NOSUCH") == (400, {"code": -1121, "msg": "Invalid symbol."})
    assert asker.public("exchangeInfo", symbol="btcusdt")[1]["code"] == -1100


def test_the_universe_can_be_as_big_as_the_real_one() -> None:
    with BinanceServer(symbols=3_500) as server:
        whole = Asker(server).ask("GET", "/api/v3/exchangeInfo")[1]
        bare = Asker(server).ask("GET", "/api/v3/exchangeInfo?showPermissionSets=false")[1]
    assert len(json.loads(whole)["symbols"]) == 3_500
    assert 9_000_000 < len(whole) < 12_000_000
    assert len(bare) < 8_000_000


@pytest.mark.parametrize("interval", [name for name in INTERVALS if name != "1s"])
def test_candles_are_sound_and_the_last_one_is_still_forming(
    server: BinanceServer, asker: Asker, interval: str
) -> None:
    now, length = server.now(), INTERVALS[interval]
    rows = asker.public("klines", symbol="BTCUSDT", interval=interval, limit=201)[1]
    assert len(rows) == 201
    assert [row[0] for row in rows] == [rows[0][0] + place * length for place in range(201)]
    assert rows[-1][0] <= now + 1_000 < rows[-1][6] + 1_001
    for row in rows:
        opened, high, low, close, volume = map(D, row[1:6])
        assert 0 < low <= min(opened, close) <= max(opened, close) <= high
        assert volume > 0
    assert all(row[2] != row[3] for row in rows[:-1])  # no plateau
    assert rows[-1][4] == "60000.00000000"
    assert abs(D(rows[-2][4]) - 60_000) < 6_000


def test_closed_candles_stay_as_they_are_and_the_forming_one_follows_the_price(
    server: BinanceServer, asker: Asker
) -> None:
    before = asker.public("klines", symbol="BTCUSDT", interval="1h", limit=50)[1]
    server.price = D(61_000)
    after = asker.public("klines", symbol="BTCUSDT", interval="1h", limit=50)[1]
    assert after[:-1] == before[:-1] or after[:-2] == before[1:-1]
    assert (after[-1][4], after[-1][2]) == ("61000.00000000", "61000.00000000")
    assert asker.public("ticker/price", symbol="BTCUSDT")[1]["price"] == "61000.00000000"


def test_candles_come_from_a_start_on_and_not_more_than_a_thousand(server: BinanceServer, asker: Asker) -> None:
    start = server.now() // 60_000 * 60_000 - 3_000 * 60_000
    rows = asker.public("klines", symbol="BTCUSDT", interval="1m", startTime=start + 1, limit=5_000)[1]
    assert (len(rows), rows[0][0]) == (1_000, start + 60_000)
    rows = asker.public("klines", symbol="BTCUSDT", interval="1m", startTime=start, endTime=start + 60_000)[1]
    assert [row[0] for row in rows] == [start, start + 60_000]
    assert asker.public("klines", symbol="BTCUSDT", interval="7m")[1]["code"] == -1120
    assert asker.public("klines", symbol="BTCUSDT")[1]["code"] == -1102


def test_book_and_tickers_agree(asker: Asker) -> None:
    depth = asker.public("depth", symbol="BTCUSDT", limit=5)[1]
    best = asker.public("ticker/bookTicker", symbol="BTCUSDT")[1]
    assert [best["bidPrice"], best["bidQty"]] == depth["bids"][0]
    assert [best["askPrice"], best["askQty"]] == depth["asks"][0]
    assert len(depth["asks"]) == 5
    assert asker.public("ticker/24hr", symbol="BTCUSDT")[1]["lastPrice"] == "60000.00000000"
    assert len(asker.public("ticker/price")[1]) == 5
    assert D(asker.public("avgPrice", symbol="BTCUSDT")[1]["price"]) > 0


# --- signatures and time


def test_a_signature_covers_query_and_body_as_they_were_sent(server: BinanceServer, asker: Asker) -> None:
    query = "symbol=BTCUSDT&side=BUY&type=MARKET"
    body = f"quantity=0.002&timestamp={server.now()}"
    made = hmac.new(server.secret.encode(), f"{query}{body}".encode(), hashlib.sha256).hexdigest()
    headers = {"X-MBX-APIKEY": server.key}
    target = f"/api/v3/order?{query}"
    assert asker.ask("POST", target, headers, f"{body}&signature={made.upper()}")[0] == 200
    assert asker.ask("POST", target, headers, f"{body}&signature={'0' * 64}")[0] == 400


@pytest.mark.parametrize(
    ("changes", "headers", "code"),
    [
        ({}, {"X-MBX-APIKEY": "short"}, -2014),
        ({}, {"X-MBX-APIKEY": ""}, -2014),
        ({}, {"X-MBX-APIKEY": "a" * 64}, -2008),
        ({"timestamp": ""}, {}, -1102),
        ({"timestamp": "soon"}, {}, -1100),
        ({"ahead": 2_000}, {}, -1021),
        ({"ahead": -6_000}, {}, -1021),
        ({"ahead": -6_000, "recvWindow": 10_000}, {}, None),
        ({"recvWindow": 60_001}, {}, -1131),
        ({"signature": "f" * 64}, {}, -1022),
        ({"colour": "red"}, {}, -1104),
        ({"omitZeroBalances": ""}, {}, -1105),
    ],
)
def test_a_request_that_is_not_signed_well_is_refused_with_its_code(
    server: BinanceServer, asker: Asker, changes: dict[str, Any], headers: dict[str, str], code: int | None
) -> None:
    sent = {"timestamp": server.now() + changes.pop("ahead", 0), **changes}
    signature = sent.pop("signature", None)
    text = urlencode(sent)
    text = f"{text}&signature={signature}" if signature else asker.sign(text)
    status, body, _ = asker.ask("GET", f"/api/v3/account?{text}", {"X-MBX-APIKEY": server.key, **headers})
    assert json.loads(body).get("code") == code
    assert status == (200 if code is None else 401 if code in (-2014, -2008) else 400)


def test_a_key_can_be_unknown_in_the_other_way_too(server: BinanceServer, asker: Asker) -> None:
    server.unknown_key = -2015
    server.key, known = "a" * 64, server.key
    sent = asker.sign(f"timestamp={server.now()}")
    assert json.loads(asker.ask("GET", f"/api/v3/account?{sent}", {"X-MBX-APIKEY": known})[1])["code"] == -2015


def test_an_order_that_is_late_at_the_engine_is_refused(server: BinanceServer, asker: Asker) -> None:
    server.faults.next("POST", "/api/v3/order", faults.delay(150))
    assert asker.signed("POST", "order", **MARKET, recvWindow=5_000)[0] == 200
    server.faults.next("POST", "/api/v3/order", faults.delay(150))
    assert asker.signed("POST", "order", **MARKET, recvWindow=100) == (
        400,
        {"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."},
    )
    assert len(server.orders) == 1


def test_a_delay_ends_when_the_servers_clock_is_put_forward(server: BinanceServer) -> None:
    server.faults.next("POST", "/api/v3/order", faults.delay(30_000))
    server.hook("before-order", lambda _: server.advance(0))
    began = time.monotonic()
    impatient = Asker(server, 0.2)
    with pytest.raises(TimeoutError):
        impatient.signed("POST", "order", **MARKET, newClientOrderId="late")
    server.advance(30_000)
    _until(lambda: server.requests[-1].outcome is not None)
    assert server.requests[-1].outcome == "400 -1021"
    assert (server.orders, server.posts("late")) == ([], 1)
    assert time.monotonic() - began < 5


# --- orders and money


def test_a_market_order_walks_the_book_and_pays_its_fee_in_what_it_receives(
    server: BinanceServer, asker: Asker
) -> None:
    bought = asker.signed("POST", "order", **MARKET, newClientOrderId="one")[1]
    fills = bought["fills"]
    assert (bought["status"], bought["executedQty"], bought["clientOrderId"]) == ("FILLED", "0.00200000", "one")
    assert len(fills) > 1
    assert [one["tradeId"] for one in fills] == sorted({one["tradeId"] for one in fills})
    assert [D(one["price"]) for one in fills] == sorted(D(one["price"]) for one in fills)
    assert {one["commissionAsset"] for one in fills} == {"BTC"}
    assert sum(D(one["qty"]) for one in fills) == D("0.002")
    assert sum(D(one["qty"]) * D(one["price"]) for one in fills) == D(bought["cummulativeQuoteQty"])
    assert server.balance("BTC") == D("0.002") - sum(D(one["commission"]) for one in fills) == D("0.001998")
    assert server.balance("USDT") == 1000 - D(bought["cummulativeQuoteQty"])
    sold = asker.signed("POST", "order", **{**MARKET, "side": "SELL", "quantity": "0.001"})[1]
    assert {one["commissionAsset"] for one in sold["fills"]} == {"USDT"}
    assert D(sold["fills"][0]["price"]) == 60_000


def test_the_fee_can_be_taken_in_bnb(server: BinanceServer, asker: Asker) -> None:
    server.exchange.bnb = True
    server.deposit("BNB", D("0.001"))
    bought = asker.signed("POST", "order", **MARKET)[1]
    assert {one["commissionAsset"] for one in bought["fills"]} == {"BNB"}
    assert server.balance("BTC") == D("0.002")
    assert server.balance("BNB") == D("0.001") - sum(D(one["commission"]) for one in bought["fills"])


def test_a_market_order_can_find_only_a_part_or_nothing(server: BinanceServer, asker: Asker) -> None:
    server.exchange.liquidity = D("0.4")
    part = asker.signed("POST", "order", **MARKET, newClientOrderId="part")[1]
    assert (part["status"], part["executedQty"], part["origQty"]) == ("EXPIRED", "0.00080000", "0.00200000")
    assert part["expiryReason"] == "INSUFFICIENT_LIQUIDITY"
    server.exchange.liquidity = D(0)
    none = asker.signed("POST", "order", **MARKET)[1]
    assert (none["status"], none["executedQty"], none["fills"]) == ("EXPIRED", "0.00000000", [])
    assert asker.signed("GET", "order", symbol="BTCUSDT", origClientOrderId="part")[1]["status"] == "EXPIRED"


def test_an_order_for_an_amount_of_quote_spends_no_more_than_that(server: BinanceServer, asker: Asker) -> None:
    sent = {key: value for key, value in MARKET.items() if key != "quantity"}
    bought = asker.signed("POST", "order", **sent, quoteOrderQty="25")[1]
    assert bought["status"] == "FILLED"
    assert D("24.3") < D(bought["cummulativeQuoteQty"]) <= 25
    assert D(bought["executedQty"]) % D("0.00001") == 0


def test_a_limit_order_rests_locks_its_funds_and_fills_when_the_price_comes(
    server: BinanceServer, asker: Asker
) -> None:
    assert asker.signed("POST", "order", **LIMIT, newClientOrderId="rest")[1]["status"] == "NEW"
    [usdt] = [one for one in asker.signed("GET", "account")[1]["balances"] if one["asset"] == "USDT"]
    assert (usdt["free"], usdt["locked"]) == ("900.00000000", "100.00000000")
    assert [one["clientOrderId"] for one in asker.signed("GET", "openOrders", symbol="BTCUSDT")[1]] == ["rest"]
    server.exchange.liquidity = D("0.5")
    server.price = D(49_000)
    assert asker.signed("GET", "order", symbol="BTCUSDT", origClientOrderId="rest")[1]["status"] == "PARTIALLY_FILLED"
    assert server.balance("BTC") == D("0.000999")
    assert server.exchange.wallet.of("USDT").locked == 50
    server.exchange.liquidity = None
    filled = asker.signed("GET", "order", symbol="BTCUSDT", origClientOrderId="rest")[1]
    assert (filled["status"], filled["cummulativeQuoteQty"]) == ("FILLED", "100.00000000")
    assert (server.balance("USDT"), server.balance("BTC")) == (D(900), D("0.001998"))


def test_open_orders_are_cancelled_one_by_one_and_all_at_once(server: BinanceServer, asker: Asker) -> None:
    for name in ("a", "b", "c"):
        asker.signed("POST", "order", **LIMIT, newClientOrderId=name)
    gone = asker.signed("DELETE", "order", symbol="BTCUSDT", origClientOrderId="a")[1]
    assert (gone["status"], gone["origClientOrderId"]) == ("CANCELED", "a")
    assert asker.signed("DELETE", "order", symbol="BTCUSDT", origClientOrderId="a")[1]["code"] == -2011
    assert len(asker.signed("DELETE", "openOrders", symbol="BTCUSDT")[1]) == 2
    assert asker.signed("DELETE", "openOrders", symbol="BTCUSDT") == (
        400,
        {"code": -2011, "msg": "Unknown order sent."},
    )
    assert asker.signed("DELETE", "order", symbol="BTCUSDT")[1]["code"] == -1102
    assert server.exchange.wallet.of("USDT").free == 1000


def test_a_client_id_is_unique_only_among_open_orders(server: BinanceServer, asker: Asker) -> None:
    asker.signed("POST", "order", **LIMIT, newClientOrderId="twice")
    assert asker.signed("POST", "order", **LIMIT, newClientOrderId="twice") == (
        400,
        {"code": -2010, "msg": "Duplicate order sent."},
    )
    asker.signed("POST", "order", **MARKET, newClientOrderId="again")
    assert asker.signed("POST", "order", **MARKET, newClientOrderId="again")[1]["status"] == "FILLED"
    assert (server.posts(), server.posts("again"), len(server.orders)) == (4, 2, 3)


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"symbol": "NOSUCH"}, -1121, "Invalid symbol."),
        ({"symbol": "BTC/USDT"}, -1100, "'symbol'"),
        ({"side": "HOLD"}, -1117, "side"),
        ({"type": "WISH"}, -1116, "orderType"),
        ({"type": ""}, -1102, "'type'"),
        ({"quantity": "1e-3"}, -1100, "'quantity'"),
        ({"quantity": "-1"}, -1100, "'quantity'"),
        ({"quantity": "0.001000001"}, -1111, "precision"),
        ({"quantity": "0"}, -1013, "Invalid quantity."),
        ({"quantity": "0.000015"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "9001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "129"}, -1013, "Filter failure: MARKET_LOT_SIZE"),
        ({"quantity": "0.00008"}, -1013, "Filter failure: NOTIONAL"),
        ({"quantity": "0.02"}, -2010, "insufficient balance"),
        ({"side": "SELL"}, -2010, "insufficient balance"),
        ({"price": "50000"}, -1106, "'price'"),
        ({"quoteOrderQty": "5"}, -1128, "Combination"),
        ({"newClientOrderId": "a" * 37}, -1100, "newClientOrderId"),
        ({"newClientOrderId": "a.b"}, -1100, "newClientOrderId"),
        ({"newOrderRespType": "ALL"}, -1136, "newOrderRespType"),
        ({**LIMIT, "price": "50000.005"}, -1013, "Filter failure: PRICE_FILTER"),
        ({**LIMIT, "price": "5000"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        ({**LIMIT, "quantity": "0.00009"}, -1013, "Filter failure: NOTIONAL"),
        ({**LIMIT, "timeInForce": "FOK"}, -1115, "timeInForce"),
        ({**LIMIT, "price": ""}, -1105, "'price'"),
    ],
)
def test_an_order_that_cannot_be_is_refused_with_its_code_and_words(
    server: BinanceServer, asker: Asker, changes: dict[str, str], code: int, words: str
) -> None:
    for path in ("order/test", "order") if code != -2010 else ("order",):
        status, said = asker.signed("POST", path, **{**MARKET, **changes})
        assert (status, said["code"]) == (400, code)
        assert words in said["msg"]
    assert (len(server.orders), server.balance("USDT")) == (0, D(1000))


def test_a_market_order_is_valued_at_the_average_price(server: BinanceServer, asker: Asker) -> None:
    sent = {**MARKET, "quantity": "0.0001"}  # 6 USDT at the last price
    assert asker.signed("POST", "order", **sent)[0] == 200
    server.set_average(D(49_000))
    assert asker.signed("POST", "order", **sent)[1]["msg"] == "Filter failure: NOTIONAL"


def test_a_closed_market_takes_no_order(server: BinanceServer, asker: Asker) -> None:
    server.set_status("BREAK")
    assert asker.signed("POST", "order", **MARKET) == (400, {"code": -1013, "msg": "Market is closed."})
    assert asker.public("exchangeInfo", symbol="BTCUSDT")[1]["symbols"][0]["status"] == "BREAK"


def test_an_answer_is_as_long_as_asked_for_and_a_test_places_nothing(server: BinanceServer, asker: Asker) -> None:
    assert asker.signed("POST", "order/test", **MARKET) == (200, {})
    assert server.orders == []
    short = asker.signed("POST", "order", **MARKET, newOrderRespType="ACK")[1]
    assert set(short) == {"symbol", "orderId", "orderListId", "clientOrderId", "transactTime"}
    assert "fills" not in asker.signed("POST", "order", **MARKET, newOrderRespType="RESULT")[1]


# --- looking up


def test_a_look_up_knows_neither_fills_nor_fee_and_trades_do(server: BinanceServer, asker: Asker) -> None:
    placed = asker.signed("POST", "order", **MARKET, newClientOrderId="seen")[1]
    found = asker.signed("GET", "order", symbol="BTCUSDT", origClientOrderId="seen")[1]
    assert found["orderId"] == placed["orderId"]
    assert not {"fills", "commission"} & set(found)
    trades = asker.signed("GET", "myTrades", symbol="BTCUSDT", orderId=placed["orderId"])[1]
    assert [one["id"] for one in trades] == [one["tradeId"] for one in placed["fills"]]
    assert asker.signed("GET", "order", symbol="BTCUSDT", orderId=1) == (
        400,
        {"code": -2013, "msg": "Order does not exist."},
    )
    assert asker.signed("GET", "order", symbol="BTCUSDT")[1]["code"] == -1102


def test_lists_go_from_an_id_or_between_times_of_at_most_a_day(server: BinanceServer, asker: Asker) -> None:
    placed = [asker.signed("POST", "order", **MARKET)[1]["orderId"] for _ in range(3)]
    now = server.now()

    def ids(path: str, key: str, **sent: object) -> list[int]:
        return [one[key] for one in asker.signed("GET", path, symbol="BTCUSDT", **sent)[1]]

    assert ids("allOrders", "orderId") == placed
    assert ids("allOrders", "orderId", orderId=placed[1]) == placed[1:]
    assert ids("allOrders", "orderId", limit=1) == placed[-1:]
    assert ids("allOrders", "orderId", startTime=now - 60_000, limit=1) == placed[:1]
    assert ids("allOrders", "orderId", startTime=now + 60_000) == []
    trades = [one.trade_id for one in server.trades]
    assert ids("myTrades", "id") == trades
    assert ids("myTrades", "id", fromId=trades[4]) == trades[4:]
    for path in ("allOrders", "myTrades"):
        span = {"startTime": now - 86_400_001, "endTime": now}
        assert asker.signed("GET", path, symbol="BTCUSDT", **span)[1]["code"] == -1127
    assert asker.signed("GET", "allOrders", symbol="ETHUSDT")[1] == []


def test_a_new_order_can_stay_unseen_for_a_while(server: BinanceServer, asker: Asker) -> None:
    server.faults.next("POST", "/api/v3/order", faults.hidden(60_000))
    assert asker.signed("POST", "order", **MARKET, newClientOrderId="shy")[1]["status"] == "FILLED"
    assert asker.signed("GET", "order", symbol="BTCUSDT", origClientOrderId="shy")[1]["code"] == -2013
    assert asker.signed("GET", "allOrders", symbol="BTCUSDT")[1] == []
    assert asker.signed("GET", "myTrades", symbol="BTCUSDT")[1] == []
    server.advance(60_000)
    assert asker.signed("GET", "order", symbol="BTCUSDT", origClientOrderId="shy")[1]["status"] == "FILLED"


def test_the_keys_rights_can_be_read_changed_and_absent(server: BinanceServer, asker: Asker) -> None:
    page = "/sapi/v1/account/apiRestrictions"
    assert asker.signed("GET", page)[1]["enableWithdrawals"] is False
    server.restrictions = {"enableWithdrawals": True, "enableSpotAndMarginTrading": False}
    assert asker.signed("GET", page)[1]["enableWithdrawals"] is True
    assert asker.signed("POST", "order", **MARKET) == (
        401,
        {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."},
    )
    server.restrictions = None
    assert asker.raw("GET", page)[0] == 404


# --- weights


def test_weight_is_counted_and_too_much_of_it_ends_in_a_ban(server: BinanceServer, asker: Asker) -> None:
    assert asker.raw("GET", "account")[2]["X-MBX-USED-WEIGHT-1M"] == "20"
    server.limiter.limit = 30
    status, body, headers = asker.raw("GET", "account")
    assert (status, json.loads(body)["code"]) == (429, -1003)
    assert 1 <= int(headers["Retry-After"]) <= 60
    server.advance(60_000)
    assert asker.raw("GET", "account")[0] == 200
    assert [asker.raw("GET", "account")[0] for _ in range(2)] == [429, 418]
    assert asker.ask("GET", "/api/v3/ping")[0] == 418
    server.ban(0)
    server.advance(60_000)
    assert asker.ask("GET", "/api/v3/ping")[0] == 200


def test_a_429_that_was_asked_for_holds(server: BinanceServer, asker: Asker) -> None:
    server.faults.next("POST", "/api/v3/order", faults.rate_limited(7))
    status, _, headers = asker.raw("POST", "order", **MARKET)
    assert (status, headers["Retry-After"]) == (429, "7")
    server.advance(7_001)
    assert asker.raw("POST", "order", **MARKET)[0] == 200
    server.faults.next("*", "*", faults.rate_limited(7))
    assert [asker.raw("GET", "account")[0] for _ in range(2)] == [429, 418]


# --- faults, over plain sockets

EXECUTED = {
    "accept_then_drop": (faults.accept_then_drop(), ConnectionResetError),
    "accept_then_hang": (faults.accept_then_hang(), TimeoutError),
    "cut_answer": (faults.cut_answer(), http.client.IncompleteRead),
    "truncated": (faults.truncated(), ValueError),
    "empty": (faults.empty(), ValueError),
    "page": (faults.page(), ValueError),
    "bad_gzip": (faults.bad_gzip(), ValueError),
    **{f"error {code}": (faults.error(code, True), None) for code in (-1000, -1001, -1006, -1007, -1008)},
    **{f"html {status}": (faults.html(status, True), ValueError) for status in (500, 502, 503, 504)},
    "null": (faults.null(), None),
    "empty_object": (faults.empty_object(), None),
    "not_numeric": (faults.not_numeric(), None),
    "missing": (faults.missing("orderId", "status"), None),
    "wrong_client_id": (faults.wrong_client_id(), None),
    "wrong_side": (faults.wrong_side(), None),
    "wrong_symbol": (faults.wrong_symbol(), None),
    "overfilled": (faults.overfilled(), None),
    "duplicate": (faults.duplicate(), None),
    "hidden": (faults.hidden(1_000), None),
    "delay": (faults.delay(20), None),
}
NOT_EXECUTED = {
    "drop_before": (faults.drop_before(), http.client.RemoteDisconnected),
    "hang": (faults.hang(), TimeoutError),
    **{f"error {code}": (faults.error(code), None) for code in (-1000, -1001, -1006, -1007, -1008, -1015, -1016)},
    **{f"html {status}": (faults.html(status), ValueError) for status in (500, 502, 503, 504)},
    "waf": (faults.waf(), ValueError),
    "geo_blocked": (faults.geo_blocked(), None),
    "rate_limited": (faults.rate_limited(), None),
    "banned": (faults.banned(), None),
    "redirect": (faults.redirect(), ValueError),
    "redirect_to_self": (faults.redirect_to_self(), ValueError),
    "insufficient": (faults.error(-2010), None),
}


@pytest.mark.parametrize(("fault", "error"), EXECUTED.values(), ids=EXECUTED)
def test_a_fault_after_the_engine_leaves_an_order_behind(
    server: BinanceServer, fault: Fault, error: type[Exception] | None
) -> None:
    _meet(server, fault, error)
    assert (server.posts("x"), len(server.orders), server.balance("BTC")) == (1, 1, D("0.001998"))
    assert server.requests[-1].fault == fault.name
    assert Asker(server).signed("POST", "order", **MARKET, newClientOrderId="y")[1]["clientOrderId"] == "y"


@pytest.mark.parametrize(("fault", "error"), NOT_EXECUTED.values(), ids=NOT_EXECUTED)
def test_a_fault_before_the_engine_leaves_nothing_behind(
    server: BinanceServer, fault: Fault, error: type[Exception] | None
) -> None:
    _meet(server, fault, error)
    assert (server.posts("x"), len(server.orders), server.balance("USDT")) == (1, 0, D(1000))
    assert (server.requests[-1].outcome or "").startswith("not served")


def _meet(server: BinanceServer, fault: Fault, error: type[Exception] | None) -> None:
    server.faults.next("POST", "/api/v3/order", fault)
    asker = Asker(server, 0.3)
    if error is None:
        asker.signed("POST", "order", **MARKET, newClientOrderId="x")
        return
    with pytest.raises(error):
        asker.signed("POST", "order", **MARKET, newClientOrderId="x")


def test_faults_come_as_often_as_asked_for_and_can_be_joined_and_cleared(server: BinanceServer, asker: Asker) -> None:
    server.faults.next("GET", "/api/v3/order", faults.error(-1001), times=2)
    server.faults.always("GET", "/api/v3/time", faults.html(502))
    asker.signed("POST", "order", **MARKET, newClientOrderId="x")
    asked = [asker.raw("GET", "order", symbol="BTCUSDT", origClientOrderId="x")[0] for _ in range(3)]
    assert asked == [500, 500, 200]
    assert [asker.ask("GET", "/api/v3/time")[0] for _ in range(3)] == [502, 502, 502]
    assert [name for _, _, name, _ in server.faults.left] == ["html 502"]
    server.faults.clear()
    assert asker.ask("GET", "/api/v3/time")[0] == 200
    server.faults.next("POST", "/api/v3/order", replace(faults.accept_then_drop(), hidden_ms=60_000))
    with pytest.raises(ConnectionResetError):
        asker.signed("POST", "order", **MARKET, newClientOrderId="z")
    assert asker.signed("GET", "order", symbol="BTCUSDT", origClientOrderId="z")[1]["code"] == -2013


# --- the genuine ccxt


def test_ccxt_trades_here_as_it_does_there(server: BinanceServer, ccxt: Any) -> None:
    market = ccxt.market("BTC/USDT")
    assert (market["precision"]["amount"], market["limits"]["cost"]["min"]) == ("0.00001000", "5.00000000")
    assert market["active"] is True
    assert len(ccxt.fetch_ohlcv("BTC/USDT", "5m", limit=201)) == 201
    assert ccxt.fetch_balance()["USDT"]["free"] == "1000.00000000"
    order = ccxt.create_order("BTC/USDT", "market", "buy", "0.002", None, {"newClientOrderId": "t1-x"})
    assert (order["status"], D(order["filled"]), order["fee"]["currency"]) == ("closed", D("0.002"), "BTC")
    assert D(order["fee"]["cost"]) == D("0.000002")
    found = ccxt.fetch_order(None, "BTC/USDT", {"origClientOrderId": "t1-x"})
    assert (found["id"], found["fee"], found["trades"]) == (order["id"], None, [])
    assert len(ccxt.fetch_order_trades(order["id"], "BTC/USDT")) == len(order["trades"])
    assert ccxt.fetch_balance({"omitZeroBalances": True})["BTC"]["free"] == "0.00199800"
    resting = ccxt.create_order("BTC/USDT", "limit", "buy", "0.001", "50000")
    assert [one["id"] for one in ccxt.fetch_open_orders("BTC/USDT")] == [resting["id"]]
    assert ccxt.cancel_order(resting["id"], "BTC/USDT")["status"] == "canceled"
    assert ccxt.fetch_ticker("BTC/USDT")["bid"] == "60000.00000000"
    assert len(ccxt.fetch_orders("BTC/USDT")) == 2
    assert {one.path for one in server.requests} >= {"/api/v3/exchangeInfo", "/api/v3/klines", "/api/v3/account"}


def test_ccxt_gets_its_settings_as_a_process_would(server: BinanceServer) -> None:
    given = server.environment
    exchange = exchange_class("binance")(
        {
            "apiKey": given["EXCHANGE_API_KEY"],
            "secret": given["EXCHANGE_API_SECRET"],
            **json.loads(given["CCXT_CONFIG"]),
        }
    )
    exchange.load_markets()  # as it comes: coins and margin pairs too
    assert set(exchange.markets) == {"BTC/USDT", "ETH/USDT", "BNB/USDT", "ETH/BTC", "BTC/EUR"}
    assert {one.outcome for one in server.requests} == {"200"}
    exchange.session.close()


def test_ccxt_in_the_sandbox_finds_no_page_about_rights() -> None:
    with BinanceServer(testnet=True) as server:
        exchange = exchange_class("binance")({"apiKey": server.key, "secret": server.secret, **server.ccxt_config()})
        exchange.set_sandbox_mode(True)
        exchange.load_markets(False, {"symbol": "BTCUSDT"})
        assert exchange.fetch_balance()["USDT"]["free"] == 1000
        with pytest.raises(exchange_errors().ExchangeNotAvailable):
            exchange.sapiGetAccountApiRestrictions()
        exchange.session.close()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.drop_before(), "NetworkError"),
        (faults.accept_then_drop(), "NetworkError"),
        (faults.accept_then_hang(), "RequestTimeout"),
        (faults.cut_answer(), "NetworkError"),
        (faults.error(-1000, True), "OperationFailed"),
        (faults.error(-1001), "OperationFailed"),
        (faults.error(-1006, True), "OperationFailed"),
        (faults.error(-1007, True), "RequestTimeout"),
        (faults.error(-1008), "ExchangeError"),  # the URL is not Binance's own, so ccxt does not know the code
        (faults.html(502), "ExchangeNotAvailable"),
        (faults.html(504, True), "RequestTimeout"),
        (faults.waf(), "ExchangeNotAvailable"),
        (faults.geo_blocked(), "ExchangeNotAvailable"),
        (faults.rate_limited(1), "DDoSProtection"),
        (faults.banned(), "DDoSProtection"),
        (faults.duplicate(), "InvalidOrder"),
        (faults.error(-2010), "InsufficientFunds"),
        (faults.bad_gzip(), "ExchangeError"),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else None,
)
def test_ccxt_meets_a_fault_as_it_does_there(server: BinanceServer, ccxt: Any, fault: Fault, error: str) -> None:
    server.faults.next("POST", "/api/v3/order", fault)
    ccxt.timeout = 300
    with pytest.raises(getattr(exchange_errors(), error)):
        ccxt.create_order("BTC/USDT", "market", "buy", "0.002", None, {"newClientOrderId": "x"})
    assert (server.posts("x"), len(server.orders)) == (1, int(fault.executed))


@pytest.mark.parametrize(
    "fault",
    [faults.truncated(), faults.empty(), faults.page(), faults.null(), faults.empty_object()],
    ids=lambda value: value.name,
)
def test_ccxt_takes_a_broken_body_for_an_order_of_nothing(server: BinanceServer, ccxt: Any, fault: Fault) -> None:
    server.faults.next("POST", "/api/v3/order", fault)
    order = ccxt.create_order("BTC/USDT", "market", "buy", "0.002", None, {"newClientOrderId": "x"})
    assert (order["id"], order["status"]) == (None, None)
    assert (server.posts("x"), len(server.orders)) == (1, 1)


def test_who_follows_a_redirect_sends_the_order_again_and_again(server: BinanceServer, ccxt: Any) -> None:
    server.faults.always("POST", "/api/v3/order", faults.redirect_to_self())
    with pytest.raises(exchange_errors().ExchangeError):
        ccxt.create_order("BTC/USDT", "market", "buy", "0.002", None, {"newClientOrderId": "x"})
    assert server.posts("x") == 31


def test_who_retries_under_the_same_id_buys_twice(server: BinanceServer, ccxt: Any) -> None:
    server.faults.next("POST", "/api/v3/order", faults.accept_then_drop())
    ccxt.options["maxRetriesOnFailure"] = 3
    ccxt.create_order("BTC/USDT", "market", "buy", "0.002", None, {"newClientOrderId": "x"})
    assert (server.posts("x"), len(server.orders)) == (2, 2)


# --- what a test may do to it


def test_a_wiped_account_begins_anew_and_keeps_its_keys(server: BinanceServer, asker: Asker) -> None:
    first = asker.signed("POST", "order", **MARKET, newClientOrderId="old")[1]
    server.wipe()
    assert asker.signed("GET", "order", symbol="BTCUSDT", origClientOrderId="old")[1]["code"] == -2013
    assert (server.balance("USDT"), len(server.trades)) == (D(1000), 0)
    assert asker.signed("POST", "order", **MARKET)[1]["orderId"] == first["orderId"]


def test_everything_can_be_set_over_http(server: BinanceServer, asker: Asker) -> None:
    args = {"code": -1007, "executed": True}
    assert asker.control("fault", kind="error", args=args, also={"hidden_ms": 5}, times=2) == (200, {"ok": True})
    assert asker.raw("POST", "order", **MARKET, newClientOrderId="x")[0] == 504
    assert asker.control("clear-faults")[0] == 200
    assert asker.control("price", price="50000")[0] == 200
    assert asker.control("price", jump_pct="-30")[0] == 200
    assert server.price == 35_000
    assert asker.control("balances", BTC="0.5")[0] == 200
    assert asker.control("deposit", asset="USDT", amount="-100")[0] == 200
    assert asker.control("liquidity", share="0.4")[0] == 200
    assert asker.control("order", side="SELL", qty="0.1")[0] == 200
    assert server.orders[-1].foreign
    assert server.orders[-1].executed_qty == D("0.04")
    assert asker.control("clock", advance_ms=5_000)[0] == 200
    assert server.offset_ms == 5_000
    settings: dict[str, dict[str, Any]] = {
        "status": {"status": "HALT"},
        "average": {"price": None},
        "bnb": {"on": True},
        "hidden": {"ms": 10},
        "limit": {"weight": 100},
        "rights": {"enableWithdrawals": True},
    }
    assert [asker.control(name, **body)[0] for name, body in settings.items()] == [200] * 6
    assert asker.control("ban", secs=60)[0] == 200
    assert asker.ask("GET", "/api/v3/ping")[0] == 418
    assert asker.control("wipe")[0] == 200
    assert server.orders == []


def test_a_setting_that_cannot_be_is_refused_with_the_reason(server: BinanceServer, asker: Asker) -> None:
    assert asker.control("fault", kind="earthquake")[0] == 400
    assert asker.control("price", price="dear")[0] == 400
    assert asker.control("order", side="SELL", qty="1")[1]["code"] == -2010
    status, said = asker.control("weather")
    assert status == 404
    assert "clear-faults" in said["error"]


def test_the_state_tells_all_and_no_secret(server: BinanceServer, asker: Asker) -> None:
    asker.signed("POST", "order", **MARKET, newClientOrderId="x")
    asker.signed("GET", "account")
    text = asker.ask("GET", "/control/state")[1].decode()
    state = json.loads(text)
    assert state["posts"] == {"x": 1}
    assert [one["clientOrderId"] for one in state["orders"]] == ["x"]
    assert sum(D(one["qty"]) for one in state["orders"][0]["fills"]) == D("0.002")
    assert D(state["balances"]["BTC"]["free"]) == D("0.001998")
    assert [(one["method"], one["path"], one["outcome"]) for one in state["requests"]] == [
        ("POST", "/api/v3/order", "200"),
        ("GET", "/api/v3/account", "200"),
    ]
    assert state["requests"][0]["timestamp"] <= state["requests"][0]["arrivedAt"]
    assert server.key not in text
    assert server.secret not in text
    assert "signature" not in text


def test_hooks_are_called_at_their_moments(server: BinanceServer, asker: Asker) -> None:
    seen: list[tuple[str, str, int]] = []

    def note(moment: str, one: Request) -> None:
        seen.append((moment, one.path, len(server.orders)))

    for moment in ("before-request", "before-order", "after-order-before-answer", "after-answer"):
        server.hook(moment, partial(note, moment))
    asker.signed("POST", "order", **MARKET)
    _until(lambda: len(seen) == 4)
    path = "/api/v3/order"
    assert seen == [
        ("before-request", path, 0),
        ("before-order", path, 0),
        ("after-order-before-answer", path, 1),
        ("after-answer", path, 1),
    ]
    server.unhook()
    asker.public("ping")
    assert len(seen) == 4
    with pytest.raises(ValueError, match="moment needs one of"):
        server.hook("sometime", print)


def test_a_client_that_is_killed_at_a_moment_still_has_its_order_executed(server: BinanceServer, asker: Asker) -> None:
    text = asker.sign(
        urlencode({**MARKET, "timestamp": server.now(), "newClientOrderId": "dead", "recvWindow": 60_000})
    )
    code = (
        "import sys, urllib.request as r; a = sys.argv\n"
        "r.urlopen(r.Request(a[1], a[2].encode(), {'X-MBX-APIKEY': a[3]})).read()"
    )
    client: list[subprocess.Popen[bytes]] = []

    def kill(_: Request) -> None:
        client[0].kill()
        client[0].wait()

    server.hook("before-order", kill)
    client.append(subprocess.Popen([sys.executable, "-S", "-c", code, f"{server.url}/api/v3/order", text, server.key]))
    assert client[0].wait(10) == -signal.SIGKILL
    _until(lambda: len(server.orders) == 1)
    assert (server.posts("dead"), server.balance("BTC")) == (1, D("0.001998"))


def test_what_goes_wrong_inside_is_raised_at_the_end() -> None:
    def broken(_: Request) -> None:
        raise LookupError("a hook's own")

    with pytest.raises(LookupError, match="a hook's own"), BinanceServer() as server:
        server.hook("before-request", broken)
        with pytest.raises(http.client.RemoteDisconnected):
            Asker(server).public("ping")


def test_many_clients_at_once_lose_no_cent(server: BinanceServer, asker: Asker) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: asker.signed("POST", "order", **MARKET), range(16)))
    placed = [said for status, said in answers if status == 200]
    assert {said["code"] for status, said in answers if status != 200} <= {-2010}
    assert len(placed) == 8  # 120 USDT each, of 1000
    assert len({one["orderId"] for one in placed}) == 8
    assert server.balance("USDT") == 1000 - sum(D(one["cummulativeQuoteQty"]) for one in placed)


def test_one_connection_serves_many_requests(server: BinanceServer) -> None:
    with closing(http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=5)) as line:
        line.connect()
        port = line.sock.getsockname()[1]
        for _ in range(3):
            line.request("GET", "/api/v3/ping")
            assert line.getresponse().read() == b"{}"
            assert line.sock.getsockname()[1] == port


def test_a_server_that_stops_waits_for_nobody() -> None:
    server = BinanceServer()
    with server, closing(socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])))) as line:
        server.faults.next("GET", "/api/v3/ping", faults.hang())
        line.sendall(b"GET /api/v3/ping HTTP/1.1\r\nHost: x\r\n\r\n")
        _until(lambda: len(server.requests) == 1)
        began = time.monotonic()
        server.__exit__(None, None, None)
        assert time.monotonic() - began < 2


def test_a_person_can_run_it() -> None:
    command = [sys.executable, "-m", "tests.binance_server", "--price", "61000", "--usdt", "50"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        said = dict(shlex.split(line)[1].split("=", 1) for line in lines[:4])
        assert list(said) == ["MODE", "EXCHANGE_API_KEY", "EXCHANGE_API_SECRET", "CCXT_CONFIG"]
        assert json.loads(said["CCXT_CONFIG"])["urls"]["api"]["public"].endswith("/api/v3")
        with urllib.request.urlopen(lines[4].split()[-1], timeout=5) as answer:
            state = json.load(answer)
        assert (state["price"], state["balances"]["USDT"]["free"]) == ("61000.00", "50.00000000")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == "0 requests, 0 of them orders\n"


@pytest.mark.parametrize("words", [["--port", "70000"], ["--price", "nan"], ["--symbols", "1"], ["--usdt", "-1"]])
def test_a_person_who_errs_is_told_so(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    from tests.binance_server import main

    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "needs" in capsys.readouterr().err


def _until(true: Any, secs: float = 5.0) -> None:
    """Wait for what another thread does."""
    until = time.monotonic() + secs
    while not true():
        assert time.monotonic() < until
        time.sleep(0.005)
