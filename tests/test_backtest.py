"""backtest and report: the loop's own phases, repeatable anywhere; sums to the last digit; nothing knows the future."""

from __future__ import annotations

import csv
import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.ledgers import ledger_at, reading
from tests.test_hostile import Say, say
from tests.test_no_look_ahead import Leaking
from trader_cli.backtests import ELSEWHERE, bench_of, carry_out, peeks, run_id, run_of, run_one, running, settings_of
from trader_cli.commands.sweep import _anywhere, _rank
from trader_cli.config import settings_from
from trader_cli.core.decimals import add, sub
from trader_cli.core.errors import TraderError
from trader_cli.phases.audit import verify
from trader_cli.schemas.backtest import Outcome, Run, Sole
from trader_cli.schemas.order import Side
from trader_cli.schemas.performance import Money
from trader_cli.tools.exchanges.paper_rules import rules
from trader_cli.tools.markets.simulated import SimulatedMarket
from trader_cli.tools.otherwise import Otherwise
from trader_cli.tools.performance import performance
from trader_cli.tools.verification import content_sha256
from trader_cli.wiring import virtual_desk

__all__ = ["say"]

DATA = ROOT.parent / "shared" / "data"
RECORDED = DATA / "BINANCE_BTCUSDT_5m_20201201_20210717.csv"
recorded = pytest.mark.skipif(not RECORDED.exists(), reason="the recorded bars are not here")


def content(path: Path) -> str:
    with reading(path) as ledger:
        return content_sha256(ledger)


def the_one(folder: Path) -> Path:
    (found,) = folder.glob("*.db")
    return found


def has_begun(path: Path) -> bool:
    """Whether a snapshot was committed."""
    try:
        with reading(path) as ledger:
            return bool(ledger.db.execute("SELECT 1 FROM portfolio").fetchone())
    except TraderError:
        return False


def bars(path: Path, count: int) -> Path:
    """A file of simulated bars."""
    market = SimulatedMarket("BTC/USDT", 300_000, 5, Decimal("0.01"))
    first = market.start(1)
    rows = market.closed(count, first + (count - 1) * 300_000)
    lines = [",".join([str(bar.opened_at), *(f"{value:f}" for value in bar[1:])]) for bar in rows]
    path.write_text("\n".join(["timestamp_ms,open,high,low,close,volume", *lines]) + "\n", encoding="utf-8")
    return path


# ---------------------------------------------------------------- one run


