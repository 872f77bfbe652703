"""What the screens read: every filter against a reckoning by hand, and every statement by its plan."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice, product
from pathlib import Path

import pytest

from tests.ledgers import ledger_at, reading
from trader_cli.core.errors import NotFoundError
from trader_cli.core.moments import iso, parse_iso
from trader_cli.phases.cycle import due_at
from trader_cli.schemas.question import Agent
from trader_cli.tools import queries
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.queries import Filter

Look = Callable[[Ledger], object]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """The grown ledger: trades, fallbacks, orders that were refused."""
    with reading(ledger_at(tmp_path / "agent.db")) as opened:
        yield opened


def times(ledger: Ledger) -> list[int]:
    """When each cycle was, newest first."""
    return [parse_iso(row["ts_utc"]) for row in queries.cycles(ledger, 0)]


# ---------------------------------------------------------------- what is found


def test_cycles_come_newest_first_and_one_at_a_time(ledger: Ledger) -> None:
    found = list(queries.cycles(ledger, 0))
    assert len(found) == queries.cycle_count(ledger) == 24
    assert [row["plan_id"] for row in found] == sorted((row["plan_id"] for row in found), reverse=True)
    assert list(queries.cycles(ledger, 5)) == found[:5]
    rows = queries.cycles(ledger, 0)
    assert iter(rows) is rows, "a million rows are never held at once"
    assert next(rows) == found[0]


def test_a_time_counts_from_its_first_moment_to_just_before_its_last(ledger: Ledger) -> None:
    at = times(ledger)
    since, until = at[20], at[4]
    found = [row["ts_utc"] for row in queries.cycles(ledger, 0, Filter(since=since, until=until))]
    assert found == [iso(one) for one in at if since <= one < until]
    assert len(found) == 16


@pytest.mark.parametrize("action", ["BUY", "SELL", "HOLD"])
@pytest.mark.parametrize("timed", [False, True])
def test_an_action_finds_the_cycles_whose_trader_said_it(ledger: Ledger, action: str, timed: bool) -> None:
    since = times(ledger)[15] if timed else None
    wanted = [
        row
        for row in queries.cycles(ledger, 0)
        if row["action"] == action and (since is None or parse_iso(row["ts_utc"]) >= since)
    ]
    assert wanted
    assert list(queries.cycles(ledger, 0, Filter(action=action, since=since))) == wanted


@pytest.mark.parametrize("agent", list(Agent))
def test_an_agents_decisions_are_listed_one_by_one(ledger: Ledger, agent: Agent) -> None:
    found = list(queries.decisions(ledger, 0, agent))
    assert len(found) == 24
    assert {row["agent"] for row in found} == {agent.value}
    assert list(queries.decisions(ledger, 0, agent, Filter(since=0))) == found


def test_a_fallback_is_told_from_a_decided_hold(ledger: Ledger) -> None:
    sql = "SELECT trace_id, agent FROM decisions WHERE source = 'fallback' ORDER BY id DESC"
    by_hand = dict(ledger.db.execute(sql).fetchall())
    assert by_hand
    found = {row["trace_id"]: row["fallback"] for row in queries.cycles(ledger, 0) if row["fallback"]}
    assert found == by_hand
    held = [row for row in queries.cycles(ledger, 0) if row["action"] == "HOLD" and not row["fallback"]]
    assert held


def test_trades_are_listed_one_by_one_with_what_made_them(ledger: Ledger) -> None:
    found = list(queries.trades(ledger, 0))
    assert len(found) == ledger.db.execute("SELECT count(*) FROM trades").fetchone()[0]
    assert {row["policy"] for row in found} == {"ma_trend"}
    sides = [list(queries.trades(ledger, 0, Filter(action=side))) for side in ("BUY", "SELL")]
    assert all(sides)
    assert sorted(row["id"] for rows in sides for row in rows) == sorted(row["id"] for row in found)


def test_what_failed_is_listed_newest_first_and_equals_the_view(ledger: Ledger) -> None:
    found = [tuple(row.values()) for row in queries.failures(ledger, 0)]
    assert found
    assert found == ledger.db.execute("SELECT * FROM v_errors ORDER BY time_utc DESC, link DESC").fetchall()
    assert [row["who"] for row in queries.failures(ledger, 0, Filter(agent=Agent.TRADER))] == [
        row["who"] for row in queries.failures(ledger, 0) if row["who"] == "TRADER"
    ]


KINDS: dict[str, Callable[[Ledger, int, Filter], Iterator[queries.Row]]] = {
    "cycles": queries.cycles,
    "cycles that bought": lambda ledger, rows, where: queries.cycles(ledger, rows, at(where, action="BUY")),
    "cycles that held": lambda ledger, rows, where: queries.cycles(ledger, rows, at(where, action="HOLD")),
    "verdicts": lambda ledger, rows, where: queries.decisions(ledger, rows, Agent.JUDGE, where),
    "trades": queries.trades,
    "failures": queries.failures,
}


def at(where: Filter, action: str) -> Filter:
    """The same filter of one action."""
    return Filter(where.since, where.until, where.agent, action, where.before)


@pytest.mark.parametrize(("kind", "since"), list(product(KINDS, [None, 0])))
def test_page_by_page_every_row_comes_once(ledger: Ledger, kind: str, since: int | None) -> None:
    look = KINDS[kind]
    whole, paged, before = list(look(ledger, 0, Filter(since=since))), [], None
    while page := list(look(ledger, 3, Filter(since=since, before=before))):
        trace = page[-1]["trace_id"]
        rest = [row for row in look(ledger, 20, Filter(since=since, before=before)) if row["trace_id"] == trace]
        paged += [row for row in page if row["trace_id"] != trace] + rest  # a page may end inside a trace
        before = trace
    assert paged == whole
    assert whole


def test_after_a_plan_come_the_cycles_that_followed_it_oldest_first(ledger: Ledger) -> None:
    found = list(queries.cycles(ledger, 0))
    assert list(queries.cycles_after(ledger, found[5]["plan_id"])) == found[4::-1]
    assert list(queries.cycles_after(ledger, 0)) == found[::-1]
    assert queries.newest_plan_ids(ledger, 4) == [row["plan_id"] for row in found[:4]]


@pytest.mark.parametrize("word", ["abcd\udcff", "\udcff\udcffab", "späte spur", "zzzz", "a\0bcd"])
def test_words_that_can_name_no_trace_are_not_found(ledger: Ledger, word: str) -> None:
    with pytest.raises(NotFoundError, match="no trace"):
        queries.full_trace_id(ledger, word)


# ---------------------------------------------------------------- how it is found

SPANS = (Filter(), Filter(since=1), Filter(until=2**41), Filter(since=1, until=2**41), Filter(before="TRACE"))
LOOKS: dict[str, Look] = {
    **{
        f"{kind} {n}": lambda ledger, look=look, where=where: list(look(ledger, 20, where))  # type: ignore[misc]
        for (kind, look), (n, where) in product(KINDS.items(), enumerate(SPANS))
    },
    "the cycles after one": lambda ledger: list(islice(queries.cycles_after(ledger, 3), 5)),
    "the newest plans": lambda ledger: queries.newest_plan_ids(ledger, 12),
    "a beginning of a trace": lambda ledger: queries.full_trace_id(ledger, _newest(ledger)[:12]),
    "a trace": lambda ledger: queries.trace(ledger, _newest(ledger)),
    "links": lambda ledger: queries.links(ledger, {1, 9}),
    "a question": lambda ledger: queries.question_of(ledger, 1),
    "where it stands": lambda ledger: (
        ledger.identity(),
        ledger.trading_state(),
        ledger.newest_plan(),
        ledger.last_snapshot(),
        due_at(ledger),
        ledger.open_orders(),
        queries.cycle_count(ledger),
    ),
    **{
        f"the newest of {view}": lambda ledger, view=view: ledger.db.execute(  # type: ignore[misc]
            f"SELECT * FROM {view} ORDER BY time_utc DESC LIMIT 20"  # noqa: S608 - our own names
        ).fetchall()
        for view in ("v_cycles", "v_trades", "v_equity", "v_errors")
    },
}

SMALL = {"meta", "w", "CONSTANT", "json_each"}
"""What holds a few rows however long a ledger is used; `w` are the open orders, `json_each` a list handed over."""


def _newest(ledger: Ledger) -> str:
    plan = ledger.newest_plan()
    assert plan is not None
    return plan.trace_id


def statements(ledger: Ledger, look: Look) -> list[str]:
    """Every statement that a look at the ledger runs, with its values."""
    said: list[str] = []
    ledger.db.set_trace_callback(said.append)
    try:
        look(ledger)
    finally:
        ledger.db.set_trace_callback(None)
    return [one for one in said if "SELECT" in one]


@pytest.mark.parametrize("name", LOOKS)
def test_no_look_sorts_or_reads_a_whole_table(ledger: Ledger, name: str) -> None:
    asked = statements(ledger, LOOKS[name])
    assert asked
    for sql in asked:
        steps = [row[3] for row in ledger.db.execute(f"EXPLAIN QUERY PLAN {sql}")]
        scanned = {found[1] for step in steps if (found := re.match(r"SCAN (\w+)", step))}
        by_index = all("USING INDEX" in step for step in steps if step.startswith("SCAN"))
        assert scanned <= SMALL or "LIMIT" in sql or (by_index and "UNION ALL" in sql), (sql, steps)
        sorts = [step for step in steps if "TEMP B-TREE" in step]
        assert not sorts or (scanned and scanned <= SMALL), (sql, steps)


@pytest.mark.parametrize(
    ("where", "index"),
    [
        (Filter(), "decisions_by_agent"),
        (Filter(since=1), "decisions_by_time"),
        (Filter(action="BUY"), "proposals_to_trade"),
        (Filter(action="SELL", since=1, until=2), "proposals_to_trade"),
        (Filter(action="HOLD"), "decisions_by_agent"),
        (Filter(before="TRACE"), "decisions_by_agent (agent=? AND rowid<?)"),
        (Filter(action="BUY", before="TRACE"), "proposals_to_trade (<expr>=? AND ts_utc<?)"),
    ],
)
def test_cycles_are_found_by_the_index_that_was_made_for_it(ledger: Ledger, where: Filter, index: str) -> None:
    (sql,) = statements(ledger, lambda opened: list(queries.cycles(opened, 20, where)))
    first = ledger.db.execute(f"EXPLAIN QUERY PLAN {sql}").fetchone()[3]
    assert index in first


def test_failures_are_found_by_partial_indexes_alone(ledger: Ledger) -> None:
    (sql,) = statements(ledger, lambda opened: list(queries.failures(opened, 20)))
    plan = " ".join(row[3] for row in ledger.db.execute(f"EXPLAIN QUERY PLAN {sql}"))
    for index in ("fallbacks", "failed_calls", "outages", "order_troubles", "error_events"):
        assert f"INDEX {index}_by_time" in plan
