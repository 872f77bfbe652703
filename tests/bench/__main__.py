"""Start-up and memory of the daily commands beside a bare Typer program, cycles per second and where their time
goes, the daily queries in small and large ledgers, the ledger's own figures, cycles with live minds, and on an
exchange; replay, and what memory learns; the dashboard. Printed, and kept in docs/benchmarks.md.

This process starts the measured ones and stays small, because Linux counts its memory as theirs
until they have loaded their own program. Figures of one run compare; those of two days may not.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.backtests import backtests
from tests.bench.exchanges import exchanges
from tests.bench.memory import memory
from tests.bench.minds import minds
from tests.bench.processes import ROOT, Row, environment, median, process, spawned
from tests.bench.serving import serving

WINDOW = ROOT.parent / "shared" / "data" / "windows" / "BINANCE_BTCUSDT_5m_crash_20210519.csv"

REPEATS = 5
CYCLES = 500
PROFILED = 150
BARS = 30_000

SIZES = (10_000, 1_000_000)
"""Decisions in the ledgers that the daily queries are measured on."""
BYTES_PER_DECISION = 3_500
SEED_CYCLES = 1_500

BARE = """
import typer
app = typer.Typer()
@app.command()
def hello(name: str = "you") -> None:
    print("hello", name)
app()
"""
"""What any program that uses Typer costs."""

COLD = (("--version",), ("--help",), ("status",), ("ledger", "show"), ("cycle",))
DAILY = (
    ("status",),
    ("ledger", "show"),
    ("ledger", "show", "--trades"),
    ("ledger", "show", "--errors"),
    ("ledger", "show", "--action", "SELL"),
    ("ledger", "show", "--since", "24h"),
    ("ledger", "trace", "last"),
    ("ledger", "tail"),
    ("ledger", "stats"),
    ("ledger", "export", "trades"),
)

INSIDE = {
    "versions": """
import sqlite3, trader_cli
say([trader_cli.__version__, sqlite3.sqlite_version])
""",
    "loop": """
run(["plan", "--dry-run", "-q", "--db", folder + "/none.db"])
began, worked = time.perf_counter(), time.process_time()
run(["loop", "--cycles", cycles, "--speed", "fast", "-q", "--db", folder + "/" + name])
say([time.perf_counter() - began, time.process_time() - worked])
""",
    "layers": """
import cProfile, pstats
run(["plan", "--dry-run", "-q", "--db", folder + "/none.db"])
profile = cProfile.Profile()
profile.runcall(run, ["loop", "--cycles", cycles, "--speed", "fast", "-q", "--db", folder + "/" + name])
def layer(function):
    path = function[0].replace("\\\\", "/")
    if "/trader_cli/" in path:
        return path.rpartition("/trader_cli/")[2].partition("/")[0].removesuffix(".py")
    if "/site-packages/" in path:
        return path.rpartition("/site-packages/")[2].partition("/")[0].removesuffix(".py")
    return "sqlite3" if "sqlite3" in path + function[2] else "" if path == "~" else "python library"
spent = {}
for function, (_, _, own, _, callers) in pstats.Stats(profile).stats.items():
    if layer(function):
        spent[layer(function)] = spent.get(layer(function), 0) + own
        continue
    for caller, (_, _, part, _) in callers.items():  # a built-in's time belongs to whoever called it
        name = layer(caller) or "python library"
        spent[name] = spent.get(name, 0) + part
say(spent)
""",
    "verify": """
from pathlib import Path
from typing import Any
from trader_cli.tools.clock import wall_now
from trader_cli.tools.ledger import Ledger
from trader_cli.phases.audit import verify
import jsonschema
ledger = Ledger.open_reader(Path(folder) / name, wall_now)
began, worked = time.perf_counter(), time.process_time()
checks = verify(ledger)
took = [time.perf_counter() - began, time.process_time() - worked]
say([next(check.checked for check in checks if check.name == "foreign keys"), *took])
""",
    "latency": """
import statistics
took = []
for words in json.loads(cycles):
    each = []
    for _ in range(4):
        began = time.perf_counter()
        run(["--db", folder + "/" + name, *words])
        each.append(time.perf_counter() - began)
        if sum(each) > 3:
            break
    took.append(statistics.median(each[1:] or each))  # the first one loads modules
say(took)
""",
    "bars": """
from decimal import Decimal
from trader_cli.tools.markets.simulated import SimulatedMarket
market = SimulatedMarket("BTC/USDT", 300_000, 7, Decimal("0.01"))
first, bars, began = market.start(1), 0, time.perf_counter()
while bars < int(cycles):
    bars += 1000
    market.closed(1000, first + bars * 300_000)
say(bars / (time.perf_counter() - began))
""",
}
"""Programs that measure themselves. Each says one JSON value."""

HEAD = """# Benchmarks

Made by `make bench`, which measures and writes this page. Figures of one run compare; those of two machines, or of two
days, may not: another's work on the same machine doubles them."""

OPENING = """
import json, sys, time
from trader_cli.main import run
folder, name, cycles = sys.argv[1:]
def say(value):
    print(json.dumps(value))
"""


