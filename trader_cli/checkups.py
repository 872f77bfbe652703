"""doctor and health: everything that must hold for trading to be safe, each looked at by itself.

A check yields findings; one that raises is a FAIL like any other, so that one trouble never hides another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import wraps
from pathlib import Path

from trader_cli import __version__
from trader_cli.config import Loaded, Settings
from trader_cli.core.decimals import ZERO, add, text
from trader_cli.core.errors import TraderError
from trader_cli.core.limits import in_force, margin_pct, smallest_cap
from trader_cli.core.moments import DAY_MS, HOUR_MS, Moment, iso, span_ms
from trader_cli.phases.cycle import account_trouble, due_at
from trader_cli.phases.record import FAILING
from trader_cli.schemas.order import OrderState
from trader_cli.schemas.situation import TradingState
from trader_cli.schemas.vital import Finding, Level
from trader_cli.tools import migrations, vitals
from trader_cli.tools.backups import FOLDER, backups_of
from trader_cli.tools.clock import Signals, wall_now
from trader_cli.tools.events import refuse_others
from trader_cli.tools.exchanges.paper_rules import costs
from trader_cli.tools.models.table import is_gone, remarks, spec_of
from trader_cli.tools.rehearsal import rehearse
from trader_cli.tools.store import exists
from trader_cli.wiring import (
    Bench,
    candle_source,
    check_outlets,
    check_settings,
    chosen_models,
    identity,
    is_live,
    ledger_path,
    limits,
    live_exchange,
    models_in_use,
    open_desk,
    open_reader,
    operator_stop,
    pays,
)

LATE_MS = 2 * HOUR_MS
"""How long after it was due a cycle may begin before somebody should look."""
BACKUP_MS = DAY_MS
"""How old the newest backup may be."""
SKEW_MS = 500
"""How far the exchange's clock may be from this one before it is said."""
BACK_MS = 60_000
"""How far a wall clock may be behind the ledger's newest row."""


@dataclass(frozen=True, slots=True)
class Patient:
    """What is looked at.

    Attributes:
        env_file: the settings file, if one is read; `exposed` where it holds a key and others may read it.
        max_age_ms: how long ago the last cycle may have been.
        fixes: permissions and leftovers are mended.
    """

    loaded: Loaded
    env_file: Path | None
    exposed: bool
    now: Moment
    max_age_ms: int | None = None
    fixes: bool = False

    @property
    def settings(self) -> Settings:
        """The settings."""
        return self.loaded.settings

    @property
    def path(self) -> Path:
        """The ledger's file."""
        return ledger_path(self.settings)


Check = Callable[[Patient], Iterator[Finding]]


def examine(checks: Sequence[Check], patient: Patient) -> Iterator[Finding]:
    """What all of them find, in order."""
    for check in checks:
        name = check.__name__.replace("_", " ").strip()
        try:
            for found in check(patient):
                yield Finding(name, found.level, found.said, found.fix)
        except TraderError as error:
            yield Finding(name, Level.FAIL, error.message, error.hint)
        except Exception as error:  # noqa: BLE001 - a check that breaks has failed, and the others go on
            yield Finding(name, Level.FAIL, f"the check itself broke: {type(error).__name__}: {error}", "Report this.")


def vital(checks: Sequence[Check], patient: Patient) -> list[Finding]:
    """What they find, for who must answer yes or no: that there is no ledger yet is no."""
    found = list(examine(checks, patient))
    if any(one.name == "ledger" and one.level is Level.SKIP for one in found):
        found.append(Finding("ledger", Level.FAIL, "there is none yet", "Make one: trader cycle"))
    return found


def _ok(said: str) -> Finding:
    return Finding("", Level.OK, said)


def _skip(said: str) -> Finding:
    return Finding("", Level.SKIP, said)


def _warn(said: str, fix: str | None = None) -> Finding:
    return Finding("", Level.WARN, said, fix)


def _fail(said: str, fix: str | None = None) -> Finding:
    return Finding("", Level.FAIL, said, fix)


def _of_a_ledger(check: Check) -> Check:
    """A check that has nothing to look at before there is a ledger."""

    @wraps(check)
    def looked(patient: Patient) -> Iterator[Finding]:
        if exists(patient.path):
            yield from check(patient)
        else:
            yield _skip("no ledger yet")

    return looked


