"""The checks of candles: every fault is named, none is mended, and clean windows pass quickly."""

from __future__ import annotations

from decimal import Context, Decimal, localcontext
from random import Random
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader_cli.core import candles
from trader_cli.core.candles import MOST_DEFECTS, examine, moved_on
from trader_cli.core.moments import parse_iso
from trader_cli.schemas.market import Candle, CandleBatch, Window

FIVE = 300_000
BEGIN = parse_iso("2026-01-01")
LIMIT = 20
NOW = BEGIN + LIMIT * FIVE


def bar(index: int, price: str = "100", volume: str = "5") -> Candle:
    value = Decimal(price)
    return Candle(BEGIN + index * FIVE, value, value + 1, value - Decimal("0.5"), value, Decimal(volume))


def walk(count: int = LIMIT, seed: int = 1) -> list[Candle]:
    chance = Random(seed)
    return [bar(index, str(100 + chance.randrange(-900, 900) / 100)) for index in range(count)]


def look(*rows: Candle, now: int = NOW, limit: int = LIMIT) -> Window:
    return examine(CandleBatch("recorded:x", rows), FIVE, now, limit)


def kinds(window: Window) -> list[str]:
    return [defect.kind for defect in window.defects]


def with_bar(index: int, **changes: Decimal | int) -> list[Candle]:
    rows = walk()
    rows[index] = rows[index]._replace(**changes)  # type: ignore[arg-type]  # one field of either type
    return rows


# Clean windows.


def test_a_clean_window_is_all_its_bars_with_the_last_close_and_its_age() -> None:
    rows = walk()
    window = look(*rows, now=NOW + 1234)
    assert window == Window("recorded:x", FIVE, tuple(rows), (), rows[-1].close, 1234)


def test_a_bar_that_closes_just_now_is_closed() -> None:
    assert kinds(look(*walk())) == []


def test_one_bar_without_volume_is_a_quiet_bar_and_no_plateau() -> None:
    assert kinds(look(*with_bar(7, volume=Decimal(0)))) == []


def test_five_bars_at_one_price_are_no_plateau_yet() -> None:
    price = Decimal(100)
    rows = walk()
    rows[5:10] = [row._replace(open=price, high=price, low=price, close=price) for row in rows[5:10]]
    assert kinds(look(*rows)) == []


def test_a_rise_of_more_than_two_over_the_whole_window_is_no_fault() -> None:
    rows = [bar(index, str(100 + 20 * index)) for index in range(LIMIT)]
    assert kinds(look(*rows)) == []


def test_more_bars_than_needed_are_no_fault() -> None:
    assert kinds(look(*walk(), limit=5)) == []


@given(context=st.builds(Context, prec=st.integers(1, 9)), seed=st.integers(0, 5))
def test_a_strangers_decimal_context_changes_no_verdict(context: Context, seed: int) -> None:
    rows, odd = walk(seed=seed), with_bar(3, high=Decimal("201.0001"), low=Decimal("100.50005"))
    before = look(*rows), look(*odd)
    with localcontext(context):
        assert (look(*rows), look(*odd)) == before


# Faults of the whole window.


def test_no_bars_are_an_empty_window() -> None:
    window = look()
    assert [(defect.kind, defect.detail) for defect in window.defects] == [
        ("empty", "had 0 bars and no sound one, needs 20")
    ]
    assert (window.candles, window.price, window.age_ms) == ((), None, None)


def test_bars_of_which_none_is_sound_are_an_empty_window_that_says_why() -> None:
    window = look(bar(0)._replace(close=Decimal(0)), bar(1)._replace(high=Decimal("NaN")))
    assert kinds(window) == ["empty", "not_positive", "impossible"]
    assert window.price is None


def test_fewer_bars_than_needed_are_short() -> None:
    window = look(*walk()[3:])
    assert [(defect.kind, defect.detail) for defect in window.defects] == [("short", "had 17 bars, needs 20")]
    assert len(window.candles) == 17


def test_a_newest_bar_that_closed_over_two_bars_ago_is_stale() -> None:
    assert kinds(look(*walk(), now=NOW + 2 * FIVE)) == []
    window = look(*walk(), now=NOW + 2 * FIVE + 1000)
    assert [(defect.kind, defect.detail) for defect in window.defects] == [
        ("stale", "the newest sound bar closed 601 s ago, needs at most 600 s")
    ]
    assert window.age_ms == 601_000


