"""Calibration: the Brier score and the bins of stated confidence, against what is known of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_cli.core.calibration import COIN, ENOUGH, calibration, wilson

stated = st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=60)


def test_certainty_that_comes_right_is_perfect_and_a_coin_is_a_quarter() -> None:
    assert calibration([(1.0, True), (0.0, False)]).brier == 0.0
    assert calibration([(0.5, True), (0.5, False), (0.5, True)]).brier == COIN
    assert calibration([(1.0, False)]).brier == 1.0


def test_nothing_has_no_score() -> None:
    nothing = calibration([])
    assert (nothing.n, nothing.brier, nothing.bins, nothing.is_enough) == (0, None, (), False)
    assert calibration([(0.5, True)] * ENOUGH).is_enough


def test_a_bin_compares_what_was_said_with_how_often_it_was_right() -> None:
    (low, high) = calibration(
        [(0.61, True), (0.69, False), (0.60, True), (0.70, True), (1.0, False), (0.9, True)]
    ).bins[::2]
    assert (low.low, low.high, low.n, round(low.said, 4), round(low.right, 4)) == (0.6, 0.7, 3, 0.6333, 0.6667)
    assert (high.low, high.high, high.n, high.right) == (0.9, 1.0, 2, 0.5)


@given(stated)
def test_the_bins_hold_every_outcome_once_and_the_score_is_a_mean(pairs: list[tuple[float, bool]]) -> None:
    found = calibration(pairs)
    assert sum(one.n for one in found.bins) == found.n == len(pairs)
    assert found.brier is None or 0.0 <= found.brier <= 1.0
    for one in found.bins:
        assert one.low - 1e-9 <= one.said <= one.high + 1e-9
        assert one.interval[0] <= one.right + 1e-12
        assert one.right <= one.interval[1] + 1e-12


def test_a_confidence_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"was 1\.5"):
        calibration([(1.5, True)])


def test_the_interval_of_a_share_is_wilsons() -> None:
    low, high = wilson(8, 10, 0.95)  # E. Wilson's formula by hand: (0.8 + 0.19207) / 1.38415 -+ ...
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)
    assert wilson(0, 5)[0] == 0.0
    assert wilson(5, 5)[1] == 1.0