# --- without a network -----------------------------------------------------------------------


def program(patient: Patient) -> Iterator[Finding]:
    """Versions, and the one fault of a version that matters here."""
    del patient
    yield _ok(f"trader {__version__}, {vitals.versions()}")
    if vitals.may_reset_its_log():
        yield _warn(
            "this SQLite can damage a ledger that two programs write at one moment (fixed in 3.51.3)",
            "Let only trader write it: its own lock keeps writers apart.",
        )


def settings(patient: Patient) -> Iterator[Finding]:
    """That they can be served, and that logs and news have somewhere to go."""
    check_settings(patient.settings)
    place = "no .env" if patient.env_file is None else f"{patient.env_file}"
    yield _ok(f"mode {patient.settings.mode}, {patient.settings.symbol}, {place}")
    check_outlets(patient.settings)
    log_file = patient.settings.log_file
    if log_file is not None and (why := vitals.unwritable(log_file)) is not None:
        yield _warn(f'no log line can be written to "{log_file}": {why}', "Name another LOG_FILE, or make its folder.")


def permissions(patient: Patient) -> Iterator[Finding]:
    """Who may read the keys and the ledger, and what was left unfinished."""
    trouble = []
    if patient.exposed and patient.env_file is not None:
        trouble.append(patient.env_file)
    trouble += vitals.exposed([*vitals.files_of(patient.path), *(p for _, p in _backups(patient))])
    for path in trouble:
        if patient.fixes:
            vitals.close(path)
            yield _ok(f"{path}: closed to others")
        else:
            grave = path == patient.env_file and patient.settings.mode == "real"
            say = _fail if grave else _warn
            yield say(f"others may read {path}", f"chmod 600 {path}, or: trader doctor --fix")
    left = list(vitals.leftovers(patient.path))
    for path in left:
        if patient.fixes:
            vitals.remove(path)
            yield _ok(f"{path}: removed")
        else:
            yield _warn(f"{path} was left by a process that is gone", "trader doctor --fix")
    if not trouble and not left:
        yield _ok("for their owner only, nothing left over")


def _backups(patient: Patient) -> list[tuple[Moment, Path]]:
    return backups_of(patient.path, patient.path.parent / FOLDER)


def ledger(patient: Patient) -> Iterator[Finding]:
    """Pages, schema and the newest links."""
    path = patient.path
    if not exists(path):
        yield _skip(f'none at "{path}" yet: the first cycle makes it')
        return
    with open_reader(patient.settings) as kept:
        steps, size, links = migrations.version(kept.db), path.stat().st_size, kept.next_link - 1
        kept.check_start()
    yield _ok(f"{path}, schema {steps}, {size / 1e6:.1f} MB, {links} links")
    if steps < len(migrations.STEPS):
        yield _warn(f"schema {steps} of {len(migrations.STEPS)}", "The next writing command brings it up to date.")
    if path.is_symlink() or path.stat().st_nlink > 1:
        yield _warn(f"{path} has more than one name", "Name the file itself: locks lie beside a name.")


@_of_a_ledger
def pinned(patient: Patient) -> Iterator[Finding]:
    """That the ledger is of these settings."""
    source = None if is_live(patient.settings) else candle_source(patient.settings)
    with open_reader(patient.settings) as kept:
        refuse_others(kept.identity(), identity(patient.settings, source), patient.path)
        yield _ok(", ".join(value for key, value in kept.identity().items() if key in ("mode", "symbol", "market")))


def disk(patient: Patient) -> Iterator[Finding]:
    """Room, and whether its file system keeps locks."""
    free = vitals.free_bytes(patient.path)
    said = f"{free / 1e9:.1f} GB free"
    if free < vitals.LITTLE_FREE:
        say = _fail if free < vitals.LEAST_FREE else _warn
        yield say(f"{free / 1e6:.0f} MB free", "Make room: a full disk stops trading.")
    kind = vitals.file_system(patient.path)
    if kind is not None and kind.startswith(vitals.NETWORK):
        yield _warn(f"the ledger lies on {kind}, a file system over a network", "Use a local disk: --db PATH")
    elif free >= vitals.LITTLE_FREE:
        yield _ok(said)


