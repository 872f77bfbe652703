"""What a replay needs of the rows: the steps there are, in the order they were written, and what each stood on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from typing import Any, NamedTuple

from trader_cli.core.errors import LedgerError, NotFoundError
from trader_cli.core.moments import Moment, iso, parse_iso, read_span
from trader_cli.schemas.decision import Decision
from trader_cli.schemas.market import Candle, Costs, Market, Observation
from trader_cli.schemas.question import Agent
from trader_cli.schemas.replay import Step
from trader_cli.schemas.situation import Limits, TradingState
from trader_cli.tools import chain
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.rows import bar_line, bars_sha256, candle_texts, dumps
from trader_cli.tools.verification_past import read_terms

Terms = tuple[Market, Costs, Limits]
State = tuple[TradingState, str | None]

_LINES_KEPT = 4_096

STEP_OF = {Agent.PLANNER: Step.PLAN, Agent.TRADER: Step.PROPOSE, Agent.JUDGE: Step.JUDGE}


class Done(NamedTuple):
    """A step that was done: its link, what it was, and the row it left. Steps sort by link."""

    link: int
    step: Step
    table: str
    row_id: int
    trace_id: str | None


_DONE = {
    "decisions": "SELECT link, agent, 'decisions', id, trace_id FROM decisions",
    "orders": "SELECT link, 'execute', 'orders', id, trace_id FROM orders "
    "WHERE NOT (origin = 'recovered' AND proposal_id IS NULL) AND",  # found on the exchange: no step of ours
    "events": "SELECT link, 'execute', 'events', id, trace_id FROM events WHERE +kind = 'NOT_SENT' AND",
    "portfolio": "SELECT link, 'snapshot', 'portfolio', id, trace_id FROM portfolio",
}


def steps_of(ledger: Ledger, trace_id: str) -> list[Done]:
    """The steps of a trace, in the order they were written."""
    found = [step for table in _DONE for step in _done(ledger, table, "trace_id = ?", trace_id)]
    return sorted(found)


def steps_between(ledger: Ledger, first: int, last: int | None) -> Iterator[Done]:
    """The steps from link `first` to before link `last` (None: to the end), in the order they were written."""
    ranges = []
    for table in _DONE:
        low = chain.first_id(ledger.db, table, first)
        high = None if last is None else chain.first_id(ledger.db, table, last)
        if low is not None:
            ranges.append(_done(ledger, table, "id >= ? AND (? IS NULL OR id < ?)", low, high, high))
    return merge(*ranges)


def _done(ledger: Ledger, table: str, where: str, *values: Any) -> Iterator[Done]:
    begin = _DONE[table]
    rows = ledger.db.execute(f"{begin} {'' if begin.endswith('AND') else 'WHERE'} {where} ORDER BY id", values)
    for link, word, _, row_id, trace_id in rows:
        step = STEP_OF[Agent(word)] if table == "decisions" else Step(word)
        yield Done(link, step, table, row_id, trace_id)


def links_of(ledger: Ledger, since: Moment, until: Moment | None) -> tuple[int, int | None]:
    """The first link of the cycles planned from `since` to `until`, and the first one after them (None: there is none).

    Raises NotFoundError where no cycle was planned then.
    """
    sql = "SELECT link FROM decisions WHERE +agent = 'PLANNER' AND ts_utc {} ? ORDER BY ts_utc, id LIMIT 1"
    first = ledger.db.execute(sql.format(">="), (iso(since),)).fetchone()
    after = None if until is None else ledger.db.execute(sql.format(">"), (iso(until),)).fetchone()
    if first is None or (after is not None and after[0] <= first[0]):
        raise NotFoundError(
            f"no cycle from {iso(since)}{'' if until is None else f' to {iso(until)}'} in this ledger",
            "See them: trader ledger show",
        )
    return int(first[0]), None if after is None else int(after[0])


def cycles_between(ledger: Ledger, first: int, last: int | None) -> int:
    """How many cycles were planned between two links."""
    low = chain.first_id(ledger.db, "decisions", first)
    high = None if last is None else chain.first_id(ledger.db, "decisions", last)
    row = ledger.db.execute(
        "SELECT count(*) FROM decisions WHERE +agent = 'PLANNER' AND id >= ? AND (? IS NULL OR id < ?)",
        (low, high, high),
    ).fetchone()
    return int(row[0])


@dataclass(frozen=True, slots=True)
class Ground:
    """What a decision stood on.

    Attributes:
        terms: the market's rules, the costs and the limits then.
        state: the trading state in force, and why: a STOP file leaves no row, so it is taken as recorded.
        law: the law's word, for a verdict; as it is kept.
        payload: as it is kept.
        tool_rounds: how often its model might look something up.
    """

    terms: Terms
    state: State
    law: str | None
    payload: str
    tool_rounds: int


def check_schema(ledger: Ledger) -> None:
    """Raise LedgerError for a ledger that an older program left."""
    if not ledger.has("portfolio", "terms_sha256"):
        raise LedgerError(
            "a replay needs a ledger of this program's schema", "Run any writing command once: trader recover"
        )


def timeframe_of(ledger: Ledger) -> int:
    """A bar of this ledger, in ms."""
    return read_span(ledger.identity().get("timeframe") or "5m")


def ground(ledger: Ledger, decision: Decision[Any]) -> Ground:
    """The ground of a decision. Raises NotFoundError where its terms are not there."""
    row = ledger.db.execute(
        "SELECT t.terms_json, d.law_json, c.facts_json, d.payload_json FROM decisions AS d "
        "LEFT JOIN terms AS t ON t.sha256 = d.terms_sha256 LEFT JOIN model_calls AS c ON c.id = d.model_call_id "
        "WHERE d.id = ?",
        (decision.id,),
    ).fetchone()
    if row is None or row[0] is None:
        raise NotFoundError(f"decision {decision.id} has no terms in this ledger", "Look: trader ledger verify")
    law = None if row[1] is None else json.loads(row[1])
    facts = {} if row[2] is None else json.loads(row[2])
    state = state_of(decision.cause, law, facts)
    return Ground(read_terms(row[0]), state, row[1], row[3], _tool_rounds(ledger, decision.trace_id))


def state_of(cause: str | None, law: dict[str, Any] | None, facts: dict[str, Any] | None = None) -> State:
    """The state as the law, the model's facts or the cause tell of it; RUN where none of them does."""
    halted, _, why = (cause or "").partition("stopped: ")
    if not halted and why:
        return TradingState.HALT, why
    told = next((rule["value"] for rule in (law or {}).get("rules", ()) if rule["name"] == "state"), None)
    return TradingState[told or (facts or {}).get("trading_state") or "RUN"], None


