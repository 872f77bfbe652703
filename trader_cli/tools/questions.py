"""The recorded questions of a trace as they were put, in order, what was decided on them, and the bars after it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from trader_cli.core.decimals import dec
from trader_cli.core.moments import Moment, iso, parse_iso
from trader_cli.schemas.book import Book
from trader_cli.schemas.decision import Decision
from trader_cli.schemas.judge import Verdict
from trader_cli.schemas.market import Window
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.question import Agent, Question
from trader_cli.schemas.tool import Tool
from trader_cli.schemas.trader import Proposal
from trader_cli.tools import chain
from trader_cli.tools.accounts import Change, changed
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.replays import Terms, ground, timeframe_of
from trader_cli.tools.rows import BOOK, DECISIONS, read_decision

_NAMES = {Agent.PLANNER: "plan", Agent.TRADER: "proposal", Agent.JUDGE: "verdict"}
"""What each agent's answer is called in a request."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One trace as it was.

    Attributes:
        link: of its plan.
        questions: as they were put to whichever model, the first round of each, in order; none where the law decided.
        tool_rounds: how often the trader's model might look something up.
        terms: the market's rules, the costs and the limits of its last decision.
        price: what was seen last, in quote; None where there was none.
        equity: of the snapshot that ended it, in quote; None without one.
    """

    trace_id: str
    link: int
    plan: Decision[Plan]
    proposal: Decision[Proposal] | None
    verdict: Decision[Verdict] | None
    questions: tuple[Question, ...]
    tool_rounds: int
    terms: Terms
    price: Decimal | None
    equity: Decimal | None


@dataclass(frozen=True, slots=True)
class Load:
    """How much there is to ask: questions, the characters they are made of, the tokens of output they allow."""

    questions: int
    chars: int
    output_tokens: int


def recorded(ledger: Ledger, trace_id: str) -> Recorded | None:
    """A trace; None for one without a plan. Raises NotFoundError where its terms are not there."""
    made: dict[Agent, Decision[Any]] = {}
    for row in ledger.db.execute(f"{DECISIONS} WHERE trace_id = ? ORDER BY id", (trace_id,)):
        agent, decision = read_decision(row)
        made[agent] = decision
    if Agent.PLANNER not in made:
        return None
    last = made.get(Agent.JUDGE) or made.get(Agent.TRADER) or made[Agent.PLANNER]
    on = ground(ledger, last)
    link = ledger.db.execute("SELECT link FROM decisions WHERE id = ?", (made[Agent.PLANNER].id,)).fetchone()[0]
    price, equity = _seen(ledger, last.observation_id), _ended(ledger, trace_id)
    return Recorded(
        trace_id,
        int(link),
        made[Agent.PLANNER],
        made.get(Agent.TRADER),
        made.get(Agent.JUDGE),
        questions_of(ledger, trace_id),
        on.tool_rounds,
        on.terms,
        price,
        equity,
    )


_FIRST_ASKED = (
    "SELECT min(id) FROM model_calls WHERE trace_id = ? AND coalesce(round, 0) = 0 GROUP BY agent ORDER BY min(id)"
)


def questions_of(ledger: Ledger, trace_id: str) -> tuple[Question, ...]:
    """What the agents of a trace were asked, word for word, before they looked anything up; in order."""
    rows = ledger.db.execute(
        "SELECT c.agent, c.facts_json, c.max_output_tokens, c.ts_utc, p.prompt, p.schema_json, p.tools_json "
        f"FROM model_calls AS c JOIN prompts AS p ON p.sha256 = c.prompt_sha256 WHERE c.id IN ({_FIRST_ASKED}) "
        "ORDER BY c.id",
        (trace_id,),
    )
    return tuple(
        Question(
            agent=Agent(agent),
            trace_id=trace_id,
            prompt=prompt,
            facts=json.loads(facts_json),
            schema_name=_NAMES[Agent(agent)],
            schema=json.loads(schema_json),
            max_output_tokens=most,
            tools=() if tools_json is None else tuple(Tool(**tool) for tool in json.loads(tools_json)),
            at=parse_iso(ts_utc),
        )
        for agent, facts_json, most, ts_utc, prompt, schema_json, tools_json in rows
    )


def load_of(ledger: Ledger, traces: Iterable[str]) -> Load:
    """How much there is to ask of some traces, without a round of tools."""
    questions = chars = output_tokens = 0
    for trace_id in traces:
        row = ledger.db.execute(
            "SELECT count(*), coalesce(sum(length(c.facts_json) + length(p.prompt) + length(p.schema_json) "
            "+ coalesce(length(p.tools_json), 0)), 0), coalesce(sum(c.max_output_tokens), 0) "
            f"FROM model_calls AS c JOIN prompts AS p ON p.sha256 = c.prompt_sha256 WHERE c.id IN ({_FIRST_ASKED})",
            (trace_id,),
        ).fetchone()
        questions, chars, output_tokens = questions + row[0], chars + row[1], output_tokens + row[2]
    return Load(questions, chars, output_tokens)


def window_of(ledger: Ledger, decision: Decision[Any]) -> Window:
    """The candles that a decision was made on, as they stood then."""
    return ledger.observation(decision.observation_id, timeframe_of(ledger)).window


def book_before(ledger: Ledger, link: int) -> Book:
    """The book as it stood before a link."""
    after = chain.first_id(ledger.db, "portfolio", link)
    row = ledger.db.execute(
        f"SELECT {BOOK}, link FROM portfolio WHERE ? IS NULL OR id < ? ORDER BY id DESC LIMIT 1", (after, after)
    ).fetchone()
    base, quote = (ledger.identity().get("symbol") or "/").split("/")
    book, since = (Book(*map(dec, row[:6])), int(row[6])) if row else (Book(), 0)
    for change in ledger.changes(since):
        if change.link >= link:
            break
        book = changed(book, change, base, quote)
    return book


def funded_from(ledger: Ledger, link: int) -> tuple[Change, ...]:
    """What changed the book from a link on and was no fill: deposits, epochs, balances that a person accepted."""
    return tuple(change for change in ledger.changes(link - 1) if change.fill is None)


def open_after(ledger: Ledger, at: Moment) -> Decimal | None:
    """The open of the first stored bar that opens at or after a moment, as it was stored last; None without one."""
    row = ledger.db.execute(
        "SELECT open FROM candles WHERE opened_at >= ? ORDER BY opened_at, revision DESC LIMIT 1", (iso(at),)
    ).fetchone()
    return None if row is None else dec(row[0])


def _seen(ledger: Ledger, observation_id: int | None) -> Decimal | None:
    row = ledger.db.execute("SELECT price FROM observations WHERE id = ?", (observation_id,)).fetchone()
    return None if row is None or row[0] is None else dec(row[0])


def _ended(ledger: Ledger, trace_id: str) -> Decimal | None:
    row = ledger.db.execute(
        "SELECT equity_usdt FROM portfolio WHERE trace_id = ? ORDER BY id DESC LIMIT 1", (trace_id,)
    ).fetchone()
    return None if row is None else dec(row[0])
