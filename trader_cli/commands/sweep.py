"""trader backtest --sweep: many runs, here, in local processes or on a cluster; one table, and what luck would do."""

from __future__ import annotations

import math
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

from trader_cli.backtests import MADE_OF, run_id, run_of, run_one
from trader_cli.commands.options import Globals
from trader_cli.config import settings_from
from trader_cli.core.errors import UsageError
from trader_cli.core.grids import Point, points
from trader_cli.core.luck import Luck, deflated
from trader_cli.schemas.backtest import Outcome, Run
from trader_cli.schemas.performance import DAYS_A_YEAR
from trader_cli.tools.executors import DASK, executor
from trader_cli.tools.files import read_text
from trader_cli.views.sweep import luck_lines, sweep_columns, sweep_document, sweep_progress, sweep_rows

VARIED = tuple(name.upper() for name in MADE_OF)


def run_sweep(g: Globals, base: Run, paths: tuple[Path, Path], where: tuple[int | None, str | None]) -> None:
    """Carry out every run of a grid, and print them all. Raises UsageError, ConfigError, UpstreamError."""
    grid, folder = paths
    jobs, on = where
    if on is not None and not on.startswith(DASK):
        raise UsageError(f'--on needs {DASK}HOST:PORT, was "{on[:60]}"')
    if on is not None and jobs is not None:
        raise UsageError("-j is for local processes, --on for a cluster", "Give one of them.")
    runs = [(_varied(base, point), point[2]) for point in points(_grid(grid), VARIED)]
    folder.mkdir(parents=True, exist_ok=True)
    place = str(folder.resolve())
    began, done = time.monotonic(), list[Outcome]()
    g.out.say(f"{len(runs)} runs, {_where(jobs, on)}, ledgers in {folder}")
    with executor(jobs or 1, on) as pool:
        for outcome in _outcomes(pool, runs, place):
            done.append(outcome)
            failed = sum(one.error is not None for one in done)
            g.out.passing(sweep_progress(len(done), len(runs), failed, time.monotonic() - began))
    ranked = sorted(done, key=_rank)
    _show(g, ranked, _luck(ranked))


def _rank(one: Outcome) -> tuple[bool, float, str]:
    """The best return first, what failed last; the same wherever the runs ran."""
    return one.error is not None, -(one.gained or 0.0), one.run_id


def _outcomes(pool: Any, runs: Sequence[tuple[Run, dict[str, Any]]], folder: str) -> Iterator[Outcome]:
    """What came of each run, as it comes; a worker that died is a failed run."""
    waiting: dict[Future[Outcome], tuple[Run, dict[str, Any]]] = {}
    for run, told in runs:
        future = pool.submit(run_one, run, folder, told)
        if future.done():  # in this process: told before the next one begins
            yield _outcome(future, run, told)
        else:
            waiting[future] = run, told
    for future in as_completed(waiting):
        yield _outcome(future, *waiting[future])


def _outcome(future: Future[Outcome], run: Run, told: dict[str, Any]) -> Outcome:
    try:
        return future.result()
    except Exception as error:  # noqa: BLE001 - one run of many: it is listed, and the others go on
        return Outcome(run_id(run), told, f"its worker failed: {type(error).__name__}: {error}")


def _grid(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(path, "--sweep"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: is no TOML: {error}") from error


def _varied(base: Run, point: Point) -> Run:
    """The run at a point of the grid. Raises ConfigError for a setting that cannot be so."""
    changes, sole, _ = point
    texts = {**base.settings, **changes}
    made = settings_from("", "", {}, texts).settings
    sha256 = base.market_sha256 if "MARKET" not in changes else run_of(made).market_sha256
    return replace(base, settings=texts, market_sha256=sha256, sole=sole or base.sole)


def _where(jobs: int | None, on: str | None) -> str:
    if on is not None:
        return f"on {on}"
    return "one after another" if jobs in (None, 1) else f"in {jobs} processes"


def _luck(done: Sequence[Outcome]) -> Luck | None:
    """How sure one may be that the best run is better than the best of as many without an edge."""
    known = [one for one in done if one.sharpe is not None]
    if not known:
        return None
    best = max(known, key=lambda one: one.sharpe or 0.0)
    a_year = math.sqrt(DAYS_A_YEAR)
    return deflated(best.returns, [(one.sharpe or 0.0) / a_year for one in known], len(done))


def _show(g: Globals, done: Sequence[Outcome], luck: Luck | None) -> None:
    if g.json:
        g.out.record(sweep_document(done, luck))
        return
    g.out.table(sweep_columns(done), sweep_rows(done))
    for line in luck_lines(done, luck):
        g.out.say(line)
