"""Cycles with models over the network: what they take and weigh, against the loopback server in another process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.bench.processes import ROOT, Row, environment, median, process

REPEATS = 3
WARM = 20
BYTES_A_TOKEN = 3.5
"""Bytes of prompt, schema, tools and facts for each token of o200k_base: 3.3 to 3.7, counted with its tokenizer."""


def minds(folder: str) -> Iterator[Row]:
    """Whole cycles in processes of their own, then warm ones, then what their requests weigh."""
    for latency in (0.0, 1.0):
        with server(latency) as more:
            taken = [process(f"{folder}/minds-{latency}.db", "cycle", more=more) for _ in range(REPEATS)]
        secs, peak = median(taken)
        yield f"cycle, answers in {latency:g} s", f"{secs:.2f} s", f"{peak / 1e6:.0f} MB, process and imports included"
    with server(0.0) as more:
        path = f"{folder}/minds-warm.db"
        words = ("loop", "--speed", "fast", "--model", "gpt-5", "--max-cost", "100", "-q", "--cycles")
        one, _ = process(path, *words, "1", more=more)
        all_of_them, peak = process(path, *words, str(1 + WARM), more=more)
        each = 1000 * (all_of_them - one) / WARM
        yield "warm cycle", f"{each:.0f} ms", f"{peak / 1e6:.0f} MB; the server's own work included"
        yield from weights(path)


def weights(path: str) -> Iterator[Row]:
    """The tokens of each agent's question: estimated from its bytes, for no tokenizer is at hand."""
    said = subprocess.run(
        [sys.executable, "-m", "trader_cli.main", "--db", path, "ledger", "query", "--json", _WEIGHTS],
        env=environment(), capture_output=True, encoding="utf-8", check=True, cwd=ROOT,
    )  # fmt: skip
    total = 0.0
    for row in json.loads(said.stdout)["rows"]:
        tokens = float(row["bytes"]) / BYTES_A_TOKEN
        total += tokens
        yield f"input, {row['agent'].lower()}", f"{tokens:.0f} tokens", f"about, of {float(row['bytes']):.0f} bytes"
    yield "input, all three", f"{total:.0f} tokens", "about, schemas and tools included"


_WEIGHTS = """
select c.agent, avg(length(p.prompt || p.schema_json || coalesce(p.tools_json, '') || c.facts_json)) as bytes
from model_calls as c join prompts as p on p.sha256 = c.prompt_sha256
where c.status = 'ok' and c.round = 0 group by c.agent order by min(c.id)"""


@contextmanager
def server(latency: float) -> Iterator[Mapping[str, str]]:
    """The tests' Responses server; gives the settings that lead to it."""
    words = [sys.executable, "-m", "tests.responses_server", "--port", "0", "--latency", str(latency)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8") as run:
        assert run.stdout is not None
        try:
            lines = [run.stdout.readline().strip() for _ in range(2)]
            yield {"AGENTS": "openai", **dict(line.removeprefix("export ").split("=", 1) for line in lines)}
        finally:
            run.terminate()
