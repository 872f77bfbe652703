"""The side of the program: a disk that can lose its power, and desks over it, each as a process of its own would be."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from random import Random

from tests.desks import COSTS, IDENTITY, LIMITS
from tests.fakes import FIVE, NOW, FakeStop, Killed, plan_words, proposal_words, verdict_words
from tests.machine.line import Line
from tests.machine.world import FAIR, Truth, Weather
from trader_cli.phases.desk import Desk, Minds
from trader_cli.schemas.order import Intent, Side
from trader_cli.schemas.question import Agent, Answer, Question
from trader_cli.schemas.situation import TradingState
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.store import Transaction

BARS = 40
CAP = Decimal(500)


class Watched(Ledger):
    """The ledger, with a hook before and after each of its commits."""

    reached: Callable[[str], None] = staticmethod(lambda place: None)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One commit, between two places where a process may die."""
        with super().transaction() as tx:
            yield tx
            self.reached("commit-before")
        self.reached("commit-after")


@dataclass(frozen=True)
class Plant:
    """Other objects for a desk, in which a bug was planted; by default the real ones."""

    ledger: type[Watched] = Watched
    line: type[Line] = Line
    synchronous: str | None = None


class Names:
    """Names that no restored ledger repeats: they come from here, not from rows."""

    def __init__(self) -> None:
        self._given = 0

    def trace_id(self, n: int) -> str:
        """32 hexadecimal characters."""
        del n
        self._given += 1
        return f"{self._given:032x}"

    def client_order_id(self, n: int, head: str) -> str:
        """`t1-` and a number."""
        del n, head
        self._given += 1
        return f"t1-{self._given:06}"

    def chance(self, trace_id: str) -> Random:
        """Seeded by the trace."""
        return Random(trace_id)


class Eager:
    """A mind that always wants to trade: what it is told to."""

    name = "eager"

    def __init__(self) -> None:
        self.wish = (Side.BUY, Decimal("0.001"))

    def answer(self, question: Question) -> Answer:
        """TRADE, the wish, APPROVE."""
        side, qty = self.wish
        words = {
            Agent.PLANNER: plan_words(),
            Agent.TRADER: proposal_words(side.value, f"{qty:f}"),
            Agent.JUDGE: verdict_words(),
        }
        return Answer(self.name, "ok", words[question.agent])


@dataclass
class Fate:
    """What happens when a place is reached for the n-th time: `deed`, by default the death of the process."""

    place: str | None = None
    count: int = 0
    deed: Callable[[], None] | None = None

    def reached(self, place: str) -> None:
        """Called at every place of a process."""
        if place != self.place:
            return
        self.count -= 1
        if self.count:
            return
        self.place = None
        if self.deed is None:
            raise Killed(place)
        self.deed()


@dataclass
class Disk:
    """A ledger's file. With synchronous=FULL each commit is on it; else only what was synced by the way.

    Which of the two holds is read from the connection, as SQLite itself does.
    """

    db: sqlite3.Connection
    synced: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        """All that is there at first was synced."""
        self.flushed()

    @property
    def careful(self) -> bool:
        """Whether a commit waits for the disk."""
        return int(self.db.execute("PRAGMA synchronous").fetchone()[0]) >= 2

    def flushed(self) -> None:
        """The system wrote everything out by itself."""
        if not self.careful:
            self.synced = self.image()

    def image(self) -> bytes:
        """All bytes as they stand."""
        return self.db.serialize()

    def put(self, image: bytes) -> None:
        """Another file in its place."""
        careful = self.careful
        self.db.deserialize(image)
        self.db.execute("PRAGMA foreign_keys=ON")
        self.db.execute(f"PRAGMA synchronous={'FULL' if careful else 'NORMAL'}")

    def lose_power(self) -> None:
        """What was not synced is gone; the system wrote what it had when it came up again."""
        if not self.careful:
            self.put(self.synced)


@cache
def _blank() -> tuple[bytes, int]:
    """A pinned ledger without a row of trading, and how the product opens its connections."""
    ledger = Ledger.in_memory(lambda: NOW)
    ledger.pin("test-ledger", IDENTITY | {"mode": "testnet", "market": "live"}, None, NOW)
    image, level = ledger.db.serialize(), int(ledger.db.execute("PRAGMA synchronous").fetchone()[0])
    ledger.close()
    return image, level


class House:
    """Two processes over one file, of which one acts at a time."""

    def __init__(self, truth: Truth, plant: Plant) -> None:
        image, level = _blank()
        db = sqlite3.connect(":memory:", isolation_level=None)
        db.deserialize(image)
        db.execute("PRAGMA foreign_keys=ON")
        db.execute(f"PRAGMA synchronous={plant.synchronous or level}")
        self.truth, self.plant, self.disk = truth, plant, Disk(db)
        self.fate, self.stop, self.mind, self.names = Fate(), FakeStop(), Eager(), Names()
        self.acting = 0
        self.start()

    def start(self) -> None:
        """Two new processes, which remember nothing."""
        self.fate.place = None
        self.lines = [self.plant.line(self.truth, self._reached, self._sends) for _ in range(2)]
        self._desks = [self._desk(line) for line in self.lines]

    def close(self) -> None:
        """Close the file."""
        self.disk.db.close()

    @property
    def db(self) -> sqlite3.Connection:
        """For a look from outside."""
        return self.disk.db

    def desk(self, weather: Weather = FAIR) -> Desk:
        """The desk that acts, with the writer lock just taken, in a weather."""
        desk = self._desks[self.acting]
        self.lines[self.acting].weather = weather
        desk.ledger.refresh()
        return desk

    def _reached(self, place: str) -> None:
        self.fate.reached(place)

    def _sends(self, intent: Intent) -> None:
        self.truth.sends.append(intent)
        state = self.stop.said[0]
        if state is TradingState.HALT or (state is TradingState.REDUCE and intent.side is Side.BUY):
            self.truth.wrongs.append(f"{intent.client_order_id} was sent while stopped (V10)")

    def _desk(self, line: Line) -> Desk:
        ledger = self.plant.ledger(self.disk.db, None, self.truth.clock.wall)
        ledger.reached = self._reached
        return Desk(
            clock=self.truth.clock,
            ids=self.names,
            minds=Minds(self.mind, self.mind, self.mind),
            exchange=line,
            ledger=ledger,
            limits=replace(
                LIMITS, deposit_cap=CAP, live_only=True, max_orders_per_day=1000, max_drawdown_pct=Decimal(90)
            ),
            costs=COSTS,
            stop=self.stop,
            timeframe_ms=FIVE,
            ohlcv_limit=BARS,
        )
