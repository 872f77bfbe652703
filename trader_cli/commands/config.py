"""`trader config show|check|example`: the settings, what is wrong with them, and a file to start from."""

from __future__ import annotations

from typing import Any

from trader_cli.commands.confirm import exposed_file
from trader_cli.commands.options import Globals, command
from trader_cli.config import NAMES, Loaded, example_text, shown
from trader_cli.views.output import Column
from trader_cli.wiring import began, candle_source, check_outlets, check_settings, is_live

_COLUMNS = (Column("setting"), Column("value"), Column("from"))


@command
def show(g: Globals) -> None:
    """Show every setting, its value, and where it came from.

    Of a key only the last four characters are shown.
    """
    loaded = g.loaded()
    rows = (_row(loaded, name) for name in NAMES)
    g.out.table(_COLUMNS, rows, schema="trader.config.show/1", key="settings")


def _row(loaded: Loaded, name: str) -> dict[str, Any]:
    return {
        "setting": name,
        "value": shown(loaded.settings, name),
        "from": loaded.origins[name],
    }


@command
def check(g: Globals) -> None:
    """Check all settings and name every problem at once (exit 3)."""
    loaded, path = g.loaded(), g.settings_file()
    check_settings(loaded.settings)
    if not is_live(loaded.settings):
        began(loaded.settings, candle_source(loaded.settings))
    check_outlets(loaded.settings)
    notices = []
    if exposed_file(g) is not None:
        notices.append(f'"{path}" holds a key and others may read it; chmod 600 {path}')
    given = sum(origin != "default" for origin in loaded.origins.values())
    source = f'"{path}" and the environment' if path is not None else "the environment (no .env was read)"
    doc = {
        "schema": "trader.config.check/1",
        "env_file": path,
        "settings": len(NAMES),
        "given": given,
        "notices": notices,
    }
    for notice in notices:
        g.out.warn(notice)
    g.out.record(doc, [f"ok    {len(NAMES)} settings, {given} of them set by {source}"])


@command
def example(g: Globals) -> None:
    """Print a .env file with every setting, its meaning and its default, commented out."""
    text = example_text()
    g.out.record({"schema": "trader.config.example/1", "text": text}, text.splitlines())
