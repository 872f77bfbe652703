"""What trading came to, as one page that needs nothing else: no script, no font, no picture from anywhere.

All text of a ledger is a stranger's: it reaches the page only as `Markup`, which `_text` makes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from html import escape
from typing import NewType

from trader_cli.core.calibration import COIN, ENOUGH
from trader_cli.core.decimals import MONEY, add, sub
from trader_cli.core.moments import DAY_MS, Moment, iso
from trader_cli.schemas.performance import DAYS_A_YEAR, LEAST_RETURNS, Baselines, Day, Fall, Money, Performance, Ratio
from trader_cli.views.output import clean
from trader_cli.views.svg import STYLE, coin_svg, performance_svg

Markup = NewType("Markup", str)
"""Text that may stand on a page as it is."""

NONE = Markup("\N{EN DASH}")
"""What stands where there is no figure."""
_MINUS = "\N{MINUS SIGN}"
_SPACE = "\N{NARROW NO-BREAK SPACE}"
_BADGES = {"paper": "PAPER", "testnet": "TESTNET", "real": "REAL"}
_OPEN_DAYS = 31
"""So many days are shown at once; more of them are folded."""
_LONG = 13
"""A figure of more characters than this is written smaller."""
_WIDTHS = (("wide", 960), ("slim", 400))
"""A chart is drawn for each width of screen, so that its words stay legible."""

_PAGE_STYLE = """
:root{color-scheme:light dark;--page:#f6f6f3;--card:#fff;--ink:#16191d;--soft:#59616a;--rule:#e3e4e1;--equity:#1557c0;
--hold:#8b6a1c;--up:#12734a;--down:#b3301f;--paper:#33557a;--testnet:#7a4b00;--real:#a3180f}
@media screen and (prefers-color-scheme:dark){:root{--page:#101316;--card:#181c20;--ink:#e9ebed;--soft:#a3abb3;
--rule:#2b3136;--equity:#7db4ff;--hold:#d6b35c;--up:#5dcf9b;--down:#ff8f80;--paper:#a9c8ea;--testnet:#f0c06a;
--real:#ff9d92}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);line-height:1.5;
font-family:system-ui,-apple-system,"Segoe UI",sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1060px;margin:0 auto;padding:28px 20px 48px}h1{font-size:1.05rem;margin:0;font-weight:600}
h2{font-size:1.7rem;line-height:1.2;margin:0;overflow-wrap:anywhere}h3{font-size:1rem;margin:0 0 10px}p{margin:0}
.soft,figcaption,caption,footer,.note{color:var(--soft);font-size:.86rem}a{color:var(--equity)}
section{margin-top:30px}.head{display:flex;gap:12px;align-items:center;flex-wrap:wrap}
.badge{border:1.5px solid currentColor;border-radius:6px;padding:1px 9px;font-size:.78rem;font-weight:700;
letter-spacing:.07em}.paper{color:var(--paper)}.testnet{color:var(--testnet)}.real{color:var(--real)}
.said{font-size:1.06rem;margin-top:10px}.facts{overflow-wrap:anywhere;margin-top:4px}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(196px,1fr));gap:10px;margin:18px 0 12px}
.card,.box{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:12px 14px}
.box{padding:16px;margin:12px 0 0}.card dt{color:var(--soft);font-size:.82rem}.card dd{margin:0}
.card .figure{font-size:1.28rem;font-weight:650;line-height:1.35;overflow-wrap:anywhere}
.card .long{font-size:.9rem}.up{color:var(--up)}
.down{color:var(--down)}figure{margin:0}.slim{display:none!important}.scroll{overflow-x:auto;
background:linear-gradient(to left,var(--card) 40%,transparent) right/48px 100% no-repeat local,
linear-gradient(to left,var(--rule),transparent) right/18px 100% no-repeat scroll}
table{border-collapse:collapse;width:100%;font-size:.88rem}th,td{padding:5px 10px;text-align:left;white-space:nowrap;
border-bottom:1px solid var(--rule)}th{color:var(--soft);font-weight:500}tr:last-child td{border-bottom:0}
th:first-child,td:first-child{padding-left:0}th:last-child,td:last-child{padding-right:0}
.number{text-align:right}.name:first-child{white-space:normal;overflow-wrap:anywhere;min-width:10.5em}
summary{cursor:pointer;font-weight:600}details[open] summary{margin-bottom:10px}.box .note{margin-top:10px}
footer{margin-top:30px;max-width:75ch}footer p{margin-top:6px}
@media(max-width:620px){main{padding:18px 12px 32px}.wide{display:none!important}.slim{display:block!important}
.cards{grid-template-columns:repeat(2,minmax(0,1fr));gap:8px}.card{padding:10px 11px}.card .figure{font-size:1.08rem}
.card .long{font-size:.86rem}.box{padding:12px 11px}h2{font-size:1.4rem}}
@media print{:root{--page:#fff}main{max-width:none;padding:0}.card,.box,tr{break-inside:avoid}.scroll{overflow:visible}
.box:has(table){break-inside:auto}section+section{break-before:page}.wide{display:block!important}
.slim{display:none!important}}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_FOOTNOTE = (
    "Equity is cash and position at the market's mark. Realized profit is of sales at average cost; fees and slippage "
    "are inside every figure of profit, what models cost only where it says so.",
    "Return is time-weighted: money that came in or went out is no gain and no loss. Holding buys once with all of it, "
    "at the same costs. A coin flip makes the same deals in the same order, at times that chance chose.",
    f"Intervals hold 90{_SPACE}% of what the data allows: Wilson's for shares, Student's t for means, a stationary "
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
        f"<title>Performance of {_text(title)}</title>\n<style>{_PAGE_STYLE}{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<header><h1>Performance</h1><p class="soft">made {_text(made_at)}</p></header>\n'
    )
    if count > 1:
        yield _box("Side by side", _side_by_side(performances))
    for number, one in enumerate(performances, 1):
        yield f'<section id="ledger-{number}">\n'
        yield from _section(one)
        yield "</section>\n"
    if not performances:
        yield "<p>There is no ledger to tell of.</p>\n"
    if any(one.ended_at is not None for one in performances):
        yield f"<footer>{''.join(f'<p>{words}</p>' for words in _FOOTNOTE)}</footer>\n"
    yield "</main>\n</body>\n</html>\n"


def amount(value: Decimal | None, *, signed: bool = False) -> Markup:
    """Money: two decimals from 1 on, else four digits that say something; a comma at thousands."""
    if value is None or not value.is_finite():
        return NONE
    size = abs(value)
    if Decimal(0) < size < 1:
        size = MONEY.quantize(size, Decimal(1).scaleb(size.adjusted() - 3))
    words = f"{size.normalize(MONEY):f}" if Decimal(0) < size < 1 else f"{_cents(size):,f}"
    return Markup(_sign(value, signed) + words)


def _cents(size: Decimal) -> Decimal:
    return size.quantize(Decimal("0.01"), ROUND_HALF_EVEN, MONEY)


def _sign(value: Decimal | float, signed: bool) -> str:
    return _MINUS if value < 0 else "+" if signed and value > 0 else ""


def percent(share: float | None, *, signed: bool = True, digits: int = 2) -> Markup:
    """A share in percent, with its sign; never one of a zero."""
    words = number(None if share is None else share * 100, digits, signed=signed)
    return words if words == NONE else Markup(f"{words}{_SPACE}%")


def number(value: float | None, digits: int = 2, *, signed: bool = False) -> Markup:
    """A number with so many decimals."""
    if value is None or not math.isfinite(value):
        return NONE
    rounded = round(value, digits)
    return Markup(f"{_sign(rounded, signed)}{abs(rounded):,.{digits}f}")


def _text(words: str) -> Markup:
    return Markup(escape(clean(words)))


def _time(at: Moment | None) -> Markup:
    return NONE if at is None else Markup(iso(at)[:16].replace("T", "\N{NO-BREAK SPACE}"))


def _lasting(millis: int) -> str:
    for name, unit in (("day", DAY_MS), ("hour", DAY_MS // 24)):
        if millis >= 2 * unit:
            return _count(round(millis / unit), name)
    return _count(round(millis / 60_000), "minute")


def _count(count: int, name: str) -> str:
    return f"{count:,} {name}{'s' * (count != 1)}"


def _colored(words: Markup, value: Decimal | float | None) -> Markup:
    """A gain or a loss in its colour, if the figure shows that it is one."""
    if value is None or not any(digit in words for digit in "123456789"):
        return words
    return Markup(f'<span class="{"up" if value > 0 else "down"}">{words}</span>')


def _gain(share: float | None) -> Markup:
    return _colored(percent(share), share)


def _profit(value: Decimal) -> Markup:
    return _colored(amount(value, signed=True), value)


def _quote(one: Performance) -> str:
    return one.symbol.partition("/")[2].partition(":")[0] or "the quote"


def _box(title: str, *parts: str) -> Markup:
    return Markup(f'<div class="box"><h3>{_text(title)}</h3>{"".join(parts)}</div>\n')


def _table(heads: Sequence[str], rows: Iterable[Sequence[Markup]], names: int = 1) -> Markup:
    """Its first `names` columns are words, the others numbers."""
    kinds = ["name" if place < names else "number" for place in range(len(heads))]
    top = "".join(f'<th scope="col" class="{kind}">{_text(head)}</th>' for kind, head in zip(kinds, heads, strict=True))
    body = "".join(
        "<tr>" + "".join(f'<td class="{kind}">{cell}</td>' for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    )
    return Markup(f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>')


def _side_by_side(performances: Sequence[Performance]) -> Markup:
    heads = ("Ledger", "Mode", "Until", "Equity", "Return", "After models", "Hold", "Deepest fall")
    rows = [
        (
            Markup(f'<a href="#ledger-{number}">{_text(one.name)}</a><br>{_text(one.symbol)}'),
            _badge(one.mode),
            NONE if one.ended_at is None else Markup(iso(one.ended_at)[:10]),
            *(
                (NONE,) * 5
                if one.ended_at is None
                else (
                    amount(one.ended.equity),
                    _gain(one.gained),
                    _gain(one.net_gained),
                    _gain(_held(one.baselines)),
                    percent(-one.fall.share),
                )
            ),
            _sharpe_words(one.sharpe),
            Markup(f"{one.trades:,}"),
        )
        for number, one in enumerate(performances, 1)
    ]
    return _table((*heads, "Sharpe", "Trades"), rows, names=3)


def _badge(mode: str) -> Markup:
    kind = mode.lower() if mode.lower() in _BADGES else "soft"
    return Markup(f'<span class="badge {kind}">{_BADGES.get(mode.lower()) or _text(mode.upper())}</span>')


def _section(one: Performance) -> Iterator[str]:
    """A ledger: its headline, and below what there is to tell."""
    facts = [f"bars of {one.timeframe}", f"market {one.market}", f"ledger {one.name}"]
    yield f'<div class="head"><h2>{_text(one.symbol)}</h2>{_badge(one.mode)}</div>'
    if one.began_at is None or one.ended_at is None:
        yield f'<p class="soft facts">{_text(" · ".join(facts))}</p>'
        yield '<p class="said">This ledger has no snapshots in the span asked for: there is no equity to tell of.</p>\n'
        return
    lasted = [_lasting(one.ended_at - one.began_at)] if one.ended_at > one.began_at else []
    facts = [*lasted, *facts, _count(one.cycles, "cycle"), _count(one.trades, "trade")]
    yield f'<p class="soft facts">{_time(one.began_at)} to {_time(one.ended_at)} UTC · {_text(" · ".join(facts))}</p>'
    yield f'<p class="said">{_said(one)}</p>\n<dl class="cards">{"".join(_cards(one))}</dl>\n'
    charts = "".join(f'<div class="{kind}">{performance_svg(one, width)}</div>' for kind, width in _WIDTHS)
    left_out = f"{one.deals_left_out:,} more deals are not drawn. " if one.deals_left_out else ""
    caption = f"{left_out}In {_text(_quote(one))}; times are UTC."
    yield f'<figure class="box">{charts}<figcaption>{caption}</figcaption></figure>\n'
    yield from _instead(one)
    yield from _days(one.days)
    yield from _policies(one)
    yield from _models(one)
    yield _calibration(one)


def _said(one: Performance) -> Markup:
    """What it came to, in one sentence."""
    said = f"Return {_gain(one.gained)}"
    if (held := _held(one.baselines)) is not None:
        said += f", where holding made {_gain(held)}"
    if one.baselines and one.baselines.coin:
        said += f" and {percent(one.baselines.coin.beaten, signed=False, digits=0)} of coin flips ended lower"
    return Markup(said + ".")


def _held(baselines: Baselines | None) -> float | None:
    """The return of holding."""
    return None if baselines is None else baselines.hold_gained


def _card(title: str, figure: str, note: str = "") -> Markup:
    shown = figure.partition(">")[2].partition("<")[0] or figure
    kind = "figure long" if len(shown) > _LONG else "figure"
    return Markup(
        f'<div class="card"><dt>{title}</dt><dd class="{kind}">{figure}</dd><dd class="note">{note}</dd></div>'
    )


def _cards(one: Performance) -> Iterator[Markup]:
    """The key figures, each with what is needed to believe it."""
    moved, base, quote = one.moved, one.baselines, _text(_quote(one))
    start = add(one.begun.equity, one.moved.deposits)
    yield _card("Equity", amount(one.ended.equity), f"from {amount(start)}, in {quote}")
    yield _card("Return", _gain(one.gained), "time-weighted, fees inside")
    yield _card("Profit", _profit(sub(moved.equity, moved.deposits)), _profit_note(moved))
    held = _held(base)
    lost = f"deepest fall {percent(-base.hold_fall.share)}" if base and held is not None else "no price is known"
    yield _card("Buy and hold", _gain(held), lost)
    yield _card("Cash", amount(base.cash) if base else NONE, "equity of doing nothing" if base else "not known")
    cost = f"models cost ${amount(moved.model_cost)}"
    net = cost if one.net_gained is not None else f"not defined: {quote} is no dollar, or nothing is left; {cost}"
    yield _card("After models", _gain(one.net_gained), net)
    yield _card("Deepest fall", percent(-one.fall.share), _fall_note(one.fall))
    yield _card("Exposure", percent(one.exposure, signed=False), "of equity in the position, on average")
    yield _card("Turnover", _times(one.turnover), "bought and sold, by mean equity")
    slipped = "against us, fill to mark" if one.slippage_bps is not None else "nothing was filled"
    yield _card("Slippage", f"{number(one.slippage_bps, 1)} bp" if one.slippage_bps is not None else NONE, slipped)
    yield _card("Sharpe", _sharpe_words(one.sharpe), _ratio_note(one.sharpe, one.returns_of))
    yield _card("Sortino", _sharpe_words(one.sortino), _ratio_note(one.sortino, one.returns_of))
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
    return NONE if value is None else Markup(f"{number(value)}{_SPACE}\N{MULTIPLICATION SIGN}")


def _sharpe_words(ratio: Ratio) -> Markup:
    return number(ratio.value, signed=True)


def _ratio_note(ratio: Ratio, returns_of: str) -> str:
    returns = "daily returns" if returns_of == "1d" else f"returns of {_text(returns_of)}"
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
    return f"90{_SPACE}%: {low} to {high}; "


def _trip_cards(one: Performance) -> Iterator[Markup]:
    trips, quote = one.trips, _text(_quote(one))
    if not trips.n:
        yield _card("Round trips", "0", "none ended")
        return
    won = percent(trips.win_rate.value, signed=False, digits=0)
    yield _card("Round trips won", won, f"{_interval(trips.win_rate, '%')}{trips.won:,} of {trips.n:,}")
    edge = NONE if trips.edge_bp.value is None else f"{number(trips.edge_bp.value, 1, signed=True)} bp"
    yield _card("Edge of a trip", edge, f"{_interval(trips.edge_bp, 'bp')}{trips.edge_bp.n:,} trips, after all costs")
    factor = number(trips.profit_factor) if trips.profit_factor is not None else NONE
    mean = f"mean {amount(trips.expectancy, signed=True)} {quote} a trip"
    yield _card("Profit factor", factor, mean if trips.profit_factor is not None else f"no loss yet; {mean}")


def _instead(one: Performance) -> Iterator[Markup]:
    """What chance would have done."""
    if one.baselines is None or one.baselines.coin is None:
        return
    coin = one.baselines.coin
    words = amount(coin.low), amount(coin.high), f"this ledger {amount(one.ended.equity)}"
    charts = "".join(
        f'<div class="{kind}">{coin_svg(coin, one.ended.equity, words, width)}</div>' for kind, width in _WIDTHS
    )
    share = percent(coin.beaten, signed=False, digits=0)
    yield _box(
        "What chance would have done",
        charts,
        f'<p class="note">Of {coin.flips:,} coin flips {share} ended below this ledger. Their median is '
        f"{amount(coin.middle)} {_text(_quote(one))}, the band holds 90{_SPACE}% of them. "
        f"Near {percent(0.5, signed=False, digits=0)} a run is no better than luck.</p>",
    )


def _days(days: Sequence[Day]) -> Iterator[Markup]:
    if not days:
        return
    heads = ("Day (UTC)", "Profit", "Return", "Equity", "Put in", "Fees", "Models, $", "Trades")
    rows = [
        (
            _text(one.day),
            _profit(sub(one.moved.equity, one.moved.deposits)),
            _gain(one.gained),
            amount(one.equity),
            amount(one.moved.deposits, signed=True),
            amount(one.moved.fees),
            amount(one.moved.model_cost),
            Markup(f"{one.trades:,}"),
        )
        for one in reversed(days)
    ]
    shown = " open" if len(days) <= _OPEN_DAYS else ""
    table = _table(heads, rows)
    yield Markup(f'<details class="box"{shown}><summary>Day by day ({len(days):,})</summary>{table}</details>\n')


def _policies(one: Performance) -> Iterator[Markup]:
    if not one.policies:
        return
    heads = ("Policy", "Purchases", "Ended", "Won", "Profit", "Open", "Fees")
    rows = [
        (
            _text(each.policy) if each.policy is not None else Markup("no decision of this ledger"),
            Markup(f"{each.purchases:,}"),
            Markup(f"{each.ended:,}"),
            Markup(f"{each.won:,}"),
            _profit(each.profit),
            _profit(each.open_profit),
            amount(each.fees),
        )
        for each in one.policies
    ]
    words = "first in first out, after fees; a fee stands with the policy its order was for"
    note = f'<p class="note">In {_text(_quote(one))}, {words}.</p>'
    yield _box("By policy", _table(heads, rows), note)


def _models(one: Performance) -> Iterator[Markup]:
    if not one.models:
        return
    heads = ("Model", "Calls", "Failed", "Not usable", "Tokens in", "Tokens out", "Cost, $")
    rows = [
        (
            _text(each.model),
            *(
                Markup(f"{count:,}")
                for count in (each.calls, each.failed, each.fallbacks, each.input_tokens, each.output_tokens)
            ),
            amount(each.cost),
        )
        for each in one.models
    ]
    yield _box("By model", _table(heads, rows))


def _calibration(one: Performance) -> Markup:
    """Whether confidence was worth what it said."""
    found = one.calibrated
    if found.n < ENOUGH or found.brier is None:
        few = f"{found.n} outcomes with a stated confidence: not enough to say, needs {ENOUGH}."
        return _box("Confidence", f'<p class="note">{few}</p>')
    rows = [
        (
            Markup(f"{number(low)} to {number(high)}"),
            Markup(f"{n:,}"),
            percent(said, signed=False, digits=0),
            percent(right, signed=False, digits=0),
            _colored(number((right - said) * 100, 0, signed=True), right - said),
        )
        for low, high, n, said, right in found.bins
    ]
    verdict = "better" if found.brier < COIN else "no better"
    note = (
        f'<p class="note">Brier score {number(found.brier, 3)} over {found.n:,} outcomes: {verdict} than a coin that '
        f"always says one half ({COIN:.3f}). Lower is better, and 0 is perfect.</p>"
    )
    heads = ("Confidence", "Outcomes", "Said on average", "Came right", "Difference, points")
    return _box("Confidence, and how it stood up", _table(heads, rows), note)
