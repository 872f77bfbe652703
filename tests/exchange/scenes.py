"""A scene: the loopback exchange, models that want to buy, a ledger, and `trader` as processes that trade there.

Processes are forks of one interpreter, as in `tests/test_crash.py`; theirs has loaded ccxt and openai too, and its
clock can be put ahead (`Scene.later`), as the exchange's is, so that nobody waits for a window to close.
"""

from __future__ import annotations

import atexit
import contextlib
import decimal
import functools
import itertools
import json
import mmap
import os
import re
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar, cast

from tests.binance_server import BinanceServer, Fault
from tests.conftest import ROOT, SEALED, Result
from tests.responses_server import ResponsesServer, Step, approve, buy, plan
from tests.test_crash import _SERVER, Child, Forks, Zygote
from trader_cli.core.decimals import MONEY
from trader_cli.tools.clock import wall_now
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.verification import verify

T = TypeVar("T")

ORDER = ("POST", "/api/v3/order")
PRICE = Decimal(60_000)
BUYS: dict[str, Step] = {"plan": plan(), "proposal": buy("0.0005"), "verdict": approve()}
"""30 USDT each time: over two levels of the book, and often."""
PAST_THE_WINDOW_MS = 40_000
"""recvWindow, the most skew, the engine's time and the databases' lag, and some."""
SIGNED = re.compile(rb"signature(=|%3D|\W{1,4})(?!\[redacted\])[0-9a-f]{2}", re.IGNORECASE)
NEARLY = Decimal("1e-8")

# The clock of a process that is put ahead, and what a cycle on an exchange imports on its way. A process that shares a
# `FastClock` does not wait: it puts the clock ahead, for the exchange too.
_AHEAD = """
import mmap, os, struct, time
_true_ns, _shared = time.time_ns, []
def _ahead():
    if "CLOCK_FILE" not in os.environ:
        return int(os.environ.get("CLOCK_AHEAD_MS", "0"))
    if not _shared:
        with open(os.environ["CLOCK_FILE"], "r+b") as file:
            _shared.append(mmap.mmap(file.fileno(), 8))
    return struct.unpack("q", _shared[0][:])[0]
def _sooner(signals, left):
    if "CLOCK_FILE" not in os.environ:
        return _true_wait(signals, left)
    if signals.received is None and (secs := left()) > 0:
        _shared[0][:] = struct.pack("q", _ahead() + int(secs * 1000) + 1)
    return signals.received is None
time.time_ns = lambda: _true_ns() + _ahead() * 1_000_000
time.time = lambda: time.time_ns() / 1e9
from trader_cli.tools.clock import Signals
_true_wait, Signals._wait = Signals._wait, _sooner
from trader_cli.tools.exchanges.ccxt_class import exchange_class
exchange_class("binance")
import httpx2, openai, openai.resources.responses, openai.types.responses
import jsonschema, tenacity, trader_cli.tools.exchanges.line
"""


