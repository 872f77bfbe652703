"""What a row says of itself, held against it: hashes of prompts and terms, times, links, and the lots of the fills."""

from __future__ import annotations

from trader_cli.core.audit import text_sha256
from trader_cli.core.decimals import ZERO, add, text
from trader_cli.core.moments import iso, parse_iso
from trader_cli.schemas.book import Book
from trader_cli.schemas.lot import Lot
from trader_cli.schemas.order import Side
from trader_cli.tools.accounts import changed, lotted
from trader_cli.tools.calls import prompt_sha256
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.verification import Count, Problems

_TIMES = ("ts_utc", "wall_ts", "opened_at", "first_at", "last_at", "wake_at")


def hashes(ledger: Ledger, count: Count) -> Problems:
    """Prompts and terms under their hashes, and each decision under the prompt of its model's answer."""
    tools = "tools_json" if ledger.has("prompts", "tools_json") else "NULL"
    for row_id, sha256, *words in ledger.db.execute(
        f"SELECT id, sha256, prompt, schema_json, {tools} FROM prompts ORDER BY id"
    ):
        count.seen += 1
        if (now := prompt_sha256(*words)) != sha256:
            yield f"prompt {row_id}: sha256 is {sha256[:12]}, its words make it {now[:12]}"
    for row_id, sha256, terms_json in ledger.db.execute("SELECT id, sha256, terms_json FROM terms ORDER BY id"):
        count.seen += 1
        if (now := text_sha256(terms_json)) != sha256:
            yield f"terms {row_id}: sha256 is {sha256[:12]}, its words make it {now[:12]}"
    for table in ("decisions", "orders", "portfolio"):
        if not ledger.has(table, "terms_sha256"):
            continue
        for row_id, terms_id in ledger.db.execute(
            f"SELECT o.id, t.id FROM {table} AS o JOIN terms AS t ON t.sha256 = o.terms_sha256 WHERE t.link > o.link"
        ):
            yield f"{table} {row_id} stands on terms {terms_id}, which were written after it"
    sql = """
    SELECT d.id, d.agent, d.trace_id, d.prompt_sha256, d.model_call_id, c.agent, c.trace_id, c.prompt_sha256, p.agent
    FROM decisions AS d LEFT JOIN model_calls AS c ON c.id = d.model_call_id
    LEFT JOIN prompts AS p ON p.sha256 = c.prompt_sha256 ORDER BY d.id"""
    for row_id, agent, trace_id, sha256, call_id, c_agent, c_trace, c_sha256, p_agent in ledger.db.execute(sql):
        count.seen += 1
        if call_id is None and sha256 is not None:
            yield f"decision {row_id} has a prompt and no model's answer"
        if call_id is None:
            continue
        if (agent, trace_id, sha256, agent) != (c_agent, c_trace, c_sha256, p_agent):
            yield f"decision {row_id} ({agent}) stands on answer {call_id}, which is not of its agent, trace and prompt"


def times(ledger: Ledger, count: Count) -> Problems:
    """Every time as the ledger writes it, in UTC; ids without a gap, links that ascend with them and seal something."""
    for table in ledger.tables:
        columns = {row[1] for row in ledger.db.execute(f"PRAGMA table_info({table})")}
        if not columns:
            yield f"{table} is missing"
            continue
        named = [name for name in _TIMES if name in columns]
        last, expected = 0, 1
        for row_id, link, *stamps in ledger.db.execute(f"SELECT id, link, {','.join(named)} FROM {table} ORDER BY id"):
            count.seen += 1
            if link < last:
                yield f"{table} {row_id}: link is {link}, the row before has {last}"
            if row_id != expected:
                yield f"{table} {expected} is not there, {row_id} comes next"
            last, expected = max(last, link), row_id + 1
            for name, stamp in zip(named, stamps, strict=True):
                if stamp is not None and not _utc(stamp):
                    yield f"{table} {row_id}: {name} is {stamp!r}, needs a time like 2026-01-31T12:00:00.000Z"
    for (seq,) in ledger.db.execute("SELECT seq FROM audit_chain WHERE rows = 0 ORDER BY seq"):
        yield f"link {seq} seals no row"


def _utc(stamp: str) -> bool:
    try:
        return iso(parse_iso(stamp)) == stamp
    except ValueError:
        return False


def lots(ledger: Ledger, count: Count) -> Problems:
    """First in, first out beside the book: always the same quantity, and the same profit whenever it is flat."""
    base, quote = (ledger.identity().get("symbol") or "/").split("/")
    book, opened, profit = Book(), tuple[Lot, ...](), ZERO
    for change in ledger.changes():
        held, before = book.base, opened
        book = changed(book, change, base, quote)
        opened, closed = lotted(opened, change, book, base, quote)
        if change.fill is None:
            profit = book.realized if change.kind == "EPOCH" or opened != before else profit
            continue
        count.seen += 1
        side, fill, key = change.side, change.fill, change.order
        profit = add(profit, *(lot.profit for lot in closed))
        if side is Side.SELL and fill.qty > held:
            yield f"fill {fill.trade_id} of order {key}: {fill.qty} sold, {held} held before"
        if (qty := add(*(lot.qty for lot in opened))) != book.base:
            yield f"fill {fill.trade_id} of order {key}: the lots hold {text(qty)}, the book {text(book.base)}"
        if book.base == ZERO and profit != book.realized:
            yield f"fill {fill.trade_id} of order {key}: the lots made {text(profit)}, the book {text(book.realized)}"
