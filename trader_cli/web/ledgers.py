"""The ledger as the server sees it: opened for each answer, read-only, one moment for all of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from trader_cli import looks
from trader_cli.config import Settings
from trader_cli.core.moments import DAY_MS, Moment, day_start
from trader_cli.schemas.performance import Mark
from trader_cli.tools import queries
from trader_cli.tools.clock import wall_now
from trader_cli.tools.curve import Curve
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.sql import read_only
from trader_cli.wiring import open_reader

COST_DAYS = 31
"""For so many days costs are told at once."""


class Looking:
    """Opens the ledger of some settings, and keeps what would be read again and again: the curve, memory, past days."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._curve = Curve()
        self._kept: dict[str, tuple[Any, Any]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The ledger as it stands now. Raises NotFoundError, LedgerError, BusyError."""
        with open_reader(self.settings, steady=False) as ledger:
            read_only(ledger.db)
            with ledger.steady():
                yield ledger

    def marks(self, ledger: Ledger) -> tuple[Mark, ...]:
        """The points of the equity's curve."""
        with self._lock:
            return self._curve.marks(ledger)

    def memory(self, ledger: Ledger) -> dict[str, Any]:
        """`trader.memory/1`, worked out again only after another cycle."""
        found: dict[str, Any] = self._once("memory", (ledger.ledger_id, ledger.head), lambda: looks.memory(ledger))
        return found

    def room(self, ledger: Ledger) -> dict[str, Any]:
        """`trader.limits/1`: the limits, and how near each is."""
        return looks.limits(self.settings, ledger, wall_now())

    def costs(self, ledger: Ledger, end: Moment, days: int) -> list[queries.Row]:
        """What models cost on the days before a midnight (ms UTC); days that are over are read once."""
        today = day_start(wall_now())
        found: list[queries.Row] = []
        for midnight in range(end - DAY_MS, end - (days + 1) * DAY_MS, -DAY_MS):
            read = self._read_day(ledger, midnight)
            found += read() if midnight >= today else self._once(f"costs {midnight}", ledger.ledger_id, read)
        return found

    @staticmethod
    def _read_day(ledger: Ledger, midnight: Moment) -> Callable[[], list[queries.Row]]:
        return lambda: queries.costs(ledger, midnight, midnight + DAY_MS)

    def _once(self, what: str, about: Any, read: Callable[[], Any]) -> Any:
        with self._lock:
            kept = self._kept.get(what)
        if kept is None or kept[0] != about:
            kept = about, read()
            with self._lock:
                self._kept[what] = kept
        return kept[1]
