"""docs/operations.md and its recipes: the commands exist, systemd takes the units, nothing runs as root."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_readme import ROOT, WORDS
from trader_cli.config import NAMES
from trader_cli.core.errors import ExitCode
from trader_cli.main import run

RECIPES = ROOT / "docs" / "recipes"
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(RECIPES.iterdir())}
GROUPS = {"ledger", "config", "gate", "memory"}


CALL = re.compile(r"(?:`|/|    |^)trader ((?:--env-file none )?[a-z][a-z -]*(?:[0-9]+[a-z]*|FILE)?)", re.MULTILINE)


def test_every_command_that_is_named_exists_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    calls = {call.replace("--env-file none ", "") for text in (PAGE, *TEXTS.values()) for call in CALL.findall(text)}
    assert len(calls) > 9
    for call in sorted(calls):
        words = call.split()
        name = " ".join(words[:2]) if words[0] in GROUPS else words[0]
        assert name in WORDS, call
        assert run([*name.split(), "--help"]) == 0
        told = capsys.readouterr().out
        assert all(word in told for word in words if word.startswith("--")), (call, told)


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", PAGE))
def test_every_recipe_that_is_named_is_there(target: str) -> None:
    assert (ROOT / "docs" / target).exists()


def test_settings_in_recipes_are_settings() -> None:
    for name, text in TEXTS.items():
        for setting in re.findall(r"^\s*(?:Environment=|ENV .*?|- )?([A-Z][A-Z_]{3,})(?==|: )", text, re.MULTILINE):
            assert setting in (*NAMES, "MAILTO", "PATH", "TRADER_ENV_FILE"), (name, setting)
    for credential in re.findall(r"LoadCredential=([a-z_]+):", TEXTS["trader.service"]):
        assert credential.upper() in NAMES


def test_a_restart_is_kept_from_what_it_cannot_mend() -> None:
    (line,) = re.findall(r"RestartPreventExitStatus=(.*)", TEXTS["trader.service"])
    wanted = (ExitCode.USAGE, ExitCode.CONFIG, ExitCode.REFUSED, ExitCode.LEDGER, ExitCode.ORDER_UNKNOWN)
    assert [int(code) for code in line.split()] == [int(code) for code in wanted]


def test_nothing_runs_as_root() -> None:
    assert "DynamicUser=yes" in TEXTS["trader.service"]
    assert re.search(r"^USER trader$", TEXTS["Dockerfile"], re.MULTILINE)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    units = []
    for name in ("trader.service", "trader-backup.service", "trader-backup.timer"):
        unit = tmp_path / name
        unit.write_text(TEXTS[name].replace("/opt/trader/bin/trader", sys.executable), encoding="utf-8")
        units.append(str(unit))
    done = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False, timeout=60
    )
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "trader" in line]
    assert (done.returncode, ours) == (0, [])
