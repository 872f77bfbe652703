"""A real account as a dry run sees it: everything is read from the exchange, only orders are paper."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

from trader_cli.core.decimals import ZERO, add
from trader_cli.core.moments import Moment
from trader_cli.schemas.book import Balances
from trader_cli.schemas.order import Absent, Intent, Report, Sighting
from trader_cli.tools.exchanges.paper import PaperTrading
from trader_cli.tools.exchanges.paper_prices import LivePrices, PublicMarket
from trader_cli.tools.ledger import Ledger


class Account(PublicMarket, Protocol):
    """An `Exchange` without its two deeds: there is no way to send or take back an order through it."""

    name: str
    may_be_wiped: bool

    @property
    def fingerprint(self) -> str | None:
        """As in `Exchange`."""

    def prove(self) -> dict[str, str]:
        """As in `Exchange`."""

    def balances(self) -> Balances:
        """As in `Exchange`."""

    def find(self, intent: Intent) -> Report | Absent:
        """As in `Exchange`."""

    def orders(self, since: Moment, until: Moment) -> tuple[Sighting, ...]:
        """As in `Exchange`."""


class RehearsedExchange(PaperTrading):
    """Paper that reads through to a real account. `ledger` is a rehearsal: its paper orders are this run's own.

    Fees are the account's own; slippage is in basis points. Where paper over candles refuses, so does this.
    """

    def __init__(self, ledger: Ledger, account: Account, slippage_bps: Decimal) -> None:
        super().__init__(ledger, LivePrices(account, slippage_bps), ZERO)
        self._account = account
        self.name = account.name
        self.may_be_wiped = account.may_be_wiped

    @property
    def fingerprint(self) -> str | None:
        """The account's own."""
        return self._account.fingerprint

    def prove(self) -> dict[str, str]:
        """The account's own."""
        return self._account.prove()

    def balances(self) -> Balances:
        """What the account holds, and what this rehearsal's orders would have changed."""
        held, moved = self._account.balances(), self._book.moved()
        return Balances(add(held.base, moved.base), add(held.quote, moved.quote))

    def find(self, intent: Intent) -> Report | Absent:
        """This rehearsal's own order, else what the account knows."""
        return self._book.find(intent.client_order_id) or self._account.find(intent)

    def orders(self, since: Moment, until: Moment) -> tuple[Sighting, ...]:
        """The account's own: what is only paper is on no account."""
        return self._account.orders(since, until)
