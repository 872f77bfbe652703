"""The recorded market: candles from a CSV file `timestamp_ms,open,high,low,close,volume`, plain or .gz.

The file is read and checked once, then kept as its own bytes with two compact arrays (stamps and row
offsets); rows become candles only when asked for. A malformed file is refused here, naming the line;
well-formed bad data (duplicates, gaps, impossible bars) is passed on as it is for `core.candles` to judge.
"""

from __future__ import annotations

import gzip
import re
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from io import BytesIO
from itertools import islice
from operator import sub
from pathlib import Path

from trader_cli.core.decimals import MONEY
from trader_cli.core.errors import ConfigError
from trader_cli.core.moments import Moment, ceil_to, iso
from trader_cli.schemas.market import Candle

HEADER = "timestamp_ms,open,high,low,close,volume"

_STAMPS = ("timestamp_ms", "timestamp", "time")
_COLUMNS = HEADER.split(",")
_FORM = f"needs the columns {HEADER} (time in milliseconds UTC, prices as plain numbers)"
_NUMBER = rb"-?[0-9]{1,18}+(?:\.[0-9]{1,40}+)?+(?:[eE][-+]?[0-9]{1,2}+)?+"
_ROW = re.compile(rb"([0-9]{1,18}+)" + (rb"," + _NUMBER) * 5 + rb"\r?+(?:\n|\Z)")
_FIELD = re.compile(_NUMBER)
_STAMP = re.compile(rb"[0-9]{1,18}")
_EARLIEST_MS, _LATEST_MS = 100_000_000_000, 100_000_000_000_000
"""1973 to 5138: stamps outside are seconds or microseconds."""
_UNITS = (("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000))
_FINEST = Decimal("1e-18")
_MOST_BYTES = 1 << 30
"""What a .gz file may unpack to: 15 million bars. More is a bomb."""
_BLOCK_BARS = 256
_BLOCKS_KEPT = 8


class RecordedMarket:
    """A CandleSource over one file.

    `sha256` is the digest of the file as it lies on disk.
    `timeframe_ms` None means the file's own spacing. Raises ConfigError for a file that cannot be used.
    """

    def __init__(self, path: Path, timeframe_ms: int | None) -> None:
        self.path = path
        self.provenance = f"recorded:{path.name}"
        raw = _read(path)
        self.sha256 = sha256(raw).hexdigest()
        self._text = _unpacked(path, raw)
        self._stamps, self._rows = _scan(path, self._text)
        self.timeframe_ms = _timeframe(path, self._stamps, timeframe_ms)
        self._block = lru_cache(maxsize=_BLOCKS_KEPT)(self._parse)

    def start(self, warmup: int) -> Moment:
        """When the `warmup`-th bar has closed, rounded up to the grid. ConfigError if no bar follows."""
        if len(self._stamps) <= warmup:
            raise ConfigError(
                f"{self.path}: had {len(self._stamps)} bars, needs more than the {warmup} of OHLCV_LIMIT",
                "lower OHLCV_LIMIT or set MARKET to a longer file",
            )
        first = self._stamps[warmup - 1] + self.timeframe_ms if warmup > 0 else self._stamps[0]
        return ceil_to(first, self.timeframe_ms)

    def end(self) -> Moment | None:
        """When the last bar opens: the last moment at which an order finds a price."""
        return self._stamps[-1]

    def closed(self, limit: int, now: Moment) -> tuple[Candle, ...]:
        """The last `limit` rows that closed at or before `now`, in file order, as they are."""
        stop = bisect_right(self._stamps, now - self.timeframe_ms)
        return self._bars(max(stop - limit, 0), stop)

    def next_open(self, now: Moment) -> Candle | None:
        """The first row that opens at or after `now`."""
        index = bisect_left(self._stamps, now)
        return self._bars(index, index + 1)[0] if index < len(self._stamps) else None

    def _bars(self, first: int, stop: int) -> tuple[Candle, ...]:
        if first >= stop:
            return ()
        head, tail = first // _BLOCK_BARS, (stop - 1) // _BLOCK_BARS
        if head == tail:
            return self._block(head)[first - head * _BLOCK_BARS : stop - head * _BLOCK_BARS]
        bars = self._block(head)[first - head * _BLOCK_BARS :]
        for block in range(head + 1, tail):
            bars += self._block(block)
        return bars + self._block(tail)[: stop - tail * _BLOCK_BARS]

    def _parse(self, block: int) -> tuple[Candle, ...]:
        first = block * _BLOCK_BARS
        stop = min(first + _BLOCK_BARS, len(self._stamps))
        lines = self._text[self._rows[first] : self._rows[stop]].decode("ascii").split("\n")
        return tuple(_candle(line) for line in islice(lines, stop - first))


def read_once(path: Path, timeframe_ms: int | None) -> RecordedMarket:
    """The bars of a file, read anew only where the file changed: a run and its report share them, a sweep's runs too.

    Raises ConfigError.
    """
    try:
        seen = path.stat()
    except OSError:  # the market says what is wrong
        return RecordedMarket(path, timeframe_ms)
    return _read_at(path, timeframe_ms, (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns))


@lru_cache(maxsize=1)
def _read_at(path: Path, timeframe_ms: int | None, stamp: tuple[int, ...]) -> RecordedMarket:
    del stamp  # another one is another file
    return RecordedMarket(path, timeframe_ms)


def infer_timeframe_ms(stamps: Sequence[Moment]) -> int:
    """The most common spacing of ascending stamps, the shortest of equals. ValueError if there is none."""
    spacings: Counter[int] = Counter(map(sub, islice(stamps, 1, None), stamps))
    del spacings[0]
    if not spacings:
        raise ValueError("needs at least two bars at different times")
    most = max(spacings.values())
    return min(spacing for spacing, count in spacings.items() if count == most)


def _candle(line: str) -> Candle:
    stamp, *numbers = line.split(",")
    opened, high, low, close, volume = map(_number, numbers)
    return Candle(int(stamp), opened, high, low, close, volume)


def _number(field: str) -> Decimal:
    """The file's own number; float noise beyond 18 decimals (0.0071911399999999995) is rounded away."""
    value = Decimal(field)
    if len(field) < 20 and "e" not in field and "E" not in field:
        return value
    exponent = value.as_tuple().exponent
    return MONEY.quantize(value, _FINEST) if isinstance(exponent, int) and exponent < -18 else value


def _read(path: Path) -> bytes:
    hint = "set MARKET to a CSV file of candles that exists and can be read"
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe is waited for without end
            raise ConfigError(f"{path}: cannot be read: it is a pipe or a device, needs a file", hint)
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}", hint) from error


def _unpacked(path: Path, raw: bytes) -> bytes:
    if path.suffix != ".gz":
        return raw
    try:
        with gzip.GzipFile(fileobj=BytesIO(raw)) as packed:
            content = packed.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"{path}: is not a whole gzip file: {error}", "fetch the file again") from error
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"{path}: unpacks to more than {_MOST_BYTES} bytes", "set MARKET to a shorter file")
    return content


