"""What an exchange's answer proves about an order. Anything that is not a proof is UNKNOWN."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from trader_cli.core.decimals import ZERO, add, mul, text
from trader_cli.core.moments import iso
from trader_cli.schemas.order import Absent, Intent, OrderState, Outcome, Report

MOST_FEE = Decimal(10)
"""A fee or rebate of more than a tenth of what was traded is not believed."""

PREFIX = "t1-"
"""What every client order id of this program begins with."""

LATE_MS = 600_000
"""For how long what an order that was given up might cost stays reserved: it may turn up after all."""

EXECUTED = frozenset({OrderState.FILLED, OrderState.PARTIAL})


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a report proves nothing; `contradicts` when it shows something else than the intent."""

    reason: str
    contradicts: bool = False


def doubt(intent: Intent, report: Report) -> Doubt | None:
    """What is wrong with a report, if anything: rubbish, another order's, incomplete, or against the intent.

    Never raises: an answer that cannot even be looked at proves nothing.
    """
    try:
        _readable(report)
        return _misfit(intent, report)
    except (ArithmeticError, AttributeError, OSError, TypeError, ValueError) as error:
        return Doubt(f"the answer is no sound report: {type(error).__name__}: {error}"[:300])


def _readable(report: Report) -> None:
    """Raise for anything but a report that the ledger can hold."""
    if not isinstance(report, Report):
        raise TypeError(f"it is a {type(report).__name__}")
    text(report.executed_qty)
    words = [report.exchange_order_id or "", report.code or "", report.message or ""]
    for fill in report.fills:
        for number in (fill.qty, fill.price, fill.quote_qty, fill.fee, fill.fee_quote):
            text(number)
        words += [fill.trade_id, fill.fee_asset, iso(fill.at)]
    "".join(words).encode("utf-8")


def _misfit(intent: Intent, report: Report) -> Doubt | None:
    if report.client_order_id != intent.client_order_id:
        return Doubt(f"the answer names order {report.client_order_id!r}")
    if report.state is OrderState.REJECTED:
        if report.fills or report.executed_qty:
            return Doubt(f"a refusal of an order that executed {report.executed_qty}")
        return None if report.code else Doubt("a refusal without a code")
    if report.side is not intent.side:
        return Doubt(f"the exchange shows a {report.side}, we sent a {intent.side}", contradicts=True)
    if report.executed_qty > intent.qty:
        return Doubt(f"the exchange executed {report.executed_qty}, we sent {intent.qty}", contradicts=True)
    if not report.exchange_order_id:
        return Doubt("the answer has no exchange order id")
    if report.state not in EXECUTED and report.state is not OrderState.OPEN:
        return Doubt(f"an exchange cannot say {report.state}")
    if report.executed_qty < ZERO:
        return Doubt(f"the exchange executed {report.executed_qty}")
    return _unsound(report) or (_unproved(intent, report) if report.state in EXECUTED else None)


def _unsound(report: Report) -> Doubt | None:
    """What is wrong with the fills by themselves, also of an order that is still open."""
    for fill in report.fills:
        if fill.qty <= ZERO or fill.price <= ZERO or fill.quote_qty != mul(fill.qty, fill.price):
            return Doubt(f"fill {fill.trade_id!r}: {fill.qty} at a price of {fill.price} for {fill.quote_qty}")
        if mul(abs(fill.fee_quote), MOST_FEE) > fill.quote_qty:
            return Doubt(f"fill {fill.trade_id!r}: a fee of {fill.fee} {fill.fee_asset} on {fill.quote_qty}")
    if len({fill.trade_id for fill in report.fills}) != len(report.fills):
        return Doubt(f"one trade twice: {', '.join(fill.trade_id for fill in report.fills)}"[:300])
    return None


def _unproved(intent: Intent, report: Report) -> Doubt | None:
    """What is wrong with the fills of an executed order taken together."""
    filled = add(*(fill.qty for fill in report.fills))
    if filled != report.executed_qty or filled <= ZERO:
        return Doubt(f"fills add up to {filled}, executed is {report.executed_qty}")
    if (report.state is OrderState.FILLED) != (filled == intent.qty):
        return Doubt(f"{report.state} with {filled} of {intent.qty}")
    return None


def after_submit(intent: Intent, report: Report) -> Outcome:
    """What the answer to the one submission proves."""
    if found := doubt(intent, report):
        return Outcome(OrderState.UNKNOWN, None, {"doubt": found.reason})
    return Outcome(report.state, report, _evidence(report, "answer"))


def after_find(intent: Intent, found: Report | Absent) -> Outcome | None:
    """What asking about an order proves; None when it proves nothing yet."""
    if isinstance(found, Absent):
        if not found.final:
            return None
        return Outcome(OrderState.ABANDONED, None, {"absent": found.evidence})
    wrong = doubt(intent, found)
    if wrong is None:
        return Outcome(found.state, found, _evidence(found, "found"))
    if wrong.contradicts:
        return Outcome(OrderState.NEEDS_HUMAN, None, {"contradiction": wrong.reason})
    return None


def _evidence(report: Report, how: str) -> dict[str, str | None]:
    evidence: dict[str, str | None] = {"by": how}
    if report.code:
        evidence |= {"code": report.code, "message": report.message}
    return evidence
