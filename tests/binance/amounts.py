"""Decimals as the service writes and reads them: plain text of eight places, nothing rounded up."""

from __future__ import annotations

import re
from decimal import ROUND_DOWN, Decimal

from tests.binance.refusal import LEGAL_NUMBER, RefusedError, illegal

ZERO = Decimal(0)
PLACES = 8


def fixed(value: Decimal, places: int = PLACES) -> str:
    """Text of so many places, cut."""
    return format(cut(value, places), "f")


def cut(value: Decimal, places: int = PLACES) -> Decimal:
    """A value without what lies behind so many places."""
    return value.quantize(Decimal(1).scaleb(-places), ROUND_DOWN)


def floored(value: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of a step that is not above a value; the value itself for a step of 0."""
    return value if step == ZERO else (value // step) * step


def amount(name: str, said: str) -> Decimal:
    """A parameter's number. Raises RefusedError for other characters (-1100) or more than eight places (-1111)."""
    if re.fullmatch(LEGAL_NUMBER, said, re.ASCII) is None:
        raise illegal(name, LEGAL_NUMBER)
    if len(said.partition(".")[2]) > PLACES:
        raise RefusedError(-1111, f"Parameter '{name}' has too much precision.")
    return Decimal(said)


def whole(name: str, said: str) -> int:
    """A parameter's whole number. Raises RefusedError."""
    if re.fullmatch("[0-9]{1,20}", said, re.ASCII) is None:
        raise illegal(name, "^[0-9]{1,20}$")
    return int(said)
