"""The ledger's schema as a list of steps that only grows; `PRAGMA user_version` counts those applied.

Each step runs inside one BEGIN IMMEDIATE under the writer lock, so two first starts cannot
leave half a schema. The specification's four tables keep its names, columns and CHECKs; what
follows the comment "ours" in them was added. Chained tables are insert-only, held by triggers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from functools import cache

from trader_cli.core.errors import LedgerError

Step = Callable[[sqlite3.Connection], None]
STEPS: list[Step] = []
step = STEPS.append

CHAINED = (
    "meta",
    "events",
    "prompts",
    "terms",
    "candles",
    "observations",
    "model_reserves",
    "model_calls",
    "decisions",
    "orders",
    "paper_orders",
    "order_events",
    "fills",
    "trades",
    "portfolio",
    "memory",
)
"""Tables whose rows are in the audit chain, parents before children. The order is part of the hash."""

_LATER = {"model_reserves": 3}
"""Chained tables that a later step than the first makes, and which."""

_OURS = "wall_ts TEXT NOT NULL, link INTEGER NOT NULL"

_TABLES = f"""
CREATE TABLE audit_chain (
  seq INTEGER PRIMARY KEY,
  wall_ts TEXT NOT NULL,
  rows INTEGER NOT NULL,
  rows_sha256 TEXT NOT NULL,
  marks_json TEXT NOT NULL CHECK(json_valid(marks_json)),
  prev_hash TEXT NOT NULL,
  hash TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE terms (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  sha256 TEXT NOT NULL UNIQUE,
  terms_json TEXT NOT NULL CHECK(json_valid(terms_json)),
  {_OURS}
) STRICT;
CREATE TABLE meta (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  key TEXT NOT NULL UNIQUE,
  value TEXT NOT NULL,
  {_OURS}
) STRICT;
CREATE TABLE events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  ts_utc TEXT NOT NULL,
  trace_id TEXT,
  kind TEXT NOT NULL,
  data_json TEXT NOT NULL CHECK(json_valid(data_json)),
  {_OURS}
) STRICT;
CREATE TABLE prompts (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  sha256 TEXT NOT NULL UNIQUE,
  agent TEXT NOT NULL CHECK(agent IN ('PLANNER','TRADER','JUDGE')),
  prompt TEXT NOT NULL,
  schema_json TEXT NOT NULL CHECK(json_valid(schema_json)),
  {_OURS}
) STRICT;
CREATE TABLE candles (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  opened_at TEXT NOT NULL,
  revision INTEGER NOT NULL,
  open TEXT NOT NULL,
  high TEXT NOT NULL,
  low TEXT NOT NULL,
  close TEXT NOT NULL,
  volume TEXT NOT NULL,
  {_OURS},
  UNIQUE (opened_at, revision)
) STRICT;
CREATE TABLE observations (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  ts_utc TEXT NOT NULL,
  trace_id TEXT NOT NULL,
  source TEXT NOT NULL,
  first_at TEXT,
  last_at TEXT,
  bars INTEGER NOT NULL,
  candles_sha256 TEXT NOT NULL,
  price TEXT,
  age_ms INTEGER,
  features_json TEXT NOT NULL CHECK(json_valid(features_json)),
  defects_json TEXT NOT NULL CHECK(json_valid(defects_json)),
  balance_quote TEXT,
  balance_base TEXT,
  {_OURS}
) STRICT;
CREATE TABLE model_calls (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  ts_utc TEXT NOT NULL,
  trace_id TEXT NOT NULL,
  agent TEXT NOT NULL CHECK(agent IN ('PLANNER','TRADER','JUDGE')),
  model TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  prompt_sha256 TEXT NOT NULL REFERENCES prompts(sha256),
  facts_json TEXT NOT NULL CHECK(json_valid(facts_json)),
  max_output_tokens INTEGER NOT NULL,
  status TEXT NOT NULL,
  reply TEXT,
  error TEXT,
  input_tokens INTEGER,
  cached_tokens INTEGER,
  output_tokens INTEGER,
  reasoning_tokens INTEGER,
  cost_usd TEXT NOT NULL,
  latency_ms INTEGER NOT NULL,
  request_id TEXT,
  {_OURS}
) STRICT;
CREATE TABLE decisions (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  ts_utc TEXT NOT NULL,
  agent TEXT CHECK(agent IN ('PLANNER','TRADER','JUDGE')) NOT NULL,
  trace_id TEXT,
  payload_json TEXT NOT NULL CHECK(json_valid(payload_json)),
  plan_id INTEGER REFERENCES decisions(id),
  proposal_id INTEGER REFERENCES decisions(id),
  -- ours
  source TEXT NOT NULL CHECK(source IN ('rules','openai','law','fallback','operator')),
  cause TEXT,
  observation_id INTEGER REFERENCES observations(id),
  model_call_id INTEGER REFERENCES model_calls(id),
  prompt_sha256 TEXT REFERENCES prompts(sha256),
  terms_sha256 TEXT REFERENCES terms(sha256),
  law_json TEXT CHECK(law_json IS NULL OR json_valid(law_json)),
  wake_at TEXT,
  {_OURS},
  CHECK (source <> 'fallback' OR cause IS NOT NULL),
  CHECK (agent <> 'TRADER' OR plan_id IS NOT NULL),
  CHECK (agent <> 'JUDGE' OR proposal_id IS NOT NULL)
) STRICT;
CREATE TABLE orders (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  ts_utc TEXT NOT NULL,
  client_order_id TEXT NOT NULL UNIQUE,
  proposal_id INTEGER UNIQUE REFERENCES decisions(id),
  verdict_id INTEGER UNIQUE REFERENCES decisions(id),
  origin TEXT NOT NULL CHECK(origin IN ('verdict','operator','recovered')),
  trace_id TEXT,
  symbol TEXT NOT NULL,
  side TEXT NOT NULL CHECK(side IN ('BUY','SELL')),
  qty TEXT NOT NULL,
  worst_price TEXT NOT NULL,
  reserved_quote TEXT NOT NULL,
  recv_window_ms INTEGER NOT NULL,
  law_json TEXT CHECK(law_json IS NULL OR json_valid(law_json)),
  {_OURS},
  CHECK (origin <> 'verdict' OR (proposal_id IS NOT NULL AND verdict_id IS NOT NULL))
) STRICT;
CREATE TABLE paper_orders (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  ts_utc TEXT NOT NULL,
  client_order_id TEXT NOT NULL,
  report_json TEXT NOT NULL CHECK(json_valid(report_json)),
  balance_quote TEXT NOT NULL,
  balance_base TEXT NOT NULL,
  {_OURS}
) STRICT;
CREATE TABLE order_events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  ts_utc TEXT NOT NULL,
  client_order_id TEXT NOT NULL REFERENCES orders(client_order_id),
  from_state TEXT,
  state TEXT NOT NULL CHECK(state IN
    ('INTENT','UNKNOWN','OPEN','FILLED','PARTIAL','REJECTED','ABANDONED','NEEDS_HUMAN')),
  exchange_order_id TEXT,
  evidence_json TEXT NOT NULL CHECK(json_valid(evidence_json)),
  {_OURS}
) STRICT;
CREATE TABLE fills (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  ts_utc TEXT NOT NULL,
  client_order_id TEXT NOT NULL REFERENCES orders(client_order_id),
  trade_id TEXT NOT NULL UNIQUE,
  qty TEXT NOT NULL,
  price TEXT NOT NULL,
  quote_qty TEXT NOT NULL,
  fee TEXT NOT NULL,
  fee_asset TEXT NOT NULL,
  fee_quote TEXT NOT NULL,
  {_OURS}
) STRICT;
CREATE TABLE trades (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  ts_utc TEXT NOT NULL,
  symbol TEXT NOT NULL,
  side TEXT CHECK(side IN ('BUY','SELL')) NOT NULL,
  qty TEXT NOT NULL,
  price TEXT NOT NULL,
  fee TEXT,
  order_id TEXT,
  idempotency_key TEXT UNIQUE REFERENCES orders(client_order_id),
  proposal_id INTEGER REFERENCES decisions(id),
  status TEXT DEFAULT 'FILLED' CHECK(status IN ('FILLED','PARTIALLY_FILLED')),
  -- ours
  fee_asset TEXT,
  quote_qty TEXT NOT NULL,
  trace_id TEXT,
  {_OURS}
) STRICT;
CREATE TABLE portfolio (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  ts_utc TEXT NOT NULL,
  balance_usdt TEXT NOT NULL,
  balance_btc TEXT NOT NULL,
  unrealized_pnl_usdt TEXT NOT NULL,
  realized_pnl_usdt TEXT NOT NULL,
  -- ours
  symbol TEXT NOT NULL,
  trace_id TEXT,
  mark_price TEXT NOT NULL,
  equity_usdt TEXT NOT NULL,
  cost_usdt TEXT NOT NULL,
  deposits_usdt TEXT NOT NULL,
  fees_usdt TEXT NOT NULL,
  peak_usdt TEXT NOT NULL,
  drift_usdt TEXT,
  drift_btc TEXT,
  {_OURS}
) STRICT;
CREATE TABLE memory (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  ts_utc TEXT NOT NULL,
  key TEXT NOT NULL,
  value_json TEXT NOT NULL CHECK(json_valid(value_json)),
  {_OURS}
) STRICT;
CREATE TABLE open_orders (
  client_order_id TEXT PRIMARY KEY REFERENCES orders(client_order_id)
) STRICT, WITHOUT ROWID;
"""

_INDEXES = """
CREATE INDEX decisions_by_trace ON decisions(trace_id);
CREATE INDEX decisions_by_agent ON decisions(agent);
CREATE INDEX decisions_by_time ON decisions(ts_utc);
CREATE UNIQUE INDEX one_proposal_per_plan ON decisions(plan_id) WHERE agent = 'TRADER';
CREATE UNIQUE INDEX one_verdict_per_proposal ON decisions(proposal_id) WHERE agent = 'JUDGE';
CREATE INDEX observations_by_trace ON observations(trace_id);
CREATE INDEX model_calls_by_trace ON model_calls(trace_id);
CREATE INDEX orders_by_time ON orders(ts_utc);
CREATE INDEX orders_by_trace ON orders(trace_id);
CREATE INDEX paper_orders_by_client_id ON paper_orders(client_order_id);
CREATE INDEX order_events_by_order ON order_events(client_order_id);
CREATE INDEX fills_by_order ON fills(client_order_id);
CREATE INDEX trades_by_trace ON trades(trace_id);
CREATE INDEX portfolio_by_trace ON portfolio(trace_id);
CREATE INDEX portfolio_by_time ON portfolio(ts_utc);
CREATE INDEX events_by_kind ON events(kind);
CREATE INDEX events_by_trace ON events(trace_id);
"""

_UNIQUE = {
    "audit_chain": ("hash = NEW.hash",),
    "meta": ("key = NEW.key",),
    "prompts": ("sha256 = NEW.sha256",),
    "terms": ("sha256 = NEW.sha256",),
    "candles": ("opened_at = NEW.opened_at AND revision = NEW.revision",),
    "decisions": (
        "agent = 'TRADER' AND NEW.agent = 'TRADER' AND plan_id = NEW.plan_id",
        "agent = 'JUDGE' AND NEW.agent = 'JUDGE' AND proposal_id = NEW.proposal_id",
    ),
    "orders": ("client_order_id = NEW.client_order_id", "proposal_id = NEW.proposal_id", "verdict_id = NEW.verdict_id"),
    "fills": ("trade_id = NEW.trade_id",),
    "trades": ("idempotency_key = NEW.idempotency_key",),
}
"""What makes a row unique: through each of these INSERT OR REPLACE could delete one without firing a delete trigger."""


def _insert_only(db: sqlite3.Connection, table: str, key: str, unique: tuple[str, ...] | None = None) -> None:
    for verb in ("UPDATE", "DELETE"):
        db.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: {verb} is not allowed'); END"
        )
    alike = (f"{key} = NEW.{key}", *(_UNIQUE.get(table, ()) if unique is None else unique))
    taken = " OR ".join(f"EXISTS (SELECT 1 FROM {table} WHERE {same})" for same in alike)
    db.execute(
        f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {taken} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: that row exists'); END"
    )


@step
def m001_initial(db: sqlite3.Connection) -> None:
    """The specification's tables and ours."""
    for statement in (_TABLES + _INDEXES).split(";"):
        if statement.strip():
            db.execute(statement)
    for table in CHAINED:
        if table not in _LATER:
            _insert_only(db, table, "id")
    _insert_only(db, "audit_chain", "seq")


