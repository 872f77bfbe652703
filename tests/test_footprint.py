"""What a command costs before it does anything: the modules it loads, and the memory of a whole cold cycle."""

from __future__ import annotations

import json
import subprocess
import sys

from tests import test_crash
from tests.test_crash import Forks

quick = test_crash.quick

HEAVY = {"openai", "ccxt", "fastapi", "numpy", "pandas", "sqlite_utils", "httpx", "httpx2", "anyio"}
"""What no command of a paper ledger needs."""

LOADED = """
import json, sys
from trader_cli.main import run
codes = [run(words) for words in {commands!r}]
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
sys.exit(max(codes))
"""

PEAK = """
import os, sys
pid = os.posix_spawn(sys.executable, [sys.executable, "-m", "trader_cli.main", *sys.argv[1:]], os.environ)
_, status, used = os.wait4(pid, 0)
assert status == 0, status
print(used.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


def loaded(env: dict[str, str], *commands: tuple[str, ...]) -> set[str]:
    """The packages in a process that has run these commands."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(commands=[[*words] for words in commands])],
        env=env, capture_output=True, encoding="utf-8", timeout=60, check=True,
    )  # fmt: skip
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_looking_at_a_ledger_loads_nothing_heavy(clean_env: dict[str, str], quick: Forks) -> None:
    assert quick("cycle").code == 0
    looking = loaded(clean_env, ("status",), ("ledger", "show"), ("ledger", "trace", "last"), ("models",))
    assert looking & {*HEAVY, "jsonschema", "rich"} == set()
    assert loaded(clean_env, ("plan", "--dry-run"), ("plan", "--show-prompt"), ("replay", "last")) & HEAVY == set()


def test_a_cold_cycle_on_paper_stays_below_60_megabytes(clean_env: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PEAK, "cycle"],
        env=clean_env, stdout=subprocess.PIPE, encoding="utf-8", timeout=60, check=True,
    )  # fmt: skip
    assert int(done.stdout.splitlines()[-1]) < 60_000_000
