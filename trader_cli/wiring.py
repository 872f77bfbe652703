"""The composition root: settings -> desk. The only file that names a concrete adapter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from trader_cli.config import Settings
from trader_cli.core.decimals import percent, text
from trader_cli.core.errors import ConfigError, NotFoundError, UpstreamError
from trader_cli.core.limits import margin_pct, smallest_cap
from trader_cli.core.moments import Moment, span_ms, span_text
from trader_cli.core.ports import CandleSource
from trader_cli.phases.desk import Desk, Minds
from trader_cli.schemas.situation import Limits, TradingState
from trader_cli.tools.clock import Signals, VirtualClock, wall_now
from trader_cli.tools.exchanges.paper import PaperExchange
from trader_cli.tools.exchanges.paper_rules import costs, rules
from trader_cli.tools.ids import SeededIds, new_ledger_id
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.lock import FileLock
from trader_cli.tools.markets.recorded import RecordedMarket
from trader_cli.tools.markets.simulated import SimulatedMarket
from trader_cli.tools.models.rules import RulesModel
from trader_cli.tools.rehearsal import rehearse
from trader_cli.tools.stopfile import StopFile
from trader_cli.tools.store import cannot_look, exists, loop_lock_path, make_folder

BATCH_MS = 200
"""For how long a fast loop gathers cycles into one commit. Market, model and exchange must all be local."""


@dataclass(frozen=True, slots=True)
class OperatorStop:
    """The STOP file and the TRADING setting, the stricter of the two; and signals, which end a run."""

    file: StopFile
    setting: TradingState
    signals: Signals | None = None

    def state(self) -> tuple[TradingState, str | None]:
        """What the operator asks for now."""
        if (reason := self.file.reason()) is not None:
            return TradingState.HALT, reason
        return self.setting, None if self.setting is TradingState.RUN else f"TRADING={self.setting.name.lower()}"

    def ending(self) -> str | None:
        """The signal that ends this run after the step in hand, if one came."""
        return self.signals.name if self.signals is not None else None


@dataclass(frozen=True, slots=True)
class Bench:
    """How a command wants its desk: rehearsed or real, fast or waiting, and how long to wait for the lock.

    Without `creates`, a ledger that is not there is NotFoundError.
    """

    dry_run: bool = False
    creates: bool = True
    fast: bool = False
    wait_secs: float = 5.0
    signals: Signals | None = None


@contextmanager
def open_desk(settings: Settings, bench: Bench = Bench()) -> Iterator[Desk]:
    """A desk over the ledger, or over a rehearsal of it that writes nothing. Closes it at the end.

    Raises ConfigError for settings this version cannot serve or another ledger's, LedgerError, BusyError.
    """
    check_available(settings)
    path = ledger_path(settings)
    if not bench.creates and not exists(path):
        raise NotFoundError(f'no ledger at "{path}"', "Make one: trader cycle")
    source = candle_source(settings)
    ledger = rehearse(path, wall_now) if bench.dry_run else Ledger.open_writer(path, wall_now, bench.wait_secs)
    try:
        with ledger.writing(bench.wait_secs):
            ledger.pin(
                new_ledger_id(), identity(settings, source), settings.paper_balance_usdt, began(settings, source)
            )
        yield _desk(settings, ledger, source, bench)
    finally:
        ledger.close()


@contextmanager
def at_desk(settings: Settings, bench: Bench = Bench()) -> Iterator[Desk]:
    """A desk with the writer lock held: what every one-shot command works at."""
    with open_desk(settings, bench) as desk, desk.ledger.writing(bench.wait_secs):
        yield desk


@contextmanager
def open_reader(settings: Settings) -> Iterator[Ledger]:
    """The ledger as it stands now, read-only. NotFoundError when there is none; creates nothing."""
    ledger = Ledger.open_reader(ledger_path(settings), wall_now)
    try:
        with ledger.steady():
            yield ledger
    finally:
        ledger.close()


def loop_lock(settings: Settings, dry_run: bool) -> AbstractContextManager[object]:
    """One loop per ledger: held for the loop's life. BusyError when another loop runs."""
    if dry_run:
        return nullcontext()
    path = ledger_path(settings)
    make_folder(path)
    return FileLock(loop_lock_path(path), 0.0, f'a loop: the ledger "{path}"')


def ledger_path(settings: Settings) -> Path:
    """The ledger's own path, also when the settings name a link to it: locks and STOP lie beside the file itself."""
    path = settings.db_path
    try:
        if path.name in ("", "..") or path.is_dir():
            raise ConfigError(
                f'DB_PATH must be a file, was the folder "{path}"', f'Name a file: --db "{path}/agent.db"'
            )
        if path.exists() and not path.is_file():  # before a lock or a journal is made beside /dev/null
            raise ConfigError(f'DB_PATH must be a file, was the device or pipe "{path}"', "Name a file with --db.")
        return path.resolve() if path.is_symlink() else path
    except OSError as error:
        raise cannot_look(path, error) from error


