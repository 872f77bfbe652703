"""verify(): re-derive from the rows what can be re-derived, and name every row that does not fit.

Reads only. Each check walks its rows once, so memory stays flat; at most a handful of problems
of a kind are named, and the rest counted.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from heapq import merge
from typing import Any

from trader_cli.core import accounting, audit
from trader_cli.core.decimals import ZERO, add, dec, mul, text
from trader_cli.core.errors import TraderError
from trader_cli.schemas import judge, planner, trader
from trader_cli.schemas.book import Book
from trader_cli.schemas.check import Check
from trader_cli.schemas.decision import OPERATOR
from trader_cli.schemas.market import ABSURD, MORE
from trader_cli.schemas.order import EDGES, OrderState, Side
from trader_cli.tools import chain, migrations
from trader_cli.tools.accounts import Change, changed
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.rows import ANEW, UNREADABLE

NAMED = 8
"""How many problems of one check are spelled out."""

TOLD_EACH = 512
"""After how many rows a check tells how far it is."""

UNCHECKABLE = (sqlite3.Error, TraderError, *UNREADABLE)
"""What a damaged or forged row makes of a check: a problem of that check."""

Problems = Iterator[str]

_MONEY = {
    "candles": ("open", "high", "low", "close", "volume"),
    "observations": ("price", "balance_quote", "balance_base"),
    "model_reserves": ("amount_usd",),
    "model_calls": ("cost_usd",),
    "orders": ("qty", "worst_price", "reserved_quote"),
    "paper_orders": ("balance_quote", "balance_base"),
    "fills": ("qty", "price", "quote_qty", "fee", "fee_quote"),
    "trades": ("qty", "price", "fee", "quote_qty"),
    "portfolio": (
        "balance_usdt", "balance_btc", "unrealized_pnl_usdt", "realized_pnl_usdt", "mark_price", "equity_usdt",
        "cost_usdt", "deposits_usdt", "fees_usdt", "peak_usdt", "drift_usdt", "drift_btc",
    ),
}  # fmt: skip


class Count:
    """Counts what a check looked at while it yields what is wrong, and tells of it now and then."""

    def __init__(self, tell: Callable[[int], None] = lambda seen: None) -> None:
        self._tell = tell
        self._seen = 0

    @property
    def seen(self) -> int:
        """How many rows the check looked at so far."""
        return self._seen

    @seen.setter
    def seen(self, value: int) -> None:
        self._seen = value
        if value % TOLD_EACH == 0:
            self._tell(value)


Look = Callable[[Ledger, Count], Problems]
"""One check: it yields what is wrong, and counts what it looked at."""

Progress = Callable[[int, int, str], None]
"""Told how many checks are done, of how many, and the name of the next with the rows it has looked at."""


def verify(
    ledger: Ledger, checks: Sequence[tuple[str, Look]] = (), progress: Progress = lambda done, of, name: None
) -> list[Check]:
    """Each of `checks` in order, this module's own if none are named.

    A check that cannot be finished on a damaged file is a failed check; nothing is raised for it.
    """
    made: list[Check] = []
    checks = checks or CHECKS
    for name, look in checks:
        progress(len(made), len(checks), name)
        count = Count(partial(_told, progress, (len(made), len(checks), name)))
        made.append(_run(ledger, count, name, look))
    return made


def _told(progress: Progress, place: tuple[int, int, str], seen: int) -> None:
    done, of, name = place
    progress(done, of, f"{name} ({seen})")


def _run(ledger: Ledger, count: Count, name: str, look: Look) -> Check:
    problems: list[str] = []
    more, end = 0, []
    try:
        for problem in look(ledger, count):
            if len(problems) < NAMED:
                problems.append(problem)
            else:
                more += 1
    except UNCHECKABLE as error:
        end = [f"cannot be checked to the end: {type(error).__name__}: {error}"]
    return Check(name, count.seen, (*problems, *([f"and {more} more"] if more else []), *end))


def content_sha256(ledger: Ledger) -> str:
    """The hash of everything but wall time, the chain and the ledger's own id: equal for equal runs."""
    total = hashlib.sha256()
    for table in ledger.tables:
        for row in ledger.rows_since(table, 0):
            if table == "meta" and row["key"] == "ledger_id":
                continue
            total.update(audit.row_hash(table, audit.content_row(row)))
    return total.hexdigest()


