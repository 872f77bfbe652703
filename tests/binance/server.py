"""BinanceServer: lets requests in, has them served by the exchange, and spoils the answers where a fault says so."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

from tests.binance import control
from tests.binance.endpoints import Call, Endpoint
from tests.binance.exchange import Exchange
from tests.binance.faults import HTML, PAGE, Fault, Faults
from tests.binance.journal import Journal, Request
from tests.binance.orders import Asked, Order, Trade
from tests.binance.private import PRIVATE, WALLET_API
from tests.binance.public import PUBLIC
from tests.binance.refusal import RefusedError
from tests.binance.signing import Window, bad_key, check_key, check_signature, parameters
from tests.binance.transport import Door, Reply
from tests.binance.weights import Limiter

ENDPOINTS: dict[tuple[str, str], Endpoint] = {**PUBLIC, **PRIVATE}
MOMENTS = ("before-request", "before-order", "after-order-before-answer", "after-answer")
START = {"USDT": Decimal(1000), "BTC": Decimal(0)}
SAFE_RIGHTS = {
    "ipRestrict": False,
    "enableReading": True,
    "enableSpotAndMarginTrading": True,
    "enableWithdrawals": False,
    "enableInternalTransfer": False,
    "enableMargin": False,
    "enableFutures": False,
    "permitsUniversalTransfer": False,
    "enableVanillaOptions": False,
}
OTHER_APIS = (
    *("sapiV2", "sapiV3", "sapiV4", "eapiPublic", "eapiPrivate", "papi", "papiV2"),
    *("dapiPublic", "dapiPrivate", "dapiPrivateV2", "dapiData"),
    *("fapiPublic", "fapiPublicV2", "fapiPublicV3", "fapiPrivate", "fapiPrivateV2", "fapiPrivateV3", "fapiData"),
)
"""What else ccxt's class would ask elsewhere: it leads here and finds nothing."""
Hook = Callable[[Request], object]


