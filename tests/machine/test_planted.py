"""The test of the test: bugs that others have shipped, planted in a desk's objects, are found and shrunk.

What is planted is another exchange or another ledger on the desk; no function of the product is touched.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.machine.house import Plant, Watched
from tests.machine.line import Line
from tests.machine.machine import Machine, run
from trader_cli.core.decimals import ZERO
from trader_cli.core.moments import Moment
from trader_cli.schemas.decision import Review
from trader_cli.schemas.order import Absent, Intent, Order, OrderState, Outcome, Report
from trader_cli.tools.store import Transaction

pytestmark = pytest.mark.untraced

EXAMPLES = 400
STEPS = 10
SHORT = 5
"""A shrunk example has no more steps than these, with `begin`."""


class RowAfterSend(Watched):
    """Writes an order down when its answer is there."""

    def __init__(self, *words: Any) -> None:
        super().__init__(*words)
        self._later: dict[str, tuple[Intent, Review, str | None, str | None]] = {}

    def reserve(self, tx: Transaction, intent: Intent, review: Review, trace_id: str | None, terms: str | None) -> None:
        """Kept in memory."""
        del tx
        self._later[intent.client_order_id] = intent, review, trace_id, terms

    def settle(self, order: Order, outcome: Outcome, at: Moment) -> Order:
        """The row first, then what the answer proves."""
        if (kept := self._later.pop(order.intent.client_order_id, None)) is not None:
            with self.transaction() as tx:
                super().reserve(tx, *kept)
        return super().settle(order, outcome, at)


class Resending(Line):
    """Sends again, with the same id, when no answer came."""

    def submit(self, intent: Intent) -> Report:
        """Once, and once more."""
        try:
            return super().submit(intent)
        except TimeoutError:
            return super().submit(intent)


class TimeoutIsFailure(Line):
    """Takes a lost answer for a refusal."""

    def submit(self, intent: Intent) -> Report:
        """An answer, whatever happened."""
        try:
            return super().submit(intent)
        except TimeoutError as error:
            return Report(
                intent.client_order_id, None, intent.side, OrderState.REJECTED, ZERO, code="-1007", message=str(error)
            )  # fmt: skip


class NotFoundIsUnsent(Line):
    """Takes an order that nobody finds for one that was never sent."""

    def find(self, intent: Intent) -> Report | Absent:
        """Final at once."""
        found = super().find(intent)
        return Absent(final=True, evidence=found.evidence) if isinstance(found, Absent) else found


PLANTED = {
    "row after send": (Plant(ledger=RowAfterSend), "the ledger never had it"),
    "resend with the same id": (Plant(line=Resending), "was (taken|sent) 2 times"),
    "time-out means failed": (Plant(line=TimeoutIsFailure), "is REJECTED in the ledger, and was executed or may be"),
    "not found means unsent": (Plant(line=NotFoundIsUnsent), "is ABANDONED in the ledger, and was executed or may be"),
    "synchronous=NORMAL": (Plant(synchronous="NORMAL"), "the ledger never had it"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found_and_shrunk_to_few_steps(name: str) -> None:
    plant, words = PLANTED[name]
    machine: type[Machine] = type("Planted", (Machine,), {"plant": plant})
    with pytest.raises(AssertionError, match=words):
        run(machine, EXAMPLES, 5, STEPS)
    assert machine.steps <= SHORT
