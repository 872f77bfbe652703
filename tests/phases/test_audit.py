"""audit.verify(): whoever edits a ledger and seals it anew is found by the row, for the row no longer follows."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.desks import desk
from tests.ledgers import Mute, grow, ledger_at, one, plain, reading, rows, scripted_desk, tampering, wall
from trader_cli.core import audit as seals
from trader_cli.phases.audit import CHECKS, NOT_CHECKED, verify
from trader_cli.phases.cycle import cycle, loop
from trader_cli.phases.flatten import flatten
from trader_cli.phases.recover import set_state
from trader_cli.schemas.check import Check
from trader_cli.schemas.cycle import Cycle
from trader_cli.schemas.situation import TradingState
from trader_cli.tools import chain, migrations
from trader_cli.tools.store import Store
from trader_cli.tools.verification import Count
from trader_cli.tools.verification_echoes import echoes
from trader_cli.tools.verification_past import read_terms

OBSERVATIONS, FEATURES, REPLIES, CALLS, VERDICTS, ORDERS, HASHES, TIMES, LOTS, MEMORY, AGREE = (
    name for name, _ in CHECKS[10:]
)

TABLES = "tables and triggers"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A grown ledger, closed."""
    return ledger_at(tmp_path / "agent.db")


def audited(path: Path) -> list[Check]:
    """All checks of the ledger at `path`."""
    with reading(path) as ledger:
        return verify(ledger)


def failed(path: Path) -> dict[str, tuple[str, ...]]:
    """The checks that fail, with what they say."""
    return {check.name: check.problems for check in audited(path) if not check.ok}


def seal_anew(db: sqlite3.Connection) -> None:
    """Write the whole chain over the rows as they are now, as a forger would who knows how."""
    db.row_factory = None
    (ledger_id,) = db.execute("SELECT value FROM meta WHERE key = 'ledger_id'").fetchone()
    columns = {
        table: tuple(row[1] for row in db.execute(f"PRAGMA table_info({table})")) for table in migrations.CHAINED
    }
    prev = seals.GENESIS
    for seq, wall_ts in db.execute("SELECT seq, wall_ts FROM audit_chain ORDER BY seq").fetchall():
        first: dict[str, int] = {}
        hashes: dict[str, list[bytes]] = {}
        for table in migrations.CHAINED:
            names = ",".join(columns[table])
            sql = f"SELECT {names} FROM {table} WHERE link = ? ORDER BY id"  # noqa: S608 - our own names
            found = db.execute(sql, (seq,)).fetchall()
            if found:
                whole = [dict(zip(columns[table], row, strict=True)) for row in found]
                first[table] = whole[0]["id"]
                hashes[table] = [seals.row_hash(table, row) for row in whole]
        flat = [each for table in migrations.CHAINED for each in hashes.get(table, ())]
        link: chain.Row = {
            "seq": seq,
            "wall_ts": wall_ts,
            "rows": len(flat),
            "rows_sha256": seals.rows_hash(flat),
            "marks_json": chain.marks_json(first, hashes),
            "prev_hash": prev,
        }
        head = seals.link_hash(ledger_id, link)
        db.execute(
            "UPDATE audit_chain SET rows = ?, rows_sha256 = ?, marks_json = ?, prev_hash = ?, hash = ? WHERE seq = ?",
            (len(flat), link["rows_sha256"], link["marks_json"], prev, head, seq),
        )
        prev = head


# Whole ledgers.


