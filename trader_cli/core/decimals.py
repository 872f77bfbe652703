"""Money and quantities: the one way in (`dec`), the one way out (`text`), and rounding to a step.

Everything works in the context `MONEY`, so that a library that changes the thread's
decimal context cannot change a balance.
"""

from __future__ import annotations

import re
from decimal import (
    ROUND_CEILING,
    ROUND_DOWN,
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    Overflow,
)
from functools import lru_cache

MONEY = Context(prec=60, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])
ZERO = Decimal(0)
QUANTUM = Decimal("1e-12")
"""What a quotient of money is rounded to, half-even."""

_PLAIN = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)


def dec(value: str | int) -> Decimal:
    """Read a plain decimal such as "-12.50": ASCII, no exponent, at most 18 digits on each side.

    Raises ValueError for anything else; floats are refused by type.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not _PLAIN.fullmatch(value):
        raise ValueError(f"needs a plain decimal number, was {value!r}")
    return Decimal(value)


def text(value: Decimal) -> str:
    """Write a decimal canonically: no exponent, no trailing zeros, no negative zero.

    Raises ValueError for a value that is not finite or does not fit 18.18 digits.
    """
    if not value.is_finite():
        raise ValueError(f"needs a finite number, was {value}")
    plain = _plain(value)
    if len(plain) > 18 and not _PLAIN.fullmatch(plain):
        raise ValueError(f"needs at most 18 digits before and after the point, was {plain}")
    return plain


@lru_cache(maxsize=1024)
def brief(value: Decimal) -> str:
    """A number of any size rounded to 8 places: for messages, never for the books."""
    return _plain(MONEY.quantize(value, Decimal("1e-8")))


def _plain(value: Decimal) -> str:
    plain = MONEY.to_sci_string(value)
    if "E" in plain:
        plain = format(value, "f")
    if plain[-1] == "0" and "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return "0" if plain == "-0" else plain


def round_up(value: Decimal) -> Decimal:
    """Round up to 1e-8: for amounts that must not be reckoned too small."""
    return value.quantize(Decimal("1e-8"), rounding=ROUND_CEILING, context=MONEY)


def add(*values: Decimal) -> Decimal:
    """Exact sum."""
    total = ZERO
    for value in values:
        total = MONEY.add(total, value)
    return total


def sub(left: Decimal, right: Decimal) -> Decimal:
    """Exact difference."""
    return MONEY.subtract(left, right)


def mul(left: Decimal, right: Decimal) -> Decimal:
    """Exact product (up to 60 digits)."""
    return MONEY.multiply(left, right)


def div(left: Decimal, right: Decimal, quantum: Decimal = QUANTUM) -> Decimal:
    """Quotient rounded half-even to `quantum`."""
    return MONEY.quantize(MONEY.divide(left, right), quantum)


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """Round towards zero to a whole number of steps; a step of zero leaves the value as it is."""
    if step <= ZERO:
        return value
    steps = MONEY.divide(value, step).to_integral_value(rounding=ROUND_DOWN, context=MONEY)
    return MONEY.multiply(steps, step)


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    """Round up to a whole number of steps; for values of zero or more."""
    floor = floor_to(value, step)
    return floor if floor >= value else MONEY.add(floor, step)


def percent(value: Decimal, pct: Decimal) -> Decimal:
    """`pct` percent of `value`, exact."""
    return MONEY.multiply(value, MONEY.multiply(pct, Decimal("0.01")))
