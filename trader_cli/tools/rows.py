"""Rows and records: how each record is written as columns, and read back equal to what was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from trader_cli.core import accounting
from trader_cli.core.audit import text_sha256
from trader_cli.core.decimals import add, dec, text
from trader_cli.core.errors import LedgerError
from trader_cli.core.moments import Moment, iso, parse_iso
from trader_cli.schemas.book import Book, Snapshot
from trader_cli.schemas.decision import Decision, Review, Ruling
from trader_cli.schemas.judge import Verdict
from trader_cli.schemas.market import Candle, Costs, Market
from trader_cli.schemas.order import Fill, OrderState
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.question import Agent
from trader_cli.schemas.situation import Limits
from trader_cli.schemas.trader import Proposal

DECISIONS = (
    "SELECT id, ts_utc, agent, trace_id, payload_json, plan_id, proposal_id, source, cause, observation_id, "
    "prompt_sha256, law_json, wake_at, wall_ts, model_call_id FROM decisions"
)

SNAPSHOTS = (
    "SELECT id, trace_id, ts_utc, symbol, deposits_usdt, balance_usdt, balance_btc, cost_usdt, realized_pnl_usdt, "
    "fees_usdt, mark_price, unrealized_pnl_usdt, equity_usdt, peak_usdt, drift_btc, drift_usdt FROM portfolio"
)

BOOK = "deposits_usdt, balance_usdt, balance_btc, cost_usdt, realized_pnl_usdt, fees_usdt"
"""The columns of a snapshot that are its book, in the record's order."""

ANEW = (
    "SELECT link, ts_utc, coalesce(json_extract(data_json, '$.equity_usdt'), json_extract(data_json, '$.quote')) "
    "AS worth FROM events WHERE kind IN ('ACCEPTED','EPOCH','STATE') AND worth IS NOT NULL"
)
"""The events from which peak and daily loss count anew, with the equity at them: a resume, an epoch of
the account, a state of it that was accepted."""

TAKEN_OR_REFUSED = (
    "SELECT ts_utc, state, evidence_json, link FROM order_events WHERE state IN ('REJECTED','OPEN','FILLED','PARTIAL')"
)
"""The events of orders that an exchange took or refused."""

FILLS = (
    "SELECT o.side, f.trade_id, f.qty, f.price, f.quote_qty, f.fee, f.fee_asset, f.fee_quote, f.ts_utc, f.link, "
    "f.client_order_id "
    "FROM fills AS f JOIN orders AS o USING (client_order_id)"
)

NOT_SENT = "not sent"
"""Whose refusal it is where an order was stopped between its intent and its submission."""

_PAYLOADS: dict[Agent, Any] = {Agent.PLANNER: Plan, Agent.TRADER: Proposal, Agent.JUDGE: Verdict}


