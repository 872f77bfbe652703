"""What trading has taught, as a table, as words below it, and as a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from trader_cli.core.calibration import COIN, ENOUGH, Calibration
from trader_cli.core.decimals import div, mul, sub, text
from trader_cli.core.moments import Moment, iso, span_text
from trader_cli.core.posteriors import ELSEWHERE, HALF_LIFE_BARS, LEVEL
from trader_cli.schemas.belief import Belief
from trader_cli.schemas.memory import Held
from trader_cli.views.output import Column

NEWEST = 10
"""So many outcomes of one policy are listed."""


def _bp(value: float) -> str:
    return f"{value:+.1f}"


def _share(value: float) -> str:
    return f"{value:.0%}"


def _chance(value: float) -> str:
    return f"{value:.2f}"


_NUMBERS = (
    Column("lots", "N", number=True),
    Column("won", "WIN", number=True),
    Column("mean_bp", "MEAN bp", number=True, brief=lambda value: value if value == "prior" else _bp(value)),
    Column("low_bp", "90 % FROM", number=True, brief=_bp),
    Column("high_bp", "TO", number=True, brief=_bp),
    Column("p_positive", "P(>0)", number=True, brief=_chance),
)
POLICIES = (
    Column("policy_id", "POLICY"),
    Column("params", "PARAMS", gives_way=1),
    *_NUMBERS,
    Column("picked", "PICKED", number=True, brief=_share),
)
REGIMES = (Column("regime", "REGIME"), *_NUMBERS)


def memory_document(
    of: tuple[str | None, Moment],
    found: Sequence[Belief],
    outcomes: Sequence[Mapping[str, Any]],
    holding: tuple[Sequence[Held], str | None],
    confidence: Calibration,
) -> dict[str, Any]:
    """Everything: policies (or one policy's regimes), the newest outcomes (dust aside), what is held, calibration."""
    policy, at = of
    return {
        "schema": "trader.memory/1",
        "policy_id": policy,
        "at": iso(at),
        "level": LEVEL,
        "half_life_bars": HALF_LIFE_BARS,
        "elsewhere": ELSEWHERE,
        "policies": [_belief(one) for one in found],
        "outcomes": list(outcomes[-NEWEST:]),
        "unowned": sum(one["policy_id"] is None for one in outcomes),
        "held": [_held(one, holding[1]) for one in holding[0]],
        "calibration": {
            "n": confidence.n,
            "brier": confidence.brier,
            "coin": COIN,
            "bins": [
                {
                    "low": one.low,
                    "high": one.high,
                    "n": one.n,
                    "said": one.said,
                    "right": one.right,
                    "right_low": one.interval[0],
                    "right_high": one.interval[1],
                }
                for one in confidence.bins
            ],
        },
    }


def _belief(one: Belief) -> dict[str, Any]:
    return {
        "policy_id": one.policy_id,
        "regime": one.regime,
        "params": one.params,
        "params_tried": one.params_tried,
        "lots": one.lots,
        "won": one.won,
        "n_effective": one.posterior.n,
        "mean_bp": one.posterior.mean_bp,
        "sd_bp": one.posterior.sd_bp,
        "dof": one.posterior.dof,
        "low_bp": one.low_bp,
        "high_bp": one.high_bp,
        "p_positive": one.p_positive,
        "picked": one.picked,
    }


def _held(one: Held, mark: str | None) -> dict[str, Any]:
    gain_bp = None
    if mark is not None and one.cost > 0:
        gain = sub(mul(one.qty, Decimal(mark)), one.cost)
        gain_bp = float(div(mul(gain, Decimal(10_000)), one.cost, Decimal("0.01")))
    return {
        "policy_id": one.policy_id,
        "opened_by": one.opened_by,
        "qty": text(one.qty),
        "cost": text(one.cost),
        "mark": mark,
        "gain_bp": gain_bp,
    }


def belief_rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the table: a prior says that it is one, and parameters that were never tried are in brackets."""
    rows = []
    for one in document["policies"]:
        params = " ".join(f"{name}={value}" for name, value in one["params"].items())
        prior = one["lots"] == 0 and one["n_effective"] == 0
        mean = "prior" if prior else one["mean_bp"]
        rows.append({**one, "params": params if one["params_tried"] else f"({params})", "mean_bp": mean})
    return rows


def memory_notes(document: Mapping[str, Any]) -> list[str]:
    """What the table does not say: outcomes, what is held, calibration, what the numbers mean."""
    lines = [""]
    if document["policy_id"] is not None:
        lines += map(_outcome, document["outcomes"])
    for one in document["held"]:
        gain = "-" if one["gain_bp"] is None else f"{_bp(one['gain_bp'])} bp at the last mark"
        lines.append(f"held        {one['policy_id'] or 'unowned'}: {gain}; an open lot is not counted")
    if document["unowned"]:
        lines.append(f"unowned     {document['unowned']} lots were opened by no decision of this ledger: not counted")
    lines += _calibration(document["calibration"])
    lines.append(
        f"N is closed lots; beliefs are net of fees and models, an outcome counts half after {HALF_LIFE_BARS} bars"
    )
    return lines


def _outcome(one: Mapping[str, Any]) -> str:
    net = "-" if one["net_bp"] is None else _bp(one["net_bp"])
    params = " ".join(f"{name}={value}" for name, value in one["params"].items())
    return (
        f"{one['closed_at'][5:16].replace('T', ' ')}  {net:>7} bp  {one['net']}  "
        f"held {span_text(int(one['held_secs']) * 1000)}  {one['regime']}  {params}  {one['hypothesis'] or ''}"
    )


def _calibration(found: Mapping[str, Any]) -> list[str]:
    if found["n"] < ENOUGH:
        return [f"calibration {found['n']} outcomes with a stated confidence: not enough to say, needs {ENOUGH}"]
    lines = [f"calibration Brier {found['brier']:.3f} (coin {COIN:.3f}), {found['n']} outcomes"]
    for one in found["bins"]:
        lines.append(
            f"            said {one['low']:.2f}-{one['high']:.2f}  right {one['right']:.2f} "
            f"({one['right_low']:.2f} to {one['right_high']:.2f})  n {one['n']}"
        )
    return lines
