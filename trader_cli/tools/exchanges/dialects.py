"""What exchanges call things, where ccxt does not make them alike: how an order is looked up and what refuses it.

An exchange without an entry here can give prices; it gets no orders, for nobody could prove what became of one.
"""

from __future__ import annotations

from dataclasses import dataclass

from trader_cli.tools.exchanges.reply import Reply


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one family of exchanges speaks.

    Attributes:
        id_when_sent, id_when_asked: the parameters that carry our client order id.
        raw: what the exchange's own answer about an order must hold; without it ccxt's reading is a guess.
        refusals: codes that prove an order was not and will not be taken; `refusal_range` a block of them.
        ambiguous: words in a refusal that prove the opposite.
        unknown_order: codes for "no such order", asked about or to be cancelled.
        bad_key: codes for a key or signature that is wrong.
        bad_clock: the code for a timestamp outside the window.
        visible_after_ms: the longest that a taken order may stay invisible to a look-up, with a margin.
        reads_rights: whether it tells what a key may do.
    """

    id_when_sent: str
    id_when_asked: str
    raw: tuple[str, ...]
    refusals: frozenset[str]
    refusal_range: tuple[int, int]
    ambiguous: str
    unknown_order: frozenset[str]
    bad_key: frozenset[str]
    bad_clock: str
    visible_after_ms: int
    reads_rights: bool

    def refuses(self, reply: Reply | None) -> bool:
        """Whether a reply to an order proves that it was not taken. Anything less leaves it unknown."""
        if reply is None or not 400 <= reply.status < 500:
            return False
        if reply.wait_secs is not None:
            return True  # turned away at the door
        if reply.code is None or self.ambiguous in (reply.message or ""):
            return False
        low, high = self.refusal_range
        return reply.code in self.refusals or (reply.code.lstrip("-").isdigit() and low <= int(reply.code) <= high)


BINANCE = Dialect(
    id_when_sent="newClientOrderId",
    id_when_asked="origClientOrderId",
    raw=("symbol", "orderId", "clientOrderId", "status", "side", "executedQty", "origQty"),
    refusals=frozenset(
        {"-1002", "-1013", "-1014", "-1015", "-1020", "-1021", "-1022", "-2008", "-2010", "-2014", "-2015"}
    ),
    refusal_range=(-1199, -1100),
    ambiguous="Duplicate order sent",
    unknown_order=frozenset({"-2013", "-2011"}),
    bad_key=frozenset({"-1002", "-1022", "-2008", "-2014", "-2015"}),
    bad_clock="-1021",
    visible_after_ms=25_000,
    reads_rights=True,
)
"""Binance spot, docs of 2026-07. 25 s: 10 s in which the engine answers (-1007), 15 s for its databases."""

DIALECTS = {"binance": BINANCE, "binanceus": BINANCE}


def why_no_orders(exchange_id: str, real: bool) -> str | None:
    """Why an exchange gets no orders from this program, if so."""
    if exchange_id not in DIALECTS:
        return (
            f"orders on {exchange_id} cannot be looked up by an id of ours in a way this program knows, so a lost "
            f"answer could never be settled; it can trade on: {', '.join(sorted(DIALECTS))}"
        )
    if real and exchange_id != "binance":
        return f"{exchange_id} does not say whether a key may withdraw"
    return None
