"""Fakes of the ports, in one place: a clock, names, a model, an exchange, a source of candles, a stop sign.

They do what a script says, count what was asked of them, and know nothing of the product's rules.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any, NoReturn, cast

from trader_cli.core.errors import UpstreamError
from trader_cli.core.moments import Moment, parse_iso
from trader_cli.schemas.book import Balances
from trader_cli.schemas.market import Candle, CandleBatch, Market, Quote
from trader_cli.schemas.order import Absent, Fill, Intent, OrderState, Report, Side, Sighting
from trader_cli.schemas.question import Agent, Answer, Question
from trader_cli.schemas.situation import TradingState

FIVE = 300_000
"""Five minutes in milliseconds: the timeframe of every fake."""

NOW = parse_iso("2026-03-02T12:00:00Z")
"""Where fake clocks begin: on the grid of five minutes, in the middle of a day."""

PRICE = Decimal(50_000)
"""What the newest bar of a fake market closed at, as of NOW."""

BTC = Market(
    symbol="BTC/USDT",
    base="BTC",
    quote="USDT",
    step=Decimal("0.00001"),
    tick=Decimal("0.01"),
    min_qty=Decimal("0.00001"),
    max_qty=Decimal(128),
    min_notional=Decimal(5),
    fee_pct=Decimal("0.1"),
)


def bar(opened_at: Moment, price: Decimal = PRICE, volume: Decimal = Decimal(90)) -> Candle:
    """A sound bar around a price; neighbours differ by a few units, so that every feature is defined."""
    place = (opened_at - NOW) // FIVE + 1
    close = price + (place * 7) % 5
    return Candle(opened_at, close - 1, close + 3, close - 3, close, volume)


def bars(now: Moment = NOW, count: int = 200, price: Decimal = PRICE) -> tuple[Candle, ...]:
    """`count` sound bars, the newest of which closes at or just before `now`."""
    last = now - now % FIVE - FIVE
    return tuple(bar(last - back * FIVE, price) for back in range(count - 1, -1, -1))


# --- time and names --------------------------------------------------------------------------


class FakeClock:
    """Market time and wall time that stand still until a test, or a sleep, moves them.

    `signal_after` is how many sleeps go well before a signal ends one.
    """

    def __init__(self, now: Moment = NOW, signal_after: int | None = None) -> None:
        self.at = now
        self.wall_at = now
        self.sleeps: list[Moment] = []
        self.pauses: list[int] = []
        self.signal_after = signal_after

    def now(self) -> Moment:
        """Market time."""
        return self.at

    def wall(self) -> Moment:
        """Wall time."""
        return self.wall_at

    def sleep_until(self, moment: Moment) -> bool:
        """Note the wish, and be there at once."""
        self.sleeps.append(moment)
        if self.signal_after is not None and len(self.sleeps) > self.signal_after:
            return False
        self.advance(max(0, moment - self.wall_at))
        return True

    def pause(self, ms: int) -> bool:
        """No time passes; a signal ends it as it ends a sleep."""
        self.pauses.append(ms)
        return self.signal_after is None or len(self.sleeps) <= self.signal_after

    def advance(self, ms: int) -> None:
        """Let time pass on both clocks."""
        self.at += ms
        self.wall_at += ms


class FakeIds:
    """Names that are counted."""

    def __init__(self) -> None:
        self.traces = 0
        self.orders = 0

    def trace_id(self, n: int) -> str:
        """32 hexadecimal characters."""
        del n
        self.traces += 1
        return f"{self.traces:032x}"

    def client_order_id(self, n: int, head: str) -> str:
        """`t1-1`, `t1-2` …"""
        del n, head
        self.orders += 1
        return f"t1-{self.orders}"

    def chance(self, trace_id: str) -> Random:
        """Seeded by the trace."""
        return Random(trace_id)


# --- the model -------------------------------------------------------------------------------

Reply = str | Answer


class ScriptedModel:
    """Says what it was told to say, agent by agent, and remembers what it was asked.

    A question nobody prepared a reply for is an AssertionError: no test asks a model by accident.
    """

    name = "scripted"

    def __init__(self) -> None:
        self.source = "openai"
        self.asked: list[Question] = []
        self.watch: Callable[[str], object] = lambda what: None
        self._replies: dict[Agent, list[Reply]] = {agent: [] for agent in Agent}

    def will_say(self, agent: Agent, *replies: Reply) -> None:
        """Prepare replies, said in this order."""
        self._replies[agent] += replies

    def answer(self, question: Question) -> Answer:
        """The next reply of the script."""
        self.watch(f"model {question.agent}")
        self.asked.append(question)
        replies = self._replies[question.agent]
        assert replies, f"nobody expected the {question.agent} to be asked"
        reply = replies.pop(0)
        return reply if isinstance(reply, Answer) else Answer(self.name, "ok", reply, source=self.source)

    @property
    def calls(self) -> Counter[str]:
        """How often each agent was asked."""
        return Counter(question.agent.value for question in self.asked)


def plan_words(mode: str = "TRADE", wakeup_secs: int = 300, *policies: str, explore: float = 0.1) -> str:
    """A planner's reply with policies at their defaults."""
    from trader_cli.schemas.policy import BY_ID

    strategies = [{"policy_id": name, "params": BY_ID[name].defaults()} for name in policies or ("ma_trend", "cash")]
    return json.dumps(
        {"mode": mode, "explore_ratio": explore, "next_wakeup_secs": wakeup_secs, "strategies": strategies}
    )


