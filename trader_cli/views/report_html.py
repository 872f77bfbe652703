"""What trading came to, as one page that needs nothing else: no script, no font, no picture from anywhere.

All text of a ledger is a stranger's: it reaches the page only as `Markup`, which `_text` makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trader_cli.core.calibration import COIN, ENOUGH
from trader_cli.core.decimals import add, sub
from trader_cli.core.moments import DAY_MS, iso
from trader_cli.schemas.performance import DAYS_A_YEAR, LEAST_RETURNS, Baselines, Day, Fall, Money, Performance, Ratio
from trader_cli.views.html import (
    NONE,
    PAGE_STYLE,
    SPACE,
    WIDTHS,
    Markup,
    amount,
    badge,
    box,
    card,
    colored,
    gain,
    number,
    percent,
    profit,
    safe,
    stamp,
    table,
)  # fmt: skip
from trader_cli.views.svg import STYLE, coin_svg, performance_svg

_OPEN_DAYS = 31
"""So many days are shown at once; more of them are folded."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_FOOTNOTE = (
    "Equity is cash and position at the market's mark. Realized profit is of sales at average cost; fees and slippage "
    "are inside every figure of profit, what models cost only where it says so.",
    "Return is time-weighted: money that came in or went out is no gain and no loss. Holding buys once with all of it, "
    "at the same costs. A coin flip makes the same deals in the same order, at times that chance chose.",
    f"Intervals hold 90{SPACE}% of what the data allows: Wilson's for shares, Student's t for means, a stationary "
    f"bootstrap for the ratios of daily returns. A ratio of fewer than {LEAST_RETURNS} returns is not shown, it would "
    f"be noise. Ratios are scaled to a year of {DAYS_A_YEAR} days.",
)


def report_page(performances: Sequence[Performance], made_at: str) -> Iterator[str]:
    """One page, piece by piece: a table that compares the ledgers if there are several, then each of them."""
    count = len(performances)
    title = performances[0].symbol if count == 1 else f"{count} ledgers"
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Performance of {safe(title)}</title>\n<style>{PAGE_STYLE}{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<header><h1>Performance</h1><p class="soft">made {safe(made_at)}</p></header>\n'
    )
    if count > 1:
        yield box("Side by side", _side_by_side(performances))
    for place, one in enumerate(performances, 1):
        yield f'<section id="ledger-{place}">\n'
        yield from _section(one)
        yield "</section>\n"
    if not performances:
        yield "<p>There is no ledger to tell of.</p>\n"
    if any(one.ended_at is not None for one in performances):
        yield f"<footer>{''.join(f'<p>{words}</p>' for words in _FOOTNOTE)}</footer>\n"
    yield "</main>\n</body>\n</html>\n"


