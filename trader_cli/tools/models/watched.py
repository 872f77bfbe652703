"""A model that somebody waits for: who watches is told whom, for as long as it thinks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from trader_cli.core.ports import Model
from trader_cli.schemas.question import Answer, Question

Thinks = Callable[[str], AbstractContextManager[object]]


class WatchedModel:
    """Another model's answers, each within `thinks`."""

    def __init__(self, model: Model, thinks: Thinks) -> None:
        self._model = model
        self._thinks = thinks

    @property
    def name(self) -> str:
        """Who is asked."""
        return self._model.name

    def answer(self, question: Question) -> Answer:
        """Its answer."""
        with self._thinks(f"the {question.agent.value.lower()} ({self.name}) thinks"):
            return self._model.answer(question)
