"""Equity over all of a ledger's snapshots, thinned for a chart, and read on from where it was read before.

Stretches of as many snapshots each keep their lowest and their highest; there are never more than `MOST` of them.
Values are floats: they are drawn, not reckoned with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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

    def join(self, other: _Stretch) -> None:
        """Take in what follows."""
        self.low = min(self.low, other.low, key=_equity)
        self.high = max(self.high, other.high, key=_equity)
        self.last = other.last


def _equity(point: _Point) -> float:
    return point[2]


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
        if self._first is None:
            self._first = ledger.db.execute(f"SELECT {_POINT} FROM portfolio ORDER BY id LIMIT 1").fetchone()
        ends: list[dict[int, _Point]] = []
        for order in ("min", "max"):
            # SQLite gives the other columns of the row that has the least or greatest value (lang_select.html).
            rows = ledger.db.execute(
                f"SELECT id / ?, {_POINT}, {order}(CAST(equity_usdt AS REAL)) FROM portfolio WHERE id > ? GROUP BY 1",
                (self._width, after),
            )
            ends.append({row[0]: tuple(row[1:5]) for row in rows})
        rows = ledger.db.execute("SELECT id / ?, max(id) FROM portfolio WHERE id > ? GROUP BY 1", (self._width, after))
        lasts = self._points(ledger, dict(rows))
        for place, low in ends[0].items():
            found = _Stretch(low, ends[1][place], lasts[place])
            if place in self._stretches:
                self._stretches[place].join(found)
            else:
                self._stretches[place] = found

    @staticmethod
    def _points(ledger: Ledger, ids: dict[int, int]) -> dict[int, Any]:
        ask = f"SELECT {_POINT} FROM portfolio WHERE id = ?"
        return {place: ledger.db.execute(ask, (row_id,)).fetchone() for place, row_id in ids.items()}

    def _broaden(self) -> None:
        """Make one stretch of two, so that there is room for as many more."""
        self._width *= 2
        joined: dict[int, _Stretch] = {}
        for place in sorted(self._stretches):
            if place // 2 in joined:
                joined[place // 2].join(self._stretches[place])
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
