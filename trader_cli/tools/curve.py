"""Equity over all of a ledger's snapshots, thinned for a chart, and read on from where it was read before.

Stretches of as many snapshots each keep their lowest and their highest; there are never more than `MOST` of them.
Values are floats: they are drawn, not reckoned with.
"""

from __future__ import annotations

from dataclasses import dataclass

from trader_cli.core.moments import parse_iso
from trader_cli.schemas.performance import Mark
from trader_cli.tools.ledger import Ledger

MOST = 600
_POINT = "id, ts_utc, CAST(equity_usdt AS REAL), CAST(mark_price AS REAL)"

_Point = tuple[int, str, float, float]
"""A snapshot: id, time, equity, price."""


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
        self._width = 1
        self._stretches: dict[int, _Stretch] = {}

    def marks(self, ledger: Ledger) -> tuple[Mark, ...]:
        """Equity, and what holding from the first snapshot on would have come to, oldest first."""
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
        for point in ledger.db.execute(f"SELECT {_POINT} FROM portfolio WHERE id > ? ORDER BY id", (after,)):
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
        begun = self._first
        rate = begun[2] / begun[3] if begun is not None and begun[3] > 0 else None
        return tuple(
            Mark(parse_iso(when), equity, None if rate is None or price <= 0 else rate * price)
            for _, when, equity, price in sorted(points)
        )
