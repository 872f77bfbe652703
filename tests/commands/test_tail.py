"""`ledger tail`: the newest cycles oldest first, and those that are added while it looks."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ledgers import rows, scripted_desk
from tests.test_hostile import Say, refused, say, seen
from trader_cli.phases.cycle import cycle
from trader_cli.phases.plan import plan

__all__ = ["say"]


def traces(path: Path) -> list[str]:
    """Every trace, oldest first."""
    return [trace for (trace,) in rows(path, "SELECT trace_id FROM decisions WHERE agent = 'PLANNER' ORDER BY id")]


@contextlib.contextmanager
def following(env: dict[str, str], folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A `tail -f` in a process of its own."""
    child = subprocess.Popen(
        [sys.executable, "-m", "trader_cli.main", "ledger", "tail", "-f", *words],
        env=env, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def line(child: subprocess.Popen[str]) -> str:
    """The next line it prints."""
    assert child.stdout is not None
    return child.stdout.readline()


def test_the_newest_come_oldest_first(ledger: Path, say: Say) -> None:
    lines = say("ledger", "tail", "-n", "3").stdout.splitlines()
    assert lines[0].startswith("ts_utc\ttrace_id\t")
    assert [one.split("\t")[1] for one in lines[1:]] == traces(ledger)[-3:]


@pytest.mark.parametrize(("asked", "given"), [("0", 24), ("1", 1), ("24", 24), ("25", 24), ("999999999", 24)])
def test_as_many_are_shown_as_there_are(asked: str, given: int, ledger: Path, say: Say) -> None:
    lines = [json.loads(one) for one in say("ledger", "tail", "-n", asked, "--json").stdout.splitlines()]
    assert [one["trace_id"] for one in lines] == traces(ledger)[-given:]
    assert {one["schema"] for one in lines} == {"trader.tail/1"}


def test_a_terminal_gets_lines_that_fit_and_a_fallback_is_called_one(
    ledger: Path, clean_env: dict[str, str], tmp_path: Path
) -> None:
    code, screen = seen(clean_env, tmp_path, 80, "ledger", "tail", "-n", "24")
    assert code == 0
    lines = screen.splitlines()
    assert len(lines) == 25
    assert max(map(len, lines)) <= 80
    assert "HOLD fallback" in screen
    assert "OBSERVE fallback" in screen or "OBSERVE" in screen


def test_without_a_ledger_nothing_is_followed(say: Say, tmp_path: Path) -> None:
    refused(say("ledger", "tail", "-f"), 8, "no ledger at")
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_without_cycles_says_so(say: Say, tmp_path: Path) -> None:
    with scripted_desk(tmp_path / "x.db"):
        pass
    said = say("ledger", "tail", "--db", "x.db")
    assert (said.code, len(said.stdout.splitlines())) == (0, 1)
    assert "No cycles yet" in said.stderr
    assert say("ledger", "tail", "--json", "--db", "x.db").stdout == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_added_is_shown_once_it_is_whole_until_a_signal_comes(
    number: signal.Signals, ledger: Path, clean_env: dict[str, str], tmp_path: Path
) -> None:
    with scripted_desk(ledger) as desk, following(clean_env, tmp_path, "-n", "1", "--json") as child:
        assert json.loads(line(child))["trace_id"] == traces(ledger)[-1]
        with desk.ledger.writing():
            plan(desk, desk.new_trace())  # begun, and never ended
        begun = traces(ledger)[-1]
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(1.5)
        with desk.ledger.writing():
            cycle(desk)
        first, second = json.loads(line(child)), json.loads(line(child))
        assert (first["trace_id"], first["equity"]) == (begun, None)
        assert (second["trace_id"], second["equity"] is None) == (traces(ledger)[-1], False)
        child.send_signal(number)
        assert child.wait(10) == 0
        assert child.stderr is not None
        assert child.stderr.read() == ""


def test_a_cycle_that_is_begun_is_not_counted_among_those_that_are_whole(
    ledger: Path, clean_env: dict[str, str], tmp_path: Path
) -> None:
    with scripted_desk(ledger) as desk, desk.ledger.writing():
        plan(desk, desk.new_trace())
    with following(clean_env, tmp_path, "-n", "2", "--json") as child:
        assert [json.loads(line(child))["trace_id"] for _ in range(2)] == traces(ledger)[-3:-1]


def test_when_the_reader_goes_it_ends_by_itself(ledger: Path, clean_env: dict[str, str], tmp_path: Path) -> None:
    with following(clean_env, tmp_path, "-n", "1") as child:
        line(child)
        line(child)
        assert child.stdout is not None
        child.stdout.close()
        assert child.wait(10) == 0
