"""What the account owns, by asset: free, and locked by open orders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from tests.binance.amounts import ZERO, cut
from tests.binance.refusal import rejected


@dataclass(frozen=True, slots=True)
class Balance:
    """Of one asset."""

    free: Decimal = ZERO
    locked: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        """All of it."""
        return self.free + self.locked


class Wallet:
    """The account's balances. Whoever changes them holds the exchange's lock."""

    def __init__(self, start: Mapping[str, Decimal]) -> None:
        self.balances: dict[str, Balance] = {asset: Balance(cut(amount)) for asset, amount in start.items()}

    def of(self, asset: str) -> Balance:
        """Nothing, of an asset that was never here."""
        return self.balances.get(asset, Balance())

    def put(self, asset: str, free: Decimal) -> None:
        """Set what is free, from outside."""
        self.balances[asset] = Balance(free, self.of(asset).locked)

    def add(self, asset: str, change: Decimal) -> None:
        """Give or, below zero, take. Raises RefusedError (-2010) where not so much is free."""
        had = self.of(asset)
        if had.free + change < ZERO:
            raise rejected("Account has insufficient balance for requested action.")
        self.balances[asset] = Balance(had.free + change, had.locked)

    def lock(self, asset: str, amount: Decimal) -> None:
        """Set aside for an order; below zero sets free. Raises RefusedError (-2010)."""
        self.add(asset, -amount)
        had = self.of(asset)
        self.balances[asset] = Balance(had.free, had.locked + amount)
