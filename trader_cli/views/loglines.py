"""Log lines on a terminal: drawn by Rich, in UTC, with the trace they belong to, and nothing hostile in them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import IO, cast

from rich.console import Console
from rich.highlighter import NullHighlighter
from rich.logging import RichHandler
from rich.text import Text

from trader_cli.views.output import Output, clean, clean_lines


def terminal_lines(out: Output, stream: object, trace_of: Callable[[logging.LogRecord], str | None]) -> logging.Handler:
    """What draws log lines on a `stream` that leads to a terminal, between what else is written there."""

    class Lines(RichHandler):
        def emit(self, record: logging.LogRecord) -> None:
            with suppress(Exception):  # a line that cannot be drawn breaks nothing
                out.passing("")
                super().emit(record)

        def format(self, record: logging.LogRecord) -> str:
            row = getattr(record, "facts", {}).get("row", {})
            words = clean(" ".join([record.getMessage(), *(f"{name}={value}" for name, value in row.items())]))
            if record.exc_info:
                words += "\n" + clean_lines(logging.Formatter().formatException(record.exc_info))
            trace_id = trace_of(record)
            return words if trace_id is None else f"{clean(trace_id)[:8]} {words}"

    return Lines(
        console=Console(
            file=cast(IO[str], stream),
            force_terminal=True,
            color_system="auto" if out.color else None,
            no_color=not out.color,
        ),
        show_path=False,
        omit_repeated_times=False,
        markup=False,
        highlighter=NullHighlighter(),
        log_time_format=_utc,
    )


def _utc(moment: datetime) -> Text:
    return Text(moment.astimezone(UTC).strftime("%H:%M:%S"))
