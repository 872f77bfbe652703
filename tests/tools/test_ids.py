"""Names and chance: their form, their uniqueness, and that seeded ones repeat."""

from __future__ import annotations

import base64
import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_cli.core.audit import GENESIS
from trader_cli.core.ports import Ids
from trader_cli.tools.ids import SeededIds, SystemIds, new_ledger_id

CLIENT_ORDER_ID = re.compile(r"[a-zA-Z0-9-_]{1,36}", re.ASCII)
"""What Binance takes (fix-api.md)."""
HEAD = "0123456789abcdef" * 4

BOTH: list[Ids] = [SystemIds(), SeededIds("paper|BTC/USDT|7")]
both = pytest.mark.parametrize("ids", BOTH, ids=["system", "seeded"])
heads = st.binary(min_size=32, max_size=32).map(bytes.hex)


@both
@given(n=st.integers(1, 10**12), head=heads | st.just("") | st.just(GENESIS))
def test_a_client_order_id_is_what_every_exchange_takes(ids: Ids, n: int, head: str) -> None:
    name = ids.client_order_id(n, head)
    assert CLIENT_ORDER_ID.fullmatch(name)
    assert re.fullmatch(r"t1-[a-z2-7]{16}-[a-z0-9]{12}", name)


@both
def test_a_trace_id_is_32_hexadecimal_characters(ids: Ids) -> None:
    assert all(re.fullmatch(r"[0-9a-f]{32}", ids.trace_id(n)) for n in range(1, 50))


@both
def test_no_two_orders_and_no_two_traces_share_a_name(ids: Ids) -> None:
    assert len({ids.client_order_id(n, HEAD) for n in range(3000)}) == 3000
    assert len({ids.trace_id(n) for n in range(3000)}) == 3000


# The system's.


def test_a_systems_order_id_is_never_repeated_not_even_at_the_same_place_of_the_ledger() -> None:
    assert len({SystemIds().client_order_id(1, HEAD) for _ in range(1000)}) == 1000
    assert len({SystemIds().trace_id(1) for _ in range(1000)}) == 1000


@given(head=heads)
def test_a_systems_order_id_carries_sixty_bits_of_the_audit_chains_head(head: str) -> None:
    anchor = SystemIds().client_order_id(1, head).rpartition("-")[2]
    assert anchor == base64.b32encode(bytes.fromhex(head)).decode().lower()[:12]


def test_two_heads_that_differ_early_have_different_anchors() -> None:
    one, other = (SystemIds().client_order_id(1, head)[-12:] for head in (HEAD, "f" + HEAD[1:]))
    assert one != other


def test_the_systems_chance_is_not_the_same_twice() -> None:
    assert SystemIds().chance("t").random() != SystemIds().chance("t").random()


# Seeded ones.


@given(seed=st.text(max_size=8), n=st.integers(1, 10**9))
def test_seeded_names_follow_from_seed_and_place_alone(seed: str, n: int) -> None:
    one, other = SeededIds(seed), SeededIds(seed)
    other.trace_id(n + 1)
    assert one.trace_id(n) == other.trace_id(n)
    assert one.client_order_id(n, HEAD) == other.client_order_id(n, GENESIS)
    assert one.chance("t").random() == other.chance("t").random()


def test_another_seed_or_another_place_gives_another_name() -> None:
    one, other = SeededIds("7"), SeededIds("8")
    assert one.trace_id(1) != other.trace_id(1)
    assert one.client_order_id(1, HEAD) != other.client_order_id(1, HEAD)
    assert one.client_order_id(1, HEAD) != one.client_order_id(2, HEAD)
    assert one.chance("a").random() != one.chance("b").random()
    assert one.chance("a").random() != other.chance("a").random()


def test_a_trace_and_an_order_of_one_place_share_nothing() -> None:
    ids = SeededIds("7")
    raw = base64.b32decode(ids.client_order_id(3, HEAD)[3:19].upper())
    assert not ids.trace_id(3).startswith(raw.hex()[:8])


def test_a_ledgers_own_name_is_new_each_time() -> None:
    assert uuid.UUID(new_ledger_id()) != uuid.UUID(new_ledger_id())
