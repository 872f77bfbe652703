"""Charts for a terminal: lines of braille dots (or of plain characters), and a sparkline of eight heights.

What a chart of any kind needs is here too: bounds, round numbers for an axis, and fewer points of the same look.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import chain, groupby, pairwise

from trader_cli.core.moments import Moment, iso

Series = Sequence[float | None]
"""Values in order; None where there is none."""
Point = tuple[float, float]
"""How far along (0..1), and the value."""

_BLOCKS = "▁▂▃▄▅▆▇█"
_PLAIN_BLOCKS = "_.:-=+*#"
_BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a character, from U+2800 on: four rows of two."""
_LEAST_COLUMNS = 10
"""A chart narrower than this has no room for labels."""
_FLAT = 1e-9
"""What a range must be at least, as a share of its values: below it a float has no digits left to draw."""
_EVERY = 3
"""Of a dotted line every third dot is drawn."""


def is_drawable(encoding: str | None) -> bool:
    """Whether a terminal of this encoding can show dots and blocks; else ask for `ascii_only`."""
    try:
        ("⣿┤" + _BLOCKS).encode(encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True


def bounds(values: Iterable[float | None]) -> tuple[float, float] | None:
    """The lowest and the highest value, apart from each other also where all are alike; None without any."""
    found = [value for value in values if value is not None and math.isfinite(value)]
    if not found:
        return None
    low, high = min(found), max(found)
    if high - low > _FLAT * max(abs(low), abs(high)):
        return low, high
    aside = abs(high) * 0.01 or 1.0
    return low - aside, high + aside


def ticks(low: float, high: float, most: int, least: int = 0) -> list[Decimal]:
    """Round numbers between two: at most `most`, but for more where that would leave fewer than `least`."""
    exponent = math.floor(math.log10((high - low) / max(most, 1))) - 1
    finer: list[Decimal] = []
    for step in (Decimal(factor).scaleb(exponent + tens) for tens in range(4) for factor in (1, 2, 5)):
        first = math.ceil(low / float(step) - 1e-9)
        last = math.floor(high / float(step) + 1e-9)
        if last - first >= 8 * most:
            continue
        found = [step * number for number in range(first, last + 1)]
        if len(found) <= most:
            return found if len(found) >= least else finer
        finer = found
    return finer


def tick_text(value: Decimal) -> str:
    """A round number, with the digits that its axis needs."""
    return f"{value:,f}" if value else "0"


def runs(values: Series, places: Sequence[float], columns: int) -> list[list[Point]]:
    """Points that follow each other without a hole: of each of `columns` stretches the first, lowest, highest, last."""
    found: list[list[Point]] = []
    for known, group in groupby(zip(places, values, strict=False), key=lambda one: _is_known(one[1])):
        if known:
            run = [(place, value) for place, value in group if value is not None]
            stretches = groupby(run, key=lambda point: int(point[0] * columns))
            found.append([point for _, points in stretches for point in _thinned(list(points))])
    return found


def _is_known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _thinned(points: list[Point]) -> list[Point]:
    if len(points) <= 4:
        return points
    numbers = range(len(points))
    ends = {0, min(numbers, key=lambda n: points[n][1]), max(numbers, key=lambda n: points[n][1]), len(points) - 1}
    return [points[number] for number in sorted(ends)]


def places(count: int, at: Sequence[float] | None = None) -> list[float]:
    """How far along each point is, 0..1: by the times `at`, else evenly. One alone is in the middle."""
    where = range(count) if at is None else at
    if not where or where[-1] <= where[0]:
        return [0.5] * count
    return [(one - where[0]) / (where[-1] - where[0]) for one in where]


def braille_chart(
    series: Sequence[Series],
    width: int,
    height: int,
    *,
    at: Sequence[float] | None = None,
    span: tuple[Moment, Moment] | None = None,
    ascii_only: bool = False,
) -> list[str]:
    """The first of `series` as a solid line, others dotted, in lines of at most `width`; none without a point.

    `at` has a time for each value, else they are evenly apart; `span` adds a line below with the first and last time.
    """
    found = bounds(chain.from_iterable(series))
    if found is None or height < 1:
        return []
    labels = _labels(found, height)
    room = max(map(len, labels.values()))
    if width - room - 2 < _LEAST_COLUMNS:
        labels, room = {}, 0
    columns = max(width - room - 2, 1)
    across, down = (1, 1) if ascii_only else (2, 4)
    where = places(max(map(len, series)), at)
    layers = []
    for number, values in enumerate(series):
        lit = list(_line(runs(values, where, columns * across), found, columns * across, height * down))
        layers.append(set(lit[:: _EVERY if number and not ascii_only else 1]))
    drawn = _plain_rows(layers, columns, height) if ascii_only else _braille_rows(layers, columns, height)
    edges = "+|" if ascii_only else "┤│"
    lines = [
        f"{labels.get(row, ''):>{room}} {edges[0] if row in labels else edges[1]}{cells}".rstrip()
        for row, cells in enumerate(drawn)
    ]
    return lines if span is None else [*lines, _time_line(span, room + 2, columns)]


def _labels(found: tuple[float, float], height: int) -> dict[int, str]:
    """Round numbers, by the row that each belongs to."""
    low, high = found
    at = ticks(low, high, max(2, min(5, height)), least=min(3, height))
    return {_place(float(value), found, height): tick_text(value) for value in at}


def _place(value: float, found: tuple[float, float], rows: int) -> int:
    low, high = found
    return min(rows - 1, max(0, round((high - value) / (high - low) * (rows - 1))))


def _line(
    lines: Iterable[Sequence[Point]], found: tuple[float, float], columns: int, rows: int
) -> Iterator[tuple[int, int]]:
    """Every dot on the way from point to point."""
    for line in lines:
        dots = [(round(place * (columns - 1)), _place(value, found, rows)) for place, value in line]
        yield dots[0]
        for (x, y), (next_x, next_y) in pairwise(dots):
            steps = max(abs(next_x - x), abs(next_y - y))
            for step in range(1, steps + 1):
                yield x + round((next_x - x) * step / steps), y + round((next_y - y) * step / steps)


def _braille_rows(layers: Sequence[set[tuple[int, int]]], columns: int, height: int) -> list[str]:
    cells = [[0] * columns for _ in range(height)]
    for x, y in set().union(*layers):
        cells[y // 4][x // 2] |= _BRAILLE[y % 4][x % 2]
    return ["".join(chr(0x2800 + bits) if bits else " " for bits in row) for row in cells]


def _plain_rows(layers: Sequence[set[tuple[int, int]]], columns: int, height: int) -> list[str]:
    cells = [[" "] * columns for _ in range(height)]
    for number, layer in reversed(list(enumerate(layers))):
        for x, y in layer:
            cells[y][x] = "." if number else "*"
    return ["".join(row) for row in cells]


def _time_line(span: tuple[Moment, Moment], indent: int, columns: int) -> str:
    """The first and the last time, as far apart as the line is long; days alone where there is no room for more."""
    first, last = (iso(moment)[:16].replace("T", " ") for moment in span)
    if len(first) + len(last) + 2 > columns:
        first, last = first[:10], last[:10]
    if len(first) + len(last) + 2 > columns:
        first, last = first[5:], last[5:]
    return f"{' ' * indent}{first}{last:>{max(columns - len(first), len(last) + 1)}}"


def legend(names: Sequence[str], *, ascii_only: bool = False) -> str:
    """What the lines of a chart are: the first solid, others dotted."""
    solid, dotted = ("***", "...") if ascii_only else ("⠒⠒⠒", "⠂⠐⠀")
    return "   ".join(f"{dotted if number else solid} {name}" for number, name in enumerate(names))


def sparkline(values: Series, *, ascii_only: bool = False) -> str:
    """A character for each value, the higher the more; a space where there is none, half way up where all are alike."""
    blocks = _PLAIN_BLOCKS if ascii_only else _BLOCKS
    found = bounds(values)
    if found is None:
        return " " * len(values)
    low, high = found
    return "".join(
        blocks[min(7, int((value - low) / (high - low) * 8))] if value is not None and math.isfinite(value) else " "
        for value in values
    )
