"""replay: each step made again from what the ledger held before it, with the answers its models gave then.

Nothing is asked and nothing is written. Features come from the stored candles, decisions from recorded answers,
verdicts and orders from the law, trades from fills, snapshots from the book: all must come out to the letter.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

from trader_cli.core.decimals import dec, text
from trader_cli.core.errors import LedgerError, NotFoundError
from trader_cli.core.limits import review
from trader_cli.phases import judge, plan, propose
from trader_cli.phases.desk import Minds, standing
from trader_cli.phases.execute import Lineage, approved_qty, case_at, intended, words_of
from trader_cli.phases.record import Decided, source
from trader_cli.phases.snapshot import braking, marked, ours
from trader_cli.schemas.decision import OPERATOR, Decision
from trader_cli.schemas.market import Observation
from trader_cli.schemas.order import OrderState
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.replay import Replay, Step
from trader_cli.tools import replays
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.memory import Lessons, learnt_document
from trader_cli.tools.models.recorded import NOT_RECORDED, RecordedModel
from trader_cli.tools.past import Past, Rewind
from trader_cli.tools.replays import Done, Ground
from trader_cli.tools.rows import UNREADABLE, dumps, review_document, snapshot_columns, trade_columns
from trader_cli.tools.strategy import compute_indicators

_DRIFTS = ("drift_usdt", "drift_btc")


def replay(ledger: Ledger, steps: Iterable[Done], rewind: Rewind) -> Iterator[Replay]:
    """Steps again, which must come in the order they were written. Raises LedgerError for an old ledger."""
    replays.check_schema(ledger)
    player: _Player | None = None
    try:
        for done in steps:
            player = player or _Player(ledger, Past(ledger, rewind, done.link))
            yield _played(player, done)
    finally:
        if player is not None:
            player.past.close()


def _played(player: _Player, done: Done) -> Replay:
    """One step again; rows that are gone or cannot be read are a difference."""
    try:
        return player.play(done)
    except (LedgerError, NotFoundError, *UNREADABLE) as error:
        words = str(error) if isinstance(error, NotFoundError) else f"{type(error).__name__}: {error}"
        why = f"what it stands on is gone or cannot be read: {words}"
        return Replay(done.step, done.trace_id, (done.table, done.row_id), None, {}, None, 0, (why,))


class _Player:
    """Plays steps again on a past that moves on with them."""

    def __init__(self, ledger: Ledger, past: Past) -> None:
        self.past = past
        self._ledger = ledger
        self._timeframe_ms = replays.timeframe_of(ledger)
        self._seen: Observation | None = None
        self._unlike: str | None = None
        self._since: dict[str, int | None] = {}
        self._lines = replays.Lines()
        self._lessons = Lessons(ledger, past.ledger)

    def _keeps_terms(self, table: str, link: int) -> bool:
        """Whether a program that keeps the terms of a table's rows had written before a link."""
        if table not in self._since:
            self._since[table] = replays.terms_since(self._ledger, table)
        first = self._since[table]
        return first is not None and first < link

    def play(self, done: Done) -> Replay:
        """One step again. Raises NotFoundError where a row that it stands on is not there."""
        if done.step is Step.SNAPSHOT:
            return self._snapshot(done)
        if done.step is Step.EXECUTE:
            return self._execute(done)
        return self._decision(done)

    # --- plan, propose, judge

    def _decision(self, done: Done) -> Replay:
        ledger = self._ledger
        decision = ledger.decision(done.row_id)[1]
        row = "decisions", done.row_id
        if decision.source == OPERATOR:
            why = "a person decided"
            return Replay(done.step, done.trace_id, row, OPERATOR, decision.payload.payload(), None, 0, skipped=why)
        on = replays.ground(ledger, decision)
        model = RecordedModel(ledger, decision.trace_id)
        seen = self._observed(decision.observation_id)
        where = standing(self.past.move_to(done.link), seen, decision.at, on.terms, on.state)
        again = self._decide(decision, where, Minds(model, model, model, tool_rounds=on.tool_rounds))
        unlike = () if self._unlike is None else (self._unlike,)
        differences = (*unlike, *_differences(decision, again, on, model))
        payload = again.payload.payload()
        return Replay(
            done.step,
            done.trace_id,
            row,
            decision.source,
            json.loads(on.payload),
            payload,
            len(model.got),
            differences,
            notes=tuple(model.notes),
        )

    def _decide(self, decision: Decision[Any], where: Any, minds: Minds) -> Decided:
        """The step's own decision, in the situation it was made in."""
        ledger = self._ledger
        if decision.proposal_id is not None:
            proposal = ledger.decision(decision.proposal_id)[1]
            planned = ledger.decision(proposal.plan_id or 0)[1]
            return judge.decide(minds, judge.case_in(where, planned, proposal), proposal)
        if decision.plan_id is not None:
            return propose.decide(minds, where, ledger.decision(decision.plan_id)[1])
        return plan.decide(minds, where, decision.trace_id)

    def _observed(self, observation_id: int | None) -> Observation:
        """What was seen, with its features worked out again from the candles; `_unlike` says how it differs."""
        if observation_id is None:
            raise NotFoundError("a step names no observation", "Look: trader ledger verify")
        if self._seen is None or self._seen.id != observation_id:
            seen = self._ledger.observation(observation_id, self._timeframe_ms)
            features = compute_indicators(seen.window)
            self._unlike = self._lines.differ(self._ledger, seen)
            if self._unlike is None and features != seen.features:
                self._unlike = f"the features of observation {seen.id} are not those of its candles"
            self._seen = replace(seen, features=features)
        return self._seen

    # --- execute

    def _execute(self, done: Done) -> Replay:
        ledger = self._ledger
        was = replays.sent(ledger, done)
        row = done.table, done.row_id
        if was.verdict_id is None or was.law is None:
            why = "the law's word on it is not in the ledger"
            if done.table == "orders" or self._keeps_terms("orders", done.link):  # what an older program may lack
                return Replay(done.step, done.trace_id, row, None, was.columns, None, 0, (why,))
            return Replay(done.step, done.trace_id, row, None, was.columns, None, skipped=why)
        of = self._lineage(was.verdict_id)
        law = json.loads(was.law)
        on = replays.ground(ledger, of.verdict)
        seen = self._observed(replays.seen_in(ledger, was.link) or of.proposal.observation_id)
        state = replays.state_of(None, law)
        where = standing(self.past.move_to(done.link), seen, was.at, was.terms or on.terms, state)
        approved = approved_qty(of.proposal.payload, of.verdict.payload)
        case = case_at(where, of, dec(law["price"]), approved)
        ruled = review(case)
        word = dumps(review_document(ruled))
        differences = [] if self._unlike is None else [self._unlike]
        if word != was.law:
            differences.append(f"the law says something else: {first_difference(law, json.loads(word))}")
        if (ruled.allowed == approved) != (done.table == "orders"):
            became = "it was sent" if done.table == "orders" else "it was not sent"
            differences.append(f"{became}, though of {text(approved)} the law allows {text(ruled.allowed)}")
        again: dict[str, Any] = {"law": json.loads(word)}
        recorded: dict[str, Any] = {**was.columns, "law": law}
        if done.table == "orders":
            again |= self._ordered(of, case, was.columns["client_order_id"])
            recorded |= {"trade": replays.trade_of(ledger, was.columns["client_order_id"])}
            differences += _unlike({**recorded, "law": None}, {**again, "law": None})  # the law was told of
        else:
            again |= {"reason": words_of(ruled)}
            differences += _unlike(was.columns, again)
        return Replay(done.step, done.trace_id, row, of.verdict.source, recorded, again, 0, tuple(differences))

    def _lineage(self, verdict_id: int) -> Lineage:
        verdict = self._ledger.decision(verdict_id)[1]
        proposal = self._ledger.decision(verdict.proposal_id or 0)[1]
        return Lineage(self._ledger.decision(proposal.plan_id or 0)[1], proposal, verdict)

    def _ordered(self, of: Lineage, case: Any, client_order_id: str) -> dict[str, Any]:
        """What the intent decides, and the trade as the order's fills make it."""
        intent = intended(case, of, client_order_id)
        order = self._ledger.order(client_order_id)
        executed = order is not None and order.state in (OrderState.FILLED, OrderState.PARTIAL)
        trade = None
        if order is not None and executed and order.fills:
            trade = {"side": intent.side.value, "symbol": intent.symbol, **trade_columns(order.fills, order.state)}
        return {
            "client_order_id": client_order_id,
            "symbol": intent.symbol,
            "side": intent.side.value,
            "qty": text(intent.qty),
            "worst_price": text(intent.worst_price),
            "reserved_quote": text(intent.reserved_quote),
            "origin": intent.origin,
            "trade": trade,
        }

    # --- snapshot

    def _snapshot(self, done: Done) -> Replay:
        ledger = self._ledger
        past = self.past.move_to(done.link)
        recorded, terms = replays.snapshot_row(ledger, done.row_id)
        market = terms[0] if terms else replays.market_before(ledger, done.link)
        row = "portfolio", done.row_id
        planned, saw = replays.planned_before(ledger, done.link)
        observed = replays.seen_in(ledger, done.link) or saw
        if market is None or observed is None:
            why = "no decision before it names the market's rules"
            return Replay(done.step, done.trace_id, row, None, recorded, None, skipped=why)
        seen = self._observed(observed)
        at = replays.moment_of(recorded)
        ends = None if planned is None or replays.ended_before(ledger, planned, done.link) else planned
        held = ours(past, seen) if ends is not None or not past.ordered_since(seen.id) else None
        taken = marked(past, seen, at, market, (ends, held))
        again: dict[str, Any] = dict(snapshot_columns(taken))
        differences = [] if self._unlike is None else [self._unlike]
        if ends is None and held is None:  # the account was asked, and what it said is in the row alone
            again |= {name: recorded[name] for name in _DRIFTS}
        differences += _unlike(recorded, again)
        if terms is None and self._keeps_terms("portfolio", done.link):
            differences.append("its terms are gone")
        if terms is not None:
            when = {"ts_utc": recorded["ts_utc"], "trace_id": ends}
            turns = [{**turn, **when} for turn in braking(past, seen, terms[0], terms[2], taken)]
            differences += _unlike({"turns": replays.turns_in(ledger, done.link)}, {"turns": turns})
        kept = replays.memory_in(ledger, done.link)
        learnt = [dumps(learnt_document(one)) for one in self._lessons.before(done.link)]
        differences += _unlike({"memory": [*map(json.loads, kept)]}, {"memory": [*map(json.loads, learnt)]})
        if not differences and kept != learnt:
            differences.append("memory is not the same to the letter")
        return Replay(done.step, done.trace_id, row, None, recorded, again, 0, tuple(differences))


