"""`trader init`: a .env for its owner's eyes, never over another one, and nothing at all in a rehearsal."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from trader_cli.config import load_settings
from trader_cli.main import run

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def usual_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `init` write where it usually does."""
    monkeypatch.delenv("TRADER_ENV_FILE")
    monkeypatch.delenv("AGENTS")


def test_it_writes_paper_defaults_without_asking_where_nobody_is(tmp_path: Path, capsys: Capture) -> None:
    assert run(["init"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Wrote .env: MODE=paper, SYMBOL=BTC/USDT, MARKET=simulated, PAPER_BALANCE_USDT=1000",
        "Next:",
        "  trader cycle",
        "  trader ledger show",
        "  trader loop",
    ]
    loaded = load_settings(Path(".env"), {})
    assert loaded.settings.market == "simulated"
    assert loaded.origins["SYMBOL"].startswith(".env:")
    assert (tmp_path / "data").is_dir()


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert run(["init"]) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600


def test_what_is_chosen_is_set(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "my bars.csv").touch()
    words = ["--symbol", "ETH/USDC", "--market", "my bars.csv", "--balance", "250.5", "--db", "led/eth.db"]
    assert run(["init", "--json", *words]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema": "trader.init/1",
        "env_file": ".env",
        "dry_run": False,
        "settings": {
            "MODE": "paper",
            "SYMBOL": "ETH/USDC",
            "MARKET": "my bars.csv",
            "PAPER_BALANCE_USDT": "250.5",
            "DB_PATH": "led/eth.db",
        },
        "next": ["trader cycle", "trader ledger show", "trader loop"],
    }
    settings = load_settings(Path(".env"), {}).settings
    assert (settings.symbol, settings.market, str(settings.db_path)) == ("ETH/USDC", "my bars.csv", "led/eth.db")
    assert (tmp_path / "led").is_dir()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--symbol", "eth"], "--symbol: SYMBOL must be a pair in capitals"),
        (["--market", "absent.csv"], "--market: MARKET must be a file that exists"),
        (["--market", "mock"], "--market: MARKET must be simulated"),
        (["--balance", "0"], "--balance: PAPER_BALANCE_USDT must be a plain number above 0"),
        (["--env-file", "none"], "there is no file to write"),
    ],
)
def test_a_wrong_choice_is_a_usage_error_and_writes_nothing(
    words: list[str], message: str, tmp_path: Path, capsys: Capture
) -> None:
    assert run(["init", *words]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_not_touched_without_force(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / ".env").write_text("mine", encoding="utf-8")
    assert run(["init"]) == 3
    assert '".env" exists already' in capsys.readouterr().err
    assert (tmp_path / ".env").read_text(encoding="utf-8") == "mine"


def test_with_force_the_old_file_is_kept_beside_the_new_one(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / ".env").write_text("EXCHANGE_API_KEY=precious\n", encoding="utf-8")
    assert run(["init", "--force"]) == 0
    assert "MODE=paper" in (tmp_path / ".env").read_text(encoding="utf-8")
    assert (tmp_path / ".env.bak").read_text(encoding="utf-8") == "EXCHANGE_API_KEY=precious\n"
    assert stat.S_IMODE((tmp_path / ".env.bak").stat().st_mode) == 0o600
    assert 'Kept the old file as ".env.bak".' in capsys.readouterr().err


def test_a_dry_run_prints_the_file_and_writes_nothing(tmp_path: Path, capsys: Capture) -> None:
    assert run(["init", "--dry-run", "--symbol", "ETH/USDT"]) == 0
    out, err = capsys.readouterr()
    assert "SYMBOL=ETH/USDT\n" in out
    assert err == "Dry run: nothing was written.\n"
    assert list(tmp_path.iterdir()) == []


def test_what_the_environment_overrides_is_said(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("SYMBOL", "DOGE/USDT")
    assert run(["init"]) == 0
    assert "Warning: SYMBOL is set in the environment too" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_a_setting_to_correct(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").touch()
    assert run(["init", "--env-file", "file/.env"]) == 3
    assert run(["init", "--db", "file/agent.db"]) == 3
    assert capsys.readouterr().err.count("Error: cannot ") == 2


def test_on_a_terminal_it_asks_until_the_answer_will_do(clean_env: dict[str, str], tmp_path: Path) -> None:
    person, screen = pty.openpty()
    os.write(person, b"eth/usdt\nETH/USDT\n\n5,5\n500\n")
    env = {name: value for name, value in clean_env.items() if name not in ("TRADER_ENV_FILE", "AGENTS")}
    done = subprocess.run(
        [sys.executable, "-m", "trader_cli.main", "init"],
        env=env,
        cwd=tmp_path,
        stdin=screen,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(person)
    os.close(screen)
    assert done.returncode == 0
    assert done.stderr.count("Which pair? [BTC/USDT]: ") == 2
    assert done.stderr.count("Opening balance? [1000]: ") == 2
    settings = load_settings(tmp_path / ".env", {}).settings
    assert (settings.symbol, settings.market, settings.paper_balance_usdt) == (
        "ETH/USDT",
        "simulated",
        Decimal(500),
    )


def test_with_no_input_it_does_not_ask_on_a_terminal_either(clean_env: dict[str, str], tmp_path: Path) -> None:
    person, screen = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "trader_cli.main", "init", "--no-input", "--env-file", ".env"],
        env=clean_env,
        cwd=tmp_path,
        stdin=screen,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(person)
    os.close(screen)
    assert (done.returncode, done.stderr) == (0, "")
