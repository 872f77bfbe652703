"""--dry-run of every command that writes: no byte changes, no file appears, and the question shown is the real one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests import test_crash
from tests.test_crash import KILLED, Forks, copy_of, one, rows

quick = test_crash.quick

LEDGER = Path("data/agent.db")

WRITING: tuple[tuple[str, ...], ...] = (
    ("plan",),
    ("propose",),
    ("judge",),
    ("execute",),
    ("snapshot",),
    ("recover",),
    ("cycle",),
    ("loop", "--cycles", "2", "--speed", "fast"),
    ("stop", "--reason", "enough"),
    ("resume", "--reason", "go on"),
    ("init", "--env-file", "my.env"),
)
"""Every command that writes."""

NEEDS_A_LEDGER = {"propose": 8, "judge": 8, "execute": 8, "recover": 8, "resume": 8}
"""What has nothing to rehearse where there is no ledger."""


def sha256(path: Path) -> str:
    """The hash of a file; a missing write-ahead log holds as much as an empty one."""
    return hashlib.sha256(path.read_bytes() if path.exists() else b"").hexdigest()


def photograph(folder: Path) -> dict[str, str]:
    """All files under a folder. What SQLite and flock keep beside a ledger holds no rows: only the log counts."""
    found = {str(path.relative_to(folder)): sha256(path) for path in folder.rglob("*") if path.is_file()}
    found[f"{LEDGER}-wal"] = sha256(folder / f"{LEDGER}-wal")
    return {name: digest for name, digest in found.items() if not name.endswith((".lock", "-shm"))}


def test_a_dry_run_over_a_ledger_changes_no_byte(quick: Forks) -> None:
    assert quick("cycle").code == 0
    for words in WRITING:
        before, lines = photograph(quick.folder), one_of_each(LEDGER)
        done = quick(*words, "--dry-run")
        assert done.code == 0, (words, done.stderr)
        assert done.stdout, words
        assert done.stderr.endswith("Dry run: nothing was written.\n"), words
        assert photograph(quick.folder) == before, words
        assert one_of_each(LEDGER) == lines, words
        if words[0] in ("plan", "propose", "judge"):  # the next step needs its parent
            assert quick(*words).code == 0
    assert quick("ledger", "verify").code == 0


@pytest.mark.parametrize("words", WRITING, ids=" ".join)
def test_a_dry_run_without_a_ledger_makes_none(words: tuple[str, ...], quick: Forks) -> None:
    done = quick(*words, "--dry-run", "--db", "new/folder/x.db")
    assert done.code == NEEDS_A_LEDGER.get(words[0], 0), done.stderr
    assert list(quick.folder.iterdir()) == []


def one_of_each(path: Path) -> dict[str, Any]:
    """The number of rows of each table."""
    tables = rows(path, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return {name: one(path, f"SELECT count(*) FROM {name}") for (name,) in tables}  # noqa: S608 - SQLite's own names


@pytest.mark.parametrize(
    ("step", "agent", "before"),
    [("plan", "PLANNER", []), ("propose", "TRADER", ["plan"]), ("judge", "JUDGE", ["plan", "propose"])],
)
def test_the_question_of_a_dry_run_is_the_one_asked_right_after(
    step: str, agent: str, before: list[str], quick: Forks
) -> None:
    quick.after(*before)
    rehearsed = json.loads(quick(step, "--dry-run", "--json").stdout)
    shown = quick(step, "--dry-run")
    real = json.loads(quick(step, "--json").stdout)
    kind = {"plan": "plan", "propose": "proposal", "judge": "verdict"}[step]
    assert (rehearsed["dry_run"], real["dry_run"]) == (True, False)
    assert rehearsed[kind] == real[kind]
    assert rehearsed["prompt_sha256"] == real["prompt_sha256"]

    asked = rehearsed["question"]
    call = "SELECT m.facts_json, p.prompt, p.schema_json FROM model_calls AS m JOIN prompts AS p "
    facts, prompt, schema = rows(LEDGER, call + "ON p.sha256 = m.prompt_sha256 WHERE m.agent = ?", agent)[0]
    assert asked["facts"] == json.loads(facts)
    assert asked["prompt"] == prompt
    assert asked["schema"] == json.loads(schema)
    for line in prompt.splitlines():
        assert line in shown.stdout, "people see the whole prompt too"
    for name in asked["facts"]:
        assert name in shown.stdout


def test_a_dry_run_of_an_execution_shows_the_order_that_would_fill(quick: Forks) -> None:
    quick.after("plan", "propose", "judge")
    rehearsed = json.loads(quick("execute", "--dry-run", "--json").stdout)
    real = json.loads(quick("execute", "--json").stdout)
    assert rehearsed["order"]["state"] == real["order"]["state"] == "FILLED"
    assert rehearsed["order"]["fills"] == real["order"]["fills"]
    assert one(LEDGER, "SELECT count(*) FROM paper_orders") == 1


def test_a_dry_run_of_two_cycles_foresees_them(quick: Forks) -> None:
    assert quick("cycle").code == 0
    words = ("loop", "--cycles", "3", "--speed", "fast", "--json")
    foreseen, real = (
        [json.loads(line) for line in quick(*words, *more).stdout.splitlines()] for more in (["--dry-run"], [])
    )
    assert len(foreseen) == 3
    for seen, came in zip(foreseen, real, strict=True):
        assert (seen["dry_run"], came["dry_run"]) == (True, False)
        for part in ("ts_utc", "trace_id"):
            assert seen[part] == came[part]
        assert seen["snapshot"]["equity"] == came["snapshot"]["equity"]


def test_a_dry_run_needs_no_lock_and_works_beside_a_loop(quick: Forks) -> None:
    loop = quick.start("loop", "--speed", "fast", "-q")
    for words in (("cycle",), ("plan",), ("stop",)):
        test_crash.until(lambda: quick("status").code == 0, "a ledger with a cycle in it")
        assert quick(*words, "--dry-run").code == 0
    assert not loop.ended()
    assert not LEDGER.with_name("STOP").exists()


def test_a_dry_run_leaves_a_killed_processs_order_to_recover(quick: Forks) -> None:
    assert quick("cycle", env={"TRADER_FAILPOINT": "submit-after"}).code == KILLED
    crashed = copy_of(LEDGER, "copy")
    before = sha256(crashed), sha256(Path(f"{crashed}-wal"))
    rehearsed = json.loads(quick("recover", "--dry-run", "--json", "--db", str(crashed)).stdout)
    assert [order["state"] for order in rehearsed["orders"]] == ["FILLED"]
    assert (sha256(crashed), sha256(Path(f"{crashed}-wal"))) == before
    assert one(crashed, "SELECT count(*) FROM open_orders") == 1
    assert quick("recover", "--db", str(crashed)).code == 0
    assert one(crashed, "SELECT count(*) FROM open_orders") == 0
