"""What a model may say: good payloads of the three agents, and every shape a Response can have around them.

A step of a script is a payload (a dict), a function of the request's body that gives a step, a Shape, or a
Wire of `tests.responses.wire`.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.responses.conversation import sealed
from tests.responses.models import rules_of

Body = dict[str, Any]
Item = dict[str, Any]
Payload = dict[str, Any] | Callable[[Body], Any]
"""What the final message says; a function reads it off the request."""


# --- good answers ----------------------------------------------------------------------------


def plan(
    mode: str = "TRADE", policies: tuple[str, ...] = ("rsi_reversion", "cash"), wakeup: int = 300, explore: float = 0.1
) -> dict[str, Any]:
    """A planner's answer: policies at their defaults, `wakeup` in seconds."""
    from trader_cli.schemas.policy import BY_ID

    strategies = [{"policy_id": name, "params": BY_ID[name].defaults()} for name in policies]
    return {"mode": mode, "explore_ratio": explore, "next_wakeup_secs": wakeup, "strategies": strategies}


def observe(wakeup: int = 300) -> dict[str, Any]:
    """A planner that trades nothing."""
    return plan("OBSERVE", ("cash",), wakeup, 0.0)


def buy(
    qty: object, policy_id: str = "rsi_reversion", confidence: float = 0.9, hypothesis: str = "the signal says so"
) -> dict[str, Any]:
    """A trader's BUY; `qty` in base."""
    return _proposal("BUY", str(qty), policy_id, confidence, hypothesis)


def sell(
    qty: object, policy_id: str = "rsi_reversion", confidence: float = 0.9, hypothesis: str = "the signal says so"
) -> dict[str, Any]:
    """A trader's SELL; `qty` in base."""
    return _proposal("SELL", str(qty), policy_id, confidence, hypothesis)


def hold(policy_id: str = "rsi_reversion", hypothesis: str = "no edge after costs") -> dict[str, Any]:
    """A trader that decides to do nothing."""
    return _proposal("HOLD", "0", policy_id, 0.5, hypothesis)


def approve(notes: str = "within the law") -> dict[str, Any]:
    """A judge that lets the order through."""
    return _verdict("APPROVE", None, notes=notes)


def revise(qty: object, *violations: str) -> dict[str, Any]:
    """A judge that asks for another quantity; `qty` in base, None for none."""
    return _verdict("REVISE", None if qty is None else str(qty), *violations)


def reject(*violations: str) -> dict[str, Any]:
    """A judge that refuses."""
    return _verdict("REJECT", None, *(violations or ("the facts contradict the hypothesis",)))


def _proposal(action: str, qty: str, policy_id: str, confidence: float, hypothesis: str) -> dict[str, Any]:
    return {
        "action": action,
        "qty": qty,
        "policy_id": policy_id,
        "hypothesis": hypothesis,
        "confidence": confidence,
    }


def _verdict(decision: str, qty: str | None, *violations: str, notes: str = "") -> dict[str, Any]:
    return {"decision": decision, "revised_qty": qty, "violations": list(violations), "notes": notes}


# --- shapes ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shape:
    """One Response: `items` makes its output of the request; `usage` replaces counts, or None for no usage at all."""

    items: Callable[[Body], list[Item]]
    status: str = "completed"
    reason: str | None = None
    error: dict[str, str] | None = None
    usage: dict[str, Any] | None = None
    counts: bool = True


def said(payload: Payload, usage: dict[str, int] | None = None) -> Shape:
    """A completed answer; `usage` sets `input`, `cached`, `output` or `reasoning` tokens."""
    return Shape(lambda body: [*_thoughts(body), message(words(payload, body), _final(body))], usage=usage)


def reasoning_first(payload: Payload) -> Shape:
    """A reasoning item before the message, whatever the effort."""
    return Shape(lambda body: [reasoning(), message(words(payload, body), _final(body))])


def commentary(payload: Payload, thinking: str = "I look at the signals first.") -> Shape:
    """A commentary message before the final one."""
    return Shape(
        lambda body: [
            *_thoughts(body),
            message(thinking, "commentary"),
            message(words(payload, body), "final_answer"),
        ]
    )


def refusal(why: str = "I can't help with that.") -> Shape:
    """A completed answer that refuses."""
    part = {"type": "refusal", "refusal": why}
    return Shape(lambda body: [*_thoughts(body), _message([part], _final(body), "completed")])


def incomplete(reason: str = "max_output_tokens", cut_text: str | None = None) -> Shape:
    """An answer that stopped half-way: with cut text, or with thoughts only."""

    def items(body: Body) -> list[Item]:
        cut = [] if cut_text is None else [message(cut_text, _final(body), "incomplete")]
        return [*_thoughts(body), *cut] or [reasoning()]

    return Shape(items, "incomplete", reason)


def failed(code: str = "server_error", why: str = "The model failed to generate a response.") -> Shape:
    """HTTP 200 with status failed."""
    return Shape(lambda body: [], "failed", error={"code": code, "message": why})


def empty() -> Shape:
    """Completed, and nothing in it."""
    return Shape(lambda body: [])


