"""`trader config`: every value with its origin, every problem at once, and an example to start from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Trader
from trader_cli.config import NAMES, example_text
from trader_cli.main import run

Capture = pytest.CaptureFixture[str]
CANARY = "sk-canary-0123456789-k3Qz"


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A .env that is read."""
    monkeypatch.delenv("TRADER_ENV_FILE")
    path = tmp_path / ".env"
    path.write_text(f"OPENAI_API_KEY={CANARY}\n\nSYMBOL=ETH/USDT\nDEPOSIT_CAP_USDT=7.5\n", encoding="utf-8")
    path.chmod(0o600)
    return path


def test_show_lists_every_setting_with_its_origin(
    env_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("TIMEFRAME", "1h")
    assert run(["config", "show"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header == "setting\tvalue\tfrom"
    assert [line.split("\t")[0] for line in lines] == list(NAMES)
    assert "SYMBOL\tETH/USDT\t.env:3" in lines
    assert "DEPOSIT_CAP_USDT\t7.5\t.env:4" in lines
    assert "TIMEFRAME\t1h\tenv" in lines
    assert "OHLCV_LIMIT\t200\tdefault" in lines


@pytest.mark.parametrize("words", [["show"], ["show", "--json"], ["check"], ["check", "--json"], ["show", "-vv"]])
def test_of_a_key_only_the_last_four_characters_show(words: list[str], env_file: Path, capsys: Capture) -> None:
    assert run(["config", *words]) == 0
    out, err = capsys.readouterr()
    assert CANARY[:-4] not in out + err
    if words == ["show"]:
        assert "OPENAI_API_KEY\tset (…k3Qz)\t.env:1\n" in out


def test_show_as_json_lists_every_setting_with_unset_values_as_null(env_file: Path, capsys: Capture) -> None:
    assert run(["config", "show", "--json"]) == 0
    rows = {row["setting"]: row for row in json.loads(capsys.readouterr().out)["settings"]}
    assert rows["MARKET"] == {"setting": "MARKET", "value": None, "from": "default"}
    assert rows["DEPOSIT_CAP_USDT"]["value"] == "7.5"


def test_check_names_every_problem_and_ends_with_3(trader: Trader, tmp_path: Path) -> None:
    (tmp_path / "bad.env").write_text(f"MODE=papr\nSYMBL=x\nOPENAI_API_KEY='{CANARY} '\n", encoding="utf-8")
    done = trader("config", "check", "--env-file", "bad.env")
    assert done.code == 3
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "Error: 3 settings are wrong",
        '  "SYMBL" is not a setting; did you mean "SYMBOL"? (from bad.env line 2)',
        '  MODE must be one of paper, testnet, real, was "papr" (from bad.env line 1)',
        "  OPENAI_API_KEY must be a real key, was a placeholder or has spaces in it (from bad.env line 3)",
        'Fix:   Correct "bad.env" or the environment, then run "trader config check".',
    ]


def test_check_looks_whether_logs_have_a_place(
    env_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("LOG_FILE", "x.log")
    assert run(["config", "check"]) == 0
    assert capsys.readouterr().out.startswith(f"ok    {len(NAMES)} settings, ")
    monkeypatch.setenv("LOG_FILE", "data/agent.db-wal")
    assert run(["config", "check"]) == 3
    assert "LOG_FILE must be a file of its own" in capsys.readouterr().err


def test_check_warns_of_a_key_that_others_can_read(env_file: Path, capsys: Capture) -> None:
    run(["config", "check"])
    assert "chmod" not in capsys.readouterr().err
    env_file.chmod(0o644)
    run(["config", "check", "--json"])
    out, err = capsys.readouterr()
    assert "chmod 600 .env" in err
    assert any("chmod" in notice for notice in json.loads(out)["notices"])


def test_example_prints_a_file_that_can_be_used_as_it_is(capsys: Capture) -> None:
    assert run(["config", "example"]) == 0
    assert capsys.readouterr().out == example_text()
    assert run(["config", "example", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == example_text()
