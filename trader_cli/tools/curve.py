"""Equity over all of a ledger's snapshots, thinned for a chart, and read on from where it was read before.

Stretches of as many snapshots each keep their lowest and their highest; there are never more than `MOST` of them.
Values are floats: they are drawn, not reckoned with.
"""

from __future__ import annotations

from dataclasses import dataclass

from trader_cli.core.moments import parse_iso
from trader_cli.schemas.performance import Mark
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.rows import readable

MOST = 600
_ROWS = (
    "SELECT id, ts_utc, CAST(equity_usdt AS REAL), CAST(mark_price AS REAL), CAST(deposits_usdt AS REAL) "
    "FROM portfolio WHERE id > ? ORDER BY id"
)

_Point = tuple[int, str, float, float | None]
"""A snapshot: id, time, equity, what holding would be worth."""


@dataclass(slots=True)
class _Holder:
    """Holds what its deposits bought at the mark they came at, or had before at the first; pays no costs."""

    deposits: float | None = None
    held: float = 0.0

    def worth(self, equity: float, price: float, deposits: float) -> float | None:
        """At the next snapshot; None while there is no price."""
        if price <= 0:
            return None
        came = equity if self.deposits is None else deposits - self.deposits
        self.deposits = deposits
        self.held += came / price
        return self.held * price


@dataclass(slots=True)
class _Stretch:
    """The lowest, the highest and the newest point of some snapshots in a row."""

    low: _Point
    high: _Point
    last: _Point

    def join(self, low: _Point, high: _Point, last: _Point) -> None:
        """Take in what follows."""
        if low[2] < self.low[2]:
            self.low = low
        if high[2] > self.high[2]:
            self.high = high
        self.last = last


class Curve:
    """The thinned equity of one ledger. `marks` reads on; a ledger that was replaced is read anew."""

    def __init__(self) -> None:
        self._anew()

    def _anew(self) -> None:
        self._seen: tuple[str, int, str] | None = None
        self._first: _Point | None = None
        self._holder = _Holder()
        self._width = 1
        self._stretches: dict[int, _Stretch] = {}

    def is_ahead_of(self, ledger: Ledger) -> bool:
        """Whether more was read than this look at the same ledger can show, because it is of a moment before."""
        if self._seen is None or self._seen[0] != ledger.ledger_id:
            return False
        newest = ledger.db.execute("SELECT max(id) FROM portfolio").fetchone()[0]
        return (newest or 0) < self._seen[1]

    def marks(self, ledger: Ledger) -> tuple[Mark, ...]:
        """Equity, and what holding from the first snapshot on would have come to, oldest first. Raises LedgerError."""
        with readable("the snapshots"):
            try:
                return self._marks(ledger)
            except BaseException:
                self._anew()  # some of it may have been read
                raise

    def _marks(self, ledger: Ledger) -> tuple[Mark, ...]:
        last = 0
        if self._seen is not None:
            ledger_id, last, when = self._seen
            row = ledger.db.execute("SELECT wall_ts FROM portfolio WHERE id = ?", (last,)).fetchone()
            if ledger_id != ledger.ledger_id or row is None or row[0] != when:
                self._anew()
                last = 0
        newest = ledger.db.execute("SELECT id, wall_ts FROM portfolio ORDER BY id DESC LIMIT 1").fetchone()
        if newest is None:
            return ()
        if newest[0] > last:
            self._read(ledger, last, newest[0])
            self._seen = ledger.ledger_id, newest[0], newest[1]
        return self._drawn()

    def _read(self, ledger: Ledger, after: int, newest: int) -> None:
        while newest // self._width >= MOST:
            self._broaden()
        for at, when, equity, price, deposits in ledger.db.execute(_ROWS, (after,)):
            point = at, when, equity, self._holder.worth(equity, price, deposits)
            if self._first is None:
                self._first = point
            stretch = self._stretches.get(point[0] // self._width)
            if stretch is None:
                self._stretches[point[0] // self._width] = _Stretch(point, point, point)
            else:
                stretch.join(point, point, point)

    def _broaden(self) -> None:
        """Make one stretch of two, so that there is room for as many more."""
        self._width *= 2
        joined: dict[int, _Stretch] = {}
        for place in sorted(self._stretches):
            if place // 2 in joined:
                one = self._stretches[place]
                joined[place // 2].join(one.low, one.high, one.last)
            else:
                joined[place // 2] = self._stretches[place]
        self._stretches = joined

    def _drawn(self) -> tuple[Mark, ...]:
        points = {self._first} if self._first is not None else set()
        for one in self._stretches.values():
            points |= {one.low, one.high}
        if self._stretches:
            points.add(self._stretches[max(self._stretches)].last)
        return tuple(Mark(parse_iso(when), equity, hold) for _, when, equity, hold in sorted(points))
