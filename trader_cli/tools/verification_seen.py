"""Observations again: each window found among the candles of its time, its hash, price, age, defects and features.

One walk over candles and observations together, in the order of their links; the bars of the newest windows are kept.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from trader_cli.core.candles import examine
from trader_cli.core.decimals import text
from trader_cli.core.moments import Moment, parse_iso, read_span
from trader_cli.schemas.market import MORE, Candle, CandleBatch, Defect, Features, Window
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.rows import bar_line, bars_sha256
from trader_cli.tools.strategy import compute_indicators
from trader_cli.tools.verification import Count, Problems

KEPT = 8_192
"""How many bars are remembered at least: longer than any window."""

_OF_WINDOW = frozenset({"gap", "plateau", "absurd", "stale"})
"""Defects that the stored bars and the moment of looking show by themselves."""

_UNSEEN = frozenset({"empty", "short", "unavailable"})
"""Defects that need what is not stored: how many bars were asked for, and what an exchange said."""

_SQL = (
    "SELECT id, ts_utc, source, first_at, last_at, bars, candles_sha256, price, age_ms, features_json, defects_json, "
    "link FROM observations ORDER BY id"
)
_BARS = "SELECT opened_at, open, high, low, close, volume, link FROM candles"


class _Seen(NamedTuple):
    """A row of observations, its defects read."""

    id: int
    at: Moment
    source: str
    first_at: str | None
    last_at: str | None
    bars: int
    sha256: str
    price: str | None
    age_ms: int | None
    features: dict[str, Any]
    defects: tuple[Defect, ...]
    link: int


class _Bar(NamedTuple):
    candle: Candle
    line: bytes


class _Bars:
    """The newest revision of each bar as of a link that only moves on."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._rows = iter(ledger.db.execute(f"{_BARS} ORDER BY id"))
        self._next = next(self._rows, None)
        self._bars: dict[str, _Bar] = {}
        self._stamps: list[str] = []
        self._floor = ""

    def between(self, first: str | None, last: str | None, link: int) -> list[_Bar]:
        """The bars opened from `first` to `last` as they stood at `link`, ascending."""
        while self._next is not None and self._next[6] <= link:
            self._add(_bar(self._next[:6]), self._next[0])
            self._next = next(self._rows, None)
        if first is None or last is None:
            return []
        if first <= self._floor:
            sql = f"{_BARS} WHERE opened_at BETWEEN ? AND ? AND link <= ? ORDER BY opened_at, revision"
            found = {row[0]: _bar(row[:6]) for row in self._ledger.db.execute(sql, (first, last, link))}
            return list(found.values())
        low, high = bisect_left(self._stamps, first), bisect_right(self._stamps, last)
        return [self._bars[stamp] for stamp in self._stamps[low:high]]

    def _add(self, bar: _Bar, stamp: str) -> None:
        if stamp not in self._bars:
            insort(self._stamps, stamp)
        self._bars[stamp] = bar
        if len(self._stamps) > 2 * KEPT:
            for old in self._stamps[:KEPT]:
                del self._bars[old]
            self._floor = self._stamps[KEPT - 1]
            del self._stamps[:KEPT]


def _bar(row: tuple[str, ...]) -> _Bar:
    at = parse_iso(row[0])
    return _Bar(Candle(at, *map(Decimal, row[1:])), bar_line(at, row[1:]))


def observations(ledger: Ledger, count: Count) -> Problems:
    """What each observation says of its window, against the candles that were stored by then."""
    for seen, window in _windows(ledger):
        count.seen += 1
        if isinstance(window, str):
            yield f"observation {seen.id}: {window}"
            continue
        price, age_ms = None, None
        if window.candles:
            price = text(window.candles[-1].close)
            age_ms = seen.at - window.candles[-1].opened_at - window.timeframe_ms
        if seen.price != price:
            yield f"observation {seen.id}: price is {seen.price}, its candles make it {price}"
        if seen.age_ms != age_ms:
            yield f"observation {seen.id}: age_ms is {seen.age_ms}, its candles make it {age_ms}"
        yield from (f"observation {seen.id}: {words}" for words in _defects(seen, window))


def features(ledger: Ledger, count: Count) -> Problems:
    """The features of each observation, reckoned again from its candles; equal to the last digit."""
    for seen, window in _windows(ledger):
        count.seen += 1
        if isinstance(window, str):
            continue  # the check before names it
        wanted = compute_indicators(window)
        for name in Features.__slots__:
            was, now = seen.features.get(name), getattr(wanted, name)
            if was != now or name not in seen.features:
                yield f"observation {seen.id}: {name} is {was}, its candles make it {now}"
        for name in seen.features.keys() - set(Features.__slots__):
            yield f"observation {seen.id}: {name} is no feature"


def _windows(ledger: Ledger) -> Iterator[tuple[_Seen, Window | str]]:
    """Every observation with the window it saw, or with what is wrong where there is no such window."""
    timeframe_ms = read_span(ledger.identity().get("timeframe") or "5m")
    bars, last = _Bars(ledger), Window("", timeframe_ms, (), (), None, None)
    for row in ledger.db.execute(_SQL):
        defects = tuple(Defect(**one) for one in json.loads(row[10]))
        seen = _Seen._make((row[0], parse_iso(row[1]), *row[2:9], json.loads(row[9]), defects, row[11]))
        found = _held(seen, bars.between(seen.first_at, seen.last_at, seen.link))
        wrong = _wrong(seen, found)
        if wrong:
            yield seen, wrong
            continue
        candles = tuple(bar.candle for bar in found)
        closes: tuple[float, ...] = ()
        if candles and candles[:-1] == last.candles[1:]:
            closes = (*last.closes[1:], float(candles[-1].close))
        price = candles[-1].close if candles else None
        last = Window(seen.source, timeframe_ms, candles, seen.defects, price, seen.age_ms, closes)
        yield seen, last


def _held(seen: _Seen, found: list[_Bar]) -> list[_Bar]:
    """The bars of a window: a bar that was refused this time may be there, stored when it was sound."""
    if len(found) == seen.bars or not seen.defects:
        return found
    refused = {one.at for one in seen.defects if one.kind not in _OF_WINDOW}
    return [bar for bar in found if bar.candle.opened_at not in refused]


def _wrong(seen: _Seen, found: list[_Bar]) -> str | None:
    if len(found) != seen.bars:
        return f"bars is {seen.bars}, the candles from {seen.first_at} to {seen.last_at} are {len(found)}"
    if (sha256 := bars_sha256(bar.line for bar in found)) != seen.sha256:
        return f"candles_sha256 is {seen.sha256[:12]}, its candles make it {sha256[:12]}"
    return None


def _defects(seen: _Seen, window: Window) -> Iterator[str]:
    """The defects that the stored bars show; where rows were refused, or not all is listed, they show too little."""
    if not window.candles or any(one.kind not in _OF_WINDOW | _UNSEEN for one in seen.defects):
        return
    batch = CandleBatch(seen.source, window.candles)
    again = examine(batch, window.timeframe_ms, seen.at, len(window.candles)).defects
    wanted = [one for one in again if one.kind not in _UNSEEN]
    if any(one.kind == MORE for one in wanted):
        return
    said = [one for one in seen.defects if one.kind not in _UNSEEN]
    for one in said:
        if one not in wanted:
            yield f"{one.kind} ({one.detail}) is no defect of its candles"
    for one in wanted:
        if one not in said:
            yield f"its candles have a defect that it does not name: {one.kind}: {one.detail}"
