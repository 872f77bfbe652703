"""The ledger as the server sees it: opened for each answer, read-only, one moment for all of it."""

from __future__ import annotations

import decimal
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from trader_cli import looks
from trader_cli.config import Settings
from trader_cli.core.decimals import MONEY
from trader_cli.core.moments import DAY_MS, HOUR_MS, Moment, iso
from trader_cli.schemas.performance import Mark
from trader_cli.tools import queries
from trader_cli.tools.clock import wall_now
from trader_cli.tools.curve import Curve
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.sql import read_only
from trader_cli.wiring import ledger_path, open_reader

_LOG = logging.getLogger("trader.web")

COST_DAYS = 31
"""For so many days costs are told at once."""

PATIENCE_SECS = 0.08
"""How long a first page waits for what is dear."""

Read = Callable[[Ledger], Any]


class Looking:
    """Opens the ledger of some settings, and keeps what would be read again and again: the curve, memory, past days."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._curve = Curve()
        self._kept: dict[str, tuple[Any, Any]] = {}
        self._lock, self._curve_lock = threading.Lock(), threading.Lock()
        self._turns: dict[str, threading.Lock] = {}
        self._refreshing: set[str] = set()
        self._warm = threading.Event()

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The ledger as it stands now. Raises NotFoundError, LedgerError, BusyError."""
        decimal.setcontext(MONEY.copy())  # a thread begins with Python's own
        with open_reader(self.settings, steady=False) as ledger:
            read_only(ledger.db)
            with ledger.steady():
                self._carry(ledger)
                yield ledger

    def whose(self, ledger: Ledger) -> object:
        """Which ledger a look is at: another file, another ledger or another restoring of it is another."""
        found = ledger_path(self.settings).stat()
        return _whose(ledger), found.st_dev, found.st_ino

    def whose_now(self) -> object:
        """Which one stands there now. Raises NotFoundError, LedgerError, BusyError."""
        with self.ledger() as ledger:
            return self.whose(ledger)

    def warm(self) -> None:
        """Read what is dear, so that the first page need not wait for it."""
        try:
            with self.ledger() as ledger:
                self.marks(ledger)
                self.limits(ledger)
                self.memory(ledger)
        except Exception as error:  # noqa: BLE001 - it breaks for who asks, too, and is told there
            _LOG.warning("nothing was read ahead: %s", error)
        finally:
            self._warm.set()

    def is_warm(self) -> bool:
        """Whether that is read; waits a moment for it, which is enough for all but long ledgers."""
        return self._warm.wait(PATIENCE_SECS)

    def marks(self, ledger: Ledger) -> tuple[Mark, ...]:
        """The points of the equity's curve."""
        with self._curve_lock:
            if not self._curve.is_ahead_of(ledger):
                return self._curve.marks(ledger)
            with self.ledger() as newer:  # somebody read on since this one was opened
                return self._curve.marks(newer)

    def equity(self, ledger: Ledger) -> dict[str, Any]:
        """`trader.equity/1`: the same points as a document."""
        points = [{"ts_utc": iso(one.at), "equity": one.equity, "hold": one.hold} for one in self.marks(ledger)]
        return {"schema": "trader.equity/1", "points": points}

    def status(self, ledger: Ledger) -> dict[str, Any]:
        """`trader.status/1`."""
        return looks.status(self.settings, ledger, wall_now())

    def memory(self, ledger: Ledger) -> dict[str, Any]:
        """`trader.memory/1`, worked out again only after another trade, or something learnt."""
        found: dict[str, Any] = self._once("memory", _learnt(ledger), ledger, looks.memory)
        return found

    def memory_lately(self, ledger: Ledger) -> dict[str, Any]:
        """The same, perhaps of before the newest trade: a page does not wait while it is worked out anew."""
        kept, known = self._kept.get("memory"), _learnt(ledger)
        if kept is None or kept[0][0] != known[0]:
            return self.memory(ledger)
        if kept[0] != known:
            self._refresh("memory", self.memory)
        found: dict[str, Any] = kept[1]
        return found

    def limits(self, ledger: Ledger) -> dict[str, Any]:
        """`trader.limits/1`: the limits, and how near each is; of this second and this state of the ledger."""
        now = wall_now()
        about = ledger.ledger_id, ledger.head, now // 1000
        found: dict[str, Any] = self._once("limits", about, ledger, lambda one: looks.limits(self.settings, one, now))
        self._kept["losing"] = (_whose(ledger), ledger.losing)
        return found

    def costs(self, ledger: Ledger, end: Moment, days: int) -> list[queries.Row]:
        """What models cost on the days before a midnight (ms UTC); days that are over for an hour are read once."""
        whose, settled = _whose(ledger), wall_now() - HOUR_MS
        found: list[queries.Row] = []
        for midnight in range(end - DAY_MS, end - (days + 1) * DAY_MS, -DAY_MS):
            read = _day(midnight)
            name = f"costs {midnight}"
            found += self._once(name, whose, ledger, read) if midnight + DAY_MS < settled else read(ledger)
        return found

    def _once(self, what: str, about: Any, ledger: Ledger, read: Read) -> Any:
        with self._lock:
            turn = self._turns.setdefault(what, threading.Lock())
        with turn:  # who comes meanwhile waits for it, and does not work it out again
            kept = self._kept.get(what)
            if kept is None or kept[0] != about:
                self._kept[what] = kept = about, read(ledger)
        return kept[1]

    def _refresh(self, what: str, read: Read) -> None:
        """Read something again beside the answers, if nobody does already."""

        def work() -> None:
            try:
                with self.ledger() as ledger:
                    read(ledger)
            except Exception as error:  # noqa: BLE001 - what was read before stands until the next try
                _LOG.warning("%s could not be read again: %s", what, error)
            finally:
                with self._lock:
                    self._refreshing.discard(what)

        with self._lock:
            if what in self._refreshing:
                return
            self._refreshing.add(what)
        threading.Thread(target=work, name=f"reading {what}", daemon=True).start()

    def _carry(self, ledger: Ledger) -> None:
        """Let a fresh look know how far the losing streak was read before."""
        kept = self._kept.get("losing")
        if kept is not None and kept[0] == _whose(ledger):
            ledger.losing = kept[1]


def _whose(ledger: Ledger) -> tuple[str, int]:
    """A ledger, and how often it was restored: what was read of it holds until then."""
    restored = ledger.db.execute("SELECT count(*) FROM events WHERE kind = 'RESTORED'").fetchone()[0]
    return ledger.ledger_id, int(restored)


def _learnt(ledger: Ledger) -> tuple[tuple[str, int], Any]:
    """Whose, and how far: what is believed changes with either."""
    return _whose(ledger), ledger.learnt_until()


def _day(midnight: Moment) -> Callable[[Ledger], list[queries.Row]]:
    return lambda ledger: queries.costs(ledger, midnight, midnight + DAY_MS)
