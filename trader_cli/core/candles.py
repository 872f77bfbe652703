"""The checks that every window of candles passes before a decision may see it, and its bars on a longer timeframe.

A window whose bars are sound by themselves takes one quick test of whole columns, then a look for gaps and quiet
times. Any other is gone through bar by bar and each fault is named: nothing is repaired, filled in or dropped
in silence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal, localcontext
from itertools import groupby, pairwise
from operator import le, lt

from trader_cli.core.decimals import MONEY, ZERO, add, mul
from trader_cli.core.moments import Moment, iso
from trader_cli.schemas.market import Candle, CandleBatch, Defect, Window

MOST_DEFECTS = 8
"""How many defects a window lists before "and N more"."""
STALE_BARS = 2
"""How many timeframes ago the newest bar may have closed."""
QUIET_BARS = 2
"""So many bars in a row without volume: nobody could trade."""
FLAT_BARS = 6
"""So many bars in a row at one and the same price: nobody could trade, whatever the volume says."""

Candles = tuple[Candle, ...]

_TWO = Decimal(2)
_FIELDS = Candle._fields[1:]
_LARGEST = Decimal("1e18")


def examine(batch: CandleBatch, timeframe_ms: int, now: Moment, limit: int, before: Window | None = None) -> Window:
    """Judge the `limit` newest closed bars as of `now`; where they are those of `before` and one more, only that one.

    Kinds of defect: empty, short, stale (of the window); misaligned, unclosed, not_positive, impossible,
    duplicate, disorder (of a row); gap, plateau, absurd (between rows); more (how many are not listed).
    """
    rows = batch.candles
    if before is not None and _follows(rows, before, timeframe_ms, now, limit):
        newest = rows[-1]
        closes = (*before.closes[1:], float(newest.close))
        return Window(batch.source, timeframe_ms, rows, (), newest.close, now - newest.opened_at - timeframe_ms, closes)
    sound, faults = (
        (rows, _pauses(rows, timeframe_ms)) if _sane(rows, timeframe_ms, now) else _sift(rows, timeframe_ms, now)
    )
    price = sound[-1].close if sound else None
    age_ms = now - sound[-1].opened_at - timeframe_ms if sound else None
    found = [*_lacks(len(rows), len(sound), limit), *_stale(age_ms, timeframe_ms), *faults]
    return Window(batch.source, timeframe_ms, sound, _shortened(found), price, age_ms)


def resample(candles: Candles, timeframe_ms: int, longer_ms: int) -> Candles:
    """Sound, ascending bars of `timeframe_ms` as bars of `longer_ms`, a multiple of it, on the grid of the epoch.

    A group that lacks a bar, as the one that is still forming does, is left out: nothing is seen before it is over.
    """
    groups = groupby(candles, key=lambda bar: bar.opened_at // longer_ms)
    whole = longer_ms // timeframe_ms
    return tuple(_joined(bars) for bars in (tuple(group) for _, group in groups) if len(bars) == whole)


def _joined(bars: Candles) -> Candle:
    stamps, opens, highs, lows, closes, volumes = zip(*bars, strict=True)
    return Candle(stamps[0], opens[0], max(highs), min(lows), closes[-1], add(*volumes))


def _follows(rows: Candles, before: Window, timeframe_ms: int, now: Moment, limit: int) -> bool:
    """Whether `rows` are the clean candles of `before`, moved on by one bar that is clean, too, and moves."""
    if before.defects or len(rows) != limit or before.timeframe_ms != timeframe_ms or rows[:-1] != before.candles[1:]:
        return False
    last, new = before.candles[-1], rows[-1]
    try:
        with localcontext(MONEY):
            return (
                new.opened_at == last.opened_at + timeframe_ms
                and 0 <= now - new.opened_at - timeframe_ms <= STALE_BARS * timeframe_ms
                and ZERO < new.low < new.high <= new.low * 2
                and new.low <= new.open <= new.high
                and new.low <= new.close <= new.high
                and new.close <= last.close * 2
                and last.close <= new.close * 2
                and ZERO < new.volume < _LARGEST
                and new.high < _LARGEST
            )
    except ArithmeticError:  # a NaN was compared
        return False


def _sane(rows: Candles, timeframe_ms: int, now: Moment) -> bool:
    """Whether no row has a fault and all ascend, tested by whole columns; False may also mean "look closer".

    All prices within a factor of two leave no room for an absurd bar.
    """
    if not rows:
        return True
    stamps, opens, highs, lows, closes, volumes = zip(*rows, strict=True)
    if stamps[-1] + timeframe_ms > now or any(stamp % timeframe_ms for stamp in stamps):
        return False
    if not all(map(lt, stamps, stamps[1:])):
        return False
    try:
        with localcontext(MONEY):
            bottom, top = min(lows), max(highs)
            return (
                bottom > ZERO
                and top <= bottom * 2
                and top < _LARGEST
                and min(volumes) >= ZERO
                and max(volumes) < _LARGEST
                and all(map(le, lows, opens))
                and all(map(le, lows, closes))
                and all(map(le, opens, highs))
                and all(map(le, closes, highs))
            )
    except ArithmeticError:  # a NaN was compared
        return False


def _pauses(rows: Candles, timeframe_ms: int) -> list[Defect]:
    """The gaps and quiet times between sane rows, by time. Every run of six flat bars shows in each sixth bar."""
    if not rows:
        return []
    stamps = [row.opened_at for row in rows]
    faults = [] if stamps[-1] - stamps[0] == (len(rows) - 1) * timeframe_ms else [*_gaps(stamps, timeframe_ms)]
    if not all(row.volume for row in rows) or any(row.high == row.low for row in rows[::FLAT_BARS]):
        faults += _plateaus(rows)
    return sorted(faults, key=lambda fault: fault.at or 0)


def _sift(rows: Candles, timeframe_ms: int, now: Moment) -> tuple[Candles, list[Defect]]:
    """The sound bars, ascending, the first of duplicates; and every fault, by time."""
    faults: list[Defect] = []
    seen: dict[int, Candle] = {}
    sound: dict[int, Candle] = {}
    latest = rows[0].opened_at
    for row in rows:
        at = row.opened_at
        if at in seen:
            faults.append(Defect("duplicate", _compared(seen[at], row), at))
        elif at < latest:
            faults.append(Defect("disorder", f"the bar of {_when(at)} came after a later one", at))
        seen.setdefault(at, row)
        latest = max(latest, at)
        fault = _fault(row, timeframe_ms, now)
        if fault:
            faults.append(fault)
        else:
            sound.setdefault(at, row)
    bars = tuple(sound[at] for at in sorted(sound))
    over = sorted(at for at in seen if at + timeframe_ms <= now)
    faults += [*_gaps(over, timeframe_ms), *_plateaus(bars), *_absurd(bars)]
    return bars, sorted(faults, key=lambda fault: fault.at or 0)


def _fault(row: Candle, timeframe_ms: int, now: Moment) -> Defect | None:
    """What makes one row unusable by itself."""
    at = row.opened_at
    if at % timeframe_ms:
        return Defect("misaligned", f"a bar opened at {_when(at)}, needs a multiple of {timeframe_ms} ms", at)
    if at + timeframe_ms > now:
        return Defect("unclosed", f"the bar of {_when(at)} closes after {_when(now)}", at)
    for name, value in zip(_FIELDS, row[1:], strict=True):
        if not value.is_finite() or value.adjusted() > 17:
            return Defect("impossible", f"{name} of {_when(at)} was {value}, needs a finite one below 1e18", at)
        if value <= ZERO and name != "volume":
            return Defect("not_positive", f"{name} of {_when(at)} was {value}, needs a price above zero", at)
    if row.volume < ZERO:
        return Defect("impossible", f"volume of {_when(at)} was {row.volume}, needs zero or more", at)
    if row.high < max(row.open, row.close) or row.low > min(row.open, row.close):
        was = f"open {row.open}, high {row.high}, low {row.low}, close {row.close}"
        return Defect("impossible", f"the bar of {_when(at)} was {was}; needs low <= open, close <= high", at)
    return None


def _compared(first: Candle, second: Candle) -> str:
    alike = [*map(str, first)] == [*map(str, second)]
    what = "the same values" if alike else f"other values (close {first.close}, then {second.close})"
    return f"the bar of {_when(first.opened_at)} came twice, with {what}"


def _gaps(stamps: list[int], timeframe_ms: int) -> Iterator[Defect]:
    grid = [at for at in stamps if at % timeframe_ms == 0]
    for before, after in pairwise(grid):
        missing = (after - before) // timeframe_ms - 1
        if missing:
            at = before + timeframe_ms
            yield Defect("gap", f"{_bars(missing)} missing from {_when(at)}", at)


def _plateaus(bars: Candles) -> Iterator[Defect]:
    for quiet, group in groupby(bars, key=lambda bar: not bar.volume):
        run = [*group] if quiet else []
        if len(run) >= QUIET_BARS:
            at = run[0].opened_at
            yield Defect("plateau", f"{_bars(len(run))} without volume from {_when(at)}", at)
    for price, group in groupby(bars, key=lambda bar: bar.close if bar.high == bar.low else None):
        run = [*group] if price is not None else []
        if len(run) >= FLAT_BARS and any(bar.volume for bar in run):
            at = run[0].opened_at
            yield Defect("plateau", f"{_bars(len(run))} at {price} and nothing else from {_when(at)}", at)


def _absurd(bars: Candles) -> Iterator[Defect]:
    for index, bar in enumerate(bars):
        at, before = bar.opened_at, bars[index - 1].close if index else bar.close
        if bar.close > mul(before, _TWO) or before > mul(bar.close, _TWO):
            yield Defect("absurd", f"close of {_when(at)} was {bar.close} after {before}: a factor over 2", at)
        elif bar.high > mul(bar.low, _TWO):
            was = f"low {bar.low} and high {bar.high}"
            yield Defect("absurd", f"the bar of {_when(at)} was {was}: a factor over 2", at)


def _lacks(rows: int, sound: int, limit: int) -> Iterator[Defect]:
    if not sound:
        yield Defect("empty", f"had {_bars(rows)} and no sound one, needs {limit}")
    elif rows < limit:
        yield Defect("short", f"had {_bars(rows)}, needs {limit}")


def _stale(age_ms: int | None, timeframe_ms: int) -> Iterator[Defect]:
    if age_ms is not None and age_ms > STALE_BARS * timeframe_ms:
        needs = f"needs at most {STALE_BARS * timeframe_ms // 1000} s"
        yield Defect("stale", f"the newest sound bar closed {age_ms // 1000} s ago, {needs}")


def _shortened(found: list[Defect]) -> tuple[Defect, ...]:
    if len(found) <= MOST_DEFECTS:
        return tuple(found)
    rest = found[MOST_DEFECTS:]
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(fault.kind for fault in rest).items())
    return (*found[:MOST_DEFECTS], Defect("more", f"and {len(rest)} more: {kinds}"))


def _bars(count: int) -> str:
    return "1 bar" if count == 1 else f"{count} bars"


def _when(at: Moment) -> str:
    """A stranger's stamp as a time, or as it is when no calendar has it (microseconds, say)."""
    try:
        return iso(at)
    except (ValueError, OverflowError, OSError):
        return f"{at} ms"
