"""Asking an exchange: what is tried again, what never is, who is left alone, and what no error ever says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from tests.binance_server import BinanceServer, Fault, faults
from trader_cli.core.errors import ConfigError, UpstreamError
from trader_cli.core.moments import Moment
from trader_cli.schemas.book import Balances
from trader_cli.schemas.market import Market
from trader_cli.tools.clock import wall_now
from trader_cli.tools.exchanges import answers
from trader_cli.tools.exchanges.client import Access, Client, Surroundings, extra_config


@dataclass
class Asking:
    """A client of a loopback exchange, and what its surroundings saw."""

    server: BinanceServer
    extra: dict[str, Any] = field(default_factory=dict)
    bans: list[tuple[Moment, str]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    late_ms: int = 0
    goes_on: bool = True

    def wall(self) -> Moment:
        return wall_now() + self.late_ms

    def wait(self, secs: float) -> bool:
        self.waits.append(secs)
        return self.goes_on

    def client(self, **changes: Any) -> Client:
        access = {"key": self.server.key, "secret": self.server.secret, "extra": self.server.ccxt_config(**self.extra)}
        around = Surroundings(
            self.wall,
            self.wait,
            lambda: self.bans[-1] if self.bans else None,
            lambda until, why: self.bans.append((until, why)),
        )
        return Client(Access("binance", sandbox=True, **(access | changes)), around)


@pytest.fixture
def asking() -> Iterator[Asking]:
    """A fresh exchange."""
    with BinanceServer(balances={"USDT": Decimal(1000)}, testnet=True) as server:
        yield Asking(server)


def market(made: Any) -> Market:
    return answers.market_of(made.load_markets(True, {"symbol": "BTCUSDT"}).get("BTC/USDT"), "BTC/USDT", Decimal(5))


def balances(made: Any) -> Balances:
    return answers.balances_of(made.fetch_balance({"omitZeroBalances": True}), "BTC", "USDT")


def asked(asking: Asking, path: str = "/api/v3/exchangeInfo") -> int:
    return sum(request.path == path for request in asking.server.requests)


SOON: dict[str, Fault] = {
    "connection closed": faults.drop_before(),
    "connection reset": faults.accept_then_drop(),
    "half an answer": faults.cut_answer(),
    "500": faults.html(500),
    "502": faults.html(502),
    "503": faults.html(503),
    "504": faults.html(504),
    "-1000": faults.error(-1000),
    "-1001": faults.error(-1001),
    "-1006": faults.error(-1006),
    "-1007": faults.error(-1007),
    "-1008": faults.error(-1008),
    "truncated": faults.truncated(),
    "empty": faults.empty(),
    "a page": faults.page(),
    "null": faults.null(),
    "{}": faults.empty_object(),
    "bad gzip": faults.bad_gzip(),
}
"""What may be over at the next attempt."""

NEVER: dict[str, Fault] = {
    "firewall": faults.waf(),
    "country": faults.geo_blocked(),
    "limit": faults.rate_limited(60),
    "ban": faults.banned(120),
}
"""What asking again makes worse."""


@pytest.mark.parametrize("fault", [*SOON.values()], ids=[*SOON])
def test_a_read_that_may_work_soon_is_tried_again(asking: Asking, fault: Fault) -> None:
    asking.server.faults.next("GET", "/api/v3/exchangeInfo", fault, 2)
    assert asking.client().read("the market", market).step == Decimal("0.00001")
    assert len(asking.waits) == 2
    assert all(0 <= secs <= 4 for secs in asking.waits)


def test_a_read_that_fails_every_time_is_given_up_after_three(asking: Asking) -> None:
    asking.server.faults.always("GET", "/api/v3/exchangeInfo", faults.html(503))
    with pytest.raises(UpstreamError, match="cannot read the market from binance: status 503"):
        asking.client().read("the market", market)
    assert asked(asking) == 3


def test_a_signal_ends_the_attempts(asking: Asking) -> None:
    asking.goes_on = False
    asking.server.faults.always("GET", "/api/v3/exchangeInfo", faults.html(503))
    with pytest.raises(UpstreamError):
        asking.client().read("the market", market)
    assert asked(asking) <= 2


@pytest.mark.parametrize("fault", [*NEVER.values()], ids=[*NEVER])
def test_what_asking_again_makes_worse_is_asked_once(asking: Asking, fault: Fault) -> None:
    asking.server.faults.always("GET", "/api/v3/exchangeInfo", fault)
    with pytest.raises(UpstreamError):
        asking.client().read("the market", market)
    assert asked(asking) == 1


@pytest.mark.parametrize(("fault", "secs"), [(faults.rate_limited(75), 75), (faults.banned(3600), 3600)])
def test_an_exchange_that_asks_to_wait_is_left_alone_by_this_and_every_later_process(
    asking: Asking, fault: Fault, secs: int
) -> None:
    asking.server.faults.next("GET", "/api/v3/exchangeInfo", fault)
    client = asking.client()
    with pytest.raises(UpstreamError):
        client.read("the market", market)
    ((until, why),) = asking.bans
    assert 0 <= asking.wall() + secs * 1000 - until < 5_000
    assert why.startswith("status ")
    for later in (client, asking.client()):
        with pytest.raises(UpstreamError, match="asked not to be called until"):
            later.read("the market", market)
    assert asked(asking) == 1
    asking.late_ms = secs * 1000 + 1_000
    asking.server.faults.clear()
    asking.server.advance(secs * 1000 + 1_000)
    assert asking.client().read("the market", market).step == Decimal("0.00001")


@pytest.mark.parametrize("fault", [faults.redirect(), faults.redirect_to_self("/api/v3/exchangeInfo")])
def test_a_redirect_is_followed_by_nobody(asking: Asking, fault: Fault) -> None:
    asking.server.faults.next("GET", "/api/v3/exchangeInfo", fault, 3)
    with pytest.raises(UpstreamError):
        asking.client().read("the market", market)
    assert [request.path for request in asking.server.requests] == ["/api/v3/exchangeInfo"] * 3


def test_a_clock_that_moved_is_set_and_the_question_put_again(asking: Asking) -> None:
    client = asking.client()
    client.read("the market", market)
    asking.server.offset_ms = 15_000
    client.read("balances", balances)
    assert abs(client.offset_ms - 15_000) < 1_000
    paths = [request.path for request in asking.server.requests]
    assert paths == ["/api/v3/exchangeInfo", "/api/v3/account", "/api/v3/time", "/api/v3/account"]


@pytest.mark.parametrize("ahead_ms", [-10_000, 10_000])
def test_clocks_that_are_too_far_apart_are_refused_with_how_far(asking: Asking, ahead_ms: int) -> None:
    asking.server.offset_ms = ahead_ms
    client = asking.client()
    client.read("the market", market)
    where = "behind" if ahead_ms > 0 else "ahead of"
    with pytest.raises(UpstreamError, match=rf"clock is (10\.0|9\.9) s {where} binance's"):
        client.set_clock()


def test_a_key_that_is_refused_at_first_is_a_matter_of_settings(asking: Asking) -> None:
    client = asking.client(secret="x" * 64)
    client.read("the market", market)
    with pytest.raises(ConfigError, match=r"does not accept EXCHANGE_API_KEY: status 400, code -1022"):
        client.read("balances", balances)
    assert asked(asking, "/api/v3/account") == 1


def test_a_key_that_worked_and_is_refused_for_a_while_is_an_outage_twice_and_then_a_matter_of_settings(
    asking: Asking,
) -> None:
    client = asking.client()
    client.read("the market", market)
    client.read("balances", balances)
    client.key_worked()
    asking.server.faults.always("GET", "/api/v3/account", faults.error(-2015, status=401))
    for _ in range(2):
        with pytest.raises(UpstreamError):
            client.read("balances", balances)
    with pytest.raises(ConfigError):
        client.read("balances", balances)


def test_after_the_first_question_failed_the_next_ones_are_not_even_put_for_a_moment(asking: Asking) -> None:
    client = asking.client()
    error = UpstreamError("it is down")
    assert client.down(error) is error
    with pytest.raises(UpstreamError, match="it is down"):
        client.read("the market", market)
    assert asking.server.requests == []
    asking.late_ms = 11_000
    client.read("the market", market)


# What errors say.


@pytest.mark.parametrize("fault", [*SOON.values(), *NEVER.values()], ids=[*SOON, *NEVER])
def test_no_error_of_a_signed_question_holds_a_key_a_signature_or_an_address(asking: Asking, fault: Fault) -> None:
    client = asking.client()
    client.read("the market", market)
    asking.server.faults.always("GET", "/api/v3/account", fault)
    with pytest.raises((UpstreamError, ConfigError)) as raised:
        client.read("balances", balances)
    words = f"{raised.value} {raised.value.__cause__} {raised.value.__suppress_context__}"
    for secret in (asking.server.key, asking.server.secret, "signature", "127.0.0.1", "http"):
        assert secret not in words


def test_an_access_shows_no_key() -> None:
    access = Access("binance", key="key-of-mine", secret="secret-of-mine", extra={"proxy": "http://u:p@host"})
    assert repr(access) == "Access(exchange_id='binance', sandbox=False, harmless_keys=False)"
    assert access.fingerprint is not None
    assert "key-of-mine" not in access.fingerprint


# CCXT_CONFIG.


@pytest.mark.parametrize(
    "said", ["", "[]", "{", "null", "1", '"x"', '{"options": 1}', '{"apiKey": "x"}', '{"secret": "x"}',
             '{"number": "float"}', '{"verbose": true}', '{"session": {}}', '{"timeout": 1}', '{"verify": false}']
)  # fmt: skip
def test_a_configuration_that_is_none_or_would_undo_what_is_promised_is_refused(said: str) -> None:
    with pytest.raises(ConfigError, match="CCXT_CONFIG must"):
        extra_config(said)


def test_options_are_merged_but_none_makes_an_order_go_out_twice(asking: Asking) -> None:
    asking.extra = {"options": {"maxRetriesOnFailure": 5, "recvWindow": 60_000}, "hostname": "example.invalid"}
    made = asking.client().ccxt
    assert "maxRetriesOnFailure" not in made.options
    assert made.options["recvWindow"] == 60_000
    assert (made.number, made.enableRateLimit, made.hostname) == (str, True, "example.invalid")
    assert made.options["fetchMarkets"]["types"] == ["spot"]


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        ("http://exchange.example/api/v3", True),
        ("http://127.0.0.1.example.com/x", True),
        ("https://gate.example/x", False),
    ],
)
def test_a_key_never_travels_readable_to_another_machine(asking: Asking, address: str, plain: bool) -> None:
    urls = {"api": {"public": address, "private": address}, "test": {"public": address, "private": address}}
    if plain:
        with pytest.raises(ConfigError, match="without https: the key would travel readable"):
            _ = asking.client(extra={"urls": urls}).ccxt
    assert asking.client(extra={"urls": urls}, key=None, secret=None).ccxt.urls["api"]["public"] == address


def test_an_exchange_without_a_testnet_is_refused() -> None:
    around = Surroundings(wall_now, lambda secs: True, lambda: None, lambda until, why: None)
    with pytest.raises(ConfigError, match="has no testnet"):
        _ = Client(Access("kraken", sandbox=True), around).ccxt
