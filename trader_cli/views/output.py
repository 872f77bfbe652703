"""The only place that prints: records on stdout (a table, tab-separated text or JSON), words for people on stderr.

Text from a model, an exchange or a file is hostile: control characters are made visible, and
nothing is ever parsed as Rich markup. Whatever leaves is free of secrets: `redact` stands at the last door
of each stream, and before anything that cuts or folds a text. A closed stdout or stderr never crashes a command.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from itertools import chain
from pathlib import PurePath
from typing import Any, TextIO, cast

from trader_cli.core import decimals
from trader_cli.core.errors import TraderError
from trader_cli.core.redaction import redact


class OutputClosedError(Exception):
    """Nobody reads stdout any more (`| head`), and a stream of records goes on: time to end, quietly."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        key: the row's key, and the header in a pipe.
        title: the header on a terminal; the key in capitals when empty.
        number: right-aligned, never cut.
        brief: how a terminal shows the value; pipes and JSON always get all of it.
        gives_way: on a terminal too narrow for all, the columns with the highest number are left out first;
            0 stays always.
        fills: takes the room that is left on a terminal, and is cut there.
        sparse: left out before all others on a terminal too narrow, if no row has a value for it.
    """

    key: str
    title: str = ""
    number: bool = False
    brief: Callable[[Any], str] | None = None
    gives_way: int = 0
    fills: bool = False
    sparse: bool = False

    @property
    def heading(self) -> str:
        """The header on a terminal; a stranger's SQL may name a column anything."""
        return clean(self.title or self.key.upper())


def clean(text: str) -> str:
    r"""Make what does not print visible: ESC becomes `\x1b`, a bidi override `\u202e`, a newline `\x0a`. No secret
    is left in it: whoever shows only a part of a text takes it from here."""
    text = redact(text)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(ord(char)) for char in text)