def _tool_rounds(ledger: Ledger, trace_id: str) -> int:
    """Rounds of tools: up to the one in which none was left to call, else one more than there were."""
    rows = ledger.db.execute(
        "SELECT c.round, c.request_json FROM model_calls AS c JOIN prompts AS p ON p.sha256 = c.prompt_sha256 "
        "WHERE c.trace_id = ? AND p.tools_json IS NOT NULL ORDER BY c.id",
        (trace_id,),
    ).fetchall()
    for number, request_json in rows:
        if request_json is not None and json.loads(request_json)["tool_choice"] == "none":
            return int(number)
    return int(rows[-1][0] or 0) + 1 if rows else 0


class Sent(NamedTuple):
    """What execute left: an order, or the word that it was not sent.

    Attributes:
        at, link: of its row.
        verdict_id: that it carried out.
        law, terms: as they are kept; terms None where an older program kept them with the verdict only.
        columns: of an order, what its intent decides.
    """

    at: Moment
    link: int
    verdict_id: int | None
    law: str | None
    terms: Terms | None
    columns: dict[str, Any]


_ORDERED = ("client_order_id", "symbol", "side", "qty", "worst_price", "reserved_quote", "origin")


def sent(ledger: Ledger, done: Done) -> Sent:
    """The row that execute left."""
    if done.table == "events":
        row = ledger.db.execute("SELECT ts_utc, link, data_json FROM events WHERE id = ?", (done.row_id,)).fetchone()
        said = json.loads(row[2])
        law = None if "law" not in said else dumps(said["law"])
        terms = _terms(ledger, said.get("terms_sha256"))
        return Sent(parse_iso(row[0]), row[1], said.get("verdict_id"), law, terms, {"reason": said.get("reason")})
    row = ledger.db.execute(
        f"SELECT ts_utc, link, verdict_id, law_json, terms_sha256, {','.join(_ORDERED)} FROM orders WHERE id = ?",
        (done.row_id,),
    ).fetchone()
    columns = dict(zip(_ORDERED, row[5:], strict=True))
    return Sent(parse_iso(row[0]), row[1], row[2], row[3], _terms(ledger, row[4]), columns)


def _terms(ledger: Ledger, sha256: str | None) -> Terms | None:
    row = ledger.db.execute("SELECT terms_json FROM terms WHERE sha256 = ?", (sha256,)).fetchone()
    return None if row is None else read_terms(row[0])


_TRADED = ("side", "symbol", "qty", "price", "fee", "status", "fee_asset", "quote_qty")


def trade_of(ledger: Ledger, client_order_id: str) -> dict[str, Any] | None:
    """The columns of an order's trade that follow from its fills."""
    row = ledger.db.execute(
        f"SELECT {','.join(_TRADED)} FROM trades WHERE idempotency_key = ?", (client_order_id,)
    ).fetchone()
    return None if row is None else dict(zip(_TRADED, row, strict=True))


def seen_in(ledger: Ledger, link: int) -> int | None:
    """The observation written with a link, if there is one."""
    first = chain.first_id(ledger.db, "observations", link)
    row = ledger.db.execute("SELECT id FROM observations WHERE id = ? AND link = ?", (first, link)).fetchone()
    return None if row is None else int(row[0])


