"""The brakes: what a snapshot does to the trading state, and how streaks are counted."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.desks import LIMITS
from trader_cli.core.brakes import Kept, at_stake, brake, fallen, in_a_row, lost_today
from trader_cli.schemas.book import Book, Snapshot
from trader_cli.schemas.situation import History, TradingState

D = Decimal
RUN, REDUCE, HALT = TradingState
RUNNING = Kept(RUN, None, by_law=False)
MINUTE = 60_000


def braked(equity: str, kept: Kept = RUNNING, *, flat: bool = False, **limits: Any) -> list[str]:
    """The states that an equity leads to, on a day that began with 1000 after a peak of 1100."""
    taken = Snapshot(None, "t", 0, "X/Y", Book(D(1000), D(1000)), D(1), D(0), D(equity), D(1100), None, None)
    asked = replace(LIMITS, **({"daily_loss": D(50), "max_drawdown_pct": D(20), "deposit_cap": None} | limits))
    return [step.to.name for step in brake(kept, asked, History(0, None, D(1000), D(1100)), taken, flat)]


@pytest.mark.parametrize(
    ("equity", "limits", "states"),
    [
        ("950.01", {}, []),
        ("950", {}, ["REDUCE"]),
        ("900", {"daily_loss": None}, []),
        ("880.01", {"daily_loss": None}, []),
        ("880", {"daily_loss": None}, ["REDUCE"]),
        ("2000", {}, []),
        ("1099", {"max_drawdown_pct": D(0)}, ["REDUCE"]),
    ],
)
def test_at_its_limit_and_not_before_a_loss_reduces(equity: str, limits: dict[str, Any], states: list[str]) -> None:
    assert braked(equity, **limits) == states


def test_with_nothing_to_sell_a_loss_halts_at_once() -> None:
    assert braked("950", flat=True) == ["REDUCE", "HALT"]
    assert braked("951", flat=True) == []


def test_what_the_law_reduced_halts_when_all_is_sold_whatever_equity_is_then() -> None:
    reduced = Kept(REDUCE, "daily_loss: 50 lost", by_law=True)
    assert braked("990", reduced) == []
    assert braked("990", reduced, flat=True) == ["HALT"]


@pytest.mark.parametrize("state", [REDUCE, HALT])
def test_what_a_person_set_is_left_alone(state: TradingState) -> None:
    assert braked("1", Kept(state, "the operator", by_law=False), flat=True) == []


def test_the_reason_names_the_limit_and_what_was_found_and_a_halt_keeps_it() -> None:
    taken = Snapshot(None, "t", 0, "X/Y", Book(D(1000), D(1000)), D(1), D(0), D(940), D(1100), None, None)
    asked = replace(LIMITS, daily_loss=D(50), deposit_cap=None)
    first, second = brake(RUNNING, asked, History(0, None, None, None), taken, flat=True)
    assert first.reason == "daily_loss: 60 lost since the day began, the limit is 50"
    assert second.reason == f"nothing left to sell after {first.reason}"
    (fell,) = brake(
        RUNNING,
        replace(LIMITS, max_drawdown_pct=D(10), deposit_cap=None),
        History(0, None, None, None),
        taken,
        flat=False,
    )
    assert fell.reason == "drawdown: equity fell 160 from its peak, the limit is 10 % of 1100"


def test_a_gain_is_no_loss_and_without_a_peak_there_is_no_fall() -> None:
    assert lost_today(History(0, None, D(5), None), Book(), D(6)) == 0
    assert lost_today(History(0, None, None, None), Book(deposits=D(7)), D(6)) == 1
    assert fallen(D(0), D(-1), D(0)) == (D(1), False)
    assert fallen(D(10), D(11), D(0)) == (D(0), True)


@pytest.mark.parametrize(
    ("minutes", "count"),
    [
        ((), 0),
        ((0,), 1),
        ((0, 1, 2), 3),
        ((0, 1, 2, 3), 4),  # a sale in the rest makes it longer
        ((0, 1, 2, 61), 4),
        ((0, 1, 2, 62), 1),  # sat out to its end
        ((0, 500, 900), 3),  # no streak yet, so nothing was sat out
        ((0, 1, 2, 62, 63, 64, 124), 1),
    ],
)
def test_a_streak_that_was_sat_out_counts_anew(minutes: tuple[int, ...], count: int) -> None:
    assert in_a_row([one * MINUTE for one in minutes], 3, 60 * MINUTE) == count


@given(st.lists(st.integers(0, 10_000), max_size=30).map(sorted), st.integers(1, 5), st.integers(1, 500))
def test_whatever_the_times_a_streak_is_no_longer_than_they_are(times: list[int], most: int, rest_ms: int) -> None:
    count = in_a_row(times, most, rest_ms)
    assert min(len(times), 1) <= count <= len(times)
    assert count == len(times) or len(times) > most


@pytest.mark.parametrize(
    ("cap", "peak", "stake"),
    [(None, "1000", "1000"), ("5", "1000", "5"), ("5", "1002", "7"), ("5", "990", "5"), ("5000", "1000", "1000")],
)
def test_a_drawdown_is_a_share_of_what_may_be_lost(cap: str | None, peak: str, stake: str) -> None:
    limits = replace(LIMITS, deposit_cap=None if cap is None else D(cap))
    assert at_stake(limits, Book(deposits=D(1000), quote=D(1000)), D(peak)) == D(stake)
    assert at_stake(replace(limits, edition=1), Book(deposits=D(1000)), D(peak)) == D(peak)


@pytest.mark.parametrize(("equity", "states"), [("999.01", []), ("999", ["REDUCE"])])
def test_on_an_account_that_holds_more_than_the_cap_a_fifth_of_the_cap_is_enough(
    equity: str, states: list[str]
) -> None:
    limits = replace(LIMITS, deposit_cap=D(5), daily_loss=None, max_drawdown_pct=D(20))
    book = Book(deposits=D(1000), quote=D(995), base=D("0.0001"), cost=D(5))
    taken = Snapshot(None, None, 0, "BTC/USDT", book, D(1), D(0), D(equity), D(1000), None, None)
    steps = brake(RUNNING, limits, History(0, None, D(1000), D(1000)), taken, flat=False)
    assert [step.to.name for step in steps] == states
