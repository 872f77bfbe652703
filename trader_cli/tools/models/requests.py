"""A question as the body of a Responses API request. Nothing of the SDK is loaded here: it can be shown without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trader_cli.schemas.model import ModelSpec
from trader_cli.schemas.question import Agent, Question, Turn
from trader_cli.tools.rows import dumps

TEMPERATURE = 0.5
"""The specification's, for models that take one."""

_LEAST_FIRST = ("none", "minimal", "low")
_THINKS = {Agent.TRADER: ("low", "minimal", "none")}
"""How hard each agent thinks: the trader a little, the others as little as their model can."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a model is asked beyond the question; None where the model does not take it, and it is left out."""

    effort: str | None
    verbosity: str | None
    temperature: float | None


def manner(agent: Agent, spec: ModelSpec | None) -> Manner:
    """What a model takes, by the table. A model that is not in it gets nothing it might refuse."""
    if spec is None:
        return Manner(None, None, None)
    effort = next((one for one in _THINKS.get(agent, _LEAST_FIRST) if one in spec.efforts), None)
    warm = spec.temperature == "at none" and (effort or spec.default_effort) == "none"
    return Manner(effort, "low" if spec.verbosity else None, TEMPERATURE if warm else None)


def body(question: Question, model: str, spec: ModelSpec | None) -> dict[str, Any]:
    """The whole request: stateless, the answer in the strict wire form, tools as functions without side effects."""
    how = manner(question.agent, spec)
    form = {"type": "json_schema", "name": question.schema_name, "schema": question.schema, "strict": True}
    most = question.max_output_tokens
    request: dict[str, Any] = {
        "model": model,
        "instructions": question.prompt if spec else question.prompt + _spelled_out(question.schema),
        "input": [{"role": "user", "content": dumps(question.facts)}, *_past(question.turns)],
        "text": {"format": form, **({"verbosity": how.verbosity} if how.verbosity else {})},
        "max_output_tokens": min(most, spec.max_output_tokens or most) if spec else most,
        "store": False,
    }
    if how.effort is not None:
        request["reasoning"] = {"effort": how.effort}
    if how.temperature is not None:
        request["temperature"] = how.temperature
    if question.tools:
        request["tools"] = [
            {"type": "function", "name": t.name, "description": t.description, "parameters": t.parameters,
             "strict": True}
            for t in question.tools
        ]  # fmt: skip
        request["tool_choice"] = "auto" if question.may_call else "none"
        request["parallel_tool_calls"] = False
        if spec is not None:
            request["include"] = ["reasoning.encrypted_content"]  # without it a stateless second round is refused
    return request


def noted(request: dict[str, Any], host: str) -> dict[str, Any]:
    """What the ledger keeps of a request beyond its question; a setting that was left out is null."""
    return {
        "host": host,
        "effort": request.get("reasoning", {}).get("effort"),
        "verbosity": request["text"].get("verbosity"),
        "temperature": request.get("temperature"),
        "tool_choice": request.get("tool_choice"),
    }


def _spelled_out(schema: dict[str, Any]) -> str:
    """For servers that do not hold a model to a schema: what is read here is checked in any case."""
    return f"The answer is one JSON object that obeys this JSON Schema: {dumps(schema)}\n"


def _past(turns: tuple[Turn, ...]) -> list[dict[str, Any]]:
    """The rounds so far: the model's own items as they came, each call followed by what it got."""
    return [
        one
        for turn in turns
        for one in (
            *turn.items,
            *({"type": "function_call_output", "call_id": key, "output": output} for key, output in turn.outputs),
        )
    ]
