"""blocked(): what a stop kept from happening, as the ledger tells it."""

from __future__ import annotations

from trader_cli.core.moments import Moment, parse_iso
from trader_cli.schemas.situation import Blocked
from trader_cli.tools.ledger import Ledger

_FIRST = """
SELECT ts_utc, link FROM events WHERE kind = 'STATE' AND id > coalesce((SELECT max(id) FROM events
WHERE kind = 'STATE' AND json_extract(data_json, '$.to') = 'RUN'), 0) ORDER BY id LIMIT 1"""

_CYCLES = "SELECT count(*) FROM decisions WHERE agent = 'PLANNER' AND link > ? AND cause LIKE 'stopped:%'"

_ORDERS = """
SELECT count(*) FROM decisions AS j WHERE j.agent = 'JUDGE' AND j.link > ? AND j.law_json IS NOT NULL
AND EXISTS (SELECT 1 FROM json_each(j.law_json, '$.rules') AS r
  WHERE json_extract(r.value, '$.name') = 'state' AND NOT json_extract(r.value, '$.ok'))"""

_NOT_SENT = """
SELECT count(*) FROM events WHERE kind = 'NOT_SENT' AND link > ?
AND json_extract(data_json, '$.reason') LIKE 'state:%'"""


def blocked(ledger: Ledger) -> Blocked:
    """What was kept from happening since trading was last allowed whole; nothing if it is allowed now."""
    first = ledger.db.execute(_FIRST).fetchone()
    if first is None:
        return Blocked(None, 0, 0)
    since: Moment = parse_iso(first[0])
    cycles, orders, not_sent = (
        int(ledger.db.execute(sql, (first[1],)).fetchone()[0]) for sql in (_CYCLES, _ORDERS, _NOT_SENT)
    )
    return Blocked(since, cycles, orders + not_sent)