def _escape(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def clean_lines(text: str) -> str:
    """As `clean`, for a message of ours that may have several lines."""
    return "\n".join(clean(line) for line in text.split("\n"))


class Output:
    """What a command says, in the manner that the global options ask for.

    With `--json` stdout carries records only. With `-q` it stays empty on success, unless
    `--json` asks for the record. `closed` turns True when nobody reads stdout any more: what
    repeats should look at it and end.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False, color: bool = True) -> None:
        self.json = json
        self.quiet = quiet
        self.color = color
        self.closed = False
        self.failed = False
        self._passing = 0
        self._placed: tuple[int, ...] = ()
        self._turn = threading.RLock()  # what passes is told by a thread of its own

    def passing(self, text: str) -> None:
        """A line on a terminal's stderr that the next output takes the place of: what is waited for."""
        if not self.is_watched:
            return
        with self._turn:
            self._wipe()
            line = clean(text)[: shutil.get_terminal_size().columns - 1]
            _to_stderr(line)
            self._passing = len(line)

    def _wipe(self) -> None:
        if self._passing:
            rows = _rows((self._passing,)) - 1  # a window that became narrower has folded it
            _to_stderr("\r" + (f"\x1b[{rows}A" if rows else "") + "\x1b[J")
            self._passing = 0

    def again(self, lines: Sequence[str]) -> None:
        """Lines of a result in the place of those that were written so the last time, on a terminal.

        As many of the first as it has room for: what has left the screen at its top cannot be replaced.
        """
        size = shutil.get_terminal_size()
        shown = [clean(line)[: size.columns - 1] for line in lines][: max(1, size.lines - 1)]
        up = f"\x1b[{min(_rows(self._placed), size.lines - 1)}F" if self._placed else ""
        self._placed = tuple(map(len, shown))
        # Line by line: a screen that is wiped from its top on, tmux keeps as history.
        self._write(up + "".join(f"{line}\x1b[K\n" for line in shown) + "\x1b[J")

    @property
    def is_watched(self) -> bool:
        """Whether a person looks at what passes: both streams are terminals that can, and no -q or --json."""
        able = os.environ.get("TERM") != "dumb"
        return able and not self.quiet and not self.json and self.is_terminal and _isatty(sys.stderr)

    @property
    def is_terminal(self) -> bool:
        """Whether a person looks at stdout."""
        return _isatty(sys.stdout)

    def record(self, doc: Mapping[str, Any], lines: Iterable[str] = (), cells: Sequence[Any] = ()) -> None:
        """The result: with --json `doc` on one line, its "schema" first; in a pipe `cells` if given; else `lines`."""
        if self.json:
            self._write(_dumps({"schema": doc["schema"], **doc}) + "\n")
        elif cells and not self.is_terminal:
            if not self.quiet:
                self._write("\t".join(cell(value) for value in cells) + "\n")
        else:
            self.lines(*lines)

    def lines(self, *texts: str) -> None:
        """Lines of a result for people and pipes; nothing with --json or -q."""
        if texts and not self.json and not self.quiet:
            self._write("".join(f"{clean(text)}\n" for text in texts))

    def table(
        self,
        columns: Sequence[Column],
        rows: Iterable[Mapping[str, Any]],
        empty: str = "",
        *,
        schema: str = "trader.rows/1",
        key: str = "rows",
        whole: bool = False,
    ) -> None:
        """Rows by column; with --json `{"schema": schema, key: [whole rows]}`. `empty` is said when there are none.

        Of `whole` rows a terminal too narrow for them gets a line for each value. But for a terminal, which must know
        all widths first, rows are written as they come: `rows` may be without end.
        """
        coming = iter(rows)
        first = next(coming, None)  # before anything is written: what cannot be read at all prints nothing
        coming = iter(()) if first is None else chain((first,), coming)
        if self.json:
            self.stream(_array(schema, key, coming))
        elif self.quiet:
            deque(coming, maxlen=0)
        elif not self.is_terminal:
            self.stream(_tabbed(columns, coming))
        elif first is not None:
            shown = list(coming)
            fits = sum(_breadth(column, shown) for column in columns) <= (self.width or 80)
            self._write(self._drawn(columns, shown) if fits or not whole else _upright(columns, shown))
        if empty and first is None:
            self.say(empty)

    def stream(self, pieces: Iterable[str]) -> None:
        """Write text on stdout as it comes, much at a time, in flat memory.

        A short text is written whole or, when it cannot be read, not at all.
        """
        held: list[str] = []
        size = 0
        for piece in pieces:
            held.append(piece)
            size += len(piece)
            if size >= _MUCH:
                self._write("".join(held))
                held, size = [], 0
        self._write("".join(held))

    def say(self, text: str) -> None:
        """A word for people, on stderr; nothing with -q."""
        if not self.quiet:
            with self._turn:
                self._wipe()
                _to_stderr(clean_lines(text) + "\n")

    def interject(self, text: str) -> None:
        """A word on stderr from inside a signal handler: written at once, past every buffer."""
        with suppress(OSError):
            start = b"\r\x1b[K" if self._passing else b""  # in the place of what passes
            os.write(2, start + clean_lines(text).encode("ascii", "backslashreplace") + b"\n")

    def warn(self, text: str) -> None:
        """A warning on stderr, also with -q."""
        with self._turn:
            self._wipe()
            _to_stderr(f"Warning: {clean_lines(text)}\n")

    def fault(self, error: TraderError) -> None:
        """Say what went wrong where the command goes on all the same."""
        with self._turn:
            self._wipe()
            report(error, as_json=self.json)

    def ask(self, question: str, default: str | None) -> str:
        """Ask on stderr and read one line from stdin. Raises EOFError when it ends; ask only if `may_ask`.

        With a default of None an empty line is an empty answer.
        """
        _to_stderr(f"{clean(question)}: " if default is None else f"{clean(question)} [{clean(default)}]: ")
        line = sys.stdin.readline() if sys.stdin else ""
        if not line:
            raise EOFError
        return line.strip() or default or ""

    def _write(self, text: str) -> None:
        if self.closed:
            raise OutputClosedError
        try:
            with self._turn:
                self._wipe()
                write(text)
        except BrokenPipeError:
            self.closed = True
        except OSError as error:
            self.closed = self.failed = True
            self.warn(
                f"the output could not be written: {error.strerror}. What the command did stands in the ledger; "
                "look with: trader ledger show"
            )

    @property
    def width(self) -> int | None:
        """The columns of the terminal that stdout is, or None for a pipe or a file."""
        return shutil.get_terminal_size().columns if self.is_terminal else None

    def _drawn(self, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> str:
        """A table for a terminal; numbers are folded before they are ever cut."""
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        shown = fitting(columns, rows, self.width or 80)
        room = (self.width or 80) - sum(_breadth(column, rows) for column in shown if not column.fills)
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for column in shown:
            keeps = column.number or (room >= 0 and not column.fills)
            table.add_column(
                Text(column.heading),
                justify="right" if column.number else "left",
                no_wrap=keeps or column.fills,
                overflow="ellipsis" if column.fills else "fold",
                min_width=_breadth(column, rows) - 2 if keeps else None,
                max_width=max(room, _FILLING) if column.fills else None,
            )
        for row in rows:
            table.add_row(*(Text(_brief(column, row.get(column.key))) for column in shown))
        console = Console(file=sys.stdout, color_system="auto" if self.color else None)
        with console.capture() as drawn:
            console.print(table)
        return drawn.get()


def fitting(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], width: int) -> list[Column]:
    """The columns that a terminal of `width` has room for: those that give way are left out, highest number first."""
    shown = list(columns)
    if sum(_breadth(column, rows) for column in shown) > width:
        shown = [c for c in shown if not c.sparse or any(row.get(c.key) is not None for row in rows)]
    while len(shown) > 1 and sum(_breadth(column, rows) for column in shown) > width:
        last = max(shown, key=lambda column: column.gives_way)
        if last.gives_way == 0:
            break
        shown.remove(last)
    return shown


def _upright(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> str:
    """A line for each value, a blank one after each row: for columns of which none may be left out."""
    widest = max(len(column.heading) for column in columns)
    lines = [
        "".join(f"{column.heading:<{widest}}  {_brief(column, row.get(column.key))}\n" for column in columns)
        for row in rows
    ]
    return "\n".join(lines)


_MUCH = 65_536
"""How many characters of a long result are written at once."""

_FILLING = 20
"""What a column that fills the rest needs at least."""


def _breadth(column: Column, rows: Sequence[Mapping[str, Any]]) -> int:
    widest = max((len(_brief(column, row.get(column.key))) for row in rows), default=0)
    wanted = min(widest, _FILLING) if column.fills else widest
    return max(wanted, len(column.heading)) + 2


def report(error: TraderError, *, name: str = "", as_json: bool = False) -> None:
    """Say on stderr what went wrong and what to do: `Error: …`, `Fix:   …`, or one line of JSON."""
    message, hint = clean_lines(error.message), clean_lines(error.hint) if error.hint else None
    if as_json:
        body = {"name": error.code.name, "exit": int(error.code), "message": message, "hint": hint}
        _to_stderr(_dumps({"schema": "trader.error/1", "error": body}) + "\n")
    else:
        _to_stderr(f"{name or 'Error'}: {message}\n" + (f"Fix:   {hint}\n" if hint else ""))


def trace(text: str) -> None:
    """A traceback on stderr, cleaned line by line."""
    _to_stderr(clean_lines(text))


def write(text: str) -> None:
    """Write to stdout and flush. Raises OSError (BrokenPipeError when nobody reads)."""
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.write(redact(text))
        sys.stdout.flush()


def _to_stderr(text: str) -> None:
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(redact(text))
            sys.stderr.flush()


class _Screen:
    """A stream like another, but for the secrets in what is written to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(redact(text))

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def screened() -> Iterator[None]:
    """Take secrets out of what others write on stderr: a library's log line or warning, Python's own last words."""
    if sys.stderr is None:
        yield
        return
    with redirect_stderr(cast(TextIO, _Screen(sys.stderr))):
        yield


def _rows(lengths: Iterable[int]) -> int:
    """How many rows of the terminal, as wide as it is now, lines of these lengths take."""
    width = shutil.get_terminal_size().columns
    return sum(max(1, -(-length // width)) for length in lengths)


def _isatty(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def _brief(column: Column, value: Any) -> str:
    if value is None:
        return "-"
    if column.brief is None:
        return cell(value)
    return clean(column.brief(redact(value) if isinstance(value, str) else value))


def _array(schema: str, key: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """One JSON document with an array of rows, piece by piece."""
    yield f"{_dumps({'schema': schema})[:-1]}, {_dumps(key)}: ["
    for number, row in enumerate(rows):
        yield (", " if number else "") + _dumps(row)
    yield "]}\n"


def _tabbed(columns: Sequence[Column], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """A header line, then a line per row."""
    yield "\t".join(clean(column.key) for column in columns) + "\n"
    for row in rows:
        yield "\t".join(cell(row.get(column.key)) for column in columns) + "\n"


def cell(value: Any) -> str:
    """A value as one cell: all of it, on one line, without tabs."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        return _money(value)
    if isinstance(value, float) and "e" in (plain := repr(value)):
        return format(Decimal(plain), "f")
    if isinstance(value, Mapping | list | tuple):
        return clean(_dumps(value))
    return clean(str(value))


def significant(value: float | str, digits: int) -> str:
    """A number in so many significant digits for a terminal, never with an exponent."""
    return format(Decimal(f"{float(value):.{digits}g}"), "f")


def _money(value: Decimal) -> str:
    """Canonical where the ledger could keep it; else in full, since output must not fail."""
    try:
        return decimals.text(value)
    except ValueError:
        return format(value, "f")


def as_json(doc: Any) -> str:
    """A document for a file: as `--json` prints it, on many lines."""
    return redact(json.dumps(doc, default=_jsonable, allow_nan=False, indent=2)) + "\n"


def _dumps(doc: Any) -> str:
    """One line of ASCII JSON: money as strings, no NaN."""
    return json.dumps(doc, default=_jsonable, allow_nan=False)


def _jsonable(value: Any) -> Any:
    if isinstance(value, Decimal):
        return _money(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not for JSON")
