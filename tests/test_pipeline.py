"""The steps as commands of their own: in a shell's pipe, one by one, eight at a time, and with wrong input."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import test_crash
from tests.conftest import Result
from tests.test_crash import (
    KILLED,
    Forks,
    assert_books_in_order,
    assert_each_order_was_sent_once,
    holding,
    one,
    rows,
    until,
)
from trader_cli.tools import migrations

quick = test_crash.quick

LEDGER = Path("data/agent.db")

SHELL = f"""
set -o pipefail
trader() {{ "{sys.executable}" -m trader_cli.main "$@"; }}
"""


def shell(script: str, env: dict[str, str]) -> Result:
    """A script in which `trader` is our command."""
    done = subprocess.run(
        ["bash", "-c", SHELL + script],
        env=env, capture_output=True, encoding="utf-8", timeout=100, check=False,
    )  # fmt: skip
    return Result(done.returncode, done.stdout, done.stderr)


def counts(path: Path) -> dict[str, int]:
    """How many rows each table has."""
    tables = rows(path, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return {name: one(path, f"SELECT count(*) FROM {name}") for (name,) in tables}  # noqa: S608 - SQLite's own names


def document(result: Result) -> Any:
    """The one JSON document a command printed."""
    assert result.code == 0, result.stderr
    return json.loads(result.stdout)


# ---------------------------------------------------------------- in a pipe


def test_a_pipe_of_four_steps_trades_and_its_last_step_again_sends_nothing(clean_env: dict[str, str]) -> None:
    steps = (
        "trader plan --json | trader propose --plan - --json | trader judge --proposal - --json"
        " | tee verdict.json | trader execute --verdict - --json"
    )
    piped = shell(steps, clean_env)
    done = document(piped)
    assert (done["already"], done["order"]["state"]) == (False, "FILLED")
    assert Path("verdict.json").read_text(encoding="utf-8").count("\n") == 1
    before = counts(LEDGER)
    again = shell("trader execute --verdict - < verdict.json", clean_env)
    assert (again.code, again.stderr) == (0, "")
    assert "Already executed" in again.stdout
    assert done["order"]["client_order_id"] in again.stdout
    assert counts(LEDGER) == before
    assert before["orders"] == before["paper_orders"] == before["trades"] == 1


def test_a_pipe_whose_first_step_fails_fails_and_nothing_is_made_up(clean_env: dict[str, str]) -> None:
    piped = shell("trader plan --json | trader propose --plan - --json | cat", {**clean_env, "MODE": "papr"})
    assert piped.code == 2
    assert piped.stdout == ""
    assert '"CONFIG"' in piped.stderr
    assert "stdin is empty" in piped.stderr
    assert not LEDGER.exists()


def test_a_reader_who_leaves_early_is_no_error(clean_env: dict[str, str], quick: Forks) -> None:
    both = "trader loop --cycles 60 --speed fast | head -1 && trader ledger show -n 0 --json | head -c 9"
    piped = shell(both, clean_env)
    assert piped.code == 0, "the status of trader, not of head"
    assert piped.stdout.count("\n") == 1
    assert "Broken" not in piped.stderr
    assert "Traceback" not in piped.stderr
    assert_books_in_order(quick, LEDGER)


# ---------------------------------------------------------------- many at once


def together(quick: Forks, *words: str, many: int = 8) -> list[int]:
    """So many processes at the same moment; their exit codes."""
    children = [quick.start(*words) for _ in range(many)]
    return [child.result().code for child in children]


def test_eight_executions_of_one_verdict_at_once_send_one_order(quick: Forks) -> None:
    quick.after("plan", "propose", "judge")
    codes = together(quick, "execute", "--verdict", "3")
    assert set(codes) <= {0, 7}
    assert 0 in codes
    assert [counts(LEDGER)[table] for table in ("orders", "paper_orders", "trades")] == [1, 1, 1]
    assert_books_in_order(quick, LEDGER)


def test_many_of_each_step_at_once_make_one_record(quick: Forks) -> None:
    assert quick("plan").code == 0
    for words in (("propose", "--plan", "1"), ("judge", "--proposal", "2")):
        codes = together(quick, *words, many=4)
        assert set(codes) <= {0, 7}
        assert 0 in codes
    assert rows(LEDGER, "SELECT id, agent FROM decisions ORDER BY id") == [(1, "PLANNER"), (2, "TRADER"), (3, "JUDGE")]


def test_eight_first_cycles_at_once_make_one_ledger(quick: Forks) -> None:
    codes = together(quick, "cycle")
    assert set(codes) <= {0, 7}
    assert 0 in codes
    assert one(LEDGER, "PRAGMA user_version") == len(migrations.STEPS)
    assert one(LEDGER, "SELECT count(*) FROM meta WHERE key = 'ledger_id'") == 1
    assert one(LEDGER, "SELECT count(*) FROM events WHERE kind = 'DEPOSIT'") == 1
    assert one(LEDGER, "SELECT count(*) FROM decisions WHERE agent = 'PLANNER'") == codes.count(0)
    assert_books_in_order(quick, LEDGER)


def test_writers_that_may_wait_all_get_their_turn(quick: Forks) -> None:
    assert together(quick, "cycle", "--wait", "60", many=6) == [0] * 6
    assert one(LEDGER, "SELECT count(*) FROM portfolio") == 6
    assert_books_in_order(quick, LEDGER)


def test_of_many_that_come_when_a_cycle_is_due_one_runs_it(quick: Forks) -> None:
    assert together(quick, "cycle", "--if-due", "--wait", "60", many=4) == [0] * 4
    assert one(LEDGER, "SELECT count(*) FROM portfolio") == 1
    assert_books_in_order(quick, LEDGER)


def test_a_loop_whose_ledger_was_moved_away_ends_and_writes_no_other(quick: Forks) -> None:
    loop = quick.start("loop", "--speed", "fast", "-q")
    until(lambda: quick("status").code == 0, "a ledger with a cycle in it")
    with holding(LEDGER.with_name("agent.db.lock")):
        LEDGER.rename("moved.db")
    ended = loop.result()
    assert ended.code == 6
    assert "was moved or replaced" in ended.stderr
    assert not LEDGER.exists()
    Path("data/agent.db-wal").rename("moved.db-wal")
    assert_books_in_order(quick, Path("moved.db"))


@pytest.mark.soak
@pytest.mark.parametrize("turn", range(25))
def test_races_end_well_every_time(turn: int, quick: Forks) -> None:
    test_eight_first_cycles_at_once_make_one_ledger(quick)
    shutil.rmtree(LEDGER.parent)
    test_eight_executions_of_one_verdict_at_once_send_one_order(quick)


def test_a_second_loop_is_turned_away_and_single_steps_are_not(quick: Forks) -> None:
    first = quick.start("loop", env={"TIMEFRAME": "1h"})
    until(lambda: "\n" in first.stdout, "the first cycle of a loop that then sleeps")
    second = quick("loop", "--speed", "fast", env={"TIMEFRAME": "1h"})
    assert second.code == 7
    assert f"in use by another process (pid {first.pid})" in second.stderr
    assert quick("loop", "-q", env={"TIMEFRAME": "1h"}) == Result(7, "", ""), "cron need not hear of it"
    assert quick("cycle", env={"TIMEFRAME": "1h"}).code == 0
    assert not first.ended()
    assert_each_order_was_sent_once(LEDGER)


def test_a_writer_who_does_not_get_the_lock_says_who_has_it(quick: Forks) -> None:
    loop = quick.start("loop", "--speed", "fast", "-q")
    until(lambda: quick("status").code == 0, "a ledger with a cycle in it")
    loop.send(signal.SIGSTOP)  # in a cycle or between two: both are fine
    busy = quick("cycle")
    loop.send(signal.SIGCONT)
    assert busy.code in (0, 7)
    if busy.code == 7:
        assert f"(pid {loop.pid})" in busy.stderr
    waited = quick("cycle", "--wait", "60")
    assert waited.code == 0, waited.stderr


# ---------------------------------------------------------------- one by one


def test_each_step_alone_finds_its_newest_unused_parent(quick: Forks) -> None:
    for expected in (1, 4):
        made = [document(quick(step, "--json")) for step in ("plan", "propose", "judge")]
        assert [one_made["id"] for one_made in made] == [expected, expected + 1, expected + 2]
        assert len({one_made["trace_id"] for one_made in made}) == 1
        done = document(quick("execute", "--json"))
        assert (done["verdict_id"], done["already"]) == (expected + 2, False)
        assert document(quick("snapshot", "--json"))["trace_id"] == made[0]["trace_id"]
    assert_books_in_order(quick, LEDGER)


def test_the_steps_by_hand_decide_as_a_cycle_does(quick: Forks) -> None:
    quick.after("plan", "propose", "judge", "execute", "snapshot", "cycle --db cycle.db")
    by_hand, at_once = (
        document(quick("ledger", "verify", "--json", "--db", path))["content_sha256"]
        for path in (str(LEDGER), "cycle.db")
    )
    assert by_hand == at_once


@pytest.mark.parametrize(
    ("step", "before"), [("propose", ["snapshot"]), ("judge", ["plan"]), ("execute", ["plan", "propose"])]
)
def test_a_step_without_a_parent_says_how_to_make_one(step: str, before: list[str], quick: Forks) -> None:
    quick.after(*before)
    made_by = {"propose": "plan", "judge": "propose", "execute": "judge"}[step]
    found = quick(step)
    assert (found.code, found.stdout) == (8, "")
    assert "there is no unused" in found.stderr
    assert f"Make one: trader {made_by}\n" in found.stderr


@pytest.mark.parametrize(("step", "made_by"), [("propose", "plan"), ("judge", "propose")])
def test_a_parent_is_used_once_unless_it_is_named(step: str, made_by: str, quick: Forks) -> None:
    assert quick("cycle").code == 0
    before = counts(LEDGER)
    spent = quick(step)
    assert spent.code == 8
    assert "is used" in spent.stderr
    assert f"trader {made_by}" in spent.stderr
    named = quick(step, {"propose": "--plan", "judge": "--proposal"}[step], "last")
    assert named.code == 0
    assert "already" in named.stderr
    assert counts(LEDGER) == before


def test_a_plan_that_was_overtaken_is_not_proposed_on_by_itself(quick: Forks) -> None:
    quick.after("plan", "snapshot", "cycle")
    assert quick("propose").code == 8
    assert document(quick("propose", "--plan", "1", "--json"))["plan_id"] == 1


# ---------------------------------------------------------------- wrong words


@pytest.fixture
def judged(quick: Forks) -> dict[str, Any]:
    """A plan (1), a proposal (2) and a verdict (3) that nobody has executed, as their commands printed them."""
    printed = quick.after("plan --json", "propose --json", "judge --json").stdout.splitlines()
    return dict(zip(("plan", "propose", "judge"), map(json.loads, printed), strict=True))


def test_names_that_name_nothing_are_told_apart(judged: dict[str, Any], quick: Forks) -> None:
    trace = judged["plan"]["trace_id"]
    before = counts(LEDGER)
    for words, code, said in (
        (("propose", "--plan", "2"), 8, "decision 2 is a proposal, needs a plan"),
        (("judge", "--proposal", "1"), 8, "decision 1 is a plan, needs a proposal"),
        (("execute", "--verdict", "2"), 8, "decision 2 is a proposal, needs a verdict"),
        (("execute", "--verdict", "0"), 8, "no decision 0"),
        (("execute", "--verdict", "9999"), 8, 'no trace "9999"'),
        (("execute", "--verdict", "9" * 40), 8, "no trace"),
        (("execute", "--verdict", "-7"), 2, "at least 4 characters"),
        (("execute", "--verdict", "zzz"), 2, "at least 4 characters"),
        (("execute", "--verdict", "zzzz"), 8, 'no trace "zzzz"'),
        (("execute", "--verdict", f"{trace}0"), 8, "no trace"),
        (("ledger", "trace", "zzzz"), 8, 'no trace "zzzz"'),
        (("execute", "--verdict"), 2, "requires an argument"),
        (("execute", "3"), 2, "unexpected extra argument"),
    ):
        found = quick(*words)
        assert (found.code, found.stdout) == (code, ""), words
        assert said in found.stderr, words
        assert "Fix:" in found.stderr or code == 8, words
    assert counts(LEDGER) == before


def test_a_verdict_has_several_names(judged: dict[str, Any], quick: Forks) -> None:
    trace = judged["judge"]["trace_id"]
    for word in ("3", trace, trace.upper(), trace[:4], "last"):
        assert document(quick("execute", "--verdict", word, "--json"))["verdict_id"] == 3, word
    assert counts(LEDGER)["orders"] == 1


def test_the_beginning_of_a_trace_may_happen_to_be_digits(quick: Forks) -> None:
    for seed in range(200):
        quick.env["SIMULATED_SEED"] = str(seed)
        trace = document(quick("plan", "--json", "--db", f"{seed}.db"))["trace_id"]
        if trace[:4].isdigit():
            assert quick("propose", "--plan", trace[:4], "--db", f"{seed}.db").code == 0
            return
    raise AssertionError("not one in two hundred")


def test_the_beginning_of_two_traces_is_answered_with_both(judged: dict[str, Any], quick: Forks) -> None:
    trace = judged["plan"]["trace_id"]
    twin = trace[:12] + trace[12:][::-1]
    copied = """INSERT INTO decisions (ts_utc, agent, trace_id, payload_json, source, wall_ts, link)
                SELECT ts_utc, agent, ?, payload_json, source, wall_ts, link FROM decisions WHERE agent = 'PLANNER'"""
    with contextlib.closing(sqlite3.connect(LEDGER)) as db, db:
        db.execute(copied, (twin,))
    found = quick("ledger", "trace", trace[:6])
    assert found.code == 2
    assert trace[:14] in found.stderr
    assert twin[:14] in found.stderr
    assert quick("ledger", "trace", trace[:20]).code == 0
    assert quick("ledger", "verify").code == 9, "and a row written by hand is found out"
    assert quick("cycle").code == 6


SAID_TO_EXECUTE = {
    "a blank": (" \n", 2, "stdin is empty"),
    "prose": ("buy now!", 2, "stdin holds no verdict"),
    "a list": ("[3]", 2, "stdin holds no verdict"),
    "no id": ('{"schema": "trader.verdict/1", "trace_id": "x"}', 2, "stdin holds no verdict"),
    "an id that is no number": ('{"schema": "trader.verdict/1", "id": "x", "trace_id": "x"}', 2, "no verdict"),
    "an endless id": ('{"schema": "trader.verdict/1", "id": Infinity, "trace_id": "x"}', 2, "no verdict"),
    "an id beyond SQLite": ('{"schema": "trader.verdict/1", "id": 9e30, "trace_id": "x"}', 2, "no verdict"),
    "a bottomless document": ("[" * 100_000, 2, "stdin holds no verdict"),
    "another trace": ('{"schema": "trader.verdict/1", "id": 3, "trace_id": "x"}', 8, "is not in this ledger"),
    "an unknown id": ('{"schema": "trader.verdict/1", "id": 77, "trace_id": "x"}', 8, "no decision 77"),
    "a proposal's id": ('{"schema": "trader.verdict/1", "id": 2, "trace_id": "x"}', 8, "is a proposal"),
    "terminal codes": ('{"schema": "\\u001b[2J", "id": 2, "trace_id": "x"}', 2, '"\\x1b[2J"'),
}


def test_whatever_comes_on_stdin_is_a_verdict_of_this_ledger_or_refused(judged: dict[str, Any], quick: Forks) -> None:
    before = counts(LEDGER)
    for name, (words, code, said) in SAID_TO_EXECUTE.items():
        found = quick("execute", "--verdict", "-", stdin=words)
        assert (found.code, found.stdout) == (code, ""), (name, found)
        assert said in found.stderr, name
    assert counts(LEDGER) == before


def test_bytes_on_stdin_that_are_no_text_are_refused(clean_env: dict[str, str], judged: dict[str, Any]) -> None:
    strict = {**clean_env, "PYTHONIOENCODING": "utf-8:strict"}
    found = shell("printf '\\377\\376' | trader execute --verdict -", strict)
    assert (found.code, found.stdout) == (2, "")
    assert "stdin holds no verdict" in found.stderr


def test_a_step_is_not_fed_the_document_of_another(judged: dict[str, Any], quick: Forks) -> None:
    said = {step: json.dumps(words) for step, words in judged.items()}
    for step, option, fed in (
        ("execute", "--verdict", "plan"),
        ("execute", "--verdict", "propose"),
        ("judge", "--proposal", "judge"),
        ("propose", "--plan", "propose"),
    ):
        found = quick(step, option, "-", stdin=said[fed])
        assert found.code == 2
        assert judged[fed]["schema"] in found.stderr


def test_a_dry_runs_document_is_not_in_the_ledger(judged: dict[str, Any], quick: Forks) -> None:
    rehearsed = quick("judge", "--proposal", "2", "--dry-run", "--json").stdout
    found = quick("execute", "--verdict", "-", stdin=rehearsed)
    assert (found.code, found.stdout) == (8, "")
    assert "was a dry run" in found.stderr
    assert counts(LEDGER)["orders"] == 0


def test_a_document_of_another_ledger_is_refused(judged: dict[str, Any], quick: Forks) -> None:
    quick.env["SIMULATED_SEED"] = "8"
    quick.after("plan --db other.db", "propose --db other.db", "judge --db other.db")
    found = quick("execute", "--verdict", "-", "--db", "other.db", stdin=json.dumps(judged["judge"]))
    assert found.code == 8
    assert "is not in this ledger" in found.stderr
    assert counts(Path("other.db"))["orders"] == 0


# ---------------------------------------------------------------- no ledger, an empty one

NEEDS_A_LEDGER = (
    ("ledger", "show"),
    ("ledger", "trace", "last"),
    ("ledger", "verify"),
    ("status",),
    ("recover",),
    ("execute",),
    ("judge", "--proposal", "2"),
)


@pytest.mark.parametrize("words", NEEDS_A_LEDGER, ids=" ".join)
def test_a_command_that_needs_a_ledger_creates_none(words: tuple[str, ...], quick: Forks) -> None:
    found = quick(*words, "--json", "--db", "no/where.db")
    assert (found.code, found.stdout) == (8, "")
    error = json.loads(found.stderr)["error"]
    assert (error["name"], error["exit"]) == ("NOT_FOUND", 8)
    assert 'no ledger at "no/where.db"' in error["message"]
    assert error["hint"] == "Make one: trader cycle"
    assert list(quick.folder.iterdir()) == []


def test_an_empty_ledger_is_shown_as_one(quick: Forks) -> None:
    assert quick("cycle", env={"TRADER_FAILPOINT": "commit-after:1"}).code == KILLED
    assert counts(LEDGER)["decisions"] == 0
    shown = quick("ledger", "show")
    assert shown.code == 0
    assert shown.stdout.count("\n") == 1, "the names of the columns"
    assert "No cycles yet" in shown.stderr
    assert document(quick("ledger", "show", "--json")) == {"schema": "trader.cycles/1", "cycles": []}
    assert document(quick("status", "--json"))["cycles"] == 0
    assert "No cycles yet" in quick("status").stdout
    assert document(quick("ledger", "verify", "--json"))["ok"]
    none = quick("ledger", "trace", "last")
    assert none.code == 8
    assert "no cycles yet" in none.stderr


# ---------------------------------------------------------------- JSON

MODEL_NUMBERS = {
    *("confidence", "explore_ratio", "strength", "unrealized_pct", "spread_bps"),
    *("n", "mean_bp", "sd_bp", "p_positive", "edge_bp", "round_trip_bp"),
}
"""Floats that are no money; so are all features and policy parameters."""


def numbers(found: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The way to every float in a document."""
    if isinstance(found, dict):
        for name, value in found.items():
            yield from numbers(value, (*path, name))
    elif isinstance(found, list):
        for value in found:
            yield from numbers(value, path)
    elif isinstance(found, float):
        yield path


