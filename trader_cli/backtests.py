"""A backtest as a pure function of what it is made of: the same phases, on virtual time, in a ledger of its own.

There is no second way of trading here: a run is `loop` over recorded or simulated bars. Its ledger is named by what it
is made of, so that the same run again goes on where it was, or is done already.
"""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from trader_cli import __version__
from trader_cli.config import FIELDS, Settings, settings_from, shown
from trader_cli.core.decimals import ZERO, dec, sub, text
from trader_cli.core.errors import ConfigError, MarketEndedError, NotFoundError, TraderError
from trader_cli.core.moments import Moment
from trader_cli.core.ports import CandleSource
from trader_cli.phases.cycle import loop
from trader_cli.phases.desk import Desk
from trader_cli.phases.lookahead import SAMPLES, Peeked, lookahead
from trader_cli.phases.startup import shutdown
from trader_cli.schemas.backtest import Outcome, Run
from trader_cli.schemas.cycle import Cycle
from trader_cli.schemas.performance import Performance
from trader_cli.tools.clock import Signals, wall_now
from trader_cli.tools.markets.altered import AlteredMarket
from trader_cli.tools.models.purse import PER_RUN
from trader_cli.tools.performance import performance
from trader_cli.tools.rehearsal import rehearse
from trader_cli.tools.verification import content_sha256
from trader_cli.wiring import Bench, candle_source, loop_lock, open_desk, open_reader, virtual_desk

MADE_OF = (
    "symbol", "timeframe", "market", "simulated_seed", "ohlcv_limit", "paper_balance_usdt", "paper_fee_pct",
    "paper_slippage_bps", "deposit_cap_usdt", "cap_in_all_modes", "max_order_usdt", "max_orders_per_day",
    "max_orders_per_hour", "cooldown_secs", "max_losing_streak", "max_rejected_streak", "streak_cooldown_secs",
    "daily_loss_limit_usdt", "max_drawdown_pct", "min_confidence", "verdict_max_age_secs", "max_price_drift_pct",
    "trading",
)  # fmt: skip
"""The settings that a backtest's ledger depends on."""
ELSEWHERE = tuple(name for name in FIELDS if name not in MADE_OF)
"""All others: whose money, where, models, keys, logs."""

ASKED = ("openai_base_url", "trader_tool_rounds")
"""Those that matter where a language model thinks."""

STARVED = "STARVED"
"""The kind of the event that says so, with the limit."""

BATCH_MS = 1_000
"""For how long a run gathers cycles into one commit: what a kill may take is soon made again."""

Progress = Callable[[Cycle, int], None]
"""Told each cycle, and how many they are so far."""


def run_of(settings: Settings, span: tuple[Moment | None, Moment | None] = (None, None), **more: Any) -> Run:
    """A run of these settings, on paper whatever they say. Raises ConfigError for bars that cannot be used."""
    texts = {name.upper(): _canonical(settings, name) for name in MADE_OF}
    if not settings.timeframe_explicit:
        del texts["TIMEFRAME"]  # a file's own spacing rules
    kept = {name: text for name, text in texts.items() if text is not None}
    sha256 = getattr(candle_source(settings), "sha256", "")
    asked = {name.upper(): _canonical(settings, name) or "" for name in ASKED if more.get("model") is not None}
    return Run(kept, sha256, *span, asked=asked, **more)


def _canonical(settings: Settings, name: str) -> str | None:
    value = getattr(settings, name)
    return text(value) if isinstance(value, Decimal) else shown(settings, name.upper())