@lru_cache(maxsize=16)
def terms_text(market: Market, costs: Costs, limits: Limits) -> tuple[str, str]:
    """What a decision was made under as JSON, every decimal as text; and its hash."""
    terms = {"market": asdict(market), "costs": asdict(costs), "limits": asdict(limits)}
    terms_json = json.dumps(terms, default=text, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return terms_json, text_sha256(terms_json)


def read_market(document: dict[str, Any]) -> Market:
    """The trading rules that `terms_text` wrote."""
    decimals = ("step", "tick", "min_qty", "max_qty", "min_notional", "fee_pct")
    return Market(**{**document, **{name: dec(document[name]) for name in decimals}})


_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode


UNREADABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What reading a damaged or forged row raises."""


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Say of rows that are none of ours that `what` cannot be read: the ledger's fault, and no bug."""
    try:
        yield
    except UNREADABLE as error:
        raise LedgerError(
            f"{what} cannot be read: {type(error).__name__}: {error}", "Look: trader ledger verify"
        ) from error


def dumps(document: Any) -> str:
    """Compact ASCII JSON, as every JSON column holds it."""
    return _encode(document)


def read_decision(row: tuple[Any, ...]) -> tuple[Agent, Decision[Any]]:
    """A row of `DECISIONS` as whose it is and the record."""
    agent = Agent(row[2])
    return agent, Decision(
        id=row[0],
        trace_id=row[3],
        at=parse_iso(row[1]),
        wall_at=parse_iso(row[13]),
        source=row[7],
        cause=row[8],
        payload=_PAYLOADS[agent].from_payload(json.loads(row[4])),
        plan_id=row[5],
        proposal_id=row[6],
        observation_id=row[9],
        prompt_sha256=row[10],
        wake_at=None if row[12] is None else parse_iso(row[12]),
        review=None if row[11] is None else read_review(json.loads(row[11])),
        model_call_id=row[14],
    )


def read_snapshot(row: tuple[Any, ...]) -> Snapshot:
    """A row of `SNAPSHOTS` as a record."""
    drifts = [None if value is None else dec(value) for value in row[14:16]]
    book = Book(*map(dec, row[4:10]))
    return Snapshot(row[0], row[1], parse_iso(row[2]), row[3], book, *map(dec, row[10:14]), *drifts)


def snapshot_columns(snapshot: Snapshot) -> dict[str, str | None]:
    """A snapshot as columns. `balance_usdt` and `balance_btc` are quote and base, whatever the symbol."""
    book = snapshot.book
    return {
        "ts_utc": iso(snapshot.at),
        "balance_usdt": text(book.quote),
        "balance_btc": text(book.base),
        "unrealized_pnl_usdt": text(snapshot.unrealized),
        "realized_pnl_usdt": text(book.realized),
        "symbol": snapshot.symbol,
        "trace_id": snapshot.trace_id,
        "mark_price": text(snapshot.mark_price),
        "equity_usdt": text(snapshot.equity),
        "cost_usdt": text(book.cost),
        "deposits_usdt": text(book.deposits),
        "fees_usdt": text(book.fees),
        "peak_usdt": text(snapshot.peak),
        "drift_usdt": None if snapshot.drift_quote is None else text(snapshot.drift_quote),
        "drift_btc": None if snapshot.drift_base is None else text(snapshot.drift_base),
    }


def trade_columns(fills: Sequence[Fill], state: OrderState) -> dict[str, str | None]:
    """What the specification's row of an executed order says of its fills: quantity, average price, fee."""
    qty = add(*(fill.qty for fill in fills))
    quote_qty = add(*(fill.quote_qty for fill in fills))
    assets = {fill.fee_asset for fill in fills}
    return {
        "qty": text(qty),
        "price": text(accounting.average_price(quote_qty, qty)),
        "fee": text(add(*(fill.fee for fill in fills))) if len(assets) == 1 else None,
        "status": "FILLED" if state is OrderState.FILLED else "PARTIALLY_FILLED",
        "fee_asset": next(iter(assets)) if len(assets) == 1 else None,
        "quote_qty": text(quote_qty),
    }


def read_fill(row: tuple[Any, ...]) -> Fill:
    """A row of `FILLS` as a record."""
    return Fill(row[1], dec(row[2]), dec(row[3]), dec(row[4]), dec(row[5]), row[6], dec(row[7]), parse_iso(row[8]))


def refused_by_exchange(evidence_json: str) -> bool:
    """Whether the exchange refused the order of a REJECTED event; one that was stopped just before was never sent."""
    return bool(json.loads(evidence_json).get("by") != NOT_SENT)


def candle_texts(candle: Candle) -> tuple[str, ...]:
    """A candle's numbers as the ledger writes them."""
    return tuple(text(value) for value in candle[1:])


def bar_line(opened_at: Moment, texts: Iterable[str]) -> bytes:
    """A bar's opening time and numbers as its line of a window's hash."""
    return f"{opened_at},{','.join(texts)}".encode("ascii")


def bars_sha256(lines: Iterable[bytes]) -> str:
    """The hash of a window: the lines of its bars."""
    return hashlib.sha256(b"\n".join(lines)).hexdigest()


def review_document(review: Review) -> dict[str, Any]:
    """The law's word as JSON."""
    rules = [
        {
            "name": ruling.name,
            "ok": ruling.ok,
            "limit": ruling.limit,
            "value": ruling.value,
            "before": text(ruling.before),
            "after": text(ruling.after),
        }
        for ruling in review.rulings
    ]
    return {"allowed": text(review.allowed), "price": text(review.price), "rules": rules}


def read_review(document: dict[str, Any]) -> Review:
    """What `review_document` wrote."""
    rulings = tuple(
        Ruling(**{**rule, "before": dec(rule["before"]), "after": dec(rule["after"])}) for rule in document["rules"]
    )
    return Review(dec(document["allowed"]), dec(document["price"]), rulings)