def _differences(decision: Decision[Any], again: Decided, on: Ground, model: RecordedModel) -> Iterator[str]:
    """What was asked, looked up, said and ruled, held against the record."""
    rounds = again.asked.rounds if again.asked else ()
    for one, got in zip(rounds, model.got, strict=False):
        if one.outputs and one.outputs != got:
            yield "what it looked up is not what it got then"
    if rounds and rounds[-1].answer.status == NOT_RECORDED:
        yield str(rounds[-1].answer.error)
        return
    was, now = json.loads(on.payload), again.payload.payload()
    for name in {**was, **now}:
        if (what := first_difference(was.get(name, _GONE), now.get(name, _GONE))) is not None:
            yield f"{name}{'' if what[0] in '.[' else ' '}{what}"
    if was == now and on.payload != dumps(now):
        yield "the decision is not the same to the letter"
    wakes = decision.at + again.payload.next_wakeup_secs * 1000 if isinstance(again.payload, Plan) else None
    for name, before, after in (
        ("source", decision.source, source(again)),
        ("cause", decision.cause, again.cause),
        ("wake_at", decision.wake_at, wakes),
    ):
        if before != after:
            yield f"{name} is {after!r}, it was {before!r}"
    law = None if again.review is None else dumps(review_document(again.review))
    if law != on.law:
        what = first_difference(*(None if one is None else json.loads(one) for one in (on.law, law)))
        yield f"the law says something else: {what}"


