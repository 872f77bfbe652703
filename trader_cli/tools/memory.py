"""What trading has taught: an outcome for every sale of every purchase, and the belief that follows from them.

An outcome is a row that also holds the evidence of its policy and regime before and after it, and what was held after
its sale: the newest row of a key is all that a question needs, and the newest row all that the next sale does. Rows
are written by the snapshot, in its own commit, for every sale settled since the last one; what they hold follows from
the other rows alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from trader_cli.core.decimals import ZERO, add, dec, sub, text
from trader_cli.core.experiments import Piece, real, return_bp
from trader_cli.core.moments import Moment, iso, parse_iso, read_span
from trader_cli.core.posteriors import ELSEWHERE, HALF_LIFE_BARS, added, decayed, pooled, posterior
from trader_cli.core.pricing import DOLLARS
from trader_cli.core.regimes import FIT_BP, Regime
from trader_cli.schemas.lot import Lot
from trader_cli.schemas.memory import Evidence, Experiment, Held, Learnt, Posterior, Purchase, Standing
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.outcomes import NOBODY, Fold, decided
from trader_cli.tools.rows import dumps, readable
from trader_cli.tools.store import Transaction

UNOWNED = "unowned"
"""The policy of a purchase that no decision of this ledger made."""

DIGITS = 10
"""Significant digits that evidence is kept with: more may differ between machines."""

MOST_BP = 10_000.0
"""No outcome counts for more, either way: all that the purchase cost."""

_MOST_OUTCOMES = 1e9

_KEYS = [f"{policy_id}/{where}" for where, fits in FIT_BP.items() for policy_id in fits]
_OURS = (*_KEYS, f"{UNOWNED}/{NOBODY.regime}")
_ROWS = "SELECT id, value_json FROM memory"


# --- asking ----------------------------------------------------------------------------------


def read_posteriors(ledger: Ledger, at: Moment, here: Regime) -> tuple[Posterior, ...]:
    """What is believed of each policy that buys, in the regime `here`, by outcomes closed at or before `at`.

    Outcomes in other regimes count ELSEWHERE. The prior's mean is what the regime is expected to be worth.
    """
    return ledger.remembered("posteriors", ("memory", "meta"), lambda: _posteriors(ledger, at, here), about=(at, here))


def _posteriors(ledger: Ledger, at: Moment, here: Regime) -> tuple[Posterior, ...]:
    half_life_ms = half_life(ledger)
    newest = evidence_at(ledger, at)
    found = []
    for policy_id, fit in FIT_BP[here].items():
        seen: Evidence | None = None
        for one in Regime:
            if (evidence := newest.get(f"{policy_id}/{one.value}")) is not None:
                evidence = decayed(evidence, at, half_life_ms)
                weight = 1.0 if one is here else ELSEWHERE
                seen = pooled(seen or Evidence(0.0, 0.0, 0.0, evidence.at), evidence, weight)
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
    """The newest evidence of each key, or the newest that is not of after `at`."""
    until = "" if at is None else "AND json_extract(m.value_json, '$.after.at') <= ?"
    rows = ledger.db.execute(
        f"WITH k(key) AS (VALUES {','.join(['(?)'] * len(_KEYS))}) SELECT key, value_json FROM memory WHERE id IN "
        f"(SELECT (SELECT m.id FROM memory AS m WHERE m.key = k.key {until} ORDER BY m.id DESC LIMIT 1) FROM k)",
        (*_KEYS, *(() if at is None else (iso(at),))),
    )
    with readable("memory"):
        read = ((key, read_evidence(json.loads(value)["after"])) for key, value in rows)
        return {key: evidence for key, evidence in read if evidence is not None}


def learnt_of(ledger: Ledger, client_order_id: str) -> tuple[Learnt, ...]:
    """What memory holds of an order: the outcomes it opened, or the ones it closed. Raises LedgerError."""
    rows = ledger.db.execute(
        f"{_ROWS} WHERE json_extract(value_json, '$.experiment.opened_by') = ? "
        "OR json_extract(value_json, '$.experiment.closed_by') = ? ORDER BY id",
        (client_order_id, client_order_id),
    )
    with readable("memory"):
        return tuple(read_learnt(*row) for row in rows)


def all_learnt(ledger: Ledger, policy_id: str | None = None) -> list[Learnt]:
    """Every outcome, or those of one policy, in the order they were learnt. Raises LedgerError."""
    keys = [key for key in _OURS if policy_id is None or key.startswith(f"{policy_id}/")]
    rows = ledger.db.execute(f"{_ROWS} WHERE key IN ({','.join('?' * len(keys))}) ORDER BY id", keys)
    with readable("memory"):
        return [read_learnt(*row) for row in rows]


def _last_learnt(ledger: Ledger) -> tuple[int, Standing | None]:
    """The link of the newest sale that memory holds, and what was held after it; 0 and None before the first."""
    row = ledger.db.execute(
        f"SELECT value_json FROM memory WHERE +key IN ({','.join('?' * len(_OURS))}) ORDER BY id DESC LIMIT 1", _OURS
    ).fetchone()
    if row is None:
        return 0, None
    with readable("memory"):
        learnt = read_learnt(0, row[0])
        sale = ledger.db.execute(
            "SELECT link FROM trades WHERE idempotency_key = ?", (learnt.experiment.closed_by,)
        ).fetchone()
        if sale is None:
            raise LookupError("its newest outcome is of no sale")
    return int(sale[0]), learnt.standing


def still_held(ledger: Ledger) -> tuple[Held, ...]:
    """The purchases of which more than dust is held, oldest first: no outcomes."""
    fold = Fold(ledger, *_last_learnt(ledger))
    with readable("what is held"):
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
    last, standing = ledger.remembered("last learnt", ("memory",), lambda: _last_learnt(ledger))
    if ledger.remembered("last sale", ("trades",), lambda: _last_sale(ledger)) <= last:
        return 0
    fold, evidence = Fold(ledger, last, standing), _evidence(ledger, None)
    with readable("what was sold"):
        learnt = [learn(ledger, piece, evidence, held) for link, piece, held in fold.closed() if link > last]
    return sum(write_experiment(tx, one) for one in learnt)


class Lessons:
    """What the snapshots of a replay learnt, in their order: the outcomes of sales that memory did not hold yet."""

    def __init__(self, ledger: Ledger, past: Ledger) -> None:
        """From where `past` ends, which is the ledger as it stood before the replay's first step."""
        self._ledger = ledger
        self._evidence = _evidence(past, None)
        self._last, standing = _last_learnt(past)
        self._fold = Fold(ledger, self._last, standing)
        self._began = ledger.db.execute("SELECT min(link) FROM memory").fetchone()[0]
        self._pieces: Iterator[tuple[int, Piece, Standing | None]] | None = None
        self._next: tuple[int, Learnt] | None = None

    def before(self, link: int) -> list[Learnt]:
        """What a snapshot of link `link` had to learn. Nothing before the ledger had a memory at all."""
        if self._began is None or link < self._began or _last_sale(self._ledger) <= self._last:
            return []
        if self._pieces is None:
            self._pieces = self._fold.closed()
            self._next = self._following()
        found = []
        while self._next is not None and self._next[0] < link:
            found.append(self._next[1])
            self._next = self._following()
        return found

    def _following(self) -> tuple[int, Learnt] | None:
        """The next outcome."""
        for sold_at, piece, held in self._pieces or ():
            if sold_at > self._last:
                return sold_at, learn(self._ledger, piece, self._evidence, held)
        return None