@pytest.mark.untraced
def test_a_paper_loop_and_a_backtest_over_the_same_bars_have_the_same_content(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = bars(tmp_path / "bars.csv", 340)
    assert say("backtest", "--data", str(file), "-o", "runs", "-q").code == 0
    monkeypatch.setenv("MARKET", str(file))
    assert say("loop", "--speed", "fast", "-q", "--db", "loop.db").code == 0
    run = the_one(tmp_path / "runs")
    assert content(run) == content(tmp_path / "loop.db")
    with reading(run) as ledger:
        assert [check.name for check in verify(ledger) if not check.ok] == []
        assert ledger.db.execute("SELECT count(*) FROM decisions WHERE agent = 'PLANNER'").fetchone()[0] > 130


def test_a_run_again_is_done_already_and_another_one_has_a_ledger_of_its_own(say: Say, tmp_path: Path) -> None:
    words = ("backtest", "--simulated", "3", "--bars", "60", "-o", "runs", "--json")
    first = say(*words)
    again = say(*words)
    assert (first.code, again.code) == (0, 0)
    assert first.stdout == again.stdout
    assert json.loads(first.stdout)["ledgers"][0]["cycles"] == 60
    path = the_one(tmp_path / "runs")
    was = path.read_bytes()
    assert say(*words).code == 0
    assert path.read_bytes() == was
    assert say("backtest", "--simulated", "4", "--bars", "60", "-o", "runs", "-q").code == 0
    assert len(list((tmp_path / "runs").glob("*.db"))) == 2


@pytest.mark.untraced
def test_a_run_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(
    say: Say, tmp_path: Path, clean_env: dict[str, str]
) -> None:
    words = ("backtest", "--simulated", "3", "--bars", "2000")
    command = [sys.executable, "-m", "trader_cli.main", *words, "-o", "killed", "-q"]
    child = subprocess.Popen(command, env=clean_env, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not any(map(has_begun, (tmp_path / "killed").glob("*.db"))):
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    left = the_one(tmp_path / "killed")
    with reading(left) as ledger:
        assert 0 < ledger.db.execute("SELECT count(*) FROM portfolio").fetchone()[0] < 2000
    assert say(*words, "-o", "killed", "-q").code == 0
    assert say(*words, "-o", "whole", "-q").code == 0
    assert content(left) == content(the_one(tmp_path / "whole"))


def test_while_it_runs_garbage_is_looked_for_seldom_and_afterwards_as_before(tmp_path: Path) -> None:
    usual = gc.get_threshold()
    settings = settings_from("", "", {}, {"MARKET": "simulated"}).settings
    run = run_of(settings)
    with running(run, settings_of(run, tmp_path / "a.db")) as desk:
        assert gc.get_threshold()[0] > 10 * usual[0]
        assert desk.batch_ms > 0
    assert gc.get_threshold() == usual
    assert gc.get_freeze_count() == 0


def test_a_span_begins_and_ends_where_it_was_asked_to(say: Say, tmp_path: Path) -> None:
    file = bars(tmp_path / "bars.csv", 400)
    whole = json.loads(say("backtest", "--data", str(file), "-o", "a", "--json").stdout)["ledgers"][0]
    since, until = whole["days"][0]["day"] + "T20:00:00Z", whole["days"][0]["day"] + "T22:00:00Z"
    said = say("backtest", "--data", str(file), "-o", "b", "--since", since, "--until", until, "--json")
    part = json.loads(said.stdout)["ledgers"][0]
    assert (part["from"][:16], part["cycles"]) == (since[:16], 24)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--data a.csv --simulated 1", "both name the bars"),
        ("--bars 5 --until 2027-01-01", "both say where to end"),
        ("--policy ma_trend:fast", "name:param=value"),
        ("--policy nobody", 'there is no policy "nobody"'),
        ("--policy ma_trend:fast=99", "from 3 to 19"),
        ("--model gpt-5", "only with both --model and --max-cost"),
        ("-j 2", "go with --sweep"),
        ("--since 1d", "counts back from the last bar"),
        ("--html none/r.html", "its folder is not there"),
        ("--check-lookahead --model gpt-5 --max-cost 1", "would be paid again"),
        ("--since 2031-01-01 --until 2030-01-01", "before it begins"),
        ("--simulated 7 --sweep g.toml --on dask://nobody", "needs dask://HOST:PORT"),
    ],
)
def test_options_that_do_not_go_together_are_refused_and_leave_nothing(
    words: str, told: str, say: Say, tmp_path: Path
) -> None:
    said = say("backtest", *words.split(), "-o", "runs")
    assert said.code == 2
    assert told in said.stderr
    assert not (tmp_path / "runs").exists()


def test_a_span_counts_back_from_the_last_bar(say: Say, tmp_path: Path) -> None:
    file = bars(tmp_path / "bars.csv", 400)
    said = say("backtest", "--data", str(file), "-o", "a", "--since", "10h", "--json")
    assert json.loads(said.stdout)["ledgers"][0]["cycles"] == 121, "the last bar is where the last one begins"


def test_rows_for_stdout_come_alone_and_a_taken_file_is_refused_before_the_run(say: Say, tmp_path: Path) -> None:
    words = ("backtest", "--simulated", "7", "--bars", "30", "-o", "runs")
    said = say(*words, "--csv", "-")
    assert said.stdout.startswith("ledger,day,")
    assert not (tmp_path / "-").exists()
    assert say(*words, "--csv", "-", "--json").code == 2
    (tmp_path / "g.toml").write_text("[policy.coin]\n", encoding="utf-8")
    (tmp_path / "taken.csv").write_text("mine", encoding="utf-8")
    assert say(*words[:-1], "other", "--sweep", "g.toml", "--csv", "taken.csv").code == 2
    assert not (tmp_path / "other").exists()
    assert say(*words, "--sweep", "g.toml", "--csv", "-").stdout.startswith("policy,")