def test_the_json_of_every_command_has_a_schema_and_money_as_strings(quick: Forks) -> None:
    for words in (
        ("plan", "--dry-run"), ("plan",), ("propose", "--dry-run"), ("propose",), ("judge", "--dry-run"), ("judge",),
        ("execute", "--dry-run"), ("execute",), ("snapshot",), ("recover",), ("cycle",), ("status",),
        ("loop", "--cycles", "2", "--speed", "fast"), ("ledger", "show"), ("ledger", "trace", "last"),
        ("ledger", "trace", "last", "--prompts"), ("ledger", "verify"), ("stop",), ("resume", "--reason", "x"),
        ("config", "show"), ("config", "check"), ("config", "example"), ("--version",),
        ("init", "--env-file", "my.env"),
    ):  # fmt: skip
        done = quick(*words, "--json")
        assert done.code == 0, (words, done.stderr)
        lines = done.stdout.splitlines()
        assert len(lines) == (2 if words[0] == "loop" else 1), words
        for line in lines:
            found = json.loads(line, parse_constant=pytest.fail)
            assert next(iter(found)) == "schema", words
            assert found["schema"].startswith("trader."), words
            for way in numbers(found):
                known = way[-1] in MODEL_NUMBERS or way[-1] == "slippage_bps" or {"features", "params"} & {*way}
                assert known, (words, way)


