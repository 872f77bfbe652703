"""What models looked up, again: each tool call served anew from the bars its trace had stored must get the same."""

from __future__ import annotations

import json

from trader_cli.agents.lookups import lookup
from trader_cli.agents.reading import UnreadableError
from trader_cli.core.moments import read_span
from trader_cli.schemas.tool import ToolCall
from trader_cli.tools import verification_calls
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.verification import Count, Problems


def calls(ledger: Ledger, count: Count) -> Problems:
    """Calls over the network against one another, and what their tools got against the candles."""
    yield from verification_calls.calls(ledger, count)
    timeframe_ms = read_span(ledger.identity().get("timeframe") or "5m")
    for row_id, tools_json, observation_id in verification_calls.looked_up(ledger):
        count.seen += 1
        if observation_id is None:
            yield f"model call {row_id} looked something up, and its proposal names no observation"
            continue
        window = ledger.observation(observation_id, timeframe_ms).window
        for one in json.loads(tools_json):
            try:
                got: str | None = lookup(window, ToolCall(one["call_id"], one["name"], one["arguments"]))
            except UnreadableError:
                got = None
            if one["output"] is not None and one["output"] != got:
                yield f"model call {row_id}: {one['name']} got another answer than the stored candles give"
