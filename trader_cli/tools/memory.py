"""What trading has taught: an outcome for every sale of every purchase, and the belief that follows from them.

An outcome is a row that also holds the evidence of its policy and regime before and after it, so that
the newest row of a key is all that a question needs. Rows are written by the snapshot, in its own commit, for
every sale settled since the last one; what they hold follows from the other rows alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from trader_cli.core.decimals import ZERO, add, dec, div, mul, sub, text
from trader_cli.core.errors import LedgerError
from trader_cli.core.experiments import Piece, real
from trader_cli.core.moments import Moment, iso, parse_iso, read_span
from trader_cli.core.posteriors import ELSEWHERE, HALF_LIFE_BARS, added, decayed, pooled, posterior
from trader_cli.core.pricing import DOLLARS
from trader_cli.core.regimes import FIT_BP, Regime
from trader_cli.schemas.memory import Evidence, Experiment, Held, Learnt, Posterior
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.outcomes import NOBODY, Fold, decided, flat_before
from trader_cli.tools.rows import dumps
from trader_cli.tools.store import Transaction

UNOWNED = "unowned"
"""The policy of a purchase that no decision of this ledger made."""

DIGITS = 10
"""Significant digits that evidence is kept with: more may differ between machines."""

_KEYS = frozenset(f"{policy_id}/{where}" for where, fits in FIT_BP.items() for policy_id in fits)
_ROWS = "SELECT id, value_json FROM memory"


# --- asking ----------------------------------------------------------------------------------


def read_posteriors(ledger: Ledger, at: Moment, here: Regime) -> tuple[Posterior, ...]:
    """What is believed of each policy that buys, in the regime `here`, by outcomes closed at or before `at`.

    Outcomes in other regimes count ELSEWHERE. The prior's mean is what the regime is expected to be worth.
    """
    half_life_ms = half_life(ledger)
    newest = evidence_at(ledger, at)
    found = []
    for policy_id, fit in FIT_BP[here].items():
        seen: Evidence | None = None
        for one in Regime:
            if (evidence := newest.get(f"{policy_id}/{one.value}")) is not None:
                evidence = decayed(evidence, at, half_life_ms)
                weight = 1.0 if one is here else ELSEWHERE
                seen = pooled(seen or Evidence(0.0, 0.0, 0.0, 0, evidence.at), evidence, weight)
        found.append(posterior(policy_id, seen, fit))
    return tuple(found)


def half_life(ledger: Ledger) -> float:
    """After how many ms an outcome counts half in this ledger."""
    timeframe = ledger.remembered("timeframe", ("meta",), lambda: ledger.identity().get("timeframe") or "5m")
    return float(HALF_LIFE_BARS * read_span(timeframe))


def evidence_at(ledger: Ledger, at: Moment) -> dict[str, Evidence]:
    """The newest evidence of each policy and regime, of outcomes closed at or before `at`."""
    found = ledger.remembered("evidence", ("memory",), lambda: _evidence(ledger, None))
    if all(evidence.at <= at for evidence in found.values()):
        return found
    return _evidence(ledger, at)  # the clock was set back, or the question is an old one


def _evidence(ledger: Ledger, at: Moment | None) -> dict[str, Evidence]:
    until = "" if at is None else "WHERE json_extract(value_json, '$.after.at') <= ?"
    rows = ledger.db.execute(
        f"SELECT key, value_json FROM memory WHERE id IN (SELECT max(id) FROM memory {until} GROUP BY key)",
        () if at is None else (iso(at),),
    )
    try:
        read = ((key, read_evidence(json.loads(value)["after"])) for key, value in rows if key in _KEYS)
        return {key: evidence for key, evidence in read if evidence is not None}
    except (ValueError, LookupError, TypeError) as error:
        raise LedgerError(f"memory cannot be read: {error}", "Look: trader ledger verify") from error


def learnt_of(ledger: Ledger, client_order_id: str) -> tuple[Learnt, ...]:
    """What memory holds of an order: the outcomes it opened, or the ones it closed."""
    rows = ledger.db.execute(
        f"{_ROWS} WHERE json_extract(value_json, '$.experiment.opened_by') = ? "
        "OR json_extract(value_json, '$.experiment.closed_by') = ? ORDER BY id",
        (client_order_id, client_order_id),
    )
    return tuple(read_learnt(*row) for row in rows)


def all_learnt(ledger: Ledger, policy_id: str | None = None) -> Iterator[Learnt]:
    """Every outcome, or those of one policy, in the order they were learnt."""
    rows = ledger.db.execute(f"{_ROWS} WHERE ? IS NULL OR key LIKE ? || '/%' ORDER BY id", (policy_id, policy_id))
    return (read_learnt(*row) for row in rows)


def still_held(ledger: Ledger) -> tuple[Held, ...]:
    """The purchases of which more than dust is held, oldest first: no outcomes."""
    last = ledger.db.execute("SELECT link FROM trades ORDER BY id DESC LIMIT 1").fetchone()
    if last is None:
        return ()
    fold = Fold(ledger, flat_before(ledger, last[0]))
    for _ in fold.closed():
        pass
    opened = {lot.client_order_id: lot.opened_at for lot in reversed(fold.lots)}
    return tuple(
        Held(decided(ledger, order).policy_id, order, opened[order], *held)
        for order, held in real(fold.purchases, fold.lots).items()
    )


# --- writing ---------------------------------------------------------------------------------


def write_experiments(ledger: Ledger, tx: Transaction) -> int:
    """The outcomes of every sale that memory does not hold yet; returns how many. Within the snapshot's commit."""
    newest = ledger.remembered("last learnt", ("memory",), lambda: _last_link(ledger, "memory"))
    if ledger.remembered("last sale", ("trades",), lambda: _last_link(ledger, "trades WHERE side = 'SELL'")) <= newest:
        return 0
    fold = ledger.remembered("fold", (), lambda: Fold(ledger, _flat_before_sale(ledger, newest)))
    evidence = _evidence(ledger, None)
    written = 0
    for link, piece in fold.closed():
        if link > newest:
            written += write_experiment(tx, learn(ledger, piece, evidence))
    return written


