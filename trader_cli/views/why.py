"""One screen of reasons: what was seen, planned, proposed, ruled and sent, what became of it, and what was learnt."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from trader_cli.core.moments import parse_iso, span_text
from trader_cli.core.posteriors import p_positive, posterior
from trader_cli.core.regimes import FIT_BP, Regime
from trader_cli.schemas.memory import Evidence
from trader_cli.views.output import significant

Row = Mapping[str, Any]
LABEL = 11
"""How wide the words before a line are."""


def why_lines(document: Row, width: int) -> list[str]:
    """The story, top to bottom; long texts go on in the next line."""
    stamp = document["ts_utc"][:19].replace("T", " ")
    name = (document["trace_id"] or "no cycle")[:8]
    head = f"{name}  {_outcome(document)}  {stamp}Z  mode\u00a0{document['mode'] or '-'}"
    lines = [piece.replace("\u00a0", " ") for piece in textwrap.wrap(head, width, subsequent_indent=" " * LABEL)]
    for part in (_saw, _planned, _proposed, _ruled, _sent, _became, _end):
        lines += part(document, width)
    return lines


def _outcome(document: Row) -> str:
    """The cycle in a word."""
    order = document["order"]
    if order is not None and (trade := order["trade"]) is not None:
        return f"{trade['side']} {trade['qty']} @ {trade['price']}, trade #{trade['id']}"
    if order is not None:
        return f"{order['side']} {order['qty']}: {order['events'][-1]['state'] if order['events'] else '-'}"
    plan, proposal, verdict = document["plan"], document["proposal"], document["verdict"]
    if plan is not None and plan["payload"]["mode"] == "OBSERVE":
        return "OBSERVE"
    if proposal is None or proposal["payload"]["action"] == "HOLD":
        return "HOLD" if proposal else "a plan and no more"
    return f"{proposal['payload']['action']} not sent" + (f", {verdict['payload']['decision']}" if verdict else "")


def _saw(document: Row, width: int) -> Iterator[str]:
    seen = document["market"]
    if seen is None:
        return
    age = "-" if seen["candle_age_ms"] is None else f"{seen['candle_age_ms'] / 1000:g} s old"
    yield from _line(
        "saw",
        f"{seen['price'] or '-'} from {seen['source']}, newest of {seen['bars']} bars {age}; {seen['regime']}",
        width,
    )
    told = [_tied(f"{name} {significant(value, 5)}") for name, value in seen["features"].items() if value is not None]
    yield from _line("", "  ".join(told), width)
    for one in seen["defects"]:
        yield from _line("defect", f"{one['kind']}: {one['detail']}", width)


def _planned(document: Row, width: int) -> Iterator[str]:
    plan = document["plan"]
    if plan is None:
        return
    said = plan["payload"]
    strategies = "; ".join(
        _tied(" ".join([one["policy_id"], *(f"{name}={value}" for name, value in one["params"].items())]))
        for one in said["strategies"]
    )
    explore = f"explore\u00a0{said['explore_ratio']:g}"
    yield from _line("plan", f"{said['mode']}  {strategies}  {explore}  by\u00a0{_who(plan)}", width)
    if plan["cause"]:
        yield from _line("because", plan["cause"], width)
    for one in plan["beliefs"]:
        prior = "a prior" if not one.get("n") else f"from {significant(one['n'], 3)} outcomes"
        chance = one.get("p_positive")
        yield from _line(
            "believed",
            f"{one['policy_id']:<14} {one.get('mean_bp', 0):+.1f} bp, sd {one.get('sd_bp', 0):.1f}, "
            f"P(>0) {'-' if chance is None else f'{chance:.2f}'}, {prior}",
            width,
        )


def _who(decision: Row) -> str:
    return str(decision["model"] or decision["source"]) + (" (fallback)" if decision["source"] == "fallback" else "")


def _proposed(document: Row, width: int) -> Iterator[str]:
    proposal = document["proposal"]
    if proposal is None:
        return
    said = proposal["payload"]
    qty = "" if said["action"] == "HOLD" else f" {said['qty']}"
    words = f"{said['action']}{qty}  {said['policy_id']}  confidence {said['confidence']:.2f}  by {_who(proposal)}"
    yield from _line("proposal", words, width)
    yield from _line("hypothesis", said["hypothesis"], width)
    for one in proposal["ungrounded"]:
        held = f"the fact is {one['fact']}" if one["fact"] else "no fact has that number"
        yield from _line("UNGROUNDED", f"{one['said']}: {held}", width)
    if proposal["cause"] and proposal["cause"] not in said["hypothesis"]:
        yield from _line("because", proposal["cause"], width)


def _ruled(document: Row, width: int) -> Iterator[str]:
    verdict = document["verdict"]
    if verdict is None:
        return
    said = verdict["payload"]
    revised = f" to {said['revised_qty']}" if "revised_qty" in said else ""
    by = f"law+{verdict['model']}" if verdict["model"] else _who(verdict)
    yield from _line("verdict", f"{said['decision']}{revised}  by {by}", width)
    if said.get("notes"):
        yield from _line("", said["notes"], width)
    if verdict["cause"]:
        yield from _line("because", verdict["cause"], width)
    shown = {rule["name"] for rule in verdict["law"]["rules"] if not rule["ok"]} if verdict["law"] else set()
    for words in said.get("violations", ()):
        if words not in shown:
            yield from _line("violation", words, width)
    yield from _rules(verdict["law"], "law", width)


def _rules(law: Row | None, name: str, width: int, before: Row | None = None) -> Iterator[str]:
    """Every rule with its value and its limit; of a second look only those that say something else than `before`."""
    if not law:
        return
    known = [] if not before else before["rules"]
    passed = sum(rule["ok"] for rule in law["rules"])
    rest = ", else as before" if known else ""
    yield from _line(
        name, f"{passed} of {len(law['rules'])} rules passed, allows {law['allowed']} at {law['price']}{rest}", width
    )
    for rule in law["rules"]:
        if rule in known:
            continue
        cut = "" if rule["before"] == rule["after"] else f"  {rule['before']} -> {rule['after']}"
        mark = "ok" if rule["ok"] else "NO"
        yield from _line("", f"{mark} {rule['name']:<16} {rule['value']}  (limit: {rule['limit']}){cut}", width, 3)


def _sent(document: Row, width: int) -> Iterator[str]:
    order = document["order"]
    for one in document["not_sent"]:
        yield from _line("not sent", str(one.get("reason")), width)
        yield from _rules(one.get("law"), "law again", width, _law_of(document))
    if order is None:
        if not document["not_sent"]:
            yield from _line("order", f"none: {_why_none(document)}", width)
        return
    yield from _line(
        "order",
        f"{order['side']} {order['qty']}  at worst {order['worst_price']}, reserves {order['reserved_quote']}",
        width,
    )
    whose = {"operator": "  by an operator's hand", "recovered": "  found on the exchange: no decision of this ledger"}
    yield from _line("", f"{order['client_order_id']}{whose.get(order['origin'], '')}", width)
    yield from _rules(order["law"], "law again", width, _law_of(document))
    for event in order["events"]:
        told = "  ".join(f"{name}={value}" for name, value in event["evidence"].items() if value)
        if event["exchange_order_id"] is not None:
            told = f"order {event['exchange_order_id']}  {told}"
        yield from _line("", f"{event['ts_utc'][11:23]}  {event['state']:<9} {told}".rstrip(), width)
    for fill in order["fills"]:
        yield from _line(
            "fill",
            f"{fill['qty']} @ {fill['price']} = {fill['quote_qty']}, fee {fill['fee']} {fill['fee_asset']}",
            width,
        )


def _law_of(document: Row) -> Row | None:
    verdict = document["verdict"]
    return verdict["law"] if verdict else None


def _why_none(document: Row) -> str:
    """What kept an order from being made, in words."""
    plan, proposal, verdict = document["plan"], document["proposal"], document["verdict"]
    if plan is not None and plan["payload"]["mode"] == "OBSERVE":
        return f"the plan is OBSERVE{': ' + plan['cause'] if plan['cause'] else ''}"
    if proposal is None:
        return "nothing was proposed"
    if proposal["payload"]["action"] == "HOLD":
        return "the trader holds"
    if verdict is None:
        return "it was not judged"
    if verdict["payload"]["decision"] == "REJECT":
        return f"the verdict is REJECT: {verdict['payload'].get('notes', '')}"
    return "the verdict was not carried out"


def _became(document: Row, width: int) -> Iterator[str]:
    """The outcomes, what is still held, and what memory made of them."""
    for one in document["learnt"]:
        made = one["experiment"]
        opened = document["order"] is not None and made["opened_by"] == document["order"]["client_order_id"]
        other = f"sold by {made['closed_by']}" if opened else f"bought by {made['opened_by']}"
        net = "-" if made["net_bp"] is None else f"{made['net_bp']:+.1f} bp"
        models = "" if made["model_cost_usd"] == "0" else f", models {made['model_cost_usd']} USD"
        part = "dust" if made["share"] == 0 else f"{made['share']:.0%} of the purchase"
        held = span_text(int(made["held_secs"]) * 1000)
        yield from _line("outcome", f"{net}, net {made['net']}{models}; {part}, held {held}; {_tied(other)}", width)
        if made["share"] > 0:
            yield from _line("learnt", _lesson(made, one["before"], one["after"]), width)
    for held in document["held"]:
        gain = "-" if held["gain_bp"] is None else f"{held['gain_bp']:+.1f} bp at the newest mark {held['mark']}"
        yield from _line("held", f"{held['qty']} that cost {held['cost']}: {gain}; not counted yet", width)
    traded = document["order"] is not None and document["order"]["trade"] is not None
    if traded and not document["learnt"] and not document["held"]:
        yield from _line("outcome", "none in memory: the first snapshot after a sale writes it", width)


def _lesson(made: Row, before: Row | None, after: Row | None) -> str:
    """A belief before and after an outcome, of its policy in its regime alone."""
    where = f"{made['policy_id'] or 'nobody'} in {made['regime']}"
    if after is None:
        return f"{where}: nothing, for no policy of this ledger opened it"
    return f"{where}: {_tied(_belief(made, before))} -> {_tied(_belief(made, after))}"


def _belief(made: Row, evidence: Row | None) -> str:
    fit = FIT_BP[Regime(made["regime"])].get(made["policy_id"], 0.0)
    seen = None if evidence is None else Evidence(**{**evidence, "at": parse_iso(evidence["at"])})
    belief = posterior(made["policy_id"], seen, fit)
    return f"{belief.mean_bp:+.1f} bp, P(>0) {p_positive(belief):.2f}, n {significant(belief.n, 3)}"


def _end(document: Row, width: int) -> Iterator[str]:
    if document["equity_usdt"] is not None:
        yield from _line("equity", document["equity_usdt"], width)
    where = ["trader ledger show --trades -o wide"]
    if document["trace_id"] is not None:
        trace = document["trace_id"][:8]
        where = [f"trader ledger trace {trace} --prompts --out DIR", f"trader replay {trace}"]
    yield from _line("more", " | ".join(map(_tied, where)), width)


def _tied(words: str) -> str:
    """Words that one line holds, if they fit into one."""
    return words.replace(" ", "\u00a0")


def _line(label: str, words: str, width: int, hang: int = 0) -> Iterator[str]:
    """A labelled text, wrapped under itself, `hang` columns further in."""
    room = max(width - LABEL, 40)
    pieces = textwrap.wrap(words, room, break_on_hyphens=False, drop_whitespace=True, subsequent_indent=" " * hang)
    for at, piece in enumerate(pieces or [""]):
        yield f"{'' if at else label:<{LABEL}}{piece}".replace("\u00a0", " ").rstrip()
