"""The checks that every window of candles passes before a decision may see it, and its bars on a longer timeframe.

A window whose bars are sound by themselves takes one quick test of whole columns, then a look for gaps and quiet
times; one that moved on from such a window, a test of the bars that came. Any other is gone through bar by bar and
each fault is named: nothing is repaired, filled in or dropped in silence.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal, localcontext
from itertools import groupby
from operator import attrgetter, eq, le, lt, not_, sub

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

GAP, PLATEAU = "gap", "plateau"
"""The kinds of defect of what lies between bars that are sound by themselves."""

Candles = tuple[Candle, ...]

_Column = tuple[Decimal, ...]

_STAMP = attrgetter("opened_at")
_QUIET = re.compile(rb"\x01{%d,}" % QUIET_BARS)
_FLAT = re.compile(rb"\x01{%d,}" % FLAT_BARS)
_TWO = Decimal(2)
_FIELDS = Candle._fields[1:]
_LARGEST = Decimal("1e18")


def examine(batch: CandleBatch, timeframe_ms: int, now: Moment, limit: int, before: Window | None = None) -> Window:
    """Judge the `limit` newest closed bars as of `now`; bars that the window `before` passed are not tested again.

    Kinds of defect: empty, short, stale (of the window); misaligned, unclosed, not_positive, impossible,
    duplicate, disorder (of a row); gap, plateau, absurd (between rows); more (how many are not listed).
    """
    rows = batch.candles
    tested = _tested(rows, before, timeframe_ms)
    quick = _sane(rows[max(len(tested) - 1, 0) :], timeframe_ms, now)
    sound, faults = (rows, _pauses(rows, timeframe_ms)) if quick else _sift(rows, timeframe_ms, now)
    price = sound[-1].close if sound else None
    age_ms = now - sound[-1].opened_at - timeframe_ms if sound else None
    found = [*_lacks(len(rows), len(sound), limit), *_stale(age_ms, timeframe_ms), *faults]
    closes = (*tested, *(float(row.close) for row in rows[len(tested) :])) if quick else ()
    sane = quick or all(fault.kind in (GAP, PLATEAU) for fault in faults)
    return Window(batch.source, timeframe_ms, sound, _shortened(found), price, age_ms, closes, sane)


def _tested(rows: Candles, before: Window | None, timeframe_ms: int) -> tuple[float, ...]:
    """The closes of those bars at the beginning of `rows` that a sane window before it had."""
    if before is None or not before.sane or before.timeframe_ms != timeframe_ms:
        return ()
    passed = moved_on(before.candles, rows)
    return () if passed is None else before.closes[passed:]


def moved_on(before: Candles, now: Candles) -> int | None:
    """How many of its oldest bars a window has left behind to be `now`, which keeps the rest and may have more.

    None where `now` is another window: it shares no bar, begins earlier, or a bar was restated.
    """
    if not before or not now:
        return None
    passed = bisect_left(before, now[0].opened_at, key=_STAMP)
    kept = before[passed:]
    try:
        return passed if kept and now[: len(kept)] == kept else None
    except ArithmeticError:  # a signalling NaN was compared
        return None


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
    columns = stamps, highs, lows, _, volumes = _columns(rows)
    faults = [] if stamps[-1] - stamps[0] == (len(rows) - 1) * timeframe_ms else [*_gaps(stamps, timeframe_ms)]
    if not all(volumes) or any(map(eq, highs[::FLAT_BARS], lows[::FLAT_BARS])):
        faults += _plateaus(*columns)
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
    over = sorted(at for at in seen if at + timeframe_ms <= now and at % timeframe_ms == 0)
    faults += [*_gaps(over, timeframe_ms), *_plateaus(*_columns(bars)), *_absurd(bars)]
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


def _gaps(stamps: Sequence[int], timeframe_ms: int) -> Iterator[Defect]:
    """The holes between stamps on the grid."""
    for before, spacing in zip(stamps, map(sub, stamps[1:], stamps), strict=False):
        if spacing != timeframe_ms:
            at = before + timeframe_ms
            yield Defect(GAP, f"{_bars(spacing // timeframe_ms - 1)} missing from {_when(at)}", at)


def _columns(bars: Candles) -> tuple[tuple[int, ...], _Column, _Column, _Column, _Column]:
    """Stamps, highs, lows, closes and volumes."""
    if not bars:
        return (), (), (), (), ()
    stamps, _, highs, lows, closes, volumes = zip(*bars, strict=True)
    return stamps, highs, lows, closes, volumes


def _plateaus(
    stamps: tuple[int, ...], highs: _Column, lows: _Column, closes: _Column, volumes: _Column
) -> Iterator[Defect]:
    """The quiet times. Columns of marks are searched as bytes: most windows are looked at for nothing."""
    for first, stop in _runs(_QUIET, map(not_, volumes)):
        at = stamps[first]
        yield Defect(PLATEAU, f"{_bars(stop - first)} without volume from {_when(at)}", at)
    for first, stop in _runs(_FLAT, map(eq, highs, lows)):
        for price, group in groupby(range(first, stop), key=closes.__getitem__):
            run = [*group]
            if len(run) >= FLAT_BARS and any(volumes[index] for index in run):
                at = stamps[run[0]]
                yield Defect(PLATEAU, f"{_bars(len(run))} at {price} and nothing else from {_when(at)}", at)


def _runs(long: re.Pattern[bytes], marks: Iterable[bool]) -> Iterator[tuple[int, int]]:
    """From where to where marks follow each other, where they are enough for the pattern."""
    return (found.span() for found in long.finditer(bytes(marks)))


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