def _scan(path: Path, content: bytes) -> tuple[array[int], array[int]]:
    """Check every row; return the stamps, and where each row begins with the end of the last one."""
    stamps, rows, latest = array("q"), array("Q"), -1
    begin, stop = _body(path, content)
    for row in _ROW.finditer(content, begin, stop):
        start, end = row.span()
        if start != begin:
            break
        stamp = int(row[1])
        if stamp < latest:
            problem = f"time was {stamp} after {latest}, needs to be at or after the row before"
            raise _malformed(path, len(stamps) + 2, problem, "sort the rows by time")
        stamps.append(stamp)
        rows.append(begin)
        begin, latest = end, stamp
    if begin < stop:
        line = content[begin:stop].partition(b"\n")[0]
        raise _malformed(path, len(stamps) + 2, _complaint(line))
    rows.append(stop)
    _check_unit(path, stamps)
    return stamps, rows


def _body(path: Path, content: bytes) -> tuple[int, int]:
    """Where the rows begin and end. Raises ConfigError for a strange header or a file without rows."""
    header, _, _ = content.partition(b"\n")
    stop = len(content.rstrip())
    if not stop:
        raise ConfigError(f"{path}: is empty, {_FORM}", "set MARKET to a file with candles")
    names = header.decode("utf-8-sig", "replace").strip().lower().split(",")
    if names[0] not in _STAMPS or names[1:] != _COLUMNS[1:]:
        raise _malformed(path, 1, f"the header was {_shown(header)}, needs {HEADER!r}")
    if stop <= len(header):
        raise ConfigError(f"{path}: has a header but no rows, {_FORM}", "set MARKET to a file with candles")
    return len(header) + 1, stop


def _check_unit(path: Path, stamps: array[int]) -> None:
    for line, stamp in ((2, stamps[0]), (len(stamps) + 1, stamps[-1])):
        if not _EARLIEST_MS <= stamp < _LATEST_MS:
            unit = "seconds" if stamp < _EARLIEST_MS else "microseconds or finer"
            problem = f"time was {stamp} ({unit}?), needs milliseconds since 1970, such as 1767225600000"
            raise _malformed(path, line, problem, "convert the time column to milliseconds")


def _timeframe(path: Path, stamps: array[int], wanted: int | None) -> int:
    """The timeframe to use. Raises ConfigError if the file's own is another, or if it has none."""
    try:
        spacing = infer_timeframe_ms(stamps)
    except ValueError as error:
        if wanted is not None:
            return wanted
        raise ConfigError(f"{path}: tells no timeframe: it {error}", "set TIMEFRAME") from error
    if wanted is not None and wanted != spacing:
        raise ConfigError(
            f"{path}: TIMEFRAME was {_span(wanted)}, needs {_span(spacing)}: "
            f"that is the file's most common spacing (from {iso(stamps[0])})",
            f"set TIMEFRAME={_span(spacing)}",
        )
    return spacing


def _complaint(line: bytes) -> str:
    """What is wrong with a row that did not match."""
    fields = line.rstrip(b"\r").split(b",")
    if len(fields) != len(_COLUMNS):
        return f"was {_shown(line)} with {len(fields)} fields, needs the {len(_COLUMNS)} of {HEADER}"
    for name, field in zip(_COLUMNS, fields, strict=True):
        if name == _COLUMNS[0] and not _STAMP.fullmatch(field):
            return f"time was {_shown(field)}, needs milliseconds since 1970, such as 1767225600000"
        if name != _COLUMNS[0] and not _FIELD.fullmatch(field):
            return f"{name} was {_shown(field)}, needs a plain finite number below 1e18"
    return f"was {_shown(line)}, needs {HEADER}"


def _malformed(path: Path, line: int, problem: str, hint: str | None = None) -> ConfigError:
    return ConfigError(f"{path} line {line}: {problem}", hint or f"correct the file: it {_FORM}")


def _shown(raw: bytes) -> str:
    """Bytes of a stranger as a short quoted text without control characters."""
    shown = repr(raw[:60].decode("utf-8", "replace"))
    return shown if len(raw) <= 60 else shown + "..."


def _span(span_ms: int) -> str:
    """300000 -> `5m`."""
    for unit, length in _UNITS:
        if span_ms % length == 0:
            return f"{span_ms // length}{unit}"
    return f"{span_ms}ms"