def run_id(run: Run) -> str:
    """A name that follows from all that a run is made of, this program's version included.

    Not from what it may cost: with a higher limit the same run goes on.
    """
    made = {**asdict(run), "max_cost": None, "version": __version__}
    made["settings"] = {**run.settings, "MARKET": Path(run.settings.get("MARKET", "")).name}
    return hashlib.sha256(json.dumps(made, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:12]


def settings_of(run: Run, ledger: Path, secrets: Settings | None = None) -> Settings:
    """A run's settings: paper, its own ledger; the keys of a model's server only from `secrets`."""
    texts = {**run.settings, "MODE": "paper", "AGENTS": "rules", "DB_PATH": str(ledger)}
    made = settings_from("", "", {}, texts).settings
    if run.model is None or secrets is None:
        return made
    names = [name for name in FIELDS if name.startswith(("openai", "model_", "trader_tool"))]
    return made.model_copy(update={"agents": "openai", **{name: getattr(secrets, name) for name in names}})


def bench_of(run: Run, signals: Signals | None = None) -> Bench:
    """How a run wants its desk: fast, and with the mind that it names."""
    cost = None if run.max_cost is None else dec(run.max_cost)
    return Bench(fast=True, signals=signals, model=run.model, max_cost=cost, since=run.since, sole=run.sole)


@contextmanager
def _collecting_seldom() -> Iterator[None]:
    """Look for garbage seldom: a run makes a great deal that lives for a moment, and next to nothing in cycles."""
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(100_000, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


@contextmanager
def running(run: Run, settings: Settings, signals: Signals | None = None) -> Iterator[Desk]:
    """The desk of a run, held by this process alone. Raises BusyError, ConfigError, LedgerError."""
    with loop_lock(settings, dry_run=False), _collecting_seldom():
        bench = bench_of(run, signals)
        if bench.max_cost is not None and settings.db_path.exists():  # a run that goes on has spent already
            with open_reader(settings) as ledger:
                bench = replace(bench, max_cost=max(ZERO, sub(bench.max_cost, ledger.spent())))
        with open_desk(settings, bench) as desk:
            yield replace(desk, batch_ms=BATCH_MS if desk.batch_ms else 0)
            shutdown(desk)


def carry_out(run: Run, desk: Desk, progress: Progress = lambda came, cycles: None) -> int:
    """Go on to the run's end, a signal, or the end of its money; returns how many cycles this took.

    Raises what ends a loop.
    """
    done = 0
    if waits(run, desk):
        return done
    for came in loop(desk, until=run.until):
        if isinstance(came, MarketEndedError):
            break
        if isinstance(came, TraderError):
            raise came
        done += 1
        progress(came, done)
        if came.fallback is not None and PER_RUN in (came.fallback.cause or ""):
            with desk.ledger.writing(), desk.ledger.transaction() as tx:
                desk.ledger.log_event(tx, STARVED, {"limit": str(run.max_cost)}, came.plan.at, came.trace_id)
            break
    return done


def waits(run: Run, desk: Desk) -> bool:
    """Whether a run left a question unasked, for its --max-cost was used up, and may not cost more than that now."""
    known = desk.ledger.last_event(STARVED)
    return known is not None and run.max_cost is not None and dec(run.max_cost) <= dec(known[1]["limit"])


def span_of(run: Run, settings: Settings) -> tuple[CandleSource, Moment, Moment | None]:
    """The bars of a run, and the market time from where to where they go."""
    source = candle_source(settings)
    start = source.start(settings.ohlcv_limit)
    ends = [at for at in (run.until, source.end()) if at is not None]
    return source, max(start, run.since or 0), min(ends, default=None)


def run_one(run: Run, folder: str, told: dict[str, Any]) -> Outcome:
    """One run of a sweep, whole, whatever it takes: a failure is an outcome, too."""
    name = run_id(run)
    path = Path(folder) / f"{name}.db"
    try:
        settings = settings_of(run, path)
        if run.market_sha256 and run_of(settings).market_sha256 != run.market_sha256:
            raise ConfigError(f"{settings.market}: the bars are not those of the sweep", "Give every worker one file.")
        with running(run, settings) as desk:
            carry_out(run, desk)
        with open_reader(settings) as ledger:
            came, content = performance(ledger, name=path.name, flips=0), content_sha256(ledger)
        if not came.cycles:
            raise NotFoundError("it had no cycle: its bars end before it could begin")
    except TraderError as error:
        return Outcome(name, told, error.message, str(path))
    except Exception as error:  # noqa: BLE001 - one run of many: it is listed, and the others go on
        return Outcome(name, told, f"{type(error).__name__}: {error}", str(path))
    return _outcome(name, told, str(path), came, content)


def _outcome(name: str, told: dict[str, Any], path: str, came: Performance, content: str) -> Outcome:
    return Outcome(
        name, told, None, path, came.cycles, came.trades, came.ended.equity, came.gained, came.fall.share,
        came.exposure, came.sharpe.value, came.baselines.hold if came.baselines else None, came.returns, content,
    )  # fmt: skip


def peeks(
    run: Run,
    settings: Settings,
    most: int = SAMPLES,
    planted: Callable[[CandleSource], CandleSource] = lambda bars: bars,
) -> Iterator[Peeked]:
    """The decisions of a run that is done, made again under altered futures; `planted` stands before the market."""
    bars = candle_source(settings)

    def desk_at(link: int, at: Moment, way: str) -> Desk:
        past = rehearse(settings.db_path, wall_now, link)
        return virtual_desk(settings, past, planted(AlteredMarket(bars, at, way)), bench_of(run))

    with open_reader(settings) as ledger:
        yield from lookahead(ledger, desk_at, most)