def write_experiment(tx: Transaction, learnt: Learnt) -> int:
    """One outcome as a row of memory."""
    tx.insert(
        "memory",
        ts_utc=iso(learnt.experiment.closed_at),
        key=key_of(learnt.experiment),
        value_json=dumps(learnt_document(learnt)),
    )
    return 1


def learn(ledger: Ledger, piece: Piece, evidence: dict[str, Evidence], standing: Standing | None) -> Learnt:
    """An outcome and what it adds to the evidence, which is brought up to date; `standing` is held after its sale.

    None counts for more than MOST_BP: models may cost many times what a small purchase did.
    """
    experiment = _experiment(ledger, piece)
    key = key_of(experiment)
    before = after = evidence.get(key) if experiment.policy_id is not None else None
    if experiment.policy_id is not None and experiment.net_bp is not None:
        moment = max(experiment.closed_at, before.at if before else 0)
        counts = max(-MOST_BP, min(MOST_BP, experiment.net_bp))
        after = _short(added(before, counts, experiment.share, moment, half_life(ledger)))
        evidence[key] = after
    return Learnt(0, experiment, before, after, standing)


def _short(evidence: Evidence) -> Evidence:
    n, mean, squares = (float(f"{x:.{DIGITS}g}") for x in (evidence.n, evidence.mean_bp, evidence.squares))
    return Evidence(n, mean, squares, evidence.at)


