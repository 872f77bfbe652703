"""Whatever happens in whatever order: never a second order, never one that nobody knows of, never above the cap."""

from __future__ import annotations

import os
import random

import pytest

from tests.machine.machine import Machine, run

pytestmark = pytest.mark.untraced

EXAMPLES = 100
SOAK = 10_000


class Lasting(Machine):
    """An account whose orders stay."""


class Wiped(Machine):
    """An account that is wiped now and then."""

    testnet = True


@pytest.mark.parametrize("machine", [Lasting, Wiped])
def test_no_order_of_events_makes_a_second_order_or_one_that_the_ledger_does_not_know(machine: type[Machine]) -> None:
    run(machine, EXAMPLES, int(os.environ.get("MACHINE_SEED", "5")))


@pytest.mark.soak
@pytest.mark.timeout(14_400)
@pytest.mark.parametrize("machine", [Lasting, Wiped])
def test_no_order_of_events_in_ten_thousand_examples_does(machine: type[Machine]) -> None:
    run(machine, SOAK, int(os.environ.get("MACHINE_SEED", random.randrange(2**32))))