def proposal_words(action: str = "BUY", qty: str = "0.001", policy_id: str = "ma_trend", **changes: object) -> str:
    """A trader's reply."""
    document = {"action": action, "qty": qty, "policy_id": policy_id, "hypothesis": "it rises", "confidence": 0.8}
    return json.dumps(document | changes)


def verdict_words(decision: str = "APPROVE", revised_qty: str | None = None, *violations: str, notes: str = "") -> str:
    """A judge's reply."""
    return json.dumps(
        {"decision": decision, "revised_qty": revised_qty, "violations": list(violations), "notes": notes}
    )


# --- the exchange ----------------------------------------------------------------------------


def report(intent: Intent, executed: Decimal | None = None, price: Decimal = PRICE, number: int = 1) -> Report:
    """What a sound exchange says of an order it executed: one fill, its fee in what was received (0.1 %)."""
    qty = intent.qty if executed is None else executed
    buy = intent.side is Side.BUY
    fee = (qty if buy else qty * price) * Decimal("0.001")
    fill = Fill(
        f"x{number}-1", qty, price, qty * price, fee, "BTC" if buy else "USDT", fee * price if buy else fee, intent.at
    )
    state = OrderState.FILLED if qty == intent.qty else OrderState.PARTIAL
    return Report(intent.client_order_id, f"x{number}", intent.side, state, qty, (fill,) if qty else ())