# Faults of one row.


def test_a_bar_that_is_still_forming_is_unclosed_and_not_among_the_sound() -> None:
    window = look(*walk(LIMIT + 1))
    assert kinds(window) == ["unclosed"]
    assert window.candles == tuple(walk(LIMIT + 1)[:-1])


def test_a_bar_stamped_in_microseconds_is_far_in_the_future() -> None:
    window = look(*walk()[:-1], bar(19)._replace(opened_at=(BEGIN + 19 * FIVE) * 1000), limit=LIMIT)
    assert kinds(window) == ["unclosed"]
    assert "1767231300000000 ms" in window.defects[0].detail


def test_a_bar_off_the_grid_is_misaligned_and_its_place_is_a_gap() -> None:
    window = look(*with_bar(6, opened_at=BEGIN + 6 * FIVE + 1000))
    assert kinds(window) == ["gap", "misaligned"]
    assert len(window.candles) == LIMIT - 1


@pytest.mark.parametrize("field", ["open", "high", "low", "close"])
@pytest.mark.parametrize("value", ["0", "-0.01"])
def test_a_price_that_is_not_positive_is_named(field: str, value: str) -> None:
    window = look(*with_bar(4, **{field: Decimal(value)}))
    assert kinds(window) == ["not_positive"]
    assert window.defects[0].detail.startswith(f"{field} of 2026-01-01T00:20:00.000Z was {value}, needs")
    assert window.defects[0].at == BEGIN + 4 * FIVE


@pytest.mark.parametrize("field", ["open", "high", "low", "close", "volume"])
@pytest.mark.parametrize("value", ["NaN", "sNaN", "Infinity", "-Infinity", "1e18", "9e999999"])
def test_a_number_that_is_not_finite_or_no_ledger_could_hold_is_impossible(field: str, value: str) -> None:
    window = look(*with_bar(4, **{field: Decimal(value)}))
    assert kinds(window) == ["impossible"]
    assert len(window.candles) == LIMIT - 1


@pytest.mark.parametrize(
    "changes",
    [
        {"high": Decimal("99.9"), "open": Decimal(100), "close": Decimal("99.9"), "low": Decimal(99)},
        {"high": Decimal("99.9"), "open": Decimal(99), "close": Decimal(100), "low": Decimal(99)},
        {"low": Decimal("100.1"), "open": Decimal(100), "close": Decimal(101), "high": Decimal(102)},
        {"low": Decimal("100.1"), "open": Decimal(101), "close": Decimal(100), "high": Decimal(102)},
        {"volume": Decimal("-0.1")},
    ],
)
def test_a_bar_that_cannot_have_been_is_impossible(changes: dict[str, Decimal]) -> None:
    window = look(*with_bar(4, **changes))
    assert kinds(window) == ["impossible"]
    assert BEGIN + 4 * FIVE not in [candle.opened_at for candle in window.candles]


def test_the_same_bar_twice_is_a_duplicate_and_the_first_one_counts() -> None:
    rows = walk()
    window = look(*rows[:8], rows[7], *rows[8:])
    assert [(defect.kind, defect.detail, defect.at) for defect in window.defects] == [
        ("duplicate", "the bar of 2026-01-01T00:35:00.000Z came twice, with the same values", BEGIN + 7 * FIVE)
    ]
    assert window.candles == tuple(rows)


def test_a_duplicate_with_other_values_says_so() -> None:
    rows = walk()
    other = rows[7]._replace(close=rows[7].close - Decimal("0.25"))
    window = look(*rows[:8], other, *rows[8:])
    assert kinds(window) == ["duplicate"]
    assert f"with other values (close {rows[7].close}, then {other.close})" in window.defects[0].detail
    assert window.candles[7] == rows[7]


def test_bars_out_of_order_are_a_disorder_and_come_out_ascending() -> None:
    rows = walk()
    window = look(*rows[:5], rows[6], rows[5], *rows[7:])
    assert [(defect.kind, defect.at) for defect in window.defects] == [("disorder", BEGIN + 5 * FIVE)]
    assert window.candles == tuple(rows)


# Faults between rows.


def test_a_gap_says_how_many_bars_are_missing_and_from_when() -> None:
    rows = walk()
    window = look(*rows[:5], *rows[8:], limit=17)
    assert [(defect.kind, defect.detail, defect.at) for defect in window.defects] == [
        ("gap", "3 bars missing from 2026-01-01T00:25:00.000Z", BEGIN + 5 * FIVE)
    ]


