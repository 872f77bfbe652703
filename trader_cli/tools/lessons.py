"""What `memory show` reads: the outcomes of each policy, what is believed after them, and how often each was picked."""

from __future__ import annotations

import json
from collections.abc import Sequence

from trader_cli.core.moments import Moment, parse_iso
from trader_cli.core.posteriors import decayed, interval, p_positive, pooled, posterior
from trader_cli.core.regimes import FIT_BP, Regime
from trader_cli.schemas.belief import Belief
from trader_cli.schemas.memory import Evidence, Experiment
from trader_cli.schemas.policy import BY_ID
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.memory import evidence_at, half_life, key_of
from trader_cli.tools.rows import readable

PLANS = 1_000
"""So many of the newest plans tell how often a policy is picked."""

BUYERS = tuple(FIT_BP[Regime.UNDEFINED])
"""The policies that buy."""


def now_of(ledger: Ledger) -> Moment:
    """The newest moment that the ledger knows, market time: beliefs are told as of then."""
    rows = ledger.db.execute(
        "SELECT ts_utc FROM (SELECT ts_utc FROM portfolio ORDER BY id DESC LIMIT 1) "
        "UNION ALL SELECT ts_utc FROM (SELECT ts_utc FROM decisions ORDER BY id DESC LIMIT 1)"
    ).fetchall()
    return max((parse_iso(row[0]) for row in rows), default=ledger.wall())


def picks(ledger: Ledger) -> tuple[int, dict[str, int]]:
    """How many of the newest plans there are, and how many of them name each policy. Raises LedgerError."""
    counts: dict[str, int] = {}
    rows = ledger.db.execute(
        "SELECT payload_json FROM decisions WHERE agent = 'PLANNER' ORDER BY id DESC LIMIT ?", (PLANS,)
    ).fetchall()
    with readable("a plan"):
        for (payload,) in rows:
            for name in {one["policy_id"] for one in json.loads(payload)["strategies"]}:
                counts[name] = counts.get(name, 0) + 1
    return len(rows), counts


def beliefs(ledger: Ledger, lots: Sequence[Experiment]) -> list[Belief]:
    """Each policy that buys, over all regimes: those with outcomes first, best first."""
    at = now_of(ledger)
    plans, counts = picks(ledger)
    found = []
    for policy_id in BUYERS:
        seen: Evidence | None = None
        for where in Regime:
            seen = _together(seen, _evidence(ledger, f"{policy_id}/{where}", at))
        share = counts.get(policy_id, 0) / plans if plans else 0.0
        mine = [one for one in lots if one.policy_id == policy_id]
        found.append(_belief((policy_id, None), seen, 0.0, mine, share))
    return sorted(found, key=lambda one: (one.lots == 0, -one.posterior.mean_bp))


def beliefs_by_regime(ledger: Ledger, policy_id: str, lots: Sequence[Experiment]) -> list[Belief]:
    """One policy, regime by regime, each from its own outcomes alone; the undefined regime only where it has some."""
    at = now_of(ledger)
    found = []
    for where in Regime:
        key = f"{policy_id}/{where}"
        mine = [one for one in lots if key_of(one) == key]
        if where is Regime.UNDEFINED and not mine:
            continue
        seen = _evidence(ledger, key, at)
        found.append(_belief((policy_id, where.value), seen, FIT_BP[where][policy_id], mine, None))
    return found


def _evidence(ledger: Ledger, key: str, at: Moment) -> Evidence | None:
    found = evidence_at(ledger, at).get(key)
    return None if found is None else decayed(found, at, half_life(ledger))


def _together(seen: Evidence | None, more: Evidence | None) -> Evidence | None:
    if seen is None or more is None:
        return seen or more
    return pooled(seen, more)


def _belief(
    of: tuple[str, str | None],
    seen: Evidence | None,
    prior_mean_bp: float,
    lots: Sequence[Experiment],
    picked: float | None,
) -> Belief:
    policy_id, where = of
    known = posterior(policy_id, seen, prior_mean_bp)
    low, high = interval(known)
    params = lots[-1].params if lots else BY_ID[policy_id].defaults()
    won = sum(one.won for one in lots)
    return Belief(
        policy_id, where, params, bool(lots), len(lots), won, known, low, high, p_positive(known), picked
    )  # fmt: skip
