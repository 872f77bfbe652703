"""Money's doors: what may come in, how it goes out, and that nobody else's decimal context matters."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_UP, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trader_cli.core.decimals import add, brief, dec, div, floor_to, mul, percent, round_up, sub, text

UNIT = Decimal("1e-18")
amounts = st.integers(-(10**36) + 1, 10**36 - 1).map(lambda n: Decimal(n).scaleb(-18, decimal.Context(prec=60)))
"""Every amount that the ledger can hold: 18 digits on each side of the point."""
sane = st.integers(-(10**20), 10**20).map(lambda n: Decimal(n).scaleb(-8))
"""Amounts as exchanges have them: 8 places, up to a million millions."""
positive = st.integers(1, 10**20).map(lambda n: Decimal(n).scaleb(-8))
steps = st.sampled_from(["1", "0.1", "0.01", "0.00001", "0.00000001", "5", "0.25", "1000"]).map(Decimal)


@given(amounts)
@example(Decimal("-0"))
@example(Decimal("1E+17"))
@example(Decimal("1E-18"))
@example(Decimal("100"))
def test_what_is_written_reads_back_equal_and_is_written_the_same_again(value: Decimal) -> None:
    written = text(value)
    assert dec(written) == value
    assert text(dec(written)) == written


@given(amounts)
@example(Decimal("1E+17"))
@example(Decimal("1E-18"))
def test_an_amount_is_written_without_exponent_trailing_zeros_plus_or_negative_zero(value: Decimal) -> None:
    written = text(value)
    assert set(written) <= set("-.0123456789")
    assert written != "-0"
    whole, point, places = written.removeprefix("-").partition(".")
    assert bool(point) == bool(places)
    assert not places.endswith("0")
    assert whole == "0" or not whole.startswith("0")


@given(amounts, st.integers(0, 6))
def test_equal_amounts_are_written_alike_however_many_zeros_they_carry(value: Decimal, zeros: int) -> None:
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    padded = value.quantize(Decimal(1).scaleb(exponent - zeros), context=decimal.Context(prec=60))
    assert text(padded) == text(value)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("0.00000001", "0.00000001"),
        ("1E-8", "0.00000001"),
        ("1E+5", "100000"),
        ("-12.50", "-12.5"),
        ("-0.000", "0"),
        ("999999999999999999.999999999999999999", "999999999999999999.999999999999999999"),
    ],
)
def test_known_amounts_are_written_plainly(value: str, written: str) -> None:
    assert text(Decimal(value)) == written


REFUSED = [
    "",
    " 1",
    "1 ",
    "1\n",
    "\n1",
    "1e-5",
    "1E5",
    "1e5",
    "+1",
    "--1",
    ".5",
    "5.",
    "1,5",
    "1_000",
    "0x10",
    "nan",
    "NaN",
    "sNaN",
    "inf",
    "-Infinity",
    "\u0661\u0662",  # Arabic digits, which Decimal() would take
    "\uff11\uff12",  # full-width digits, likewise
    "1.\u0665",
    "1\x00",
    "1" * 19,
    "0." + "1" * 19,
    "9" * 5000,
]


@pytest.mark.parametrize("words", REFUSED, ids=lambda words: ascii(words)[:24])
def test_anything_but_a_plain_decimal_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match="needs a plain decimal number"):
        dec(words)


@pytest.mark.parametrize("value", [1.5, 0.0, float("nan"), True, None, b"1", Decimal(1), [1]], ids=repr)
def test_a_float_or_any_other_type_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="needs a plain decimal number"):
        dec(value)


@given(st.text(max_size=12) | st.from_regex(r"-?\d{0,3}\.?\d{0,3}([eE][+-]?\d)?\n?", fullmatch=True))
def test_no_text_comes_in_that_does_not_look_like_the_number_it_is(words: str) -> None:
    try:
        value = dec(words)
    except ValueError:
        return
    assert words.isascii()
    assert set(words) <= set("-.0123456789")
    assert value == Decimal(words)


@given(st.integers(-(10**18) + 1, 10**18 - 1))
def test_a_whole_number_comes_in_as_it_is(number: int) -> None:
    assert dec(number) == number


@pytest.mark.parametrize("value", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_a_number_that_is_not_finite_is_never_written(value: str) -> None:
    with pytest.raises(ValueError, match="needs a finite number"):
        text(Decimal(value))


@pytest.mark.parametrize("value", ["1E+18", "-1E+18", "1E-19", "0.1234567890123456789"])
def test_a_number_that_does_not_fit_is_never_written_shortened(value: str) -> None:
    with pytest.raises(ValueError, match="at most 18 digits"):
        text(Decimal(value))


@given(sane, steps)
def test_rounding_to_a_step_goes_towards_zero_by_less_than_a_step(value: Decimal, step: Decimal) -> None:
    floored = floor_to(value, step)
    steps_in = Fraction(floored) / Fraction(step)
    assert steps_in.denominator == 1
    assert abs(Fraction(value)) - Fraction(step) < abs(Fraction(floored)) <= abs(Fraction(value))
    assert floored == 0 or (floored > 0) == (value > 0)
    assert floor_to(floored, step) == floored


def test_a_step_of_zero_leaves_the_value_as_it_is() -> None:
    assert floor_to(Decimal("1.23456789"), Decimal(0)) == Decimal("1.23456789")


@given(amounts, amounts)
def test_sums_and_differences_are_exact(left: Decimal, right: Decimal) -> None:
    assert Fraction(add(left, right)) == Fraction(left) + Fraction(right)
    assert Fraction(sub(left, right)) == Fraction(left) - Fraction(right)


@given(st.lists(amounts, max_size=8))
def test_a_sum_does_not_depend_on_the_order(values: list[Decimal]) -> None:
    assert add(*values) == add(*reversed(values)) == sum(map(Fraction, values), Fraction(0))


@given(sane, sane)
def test_products_and_percentages_are_exact(left: Decimal, right: Decimal) -> None:
    assert Fraction(mul(left, right)) == Fraction(left) * Fraction(right)
    assert Fraction(percent(left, right)) == Fraction(left) * Fraction(right) / 100


@given(sane, positive)
@example(Decimal("0.0000000000005"), Decimal(1))
@example(Decimal("0.0000000000015"), Decimal(1))
@example(Decimal(1), Decimal(3))
def test_a_quotient_is_rounded_half_even_to_a_millionth_of_a_millionth(left: Decimal, right: Decimal) -> None:
    exact = Fraction(left) / Fraction(right) * 10**12
    assert Fraction(div(left, right)) * 10**12 == round(exact)  # round() of a Fraction is half-even


@given(sane)
def test_rounding_up_never_reckons_too_small_and_by_less_than_a_unit(value: Decimal) -> None:
    fine = value + UNIT if value >= 0 else value
    assert fine <= round_up(fine) < fine + Decimal("1e-8")


def test_dividing_by_zero_raises() -> None:
    with pytest.raises(decimal.DivisionByZero):
        div(Decimal(1), Decimal(0))


CALLS: list[tuple[str, Callable[[Decimal, Decimal], object]]] = [
    ("text", lambda a, b: text(a)),
    ("dec", lambda a, b: dec(format(a, "f"))),
    ("brief", lambda a, b: brief(a)),
    ("add", lambda a, b: add(a, b, a)),
    ("sub", sub),
    ("mul", mul),
    ("div", div),
    ("floor_to", floor_to),
    ("percent", percent),
    ("round_up", lambda a, b: round_up(a)),
]


@pytest.mark.parametrize(("name", "call"), CALLS, ids=[name for name, _ in CALLS])
@given(left=sane, right=positive, rounding=st.sampled_from([ROUND_UP, ROUND_DOWN, ROUND_HALF_EVEN]))
@example(left=Decimal("-123456789.87654321"), right=Decimal("0.00000003"), rounding=ROUND_UP)
@settings(max_examples=25)
def test_a_hostile_decimal_context_of_the_thread_changes_no_result(
    name: str, call: Callable[[Decimal, Decimal], object], left: Decimal, right: Decimal, rounding: str
) -> None:
    expected = call(left, right)
    with localcontext() as hostile:
        hostile.prec = 5
        hostile.rounding = rounding
        hostile.Emax, hostile.Emin, hostile.capitals = 9, -9, 0
        hostile.clear_traps()
        found = call(left, right)
        hostile.traps = dict.fromkeys(hostile.traps, True)
        trapped = call(left, right)
    assert str(found) == str(expected) == str(trapped), name