def test_an_unsound_bar_is_not_counted_as_missing_too() -> None:
    assert kinds(look(*with_bar(9, close=Decimal(-1)))) == ["not_positive"]


def test_two_bars_without_volume_are_a_plateau() -> None:
    rows = walk()
    rows[5:8] = [row._replace(volume=Decimal("0.0")) for row in rows[5:8]]
    window = look(*rows)
    assert [(defect.kind, defect.detail) for defect in window.defects] == [
        ("plateau", "3 bars without volume from 2026-01-01T00:25:00.000Z")
    ]


@pytest.mark.parametrize("volume", ["5", "0"])
def test_six_bars_at_one_price_are_one_plateau_whatever_the_volume(volume: str) -> None:
    price = Decimal(100)
    rows = walk()
    flat = {"open": price, "high": price, "low": price, "close": price, "volume": Decimal(volume)}
    rows[5:11] = [Candle(row.opened_at, **flat) for row in rows[5:11]]
    assert kinds(look(*rows)) == ["plateau"]


def test_the_print_of_a_cent_is_absurd_going_down_and_coming_back() -> None:
    cent = Decimal("0.01")
    window = look(*with_bar(9, low=cent, close=cent))
    assert [(defect.kind, defect.at) for defect in window.defects] == [
        ("absurd", BEGIN + 9 * FIVE),
        ("absurd", BEGIN + 10 * FIVE),
    ]


def test_another_coin_under_the_same_name_is_absurd() -> None:
    rows = [bar(index, "0.8") for index in range(10)] + [bar(index, "20") for index in range(10, LIMIT)]
    assert "absurd" in kinds(look(*rows))


def test_a_bar_from_low_to_more_than_twice_as_high_is_absurd() -> None:
    assert kinds(look(*with_bar(9, high=Decimal(250)))) == ["absurd"]


# What is listed.


def test_at_most_eight_defects_are_listed_and_the_rest_is_counted_by_kind() -> None:
    rows = [row for index in range(1, 40, 2) for row in (bar(index), bar(index))]
    window = look(*rows, now=BEGIN + 40 * FIVE)
    assert len(window.defects) == MOST_DEFECTS + 1
    assert (window.defects[-1].kind, window.defects[-1].at) == ("more", None)
    assert window.defects[-1].detail == "and 31 more: 16 duplicate, 15 gap"


# Anything at all.

