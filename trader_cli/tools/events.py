"""What a ledger is pinned to, and what happened: deposits, states of trading, errors, notices."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from trader_cli.core.decimals import text
from trader_cli.core.errors import ConfigError
from trader_cli.core.hostile import storable
from trader_cli.core.moments import Moment, iso, parse_iso
from trader_cli.schemas.decision import LAW
from trader_cli.schemas.situation import TradingState
from trader_cli.tools.rows import dumps
from trader_cli.tools.store import Store, Transaction


class EventStore(Store):
    """A store that knows whose it is and keeps events."""

    def identity(self) -> dict[str, str]:
        """What the ledger is pinned to; empty before the first pin."""
        return dict(self.db.execute("SELECT key, value FROM meta ORDER BY id").fetchall())

    def pin(self, ledger_id: str, identity: dict[str, str], deposit: Decimal | None, at: Moment) -> None:
        """Write the identity on the first use; later refuse settings that differ (ConfigError).

        `deposit` is what a paper account begins with; what a real one does is read from it later.
        """
        found = self.identity()
        if found:
            refuse_others(found, identity, self.path)
            return
        with self.transaction() as tx:
            for key, value in {"ledger_id": ledger_id, **identity, "began_at": iso(at)}.items():
                tx.insert("meta", key=key, value=value)
            self.ledger_id = ledger_id
            if deposit is not None:
                self.log_event(tx, "DEPOSIT", {"amount": text(deposit), "reason": "opening balance"}, at)

    def log_event(
        self, tx: Transaction, kind: str, content: dict[str, Any], at: Moment, trace_id: str | None = None
    ) -> int:
        """Something that happened: DEPOSIT, STATE, NOT_SENT, ERROR, NOTICE …"""
        return tx.insert("events", ts_utc=iso(at), trace_id=trace_id, kind=kind, data_json=storable(dumps(content)))

    def last_event(self, kind: str) -> tuple[Moment, dict[str, Any]] | None:
        """The newest event of a kind, with its market time."""
        row = self.db.execute(
            "SELECT ts_utc, data_json FROM events WHERE kind = ? ORDER BY id DESC LIMIT 1", (kind,)
        ).fetchone()
        return (parse_iso(row[0]), json.loads(row[1])) if row else None

    def trading_state(self) -> tuple[TradingState, str | None]:
        """The state the ledger keeps, and why it was set."""
        found = self.remembered("state", ("events",), lambda: self.last_event("STATE"))
        if found is None:
            return TradingState.RUN, None
        return TradingState[found[1]["to"]], found[1]["reason"]

    def braked(self) -> bool:
        """Whether the law itself set the state that the ledger keeps."""
        found = self.remembered("state", ("events",), lambda: self.last_event("STATE"))
        return found is not None and found[1].get("by") == LAW


_NAMES = {
    "mode": "MODE",
    "exchange": "EXCHANGE_ID",
    "symbol": "SYMBOL",
    "timeframe": "TIMEFRAME",
    "market": "MARKET",
    "paper_balance": "PAPER_BALANCE_USDT",
}
"""What an operator calls the things a ledger is pinned to."""


def refuse_others(found: dict[str, str], wanted: dict[str, str], path: Path | None) -> None:
    """Raise ConfigError where a ledger is pinned to something else than the settings say."""
    for key, value in wanted.items():
        if found.get(key) != value:
            other = f"{(path or Path('agent.db')).with_suffix('')}-{_slug(value)}.db"
            raise ConfigError(
                f'this ledger is for {_NAMES.get(key, key)} "{found.get(key)}", the settings say "{value}"',
                f'Use a ledger of its own: --db "{other}", or change the setting back.',
            )


def _slug(value: str) -> str:
    return "".join(char if char.isalnum() else "-" for char in value.lower())[:40].strip("-")