class FakeExchange:
    """One symbol whose market, account and manners a test decides.

    Reads come from `rules`, `rows` (or endless sound bars), `bid`, `ask` and `held`; names in `down`
    raise UpstreamError. `submit` follows `manners`, one for each submission, the last one for all that
    follow; what it executed is in `truth`, and `find` tells the truth unless `found` says otherwise.
    """

    name = "fake"
    may_be_wiped = False

    def __init__(self, source: str = "recorded:fake.csv", quote_held: Decimal = Decimal(1000)) -> None:
        self.source = source
        self.rules = BTC
        self.price = PRICE
        self.rows: Sequence[Candle] | None = None
        self.bid: Decimal | None = None
        self.ask: Decimal | None = None
        self.held = Balances(Decimal(0), quote_held)
        self.down: set[str] = set()
        self.manners: list[Manner] = [fills]
        self.found: Callable[[Intent], object] | None = None
        self.truth: dict[str, Report] = {}
        self.submitted: list[Intent] = []
        self.asked_about: list[str] = []
        self.calls: Counter[str] = Counter()
        self.watch: Callable[[str], object] = lambda what: None
        self.key: str | None = None
        self.refuses_key: Exception | None = None
        self.evidence = {"account": "a1", "trade": "yes", "withdraw": "no"}
        self.listed: list[Sighting] = []
        self.cancelled: list[Intent] = []

    @property
    def fingerprint(self) -> str | None:
        """None, unless a test gives the account a key."""
        return self.key

    def connect(self) -> None:
        """There, unless it is down."""
        self._called("connect")

    def prove(self) -> dict[str, str]:
        """What was set."""
        self._called("prove")
        if self.refuses_key is not None:
            raise self.refuses_key
        return self.evidence

    def cancel(self, intent: Intent) -> None:
        """Noted."""
        self._called("cancel")
        self.cancelled.append(intent)

    def orders(self, since: Moment, until: Moment) -> tuple[Sighting, ...]:
        """What was listed."""
        self._called("orders")
        return tuple(one for one in self.listed if since <= one.at <= until)

    @property
    def sends(self) -> Counter[str]:
        """How often each client order id was submitted."""
        return Counter(intent.client_order_id for intent in self.submitted)

    def market(self) -> Market:
        """The rules."""
        self._called("market")
        return self.rules

    def candles(self, limit: int, now: Moment) -> CandleBatch:
        """The rows, or sound bars up to now."""
        self._called("candles")
        rows = bars(now, limit, self.price) if self.rows is None else tuple(self.rows)
        return CandleBatch(self.source, rows)

    def quote(self, now: Moment) -> Quote:
        """Bid and ask, both at the price unless they were set."""
        self._called("quote")
        return Quote(self.bid or self.price, self.ask or self.price, now)

    def balances(self) -> Balances:
        """What was set, and what was executed since."""
        self._called("balances")
        return self.held

    def submit(self, intent: Intent) -> Report:
        """Count it, then follow the script."""
        self._called("submit")
        self.submitted.append(intent)
        manner = self.manners[0] if len(self.manners) == 1 else self.manners.pop(0)
        return cast(Report, manner(self, intent))

    def find(self, intent: Intent) -> Report | Absent:
        """The truth, or what the script says."""
        self._called("find")
        self.asked_about.append(intent.client_order_id)
        if self.found is not None:
            return cast(Report, self.found(intent))
        known = self.truth.get(intent.client_order_id)
        return known or Absent(final=True, evidence="the fake exchange never took it")

    def execute(self, intent: Intent, qty: Decimal | None = None) -> Report:
        """Really execute an order, or a part of it."""
        said = report(intent, qty, self.price, len(self.submitted))
        self.truth[intent.client_order_id] = said
        for fill in said.fills:
            if intent.side is Side.BUY:
                self.held = Balances(self.held.base + fill.qty - fill.fee, self.held.quote - fill.quote_qty)
            else:
                self.held = Balances(self.held.base - fill.qty, self.held.quote + fill.quote_qty - fill.fee)
        return said

    def _called(self, what: str) -> None:
        self.calls[what] += 1
        self.watch(what)
        if what in self.down or "all" in self.down:
            raise UpstreamError(f"{what}: the fake exchange is down")


Manner = Callable[[FakeExchange, Intent], object]
"""What an exchange does with a submission: returns a report (or rubbish), or raises."""


def fills(exchange: FakeExchange, intent: Intent) -> Report:
    """All of it at once."""
    return exchange.execute(intent)


def fills_part(share: str) -> Manner:
    """This share of it, and never the rest."""
    return lambda exchange, intent: exchange.execute(intent, intent.qty * Decimal(share))


def refuses(code: str = "-1013", message: str = "Filter failure: NOTIONAL") -> Manner:
    """A definite refusal."""

    def refuse(exchange: FakeExchange, intent: Intent) -> Report:
        said = Report(
            intent.client_order_id, None, intent.side, OrderState.REJECTED, Decimal(0), code=code, message=message
        )
        exchange.truth[intent.client_order_id] = said
        return said

    return refuse


def breaks(error: BaseException) -> Manner:
    """Nothing is executed, and the line breaks."""

    def fail(exchange: FakeExchange, intent: Intent) -> NoReturn:
        raise error

    return fail


class Killed(BaseException):
    """The end of the process in the middle of a call: nothing catches it."""


def loses_the_answer(error: BaseException) -> Manner:
    """It is executed, and the answer never arrives."""

    def fail(exchange: FakeExchange, intent: Intent) -> NoReturn:
        exchange.execute(intent)
        raise error

    return fail


def says(rubbish: Callable[[Intent], object]) -> Manner:
    """It is executed, and what comes back is `rubbish(intent)`."""

    def answer(exchange: FakeExchange, intent: Intent) -> object:
        exchange.execute(intent)
        return rubbish(intent)

    return answer


# --- candles and the stop sign ---------------------------------------------------------------


class FakeSource:
    """A CandleSource over a list of bars, addressed by time like a file."""

    def __init__(self, rows: Sequence[Candle], provenance: str = "recorded:fake.csv", endless: bool = False) -> None:
        self.rows = tuple(rows)
        self.provenance = provenance
        self.timeframe_ms = FIVE
        self._endless = endless

    def start(self, warmup: int) -> Moment:
        """When `warmup` bars have closed."""
        return self.rows[warmup - 1].opened_at + FIVE

    def end(self) -> Moment | None:
        """When the last bar opens; None for an endless source."""
        return None if self._endless else self.rows[-1].opened_at

    def closed(self, limit: int, now: Moment) -> tuple[Candle, ...]:
        """The newest `limit` rows that closed."""
        return tuple(row for row in self.rows if row.opened_at + FIVE <= now)[-limit:]

    def next_open(self, now: Moment) -> Candle | None:
        """The first row that opens at or after `now`."""
        return next((row for row in self.rows if row.opened_at >= now), None)


@dataclass
class FakeStop:
    """The operator's word: `said`, or what `when()` says at the moment of looking. `ends` is why the run will end."""

    said: tuple[TradingState, str | None] = (TradingState.RUN, None)
    when: Callable[[], tuple[TradingState, str | None]] | None = None
    looks: int = 0
    ends: str | None = None

    def state(self) -> tuple[TradingState, str | None]:
        """What is asked for now."""
        self.looks += 1
        return self.when() if self.when else self.said

    def ending(self) -> str | None:
        """Why the run is about to end."""
        return self.ends

    def halt(self, reason: str = "the operator") -> None:
        """Put the sign up."""
        self.said = (TradingState.HALT, reason)


# --- words of a hostile model ----------------------------------------------------------------


@dataclass(frozen=True)
class Hostile:
    """A reply that no record may come of, and what its refusal must speak of."""

    name: str
    agent: Agent
    words: str
    cause: str
    id: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", f"{self.agent.value.lower()}-{self.name}")


def _with(words: str, **changes: Any) -> str:
    return json.dumps(json.loads(words) | changes)


def _without(words: str, key: str) -> str:
    return json.dumps({name: value for name, value in json.loads(words).items() if name != key})


def _strategies(*strategies: object) -> str:
    return _with(plan_words(), strategies=list(strategies))


_P, _T, _J = Agent.PLANNER, Agent.TRADER, Agent.JUDGE
_CASH = {"policy_id": "cash", "params": {}}