class FastClock:
    """A clock of this machine's that several processes share and may put ahead. Times in ms."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(struct.pack("q", 0))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 8)

    def now(self) -> int:
        """What it shows."""
        return wall_now() + self._ahead()

    def later(self, ms: int = PAST_THE_WINDOW_MS) -> None:
        """Put it ahead."""
        self._shared[:] = struct.pack("q", self._ahead() + ms)

    def _ahead(self) -> int:
        return int(struct.unpack("q", self._shared[:])[0])


class _Exchangers(Zygote):
    """The interpreter that these processes are forks of."""

    def __init__(self) -> None:
        env = {**SEALED, "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
        self._server = subprocess.Popen(
            [sys.executable, "-c", _AHEAD + _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
        )
        self._streams = Path(tempfile.mkdtemp(prefix="trader-exchangers-"))
        self._count = itertools.count()
        self._turn = threading.Lock()


@functools.cache
def _exchangers() -> Zygote:
    made = _Exchangers()
    atexit.register(made.close)
    return made


class Traders(Forks):
    """Forks of that interpreter."""

    def _start(self, *commands: tuple[str, ...], env: Mapping[str, str] | None = None, stdin: str = "") -> Child:
        child = _exchangers().start(commands, {**self.env, **(env or {})}, self.folder, stdin)
        self._children.append(child)
        return child


@dataclass
class Scene:
    """One exchange, one ledger. `said` is all that any process said; `ahead_ms` how far both clocks were put ahead."""

    server: BinanceServer
    minds: ResponsesServer
    traders: Traders
    db: Path
    said: list[str] = field(default_factory=list)
    ahead_ms: int = 0

    # --- running

    def start(self, *words: str, **env: str) -> Child:
        """A process beside the test."""
        return self.traders.start(*words, env={**env, "CLOCK_AHEAD_MS": str(self.ahead_ms)})

    def ended(self, child: Child, code: int | None = None) -> Result:
        """Its end, with a code that was expected; what it said is kept to be searched for secrets."""
        done = child.result()
        self.said += [done.stdout, done.stderr]
        assert code in (None, done.code), f"exit {done.code}, expected {code}: {done.stderr}{done.stdout}"
        return done

    def trader(self, *words: str, code: int | None = 0, **env: str) -> Result:
        """`trader` with some words, ended with that code."""
        return self.ended(self.start(*words, **env), code)

    def cycle(self, code: int | None = 0, **env: str) -> dict[str, Any]:
        """A cycle's document."""
        return cast(dict[str, Any], json.loads(self.trader("cycle", "--json", code=code, **env).stdout or "{}"))

    def recover(self, code: int = 0) -> list[str]:
        """The states of the orders that `trader recover` looked at."""
        said = json.loads(self.trader("recover", "--json", code=code).stdout)
        return [order["state"] for order in said["orders"]]

    def spoil(self, fault: Fault, method: str = ORDER[0], path: str = ORDER[1], times: int = 1) -> None:
        """What goes wrong with the next so many requests of a path."""
        self.server.faults.next(method, path, fault, times)

    def later(self, ms: int = PAST_THE_WINDOW_MS) -> None:
        """Let time pass for both."""
        self.ahead_ms += ms
        self.server.advance(ms)

    # --- looking

    def rows(self, sql: str, *values: object) -> list[Any]:
        """What a query finds in the ledger, read-only."""
        if not self.db.exists():
            return []
        with contextlib.closing(sqlite3.connect(f"file:{self.db}?mode=ro", uri=True)) as db:
            if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                return []  # its first writer was killed before it had made the tables
            return db.execute(sql, values).fetchall()

    def one(self, sql: str, *values: object) -> Any:
        """The one value a query finds."""
        return self.rows(sql, *values)[0][0]

    @property
    def states(self) -> list[str]:
        """Of every order of the ledger, its last state, oldest first."""
        return [
            state
            for (state,) in self.rows(
                "SELECT (SELECT state FROM order_events AS e WHERE e.client_order_id = o.client_order_id "
                "ORDER BY e.id DESC LIMIT 1) FROM orders AS o ORDER BY o.id"
            )
        ]

    def events(self, kind: str) -> list[dict[str, Any]]:
        """What the ledger's events of a kind say."""
        return [json.loads(said) for (said,) in self.rows("SELECT data_json FROM events WHERE kind = ?", kind)]

    def asked(self, since: int = 0) -> list[str]:
        """The requests after the first so many, as `GET klines`."""
        return [f"{one.method} {one.path.removeprefix('/api/v3/')}" for one in self.server.requests[since:]]

    # --- what must hold

    def assert_each_sent_once(self) -> None:
        """No order went out twice, none without being written down first, no proposal became two orders."""
        posted = [one.client_id for one in self.server.requests if one.places]
        assert len(posted) == len(set(posted)), posted
        known = {key for (key,) in self.rows("SELECT client_order_id FROM orders")}
        assert set(posted) - known == set(), "an order was sent that the ledger does not know"
        proposals = [one for (one,) in self.rows("SELECT proposal_id FROM orders WHERE proposal_id IS NOT NULL")]
        assert len(proposals) == len(set(proposals))

    def assert_books_agree(self) -> None:
        """The ledger tells what the exchange knows: orders, executions with their fees, trades, balances. Proved."""
        self.assert_each_sent_once()
        assert self.one("SELECT count(*) FROM open_orders") == 0
        ours = {one.order_id: one for one in self.server.orders if one.client_order_id.startswith("t1-")}
        known = {key for (key,) in self.rows("SELECT client_order_id FROM orders")}
        assert {one.client_order_id for one in ours.values()} - known == set(), "an orphan"
        assert self._fills() == sorted(
            (
                ours[one.order_id].client_order_id,
                str(one.trade_id),
                one.qty,
                one.price,
                one.commission,
                one.commission_asset,
            )
            for one in self.server.trades
            if one.order_id in ours
        )
        executed = sorted(one.client_order_id for one in ours.values() if one.executed_qty)
        assert [key for (key,) in self.rows("SELECT idempotency_key FROM trades ORDER BY 1")] == executed
        self._assert_balances()
        assert self.problems() == []

    def _fills(self) -> list[tuple[str, str, Decimal, Decimal, Decimal, str]]:
        found = self.rows("SELECT client_order_id, trade_id, qty, price, fee, fee_asset FROM fills")
        return sorted((row[0], row[1], Decimal(row[2]), Decimal(row[3]), Decimal(row[4]), row[5]) for row in found)

    def _assert_balances(self) -> None:
        with contextlib.closing(Ledger.open_reader(self.db, wall_now)) as ledger:
            book, foreign = ledger.book("BTC", "USDT"), ledger.foreign()
        assert foreign is not None
        assert abs(book.base + foreign.base - self.server.balance("BTC")) < NEARLY
        assert abs(book.quote + foreign.quote - self.server.balance("USDT")) < NEARLY

    def problems(self) -> list[str]:
        """What `ledger verify` finds wrong."""
        with contextlib.closing(Ledger.open_reader(self.db, wall_now)) as ledger:
            found = [(one.name, one.problems) for one in verify(ledger)]
        return [f"{name}: {words}" for name, problems in found for words in problems]

    def assert_it_goes_on(self) -> None:
        """The next cycle trades, under a new id, and the books agree."""
        before = self.server.posts()
        done = self.cycle()["execution"]
        assert done["order"] is not None, done["reason"]
        assert (done["order"]["state"], self.server.posts()) == ("FILLED", before + 1)
        self.assert_books_agree()

    def assert_silent(self) -> None:
        """No key, secret or signature in anything that was said, nor in any file that was left."""
        told = "\n".join(self.said).encode()
        files = [path for path in self.db.parent.rglob("*") if path.is_file()]
        for where, octets in [("what was said", told), *((path.name, path.read_bytes()) for path in files)]:
            for secret in (self.server.key, self.server.secret, self.minds.key):
                assert secret.encode() not in octets, where
            assert re.search(SIGNED, octets) is None, where


