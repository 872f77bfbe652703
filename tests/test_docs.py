"""docs/ that the program makes is current: else `make docs`."""

from __future__ import annotations

import re

import pytest

from tests.docs import CLI, SESSION, SETTINGS, cli, session, settings


def test_the_page_of_commands_is_what_their_help_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert CLI.read_text("utf-8") == cli(), "run: make docs"


def test_the_page_of_settings_is_what_the_program_prints() -> None:
    assert SETTINGS.read_text("utf-8") == settings(), "run: make docs"


def test_the_picture_of_a_session_is_what_a_session_shows_and_loads_nothing() -> None:
    kept = SESSION.read_text("utf-8")
    assert words(kept) == words(session()), "run: make docs"
    assert re.findall(r"(?:href|src|url)\s*[=(]\s*[\"']?https?:", kept) == []


def words(picture: str) -> list[str]:
    """What stands on it, line by line."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", picture)