# ---------------------------------------------------------------- cron


def test_a_cycle_that_is_not_due_does_nothing_and_says_nothing(quick: Forks) -> None:
    assert quick("cycle", "--if-due").code == 0, "without a ledger it is due"
    before = {path.name: path.read_bytes() for path in LEDGER.parent.iterdir() if path.name.startswith("agent.db")}
    assert quick("cycle", "--if-due") == Result(0, "", "")
    assert quick("cycle", "--if-due", "--json") == Result(0, "", "")
    after = {path.name: path.read_bytes() for path in LEDGER.parent.iterdir() if path.name in before}
    assert after == before
    said = quick("cycle", "--if-due", "-v")
    assert (said.code, said.stdout) == (0, "")
    assert "Not due until " in said.stderr
    assert one(LEDGER, "SELECT count(*) FROM decisions WHERE agent = 'PLANNER'") == 1
    assert quick("cycle").code == 0, "and without --if-due it runs at any time"


def test_settings_that_are_wrong_are_told_even_when_nothing_is_due(quick: Forks) -> None:
    assert quick("cycle").code == 0
    assert quick("cycle", "--if-due", env={"SYMBOL": "bitcoin"}).code == 3


def test_the_ledger_and_its_folder_are_the_owners_alone(quick: Forks) -> None:
    assert quick("cycle").code == 0
    assert oct(LEDGER.parent.stat().st_mode & 0o777) == "0o700"
    for path in LEDGER.parent.iterdir():
        assert oct(path.stat().st_mode & 0o777) == "0o600", path
    assert os.access(LEDGER, os.W_OK)