@pytest.mark.untraced
def test_hundreds_of_cycles_with_trades_fallbacks_and_revisions_pass_every_check(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    grow(path, 240)
    checks = audited(path)
    assert [check for check in checks if not check.ok] == []
    assert [check.name for check in checks] == [name for name, _ in CHECKS]
    assert min(check.checked for check in checks) > 0


def test_daily_limits_that_bind_and_orders_that_are_refused_pass_every_check(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    grow(path, 300, max_orders_per_day=4, cooldown_secs=600, daily_loss_limit_usdt=Decimal(5))
    assert failed(path) == {}


def test_an_order_whose_answer_was_lost_passes_open_and_once_it_is_recovered(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    with scripted_desk(path) as desk:
        silent = replace(desk, exchange=Mute(desk.exchange))
        with desk.ledger.writing():
            while not cycle(silent).execution.order:
                pass
            cycle(silent)
    assert failed(path) == {}
    grow(path, 12)
    assert failed(path) == {}


def test_a_stop_and_its_end_pass(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    grow(path, 6)
    for to in ("REDUCE", "RUN"):
        with scripted_desk(path) as desk, desk.ledger.writing(), desk.ledger.transaction() as tx:
            desk.ledger.log_event(tx, "STATE", {"to": to, "reason": "a test"}, desk.clock.now())
        grow(path, 12)
    assert failed(path) == {}


def test_a_brake_of_the_law_and_the_resume_after_it_pass_and_a_resume_that_lies_about_equity_does_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "agent.db"
    grow(path, 60, daily_loss_limit_usdt=Decimal(100))
    assert rows(path, "SELECT json_extract(data_json, '$.by') FROM events WHERE kind = 'STATE'")[0] == ("law",)
    with scripted_desk(path) as desk, desk.ledger.writing(), desk.ledger.transaction() as tx:
        set_state(desk, tx, desk.ledger.trading_state()[0], TradingState.RUN, "a test")
    grow(path, 60, daily_loss_limit_usdt=Decimal(100))
    assert len(rows(path, "SELECT id FROM events WHERE kind = 'STATE'")) > 2
    assert failed(path) == {}
    with tampering(path) as db:
        db.execute(
            "UPDATE events SET data_json = json_set(data_json, '$.equity_usdt', '1') WHERE data_json LIKE '%a test%'"
        )
    assert any("the resume of link" in words for words in failed(path)["books"])


def test_decisions_of_the_laws_first_edition_are_held_against_it(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    with scripted_desk(path) as desk:
        first = replace(desk, limits=replace(desk.limits, edition=1, deposit_cap=Decimal(60_000)))
        assert len([one for one in loop(first, cycles=60) if isinstance(one, Cycle)]) == 60
    with reading(path) as ledger:
        (terms,) = [json.loads(one[0]) for one in ledger.db.execute("SELECT terms_json FROM terms")]
    written = set(terms["limits"])
    assert failed(path) == {}
    for name in ("edition", *(name for name in written if "streak" in name), "max_orders_per_hour"):
        terms["limits"].pop(name)
    _, _, limits = read_terms(json.dumps(terms))
    assert (limits.edition, limits.max_orders_per_hour, limits.streak_cooldown_ms) == (1, None, 0)


def test_an_empty_ledger_passes(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    Store.open_writer(path, wall).close()
    assert failed(path) == {}


def test_progress_names_each_check_in_order_and_is_never_ahead(path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    with reading(path) as ledger:
        verify(ledger, lambda done, of, name: told.append((done, of, name)))
    assert [name for done, of, name in told if "(" not in name or name.endswith("_check)")] == [n for n, _ in CHECKS]
    assert {of for _, of, _ in told} == {len(CHECKS)}
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)


def test_what_is_not_checked_is_said() -> None:
    assert any("wall clock" in words for words in NOT_CHECKED)
    assert any("cut off" in words for words in NOT_CHECKED)


# Ledgers that are broken in their form.


@pytest.mark.parametrize("table", ["candles", "prompts", "memory", "open_orders", "portfolio", "terms"])
def test_a_table_that_is_gone_fails_checks_and_raises_nothing(path: Path, table: str) -> None:
    with plain(path) as db:
        db.execute("PRAGMA foreign_keys=OFF")
        db.execute(f"DROP TABLE {table}")
    with reading(path) as ledger:
        said = {check.name: check.problems for check in verify(ledger) if not check.ok}
    assert any(f"{table} is missing" in words for words in said["tables and triggers"])


# One tampering each, sealed anew.


@dataclass(frozen=True)
class Forgery:
    """`target` names a row; `edit` changes it; `said` is how each failing check begins.

    No other may fail but memory's, which follows from decisions, calls and fills.
    """

    name: str
    target: str
    edit: str
    said: dict[str, str]


_PAID = "SELECT id FROM model_calls WHERE status = 'ok' AND attempt = 2"
_JUDGED = (
    "SELECT j.id, o.client_order_id AS key, o.id AS order_id FROM decisions AS j JOIN orders AS o "
    "ON o.verdict_id = j.id WHERE j.payload_json ->> '$.decision' = 'APPROVE' AND o.side = 'BUY'"
)

FORGERIES = [
    Forgery(
        "a candle",
        "SELECT id FROM candles ORDER BY id LIMIT 1",
        "UPDATE candles SET volume = '1' WHERE id = :id",
        {OBSERVATIONS: "observation 1: candles_sha256 is "},
    ),
    Forgery(
        "a feature",
        "SELECT id, features_json ->> '$.rsi' AS rsi FROM observations ORDER BY id DESC",
        "UPDATE observations SET features_json = json_set(features_json, '$.rsi', 12.5) WHERE id = :id",
        {FEATURES: "observation {id}: rsi is 12.5, its candles make it {rsi}"},
    ),
    Forgery(
        "how many bars were seen",
        "SELECT id, bars FROM observations ORDER BY id DESC",
        "UPDATE observations SET bars = 7 WHERE id = :id",
        {OBSERVATIONS: "observation {id}: bars is 7, the candles from "},
    ),
    Forgery(
        "how old the newest bar was",
        "SELECT id, age_ms FROM observations WHERE id = (SELECT max(observation_id) FROM decisions "
        "WHERE payload_json ->> '$.action' = 'HOLD')",
        "UPDATE observations SET age_ms = 17 WHERE id = :id",
        {OBSERVATIONS: "observation {id}: age_ms is 17, its candles make it {age_ms}"},
    ),
    Forgery(
        "what a proposal said",
        "SELECT id FROM decisions WHERE agent = 'TRADER' AND source = 'rules'",
        "UPDATE decisions SET payload_json = json_set(payload_json, '$.hypothesis', 'forged') WHERE id = :id",
        {REPLIES: "proposal {id}: hypothesis is 'forged', the reply says 'it is time to "},
    ),
    Forgery(
        "what a model replied",
        "SELECT d.id, c.id AS call FROM decisions AS d JOIN model_calls AS c ON c.id = d.model_call_id "
        "WHERE d.agent = 'PLANNER' AND d.source = 'rules'",
        "UPDATE model_calls SET reply = replace(reply, '0.25', '0.75') WHERE id = :call",
        {REPLIES: "plan {id}: explore_ratio is 0.25, the reply says 0.75"},
    ),
    Forgery(
        "a model's proposal that is called the law's",
        "SELECT id FROM decisions WHERE agent = 'TRADER' AND source = 'openai'",
        "UPDATE decisions SET source = 'law' WHERE id = :id",
        {REPLIES: "proposal {id}: source is law, though the reply can be used"},
    ),
    Forgery(
        "a fallback that is more than the safe answer",
        "SELECT id FROM decisions WHERE agent = 'TRADER' AND source = 'fallback'",
        "UPDATE decisions SET payload_json = json_set(payload_json, '$.confidence', 0.9) WHERE id = :id",
        {REPLIES: "proposal {id}: confidence is 0.9, the safe answer is 0.0"},
    ),
    Forgery(
        "what an answer cost",
        _PAID,
        "UPDATE model_calls SET cost_usd = '0.001' WHERE id = :id",
        {CALLS: "model call {id}: cost_usd is 0.001, its usage makes it 0.002025"},
    ),
    Forgery(
        "how many tokens an answer had",
        _PAID,
        "UPDATE model_calls SET output_tokens = 1 WHERE id = :id",
        {CALLS: "model call {id}: cost_usd is 0.002025, its usage makes it 0.001035"},
    ),
    Forgery(
        "a price",
        _PAID,
        "UPDATE model_calls SET price_json = json_set(price_json, '$.output', '0') WHERE id = :id",
        {CALLS: "model call {id}: cost_usd is 0.002025, its usage makes it 0.001025"},
    ),
    Forgery(
        "what a cost rests on",
        _PAID,
        "UPDATE model_calls SET cost_basis = 'a gift' WHERE id = :id",
        {CALLS: "model call {id}: cost_basis is 'a gift', needs one of "},
    ),
    Forgery(
        "a call without a reserve",
        _PAID,
        "UPDATE model_calls SET reserve_id = NULL WHERE id = :id",
        {CALLS: "model call {id}: status is ok, and nothing was held back for it"},
    ),
    Forgery(
        "a reserve for two calls",
        "SELECT c.id, b.reserve_id AS held FROM model_calls AS c JOIN model_calls AS b ON b.id = c.id - 1 "
        "WHERE c.status = 'ok' AND c.attempt = 2",
        "UPDATE model_calls SET reserve_id = :held WHERE id = :id",
        {CALLS: "model call {id}: reserve {held} was held back for another call too"},
    ),
    Forgery(
        "what was held back for a call that may have been billed",
        "SELECT c.id, c.reserve_id AS held FROM model_calls AS c WHERE c.cost_basis = 'worst case'",
        "UPDATE model_reserves SET amount_usd = '0.01' WHERE id = :held",
        {CALLS: "model call {id}: cost_usd is 0.02, its worst case makes it 0.01"},
    ),
    Forgery(
        "a reserve for another agent",
        "SELECT id, reserve_id AS held FROM model_calls WHERE agent = 'TRADER' AND status = 'ok' AND reserve_id > 0",
        "UPDATE model_reserves SET agent = 'JUDGE' WHERE id = :held",
        {CALLS: "model call {id}: reserve {held} is of another trace, agent or model"},
    ),
    Forgery(
        "an attempt that is not there",
        _PAID,
        "UPDATE model_calls SET attempt = 4 WHERE id = :id",
        {CALLS: "model call {id}: it is attempt 4 of round 0 after attempt 1 of round 0"},
    ),
    Forgery(
        "a price on what a model of this program said",
        "SELECT id FROM model_calls WHERE request_json IS NULL",
        "UPDATE model_calls SET cost_usd = '1' WHERE id = :id",
        {CALLS: "model call {id}: rules was asked over no network, and cost 1 (reserve None)"},
    ),
    Forgery(
        "a model's decision that is called the rules'",
        "SELECT d.id FROM decisions AS d WHERE d.source = 'openai' AND d.agent = 'PLANNER'",
        "UPDATE decisions SET source = 'rules' WHERE id = :id",
        {CALLS: "decision {id}: source is rules, its model gpt-5 was of the other kind"},
    ),
    Forgery(
        "an answer that is called free",
        _PAID,
        "UPDATE model_calls SET cost_usd = '0', cost_basis = 'not billed' WHERE id = :id",
        {CALLS: "model call {id}: status is ok, so it was billed"},
    ),
    Forgery(
        "an answer without a cost",
        _PAID,
        "UPDATE model_calls SET cost_usd = '0', cost_basis = NULL WHERE id = :id",
        {CALLS: "model call {id}: cost_basis is None, and something was held back for it"},
    ),
    Forgery(
        "what a tool gave, as nothing",
        "SELECT id, id + 1 AS next FROM model_calls WHERE tools_json IS NOT NULL",
        "UPDATE model_calls SET tools_json = json_set(tools_json, '$[0].output', NULL) WHERE id = :id",
        {CALLS: "model call {next}: it is in round 1, though"},
    ),
    Forgery(
        "what a tool gave",
        "SELECT id FROM model_calls WHERE tools_json IS NOT NULL",
        "UPDATE model_calls SET tools_json = json_set(tools_json, '$[0].output', '[]') WHERE id = :id",
        {CALLS: "model call {id}: get_ohlcv got another answer than the stored candles give"},
    ),
    Forgery(
        "a round after an answer that called nothing",
        "SELECT id, id + 1 AS next FROM model_calls WHERE tools_json IS NOT NULL",
        "UPDATE model_calls SET tools_json = NULL WHERE id = :id",
        {CALLS: "model call {next}: it is in round 1, though the answer before it looked nothing up"},
    ),
    Forgery(
        "a verdict's words",
        _JUDGED,
        "UPDATE decisions SET payload_json = json_set(payload_json, '$.notes', 'forged') WHERE id = :id",
        {VERDICTS: "verdict {id}: notes is 'forged', the law and the judge make it 'as proposed'"},
    ),
    Forgery(
        "what the law allowed",
        _JUDGED,
        "UPDATE decisions SET law_json = json_set(law_json, '$.allowed', '7') WHERE id = :id",
        {VERDICTS: "verdict {id}: the law's allowed is 7, it makes it "},
    ),
    Forgery(
        "a rule of the law",
        _JUDGED,
        "UPDATE decisions SET law_json = json_set(law_json, '$.rules[10].value', '99 so far') WHERE id = :id",
        {VERDICTS: "verdict {id}: rule orders_per_day is ok 99 so far (limit at most 1000)"},
    ),
    Forgery(
        "a state that was milder than the one kept",
        _JUDGED,
        "UPDATE decisions SET law_json = json_set(law_json, '$.rules[1].value', 'WALK') WHERE id = :id",
        {VERDICTS: "verdict {id}: the state is 'WALK', needs one of RUN, REDUCE, HALT"},
    ),
    Forgery(
        "the law's word on an order",
        _JUDGED,
        "UPDATE orders SET law_json = json_set(law_json, '$.rules[12].value', '9 s') WHERE id = :order_id",
        {ORDERS: "order {key}: rule cooldown: value is 9 s, the ledger makes it "},
    ),
    Forgery(
        "what an order reserved",
        "SELECT id AS order_id, client_order_id AS key FROM orders WHERE side = 'SELL'",
        "UPDATE orders SET reserved_quote = '5' WHERE id = :order_id",
        {ORDERS: "order {key}: reserved_quote is 5, "},
    ),
    Forgery(
        "a prompt",
        "SELECT id FROM prompts",
        "UPDATE prompts SET prompt = 'Buy.' WHERE id = :id",
        {HASHES: "prompt {id}: sha256 is "},
    ),
    Forgery(
        "terms that nobody agreed to, of the same meaning",
        "SELECT id FROM terms",
        "UPDATE terms SET terms_json = terms_json || ' ' WHERE id = :id",
        {HASHES: "terms {id}: sha256 is "},
    ),
    Forgery(
        "an answer of another cycle",
        "SELECT d.id, d.model_call_id AS call, e.model_call_id AS other FROM decisions AS d JOIN decisions AS e "
        "WHERE d.agent = 'PLANNER' AND e.agent = 'PLANNER' AND e.id > d.id AND d.source = e.source "
        "AND d.payload_json = e.payload_json AND d.model_call_id IS NOT NULL",
        "UPDATE decisions SET model_call_id = :other WHERE id = :id",
        {HASHES: "decision {id} (PLANNER) stands on answer {other}, "},
    ),
    Forgery(
        "an attempt of the rules that was never made",
        "SELECT id, id + 1 AS next FROM model_calls WHERE id = (SELECT max(id) FROM model_calls)",
        "INSERT INTO model_calls (ts_utc, trace_id, agent, model, prompt_sha256, facts_json, max_output_tokens, "
        "status, input_tokens, cached_tokens, output_tokens, reasoning_tokens, cost_usd, latency_ms, attempt, wall_ts, "
        "link) SELECT ts_utc, trace_id, agent, model, prompt_sha256, facts_json, max_output_tokens, 'timeout', "
        "0, 0, 0, 0, '0', 0, 2, wall_ts, link FROM model_calls WHERE id = :id",
        {CALLS: "model call {next}: attempt 2 of round 0 of "},
    ),
    Forgery(
        "the terms of a later link",
        "SELECT t.id AS terms, min(d.id) AS id FROM terms AS t JOIN decisions AS d ON d.terms_sha256 = t.sha256 "
        "GROUP BY t.id",
        "UPDATE terms SET link = (SELECT max(seq) FROM audit_chain) WHERE id = :terms",
        {HASHES: "decisions {id} stands on terms {terms}, which were written after it"},
    ),
    Forgery(
        "a row taken out of the middle",
        "SELECT id, id + 1 AS next FROM portfolio WHERE id = 7",
        "DELETE FROM portfolio WHERE id = :id",
        {TIMES: "portfolio {id} is not there, {next} comes next"},
    ),
    Forgery(
        "a time in another zone",
        "SELECT id FROM memory",
        "UPDATE memory SET ts_utc = '2026-01-01T12:00:00+02:00' WHERE id = :id",
        {
            TIMES: "memory {id}: ts_utc is '2026-01-01T12:00:00+02:00', needs a time like ",
            MEMORY: "memory {id}: ts_utc is …2026-01-01T12:00:00+02:00, the sale ",
        },
    ),
    Forgery(
        "an outcome that was better than it was",
        "SELECT id FROM memory",
        "UPDATE memory SET value_json = json_set(value_json, '$.experiment.net_bp', 99.5) WHERE id = :id",
        {MEMORY: "memory {id}: value_json is …"},
    ),
    Forgery(
        "evidence that was never gathered",
        "SELECT id FROM memory",
        "UPDATE memory SET value_json = json_set(value_json, '$.after.n', 99.5) WHERE id = :id",
        {MEMORY: "memory {id}: value_json is …"},
    ),
    Forgery(
        "an outcome of another policy",
        "SELECT id FROM memory",
        "UPDATE memory SET key = 'breakout/trend-up' WHERE id = :id",
        {MEMORY: "memory {id}: key is …breakout/trend-up, the sale "},
    ),
    Forgery(
        "an outcome that was taken away",
        "SELECT max(id) AS id, json_extract(value_json, '$.experiment.closed_by') AS sale FROM memory",
        "DELETE FROM memory WHERE id = :id",
        {TABLES: "memory ends at ", MEMORY: "the sale {sale} of what "},
    ),
    Forgery(
        "an outcome of no sale",
        "SELECT max(id) AS id, max(id) + 1 AS next FROM memory",
        "INSERT INTO memory (ts_utc, key, value_json, wall_ts, link) SELECT ts_utc, key, value_json, wall_ts, link "
        "FROM memory WHERE id = :id",
        {MEMORY: "memory {next} ("},
    ),
]


@pytest.mark.parametrize("forgery", FORGERIES, ids=[forgery.name for forgery in FORGERIES])
def test_a_forgery_that_is_sealed_anew_is_found_by_its_check_and_by_no_other(path: Path, forgery: Forgery) -> None:
    with tampering(path) as db:
        db.row_factory = sqlite3.Row
        values = dict(db.execute(forgery.target).fetchone())
        db.execute(forgery.edit, values)
        seal_anew(db)
    said = failed(path)
    assert set(said) - {MEMORY} == set(forgery.said) - {MEMORY}, said
    for name, words in forgery.said.items():
        assert said[name][0].startswith(words.format(**values)), said[name]


def test_a_link_without_rows_is_named(path: Path) -> None:
    with tampering(path) as db:
        (link,) = db.execute("SELECT max(link) FROM portfolio").fetchone()
        for table in migrations.CHAINED:
            db.execute(f"UPDATE {table} SET link = link - 1 WHERE link = ?", (link,))  # noqa: S608 - our own names
        seal_anew(db)
    assert failed(path)[TIMES] == (f"link {link} seals no row",)


def test_a_cap_that_an_order_broke_is_named_with_its_order(path: Path) -> None:
    key, sha256 = one(
        path,
        "SELECT o.client_order_id, j.terms_sha256 FROM orders AS o JOIN decisions AS j ON j.id = o.verdict_id "
        "WHERE o.side = 'BUY' ORDER BY o.id LIMIT 1 OFFSET 1",
    )
    with tampering(path) as db:
        (words,) = db.execute("SELECT terms_json FROM terms WHERE sha256 = ?", (sha256,)).fetchone()
        terms: dict[str, Any] = json.loads(words)
        terms["limits"]["max_orders_per_day"] = 1
        words = json.dumps(terms, separators=(",", ":"))
        db.execute("UPDATE terms SET terms_json = ?, sha256 = ?", (words, seals.text_sha256(words)))
        db.execute("UPDATE decisions SET terms_sha256 = ?", (seals.text_sha256(words),))
        db.execute("UPDATE orders SET terms_sha256 = ?", (seals.text_sha256(words),))
        db.execute("UPDATE portfolio SET terms_sha256 = ?", (seals.text_sha256(words),))
        seal_anew(db)
    said = failed(path)
    assert set(said) == {VERDICTS, ORDERS}
    assert (
        said[ORDERS][0] == f"order {key}: orders_per_day was not kept: 1 so far, the limit of its verdict is at most 1"
    )


def test_a_sale_of_more_than_was_held_is_named_by_its_fill_and_order(path: Path) -> None:
    row_id, trade, key = one(
        path,
        "SELECT f.id, f.trade_id, f.client_order_id FROM fills AS f JOIN orders USING (client_order_id) "
        "WHERE side = 'SELL'",
    )
    with tampering(path) as db:
        db.execute("UPDATE fills SET qty = '100000' WHERE id = ?", (row_id,))
        seal_anew(db)
    assert failed(path)[LOTS][0].startswith(f"fill {trade} of order {key}: 100000 sold, ")


def test_a_sale_that_is_called_recovered_is_found(path: Path) -> None:
    """Without decisions there is no law to hold it against; but only a look through an account finds such an order."""
    with tampering(path) as db:
        (key,) = db.execute("SELECT client_order_id FROM orders WHERE side = 'SELL' ORDER BY id LIMIT 1").fetchone()
        db.execute(
            "UPDATE orders SET origin = 'recovered', proposal_id = NULL, verdict_id = NULL, trace_id = NULL, "
            "law_json = NULL, terms_sha256 = NULL WHERE client_order_id = ?",
            (key,),
        )
        db.execute("UPDATE trades SET trace_id = NULL, proposal_id = NULL WHERE idempotency_key = ?", (key,))
        seal_anew(db)
    words = f"order {key}: origin is recovered, though no look through the account's orders found it"
    assert any(words in problems for problems in failed(path).values())


def test_when_an_operators_plan_wakes_is_held_against_its_words() -> None:
    scene = desk()
    scene.traded()
    scene.stop.halt("enough")
    flatten(scene.desk, "enough")
    assert list(echoes(scene.ledger, Count())) == []
    scene.ledger.db.execute("DROP TRIGGER decisions_no_update")
    scene.ledger.db.execute(
        "UPDATE decisions SET wake_at = '2030-01-01T00:00:00.000Z' WHERE source = 'operator' AND agent = 'PLANNER'"
    )
    found = list(echoes(scene.ledger, Count()))
    assert any("wake_at is 2030" in words for words in found), found
