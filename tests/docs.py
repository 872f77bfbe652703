"""What is in docs/ and made by the program itself: `make docs` writes it, a test sees that it is current.

docs/cli.md is every command's own help, docs/settings.md every setting. docs/session.svg is a real session, drawn by
Rich as a terminal shows it.
"""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.conftest import ROOT
from trader_cli.main import COMMANDS, GROUPS, run

CLI, SESSION, SETTINGS = (ROOT / "docs" / name for name in ("cli.md", "session.svg", "settings.md"))
WIDTH = 100
STEPS = ("loop --cycles 8 --speed fast", "ledger show -n 6", "why 1", "status")
_GLOBAL = re.compile(r"╭─ Global options.*?╰─+╯\n", re.DOTALL)
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def _run(words: list[str], folder: Path) -> str:
    """What a command prints at a terminal of `WIDTH` columns, without colours."""
    ours, theirs = pty.openpty()
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", "TERM": "xterm"}
    env |= {"AGENTS": "rules", "TRADER_ENV_FILE": "none", "COLUMNS": str(WIDTH)}
    command = [sys.executable, "-m", "trader_cli.main", *words]
    with subprocess.Popen(command, env=env, cwd=folder, stdout=theirs, stderr=theirs):
        os.close(theirs)
        said = io.BytesIO()
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 65_536):
                said.write(piece)
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", said.getvalue().decode("utf-8"))


def cli() -> str:
    """Every command's help, in the order of `trader --help`; the global options only once."""
    parts = [
        "# Commands\n\nMade by `make docs` from the program's own help; exit codes stand at the end of the first.\n"
    ]
    for words in ("", *GROUPS, *(entry.words for entry in COMMANDS)):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            run([*words.split(), "--help"])
        text = said.getvalue()
        text = _GLOBAL.sub("", text) if words else text
        lines = "\n".join(line.rstrip() for line in text.strip("\n").split("\n"))
        parts.append(f"## trader {words}".rstrip() + f"\n\n```text\n{lines}\n```\n")
    return "\n".join(parts)


def session() -> str:
    """A short session on the simulated market, as a picture without anything from elsewhere."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    with tempfile.TemporaryDirectory() as folder:
        for step in STEPS:
            console.print(Text.assemble(("$ ", "bold green"), (f"trader {step}", "bold")))
            said = _run(step.split(), Path(folder))
            said = re.sub(r"(next due +in \d+m), .*", r"\1", said)
            said = re.sub(r", \d+s ago", ", 2s ago", said)
            console.print(Text(said.strip("\n")))
    drawn = console.export_svg(title="trader", unique_id="trader")
    return _FONTS.sub("", drawn) + "\n"


def settings() -> str:
    """Every setting, its default and what it is for, as `trader config example` prints them."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        run(["--env-file", "none", "config", "example"])
    head = "# Settings\n\nMade by `make docs` from `trader config example`, which an installed program prints too."
    return f"{head}\n\n```sh\n{said.getvalue().strip()}\n```\n"


def main() -> None:
    """Write all of it."""
    CLI.write_text(cli(), encoding="utf-8")
    SETTINGS.write_text(settings(), encoding="utf-8")
    SESSION.write_text(session(), encoding="utf-8")


if __name__ == "__main__":
    main()