_RARE = """
CREATE INDEX proposals_to_trade ON decisions(json_extract(payload_json, '$.action'), ts_utc)
  WHERE agent = 'TRADER' AND json_extract(payload_json, '$.action') <> 'HOLD';
CREATE INDEX fallbacks_by_time ON decisions(ts_utc, link) WHERE source = 'fallback';
CREATE INDEX failed_calls_by_time ON model_calls(ts_utc, link) WHERE status <> 'ok';
CREATE INDEX outages_by_time ON observations(ts_utc, link) WHERE instr(defects_json, '"kind":"unavailable"');
CREATE INDEX order_troubles_by_time ON order_events(ts_utc, link)
  WHERE state IN ('UNKNOWN','REJECTED','ABANDONED','NEEDS_HUMAN');
CREATE INDEX error_events_by_time ON events(ts_utc, link) WHERE +kind IN ('ERROR','NOT_SENT');
CREATE INDEX trades_by_time ON trades(ts_utc);
CREATE INDEX paid_calls ON model_calls(cost_usd) WHERE cost_usd <> '0';
"""
"""Indexes of what is rare and looked for: an ordinary cycle writes to none of them."""

_VIEWS = """
CREATE VIEW v_cycles AS
SELECT p.id AS cycle, p.ts_utc AS time_utc, p.trace_id,
  json_extract(p.payload_json, '$.mode') AS mode,
  json_extract(t.payload_json, '$.action') AS action,
  json_extract(t.payload_json, '$.qty') AS qty,
  json_extract(t.payload_json, '$.confidence') AS confidence,
  json_extract(t.payload_json, '$.policy_id') AS policy,
  CASE WHEN json_extract(t.payload_json, '$.action') <> 'HOLD' THEN json_extract(j.payload_json, '$.decision') END
    AS verdict,
  json_extract(j.payload_json, '$.revised_qty') AS revised_qty,
  (SELECT e.state FROM order_events AS e WHERE e.client_order_id = o.client_order_id ORDER BY e.id DESC LIMIT 1)
    AS order_state,
  x.qty AS filled_qty, x.price AS fill_price, x.fee, x.fee_asset,
  (SELECT s.equity_usdt FROM portfolio AS s WHERE s.trace_id = p.trace_id ORDER BY s.id DESC LIMIT 1) AS equity,
  CASE 'fallback' WHEN p.source THEN 'PLANNER' WHEN t.source THEN 'TRADER' WHEN j.source THEN 'JUDGE' END AS fallback,
  coalesce(p.cause, t.cause, j.cause) AS cause,
  json_extract(t.payload_json, '$.hypothesis') AS hypothesis,
  p.wall_ts AS wall_time_utc
FROM decisions AS p
LEFT JOIN decisions AS t ON t.plan_id = p.id AND t.agent = 'TRADER'
LEFT JOIN decisions AS j ON j.proposal_id = t.id AND j.agent = 'JUDGE'
LEFT JOIN orders AS o ON o.verdict_id = j.id
LEFT JOIN trades AS x ON x.idempotency_key = o.client_order_id
WHERE +p.agent = 'PLANNER';
CREATE VIEW v_trades AS
SELECT x.id AS trade, x.ts_utc AS time_utc, x.trace_id, x.symbol, x.side, x.qty, x.price, x.quote_qty,
  x.fee, x.fee_asset, x.status,
  json_extract(t.payload_json, '$.policy_id') AS policy,
  json_extract(t.payload_json, '$.confidence') AS confidence,
  json_extract(t.payload_json, '$.hypothesis') AS hypothesis,
  x.idempotency_key AS client_order_id, x.order_id AS exchange_order_id
FROM trades AS x LEFT JOIN decisions AS t ON t.id = x.proposal_id;
CREATE VIEW v_equity AS
SELECT s.id AS snapshot, s.ts_utc AS time_utc, s.trace_id, s.symbol, s.mark_price,
  s.equity_usdt AS equity, s.peak_usdt AS peak_equity, s.deposits_usdt AS deposits,
  s.balance_usdt AS quote, s.balance_btc AS base, s.cost_usdt AS cost,
  s.realized_pnl_usdt AS realized_pnl, s.unrealized_pnl_usdt AS unrealized_pnl, s.fees_usdt AS fees
FROM portfolio AS s;
CREATE VIEW v_errors AS
SELECT d.ts_utc AS time_utc, d.trace_id, CAST('FALLBACK' AS TEXT) AS kind, d.agent AS who, d.cause AS message,
  'decisions' AS table_name, d.id AS row_id, d.link
FROM decisions AS d WHERE d.source = 'fallback'
UNION ALL
SELECT c.ts_utc, c.trace_id, CAST('MODEL ' || upper(c.status) AS TEXT), c.agent,
  CAST(coalesce(c.error, c.reply) AS TEXT), 'model_calls', c.id, c.link
FROM model_calls AS c WHERE c.status <> 'ok'
UNION ALL
SELECT s.ts_utc, s.trace_id, CAST('MARKET' AS TEXT), s.source,
  CAST(json_extract(s.defects_json, '$[#-1].detail') AS TEXT), 'observations', s.id, s.link
FROM observations AS s WHERE instr(s.defects_json, '"kind":"unavailable"')
UNION ALL
SELECT e.ts_utc, (SELECT o.trace_id FROM orders AS o WHERE o.client_order_id = e.client_order_id),
  CAST('ORDER ' || e.state AS TEXT), e.client_order_id,
  CAST(coalesce(json_extract(e.evidence_json, '$.message'), e.evidence_json) AS TEXT), 'order_events', e.id, e.link
FROM order_events AS e WHERE e.state IN ('UNKNOWN','REJECTED','ABANDONED','NEEDS_HUMAN')
UNION ALL
SELECT v.ts_utc, v.trace_id, v.kind, CAST(NULL AS TEXT),
  CAST(coalesce(json_extract(v.data_json, '$.reason'), v.data_json) AS TEXT), 'events', v.id, v.link
FROM events AS v WHERE +v.kind IN ('ERROR','NOT_SENT');
"""
"""What sqlite3, sqlite-utils or Datasette show at first sight. Money stays the text it is."""