def content_of(ledger: Ledger) -> str | None:
    """The same hash, or None where a table cannot be read to its end."""
    try:
        return content_sha256(ledger)
    except UNCHECKABLE:
        return None


def _integrity(ledger: Ledger, count: Count) -> Problems:
    count.seen = int(ledger.db.execute("PRAGMA page_count").fetchone()[0])
    for (found,) in ledger.db.execute("PRAGMA integrity_check"):
        if found != "ok":
            yield str(found)


def _foreign_keys(ledger: Ledger, count: Count) -> Problems:
    for table in ledger.tables:
        count.seen += int(ledger.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    for table, row_id, parent, _ in ledger.db.execute("PRAGMA foreign_key_check"):
        yield f"{table} {row_id} names a row of {parent} that is not there"


def _structure(ledger: Ledger, count: Count) -> Problems:
    """The schema this program would make, held against the one that is there; and that no end was cut off."""
    count.seen = int(ledger.db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    yield from migrations.strange(ledger.db)
    counted = dict(ledger.db.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    for table in ledger.tables:
        newest = ledger.db.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]
        if newest != counted.get(table, 0):
            yield f"{table} ends at {newest}, it was written up to {counted.get(table, 0)}"


def _chain(ledger: Ledger, count: Count) -> Problems:
    count.seen = int(ledger.db.execute("SELECT count(*) FROM audit_chain").fetchone()[0])
    there = {name for (name,) in ledger.db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    gone = [table for table in ledger.tables if table not in there]
    yield from (f"{table} is missing, so its links cannot be checked" for table in gone)
    if not gone:
        yield from ledger.broken_links()


def _money(ledger: Ledger, count: Count) -> Problems:
    for table, columns in _MONEY.items():
        if table not in ledger.tables:
            continue
        for row in ledger.db.execute(f"SELECT id, {','.join(columns)} FROM {table}"):
            count.seen += 1
            for column, value in zip(columns, row[1:], strict=True):
                if value is not None and not _canonical(value):
                    yield f"{table} {row[0]}: {column} is {value!r}, needs a plain decimal"


def _canonical(value: str) -> bool:
    try:
        return text(dec(value)) == value
    except ValueError:
        return False


def _lineage(ledger: Ledger, count: Count) -> Problems:
    sql = """
    SELECT d.id, d.agent, d.trace_id, d.plan_id, p.agent, p.trace_id, d.proposal_id, t.agent, t.trace_id
    FROM decisions AS d LEFT JOIN decisions AS p ON p.id = d.plan_id LEFT JOIN decisions AS t ON t.id = d.proposal_id
    ORDER BY d.id"""
    for row_id, agent, trace_id, plan_id, plan_agent, plan_trace, proposal_id, t_agent, t_trace in ledger.db.execute(
        sql
    ):
        count.seen += 1
        if agent == "TRADER" and (plan_agent != "PLANNER" or plan_trace != trace_id or plan_id >= row_id):
            yield f"proposal {row_id} stands on {plan_id}, which is not an earlier plan of its trace"
        if agent == "JUDGE" and (t_agent != "TRADER" or t_trace != trace_id or proposal_id >= row_id):
            yield f"verdict {row_id} stands on {proposal_id}, which is not an earlier proposal of its trace"


def _payloads(ledger: Ledger, count: Count) -> Problems:
    import jsonschema

    schemas = {"PLANNER": planner.SCHEMA, "TRADER": trader.SCHEMA, "JUDGE": judge.SCHEMA}
    validators = {agent: jsonschema.Draft7Validator(schema) for agent, schema in schemas.items()}
    for row_id, agent, payload in ledger.db.execute("SELECT id, agent, payload_json FROM decisions ORDER BY id"):
        count.seen += 1
        document = json.loads(payload)
        wrong = [error.message for error in validators[agent].iter_errors(document)]
        try:
            wrong += [] if wrong else _code_rules(agent, document)
        except ValueError as error:  # digits that only the schema takes for a number
            wrong.append(str(error))
        yield from (f"decision {row_id}: {words}" for words in wrong)


def _code_rules(agent: str, said: dict[str, Any]) -> Problems:
    if agent == "TRADER":
        qty = dec(said["qty"])
        if (said["action"] == "HOLD") != (qty == ZERO):
            yield f"{said['action']} of {qty}"
    if agent == "JUDGE":
        revised = said.get("revised_qty")
        if (said["decision"] == "REVISE") != (revised is not None):
            yield f"{said['decision']} with revised quantity {revised}"
        if revised is not None and dec(revised) <= ZERO:
            yield f"revised to {revised}"


def _orders(ledger: Ledger, count: Count) -> Problems:
    """Each order: lawful parents, a path of states, and a trade exactly when something was executed."""
    sql = """
    SELECT o.client_order_id, o.origin, o.side, o.qty, o.symbol, t.payload_json, j.payload_json, j.proposal_id,
      o.proposal_id, x.side, x.qty, x.price, x.quote_qty, x.status, x.symbol, x.proposal_id,
      EXISTS (SELECT 1 FROM open_orders AS w WHERE w.client_order_id = o.client_order_id)
    FROM orders AS o LEFT JOIN decisions AS t ON t.id = o.proposal_id LEFT JOIN decisions AS j ON j.id = o.verdict_id
    LEFT JOIN trades AS x ON x.idempotency_key = o.client_order_id ORDER BY o.id"""
    for row in ledger.db.execute(sql):
        count.seen += 1
        key, origin, side, qty, symbol, proposal, verdict, of, proposal_id, *trade, trade_symbol, trade_of, waiting = (
            row
        )
        if origin == "verdict":
            yield from (
                f"order {key}: {wrong}" for wrong in _lawful(side, dec(qty), proposal, verdict, of == proposal_id)
            )
        state, wrongs = _path(ledger, key)
        yield from (f"order {key}: {wrong}" for wrong in wrongs)
        unsettled = state not in (OrderState.FILLED, OrderState.PARTIAL, OrderState.REJECTED, OrderState.ABANDONED)
        if unsettled != bool(waiting):
            yield f"order {key} is {state}, and {'not ' if not waiting else ''}listed as open"
        yield from (f"order {key}: {wrong}" for wrong in _executed(ledger, key, state, (side, dec(qty)), trade))
        if trade_symbol is not None and (trade_symbol, trade_of) != (symbol, proposal_id):
            yield f"order {key}: its trade is in {trade_symbol} for proposal {trade_of}"
    for (row_id,) in ledger.db.execute(
        "SELECT id FROM trades WHERE coalesce(idempotency_key, '') NOT IN (SELECT client_order_id FROM orders)"
    ):
        yield f"trade {row_id} has no order"


def _lawful(side: str, qty: Decimal, proposal: str | None, verdict: str | None, same: bool) -> Problems:
    if proposal is None or verdict is None:
        yield "its proposal or its verdict is not there"
        return
    said, ruled = json.loads(proposal), json.loads(verdict)
    if not same:
        yield "its verdict is on another proposal"
    if said["action"] != side:
        yield f"{side} on a proposal to {said['action']}"
    if ruled["decision"] == "REJECT":
        yield "its verdict is REJECT"
    approved = dec(ruled.get("revised_qty", said["qty"]))
    if qty > min(approved, dec(said["qty"])):
        yield f"{qty} sent, {approved} approved of {said['qty']}"


def _path(ledger: Ledger, key: str) -> tuple[OrderState | None, list[str]]:
    state: OrderState | None = None
    wrongs = []
    for row_id, before, after in ledger.db.execute(
        "SELECT id, from_state, state FROM order_events WHERE client_order_id = ? ORDER BY id", (key,)
    ):
        if before != (state.value if state else None):
            wrongs.append(f"event {row_id} leaves {before}, the order was {state}")
        if OrderState(after) not in EDGES.get(state, frozenset()):
            wrongs.append(f"event {row_id}: {after} cannot follow {state}")
        state = OrderState(after)
    if state is None:
        wrongs.append("no event")
    return state, wrongs


def _by_hand(ledger: Ledger, key: str) -> bool:
    """Whether an operator settled an order as the exchange showed it: it may have executed more than was sent."""
    last = ledger.db.execute(
        "SELECT evidence_json FROM order_events WHERE client_order_id = ? ORDER BY id DESC LIMIT 1", (key,)
    ).fetchone()
    return last is not None and json.loads(last[0]).get("by") == OPERATOR


def _executed(
    ledger: Ledger, key: str, state: OrderState | None, sent: tuple[str, Decimal], trade: list[Any]
) -> Problems:
    side, qty, price, quote_qty, status = trade
    fills = ledger.fills_of(key)
    executed = state in (OrderState.FILLED, OrderState.PARTIAL)
    if executed != (side is not None) or executed != bool(fills):
        yield f"is {state} with {'a' if side else 'no'} trade and {len(fills)} fills"
        return
    if not executed:
        return
    filled, paid = add(*(f.qty for f in fills)), add(*(f.quote_qty for f in fills))
    if side != sent[0] or (filled > sent[1] and not _by_hand(ledger, key)):
        yield f"{sent[0]} of {sent[1]} sent, {side} of {filled} executed"
    if dec(qty) != filled or dec(quote_qty) != paid:
        yield f"trade of {qty} for {quote_qty}, fills of {filled} for {paid}"
    elif dec(price) != accounting.average_price(paid, filled):
        yield f"trade at {price}, its fills average {text(accounting.average_price(paid, filled))}"
    if status != ("FILLED" if state is OrderState.FILLED else "PARTIALLY_FILLED"):
        yield f"is {state}, its trade says {status}"
    for fill in fills:
        if fill.quote_qty != mul(fill.qty, fill.price):
            yield f"fill {fill.trade_id}: {fill.qty} at {fill.price} is not {fill.quote_qty}"


def _books(ledger: Ledger, count: Count) -> Problems:
    """Fold every fill, and every event that changes the book, in order; each snapshot must say what the fold says.

    From a resume on the peak counts anew, from the book at the mark before it; so it does from an epoch of the account,
    and from a state of it that was accepted.
    """
    base, quote = (ledger.identity().get("symbol") or "/").split("/")
    resumes = (Change(int(row[0]), RESUME, {"equity_usdt": row[2]}) for row in ledger.db.execute(_RESUMES))
    changes = merge(ledger.changes(), resumes, key=lambda one: one.link)
    book, peak, before, mark = Book(), ZERO, ZERO, ZERO
    change = next(changes, None)
    for row in ledger.rows_since("portfolio", 0):
        count.seen += 1
        link = int(str(row["link"]))
        while change and change.link <= link:
            if change.fill and change.side is Side.SELL and change.fill.qty > book.base:
                yield f"fill {change.fill.trade_id} sells {change.fill.qty} of {book.base} held"
            if change.kind != RESUME:
                book = changed(book, change, base, quote)
            if change.kind == "EPOCH":
                peak = before = book.deposits if count.seen > 1 else ZERO
            elif "equity_usdt" in change.said:
                peak = before = accounting.equity(book, mark)
                if (said := dec(change.said["equity_usdt"])) != peak:
                    yield f"the {change.kind} of link {change.link} says equity {said}, the book makes it {text(peak)}"
            change = next(changes, None)
        mark = dec(str(row["mark_price"]))
        equity = accounting.equity(book, mark)
        peak = max(peak or book.deposits, equity)
        before = before or book.deposits
        if equity > before and dec(str(row["peak_usdt"])) == before and _saw_absurd(ledger, row["trace_id"], link):
            peak = before
        yield from _compare(row, book, mark, peak)
        before = peak
        if book.quote < ZERO or book.base < ZERO:
            yield f"snapshot {row['id']}: a balance is negative: {book.quote} and {book.base}"
        if equity != add(book.deposits, book.realized, accounting.unrealized(book, mark)):
            yield f"snapshot {row['id']}: equity {equity} is not deposits, realized and unrealized together"


RESUME = "resume"
_RESUMES = f"{ANEW} AND kind = 'STATE' ORDER BY id"


def _saw_absurd(ledger: Ledger, trace_id: object, link: int) -> bool:
    """Whether what a snapshot looked at raises no peak: its trace's observations, or the newest before it."""
    after = chain.first_id(ledger.db, "observations", link + 1)
    newest = ledger.db.execute("SELECT max(id) FROM observations WHERE ? IS NULL OR id < ?", (after, after)).fetchone()[
        0
    ]
    found = ledger.db.execute("SELECT defects_json FROM observations WHERE trace_id = ? OR id = ?", (trace_id, newest))
    return any(one["kind"] in (ABSURD, MORE) for (defects,) in found for one in json.loads(defects))


def _compare(row: dict[str, Any], book: Book, mark: Decimal, peak: Decimal) -> Problems:
    wanted = {
        "balance_usdt": book.quote,
        "balance_btc": book.base,
        "cost_usdt": book.cost,
        "deposits_usdt": book.deposits,
        "realized_pnl_usdt": book.realized,
        "fees_usdt": book.fees,
        "unrealized_pnl_usdt": accounting.unrealized(book, mark),
        "equity_usdt": accounting.equity(book, mark),
        "peak_usdt": peak,
    }
    for column, value in wanted.items():
        if dec(row[column]) != value:
            yield f"snapshot {row['id']}: {column} is {row[column]}, the fills make it {text(value)}"


def _paper(ledger: Ledger, count: Count) -> Problems:
    """What the paper exchange filled is what our orders say, once each."""
    for key, times, state in ledger.db.execute(
        """SELECT p.client_order_id, count(*), (SELECT e.state FROM order_events AS e
             WHERE e.client_order_id = p.client_order_id ORDER BY e.id DESC LIMIT 1)
           FROM paper_orders AS p GROUP BY p.client_order_id ORDER BY min(p.id)"""
    ):
        count.seen += 1
        if times != 1:
            yield f"order {key} was sent {times} times"
        if state is None:
            yield f"the paper exchange filled {key}, which the ledger never wrote down"
        elif state in ("REJECTED", "ABANDONED"):
            yield f"the paper exchange filled {key}, which the ledger calls {state}"
    for row_id, key in ledger.db.execute(
        """SELECT t.id, t.idempotency_key FROM trades AS t
           WHERE coalesce(t.idempotency_key, '') NOT IN (SELECT client_order_id FROM paper_orders)
             AND 'paper' IN (SELECT value FROM meta WHERE key = 'mode')
             AND EXISTS (SELECT 1 FROM meta WHERE (key = 'exchange' AND value = 'paper')
                           OR (key = 'market' AND value LIKE 'live:%'))"""
    ):
        yield f"trade {row_id} ({key}) was never filled by the paper exchange"


CHECKS: tuple[tuple[str, Look], ...] = (
    ("pages (integrity_check)", _integrity),
    ("foreign keys", _foreign_keys),
    ("tables and triggers", _structure),
    ("audit chain", _chain),
    ("money is plain decimals", _money),
    ("lineage", _lineage),
    ("payloads obey their schemas", _payloads),
    ("life of each order", _orders),
    ("books", _books),
    ("paper exchange", _paper),
)
