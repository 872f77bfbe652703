"""A replay as a document, and as lines for a person: the same to the letter, or what differs first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from trader_cli.schemas.replay import Replay

TOLD = 20
"""How many steps of many a document lists: those that differ, and those that were not worked out."""


@dataclass
class Tally:
    """Steps as they come: how many, how many the same, and the ones to tell of."""

    whole: bool
    counts: dict[str, int] = field(default_factory=dict)
    different: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    told: list[dict[str, Any]] = field(default_factory=list)

    def add(self, one: Replay) -> None:
        """Count a step; of one trace alone every step is told."""
        self.counts[one.step.value] = self.counts.get(one.step.value, 0) + 1
        self.different += bool(one.differences)
        if one.skipped is not None:
            self.skipped[one.skipped] = self.skipped.get(one.skipped, 0) + 1
        for note in one.notes:
            self.notes[note] = self.notes.get(note, 0) + 1
        if self.whole or (one.differences and len(self.told) < TOLD):
            self.told.append(_step(one))

    @property
    def done(self) -> int:
        """How many steps were worked out again."""
        return sum(self.counts.values()) - sum(self.skipped.values())


def _step(one: Replay) -> dict[str, Any]:
    return {
        "step": one.step.value,
        "trace_id": one.trace_id,
        "table": one.row[0],
        "row_id": one.row[1],
        "source": one.source,
        "same": None if one.skipped is not None else not one.differences,
        "recorded_answers": one.answers,
        "recorded": one.recorded,
        "replayed": one.again,
        "differences": list(one.differences),
        "skipped": one.skipped,
        "notes": list(one.notes),
    }


def replay_document(trace_id: str | None, cycles: int, tally: Tally) -> dict[str, Any]:
    """What was worked out again, of one trace or of many cycles."""
    return {
        "schema": "trader.replay/1",
        "trace_id": trace_id,
        "cycles": cycles,
        "same": not tally.different,
        "steps_done": tally.done,
        "steps_different": tally.different,
        "by_step": tally.counts,
        "not_done": tally.skipped,
        "not_compared": tally.notes,
        "steps": tally.told,
    }


def replay_lines(document: dict[str, Any]) -> list[str]:
    """A line for each step that is told, one for each difference, and what it comes to."""
    lines = []
    for step in document["steps"]:
        lines.append(_head(step, document["trace_id"] is None))
        lines += [f"        {words}" for words in step["differences"]]
        lines += [f"        its question was not compared: {words}" for words in step["notes"]]
        if step["skipped"] is not None:
            lines.append(f"        not worked out: {step['skipped']}")
        elif step["same"] and step["step"] in ("plan", "propose", "judge"):
            lines.append(f"        {json.dumps(step['recorded'])}")
    return [*lines, _sum(document)]


def _head(step: dict[str, Any], of_many: bool) -> str:
    word = "-" if step["same"] is None else "same" if step["same"] else "DIFFERS"
    answers = step["recorded_answers"]
    by = f"by {step['source']}" if step["source"] else ""
    of = f", from {answers} recorded answer{'s' * (answers != 1)}" if answers else ""
    trace = f"{(step['trace_id'] or '-')[:8]}  " if of_many else ""
    return f"{word:<8}{trace}{step['step']:<9}{step['table']} #{step['row_id']}  {by}{of}".rstrip()


def _sum(document: dict[str, Any]) -> str:
    done, different = document["steps_done"], document["steps_different"]
    who = f"{document['cycles']} cycles" if document["trace_id"] is None else document["trace_id"][:8]
    left = sum(document["not_done"].values())
    rest = f"; {left} not worked out: {', '.join(document['not_done'])}" if left else ""
    rest += "".join(f"; {n} questions not compared: {words}" for words, n in document["not_compared"].items())
    if different:
        return f"{who}  {different} of {done} steps came out differently{rest}"
    return f"{who}  {done} of {done} steps reproduced, byte for byte{rest}"


def progress_line(done: int, of: int, steps: int) -> str:
    """How far a long replay is."""
    full = 20 * done // max(of, 1)
    return f"[{'#' * full}{'.' * (20 - full)}] {done} of {of} cycles, {steps} steps"


def told_first(steps: Sequence[dict[str, Any]]) -> str:
    """The first difference in words, for the error."""
    for step in steps:
        if step["differences"]:
            where = f"{step['step']} of {(step['trace_id'] or 'no trace')[:8]}"
            return f"{where} ({step['table']} #{step['row_id']}): {step['differences'][0]}"
    return "nothing"
