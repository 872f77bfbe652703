"""`trader` itself against the server: exit codes, signals, kill -9, the environment of an SDK, keys, memory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import responses_server as rs
from tests.conftest import Result
from tests.live.scenes import GOOD, rows
from tests.responses_server import ResponsesServer
from tests.test_crash import PATIENCE_SECS
from tests.test_signals import ended, running

DB = Path("data/agent.db")


@pytest.fixture
def server() -> Iterator[ResponsesServer]:
    """A server that answers well whatever is not scripted."""
    with ResponsesServer(otherwise=GOOD) as listening:
        yield listening


@pytest.fixture
def env(clean_env: dict[str, str], server: ResponsesServer) -> dict[str, str]:
    """Settings that lead to it."""
    return {**clean_env, **server.environment, "AGENTS": "auto", "MODEL_TIMEOUT_SECS": "20"}


def trader(env: dict[str, str], *words: str) -> Result:
    with running(env, *words) as process:
        return ended(process)


def asked(server: ResponsesServer, count: int) -> None:
    """Wait until the server has had so many requests."""
    deadline = time.monotonic() + PATIENCE_SECS
    while len(server.requests) < count:
        assert time.monotonic() < deadline, "it never asked"
        time.sleep(0.02)


def clean(server: ResponsesServer, *texts: str) -> None:
    """No key in any of these, nor in the ledger's files."""
    for path in DB.parent.glob("*"):
        assert server.key.encode() not in path.read_bytes(), path
    assert all(server.key not in text for text in texts)


def test_a_cycle_thinks_trades_and_is_proved(env: dict[str, str], server: ResponsesServer) -> None:
    said = trader(env, "cycle", "--json")
    document = json.loads(said.stdout)
    assert (said.code, document["execution"]["order"]["state"], len(server.requests)) == (0, "FILLED", 3)
    assert [document[step]["source"] for step in ("plan", "proposal", "verdict")] == ["openai"] * 3
    assert trader(env, "ledger", "verify").code == 0
    assert trader(env, "replay", "last").code == 0
    assert len(server.requests) == 3
    assert server.invalid == []
    clean(server, said.stdout, said.stderr)


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (rs.refusal(), 0),
        (rs.out_of_quota(), 5),
        (rs.wrong_key(), 3),
        (rs.no_such_model(), 3),
    ],
    ids=["refusal", "quota", "key", "model"],
)
def test_a_fault_ends_a_cycle_with_its_code_and_no_order(
    step: Any, code: int, env: dict[str, str], server: ResponsesServer
) -> None:
    server.script("plan", step)
    said = trader(env, "cycle")
    assert said.code == code
    assert "FALLBACK" in said.stdout
    assert bool(said.stderr) == bool(code)
    assert rows(DB, "SELECT count(*) FROM orders") == [(0,)]
    clean(server, said.stdout, said.stderr)


def test_a_loop_ends_with_3_when_the_key_is_refused_and_outlives_a_quota(
    env: dict[str, str], server: ResponsesServer
) -> None:
    words = ("loop", "--speed", "fast", "--cycles", "3", "--model", "gpt-5", "--max-cost", "9")
    server.script("plan", rs.plan(), rs.wrong_key())
    said = trader(env, *words)
    assert (said.code, said.stdout.count("\n")) == (3, 2)
    assert "The loop ends here" in said.stderr
    assert rows(DB, "SELECT count(*) FROM portfolio") == [(2,)], "the cycle it ended in is whole"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_call_in_flight_end_and_makes_no_other(
    number: signal.Signals, env: dict[str, str], server: ResponsesServer
) -> None:
    server.script("plan", rs.slow(rs.plan(), 1.0))
    with running(env, "cycle") as process:
        asked(server, 1)
        process.send_signal(number)
        said = ended(process)
    assert (said.code, len(server.requests)) == (0, 1)
    assert rows(DB, "SELECT agent, source FROM decisions ORDER BY id") == [
        ("PLANNER", "openai"),
        ("TRADER", "law"),
        ("JUDGE", "law"),
    ]
    assert rows(DB, "SELECT count(*) FROM portfolio") == [(1,)]


def test_a_second_signal_leaves_at_once(env: dict[str, str], server: ResponsesServer) -> None:
    server.script("plan", rs.hang(15))
    with running(env, "cycle") as process:
        asked(server, 1)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert "A second signal leaves at once" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert ended(process).code == 143
    assert rows(DB, "SELECT count(*) FROM decisions") == [(0,)]


