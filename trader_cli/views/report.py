"""A report of what trading came to: as a screen, as a line of a pipe, as a document, as rows of CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from trader_cli.core.calibration import COIN, LEVEL
from trader_cli.core.decimals import add, sub, text
from trader_cli.core.moments import DAY_MS, iso
from trader_cli.schemas.performance import LEAST_RETURNS, Fall, Money, Performance, Ratio
from trader_cli.views.chart import braille_chart
from trader_cli.views.output import Column, clean

SCHEMA = "trader.report/1"
SHOWN_DAYS = 7
"""How many days a screen shows; all of them are in the CSV, the document and the page."""

DAY_COLUMNS = (
    "ledger", "day", "equity", "deposits", "profit", "realized", "unrealized", "fees", "model_cost_usd", "return",
    "trades",
)  # fmt: skip
"""Of the CSV: a row per day. `profit` is realized and unrealized together; each column of money but equity adds up to
what the whole span came to."""

COLUMNS = (
    Column("ledger"), Column("symbol"), Column("from"), Column("to"), Column("cycles", number=True),
    Column("trades", number=True), Column("deposits", number=True), Column("equity", number=True),
    Column("return", number=True), Column("net_return", number=True), Column("hold", number=True),
    Column("drawdown", number=True), Column("exposure", number=True), Column("sharpe", number=True),
    Column("fees", number=True), Column("model_cost_usd", number=True),
)  # fmt: skip
"""Of a pipe: a line per ledger."""


# --- the document ----------------------------------------------------------------------------


def report_document(found: Sequence[Performance]) -> dict[str, Any]:
    """Everything; every estimate with how many observations it rests on, and with its interval."""
    return {
        "schema": SCHEMA,
        "level": LEVEL,
        "needs_returns": LEAST_RETURNS,
        "ledgers": [_ledger(one) for one in found],
    }


def _ledger(one: Performance) -> dict[str, Any]:
    trips = one.trips
    return {
        "ledger": one.name, "mode": one.mode, "symbol": one.symbol, "timeframe": one.timeframe, "market": one.market,
        "from": _iso(one.began_at), "to": _iso(one.ended_at), "cycles": one.cycles, "trades": one.trades,
        "begun": _money(one.begun), "ended": _money(one.ended), "moved": _money(one.moved), "profit": profit(one.moved),
        "return": one.gained, "net_return": one.net_gained, "drawdown": _fall(one.fall), "exposure": one.exposure,
        "turnover": one.turnover, "slippage_bps": one.slippage_bps, "returns_of": one.returns_of,
        "sharpe": _ratio(one.sharpe), "sortino": _ratio(one.sortino),
        "trips": {
            "n": trips.n, "won": trips.won, "win_rate": _ratio(trips.win_rate), "profit_factor": trips.profit_factor,
            "expectancy": trips.expectancy, "edge_bp": _ratio(trips.edge_bp),
        },
        "calibration": {
            "n": one.calibrated.n, "brier": one.calibrated.brier, "coin": COIN,
            "bins": [dict(zip(("low", "high", "n", "said", "right"), b, strict=True)) for b in one.calibrated.bins],
        },
        "baselines": _baselines(one),
        "days": [
            {"day": day.day, "equity": day.equity, **_money(day.moved, but=("equity",)), "profit": profit(day.moved),
             "return": day.gained, "trades": day.trades}
            for day in one.days
        ],
        "policies": [
            {"policy": p.policy, "purchases": p.purchases, "ended": p.ended, "won": p.won, "profit": p.profit,
             "open_profit": p.open_profit, "fees": p.fees}
            for p in one.policies
        ],
        "models": [
            {"model": m.model, "calls": m.calls, "failed": m.failed, "fallbacks": m.fallbacks,
             "input_tokens": m.input_tokens, "output_tokens": m.output_tokens, "cost_usd": m.cost}
            for m in one.models
        ],
    }  # fmt: skip


def profit(moved: Money) -> Decimal:
    """What was made, sold or not; what models cost is not off it."""
    return add(moved.realized, moved.unrealized)


def _money(money: Money, but: tuple[str, ...] = ()) -> dict[str, Decimal]:
    found = {
        "equity": money.equity, "deposits": money.deposits, "realized": money.realized,
        "unrealized": money.unrealized, "fees": money.fees, "model_cost_usd": money.model_cost,
    }  # fmt: skip
    return {name: amount for name, amount in found.items() if name not in but}


def _fall(fall: Fall) -> dict[str, Any]:
    return {
        "share": fall.share, "peak_at": _iso(fall.peak_at), "low_at": _iso(fall.low_at),
        "under_water_secs": fall.under_water_ms // 1000,
    }  # fmt: skip


def _ratio(ratio: Ratio) -> dict[str, Any]:
    return {"n": ratio.n, "value": ratio.value, "low": ratio.low, "high": ratio.high}


def _baselines(one: Performance) -> dict[str, Any] | None:
    known = one.baselines
    if known is None:
        return None
    coin = known.coin
    return {
        "cash": known.cash,
        "hold": known.hold,
        "hold_return": known.hold_gained,
        "hold_drawdown": _fall(known.hold_fall),
        "coin": None if coin is None else {
            "flips": coin.flips, "beaten": coin.beaten, "first": coin.equity, "median": coin.middle,
            "low": coin.low, "high": coin.high,
        },
    }  # fmt: skip


def _iso(at: int | None) -> str | None:
    return None if at is None else iso(at)


# --- a pipe, and CSV -------------------------------------------------------------------------


def report_row(one: Performance) -> dict[str, Any]:
    """A ledger as a line of a pipe."""
    return {
        "ledger": one.name, "symbol": one.symbol, "from": _iso(one.began_at), "to": _iso(one.ended_at),
        "cycles": one.cycles, "trades": one.trades, "deposits": one.ended.deposits, "equity": one.ended.equity,
        "return": one.gained, "net_return": one.net_gained,
        "hold": one.baselines.hold if one.baselines else None, "drawdown": one.fall.share, "exposure": one.exposure,
        "sharpe": one.sharpe.value, "fees": one.moved.fees, "model_cost_usd": one.moved.model_cost,
    }  # fmt: skip


def day_rows(found: Sequence[Performance]) -> Iterator[dict[str, str | float | int | None]]:
    """The days of all ledgers, for CSV."""
    for one in found:
        for day in one.days:
            yield {
                "ledger": one.name, "day": day.day, "equity": text(day.equity), "deposits": text(day.moved.deposits),
                "profit": text(profit(day.moved)), "realized": text(day.moved.realized),
                "unrealized": text(day.moved.unrealized), "fees": text(day.moved.fees),
                "model_cost_usd": text(day.moved.model_cost), "return": day.gained, "trades": day.trades,
            }  # fmt: skip


# --- the screen ------------------------------------------------------------------------------


def report_lines(one: Performance, width: int, plain: bool) -> Iterator[str]:
    """A ledger on a terminal; `plain` where it cannot show more than ASCII."""
    if one.began_at is None or one.ended_at is None:
        there = (
            "no snapshot in this span" if one.ended.deposits else "no snapshots yet. Make some: trader loop --cycles 12"
        )
        yield f"{clean(one.name)}: {there}"
        return
    days = max(1, round((one.ended_at - one.began_at) / DAY_MS))
    yield (
        f"{clean(one.symbol)} {one.mode}  {_iso(one.began_at)[:10]} to {_iso(one.ended_at)[:10]} ({days} d)  "  # type: ignore[index]
        f"{_many(one.cycles, 'cycle')}, {_many(one.trades, 'trade')}  {clean(one.market)}"
    )
    yield from _worth(one)
    yield from _risk(one)
    yield from _trips(one)
    yield from _chart(one, width, plain)
    yield from _parts(one)


def _worth(one: Performance) -> Iterator[str]:
    known = one.baselines
    start = add(one.begun.equity, one.moved.deposits)
    hold = _percent(known.hold_gained) if known else "-"
    grew = f"{_amount(start)} to {_amount(one.ended.equity)} ({_percent(one.gained)})"
    yield f"equity    {grew}   hold {hold}   cash 0.00 %"
    parts = f"realized {_signed(one.moved.realized)}, unrealized {_signed(one.moved.unrealized)}"
    yield f"          {parts}; fees {_amount(one.moved.fees)} are inside"
    if one.moved.model_cost:
        left = "not defined: the quote is no dollar, or nothing is left"
        if one.net_gained is not None:
            left = f"{_amount(sub(one.ended.equity, one.moved.model_cost))} ({_percent(one.net_gained)})"
        yield f"          less model cost {_amount(one.moved.model_cost)} USD: {left}"
    if known is not None and known.coin is not None:
        coin = known.coin
        yield (
            f"chance    the same deals at other times: {_amount(coin.middle)} "
            f"(90 %: {_amount(coin.low)} to {_amount(coin.high)})"
        )
        yield f"          {coin.beaten:.0%} of {coin.flips} such coin flips did worse"


def _risk(one: Performance) -> Iterator[str]:
    fall = one.fall
    when = f" on {_iso(fall.low_at)[:10]}" if fall.low_at is not None else ""  # type: ignore[index]
    water = f", {fall.under_water_ms / DAY_MS:.1f} d under water" if fall.under_water_ms else ""
    slip = "-" if one.slippage_bps is None else f"{one.slippage_bps:.1f} bp"
    turnover = "-" if one.turnover is None else f"{one.turnover:.1f}x"
    exposure = "-" if one.exposure is None else f"{one.exposure:.0%}"
    yield f"drawdown  {_percent(-fall.share)}{when}{water}"
    yield f"          exposure {exposure}   turnover {turnover}   slippage {slip}"
    yield f"Sharpe    {_estimate(one.sharpe)}   Sortino {_estimate(one.sortino)}"


def _estimate(ratio: Ratio) -> str:
    if ratio.value is None:
        few = f"{ratio.n} daily returns, needs {LEAST_RETURNS}" if ratio.n < LEAST_RETURNS else "not defined"
        return f"- ({few})"
    if ratio.low is None or ratio.high is None:
        return f"{ratio.value:.2f}"
    return f"{ratio.value:.2f} (90 %: {ratio.low:.1f} to {ratio.high:.1f}, n {ratio.n})"


def _trips(one: Performance) -> Iterator[str]:
    trips = one.trips
    if not trips.n:
        yield "trips     no round trip has ended yet"
        return
    rate, edge = trips.win_rate, trips.edge_bp
    factor = "-" if trips.profit_factor is None else f"{trips.profit_factor:.2f}"
    between = "" if rate.low is None or rate.high is None else f" (90 %: {rate.low:.0%} to {rate.high:.0%})"
    yield (
        f"trips     {trips.n} ended, {rate.value or 0.0:.0%} won{between}   profit factor {factor}   "
        f"expectancy {_signed(trips.expectancy or Decimal(0))}"
    )
    if edge.value is not None and edge.low is not None:
        yield f"          {edge.value:+.1f} bp each (90 %: {edge.low:+.1f} to {edge.high or 0.0:+.1f})"
    if one.calibrated.brier is not None:
        yield f"said      Brier {one.calibrated.brier:.3f} (a coin has {COIN:.3f})"
        said = [f"{low:.1f}-{high:.1f} right {right:.0%} of {n}" for low, high, n, _, right in one.calibrated.bins]
        for first in range(0, len(said), 3):
            yield f"          {'   '.join(said[first : first + 3])}"


def _chart(one: Performance, width: int, plain: bool) -> Iterator[str]:
    if len(one.marks) < 2:
        return
    yield ""
    yield from braille_chart(
        ([mark.equity for mark in one.marks], [mark.hold for mark in one.marks]),
        width,
        9,
        at=[mark.at for mark in one.marks],
        span=(one.began_at or 0, one.ended_at or 0),
        ascii_only=plain,
    )
    yield "equity solid, holding dotted"


def _parts(one: Performance) -> Iterator[str]:
    if one.policies:
        yield ""
        yield "by policy (first in, first out)"
        for part in one.policies:
            yield (
                f"  {clean(part.policy or 'nobody'):<14} {_many(part.purchases, 'purchase'):<14} ended {part.ended:<5} "
                f"won {part.won:<5} profit {_signed(part.profit)}   open {_signed(part.open_profit)}   "
                f"fees {_amount(part.fees)}"
            )
    if one.days:
        yield ""
        yield "by day" + (f" (the newest {SHOWN_DAYS} of {len(one.days)})" if len(one.days) > SHOWN_DAYS else "")
        for day in one.days[-SHOWN_DAYS:]:
            yield (
                f"  {day.day}     equity {_amount(day.equity):<12} profit {_signed(profit(day.moved)):<10} "
                f"({_percent(day.gained)})   {_many(day.trades, 'trade')}"
            )
    paid = [part for part in one.models if part.cost]
    if paid:
        yield "by model"
        for model in paid:
            yield (
                f"  {clean(model.model):<14} {_many(model.calls, 'call'):<14} failed {model.failed:<4} "
                f"{model.input_tokens + model.output_tokens} tokens   {_amount(model.cost)} USD"
            )


def _amount(amount: Decimal) -> str:
    """Two digits after the point, more for what would vanish."""
    places = 2 if abs(amount) >= 1 or not amount else min(8, 2 - amount.adjusted())
    said = f"{amount:.{places}f}"
    return said.removeprefix("-") if not said.strip("-0.") else said


def _signed(amount: Decimal) -> str:
    said = _amount(amount)
    return said if said.startswith("-") or not said.strip("0.") else f"+{said}"


def _percent(share: float | None) -> str:
    if share is None:
        return "-"
    said = f"{100 * share:+.2f} %"
    return "0.00 %" if said in ("+0.00 %", "-0.00 %") else said


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
