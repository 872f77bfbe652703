"""Backtests as whole processes: bars per second with full audit, and whether memory grows with the bars."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

from tests.bench.processes import ROOT, Row, process, spawned

MINUTES = ROOT.parent / "shared" / "data" / "BITFINEX_BTCUSD_1m_20190101_20191231.csv.gz"
BARS = 100_000


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
            f"{secs:.1f} s, {cycles:,} cycles, {peak / 1e6:.0f} MB",
        )
    yield "peak, all to a quarter", f"{peaks[1] / peaks[0]:.2f} x", "the file's own bytes are in it"


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
