"""The one place where words become a record: ask a model, read its reply, or say why it cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from trader_cli.agents.reading import UnreadableError, parse
from trader_cli.core.hostile import storable
from trader_cli.core.ports import Model
from trader_cli.schemas.market import UNAVAILABLE
from trader_cli.schemas.question import Answer, Question

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked(Generic[T]):
    """A question, its answer, and the record read from it; without one, `cause` says why."""

    question: Question
    answer: Answer
    record: T | None
    cause: str | None

    @property
    def upstream(self) -> str | None:
        """What could not be reached, when the model could not."""
        return self.cause if self.answer.status == UNAVAILABLE else None


def ask(model: Model, question: Question, read: Callable[[Any], T]) -> Asked[T]:
    """Ask once. A bad reply is an Asked without a record, never an exception."""
    answer = model.answer(question)
    if answer.status != "ok" or answer.text is None:
        cause = f"{answer.model} {answer.status}" + (f": {answer.error}" if answer.error else "")
        return Asked(question, answer, None, storable(cause)[:300])
    try:
        return Asked(question, answer, read(parse(answer.text)), None)
    except UnreadableError as error:
        return Asked(question, answer, None, storable(f"{answer.model}: {error}")[:300])
