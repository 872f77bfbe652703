"""Models in rows: every attempt at an answer, what it may cost before it is made, and how answers went lately."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import takewhile
from pathlib import Path
from typing import Any

from trader_cli.core.audit import text_sha256
from trader_cli.core.decimals import ZERO, add, dec, text
from trader_cli.core.hostile import storable
from trader_cli.core.moments import DAY_MS, Moment, day_start, iso
from trader_cli.schemas.decision import FALLBACK
from trader_cli.schemas.question import Answer, Question
from trader_cli.schemas.tool import Tool
from trader_cli.tools.rows import dumps
from trader_cli.tools.store import Store, Transaction

LOOK_BACK = 96
"""How many of the newest decisions about a model's answer tell how the models do."""


class CallStore(Store):
    """A store that keeps what models were asked and answered."""

    def __init__(self, db: Any, path: Path | None, wall: Callable[[], Moment]) -> None:
        self._prompts: set[str] = set()
        self._questions: dict[tuple[int, int, str], tuple[Any, Any, str, str | None, str]] = {}
        super().__init__(db, path, wall)

    def forget(self) -> None:
        """Drop what is remembered."""
        super().forget()
        self._prompts = set()

    # --- before a call -----------------------------------------------------------------------

    def hold_back(self, question: Question, model: str, amount: Decimal) -> int:
        """Write down what an answer may cost at most, before it is asked for; returns the row's id. USD."""
        with self.transaction() as tx:
            return tx.insert(
                "model_reserves",
                ts_utc=iso(question.at),
                trace_id=question.trace_id,
                agent=question.agent.value,
                model=storable(model),
                amount_usd=text(amount),
            )

    def spent_on(self, wall: Moment) -> Decimal:
        """What models cost on the UTC day of a moment on the wall, in USD.

        A call without an answer in the ledger (this process or another died in it) counts at its worst.
        """
        day = day_start(wall)
        first, end = iso(day), iso(day + DAY_MS)
        tables = "model_reserves", "model_calls"
        return self.remembered("spent", tables, lambda: self._spent(first, end), about=day)

    def spent(self) -> Decimal:
        """What models cost in the whole ledger, in USD; a call without an answer counts at its worst."""
        return self._spent("", "9")

    def _spent(self, first: str, end: str) -> Decimal:
        if "model_reserves" not in self.tables:
            return ZERO  # a reader of an older ledger
        rows = self.db.execute(
            "SELECT coalesce(c.cost_usd, r.amount_usd) FROM model_reserves AS r "
            "LEFT JOIN model_calls AS c ON c.reserve_id = r.id WHERE r.wall_ts >= ? AND r.wall_ts < ?",
            (first, end),
        )
        return add(*(dec(amount) for (amount,) in rows))

    # --- after it ----------------------------------------------------------------------------

    def log_call(
        self, tx: Transaction, question: Question, answer: Answer, at: Moment, outputs: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """One attempt's answer with the question's facts, and what its tool calls got; returns its id, the prompt's
        hash."""
        sha256 = self._log_prompt(tx, question)
        usage = answer.usage
        row: dict[str, Any] = {
            "ts_utc": iso(at),
            "trace_id": question.trace_id,
            "agent": question.agent.value,
            "model": storable(answer.model),
            "attempt": answer.attempt,
            "prompt_sha256": sha256,
            "facts_json": dumps(question.facts),
            "max_output_tokens": question.max_output_tokens,
            "status": answer.status,
            "reply": None if answer.text is None else storable(answer.text),
            "error": None if answer.error is None else storable(answer.error),
            "input_tokens": usage.input_tokens,
            "cached_tokens": usage.cached_tokens,
            "output_tokens": usage.output_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
            "cost_usd": text(usage.cost_usd),
            "latency_ms": answer.latency_ms,
            "request_id": None if answer.request_id is None else storable(answer.request_id),
        }
        if answer.request is not None:
            row |= _over_the_network(question, answer, outputs or {})
        return tx.insert("model_calls", **row), sha256

    def _log_prompt(self, tx: Transaction, question: Question) -> str:
        """Store a prompt that is new, with its schema and tools; returns its hash."""
        schema_json, tools_json, sha256 = self._worded(question)
        if sha256 not in self._prompts:
            if not self.db.execute("SELECT 1 FROM prompts WHERE sha256 = ?", (sha256,)).fetchone():
                row = {"sha256": sha256, "agent": question.agent.value, "prompt": question.prompt}
                tools = {} if tools_json is None else {"tools_json": tools_json}
                tx.insert("prompts", **row, schema_json=schema_json, **tools)
            self._prompts.add(sha256)
        return sha256

    def _worded(self, question: Question) -> tuple[str, str | None, str]:
        """A question's schema and tools as JSON, and the hash of its prompt with them; the same few, again and again.

        The schema and the tools are kept beside what was made of them, so that their identities stay their own.
        """
        key = id(question.schema), id(question.tools), question.prompt
        if key not in self._questions:
            schema_json, tools_json = dumps(question.schema), tools_text(question.tools)
            sha256 = prompt_sha256(question.prompt, schema_json, tools_json)
            self._questions[key] = question.schema, question.tools, schema_json, tools_json, sha256
        return self._questions[key][2:]

    # --- how answers went --------------------------------------------------------------------

    def failing(self) -> tuple[int, str | None]:
        """How many of the newest cycles in a row had no usable answer from a model, and the newest cause.

        Cycles in which no model was asked neither count nor end the row.
        """
        causes: dict[str, str | None] = {}
        for trace_id, source, cause in self.db.execute(
            "SELECT trace_id, source, cause FROM decisions WHERE source IN ('openai', 'rules', 'fallback') "
            "ORDER BY id DESC LIMIT ?",
            (LOOK_BACK,),
        ):
            causes[trace_id] = causes.get(trace_id) or (cause if source == FALLBACK else None)
        failed = list(takewhile(lambda cause: cause is not None, causes.values()))
        return len(failed), failed[0] if failed else None


def tools_text(tools: tuple[Tool, ...]) -> str | None:
    """Tools as the ledger keeps them; None for none."""
    if not tools:
        return None
    return dumps([{"name": t.name, "description": t.description, "parameters": t.parameters} for t in tools])


def prompt_sha256(prompt: str, schema_json: str, tools_json: str | None) -> str:
    """The version of a prompt: its words, the schema of its answer and its tools."""
    return text_sha256("\n".join((prompt, schema_json, *([tools_json] if tools_json else ()))))


def _over_the_network(question: Question, answer: Answer, outputs: dict[str, str]) -> dict[str, Any]:
    """What only a model over the network has."""
    usage = answer.usage
    calls = [
        {"call_id": storable(c.call_id), "name": storable(c.name), "arguments": storable(c.arguments),
         "output": outputs.get(c.call_id)}
        for c in answer.calls
    ]  # fmt: skip
    return {
        "round": len(question.turns),
        "request_json": dumps(answer.request),
        "tools_json": dumps(calls) if calls else None,
        "body_sha256": answer.body_sha256,
        "cache_write_tokens": usage.cache_write_tokens,
        "cost_basis": usage.cost_basis,
        "price_json": None if usage.price is None else dumps(usage.price),
        "reserve_id": answer.reserve_id,
    }
