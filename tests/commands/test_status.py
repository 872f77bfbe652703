"""`status`: where a ledger stands, and in one short line."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_schemas import PINNED
from tests.ledgers import grow, plain, scripted_desk
from tests.test_hostile import Say, refused, say
from trader_cli.core.decimals import dec
from trader_cli.views.status import short_line

__all__ = ["say"]


def standing(**changes: Any) -> dict[str, Any]:
    """A status with everything in order."""
    return {
        "state": "RUN",
        "mode": "paper",
        "symbol": "BTC/USDT",
        "unsettled_orders": [],
        "account_differs": None,
        "models_failing": False,
        "equity": dec("1000.42"),
        "deposits": dec("1000"),
        "base": dec("0.0123"),
        "next_due_secs": 200,
        "is_late": False,
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "paper RUNNING 1000.42 +0.04% 0.0123 BTC next 3m"),
        ({"mode": "real"}, "REAL RUNNING 1000.42 +0.04% 0.0123 BTC next 3m"),
        ({"next_due_secs": 0}, "paper RUNNING 1000.42 +0.04% 0.0123 BTC due now"),
        ({"next_due_secs": -7_300, "is_late": True}, "paper STALE 1000.42 +0.04% 0.0123 BTC due 2h ago"),
        ({"state": "HALT", "equity": dec("999.99")}, "paper HALT 999.99 0.00% 0.0123 BTC next 3m"),
        ({"unsettled_orders": ["x"], "equity": dec("900")}, "paper BLOCKED 900.00 -10.00% 0.0123 BTC next 3m"),
        ({"account_differs": "x"}, "paper RUNNING ACCOUNT DIFFERS 1000.42 +0.04% 0.0123 BTC next 3m"),
        ({"models_failing": True}, "paper RUNNING MODELS FAILING 1000.42 +0.04% 0.0123 BTC next 3m"),
        ({"equity": None, "next_due_secs": None}, "paper RUNNING no cycles yet"),
        ({"equity": None, "mode": None, "next_due_secs": None}, "NEW no cycles yet"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_status_bar_reads_one_line(changes: dict[str, Any], line: str) -> None:
    assert short_line(standing(**changes)) == line


def test_no_number_and_no_name_makes_the_line_longer_than_80() -> None:
    most = dec("9" * 18 + "." + "9" * 8)
    assert len(short_line(standing(equity=most, base=most, symbol="X" * 90 + "/Y"))) == 80


def test_the_short_line_is_the_whole_output_and_json_stays_whole(ledger: Path, say: Say) -> None:
    said = say("status", "--short")
    assert (said.code, said.stderr, said.stdout.count("\n")) == (0, "", 1)
    assert len(said.stdout) <= 81
    whole = json.loads(say("status", "--json").stdout)
    short = json.loads(say("status", "--short", "--json").stdout)
    assert short.keys() == whole.keys()
    assert whole["cycles"] == 24
    assert whole["is_due"] is (whole["next_due_secs"] <= 0)


def test_without_a_ledger_a_status_bar_stays_empty(say: Say, tmp_path: Path) -> None:
    refused(say("status", "--short"), 8, "no ledger at")
    with scripted_desk(tmp_path / "x.db"):
        pass
    assert say("status", "--short", "--db", "x.db").stdout == "paper RUNNING no cycles yet\n"
    with plain(tmp_path / "empty.db"):
        pass
    assert say("status", "--short", "--db", "empty.db").code == 8


def test_watched_in_a_pipe_it_tells_of_each_new_cycle_once_and_ends_with_a_signal(
    clean_env: dict[str, str], tmp_path: Path
) -> None:
    grow(tmp_path / "data" / "agent.db", 1)
    words = [sys.executable, "-m", "trader_cli.main", "--json", "status", "--watch"]
    with subprocess.Popen(
        words, env={**clean_env, **PINNED}, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["cycles"] == 1
        grow(tmp_path / "data" / "agent.db", 1)
        assert json.loads(watching.stdout.readline())["cycles"] == 2
        watching.send_signal(signal.SIGTERM)
        assert watching.stdout.read() == ""
        assert watching.wait(30) == 0


def test_watched_on_a_terminal_it_is_drawn_in_its_own_place(clean_env: dict[str, str], tmp_path: Path) -> None:
    grow(tmp_path / "data" / "agent.db", 1)
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "trader_cli.main", "status", "--watch"]
    with subprocess.Popen(words, env=clean_env, cwd=tmp_path, stdout=theirs, stderr=theirs, stdin=theirs) as watching:
        os.close(theirs)
        said = b""
        while not re.search(rb"\x1b\[\d+FRUNNING", said):  # up to where it began
            said += os.read(ours, 4096)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 0
    os.close(ours)
    assert said.count(b"RUNNING") >= 1
