"""trader backtest: the same cycles over recorded or simulated bars, as fast as they go; once, or many at once."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from trader_cli.backtests import carry_out, peeks, run_id, run_of, running, settings_of, span_of, waits
from trader_cli.commands.arguments import is_span, model_name, moment, usd
from trader_cli.commands.desks import signals
from trader_cli.commands.options import Globals, command
from trader_cli.commands.report import deliver, outputs
from trader_cli.config import Settings, settings_from
from trader_cli.core.decimals import ZERO, dec, sub, text
from trader_cli.core.errors import DiffersError, UsageError
from trader_cli.core.grids import sole_of
from trader_cli.core.moments import Moment, iso
from trader_cli.schemas.backtest import Run, Sole
from trader_cli.schemas.cycle import Cycle
from trader_cli.tools.models.table import spec_of
from trader_cli.tools.performance import performance
from trader_cli.tools.store import make_folder
from trader_cli.views.backtest import lookahead_lines, progress_line
from trader_cli.wiring import left_today, open_reader

FOLDER = Path("data/backtests")
SIMULATED_BARS = 8_640
"""How many bars a simulated market is traded for, unless said otherwise: 30 days of five minutes."""
BEAT_SECS = 0.2

Data = Annotated[str | None, typer.Option("--data", metavar="FILE.csv", help="Recorded bars: as MARKET takes them.")]
Simulated = Annotated[
    int | None, typer.Option("--simulated", metavar="SEED", min=0, help="The simulated market of this seed.")
]
Since = Annotated[str | None, typer.Option("--since", metavar="TIME", help="Trade from here on: a date or ISO time.")]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Trade up to here.")]
Bars = Annotated[
    int | None, typer.Option("--bars", metavar="N", min=1, help="Trade so many bars (simulated, unsaid: 8640).")
]
Policy = Annotated[
    str | None,
    typer.Option("--policy", metavar="P", help="One policy only: ma_trend:fast=9,slow=34, or coin:seed=1."),
]
Model = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="A language model thinks, and is paid; needs --max-cost.")
]
MaxCost = Annotated[str | None, typer.Option("--max-cost", metavar="USD", help="With --model: the most it may cost.")]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the ledgers of runs are kept.")]
Html = Annotated[str | None, typer.Option("--html", metavar="FILE", help="Also write the report as a page.")]
Force = Annotated[bool, typer.Option("--force", metavar="", help="Replace FILE if it is there.")]
Check = Annotated[
    bool,
    typer.Option("--check-lookahead", metavar="", help="Then decide again with other bars ahead; 9 if any differs."),
]
Sweep = Annotated[
    Path | None, typer.Option("--sweep", metavar="GRID.toml", help="Many runs: the product of the lists in a file.")
]
Csv = Annotated[
    str | None,
    typer.Option("--csv", metavar="FILE", help="Also write a row per UTC day; with --sweep, a row per run."),
]
Jobs = Annotated[int | None, typer.Option("-j", "--jobs", metavar="N", min=1, help="With --sweep: local processes.")]
On = Annotated[
    str | None, typer.Option("--on", metavar="dask://HOST:PORT", help="With --sweep: a Dask cluster that is there.")
]


@command
def backtest(
    g: Globals,
    data: Data = None,
    simulated: Simulated = None,
    since: Since = None,
    until: Until = None,
    bars: Bars = None,
    policy: Policy = None,
    model: Model = None,
    max_cost: MaxCost = None,
    out: Out = FOLDER,
    html: Html = None,
    csv: Csv = None,
    force: Force = False,
    check_lookahead: Check = False,
    sweep: Sweep = None,
    jobs: Jobs = None,
    on: On = None,
) -> None:
    """Trade recorded or simulated bars with the very phases, law and costs of paper trading, and report.

    Each run has a ledger of its own, named by all it is made of: after a kill the same command goes on, after its end
    it only reports. The offline rules think, unless --model and --max-cost are given. Other settings are as ever.

    Example: trader backtest --simulated 7 --bars 2000
    """
    if check_lookahead and model is not None:
        raise UsageError("--check-lookahead decides again, and a model would be paid again", "Leave --model out.")
    if sweep is None and (jobs is not None or on is not None):
        raise UsageError("-j and --on go with --sweep", "Give a grid: --sweep grid.toml")
    outputs(g, html, csv, force)
    settings = _market(g.settings(), data, simulated)
    thinks = _thinks(settings, model, max_cost)
    run = run_of(settings, sole=sole(policy), model=thinks[0], max_cost=thinks[1])
    run = _spanned(run, settings, since, until, bars)
    if sweep is not None:
        if model is not None or check_lookahead or html is not None:
            raise UsageError("--sweep goes without --model, --check-lookahead and --html", "Do one run for those.")
        from trader_cli.commands.sweep import run_sweep, show_sweep

        show_sweep(g, run_sweep(g, run, (sweep, out), (jobs, on)), csv, force)
        return
    ledger = out / f"{run_id(run)}.db"
    made = settings_of(run, ledger, settings)
    _must_afford(run, made)
    make_folder(out, "Choose another with --out.")
    _run(g, run, made)
    with open_reader(made) as kept:
        found = performance(kept, name=str(ledger))
    deliver(g, [found], html, csv, force)
    if check_lookahead:
        _check(g, run, made)


def _market(settings: Settings, data: str | None, simulated: int | None) -> Settings:
    """The settings with the bars that the options name. Raises UsageError, ConfigError."""
    if data is not None and simulated is not None:
        raise UsageError("--data and --simulated both name the bars", "Give one of them.")
    market, seed = settings.market, settings.simulated_seed
    if data is not None:
        market = data
    elif simulated is not None or market in (None, "live"):
        market, seed = "simulated", seed if simulated is None else simulated
    update = {"mode": "paper", "market": market, "simulated_seed": seed}
    checked = settings_from("", "", {}, {"MARKET": str(market), "SIMULATED_SEED": str(seed)}).settings
    return settings.model_copy(update=update | {"market": checked.market})


def _thinks(settings: Settings, model: str | None, max_cost: str | None) -> tuple[str | None, str | None]:
    if (model is None) != (max_cost is None):
        raise UsageError("a backtest pays for models only with both --model and --max-cost", "Give both, or neither.")
    amount = usd(max_cost)
    return model_name(model, settings), None if amount is None else text(amount)


def _must_afford(run: Run, settings: Settings) -> None:
    """Raise UsageError where the day's budget would end before the run's, and leave questions unasked in silence."""
    if run.max_cost is None:
        return
    left, spent = settings.model_budget_usd_per_day, ZERO
    if settings.db_path.exists():
        with open_reader(settings) as ledger:
            left, spent = left_today(settings, ledger), ledger.spent()
    if sub(dec(run.max_cost), spent) > left:
        raise UsageError(
            f"--max-cost {run.max_cost} is more than today's {text(left)} USD of MODEL_BUDGET_USD_PER_DAY",
            "Lower it, or raise that setting for this run.",
        )


def sole(words: str | None) -> Sole | None:
    """A policy with its parameters, as `name:param=value,…`. Raises UsageError."""
    if words is None:
        return None
    name, _, rest = words.partition(":")
    params: dict[str, str] = {}
    for part in rest.split(",") if rest else ():
        key, found, value = part.partition("=")
        if not found:
            raise UsageError(f'--policy needs name:param=value,…, was "{words}"', "Try: --policy ma_trend:fast=9")
        params[key] = value
    return sole_of(name, params)


def _spanned(run: Run, settings: Settings, since: str | None, until: str | None, bars: int | None) -> Run:
    """The run from one moment to another. Raises UsageError."""
    source, start, end = span_of(run, settings)
    for option, words in (("--since", since), ("--until", until)):
        if words is not None and end is None and is_span(words):
            raise UsageError(
                f"{option} {words} counts back from the last bar, and this market has none", "Name a date."
            )
    first = start if since is None else max(start, moment(since, end or start))
    last = None if until is None else moment(until, end or start)
    if bars is not None and until is not None:
        raise UsageError("--bars and --until both say where to end", "Give one of them.")
    if bars is not None or (end is None and until is None):
        last = first + (bars or SIMULATED_BARS) * source.timeframe_ms
    if end is not None and first > end:
        raise UsageError(f"it would begin at {iso(first)}, after the last bar of {iso(end)}", "Name an earlier date.")
    if last is not None and last <= first:
        raise UsageError(
            f"it would end at {iso(last)}, before it begins at {iso(first)}", "Mind the warm-up of OHLCV_LIMIT bars."
        )
    return replace(run, since=None if since is None else first, until=last)


def _run(g: Globals, run: Run, settings: Settings) -> None:
    """Carry a run out, or go on with it, and say how far it is."""
    source, first, last = span_of(run, settings)
    with running(run, settings, signals(g)) as desk:
        _warn(g, run, first)
        now = desk.clock.now()
        market, again = desk.ledger.identity()["market"], " (goes on)" if now > first else ""
        g.out.say(f"{market} {iso(first)[:16]} to {iso(last or first)[:16]} | {settings.db_path}{again}")
        bar = _Bar(g, (first, last or first), source.timeframe_ms, now)
        carry_out(run, desk, bar)
        ended = desk.stop.ending()
        hungry, at = waits(run, desk), desk.clock.now()
    if hungry:
        g.out.warn(f"--max-cost is used up at {iso(at)}: the run waits there. With a higher one it goes on")
    if ended is not None:
        g.out.say(f"Stopped by {ended}. The same command goes on from here.")


def _warn(g: Globals, run: Run, first: Moment) -> None:
    """That a model may have read of these prices before; of simulated ones it cannot have."""
    known = None if run.model is None else spec_of(run.model)
    cutoff = None if known is None else known.cutoff
    if run.model is None or not run.market_sha256 or (cutoff is not None and cutoff < iso(first)[:10]):
        return
    g.out.warn(
        f"look-ahead: {run.model} may have learnt of these prices: its training ended "
        f"{'at an unknown date' if cutoff is None else 'on ' + cutoff}, the bars begin on {iso(first)[:10]}"
    )


class _Bar:
    """How far a run is, on a terminal, now and then."""

    def __init__(self, g: Globals, span: tuple[Moment, Moment], timeframe_ms: int, now: Moment) -> None:
        self._g = g
        self._span = span
        self._timeframe_ms = timeframe_ms
        self._began = time.monotonic()
        self._from = now
        self._next = self._began + BEAT_SECS

    def __call__(self, came: Cycle, cycles: int) -> None:
        wall, at = time.monotonic(), came.plan.at
        if wall < self._next:
            return
        self._next = wall + BEAT_SECS
        first, last = self._span
        bars = [span // self._timeframe_ms for span in (at - self._from, at - first, last - first)]
        self._g.out.passing(progress_line((bars[0], bars[1], bars[2]), wall - self._began, cycles))


def _check(g: Globals, run: Run, settings: Settings) -> None:
    """Decide again under other futures; DiffersError if anything comes out otherwise."""
    found = []
    for number, one in enumerate(peeks(run, settings), 1):
        found.append(one)
        g.out.passing(f"look-ahead: {number} decisions made again")
    for line in lookahead_lines(found):
        g.out.say(line)
    wrong = [one for one in found if one.difference is not None]
    if wrong:
        raise DiffersError(
            f"look-ahead: trace {wrong[0].trace_id[:8]} at {iso(wrong[0].at)} knew later bars ({wrong[0].way}): "
            f"{wrong[0].difference}",
            "Whatever made that decision reads bars that had not closed.",
        )
