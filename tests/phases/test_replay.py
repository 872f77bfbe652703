"""Replay: every step comes out the same from the ledger alone, and what was changed is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from tests.desks import desk
from tests.fakes import FIVE, proposal_words
from tests.ledgers import grow, ledger_at, reading, rows, tampering, wall
from tests.tools.test_migrations import with_steps
from trader_cli.core.errors import LedgerError
from trader_cli.phases.desk import standing
from trader_cli.phases.execute import execute
from trader_cli.phases.replay import first_difference, replay
from trader_cli.phases.snapshot import snapshot
from trader_cli.schemas.replay import Replay, Step
from trader_cli.tools.calls import prompt_sha256
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.past import Past
from trader_cli.tools.rehearsal import rehearse
from trader_cli.tools.replays import ground, steps_between, steps_of, timeframe_of

D = Decimal


def rewind(path: Path) -> Callable[[int], Ledger]:
    return lambda link: rehearse(path, wall, link)


def replays(path: Path) -> list[Replay]:
    """Every step there is, in one walk."""
    with reading(path) as ledger:
        return list(replay(ledger, steps_between(ledger, 0, None), rewind(path)))


def differences(path: Path) -> list[str]:
    """Each step that differs, with all that it says."""
    return [f"{one.step} {one.row[1]}: {words}" for one in replays(path) for words in one.differences]


def test_every_step_of_a_busy_ledger_comes_out_the_same(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    before = path.read_bytes()
    done = replays(path)
    assert [one for one in done if one.differences] == []
    counts = Counter(one.step for one in done)
    assert counts[Step.PLAN] == counts[Step.PROPOSE] == counts[Step.JUDGE] == counts[Step.SNAPSHOT] > 20
    assert counts[Step.EXECUTE] > 5
    assert {one.source for one in done} >= {"openai", "rules", "fallback", "law"}
    assert all(one.again == one.recorded for one in done if one.step is not Step.SNAPSHOT)
    assert path.read_bytes() == before


def test_one_trace_alone_comes_out_as_it_does_in_the_walk(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    walked: dict[str | None, list[Replay]] = {}
    for one in replays(path):
        walked.setdefault(one.trace_id, []).append(one)
    with reading(path) as ledger:
        for trace, steps in walked.items():
            assert list(replay(ledger, steps_of(ledger, str(trace)), rewind(path))) == steps


def test_a_past_that_moved_on_is_the_past_that_was_cut_there(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    with reading(path) as ledger:
        steps = [step for step in steps_between(ledger, 0, None) if step.table == "decisions"]
        past = Past(ledger, rewind(path), steps[0].link)
        for step in steps:
            decision = ledger.decision(step.row_id)[1]
            on = ground(ledger, decision)
            seen = ledger.observation(decision.observation_id, timeframe_of(ledger))
            cut = rehearse(path, wall, step.link)
            moved = past.move_to(step.link)
            assert standing(moved, seen, decision.at, on.terms, on.state) == standing(
                cut, seen, decision.at, on.terms, on.state
            )
            assert moved.last_snapshot() == cut.last_snapshot()
            cut.close()
        with pytest.raises(ValueError, match="the past moves on"):
            past.move_to(steps[0].link)
        past.close()


def test_a_stop_a_hold_and_an_unsettled_order_come_out_the_same(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    grow(path, 3)
    (tmp_path / "STOP").write_text("a look around", encoding="utf-8")
    grow(path, 2)
    (tmp_path / "STOP").unlink()
    grow(path, 2, trading="reduce")
    done = replays(path)
    assert [one for one in done if one.differences] == []
    assert any("a look around" in str(one.recorded) for one in done if one.step is Step.PROPOSE)


CHANGES = {
    "a reply": ("UPDATE model_calls SET reply = replace(reply, '0.25', '0.75') WHERE agent = 'PLANNER'", "explore_rat"),
    "a reply that says nothing": ("UPDATE model_calls SET reply = 'no' WHERE agent = 'TRADER'", "source is 'fallback'"),
    "a fact": ("UPDATE model_calls SET facts_json = json_set(facts_json, '$.price', '1')", "the fact price is"),
    "a prompt": ("UPDATE model_calls SET prompt_sha256 = 'an older version'", "an older ver"),
    "a payload": (
        "UPDATE decisions SET payload_json = json_set(payload_json, '$.confidence', 0.75) WHERE agent = 'TRADER'",
        "confidence is 0.625, it was 0.75",
    ),
    "a payload's spelling": (
        "UPDATE decisions SET payload_json = replace(payload_json, '\":', '\" :') WHERE agent = 'TRADER'",
        "not the same to the letter",
    ),
    "a verdict": (
        "UPDATE decisions SET payload_json = json_set(payload_json, '$.decision', 'APPROVE') WHERE agent = 'JUDGE' "
        "AND payload_json LIKE '%REJECT%'",
        "decision is REJECT, it was APPROVE",
    ),
    "the law's word": ("UPDATE decisions SET law_json = json_set(law_json, '$.price', '1')", "the law says something"),
    "a balance": ("UPDATE portfolio SET balance_usdt = '5'", "balance_usdt is"),
    "an equity": ("UPDATE portfolio SET equity_usdt = '5'", "equity_usdt is"),
    "a candle": ("UPDATE candles SET close = '1' WHERE id = (SELECT max(id) - 3 FROM candles)", "the candles of obs"),
    "a feature": ("UPDATE observations SET features_json = json_set(features_json, '$.rsi', 1.5)", "the features of"),
    "a quantity filled": ("UPDATE fills SET qty = '0.00001' WHERE id = 1", "trade.qty is"),
    "a fee": ("UPDATE fills SET fee = '0.5' WHERE id = 1", "trade.fee is"),
    "a trade": ("UPDATE trades SET price = '1' WHERE id = 1", "trade.price is"),
    "an order": ("UPDATE orders SET qty = '0.9' WHERE id = 1", "qty is"),
    "an order's limit": ("UPDATE orders SET reserved_quote = '0.9' WHERE id = 1", "reserved_quote is"),
    "an order's law": ("UPDATE orders SET law_json = json_set(law_json, '$.rules[3].value', '1')", ".rules[3].val"),
    "an outcome": ("UPDATE memory SET value_json = json_set(value_json, '$.experiment.net_bp', 99.5)", "memory[0].exp"),
    "a belief": ("UPDATE memory SET value_json = json_set(value_json, '$.after.n', 99.5)", "memory[0].after.n is"),
    "an outcome that is gone": ("DELETE FROM memory WHERE id = 2", "memory is"),
    "a name that is gone": (
        "UPDATE decisions SET payload_json = json_remove(payload_json, '$.revised_qty') WHERE agent = 'JUDGE'",
        ", it was not there",
    ),
    "a wake-up": ("UPDATE decisions SET wake_at = ts_utc WHERE agent = 'PLANNER'", "wake_at is"),
    "an order's origin": ("UPDATE orders SET origin = 'recovered' WHERE id = 1", "origin is verdict, it was recov"),
    "an order's law that is gone": ("UPDATE orders SET law_json = NULL WHERE id = 1", "the law's word on it is not"),
    "an observation that is gone": ("DELETE FROM observations WHERE id = 3", "is gone or cannot be read"),
    "a proposal that is gone": ("DELETE FROM decisions WHERE id = 2", "is gone or cannot be read"),
    "a reply that is no text": ("UPDATE observations SET features_json = '[]' WHERE id = 2", "cannot be read"),
    "the trace a snapshot ends": ("UPDATE portfolio SET trace_id = NULL WHERE id = 9", "trace_id is"),
    "a snapshot's terms": ("UPDATE portfolio SET terms_sha256 = NULL WHERE id = 9", "its terms are gone"),
    "how long an answer might be": ("UPDATE model_calls SET max_output_tokens = 9 WHERE agent = 'JUDGE'", "it was 9"),
    "terms that are gone": ("DELETE FROM terms", "has no terms in this ledger"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_is_named(change: str, tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    sql, said = CHANGES[change]
    with tampering(path) as db:
        db.execute("PRAGMA foreign_keys=OFF")
        assert db.execute(sql).rowcount > 0
    found = differences(path)
    assert any(said in one for one in found), found[:8]


def test_rows_that_are_gone_cost_their_own_steps_and_no_other(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    with tampering(path) as db:
        db.execute("PRAGMA foreign_keys=OFF")
        row_id, trace_id = db.execute(
            "SELECT id, trace_id FROM decisions WHERE agent = 'TRADER' "
            "AND trace_id NOT IN (SELECT trace_id FROM orders) ORDER BY id LIMIT 1 OFFSET 2"
        ).fetchone()
        db.execute("DELETE FROM decisions WHERE id = ?", (row_id,))
    done = replays(path)
    assert len(done) > 60
    assert {one.trace_id for one in done if one.differences} == {trace_id}


@pytest.fixture
def refused(tmp_path: Path) -> Path:
    """A ledger whose law refused at the last moment what its verdict had let through; another order was sent."""
    path = tmp_path / "agent.db"
    with desk(path) as scene:
        scene.model.source = "rules"
        decided = scene.judged()
        scene.exchange.price = D(51_000)
        assert execute(scene.desk, *decided).order is None
        snapshot(scene.desk)
        scene.clock.advance(FIVE)
        assert scene.traded().execution.order is not None
    assert differences(path) == []
    return path


def test_a_refusal_with_another_reason_is_found(refused: Path) -> None:
    with tampering(refused) as db:
        db.execute("UPDATE events SET data_json = json_set(data_json, '$.reason', 'x') WHERE kind = 'NOT_SENT'")
    (words,) = differences(refused)
    assert words.startswith("execute ")
    assert "reason is drift: 51000, needs within 0.5 %" in words, words
    assert words.endswith("it was x")


@pytest.mark.parametrize("content", ["json_remove(data_json, '$.law')", "json_object('reason', 'x')"])
def test_a_refusal_that_lost_the_laws_word_is_found(refused: Path, content: str) -> None:
    with tampering(refused) as db:
        db.execute(
            "UPDATE events SET link = (SELECT max(link) + 1 FROM orders) WHERE kind = 'NOT_SENT'"
        )  # behind a row of this program
        db.execute(f"UPDATE events SET data_json = {content} WHERE kind = 'NOT_SENT'")  # noqa: S608 - our own words
    assert any("the law's word on it is not in the ledger" in words for words in differences(refused))


def test_an_order_that_the_law_did_not_let_through_is_found_though_its_words_agree(refused: Path) -> None:
    """The forger made the order out of the refusal, so that the law's word on it is the law's."""
    with tampering(refused) as db:
        db.execute("UPDATE orders SET id = 2")
        db.execute(
            "INSERT INTO orders (id, ts_utc, wall_ts, link, client_order_id, proposal_id, verdict_id, origin, "
            "trace_id, symbol, side, qty, worst_price, reserved_quote, recv_window_ms, law_json, terms_sha256) "
            "SELECT 1, e.ts_utc, e.wall_ts, e.link, 't1-forged', d.proposal_id, d.id, 'verdict', d.trace_id, "
            "'BTC/USDT', 'BUY', '0.001', '1', '1', 5000, e.data_json ->> '$.law', e.data_json ->> '$.terms_sha256' "
            "FROM events AS e JOIN decisions AS d ON d.id = e.data_json ->> '$.verdict_id' WHERE e.kind = 'NOT_SENT'"
        )
        db.execute("UPDATE order_events SET id = id + 1 WHERE id = 2")
        db.execute("UPDATE order_events SET id = id + 1 WHERE id = 1")
        db.execute(
            "INSERT INTO order_events (id, ts_utc, wall_ts, link, client_order_id, state, evidence_json) "
            "SELECT 1, ts_utc, wall_ts, link, client_order_id, 'INTENT', '{}' FROM orders WHERE id = 1"
        )
        db.execute("DELETE FROM events WHERE kind = 'NOT_SENT'")
    found = differences(refused)
    assert any("it was sent, though of 0.001 the law allows 0" in words for words in found), found


def test_an_order_that_was_made_a_refusal_is_found_though_the_laws_words_agree(refused: Path) -> None:
    with tampering(refused) as db:
        db.execute("PRAGMA foreign_keys=OFF")
        db.execute(
            "INSERT INTO events (ts_utc, wall_ts, link, kind, trace_id, data_json) SELECT ts_utc, wall_ts, link, "
            "'NOT_SENT', trace_id, json_object('verdict_id', verdict_id, 'reason', 'the law', 'law', json(law_json), "
            "'terms_sha256', terms_sha256) FROM orders"
        )
        db.execute("DELETE FROM orders")
    found = differences(refused)
    assert any("it was not sent, though of 0.001 the law allows 0.001" in words for words in found), found


@pytest.mark.parametrize("by_itself", [False, True])
@pytest.mark.parametrize(("first", "then"), [(20, 1), (1, 20)])
def test_a_snapshot_stands_on_the_limits_it_was_taken_under(
    tmp_path: Path, by_itself: bool, first: int, then: int
) -> None:
    """Whether the law stopped trading is worked out with the limits of the snapshot, not of the last decision."""
    path = tmp_path / "agent.db"
    turns = "SELECT count(*) FROM events WHERE kind = 'STATE'"
    with desk(path) as scene:
        scene.model.source = "rules"
        scene.traded(proposal_words(qty="0.005"))
        scene.limit(max_drawdown_pct=D(first))
        scene.exchange.price = D(47_000)
        if by_itself:
            scene.traded(proposal_words(action="HOLD", qty="0"))
            was = scene.one(turns)
            scene.limit(max_drawdown_pct=D(then))
            scene.exchange.price = D(46_000)
            snapshot(scene.desk)
            assert scene.one(turns) - was == (then < first)
        else:
            scene.judged(proposal_words(action="HOLD", qty="0"))
            scene.limit(max_drawdown_pct=D(then))
            snapshot(scene.desk)
            assert scene.one(turns) == (then < first)
    assert differences(path) == []
    for column in ("ts_utc", "trace_id"):
        other = tmp_path / f"{column}.db"
        other.write_bytes(path.read_bytes())
        with tampering(other) as db:
            moved = db.execute(f"UPDATE events SET {column} = '2026-01-01T00:00:00.000Z' WHERE kind = 'STATE'")  # noqa: S608
        assert bool(differences(other)) is bool(moved.rowcount)
    with tampering(path) as db:
        forged = db.execute(
            "UPDATE events SET kind = 'NOTE' WHERE kind = 'STATE' AND id = (SELECT max(id) FROM events)"
        )
        wrong = forged.rowcount
    assert bool(differences(path)) is bool(wrong)


def test_a_cycle_that_was_asked_in_other_words_is_replayed_from_its_answers(tmp_path: Path) -> None:
    """A program that words a prompt otherwise finds no difference in what an older one decided, and says so."""
    path = ledger_at(tmp_path / "agent.db")
    with tampering(path) as db:
        db.execute("PRAGMA foreign_keys=OFF")
        for sha256, prompt, schema, tools in db.execute("SELECT sha256, prompt, schema_json, tools_json FROM prompts"):
            then = f"{prompt}\nBe brief."
            name = prompt_sha256(then, schema, tools)
            db.execute("UPDATE prompts SET sha256 = ?, prompt = ? WHERE sha256 = ?", (name, then, sha256))
            db.execute("UPDATE model_calls SET prompt_sha256 = ? WHERE prompt_sha256 = ?", (name, sha256))
    done = replays(path)
    assert [one.differences for one in done if one.differences] == []
    noted = [one for one in done if one.notes]
    assert len(noted) >= 60
    assert all(one.answers and one.notes[0].startswith("another prompt of the ") for one in noted)
    with tampering(path) as db:
        db.execute("UPDATE model_calls SET reply = replace(reply, '0.25', '0.75') WHERE agent = 'PLANNER'")
        db.execute(
            "UPDATE prompts SET prompt = prompt || '!' WHERE sha256 IN (SELECT prompt_sha256 FROM model_calls "
            "WHERE agent = 'JUDGE')"
        )
    found = differences(path)
    assert any("explore_ratio is 0.75" in words for words in found)
    assert any(words.startswith("judge ") and "are gone or were changed" in words for words in found)


def test_only_what_stands_on_a_change_differs(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    with tampering(path) as db:
        (row_id,) = db.execute("SELECT max(id) FROM decisions WHERE agent = 'TRADER' AND source = 'rules'").fetchone()
        db.execute(
            "UPDATE decisions SET payload_json = json_set(payload_json, '$.hypothesis', 'x') WHERE id = ?", (row_id,)
        )
    assert [one.split(":")[0] for one in differences(path)] == [f"propose {row_id}"]


def test_a_trace_that_is_not_there_has_no_steps(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    with reading(path) as ledger:
        assert list(replay(ledger, steps_of(ledger, "f" * 32), rewind(path))) == []


def test_a_ledger_of_an_older_schema_is_to_be_migrated_first(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    with with_steps(2):
        grow(path, 2)
    with reading(path) as ledger, pytest.raises(LedgerError, match="a replay needs a ledger of this program's schema"):
        list(replay(ledger, steps_between(ledger, 0, None), rewind(path)))


def test_snapshots_of_the_program_before_are_replayed_but_for_the_laws_turns(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    with with_steps(5):
        grow(path, 20)
    grow(path, 10)
    assert rows(path, "SELECT count(*), count(terms_sha256) FROM portfolio") == [(30, 10)]
    assert differences(path) == []
    with tampering(path) as db:
        db.execute("UPDATE portfolio SET equity_usdt = '5' WHERE id = 3")
    assert [words.partition(" is ")[0] for words in differences(path)][:1] == ["snapshot 3: equity_usdt"]


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ({"a": 1}, {"a": 1}, None),
        ({"a": 1}, {"a": 2}, ".a is 2, it was 1"),
        ({"a": 1}, {"a": 1.0}, ".a is 1.0, it was 1"),
        ({"a": [1, {"b": "x"}]}, {"a": [1, {"b": "y"}]}, ".a[1].b is y, it was x"),
        ([1], [1, 2], "is [1,2], it was [1]"),
        ({"a": 1}, {"a": 1, "b": None}, ".b is null, it was not there"),
        ({"a": None}, {}, ".a is not there, it was null"),
        (None, {"a": 1}, 'is {"a":1}, it was null'),
        ("x" * 200, "y", f"is y, it was {'x' * 79}…"),
    ],
)
def test_the_first_difference_is_told_with_its_place(was: object, now: object, said: str | None) -> None:
    assert first_difference(was, now) == said
