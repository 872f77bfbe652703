"""Outcomes from the ledger's rows: lots and what models cost, folded; and the decision behind each order.

The fold begins with the ledger, or with what a row of memory says was held after its sale; what it finds is the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from heapq import merge
from itertools import groupby
from typing import NamedTuple

from trader_cli.core.decimals import ZERO, add, dec, sub
from trader_cli.core.experiments import Piece, Purchases, bought, charged, closed_all, real, shrunk, sold
from trader_cli.core.limits import sellable
from trader_cli.core.moments import parse_iso
from trader_cli.core.regimes import Regime, regime
from trader_cli.schemas.book import Book
from trader_cli.schemas.lot import ClosedLot
from trader_cli.schemas.market import Features
from trader_cli.schemas.memory import Standing
from trader_cli.schemas.order import Side
from trader_cli.tools import chain
from trader_cli.tools.accounts import FILL, Change, changed, lotted
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.rows import read_market

_CALLED = "CALLED"


class Decided(NamedTuple):
    """The decision that bought: its policy and parameters, its words, and the regime it was made in."""

    policy_id: str | None
    params: dict[str, int | float]
    regime: str
    hypothesis: str | None
    confidence: float | None


NOBODY = Decided(None, {}, Regime.UNDEFINED.value, None, None)


class Fold:
    """The lots and what models cost, folded as far as the rows go: from the beginning, or from a sale on."""

    def __init__(self, ledger: Ledger, link: int = 0, standing: Standing | None = None) -> None:
        """From behind link `link`, at which `standing` was held."""
        self._ledger = ledger
        self._link = link if standing is not None else 0
        self._base, self._quote = (ledger.identity().get("symbol") or "/").split("/")
        begun = standing or Standing(ZERO, ZERO, (), {})
        self.book = Book(base=begun.base, cost=begun.cost)
        self.lots = begun.lots
        self.purchases: Purchases = begun.purchases

    @property
    def standing(self) -> Standing:
        """What is held after the last outcome that was handed out."""
        return Standing(self.book.base, self.book.cost, self.lots, dict(self.purchases))

    def closed(self) -> Iterator[tuple[int, Piece, Standing | None]]:
        """Every outcome since the last time this was asked, with the link of its sale, in order.

        The last one of a sale has what is held after it.
        """
        steps = merge(self._calls(), self._ledger.changes(self._link), key=lambda change: change.link)
        for (link, order, _), changes in groupby(steps, key=_together):
            self._link = link
            pieces = self._step(order, list(changes))
            for number, piece in enumerate(pieces, 1):
                yield link, piece, self.standing if number == len(pieces) else None

    def _calls(self) -> Iterator[Change]:
        """What models cost, call by call."""
        db = self._ledger.db
        first = chain.first_id(db, "model_calls", self._link + 1)
        if first is None:
            return
        for link, cost in db.execute(
            "SELECT link, cost_usd FROM model_calls WHERE cost_usd <> '0' AND id >= ? ORDER BY id", (first,)
        ):
            yield Change(link, _CALLED, {"cost_usd": cost})

    def _step(self, order: str, changes: list[Change]) -> tuple[Piece, ...]:
        """One call of a model, one event, or all fills of an order that were settled together."""
        if changes[0].kind == _CALLED:
            for one in changes:
                self.purchases = charged(self.purchases, self.lots, dec(one.said["cost_usd"]))
            return ()
        before = self.lots
        closed: list[ClosedLot] = []
        for one in self._dated(order, changes):
            self.book = changed(self.book, one, self._base, self._quote)
            self.lots, parts = lotted(self.lots, one, self.book, self._base, self._quote)
            closed += parts
        is_dust = self._is_dust(order, changes[-1])
        if changes[0].kind == FILL and changes[0].side is Side.SELL:
            self.purchases, pieces = sold(self.purchases, before, closed, is_dust)
            return pieces
        if changes[0].kind == FILL:
            came = sub(self.book.base, add(*(lot.qty for lot in before)))
            idle, covers = not real(self.purchases, before), any(lot.qty < ZERO for lot in before)
            cost = self._cost_of_cycle(order) if idle else ZERO
            self.purchases = bought(self.purchases, order, came, cost, covers)
        else:
            self.purchases = shrunk(self.purchases, before, self.lots)
        if is_dust:
            self.purchases = closed_all(self.purchases)
        return ()

    def _dated(self, order: str, changes: list[Change]) -> Iterator[Change]:
        """The changes; a fill happened no later than it was settled, whatever an exchange says."""
        row = self._ledger.db.execute("SELECT ts_utc FROM trades WHERE idempotency_key = ?", (order,)).fetchone()
        for one in changes:
            if one.fill is not None and row is not None:
                at = min(one.fill.at, parse_iso(row[0]))
                yield one._replace(fill=replace(one.fill, at=at))
            else:
                yield one

    def _is_dust(self, order: str, change: Change) -> bool:
        """Whether what is held after a change can be sold by no order, by the market's rules of then."""
        db, left = self._ledger.db, add(*(lot.qty for lot in self.lots))
        row = (
            db.execute(
                "SELECT t.terms_json FROM orders AS o LEFT JOIN decisions AS d ON d.id = o.verdict_id "
                "JOIN terms AS t ON t.sha256 = d.terms_sha256 WHERE o.client_order_id = ?",
                (order,),
            ).fetchone()
            or db.execute(
                "SELECT terms_json FROM terms WHERE link < ? ORDER BY id DESC LIMIT 1", (change.link,)
            ).fetchone()
        )
        price = change.fill.price if change.fill is not None else self._price_before(change.link)
        if left <= ZERO or row is None or price is None:
            return left <= ZERO
        return not sellable(read_market(json.loads(row[0])["market"]), price, left, ZERO)

    def _price_before(self, link: int) -> Decimal | None:
        """What was paid last before a link."""
        after = chain.first_id(self._ledger.db, "fills", link)
        row = self._ledger.db.execute(
            "SELECT price FROM fills WHERE ? IS NULL OR id < ? ORDER BY id DESC LIMIT 1", (after, after)
        ).fetchone()
        return None if row is None else dec(row[0])

    def _cost_of_cycle(self, order: str) -> Decimal:
        """What models cost in the cycle that made an order, in USD."""
        rows = self._ledger.db.execute(
            "SELECT c.cost_usd FROM model_calls AS c JOIN orders AS o ON o.trace_id = c.trace_id "
            "WHERE o.client_order_id = ? AND c.link <= o.link AND c.cost_usd <> '0'",
            (order,),
        )
        return add(*(dec(cost) for (cost,) in rows))


def _together(change: Change) -> tuple[int, str, str]:
    return change.link, change.order, change.kind


def decided(ledger: Ledger, client_order_id: str) -> Decided:
    """The decision behind an order."""
    row = ledger.db.execute(
        "SELECT t.payload_json, p.payload_json, s.features_json FROM orders AS o "
        "JOIN decisions AS t ON t.id = o.proposal_id JOIN decisions AS p ON p.id = t.plan_id "
        "LEFT JOIN observations AS s ON s.id = t.observation_id WHERE o.client_order_id = ?",
        (client_order_id,),
    ).fetchone()
    if row is None:
        return NOBODY
    said, plan = json.loads(row[0]), json.loads(row[1])
    params: dict[str, int | float] = next(
        (one["params"] for one in plan["strategies"] if one["policy_id"] == said["policy_id"]), {}
    )
    where = Regime.UNDEFINED if row[2] is None else regime(Features(**json.loads(row[2])))
    return Decided(said["policy_id"], params, where.value, said["hypothesis"], said["confidence"])
