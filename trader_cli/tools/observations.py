"""Observations in rows: each bar once (a restated one is a new revision), and the windows that name them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from trader_cli.core.candles import moved_on
from trader_cli.core.decimals import dec, text
from trader_cli.core.errors import NotFoundError
from trader_cli.core.hostile import storable
from trader_cli.core.moments import Moment, iso, parse_iso
from trader_cli.schemas.market import Candle, Defect, Features, Observation, Window
from trader_cli.tools.rows import bar_line, bars_sha256, candle_texts, dumps
from trader_cli.tools.store import Store, Transaction

_BARS_KEPT = 4_096


class _Bar(NamedTuple):
    """A stored bar: its newest revision, as a record and as its line of a window's hash."""

    revision: int
    candle: Candle
    line: bytes


class ObservationStore(Store):
    """A store that keeps what was seen, and remembers the newest of it."""

    def __init__(self, db: Any, path: Path | None, wall: Callable[[], Moment]) -> None:
        self._bars: dict[Moment, _Bar] = {}
        self._read: dict[str, tuple[tuple[str, ...], Candle]] = {}
        self._observation: Observation | None = None
        self._lines: list[bytes] = []
        super().__init__(db, path, wall)

    def forget(self) -> None:
        """Drop what is remembered: another process wrote, or a transaction failed."""
        super().forget()
        self._bars = {}
        self._observation = None
        self._lines = []

    def log_observation(self, tx: Transaction, seen: Observation) -> Observation:
        """Store the bars that are new or restated, and the observation that names them."""
        window, candles = seen.window, seen.window.candles
        last = self._observation
        passed = moved_on(last.window.candles, candles) if last is not None and self._lines else None
        if passed is not None:
            kept = self._lines[passed:]
            self._lines = [*kept, *(self._log_candle(tx, candle) for candle in candles[len(kept) :])]
            if len(self._bars) > _BARS_KEPT:
                self._bars = {candle.opened_at: self._bars[candle.opened_at] for candle in candles}
        else:
            self._remember_bars(candles[0].opened_at if candles else None)
            self._lines = [self._log_candle(tx, candle) for candle in candles]
        row_id = tx.insert(
            "observations",
            ts_utc=iso(seen.at),
            trace_id=seen.trace_id,
            source=window.source,
            first_at=iso(candles[0].opened_at) if candles else None,
            last_at=iso(candles[-1].opened_at) if candles else None,
            bars=len(candles),
            candles_sha256=bars_sha256(self._lines),
            price=None if window.price is None else text(window.price),
            age_ms=window.age_ms,
            features_json=dumps({name: getattr(seen.features, name) for name in seen.features.__slots__}),
            defects_json=storable(dumps([{"kind": d.kind, "detail": d.detail, "at": d.at} for d in window.defects]))
            if window.defects
            else "[]",
            balance_quote=None if seen.quote_balance is None else text(seen.quote_balance),
            balance_base=None if seen.base_balance is None else text(seen.base_balance),
        )
        self._observation = replace(seen, id=row_id)
        return self._observation

    def _log_candle(self, tx: Transaction, candle: Candle) -> bytes:
        """Store a bar if it is new or restated; returns its line of the window's hash."""
        known = self._bars.get(candle.opened_at)
        if known is None or known.candle != candle:
            texts = candle_texts(candle)
            known = _Bar(known.revision + 1 if known else 0, candle, bar_line(candle.opened_at, texts))
            values = dict(zip(("open", "high", "low", "close", "volume"), texts, strict=True))
            tx.insert("candles", opened_at=iso(candle.opened_at), revision=known.revision, **values)
            self._bars[candle.opened_at] = known
        return known.line

    def last_window(self) -> Window | None:
        """The window looked at last, if it is remembered."""
        return None if self._observation is None else self._observation.window

    def _remember_bars(self, first: Moment | None) -> None:
        if first is None:
            return
        if len(self._bars) > _BARS_KEPT:
            self._bars = {at: bar for at, bar in self._bars.items() if at >= first}
        if first not in self._bars:
            for row in self.db.execute(
                "SELECT opened_at, revision, open, high, low, close, volume FROM candles "
                "WHERE opened_at >= ? ORDER BY opened_at, revision",
                (iso(first),),
            ):
                candle = Candle(parse_iso(row[0]), *map(Decimal, row[2:]))
                self._bars[candle.opened_at] = _Bar(int(row[1]), candle, bar_line(candle.opened_at, row[2:]))

    def observation(self, row_id: int | None, timeframe_ms: int) -> Observation:
        """An observation with the candles it saw, as they stood then."""
        if self._observation is not None and self._observation.id == row_id:
            return self._observation
        self._lines = []
        row = self.db.execute(
            "SELECT ts_utc, trace_id, source, first_at, last_at, price, age_ms, features_json, defects_json, "
            "balance_quote, balance_base, link FROM observations WHERE id = ?",
            (row_id,),
        ).fetchone()
        if row is None:
            raise NotFoundError(f"no observation {row_id} in this ledger")
        window = Window(
            source=row[2],
            timeframe_ms=timeframe_ms,
            candles=self._candles_seen(row[3], row[4], row[11]),
            defects=tuple(Defect(**one) for one in json.loads(row[8])),
            price=None if row[5] is None else dec(row[5]),
            age_ms=row[6],
        )
        features = Features(**json.loads(row[7]))
        held = [None if value is None else dec(value) for value in row[9:11]]
        self._observation = Observation(row_id, row[1], parse_iso(row[0]), window, features, *held)
        return self._observation

    def _candles_seen(self, first_at: str | None, last_at: str | None, link: int) -> tuple[Candle, ...]:
        if first_at is None or last_at is None:
            return ()
        newest: dict[str, tuple[str, ...]] = {}
        for row in self.db.execute(
            "SELECT opened_at, open, high, low, close, volume FROM candles "
            "WHERE opened_at BETWEEN ? AND ? AND link <= ? ORDER BY opened_at, revision",
            (first_at, last_at, link),
        ):
            newest[row[0]] = row[1:]
        if len(self._read) > _BARS_KEPT:
            self._read.clear()
        return tuple(self._candle(at, texts) for at, texts in newest.items())

    def _candle(self, at: str, texts: tuple[str, ...]) -> Candle:
        """A stored bar; the same object for the same text, since windows overlap."""
        known = self._read.get(at)
        if known is None or known[0] != texts:
            known = self._read[at] = texts, Candle(parse_iso(at), *map(Decimal, texts))
        return known[1]