def main() -> None:
    """Measure, print, and write docs/benchmarks.md."""
    began, page = time.monotonic(), [HEAD]
    with tempfile.TemporaryDirectory(prefix="trader-bench-") as folder:
        for title, rows in (
            ("This machine", machine(folder)),
            (f"Start-up, whole process (median of {REPEATS})", cold(folder)),
            *((f"Daily queries at {size:,} decisions", daily(folder, size)) for size in SIZES),
            (f"Warm cycles (loop --speed fast, {CYCLES} cycles)", warm(folder)),
            (f"Where a cycle's time goes (cProfile over {PROFILED} cycles; it exaggerates Python)", layers(folder)),
            ("Ledger and market", ledger(folder)),
            ("Live minds, through the SDK to a server on loopback", minds(folder)),
            ("Exchanges, through ccxt to a server on loopback", exchanges(folder)),
            ("Backtests with full audit, whole process", backtests(folder)),
            ("Memory and replay, and what the planner learns in a planted market", memory(folder)),
            ("trader serve", serving(folder)),
        ):
            print(f"\n{title}")
            page.append(f"\n## {title}\n\n| what | figure | |\n|---|---:|---|")
            for what, figure, more in rows:
                print(f"  {what:<30} {figure:>14}  {more}".rstrip(), flush=True)
                page.append(f"| {what.strip()} | {figure} | {more.strip()} |")
    print(f"\nMeasured in {time.monotonic() - began:.0f} s.")
    (ROOT / "docs" / "benchmarks.md").write_text("\n".join(page) + "\n", encoding="utf-8")


def machine(folder: str) -> Iterator[Row]:
    """What the figures were taken on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    version, sqlite = inside("versions", folder)
    yield "cpu", f"{os.cpu_count()} cores", f"{cpu}  {load}"
    yield "system", platform.system(), platform.release()
    yield "python", platform.python_version(), platform.python_implementation()
    yield "sqlite", str(sqlite), ""
    yield "trader", str(version), ""


def cold(folder: str) -> Iterator[Row]:
    """Wall time and peak memory of whole processes, each run beside a bare Typer program and held against that."""
    path = f"{folder}/cold.db"
    process(path, "cycle")
    Path(folder, "bare.py").write_text(BARE, encoding="utf-8")
    bare, all_bare = (f"{folder}/bare.py",), []
    for words in COLD:
        twin = (*bare, "--help") if words == ("--help",) else bare
        pairs = [(spawned(*twin), process(path, *words)) for _ in range(REPEATS)]
        theirs, ours = ([pair[side] for pair in pairs] for side in (0, 1))
        all_bare += theirs if twin is bare else []
        ratio = median(ours)[0] / median(theirs)[0]
        yield " ".join(words), f"{median(ours)[0]:.2f} s", f"{median(ours)[1] / 1e6:.0f} MB  {ratio:.2f} x bare Typer"
    yield "bare Typer program", f"{median(all_bare)[0]:.2f} s", f"{median(all_bare)[1] / 1e6:.0f} MB"


def daily(folder: str, size: int) -> Iterator[Row]:
    """What operators ask every day: latency within a process, then wall time and peak memory of a whole one."""
    if shutil.disk_usage(folder).free < 2 * size * BYTES_PER_DECISION:
        yield "left out", "-", f"needs {2 * size * BYTES_PER_DECISION / 1e9:.0f} GB of disk"
        return
    small, large = Path(folder, "seed.db"), Path(folder, f"{size}.db")
    if not small.exists():
        inside("loop", folder, small.name, SEED_CYCLES)
    spawned("-m", "tests.bench.grown", str(small), str(large), str(size))  # its cache would count as the children's
    yield "ledger", f"{large.stat().st_size / 1e6:,.0f} MB", ""
    latencies = inside("latency", folder, large.name, argument=json.dumps(DAILY))
    for words, secs in zip(DAILY, latencies, strict=True):
        taken = [process(str(large), *words) for _ in range(REPEATS if secs < 1 else 1)]
        whole, peak = median(taken)
        yield " ".join(words), f"{1000 * secs:.1f} ms", f"whole process {whole:.2f} s, {peak / 1e6:.0f} MB"
    large.unlink()


def warm(folder: str) -> Iterator[Row]:
    """Cycles per second."""
    for name, market in markets():
        secs, cpu = inside("loop", folder, f"{name}.db", CYCLES, market)
        each = f"{1000 * secs / CYCLES:.1f} ms each, {1000 * cpu / CYCLES:.1f} ms of it cpu"
        yield name, f"{CYCLES / secs:.0f} cycles/s", each


def layers(folder: str) -> Iterator[Row]:
    """The shares of our packages and of what they use."""
    for name, market in markets():
        spent = inside("layers", folder, f"{name}-profiled.db", PROFILED, market)
        total = sum(spent.values())
        yield name, f"{1000 * total / PROFILED:.1f} ms", "each, with the profiler at work"
        for layer, secs in sorted(spent.items(), key=lambda item: -item[1]):
            if secs / total > 0.005:
                yield f"  {layer}", f"{100 * secs / total:.0f} %", f"{1000 * secs / PROFILED:.2f} ms"


def ledger(folder: str) -> Iterator[Row]:
    """Bytes a cycle leaves, rows proved per second, bars made per second."""
    for name, _ in markets():
        path = Path(folder) / f"{name}.db"
        yield f"bytes, {name}", f"{path.stat().st_size / CYCLES:.0f}", "per cycle, candles and indexes included"
    rows, secs, cpu = inside("verify", folder, "simulated.db")
    yield "ledger verify", f"{rows / secs:.0f} rows/s", f"{rows} rows in {secs:.2f} s, {cpu:.2f} s of it cpu"
    yield "simulated market", f"{float(inside('bars', folder, cycles=BARS)):.0f} bars/s", ""


def markets() -> Iterator[tuple[str, str]]:
    """The simulated market, and a recorded one if its file is at hand."""
    yield "simulated", "simulated"
    if WINDOW.exists():
        yield "recorded", str(WINDOW)


def inside(
    program: str, folder: str, name: str = "", cycles: int = 0, market: str = "simulated", argument: str = ""
) -> Any:
    """What a program that measures itself says."""
    done = subprocess.run(
        [sys.executable, "-c", OPENING + INSIDE[program], folder, name, argument or str(cycles)],
        env=environment(market), capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
