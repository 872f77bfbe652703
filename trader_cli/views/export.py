"""Rows as files for other programs: CSV, JSON lines, or one JSON document.

Text that came from a model or an exchange is hostile to a spreadsheet: in CSV a cell that would be taken for a formula
gets an apostrophe before it, and what does not print is made visible, so that a row is always one line.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from trader_cli.core.documents import opened
from trader_cli.views.output import cell

Row = Mapping[str, Any]
FORMATS = ("csv", "jsonl", "json")

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_csv(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    """A header and a line per row (RFC 4180 quoting, lines end with a line feed); numbers whole, never an exponent."""
    line = csv.writer(_Line(), lineterminator="\n").writerow
    yield line(columns)
    for row in rows:
        yield line([_safe(row.get(name)) for name in columns])


def as_jsonl(rows: Iterable[Row]) -> Iterator[str]:
    """A JSON object per line; columns that hold JSON are what they hold, under their name without `_json`."""
    for row in rows:
        yield json.dumps(opened(row), allow_nan=False) + "\n"


def as_json(what: str, rows: Iterable[Row]) -> Iterator[str]:
    """One document, `{"schema": "trader.export/1", "what": …, "rows": […]}`, piece by piece."""
    yield f'{{"schema": "trader.export/1", "what": {json.dumps(what)}, "rows": ['
    for number, row in enumerate(rows):
        yield (", " if number else "") + json.dumps(opened(row), allow_nan=False)
    yield "]}\n"


def _safe(value: Any) -> str:
    """A value as a cell that is no formula, whatever a spreadsheet makes of it."""
    words = value if isinstance(value, str) and value.isprintable() else cell(value)
    if words.startswith(_FORMULA) and not _NUMBER.fullmatch(words):
        return "'" + words
    return words


class _Line:
    """What a csv.writer writes to: it gives each line back."""

    def write(self, line: str) -> str:
        return line