HOSTILE: tuple[Hostile, ...] = (
    Hostile("quantity-with-a-newline", _T, proposal_words(qty="1\n"), "qty"),
    Hostile("quantity-in-arabic-digits", _T, proposal_words(qty="\u0661\u0662"), "qty"),
    Hostile("quantity-in-fullwidth-digits", _T, proposal_words(qty="1\uff12"), "qty"),
    Hostile("quantity-of-5000-digits", _T, proposal_words(qty="9" * 5000), "qty"),
    Hostile("quantity-of-5000-decimals", _T, proposal_words(qty="0." + "1" * 5000), "qty"),
    Hostile("quantity-with-an-exponent", _T, proposal_words(qty="1e3"), "qty"),
    Hostile("quantity-with-a-sign", _T, proposal_words(qty="-1"), "qty"),
    Hostile("quantity-with-a-space", _T, proposal_words(qty=" 1"), "qty"),
    Hostile("quantity-with-an-underscore", _T, proposal_words(qty="1_000"), "qty"),
    Hostile("quantity-nan", _T, proposal_words(qty="NaN"), "qty"),
    Hostile("quantity-infinity", _T, proposal_words(qty="Infinity"), "qty"),
    Hostile("quantity-empty", _T, proposal_words(qty=""), "qty"),
    Hostile("quantity-with-leading-zeros", _T, proposal_words(qty="007"), "qty"),
    Hostile("quantity-as-a-number", _T, _with(proposal_words(), qty=0.001), "qty"),
    Hostile("quantity-null", _T, _with(proposal_words(), qty=None), "qty"),
    Hostile("buy-of-nothing", _T, proposal_words(qty="0"), "BUY of nothing"),
    Hostile("sell-of-nothing", _T, proposal_words("SELL", "0.000"), "SELL of nothing"),
    Hostile("confidence-nan", _T, proposal_words().replace("0.8", "NaN"), "NaN"),
    Hostile("confidence-infinity", _T, proposal_words().replace("0.8", "Infinity"), "Infinity"),
    Hostile("confidence-minus-infinity", _T, proposal_words().replace("0.8", "-Infinity"), "-Infinity"),
    Hostile("confidence-that-overflows", _T, proposal_words().replace("0.8", "1e999"), "confidence"),
    Hostile("confidence-of-5000-digits", _T, proposal_words().replace("0.8", "9" * 5000), "JSON"),
    Hostile("confidence-above-one", _T, proposal_words(confidence=1.01), "confidence"),
    Hostile("confidence-below-zero", _T, proposal_words(confidence=-0.01), "confidence"),
    Hostile("confidence-true", _T, proposal_words(confidence=True), "confidence"),
    Hostile("confidence-as-text", _T, proposal_words(confidence="0.8"), "confidence"),
    Hostile("action-in-small-letters", _T, proposal_words("buy"), "action"),
    Hostile("action-unknown", _T, proposal_words("SHORT"), "action"),
    Hostile("policy-unknown", _T, proposal_words(policy_id="../../etc/passwd"), "policy_id"),
    Hostile("policy-of-a-megabyte", _T, proposal_words(policy_id="x" * 1_000_000), "characters"),
    Hostile("policy-that-is-sql", _T, proposal_words(policy_id="');drop table trades;--"), "policy_id"),
    Hostile("hypothesis-of-a-megabyte", _T, proposal_words(hypothesis="x" * 1_000_000), "characters"),
    Hostile("hypothesis-with-a-lone-surrogate", _T, proposal_words(hypothesis="\ud800"), "surrogate"),
    Hostile(
        "a-lone-surrogate-in-plain",
        _T,
        proposal_words(hypothesis="@").replace("@", "\udfff"),
        "surrogate",
    ),
    Hostile("hypothesis-null", _T, proposal_words(hypothesis=None), "hypothesis"),
    Hostile("an-extra-key", _T, proposal_words(leverage=20), "leverage"),
    Hostile("a-missing-key", _T, _without(proposal_words(), "confidence"), "confidence"),
    Hostile("a-key-twice", _T, '{"action": "HOLD", ' + proposal_words()[1:], "twice"),
    Hostile("an-array", _T, f"[{proposal_words()}]", "document"),
    Hostile("a-string", _T, json.dumps(proposal_words()), "document"),
    Hostile("null", _T, "null", "document"),
    Hostile("empty", _T, "", "JSON"),
    Hostile("blank", _T, " \n", "JSON"),
    Hostile("prose-before", _T, "Sure! " + proposal_words(), "JSON"),
    Hostile("a-code-fence", _T, f"```json\n{proposal_words()}\n```", "JSON"),
    Hostile("trailing-garbage", _T, proposal_words() + " }", "JSON"),
    Hostile("two-documents", _T, proposal_words("HOLD", "0") + proposal_words(), "JSON"),
    Hostile("a-byte-order-mark", _T, "\ufeff" + proposal_words(), "JSON"),
    Hostile("cut-in-the-middle", _T, proposal_words()[:-20], "JSON"),
    Hostile("a-trailing-comma", _T, proposal_words()[:-1] + ",}", "JSON"),
    Hostile("single-quotes", _T, proposal_words().replace('"', "'"), "JSON"),
    Hostile("deep-nesting", _T, "[" * 30_000 + "]" * 30_000, "nested"),
    Hostile("nesting-that-json-takes", _T, "[" * 50 + "]" * 50, "nested"),
    Hostile("a-raw-control-character", _T, proposal_words(hypothesis="@").replace("@", "\x1b"), "JSON"),
    Hostile("revise-without-a-quantity", _J, _without(verdict_words("REVISE"), "revised_qty"), "revised_qty"),
    Hostile("revise-with-null", _J, verdict_words("REVISE"), "REVISE without a quantity"),
    Hostile("revise-to-nothing", _J, verdict_words("REVISE", "0"), "REVISE without a quantity"),
    Hostile("revise-to-0.000", _J, verdict_words("REVISE", "0.000"), "REVISE without a quantity"),
    Hostile("revise-with-a-newline", _J, verdict_words("REVISE", "1\n"), "revised_qty"),
    Hostile("revise-in-arabic-digits", _J, verdict_words("REVISE", "\u0661"), "revised_qty"),
    Hostile("approve-with-a-quantity", _J, verdict_words("APPROVE", "999"), "APPROVE with a revised quantity"),
    Hostile("reject-with-a-quantity", _J, verdict_words("REJECT", "1"), "REJECT with a revised quantity"),
    Hostile("reject-and-approve", _J, '{"decision": "REJECT", ' + verdict_words()[1:], "twice"),
    Hostile("five-violations", _J, verdict_words("APPROVE", None, *"abcde"), "violations"),
    Hostile("violations-as-text", _J, _with(verdict_words(), violations="none"), "violations"),
    Hostile("decision-unknown", _J, verdict_words("MAYBE"), "decision"),
    Hostile("an-extra-key", _J, _with(verdict_words(), override=True), "override"),
    Hostile("empty-object", _J, "{}", "required"),
    Hostile("policy-unknown", _P, _strategies({"policy_id": "martingale", "params": {}}), "strategies"),
    Hostile("a-param-above", _P, _strategies({"policy_id": "ma_trend", "params": {"fast": 20, "slow": 50}}), "strat"),
    Hostile("a-param-below", _P, _strategies({"policy_id": "ma_trend", "params": {"fast": 2, "slow": 50}}), "strat"),
    Hostile("a-param-missing", _P, _strategies({"policy_id": "ma_trend", "params": {"fast": 9}}), "strategies"),
    Hostile("a-param-too-many", _P, _strategies({"policy_id": "cash", "params": {"x": 1}}), "strategies"),
    Hostile(
        "a-param-as-text", _P, _strategies({"policy_id": "ma_trend", "params": {"fast": "9", "slow": 50}}), "strat"
    ),
    Hostile(
        "a-param-with-a-fraction", _P, _strategies({"policy_id": "breakout", "params": {"entry": 9.5, "exit": 5}}), "st"
    ),
    Hostile("a-policy-twice", _P, _strategies(_CASH, _CASH), "twice"),
    Hostile("no-strategy", _P, _strategies(), "strategies"),
    Hostile("four-strategies", _P, _strategies(_CASH, _CASH, _CASH, _CASH), "strategies"),
    Hostile("wakeup-too-soon", _P, _with(plan_words(), next_wakeup_secs=29), "next_wakeup_secs"),
    Hostile("wakeup-too-late", _P, _with(plan_words(), next_wakeup_secs=3601), "next_wakeup_secs"),
    Hostile("wakeup-with-a-fraction", _P, _with(plan_words(), next_wakeup_secs=60.5), "next_wakeup_secs"),
    Hostile("wakeup-true", _P, _with(plan_words(), next_wakeup_secs=True), "next_wakeup_secs"),
    Hostile("explore-nan", _P, plan_words().replace("0.1", "NaN"), "NaN"),
    Hostile("mode-unknown", _P, plan_words("YOLO"), "mode"),
    Hostile("a-key-twice-deep-inside", _P, plan_words().replace('"params": {}', '"params": {"a": 1, "a": 2}'), "twice"),
)
"""`facts/reliability.md` §0.8 and more."""