class Lessons:
    """What the snapshots of a replay learnt, in their order: the outcomes of sales that memory did not hold yet."""

    def __init__(self, ledger: Ledger, past: Ledger) -> None:
        """From where `past` ends, which is the ledger as it stood before the replay's first step."""
        self._ledger = ledger
        self._evidence = _evidence(past, None)
        self._learnt = _last_link(past, "memory")
        self._began = ledger.db.execute("SELECT min(link) FROM memory").fetchone()[0]
        self._last_sale = _last_link(ledger, "trades WHERE side = 'SELL'")
        self._pieces: Iterator[tuple[int, Piece]] | None = None
        self._next: tuple[int, Piece] | None = None

    def before(self, link: int) -> list[Learnt]:
        """What a snapshot of link `link` had to learn. Nothing before the ledger had a memory at all."""
        if self._began is None or link < self._began or self._last_sale <= self._learnt:
            return []
        if self._pieces is None:
            self._pieces = Fold(self._ledger, flat_before(self._ledger, self._learnt + 1)).closed()
            self._next = next(self._pieces, None)
        found = []
        while self._next is not None and self._next[0] < link:
            if self._next[0] > self._learnt:
                found.append(learn(self._ledger, self._next[1], self._evidence))
            self._next = next(self._pieces, None)
        return found


def _flat_before_sale(ledger: Ledger, link: int) -> int:
    """Where to begin so that the first sale after a link is not missed."""
    first = ledger.db.execute("SELECT min(link) FROM trades WHERE side = 'SELL' AND link > ?", (link,)).fetchone()[0]
    return flat_before(ledger, first)


def write_experiment(tx: Transaction, learnt: Learnt) -> int:
    """One outcome as a row of memory."""
    tx.insert(
        "memory",
        ts_utc=iso(learnt.experiment.closed_at),
        key=key_of(learnt.experiment),
        value_json=dumps(learnt_document(learnt)),
    )
    return 1


def learn(ledger: Ledger, piece: Piece, evidence: dict[str, Evidence]) -> Learnt:
    """An outcome and what it adds to the evidence, which is brought up to date."""
    experiment = _experiment(ledger, piece)
    key = key_of(experiment)
    before = after = None
    if experiment.policy_id is not None and experiment.net_bp is not None:
        before, half_life_ms = evidence.get(key), half_life(ledger)
        moment = max(experiment.closed_at, before.at if before else 0)
        after = _short(added(before, experiment.net_bp, experiment.share, moment, half_life_ms))
        evidence[key] = after
    return Learnt(0, experiment, before, after)