class BinanceServer:
    """The exchange on loopback, in a `with`; leaving it raises what went wrong inside (a hook's own exception).

    Attributes:
        key, secret: what a client needs to sign.
        exchange: orders, balances, prices and what may be set about them (`liquidity`, `bnb`, `hidden_ms`).
        faults: what goes wrong next.
        limiter: the request weight of a minute and its limit.
        restrictions: what the key may do, as apiRestrictions tells it; None where there is no such page (testnet).
        unknown_key: the code for a key that is not ours, -2008 or -2015.
        offset_ms: how far the server's clock is ahead of its source.
    """

    def __init__(
        self,
        balances: Mapping[str, Decimal] | None = None,
        *,
        port: int = 0,
        symbols: int = 5,
        price: Decimal | None = None,
        testnet: bool = False,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.key, self.secret = secrets.token_hex(32), secrets.token_hex(32)
        self.exchange = Exchange(START if balances is None else balances, symbols)
        self.faults = Faults()
        self.limiter = Limiter(6_000)
        self.journal = Journal()
        self.restrictions: dict[str, Any] | None = None if testnet else dict(SAFE_RIGHTS)
        self.unknown_key, self.offset_ms = -2008, 0
        self.uid = secrets.randbelow(900_000_000) + 100_000_000
        self._clock = clock or (lambda: time.time_ns() // 1_000_000)
        self._hooks: list[tuple[str, Hook]] = []
        self._door = Door(port, self.respond)
        if price is not None:
            self.exchange.prices("BTCUSDT").lead_to(price, self.now())

    def __enter__(self) -> Self:
        self._door.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._door.stop()
        if error is None and self._door.crashes:
            raise self._door.crashes[0]

    # --- what a client needs

    @property
    def url(self) -> str:
        """Where it is, without a path."""
        return f"http://127.0.0.1:{self._door.port}"

    def ccxt_config(self, **more: Any) -> dict[str, Any]:
        """What CCXT_CONFIG has to be: every API of the class leads here. `more` on top of it."""
        api = dict.fromkeys(("public", "private", "v1"), f"{self.url}/api/v3")
        api.update({name: f"{self.url}/{name}" for name in OTHER_APIS})
        api["sapi"] = f"{self.url}/sapi/v1"
        options = {"fetchMarkets": {"types": ["spot"]}}
        return {"urls": {"api": api, "test": dict(api)}, "options": options, **more}

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to trade here."""
        config = json.dumps(self.ccxt_config())
        return {"EXCHANGE_API_KEY": self.key, "EXCHANGE_API_SECRET": self.secret, "CCXT_CONFIG": config}

    # --- what a test sets

    def now(self) -> int:
        """The server's clock in ms."""
        return self._clock() + self.offset_ms

    def advance(self, ms: int) -> None:
        """Put the server's clock forward, or back."""
        self.offset_ms += ms

    @property
    def price(self) -> Decimal:
        """Of BTCUSDT, now."""
        return self.exchange.prices("BTCUSDT").last(self.now())

    @price.setter
    def price(self, price: Decimal | None) -> None:
        self.set_price(price)

    def set_price(self, price: Decimal | None, symbol: str = "BTCUSDT") -> None:
        """In quote, from now on; None leaves it to its path. Open orders that it reaches are filled."""
        self.exchange.pin(symbol, price, self.now())

    def set_average(self, price: Decimal | None, symbol: str = "BTCUSDT") -> None:
        """What NOTIONAL values a market order at; None is the average of five minutes."""
        self.exchange.prices(symbol).average = price

    def set_balance(self, asset: str, free: Decimal) -> None:
        """What is free, as after a trade or a withdrawal elsewhere."""
        with self.exchange.lock:
            self.exchange.wallet.put(asset, free)

    def deposit(self, asset: str, amount: Decimal) -> None:
        """Give, or take where it is negative."""
        with self.exchange.lock:
            self.exchange.wallet.add(asset, amount)

    def foreign_order(self, side: str, qty: Decimal, price: Decimal | None = None, client_id: str = "") -> Order:
        """An order in BTCUSDT by somebody else's hand: at market, or a limit order at a price."""
        kind = "MARKET" if price is None else "LIMIT"
        asked = Asked("BTCUSDT", side, kind, qty, Decimal(0), price or Decimal(0), "GTC", client_id)
        return self.exchange.place_foreign(asked, self.now())

    def set_status(self, status: str, symbol: str = "BTCUSDT") -> None:
        """TRADING, BREAK, HALT …"""
        self.exchange.statuses[self.exchange.symbol(symbol).name] = status

    def wipe(self) -> None:
        """The testnet's monthly reset; keys stay."""
        self.exchange.wipe()

    def ban(self, secs: int) -> None:
        """418 for everything; 0 lifts it."""
        self.limiter.ban(secs, self.now())

    def hook(self, moment: str, call: Hook) -> None:
        """Call a function with the request at a moment: before-request and after-answer of every request,
        before-order and after-order-before-answer of POST order."""
        if moment not in MOMENTS:
            raise ValueError(f"moment needs one of {', '.join(MOMENTS)}, was {moment!r}")
        self._hooks.append((moment, call))

    def unhook(self) -> None:
        """Call nothing any more."""
        self._hooks.clear()

    # --- what a test counts

    @property
    def requests(self) -> list[Request]:
        """Every request so far, refused ones too; not those to /control."""
        return self.journal.requests

    @property
    def orders(self) -> list[Order]:
        """Every order the engine took, oldest first, hidden and foreign ones too."""
        with self.exchange.lock:
            return list(self.exchange.orders.values())

    @property
    def trades(self) -> list[Trade]:
        """Every execution, oldest first."""
        with self.exchange.lock:
            return list(self.exchange.trades)

    def posts(self, client_id: str | None = None) -> int:
        """How often an order was sent: in all, or under one client id."""
        return sum(one.places and client_id in (None, one.client_id) for one in self.requests)

    def balance(self, asset: str) -> Decimal:
        """Free and locked."""
        with self.exchange.lock:
            return self.exchange.wallet.of(asset).total

    # --- serving

    def respond(self, method: str, target: str, headers: dict[str, str], raw: bytes) -> Reply:
        """What a request gets. Called from a thread of its own for every connection."""
        path, _, query = target.partition("?")
        if path.startswith("/control/"):
            return control.respond(self, method, path.removeprefix("/control/"), raw)
        body = raw.decode("utf-8", "replace")
        try:
            sent, unreadable = parameters(query, body), None
        except RefusedError as refused:
            sent, unreadable = {}, refused
        request = self.journal.open(method, path, sent, self.now())
        self._call("before-request", request)
        fault: Fault | None = None
        try:
            endpoint = self._endpoint(method, path)
            self.limiter.admit(endpoint.weight if endpoint else 1, self.now())
            fault = self.faults.take(method, path)
            if fault is not None:
                self.journal.spoil(request.number, fault.name)
            if unreadable is not None:
                raise unreadable
            if fault is not None and not fault.executed:
                answer: Any = None
            elif endpoint is None:
                return self._not_found(request)
            else:
                answer = self._serve(endpoint, request, (query, body, headers, sent), fault)
            status, more = 200, {}
        except RefusedError as refused:
            answer, status, more = refused.document, refused.status, refused.headers
        return self._spoiled(request, fault, (answer, status, more))

    def _endpoint(self, method: str, path: str) -> Endpoint | None:
        absent = path.startswith(WALLET_API) and self.restrictions is None
        return None if absent else ENDPOINTS.get((method, path))

    def _serve(self, endpoint: Endpoint, request: Request, wire: tuple[Any, ...], fault: Fault | None) -> Any:
        """Let it in, wait where a fault says so, and do it. Raises RefusedError."""
        query, body, headers, sent = wire
        window: Window | None = None
        if endpoint.signed:
            check_key(headers, self.key, self.unknown_key)
            window = check_signature(query, body, sent, self.secret, self.now())
            right = "enableSpotAndMarginTrading" if endpoint.trades else "enableReading"
            if not {**SAFE_RIGHTS, **(self.restrictions or {})}[right]:
                raise bad_key(-2015)
        endpoint.check(sent)
        if request.places:
            self._call("before-order", request)
        if fault is not None and fault.delay_ms:
            self._wait(fault.delay_ms)
        if window is not None:
            window.check(self.now())  # again, just before the engine
        hidden_ms = fault.hidden_ms if fault is not None else 0
        call = Call(self.exchange, sent, self.now(), hidden_ms, self.uid, self.restrictions)
        answer = endpoint.deed(call)
        if request.places:
            self._call("after-order-before-answer", request)
        return answer

    def _wait(self, ms: int) -> None:
        """So long on the server's clock: one that is put forward ends it."""
        due = self.now() + ms
        while self.now() < due and not self._door.stopping.is_set():
            self._door.stopping.wait(min(0.02, max(0.0, (due - self.now()) / 1_000)))

    def _spoiled(self, request: Request, fault: Fault | None, true: tuple[Any, int, Mapping[str, str]]) -> Reply:
        """The answer as it is sent: the true one, or what a fault makes of it."""
        answer, status, more = true
        code = answer.get("code") if status >= 400 and isinstance(answer, dict) else None
        outcome = f"{status}" if code is None else f"{status} {code}"
        headers = {**self._weights(request), **more}
        if fault is None:
            self.journal.close(request.number, outcome)
            return Reply(status, _json(answer), headers=headers, then=self._after(request))
        if fault.holds_secs:
            self.limiter.hold(fault.holds_secs, self.now())
        served = outcome if fault.executed else "not served"
        sent = "" if fault.status is None else f", answered {fault.status}"
        self.journal.close(request.number, f"{served}{sent}" + ("" if fault.ends == "well" else f", {fault.ends}"))
        if fault.status is not None:
            headers.update(fault.headers)
            return Reply(fault.status, fault.body, fault.content_type, headers, fault.ends, self._after(request))
        return Reply(
            status, _json(_changed(answer, fault)), headers=headers, ends=fault.ends, then=self._after(request)
        )

    def _not_found(self, request: Request) -> Reply:
        self.journal.close(request.number, "404")
        return Reply(404, PAGE % (b"404 Not Found", b"404 Not Found"), HTML, then=self._after(request))

    def _weights(self, request: Request) -> dict[str, str]:
        used = str(self.limiter.used)
        weights = {"X-MBX-USED-WEIGHT": used, "X-MBX-USED-WEIGHT-1M": used}
        if request.places:
            count = str(len(self.orders))
            weights.update({"X-MBX-ORDER-COUNT-10S": count, "X-MBX-ORDER-COUNT-1D": count})
        return weights

    def _after(self, request: Request) -> Callable[[], None]:
        return lambda: self._call("after-answer", request)

    def _call(self, moment: str, request: Request) -> None:
        for when, call in list(self._hooks):
            if when == moment:
                call(request)


def _json(answer: Any) -> bytes:
    return json.dumps(answer, separators=(",", ":")).encode()


def _changed(answer: Any, fault: Fault) -> Any:
    """The answer, or each row of it, with the fault's fields."""
    if isinstance(answer, list):
        return [_changed(row, fault) for row in answer]
    if not isinstance(answer, dict):
        return answer
    merged = {**answer, **fault.changes}
    return {name: value for name, value in merged.items() if name not in fault.changes or value is not None}
