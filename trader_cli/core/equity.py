"""Equity as it passes, snapshot by snapshot: its growth, its deepest fall, its days, and how much was at stake.

Growth is time-weighted: what comes in or goes out between two snapshots counts as the later one's, and as no gain.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Generic, TypeVar

from trader_cli.core.decimals import ZERO, add, sub
from trader_cli.core.moments import DAY_MS, Moment, day_start, iso, parse_iso
from trader_cli.schemas.performance import LEAST_RETURNS, Day, Fall, Money

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stand:
    """A snapshot: the book's money, and the worth of the position at the mark."""

    at: Moment
    money: Money
    position: Decimal


def moved(before: Money, after: Money) -> Money:
    """How the book moved between two moments."""
    return Money(
        sub(after.equity, before.equity),
        sub(after.deposits, before.deposits),
        sub(after.realized, before.realized),
        sub(after.unrealized, before.unrealized),
        sub(after.fees, before.fees),
        sub(after.model_cost, before.model_cost),
    )


class Growth:
    """A worth that grows from 1, and its deepest fall. Once nothing is left of it there is no growth any more: None."""

    def __init__(self) -> None:
        self.factor: float | None = 1.0
        self.fall = Fall()
        self._worth = 0.0
        self._peak = 1.0
        self._peak_at: Moment | None = None

    def add(self, at: Moment, worth: float, flow: float) -> None:
        """The worth at a moment, `flow` of which came in since the one before."""
        base, kept = (self._worth, worth - flow) if self._worth > 0.0 else (flow, worth)
        self._worth = worth
        if self.factor is None or base <= 0.0:
            return
        self._peak_at = at if self._peak_at is None else self._peak_at
        self.factor = self.factor * kept / base if kept > 0.0 else None
        if self.factor is not None and self.factor >= self._peak:
            self._peak, self._peak_at = self.factor, at
            return
        share = 1.0 - (self.factor or 0.0) / self._peak
        if share > self.fall.share:
            self.fall = replace(self.fall, share=share, peak_at=self._peak_at, low_at=at)
        if at - self._peak_at > self.fall.under_water_ms:
            self.fall = replace(self.fall, under_water_ms=at - self._peak_at)


class Walk:
    """Snapshots in the order of time, summed up as they pass."""

    def __init__(self, begun: Money, trades_of: Callable[[str], int]) -> None:
        """`begun` is the book before the first of them, `trades_of` tells of a day (`YYYY-MM-DD`) its filled orders."""
        self._trades_of = trades_of
        self._growth = Growth()
        self._before = self._day_began = begun
        self._day: Moment | None = None
        self._factor: float | None = 1.0
        self._at: Moment | None = None
        self._share = 0.0
        self._weighted = self._worth = 0.0
        self._weight = 0
        self.days: list[Day] = []
        self.began_at: Moment | None = None

    def add(self, one: Stand) -> None:
        """The next snapshot."""
        if self._at is None:
            self.began_at = one.at
            if (start := float(self._before.equity)) > 0.0:
                self._growth.add(one.at, start, start)
        elif (passed := one.at - self._at) > 0:
            self._weighted += self._share * passed
            self._worth += float(self._before.equity) * passed
            self._weight += passed
        day = day_start(one.at)
        if self._day is not None and day > self._day:
            self._end_day()
        equity = float(one.money.equity)
        self._growth.add(one.at, equity, float(sub(one.money.deposits, self._before.deposits)))
        self._share = float(one.position) / equity if equity > 0.0 else 0.0
        self._before, self._at, self._day = one.money, one.at, day

    def end(self) -> None:
        """The last snapshot has passed."""
        if self._day is not None:
            self._end_day()

    def _end_day(self) -> None:
        name = iso(self._day or 0)[:10]
        change = moved(self._day_began, self._before)
        factor, before = self._growth.factor, self._factor
        gained = factor / before - 1.0 if factor is not None and before else None
        self.days.append(Day(name, change, self._before.equity, gained, self._trades_of(name)))
        self._day_began, self._factor = self._before, factor

    @property
    def ended(self) -> Money:
        """The book at the last snapshot, without what models cost."""
        return self._before

    @property
    def ended_at(self) -> Moment | None:
        """The time of the last snapshot."""
        return self._at

    @property
    def gained(self) -> float | None:
        """The time-weighted return."""
        return None if self._at is None or self._growth.factor is None else self._growth.factor - 1.0

    @property
    def fall(self) -> Fall:
        """The deepest fall."""
        return self._growth.fall

    @property
    def exposure(self) -> float | None:
        """The mean share of equity in the position, weighted by time."""
        return self._weighted / self._weight if self._weight else None

    @property
    def mean_equity(self) -> float:
        """The mean equity, weighted by time."""
        return self._worth / self._weight if self._weight else float(self._before.equity)

    def full_days(self) -> list[float]:
        """The returns of the days, each once. A day without a snapshot had none: 0, and it makes no few days enough."""
        seen = [one.gained for one in self.days if one.gained is not None]
        if len(seen) < LEAST_RETURNS:
            return seen
        found: list[float] = []
        last: Moment | None = None
        for one in self.days:
            at = _moment(one.day)
            if last is not None:
                found += [0.0] * ((at - last) // DAY_MS - 1)
            if one.gained is not None:
                found.append(one.gained)
            last = at
        return found


def with_costs(days: Sequence[Day], costs: Mapping[str, Decimal]) -> tuple[Day, ...]:
    """The days with what models cost (by day, USD). The cost of a day without a snapshot is the next one's, or the
    last one's: all of it is in one of them.
    """
    names = [one.day for one in days]
    found = dict.fromkeys(names, ZERO)
    for day, cost in costs.items():
        if names:
            bearer = names[min(bisect_left(names, day), len(names) - 1)]
            found[bearer] = add(found[bearer], cost)
    return tuple(replace(one, moved=replace(one.moved, model_cost=found[one.day])) for one in days)


def _moment(day: str) -> Moment:
    return parse_iso(f"{day}T00:00:00.000Z")


class Extremes(Generic[T]):
    """At most `2 x most` of `total` items that come one by one: of each stretch the one that is lowest and highest."""

    def __init__(self, total: int, most: int) -> None:
        self._stride = max(1, -(-total // most))
        self._seen = 0
        self._low: tuple[float, int, T] | None = None
        self._high: tuple[float, int, T] | None = None
        self._kept: list[T] = []

    def add(self, value: float, item: T) -> None:
        """The next item, and what it is ranked by."""
        if self._low is None or value < self._low[0]:
            self._low = value, self._seen, item
        if self._high is None or value > self._high[0]:
            self._high = value, self._seen, item
        self._seen += 1
        if self._seen % self._stride == 0:
            self._flush()

    def _flush(self) -> None:
        ends = {one[1]: one[2] for one in (self._low, self._high) if one is not None}
        self._kept += [ends[place] for place in sorted(ends)]
        self._low = self._high = None

    def kept(self) -> Iterator[T]:
        """What was kept, in order."""
        self._flush()
        return iter(self._kept)
