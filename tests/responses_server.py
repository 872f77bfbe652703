"""A loopback server of the OpenAI Responses API, for tests and for a person.

Tests: `with ResponsesServer() as server: server.script("plan", plan())`; the parts are in `tests/responses/`.
A person: `python -m tests.responses_server` prints two lines to export, then answers every agent sensibly.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from decimal import Decimal
from typing import Any

from tests.responses.answers import (
    Shape,
    approve,
    buy,
    commentary,
    empty,
    failed,
    hold,
    incomplete,
    messages,
    no_usage,
    observe,
    plan,
    raw_text,
    reasoning_first,
    refusal,
    reject,
    revise,
    said,
    sell,
    tool_call,
    tool_calls,
)
from tests.responses.server import Request, ResponsesServer
from tests.responses.wire import (
    Step,
    Wire,
    cut,
    dribble,
    dribble_headers,
    forbidden,
    hang,
    hang_up,
    no_such_model,
    other_body,
    out_of_quota,
    rate_limited,
    redirect,
    reset,
    reset_before_answer,
    reset_in_answer,
    server_error,
    slow,
    status,
    wrong_key,
)

__all__ = [
    "SENSIBLE",
    "Request",
    "ResponsesServer",
    "Shape",
    "Step",
    "Wire",
    "approve",
    "buy",
    "commentary",
    "cut",
    "dribble",
    "dribble_headers",
    "empty",
    "facts",
    "failed",
    "forbidden",
    "hang",
    "hang_up",
    "hold",
    "incomplete",
    "messages",
    "no_such_model",
    "no_usage",
    "observe",
    "other_body",
    "out_of_quota",
    "plan",
    "rate_limited",
    "raw_text",
    "reasoning_first",
    "redirect",
    "refusal",
    "reject",
    "reset",
    "reset_before_answer",
    "reset_in_answer",
    "revise",
    "said",
    "sell",
    "sensible_proposal",
    "server_error",
    "slow",
    "status",
    "tool_call",
    "tool_calls",
    "wrong_key",
]


def facts(body: dict[str, Any]) -> dict[str, Any]:
    """The facts in a request: the JSON object in the last thing a user said, or an empty dict."""
    given = body.get("input")
    texts = [given] if isinstance(given, str) else [_text(item) for item in given or () if item.get("role") == "user"]
    for text in reversed(texts):
        start = text.find("{")
        try:
            found = json.JSONDecoder().raw_decode(text, start)[0] if start >= 0 else None
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return {}


def _text(item: dict[str, Any]) -> str:
    content = item.get("content")
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or ())


def sensible_proposal(body: dict[str, Any]) -> dict[str, Any]:
    """What a careful trader does: sells all on a signal to sell, buys half of the room on one to buy."""
    known = facts(body)
    room, signals = known.get("room") or {}, known.get("signals") or []
    for one in signals:
        policy = str(one.get("policy_id", "rsi_reversion"))
        if one.get("action") == "SELL" and _amount(room, "max_sell") > 0:
            return sell(room["max_sell"], policy)
        qty = _half(room)
        if one.get("action") == "BUY" and qty > 0:
            return buy(format(qty, "f"), policy)
    return hold(str(signals[0].get("policy_id", "rsi_reversion")) if signals else "rsi_reversion")


def _half(room: dict[str, Any]) -> Decimal:
    """About half of what may be bought, on the step; all of it where half is too little."""
    most, least, step = (_amount(room, name) for name in ("max_buy", "min_qty", "step"))
    half = most / 2 if step <= 0 else (most / 2) // step * step
    return half if half >= least else most if most >= least else Decimal(0)


def _amount(room: dict[str, Any], name: str) -> Decimal:
    return Decimal(str(room.get(name) or 0))


SENSIBLE: dict[str, Step] = {
    "plan": plan(policies=("rsi_reversion", "ma_trend")),
    "proposal": sensible_proposal,
    "verdict": approve(),
}
"""What each agent is answered when nobody wrote a script."""


def main(words: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.responses_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port of 127.0.0.1; 0 takes a free one")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before every answer")
    parser.add_argument("--key", help="the key to accept; a new one when not given")
    given = parser.parse_args(words)
    if not 0 <= given.port <= 65_535 or not 0 <= given.latency <= 600:
        parser.error("--port needs 0 to 65535 and --latency 0 to 600 seconds")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        server = ResponsesServer(given.latency, port=given.port, key=given.key, otherwise=SENSIBLE)
    except OSError as error:
        parser.error(f"--port {given.port} cannot be had: {error.strerror}; take another, or 0 for a free one")
    with server:
        sys.stdout.write("".join(f"export {name}={value}\n" for name, value in server.environment.items()))
        sys.stdout.flush()
        ended.wait()
    sys.stderr.write(f"{len(server.requests)} requests, {len(server.invalid)} of them refused\n")
    sys.stderr.writelines(f"  {problem}\n" for _, problem in server.invalid)
    return 0


if __name__ == "__main__":
    sys.exit(main())