def test_a_call_that_was_killed_counts_at_its_worst_and_the_next_run_is_one_trace(
    env: dict[str, str], server: ResponsesServer
) -> None:
    server.script("plan", rs.hang(15))
    with running(env, "cycle") as process:
        asked(server, 1)
        process.kill()
        assert ended(process).code == -signal.SIGKILL
    ((held,),) = rows(DB, "SELECT amount_usd FROM model_reserves")
    state = json.loads(trader(env, "status", "--json").stdout)
    assert state["model_cost_today_usd"] == held
    asked_so_far = len(server.requests)
    poor = json.loads(trader({**env, "MODEL_BUDGET_USD_PER_DAY": held}, "cycle", "--dry-run", "--json").stdout)
    assert f"{held} spent or held back" in poor["plan"]["cause"]
    assert len(server.requests) == asked_so_far
    assert trader(env, "cycle").code == 0
    assert rows(DB, "SELECT count(DISTINCT trace_id), count(*) FROM decisions") == [(1, 3)]
    assert rows(DB, "SELECT count(*) FROM model_reserves AS r LEFT JOIN model_calls AS c ON c.reserve_id = r.id "
                    "WHERE c.id IS NULL") == [(1,)]  # fmt: skip
    assert trader(env, "ledger", "verify").code == 0


def test_a_second_cycle_beside_one_that_thinks_is_busy(env: dict[str, str], server: ResponsesServer) -> None:
    server.script("plan", rs.slow(rs.plan(), 4.0))
    with running(env, "cycle") as process:
        asked(server, 1)
        assert trader(env, "cycle").code == 7
        assert ended(process).code == 0
    assert rows(DB, "SELECT count(DISTINCT trace_id) FROM decisions") == [(1,)]


HOSTILE = {
    "OPENAI_LOG": "debug",
    "OPENAI_ORG_ID": "org-of-somebody",
    "OPENAI_CUSTOM_HEADERS": "authorization: Bearer sk-of-somebody-else-0123456789\nX-Gateway: mine",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "ALL_PROXY": "http://127.0.0.1:9",
}
"""What an environment may hold that the SDK reads."""


def test_the_environment_of_the_sdk_changes_nothing_and_shows_nothing(
    env: dict[str, str], server: ResponsesServer
) -> None:
    said = trader({**env, **HOSTILE}, "cycle", "-vv")
    assert (said.code, len(server.requests), server.invalid) == (0, 3, [])
    sent = [(one.headers["authorization"], one.headers["x-gateway"]) for one in server.requests]
    assert sent == [(f"Bearer {server.key}", "mine")] * 3, "our key and no other; other headers are the user's to set"
    assert "Request options" not in said.stderr
    clean(server, said.stdout, said.stderr)


def test_a_broken_proxy_is_a_setting_that_is_wrong(env: dict[str, str]) -> None:
    said = trader({**env, "OPENAI_BASE_URL": "https://models.invalid/v1", "HTTPS_PROXY": "ftp://nowhere"}, "cycle")
    assert said.code == 3
    assert "the model's client cannot be made" in said.stderr
    assert rows(DB, "SELECT count(*) FROM model_reserves") == [(0,)]


def test_a_key_that_no_header_can_hold_is_a_setting_that_is_wrong(env: dict[str, str]) -> None:
    said = trader({**env, "OPENAI_API_KEY": "sk-\u00e9-abcdefgh12345"}, "cycle")
    assert (said.code, "plain ASCII" in said.stderr) == (3, True)


def test_a_dry_run_says_what_it_cost(env: dict[str, str], server: ResponsesServer) -> None:
    said = trader(env, "cycle", "--dry-run")
    assert (said.code, len(server.requests)) == (0, 3)
    assert "nothing was written. Its models cost 0.00" in said.stderr


def test_rules_with_a_key_ask_nobody_and_load_no_sdk(env: dict[str, str], server: ResponsesServer) -> None:
    program = (
        "import sys\n"
        "from trader_cli.main import run\n"
        "code = run(['cycle', '-q'])\n"
        "sys.exit(code or 50 * bool({'openai', 'httpx2'} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], env={**env, "AGENTS": "rules"}, check=False)
    assert (done.returncode, server.requests) == (0, [])


def test_a_process_that_has_asked_models_stays_below_85_megabytes(env: dict[str, str], server: ResponsesServer) -> None:
    server.script("proposal", rs.tool_call("get_ohlcv", {"timeframe": "5m", "limit": 100}), GOOD["proposal"])
    program = (
        "import os, sys\n"
        "pid = os.posix_spawn(sys.executable, [sys.executable, '-m', 'trader_cli.main', 'cycle', '-q'], os.environ)\n"
        "_, status, used = os.wait4(pid, 0)\n"
        "print(used.ru_maxrss * (1 if sys.platform == 'darwin' else 1024))\n"
        "sys.exit(os.waitstatus_to_exitcode(status))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, stdout=subprocess.PIPE, encoding="utf-8", check=True
    )
    assert len(server.requests) == 4
    assert int(done.stdout.splitlines()[-1]) < 85_000_000
