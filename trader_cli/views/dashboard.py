"""The pages of `trader serve`: what an operator looks at, in the order of looking.

State and age first, then money, then what was decided and why, what is believed, what it costs, how near the limits
are, what failed, and whether the ledger is proved. Made on the server; a script only keeps it fresh.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from typing import Any, Protocol

from trader_cli.core.decimals import brief, dec, div, sub
from trader_cli.core.moments import Moment, iso, parse_iso
from trader_cli.schemas.performance import Deal, Mark
from trader_cli.views.html import (
    NONE,
    SPACE,
    WIDTHS,
    Markup,
    amount,
    badge,
    box,
    card,
    colored,
    number,
    percent,
    profit,
    safe,
    stack,
    table,
)  # fmt: skip
from trader_cli.views.output import clean
from trader_cli.views.svg import equity_svg
from trader_cli.views.trace import trace_lines

Row = Mapping[str, Any]

POINTS = 240
"""So many points of the curve can be read one by one."""
_STALE_SECS = 1_800
"""So long after a cycle was due it is told that none came."""
_LIMITS = {
    "deposit_cap": "Deposit cap",
    "daily_loss": "Loss today",
    "drawdown": "Fall from the peak",
    "orders_per_day": "Orders today",
    "orders_per_hour": "Orders in the hour",
    "losing_streak": "Losing sales in a row",
    "rejected_streak": "Refusals in a row",
    "model_budget_usd": "Models today, $",
}
_COUNTS = ("orders_per_day", "orders_per_hour", "losing_streak", "rejected_streak")

STYLE = """
.bar{display:flex;gap:8px 14px;align-items:baseline;flex-wrap:wrap}.bar nav{margin-left:auto;display:flex;gap:14px}
.state{font-size:2.1rem;font-weight:750;line-height:1.1;letter-spacing:-.01em}.state.well{color:var(--up)}
.state.slow{color:var(--testnet)}.state.halt{color:var(--down)}.badge.real{background:var(--real);color:var(--card);
border-color:var(--real)}.lost #state::after{content:"not updated: the server does not answer";display:block;
color:var(--down);font-weight:600;margin-top:6px}.skip{position:absolute;left:-999px}.skip:focus{left:12px;top:8px;
background:var(--card);padding:6px 10px;z-index:2}#top{margin-bottom:6px}td.why{white-space:normal!important;
min-width:16em;overflow-wrap:anywhere}td a{font-family:ui-monospace,SFMono-Regular,Menlo,monospace}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(420px,100%),1fr));gap:12px;align-items:start}
.two .box{margin:0}.two{margin-top:12px}figure:focus-visible,a:focus-visible,summary:focus-visible{outline:2px solid
var(--equity);outline-offset:2px;border-radius:6px}output{display:block;min-height:1.5em;color:var(--ink);
font-size:.9rem}svg .cross{stroke:var(--soft);stroke-width:1;fill:none}meter{width:8.5em;height:.8em;max-width:100%}
pre{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:14px;overflow-x:auto;margin:12px 0 0;
font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,monospace;white-space:pre-wrap;overflow-wrap:anywhere}
td.tag{font-weight:650}.said{max-width:80ch}.quiet{color:var(--soft)}.warn{color:var(--down);font-weight:600}
@media(min-width:621px){.cards{grid-template-columns:repeat(auto-fit,minmax(152px,1fr))}}
@media(max-width:620px){.state{font-size:1.6rem}.bar nav{margin-left:0;width:100%}.hide{display:none}meter{width:4.5em}
th,td{padding:5px 6px}.name:first-child{min-width:6.5em}.stack thead{position:absolute;left:-999px}
.stack tr{display:flex;flex-wrap:wrap;gap:1px 12px;padding:8px 0;border-bottom:1px solid var(--rule)}
.stack tr:last-child{border-bottom:0}.stack td{padding:0;border:0}.stack td.hide,.stack td:empty{display:none}
.stack td.last{margin-left:auto;order:1}.stack td.why{flex-basis:100%;min-width:0;order:2;color:var(--soft)}
.stack td.ruled{order:3}}
"""


class Proof(Protocol):
    """What came of proving the whole ledger."""

    @property
    def at(self) -> Moment: ...
    @property
    def checks(self) -> int: ...
    @property
    def failed(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """All that the first page shows, as it stood at `now` (ms UTC on the wall); `proves`: the ledger will be proved.

    Not `ready`, the chart, the limits and what is believed are still being read, and follow.
    """

    now: Moment
    status: Row
    marks: Sequence[Mark]
    deals: Sequence[Deal]
    cycles: Sequence[Row]
    policies: Sequence[Row]
    costs: Sequence[Row]
    limits: Sequence[Row]
    failures: Sequence[Row]
    proved: Proof | None
    proves: bool = True
    ready: bool = True


def first_page(seen: Seen) -> str:
    """Everything at a glance."""
    status = seen.status
    symbol = str(status["symbol"] or "no symbol yet")
    state, kind = _state(status, seen)
    title = f"{state} {symbol}" + (" REAL" if status["mode"] == "real" else "")
    parts: list[str] = [_head(str(status["mode"] or ""), symbol), _standing(seen, state, kind), _money(seen)]
    if seen.marks:
        parts.append(_chart(symbol, seen.marks, seen.deals))
    elif not seen.ready:
        words = "A long ledger is being read: chart, limits and policies follow in a moment."
        parts.append(f'<div id="chart" class="box" data-soon="yes"><p class="note">{words}</p></div>')
    parts.append(f'<div id="cycles">{box("Last cycles", _cycles(seen.cycles), _older(seen.cycles))}</div>')
    parts.append(f'<div id="rest" class="two">{"".join(_rest(seen))}</div>')
    return _page(title, "".join(parts))


def empty_page(words: str, hint: str) -> str:
    """Before there is a ledger."""
    body = f'<h2>{safe(words)}</h2><p class="said">{safe(hint)}. This page shows it as soon as it is there.</p>'
    return _page("no ledger yet", f'{_head("", "trader")}<section id="state">{body}</section>')


def error_page(words: str, hint: str | None) -> str:
    """What went wrong."""
    then = "" if hint is None else f'<p class="said">{safe(hint)}</p>'
    return _page("not found", f'{_head("", "trader")}<section id="state"><h2>{safe(words)}</h2>{then}</section>')


def cycles_page(rows: Sequence[Row], mode: str, symbol: str, most: int) -> str:
    """Many cycles."""
    older = _older(rows) if len(rows) == most else Markup("")
    return _page(
        f"cycles of {symbol}", f'{_head(mode, symbol)}<div id="cycles">{box("Cycles", _cycles(rows), older)}</div>'
    )


def trace_page(whole: Row, why: Sequence[str]) -> str:
    """One cycle whole: why, every row, and what the models were asked and said."""
    name = str(whole["trace_id"])
    head = _head(str(whole["mode"] or ""), f"cycle {name[:8]}")
    when = f'<p class="soft">{safe(str(whole["ts_utc"]))} UTC · trace {safe(name)}</p>'
    parts: list[str] = [head, f'<section id="why">{when}<h3>Why</h3>{_pre(why)}</section>']
    rows = trace_lines({key: value for key, value in whole.items() if key != "prompts"})
    parts.append(f'<details class="box" id="rows"><summary>Every row</summary>{_pre(rows)}</details>')
    prompts = {one["sha256"]: one for one in whole.get("prompts", ())}
    for call in whole["model_calls"]:
        asked = prompts.get(call["prompt_sha256"])
        title = f"{call['agent']} asked {call['model']}: {call['status']}"
        told = (
            ("Prompt", asked["prompt"] if asked else None),
            ("Facts", json.dumps(call["facts"], indent=2) if call["facts"] else None),
            ("Reply", call["reply"]),
        )
        parts.append(
            f'<details class="box" id="call-{int(call["id"])}"><summary>{safe(title)}</summary>'
            f"{''.join(_titled(name, str(words)) for name, words in told if words)}</details>"
        )
    return _page(f"cycle {name[:8]}", "".join(parts))


# --- parts -----------------------------------------------------------------------------------


def _page(title: str, body: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<noscript><meta http-equiv="refresh" content="30"></noscript>\n<link rel="icon" href="data:,">\n'
        f'<title>{safe(title)}</title>\n<link rel="stylesheet" href="/static/style.css">\n'
        '<script src="/static/live.js" defer></script>\n</head>\n<body>\n'
        f'<a class="skip" href="#state">To the state</a>\n<main>\n{body}\n</main>\n</body>\n</html>\n'
    )


def _head(mode: str, title: str) -> Markup:
    links = '<a href="/">Now</a><a href="/cycles">Cycles</a><a href="/metrics">Metrics</a>'
    return Markup(
        f'<header id="top" class="bar"><h1>{safe(title)}</h1>{badge(mode) if mode else ""}<nav>{links}</nav></header>\n'
    )


def _state(status: Row, seen: Seen) -> tuple[str, str]:
    """The one word, and how it looks."""
    if status["unsettled_orders"]:
        return "BLOCKED", "halt"
    if status["state"] != "RUN":
        return {"REDUCE": "REDUCING"}.get(str(status["state"]), "STOPPED"), "halt"
    if status["account_differs"] is not None:
        return "ACCOUNT DIFFERS", "halt"
    if not status["cycles"]:
        return "NO CYCLE YET", "slow"
    if (status["next_due_secs"] or 0) < -_STALE_SECS:
        return "STALE", "slow"
    return ("MODELS FAILING", "slow") if status["models_failing"] else ("RUNNING", "well")


def _standing(seen: Seen, state: str, kind: str) -> Markup:
    status = seen.status
    said = []
    if status["cause"]:
        said.append(safe(str(status["cause"])))
    said += [safe(f"order {name} is in doubt: trader recover") for name in status["unsettled_orders"]]
    if status["account_differs"] is not None:
        said.append(safe(str(status["account_differs"])))
    if status["models_failing_cycles"]:
        said.append(
            safe(
                f"no usable answer of a model for {status['models_failing_cycles']} cycles: {status['models_failure']}"
            )
        )
    when = []
    if status["last_cycle_wall_at"] is not None:
        ago = (seen.now - parse_iso(status["last_cycle_wall_at"])) // 1000
        when.append(f'last cycle <time datetime="{safe(status["last_cycle_wall_at"])}">{_span(ago)} ago</time>')
        left = status["next_due_secs"]
        when.append(f"next {'in ' + _span(left) if left > 0 else 'was due ' + _span(-left) + ' ago'}")
    when.append(f"{status['cycles']:,} cycles")
    words = "".join(f'<p class="said warn">{one}</p>' for one in said)
    where = f"{safe(str(status['market'] or ''))} · {safe(str(status['ledger']))}"
    return Markup(
        f'<section id="state" aria-live="polite"><p class="state {kind}">{safe(state)}</p>{words}'
        f'<p class="soft facts">{" · ".join(when)} · {where}</p></section>\n'
    )


def _span(secs: int) -> str:
    for name, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if secs >= 2 * length:
            return f"{secs // length}{SPACE}{name}"
    return f"{secs}{SPACE}s"


def _money(seen: Seen) -> Markup:
    status = seen.status
    if status["equity"] is None:
        return Markup('<dl id="money" class="cards"></dl>')
    base, _, quote = str(status["symbol"]).partition("/")
    gain = sub(status["equity"], status["deposits"])
    share = float(div(gain, status["deposits"])) if status["deposits"] else None
    worth = sub(status["equity"], status["quote"])
    spent, budget = status["model_cost_today_usd"], status["model_budget_usd_per_day"]
    cap = next((one for one in seen.limits if one["name"] == "deposit_cap"), None)
    cards = [
        card("Equity", amount(status["equity"]), f"{safe(quote)}, put in {amount(status['deposits'])}"),
        card("Gain", profit(gain), str(colored(percent(share), share))),
        card("Position", amount(status["base"]), f"{safe(base)}, worth {amount(worth)} {safe(quote)}"),
        card("Cash", amount(status["quote"]), safe(quote)),
        card("Realized", profit(status["realized_pnl"]), f"open {amount(status['unrealized_pnl'], signed=True)}"),
        card("Models today", f"${amount(spent)}", f"of ${amount(budget)}"),
    ]
    if cap is not None:
        cards.insert(3, card("Cap used", amount(dec(cap["used"])), f"of {amount(dec(cap['limit']))} {safe(quote)}"))
    return Markup(f'<dl id="money" class="cards">{"".join(cards)}</dl>\n')


def _chart(symbol: str, marks: Sequence[Mark], deals: Sequence[Deal]) -> Markup:
    charts = "".join(f'<div class="{kind}">{equity_svg(symbol, marks, deals, width)}</div>' for kind, width in WIDTHS)
    points = escape(json.dumps(list(_points(marks)), separators=(",", ":")), quote=True)
    every = marks[:: max(1, len(marks) // 40)]
    rows = [
        (safe(_minute(one.at)), number(one.equity), NONE if one.hold is None else number(one.hold))
        for one in reversed([*every, *([] if every[-1] is marks[-1] else [marks[-1]])])
    ]
    listed = table(("Time (UTC)", "Equity", "Hold"), rows)
    return Markup(
        f'<figure id="chart" class="box" tabindex="0" role="group" aria-label="Equity over time; arrow keys read it" '
        f'data-points="{points}">{charts}<output aria-live="polite">{safe(_told(marks[-1]))}</output>'
        f"<figcaption>Equity beside holding from the first snapshot on, without costs. Point at the chart, or use the "
        f'arrow keys, to read values.</figcaption><details id="values"><summary>As a table</summary>{listed}</details>'
        "</figure>\n"
    )


def _points(marks: Sequence[Mark]) -> Iterator[tuple[float, str]]:
    first, last = marks[0].at, marks[-1].at
    step = max(1, -(-len(marks) // POINTS))
    for one in [*marks[:-1:step], marks[-1]]:
        yield round((one.at - first) / (last - first), 4) if last > first else 0.5, _told(one)


def _told(one: Mark) -> str:
    hold = "" if one.hold is None else f", hold {one.hold:,.2f}"
    return f"{_minute(one.at)} UTC: equity {one.equity:,.2f}{hold}"


def _minute(at: Moment) -> str:
    return iso(at)[:16].replace("T", " ")


def _cycles(rows: Sequence[Row]) -> Markup:
    if not rows:
        return Markup('<p class="note">No cycles yet. Make one: trader cycle</p>')
    heads = ("Time (UTC)", "Cycle", "Action", "Why", "Verdict", "Filled", "Price", "Equity")
    kinds = ("when", "", "tag", "why", "ruled", "number hide", "number hide", "number last")
    body = (
        (
            _when(row),
            Markup(f'<a href="/traces/{safe(str(row["trace_id"]))}">{safe(str(row["trace_id"])[:8])}</a>'),
            safe(_action(row)),
            safe(str(row["why"] or "")),
            safe(_ruled(row)),
            *(_money_of(row[name]) for name in ("filled", "price", "equity")),
        )
        for row in rows
    )
    return stack(heads, body, kinds)


def _when(row: Row) -> Markup:
    return safe(str(row["ts_utc"])[5:16].replace("T", " "))


def _action(row: Row) -> str:
    if row["mode"] == "OBSERVE":
        return "OBSERVE"
    return " ".join(filter(None, (row["action"], None if row["qty"] in (None, "0") else row["qty"])))


def _ruled(row: Row) -> str:
    if row["fallback"] is not None:
        return f"{row['fallback']} failed"
    state = row["order_state"]
    return " ".join(filter(None, (row["verdict"], None if state in (None, "FILLED") else state)))


def _money_of(value: str | None) -> Markup:
    return NONE if value is None else amount(Decimal(value))


def _older(rows: Sequence[Row]) -> Markup:
    if not rows:
        return Markup("")
    return Markup(
        f'<p class="note"><a id="older" href="/cycles?before={int(rows[-1]["plan_id"])}">Older cycles</a></p>'
    )


def _rest(seen: Seen) -> Iterator[Markup]:
    yield box("Limits", _limits(seen.limits))
    yield box("Policies", _policies(seen.policies))
    yield box("Models, by day", _costs(seen.costs))
    yield box("What failed", _failures(seen.failures))
    yield box("Proof of the ledger", _proof(seen))


def _limits(rows: Sequence[Row]) -> Markup:
    cells = []
    for row in rows:
        name, used, limit = str(row["name"]), dec(row["used"]), dec(row["limit"])
        share = float(div(used, limit)) if limit else 1.0
        bar = (
            f'<meter min="0" max="1" low="0.7" high="0.9" optimum="0" value="{min(share, 1.0):.3f}">'
            f"{percent(share, signed=False, digits=0)}</meter>"
        )
        told: Callable[[Decimal], str] = brief if name in _COUNTS else amount
        cells.append((safe(_LIMITS.get(name, name)), Markup(bar), Markup(f"{told(used)} of {told(limit)}")))
    return table(("Limit", "", "Used"), cells, names=2)


def _policies(rows: Sequence[Row]) -> Markup:
    cells = [
        (
            safe(str(row["policy_id"])),
            Markup(f"{row['lots']:,}"),
            Markup("prior") if row["mean_bp"] is None else number(row["mean_bp"], 1, signed=True),
            Markup(f"{number(row['low_bp'], 0, signed=True)} to {number(row['high_bp'], 0, signed=True)}"),
            percent(row["p_positive"], signed=False, digits=0),
        )
        for row in rows
    ]
    return table(("Policy", "Lots", "Mean, bp", "90 % of it", "P(>0)"), cells)


def _costs(rows: Sequence[Row]) -> Markup:
    if not rows:
        return Markup('<p class="note">No model was paid in the last seven days.</p>')
    cells = [
        (
            safe(str(row["day"])),
            safe(str(row["model"])),
            Markup(f"{row['calls']:,}"),
            Markup(f"{row['failed']:,}"),
            amount(dec(row["cost_usd"])),
        )
        for row in rows
    ]
    return table(("Day (UTC)", "Model", "Calls", "Failed", "Cost, $"), cells, names=2)


def _failures(rows: Sequence[Row]) -> Markup:
    if not rows:
        return Markup('<p class="note">Nothing.</p>')
    items = (
        (
            _when(row),
            safe(str(row["kind"])),
            Markup(f"{safe(str(row['message'] or row['who'] or ''))}{_trace_link(row)}"),
        )
        for row in rows
    )
    return stack(("Time (UTC)", "Kind", "What"), items, ("when", "tag", "why"))


def _trace_link(row: Row) -> str:
    name = row["trace_id"]
    return "" if name is None else f' <a href="/traces/{safe(str(name))}">{safe(str(name)[:8])}</a>'


def _proof(seen: Seen) -> Markup:
    if seen.proved is None and not seen.proves:
        return Markup('<p class="note">Not proved by this server. Prove it: trader ledger verify</p>')
    if seen.proved is None:
        return Markup('<p class="note">The whole ledger is being proved, or will be soon.</p>')
    ago = _span((seen.now - seen.proved.at) // 1000)
    if seen.proved.failed:
        names = ", ".join(seen.proved.failed)
        return Markup(f'<p class="warn">{safe(f"FAILED {ago} ago: {names}. See: trader ledger verify")}</p>')
    return Markup(f'<p class="note">All {seen.proved.checks} checks passed {ago} ago.</p>')


def _titled(title: str, words: str) -> str:
    return f"<h3>{safe(title)}</h3>{_pre([words])}"


def _pre(lines: Sequence[str]) -> str:
    shown = "\n".join(escape(clean(part)) for line in lines for part in line.split("\n"))
    return f'<pre tabindex="0">{shown}</pre>'
