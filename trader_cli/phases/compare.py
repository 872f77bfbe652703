"""compare: the recorded questions put to other minds, and what both sides' actions come to by one simple rule.

Nothing is written. The questions are the recorded ones to the letter, so each tells of the recorded position:
what the other side would have asked itself after its own trades, nobody can know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from trader_cli.agents import judge, planner, trader
from trader_cli.agents.ask import Asked, ask
from trader_cli.agents.lookups import lookup
from trader_cli.core import accounting
from trader_cli.core.decimals import ZERO, add, dec
from trader_cli.core.hindsight import bearable, filled, price_of
from trader_cli.phases.desk import Minds
from trader_cli.phases.execute import approved_qty
from trader_cli.schemas.book import Book
from trader_cli.schemas.comparison import Choice, Compared, Cut, Spent, Worth
from trader_cli.schemas.decision import OPERATOR
from trader_cli.schemas.judge import Verdict
from trader_cli.schemas.order import Side
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.question import MISCONFIGURED, UNREACHED, Agent, Question
from trader_cli.schemas.tool import ToolCall
from trader_cli.schemas.trader import Proposal
from trader_cli.tools.accounts import changed
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.questions import Recorded, book_before, funded_from, open_after, recorded, window_of
from trader_cli.tools.replays import check_schema

Facts = dict[str, Any]


def compare(
    ledger: Ledger, traces: Iterable[str], minds: Minds, ending: Callable[[], str | None] = lambda: None
) -> Iterator[Compared]:
    """Each trace compared, oldest first. The last one says so where no more can be asked, or `ending` says why not.

    Raises LedgerError for an old ledger, NotFoundError where a row that a trace stands on is not there.
    """
    check_schema(ledger)
    books: _Books | None = None
    for trace_id in traces:
        was = recorded(ledger, trace_id)
        if was is None:
            continue
        books = books or _Books(ledger, was.link)
        heard = _Heard(ledger, was, minds, ending).listen()
        one = _compared(was, heard)
        if one.cut is None:
            one = books.traded(one, was)
        yield one
        if one.cut is not None:
            return


@dataclass
class _Heard:
    """What other minds say to the questions of one trace.

    Attributes:
        asked, records: by agent, the question that was put and the record read from its answer, None for none.
        cut: why no more can be asked, if so, and because of what.
    """

    ledger: Ledger
    was: Recorded
    minds: Minds
    ending: Callable[[], str | None]
    asked: dict[Agent, Question] = field(default_factory=dict)
    records: dict[Agent, Any] = field(default_factory=dict)
    unusable: list[tuple[Agent, str]] = field(default_factory=list)
    spent: Spent = field(default_factory=Spent)
    cut: tuple[Cut, str] | None = None

    def listen(self) -> _Heard:
        """Put the questions one after the other, as long as there is an answer."""
        for question in self.was.questions:
            if (why := self.ending()) is not None:
                self.cut = Cut.SIGNAL, why
                break
            asked = self._put(question)
            self.spent = _with(self.spent, asked)
            if (cut := _cut(asked)) is not None:
                self.cut = cut
                break
            self.asked[question.agent], self.records[question.agent] = question, asked.record
            if asked.record is None:
                self.unusable.append((question.agent, asked.cause or "no answer"))
        return self

    def _put(self, question: Question) -> Asked[Any]:
        if question.agent is Agent.PLANNER:
            return ask(self.minds.planner, question, planner.read)
        if question.agent is Agent.JUDGE:
            return ask(self.minds.judge, question, judge.read)
        rounds = self.was.tool_rounds if question.tools else 0
        return ask(self.minds.trader, question, trader.read, self._look_up, rounds)

    def _look_up(self, call: ToolCall) -> str:
        return lookup(window_of(self.ledger, self.was.proposal or self.was.plan), call)


def _cut(asked: Asked[Any]) -> tuple[Cut, str] | None:
    """Why nothing more can be asked after an answer, if so."""
    status, why = asked.answer.status, asked.cause or ""
    if status == "over_budget":
        return Cut.CEILING, str(asked.answer.error)
    if status == "stopped":
        return Cut.SIGNAL, why
    if status in UNREACHED:
        return Cut.UNREACHED, why
    return (Cut.MISCONFIGURED, why) if status in MISCONFIGURED else None


def _with(spent: Spent, asked: Asked[Any]) -> Spent:
    """The account with all attempts of an exchange on it."""
    attempts = [one for each in asked.rounds for one in (*each.answer.earlier, each.answer)]
    made = [one for one in attempts if one.status not in ("over_budget", "stopped")]
    used = [one.usage for one in made]
    return Spent(
        spent.questions + len(made),
        spent.input_tokens + sum(one.input_tokens or 0 for one in used),
        spent.cached_tokens + sum(one.cached_tokens or 0 for one in used),
        spent.output_tokens + sum(one.output_tokens or 0 for one in used),
        spent.reasoning_tokens + sum(one.reasoning_tokens or 0 for one in used),
        add(spent.cost_usd, asked.cost_usd),
        spent.priced and all(one.cost_basis != "unpriced" for one in used),
    )


# --- both sides of a trace


def _compared(was: Recorded, heard: _Heard) -> Compared:
    """Both sides, before their books have a say."""
    mine = _recorded(was)
    other, followed, not_asked = None, True, None
    if heard.cut is not None:
        not_asked = heard.cut[0].value
    elif not was.questions:
        not_asked = _why_not_asked(was)
    else:
        other, followed = _other(was, heard)
    return Compared(
        was.trace_id,
        was.plan.at,
        mine,
        other,
        tuple(heard.asked),
        tuple(heard.unusable),
        not_asked,
        followed,
        heard.spent,
        cut=heard.cut[0] if heard.cut else None,
        cut_because=heard.cut[1] if heard.cut else None,
    )


def _why_not_asked(was: Recorded) -> str:
    """Why no model was asked in a trace, in words that many traces share."""
    if was.plan.source == OPERATOR:
        return "a person decided"
    cause = was.plan.cause or "the law decided"
    return "an order was not settled" if cause.startswith("order ") else cause.partition(":")[0]


def _recorded(was: Recorded) -> Choice:
    """The recorded side, with what its verdict let through."""
    proposal, verdict = was.proposal, was.verdict
    said = proposal.payload if proposal else None
    return Choice(
        mode=was.plan.payload.mode,
        proposed=said.action if said else None,
        action=said.action if said else "HOLD",
        policy_id=said.policy_id if said else None,
        decision=verdict.payload.decision if verdict else None,
        qty=said.qty if said else ZERO,
        ordered=approved_qty(said, verdict.payload) if said and verdict else ZERO,
    )


def _other(was: Recorded, heard: _Heard) -> tuple[Choice, bool]:
    """The other side, and whether it could be followed to its end; the safe answer stands in for an unusable one."""
    mode = was.plan.payload.mode
    if Agent.PLANNER in heard.asked:
        plan: Plan | None = heard.records[Agent.PLANNER]
        mode = plan.mode if plan else "OBSERVE"
    said: Proposal | None = heard.records.get(Agent.TRADER)
    if said is None and (put := heard.asked.get(Agent.TRADER)) is not None:
        said = trader.hold(Plan.from_payload(put.facts["plan"]), "")
    action = said.action if said and mode == "TRADE" else "HOLD"
    decision = None
    if (question := heard.asked.get(Agent.JUDGE)) is not None:
        decision = _ruled(question.facts, heard.records[Agent.JUDGE])
    elif was.verdict is not None:  # the law alone, which is the same for both
        decision = was.verdict.payload.decision
    return Choice(
        mode=mode,
        proposed=said.action if said else None,
        action=action,
        policy_id=said.policy_id if said else None,
        decision=decision,
        qty=said.qty if said else ZERO,
        ordered=_allowed(was, heard, said) if said and action != "HOLD" else ZERO,
    ), not (mode == "TRADE" and was.plan.payload.mode == "OBSERVE")


def _allowed(was: Recorded, heard: _Heard, said: Proposal) -> Decimal:
    """What the recorded law and its judge leave of its proposal. Only its own book binds a SELL."""
    if said.action == "SELL":
        return said.qty
    facts = heard.asked[Agent.TRADER].facts
    planned = [one["policy_id"] for one in facts["plan"]["strategies"]]
    if said.confidence < was.terms[2].min_confidence or said.policy_id not in planned:
        return ZERO
    allowed = min(said.qty, dec(facts["room"]["max_buy"]))
    asked = heard.asked.get(Agent.JUDGE)
    if asked is None and _refused_any(was):
        return ZERO
    if asked is None or asked.facts["proposal"]["action"] != "BUY":  # its judge was asked about no BUY
        return allowed
    left = _left(asked.facts["law"], heard.records[Agent.JUDGE])
    word: Verdict | None = heard.records[Agent.JUDGE]
    lowered = left <= ZERO or (word is not None and word.revised_qty is not None)
    return min(allowed, left) if lowered else allowed


_OF_A_PROPOSAL = frozenset(("action", "policy", "confidence", "step", "max_qty", "minimum"))
"""Rules that refuse what was proposed, and not what could be."""


def _refused_any(was: Recorded) -> bool:
    """Whether the recorded law refused a BUY for what any other would have been refused for as well."""
    law = was.verdict.review if was.verdict else None
    if was.proposal is None or was.proposal.payload.action != "BUY" or law is None:
        return False
    return any(one.after <= ZERO and one.name not in _OF_A_PROPOSAL for one in law.rulings)


def _left(law: Facts, word: Verdict | None) -> Decimal:
    """What a judge leaves of a BUY that the law let through: nothing where it gave no usable word, or raised it."""
    most = dec(law["allowed_qty"])
    if word is None or word.decision == "REJECT":
        return ZERO
    if word.revised_qty is None:
        return most
    least = dec(law["min_qty"])
    return ZERO if word.revised_qty > most or word.revised_qty < least else word.revised_qty


def _ruled(facts: Facts, word: Verdict | None) -> str:
    """The verdict on the recorded proposal that this judge's word would have made."""
    asked, is_buy = dec(facts["proposal"]["qty"]), facts["proposal"]["action"] == "BUY"
    left = _left(facts["law"], word) if is_buy else dec(facts["law"]["allowed_qty"])
    return "REJECT" if left <= ZERO else "REVISE" if left < asked else "APPROVE"


