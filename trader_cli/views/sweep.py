"""The runs of a sweep as a table, and whether the best of them is better than luck."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from trader_cli.core.luck import Luck
from trader_cli.schemas.backtest import Outcome
from trader_cli.schemas.performance import DAYS_A_YEAR
from trader_cli.views.output import Column, clean

SCHEMA = "trader.sweep/1"
NO_EVIDENCE = "No evidence that the best run is better than luck."
SURE = 0.95
"""From this probability on the best run counts as better than luck."""


def sweep_columns(done: Sequence[Outcome]) -> tuple[Column, ...]:
    """What the runs differ in, then what came of them."""
    told = dict.fromkeys(name for one in done for name in one.told)
    return (
        *(Column(name, number=not isinstance(_first(done, name), str)) for name in told),
        Column("return", number=True, brief=lambda value: f"{100 * value:+.2f} %"),
        Column("drawdown", number=True, brief=lambda value: f"{-100 * value:.2f} %", gives_way=2),
        Column("sharpe", number=True, brief=lambda value: f"{value:.2f}"),
        Column("trades", number=True, gives_way=1),
        Column("cycles", number=True, gives_way=3),
        Column("run", gives_way=4),
        Column("error", sparse=True, fills=True),
    )


def _first(done: Sequence[Outcome], name: str) -> Any:
    return next((one.told[name] for one in done if name in one.told), None)


def sweep_rows(done: Sequence[Outcome]) -> Iterator[dict[str, Any]]:
    """A row for each run."""
    for one in done:
        failed = one.error is not None
        yield {
            **one.told,
            "return": one.gained,
            "drawdown": None if failed else one.fall,
            "sharpe": one.sharpe,
            "trades": None if failed else one.trades,
            "cycles": None if failed else one.cycles,
            "run": one.run_id,
            "error": one.error,
        }


def sweep_document(done: Sequence[Outcome], luck: Luck | None) -> dict[str, Any]:
    """Everything."""
    return {
        "schema": SCHEMA,
        "trials": len(done),
        "failed": sum(one.error is not None for one in done),
        "luck": None
        if luck is None
        else {"trials": luck.trials, "best": luck.best, "benchmark": luck.benchmark, "probability": luck.probability},
        "better_than_luck": _is_sure(luck),
        "runs": [_run(one) for one in done],
    }


def _run(one: Outcome) -> dict[str, Any]:
    return {
        "run": one.run_id, "told": one.told, "error": one.error, "ledger": one.ledger, "cycles": one.cycles,
        "trades": one.trades, "equity": one.equity, "return": one.gained, "drawdown": one.fall,
        "exposure": one.exposure, "sharpe": one.sharpe, "returns": len(one.returns), "hold": one.hold,
        "content_sha256": one.content_sha256 or None,
    }  # fmt: skip


def _is_sure(luck: Luck | None) -> bool:
    return luck is not None and luck.probability is not None and luck.probability >= SURE


def luck_lines(done: Sequence[Outcome], luck: Luck | None) -> Iterator[str]:
    """The best run, and what it is worth among so many."""
    failed = sum(one.error is not None for one in done)
    yield f"{many_runs(len(done))}, {failed} failed" if failed else many_runs(len(done))
    if luck is None or luck.best is None or luck.probability is None:
        yield "No run has 30 daily returns that vary: nothing can be said of luck."
        return
    best = max((one for one in done if one.sharpe is not None), key=lambda one: one.sharpe or 0.0)
    told = ", ".join(f"{name}={value}" for name, value in best.told.items()) or best.run_id
    yield (
        f"best: {clean(told)}  Sharpe {best.sharpe or 0.0:.2f}   deflated probability {luck.probability:.2f} "
        f"({luck.trials} trials; the best of as many without an edge: {luck.benchmark * DAYS_A_YEAR**0.5:.2f})"
    )
    yield (
        "The best run is better than luck." if _is_sure(luck) else "No evidence that the best run is better than luck."
    )


def many_runs(count: int) -> str:
    """So many runs, in words."""
    return f"{count} run{'s' * (count != 1)}"


def sweep_progress(done: int, of: int, failed: int, secs: float) -> str:
    """How far a sweep is."""
    left = f"{secs / done * (of - done):.0f} s left" if done else "…"
    return f"{done} of {many_runs(of)}, {failed} failed, {left} | Ctrl-C stops; the same command goes on"