@step
def m002_views(db: sqlite3.Connection) -> None:
    """Views for people with other tools, and indexes of what is rare. No table changes and no row is written."""
    taken = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    for statement in (_RARE + _VIEWS).split(";"):
        if not statement.strip():
            continue
        name = statement.split()[2]
        if name in taken:
            raise LedgerError(
                f'the ledger holds a "{name}" of somebody\'s own, and this program needs that name',
                "Drop or rename it with sqlite3, then try again.",
            )
        db.execute(statement)


_MINDS = f"""
CREATE TABLE model_reserves (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  ts_utc TEXT NOT NULL,
  trace_id TEXT NOT NULL,
  agent TEXT NOT NULL CHECK(agent IN ('PLANNER','TRADER','JUDGE')),
  model TEXT NOT NULL,
  amount_usd TEXT NOT NULL,
  {_OURS}
) STRICT;
ALTER TABLE prompts ADD COLUMN tools_json TEXT CHECK(tools_json IS NULL OR json_valid(tools_json));
ALTER TABLE model_calls ADD COLUMN round INTEGER;
ALTER TABLE model_calls ADD COLUMN request_json TEXT CHECK(request_json IS NULL OR json_valid(request_json));
ALTER TABLE model_calls ADD COLUMN tools_json TEXT CHECK(tools_json IS NULL OR json_valid(tools_json));
ALTER TABLE model_calls ADD COLUMN body_sha256 TEXT;
ALTER TABLE model_calls ADD COLUMN cache_write_tokens INTEGER;
ALTER TABLE model_calls ADD COLUMN cost_basis TEXT;
ALTER TABLE model_calls ADD COLUMN price_json TEXT CHECK(price_json IS NULL OR json_valid(price_json));
ALTER TABLE model_calls ADD COLUMN reserve_id INTEGER REFERENCES model_reserves(id);
CREATE INDEX model_reserves_by_wall ON model_reserves(wall_ts);
CREATE INDEX model_reserves_by_trace ON model_reserves(trace_id);
CREATE INDEX model_calls_by_reserve ON model_calls(reserve_id) WHERE reserve_id IS NOT NULL
"""
"""What a model over the network needs: its worst cost held back before the call, and how it was asked.

`round` counts the rounds of tools (NULL: the first); `tools_json` holds a reply's calls and what they got.
"""


