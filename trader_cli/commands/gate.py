"""trader gate test: whether every rule of the law fires."""

from __future__ import annotations

from trader_cli.commands.options import Globals, command
from trader_cli.core.decimals import text
from trader_cli.core.errors import DiffersError
from trader_cli.core.moments import span_ms
from trader_cli.phases.gate import gate
from trader_cli.tools.exchanges.paper_rules import costs, rules
from trader_cli.views.gate import COLUMNS, gate_document, gate_rows
from trader_cli.wiring import limits


@command
def test(g: Globals) -> None:
    """Try every rule of the law just inside and just beyond its edge, with your own settings.

    Each goes through the same review as an order. A rule that lets through what it
    must not is DEAD, one that binds a sale it must let go is TRAPPED: exit code 9.
    Needs no ledger, no key and no network; the market's rules are those of paper.

    Example: trader gate test --json
    """
    settings = g.settings()
    market = rules(settings.symbol, settings.paper_fee_pct)
    expected = costs(settings.paper_fee_pct, settings.paper_slippage_bps)
    tested = gate(limits(settings, span_ms(settings.timeframe)), market, expected)
    said = {name: text(getattr(market, name)) for name in ("step", "min_qty", "max_qty", "min_notional", "fee_pct")}
    document = gate_document(tested, {"symbol": market.symbol, **said})
    if g.json:
        g.out.record(document)
    else:
        g.out.table(COLUMNS, gate_rows(document))
    wrong = dict.fromkeys(one.rule for one in tested if not one.ok)
    if wrong:
        raise DiffersError(
            f"{len(wrong)} of the law's rules do not work: {', '.join(wrong)}",
            "Stop trading (trader stop), and report it: trader is wrong, not you.",
        )
    if g.out.is_terminal and not g.json:
        g.out.say(f"Every rule works: {len(tested)} probes.")
