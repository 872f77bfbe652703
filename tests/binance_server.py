"""A loopback server of Binance's spot API, for tests and for a person.

Tests: `with BinanceServer() as server: server.faults.next("POST", "/api/v3/order", faults.accept_then_drop())`.
A person: `python -m tests.binance_server` prints one line of JSON (where it is, the keys, what CCXT_CONFIG has to
be) and serves until it is ended; `curl URL/control/state` shows what happened. The parts are in `tests/binance/`.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import threading
from decimal import Decimal, InvalidOperation

from tests.binance import faults
from tests.binance.faults import Fault
from tests.binance.journal import Request
from tests.binance.orders import Order, Trade
from tests.binance.server import BinanceServer

__all__ = ["BinanceServer", "Fault", "Order", "Request", "Trade", "faults"]


def main(words: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.binance_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port of 127.0.0.1; 0 takes a free one")
    parser.add_argument("--symbols", type=int, default=5, help="how many symbols exchangeInfo lists; the real one 3500")
    parser.add_argument("--price", type=_positive, help="pins BTCUSDT, in USDT; without it the price moves")
    parser.add_argument("--usdt", type=_positive, default=Decimal(1000), help="what the account has to begin with")
    parser.add_argument("--testnet", action="store_true", help="no page about the key's rights, as on the testnet")
    given = parser.parse_args(words)
    if not 0 <= given.port <= 65_535 or not 5 <= given.symbols <= 20_000:
        parser.error("--port needs 0 to 65535 and --symbols 5 to 20000")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        server = BinanceServer(
            {"USDT": given.usdt, "BTC": Decimal(0)},
            port=given.port,
            symbols=given.symbols,
            price=given.price,
            testnet=given.testnet,
        )
    except OSError as error:
        parser.error(f"--port {given.port} cannot be had: {error.strerror}; take another, or 0 for a free one")
    with server:
        exports = {"MODE": "testnet", **server.environment}
        sys.stdout.write("".join(f"export {name}={shlex.quote(value)}\n" for name, value in exports.items()))
        sys.stdout.write(f"# what it has seen: {server.url}/control/state\n")
        sys.stdout.flush()
        ended.wait()
    sys.stderr.write(f"{len(server.requests)} requests, {server.posts()} of them orders\n")
    return 0


def _positive(said: str) -> Decimal:
    try:
        value = Decimal(said)
    except InvalidOperation:
        value = Decimal(0)
    if not value.is_finite() or value <= 0:
        raise argparse.ArgumentTypeError(f"needs a number above 0, was {said!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())