@contextlib.contextmanager
def scene(folder: Path, env: Mapping[str, str], **options: Any) -> Iterator[Scene]:
    """A scene in a folder of its own; `env` is what a clean process needs, `options` are the exchange's."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        BinanceServer(**{"testnet": True, "price": PRICE, **options}) as server,
        ResponsesServer(otherwise=BUYS) as minds,
        Traders({**env, **settings(server, minds)}, folder) as traders,
    ):
        made = Scene(server, minds, traders, folder / "x.db")
        yield made
        made.assert_silent()


def settings(server: BinanceServer, minds: ResponsesServer) -> dict[str, str]:
    """The environment of a process that trades on the server's testnet with its models."""
    return {
        **server.environment,
        **minds.environment,
        "MODE": "testnet",
        "AGENTS": "auto",
        "DB_PATH": "x.db",
        "LOG_LEVEL": "DEBUG",
        "MAX_ORDERS_PER_DAY": "10000",
        "MAX_ORDERS_PER_HOUR": "10000",
        "MAX_REJECTED_STREAK": "10000",
        "MAX_LOSING_STREAK": "10000",
    }


def all_at_once(cases: Mapping[str, T], act: Callable[[str, T], None], together: int = 6) -> None:
    """The same for every case, some at a time: what waits, waits together. Fails with every case that failed."""
    failed = {}

    def attempt(name: str) -> None:
        decimal.setcontext(MONEY.copy())
        try:
            act(name, cases[name])
        except Exception as error:  # noqa: BLE001 - all of them are told at once below
            failed[name] = f"{type(error).__name__}: {error}"

    with ThreadPoolExecutor(together) as threads:
        list(threads.map(attempt, cases))
    assert failed == {}, json.dumps(failed, indent=1)
