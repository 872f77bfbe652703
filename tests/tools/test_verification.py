"""verify(): a whole ledger passes, and whoever edits one, with the triggers dropped and put back, is found by name."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from decimal import ROUND_UP, localcontext
from pathlib import Path
from typing import Any

import pytest

from tests.ledgers import (
    Mute,
    failures,
    grow,
    ledger_at,
    one,
    plain,
    reading,
    rows,
    scripted_desk,
    sha256,
    tampering,
    wall,
    writing,
)
from trader_cli.core.audit import UNCHAINED_COLUMNS
from trader_cli.core.errors import LedgerError
from trader_cli.phases.cycle import cycle
from trader_cli.tools import migrations
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.store import Store
from trader_cli.tools.verification import CHECKS, NAMED, content_sha256, verify

PAGES, KEYS, SCHEMA, CHAIN, MONEY, LINEAGE, PAYLOADS, ORDERS, BOOKS, PAPER = (name for name, _ in CHECKS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A grown ledger, closed."""
    return ledger_at(tmp_path / "agent.db")


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    """A ledger whose last order has no proof yet."""
    path = tmp_path / "waiting.db"
    with scripted_desk(path) as desk:
        silent = replace(desk, exchange=Mute(desk.exchange))
        with desk.ledger.writing():
            while not cycle(silent).execution.order:
                pass
    return path


def found(path: Path) -> dict[str, Any]:
    """The checks that fail, each with what it says; alone, without the list around it."""
    return {name: said[0] if len(said) == 1 else said for name, said in failures(path).items()}


# Whole ledgers.


def test_a_grown_ledger_passes_every_check_and_each_looks_at_something(path: Path) -> None:
    with reading(path) as ledger:
        checks = verify(ledger)
    assert [check.name for check in checks] == [name for name, _ in CHECKS]
    assert [check for check in checks if not check.ok] == []
    looked_at = {check.name: check.checked for check in checks}
    assert min(looked_at.values()) > 0
    assert looked_at[CHAIN] == one(path, "SELECT count(*) FROM audit_chain")[0]
    assert looked_at[ORDERS] == one(path, "SELECT count(*) FROM orders")[0]
    assert looked_at[BOOKS] == one(path, "SELECT count(*) FROM portfolio")[0]
    assert looked_at[LINEAGE] == looked_at[PAYLOADS] == one(path, "SELECT count(*) FROM decisions")[0]


def test_the_grown_ledger_holds_what_these_tests_tamper_with(path: Path) -> None:
    for sql in (
        "SELECT 1 FROM trades WHERE status = 'PARTIALLY_FILLED' AND side = 'SELL'",
        "SELECT 1 FROM trades WHERE status = 'FILLED' AND side = 'BUY'",
        "SELECT 1 FROM fills GROUP BY client_order_id HAVING count(*) > 2",
        "SELECT 1 FROM decisions WHERE agent = 'JUDGE' AND json_extract(payload_json, '$.decision') = 'REVISE'",
        "SELECT 1 FROM decisions WHERE agent = 'TRADER' AND source = 'fallback'",
    ):
        assert one(path, sql)