def no_usage(payload: Payload) -> Shape:
    """A good answer of a server that counts nothing."""
    return Shape(lambda body: [message(words(payload, body), None)], counts=False)


def raw_text(text: str) -> Shape:
    """A message of exactly these words."""
    return Shape(lambda body: [*_thoughts(body), message(text, _final(body))])


def messages(*texts: str) -> Shape:
    """Several final messages, of exactly these words."""
    return Shape(lambda body: [message(text, _final(body)) for text in texts])


def tool_call(name: str, arguments: object = None, call_id: str | None = None, reasoning: bool = True) -> Shape:
    """One call of a function; `arguments` as JSON, or the very words where it is a str."""
    return tool_calls((name, arguments), call_ids=None if call_id is None else (call_id,), thinks=reasoning)


def tool_calls(*calls: tuple[str, object], call_ids: tuple[str, ...] | None = None, thinks: bool = True) -> Shape:
    """Several calls at once, with a reasoning item before them when `thinks`."""

    def items(body: Body) -> list[Item]:
        names = call_ids or [f"call_{secrets.token_hex(12)}" for _ in calls]
        return [
            *([reasoning()] if thinks else []),
            *(_call(name, given, one) for (name, given), one in zip(calls, names, strict=True)),
        ]

    return Shape(items)


def _call(name: str, given: object, call_id: str) -> Item:
    arguments = given if isinstance(given, str) else json.dumps(given or {})
    return {
        "id": f"fc_{secrets.token_hex(24)}",
        "type": "function_call",
        "status": "completed",
        "arguments": arguments,
        "call_id": call_id,
        "name": name,
    }


def words(payload: Payload, body: Body) -> str:
    """What a payload says to this request, as JSON."""
    return json.dumps(payload(body) if callable(payload) else payload, separators=(",", ":"))


def message(text: str, phase: str | None, status: str = "completed") -> Item:
    """An assistant's message of one text."""
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
    return _message([part], phase, status)


def _message(parts: list[Item], phase: str | None, status: str) -> Item:
    spoken = {"id": f"msg_{secrets.token_hex(24)}", "type": "message", "status": status, "content": parts}
    return {**spoken, **({} if phase is None else {"phase": phase}), "role": "assistant"}


def reasoning() -> Item:
    """Thoughts nobody else can read."""
    name = f"rs_{secrets.token_hex(24)}"
    return {"id": name, "type": "reasoning", "encrypted_content": sealed(name), "summary": []}


def _thoughts(body: Body) -> list[Item]:
    return [] if rules_of(body["model"]).effort(body) == "none" else [reasoning()]


def _final(body: Body) -> str | None:
    return "final_answer" if rules_of(body["model"]).phases else None


# --- the document ----------------------------------------------------------------------------


def response(shape: Shape, body: Body, request_tokens: int, cached_tokens: int = 0) -> dict[str, Any]:
    """A whole Response, with the request's settings in it as the service repeats them."""
    output = shape.items(body)
    now = int(time.time())
    document: dict[str, Any] = {
        "id": f"resp_{secrets.token_hex(24)}",
        "object": "response",
        "created_at": now,
        "status": shape.status,
        "background": False,
        "completed_at": now if shape.status == "completed" else None,
        "error": shape.error,
        "incomplete_details": None if shape.reason is None else {"reason": shape.reason},
        **_echo(body),
        "output": output,
        "usage": None,
        "user": None,
    }
    if shape.counts and shape.status != "failed":
        document["usage"] = _usage(shape, output, body, (request_tokens, cached_tokens))
    if not shape.counts:
        del document["usage"]
    return document


def _echo(body: Body) -> dict[str, Any]:
    rules, text, thinks = rules_of(body["model"]), body.get("text") or {}, body.get("reasoning") or {}
    return {
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": body.get("max_tool_calls"),
        "metadata": body.get("metadata") or {},
        "model": rules.snapshot or body["model"],
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": rules.effort(body) if rules.efforts else None, "summary": thinks.get("summary")},
        "service_tier": "default",
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": {"format": text.get("format") or {"type": "text"}, "verbosity": text.get("verbosity") or "medium"},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_logprobs": 0,
        "top_p": body.get("top_p", 1.0),
        "truncation": body.get("truncation") or "disabled",
    }


def _usage(shape: Shape, output: list[Item], body: Body, given: tuple[int, int]) -> dict[str, Any]:
    """Counts of a quarter of the bytes; thoughts at 64 tokens an item."""
    tokens, cached = given
    counts = shape.usage or {}
    thoughts = counts.get("reasoning", 64 * sum(item["type"] == "reasoning" for item in output))
    visible = sum(len(json.dumps(item.get("content") or item.get("arguments") or "")) // 4 for item in output)
    spent = counts.get("output", thoughts + visible)
    if shape.reason == "max_output_tokens" and "output" not in counts:
        spent = body.get("max_output_tokens") or spent
    tokens = counts.get("input", tokens)
    return {
        "input_tokens": tokens,
        "input_tokens_details": {"cached_tokens": counts.get("cached", cached), "cache_write_tokens": 0},
        "output_tokens": spent,
        "output_tokens_details": {"reasoning_tokens": thoughts},
        "total_tokens": tokens + spent,
    }
