"""The order book: ten levels on each side of the price, thin ones first, so that an order of some dollars walks."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from tests.binance.amounts import ZERO, floored
from tests.binance.symbols import Symbol

NOTIONALS = (12, 30, 120, 600, 3_000, 12_000, 60_000, 300_000, 1_200_000, 6_000_000)
"""What stands on a level, in quote."""
Level = tuple[Decimal, Decimal]
"""Price in quote, quantity in base."""


def levels(symbol: Symbol, price: Decimal, side: str) -> list[Level]:
    """What a taker of a side meets, the best first: bids from the price down, asks from one tick above it up."""
    gap = max(floored(price / 100_000, symbol.tick), symbol.tick)
    start, way = (price + symbol.tick, 1) if side == "BUY" else (price, -1)
    stands = [(start + way * gap * place, notional) for place, notional in enumerate(NOTIONALS)]
    return [(at, max(floored(notional / at, symbol.step), symbol.step)) for at, notional in stands if at > ZERO]


def walk(offered: Iterable[Level], qty: Decimal) -> list[Level]:
    """What an order of a quantity takes, level by level."""
    taken: list[Level] = []
    for price, here in offered:
        part = min(here, qty - sum((one for _, one in taken), ZERO))
        if part <= ZERO:
            break
        taken.append((price, part))
    return taken


def spend(offered: Iterable[Level], quote: Decimal, step: Decimal) -> list[Level]:
    """What an order for so much quote takes, each part on the step."""
    taken: list[Level] = []
    for price, here in offered:
        part = min(here, floored((quote - cost(taken)) / price, step))
        if part <= ZERO:
            break
        taken.append((price, part))
    return taken


def cost(taken: Iterable[Level]) -> Decimal:
    """In quote."""
    return sum((price * qty for price, qty in taken), ZERO)


def quantity(taken: Iterable[Level]) -> Decimal:
    """In base."""
    return sum((qty for _, qty in taken), ZERO)