def stop_file(settings: Settings) -> StopFile:
    """The STOP file of the ledger's folder."""
    return StopFile(ledger_path(settings))


def operator_stop(settings: Settings, signals: Signals | None = None) -> OperatorStop:
    """The operator's word that needs no ledger."""
    return OperatorStop(stop_file(settings), TradingState[settings.trading.upper()], signals)


def check_available(settings: Settings) -> None:
    """Refuse what this version recognises and cannot do yet. Raises ConfigError."""
    if settings.mode != "paper":
        raise ConfigError(
            f'MODE "{settings.mode}" is not available in this version, which trades on paper only',
            "Set MODE=paper or leave it out.",
        )
    if settings.agents == "openai":
        raise ConfigError('AGENTS "openai" is not available in this version', "Set AGENTS=rules or leave it out.")
    if settings.market == "live":
        raise ConfigError(
            'MARKET "live" is not available in this version', "Leave MARKET out, or name a CSV file of candles."
        )


def candle_source(settings: Settings) -> CandleSource:
    """Where paper trading's bars come from."""
    timeframe_ms = span_ms(settings.timeframe)
    if settings.market in (None, "simulated"):
        tick = rules(settings.symbol, settings.paper_fee_pct).tick
        return SimulatedMarket(settings.symbol, timeframe_ms, settings.simulated_seed, tick)
    return RecordedMarket(Path(str(settings.market)), timeframe_ms if settings.timeframe_explicit else None)


def began(settings: Settings, source: CandleSource) -> Moment:
    """Where virtual time begins: when enough bars have closed."""
    return source.start(settings.ohlcv_limit)


def identity(settings: Settings, source: CandleSource) -> dict[str, str]:
    """What a ledger is pinned to."""
    sha256 = getattr(source, "sha256", "")
    return {
        "mode": settings.mode,
        "exchange": "paper",
        "symbol": settings.symbol,
        "timeframe": span_text(source.timeframe_ms),
        "market": source.provenance + (f"#{sha256[:16]}" if sha256 else ""),
        "paper_balance": text(settings.paper_balance_usdt),
    }


def limits(settings: Settings, timeframe_ms: int) -> Limits:
    """The operator's limits as the law reads them."""
    capped = settings.mode == "real" or settings.cap_in_all_modes
    daily_loss = settings.daily_loss_limit_usdt
    if daily_loss is None and capped:
        daily_loss = percent(settings.deposit_cap_usdt, Decimal(50))
    return Limits(
        deposit_cap=settings.deposit_cap_usdt if capped else None,
        live_only=settings.mode != "paper",
        max_order=settings.max_order_usdt,
        max_orders_per_day=settings.max_orders_per_day,
        cooldown_ms=settings.cooldown_secs * 1000,
        daily_loss=daily_loss,
        max_drawdown_pct=settings.max_drawdown_pct,
        min_confidence=float(settings.min_confidence),
        verdict_max_age_ms=settings.verdict_max_age_secs * 1000,
        max_age_ms=2 * timeframe_ms,
        max_drift_pct=settings.max_price_drift_pct,
    )


def notices(settings: Settings, desk: Desk) -> list[str]:
    """What an operator should know before the first cycle."""
    said = []
    if settings.openai_api_key is not None:
        said.append("OPENAI_API_KEY is set; this version does not use it: the offline rules model decides")
    cap = desk.limits.deposit_cap
    if cap is not None:
        try:
            price = desk.exchange.quote(desk.clock.now()).ask
        except UpstreamError:
            return said
        least = smallest_cap(desk.exchange.market(), price, margin_pct(desk.limits, desk.costs))
        if cap < least:
            said.append(
                f"DEPOSIT_CAP_USDT {text(cap)} cannot hold one round trip of {settings.symbol} at {text(price)}: "
                f"nothing will be bought. The smallest that can: {text(least)}"
            )
    return said


def _desk(settings: Settings, ledger: Ledger, source: CandleSource, bench: Bench) -> Desk:
    start = began(settings, source)
    market = rules(settings.symbol, settings.paper_fee_pct)
    expected = costs(settings.paper_fee_pct, settings.paper_slippage_bps)
    ids = SeededIds("|".join(identity(settings, source).values()))
    model = RulesModel(ids)
    return Desk(
        clock=VirtualClock(
            lambda: ledger.market_time(start), source.timeframe_ms, bench.signals or Signals(), bench.fast
        ),
        ids=ids,
        minds=Minds(model, model, model),
        exchange=PaperExchange(ledger, source, market, expected, settings.paper_balance_usdt),
        ledger=ledger,
        limits=limits(settings, source.timeframe_ms),
        costs=expected,
        stop=operator_stop(settings, bench.signals),
        timeframe_ms=source.timeframe_ms,
        ohlcv_limit=settings.ohlcv_limit,
        batch_ms=BATCH_MS if bench.fast else 0,
    )
