"""Charts for a page, as inline SVG that needs no script: equity, deals, falls and days over one axis of time (UTC).

Colours are variables of `STYLE`, light and dark; a chart is as wide as its place, so make one for each width of screen.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from html import escape

from trader_cli.core.decimals import brief, sub
from trader_cli.core.moments import DAY_MS, Moment, iso, parse_iso
from trader_cli.schemas.performance import Coin, Day, Deal, Mark, Performance
from trader_cli.views.chart import bounds, places, runs, tick_text, ticks
from trader_cli.views.output import clean

STYLE = """
svg.chart{display:block;width:100%;height:auto;font:12px system-ui,sans-serif;font-variant-numeric:tabular-nums}
svg.chart text{fill:var(--soft)}svg.chart .strong{fill:var(--ink);font-weight:600}
svg.chart path,svg.chart circle{vector-effect:non-scaling-stroke}
svg .grid{stroke:var(--rule);fill:none}svg .zero{stroke:var(--soft);stroke-opacity:.6;fill:none}
svg .equity{stroke:var(--equity);stroke-width:2;fill:none;stroke-linejoin:round;stroke-linecap:round}
svg .hold{stroke:var(--hold);stroke-width:1.5;stroke-dasharray:1 4;fill:none;stroke-linejoin:round;stroke-linecap:round}
svg .buy{fill:var(--up);stroke:var(--card)}svg .sell{fill:var(--down);stroke:var(--card)}
svg .gain{fill:var(--up)}svg .loss{fill:var(--down)}
svg .fall{fill:var(--down);fill-opacity:.22;stroke:var(--down);stroke-width:1;stroke-linejoin:round}
svg .band{fill:var(--hold);fill-opacity:.35}svg .middle{stroke:var(--soft);stroke-width:2}svg .run{fill:var(--equity)}
"""

_LETTER = 6.9
"""How wide a character is at most, roughly, in units of a chart."""
_BROADEST = 28.0
"""A bar is at most so broad."""
_HOUR = DAY_MS // 24
_STEPS = tuple(
    [minutes * 60_000 for minutes in (1, 5, 15, 30)]
    + [hours * _HOUR for hours in (1, 2, 3, 6, 12)]
    + [days * DAY_MS for days in (1, 2, 7, 14)]
)
_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120)
_MONDAY = 4 * DAY_MS
"""The first Monday of the epoch: weeks begin there."""
_AGREES = 0.02
"""The fall that marks show may be so far from the reckoned one; farther, and money came in or went out between them."""


@dataclass(frozen=True, slots=True)
class _Panel:
    """A field of a chart, in its units, and the times and values at its edges."""

    left: float
    right: float
    top: float
    bottom: float
    span: tuple[Moment, Moment]
    found: tuple[float, float]

    def x(self, at: float) -> float:
        """Where a time is; in the middle if there is but one."""
        first, last = self.span
        return self.left + (self.right - self.left) * ((at - first) / (last - first) if last > first else 0.5)

    def y(self, value: float) -> float:
        """Where a value is."""
        low, high = self.found
        return self.top + (self.bottom - self.top) * (high - value) / (high - low)


def performance_svg(one: Performance, width: int = 960) -> str:
    """Equity, holding and deals; below them falls, and the profit of each day where there are several."""
    found = bounds(value for mark in one.marks for value in (mark.equity, mark.hold))
    told = f"Equity of {clean(one.symbol)} over time"
    if found is None:
        words = '<text x="50%" y="56" text-anchor="middle">no snapshots: nothing to draw</text>'
        return _svg(width, 100, (told, "There are no snapshots."), words)
    falls = _falls(one)
    bars = [float(sub(day.moved.equity, day.moved.deposits)) for day in one.days]
    room = found[1] - found[0]
    found = found[0] - room * 0.04, found[1] + room * 0.04
    values = ticks(*found, most=6, least=3)
    left = 12 + _LETTER * max(*(len(tick_text(value)) for value in values), 7)
    span = one.marks[0].at, one.marks[-1].at
    main = _Panel(left, width - 20, 30, 30 + (280 if width > 600 else 220), span, found)
    panels, parts = [main], [_legend(one.marks, one.deals, left), *_values(main, values), *_lines(main, one.marks)]
    if falls:
        panel = _Panel(left, main.right, main.bottom + 34, main.bottom + 90, span, (-max(falls), 0.0))
        panels.append(panel)
        parts += _fall_area(panel, one.marks, falls)
    if len(one.days) > 1 and any(bars):
        top = panels[-1].bottom + 34
        panels.append(_Panel(left, main.right, top, top + 64, span, (min(*bars, 0.0), max(*bars, 0.0))))
        parts += _day_bars(panels[-1], one.days, bars)
    parts += _deals(main, one.marks, one.deals, titled=width > 600)
    bottom = panels[-1].bottom
    grid = "".join(_times(panels, bottom, most=max(2, int((main.right - left) / 85))))
    return _svg(width, bottom + 26, (told, _described(one.marks, one.deals)), grid + "".join(parts))


def equity_svg(symbol: str, marks: Sequence[Mark], deals: Sequence[Deal], width: int = 960) -> str:
    """Equity, holding and deals alone. `data-field` says where in its units the times and values are drawn."""
    found = bounds(value for mark in marks for value in (mark.equity, mark.hold))
    told = f"Equity of {clean(symbol)} over time"
    if found is None:
        words = '<text x="50%" y="56" text-anchor="middle">no snapshots yet: nothing to draw</text>'
        return _svg(width, 100, (told, "There are no snapshots."), words)
    room = (found[1] - found[0]) or 1.0
    found = found[0] - room * 0.06, found[1] + room * 0.06
    values = ticks(*found, most=6, least=3)
    left = 12 + _LETTER * max(*(len(tick_text(value)) for value in values), 7)
    panel = _Panel(left, width - 20, 30, 30 + (260 if width > 600 else 200), (marks[0].at, marks[-1].at), found)
    grid = "".join(_times([panel], panel.bottom, most=max(2, int((panel.right - left) / 85))))
    parts = [_legend(marks, deals, left), *_values(panel, values), *_lines(panel, marks)]
    parts += _deals(panel, marks, deals, titled=width > 600)
    field = f' data-field="{_n(left)} {_n(panel.right)} {_n(panel.top)} {_n(panel.bottom)}"'
    return _svg(width, panel.bottom + 26, (told, _described(marks, deals)), grid + "".join(parts), field)


def _svg(width: float, height: float, told: tuple[str, str], parts: str, more: str = "") -> str:
    title, description = (escape(clean(words)) for words in told)
    return (
        f'<svg class="chart" role="img" viewBox="0 0 {_n(width)} {_n(height)}"{more}>'
        f"<title>{title}</title><desc>{description}</desc>{parts}</svg>"
    )


def _n(value: float) -> str:
    """A coordinate: a tenth is as fine as a screen."""
    return (
        f"{value:.1f}".removesuffix(".0").replace("-0", "0") if abs(value) < 0.05 else f"{value:.1f}".removesuffix(".0")
    )


def _described(marks: Sequence[Mark], deals: Sequence[Deal]) -> str:
    first, last = marks[0], marks[-1]
    return (
        f"From {brief(Decimal(repr(first.equity)))} at {_minute(first.at)} "
        f"to {brief(Decimal(repr(last.equity)))} at {_minute(last.at)} UTC, {len(deals)} deals shown."
    )


def _minute(at: Moment) -> str:
    return iso(at)[:16].replace("T", " ")


def _text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    extra = f' class="{kind}"' if kind else ""
    return f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}"{extra}>{escape(words)}</text>'


def _values(panel: _Panel, values: Sequence[Decimal]) -> Iterator[str]:
    """Lines across at round values, and their numbers at the left."""
    for value in values:
        y = panel.y(float(value))
        yield f'<path class="grid" d="M{_n(panel.left)} {_n(y)}H{_n(panel.right)}"/>'
        yield _text(panel.left - 8, y + 4, tick_text(value).replace("-", "\N{MINUS SIGN}"), "end")


def _lines(panel: _Panel, marks: Sequence[Mark]) -> Iterator[str]:
    """Holding, and equity above it."""
    where = places(len(marks), [mark.at for mark in marks])
    for kind, values in (("hold", [mark.hold for mark in marks]), ("equity", [mark.equity for mark in marks])):
        path = []
        for run in runs(values, where, int(panel.right - panel.left) // 2):
            steps = [f"{_n(panel.left + (panel.right - panel.left) * at)} {_n(panel.y(value))}" for at, value in run]
            path.append("M" + "L".join(steps) + ("h0" if len(steps) == 1 else ""))
        if path:
            yield f'<path class="{kind}" d="{"".join(path)}"/>'
    if len(marks) == 1:
        for kind, value in (("band", marks[0].hold), ("run", marks[0].equity)):
            if value is not None:
                yield f'<circle class="{kind}" cx="{_n(panel.x(marks[0].at))}" cy="{_n(panel.y(value))}" r="4"/>'


def _falls(one: Performance) -> list[float]:
    """How far below its peak equity was at each mark; none where that is not the fall that was reckoned."""
    peak, found = 0.0, []
    for mark in one.marks:
        peak = max(peak, mark.equity)
        found.append(1.0 - mark.equity / peak if peak > 0.0 else 0.0)
    deepest = max(found, default=0.0)
    return found if deepest > 0.0 and abs(deepest - one.fall.share) <= _AGREES * one.fall.share else []


def _fall_area(panel: _Panel, marks: Sequence[Mark], falls: Sequence[float]) -> Iterator[str]:
    (points,) = runs([-fall for fall in falls], places(len(marks), [mark.at for mark in marks]), int(panel.right / 2))
    steps = "L".join(f"{_n(panel.left + (panel.right - panel.left) * at)} {_n(panel.y(value))}" for at, value in points)
    yield _text(panel.left, panel.top - 8, "below its peak")
    yield from _shares(panel)
    yield f'<path class="fall" d="M{_n(panel.left)} {_n(panel.top)}L{steps}V{_n(panel.top)}Z"/>'


def _shares(panel: _Panel) -> Iterator[str]:
    for value in ticks(panel.found[0] * 100, 0.0, most=3):
        y = panel.y(float(value) / 100)
        yield f'<path class="grid" d="M{_n(panel.left)} {_n(y)}H{_n(panel.right)}"/>'
        yield _text(panel.left - 8, y + 4, f"{value:f} %".replace("-", "\N{MINUS SIGN}"), "end")


def _day_bars(panel: _Panel, days: Sequence[Day], bars: Sequence[float]) -> Iterator[str]:
    yield _text(panel.left, panel.top - 8, "profit of each day")
    yield from _values(panel, ticks(*panel.found, most=4))
    drawn = {"gain": "", "loss": ""}
    zero = panel.y(0.0)
    for day, profit in zip(days, bars, strict=True):
        at = parse_iso(day.day)
        left, right = (min(max(panel.x(one), panel.left), panel.right) for one in (at, at + DAY_MS))
        if profit:
            broad = min(max((right - left) * 0.8, 1.0), _BROADEST)
            start = min(max((left + right - broad) / 2, panel.left), panel.right - broad)
            kind = "gain" if profit > 0 else "loss"
            drawn[kind] += f"M{_n(start)} {_n(zero)}V{_n(panel.y(profit))}h{_n(broad)}V{_n(zero)}Z"
    yield from (f'<path class="{kind}" d="{path}"/>' for kind, path in drawn.items() if path)
    yield f'<path class="zero" d="M{_n(panel.left)} {_n(zero)}H{_n(panel.right)}"/>'


def _deals(panel: _Panel, marks: Sequence[Mark], deals: Sequence[Deal], *, titled: bool) -> Iterator[str]:
    """A triangle for each deal on the line of equity: purchases below it point up, sales above it point down."""
    size = 5.0 if len(deals) <= 60 else 3.5 if titled else 2.5
    for deal in deals:
        if marks[0].at <= deal.at <= marks[-1].at:
            bought = deal.side == "BUY"
            y = panel.y(_equity_at(marks, deal.at)) + (3 if bought else -3)
            path = _triangle(panel.x(deal.at), y, size if bought else -size)
            title = f"<title>{escape(clean(_deal_words(deal)))}</title>" if titled else ""
            yield f'<path class="{"buy" if bought else "sell"}" d="{path}">{title}</path>'


def _triangle(x: float, y: float, size: float) -> str:
    """With its tip at a point: upright, or upside down for a size below zero."""
    return f"M{_n(x)} {_n(y)}l{_n(size)} {_n(size * 1.7)}h{_n(-2 * size)}Z"


def _deal_words(deal: Deal) -> str:
    return f"{deal.side} {brief(deal.qty)} at {brief(deal.price)}, {_minute(deal.at)} UTC"


def _equity_at(marks: Sequence[Mark], at: Moment) -> float:
    """Equity at a time, on the straight line between the marks about it."""
    after = bisect_right(marks, at, key=lambda mark: mark.at)
    before = marks[after - 1]
    if after == len(marks):
        return before.equity
    share = (at - before.at) / (marks[after].at - before.at)
    return before.equity + (marks[after].equity - before.equity) * share


def _legend(marks: Sequence[Mark], deals: Sequence[Deal], left: float) -> str:
    drawn, x = "", left
    sides = {deal.side for deal in deals}
    held = any(mark.hold is not None for mark in marks)
    for name, shown in (("equity", True), ("hold", held), ("buy", "BUY" in sides), ("sell", "SELL" in sides)):
        if shown:
            sign = _triangle(x + 9, 6 if name == "buy" else 16, 5 if name == "buy" else -5)
            path = sign if name in ("buy", "sell") else f"M{_n(x)} 11h18"
            drawn += f'<path class="{name}" d="{path}"/>' + _text(x + 24, 15, name)
            x += 38 + _LETTER * len(name)
    return drawn


def _times(panels: Sequence[_Panel], bottom: float, most: int) -> Iterator[str]:
    """Lines down through all panels at round times, and what they are below."""
    for at, words in time_ticks(*panels[0].span, most):
        x = panels[0].x(at)
        yield "".join(f'<path class="grid" d="M{_n(x)} {_n(one.top)}V{_n(one.bottom)}"/>' for one in panels)
        yield _text(x, bottom + 19, words, "middle")


def time_ticks(first: Moment, last: Moment, most: int) -> list[tuple[Moment, str]]:
    """Round times (UTC) of a span and their words: clock times, days, months or years; one alone where all is one."""
    if last <= first:
        return [(first, _minute(first))]
    for step in _STEPS:
        base = _MONDAY if step >= 7 * DAY_MS else 0
        found = range(first + (base - first) % step, last + 1, step)
        if len(found) <= most:
            return [(at, _clock(at)) for at in found]
    found_months: list[tuple[Moment, str]] = []
    for months in _MONTHS:
        found_months = [(at, words) for at, words in _months(first, last, months) if first <= at <= last]
        if len(found_months) <= most:
            break
    return found_months


def _clock(at: Moment) -> str:
    stamp = datetime.fromtimestamp(at // 1000, UTC)
    return f"{stamp.day} {stamp:%b}" if at % DAY_MS == 0 else f"{stamp:%H:%M}"


def _months(first: Moment, last: Moment, apart: int) -> Iterator[tuple[Moment, str]]:
    begin, end = (datetime.fromtimestamp(at // 1000, UTC) for at in (first, last))
    number = -(-(begin.year * 12 + begin.month - 1) // apart) * apart
    while number <= end.year * 12 + end.month - 1:
        stamp = datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)
        yield int(stamp.timestamp()) * 1000, f"{stamp:%Y}" if stamp.month == 1 else f"{stamp:%b}"
        number += apart


def coin_svg(coin: Coin, equity: Decimal, words: tuple[str, str, str], width: int = 960) -> str:
    """Where a run ended among coin flips; `words` are those of the low end, the high end, and the run."""
    sides = 24 + _LETTER * max(map(len, words))
    found = bounds(map(float, (coin.low, coin.high, equity))) or (0.0, 1.0)
    low, middle, high, run = (
        sides + (width - 2 * sides) * (float(value) - found[0]) / (found[1] - found[0])
        for value in (coin.low, coin.middle, coin.high, equity)
    )
    parts = (
        f'<rect class="band" x="{_n(low)}" y="30" width="{_n(max(high - low, 2))}" height="14" rx="3"/>'
        f'<path class="middle" d="M{_n(middle)} 27V47"/>'
        + f'<path class="run" d="{_triangle(run, 28, -6)}"/>'
        + _text(run, 13, words[2], "middle", "strong")
        + _text(low - 8, 41, words[0], "end")
        + _text(high + 8, 41, words[1])
    )
    told = "Where chance ended", f"90 % of flips from {words[0]} to {words[1]}; {words[2]}."
    return _svg(width, 54, told, parts)
