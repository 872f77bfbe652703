"""What models may cost: the worst of each call is held back in the ledger before it is made, until it is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from trader_cli.core.decimals import ZERO, add, brief, sub, text
from trader_cli.core.pricing import cost, most_input_tokens, worst_case
from trader_cli.schemas.model import Price
from trader_cli.schemas.question import Question, Usage
from trader_cli.tools.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a model's tokens are reckoned at: nothing without a price.

    `known` is False where the table has no price: then `price` is the dearest there is, or none on this machine.
    """

    price: Price | None
    known: bool


@dataclass(frozen=True, slots=True)
class Held:
    """What is held back for one call: its row, and the most it may cost in USD."""

    reserve_id: int
    amount: Decimal


PER_RUN = "--max-cost"
"""What the limit of a run is called, where it is why a model was not asked."""


class OverBudgetError(Exception):
    """The call may cost more than is left; says what was spent of what."""


class Purse:
    """The budgets there are: of a UTC day on the wall, of this run. Both count what may have been billed."""

    def __init__(
        self, ledger: Ledger, per_day: Decimal | None, per_run: Decimal | None = None, elsewhere: Decimal | None = None
    ) -> None:
        """`elsewhere`: what the day's budget had lost before this run, where its calls are written down nowhere."""
        self._ledger = ledger
        self._elsewhere = elsewhere
        self._per_day = per_day
        self._per_run = per_run
        self._run = ZERO

    def hold_back(self, question: Question, model: str, tariff: Tariff, body_bytes: int) -> Held:
        """Reserve a call's worst cost. Raises OverBudgetError, and nothing is written then."""
        amount = ZERO
        if tariff.price is not None:
            amount = worst_case(tariff.price, most_input_tokens(body_bytes), question.max_output_tokens)
        if self._elsewhere is None:
            today = self._ledger.spent_on(self._ledger.wall())
        else:
            today = add(self._elsewhere, self._run)
        for spent, limit, name in (
            (today, self._per_day, "MODEL_BUDGET_USD_PER_DAY"),
            (self._run, self._per_run, PER_RUN),
        ):
            if limit is not None and amount > ZERO and add(spent, amount) > limit:
                raise OverBudgetError(
                    f"{name} is {text(limit)} USD: {brief(spent)} spent or held back, this answer may cost "
                    f"{brief(amount)}"
                )
        reserve_id = self._ledger.hold_back(question, model, amount)
        self._run = add(self._run, amount)
        return Held(reserve_id, amount)

    def settle(self, held: Held, tariff: Tariff, usage: Usage, billed: bool | None) -> Usage:
        """A call's tokens with their cost: nothing where it was not `billed`, all that was held where nobody knows."""
        price = tariff.price
        exact = None if price is None else cost(price, usage)
        spent, basis = (held.amount, "worst case") if exact is None else (exact, "usage")
        if billed is False:
            spent, basis = ZERO, "not billed"
        elif not tariff.known:
            basis = "unpriced"
        self._run = add(self._run, sub(spent, held.amount))
        kept = None if price is None else _kept(price)
        return replace(usage, cost_usd=spent, cost_basis=basis, price=kept)


def _kept(price: Price) -> dict[str, str]:
    parts = {"input": price.input, "cached": price.cached, "output": price.output, "cache_write": price.cache_write}
    return {name: text(amount) for name, amount in parts.items() if amount is not None}