def _short(evidence: Evidence) -> Evidence:
    n, mean, squares = (float(f"{x:.{DIGITS}g}") for x in (evidence.n, evidence.mean_bp, evidence.squares))
    return Evidence(n, mean, squares, evidence.count, evidence.at)


def _experiment(ledger: Ledger, piece: Piece) -> Experiment:
    sold_short = piece.opened_by == piece.closed_by  # more than was held: the decision to sell bought nothing
    by = NOBODY if sold_short else decided(ledger, piece.opened_by)
    dollars = (ledger.identity().get("symbol") or "/").partition("/")[2] in DOLLARS
    net = sub(piece.proceeds, add(piece.cost, piece.model_cost if dollars else ZERO))
    net_bp = None
    if piece.cost > ZERO:
        net_bp = float(div(mul(net, Decimal(10_000)), piece.cost, Decimal("0.000001")))
    return Experiment(
        *by,
        opened_by=piece.opened_by,
        closed_by=piece.closed_by,
        opened_at=piece.opened_at,
        closed_at=piece.closed_at,
        share=float(f"{piece.share:.{DIGITS}g}"),
        qty=piece.qty,
        cost=piece.cost,
        proceeds=piece.proceeds,
        model_cost_usd=piece.model_cost,
        net=net,
        net_bp=net_bp,
    )


def _last_link(ledger: Ledger, where: str) -> int:
    row = ledger.db.execute(f"SELECT link FROM {where} ORDER BY id DESC LIMIT 1").fetchone()
    return int(row[0]) if row else 0


# --- rows ------------------------------------------------------------------------------------


def key_of(experiment: Experiment) -> str:
    """The identifier of what is tried again and again: a policy in a regime."""
    return f"{experiment.policy_id or UNOWNED}/{experiment.regime}"


def learnt_document(learnt: Learnt) -> dict[str, Any]:
    """A row's JSON."""
    one = learnt.experiment
    experiment = {
        "policy_id": one.policy_id,
        "params": one.params,
        "regime": one.regime,
        "hypothesis": one.hypothesis,
        "confidence": one.confidence,
        "opened_by": one.opened_by,
        "closed_by": one.closed_by,
        "opened_at": iso(one.opened_at),
        "closed_at": iso(one.closed_at),
        "held_secs": one.held_ms / 1000,
        "share": one.share,
        "qty": text(one.qty),
        "cost": text(one.cost),
        "proceeds": text(one.proceeds),
        "model_cost_usd": text(one.model_cost_usd),
        "net": text(one.net),
        "net_bp": one.net_bp,
    }
    return {"experiment": experiment, "before": _document(learnt.before), "after": _document(learnt.after)}


def _document(evidence: Evidence | None) -> dict[str, Any] | None:
    if evidence is None:
        return None
    return {
        "n": evidence.n,
        "mean_bp": evidence.mean_bp,
        "squares": evidence.squares,
        "count": evidence.count,
        "at": iso(evidence.at),
    }


def read_evidence(document: dict[str, Any] | None) -> Evidence | None:
    """What a row holds of evidence."""
    return None if document is None else Evidence(**{**document, "at": parse_iso(document["at"])})


def read_learnt(row_id: int, value_json: str) -> Learnt:
    """A row as a record. Raises ValueError, KeyError or TypeError for anything else."""
    document = json.loads(value_json)
    one = document["experiment"]
    experiment = Experiment(
        policy_id=one["policy_id"],
        params=one["params"],
        regime=one["regime"],
        hypothesis=one["hypothesis"],
        confidence=one["confidence"],
        opened_by=one["opened_by"],
        closed_by=one["closed_by"],
        opened_at=parse_iso(one["opened_at"]),
        closed_at=parse_iso(one["closed_at"]),
        share=float(one["share"]),
        qty=dec(one["qty"]),
        cost=dec(one["cost"]),
        proceeds=dec(one["proceeds"]),
        model_cost_usd=dec(one["model_cost_usd"]),
        net=dec(one["net"]),
        net_bp=one["net_bp"],
    )
    return Learnt(row_id, experiment, read_evidence(document["before"]), read_evidence(document["after"]))
