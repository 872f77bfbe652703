"""A model that is never asked: it keeps the request that would be sent, for `--show-prompt`."""

from __future__ import annotations

from typing import Any

from trader_cli.schemas.model import ModelSpec
from trader_cli.schemas.question import Answer, Question
from trader_cli.tools.models.requests import body

NOT_ASKED = "not_asked"


class ShownModel:
    """Answers nothing. `request` is the body of the request it would have sent, None before a question came."""

    def __init__(self, name: str, spec: ModelSpec | None) -> None:
        self.name = name
        self._spec = spec
        self.request: dict[str, Any] | None = None

    def answer(self, question: Question) -> Answer:
        """Keep the request, and leave the question open."""
        self.request = body(question, self.name, self._spec)
        return Answer(self.name, NOT_ASKED, None)
