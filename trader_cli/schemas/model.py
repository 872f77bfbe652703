"""What a language model takes and costs, as dated data: its price, and what may be asked of it how."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

SOON_DAYS = 60
"""A shutdown no further away than this is said aloud."""


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens.

    Attributes:
        input, output: what is read, and what is written with the reasoning in it.
        cached: what is read out of the server's cache.
        cache_write: what is read and put into that cache; None where that costs the same as `input`.
    """

    input: Decimal
    cached: Decimal
    output: Decimal
    cache_write: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One family of models.

    Attributes:
        name: as requests name it, without the date of a snapshot.
        efforts: the values of `reasoning.effort` it takes, least first; any other is refused.
        default_effort: the one in force when a request names none.
        temperature: when it takes a temperature: `never`, or `at none` (only with the effort "none").
        verbosity: whether it takes `text.verbosity`.
        max_output_tokens: the most that one answer may hold; None when that is not known.
        price: None when it is not known.
        shutdown: the day (UTC, `YYYY-MM-DD`) from which it is gone; None when none is announced.
        successor: the model that takes its place.
        cutoff: the last day that its training saw; None when that is not known.
    """

    name: str
    efforts: tuple[str, ...]
    default_effort: str
    temperature: str
    verbosity: bool
    max_output_tokens: int | None = None
    price: Price | None = None
    shutdown: str | None = None
    successor: str | None = None
    cutoff: str | None = None
