"""The one place where words become a record: ask a model, read its reply, or say why it cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Generic, TypeVar

from trader_cli.agents.reading import UnreadableError, parse
from trader_cli.core.decimals import add
from trader_cli.core.hostile import storable
from trader_cli.core.ports import Model
from trader_cli.core.redaction import redact
from trader_cli.schemas.question import MISCONFIGURED, OK, UNREACHED, Answer, Question, Turn
from trader_cli.schemas.tool import ToolCall

T = TypeVar("T")

Lookup = Callable[[ToolCall], str]
"""What serves a tool call. Raises UnreadableError for a tool there is not, or arguments that it does not take."""

MOST_CALLS = 4
"""Tool calls in one reply. One is what is asked for."""


@dataclass(frozen=True, slots=True)
class Round:
    """One question, its answer, and what the answer's tool calls got, by call id."""

    question: Question
    answer: Answer
    outputs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Asked(Generic[T]):
    """The rounds with a model, and the record read from its last answer; without one, `cause` says why."""

    rounds: tuple[Round, ...]
    record: T | None
    cause: str | None

    @property
    def answer(self) -> Answer:
        """The last word."""
        return self.rounds[-1].answer

    @property
    def cost_usd(self) -> Decimal:
        """What all attempts cost together."""
        attempts = (one for each in self.rounds for one in (*each.answer.earlier, each.answer))
        return add(*(one.usage.cost_usd for one in attempts))

    @property
    def upstream(self) -> str | None:
        """What could not be reached, when the model could not."""
        return self.cause if self.answer.status in UNREACHED else None

    @property
    def misconfigured(self) -> str | None:
        """What only other settings can mend, when that is why there is no answer."""
        return self.cause if self.answer.status in MISCONFIGURED else None


def ask(
    model: Model, question: Question, read: Callable[[Any], T], lookup: Lookup | None = None, most_rounds: int = 0
) -> Asked[T]:
    """Ask, with at most `most_rounds` rounds of tools. A bad reply is an Asked without a record, never an exception."""
    rounds: list[Round] = []
    while True:
        if question.may_call != (may_call := len(rounds) < most_rounds):
            question = replace(question, may_call=may_call)
        answer = _without_secrets(model.answer(question))
        if answer.status != OK or not answer.calls:
            rounds.append(Round(question, answer))
            return _read(tuple(rounds), read)
        try:
            outputs = _looked_up(answer, question, lookup)
        except UnreadableError as error:
            rounds.append(Round(question, answer))
            return Asked(tuple(rounds), None, _cause(f"{answer.model}: {error}"))
        rounds.append(Round(question, answer, outputs))
        question = replace(question, turns=(*question.turns, Turn(answer.items, outputs)))


def _without_secrets(answer: Answer) -> Answer:
    """An answer as it may be kept. It is read as it is kept, so that the two agree."""
    text = None if answer.text is None else redact(answer.text)
    calls = tuple(replace(call, arguments=redact(call.arguments)) for call in answer.calls)
    return answer if (text, calls) == (answer.text, answer.calls) else replace(answer, text=text, calls=calls)


def _looked_up(answer: Answer, question: Question, lookup: Lookup | None) -> tuple[tuple[str, str], ...]:
    """What each call of an answer gets. Raises UnreadableError for calls that nobody offered."""
    if lookup is None or not question.may_call:
        raise UnreadableError(f"it calls {answer.calls[0].name[:40]!r} where no tool is left to call")
    if len(answer.calls) > MOST_CALLS or len({call.call_id for call in answer.calls}) < len(answer.calls):
        raise UnreadableError(f"it makes {len(answer.calls)} tool calls at once")
    return tuple((call.call_id, lookup(call)) for call in answer.calls)


def _read(rounds: tuple[Round, ...], read: Callable[[Any], T]) -> Asked[T]:
    answer = rounds[-1].answer
    if answer.status != OK or answer.text is None:
        return Asked(rounds, None, _cause(f"{answer.model} {answer.status}" + _because(answer.error)))
    try:
        return Asked(rounds, read(parse(answer.text)), None)
    except UnreadableError as error:
        return Asked(rounds, None, _cause(f"{answer.model}: {error}"))


def _because(error: str | None) -> str:
    return f": {error}" if error else ""


def _cause(words: str) -> str:
    return storable(words)[:300].rstrip(" .")
