"""A live scene: a server, a ledger of its own, and cycles at a desk that the real wiring made."""

from __future__ import annotations

import contextlib
import decimal
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from tests.responses_server import ResponsesServer, Step, approve, buy, facts, plan
from trader_cli.commands.cycle import cycle_code
from trader_cli.commands.options import Globals
from trader_cli.config import Settings, settings_from
from trader_cli.core.decimals import MONEY
from trader_cli.phases.cycle import cycle
from trader_cli.schemas.cycle import Cycle
from trader_cli.schemas.decision import Decision
from trader_cli.tools.clock import Signals, wall_now
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.verification import CHECKS
from trader_cli.wiring import Bench, at_desk

T = TypeVar("T")

AGENTS = {"plan": "PLANNER", "proposal": "TRADER", "verdict": "JUDGE"}
"""What the server calls each agent, and what the ledger does."""

SIGNALS = Signals()
"""Nobody sends any; one for all desks, for each holds a pipe."""


def half_the_room(body: dict[str, Any]) -> dict[str, Any]:
    """A BUY that the law lets through."""
    room = facts(body)["room"]
    step = Decimal(room["step"])
    return buy(format(Decimal(room["max_buy"]) / 2 // step * step, "f"))


GOOD: dict[str, Step] = {"plan": plan(), "proposal": half_the_room, "verdict": approve()}
"""Answers after which an order is filled in the first cycle of a ledger."""


@dataclass
class Live:
    """One ledger and one server, asked by desks that come and go.

    `env` is on top of what the server needs; `warned` is what a person would have been told.
    """

    server: ResponsesServer
    db: Path
    env: Mapping[str, str] = field(default_factory=dict)
    warned: list[str] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        """As the command line makes them."""
        return settings_from("", "none", {**self.server.environment, **self.env}, {"DB_PATH": str(self.db)}).settings

    def cycle(self, **bench: Any) -> tuple[int, Cycle]:
        """A cycle at a desk of its own, and what `trader cycle` would exit with."""
        with at_desk(self.settings, Bench(**{"signals": SIGNALS, **bench})) as desk:
            came = cycle(desk)
        told = SimpleNamespace(out=SimpleNamespace(warn=self.warned.append))
        return int(cycle_code(cast(Globals, told), came)), came

    # --- looking

    def rows(self, sql: str, *values: object) -> list[Any]:
        """What a query finds, read-only."""
        return rows(self.db, sql, *values)

    def calls(self, agent: str = "%") -> list[Any]:
        """(status, attempt, basis) of every call of an agent, in order."""
        return self.rows("SELECT status, attempt, cost_basis FROM model_calls WHERE agent LIKE ? ORDER BY id", agent)

    @property
    def orders(self) -> int:
        """How many orders were ever meant."""
        return int(self.rows("SELECT count(*) FROM orders")[0][0])

    def problems(self) -> list[str]:
        """What `ledger verify` finds wrong."""
        with contextlib.closing(Ledger.open_reader(self.db, wall_now)) as ledger:
            counted = cast(Any, SimpleNamespace(seen=0))
            return [f"{name}: {words}" for name, look in CHECKS for words in look(ledger, counted)]

    def assert_sound(self) -> None:
        """Whatever happened: no request was invalid, each has its reserve, no key was kept, the ledger is proved."""
        assert self.server.invalid == []
        assert self.rows("SELECT count(*) FROM model_reserves") == [(len(self.server.asked()),)]
        assert self.rows("SELECT count(*) FROM model_calls WHERE reserve_id IS NOT NULL") == [
            (len(self.server.asked()),)
        ]
        for path in self.db.parent.glob(f"{self.db.name}*"):
            assert self.server.key.encode() not in path.read_bytes(), path.name
        assert self.problems() == []


def rows(db: Path, sql: str, *values: object) -> list[Any]:
    """What a query finds in a ledger, read-only."""
    with contextlib.closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as connection:
        return connection.execute(sql, values).fetchall()


@contextmanager
def live(db: Path, env: Mapping[str, str] | None = None, otherwise: Mapping[str, Step] | None = None) -> Iterator[Live]:
    """A scene; what nobody scripted gets a good answer."""
    with ResponsesServer(otherwise=otherwise or GOOD) as server:
        yield Live(server, db, {"MODEL_TIMEOUT_SECS": "5", **(env or {})})


def decisions(came: Cycle) -> dict[str, Decision[Any]]:
    """The three decisions of a cycle, by the server's name of their agent."""
    return {"plan": came.plan, "proposal": came.proposal, "verdict": came.verdict}


def at_each_agent(act: Callable[[str], T]) -> dict[str, T]:
    """The same for all three agents at once: what waits, waits together."""
    with ThreadPoolExecutor(3, initializer=lambda: decimal.setcontext(MONEY.copy())) as threads:
        return dict(zip(AGENTS, threads.map(act, AGENTS), strict=True))
