"""Replay: every step comes out the same from the ledger alone, and what was changed is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ledgers import grow, ledger_at, reading, tampering, wall
from tests.tools.test_migrations import with_steps
from trader_cli.core.errors import LedgerError
from trader_cli.phases.desk import standing
from trader_cli.phases.replay import first_difference, replay
from trader_cli.schemas.replay import Replay, Step
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.past import Past
from trader_cli.tools.rehearsal import rehearse
from trader_cli.tools.replays import ground, steps_between, steps_of, timeframe_of


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
        "decision is 'REJECT', it was 'APPROVE'",
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


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ({"a": 1}, {"a": 1}, None),
        ({"a": 1}, {"a": 2}, ".a is 2, it was 1"),
        ({"a": 1}, {"a": 1.0}, ".a is 1.0, it was 1"),
        ({"a": [1, {"b": "x"}]}, {"a": [1, {"b": "y"}]}, ".a[1].b is y, it was x"),
        ([1], [1, 2], "is [1,2], it was [1]"),
        ({"a": 1}, {"a": 1, "b": None}, None),
        (None, {"a": 1}, 'is {"a":1}, it was null'),
        ("x" * 200, "y", f"is y, it was {'x' * 79}…"),
    ],
)
def test_the_first_difference_is_told_with_its_place(was: object, now: object, said: str | None) -> None:
    assert first_difference(was, now) == said
