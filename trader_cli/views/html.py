"""What pages are made of: text that may stand on them, figures, tables, cards, and how they look in light and dark.

All text of a ledger is a stranger's: it reaches a page only as `Markup`, which `safe` makes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from html import escape
from typing import NewType

from trader_cli.core.decimals import MONEY
from trader_cli.core.moments import Moment, iso
from trader_cli.views.output import clean

Markup = NewType("Markup", str)
"""Text that may stand on a page as it is."""

NONE = Markup("\N{EN DASH}")
"""What stands where there is no figure."""
_MINUS = "\N{MINUS SIGN}"
SPACE = "\N{NARROW NO-BREAK SPACE}"
_BADGES = {"paper": "PAPER", "testnet": "TESTNET", "real": "REAL"}
_LONG = 9
"""A figure of more characters than this is written smaller."""
WIDTHS = (("wide", 960), ("slim", 400))
"""A chart is drawn for each width of screen, so that its words stay legible."""

PAGE_STYLE = """
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
    return words if words == NONE else Markup(f"{words}{SPACE}%")


def number(value: float | None, digits: int = 2, *, signed: bool = False) -> Markup:
    """A number with so many decimals."""
    if value is None or not math.isfinite(value):
        return NONE
    rounded = round(value, digits)
    return Markup(f"{_sign(rounded, signed)}{abs(rounded):,.{digits}f}")


def safe(words: str) -> Markup:
    return Markup(escape(clean(words)))


def stamp(at: Moment | None) -> Markup:
    return NONE if at is None else Markup(iso(at)[:16].replace("T", "\N{NO-BREAK SPACE}"))


def colored(words: Markup, value: Decimal | float | None) -> Markup:
    """A gain or a loss in its colour, if the figure shows that it is one."""
    if value is None or not any(digit in words for digit in "123456789"):
        return words
    return Markup(f'<span class="{"up" if value > 0 else "down"}">{words}</span>')


def gain(share: float | None) -> Markup:
    return colored(percent(share), share)


def profit(value: Decimal) -> Markup:
    return colored(amount(value, signed=True), value)


def box(title: str, *parts: str, level: int = 3) -> Markup:
    """A part of a page under its heading."""
    return Markup(f'<div class="box"><h{level}>{safe(title)}</h{level}>{"".join(parts)}</div>\n')


def table(heads: Sequence[str], rows: Iterable[Sequence[Markup]], names: int = 1) -> Markup:
    """Its first `names` columns are words, the others numbers."""
    return _grid(heads, rows, ["name" if place < names else "number" for place in range(len(heads))])


def stack(heads: Sequence[str], rows: Iterable[Sequence[Markup]], kinds: Sequence[str]) -> Markup:
    """A table whose rows are small blocks on a narrow screen. `kinds` are the classes of each column's cells."""
    return _grid(heads, rows, kinds, ' class="stack"')


def _grid(heads: Sequence[str], rows: Iterable[Sequence[Markup]], kinds: Sequence[str], look: str = "") -> Markup:
    """The roles are spelled out because a browser forgets them for rows that are laid out otherwise."""
    top = "".join(
        f'<th role="columnheader" scope="col" class="{kind}">{safe(head)}</th>'
        for kind, head in zip(kinds, heads, strict=True)
    )
    body = "".join(
        '<tr role="row">'
        + "".join(f'<td role="cell" class="{kind}">{cell}</td>' for kind, cell in zip(kinds, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return Markup(
        f'<div class="scroll"><table role="table"{look}><thead role="rowgroup"><tr role="row">{top}</tr></thead>'
        f'<tbody role="rowgroup">{body}</tbody></table></div>'
    )


def badge(mode: str) -> Markup:
    kind = mode.lower() if mode.lower() in _BADGES else "soft"
    return Markup(f'<span class="badge {kind}">{_BADGES.get(mode.lower()) or safe(mode.upper())}</span>')


def card(title: str, figure: str, note: str = "") -> Markup:
    shown = figure.partition(">")[2].partition("<")[0] or figure
    kind = "figure long" if len(shown) > _LONG else "figure"
    return Markup(
        f'<div class="card"><dt>{title}</dt><dd class="{kind}">{figure}</dd><dd class="note">{note}</dd></div>'
    )
