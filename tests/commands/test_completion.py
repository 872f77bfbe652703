"""What a shell offers after TAB."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.commands.test_schemas import PINNED
from tests.ledgers import ledger_at, rows


def offered(env: dict[str, str], folder: Path, line: str) -> list[str]:
    """What bash is told for a line that ends where TAB was pressed."""
    words = line.split(" ")
    asked = {
        **env,
        **PINNED,
        "_TRADER_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from trader_cli.main import run; sys.argv[0] = 'trader'; sys.exit(run())"],
        env=asked,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_traces_of_the_ledger_are_offered_by_their_beginnings(clean_env: dict[str, str], tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "x.db", 3)
    known = [str(row[0])[:8] for row in rows(path, "SELECT trace_id FROM decisions WHERE agent = 'PLANNER'")]
    for command in ("why", "ledger trace", "replay"):
        found = offered(clean_env, tmp_path, f"trader --db x.db {command} ")
        assert found == ["last", *reversed(known)], command
    assert offered(clean_env, tmp_path, f"trader --db x.db why {known[0][:5]}") == [known[0]]


def test_without_a_ledger_only_the_word_is_offered_and_nothing_is_made(
    clean_env: dict[str, str], tmp_path: Path
) -> None:
    assert offered(clean_env, tmp_path, "trader why ") == ["last"]
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x.db").write_bytes(b"none of ours")
    assert offered(clean_env, tmp_path, "trader --db x.db why ") == ["last"]
