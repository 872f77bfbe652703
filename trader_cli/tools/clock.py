"""Clocks: the system's, and virtual time derived from the ledger. Waiting always uses wall time."""

from __future__ import annotations

import math
import os
import select
import signal
import time
import weakref
from collections.abc import Callable
from types import FrameType

from trader_cli.core.moments import Moment, ceil_to

LOOK_SECS = 30.0
"""How often a wait looks at the clock on the wall: a machine that slept does not count the time it slept."""


class Signals:
    """SIGINT, SIGTERM and SIGHUP as a request to end after the step in hand; a second one leaves at once.

    A pipe wakes the wait, so an hour's sleep ends within a moment.
    """

    def __init__(self, notice: Callable[[str], None] = lambda words: None) -> None:
        self.received: int | None = None
        self._notice = notice
        self._beat_secs, self._beat = LOOK_SECS, _nothing
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        weakref.finalize(self, _close, self._read, self._write).atexit = False  # a late signal may still write

    @property
    def name(self) -> str | None:
        """The signal that came, if one did."""
        return None if self.received is None else signal.Signals(self.received).name

    def install(self) -> None:
        """Take the signals over, but those that are ignored on purpose (nohup). Only the main thread may."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.received is not None:
            os._exit(130 if number == signal.SIGINT else 143)
        self.received = number
        os.write(self._write, b"!")
        self._notice("Stopping after this step. A second signal leaves at once.")

    def meanwhile(self, secs: float, beat: Callable[[], None]) -> None:
        """In every wait do this so often."""
        self._beat_secs, self._beat = min(secs, LOOK_SECS), beat

    def wait(self, secs: float) -> bool:
        """Wait; False when a signal came (or has come before)."""
        deadline = time.monotonic() + secs
        return self._wait(lambda: deadline - time.monotonic())

    def wait_until(self, moment: Moment) -> bool:
        """Wait for a moment on the wall; False when a signal came.

        A machine that was asleep meanwhile finds it passed at once; a clock that is set back makes no wait longer.
        """
        deadline = time.monotonic() + max(0, moment - wall_now()) / 1000
        return self._wait(lambda: min(deadline - time.monotonic(), (moment - wall_now()) / 1000))

    def _wait(self, left: Callable[[], float]) -> bool:
        if self.received is not None:
            return False
        ready = select.poll()  # unlike select(), for any number of open files
        ready.register(self._read, select.POLLIN)
        while (secs := left()) > 0:
            if ready.poll(math.ceil(min(secs, self._beat_secs) * 1000)):
                return False
            self._beat()
        return self.received is None


def _nothing() -> None:
    """Nothing to do while waiting."""


def _close(*descriptors: int) -> None:
    for one in descriptors:
        os.close(one)


def wall_now() -> Moment:
    """Wall time, ms UTC."""
    return time.time_ns() // 1_000_000


class SystemClock:
    """Market time is wall time: live markets."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals

    def now(self) -> Moment:
        """Wall time, ms UTC."""
        return wall_now()

    def wall(self) -> Moment:
        """Wall time, ms UTC."""
        return wall_now()

    def sleep_until(self, moment: Moment) -> bool:
        """Wait for a moment; False when a signal ended the wait."""
        return self._signals.wait_until(moment)

    def pause(self, ms: int) -> bool:
        """Wait so long; False when a signal ended the wait."""
        return self._signals.wait(ms / 1000)


class VirtualClock:
    """Market time is where the ledger stands: the newest trace's wake-up if that trace has ended.

    Simulated and recorded markets move in bars, so a wake-up between two bars is the next bar's
    opening: no decision can then see a fill of a bar that has not opened yet.
    """

    def __init__(self, ledger_time: Callable[[], Moment], timeframe_ms: int, signals: Signals, fast: bool) -> None:
        self._ledger_time = ledger_time
        self._timeframe_ms = timeframe_ms
        self._signals = signals
        self._fast = fast

    def now(self) -> Moment:
        """Virtual time, ms UTC, on the bars' grid."""
        return ceil_to(self._ledger_time(), self._timeframe_ms)

    def wall(self) -> Moment:
        """Wall time, ms UTC."""
        return wall_now()

    def sleep_until(self, moment: Moment) -> bool:
        """Wait as long as the plan asked for, counted from now on the wall; not at all when fast."""
        if self._fast:
            return self._signals.received is None
        return self._signals.wait_until(moment)

    def pause(self, ms: int) -> bool:
        """No wait, for nothing happens in between; False when a signal has come."""
        return self._signals.received is None
