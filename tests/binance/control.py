"""`/control/…`: the same settings and counts over HTTP, for tests that have the server in another process.

Nothing here is signed, and nothing of it is in the journal.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from tests.binance.faults import KINDS
from tests.binance.orders import listed, looked_up
from tests.binance.refusal import RefusedError
from tests.binance.transport import Reply

if TYPE_CHECKING:
    from tests.binance.server import BinanceServer

Body = dict[str, Any]


def respond(server: BinanceServer, method: str, name: str, raw: bytes) -> Reply:
    """GET state, or POST one of the settings."""
    if (method, name) == ("GET", "state"):
        return _reply(200, state(server))
    setting = SETTINGS.get(name)
    if method != "POST" or setting is None:
        known = f"GET /control/state, POST /control/{{{','.join(SETTINGS)}}}"
        return _reply(404, {"error": f"no {method} /control/{name}; there is: {known}"})
    try:
        body = json.loads(raw or b"{}")
        if not isinstance(body, dict):
            return _reply(400, {"error": f"needs a JSON object, was {type(body).__name__}"})
        setting(server, body)
    except RefusedError as refused:
        return _reply(400, refused.document)
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        return _reply(400, {"error": f"{type(error).__name__}: {error}"})
    return _reply(200, {"ok": True})


def state(server: BinanceServer) -> Body:
    """All that happened: orders with their fills, balances, requests, orders sent by client id."""
    trades = server.trades
    posts: dict[str, int] = {}
    for one in server.requests:
        if one.places:
            posts[one.client_id or ""] = posts.get(one.client_id or "", 0) + 1
    with server.exchange.lock:
        balances = {
            asset: {"free": format(one.free, "f"), "locked": format(one.locked, "f")}
            for asset, one in server.exchange.wallet.balances.items()
        }
    return {
        "time": server.now(),
        "price": format(server.price, "f"),
        "orders": [
            {
                **looked_up(order),
                "foreign": order.foreign,
                "fills": [listed(one) for one in trades if one.order_id == order.order_id],
            }
            for order in server.orders
        ],
        "balances": balances,
        "posts": posts,
        "faults": [list(one) for one in server.faults.left],
        "requests": [one.document for one in server.requests],
    }


def _reply(status: int, document: Body) -> Reply:
    return Reply(status, json.dumps(document).encode())


def _fault(server: BinanceServer, body: Body) -> None:
    """{"method", "path", "kind", "args": {…} or […], "also": {…}, "times": 1 | null}."""
    args = body.get("args", {})
    kind = KINDS[body["kind"]]
    fault = kind(*args) if isinstance(args, list) else kind(**args)
    fault = replace(fault, **body.get("also", {}))
    method, path = body.get("method", "POST"), body.get("path", "/api/v3/order")
    times = body.get("times", 1)
    if times is None:
        server.faults.always(method, path, fault)
    else:
        server.faults.next(method, path, fault, int(times))


def _clock(server: BinanceServer, body: Body) -> None:
    """{"offset_ms"} sets, {"advance_ms"} adds."""
    server.offset_ms = int(body.get("offset_ms", server.offset_ms)) + int(body.get("advance_ms", 0))


def _price(server: BinanceServer, body: Body) -> None:
    """{"price": "60000" | null, "symbol"}, or {"jump_pct": "-30"}."""
    symbol = body.get("symbol", "BTCUSDT")
    if "jump_pct" in body:
        last = server.exchange.prices(symbol).last(server.now())
        server.set_price(last * (100 + Decimal(body["jump_pct"])) / 100, symbol)
    else:
        server.set_price(_decimal(body["price"]), symbol)


def _average(server: BinanceServer, body: Body) -> None:
    server.set_average(_decimal(body["price"]), body.get("symbol", "BTCUSDT"))


def _liquidity(server: BinanceServer, body: Body) -> None:
    server.exchange.liquidity = _decimal(body["share"])


def _balances(server: BinanceServer, body: Body) -> None:
    """{"BTC": "0.5"}: what is free."""
    for asset, free in body.items():
        server.set_balance(asset, Decimal(free))


def _deposit(server: BinanceServer, body: Body) -> None:
    server.deposit(body["asset"], Decimal(body["amount"]))


def _order(server: BinanceServer, body: Body) -> None:
    """A foreign order: {"side", "qty", "price", "client_id"}."""
    price = _decimal(body.get("price"))
    server.foreign_order(body["side"], Decimal(body["qty"]), price, body.get("client_id", ""))


def _status(server: BinanceServer, body: Body) -> None:
    server.set_status(body["status"], body.get("symbol", "BTCUSDT"))


def _bnb(server: BinanceServer, body: Body) -> None:
    server.exchange.bnb = bool(body["on"])


def _hidden(server: BinanceServer, body: Body) -> None:
    server.exchange.hidden_ms = int(body["ms"])


def _limit(server: BinanceServer, body: Body) -> None:
    server.limiter.limit = int(body["weight"])


def _rights(server: BinanceServer, body: Body) -> None:
    """{"enableWithdrawals": true} changes some, {"absent": true} takes the page away."""
    server.restrictions = None if body.pop("absent", False) else {**(server.restrictions or {}), **body}


def _clear(server: BinanceServer, _: Body) -> None:
    server.faults.clear()


def _ban(server: BinanceServer, body: Body) -> None:
    server.ban(int(body["secs"]))


def _wipe(server: BinanceServer, _: Body) -> None:
    server.wipe()


SETTINGS: dict[str, Callable[[BinanceServer, Body], None]] = {
    "fault": _fault,
    "clear-faults": _clear,
    "clock": _clock,
    "price": _price,
    "average": _average,
    "liquidity": _liquidity,
    "balances": _balances,
    "deposit": _deposit,
    "order": _order,
    "status": _status,
    "bnb": _bnb,
    "hidden": _hidden,
    "limit": _limit,
    "rights": _rights,
    "ban": _ban,
    "wipe": _wipe,
}


def _decimal(said: str | None) -> Decimal | None:
    return None if said is None else Decimal(said)
