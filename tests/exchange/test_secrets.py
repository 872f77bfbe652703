"""Keys, secrets and signatures come out nowhere, whatever breaks and however loud the logs are.

Every scene of this folder is searched when it ends (`Scene.assert_silent`); here is what only this is about.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.binance_server import Fault, faults
from tests.exchange.scenes import Scene, scene

LOUD = """
import logging, sys
logging.basicConfig(level=1, stream=sys.stderr)
from trader_cli.main import run
sys.exit(run(sys.argv[1:]))
"""
"""`trader` with every logger of every library at its loudest."""

BREAKS = """
import sys, traceback
from requests import Session
from trader_cli.main import run
true = Session.send
def send(self, request, **more):
    if request.method == {method!r} and {path!r} in request.url:
        raise {kind}(f"while sending {{request.url}} with {{request.headers}} and {{request.body}}")
    return true(self, request, **more)
Session.send = send
sys.exit(run(sys.argv[1:]))
"""
"""`trader` over a library that raises what nobody foresaw, with all that it was sending in the words."""


def python(at: Scene, script: str, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A process of its own that runs a script; what it said is searched at the end of the scene."""
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        env={**at.traders.env, **env},
        cwd=at.db.parent,
        capture_output=True,
        encoding="utf-8",
        timeout=90,
        check=False,
    )
    at.said += [done.stdout, done.stderr]
    return done


@pytest.mark.parametrize(
    "fault",
    [None, faults.accept_then_drop(), faults.error(-1022, status=400, message="Signature is not valid.")],
    ids=["all well", "answer lost", "signature refused"],
)
def test_the_loudest_logs_hold_no_secret(fault: Fault | None, env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, {**env, "LOG_FILE": str(tmp_path / "t.log"), "LOG_LEVEL": "DEBUG"}) as at:
        if fault is not None:
            at.spoil(fault)
            at.spoil(faults.drop_before(), "GET", "/api/v3/account")
            at.spoil(faults.drop_before(), "GET", "/api/v3/order")
            at.spoil(faults.redirect(), "GET", "/api/v3/klines")
        done = python(at, LOUD, "cycle", "-vv")
        assert done.returncode in (0, 5, 10)
        assert at.server.posts() <= 1
        python(at, LOUD, "recover", "-vv")
        python(at, LOUD, "ledger", "tail", "--json")
        told = (tmp_path / "t.log").read_text("ascii")
        assert '"logger": "trader.exchange"' in told
        assert "/api/v3/account" in told


@pytest.mark.parametrize(
    "method, path, kind",
    [
        ("GET", "/account", "RuntimeError"),
        ("GET", "/account", "OSError"),
        ("POST", "/order", "RuntimeError"),
        ("POST", "/order", "ValueError"),
    ],
)
def test_what_nobody_foresaw_is_told_without_a_secret(
    method: str, path: str, kind: str, env: dict[str, str], tmp_path: Path
) -> None:
    with scene(tmp_path, env) as at:
        done = python(at, BREAKS.format(method=method, path=path, kind=kind), "cycle", "-vv", TRADER_DEBUG="1")
        assert done.returncode in (1, 5, 10), done.stderr
        assert at.server.posts() == 0
        if method == "POST":
            assert (done.returncode, at.states) == (10, ["UNKNOWN"])


def test_the_ledgers_exports_hold_no_secret(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        at.spoil(faults.accept_then_drop())
        at.cycle()
        for words in (("ledger", "trace", "last", "--json"), ("config", "show"), ("status", "--json")):
            at.trader(*words)
        at.trader("ledger", "export", "--out", "all.json", code=None)


def test_the_search_finds_what_it_looks_for(env: dict[str, str], tmp_path: Path) -> None:
    with scene(tmp_path, env) as at:
        for planted in (at.server.key, at.server.secret, at.minds.key, f"&signature={'0a' * 32}", "signature%3Dab"):
            at.said.append(f"... {planted} ...")
            with pytest.raises(AssertionError, match=re.escape("what was said")):
                at.assert_silent()
            at.said.clear()
        at.trader("recover", code=8)
        (tmp_path / "x.log").write_text(at.server.secret, encoding="utf-8")
        with pytest.raises(AssertionError, match=re.escape("x.log")):
            at.assert_silent()
        (tmp_path / "x.log").unlink()
