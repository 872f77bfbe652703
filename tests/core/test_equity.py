"""core.equity: growth without what came in, the deepest fall, days that add up, and the ends of stretches."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_cli.core.equity import Extremes, Growth, Stand, Walk, moved, with_costs
from trader_cli.core.moments import DAY_MS
from trader_cli.schemas.performance import Money

D = Decimal
HOUR = DAY_MS // 24


def walk(*stands: tuple[int, str, str, str]) -> Walk:
    """Snapshots of an hour, equity, deposits and the position's worth."""
    made = Walk(Money(), lambda day: 0)
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


def test_days_without_a_snapshot_make_no_few_returns_enough() -> None:
    made = walk((1, "100", "100", "0"), (23, "110", "100", "0"), (24 * 50, "121", "100", "0"))
    assert [day.day for day in made.days] == ["1970-01-01", "1970-02-20"]
    assert made.full_days() == pytest.approx([0.1, 0.1])


def test_where_there_are_enough_a_day_without_a_snapshot_is_one_without_a_return() -> None:
    steady = [(24 * day, "100", "100", "0") for day in range(31)]
    made = walk(*steady, (24 * 33, "110", "100", "0"))
    assert made.full_days() == pytest.approx([*[0.0] * 33, 0.1])


def test_a_walk_that_begins_with_a_fall_has_fallen_since_its_first_snapshot() -> None:
    made = Walk(Money(D(100), D(100)), lambda day: 0)
    for hour, equity in ((20_000, "90"), (20_002, "80")):
        made.add(Stand(hour * HOUR, Money(D(equity), D(100)), D(0)))
    assert made.gained == pytest.approx(-0.2)
    assert (made.fall.peak_at, made.fall.under_water_ms) == (20_000 * HOUR, 2 * HOUR)


def test_what_models_cost_on_a_day_without_a_snapshot_is_borne_by_the_next_or_the_last() -> None:
    days = walk((1, "100", "100", "0"), (24 * 3, "121", "100", "0")).days
    costs = {"1970-01-01": D("0.1"), "1970-01-02": D("0.2"), "1970-01-09": D("0.4"), "1970-01-04": D("0.8")}
    assert [day.moved.model_cost for day in with_costs(days, costs)] == [D("0.1"), D("1.4")]
    assert with_costs([], costs) == ()


@given(st.lists(st.tuples(st.integers(1, 30), st.decimals(1, 10_000, places=8)), min_size=1, max_size=40))
def test_the_days_add_up_to_the_whole_to_the_last_digit(steps: list[tuple[int, Decimal]]) -> None:
    at, made = 0, Walk(Money(), lambda day: 1)
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