def test_a_worker_in_another_folder_finds_the_bars(say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars(tmp_path / "bars.csv", 230)
    settings = settings_from("", "", {}, {"MARKET": "bars.csv"}).settings
    run = run_of(settings)
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    assert run_one(run, str(tmp_path), {}).error is not None
    monkeypatch.chdir(tmp_path)
    sent = _anywhere(run)
    assert run_id(sent) == run_id(run)
    monkeypatch.chdir(tmp_path / "else")
    assert run_one(sent, str(tmp_path), {}).error is None


@pytest.mark.untraced
def test_the_coins_of_a_real_run_are_in_the_market_as_long_as_it_was(say: Say, tmp_path: Path) -> None:
    assert say("backtest", "--simulated", "7", "--bars", "1200", "-o", "runs", "-q").code == 0
    with reading(the_one(tmp_path / "runs")) as ledger:
        last = ledger.db.execute("SELECT max(id) FROM portfolio").fetchone()[0]
        begun, plays = Otherwise(ledger, Money(), (1, last))._plays(rules("BTC/USDT", Decimal("0.1")))
    assert len(plays) > 8
    assert begun.base == 0
    assert [play.leaves for play in plays] == [play.side is Side.BUY for play in plays]
    assert all(play.amount < 1 for play in plays if play.side is Side.SELL), "each sale leaves dust"


def test_a_span_after_the_last_bar_is_refused_and_so_is_a_report_of_a_span_that_ends_before_it_begins(
    say: Say, tmp_path: Path
) -> None:
    file = bars(tmp_path / "bars.csv", 220)
    said = say("backtest", "--data", str(file), "--since", "2100-01-01", "-o", "runs")
    assert said.code == 2
    assert "after the last bar" in said.stderr
    assert say("cycle", "-q").code == 0
    said = say("report", "--since", "2026-01-03", "--until", "2026-01-02")
    assert said.code == 2
    assert "is not after --since" in said.stderr


def test_a_folder_that_cannot_be_made_is_named_with_its_option(say: Say, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    said = say("backtest", "--simulated", "7", "--bars", "9", "-o", "file/runs")
    assert said.code == 6
    assert "--out" in said.stderr


def test_bars_that_are_not_there_are_a_wrong_setting(say: Say) -> None:
    said = say("backtest", "--data", "none.csv", "-o", "runs")
    assert said.code == 3
    assert "none.csv" in said.stderr


def test_every_setting_is_part_of_a_run_or_known_not_to_matter() -> None:
    assert (
        *("mode", "agents", "db_path", "openai_api_key", "openai_base_url", "openai_model_planner"),
        *("openai_model_trader", "openai_model_judge", "model_timeout_secs", "model_budget_usd_per_day"),
        *("trader_tool_rounds", "exchange_id", "exchange_api_key", "exchange_api_secret", "trader_confirm_real"),
        *("ccxt_config", "log_level", "log_file", "webhook_url", "notify_urls"),
    ) == ELSEWHERE


def test_a_runs_name_follows_from_what_it_is_made_of_and_not_from_where_its_bars_lie(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    here, there = bars(tmp_path / "bars.csv", 220), bars(tmp_path / "a" / "bars.csv", 220)
    runs = [run_of(settings_from("", "", {}, {"MARKET": str(path)}).settings) for path in (here, there)]
    assert run_id(runs[0]) == run_id(runs[1])
    more = run_of(settings_from("", "", {}, {"MARKET": str(here), "PAPER_FEE_PCT": "0.2"}).settings)
    assert run_id(more) != run_id(runs[0])
    assert run_id(run_of(settings_from("", "", {}, {"MARKET": str(here)}).settings, (5, None))) != run_id(runs[0])


# ---------------------------------------------------------------- look-ahead


def done_run(folder: Path, source: Any = None) -> tuple[Run, Any]:
    """A run over simulated bars, or over `source` in their place."""
    run = run_of(settings_from("", "", {}, {"MARKET": "simulated", "SIMULATED_SEED": "7"}).settings)
    made = settings_of(run, folder / "run.db")
    with running(run, made) as honest:
        desk = honest if source is None else virtual_desk(made, honest.ledger, source, bench_of(run))
        with desk.ledger.steady():
            start = desk.clock.now()
        carry_out(Run(run.settings, until=start + 300 * 300_000), desk)
    return run, made


class LeakingTheOpen(Leaking):
    """Knows at what price an order will fill."""

    knows = "open"


def leaking(kind: type[Leaking]) -> Leaking:
    """The simulated market, with the next bar's close or opening as its newest close."""
    market = SimulatedMarket("BTC/USDT", 300_000, 7, Decimal("0.01"))
    return kind(market, market.start(10**6), None)


@pytest.mark.untraced
def test_an_honest_run_knew_no_later_bar(tmp_path: Path) -> None:
    run, made = done_run(tmp_path)
    found = list(peeks(run, made, 40))
    assert len(found) > 60
    assert {one.difference for one in found} == {None}


@pytest.mark.untraced
@pytest.mark.parametrize("kind", [Leaking, LeakingTheOpen])
def test_a_planted_look_ahead_is_caught_by_name(kind: type[Leaking], tmp_path: Path) -> None:
    source = leaking(kind)
    run, made = done_run(tmp_path, source)

    found = list(peeks(run, made, 40, planted=lambda below: kind(below, source.moment, None)))  # type: ignore[arg-type]
    wrong = [one for one in found if one.difference is not None]
    assert len(wrong) > len(found) // 2
    assert "with other bars ahead" in str(wrong[0].difference)


# ---------------------------------------------------------------- sweeps


GRID = """
[settings]
PAPER_FEE_PCT = ["0.1", "0"]
[policy.ma_trend]
fast = [5, 9]
[policy.coin]
seed = [1]
"""


def swept(say: Say, folder: str, *words: str) -> list[tuple[str, str, str]]:
    """The runs of the grid: name, equity, content."""
    said = say("backtest", "--simulated", "7", "--bars", "80", "--sweep", "g.toml", "-o", folder, "--json", *words)
    assert said.code == 0, said.stderr
    document = json.loads(said.stdout)
    assert (document["trials"], document["failed"]) == (6, 0)
    return [(one["run"], one["equity"], one["content_sha256"]) for one in document["runs"]]


@pytest.fixture
def cluster() -> Iterator[str]:
    """A Dask scheduler with a worker, on loopback."""
    code = (
        "from distributed import LocalCluster\n"
        "import sys\n"
        "if __name__ == '__main__':\n"
        "    with LocalCluster(n_workers=1, threads_per_worker=1, host='127.0.0.1', dashboard_address=None) as one:\n"
        "        print(one.scheduler_address, flush=True)\n"
        "        sys.stdin.read()\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        yield child.stdout.readline().strip().removeprefix("tcp://")
    finally:
        child.stdin.close()
        child.stdout.close()
        child.wait(30)


@pytest.mark.untraced
@pytest.mark.filterwarnings("ignore")  # a cluster's own
def test_a_sweep_comes_out_the_same_here_in_processes_and_on_a_cluster(say: Say, tmp_path: Path, cluster: str) -> None:
    (tmp_path / "g.toml").write_text(GRID, encoding="utf-8")
    here = swept(say, "here")
    assert len({content for _, _, content in here}) == 6
    assert swept(say, "processes", "-j", "2") == here
    assert swept(say, "cluster", "--on", f"dask://{cluster}") == here
    assert swept(say, "here") == here


def test_a_run_that_fails_is_listed_and_the_others_go_on(say: Say, tmp_path: Path) -> None:
    (tmp_path / "g.toml").write_text("[policy.coin]\nseed = [1, 2]\n", encoding="utf-8")
    words = ("backtest", "--simulated", "7", "--bars", "40", "--sweep", "g.toml", "-o", "runs", "--json")
    first = json.loads(say(*words).stdout)["runs"][0]
    Path(first["ledger"]).write_bytes(b"no ledger" * 1_000)
    said = say(*words)
    document = json.loads(said.stdout)
    assert (said.code, document["trials"], document["failed"]) == (0, 2, 1)
    *_, failed = document["runs"]
    assert failed["run"] == first["run"]
    assert failed["error"]


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        ("[settings]\nMODE = ['real']", '"MODE" is no setting that a backtest depends on'),
        ("[policy.ma_trend]\nfast = [99]", "from 3 to 19"),
        ("[policy.ma_trend]\nspeed = [1]", 'no parameter "speed"'),
        ("[polcy.ma_trend]\nfast = [9]", 'was "polcy"'),
        ("[settings]\nPAPER_FEE_PCT = []", "needs a list"),
        ("= 3", "is no TOML"),
        ("[settings]\nTRADING = ['halt', 'bogus']", "g.toml: TRADING=bogus: "),
        ("[settings]\nMARKET = ['/nope.csv']", "g.toml: MARKET=/nope.csv: "),
    ],
)
def test_a_grid_that_cannot_be_is_refused(grid: str, told: str, say: Say, tmp_path: Path) -> None:
    (tmp_path / "g.toml").write_text(grid, encoding="utf-8")
    said = say("backtest", "--bars", "40", "--sweep", "g.toml", "-o", "runs")
    assert said.code == 2
    assert told in said.stderr


def test_values_written_otherwise_are_the_same_run_and_the_same_trial(say: Say, tmp_path: Path) -> None:
    grid = "[settings]\nPAPER_BALANCE_USDT = [100, 100.0, '100.00']\n[policy.ma_trend]\nfast = [9]\n[policy.coin]\n"
    (tmp_path / "g.toml").write_text(grid, encoding="utf-8")
    words = ("backtest", "--simulated", "7", "--bars", "40", "-o", "runs")
    document = json.loads(say(*words, "--sweep", "g.toml", "--json").stdout)
    assert document["trials"] == len(list((tmp_path / "runs").glob("*.db"))) == 2
    for policy in ("coin", "coin:seed=1", "coin:every=24,seed=1"):
        monkey = {"PAPER_BALANCE_USDT": "100.000"}
        assert say(*words, "-q", "--policy", policy, **monkey).code == 0
    assert len(list((tmp_path / "runs").glob("*.db"))) == 2


def test_the_runs_of_a_sweep_trade_the_same_bars(say: Say, tmp_path: Path) -> None:
    file = bars(tmp_path / "bars.csv", 320)
    (tmp_path / "g.toml").write_text("[settings]\nOHLCV_LIMIT = [100, 130, 250]\n", encoding="utf-8")
    words = ("backtest", "--data", str(file), "--sweep", "g.toml", "-o", "runs", "--json")
    runs = json.loads(say(*words).stdout)["runs"]
    assert {one["cycles"] for one in runs} == {70}
    assert len({one["content_sha256"] for one in runs}) == 3
    said = say(*words, "--bars", "40")
    assert said.code == 2
    assert "before all of them can begin" in said.stderr


def test_a_run_without_a_cycle_has_failed(tmp_path: Path) -> None:
    settings = settings_from("", "", {}, {"MARKET": str(bars(tmp_path / "bars.csv", 220))}).settings
    came = run_one(replace(run_of(settings), since=2**41), str(tmp_path), {})
    assert came.error == "it had no cycle: its bars end before it could begin"


def test_a_sweep_of_which_no_run_ends_says_so(say: Say, tmp_path: Path) -> None:
    (tmp_path / "g.toml").write_text("[policy.coin]\nseed = [1]\n", encoding="utf-8")
    words = ("backtest", "--simulated", "7", "--bars", "40", "--sweep", "g.toml", "-o", "runs", "--json")
    only = json.loads(say(*words).stdout)["runs"][0]
    Path(only["ledger"]).write_bytes(b"no ledger" * 1_000)
    said = say(*words)
    assert said.code == 9
    assert "no run came to its end" in said.stderr
    assert json.loads(said.stdout)["failed"] == 1


def test_the_runs_of_a_sweep_and_the_days_of_a_run_are_written_as_csv(say: Say, tmp_path: Path) -> None:
    (tmp_path / "g.toml").write_text("[policy.coin]\nseed = [1, 2]\n[policy.ma_trend]\n", encoding="utf-8")
    words = ("backtest", "--simulated", "7", "--bars", "40", "-o", "runs", "-q")
    assert say(*words, "--sweep", "g.toml", "--csv", "runs.csv").code == 0
    rows = list(csv.DictReader((tmp_path / "runs.csv").read_text(encoding="utf-8").splitlines()))
    assert sorted(row["policy"] for row in rows) == ["coin", "coin", "ma_trend"]
    assert {row["cycles"] for row in rows} == {"40"}
    assert say(*words, "--csv", "days.csv").code == 0
    days = list(csv.DictReader((tmp_path / "days.csv").read_text(encoding="utf-8").splitlines()))
    assert [*days[0]][:3] == ["ledger", "day", "equity"]
    assert say(*words, "--csv", "days.csv").code == 2


def test_what_earned_nothing_known_stands_below_what_lost() -> None:
    def ran(name: str, gained: float | None, error: str | None = None) -> Outcome:
        return Outcome(name, {}, error, gained=gained)

    done = [ran("wiped out", None), ran("lost", -0.01), ran("failed", None, "why"), ran("won", 0.01)]
    assert [one.run_id for one in sorted(done, key=_rank)] == ["won", "lost", "wiped out", "failed"]


def lucky(say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, coins: int) -> dict[str, Any]:
    (tmp_path / "g.toml").write_text(f"[policy.coin]\nevery = [3]\nseed = {list(range(coins))}\n", encoding="utf-8")
    monkeypatch.setenv("TIMEFRAME", "12h")
    said = say("backtest", "--simulated", "7", "--bars", "90", "--sweep", "g.toml", "-o", "runs", "--json")
    document: dict[str, Any] = json.loads(said.stdout)
    again = say("backtest", "--simulated", "7", "--bars", "90", "--sweep", "g.toml", "-o", "runs")
    assert "No evidence that the best run is better than luck." in again.stderr
    assert f"({coins} trials" in again.stderr
    return document


@pytest.mark.untraced
def test_the_best_of_some_coins_is_called_luck(say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = lucky(say, tmp_path, monkeypatch, 12)
    assert document["better_than_luck"] is False
    assert document["luck"]["trials"] == 12
    assert 0 < document["luck"]["probability"] < 0.95


@pytest.mark.soak
def test_the_best_of_64_coins_is_called_luck(say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lucky(say, tmp_path, monkeypatch, 64)["luck"]["trials"] == 64


@pytest.mark.soak
@recorded
def test_seven_months_of_recorded_bars_finish_verify_and_repeat(say: Say, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        assert say("backtest", "--data", str(RECORDED), "-o", folder, "-q").code == 0
    one, other = the_one(tmp_path / "a"), the_one(tmp_path / "b")
    assert content(one) == content(other)
    with reading(one) as ledger:
        assert [check.name for check in verify(ledger) if not check.ok] == []


# ---------------------------------------------------------------- the report


def test_the_parts_of_a_report_add_up_to_the_ledgers_profit_to_the_last_digit(say: Say, tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    with reading(path) as ledger:
        found, last = performance(ledger), ledger.last_snapshot()
        assert last is not None
        spent = [Decimal(row[0]) for row in ledger.db.execute("SELECT cost_usd FROM model_calls")]
    profit = sub(last.equity, last.book.deposits)
    assert found.trades > 5
    assert profit != 0
    assert add(found.moved.realized, found.moved.unrealized) == profit
    assert add(*(add(day.moved.realized, day.moved.unrealized) for day in found.days)) == profit
    assert add(*(day.moved.fees for day in found.days)) == last.book.fees
    assert add(*(add(part.profit, part.open_profit) for part in found.policies)) == profit
    assert add(*(part.fees for part in found.policies)) == last.book.fees
    assert add(*(part.cost for part in found.models)) == add(*spent) == found.moved.model_cost
    said = say("report", "--csv", "-", "--db", str(path))
    rows = list(csv.DictReader(said.stdout.splitlines()))
    assert add(*(Decimal(row["profit"]) for row in rows)) == profit
    assert sum(int(row["trades"]) for row in rows) == found.trades


def test_a_span_of_a_report_is_the_difference_of_two_snapshots(say: Say, tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "agent.db")
    whole = json.loads(say("report", "--db", str(path), "--json").stdout)["ledgers"][0]
    with reading(path) as ledger:
        (middle,) = ledger.db.execute("SELECT ts_utc FROM portfolio WHERE id = 12").fetchone()
    early, late = (
        json.loads(say("report", "--db", str(path), "--json", option, middle).stdout)["ledgers"][0]
        for option in ("--until", "--since")
    )
    parts = [Decimal(part[name]) for part in early["policies"] for name in ("profit", "open_profit")]
    assert add(*parts) == Decimal(early["profit"]) != 0
    assert early["ended"] | {"model_cost_usd": 0} == late["begun"] | {"model_cost_usd": 0}
    assert early["cycles"] + late["cycles"] == whole["cycles"]
    assert early["trades"] + late["trades"] == whole["trades"]
    for name in ("realized", "unrealized", "fees", "deposits"):
        assert Decimal(early["moved"][name]) + Decimal(late["moved"][name]) == Decimal(whole["moved"][name])


def test_a_report_needs_a_ledger_and_says_where_one_has_no_snapshot(say: Say, tmp_path: Path) -> None:
    assert say("report").code == 8
    assert say("plan", "-q").code == 0
    said = say("report", "--json")
    assert said.code == 0
    (only,) = json.loads(said.stdout)["ledgers"]
    assert (only["from"], only["cycles"], only["baselines"], only["sharpe"]["value"]) == (None, 1, None, None)
    assert say("report", "--html", "r.html").code == 0
    assert "<html" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_a_page_is_not_written_over_and_several_ledgers_stand_side_by_side(say: Say, tmp_path: Path) -> None:
    one, other = ledger_at(tmp_path / "a.db"), ledger_at(tmp_path / "b.db", 8)
    assert say("report", str(one), str(other), "--html", "r.html").code == 0
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "a.db" in page
    assert "b.db" in page
    assert say("report", str(one), "--html", "r.html").code == 2
    assert (tmp_path / "r.html").read_text(encoding="utf-8") == page


def test_few_days_have_no_ratio_and_a_run_of_one_policy_trades_no_other(say: Say, tmp_path: Path) -> None:
    run = run_of(
        settings_from("", "", {}, {"MARKET": "simulated", "SIMULATED_SEED": "7"}).settings,
        sole=Sole("ma_trend", {"fast": 5, "slow": 30}),
    )
    assert (
        say("backtest", "--simulated", "7", "--bars", "300", "--policy", "ma_trend:fast=5,slow=30", "-o", "r").code == 0
    )
    with reading(the_one(tmp_path / "r")) as ledger:
        found = performance(ledger)
    assert run.sole is not None
    assert {part.policy for part in found.policies} == {run.sole.policy}
    assert (found.sharpe.value, found.sortino.value) == (None, None)
    assert found.sharpe.n == len(found.returns) == 2