@_of_a_ledger
def writing(patient: Patient) -> Iterator[Finding]:
    """That the ledger can be written."""
    yield _ok(vitals.can_write(patient.path))


def state(patient: Patient) -> Iterator[Finding]:
    """Whether trading is allowed, and what keeps it back."""
    if not exists(patient.path):
        allowed, cause = operator_stop(patient.settings).state()
        yield _ok("no ledger yet") if allowed is TradingState.RUN else _warn(f"{allowed.name}: {cause}")
        return
    with open_reader(patient.settings) as kept:
        allowed, cause = in_force(kept.trading_state(), operator_stop(patient.settings).state())
        waiting, (failing, why), plan = kept.open_orders(), kept.failing(), kept.newest_plan()
        accepted = kept.last_event("ACCEPTED")
    if allowed is not TradingState.RUN:
        yield _warn(f"{allowed.name}: {cause}", 'Start again: trader resume --reason "..."')
    for order in waiting:
        human = order.state is OrderState.NEEDS_HUMAN
        say = _fail if human else _warn
        yield say(f"order {order.intent.client_order_id} is {order.state.value}", "Look: trader recover")
    differs = None if plan is None or (accepted and accepted[0] >= plan.at) else account_trouble(plan)
    if differs is not None:
        yield _fail(differs, 'If you know why: trader recover --accept-balances --reason "..."')
    if failing >= FAILING:
        yield _warn(f"{failing} cycles in a row without a usable answer of a model: {why}", "See: trader models")
    if allowed is TradingState.RUN and not waiting and differs is None and failing < FAILING:
        yield _ok("RUN, every order settled")


@_of_a_ledger
def decisions(patient: Patient) -> Iterator[Finding]:
    """How long ago somebody decided anything."""
    with open_reader(patient.settings) as kept:
        plan, due = kept.newest_plan(), due_at(kept)
    if plan is None or due is None:
        yield _skip("no cycle yet")
        return
    age = patient.now - plan.wall_at
    said = f"last cycle {_ago(age)} ago, at {iso(plan.wall_at)}"
    if patient.max_age_ms is not None and age > patient.max_age_ms:
        yield _fail(f"{said}; at most {_ago(patient.max_age_ms)}", "Is the loop, or cron, still there?")
    elif patient.max_age_ms is None and patient.now > due + LATE_MS:
        yield _warn(f"{said}; it was due at {iso(due)}", "Is the loop, or cron, still there?")
    else:
        yield _ok(said)


def _ago(ms: int) -> str:
    secs = max(0, ms) // 1000
    return f"{secs} s" if secs < 120 else f"{secs // 60} min" if secs < 7200 else f"{secs // 3600} h"


@_of_a_ledger
def books(patient: Patient) -> Iterator[Finding]:
    """That the newest snapshot adds up, and nothing is below zero."""
    with open_reader(patient.settings) as kept:
        last = kept.last_snapshot()
    if last is None:
        yield _skip("no snapshot yet")
        return
    book = last.book
    worth = add(book.deposits, book.realized, last.unrealized)
    if worth != last.equity:
        yield _fail(f"equity {text(last.equity)} is not deposits and profit, {text(worth)}", "trader ledger verify")
    elif book.base < ZERO or book.quote < ZERO:
        yield _fail(f"the book holds {text(book.quote)} and {text(book.base)}", "trader ledger verify")
    else:
        yield _ok(f"equity {text(last.equity)} {last.symbol.partition('/')[2]}")


@_of_a_ledger
def backups(patient: Patient) -> Iterator[Finding]:
    """When the last one was made."""
    made = _backups(patient)
    fix = "Daily or oftener: trader ledger backup --keep 48 -q"
    if not made:
        missing = f"none in {patient.path.parent / FOLDER}"
        yield _skip(missing) if patient.settings.mode == "paper" else _warn(missing, fix)
    elif made[-1][0] > patient.now + BACK_MS:
        yield _warn(f"{made[-1][1].name} is of a time to come", "Look at the clock, and at that file.")
    elif patient.now - made[-1][0] > BACKUP_MS:
        yield _warn(f"the newest of {len(made)} is {_ago(patient.now - made[-1][0])} old", fix)
    else:
        yield _ok(f"{len(made)}, the newest {_ago(patient.now - made[-1][0])} old")


