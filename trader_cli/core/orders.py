"""What an exchange's answer proves about an order. Anything that is not a proof is UNKNOWN."""

from __future__ import annotations

from dataclasses import dataclass

from trader_cli.core.decimals import ZERO
from trader_cli.schemas.order import Absent, Intent, OrderState, Outcome, Report

EXECUTED = frozenset({OrderState.FILLED, OrderState.PARTIAL})


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a report proves nothing; `contradicts` when it shows something else than the intent."""

    reason: str
    contradicts: bool = False


def doubt(intent: Intent, report: Report) -> Doubt | None:
    """What is wrong with a report, if anything: another order's, incomplete, or against the intent."""
    if report.client_order_id != intent.client_order_id:
        return Doubt(f"the answer names order {report.client_order_id!r}")
    if report.state is OrderState.REJECTED:
        return None if report.code else Doubt("a refusal without a code")
    if report.side is not intent.side:
        return Doubt(f"the exchange shows a {report.side}, we sent a {intent.side}", contradicts=True)
    if report.executed_qty > intent.qty:
        return Doubt(f"the exchange executed {report.executed_qty}, we sent {intent.qty}", contradicts=True)
    if not report.exchange_order_id:
        return Doubt("the answer has no exchange order id")
    if report.state not in EXECUTED and report.state is not OrderState.OPEN:
        return Doubt(f"an exchange cannot say {report.state}")
    if report.state in EXECUTED:
        filled = sum((fill.qty for fill in report.fills), ZERO)
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
