"""The ledger: events, observations, books, orders, accounts and model calls together, and the decisions between them.

Money is written as canonical decimal text, moments as ISO-8601; a record that comes back equals the one that was
written. All SQL of the daily commands is in this file and in those of the stores that it joins.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from trader_cli.core.decimals import ZERO
from trader_cli.core.moments import DAY_MS, Moment, iso, parse_iso
from trader_cli.schemas.decision import Decision
from trader_cli.schemas.judge import Verdict
from trader_cli.schemas.market import Costs, Market
from trader_cli.schemas.planner import Plan
from trader_cli.schemas.question import Agent
from trader_cli.schemas.situation import Limits, Owner
from trader_cli.schemas.trader import Proposal
from trader_cli.tools.books import BookStore
from trader_cli.tools.calls import CallStore
from trader_cli.tools.chain import Row
from trader_cli.tools.observations import ObservationStore
from trader_cli.tools.orders import missing
from trader_cli.tools.rows import DECISIONS, dumps, read_decision, read_market, review_document, terms_text
from trader_cli.tools.store import Transaction


class Ledger(CallStore, BookStore, ObservationStore):
    """A store that knows what its rows mean."""

    def __init__(self, db: Any, path: Path | None, wall: Callable[[], Moment]) -> None:
        self._newest: dict[Agent, Decision[Any] | None] = {}
        self._terms: tuple[Market, Costs, Limits, str] | None = None
        super().__init__(db, path, wall)

    def forget(self) -> None:
        """Drop what is remembered: another process wrote, or a transaction failed."""
        super().forget()
        self._newest = {}
        self._terms = None

    def follow(self, rows: Iterable[tuple[str, Row]], link: int) -> None:
        """Take over rows as OrderStore does."""
        super().follow(rows, link)
        self._newest = {}

    def log_terms(self, tx: Transaction, market: Market, costs: Costs, limits: Limits) -> str:
        """The trading rules, costs and limits a decision was made under, once each; returns their hash."""
        known = self._terms
        if known is not None and known[0] is market and known[1] is costs and known[2] is limits:
            return known[3]
        terms_json, sha256 = terms_text(market, costs, limits)
        if not self.db.execute("SELECT 1 FROM terms WHERE sha256 = ?", (sha256,)).fetchone():
            tx.insert("terms", sha256=sha256, terms_json=terms_json)
        self._terms = market, costs, limits, sha256
        return sha256

    def last_market(self) -> Market | None:
        """The trading rules of the newest decision."""
        row = self.db.execute(
            "SELECT t.terms_json FROM decisions AS d JOIN terms AS t ON t.sha256 = d.terms_sha256 "
            "ORDER BY d.id DESC LIMIT 1"
        ).fetchone()
        return read_market(json.loads(row[0])["market"]) if row else None

    def log_decision(self, tx: Transaction, agent: Agent, decision: Decision[Any], terms: str | None) -> Decision[Any]:
        """A plan, proposal or verdict, under the terms of that hash; returns it with its id and wall time."""
        row_id = tx.insert(
            "decisions",
            ts_utc=iso(decision.at),
            agent=agent.value,
            trace_id=decision.trace_id,
            payload_json=dumps(decision.payload.payload()),
            plan_id=decision.plan_id,
            proposal_id=decision.proposal_id,
            source=decision.source,
            cause=decision.cause,
            observation_id=decision.observation_id,
            model_call_id=decision.model_call_id,
            prompt_sha256=decision.prompt_sha256,
            terms_sha256=terms,
            law_json=None if decision.review is None else dumps(review_document(decision.review)),
            wake_at=None if decision.wake_at is None else iso(decision.wake_at),
        )
        made = replace(decision, id=row_id, wall_at=parse_iso(tx.wall_ts))
        said_once = made.upstream is not None or made.misconfigured is not None or made.cost_usd != ZERO
        self._newest[agent] = replace(made, upstream=None, misconfigured=None, cost_usd=ZERO) if said_once else made
        return made

    def decision(self, row_id: int) -> tuple[Agent, Decision[Any]]:
        """One decision by id. Raises NotFoundError."""
        return self._one_decision("id = ?", row_id) or missing(f"decision {row_id}")

    def ordered_since(self, observation_id: int | None) -> bool:
        """Whether an order was sent or settled after an observation, so that its balances are out of date."""
        newest = self.remembered(
            "last order event",
            ("order_events",),
            lambda: self.db.execute("SELECT link FROM order_events ORDER BY id DESC LIMIT 1").fetchone(),
        )
        seen = newest and self.db.execute("SELECT link FROM observations WHERE id = ?", (observation_id,)).fetchone()
        return newest is not None and seen is not None and newest[0] > seen[0]

    def has_decision(self, row_id: int) -> bool:
        """Whether there is a decision of that id."""
        return bool(self.db.execute("SELECT 1 FROM decisions WHERE id = ?", (row_id,)).fetchone())

    def newest_plan(self) -> Decision[Plan] | None:
        """The newest plan: the newest trace begins with it."""
        return self.newest(Agent.PLANNER)

    def newest(self, agent: Agent) -> Decision[Any] | None:
        """The newest decision of an agent."""
        if agent not in self._newest:
            found = self._one_decision("agent = ?", agent.value)
            self._newest[agent] = found[1] if found else None
        return self._newest[agent]

    def decision_of(self, trace_id: str, agent: Agent) -> Decision[Any] | None:
        """A trace's newest decision of an agent."""
        found = self._one_decision("trace_id = ? AND +agent = ?", trace_id, agent.value)
        return found[1] if found else None

    def proposal_of(self, plan_id: int) -> Decision[Proposal] | None:
        """The one proposal made under a plan."""
        newest = self.newest(Agent.TRADER)
        if newest is None or newest.id < plan_id:  # a plan's proposal comes after it
            return None
        found = self._one_decision("plan_id = ? AND agent = 'TRADER'", plan_id)
        return found[1] if found else None

    def verdict_of(self, proposal_id: int) -> Decision[Verdict] | None:
        """The one verdict on a proposal."""
        newest = self.newest(Agent.JUDGE)
        if newest is None or newest.id < proposal_id:  # a proposal's verdict comes after it
            return None
        found = self._one_decision("proposal_id = ? AND agent = 'JUDGE'", proposal_id)
        return found[1] if found else None

    def _one_decision(self, where: str, *values: Any) -> tuple[Agent, Decision[Any]] | None:
        row = self.db.execute(f"{DECISIONS} WHERE {where} ORDER BY id DESC LIMIT 1", values).fetchone()
        if row is None:
            return None
        return read_decision(row)

    def market_time(self, began: Moment) -> Moment:
        """Virtual now: the newest trace's wake-up if it has its snapshot, else that trace's own time."""
        plan = self.newest_plan()
        if plan is None or plan.wake_at is None:
            return began
        return plan.wake_at if self.has_snapshot(plan.trace_id) else plan.at

    def day(self, midnight: Moment) -> tuple[int, int, Decimal | None, Decimal]:
        """A past UTC day: cycles, trades, the equity it began with, what models cost on it (by the wall)."""
        span = iso(midnight), iso(midnight + DAY_MS)
        cycles, trades = (
            self.db.execute(f"SELECT count(*) FROM {table} WHERE ts_utc >= ? AND ts_utc < ?", span).fetchone()[0]
            for table in ("portfolio", "trades")
        )
        return int(cycles), int(trades), self.day_equity(midnight), self.spent_on(midnight)

    def owner(self) -> Owner | None:
        """The policy of the newest BUY, with the parameters its plan gave it."""
        return self.remembered("owner", ("trades",), self._owner)

    def _owner(self) -> Owner | None:
        row = self.db.execute(
            "SELECT d.payload_json, p.payload_json FROM trades AS t LEFT JOIN decisions AS d ON d.id = t.proposal_id "
            "LEFT JOIN decisions AS p ON p.id = d.plan_id WHERE t.side = 'BUY' ORDER BY t.id DESC LIMIT 1"
        ).fetchone()
        if row is None or row[0] is None or row[1] is None:
            return None  # nothing was bought, or it was adopted without a decision
        policy_id = json.loads(row[0])["policy_id"]
        for strategy in json.loads(row[1])["strategies"]:
            if strategy["policy_id"] == policy_id:
                return Owner(policy_id, strategy["params"])
        return Owner(policy_id, {})
