"""The law: every rule at its edge, what binds a SELL, and what holds whatever the case."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_CEILING, Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.desks import COSTS, LIMITS
from tests.fakes import BTC, FIVE, NOW, PRICE, bars
from trader_cli.core import accounting
from trader_cli.core.decimals import MONEY, ZERO, add, floor_to, mul, percent, sub, text
from trader_cli.core.limits import (
    SINCE_SECOND,
    Case,
    in_force,
    margin_pct,
    reserve,
    review,
    sellable,
    sellable_after,
    smallest_cap,
    smallest_qty,
)
from trader_cli.core.posteriors import posterior
from trader_cli.core.regimes import FIT_BP, Regime
from trader_cli.schemas.book import Book
from trader_cli.schemas.decision import Review, Ruling
from trader_cli.schemas.market import Defect, Market, Observation, Window
from trader_cli.schemas.planner import Plan, Strategy
from trader_cli.schemas.situation import History, Limits, Situation, TradingState
from trader_cli.schemas.trader import Proposal
from trader_cli.tools.exchanges.paper_rules import rules
from trader_cli.tools.strategy import compute_indicators

D = Decimal

NAMES = (
    "action",
    "state",
    "mode",
    "policy",
    "data",
    "provenance",
    "single_order",
    "verdict_age",
    "drift",
    "confidence",
    "orders_per_day",
    "orders_per_hour",
    "cooldown",
    "streak",
    "daily_loss",
    "drawdown",
    "step",
    "max_qty",
    "position",
    "funds",
    "deposit_cap",
    "order_cap",
    "minimum",
)
"""Every rule of DESIGN §8, in the order of a verdict."""

EXEMPT = {
    "policy",
    "confidence",
    "orders_per_day",
    "orders_per_hour",
    "cooldown",
    "streak",
    "daily_loss",
    "drawdown",
    "funds",
    "deposit_cap",
    "order_cap",
}
"""What does not bind a SELL, besides REDUCE."""

WINDOW = Window("recorded:fake.csv", FIVE, bars(), (), PRICE, 0)
FEATURES = compute_indicators(WINDOW)
HELD = Book(deposits=D(1000), quote=D(900), base=D("0.002"), cost=D(100))
FLAT = Book(deposits=D(1000), quote=D(1000))


NO_CAP: dict[str, Any] = {"deposit_cap": None}


def case(action: str = "BUY", qty: str = "0.001", **changes: Any) -> Case:
    """A case that the law lets through whole; `changes` name a field of any record that makes it up."""

    def of(kind: Any, base: Any) -> Any:
        known = {name: changes.pop(name) for name in list(changes) if name in kind.__dataclass_fields__}
        return replace(base, **known)

    window = of(Window, WINDOW)
    seen = Observation(1, "t", changes.pop("seen_at", NOW), window, FEATURES, *changes.pop("account", (None, None)))
    book = changes.pop("book", HELD if action == "SELL" else FLAT)
    limits, market = of(Limits, LIMITS), of(Market, BTC)
    history = of(History, History(0, None, None, None))
    situation = Situation(
        at=changes.pop("at", NOW),
        timeframe_ms=FIVE,
        market=market,
        costs=COSTS,
        limits=limits,
        observation=seen,
        book=book,
        owner=None,
        state=changes.pop("state", TradingState.RUN),
        stop_cause=None,
        open_orders=changes.pop("open_orders", ()),
        reserved=changes.pop("reserved", ZERO),
        history=history,
        posteriors=tuple(posterior(policy_id, None, fit) for policy_id, fit in FIT_BP[Regime.RANGE].items()),
    )
    plan = Plan(changes.pop("mode", "TRADE"), 0.1, 300, (Strategy("ma_trend", {}), Strategy("cash", {})))
    proposal = Proposal(
        action, D(qty), changes.pop("policy_id", "ma_trend"), "it moves", changes.pop("confidence", 0.9)
    )
    now = changes.pop("now_at", PRICE)
    return Case(situation, plan, proposal, now, changes.pop("was_at", now), **changes)


def ruling(of: Review, name: str) -> Ruling:
    return next(one for one in of.rulings if one.name == name)


# The list.


@pytest.mark.parametrize("action", ["BUY", "SELL"])
def test_a_verdict_lists_every_rule_once_with_its_limit_and_what_it_found(action: str) -> None:
    law = review(case(action, "0.001"))
    assert tuple(one.name for one in law.rulings) == NAMES
    assert all(one.limit and one.value for one in law.rulings)


def test_on_a_hold_the_law_says_only_that_there_is_no_order() -> None:
    law = review(case("HOLD", "0"))
    assert [(one.name, one.ok, one.value) for one in law.rulings] == [("action", False, "HOLD")]
    assert law.allowed == 0


@pytest.mark.parametrize("action", ["BUY", "SELL"])
def test_a_lawful_order_passes_every_rule_whole(action: str) -> None:
    law = review(case(action))
    assert (law.allowed, law.price, law.violations, law.refusal) == (D("0.001"), PRICE, (), None)
    assert all(one.ok and one.before == one.after == D("0.001") for one in law.rulings)


def test_every_rule_is_still_listed_when_many_refuse_at_once() -> None:
    law = review(case(state=TradingState.HALT, mode="OBSERVE", confidence=0.0, open_orders=("t1-1",)))
    assert tuple(one.name for one in law.rulings) == NAMES
    assert law.violations == ("state", "mode", "single_order", "confidence", "minimum")
    assert law.refusal == ruling(law, "state")
    assert law.allowed == ZERO


def test_hold_is_not_an_order_whatever_its_quantity() -> None:
    law = review(case("HOLD", "0.5"))
    assert law.allowed == ZERO
    assert not ruling(law, "action").ok


# Gates: all or nothing.

TIRED: dict[str, Any] = {"max_losing_streak": 3, "max_rejected_streak": 2, "streak_cooldown_ms": 3_600_000}


def lately(*minutes: int) -> tuple[int, ...]:
    """Moments so many minutes before NOW, oldest first."""
    return tuple(NOW - one * 60_000 for one in reversed(minutes))


GATES: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("state", "BUY", {"state": TradingState.RUN}, {"state": TradingState.REDUCE}),
    ("state", "BUY", {"state": TradingState.RUN}, {"state": TradingState.HALT}),
    ("state", "SELL", {"state": TradingState.REDUCE}, {"state": TradingState.HALT}),
    ("mode", "BUY", {"mode": "TRADE"}, {"mode": "OBSERVE"}),
    ("mode", "SELL", {"mode": "TRADE"}, {"mode": "OBSERVE"}),
    ("policy", "BUY", {"policy_id": "cash"}, {"policy_id": "breakout"}),
    ("single_order", "BUY", {"open_orders": ()}, {"open_orders": ("t1-7",)}),
    ("single_order", "SELL", {"open_orders": ()}, {"open_orders": ("t1-7",)}),
    ("confidence", "BUY", {"confidence": 0.5}, {"confidence": 0.4999}),
    ("orders_per_day", "BUY", {"orders_today": 19}, {"orders_today": 20}),
    (
        "cooldown",
        "BUY",
        {"cooldown_ms": 60_000, "last_order_at": NOW - 60_000},
        {"cooldown_ms": 60_000, "last_order_at": NOW - 59_999},
    ),
    (
        "daily_loss",
        "BUY",
        {"daily_loss": D(10), "day_equity": D("1009.99")},
        {"daily_loss": D(10), "day_equity": D(1010)},
    ),
    ("drawdown", "BUY", {"peak_equity": D("1249.99"), **NO_CAP}, {"peak_equity": D(1250), **NO_CAP}),
    (
        "orders_per_hour",
        "BUY",
        {"max_orders_per_hour": 10, "orders_last_hour": 9},
        {"max_orders_per_hour": 10, "orders_last_hour": 10},
    ),
    ("streak", "BUY", TIRED | {"losses": lately(1, 2)}, TIRED | {"losses": lately(1, 2, 3)}),
    ("streak", "BUY", TIRED | {"refusals": lately(1)}, TIRED | {"refusals": lately(1, 2)}),
    ("streak", "BUY", TIRED | {"losses": lately(60, 61, 62)}, TIRED | {"losses": lately(59, 61, 62)}),
    ("streak", "BUY", TIRED | {"losses": lately(1, 2, 70, 71, 72)}, TIRED | {"losses": lately(1, 2, 3, 70, 71, 72)}),
]
GATES.append(("data", "BUY", {}, {"defects": (Defect("gap", "3 bars missing"),)}))
for _action in ("BUY", "SELL"):
    GATES += [
        ("data", _action, {"age_ms": 2 * FIVE}, {"age_ms": 2 * FIVE + 1}),
        ("data", _action, {"age_ms": FIVE, "at": NOW + FIVE}, {"age_ms": FIVE, "at": NOW + FIVE + 1}),
        ("data", _action, {}, {"age_ms": None, "price": None, "candles": ()}),
        (
            "provenance",
            _action,
            {"live_only": True, "source": "live:binance"},
            {"live_only": True, "source": "recorded:x"},
        ),
        ("provenance", _action, {"source": "simulated:7"}, {"live_only": True, "source": "simulated:7"}),
        ("provenance", _action, {"source": "recorded:x"}, {"live_only": True, "source": "alive:x"}),
        ("verdict_age", _action, {"verdict_age_ms": 120_000}, {"verdict_age_ms": 120_001}),
        ("verdict_age", _action, {"verdict_age_ms": 0}, {"verdict_age_ms": -1}),
        ("drift", _action, {"now_at": D(50_250), "was_at": D(50_000)}, {"now_at": D("50250.01"), "was_at": D(50_000)}),
        ("drift", _action, {"now_at": D(49_750), "was_at": D(50_000)}, {"now_at": D("49749.99"), "was_at": D(50_000)}),
    ]


@pytest.mark.parametrize(("rule", "action", "inside", "outside"), GATES)
def test_a_gate_lets_all_through_up_to_its_edge_and_nothing_beyond(
    rule: str, action: str, inside: dict[str, Any], outside: dict[str, Any]
) -> None:
    law = review(case(action, **inside))
    assert (ruling(law, rule).ok, ruling(law, rule).after) == (True, D("0.001"))
    assert law.violations == ()
    assert law.allowed == D("0.001")
    law = review(case(action, **outside))
    assert (ruling(law, rule).ok, ruling(law, rule).before, ruling(law, rule).after) == (False, D("0.001"), ZERO)
    assert law.violations == (rule, "minimum")
    assert law.allowed == ZERO


def test_a_gate_says_what_it_demands_and_what_it_found() -> None:
    law = review(case(confidence=0.25, orders_today=20, verdict_age_ms=150_000, age_ms=700_000, policy_id="breakout"))
    said = {one.name: (one.limit, one.value) for one in law.rulings}
    assert said["confidence"] == ("at least 0.5", "0.25")
    assert said["orders_per_day"] == ("at most 20", "20 so far")
    assert said["verdict_age"] == ("at most 120 s", "150 s")
    assert said["data"] == ("at most 600 s old", "700 s")
    assert said["policy"] == ("ma_trend, cash", "breakout")
    law = review(case(was_at=D(40_000), defects=(Defect("gap", "3 bars missing"),)))
    said = {one.name: (one.limit, one.value) for one in law.rulings}
    assert said["drift"] == ("within 0.5 % of 40000", "50000")
    assert said["data"] == ("no defects", "gap: 3 bars missing")


@pytest.mark.parametrize("missing", [{"day_equity": None}, {"daily_loss": None, "day_equity": D(9999)}])
def test_without_a_limit_or_an_opening_equity_there_is_no_daily_loss(missing: dict[str, Any]) -> None:
    assert ruling(review(case(**{"daily_loss": D(10)} | missing)), "daily_loss").ok


@pytest.mark.parametrize("peak", [None, ZERO, D(-1)])
def test_without_a_peak_there_is_no_drawdown(peak: Decimal | None) -> None:
    assert ruling(review(case(peak_equity=peak)), "drawdown").ok


def test_a_gain_is_no_loss_and_no_fall() -> None:
    law = review(case(daily_loss=D(10), day_equity=D(900), peak_equity=D(900)))
    assert (ruling(law, "daily_loss").value, ruling(law, "drawdown").value) == ("0", "0")
    assert law.violations == ()


def test_losses_are_reckoned_at_the_price_the_decision_saw() -> None:
    held = replace(HELD, base=D("0.002"), quote=D(900))
    args: dict[str, Any] = {"book": held, "daily_loss": D(10), "day_equity": D(1010), "max_drift_pct": D(50)}
    assert not ruling(review(case(was_at=D(50_000), now_at=D(60_000), **args)), "daily_loss").ok
    assert ruling(review(case(was_at=D(50_001), now_at=D(40_000), **args)), "daily_loss").ok


def test_a_cooldown_without_any_order_before_is_over() -> None:
    law = review(case(cooldown_ms=60_000, last_order_at=None))
    assert (ruling(law, "cooldown").ok, ruling(law, "cooldown").value) == (True, "no order yet")


# Sizes: they lower.

WORST = D("1.00525") * D("1.001")
"""What one unit costs at worst, as a multiple of the price: tolerated drift, half the spread, slippage; fee."""

SIZES: list[tuple[str, str, str, dict[str, Any], dict[str, Any], str]] = [
    ("max_qty", "BUY", "0.001", {"max_qty": D("0.001")}, {"max_qty": D("0.00099")}, "0.00099"),
    ("max_qty", "SELL", "0.001", {"max_qty": D("0.001")}, {"max_qty": D("0.00099")}, "0.00099"),
    (
        "position",
        "SELL",
        "0.001",
        {"book": replace(HELD, base=D("0.001"))},
        {"book": replace(HELD, base=D("0.00099999"))},
        "0.00099",
    ),
    (
        "funds",
        "BUY",
        "0.001",
        {"book": replace(FLAT, quote=D("50.3127625"), deposits=D("50.3127625"))},
        {"book": replace(FLAT, quote=D("50.31276249"), deposits=D("50.31276249"))},
        "0.00099",
    ),
    ("funds", "BUY", "0.001", {"reserved": D("949.6872375")}, {"reserved": D("949.68723751")}, "0.00099"),
    ("deposit_cap", "BUY", "0.001", {"deposit_cap": D("50.3127625")}, {"deposit_cap": D("50.31276249")}, "0.00099"),
    (
        "deposit_cap",
        "BUY",
        "0.001",
        {"deposit_cap": D("100"), "reserved": D("49.6872375")},
        {"deposit_cap": D("100"), "reserved": D("49.68723751")},
        "0.00099",
    ),
    ("order_cap", "BUY", "0.001", {"max_order": D("50.3127625")}, {"max_order": D("50.31276249")}, "0.00099"),
]


@pytest.mark.parametrize(("rule", "action", "qty", "inside", "outside", "left"), SIZES)
def test_a_size_lets_all_through_up_to_its_edge_and_lowers_beyond_it(
    rule: str, action: str, qty: str, inside: dict[str, Any], outside: dict[str, Any], left: str
) -> None:
    inside = {"deposit_cap": None} | inside
    law = review(case(action, qty, **inside))
    assert (ruling(law, rule).ok, law.allowed, law.violations) == (True, D(qty), ())
    law = review(case(action, qty, **{"deposit_cap": None} | outside))
    one = ruling(law, rule)
    assert (one.ok, one.before) == (False, D(qty))
    assert floor_to(one.after, BTC.step) == D(left)
    assert law.violations == (rule,)
    assert law.allowed == D(left)
    assert law.refusal is None


@pytest.mark.parametrize("action", ["BUY", "SELL"])
def test_a_quantity_off_the_step_is_rounded_towards_zero(action: str) -> None:
    law = review(case(action, "0.001019999"))
    one = ruling(law, "step")
    assert (one.ok, one.after, one.limit, one.value) == (False, D("0.00101"), "multiples of 0.00001", "0.00102")
    assert (law.allowed, law.violations) == (D("0.00101"), ("step",))
    assert ruling(review(case(action, "0.00101")), "step").ok


def test_of_many_sizes_the_smallest_rules() -> None:
    law = review(case("BUY", "5", max_order=D(60), deposit_cap=D(55), book=replace(FLAT, deposits=D(52), quote=D(52))))
    assert law.violations == ("funds", "deposit_cap", "order_cap")
    assert law.allowed == D("0.00103")
    assert reserve(case(), D("0.00103")) <= D(52) < reserve(case(), D("0.00104"))


def test_without_a_cap_or_an_order_cap_only_funds_bound_a_buy() -> None:
    law = review(case("BUY", "5", deposit_cap=None, max_order=None))
    assert law.violations == ("funds",)
    assert (ruling(law, "deposit_cap").limit, ruling(law, "order_cap").limit) == ("not in force", "none")


def test_nothing_is_left_of_a_buy_when_open_orders_reserve_everything() -> None:
    law = review(case(reserved=D(2000)))
    assert ruling(law, "funds").after == ZERO
    assert law.refusal == ruling(law, "funds")


# The deposit cap.


def test_the_cap_counts_what_the_position_has_cost() -> None:
    book = Book(deposits=D(1000), quote=D(960), base=D("0.001"), cost=D(50), realized=D(10))
    law = review(case("BUY", "0.001", deposit_cap=D(100), book=book))
    assert ruling(law, "deposit_cap").value == "50 used + 50.3127625 asked"
    assert law.allowed == D("0.00099")


def test_the_cap_counts_net_cash_in_where_losses_made_it_larger_than_the_cost() -> None:
    book = Book(deposits=D(1000), quote=D(930), base=D("0.001"), cost=D(50), realized=D(-20))
    law = review(case("BUY", "0.001", deposit_cap=D(100), book=book, max_drawdown_pct=D(100)))
    assert ruling(law, "deposit_cap").value == "70 used + 50.3127625 asked"
    assert law.allowed == D("0.00059")


def test_the_cap_does_not_grow_by_profits() -> None:
    book = Book(deposits=D(1000), quote=D(1200), realized=D(200))
    law = review(case("BUY", "0.002", deposit_cap=D(100), book=book))
    assert ruling(law, "deposit_cap").value == "0 used + 100.625525 asked"
    assert law.allowed == D("0.00198")


def test_the_cap_counts_open_reservations_and_this_order_with_its_fee_at_the_worst_price() -> None:
    book = Book(deposits=D(1000), quote=D(950), base=D("0.001"), cost=D(50))
    exact = add(D(50), D(30), reserve(case(), D("0.001")))
    assert reserve(case(), D("0.001")) == D("0.001") * PRICE * WORST
    assert review(case(deposit_cap=exact, reserved=D(30), book=book)).violations == ()
    assert review(case(deposit_cap=exact - D("0.00000001"), reserved=D(30), book=book)).violations == ("deposit_cap",)


def test_a_cap_that_is_used_up_lets_nothing_through() -> None:
    book = Book(deposits=D(1000), quote=D(400), base=D("0.012"), cost=D(600))
    law = review(case(book=book))
    assert (ruling(law, "deposit_cap").after, law.allowed) == (ZERO, ZERO)
    assert law.refusal == ruling(law, "deposit_cap")


# The least order.


def test_a_sale_is_tried_at_the_least_notional_without_the_margin_a_buy_needs() -> None:
    assert review(case("SELL", "0.0001")).allowed == D("0.0001")
    law = review(case("SELL", "0.00009"))
    assert (law.allowed, law.violations) == (ZERO, ("minimum",))
    assert ruling(law, "minimum").value == "0.00009 = 4.5 USDT"
    assert review(case("BUY", "0.0001")).allowed == ZERO


def test_a_buy_must_be_sellable_again_after_its_fee() -> None:
    assert review(case("BUY", "0.00012")).allowed == D("0.00012")
    law = review(case("BUY", "0.00011"))
    assert (law.allowed, law.violations) == (ZERO, ("minimum",))
    # What was bought alone is 0.00010989; a crumb that is held already makes it sellable.
    crumb = replace(FLAT, base=D("0.00000011"))
    assert review(case("BUY", "0.00011", book=crumb)).allowed == D("0.00011")
    assert review(case("BUY", "0.00011", book=replace(FLAT, base=D("0.0000001")))).allowed == ZERO


@pytest.mark.parametrize(
    ("held", "enough"), [("0.00011", True), ("0.00010999", False), ("0.0001", False), ("0", False), ("-1", False)]
)
def test_less_than_an_order_is_dust(held: str, enough: bool) -> None:
    assert sellable(BTC, PRICE, D(held)) is enough


def test_nothing_is_dust_even_where_nothing_is_the_least_order() -> None:
    free = replace(BTC, min_qty=ZERO, min_notional=ZERO)
    assert sellable(free, PRICE, D("0.00001"))
    assert not sellable(free, PRICE, D("0.000009"))


def test_a_position_does_not_make_a_buy_below_the_least_order_lawful() -> None:
    assert review(case("BUY", "0.0001", book=HELD)).allowed == ZERO


@pytest.mark.parametrize("action", ["BUY", "SELL"])
def test_an_order_of_nothing_is_too_small_even_where_nothing_is_the_least(action: str) -> None:
    law = review(case(action, ceiling=ZERO, min_qty=ZERO, min_notional=ZERO, book=HELD))
    assert (law.allowed, law.violations) == (ZERO, ("minimum",))


@pytest.mark.parametrize(("action", "least"), [("BUY", "0.002"), ("SELL", "0.001")])
def test_the_least_quantity_binds_by_itself(action: str, least: str) -> None:
    market = {
        "min_qty": D("0.001"),
        "min_notional": ZERO,
        "step": D("0.001"),
        "book": replace(HELD, base=ZERO),
        **NO_CAP,
    }
    if action == "SELL":
        market["book"] = HELD
    assert review(case(action, least, **market)).allowed == D(least)
    assert review(case(action, str(D(least) - D("0.001")), **market)).allowed == ZERO


@pytest.mark.parametrize(
    ("action", "lowering", "rule"),
    [
        ("BUY", {"max_order": D("6")}, "order_cap"),
        ("BUY", {"deposit_cap": D("6")}, "deposit_cap"),
        ("BUY", {"book": replace(FLAT, quote=D("6"), deposits=D(6))}, "funds"),
        ("SELL", {"book": replace(HELD, base=D("0.00009999"))}, "position"),
        ("SELL", {"max_qty": D("0.00009")}, "max_qty"),
    ],
)
def test_what_has_become_too_small_by_lowering_is_refused(action: str, lowering: dict[str, Any], rule: str) -> None:
    law = review(case(action, "0.001", **lowering))
    assert law.allowed == ZERO
    assert law.violations == (rule, "minimum")
    one = ruling(law, "minimum")
    assert (one.before > ZERO, one.after) == (True, ZERO)


# A SELL is never trapped.

TIGHT: dict[str, Any] = {
    "confidence": 0.0,
    "min_confidence": 1.0,
    "orders_today": 99,
    "cooldown_ms": 600_000,
    "last_order_at": NOW,
    "max_orders_per_hour": 1,
    "orders_last_hour": 1,
    "max_losing_streak": 1,
    "losses": (NOW,),
    "streak_cooldown_ms": 600_000,
    "daily_loss": D(1),
    "day_equity": D(5000),
    "peak_equity": D(5000),
    "deposit_cap": D(1),
    "max_order": D(1),
    "reserved": D(5000),
    "state": TradingState.REDUCE,
}
"""Everything a SELL is exempt from, at its worst."""


def test_a_sell_is_exempt_from_exactly_what_the_design_says() -> None:
    law = review(case("SELL", **TIGHT))
    assert (law.allowed, law.violations) == (D("0.001"), ())
    assert {one.name for one in law.rulings if one.limit == "not for a SELL"} == EXEMPT
    assert set(review(case("BUY", **TIGHT)).violations) == {*EXEMPT, "state", "minimum"} - {"policy"}


@pytest.mark.parametrize(
    "binding",
    [
        {"state": TradingState.HALT},
        {"mode": "OBSERVE"},
        {"age_ms": 2 * FIVE + 1},
        {"live_only": True},
        {"open_orders": ("t1-1",)},
        {"verdict_age_ms": 120_001},
        {"was_at": D(40_000)},
        {"book": replace(HELD, base=ZERO)},
        {"min_notional": D(51)},
    ],
)
def test_an_exempt_sell_is_still_bound_by_the_rest(binding: dict[str, Any]) -> None:
    assert review(case("SELL", **TIGHT | binding)).allowed == ZERO


def test_a_sell_of_more_than_is_held_is_a_sell_of_what_is_held() -> None:
    law = review(case("SELL", "1"))
    assert (law.allowed, law.violations) == (D("0.002"), ("position",))


def test_a_sell_reserves_nothing() -> None:
    assert reserve(case("SELL"), D(1)) == ZERO
    assert case("SELL").worst_price == PRICE


def test_an_old_hole_in_the_window_does_not_hold_a_sell_back_but_a_price_nobody_can_believe_does() -> None:
    newest = bars()[-1].opened_at
    assert review(case("SELL", defects=(Defect("gap", "3 bars missing"),))).allowed == D("0.001")
    for kind in ("absurd", "more", "unavailable"):
        assert review(case("SELL", defects=(Defect(kind, "unheard of", newest),))).violations == ("data", "minimum")


# A person who flattens.

STOPPED: dict[str, Any] = {"state": TradingState.HALT, "mode": "OBSERVE", "policy_id": "breakout"}


def test_an_operators_sale_passes_a_stop_the_plan_and_its_policies() -> None:
    law = review(case("SELL", operator=True, **TIGHT | STOPPED))
    assert (law.allowed, law.violations) == (D("0.001"), ())
    assert review(case("SELL", operator=False, **TIGHT | STOPPED)).violations == ("state", "mode", "minimum")


@pytest.mark.parametrize(
    "binding",
    [
        {"age_ms": 2 * FIVE + 1},
        {"live_only": True},
        {"open_orders": ("t1-1",)},
        {"verdict_age_ms": 120_001},
        {"was_at": D(40_000)},
        {"book": replace(HELD, base=ZERO)},
        {"min_notional": D(51)},
    ],
)
def test_an_operators_sale_is_bound_by_everything_else_that_binds_a_sell(binding: dict[str, Any]) -> None:
    assert review(case("SELL", operator=True, **STOPPED | binding)).allowed == ZERO


def test_an_operator_buys_nothing_that_a_model_could_not() -> None:
    assert review(case("BUY", operator=True, **TIGHT | STOPPED)) == review(case("BUY", **TIGHT | STOPPED))


@pytest.mark.parametrize("kept", TradingState)
@pytest.mark.parametrize("asked", TradingState)
def test_the_stricter_state_is_in_force_with_its_own_cause(kept: TradingState, asked: TradingState) -> None:
    state, cause = in_force((kept, "kept"), (asked, "asked"))
    assert state is max(kept, asked)
    if state is TradingState.RUN:
        assert cause is None
    else:
        assert cause == ("asked" if asked >= kept else "kept")


# What a verdict left: the ceiling.


@pytest.mark.parametrize(
    ("ceiling", "left"), [("0.0005", "0.0005"), ("0.001", "0.001"), ("0.002", "0.001"), ("0", "0")]
)
@pytest.mark.parametrize("action", ["BUY", "SELL"])
def test_a_ceiling_lowers_and_never_raises(action: str, ceiling: str, left: str) -> None:
    law = review(case(action, "0.001", ceiling=D(ceiling)))
    assert law.allowed == D(left)
    assert all(one.before <= D("0.001") for one in law.rulings)


# The smallest that makes sense.


def test_a_cap_of_five_cannot_hold_one_round_trip_of_bitcoin() -> None:
    assert smallest_cap(BTC, PRICE, LIMITS.max_drift_pct) == D(7)
    for qty in ("0.00009", "0.0001", "0.00011", "1"):
        assert review(case("BUY", qty, deposit_cap=D(5))).allowed == ZERO
    assert review(case("BUY", "1", deposit_cap=D(7))).allowed == D("0.00013")


@given(cents=st.integers(100_00, 2_000_000_00))
def test_a_cap_of_five_holds_no_round_trip_at_any_price_of_bitcoin(cents: int) -> None:
    price = D(cents) / 100
    assert smallest_cap(BTC, price, LIMITS.max_drift_pct) > D(5)
    assert review(case("BUY", "1", deposit_cap=D(5), now_at=price)).allowed == ZERO


def whole(number: int, places: int) -> Decimal:
    return D(number).scaleb(-places)


sound_markets = st.builds(
    lambda step, least, notional, fee: replace(
        BTC, step=step, min_qty=step * least, min_notional=notional, fee_pct=fee, max_qty=D(10) ** 12
    ),
    st.sampled_from([D("1e-8"), D("0.00001"), D("0.001"), D("0.25"), D("0.3"), D(1), D(1000)]),
    st.integers(0, 50),
    st.builds(whole, st.integers(0, 10_000), st.just(2)),
    st.builds(whole, st.integers(0, 5000), st.just(3)),
)
prices = st.builds(whole, st.integers(1, 10**13), st.integers(0, 10))
"""From a ten-billionth to ten trillions."""

relaxed = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


@relaxed
@given(market=sound_markets, price=prices, held=st.builds(whole, st.integers(0, 10**6), st.just(8)))
def test_the_smallest_quantity_can_be_bought_and_sold_again_and_one_step_less_cannot(
    market: Market, price: Decimal, held: Decimal
) -> None:
    qty = smallest_qty(market, price, held)
    assert sellable_after(market, price, qty, held)
    assert floor_to(qty, market.step) == qty
    less = sub(qty, market.step)
    assert less <= ZERO or not sellable_after(market, price, less, held)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("price", ["0.00001", "0.00000001"])
def test_the_smallest_quantity_of_a_coin_worth_next_to_nothing_is_found_at_once(price: str) -> None:
    market = rules("PEPE/USDT", D("0.1"))
    qty = smallest_qty(market, D(price))
    assert sellable_after(market, D(price), qty, ZERO)
    assert not sellable_after(market, D(price), qty - market.step, ZERO)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("changes", [{"fee_pct": D(100)}, {"fee_pct": D(250)}, {"step": ZERO}])
def test_no_market_makes_the_search_for_the_smallest_quantity_endless(changes: dict[str, Any]) -> None:
    market = replace(BTC, **changes)
    qty = smallest_qty(market, PRICE)
    assert qty == market.max_qty if market.fee_pct >= 100 else qty > ZERO


@pytest.mark.parametrize("price", [ZERO, D(-1)])
def test_without_a_price_no_quantity_is_small_enough(price: Decimal) -> None:
    assert smallest_qty(BTC, price) == BTC.max_qty


@relaxed
@given(
    market=sound_markets,
    price=prices,
    drift=st.builds(whole, st.integers(0, 500), st.just(2)),
)
def test_the_smallest_cap_lets_a_round_trip_through_and_one_less_does_not(
    market: Market, price: Decimal, drift: Decimal
) -> None:
    rich = Book(deposits=D(10) ** 17, quote=D(10) ** 17)
    fields = ("step", "tick", "min_qty", "max_qty", "min_notional", "fee_pct")
    made: dict[str, Any] = {name: getattr(market, name) for name in fields}
    made |= {"book": rich, "now_at": price, "max_drift_pct": drift}
    cap = smallest_cap(market, price, margin_pct(case(**made).situation.limits, case(**made).situation.costs))
    assume(ZERO < cap < D(10) ** 17)
    allowed = review(case("BUY", "999999999999", deposit_cap=cap, **made)).allowed
    assume(smallest_qty(market, price) <= D(999_999_999_999))
    assert allowed > ZERO
    assert sellable_after(market, price, allowed, ZERO)
    assert review(case("BUY", "999999999999", deposit_cap=cap - 1, **made)).allowed == ZERO


# Whatever the case.

amounts = st.one_of(
    st.sampled_from(
        [ZERO, D("1e-18"), D("1e-8"), D("0.00001"), D(1), D(5), D(1000), D("999999999999.999999999999999999")]
    ),
    st.builds(whole, st.integers(0, 10**12), st.integers(0, 18)),
    st.builds(whole, st.integers(0, 10**35), st.just(18)),
)
quantities = st.one_of(
    st.sampled_from(["0", "0.00001", "0.00011", "0.001", "1", "999999999999", "0.000000000000000001"]),
    st.builds(lambda n, places: text(whole(n, places)), st.integers(0, 10**12 - 1), st.integers(0, 18)),
)
percents = st.builds(whole, st.integers(0, 10_000), st.just(2))


STEPS = st.sampled_from([D("1e-18"), D("1e-8"), D("0.00001"), D("0.3"), D(1), D(1000)])

WILD: dict[str, st.SearchStrategy[Any]] = {
    "was_at": amounts,
    "verdict_age_ms": st.integers(-1, 200_000),
    "ceiling": amounts,
    "confidence": st.sampled_from([0.0, 0.5, 1.0]),
    "mode": st.sampled_from(["TRADE", "OBSERVE"]),
    "state": st.sampled_from(TradingState),
    "reserved": amounts,
    "open_orders": st.sampled_from([(), ("t1-1",)]),
    "step": STEPS,
    "min_qty": amounts,
    "max_qty": amounts,
    "min_notional": amounts,
    "fee_pct": percents,
    "deposit_cap": st.none() | amounts,
    "max_order": st.none() | amounts,
    "daily_loss": st.none() | amounts,
    "max_drawdown_pct": percents,
    "max_drift_pct": percents,
    "day_equity": st.none() | amounts,
    "peak_equity": st.none() | amounts,
    "last_order_at": st.none() | st.integers(NOW - 10**9, NOW + 10**6),
    "cooldown_ms": st.integers(0, 10**9),
    "orders_today": st.integers(0, 30),
    "age_ms": st.none() | st.integers(0, 10**7),
    "book": st.builds(
        Book,
        deposits=amounts,
        quote=st.one_of(amounts, amounts.map(lambda value: -value)),
        base=amounts,
        cost=amounts,
    ),
}
"""What ledger, settings and exchange could make up, sensible or not."""


@st.composite
def cases(draw: st.DrawFn, steps: st.SearchStrategy[Decimal] | None = None) -> Case:
    """A sensible order of which up to three facts are anything at all, so that many cases pass and all rules bite."""
    odd = draw(st.sets(st.sampled_from(sorted(WILD)), max_size=3))
    facts = {name: draw(WILD[name]) for name in sorted(odd)}
    if steps is not None:
        facts["step"] = draw(steps)
    action = draw(st.sampled_from(["BUY", "BUY", "SELL", "SELL", "HOLD"]))
    qty = draw(st.sampled_from(["0.001", "0.0012345", "0.00011", "1"]) | quantities)
    price = draw(st.one_of([st.just(PRICE)] * 7 + [st.sampled_from([D("50000.01"), D("0.00001")]), amounts]))
    return case(action, qty, now_at=price, **facts)


@relaxed
@given(one=cases())
def test_whatever_the_case_no_more_is_allowed_than_was_asked_is_held_is_free_and_fits_the_cap(one: Case) -> None:
    law = review(one)
    market, book, limits = one.situation.market, one.situation.book, one.situation.limits
    assert ZERO <= law.allowed <= one.asked <= one.proposal.qty
    assert law.allowed <= market.max_qty or law.allowed == ZERO
    assert floor_to(law.allowed, market.step) == law.allowed
    if law.allowed == ZERO:
        return
    assert all(ruled.after > ZERO for ruled in law.rulings)
    assert one.proposal.action in ("BUY", "SELL")
    if one.proposal.action == "SELL":
        assert law.allowed <= book.base
        return
    notional = mul(law.allowed, one.worst_price)
    cost = add(notional, percent(notional, market.fee_pct))
    used = add(max(book.cost, accounting.net_cash_in(book), ZERO), one.situation.reserved)
    assert cost <= sub(book.quote, one.situation.reserved)
    assert limits.max_order is None or cost <= limits.max_order
    assert limits.deposit_cap is None or add(used, cost) <= limits.deposit_cap
    assert sellable_after(market, one.price, law.allowed, book.base)


@relaxed
@given(one=cases())
def test_whatever_the_case_the_laws_word_can_be_written_down(one: Case) -> None:
    law = review(one)
    for value in (law.allowed, *(value for ruled in law.rulings for value in (ruled.before, ruled.after))):
        assert text(value)


@relaxed
@given(one=cases(steps=st.just(ZERO)))
def test_an_exchange_without_a_step_breaks_nothing(one: Case) -> None:
    law = review(one)
    assert ZERO <= law.allowed <= one.asked
    for value in (law.allowed, *(value for ruled in law.rulings for value in (ruled.before, ruled.after))):
        assert text(value)


TIGHTER: dict[str, st.SearchStrategy[Any]] = {
    "deposit_cap": st.tuples(amounts, st.none() | amounts),
    "max_order": st.tuples(amounts, st.none() | amounts),
    "daily_loss": st.tuples(amounts, st.none() | amounts),
    "max_drawdown_pct": st.tuples(percents, percents),
    "max_orders_per_day": st.tuples(st.integers(0, 30), st.integers(0, 30)),
    "verdict_max_age_ms": st.tuples(st.integers(0, 200_000), st.integers(0, 200_000)),
    "max_age_ms": st.tuples(st.integers(0, 10**7), st.integers(0, 10**7)),
}
"""Limits that bind more the lower they are. (`max_drift_pct` is also the margin of the worst price: see below.)"""


@relaxed
@given(one=cases(), data=st.data(), name=st.sampled_from([*TIGHTER, "cooldown_ms", "min_confidence", "live_only"]))
def test_lowering_a_limit_never_raises_what_is_allowed(one: Case, data: st.DataObject, name: str) -> None:
    if name == "live_only":
        loose: object = False
        tight: object = True
    elif name in ("cooldown_ms", "min_confidence"):
        loose, tight = sorted(
            data.draw(st.tuples(*[st.integers(0, 10**9) if name == "cooldown_ms" else st.floats(0, 1)] * 2))
        )
    else:
        pair = data.draw(TIGHTER[name])
        loose, tight = (pair[1], pair[0]) if pair[1] is None else (max(pair), min(pair))
    assert review(limited(one, **{name: tight})).allowed <= review(limited(one, **{name: loose})).allowed


def limited(one: Case, **changes: Any) -> Case:
    return replace(one, situation=replace(one.situation, limits=replace(one.situation.limits, **changes)))


def test_a_tighter_drift_closes_its_gate_sooner_and_reserves_less_behind_it() -> None:
    assert review(case("BUY", "1", max_drift_pct=ZERO)).allowed > review(case("BUY", "1")).allowed
    assert review(case("BUY", "1", max_drift_pct=ZERO, now_at=D("50000.01"), was_at=D(50_000))).allowed == ZERO


@relaxed
@given(one=cases(), less=amounts)
def test_asking_under_a_lower_ceiling_never_gets_more(one: Case, less: Decimal) -> None:
    lower = replace(one, ceiling=min(less, one.asked))
    assert review(lower).allowed <= review(one).allowed


@relaxed
@given(one=cases())
def test_the_law_says_the_same_of_what_it_allowed(one: Case) -> None:
    """Law again after the law: `execute` asks whether all of what was approved is still allowed."""
    law = review(one)
    again = review(replace(one, ceiling=law.allowed))
    assert again.allowed == law.allowed
    assert law.allowed == ZERO or again.violations == ()


def test_the_reserve_is_never_reckoned_too_small() -> None:
    one = case(now_at=D("0.00001234"), fee_pct=D("0.075"))
    exact = MONEY.multiply(D("0.00001234") * D("1.00525") * D("1.00075"), D(400_000))
    assert reserve(one, D(400_000)) >= exact
    assert reserve(one, D(400_000)) == reserve(one, D(400_000)).quantize(D("1e-8"), rounding=ROUND_CEILING)


# What the account was seen to hold.


def test_what_the_account_lacks_is_neither_spent_nor_sold() -> None:
    law = review(case("BUY", "0.001", account=(D("20"), ZERO), deposit_cap=None))
    assert (law.violations, law.allowed) == (("funds",), D("0.00039"))
    assert ruling(law, "funds").limit == "20 free"
    law = review(case("SELL", "0.002", account=(ZERO, D("0.0015"))))
    assert (law.violations, law.allowed) == (("position",), D("0.0015"))


def test_what_the_account_holds_beyond_our_book_is_not_ours() -> None:
    rich = (D(10) ** 9, D(10) ** 9)
    assert review(case("BUY", "0.001", account=rich, book=Book(D(20), D(20)))).allowed == D("0.00039")
    assert review(case("SELL", "1", account=rich)).allowed == HELD.base


def test_reservations_come_off_what_the_account_was_seen_to_hold() -> None:
    law = review(case("BUY", "0.001", account=(D(60), ZERO), reserved=D(40)))
    assert ruling(law, "funds").limit == "20 free"


# The first edition, in which ledgers of its time were judged.


def test_the_first_edition_knows_no_streaks_no_hour_no_account_and_the_larger_margin() -> None:
    first: dict[str, Any] = {"edition": 1, "account": (ZERO, ZERO), "max_orders_per_hour": 1, "orders_last_hour": 9}
    law = review(case(**first, **TIRED, losses=lately(1, 2, 3)))
    assert tuple(one.name for one in law.rulings) == tuple(one for one in NAMES if one not in SINCE_SECOND)
    assert (law.allowed, law.violations) == (D("0.001"), ())
    assert case(edition=1).worst_price == PRICE * D("1.005")
    assert case().worst_price == PRICE * D("1.00525")
    assert margin_pct(replace(LIMITS, max_drift_pct=ZERO, edition=1), COSTS) == D("0.025")


def test_a_streak_says_what_stands_in_a_row_and_how_long_ago_the_last_was() -> None:
    law = review(case(**TIRED, losses=lately(1, 2, 3), refusals=lately(90)))
    one = ruling(law, "streak")
    assert one.limit == "3600 s after 3 or 2 in a row"
    assert one.value == "3 sales at a loss, the last 60 s ago; 1 refused orders"
    assert ruling(review(case(losses=lately(1, 2, 3))), "streak").limit == "none"