# --- what it comes to


class _Books:
    """A book for each side, from what the first trace began with. The recorded actions go through the same rule."""

    def __init__(self, ledger: Ledger, link: int) -> None:
        self._ledger = ledger
        self._recorded = self._other = book_before(ledger, link)
        self._to_come = list(reversed(funded_from(ledger, link)))
        self._price: Decimal | None = None

    def traded(self, one: Compared, was: Recorded) -> Compared:
        """A trace with both sides' actions filled by the rule, and what the books are worth then."""
        self._price = was.price if was.price is not None else self._price
        self._fund(was)
        before = self._worth(self._recorded)
        recorded, self._recorded = self._filled(one.recorded, was, self._recorded)
        other = one.other
        if other is not None:
            other, self._other = self._filled(other, was, self._other)
        elif recorded.ordered > ZERO:  # what a person ordered binds both
            most = self._other.base if recorded.action == "SELL" else recorded.ordered
            self._other = self._filled(replace(recorded, ordered=most, price=None), was, self._other)[1]
        worth = None
        if before is not None:
            worth = Worth(before, self._worth(self._recorded) or ZERO, self._worth(self._other) or ZERO, was.equity)
        return replace(one, recorded=recorded, other=other, worth=worth)

    def _fund(self, was: Recorded) -> None:
        """Both books with what was put in or taken out since."""
        base, quote = was.terms[0].base, was.terms[0].quote
        while self._to_come and self._to_come[-1].link < was.link:
            change = self._to_come.pop()
            self._recorded, self._other = (changed(book, change, base, quote) for book in (self._recorded, self._other))

    def _filled(self, choice: Choice, was: Recorded, book: Book) -> tuple[Choice, Book]:
        """What one side's book can bear of its order, and the book after it."""
        if choice.ordered <= ZERO or choice.action == "HOLD":
            return replace(choice, ordered=ZERO), book
        market, costs, limits = was.terms
        side, at = Side(choice.action), (was.verdict or was.proposal or was.plan).at
        opening = open_after(self._ledger, at)
        price = price_of(opening or self._price or ZERO, side, market, costs)
        qty = bearable(book, side, (choice.ordered, price), market, limits.deposit_cap)
        if qty <= ZERO or opening is None:  # after the last stored bar nothing fills
            return replace(choice, ordered=qty), book
        return replace(choice, ordered=qty, price=price), filled(book, side, (qty, price), (market, costs), at)

    def _worth(self, book: Book) -> Decimal | None:
        return None if self._price is None else accounting.equity(book, self._price)