def _unlike(recorded: dict[str, Any], again: dict[str, Any]) -> list[str]:
    """The first difference of each name that both have."""
    found = ((name, first_difference(recorded[name], again[name])) for name in recorded if name in again)
    return [f"{name}{'' if what[0] in '.[' else ' '}{what}" for name, what in found if what is not None]


_GONE = object()
"""What is not there, which is not the same as null."""


def first_difference(was: Any, now: Any) -> str | None:
    """Where two JSON values differ first, and how; None where they are the same."""
    if isinstance(was, dict) and isinstance(now, dict):
        parts = ((f".{name}", was.get(name, _GONE), now.get(name, _GONE)) for name in {**was, **now})
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        parts = ((f"[{at}]", one, other) for at, (one, other) in enumerate(zip(was, now, strict=True)))
    elif type(was) is type(now) and was == now:
        return None
    else:
        return f"is {_brief(now)}, it was {_brief(was)}"
    for place, one, other in parts:
        if (found := first_difference(one, other)) is not None:
            return f"{place}{' ' if found.startswith('is ') else ''}{found}"
    return None


def _brief(value: Any) -> str:
    if value is _GONE:
        return "not there"
    said = value if isinstance(value, str) else dumps(value) if not isinstance(value, Decimal) else text(value)
    return said if len(said) <= 80 else f"{said[:79]}…"