def market_before(ledger: Ledger, link: int) -> Market | None:
    """The market's rules that were in force last before a link; None before any decision."""
    row = ledger.db.execute("SELECT terms_json FROM terms WHERE link < ? ORDER BY id DESC LIMIT 1", (link,)).fetchone()
    return None if row is None else read_terms(row[0])[0]


def planned_before(ledger: Ledger, link: int) -> tuple[str | None, int | None]:
    """The trace and the observation of the newest plan before a link."""
    first = chain.first_id(ledger.db, "decisions", link)
    plan = ledger.db.execute(
        "SELECT trace_id, observation_id FROM decisions WHERE (? IS NULL OR id < ?) AND +agent = 'PLANNER' "
        "ORDER BY id DESC LIMIT 1",
        (first, first),
    ).fetchone()
    return (plan[0], plan[1]) if plan else (None, None)


def ended_before(ledger: Ledger, trace_id: str, link: int) -> bool:
    """Whether a snapshot before a link ended a trace."""
    sql = "SELECT 1 FROM portfolio WHERE trace_id = ? AND link < ?"
    return ledger.db.execute(sql, (trace_id, link)).fetchone() is not None


_SNAPSHOT = (
    "ts_utc", "balance_usdt", "balance_btc", "unrealized_pnl_usdt", "realized_pnl_usdt", "symbol", "trace_id",
    "mark_price", "equity_usdt", "cost_usdt", "deposits_usdt", "fees_usdt", "peak_usdt", "drift_usdt", "drift_btc",
)  # fmt: skip


def snapshot_row(ledger: Ledger, row_id: int) -> tuple[dict[str, Any], Terms | None]:
    """A snapshot's columns as they are kept, and its terms; None where an older program wrote it.

    Raises NotFoundError where its terms are not there.
    """
    *row, sha256 = ledger.db.execute(
        f"SELECT {','.join(_SNAPSHOT)}, terms_sha256 FROM portfolio WHERE id = ?", (row_id,)
    ).fetchone()
    terms = _terms(ledger, sha256)
    if terms is None and sha256 is not None:
        raise NotFoundError(f"snapshot {row_id} has no terms in this ledger", "Look: trader ledger verify")
    return dict(zip(_SNAPSHOT, row, strict=True)), terms


def terms_since(ledger: Ledger, table: str) -> int | None:
    """The first link from which `orders` or `portfolio` keep their terms; None where an older program wrote all."""
    row = ledger.db.execute(f"SELECT link FROM {table} WHERE terms_sha256 IS NOT NULL ORDER BY id LIMIT 1").fetchone()
    return None if row is None else int(row[0])


def moment_of(row: dict[str, Any]) -> Moment:
    """The time of a row."""
    return parse_iso(str(row["ts_utc"]))


def turns_in(ledger: Ledger, link: int) -> list[dict[str, Any]]:
    """The law's changes of the trading state that a link brought, with their times and traces."""
    first = chain.first_id(ledger.db, "events", link)
    rows = ledger.db.execute(
        "SELECT data_json, ts_utc, trace_id FROM events "
        "WHERE id >= ? AND link = ? AND +kind = 'STATE' AND id < ? + 64 ORDER BY id",
        (first, link, first),
    )
    return [{**json.loads(data_json), "ts_utc": at, "trace_id": trace_id} for data_json, at, trace_id in rows]


def memory_in(ledger: Ledger, link: int) -> list[str]:
    """The outcomes that a link brought, as they are kept."""
    first = chain.first_id(ledger.db, "memory", link)
    rows = ledger.db.execute("SELECT value_json, link FROM memory WHERE id >= ? ORDER BY id", (first,))
    found = []
    for value_json, of in rows:
        if of != link:
            break
        found.append(value_json)
    return found


class Lines:
    """The bars of windows as lines of their hash; windows overlap, so those of the last ones are kept."""

    def __init__(self) -> None:
        self._known: dict[Moment, tuple[Candle, bytes]] = {}

    def differ(self, ledger: Ledger, seen: Observation) -> str | None:
        """How the candles of an observation are not those it was made of, if so."""
        if len(self._known) > _LINES_KEPT:
            self._known.clear()
        sha256 = bars_sha256(self._line(candle) for candle in seen.window.candles)
        was = ledger.db.execute("SELECT candles_sha256 FROM observations WHERE id = ?", (seen.id,)).fetchone()[0]
        if sha256 == was:
            return None
        return f"the candles of observation {seen.id} are {sha256[:12]}, they were {was[:12]}"

    def _line(self, candle: Candle) -> bytes:
        known = self._known.get(candle.opened_at)
        if known is None or known[0] is not candle:
            line = bar_line(candle.opened_at, candle_texts(candle))
            known = self._known[candle.opened_at] = candle, line
        return known[1]
