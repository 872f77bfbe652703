"""core.equity: growth without what came in, the deepest fall, days that add up, and the ends of stretches."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_cli.core.equity import Extremes, Growth, Stand, Walk, moved
from trader_cli.core.moments import DAY_MS
from trader_cli.schemas.performance import Money

D = Decimal
HOUR = DAY_MS // 24


def walk(*stands: tuple[int, str, str, str]) -> Walk:
    """Snapshots of an hour, equity, deposits and the position's worth."""
    made = Walk(Money(), lambda day: 0, lambda day: D(0))
    for hour, equity, deposits, position in stands:
        money = Money(D(equity), D(deposits), D(equity) - D(deposits), D(0), D(0))
        made.add(Stand(hour * HOUR, money, D(position)))
    made.end()
    return made


def test_growth_is_what_was_gained_and_not_what_came_in() -> None:
    made = walk((0, "1000", "1000", "0"), (1, "1100", "1000", "0"), (2, "2100", "2000", "0"), (3, "2310", "2000", "0"))
    assert made.gained == pytest.approx(1.1 * 1.1 - 1)
    assert made.fall.share == 0.0


def test_the_deepest_fall_is_told_with_its_peak_and_how_long_equity_was_below_it() -> None:
    made = walk((0, "100", "100", "0"), (1, "120", "100", "0"), (2, "90", "100", "0"), (5, "119", "100", "0"))
    assert made.fall.share == pytest.approx(0.25)
    assert (made.fall.peak_at, made.fall.low_at) == (HOUR, 2 * HOUR)
    assert made.fall.under_water_ms == 4 * HOUR


def test_a_withdrawal_is_no_fall() -> None:
    made = walk((0, "1000", "1000", "0"), (1, "500", "500", "0"))
    assert made.fall.share == 0.0
    assert made.gained == pytest.approx(0.0)


def test_what_is_lost_whole_has_no_growth_any_more() -> None:
    growth = Growth()
    growth.add(0, 10.0, 10.0)
    growth.add(1, 0.0, 0.0)
    growth.add(2, 5.0, 5.0)
    assert growth.factor is None
    assert growth.fall.share == 1.0


def test_exposure_is_weighted_by_time() -> None:
    made = walk((0, "100", "100", "50"), (1, "100", "100", "0"), (4, "100", "100", "100"))
    assert made.exposure == pytest.approx(0.5 * 1 / 4)


def test_a_day_without_a_snapshot_is_one_without_a_return() -> None:
    made = walk((1, "100", "100", "0"), (23, "110", "100", "0"), (24 * 3, "121", "100", "0"))
    assert [day.day for day in made.days] == ["1970-01-01", "1970-01-04"]
    assert made.full_days() == pytest.approx([0.1, 0.0, 0.0, 0.1])


@given(st.lists(st.tuples(st.integers(1, 30), st.decimals(1, 10_000, places=8)), min_size=1, max_size=40))
def test_the_days_add_up_to_the_whole_to_the_last_digit(steps: list[tuple[int, Decimal]]) -> None:
    at, made = 0, Walk(Money(), lambda day: 1, lambda day: D("0.1"))
    for hours, equity in steps:
        at += hours * HOUR
        made.add(Stand(at, Money(equity, D(50), equity - 50, D(0), equity * 3), D(0)))
    made.end()
    whole = moved(Money(), made.ended)
    for name in ("equity", "deposits", "realized", "fees"):
        assert sum(getattr(day.moved, name) for day in made.days) == getattr(whole, name)


@given(st.lists(st.floats(-100, 100), max_size=200), st.integers(1, 20))
def test_the_extremes_are_kept_in_order_and_few(values: list[float], most: int) -> None:
    kept: Extremes[tuple[int, float]] = Extremes(len(values), most)
    for number, value in enumerate(values):
        kept.add(value, (number, value))
    found = list(kept.kept())
    assert found == sorted(found)
    assert len(found) <= 2 * most
    if values:
        assert {min(values), max(values)} <= {value for _, value in found}
