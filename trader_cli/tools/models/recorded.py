"""A model that answers from the ledger: the same question gets the answer it got then, free and exact."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from trader_cli.core.decimals import dec
from trader_cli.schemas.question import Answer, Question, Usage
from trader_cli.schemas.tool import ToolCall
from trader_cli.tools.calls import prompt_sha256, tools_text
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.rows import dumps

NOT_RECORDED = "not_recorded"
"""The status of an answer to a question that this trace was never asked."""


class RecordedModel:
    """The answers of one trace. A question that differs from the recorded one gets no answer, and says where.

    Where it was put in the words of another version, only its answer can be held against the record: `notes` say so.
    """

    name = "recorded"

    def __init__(self, ledger: Ledger, trace_id: str) -> None:
        self._ledger = ledger
        self._trace_id = trace_id
        self.got: list[tuple[tuple[str, str | None], ...]] = []
        self.notes: dict[str, None] = {}

    def answer(self, question: Question) -> Answer:
        """The recorded answer with the attempts before it. `got` gathers what its tool calls got then."""
        rows = list(self._rows(question))
        if not rows:
            return _missing(f"no {question.agent.value} of this trace was asked in round {len(question.turns) + 1}")
        if differs := self._difference(question, rows[-1]):
            return _missing(differs)
        *earlier, last = (read_call(row) for row in rows)
        self.got.append(tuple((one["call_id"], one["output"]) for one in _calls(rows[-1])))
        return replace(last, earlier=tuple(earlier))

    def _rows(self, question: Question) -> Iterator[dict[str, Any]]:
        rows = self._named(
            "SELECT * FROM model_calls WHERE trace_id = ? AND agent = ? ORDER BY id",
            self._trace_id,
            question.agent.value,
        )
        return (row for row in rows if (row.get("round") or 0) == len(question.turns))

    def _named(self, sql: str, *values: str) -> Iterator[dict[str, Any]]:
        cursor = self._ledger.db.execute(sql, values)
        names = [column[0] for column in cursor.description]
        return (dict(zip(names, row, strict=True)) for row in cursor)

    def _difference(self, question: Question, row: dict[str, Any]) -> str | None:
        """Where a question is not the one that was asked then; None where it is the same."""
        if (most := row.get("max_output_tokens")) not in (None, question.max_output_tokens):
            return f"its answer may have {question.max_output_tokens} tokens, it was {most}"
        schema_json, tools_json = dumps(question.schema), tools_text(question.tools)
        sha256, was = prompt_sha256(question.prompt, schema_json, tools_json), row["prompt_sha256"]
        if sha256 == was:
            return _other_fact(json.loads(row["facts_json"]), json.loads(dumps(question.facts)))
        then = next(self._named("SELECT * FROM prompts WHERE sha256 = ?", was), None)
        if then is None or prompt_sha256(then["prompt"], then["schema_json"], then.get("tools_json")) != was:
            return f"the words of its question, version {was[:12]}, are gone or were changed"
        parts = {"prompt": question.prompt, "schema": schema_json, "tools": tools_json}
        other = [name for name, now in parts.items() if now != then.get(name, then.get(f"{name}_json"))]
        words = f"version {was[:12]}, now {sha256[:12]}"
        self.notes[f"another {' and '.join(other)} of the {question.agent.value.lower()} then ({words})"] = None
        return None


def read_call(row: dict[str, Any]) -> Answer:
    """A row of `model_calls` as the answer it was made of, but for what only the next request needed (`items`).

    A row of an older schema lacks what only a model over the network has.
    """
    price, request = row.get("price_json"), row.get("request_json")
    return Answer(
        model=row["model"],
        status=row["status"],
        text=row["reply"],
        usage=Usage(
            row["input_tokens"],
            row["cached_tokens"],
            row["output_tokens"],
            row["reasoning_tokens"],
            dec(row["cost_usd"]),
            row.get("cost_basis"),
            None if price is None else json.loads(price),
            row.get("cache_write_tokens"),
        ),
        latency_ms=row["latency_ms"],
        attempt=row["attempt"],
        request_id=row["request_id"],
        error=row["error"],
        source="rules" if request is None else "openai",
        calls=tuple(ToolCall(one["call_id"], one["name"], one["arguments"]) for one in _calls(row)),
        request=None if request is None else json.loads(request),
        body_sha256=row.get("body_sha256"),
        reserve_id=row.get("reserve_id"),
    )


def _calls(row: dict[str, Any]) -> list[dict[str, Any]]:
    return json.loads(row["tools_json"]) if row.get("tools_json") else []


def _other_fact(then: dict[str, Any], now: dict[str, Any]) -> str | None:
    """The first fact that is not the same, to the letter; None where all are."""
    for name in {**then, **now}:
        was, is_now = (dumps(facts[name]) if name in facts else "not there" for facts in (then, now))
        if was != is_now:
            return f"the fact {name} is {is_now[:80]}, it was {was[:80]}"
    return None


def _missing(why: str) -> Answer:
    return Answer("recorded", NOT_RECORDED, None, error=why)
