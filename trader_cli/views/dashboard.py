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
from itertools import groupby
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


class Proof(Protocol):
    """What came of proving the whole ledger; `trouble`: why it could not be."""

    @property
    def at(self) -> Moment: ...
    @property
    def trouble(self) -> str | None: ...
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
    parts.append(f'<div id="cycles">{_box("Last cycles", _cycles(seen.cycles), _older(seen.cycles))}</div>')
    parts.append(f'<div id="rest" class="two">{"".join(_rest(seen))}</div>')
    parts.append(f'<div id="failures">{_box("What failed", _failures(seen.failures))}</div>')
    return _page(title, "".join(parts))


def empty_page(words: str, hint: str) -> str:
    """Before there is a ledger."""
    body = f'<h2>{safe(words)}</h2><p class="said">{safe(hint)}. This page shows it as soon as it is there.</p>'
    return _page(
        "no ledger yet", f'{_head("", "trader")}<section id="state" data-said="{safe(words)}">{body}</section>'
    )


def error_page(status: int, words: str, hint: str | None) -> str:
    """What went wrong, under an HTTP status."""
    then = "" if hint is None else f'<p class="said">{safe(hint)}</p>'
    body = f'<section id="state" data-said="{safe(words)}"><h2>{safe(words)}</h2>{then}</section>'
    return _page(f"error {status}", f"{_head('', 'trader')}{body}")


def cycles_page(rows: Sequence[Row], mode: str, symbol: str, most: int) -> str:
    """Many cycles."""
    older = _older(rows) if len(rows) == most else Markup("")
    return _page(
        f"cycles of {symbol}", f'{_head(mode, symbol)}<div id="cycles">{_box("Cycles", _cycles(rows), older)}</div>'
    )


def trace_page(whole: Row, why: Sequence[str]) -> str:
    """One cycle whole: why, every row, and what the models were asked and said."""
    name = str(whole["trace_id"])
    head = _head(str(whole["mode"] or ""), f"cycle {name[:8]}")
    when = f'<p class="soft">{safe(str(whole["ts_utc"]))} · trace {safe(name)}</p>'
    parts: list[str] = [head, f'<section id="why">{when}<h2>Why</h2>{_pre(why)}</section>']
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
        '<a class="skip" href="#main">Past the links</a>\n<p id="lost" role="alert"></p>\n'
        '<p id="news" class="skip" aria-live="polite"></p>\n'
        f'<main id="main" tabindex="-1">\n{body}\n</main>\n</body>\n</html>\n'
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
    if status["is_late"]:
        return "STALE", "slow"
    return ("MODELS FAILING", "slow") if status["models_failing"] else ("RUNNING", "well")


def _standing(seen: Seen, state: str, kind: str) -> Markup:
    status = seen.status
    said: list[str] = []
    if status["cause"]:
        said.append(str(status["cause"]))
    said += [f"order {name} is in doubt: trader recover" for name in status["unsettled_orders"]]
    if status["account_differs"] is not None:
        said.append(str(status["account_differs"]))
    if status["models_failing_cycles"]:
        cycles = status["models_failing_cycles"]
        said.append(f"no usable answer of a model for {cycles} cycles: {status['models_failure']}")
    when = []
    if status["last_cycle_wall_at"] is not None:
        ago = (seen.now - parse_iso(status["last_cycle_wall_at"])) // 1000
        when.append(f'last cycle <time datetime="{safe(status["last_cycle_wall_at"])}">{_span(ago)} ago</time>')
        left = status["next_due_secs"]
        when.append(f"next {'in ' + _span(left) if left > 0 else 'was due ' + _span(-left) + ' ago'}")
    when.append(f"{status['cycles']:,} cycles")
    words = "".join(f'<p class="said warn">{safe(one)}</p>' for one in said)
    told = safe(". ".join((state, *said)))
    where = f"{safe(str(status['market'] or ''))} · {safe(str(status['ledger']))}"
    return Markup(
        f'<section id="state" data-said="{told}"><p class="state {kind}">{safe(state)}</p>{words}'
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
        card("Position", safe(brief(status["base"])), f"{safe(base)}, worth {amount(worth)} {safe(quote)}"),
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
        f'data-points="{points}">{charts}<output aria-live="off">{safe(_told(marks[-1]))}</output>'
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
            _trace_link(str(row["trace_id"])),
            safe(_action(row)),
            safe(str(row["why"] or "")),
            safe(_ruled(row)),
            NONE if row["filled"] is None else safe(brief(dec(row["filled"]))),
            *(_money_of(row[name]) for name in ("price", "equity")),
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
    if row["verdict"] == "REJECT" and row["violations"]:
        return f"REJECT: {row['violations']}"
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
    yield _box("Limits", _limits(seen.limits))
    yield _box("Policies", _policies(seen.policies))
    yield _box("Models, by day", _costs(seen.costs))
    yield _box("Proof of the ledger", _proof(seen))


def _box(title: str, *parts: str) -> Markup:
    return box(title, *parts, level=2)


def _limits(rows: Sequence[Row]) -> Markup:
    cells = []
    for row in rows:
        name, used, limit = str(row["name"]), dec(row["used"]), dec(row["limit"])
        share = float(div(used, limit)) if limit else 1.0
        bar = (
            f'<meter aria-label="{safe(_LIMITS.get(name, name))}" min="0" max="1" low="0.7" high="0.9" optimum="0" '
            f'value="{min(share, 1.0):.3f}">'
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
    """One line a cycle: what is worst of it, and how much more there was."""
    if not rows:
        return Markup('<p class="note">Nothing.</p>')
    told = []
    for _, each in groupby(enumerate(rows), key=lambda one: one[1]["trace_id"] or one[0]):
        of = [row for _, row in each]
        row = next((one for one in of if not str(one["kind"]).startswith("MODEL")), of[0])
        words = str(row["message"] or row["who"] or "") + (f" (and {len(of) - 1} more)" if len(of) > 1 else "")
        told.append((_when(row), _trace_link(row["trace_id"]), safe(str(row["kind"])), safe(words)))
    return stack(("Time (UTC)", "Cycle", "Kind", "What"), told, ("when", "", "tag", "why"))


def _trace_link(name: str | None) -> Markup:
    return Markup("" if name is None else f'<a href="/traces/{safe(name)}">{safe(name[:8])}</a>')


def _proof(seen: Seen) -> Markup:
    if seen.proved is None and not seen.proves:
        return Markup('<p class="note">Not proved by this server. Prove it: trader ledger verify</p>')
    if seen.proved is None:
        return Markup('<p class="note">The whole ledger is being proved, or will be soon.</p>')
    ago = _span((seen.now - seen.proved.at) // 1000)
    if seen.proved.trouble is not None:
        return Markup(f'<p class="warn">Could not be proved {ago} ago: {safe(seen.proved.trouble)}</p>')
    if seen.proved.failed:
        names = safe(", ".join(seen.proved.failed))
        return Markup(f'<p class="warn">FAILED {ago} ago: {names}. See: trader ledger verify</p>')
    return Markup(f'<p class="note">All {seen.proved.checks} checks passed {ago} ago.</p>')


def _titled(title: str, words: str) -> str:
    return f"<h3>{safe(title)}</h3>{_pre([words])}"


def _pre(lines: Sequence[str]) -> str:
    shown = "\n".join(escape(clean(part)) for line in lines for part in line.split("\n"))
    return f'<pre tabindex="0">{shown}</pre>'
