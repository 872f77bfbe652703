"""trader metrics: Prometheus' own reader understands it, and every figure is the ledger's."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as families

from tests.ledgers import ledger_at, only, reading, sha256, writing
from tests.test_hostile import Say, say
from trader_cli.tools.backups import back_up
from trader_cli.tools.performance import performance

__all__ = ["say"]

Labels = frozenset[tuple[str, str]]


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return ledger_at(tmp_path / "agent.db")


def read(text: str) -> dict[str, dict[Labels, float]]:
    """Samples by name and labels, as a monitor reads them."""
    found: dict[str, dict[Labels, float]] = {}
    for family in families(text):
        assert family.documentation
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def scraped(say: Say, ledger: Path, *words: str) -> dict[str, dict[Labels, float]]:
    said = say("metrics", "--db", str(ledger), *words)
    assert said.code == 0, said.stderr
    return read(said.stdout)


def the(found: dict[Labels, float]) -> float:
    (value,) = found.values()
    return value


def test_every_figure_is_the_ledgers(ledger: Path, say: Say) -> None:
    found = scraped(say, ledger)
    with reading(ledger) as kept:
        last, came = kept.last_snapshot(), performance(kept)
        assert last is not None
    assert sum(found["trader_cycles_total"].values()) == came.cycles
    assert sum(found["trader_orders_total"].values()) == only(ledger, "SELECT count(*) FROM orders")
    assert sum(found["trader_decisions_total"].values()) == only(ledger, "SELECT count(*) FROM decisions")
    assert the(found["trader_equity_usdt"]) == float(last.equity)
    assert the(found["trader_fees_usdt"]) == float(last.book.fees)
    assert the(found["trader_realized_pnl_usdt"]) == float(last.book.realized)
    assert the(found["trader_drawdown_ratio"]) == pytest.approx(1 - float(last.equity / last.peak))
    assert the(found["trader_unsettled_orders"]) == 0
    assert the(found["trader_confidence_count"]) == only(
        ledger, "SELECT count(*) FROM decisions WHERE json_extract(payload_json, '$.action') IN ('BUY', 'SELL')"
    )
    buckets = sorted((float(dict(labels)["le"]), value) for labels, value in found["trader_confidence_bucket"].items())
    assert [value for _, value in buckets] == sorted(value for _, value in buckets)
    assert buckets[-1] == (float("inf"), the(found["trader_confidence_count"]))
    trips = found["trader_policy_round_trips_total"]
    assert sum(trips.values()) == came.trips.n
    assert sum(value for labels, value in trips.items() if ("result", "won") in labels) == came.trips.won
    for part in came.policies:
        assert found["trader_policy_realized_pnl_usdt"][frozenset({("policy", str(part.policy))})] == float(part.profit)


def test_looking_changes_nothing_and_a_ledger_of_no_cycle_has_its_program_and_state(
    ledger: Path, say: Say, tmp_path: Path
) -> None:
    before = sha256(ledger)
    scraped(say, ledger)
    assert sha256(ledger) == before
    empty = tmp_path / "empty.db"
    assert say("plan", "-q", "--db", str(empty)).code == 0
    found = scraped(say, empty)
    assert "trader_equity_usdt" not in found
    assert the(found["trader_build_info"]) == 1
    assert say("metrics", "--db", "none.db").code == 8


def test_the_state_is_the_strictest_and_one_of_them(ledger: Path, say: Say) -> None:
    def states(**env: str) -> dict[str, float]:
        said = say("metrics", "--db", str(ledger), **env)
        return {dict(labels)["state"]: value for labels, value in read(said.stdout)["trader_trading_state"].items()}

    assert states() == {"run": 1, "reduce": 0, "halt": 0}
    assert states(TRADING="reduce") == {"run": 0, "reduce": 1, "halt": 0}
    assert say("stop", "-q", "--db", str(ledger)).code == 0
    assert states() == {"run": 0, "reduce": 0, "halt": 1}


def test_words_of_strangers_cannot_break_a_line(ledger: Path, say: Say) -> None:
    code = 'evil"} 1\ntrader_equity_usdt 999\\'
    with writing(ledger) as held, held.transaction() as tx:
        held.log_event(tx, "ERROR", {"code": code, "reason": "planted"}, 0)
    found = scraped(say, ledger)
    assert found["trader_errors_total"][frozenset({("code", code)})] == 1
    assert the(found["trader_equity_usdt"]) != 999


def test_a_file_is_replaced_whole_and_a_backup_is_dated(ledger: Path, say: Say, tmp_path: Path) -> None:
    back_up(ledger)
    for _ in range(2):
        assert say("metrics", "-o", "t.prom", "-q", "--db", str(ledger)).code == 0
    found = read((tmp_path / "t.prom").read_text(encoding="utf-8"))
    assert abs(the(found["trader_backup_timestamp_seconds"]) - time.time()) < 60


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="needs /proc")
def test_a_loop_that_runs_is_seen_with_its_memory_and_time(tmp_path: Path, clean_env: dict[str, str], say: Say) -> None:
    path = tmp_path / "agent.db"
    command = [sys.executable, "-m", "trader_cli.main", "loop", "-q", "--db", str(path)]
    child = subprocess.Popen(command, env=clean_env, cwd=tmp_path)
    try:
        deadline = time.monotonic() + 30
        while "trader_equity_usdt" not in (found := read(say("metrics", "--db", str(path)).stdout)):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        child.terminate()
        assert child.wait(30) == 0
    assert the(found["trader_loop_up"]) == 1
    assert 10e6 < the(found["trader_loop_resident_memory_bytes"]) < 200e6
    assert the(found["trader_loop_cpu_seconds_total"]) > 0.05
    assert the(scraped(say, path)["trader_loop_up"]) == 0
