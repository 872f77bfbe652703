"""The request weight of a minute: 429 above the limit, 418 for whoever asks on, for as long as Retry-After said."""

from __future__ import annotations

import threading

from tests.binance.refusal import RefusedError

MINUTE_MS = 60_000
BAN_SECS = 120


class Limiter:
    """Counts one client's weight. Times in ms of the server's clock.

    Attributes:
        limit: weight that a minute holds.
        bans: whether asking on during a 429 is answered with a ban.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.bans = limit, True
        self.used = 0
        self._minute = 0
        self._waits_until = 0
        self._banned_until = 0
        self._lock = threading.Lock()

    def admit(self, weight: int, now: int) -> None:
        """Count a request. Raises RefusedError: 418 while banned, 429 above the limit."""
        with self._lock:
            if now < self._banned_until:
                raise self._banned(now)
            if now < self._waits_until:
                if self.bans:
                    self._banned_until = now + BAN_SECS * 1_000
                    raise self._banned(now)
                raise self._too_many(now)
            minute = now // MINUTE_MS
            if minute != self._minute:
                self._minute, self.used = minute, 0
            self.used += weight
            if self.used > self.limit:
                self._waits_until = (minute + 1) * MINUTE_MS
                raise self._too_many(now)

    def hold(self, secs: int, now: int) -> None:
        """A 429 was sent: nobody may ask again for so long."""
        with self._lock:
            self._waits_until = now + secs * 1_000

    def ban(self, secs: int, now: int) -> None:
        """Answer everything with 418 for so long; 0 lifts a ban and a 429."""
        with self._lock:
            self._banned_until, self._waits_until = now + secs * 1_000, now

    def _too_many(self, now: int) -> RefusedError:
        words = (
            f"Too much request weight used; current limit is {self.limit} request weight per 1 MINUTE. "
            "Please use WebSocket Streams for live updates to avoid polling the API."
        )
        return RefusedError(-1003, words, 429, _wait(self._waits_until - now))

    def _banned(self, now: int) -> RefusedError:
        words = (
            f"Way too much request weight used; IP banned until {self._banned_until}. "
            "Please use WebSocket Streams for live updates to avoid bans."
        )
        return RefusedError(-1003, words, 418, _wait(self._banned_until - now))


def _wait(left_ms: int) -> dict[str, str]:
    return {"Retry-After": str(max(1, -(-left_ms // 1_000)))}
