"""What keeps an operator safe at the command line: stops that always stop, ledgers that are not made by mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trader_cli.main import run

Capture = pytest.CaptureFixture[str]


def test_a_wrong_setting_does_not_keep_a_stop_away(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "x.env").write_text("DB_PATH=real/agent.db\nMODE=papr\n", encoding="utf-8")
    assert run(["stop", "--reason", "drill", "--env-file", "x.env"]) == 3
    assert (tmp_path / "real" / "STOP").read_text(encoding="utf-8") == "drill\n"
    said = capsys.readouterr().err
    assert 'a STOP file was written at "real/STOP"' in said
    assert 'was "papr"' in said


def test_a_rehearsed_stop_with_a_wrong_setting_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.env").write_text("MODE=papr\n", encoding="utf-8")
    assert run(["stop", "--dry-run", "--env-file", "x.env"]) == 3
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("step", ["propose", "judge", "execute", "recover", "status"])
def test_a_step_that_needs_a_ledger_makes_none(step: str, tmp_path: Path, capsys: Capture) -> None:
    assert run([step, "--db", "typo/agent.db"]) == 8
    assert not (tmp_path / "typo").exists()
    assert "Make one: trader cycle" in capsys.readouterr().err


def test_a_stop_beside_the_ledger_holds_under_every_name_of_it(tmp_path: Path, capsys: Capture) -> None:
    assert run(["cycle", "-q"]) == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "link.db").symlink_to(tmp_path / "data" / "agent.db")
    assert run(["stop", "-q", "--db", "other/link.db"]) == 0
    assert (tmp_path / "data" / "STOP").exists()
    assert not (tmp_path / "other" / "STOP").exists()
    assert not (tmp_path / "other" / "link.db.lock").exists()
    assert run(["execute", "--db", "other/link.db"]) in (0, 4)
    assert run(["resume", "--reason", "seen", "--db", "other/link.db"]) == 0
    assert not (tmp_path / "data" / "STOP").exists()
    capsys.readouterr()
    assert run(["resume", "--reason", "again"]) == 0
    assert "Nothing was stopped" in capsys.readouterr().out
    assert run(["status"]) == 0
    assert capsys.readouterr().out.startswith("RUNNING  paper")


def test_a_stop_that_is_a_folder_stops_and_is_no_bug_to_take_away(tmp_path: Path, capsys: Capture) -> None:
    assert run(["cycle", "-q"]) == 0
    (tmp_path / "data" / "STOP").mkdir()
    assert run(["cycle", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"]["plan"]["mode"] == "OBSERVE"
    assert run(["resume", "--reason", "x"]) == 6
    assert "Remove it by hand" in capsys.readouterr().err


@pytest.mark.parametrize("db", [".", "data"])
def test_a_folder_is_no_ledger(db: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "data").mkdir()
    assert run(["cycle", "--db", db]) == 3
    assert "must be a file, was the folder" in capsys.readouterr().err


def test_a_file_of_another_kind_is_left_as_it_was(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "bars.csv").write_text("timestamp_ms,open\n" * 100, encoding="utf-8")
    assert run(["cycle", "--db", "bars.csv"]) == 6
    assert "is not a trader ledger" in capsys.readouterr().err
    assert (tmp_path / "bars.csv").read_text(encoding="utf-8") == "timestamp_ms,open\n" * 100


def test_config_check_refuses_what_a_cycle_would_refuse(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("MARKET", "nope.csv")
    assert run(["config", "check"]) == 3
    monkeypatch.setenv("MODE", "testnet")
    assert run(["config", "check"]) == 3
    assert "MODE=testnet needs live prices" in capsys.readouterr().err
    monkeypatch.setenv("MARKET", "live")
    assert run(["config", "check"]) == 3
    assert "MODE=testnet needs EXCHANGE_API_KEY" in capsys.readouterr().err
    monkeypatch.setenv("EXCHANGE_ID", "kraken")
    assert run(["config", "check"]) == 3
    assert "orders on kraken cannot be looked up" in capsys.readouterr().err
    for mode, exchange, symbol, words in (
        ("real", "binanceus", "BTC/USDT", "does not say whether a key may withdraw"),
        ("real", "binance", "ETH/BTC", "needs a symbol quoted in dollars"),
    ):
        for name, value in {"MODE": mode, "EXCHANGE_ID": exchange, "SYMBOL": symbol}.items():
            monkeypatch.setenv(name, value)
        for name in ("EXCHANGE_API_KEY", "EXCHANGE_API_SECRET"):
            monkeypatch.setenv(name, "k" + "0123456789abcdef" * 4)
        assert run(["config", "check"]) == 3
        assert words in capsys.readouterr().err
    monkeypatch.setenv("SYMBOL", "BTC/USDT")
    assert run(["config", "check"]) == 0


def test_a_loop_that_would_end_before_it_began_is_a_mistake(capsys: Capture) -> None:
    assert run(["loop", "--speed", "fast", "--until", "2020-01-01"]) == 2
    assert "must lie after now" in capsys.readouterr().err


def test_a_cap_that_cannot_hold_one_round_trip_is_said_with_the_least_that_can(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("CAP_IN_ALL_MODES", "true")
    assert run(["loop", "--speed", "fast", "--cycles", "1"]) == 0
    said = capsys.readouterr().err
    assert "DEPOSIT_CAP_USDT 5 cannot hold one round trip of BTC/USDT" in said
    least = said.split("The smallest that can: ")[1].split()[0]
    monkeypatch.setenv("DEPOSIT_CAP_USDT", least)
    assert run(["loop", "--speed", "fast", "--cycles", "1", "--db", "other.db"]) == 0
    assert "cannot hold" not in capsys.readouterr().err
    assert run(["ledger", "show", "--json", "--db", "other.db"]) == 0
    assert json.loads(capsys.readouterr().out)["cycles"][0]["order_state"] == "FILLED"


def test_a_stop_with_a_wrong_setting_lies_beside_the_ledger_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["cycle", "-q"]) == 0
    (tmp_path / "link.db").symlink_to(tmp_path / "data" / "agent.db")
    monkeypatch.setenv("OHLCV_LIMIT", "abc")
    assert run(["stop", "--db", "link.db"]) == 3
    assert (tmp_path / "data" / "STOP").exists()


def test_an_order_of_an_older_trace_leaves_no_false_drift(capsys: Capture) -> None:
    for step in ("plan", "propose", "judge", "plan"):
        assert run([step, "-q"]) == 0
    assert run(["execute", "--verdict", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["order"]["state"] == "FILLED"
    for drift in (None, "0"):  # the first ends the newest trace, the second is a look by itself
        assert run(["snapshot", "--json"]) == 0
        taken = json.loads(capsys.readouterr().out)
        assert (taken["drift_base"], taken["drift_quote"]) == (drift, drift)


def test_a_snapshot_by_hand_after_a_misprint_verifies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars = tmp_path / "bars.csv"
    rows = [f"{(n + 5_000_000) * 300_000},100,101,99,{100 + n % 3},5" for n in range(200)]
    rows += [
        f"{(n + 5_000_000) * 300_000},102,{300 if n == 210 else 103},101,{102 + (n > 210) * 5},5"
        for n in range(200, 230)
    ]
    bars.write_text("timestamp_ms,open,high,low,close,volume\n" + "\n".join(rows) + "\n", encoding="utf-8")
    monkeypatch.setenv("MARKET", str(bars))
    assert run(["loop", "--speed", "fast", "--cycles", "25", "-q"]) == 0
    assert run(["snapshot", "-q"]) == 0
    assert run(["ledger", "verify", "-q"]) == 0


def test_a_resume_without_a_reason_in_it_is_refused(tmp_path: Path, capsys: Capture) -> None:
    assert run(["resume", "--reason", ""]) == 2
    assert "--reason must say why, was empty" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("nothing", ["", " "])
def test_a_stop_whose_reason_is_empty_stops_all_the_same(tmp_path: Path, nothing: str) -> None:
    assert run(["stop", "--reason", nothing]) == 0
    assert "stopped by the operator" in (tmp_path / "data" / "STOP").read_text(encoding="utf-8")


def test_a_path_that_is_too_long_is_not_blamed_on_the_folders_owner(capsys: Capture) -> None:
    for words in (["status"], ["cycle"]):
        assert run([*words, "--db", "x" * 300]) == 6
        assert "Fix:   Name a shorter path with --db." in capsys.readouterr().err
