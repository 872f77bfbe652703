"""The ports: what a phase asks of the world. Adapters in `tools/` keep these contracts."""

from __future__ import annotations

from random import Random
from typing import Protocol

from trader_cli.core.moments import Moment
from trader_cli.schemas.book import Balances
from trader_cli.schemas.market import Candle, CandleBatch, Market, Quote
from trader_cli.schemas.order import Absent, Intent, Report, Sighting
from trader_cli.schemas.question import Answer, Question


class Clock(Protocol):
    """Market time, and waiting for it. Wall time is kept apart."""

    def now(self) -> Moment:
        """The moment that rules candles, wake-ups, verdict age and trading days."""

    def wall(self) -> Moment:
        """What a clock on the wall shows: budgets, waiting, `wall_ts`."""

    def sleep_until(self, moment: Moment) -> bool:
        """Wait until the wall shows `moment`. Returns False when a signal ended the wait early."""

    def pause(self, ms: int) -> bool:
        """Wait a little for an answer, also where time is virtual. Returns False when a signal ended the wait."""


class Ids(Protocol):
    """Names and chance. `n` is the ledger's next link, so seeded ids repeat with the ledger."""

    def trace_id(self, n: int) -> str:
        """A new trace id: 32 hexadecimal characters."""

    def client_order_id(self, n: int, head: str) -> str:
        """A new client order id, at most 36 characters of [A-Za-z0-9-_]; `head` is the audit chain's head."""

    def chance(self, trace_id: str) -> Random:
        """A source of chance for one trace (Thompson sampling, exploration)."""


class Model(Protocol):
    """A mind. Never raises for what a server or a model did: that is an Answer with another status."""

    @property
    def name(self) -> str:
        """Who is asked."""

    def answer(self, question: Question) -> Answer:
        """Answer one question."""


class CandleSource(Protocol):
    """Where paper trading's bars come from. Bars are addressed by time, the same for every process."""

    provenance: str
    """`live:<exchange>`, `recorded:<file>` or `simulated:<seed>`."""

    timeframe_ms: int

    def start(self, warmup: int) -> Moment:
        """The first moment at which `warmup` bars have closed (virtual time begins here)."""

    def end(self) -> Moment | None:
        """The last moment at which an order could still be filled; None when the market never ends."""

    def closed(self, limit: int, now: Moment) -> tuple[Candle, ...]:
        """The last `limit` bars that closed at or before `now`, as the source has them, ascending."""

    def next_open(self, now: Moment) -> Candle | None:
        """The first bar that opens at or after `now`, if the source has one."""


class Exchange(Protocol):
    """One symbol on one exchange. Reads may raise UpstreamError, and ConfigError where only another key helps.

    `submit` is called once per order, ever. It returns a Report only for what the exchange
    proved (executed, held or refused with a definite code); anything it raises means "unknown".
    An exchange need not recognise an id it has already filled: asking twice buys twice.
    """

    name: str

    @property
    def may_be_wiped(self) -> bool:
        """Whether its orders and balances start anew now and then, as a testnet's do."""

    @property
    def fingerprint(self) -> str | None:
        """What tells the key in use from another without showing it; None where there is no account."""

    def connect(self) -> None:
        """See that it is there, that its clock agrees with ours, and read the symbol's rules again."""

    def prove(self) -> dict[str, str]:
        """What holds of the account and its key, as evidence. Raises ConfigError for a key that may do too much."""

    def market(self) -> Market:
        """The symbol's trading rules."""

    def candles(self, limit: int, now: Moment) -> CandleBatch:
        """The last `limit` closed bars as of `now`, unchecked."""

    def quote(self, now: Moment) -> Quote:
        """Best bid and ask."""

    def balances(self) -> Balances:
        """What the account holds free."""

    def submit(self, intent: Intent) -> Report:
        """Send a market order."""

    def find(self, intent: Intent) -> Report | Absent:
        """What became of an order, by client order id. Raises UpstreamError when the exchange cannot be asked."""

    def cancel(self, intent: Intent) -> None:
        """Take back what is left of an own order that is still open; nothing to do if none is."""

    def orders(self, since: Moment, until: Moment) -> tuple[Sighting, ...]:
        """Every order of the symbol that the account placed from `since` to `until`, whoever sent it, oldest first."""
