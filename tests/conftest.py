"""What all tests share: a clean environment in an empty folder, and `trader` as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import settings

os.environ["_TYPER_FORCE_DISABLE_TERMINAL"] = "1"  # Typer reads it once, when it is imported
os.environ["COLUMNS"] = "80"

from trader_cli.config import NAMES
from trader_cli.core.redaction import forget_secrets

settings.register_profile("house", deadline=None)  # a busy machine is no fault of an example
settings.load_profile("house")

ROOT = Path(__file__).resolve().parent.parent
SEALED = {
    "AGENTS": "rules",
    "COLUMNS": "80",
    "TRADER_ENV_FILE": "none",
    "_TYPER_FORCE_DISABLE_TERMINAL": "1",
}
"""What every test and every process it starts finds in its environment."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a `trader` process ended."""

    code: int
    stdout: str
    stderr: str


class Trader(Protocol):
    """Runs `trader` with some words and returns how it ended."""

    def __call__(self, *words: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Result: ...


@pytest.fixture(autouse=True)
def sealed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting, key or .env of the person who runs the tests reaches a test."""
    for name in [*NAMES, *os.environ]:
        if name in NAMES or name.startswith("TRADER_") or name in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name, raising=False)
    for name, value in SEALED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    forget_secrets()


@pytest.fixture(autouse=True)
def traced(request: pytest.FixtureRequest) -> Iterator[None]:
    """Coverage, but for long runs of chance: it doubles their time and sees in them nothing new."""
    if request.node.get_closest_marker("untraced") is None:
        yield
        return
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


@pytest.fixture
def clean_env(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that a test starts: what Python needs, and nothing else.

    Coverage does not trace it: that makes a process three times as slow.
    """
    return {"PATH": os.environ["PATH"], **SEALED, "HOME": str(tmp_path), "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}


@pytest.fixture
def trader(clean_env: dict[str, str], tmp_path: Path) -> Trader:
    """`trader("cycle", "--json", env={"SYMBOL": "ETH/USDT"})`: a whole process, in the test's folder."""

    def run(*words: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "trader_cli.main", *words],
            env={**clean_env, **(env or {})},
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return run
