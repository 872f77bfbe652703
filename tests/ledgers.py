"""Ledgers for the tests: one grown through the whole desk and copied for each test; and how a stranger edits one.

The minds are scripted, so that few cycles hold every kind of row (orders that fill whole and in part,
revised and refused ones, replies that cannot be used) whatever the policies are.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from trader_cli.config import Settings
from trader_cli.core.decimals import dec, floor_to, mul, text
from trader_cli.core.moments import Moment, parse_iso
from trader_cli.core.ports import Exchange
from trader_cli.phases.cycle import loop
from trader_cli.phases.desk import Desk, Minds
from trader_cli.schemas.book import Balances
from trader_cli.schemas.cycle import Cycle
from trader_cli.schemas.market import CandleBatch, Market, Quote
from trader_cli.schemas.order import Absent, Intent, Report, Sighting
from trader_cli.schemas.question import Agent, Answer, Question, Usage
from trader_cli.schemas.tool import ToolCall
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.verification import verify
from trader_cli.wiring import Bench, open_desk

CYCLES = 24
WALL = parse_iso("2026-11-25T12:00:00Z")
FIVE = 300_000
STRATEGIES = [{"policy_id": "ma_trend", "params": {"fast": 9, "slow": 34}}]


def wall() -> Moment:
    """A wall clock that stands still."""
    return WALL


SCORE = (
    "buy",
    "hold",
    "buy half",
    "sell some",
    "observe",
    "prose",
    "buy",
    "sell all",
    "hold",
    "buy",
    "sell some",
    "hold",
)
"""What the scripted minds do in one bar after the other, over and over."""


class Script:
    """A mind that trades often. What it says follows from the market's time and the facts, not from earlier calls."""

    name = "rules"

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def answer(self, question: Question) -> Answer:
        step = SCORE[parse_iso(question.facts["now"]) // FIVE % len(SCORE)]
        if question.agent is Agent.PLANNER:
            said: dict[str, Any] = {
                "mode": "OBSERVE" if step == "observe" else "TRADE",
                "explore_ratio": 0.25,
                "next_wakeup_secs": 300,
                "strategies": STRATEGIES,
            }
        elif step == "prose":
            return Answer(self.name, "ok", "I would rather say nothing.")
        elif question.agent is Agent.TRADER:
            said = self._propose(question.facts["room"], *step.split())
        else:
            said = self._judge(question.facts["law"], half=step.endswith("half"))
        words = json.dumps(said)
        paid = step == "buy half" and "model_reserves" in self._ledger.tables
        if paid and question.may_call and not question.turns:
            return self._looking(question)
        return self._paid(question, words) if paid else Answer(self.name, "ok", words, source="rules")

    def _looking(self, question: Question) -> Answer:
        """As a model that looks at hours before it answers."""
        call = ToolCall("call_1", "get_ohlcv", '{"timeframe":"1h","limit":3}')
        return replace(self._paid(question, ""), text=None, calls=(call,), items=({"type": "function_call"},))

    def _paid(self, question: Question, words: str) -> Answer:
        """As a model over the network answers at its second attempt: gpt-5 at 1.25 and 10 USD per million tokens."""
        held = [self._ledger.hold_back(question, "gpt-5", Decimal("0.02")) for _ in range(2)]
        price = {"input": "1.25", "cached": "0.125", "output": "10"}
        request = {
            "host": "127.0.0.1", "effort": "low", "verbosity": "low", "temperature": None,
            "tool_choice": "auto" if question.may_call else "none" if question.tools else None,
        }  # fmt: skip
        lost = Answer(
            "gpt-5",
            "unavailable",
            None,
            Usage(cost_usd=Decimal("0.02"), cost_basis="worst case", price=price),
            error="no answer within 30 s",
            request=request,
            reserve_id=held[0],
        )
        usage = Usage(1000, 200, 100, 64, Decimal("0.002025"), "usage", price)
        return Answer(
            "gpt-5",
            "ok",
            words,
            usage,
            attempt=2,
            request_id="req_1",
            request=request,
            body_sha256="0" * 64,
            reserve_id=held[1],
            earlier=(lost,),
        )

    @staticmethod
    def _propose(room: dict[str, str], verb: str, much: str = "") -> dict[str, Any]:
        most = dec(room["max_sell"] if verb == "sell" else room["max_buy"])
        share = {"sell all": Decimal(1), "sell some": Decimal("0.3")}.get(f"{verb} {much}", Decimal("0.04"))
        qty = floor_to(mul(most, share), dec(room["step"])) if verb != "hold" else Decimal(0)
        return {
            "action": verb.upper() if qty else "HOLD",
            "qty": text(qty),
            "policy_id": "ma_trend",
            "hypothesis": f"it is time to {verb}",
            "confidence": 0.625,
        }

    @staticmethod
    def _judge(law: dict[str, str], half: bool) -> dict[str, Any]:
        qty = floor_to(mul(dec(law["allowed_qty"]), Decimal("0.5")), dec(law["step"]))
        return {
            "decision": "REVISE" if half else "APPROVE",
            "revised_qty": text(qty) if half else None,
            "violations": ["size"] if half else [],
            "notes": "half of it" if half else "as proposed",
        }


class Mute:
    """An exchange that takes every order and whose answer is then lost; `submitted` counts. Asking fails as well."""

    name = "mute"
    may_be_wiped = False
    fingerprint = None

    def __init__(self, inner: Exchange) -> None:
        self._inner = inner
        self.submitted: list[str] = []

    def connect(self) -> None:
        self._inner.connect()

    def prove(self) -> dict[str, str]:
        return self._inner.prove()

    def cancel(self, intent: Intent) -> None:
        self._inner.cancel(intent)

    def orders(self, since: Moment, until: Moment) -> tuple[Sighting, ...]:
        return self._inner.orders(since, until)

    def market(self) -> Market:
        return self._inner.market()

    def candles(self, limit: int, now: Moment) -> CandleBatch:
        return self._inner.candles(limit, now)

    def quote(self, now: Moment) -> Quote:
        return self._inner.quote(now)

    def balances(self) -> Balances:
        return self._inner.balances()

    def submit(self, intent: Intent) -> Report:
        self.submitted.append(intent.client_order_id)
        self._inner.submit(intent)
        raise TimeoutError("the answer was lost")

    def find(self, intent: Intent) -> Report | Absent:
        return Absent(final=False, evidence="not seen yet")


def settings(path: Path, **changes: Any) -> Settings:
    """What the grown ledgers are pinned to: a rich account on a market that moves."""
    asked: dict[str, Any] = {
        "paper_balance_usdt": Decimal(1_000_000),
        "max_orders_per_day": 1000,
        "streak_cooldown_secs": 0,
        "simulated_seed": 3,
        "ohlcv_limit": 100,
    }
    return Settings(db_path=path, **(asked | changes))


@contextmanager
def scripted_desk(path: Path, dry_run: bool = False, **changes: Any) -> Iterator[Desk]:
    """A desk over the ledger at `path`, with the scripted minds."""
    with open_desk(settings(path, **changes), Bench(dry_run=dry_run, fast=True)) as desk:
        mind = Script(desk.ledger)
        rounds = 1 if "model_reserves" in desk.ledger.tables else 0
        yield replace(desk, minds=Minds(mind, mind, mind, tool_rounds=rounds))


def grow(path: Path, cycles: int, **changes: Any) -> list[Cycle]:
    """Run some cycles on the ledger at `path`."""
    with scripted_desk(path, **changes) as desk:
        done = [one for one in loop(desk, cycles=cycles) if isinstance(one, Cycle)]
    assert len(done) == cycles
    return done


@cache
def _grown(cycles: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agent.db"
        grow(path, cycles)
        assert not path.with_name("agent.db-wal").exists()
        return path.read_bytes()


def ledger_at(path: Path, cycles: int = CYCLES) -> Path:
    """A copy of the grown ledger, closed, at `path`."""
    path.write_bytes(_grown(cycles))
    path.chmod(0o600)
    return path


def left_by_a_killed_writer(path: Path, folder: Path) -> Path:
    """A copy of an open ledger and its log, as a SIGKILL leaves them. Another process copies, for SQLite's locks."""
    folder.mkdir()
    subprocess.run(["cp", path, path.with_name(path.name + "-wal"), folder], check=True)
    return folder / path.name


@contextmanager
def plain(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as another program opens it: no lock of ours, no checks, every statement its own transaction."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous=OFF")
        yield db


@contextmanager
def tampering(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as a forger edits it: the triggers are dropped first and put back word for word."""
    with plain(path) as db:
        triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name").fetchall()
        db.executescript("BEGIN;" + "".join(f"DROP TRIGGER {name};" for name, _ in triggers) + "COMMIT")
        yield db
        db.executescript("BEGIN;" + "".join(f"{sql};" for _, sql in triggers) + "COMMIT")


@contextmanager
def reading(path: Path) -> Iterator[Ledger]:
    """The ledger, read-only."""
    with closing(Ledger.open_reader(path, wall)) as ledger:
        yield ledger


@contextmanager
def writing(path: Path) -> Iterator[Ledger]:
    """The ledger with the writer lock held."""
    with closing(Ledger.open_writer(path, wall, 0.0)) as ledger, ledger.writing(0.0):
        yield ledger


def failures(path: Path) -> dict[str, tuple[str, ...]]:
    """The checks that `verify` fails, by name, with what they say."""
    with reading(path) as ledger:
        return {check.name: check.problems for check in verify(ledger) if not check.ok}


def rows(path: Path, sql: str, *values: Any) -> list[Any]:
    """What a query finds."""
    with plain(path) as db:
        return db.execute(sql, values).fetchall()


def only(path: Path, sql: str) -> Any:
    """The one value of the one row of a query."""
    ((value,),) = rows(path, sql)
    return value


def one(path: Path, sql: str, *values: Any) -> Any:
    """The one row a query finds; the test needs it to be there."""
    found = rows(path, sql, *values)
    assert found, f"the grown ledger has no row for: {sql}"
    return found[0]


def sha256(path: Path) -> str:
    """The hash of a file's bytes, of nothing if there is none. For files that nobody in this process has open."""
    return hashlib.sha256(path.read_bytes() if path.exists() else b"").hexdigest()


def sha256_from_afar(path: Path) -> str:
    """The same, read by another process: a close of the file in this one would drop SQLite's locks on it."""
    code = "import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())"
    done = subprocess.run([sys.executable, "-ISc", code, str(path)], capture_output=True, text=True, check=True)
    return done.stdout.strip()