@step
def m003_minds(db: sqlite3.Connection) -> None:
    """Room for models over the network. Rows that are there stay as they are, and so do their hashes."""
    for statement in _MINDS.split(";"):
        db.execute(statement)
    _insert_only(db, "model_reserves", "id")


_ACCOUNTS = f"""
CREATE TABLE fills_anew (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  ts_utc TEXT NOT NULL,
  client_order_id TEXT NOT NULL REFERENCES orders(client_order_id),
  trade_id TEXT NOT NULL,
  qty TEXT NOT NULL,
  price TEXT NOT NULL,
  quote_qty TEXT NOT NULL,
  fee TEXT NOT NULL,
  fee_asset TEXT NOT NULL,
  fee_quote TEXT NOT NULL,
  {_OURS},
  epoch INTEGER
) STRICT;
INSERT INTO fills_anew SELECT *, NULL FROM fills;
DROP TABLE fills;
ALTER TABLE fills_anew RENAME TO fills;
CREATE INDEX fills_by_order ON fills(client_order_id);
CREATE UNIQUE INDEX one_fill_per_trade ON fills(coalesce(epoch, 1), trade_id);
CREATE INDEX proofs ON events(json_extract(data_json, '$.what'), json_extract(data_json, '$.of')) WHERE kind = 'PROOF';
CREATE INDEX abandoned_by_time ON order_events(ts_utc) WHERE state = 'ABANDONED'
"""
"""An exchange that was wiped counts its trades anew, so a trade's id is unique within one epoch of the account.

`epoch` is NULL in the first, so that the hashes of fills that are there stay as they are.
"""


