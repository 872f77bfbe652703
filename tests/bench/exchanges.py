"""Cycles on an exchange: what they take and weigh, through ccxt to the loopback exchange in another process."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.request import urlopen

from tests.bench.minds import server
from tests.bench.processes import ROOT, Row, median, process

REPEATS = 3
SYMBOLS = 3_500
"""As many as Binance lists."""


def exchanges(folder: str) -> Iterator[Row]:
    """Whole cycles in processes of their own: prices only, an account, an account and live minds."""
    with exchange() as (url, account), server(0.0) as minds:
        public = {**account, "MODE": "paper", "MARKET": "live", "AGENTS": "rules"}
        testnet = {**account, "MODE": "testnet", "MARKET": ""}
        kinds = {
            "paper at live prices, rules": public,
            "testnet, rules": {**testnet, "AGENTS": "rules"},
            "testnet, live minds": {**testnet, **minds},
        }
        for name, more in kinds.items():
            path = f"{folder}/{name.replace(' ', '-').replace(',', '')}.db"
            process(path, "cycle", "-q", more=more)  # the first one proves key and models, and looks at the account
            before = asked(url)
            secs, peak = median([process(path, "cycle", "-q", more=more) for _ in range(REPEATS)])
            each = (asked(url) - before) / REPEATS
            yield name, f"{secs:.2f} s", f"{peak / 1e6:.0f} MB, {each:.1f} requests; {SYMBOLS} symbols listed"


def asked(url: str) -> int:
    """How many requests the exchange has had, by the address where it tells."""
    with urlopen(url) as answer:
        return len(json.load(answer)["requests"])


@contextmanager
def exchange() -> Iterator[tuple[str, Mapping[str, str]]]:
    """The tests' exchange; its address, and the settings that lead to it."""
    words = [sys.executable, "-m", "tests.binance_server", "--port", "0", "--symbols", str(SYMBOLS), "--testnet"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8") as run:
        assert run.stdout is not None
        try:
            lines = [run.stdout.readline() for _ in range(5)]
            yield lines[4].split()[-1], dict(shlex.split(line)[1].split("=", 1) for line in lines[:4])
        finally:
            run.terminate()
