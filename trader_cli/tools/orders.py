"""The life of an order in rows: the intent written first, its append-only events, fills and the trade.

The state of an order is its last event; `open_orders` lists those without a proof and can be
rebuilt from the events.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from trader_cli.core.decimals import dec, text
from trader_cli.core.errors import LedgerError, NotFoundError
from trader_cli.core.hostile import storable
from trader_cli.core.moments import Moment, iso, parse_iso
from trader_cli.schemas.decision import Review
from trader_cli.schemas.order import SETTLED, Fill, Intent, Order, OrderState, Outcome, Side
from trader_cli.tools.chain import Row
from trader_cli.tools.rows import FILLS, dumps, read_fill, review_document, trade_columns
from trader_cli.tools.store import Store, Transaction


class OrderStore(Store):
    """A store that keeps orders."""

    def reserve(self, tx: Transaction, intent: Intent, review: Review, trace_id: str | None, terms: str | None) -> None:
        """Write an order down before it is sent, with the law's word on it under the terms of that hash."""
        self._write_down(tx, intent, {}, trace_id, (dumps(review_document(review)), terms))

    def adopt(self, tx: Transaction, intent: Intent, evidence: dict[str, str | None]) -> Order:
        """Write an order down that the exchange has and this ledger lost, with a restored backup perhaps."""
        self._write_down(tx, intent, evidence, None, (None, None))
        return Order(intent, OrderState.INTENT, None, (), evidence)

    def _write_down(
        self,
        tx: Transaction,
        intent: Intent,
        evidence: dict[str, str | None],
        trace_id: str | None,
        ruled: tuple[str | None, str | None],
    ) -> None:
        tx.insert(
            "orders",
            ts_utc=iso(intent.at),
            client_order_id=intent.client_order_id,
            proposal_id=intent.proposal_id,
            verdict_id=intent.verdict_id,
            origin=intent.origin,
            trace_id=trace_id,
            symbol=intent.symbol,
            side=intent.side.value,
            qty=text(intent.qty),
            worst_price=text(intent.worst_price),
            reserved_quote=text(intent.reserved_quote),
            recv_window_ms=intent.recv_window_ms,
            law_json=ruled[0],
            **({"terms_sha256": ruled[1]} if self.has("orders", "terms_sha256") else {}),
        )
        self._log_order_event(tx, intent.client_order_id, None, OrderState.INTENT, None, evidence, intent.at)
        self.db.execute("INSERT INTO open_orders VALUES (?)", (intent.client_order_id,))

    def settle(self, order: Order, outcome: Outcome, at: Moment) -> Order:
        """Book what is proved of an order, in one commit: event, fills, trade. Unproved states are events only.

        Waits up to a minute for a locked file: an order may be out there.
        """
        intent = order.intent
        report = outcome.report
        with self.patient(), self.transaction() as tx:
            order_id = report.exchange_order_id if report else None
            self._log_order_event(
                tx, intent.client_order_id, order.state, outcome.state, order_id, outcome.evidence, at
            )
            if outcome.state in (OrderState.FILLED, OrderState.PARTIAL) and report is not None:
                for fill in report.fills:
                    self._log_fill(tx, intent.client_order_id, fill, self.later_epoch())
                self.log_trade(tx, intent, outcome, at)
            self._list_open(intent.client_order_id, outcome.state in SETTLED)
        return self._order("client_order_id = ?", intent.client_order_id) or missing("the order just settled")

    def log_trade(self, tx: Transaction, intent: Intent, outcome: Outcome, at: Moment) -> int:
        """The specification's row of an executed order: quantity, average price and fee from its fills."""
        report = outcome.report
        if report is None or not report.fills:
            raise LedgerError("an executed order needs fills", "This is a bug.")
        trace = self.db.execute(
            "SELECT trace_id FROM orders WHERE client_order_id = ?", (intent.client_order_id,)
        ).fetchone()
        return tx.insert(
            "trades",
            ts_utc=iso(at),
            symbol=intent.symbol,
            side=intent.side.value,
            order_id=report.exchange_order_id,
            idempotency_key=intent.client_order_id,
            proposal_id=intent.proposal_id,
            trace_id=trace[0] if trace else None,
            **trade_columns(report.fills, outcome.state),
        )

    def _log_order_event(
        self,
        tx: Transaction,
        client_order_id: str,
        before: OrderState | None,
        state: OrderState,
        exchange_order_id: str | None,
        evidence: dict[str, str | None],
        at: Moment,
    ) -> None:
        tx.insert(
            "order_events",
            ts_utc=iso(at),
            client_order_id=client_order_id,
            from_state=None if before is None else before.value,
            state=state.value,
            exchange_order_id=exchange_order_id,
            evidence_json=storable(dumps(evidence)),
        )

    def trade_taken(self, fills: tuple[Fill, ...]) -> str | None:
        """The first of these trades that another order of this epoch has already, if one has."""
        here = f"coalesce(epoch, 1) = {self.later_epoch() or 1} AND" if self.has("fills", "epoch") else ""
        for fill in fills:
            known = self.db.execute(f"SELECT 1 FROM fills WHERE {here} trade_id = ?", (fill.trade_id,)).fetchone()
            if known:
                return fill.trade_id
        return None

    def later_epoch(self) -> int | None:
        """The account's epoch where that is not its first: an exchange that was wiped counts its trades anew."""
        return None

    def _log_fill(self, tx: Transaction, client_order_id: str, fill: Fill, epoch: int | None) -> None:
        tx.insert(
            "fills",
            ts_utc=iso(fill.at),
            client_order_id=client_order_id,
            trade_id=fill.trade_id,
            qty=text(fill.qty),
            price=text(fill.price),
            quote_qty=text(fill.quote_qty),
            fee=text(fill.fee),
            fee_asset=fill.fee_asset,
            fee_quote=text(fill.fee_quote),
            **({} if epoch is None else {"epoch": epoch}),
        )

    def open_orders(self) -> tuple[Order, ...]:
        """Orders without a proof, oldest first."""
        return self.remembered("open orders", ("order_events",), self._open_orders)

    def _open_orders(self) -> tuple[Order, ...]:
        ids = self.db.execute(
            "SELECT w.client_order_id FROM open_orders AS w CROSS JOIN orders AS o "
            "ON o.client_order_id = w.client_order_id ORDER BY o.id"
        ).fetchall()
        found = (self._order("client_order_id = ?", one) for (one,) in ids)
        return tuple(order for order in found if order is not None)

    def newest_order_event(self) -> int:
        """The id of the newest event of an order, 0 without one."""
        return int(self.db.execute("SELECT coalesce(max(id), 0) FROM order_events").fetchone()[0])

    def orders_since(self, event_id: int) -> tuple[int, list[tuple[str | None, Order]]]:
        """The newest event's id, and the orders that have had an event since that one, with their traces."""
        newest = self.newest_order_event()
        if newest == event_id:
            return newest, []
        ids = self.db.execute(
            "SELECT o.client_order_id, o.trace_id FROM order_events AS e JOIN orders AS o USING (client_order_id) "
            "WHERE e.id > ? AND e.id <= ? GROUP BY o.id ORDER BY o.id",
            (event_id, newest),
        ).fetchall()
        found = [(trace_id, self.order(one)) for one, trace_id in ids]
        return newest, [(trace_id, order) for trace_id, order in found if order is not None]

    def order_of_verdict(self, verdict_id: int) -> Order | None:
        """The order that carried out a verdict."""
        (newest,) = self.remembered(
            "last ordered", ("orders",), lambda: self.db.execute("SELECT max(verdict_id) FROM orders").fetchone()
        )
        if newest is None or newest < verdict_id:
            return None
        return self._order("verdict_id = ?", verdict_id)

    def order(self, client_order_id: str) -> Order | None:
        """An order by our id."""
        return self._order("client_order_id = ?", client_order_id)

    def order_of_trace(self, trace_id: str) -> Order | None:
        """The order of a trace."""
        return self._order("trace_id = ?", trace_id)

    def _order(self, where: str, value: Any) -> Order | None:
        row = self.db.execute(
            "SELECT client_order_id, proposal_id, verdict_id, symbol, side, qty, worst_price, reserved_quote, ts_utc, "
            f"recv_window_ms, origin FROM orders WHERE {where} ORDER BY id DESC LIMIT 1",
            (value,),
        ).fetchone()
        if row is None:
            return None
        intent = Intent(
            row[0], row[1], row[2], row[3], Side(row[4]), dec(row[5]), dec(row[6]), dec(row[7]), parse_iso(row[8]),
            row[9], row[10],
        )  # fmt: skip
        event = self.db.execute(
            "SELECT state, exchange_order_id, evidence_json FROM order_events WHERE client_order_id = ? "
            "ORDER BY id DESC LIMIT 1",
            (row[0],),
        ).fetchone()
        return Order(intent, OrderState(event[0]), event[1], self.fills_of(row[0]), json.loads(event[2]))

    def fills_of(self, client_order_id: str) -> tuple[Fill, ...]:
        """An order's fills, in the order they were booked."""
        rows = self.db.execute(f"{FILLS} WHERE f.client_order_id = ? ORDER BY f.id", (client_order_id,))
        return tuple(read_fill(row) for row in rows)

    def follow(self, rows: Iterable[tuple[str, Row]], link: int) -> None:
        """Take over rows as Store does, and what they say of orders that are open."""
        rows = tuple(rows)
        super().follow(rows, link)
        for table, row in rows:
            if table == "order_events":
                settled = OrderState(str(row["state"])) in SETTLED
                self._list_open(str(row["client_order_id"]), settled)

    def _list_open(self, client_order_id: str, settled: bool) -> None:
        if settled:
            self.db.execute("DELETE FROM open_orders WHERE client_order_id = ?", (client_order_id,))
        else:  # also one that was given up and turned up
            self.db.execute("INSERT OR IGNORE INTO open_orders VALUES (?)", (client_order_id,))


def missing(what: str) -> Any:
    """Raise NotFoundError: something the caller named is not in this ledger."""
    raise NotFoundError(f"no {what} in this ledger", "See what is there: trader ledger show")
