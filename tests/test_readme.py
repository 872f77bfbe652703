"""The README, and the pages it leads to, say what is so: exit codes, commands, settings, links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trader_cli.config import NAMES, Settings
from trader_cli.core.errors import MEANING
from trader_cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {
    page.name: page.read_text(encoding="utf-8") for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
SPOKEN = ("README.md", "audit.md", "backtests.md", "models.md", "operations.md", "real-money.md")
"""The pages that tell people what to type."""
LINKS = [(name, target) for name, page in PAGES.items() for target in re.findall(r"\]\(([^)]+)\)", page)]
WORDS = sorted({entry.words for entry in COMMANDS})


def test_the_exit_code_table_is_the_one_place_s_table() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| (.+) \|$", README, re.MULTILINE))
    assert rows == {str(int(code)): meaning for code, meaning in MEANING.items()}


@pytest.mark.parametrize("name", SPOKEN)
def test_every_command_a_page_names_exists(name: str) -> None:
    named = re.findall(r"trader ((?:ledger |config |gate |memory )?[a-z]+)", PAGES[name].replace("trader_cli", ""))
    groups = {"ledger", "config", "gate", "memory"}
    known = set(WORDS) | groups
    spoken = {"looks", "proposes", "trades"}  # the trader, in prose
    assert {words for words in named if words not in known and words.split()[0] not in spoken} == set()


@pytest.mark.parametrize("name", SPOKEN)
def test_every_setting_a_page_names_exists(name: str) -> None:
    named = {word for word in re.findall(r"`([A-Z][A-Z_]{3,})(?:=[^`]*)?`", PAGES[name]) if "_" in word}
    assert named <= set(NAMES)


@pytest.mark.parametrize("name", SPOKEN)
def test_every_option_a_page_names_exists(name: str) -> None:
    known = set(re.findall(r"(?<!\S)--[a-z-]+", PAGES["cli.md"])) | {"--testnet"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGES[name])) <= known


def test_the_readme_tells_the_defaults() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \|", README, re.MULTILINE))
    for name in ("DB_PATH", "PAPER_BALANCE_USDT", "TRADING"):
        assert rows[name].strip(" `") == str(Settings.model_fields[name.lower()].default)


@pytest.mark.parametrize("name, target", LINKS)
def test_every_link_leads_somewhere(name: str, target: str) -> None:
    path, _, heading = target.partition("#")
    page = (ROOT / ("" if name == "README.md" else "docs") / (path or name)).resolve()
    assert page.exists()
    if heading:
        titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert heading in {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_no_page_of_ours_names_a_path_of_somebody_s_machine(page: str) -> None:
    assert not re.search(r"/(root|work|home)/", page)
