"""Files written for other programs, alone or in a folder: private, whole or not there, nothing overwritten unasked."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from trader_cli.core.errors import ConfigError, LedgerError, TraderError, UsageError
from trader_cli.core.redaction import redact

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)


def fill(folder: Path, files: Mapping[str, str], option: str, force: bool = False) -> list[Path]:
    """Write `files` (names to texts) into `folder`, made for its owner only; returns their paths.

    With `force` files of the same names are replaced and all others left alone. Raises UsageError for a folder that
    cannot be used or, without `force`, is not empty; LedgerError when the disk is full or read-only. `option` is what
    named the folder.
    """
    path = folder
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not force and any(folder.iterdir()):
            raise UsageError(
                f'{option} needs an empty folder, and "{folder}" is not', "Name another, or add --force to write there."
            )
        written = []
        for name, content in files.items():
            path = folder / name
            _write(path, [content])
            written.append(path)
    except (OSError, ValueError) as error:  # a ValueError: the path holds a NUL or is no text
        raise _refusal(path, error, option) from error
    return written


def save(path: Path, pieces: Iterable[str], option: str, force: bool = False, mode: int = 0o600) -> int:
    """Write one file, for its owner only unless its `mode` says else, whole or not at all; returns its size in bytes.

    Raises UsageError for a path that cannot be used or, without `force`, is there; LedgerError when the disk is full.
    What `pieces` raises leaves nothing behind.
    """
    may_save(path, option, force)
    try:
        return _write(path, pieces, force, mode)
    except FileExistsError as error:
        raise _taken(path) from error
    except (OSError, ValueError) as error:
        raise _refusal(path, error, option) from error


def may_save(path: Path, option: str, force: bool = False) -> None:
    """Whether `save` would write there, as far as can be told before. Raises UsageError."""
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise UsageError(f'{option} needs a file\'s name, and "{path}" is something else', "Name another file.")
        if path.exists() and not force:
            raise _taken(path)
        if path.exists() and _is_database(path):
            raise UsageError(f'"{path}" is a database, perhaps a ledger', "Name another file: it is never replaced.")
        if not path.absolute().parent.is_dir():
            raise UsageError(f'cannot write "{path}": its folder is not there', f"Name another file with {option}.")
    except (OSError, ValueError) as error:
        raise _refusal(path, error, option) from error


def read_text(path: Path, what: str, most: int = 1_000_000) -> str:
    """The text of a file that the setting `what` names. Raises ConfigError where it cannot be read, or is too long."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(most + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{what} names a file that cannot be read: {reason}", f"Correct {what}.") from None
    if len(text) > most:
        raise ConfigError(f"{what} names a file of more than {most} characters", f"Correct {what}.")
    return text


def _taken(path: Path) -> UsageError:
    return UsageError(f'"{path}" is there already', "Name another file, or add --force to replace it.")


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def _write(path: Path, pieces: Iterable[str], replace: bool = True, mode: int = 0o600) -> int:
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(fresh, flags, 0o600), "wb") as file:
            size = sum(file.write(redact(piece).encode("utf-8", "backslashreplace")) for piece in pieces)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        if replace:
            fresh.replace(path)
        else:
            os.link(fresh, path)  # fails if somebody made it meanwhile
            fresh.unlink()
        return size
    except BaseException:
        with suppress(OSError):
            fresh.unlink()
        raise


def _refusal(path: Path, error: OSError | ValueError, option: str) -> TraderError:
    if not isinstance(error, OSError):
        return UsageError(f'{option} needs a folder\'s name, was "{path}": {error}', f"Name another with {option}.")
    words = f'cannot write "{path}": {error.strerror}'
    if error.errno in _DISK:
        return LedgerError(words, f"Free or unlock the disk, or name a folder elsewhere with {option}.")
    return UsageError(words, f"Name another folder with {option}.")
