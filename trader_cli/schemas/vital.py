"""What a check of the installation found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """How bad it is: a FAIL keeps trading from being safe or possible, a WARN will one day."""

    SKIP = 0
    OK = 1
    WARN = 2
    FAIL = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """A row of `doctor`: what was looked at, how it is, and what to do about it."""

    name: str
    level: Level
    said: str
    fix: str | None = None
