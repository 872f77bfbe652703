"""Replay: every decision comes out the same from the ledger alone, and what was changed is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ledgers import grow, ledger_at, reading, tampering, wall
from tests.tools.test_migrations import with_steps
from trader_cli.core.errors import LedgerError, NotFoundError
from trader_cli.phases.replay import replay
from trader_cli.schemas.question import Agent
from trader_cli.schemas.replay import Replay
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.rehearsal import rehearse


def rewind(path: Path) -> Callable[[int], Ledger]:
    return lambda link: rehearse(path, wall, link)


def replays(path: Path) -> list[Replay]:
    """Every step of every trace."""
    with reading(path) as ledger:
        traces = [row[0] for row in ledger.db.execute("SELECT DISTINCT trace_id FROM decisions ORDER BY id")]
        return [replay(ledger, trace, agent, rewind(path)) for trace in traces for agent in Agent]


def test_every_decision_of_a_busy_ledger_comes_out_the_same(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    before = path.read_bytes()
    done = replays(path)
    assert {one.differences for one in done} == {()}
    assert {one.decision.source for one in done} >= {"openai", "rules", "fallback", "law"}
    assert all(one.again == one.decision.payload.payload() for one in done)
    assert path.read_bytes() == before


def test_a_stop_a_hold_and_an_unsettled_order_come_out_the_same(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    grow(path, 3)
    (tmp_path / "STOP").write_text("a look around", encoding="utf-8")
    grow(path, 2)
    (tmp_path / "STOP").unlink()
    grow(path, 2, trading="reduce")
    done = replays(path)
    assert {one.differences for one in done} == {()}
    assert any("a look around" in (one.decision.cause or "") for one in done)


REPLY = "UPDATE model_calls SET reply = {} WHERE id = :call"
FACTS = "UPDATE model_calls SET facts_json = json_set(facts_json, '$.price', '1') WHERE id = :call"
LAW = "UPDATE decisions SET law_json = json_set(law_json, '$.price', '1') WHERE id = :id"
PAYLOAD = "UPDATE decisions SET payload_json = json_set(payload_json, '$.confidence', 0.75) WHERE id = :id"


@pytest.mark.parametrize(
    ("agent", "sql", "said"),
    [
        (Agent.PLANNER, REPLY.format("replace(reply, '0.25', '0.75')"), "explore_ratio is 0.75, it was 0.25"),
        (Agent.PLANNER, FACTS, "the fact price is"),
        (Agent.PLANNER, "UPDATE model_calls SET prompt_sha256 = 'an older version' WHERE id = :call", "an older ver"),
        (Agent.TRADER, REPLY.format("'no'"), "source is 'fallback', it was 'rules'"),
        (Agent.TRADER, PAYLOAD, "confidence is 0.625, it was 0.75"),
        (Agent.TRADER, "UPDATE portfolio SET balance_usdt = '5'", "the fact room is"),
        (Agent.JUDGE, LAW, "the law says something else"),
    ],
)  # fmt: skip
def test_what_was_changed_is_named(agent: Agent, sql: str, said: str, tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    with reading(path) as ledger:
        trace, row_id, call = ledger.db.execute(
            "SELECT trace_id, id, model_call_id FROM decisions WHERE agent = ? AND source = 'rules' "
            "AND model_call_id IS NOT NULL ORDER BY id DESC LIMIT 1",
            (agent.value,),
        ).fetchone()
    with tampering(path) as db:
        db.execute("PRAGMA foreign_keys=OFF")
        db.execute(sql, {key: value for key, value in (("call", call), ("id", row_id)) if f":{key}" in sql})
    with reading(path) as ledger:
        differences = replay(ledger, trace, agent, rewind(path)).differences
    assert any(said in one for one in differences), differences


def test_a_step_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    with reading(path) as ledger, pytest.raises(NotFoundError, match="has no PLANNER step"):
        replay(ledger, "f" * 32, Agent.PLANNER, rewind(path))


def test_a_ledger_of_an_older_schema_is_to_be_migrated_first(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    with with_steps(2):
        grow(path, 2)
    with reading(path) as ledger:
        trace = ledger.db.execute("SELECT trace_id FROM decisions LIMIT 1").fetchone()[0]
        with pytest.raises(LedgerError, match="a replay needs a ledger of this program's schema"):
            replay(ledger, trace, Agent.PLANNER, rewind(path))