def _experiment(ledger: Ledger, piece: Piece) -> Experiment:
    sold_short = piece.opened_by == piece.closed_by  # more than was held: the decision to sell bought nothing
    by = NOBODY if sold_short else decided(ledger, piece.opened_by)
    dollars = (ledger.identity().get("symbol") or "/").partition("/")[2] in DOLLARS
    net = sub(piece.proceeds, add(piece.cost, piece.model_cost if dollars else ZERO))
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
        net_bp=return_bp(net, piece.cost),
    )


def _last_sale(ledger: Ledger) -> int:
    row = ledger.db.execute("SELECT link FROM trades WHERE side = 'SELL' ORDER BY id DESC LIMIT 1").fetchone()
    return int(row[0]) if row else 0


# --- rows ------------------------------------------------------------------------------------


def key_of(experiment: Experiment) -> str:
    """The identifier of what is tried again and again: a policy in a regime."""
    return f"{experiment.policy_id or UNOWNED}/{experiment.regime}"


def experiment_document(one: Experiment) -> dict[str, Any]:
    """An outcome as JSON."""
    return {
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


def learnt_document(learnt: Learnt) -> dict[str, Any]:
    """A row's JSON."""
    return {
        "experiment": experiment_document(learnt.experiment),
        "before": _document(learnt.before),
        "after": _document(learnt.after),
        **({} if learnt.standing is None else {"standing": _standing_document(learnt.standing)}),
    }


def _standing_document(standing: Standing) -> dict[str, Any]:
    return {
        "base": text(standing.base),
        "cost": text(standing.cost),
        "lots": [[one.client_order_id, iso(one.opened_at), text(one.qty), text(one.cost)] for one in standing.lots],
        "purchases": {
            order: [text(one.qty), text(one.model_cost), one.is_closed, one.covers]
            for order, one in standing.purchases.items()
        },
    }


def read_standing(document: dict[str, Any] | None) -> Standing | None:
    """What a row holds of what was held. Raises ValueError, KeyError or TypeError for anything else."""
    if document is None:
        return None
    lots = tuple(Lot(_name(order), parse_iso(at), dec(qty), dec(cost)) for order, at, qty, cost in document["lots"])
    purchases = {
        order: Purchase(dec(qty), dec(cost), bool(closed), bool(covers))
        for order, (qty, cost, closed, covers) in document["purchases"].items()
    }
    return Standing(dec(document["base"]), dec(document["cost"]), lots, purchases)


def _document(evidence: Evidence | None) -> dict[str, Any] | None:
    if evidence is None:
        return None
    return {
        "n": evidence.n,
        "mean_bp": evidence.mean_bp,
        "squares": evidence.squares,
        "at": iso(evidence.at),
    }


def read_evidence(document: dict[str, Any] | None) -> Evidence | None:
    """What a row holds of evidence. Raises ValueError, KeyError or TypeError for anything else."""
    if document is None:
        return None
    n, mean, squares = (float(_number(document[name])) for name in ("n", "mean_bp", "squares"))
    if not (0.0 <= n <= _MOST_OUTCOMES and 0.0 <= squares <= n * MOST_BP**2 * (1 + 1e-6) and abs(mean) <= MOST_BP):
        raise ValueError(f"evidence of {n} outcomes, mean {mean}, squares {squares}")
    return Evidence(n, mean, squares, parse_iso(document["at"]))


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"needs the name of an order, was {value!r}")
    return value


def _number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"needs a number, was {value!r}")
    return value


def read_learnt(row_id: int, value_json: str) -> Learnt:
    """A row as a record. Raises ValueError, KeyError or TypeError for anything else."""
    document = json.loads(value_json)
    one = document["experiment"]
    experiment = Experiment(
        policy_id=one["policy_id"],
        params={name: _number(value) for name, value in one["params"].items()},
        regime=one["regime"],
        hypothesis=one["hypothesis"],
        confidence=one["confidence"],
        opened_by=_name(one["opened_by"]),
        closed_by=_name(one["closed_by"]),
        opened_at=parse_iso(one["opened_at"]),
        closed_at=parse_iso(one["closed_at"]),
        share=float(_number(one["share"])),
        qty=dec(one["qty"]),
        cost=dec(one["cost"]),
        proceeds=dec(one["proceeds"]),
        model_cost_usd=dec(one["model_cost_usd"]),
        net=dec(one["net"]),
        net_bp=None if one["net_bp"] is None else float(_number(one["net_bp"])),
    )
    evidence = read_evidence(document["before"]), read_evidence(document["after"])
    return Learnt(row_id, experiment, *evidence, read_standing(document.get("standing")))