@step
def m004_accounts(db: sqlite3.Connection) -> None:
    """Room for accounts on exchanges. Every fill keeps its id, its columns and its hash."""
    counted = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'fills'").fetchone()
    for statement in _ACCOUNTS.split(";"):
        db.execute(statement)
    if counted is not None:  # ids of rows that are gone are not given again
        db.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'fills'", counted)
    _insert_only(db, "fills", "id", ("coalesce(epoch, 1) = coalesce(NEW.epoch, 1) AND trade_id = NEW.trade_id",))


_MEMORY = """
ALTER TABLE orders ADD COLUMN terms_sha256 TEXT REFERENCES terms(sha256);
CREATE INDEX memory_by_key ON memory(key);
CREATE INDEX memory_by_purchase ON memory(json_extract(value_json, '$.experiment.opened_by'));
CREATE INDEX memory_by_sale ON memory(json_extract(value_json, '$.experiment.closed_by'))
"""
"""What is asked of memory, and under which terms an order was written down (NULL: by an older program)."""


@step
def m005_memory(db: sqlite3.Connection) -> None:
    """Ways to find outcomes, and the terms of an order. No row is written, and every hash stays as it was."""
    for statement in _MEMORY.split(";"):
        db.execute(statement)


@step
def m006_snapshots(db: sqlite3.Connection) -> None:
    """Under which terms a snapshot was taken (NULL: by an older program). Every hash stays as it was."""
    db.execute("ALTER TABLE portfolio ADD COLUMN terms_sha256 TEXT REFERENCES terms(sha256)")