def deposit_cap(patient: Patient) -> Iterator[Finding]:
    """Whether it can hold one round trip."""
    allowed = limits(patient.settings, span_ms(patient.settings.timeframe))
    if allowed.deposit_cap is None:
        yield _skip("not in force on paper (CAP_IN_ALL_MODES)")
        return
    if not exists(patient.path):
        yield _skip("no price is known yet")
        return
    with open_reader(patient.settings) as kept:
        market, last = kept.last_market(), kept.last_snapshot()
    if market is None or last is None or last.mark_price <= ZERO:
        yield _skip("no price is known yet")
        return
    expected = costs(patient.settings.paper_fee_pct, patient.settings.paper_slippage_bps)
    least = smallest_cap(market, last.mark_price, margin_pct(allowed, expected))
    said = f"{text(allowed.deposit_cap)}, one round trip at {text(last.mark_price)} needs {text(least)}"
    yield _ok(said) if allowed.deposit_cap >= least else _warn(f"{said}: nothing will be bought", "DEPOSIT_CAP_USDT")


def models(patient: Patient) -> Iterator[Finding]:
    """Which think, and whether they will be there."""
    if not pays(patient.settings):
        yield _skip("the offline rules think")
        return
    used = models_in_use(patient.settings, patient.now)
    said = remarks(used, set(chosen_models(patient.settings)), patient.now)
    gone = {name for name in used.values() if (spec := spec_of(name)) is not None and is_gone(spec, patient.now)}
    for words in said:
        yield _fail(words) if any(f'"{name}"' in words for name in gone) else _warn(words)
    if not said:
        yield _ok(", ".join(dict.fromkeys(used.values())))


@_of_a_ledger
def clock(patient: Patient) -> Iterator[Finding]:
    """That time has not gone back behind the ledger's newest row."""
    with open_reader(patient.settings) as kept:
        newest = vitals.newest_wall(kept)
    if newest is not None and newest > patient.now + BACK_MS:
        yield _fail(f"it shows {iso(patient.now)}, the ledger's newest row {iso(newest)}", "Set the clock: timedatectl")
    else:
        yield _ok(iso(patient.now))


OFFLINE: tuple[Check, ...] = (
    program, settings, permissions, ledger, pinned, disk, writing, state, decisions, books, backups, deposit_cap,
    models, clock,
)  # fmt: skip

VITAL: tuple[Check, ...] = (ledger, disk, writing, state, decisions, books, clock)
"""What health looks at."""


SEEN: tuple[Check, ...] = tuple(check for check in VITAL if check is not writing)
"""What a server looks at that only reads."""


# --- over the network ------------------------------------------------------------------------


def exchange(patient: Patient) -> Iterator[Finding]:
    """Whether it answers, the market is open, and the clocks agree."""
    if not is_live(patient.settings):
        yield _skip("paper on bars of this machine: none is asked")
        return
    with closing(rehearse(patient.path, wall_now)) as copy:
        asked = live_exchange(patient.settings, copy, Signals())
        asked.connect()
        market, off = asked.market(), asked.offset_ms
        price = asked.quote(patient.now)
    said = f"{asked.name}: {market.symbol} {text(price.bid)} to {text(price.ask)}"
    yield _ok(said) if market.active else _warn(f"{said}, halted")
    apart = f"its clock is {off:+d} ms from this one"
    yield _ok(apart) if abs(off) <= SKEW_MS else _warn(apart, "Set the clock: timedatectl")


def key(patient: Patient) -> Iterator[Finding]:
    """What it may do."""
    if patient.settings.mode == "paper":
        yield _skip("paper needs none")
        return
    with closing(rehearse(patient.path, wall_now)) as copy:
        asked = live_exchange(patient.settings, copy, Signals())
        asked.connect()
        evidence = asked.prove()
    yield _ok(", ".join(f"{name} {value}" for name, value in evidence.items() if name != "account"))


def model_servers(patient: Patient) -> Iterator[Finding]:
    """Whether every model in use is there."""
    if not pays(patient.settings):
        yield _skip("the offline rules think")
        return
    with open_desk(patient.settings, Bench(dry_run=True)) as desk:
        for name, prove in desk.minds.proofs:
            prove()
            yield _ok(f"{name} at {desk.minds.host}")


ONLINE: tuple[Check, ...] = (exchange, key, model_servers)
