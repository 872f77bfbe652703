"""Backtests as whole processes: bars and cycles per second with full audit, whether memory grows, where time goes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

from tests.bench.processes import ROOT, Row, process, spawned

MINUTES = ROOT.parent / "shared" / "data" / "BITFINEX_BTCUSD_1m_20190101_20191231.csv.gz"
BARS = 100_000
PROFILED = 10_001


def backtests(folder: str) -> Iterator[Row]:
    """The 1-minute file: a quarter of the bars and all of them, then the same run again, which is done already."""
    if not MINUTES.exists():
        yield "left out", "-", "the recorded minutes are not here"
        return
    with gzip.open(MINUTES, "rt", encoding="ascii") as file:
        lines = [line for _, line in zip(range(BARS + 1), file, strict=False)]
    peaks = []
    for count in (BARS // 4, BARS):
        path = Path(folder, f"minutes-{count}.csv")
        path.write_text("".join(lines[: count + 1]), encoding="ascii")
        words = ("backtest", "--data", str(path), "-o", f"{folder}/runs", "-q")
        secs, peak = process(f"{folder}/none.db", *words)
        peaks.append(peak)
        cycles = _cycles(folder, *words)
        yield (
            f"{count:,} bars of 1m",
            f"{count / secs:,.0f} bars/s",
            f"{secs:.1f} s, {cycles:,} cycles ({cycles / secs:,.0f}/s), {peak / 1e6:.0f} MB",
        )
    yield "peak, all to a quarter", f"{peaks[1] / peaks[0]:.2f} x", "the file's own bytes are in it"
    path = Path(folder, "minutes-profiled.csv")
    path.write_text("".join(lines[:PROFILED]), encoding="ascii")
    parts = _parts(folder, "backtest", "--data", str(path), "-o", f"{folder}/profiled", "-q")
    whole = sum(parts.values())
    for name, secs in sorted(parts.items(), key=lambda part: -part[1]):
        yield (
            f"  in {name}",
            f"{100 * secs / whole:.0f} %",
            "of the profiled time" if secs == max(parts.values()) else "",
        )


def _parts(folder: str, *words: str) -> dict[str, float]:
    """The seconds that a profiled run spends in each layer by itself, in SQLite, and in what else is not ours."""
    out = Path(folder, "parts.json")
    code = (
        "import cProfile, json, pstats, re, sys; from trader_cli.main import run\n"
        "profile = cProfile.Profile(); profile.runcall(run, sys.argv[2:])\n"
        "parts = {}\n"
        "for (path, _, name), found in pstats.Stats(profile).stats.items():\n"
        "    ours = re.search(r'trader_cli/(\\w+)', path)\n"
        "    part = ours[1] if ours else 'SQLite' if 'sqlite3' in name else 'Python'\n"
        "    parts[part] = parts.get(part, 0.0) + found[2]\n"
        "json.dump(parts, open(sys.argv[1], 'w'))\n"
    )
    spawned("-c", code, str(out), *words)
    found: dict[str, float] = json.loads(out.read_text(encoding="utf-8"))
    return {name: secs for name, secs in found.items() if secs > 0.01 * sum(found.values())}


def _cycles(folder: str, *words: str) -> int:
    """How many cycles a run had, told by the run again, which only reports."""
    out = Path(folder, "cycles.json")
    code = (
        "import contextlib, io, sys; from trader_cli.main import run\n"
        "with contextlib.redirect_stdout(io.StringIO()) as said: run(sys.argv[2:])\n"
        "open(sys.argv[1], 'w').write(said.getvalue())\n"
    )
    spawned("-c", code, str(out), *words, "--json")
    return int(json.loads(out.read_text(encoding="utf-8"))["ledgers"][0]["cycles"])
