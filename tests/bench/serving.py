"""trader serve over a long ledger, and beside a loop that writes one: pages, the API, peak memory."""

from __future__ import annotations

import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.processes import Row, environment, spawned

CYCLES = 100_000
ASKED = 20
PATHS = ("/", "/cycles", "/traces/last", "/api/status", "/api/cycles", "/api/equity", "/api/memory", "/api/limits")


def serving(folder: str) -> Iterator[Row]:
    """The first page of a fresh server, later ones, the same beside a loop, and what it holds at most."""
    path = Path(folder, "served.db")
    command = (sys.executable, "-m", "trader_cli.main", "--db", str(path), "loop", "--speed", "fast", "-q")
    spawned(*command[1:], "--cycles", str(CYCLES))
    yield "ledger", f"{path.stat().st_size / 1e6:,.0f} MB", f"{CYCLES:,} cycles of a loop"
    with server(path) as (port, pid):
        yield "first page of a fresh server", f"{1000 * ask(port, '/'):.0f} ms", "asked at once"
        time.sleep(4)
        yield from asked(port)
        yield "peak memory", f"{peak(pid) / 1e6:.0f} MB", ""
    with server(path) as (port, pid), subprocess.Popen(command, env=environment()) as loop:
        time.sleep(4)
        for of, figure, more in asked(port):
            yield f"{of}, beside a loop", figure, more
        yield "peak memory, beside a loop", f"{peak(pid) / 1e6:.0f} MB", ""
        loop.send_signal(signal.SIGTERM)
    path.unlink()


def asked(port: int) -> Iterator[Row]:
    """The median and the worst of some answers each."""
    for path in PATHS:
        taken = [ask(port, path) for _ in range(ASKED)]
        yield path, f"{1000 * statistics.median(taken):.1f} ms", f"worst {1000 * max(taken):.1f} ms"


def ask(port: int, path: str) -> float:
    """Seconds for one answer, on a connection of its own."""
    began = time.perf_counter()
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    line.request("GET", path)
    came = line.getresponse()
    came.read()
    line.close()
    if came.status != 200:
        raise SystemExit(f"{path} was answered with {came.status}")
    return time.perf_counter() - began


def peak(pid: int) -> int:
    """The most that a process held in memory, in bytes (proc(5), status)."""
    words = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(words.partition("VmHWM:")[2].split()[0]) * 1024


@contextmanager
def server(ledger: Path) -> Iterator[tuple[int, int]]:
    """A server on a free port: its port and process."""
    words = ["--db", str(ledger), "--json", "serve", "--port", "0", "--verify-every", "0"]
    command = [sys.executable, "-m", "trader_cli.main", *words]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        yield int(json.loads(running.stdout.readline())["url"].rpartition(":")[2]), running.pid
        os.kill(running.pid, signal.SIGTERM)
