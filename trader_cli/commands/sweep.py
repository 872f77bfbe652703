"""trader backtest --sweep: many runs, here, in local processes or on a cluster; one table, and what luck would do."""

from __future__ import annotations

import math
import time
import tomllib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trader_cli.backtests import MADE_OF, run_id, run_of, run_one, settings_of, span_of
from trader_cli.commands.options import Globals
from trader_cli.config import settings_from
from trader_cli.core.errors import ConfigError, DiffersError, UsageError
from trader_cli.core.grids import Point, points
from trader_cli.core.luck import Luck, deflated
from trader_cli.core.moments import Moment, iso
from trader_cli.schemas.backtest import Outcome, Run
from trader_cli.schemas.performance import DAYS_A_YEAR
from trader_cli.tools.executors import cluster_address, results
from trader_cli.tools.files import read_text, save
from trader_cli.tools.store import make_folder
from trader_cli.views.export import as_csv
from trader_cli.views.sweep import luck_lines, many_runs, sweep_columns, sweep_document, sweep_progress, sweep_rows

VARIED = tuple(name.upper() for name in MADE_OF)

Told = dict[str, Any]


def run_sweep(g: Globals, base: Run, paths: tuple[Path, Path], where: tuple[int | None, str | None]) -> list[Outcome]:
    """Carry out every run of a grid; the best return first, what failed last, the same wherever they ran.

    Raises UsageError, ConfigError, UpstreamError, LedgerError.
    """
    grid, folder = paths
    jobs, on = where
    if on is not None and jobs is not None:
        raise UsageError("-j is for local processes, --on for a cluster", "Give one of them.")
    cluster = None if on is None else cluster_address(on)
    runs = _runs(grid, base)
    make_folder(folder, "Choose another with --out.")
    calls = [(_anywhere(run), str(folder.resolve()), told) for run, told in runs]
    began, done = time.monotonic(), list[Outcome]()
    g.out.say(f"{many_runs(len(runs))}, {_where(jobs, on)}, ledgers in {folder}")
    g.out.passing(sweep_progress(0, len(runs), 0, 0.0))
    try:
        for number, came in results(run_one, calls, jobs or 1, cluster):
            done.append(came if isinstance(came, Outcome) else _lost(*runs[number], came))
            failed = sum(one.error is not None for one in done)
            g.out.passing(sweep_progress(len(done), len(runs), failed, time.monotonic() - began))
    except KeyboardInterrupt:
        g.out.say(f"Stopped after {len(done)} of {many_runs(len(runs))}. The same command goes on from here.")
        raise
    return sorted(done, key=_rank)


def show_sweep(g: Globals, done: Sequence[Outcome], csv: str | None, force: bool) -> None:
    """Print the runs of a sweep and what luck would do. Raises DiffersError where none came to its end."""
    luck, names = _luck(done), [column.key for column in sweep_columns(done)]
    if csv == "-":
        g.out.stream(as_csv(names, sweep_rows(done)))
    else:
        _show(g, done, luck)
    if csv not in (None, "-"):
        size = save(Path(str(csv)), as_csv(names, sweep_rows(done)), "--csv", force)
        g.out.say(f"{csv}: {size:,} bytes")
    if all(one.error is not None for one in done):
        raise DiffersError(f"no run came to its end: {done[0].error}", "Look at the column error of each.")


def _rank(one: Outcome) -> tuple[bool, bool, float, str]:
    return one.error is not None, one.gained is None, -(one.gained or 0.0), one.run_id


def _lost(run: Run, told: Told, error: Exception) -> Outcome:
    return Outcome(run_id(run), told, f"its worker failed: {type(error).__name__}: {error}")


def _runs(grid: Path, base: Run) -> list[tuple[Run, Told]]:
    """The runs of a grid, each once however its values are written, over the same span where the bars are the same."""
    found = [(_varied(grid, base, point), point[2]) for point in points(_grid(grid), VARIED)]
    latest: dict[tuple[str | None, ...], Moment] = defaultdict(int)
    starts = [_start(run) for run, _ in found]
    for (run, _), start in zip(found, starts, strict=True):
        latest[_bars(run)] = max(latest[_bars(run)], start or 0)
    made: dict[str, tuple[Run, Told]] = {}
    for (run, told), start in zip(found, starts, strict=True):
        first = latest[_bars(run)]
        if run.until is not None and start is not None and run.until <= first:
            raise UsageError(
                f"the runs would end at {iso(run.until)}, before all of them can begin at {iso(first)}",
                "Mind the longest warm-up of OHLCV_LIMIT; ask for more --bars.",
            )
        begun = replace(run, since=first) if start is not None and start < first else run
        made.setdefault(run_id(begun), (begun, told))
    return list(made.values())


def _anywhere(run: Run) -> Run:
    """The run for a worker that stands in another folder: with the whole path of its bars. Its name stays."""
    market = run.settings.get("MARKET")
    if not run.market_sha256 or market is None:
        return run
    return replace(run, settings={**run.settings, "MARKET": str(Path(market).resolve())})


def _bars(run: Run) -> tuple[str | None, ...]:
    return tuple(run.settings.get(name) for name in ("MARKET", "SIMULATED_SEED", "SYMBOL"))


def _start(run: Run) -> Moment | None:
    """When a run could begin; None where it cannot: it will say why."""
    try:
        return span_of(run, settings_of(run, Path("unused.db")))[1]
    except ConfigError:
        return None


def _grid(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(path, "--sweep"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: is no TOML: {error}") from error


def _varied(grid: Path, base: Run, point: Point) -> Run:
    """The run at a point of the grid. Raises UsageError for a setting that cannot be so."""
    changes, sole, _ = point
    try:
        made = run_of(settings_from("", "", {}, {**base.settings, **changes}).settings)
    except ConfigError as error:
        said = ", ".join(f"{name}={value}" for name, value in changes.items())
        raise UsageError(f"{grid}: {said}: {error.message}", "Correct the grid.") from error
    return replace(base, settings=made.settings, market_sha256=made.market_sha256, sole=sole or base.sole)


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