def strange(db: sqlite3.Connection, triggers_only: bool = False) -> Iterator[str]:
    """What of a ledger's tables, indexes and triggers is not as the steps it has had make it.

    With `triggers_only`, of what was added only triggers count: a view of somebody's own harms no row.
    """
    wanted, found = _shape(version(db)), dict(db.execute(_SHAPE))
    if triggers_only:
        triggers = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")}
        found = {name: sql for name, sql in found.items() if name in wanted or name in triggers}
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            yield f"{name} is missing"
        elif name not in wanted:
            yield f"{name} is something that no ledger has"
        elif found[name] != wanted[name]:
            yield f"{name} was changed"


_SHAPE = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"


@cache
def _shape(steps: int) -> dict[str, str]:
    fresh = sqlite3.connect(":memory:", isolation_level=None)
    for one in STEPS[:steps]:
        one(fresh)
    shape = dict(fresh.execute(_SHAPE))
    fresh.close()
    return shape


def version(db: sqlite3.Connection) -> int:
    """How many steps this ledger has."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def tables(db: sqlite3.Connection) -> tuple[str, ...]:
    """The chained tables that a ledger with the steps it has had must have."""
    steps = version(db)
    return tuple(table for table in CHAINED if steps >= _LATER.get(table, 0))


def check_version(db: sqlite3.Connection) -> None:
    """Raise LedgerError when a newer program wrote this ledger."""
    found = version(db)
    if found > len(STEPS):
        raise LedgerError(
            f"the ledger has schema {found}, this program knows schema {len(STEPS)}",
            "Use the newer trader that wrote it, or another ledger with --db.",
        )


def apply(db: sqlite3.Connection) -> int:
    """Run the missing steps in one transaction; returns how many ran. The caller holds the writer lock."""
    check_version(db)
    missing = STEPS[version(db) :]
    if not missing:
        return 0
    db.execute("BEGIN IMMEDIATE")
    try:
        for one in missing:
            one(db)
        db.execute(f"PRAGMA user_version = {len(STEPS)}")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
    return len(missing)