def _lasting(millis: int) -> str:
    for name, unit in (("day", DAY_MS), ("hour", DAY_MS // 24)):
        if millis >= 2 * unit:
            return _count(round(millis / unit), name)
    return _count(round(millis / 60_000), "minute")


def _count(count: int, name: str) -> str:
    return f"{count:,} {name}{'s' * (count != 1)}"


def _quote(one: Performance) -> str:
    return one.symbol.partition("/")[2].partition(":")[0] or "the quote"


def _side_by_side(performances: Sequence[Performance]) -> Markup:
    heads = ("Ledger", "Mode", "Until", "Equity", "Return", "After models", "Hold", "Deepest fall")
    rows = [
        (
            Markup(f'<a href="#ledger-{place}">{safe(one.name)}</a><br>{safe(one.symbol)}'),
            badge(one.mode),
            NONE if one.ended_at is None else Markup(iso(one.ended_at)[:10]),
            *(
                (NONE,) * 5
                if one.ended_at is None
                else (
                    amount(one.ended.equity),
                    gain(one.gained),
                    gain(one.net_gained),
                    gain(_held(one.baselines)),
                    percent(-one.fall.share),
                )
            ),
            _sharpe_words(one.sharpe),
            Markup(f"{one.trades:,}"),
        )
        for place, one in enumerate(performances, 1)
    ]
    return table((*heads, "Sharpe", "Trades"), rows, names=3)


def _section(one: Performance) -> Iterator[str]:
    """A ledger: its headline, and below what there is to tell."""
    facts = [f"bars of {one.timeframe}", f"market {one.market}", f"ledger {one.name}"]
    yield f'<div class="head"><h2>{safe(one.symbol)}</h2>{badge(one.mode)}</div>'
    if one.began_at is None or one.ended_at is None:
        yield f'<p class="soft facts">{safe(" · ".join(facts))}</p>'
        yield '<p class="said">This ledger has no snapshots in the span asked for: there is no equity to tell of.</p>\n'
        return
    lasted = [_lasting(one.ended_at - one.began_at)] if one.ended_at > one.began_at else []
    facts = [*lasted, *facts, _count(one.cycles, "cycle"), _count(one.trades, "trade")]
    yield f'<p class="soft facts">{stamp(one.began_at)} to {stamp(one.ended_at)} UTC · {safe(" · ".join(facts))}</p>'
    yield f'<p class="said">{_said(one)}</p>\n<dl class="cards">{"".join(_cards(one))}</dl>\n'
    charts = "".join(f'<div class="{kind}">{performance_svg(one, width)}</div>' for kind, width in WIDTHS)
    left_out = f"{one.deals_left_out:,} more deals are not drawn. " if one.deals_left_out else ""
    caption = f"{left_out}In {safe(_quote(one))}; times are UTC."
    yield f'<figure class="box">{charts}<figcaption>{caption}</figcaption></figure>\n'
    yield from _instead(one)
    yield from _days(one.days)
    yield from _policies(one)
    yield from _models(one)
    yield _calibration(one)


def _said(one: Performance) -> Markup:
    """What it came to, in one sentence."""
    said = f"Return {gain(one.gained)}"
    if (held := _held(one.baselines)) is not None:
        said += f", where holding made {gain(held)}"
    if one.baselines and one.baselines.coin:
        said += f" and {percent(one.baselines.coin.beaten, signed=False, digits=0)} of coin flips ended lower"
    return Markup(said + ".")


def _held(baselines: Baselines | None) -> float | None:
    """The return of holding."""
    return None if baselines is None else baselines.hold_gained


def _cards(one: Performance) -> Iterator[Markup]:
    """The key figures, each with what is needed to believe it."""
    moved, base, quote = one.moved, one.baselines, safe(_quote(one))
    start = add(one.begun.equity, one.moved.deposits)
    yield card("Equity", amount(one.ended.equity), f"from {amount(start)}, in {quote}")
    yield card("Return", gain(one.gained), "time-weighted, fees inside")
    yield card("Profit", profit(sub(moved.equity, moved.deposits)), _profit_note(moved))
    held = _held(base)
    lost = f"deepest fall {percent(-base.hold_fall.share)}" if base and held is not None else "no price is known"
    yield card("Buy and hold", gain(held), lost)
    yield card("Cash", amount(base.cash) if base else NONE, "equity of doing nothing" if base else "not known")
    cost = f"models cost ${amount(moved.model_cost)}"
    net = cost if one.net_gained is not None else f"not defined: {quote} is no dollar, or nothing is left; {cost}"
    yield card("After models", gain(one.net_gained), net)
    yield card("Deepest fall", percent(-one.fall.share), _fall_note(one.fall))
    yield card("Exposure", percent(one.exposure, signed=False), "of equity in the position, on average")
    yield card("Turnover", _times(one.turnover), "bought and sold, by mean equity")
    slipped = "against us, fill to mark" if one.slippage_bps is not None else "nothing was filled"
    yield card("Slippage", f"{number(one.slippage_bps, 1)} bp" if one.slippage_bps is not None else NONE, slipped)
    yield card("Sharpe", _sharpe_words(one.sharpe), _ratio_note(one.sharpe, one.returns_of))
    yield card("Sortino", _sharpe_words(one.sortino), _ratio_note(one.sortino, one.returns_of))
    yield from _trip_cards(one)


def _profit_note(moved: Money) -> str:
    note = f"realized {amount(moved.realized, signed=True)}, open {amount(moved.unrealized, signed=True)}"
    return f"{note}; fees of {amount(moved.fees)} inside"


def _fall_note(fall: Fall) -> str:
    if fall.peak_at is None or fall.low_at is None:
        return "equity never fell"
    days = f"{iso(fall.peak_at)[:10]} to {iso(fall.low_at)[:10]}"
    return f"{days}; below a peak for {_lasting(fall.under_water_ms)} at most"


def _times(value: float | None) -> Markup:
    return NONE if value is None else Markup(f"{number(value)}{SPACE}\N{MULTIPLICATION SIGN}")


def _sharpe_words(ratio: Ratio) -> Markup:
    return number(ratio.value, signed=True)


def _ratio_note(ratio: Ratio, returns_of: str) -> str:
    returns = "daily returns" if returns_of == "1d" else f"returns of {safe(returns_of)}"
    if ratio.value is None:
        few = ratio.n < LEAST_RETURNS
        return (
            f"not enough data: {ratio.n} of {LEAST_RETURNS} {returns}" if few else f"not defined; {ratio.n} {returns}"
        )
    return f"{_interval(ratio)}{ratio.n:,} {returns}, a year"


def _interval(ratio: Ratio, form: str = "") -> str:
    """`90 %: low to high; `, where there is one; a `form` of `%` is in percent, one of `bp` has a decimal less."""
    if ratio.low is None or ratio.high is None:
        return ""
    ends = (ratio.low, ratio.high)
    if form == "%":
        low, high = (percent(end, signed=False, digits=0) for end in ends)
    else:
        low, high = (number(end, 1 if form == "bp" else 2, signed=True) for end in ends)
    return f"90{SPACE}%: {low} to {high}; "


def _trip_cards(one: Performance) -> Iterator[Markup]:
    trips, quote = one.trips, safe(_quote(one))
    if not trips.n:
        yield card("Round trips", "0", "none ended")
        return
    won = percent(trips.win_rate.value, signed=False, digits=0)
    yield card("Round trips won", won, f"{_interval(trips.win_rate, '%')}{trips.won:,} of {trips.n:,}")
    edge = NONE if trips.edge_bp.value is None else f"{number(trips.edge_bp.value, 1, signed=True)} bp"
    yield card("Edge of a trip", edge, f"{_interval(trips.edge_bp, 'bp')}{trips.edge_bp.n:,} trips, after all costs")
    factor = number(trips.profit_factor) if trips.profit_factor is not None else NONE
    mean = f"mean {amount(trips.expectancy, signed=True)} {quote} a trip"
    yield card("Profit factor", factor, mean if trips.profit_factor is not None else f"no loss yet; {mean}")


def _instead(one: Performance) -> Iterator[Markup]:
    """What chance would have done."""
    if one.baselines is None or one.baselines.coin is None:
        return
    coin = one.baselines.coin
    words = amount(coin.low), amount(coin.high), f"this ledger {amount(one.ended.equity)}"
    charts = "".join(
        f'<div class="{kind}">{coin_svg(coin, one.ended.equity, words, width)}</div>' for kind, width in WIDTHS
    )
    share = percent(coin.beaten, signed=False, digits=0)
    yield box(
        "What chance would have done",
        charts,
        f'<p class="note">Of {coin.flips:,} coin flips {share} ended below this ledger. Their median is '
        f"{amount(coin.middle)} {safe(_quote(one))}, the band holds 90{SPACE}% of them. "
        f"Near {percent(0.5, signed=False, digits=0)} a run is no better than luck.</p>",
    )


def _days(days: Sequence[Day]) -> Iterator[Markup]:
    if not days:
        return
    heads = ("Day (UTC)", "Profit", "Return", "Equity", "Put in", "Fees", "Models, $", "Trades")
    rows = [
        (
            safe(one.day),
            profit(sub(one.moved.equity, one.moved.deposits)),
            gain(one.gained),
            amount(one.equity),
            amount(one.moved.deposits, signed=True),
            amount(one.moved.fees),
            amount(one.moved.model_cost),
            Markup(f"{one.trades:,}"),
        )
        for one in reversed(days)
    ]
    shown = " open" if len(days) <= _OPEN_DAYS else ""
    listed = table(heads, rows)
    yield Markup(f'<details class="box"{shown}><summary>Day by day ({len(days):,})</summary>{listed}</details>\n')


def _policies(one: Performance) -> Iterator[Markup]:
    if not one.policies:
        return
    heads = ("Policy", "Purchases", "Ended", "Won", "Profit", "Open", "Fees")
    rows = [
        (
            safe(each.policy) if each.policy is not None else Markup("no decision of this ledger"),
            Markup(f"{each.purchases:,}"),
            Markup(f"{each.ended:,}"),
            Markup(f"{each.won:,}"),
            profit(each.profit),
            profit(each.open_profit),
            amount(each.fees),
        )
        for each in one.policies
    ]
    words = "first in first out, after fees; a fee stands with the policy its order was for"
    note = f'<p class="note">In {safe(_quote(one))}, {words}.</p>'
    yield box("By policy", table(heads, rows), note)


def _models(one: Performance) -> Iterator[Markup]:
    if not one.models:
        return
    heads = ("Model", "Calls", "Failed", "Not usable", "Tokens in", "Tokens out", "Cost, $")
    rows = [
        (
            safe(each.model),
            *(
                Markup(f"{count:,}")
                for count in (each.calls, each.failed, each.fallbacks, each.input_tokens, each.output_tokens)
            ),
            amount(each.cost),
        )
        for each in one.models
    ]
    yield box("By model", table(heads, rows))


def _calibration(one: Performance) -> Markup:
    """Whether confidence was worth what it said."""
    found = one.calibrated
    if found.n < ENOUGH or found.brier is None:
        few = f"{found.n} outcomes with a stated confidence: not enough to say, needs {ENOUGH}."
        return box("Confidence", f'<p class="note">{few}</p>')
    rows = [
        (
            Markup(f"{number(low)} to {number(high)}"),
            Markup(f"{n:,}"),
            percent(said, signed=False, digits=0),
            percent(right, signed=False, digits=0),
            colored(number((right - said) * 100, 0, signed=True), right - said),
        )
        for low, high, n, said, right in found.bins
    ]
    verdict = "better" if found.brier < COIN else "no better"
    note = (
        f'<p class="note">Brier score {number(found.brier, 3)} over {found.n:,} outcomes: {verdict} than a coin that '
        f"always says one half ({COIN:.3f}). Lower is better, and 0 is perfect.</p>"
    )
    heads = ("Confidence", "Outcomes", "Said on average", "Came right", "Difference, points")
    return box("Confidence, and how it stood up", table(heads, rows), note)
