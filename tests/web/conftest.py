"""A served ledger: `trader serve` as its users start it, on a free port of loopback."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_schemas import PINNED
from tests.conftest import ROOT, SEALED
from tests.ledgers import ledger_at

ENV = {**SEALED, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The body, read as text."""
        return self.body.decode("utf-8")


@dataclass
class Served:
    """A server; `said` is what it said on stderr."""

    port: int
    process: subprocess.Popen[str]
    said: list[str]

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
        """One request on a connection of its own."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            line.request(method, path, headers=dict(headers or {}))
            came = line.getresponse()
            return Answer(came.status, {k.lower(): v for k, v in came.getheaders()}, came.read())
        finally:
            line.close()


@contextmanager
def served(folder: Path, *words: str, **env: str) -> Iterator[Served]:
    """`trader serve` in a folder; it is told to stop at the end, and must end well."""
    command = [sys.executable, "-m", "trader_cli.main", "serve", "--port", "0", "--json", "--verify-every", "0", *words]
    process = subprocess.Popen(
        command, cwd=folder, env={**ENV, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said: list[str] = []
    reading = threading.Thread(target=said.extend, args=(process.stderr,), daemon=True)
    reading.start()
    try:
        first = process.stdout.readline()
        assert first, f"it did not begin: {process.wait(30)} {said}"
        site = Served(int(json.loads(first)["url"].rpartition(":")[2]), process, said)
        while "data-soon" in site.ask("/").text:  # what is dear is still being read
            time.sleep(0.05)
        yield site
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(30)
        finally:
            process.kill()
            process.wait()
            reading.join(10)
            process.stdout.close()
            process.stderr.close()
    assert code == 0, said
    assert not any("Traceback" in line for line in said), said


Serve = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a grown ledger lies: trades, holds, fallbacks, refused and revised orders."""
    made = tmp_path_factory.mktemp("served")
    (made / "data").mkdir()
    ledger_at(made / "data" / "agent.db")
    return made


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[Served]:
    """That ledger, served."""
    with served(folder, "--docs", **PINNED) as running:
        yield running