def test_a_ledger_without_a_cycle_passes(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    Store.open_writer(path, wall).close()
    assert failures(path) == {}
    with scripted_desk(path):
        pass
    assert failures(path) == {}


def test_a_ledger_with_an_order_that_waits_for_its_proof_passes(waiting: Path) -> None:
    assert failures(waiting) == {}


def test_verifying_changes_no_byte(path: Path) -> None:
    before = sha256(path)
    with reading(path) as ledger:
        verify(ledger)
        content_sha256(ledger)
    assert sha256(path) == before
    log = path.with_name("agent.db-wal")
    assert not log.exists() or log.stat().st_size == 0


def test_a_ledger_can_be_verified_while_it_is_written(path: Path) -> None:
    with scripted_desk(path) as desk, desk.ledger.writing():
        cycle(desk)
        assert failures(path) == {}
        with desk.ledger.transaction() as tx:
            desk.ledger.log_event(tx, "NOTE", {}, 0)
            assert failures(path) == {}


# One tampering each.


@dataclass(frozen=True)
class Forgery:
    """`target` names a row; `edits` change it; `said` is what each failing check must say, and no other may fail."""

    name: str
    target: str
    edits: tuple[str, ...]
    said: dict[str, str | tuple[str, ...]]


CHANGED = "{table} {id} was changed (link {link})"
GONE = "{table} {id} is gone (link {link})"
ADDED = "{table} {id} was added (link {link})"

FORGERIES = [
    Forgery(
        "what an agent said",
        "SELECT id, link FROM decisions WHERE agent = 'TRADER' AND source NOT IN ('law', 'fallback')",
        ("UPDATE decisions SET payload_json = json_set(payload_json, '$.hypothesis', 'forged') WHERE id = :id",),
        {CHAIN: CHANGED},
    ),
    Forgery(
        "a candle",
        "SELECT id, link FROM candles ORDER BY id LIMIT 1 OFFSET 50",
        ("UPDATE candles SET close = '1' WHERE id = :id",),
        {CHAIN: CHANGED},
    ),
    Forgery(
        "what a model was told",
        "SELECT id, link FROM model_calls ORDER BY id LIMIT 1 OFFSET 9",
        ("UPDATE model_calls SET facts_json = '{}' WHERE id = :id",),
        {CHAIN: CHANGED},
    ),
    Forgery(
        "when it was written",
        "SELECT id, link FROM orders",
        ("UPDATE orders SET wall_ts = '2001-01-01T00:00:00.000Z' WHERE id = :id",),
        {CHAIN: CHANGED},
    ),
    Forgery(
        "the price of a trade",
        "SELECT id, link, idempotency_key AS key, price FROM trades ORDER BY id DESC",
        ("UPDATE trades SET price = '1' WHERE id = :id",),
        {CHAIN: CHANGED, ORDERS: "order {key}: trade at 1, its fills average {price}"},
    ),
    Forgery(
        "the quantity of a trade",
        "SELECT t.id, t.link, idempotency_key AS key, t.qty, t.quote_qty FROM trades AS t",
        ("UPDATE trades SET qty = '0.5' WHERE id = :id",),
        {CHAIN: CHANGED, ORDERS: "order {key}: trade of 0.5 for {quote_qty}, fills of {qty} for {quote_qty}"},
    ),
    Forgery(
        "the side of a trade",
        "SELECT id, link, idempotency_key AS key, qty FROM trades WHERE side = 'BUY' AND status = 'FILLED'",
        ("UPDATE trades SET side = 'SELL' WHERE id = :id",),
        {CHAIN: CHANGED, ORDERS: "order {key}: BUY of {qty} sent, SELL of {qty} executed"},
    ),
    Forgery(
        "the status of a trade",
        "SELECT id, link, idempotency_key AS key FROM trades WHERE status = 'PARTIALLY_FILLED'",
        ("UPDATE trades SET status = 'FILLED' WHERE id = :id",),
        {CHAIN: CHANGED, ORDERS: "order {key}: is PARTIAL, its trade says FILLED"},
    ),
    Forgery(
        "a balance",
        "SELECT id, link, balance_usdt AS was FROM portfolio ORDER BY id LIMIT 1 OFFSET 20",
        ("UPDATE portfolio SET balance_usdt = '5' WHERE id = :id",),
        {CHAIN: CHANGED, BOOKS: "snapshot {id}: balance_usdt is 5, the fills make it {was}"},
    ),
    Forgery(
        "the peak that drawdown is counted from",
        "SELECT id, link, peak_usdt AS was FROM portfolio ORDER BY id DESC",
        ("UPDATE portfolio SET peak_usdt = '1' WHERE id = :id",),
        {CHAIN: CHANGED, BOOKS: "snapshot {id}: peak_usdt is 1, the fills make it {was}"},
    ),
    Forgery(
        "a verdict that let an order through, turned to REJECT",
        "SELECT j.id, j.link, o.client_order_id AS key FROM decisions AS j JOIN orders AS o ON o.verdict_id = j.id",
        ("UPDATE decisions SET payload_json = json_set(payload_json, '$.decision', 'REJECT') WHERE id = :id",),
        {CHAIN: CHANGED, ORDERS: "order {key}: its verdict is REJECT"},
    ),
    Forgery(
        "a verdict that lowered an order, lowered further",
        "SELECT j.id, j.link, o.client_order_id AS key, o.qty, json_extract(t.payload_json, '$.qty') AS asked "
        "FROM decisions AS j JOIN orders AS o ON o.verdict_id = j.id JOIN decisions AS t ON t.id = o.proposal_id "
        "WHERE json_extract(j.payload_json, '$.decision') = 'REVISE'",
        ("UPDATE decisions SET payload_json = json_set(payload_json, '$.revised_qty', '0.00001') WHERE id = :id",),
        {CHAIN: CHANGED, ORDERS: "order {key}: {qty} sent, 0.00001 approved of {asked}"},
    ),
    Forgery(
        "a verdict moved to another proposal",
        "SELECT j.id, j.link, o.client_order_id AS key, h.id AS other, j.trace_id AS trace "
        "FROM decisions AS j JOIN orders AS o ON o.verdict_id = j.id JOIN decisions AS h ON h.agent = 'TRADER' "
        "WHERE h.trace_id <> j.trace_id AND h.id < j.id ORDER BY j.id DESC, h.id DESC",
        (
            "DROP INDEX one_verdict_per_proposal",
            "UPDATE decisions SET proposal_id = :other WHERE id = :id",
        ),
        {
            SCHEMA: "one_verdict_per_proposal is missing",
            CHAIN: CHANGED,
            LINEAGE: "verdict {id} stands on {other}, which is not an earlier proposal of its trace",
            ORDERS: "order {key}: its verdict is on another proposal",
        },
    ),
    Forgery(
        "a proposal whose side was swapped",
        "SELECT t.id, t.link, o.client_order_id AS key FROM decisions AS t JOIN orders AS o ON o.proposal_id = t.id "
        "WHERE o.side = 'BUY'",
        ("UPDATE decisions SET payload_json = json_set(payload_json, '$.action', 'SELL') WHERE id = :id",),
        {CHAIN: CHANGED, ORDERS: "order {key}: BUY on a proposal to SELL"},
    ),
    Forgery(
        "a proposal under the plan of another trace",
        "SELECT t.id, t.link, p.id AS other FROM decisions AS t JOIN decisions AS p ON p.agent = 'PLANNER' "
        "WHERE t.agent = 'TRADER' AND p.trace_id <> t.trace_id AND p.id < t.id",
        ("DROP INDEX one_proposal_per_plan", "UPDATE decisions SET plan_id = :other WHERE id = :id"),
        {
            SCHEMA: "one_proposal_per_plan is missing",
            CHAIN: CHANGED,
            LINEAGE: "proposal {id} stands on {other}, which is not an earlier plan of its trace",
        },
    ),
    Forgery(
        "a decision moved to another trace",
        "SELECT id, link, plan_id AS other, (SELECT d.id FROM decisions AS d WHERE d.proposal_id = t.id) AS verdict "
        "FROM decisions AS t WHERE agent = 'TRADER'",
        ("UPDATE decisions SET trace_id = 'forged' WHERE id = :id",),
        {
            CHAIN: CHANGED,
            LINEAGE: (
                "proposal {id} stands on {other}, which is not an earlier plan of its trace",
                "verdict {verdict} stands on {id}, which is not an earlier proposal of its trace",
            ),
        },
    ),
    Forgery(
        "a payload that breaks its schema",
        "SELECT id, link FROM decisions WHERE agent = 'PLANNER'",
        ("UPDATE decisions SET payload_json = json_set(payload_json, '$.explore_ratio', 7) WHERE id = :id",),
        {CHAIN: CHANGED, PAYLOADS: "decision {id}: 7 is greater than the maximum of 1"},
    ),
    Forgery(
        "a payload that breaks a rule no schema can say",
        "SELECT id, link FROM decisions WHERE agent = 'TRADER' AND json_extract(payload_json, '$.action') = 'HOLD'",
        ("UPDATE decisions SET payload_json = json_set(payload_json, '$.qty', '3') WHERE id = :id",),
        {CHAIN: CHANGED, PAYLOADS: "decision {id}: HOLD of 3"},
    ),
    Forgery(
        "a quantity that only looks like digits",
        "SELECT t.id, t.link FROM decisions AS t WHERE agent = 'TRADER' AND t.id NOT IN "
        "(SELECT proposal_id FROM orders) AND json_extract(payload_json, '$.action') = 'HOLD'",
        ("UPDATE decisions SET payload_json = json_set(payload_json, '$.qty', '\u0660') WHERE id = :id",),
        {CHAIN: CHANGED, PAYLOADS: "decision {id}: needs a plain decimal number, was '\u0660'"},
    ),
    Forgery(
        "an order that grew after it was judged",
        "SELECT o.client_order_id AS key, o.link, o.qty, o.id, j.id AS verdict, t.payload_json ->> '$.qty' AS asked "
        "FROM orders AS o JOIN decisions AS t ON t.id = o.proposal_id JOIN decisions AS j ON j.id = o.verdict_id "
        "JOIN trades AS x ON x.idempotency_key = o.client_order_id AND x.status = 'FILLED' "
        "WHERE json_extract(j.payload_json, '$.decision') = 'APPROVE'",
        ("UPDATE orders SET qty = '77' WHERE id = :id",),
        {CHAIN: CHANGED, ORDERS: "order {key}: 77 sent, {asked} approved of {asked}"},
    ),
    Forgery(
        "an event that was taken out of an order's life",
        "SELECT o.client_order_id AS key, o.link, e.id, f.id AS next "
        "FROM orders AS o JOIN order_events AS e USING (client_order_id) JOIN order_events AS f "
        "USING (client_order_id) WHERE e.state = 'INTENT' AND f.state = 'FILLED'",
        ("DELETE FROM order_events WHERE id = :id",),
        {
            CHAIN: GONE,
            ORDERS: (
                "order {key}: event {next} leaves INTENT, the order was None",
                "order {key}: event {next}: FILLED cannot follow None",
            ),
        },
    ),
    Forgery(
        "the end of an order's life",
        "SELECT client_order_id AS key, e.id, e.link, "
        "(SELECT count(*) FROM fills AS f WHERE f.client_order_id = e.client_order_id) AS fills "
        "FROM order_events AS e WHERE e.state = 'FILLED'",
        ("DELETE FROM order_events WHERE id = :id",),
        {
            CHAIN: GONE,
            ORDERS: (
                "order {key} is INTENT, and not listed as open",
                "order {key}: is INTENT with a trade and {fills} fills",
            ),
        },
    ),
    Forgery(
        "one event too many",
        "SELECT client_order_id AS key, link, state, id + 1 AS id FROM order_events AS e ORDER BY e.id DESC",
        (
            "INSERT INTO order_events (ts_utc, client_order_id, from_state, state, evidence_json, wall_ts, link) "
            "VALUES ('t', :key, :state, 'FILLED', '{}', 'w', :link)",
        ),
        {
            CHAIN: ADDED,
            ORDERS: "*",
        },
    ),
    Forgery(
        "a settled order listed as open",
        "SELECT idempotency_key AS key FROM trades WHERE status = 'FILLED'",
        ("INSERT INTO open_orders VALUES (:key)",),
        {ORDERS: "order {key} is FILLED, and listed as open"},
    ),
    Forgery(
        "an order that nobody wrote down, listed as open",
        "SELECT 't1-ghost' AS key",
        ("INSERT INTO open_orders VALUES (:key)",),
        {KEYS: "open_orders None names a row of orders that is not there"},  # a table without row ids
    ),
    Forgery(
        "an event of an order that nobody wrote down",
        "SELECT max(e.id) + 1 AS id, max(seq) AS link FROM order_events AS e, audit_chain",
        (
            "INSERT INTO order_events (ts_utc, client_order_id, state, evidence_json, wall_ts, link) "
            "VALUES ('t', 't1-ghost', 'INTENT', '{}', 'w', :link)",
        ),
        {
            KEYS: "order_events {id} names a row of orders that is not there",
            CHAIN: ADDED,
        },
    ),
    Forgery(
        "a paper order sent twice",
        "SELECT id, link, client_order_id AS key FROM paper_orders ORDER BY id",
        (
            "INSERT INTO paper_orders SELECT -1, ts_utc, client_order_id, report_json, balance_quote, balance_base, "
            "wall_ts, link FROM paper_orders WHERE id = :id",
        ),
        {CHAIN: "paper_orders -1 was added (link {link})", PAPER: "order {key} was sent 2 times"},
    ),
    Forgery(
        "a paper order that was never filled",
        "SELECT p.id, p.link, t.id AS trade, t.idempotency_key AS key FROM paper_orders AS p JOIN trades AS t "
        "ON t.idempotency_key = p.client_order_id ORDER BY p.id",
        ("DELETE FROM paper_orders WHERE id = :id",),
        {
            CHAIN: GONE,
            PAPER: "trade {trade} ({key}) was never filled by the paper exchange",
        },
    ),
    Forgery(
        "a paper order that the ledger never wrote down",
        "SELECT p.id, p.link, t.id AS trade, t.idempotency_key AS key FROM paper_orders AS p JOIN trades AS t "
        "ON t.idempotency_key = p.client_order_id ORDER BY p.id DESC",
        ("UPDATE paper_orders SET client_order_id = 't1-ghost' WHERE id = :id",),
        {
            CHAIN: CHANGED,
            PAPER: (
                "the paper exchange filled t1-ghost, which the ledger never wrote down",
                "trade {trade} ({key}) was never filled by the paper exchange",
            ),
        },
    ),
    Forgery(
        "money with trailing zeros",
        "SELECT id, link, fee || '0' AS fee FROM fills WHERE instr(fee, '.') ORDER BY id DESC",
        ("UPDATE fills SET fee = :fee WHERE id = :id",),
        {CHAIN: CHANGED, MONEY: "fills {id}: fee is '{fee}', needs a plain decimal"},
    ),
    Forgery(
        "money as a float writes it",
        "SELECT id, link FROM observations ORDER BY id DESC",
        ("UPDATE observations SET balance_base = '1e-05' WHERE id = :id",),
        {CHAIN: CHANGED, MONEY: "observations {id}: balance_base is '1e-05', needs a plain decimal"},
    ),
    Forgery(
        "a link taken out of the chain",
        "SELECT id, link FROM portfolio ORDER BY id LIMIT 1 OFFSET 9",
        ("DELETE FROM audit_chain WHERE seq = :link",),
        {CHAIN: ("link {link} is missing", "portfolio {id} belongs to no link")},
    ),
    Forgery(
        "a trade moved to another proposal",
        "SELECT t.id, t.link, idempotency_key AS key, p.id AS other FROM trades AS t JOIN decisions AS p "
        "ON p.agent = 'TRADER' AND p.id <> t.proposal_id",
        ("UPDATE trades SET proposal_id = :other WHERE id = :id",),
        {CHAIN: CHANGED, ORDERS: "order {key}: its trade is in BTC/USDT for proposal {other}"},
    ),
    Forgery(
        "a verdict that is gone",
        "SELECT d.id, d.link, o.id AS order_id, o.client_order_id AS key "
        "FROM decisions AS d JOIN orders AS o ON o.verdict_id = d.id",
        ("DELETE FROM decisions WHERE id = :id",),
        {
            KEYS: "orders {order_id} names a row of decisions that is not there",
            CHAIN: GONE,
            ORDERS: "order {key}: its proposal or its verdict is not there",
        },
    ),
    Forgery(
        "a trade that nobody ordered",
        "SELECT max(t.id) + 1 AS id, max(seq) AS link FROM trades AS t, audit_chain",
        (
            "INSERT INTO trades (ts_utc, symbol, side, qty, price, quote_qty, wall_ts, link) "
            "VALUES ('t', 'BTC/USDT', 'BUY', '1', '1', '1', 'w', :link)",
        ),
        {
            CHAIN: ADDED,
            ORDERS: "trade {id} has no order",
            PAPER: "trade {id} (None) was never filled by the paper exchange",
        },
    ),
    Forgery(
        "a deposit that nobody made",
        "SELECT max(e.id) + 1 AS id, max(seq) AS link FROM events AS e, audit_chain",
        (
            "INSERT INTO events (ts_utc, kind, data_json, wall_ts, link) "
            "VALUES ('t', 'DEPOSIT', '{\"amount\":\"5\"}', 'w', :link)",
        ),
        {
            CHAIN: ADDED,
            BOOKS: (
                "snapshot 24: balance_usdt is 964222.19889162, the fills make it 964227.19889162",
                "snapshot 24: deposits_usdt is 1000000, the fills make it 1000005",
                "snapshot 24: equity_usdt is 1000085.2357827224, the fills make it 1000090.2357827224",
            ),
        },
    ),
]


def edited(forgery: Forgery) -> str:
    """The table that a forgery edits."""
    words = forgery.edits[-1].split()
    return words[1] if words[0] == "UPDATE" else words[2]


@pytest.mark.parametrize("forgery", FORGERIES, ids=[forgery.name for forgery in FORGERIES])
def test_a_forgery_is_found_by_the_checks_it_concerns_and_by_no_other(path: Path, forgery: Forgery) -> None:
    with tampering(path) as db:
        db.row_factory = sqlite3.Row
        row = db.execute(forgery.target).fetchone()
        assert row is not None
        values = dict(row) | {"table": edited(forgery)}
        db.row_factory = None
        for edit in forgery.edits:
            db.execute(edit, values)
    said = found(path)
    wanted = {
        name: tuple(one.format(**values) for one in words) if isinstance(words, tuple) else words.format(**values)
        for name, words in forgery.said.items()
    }
    assert {name: _as(wanted.get(name), words) for name, words in said.items()} == wanted


def _as(wanted: Any, words: Any) -> Any:
    """What was said, with a star where any words will do."""
    if isinstance(wanted, tuple) and isinstance(words, tuple) and len(wanted) == len(words):
        return tuple(map(_as, wanted, words))
    return "*" if wanted == "*" else words


def test_an_edited_fill_is_found_in_its_order_and_in_every_later_snapshot(path: Path) -> None:
    key, link, trade, row_id = one(
        path, "SELECT client_order_id, link, trade_id, id FROM fills ORDER BY id LIMIT 1 OFFSET 3"
    )
    (after,) = one(path, "SELECT min(id) FROM portfolio WHERE link > ?", link)
    with tampering(path) as db:
        db.execute("UPDATE fills SET qty = '0.00001' WHERE id = ?", (row_id,))
    said = failures(path)
    assert set(said) == {CHAIN, ORDERS, BOOKS}
    assert said[CHAIN] == (f"fills {row_id} was changed (link {link})",)
    assert all(words.startswith(f"order {key}: ") for words in said[ORDERS])
    assert any(f"fill {trade}: 0.00001 at " in words for words in said[ORDERS])
    assert said[BOOKS][0].startswith(f"snapshot {after}: ")
    assert len(said[BOOKS]) == NAMED + 1
    assert said[BOOKS][-1].endswith(" more")


def test_a_sale_of_more_than_was_held_is_found_by_its_fill(path: Path) -> None:
    (row_id, trade) = one(
        path, "SELECT f.id, f.trade_id FROM fills AS f JOIN orders USING (client_order_id) WHERE side = 'SELL'"
    )
    with tampering(path) as db:
        db.execute("UPDATE fills SET qty = '100000' WHERE id = ?", (row_id,))
    said = failures(path)[BOOKS]
    assert said[0].startswith(f"fill {trade} sells 100000 of ")
    assert len(said) == NAMED + 1


@pytest.mark.parametrize("column", ["qty", "price", "fee_quote"])
def test_money_that_cannot_be_read_is_named_and_a_check_that_needs_it_says_so(path: Path, column: str) -> None:
    (row_id, link) = one(path, "SELECT id, link FROM fills ORDER BY id LIMIT 1 OFFSET 3")
    with tampering(path) as db:
        db.execute(f"UPDATE fills SET {column} = '1e-05' WHERE id = ?", (row_id,))  # noqa: S608 - our own names
    said = found(path)
    assert said[MONEY] == f"fills {row_id}: {column} is '1e-05', needs a plain decimal"
    assert said[CHAIN] == f"fills {row_id} was changed (link {link})"
    for name in (ORDERS, BOOKS):
        assert "cannot be checked to the end: ValueError" in str(said[name])


def test_an_open_order_that_is_not_listed_is_found(waiting: Path) -> None:
    (key,) = one(waiting, "SELECT client_order_id FROM open_orders")
    with plain(waiting) as db:
        db.execute("DELETE FROM open_orders")
    assert found(waiting) == {ORDERS: f"order {key} is UNKNOWN, and not listed as open"}


def test_what_the_paper_exchange_filled_and_the_ledger_calls_rejected_is_found(waiting: Path) -> None:
    (key, row_id) = one(waiting, "SELECT client_order_id, max(id) FROM order_events")
    with tampering(waiting) as db:
        db.execute("UPDATE order_events SET state = 'REJECTED' WHERE id = ?", (row_id,))
        db.execute("DELETE FROM open_orders")
    said = found(waiting)
    assert set(said) == {CHAIN, PAPER}
    assert said[PAPER] == f"the paper exchange filled {key}, which the ledger calls REJECTED"


# The schema and the file.


@pytest.mark.parametrize(
    "name", ["decisions_no_update", "audit_chain_no_delete", "fills_no_replace", "one_verdict_per_proposal"]
)
def test_a_trigger_or_index_that_is_gone_is_named(path: Path, name: str) -> None:
    with plain(path) as db:
        (kind,) = db.execute("SELECT type FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        db.execute(f"DROP {kind} {name}")
    assert found(path) == {SCHEMA: f"{name} is missing"}


def test_a_trigger_that_does_nothing_any_more_is_named(path: Path) -> None:
    with plain(path) as db:
        db.execute("DROP TRIGGER trades_no_update")
        db.execute("CREATE TRIGGER trades_no_update BEFORE UPDATE ON trades BEGIN SELECT 1; END")
    assert found(path) == {SCHEMA: "trades_no_update was changed"}


@pytest.mark.parametrize(
    "more",
    [
        "CREATE TRIGGER helpful AFTER INSERT ON orders BEGIN DELETE FROM open_orders; END",
        "CREATE TABLE helpful (a TEXT)",
        "CREATE VIEW helpful AS SELECT 1",
        "CREATE INDEX helpful ON orders (qty)",
    ],
)
def test_what_is_not_ours_is_named(path: Path, more: str) -> None:
    with plain(path) as db:
        db.execute(more)
    assert found(path) == {SCHEMA: "helpful is something that no ledger has"}
    if "TRIGGER" in more:  # it would run inside our transactions; a view of somebody's own harms no row
        with pytest.raises(LedgerError, match="schema was tampered with: helpful"):
            Store.open_writer(path, wall)
    else:
        Store.open_writer(path, wall).close()


def test_a_check_that_was_written_out_of_the_schema_is_named(path: Path) -> None:
    with plain(path) as db:
        db.execute("PRAGMA writable_schema=ON")
        db.execute(
            "UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE name = 'decisions'",
            ("CHECK(agent IN ('PLANNER','TRADER','JUDGE'))", "CHECK(agent <> '')"),
        )
        db.execute("PRAGMA writable_schema=RESET")
    assert found(path) == {SCHEMA: "decisions was changed"}


def test_a_torn_page_fails_the_check_of_pages_and_hides_no_other_result(path: Path) -> None:
    (root,) = one(path, "SELECT rootpage FROM sqlite_master WHERE name = 'memory'")
    (page_size,) = one(path, "PRAGMA page_size")
    with path.open("r+b") as file:
        file.seek((root - 1) * page_size)
        file.write(b"\xff" * page_size)
    said = failures(path)
    assert PAGES in said
    assert {MONEY, LINEAGE, PAYLOADS, ORDERS, BOOKS, PAPER}.isdisjoint(said)


def test_a_damaged_table_fails_every_check_that_reads_it_and_raises_nothing(path: Path) -> None:
    (root,) = one(path, "SELECT rootpage FROM sqlite_master WHERE name = 'decisions'")
    (page_size,) = one(path, "PRAGMA page_size")
    with path.open("r+b") as file:
        file.seek((root - 1) * page_size)
        file.write(b"\xff" * page_size)
    said = failures(path)
    assert {PAGES, CHAIN, LINEAGE, PAYLOADS, ORDERS} <= set(said)
    assert MONEY not in said


# What the chain alone cannot see.


def truncated(path: Path, links: int, carefully: bool) -> int:
    """Cut the newest links and their rows off; carefully: the counters of ids as well. Returns how many are left."""
    (last,) = one(path, "SELECT max(seq) FROM audit_chain")
    with tampering(path) as db:
        for table in reversed(migrations.CHAINED):
            db.execute(f"DELETE FROM {table} WHERE link > ?", (last - links,))  # noqa: S608 - our own names
            if carefully:
                newest = f"(SELECT coalesce(max(id), 0) FROM {table})"  # noqa: S608
                db.execute(f"UPDATE sqlite_sequence SET seq = {newest} WHERE name = ?", (table,))  # noqa: S608
        db.execute("DELETE FROM audit_chain WHERE seq > ?", (last - links,))
        db.execute("DELETE FROM open_orders WHERE client_order_id NOT IN (SELECT client_order_id FROM orders)")
    return int(last - links)


def test_a_tail_that_was_cut_off_is_found_by_the_ids_that_were_given_out(path: Path) -> None:
    (decision,) = one(path, "SELECT max(id) FROM decisions")
    (last, before_last_cycle) = one(path, "SELECT max(c.seq), max(o.link) FROM audit_chain AS c, observations AS o")
    truncated(path, last - before_last_cycle + 1, carefully=False)
    said = found(path)
    assert set(said) == {SCHEMA}
    assert f"decisions ends at {decision - 3}, it was written up to {decision}" in said[SCHEMA]


def test_a_tail_that_was_cut_off_carefully_passes_every_check_and_only_a_head_noted_elsewhere_tells(path: Path) -> None:
    """The honest limit of a hash chain: whoever holds no earlier head cannot see that the end is missing."""
    with reading(path) as ledger:
        noted, links = ledger.head, ledger.next_link - 1
    (before_last_cycle,) = one(path, "SELECT max(link) FROM observations")
    left = truncated(path, links - before_last_cycle + 1, carefully=True)
    assert failures(path) == {}
    Store.open_writer(path, wall).close()
    with reading(path) as ledger:
        assert ledger.head != noted
        assert ledger.next_link - 1 == left
    assert rows(path, "SELECT 1 FROM audit_chain WHERE hash = ?", noted) == []


def test_a_tail_cut_through_an_orders_life_is_found_by_the_order_however_carefully(path: Path) -> None:
    (last,) = one(path, "SELECT max(seq) FROM audit_chain")
    key, link = one(path, "SELECT client_order_id, link FROM orders ORDER BY id DESC")
    truncated(path, last - link, carefully=True)
    assert found(path) == {ORDERS: f"order {key} is INTENT, and not listed as open"}


def test_a_row_cut_off_without_its_link_is_found(path: Path) -> None:
    (row_id, link) = one(path, "SELECT id, link FROM portfolio ORDER BY id DESC")
    with tampering(path) as db:
        db.execute("DELETE FROM portfolio WHERE id = ?", (row_id,))
    assert found(path) == {
        CHAIN: f"portfolio {row_id} is gone (link {link})",
        SCHEMA: f"portfolio ends at {row_id - 1}, it was written up to {row_id}",
    }


# The content hash.


def content(path: Path) -> str:
    with reading(path) as ledger:
        return content_sha256(ledger)


def test_equal_runs_in_different_files_at_different_times_have_equal_contents_and_different_chains(
    tmp_path: Path,
) -> None:
    one_path, other_path = tmp_path / "one.db", tmp_path / "other.db"
    grow(one_path, 6)
    for _ in range(3):
        grow(other_path, 2)
    assert content(one_path) == content(other_path)
    with reading(one_path) as ledger, reading(other_path) as other:
        assert ledger.identity()["ledger_id"] != other.identity()["ledger_id"]
        assert ledger.head != other.head


def test_a_hostile_decimal_context_of_the_thread_changes_no_row_of_a_run_and_no_word_of_a_check(tmp_path: Path) -> None:
    one_path, other_path = tmp_path / "one.db", tmp_path / "other.db"
    done = grow(one_path, 6)
    assert any(each.execution.order for each in done)
    with localcontext() as hostile:
        hostile.prec, hostile.rounding = 5, ROUND_UP
        grow(other_path, 6)
        assert failures(other_path) == {}
    assert content(one_path) == content(other_path)


def test_other_settings_a_longer_run_or_one_more_event_have_other_contents(tmp_path: Path) -> None:
    seen = set()
    changes: dict[str, dict[str, Any]] = {"a": {}, "b": {"simulated_seed": 4}, "c": {"paper_fee_pct": "0.2"}}
    for name, change in changes.items():
        grow(tmp_path / name, 2, **change)
        seen.add(content(tmp_path / name))
    grow(tmp_path / "a", 1)
    seen.add(content(tmp_path / "a"))
    with writing(tmp_path / "a") as ledger, ledger.transaction() as tx:
        ledger.log_event(tx, "NOTE", {}, 0)
    seen.add(content(tmp_path / "a"))
    assert len(seen) == 5


def test_the_content_changes_with_every_business_column_and_with_no_other(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    with tampering(path) as db:
        db.execute("PRAGMA ignore_check_constraints=ON")
        ledger = Ledger(db, None, wall)
        for table in migrations.CHAINED:
            newest = f"id = (SELECT max(id) FROM {table})"  # noqa: S608 - our own names
            db.execute(f"DELETE FROM {table} WHERE NOT {newest}")  # noqa: S608
        whole = content_sha256(ledger)
        for table in migrations.CHAINED:
            for _, column, kind, *_ in db.execute(f"PRAGMA table_info({table})").fetchall():
                more = " " if column.endswith("_json") else "x"  # what an index is over must stay JSON
                longer = f"coalesce({column}, '') || '{more}'"
                value = f"coalesce({column}, 0) + 1000000" if kind == "INTEGER" else longer
                db.execute("SAVEPOINT edit")
                assert db.execute(f"UPDATE {table} SET {column} = {value}").rowcount == 1  # noqa: S608
                assert (content_sha256(ledger) == whole) is (column in UNCHAINED_COLUMNS), f"{table}.{column}"
                db.execute("ROLLBACK TO edit")
                db.execute("RELEASE edit")


def test_the_ledgers_own_name_is_no_content_and_the_rest_of_what_it_is_pinned_to_is(path: Path) -> None:
    whole = content(path)
    with tampering(path) as db:
        db.execute("UPDATE meta SET value = 'another' WHERE key = 'ledger_id'")
    assert content(path) == whole
    with tampering(path) as db:
        db.execute("UPDATE meta SET value = 'another' WHERE key = 'symbol'")
    assert content(path) != whole


def test_a_row_more_or_less_or_in_another_place_is_other_content(path: Path) -> None:
    seen = [content(path)]
    for edit in (
        "DELETE FROM memory",
        "DELETE FROM fills WHERE id = 7",
        "UPDATE fills SET id = 7 WHERE id = 8",
        "INSERT INTO memory (id, ts_utc, key, value_json, wall_ts, link) VALUES (-3, 't', 'k', '{}', 'w', 1)",
    ):
        with tampering(path) as db:
            db.execute(edit)
        seen.append(content(path))
    assert len(set(seen)) == len(seen)


def test_a_content_hash_of_a_ledger_without_rows_is_that_of_nothing(tmp_path: Path) -> None:
    with closing(Ledger.in_memory(wall)) as ledger:
        assert content_sha256(ledger) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
