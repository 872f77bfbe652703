"""PaperBook: the orders that paper took, as rows of the ledger, and what they did to the account."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from trader_cli.core.decimals import ZERO, add, dec, sub, text
from trader_cli.core.moments import iso
from trader_cli.schemas.book import Balances
from trader_cli.schemas.order import Fill, Intent, OrderState, Report, Side
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.rows import dumps

_NOTHING = Balances(ZERO, ZERO)


class PaperBook:
    """Every order paper took, the same one again if it was sent again."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def held(self) -> Balances | None:
        """What the newest order left on the account; None before the first."""
        row = self._ledger.remembered(
            "paper balances",
            ("paper_orders",),
            lambda: self._ledger.db.execute(
                "SELECT balance_base, balance_quote FROM paper_orders ORDER BY id DESC LIMIT 1"
            ).fetchone(),
        )
        return Balances(dec(row[0]), dec(row[1])) if row else None

    def moved(self) -> Balances:
        """What all orders together did to the account; below zero for what they took away."""
        return self._ledger.remembered("paper moves", ("paper_orders",), self._moved)

    def _moved(self) -> Balances:
        moved = _NOTHING
        for (document,) in self._ledger.db.execute("SELECT report_json FROM paper_orders ORDER BY id"):
            moved = _after(moved, _report(json.loads(document)))
        return moved

    def find(self, client_order_id: str) -> Report | None:
        """The newest order of that id."""
        row = self._ledger.db.execute(
            "SELECT report_json FROM paper_orders WHERE client_order_id = ? ORDER BY id DESC LIMIT 1",
            (client_order_id,),
        ).fetchone()
        return None if row is None else _report(json.loads(row[0]))

    def take(self, intent: Intent, held: Balances, fill: Callable[[int], tuple[Fill, ...]]) -> Report:
        """Fill an order and write it down in one commit. `fill` gives the fills of the order of that number."""
        with self._ledger.transaction() as tx:
            number = int(self._ledger.db.execute("SELECT coalesce(max(id), 0) FROM paper_orders").fetchone()[0]) + 1
            fills = fill(number)
            executed = add(*(fill.qty for fill in fills))
            state = OrderState.FILLED if executed == intent.qty else OrderState.PARTIAL
            report = Report(intent.client_order_id, f"paper-{number}", intent.side, state, executed, fills)
            left = _after(held, report)
            tx.insert(
                "paper_orders",
                ts_utc=iso(intent.at),
                client_order_id=intent.client_order_id,
                report_json=dumps(_document(report)),
                balance_quote=text(left.quote),
                balance_base=text(left.base),
            )
        return report


def _after(held: Balances, report: Report) -> Balances:
    """What an account holds after an order's fills."""
    base, quote = held.base, held.quote
    for fill in report.fills:
        if report.side is Side.BUY:
            base, quote = sub(add(base, fill.qty), fill.fee), sub(quote, fill.quote_qty)
        else:
            base, quote = sub(base, fill.qty), sub(add(quote, fill.quote_qty), fill.fee)
    return Balances(base, quote)


def _document(report: Report) -> dict[str, object]:
    return {
        "client_order_id": report.client_order_id,
        "exchange_order_id": report.exchange_order_id,
        "side": report.side.value,
        "state": report.state.value,
        "executed_qty": text(report.executed_qty),
        "fills": [
            [
                f.trade_id,
                text(f.qty),
                text(f.price),
                text(f.quote_qty),
                text(f.fee),
                f.fee_asset,
                text(f.fee_quote),
                f.at,
            ]
            for f in report.fills
        ],
    }


def _report(document: dict[str, Any]) -> Report:
    return Report(
        client_order_id=str(document["client_order_id"]),
        exchange_order_id=str(document["exchange_order_id"]),
        side=Side(str(document["side"])),
        state=OrderState(str(document["state"])),
        executed_qty=dec(str(document["executed_qty"])),
        fills=tuple(
            Fill(f[0], dec(f[1]), dec(f[2]), dec(f[3]), dec(f[4]), f[5], dec(f[6]), f[7]) for f in document["fills"]
        ),
    )