numbers = st.one_of(
    st.sampled_from([Decimal(100), Decimal("100.5"), Decimal(101), Decimal(0), Decimal("0.01")]),
    st.decimals(allow_nan=True, allow_infinity=True),
)
anything = st.lists(
    st.builds(
        Candle,
        st.integers() | st.integers(BEGIN - 2, BEGIN + 2) | st.integers(0, 30).map(lambda i: BEGIN + i * FIVE),
        numbers,
        numbers,
        numbers,
        numbers,
        numbers,
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(rows=anything, limit=st.integers(1, 12))
def test_whatever_comes_the_sound_bars_are_sound_and_all_others_are_named(rows: list[Candle], limit: int) -> None:
    window = look(*rows, limit=limit)
    stamps = [candle.opened_at for candle in window.candles]
    assert stamps == sorted(set(stamps))
    for candle in window.candles:
        assert candle.opened_at % FIVE == 0
        assert candle.opened_at + FIVE <= NOW
        assert all(value.is_finite() for value in candle[1:])
        assert 0 < candle.low <= min(candle.open, candle.close) <= max(candle.open, candle.close) <= candle.high
        assert candle.volume >= 0
    assert all(any(candle is row for row in rows) for candle in window.candles)
    assert window.defects or len(window.candles) == len(rows) >= limit
    assert len(window.defects) <= MOST_DEFECTS + 1


@given(seed=st.integers(0, 50), missing=st.sets(st.integers(1, LIMIT - 2), min_size=1))
def test_every_bar_taken_out_is_counted_once_among_the_gaps(seed: int, missing: set[int]) -> None:
    rows = [row for index, row in enumerate(walk(seed=seed)) if index not in missing]
    window = look(*rows, limit=len(rows))
    assert window.candles == tuple(rows)
    listed = sum(int(defect.detail.split()[0]) for defect in window.defects if defect.kind == "gap")
    assert listed == len(missing) or window.defects[-1].kind == "more"


@given(seed=st.integers(0, 50), order=st.permutations(range(LIMIT)))
def test_the_order_in_which_bars_come_changes_the_defects_but_not_the_bars(seed: int, order: list[int]) -> None:
    rows = walk(seed=seed)
    window = look(*(rows[index] for index in order))
    assert window.candles == tuple(rows)
    assert ("disorder" in kinds(window)) is (order != sorted(order))


# A window after the one before it.


def grown(rows: list[Candle], by: int = 1) -> tuple[Window, Window]:
    """The last window of `rows` as it is examined after the one `by` bars before it, and as it is examined alone."""
    now = rows[-1].opened_at + FIVE
    before = examine(CandleBatch("recorded:x", tuple(rows[:-by][-LIMIT:])), FIVE, now - by * FIVE, LIMIT)
    batch = CandleBatch("recorded:x", tuple(rows[-LIMIT:]))
    return examine(batch, FIVE, now, LIMIT, before), examine(batch, FIVE, now, LIMIT)


@pytest.mark.parametrize("by", [1, 2, LIMIT - 1, LIMIT, LIMIT + 3])
def test_a_window_that_moved_on_by_clean_bars_is_what_it_would_be_alone(by: int) -> None:
    after, alone = grown(walk(LIMIT + by), by)
    assert after == alone
    assert after.closes == alone.closes == tuple(float(row.close) for row in after.candles)
    assert after.sane and alone.sane


def test_bars_that_a_window_passed_are_not_tested_again() -> None:
    rows = tuple(walk(LIMIT + 1))
    seen = examine(CandleBatch("recorded:x", rows[:-1]), FIVE, rows[-1].opened_at, LIMIT)
    with patch("trader_cli.core.candles._sane", wraps=candles._sane) as tested:
        examine(CandleBatch("recorded:x", rows[1:]), FIVE, rows[-1].opened_at + FIVE, LIMIT, seen)
    assert [call.args[0] for call in tested.call_args_list] == [rows[-2:]]


def test_a_window_with_a_fault_of_one_bar_is_never_the_ground_of_the_next() -> None:
    rows = walk(LIMIT + 1)
    rows[3] = rows[3]._replace(close=Decimal(-1))
    after, alone = grown(rows)
    assert not alone.sane
    assert repr(after) == repr(alone)


@pytest.mark.parametrize(
    ("before", "now", "passed"),
    [
        ((0, 4), (0, 4), 0),
        ((0, 4), (1, 4), 1),
        ((0, 4), (1, 6), 1),
        ((0, 4), (3, 9), 3),
        ((0, 4), (4, 8), None),
        ((1, 5), (0, 5), None),
        ((0, 4), (1, 3), None),
        ((0, 0), (0, 4), None),
        ((0, 4), (0, 0), None),
    ],
)
def test_a_window_that_moved_on_keeps_the_end_of_the_one_before(
    before: tuple[int, int], now: tuple[int, int], passed: int | None
) -> None:
    rows = tuple(walk(9))
    assert moved_on(rows[slice(*before)], rows[slice(*now)]) == passed


def test_a_window_with_a_restated_bar_did_not_move_on() -> None:
    rows = tuple(walk(5))
    restated = (*rows[:2], rows[2]._replace(volume=rows[2].volume + 1), *rows[3:])
    assert moved_on(rows, restated) is None


@given(
    st.sampled_from(Candle._fields),
    st.sampled_from(["0", "-1", "49.9", "50", "99.5", "100", "101", "200", "210", "1e18", "NaN", "sNaN", "Infinity"]),
    st.integers(0, 1000),
    st.integers(0, LIMIT),
    st.booleans(),
    st.integers(1, LIMIT + 1),
)
@settings(deadline=None, max_examples=400)
def test_a_window_looked_at_after_another_has_the_defects_it_has_alone(
    field: str, value: str, seed: int, index: int, flat: bool, by: int
) -> None:
    rows = walk(LIMIT + by, seed)
    index += by - 1
    if flat:
        rows = [row._replace(open=row.close, high=row.close, low=row.close) for row in rows]
    changed = {field: Decimal(value)} if field != "opened_at" else {field: rows[index].opened_at + FIVE // 2}
    rows[index] = rows[index]._replace(**changed)
    after, alone = grown(rows, by)
    assert repr(after) == repr(alone)
    assert (after.closes, after.sane) == (alone.closes, alone.sane)
