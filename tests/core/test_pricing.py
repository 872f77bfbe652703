"""What an answer costs: the published formula, hostile token counts, and bounds that nothing real is above."""

from __future__ import annotations

import decimal
import json
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_cli.core.decimals import text
from trader_cli.core.pricing import MOST_TOKENS, QUANTUM, cost, most_input_tokens, worst_case
from trader_cli.schemas.model import Price
from trader_cli.schemas.question import Usage

MINI = Price(Decimal("0.25"), Decimal("0.025"), Decimal(2))
TERRA = Price(Decimal(2), Decimal("0.2"), Decimal(12), Decimal("2.5"))
rates = st.integers(0, 10**8).map(lambda n: Decimal(n).scaleb(-5))
prices = st.builds(Price, rates, rates, rates, st.none() | rates)
counts = st.integers(0, MOST_TOKENS)


def spent(price: Price, given: int | None, cached: int | None, written: int | None) -> Decimal | None:
    """What an answer of so many tokens costs."""
    return cost(price, Usage(given, cached, written))


@pytest.mark.parametrize(
    ("price", "tokens", "usd"),
    [
        (MINI, (1_000_000, 0, 0), "0.25"),
        (MINI, (1_000_000, 1_000_000, 0), "0.025"),
        (MINI, (0, 0, 1_000_000), "2"),
        (MINI, (2_000, 1_500, 300), "0.0007625"),
        (TERRA, (5_700, 0, 1_000), "0.0234"),
        (MINI, (0, 0, 0), "0"),
        (MINI, (1, 0, 0), "0.00000025"),
        (MINI, (1, 1, 0), "0.000000025"),
    ],
)
def test_an_answer_costs_its_tokens_at_their_price(price: Price, tokens: tuple[int, int, int], usd: str) -> None:
    found = spent(price, *tokens)
    assert found is not None
    assert text(found) == usd


@given(prices, counts, counts, counts)
def test_a_cost_is_the_exact_sum_to_the_billionth(price: Price, given: int, cached: int, written: int) -> None:
    found = spent(price, given, cached, written)
    assert found is not None
    cached = min(cached, given)
    parts = ((price.input, given - cached), (price.cached, cached), (price.output, written))
    exact = sum((Fraction(rate) * count for rate, count in parts), Fraction(0))
    assert abs(Fraction(found) - exact / 10**6) <= Fraction(QUANTUM) / 2
    assert found == found.quantize(QUANTUM)


def test_a_half_is_rounded_to_the_even_billionth() -> None:
    at_a_half = Price(Decimal("0.0005"), Decimal(0), Decimal(0))
    assert spent(at_a_half, 1, 0, 0) == 0
    assert spent(at_a_half, 3, 0, 0) == Decimal("2e-9")


def test_a_server_that_names_no_cached_tokens_used_none() -> None:
    assert spent(MINI, 1000, None, 10) == spent(MINI, 1000, 0, 10)


def test_no_more_can_come_from_the_cache_than_was_read() -> None:
    assert spent(MINI, 100, 5_000_000, 0) == spent(MINI, 100, 100, 0)


@pytest.mark.parametrize("absurd", [-1, MOST_TOKENS + 1, 10**30, None])
def test_token_counts_that_nobody_can_believe_are_no_cost_at_all(absurd: int | None) -> None:
    assert spent(MINI, absurd, 0, 10) is None
    assert spent(MINI, 10, 0, absurd) is None
    if absurd is not None:
        assert spent(MINI, 10, absurd, 10) is None
    assert spent(MINI, MOST_TOKENS, 0, MOST_TOKENS) is not None


@pytest.mark.parametrize("odd", ["12", 12.0, float("nan"), float("inf"), [], {}])
def test_a_count_of_another_type_is_no_count(odd: object) -> None:
    hostile = json.loads(json.dumps(odd))
    assert cost(MINI, replace(Usage(1, 0, 1), input_tokens=hostile)) is None
    assert cost(MINI, replace(Usage(1, 0, 1), output_tokens=hostile)) is None
    assert cost(MINI, replace(Usage(1, 0, 1), cached_tokens=hostile)) is None


def test_the_worst_case_reads_everything_and_writes_to_the_ceiling() -> None:
    assert worst_case(MINI, 2_000, 1_500) == Decimal("0.0035")
    assert worst_case(TERRA, 2_000, 1_500) == Decimal("0.023"), "written to the cache, which is dearer"
    assert worst_case(MINI, 0, 0) == 0


def test_the_worst_case_is_rounded_up() -> None:
    assert worst_case(Price(Decimal("0.0001"), Decimal(0), Decimal(0)), 1, 0) == Decimal("1e-9")


@given(prices, counts, counts, counts)
def test_no_answer_costs_more_than_the_worst_case(price: Price, given: int, cached: int, written: int) -> None:
    found = spent(price, given, cached, written)
    assert found is not None
    assert found <= worst_case(price, given, written)


def test_a_negative_size_is_refused() -> None:
    for tokens in ((-1, 0), (0, -1)):
        with pytest.raises(ValueError, match="token counts of 0 or more"):
            worst_case(MINI, *tokens)
    with pytest.raises(ValueError, match="0 bytes or more"):
        most_input_tokens(-1)


def test_a_request_has_at_most_half_as_many_tokens_as_bytes() -> None:
    assert [most_input_tokens(size) for size in (0, 1, 2, 3, 8_000)] == [0, 1, 1, 2, 4_000]


def test_another_librarys_decimal_context_changes_no_cost() -> None:
    expected = spent(TERRA, 123_457, 999, 7_771), worst_case(TERRA, 123_457, 7_771)
    with decimal.localcontext(decimal.Context(prec=3, rounding=decimal.ROUND_UP)):
        assert (spent(TERRA, 123_457, 999, 7_771), worst_case(TERRA, 123_457, 7_771)) == expected


def test_what_is_written_into_the_cache_costs_more_where_the_price_says_so() -> None:
    usage = Usage(1_000, 200, 0, cache_write_tokens=300)
    dear = Price(Decimal(2), Decimal("0.2"), Decimal(12), Decimal("2.5"))
    assert cost(dear, usage) == Decimal("0.00179")  # 500 x 2 + 200 x 0.2 + 300 x 2.5, per million
    assert cost(replace(dear, cache_write=None), usage) == Decimal("0.00164")


def test_a_server_cannot_have_cached_more_than_was_read() -> None:
    dear = Price(Decimal(2), Decimal("0.2"), Decimal(12), Decimal("2.5"))
    assert cost(dear, Usage(100, 80, 0, cache_write_tokens=5_000)) == Decimal("0.000066")
