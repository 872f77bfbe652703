"""A thing that happened and that somebody should hear of at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class News:
    """`kind` is one of trade, refused, unfilled, unknown, human, state, account, models, upstream, late, day, loop."""

    kind: str
    text: str
    trace_id: str | None = None
