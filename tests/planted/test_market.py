"""The planted market itself: its trips are traded where and for what was planted, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from statistics import fmean

import pytest

from tests.desks import COSTS
from tests.fakes import FIVE
from tests.planted.desks import WARMUP, FixedPlan, planted_desk, run
from tests.planted.market import ORIGIN, Edge, PlantedMarket, fill_prices, gross_bp, net_bp, traded_bp
from tests.planted.trials import CALM_BARS, ENTRY, EXIT
from trader_cli.core.candles import examine
from trader_cli.core.moments import iso
from trader_cli.core.regimes import Regime, tuned
from trader_cli.schemas.market import CandleBatch
from trader_cli.tools.memory import all_learnt

pytestmark = pytest.mark.untraced

BLOCKS = 12


def market(seed: int = 7, edge_bp: float = 10.0, spread_bp: float = 40.0, calm_bars: int = CALM_BARS) -> PlantedMarket:
    """One of a constant edge."""
    return PlantedMarket(seed, lambda block: Edge(gross_bp(edge_bp, COSTS), spread_bp), calm_bars)


def windows(source: PlantedMarket, blocks: int) -> Iterator[tuple[int, CandleBatch]]:
    """The window of each bar close of so many blocks."""
    for bar in range(1, blocks * source.size + 1):
        now = ORIGIN + bar * FIVE
        yield now, CandleBatch(source.provenance, source.closed(WARMUP, now))


def test_each_block_is_one_purchase_and_one_sale_at_the_planted_opens() -> None:
    planted = market()
    with planted_desk(planted, lambda ids: FixedPlan("breakout", {"entry": ENTRY, "exit": EXIT}, ids)) as desk:
        run(desk, BLOCKS * planted.size)
        fills = desk.ledger.db.execute(
            "SELECT o.ts_utc, o.side, f.price, f.qty, o.qty FROM fills AS f JOIN orders AS o USING (client_order_id) "
            "ORDER BY f.id"
        ).fetchall()
        outcomes = [one.experiment for one in all_learnt(desk.ledger)]
    expected = []
    for block in range(BLOCKS):
        moments, prices = planted.signals_at(block), fill_prices(*planted.opens(block), COSTS)
        expected += [(iso(at), side, price) for at, side, price in zip(moments, ("BUY", "SELL"), prices, strict=True)]
    assert [(at, side, Decimal(price)) for at, side, price, _, _ in fills] == expected
    assert all(filled == wanted for *_, filled, wanted in fills)
    for block, (one, bought) in enumerate(zip(outcomes, fills[::2], strict=True)):
        exact = traded_bp(*planted.opens(block), Decimal(bought[3]), COSTS)
        assert one.share == 1.0
        assert one.net_bp == float(exact.quantize(Decimal("0.000001"))), f"block {block}"


def test_the_closed_form_is_what_is_traded_but_for_ticks_and_the_digits_of_fees() -> None:
    planted = market()
    for block in range(200):
        gross = gross_bp(10.0, COSTS) + 40.0 * planted.deviation(block)
        exact = traded_bp(*planted.opens(block), Decimal("0.00990000"), COSTS)
        assert float(exact) == pytest.approx(net_bp(gross, COSTS), abs=0.02)


def test_nothing_costs_less_than_the_round_trip_and_the_formulas_undo_each_other() -> None:
    assert net_bp(0.0, COSTS) == pytest.approx(10_000 * (0.999**2 * 0.99975 / 1.00025 - 1))
    assert net_bp(0.0, COSTS) == pytest.approx(-24.979, abs=0.001)
    assert gross_bp(net_bp(123.0, COSTS), COSTS) == pytest.approx(123.0)
    middle = net_bp((gross_bp(-60.0, COSTS) + gross_bp(90.0, COSTS)) / 2, COSTS)
    assert middle == pytest.approx(15.0), "linear, so that it holds of means"


def test_the_deviations_are_even_so_that_the_mean_stays_the_planted_one() -> None:
    drawn = [market(seed).deviation(block) for seed in range(40) for block in range(100)]
    assert fmean(drawn) == pytest.approx(0.0, abs=3 / len(drawn) ** 0.5)
    assert fmean(one * one for one in drawn) == pytest.approx(0.954, abs=0.06)  # 1, less what the cut takes


@pytest.mark.parametrize("calm_bars", [CALM_BARS, 50])
@pytest.mark.parametrize("edge_bp", [60.0, -120.0])
def test_no_check_of_the_market_finds_a_fault_in_it(edge_bp: float, calm_bars: int) -> None:
    for now, batch in windows(market(3, edge_bp, 30.0, calm_bars), 4):
        assert examine(batch, FIVE, now, WARMUP).defects == ()


@pytest.mark.parametrize("policy_id", ["rsi_reversion", "ma_trend"])
def test_no_other_policy_ever_trades_in_it(policy_id: str) -> None:
    """Where one of them signals at all, the move it expects does not pay a round trip."""
    planted = market(3, 60.0, 30.0, 50)
    params = {name: int(value) for name, value in tuned(policy_id, Regime.RANGE).items()}
    with planted_desk(planted, lambda ids: FixedPlan(policy_id, params, ids)) as desk:
        run(desk, 6 * planted.size)
        assert desk.ledger.db.execute("SELECT count(*) FROM orders").fetchone() == (0,)


def test_a_bar_is_the_same_however_it_is_asked_for() -> None:
    now = ORIGIN + 40 * FIVE
    late, early = market(), market()
    late.closed(5, now + 100 * FIVE)
    assert late.closed(WARMUP, now) == early.closed(WARMUP, now) == early.closed(WARMUP, now)
    assert early.closed(WARMUP, now) != market(8).closed(WARMUP, now)
    following = early.next_open(now)
    assert following is not None
    assert following == early.closed(1, now + FIVE)[0]
    assert early.next_open(now - 1) == following
    assert all(later.opened_at - bar.opened_at == FIVE for bar, later in pairwise(early.closed(WARMUP, now)))
