"""Real market days from files, to their end: crashes, outages, duplicates and a collapse, each traded and proved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests import test_crash
from tests.conftest import ROOT
from tests.test_crash import Child, Forks, assert_books_in_order, one, rows
from trader_cli.core.moments import span_ms

quick = test_crash.quick

WINDOWS = ROOT.parent / "shared" / "data" / "windows"
FILES = sorted(path.name for path in WINDOWS.glob("*.csv"))
CRASH = "BINANCE_BTCUSDT_5m_crash_20210519.csv"
SOON_DONE = (
    "BINANCE_BTCUSDT_5m_outage_20201221.csv",
    "BINANCE_BTCUSDT_5m_outage_20210425.csv",
    "BINANCE_LUNAUSDT_1h_collapse_202205.csv",
)
"""What `make test` runs; the soak runs all."""

LONG_SECS = 900.0
"""How long the longest file may take."""

pytestmark = pytest.mark.skipif(not FILES, reason=f"the recorded windows lie outside the repository, in {WINDOWS}")

GIVEN = [
    pytest.param(name, marks=() if name in SOON_DONE else pytest.mark.soak, id=name.removesuffix(".csv"))
    for name in FILES or SOON_DONE
]


def start(quick: Forks, name: str, ledger: str, *more: str) -> Child:
    """A fast loop over a file, in a ledger of that name."""
    return quick.start("loop", "--speed", "fast", "-q", "--db", ledger, *more, env={"MARKET": str(WINDOWS / name)})


def content(quick: Forks, ledger: str) -> str:
    """The content hash of a ledger that is proved."""
    verified = json.loads(quick("ledger", "verify", "--json", "--db", ledger).stdout)
    assert verified["ok"]
    return str(verified["content_sha256"])


@pytest.mark.parametrize("name", GIVEN)
def test_a_recorded_market_is_traded_to_its_end(name: str, quick: Forks) -> None:
    ledger = Path("x.db")
    ended = start(quick, name, "x.db").result(LONG_SECS)
    assert (ended.code, ended.stdout) == (0, ""), ended.stderr
    assert_books_in_order(quick, ledger)

    last_bar = (WINDOWS / name).read_text(encoding="ascii").splitlines()[-1].split(",")[0]
    newest = one(ledger, "SELECT strftime('%s', max(ts_utc)) FROM decisions")
    spacing = span_ms(one(ledger, "SELECT value FROM meta WHERE key = 'timeframe'"))
    assert 0 <= int(last_bar) - int(newest) * 1000 < max(spacing, 3_600_000), (
        "to the last bar that an order could fill at"
    )

    shown = json.loads(quick("ledger", "show", "-n", "0", "--json", "--db", "x.db").stdout)["cycles"]
    assert shown
    assert all(row["why"] for row in shown if row["mode"] == "OBSERVE" or row["action"] == "HOLD")
    assert one(ledger, "SELECT count(*) FROM decisions WHERE agent = 'PLANNER' AND source = 'fallback'") == 0
    defects = one(ledger, "SELECT count(*) FROM observations WHERE defects_json <> '[]'")
    blind = "SELECT count(*) FROM orders AS o JOIN decisions AS d ON d.id = o.proposal_id JOIN observations AS s"
    assert rows(ledger, f"{blind} ON s.id = d.observation_id WHERE s.defects_json <> '[]'") == [(0,)]
    if "outage" in name or "collapse" in name:
        assert defects > 0
    if name == CRASH:
        assert one(ledger, "SELECT count(*) FROM trades WHERE status = 'FILLED'") >= 1

    over = quick("cycle", "--db", "x.db", env={"MARKET": str(WINDOWS / name)})
    assert (over.code, over.stdout) == (8, "")
    assert "ended at" in over.stderr
    assert start(quick, name, "x.db").result().code == 0, "a loop has nothing left to do, and that is success"
    assert one(ledger, "SELECT count(*) FROM decisions WHERE agent = 'PLANNER'") == len(shown)


def test_the_same_days_make_the_same_ledger_in_one_go_or_in_two(quick: Forks) -> None:
    whole = start(quick, CRASH, "whole.db", "--cycles", "60")
    first = start(quick, CRASH, "parts.db", "--cycles", "17")
    assert first.result().code == 0
    assert start(quick, CRASH, "parts.db", "--cycles", "43").result().code == 0
    assert whole.result().code == 0
    assert content(quick, "whole.db") == content(quick, "parts.db")
    assert one(Path("whole.db"), "SELECT count(*) FROM trades WHERE status = 'FILLED'") >= 1, "a crash is traded"


@pytest.mark.soak
@pytest.mark.parametrize("name", FILES)
def test_every_file_makes_the_same_ledger_twice(name: str, quick: Forks) -> None:
    runs = [start(quick, name, ledger) for ledger in ("one.db", "two.db")]
    assert [run.result(LONG_SECS).code for run in runs] == [0, 0]
    assert content(quick, "one.db") == content(quick, "two.db")


def test_a_ledger_refuses_another_file_even_of_the_same_name(quick: Forks) -> None:
    mine = Path("candles.csv")
    shutil.copy(WINDOWS / CRASH, mine)
    quick.env["MARKET"] = str(mine)
    assert quick("cycle").code == 0
    lines = mine.read_text(encoding="ascii").splitlines()
    mine.write_text("\n".join(lines[:-1]) + "\n", encoding="ascii")
    refused = quick("cycle")
    assert refused.code == 3
    assert "this ledger is for MARKET" in refused.stderr
    assert "--db" in refused.stderr


def test_a_timeframe_that_is_not_the_files_is_refused(quick: Forks) -> None:
    refused = quick("cycle", env={"MARKET": str(WINDOWS / CRASH), "TIMEFRAME": "1h"})
    assert refused.code == 3
    assert "set TIMEFRAME=5m" in refused.stderr
    assert list(quick.folder.iterdir()) == []
