"""SIGTERM, SIGINT and SIGHUP end a loop after the step in hand; a second one at once; kill -9 leaves no lock behind."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import test_crash
from tests.conftest import Result
from tests.test_crash import (
    KILLED,
    PATIENCE_SECS,
    Forks,
    assert_books_in_order,
    assert_it_goes_on,
    holding,
    one,
    until,
)

quick = test_crash.quick

LEDGER = Path("data/agent.db")
LOCK = Path("data/agent.db.lock")
HOURLY = {"TIMEFRAME": "1h"}
"""With bars of an hour a plan sleeps for 3600 seconds."""


@contextlib.contextmanager
def running(env: dict[str, str], *words: str) -> Iterator[subprocess.Popen[str]]:
    """A `trader` of its own, with nothing shared, killed if the test leaves it behind."""
    command = [sys.executable, "-m", "trader_cli.main", *words]
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> Result:
    """How it ended, by itself."""
    stdout, stderr = process.communicate(timeout=PATIENCE_SECS)
    return Result(process.returncode, stdout, stderr)


def stands_still(pid: int) -> bool:
    """Whether a process is stopped, as SIGSTOP does it."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T"


def has_ended_well(quick: Forks) -> None:
    """The newest trace reached its snapshot, and the ledger is proved."""
    newest = "SELECT trace_id FROM decisions WHERE agent = 'PLANNER' ORDER BY id DESC LIMIT 1"
    assert one(LEDGER, "SELECT count(*) FROM portfolio WHERE trace_id = ?", one(LEDGER, newest)) == 1
    assert_books_in_order(quick, LEDGER)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_wakes_and_ends_a_loop_that_sleeps_for_an_hour(
    number: signal.Signals, clean_env: dict[str, str], quick: Forks
) -> None:
    quick.env |= HOURLY
    with running({**clean_env, **HOURLY}, "loop") as loop:
        assert loop.stdout
        assert "\t" in loop.stdout.readline(), "its first cycle is done"
        assert one(LEDGER, "SELECT json_extract(payload_json, '$.next_wakeup_secs') FROM decisions LIMIT 1") == 3600
        loop.send_signal(number)
        found = ended(loop)
    assert (found.code, found.stdout) == (0, "")
    assert "Stopping after this step" in found.stderr
    has_ended_well(quick)


def test_hanging_up_ends_a_sleeping_loop_too(quick: Forks) -> None:
    quick.env |= HOURLY
    loop = quick.start("loop")
    until(lambda: loop.stdout, "the first cycle")
    loop.send(signal.SIGHUP)
    assert loop.result().code == 0
    has_ended_well(quick)


def test_a_sleeping_loop_runs_no_second_cycle(quick: Forks) -> None:
    loop = quick.start("loop", env=HOURLY)
    until(lambda: loop.stdout, "the first cycle")
    assert quick("snapshot", env=HOURLY).code == 0, "meanwhile others may write"
    assert not loop.ended()
    loop.send(signal.SIGTERM)
    assert loop.result().stdout.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_cycles_ends_after_the_step_in_hand(number: signal.Signals, quick: Forks) -> None:
    loop = quick.start("loop", "--speed", "fast")
    until(lambda: loop.stdout.count("\n") >= 3, "three cycles")
    loop.send(number)
    found = loop.result()
    assert found.code == 0
    assert "Stopping after this step" in found.stderr
    assert one(LEDGER, "SELECT count(*) FROM decisions WHERE agent = 'PLANNER'") == found.stdout.count("\n")
    has_ended_well(quick)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc to see that a process stands still")
@pytest.mark.parametrize(
    ("first", "second", "code"),
    [(signal.SIGINT, signal.SIGTERM, 143), (signal.SIGHUP, signal.SIGINT, 130)],
    ids=["SIGTERM", "SIGINT"],
)
def test_a_second_signal_leaves_at_once(first: signal.Signals, second: signal.Signals, code: int, quick: Forks) -> None:
    loop = quick.start("loop", "--speed", "fast")
    until(lambda: loop.stdout, "the first cycle")
    loop.send(signal.SIGSTOP)  # while it stands still both signals gather; Python takes the lower number first
    until(lambda: stands_still(loop.pid), "the loop to stand still")
    loop.send(first)
    loop.send(second)
    loop.send(signal.SIGCONT)
    ended = loop.result()
    assert ended.code == code
    assert "A second signal leaves at once" in ended.stderr
    assert_it_goes_on(quick, LEDGER)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(40))
def test_a_signal_at_any_moment_leaves_the_ledger_in_order(seed: int, quick: Forks) -> None:
    chance = random.Random(seed)
    for _ in range(4):
        words = chance.choice([("cycle",), ("loop", "--speed", "fast", "-q"), ("recover",), ("plan",)])
        process = quick.start(*words)
        time.sleep(0.3 * chance.random())  # the moment is the experiment: nothing is awaited
        number = chance.choice([signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
        process.send(number)
        assert process.result().code in (0, -number), "it dies of it only before it has begun"
    assert_it_goes_on(quick, LEDGER)


# ---------------------------------------------------------------- locks


def test_a_killed_loop_leaves_no_lock_behind(quick: Forks) -> None:
    quick.env |= HOURLY
    loop = quick.start("loop")
    until(lambda: loop.stdout, "the first cycle")
    assert quick("loop", "--cycles", "1", "--speed", "fast").code == 7
    loop.send(signal.SIGKILL)
    assert loop.result().code == KILLED
    assert quick("loop", "--cycles", "1", "--speed", "fast").code == 0
    assert_books_in_order(quick, LEDGER)


def test_a_killed_writer_leaves_no_lock_behind(quick: Forks) -> None:
    assert quick("cycle", env={"TRADER_FAILPOINT": "commit-before:4"}).code == KILLED
    assert quick("cycle", "--wait", "0").code == 0
    assert_books_in_order(quick, LEDGER)


def test_a_loop_waits_for_a_single_step_of_another_process(quick: Forks) -> None:
    loop = quick.start("loop", "--speed", "fast")
    until(lambda: loop.stdout, "the first cycle")
    with holding(LOCK):
        made = one(LEDGER, "SELECT count(*) FROM decisions")
        assert quick("cycle").code == 7
        assert one(LEDGER, "SELECT count(*) FROM decisions") == made
        assert not loop.ended()
    lines = loop.stdout.count("\n")
    until(lambda: loop.stdout.count("\n") > lines + 1, "the cycles after it")
    loop.send(signal.SIGTERM)
    assert loop.result().code == 0
    has_ended_well(quick)
