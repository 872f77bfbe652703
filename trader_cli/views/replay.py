"""A replay as a document, and as lines for a person: the same, or what differs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from trader_cli.schemas.replay import Replay


def replay_document(trace_id: str, steps: Sequence[Replay]) -> dict[str, Any]:
    """Each step as it was decided and as it is decided now."""
    return {
        "schema": "trader.replay/1",
        "trace_id": trace_id,
        "same": not any(one.differences for one in steps),
        "steps": [
            {
                "agent": one.agent.value,
                "decision_id": one.decision.id,
                "source": one.decision.source,
                "same": not one.differences,
                "recorded_answers": one.answers,
                "recorded": one.decision.payload.payload(),
                "replayed": one.again,
                "differences": list(one.differences),
            }
            for one in steps
        ],
    }


def replay_lines(document: dict[str, Any]) -> list[str]:
    """A line for each step, and one for each difference."""
    lines = []
    for step in document["steps"]:
        answers = step["recorded_answers"]
        of = "the law alone" if not answers else f"{answers} recorded answer{'s' * (answers != 1)}"
        word = "same" if step["same"] else "DIFFERS"
        lines.append(f"{word:<8}#{step['decision_id']:<4} {step['agent']:<8} by {step['source']}, from {of}")
        lines += [f"        {words}" for words in step["differences"]]
        if step["same"]:
            lines.append(f"        {json.dumps(step['recorded'])}")
    return lines
