"""One check of a ledger: what was looked at, how much of it, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """`checked` counts what was looked at; `problems` name rows and differences, at most a handful."""

    name: str
    checked: int
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems
