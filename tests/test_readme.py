"""The README says what is so: exit codes, commands, settings, links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trader_cli.config import NAMES, Settings
from trader_cli.core.errors import MEANING
from trader_cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
WORDS = sorted({entry.words for entry in COMMANDS})


def test_the_exit_code_table_is_the_one_place_s_table() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| (.+) \|$", README, re.MULTILINE))
    assert rows == {str(int(code)): meaning for code, meaning in MEANING.items()}


def test_every_command_the_readme_names_exists() -> None:
    named = re.findall(r"trader ((?:ledger |config |gate |memory )?[a-z]+)", README.replace("trader_cli", ""))
    groups = {"ledger", "config", "gate", "memory"}
    known = set(WORDS) | groups
    spoken = {"looks", "proposes", "trades"}  # the trader, in prose
    assert {words for words in named if words not in known and words.split()[0] not in spoken} == set()


def test_every_setting_the_readme_names_exists_with_its_default() -> None:
    named = set(re.findall(r"`([A-Z][A-Z_]{3,})`", README)) - {"STOP"}
    assert named <= set(NAMES)
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \|", README, re.MULTILINE))
    for name in ("DB_PATH", "PAPER_BALANCE_USDT", "TRADING"):
        assert rows[name].strip(" `") == str(Settings.model_fields[name.lower()].default)


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_every_link_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


def test_no_page_of_ours_names_a_path_of_somebody_s_machine() -> None:
    pages = [README, *((ROOT / "docs").glob("*.md"))]
    for page in pages:
        words = page.read_text(encoding="utf-8") if isinstance(page, Path) else str(page)
        assert not re.search(r"/(root|work|home)/", words)
