"""The STOP file beside the ledger: it needs no lock and no database, `touch data/STOP` works too."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from trader_cli.core.errors import LedgerError


class StopFile:
    """`STOP` in the ledger's folder. While it is there, nothing is bought or sold."""

    def __init__(self, ledger: Path) -> None:
        self.path = ledger.with_name("STOP")
        self._name = os.fspath(self.path)

    def reason(self) -> str | None:
        """Why trading is stopped, or None when there is no STOP file. A file that cannot be read still stops."""
        try:
            os.lstat(self._name)  # asked before every model call and order: much cheaper than to open it
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"STOP file present ({error.strerror})"
        try:
            words = self.path.read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            return "STOP file present (a link that leads nowhere)" if self.path.is_symlink() else None
        except OSError as error:
            return f"STOP file present ({error.strerror})"
        return words[:200] or "STOP file present"

    def write(self, reason: str) -> None:
        """Put the file there, durably, and whole: whoever looks meanwhile finds its reason or no file."""
        fresh = self.path.with_name("STOP.new")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.write(fd, (reason + "\n").encode("utf-8", "backslashreplace"))
                os.fsync(fd)
            finally:
                os.close(fd)
            fresh.replace(self.path)
        except OSError as error:
            with suppress(OSError):  # on a full disk an empty file still stops
                self.path.touch()
            raise LedgerError(
                f'cannot write "{self.path}": {error.strerror}', "Make that file by hand: it stops trading."
            ) from error

    def remove(self) -> None:
        """Take the file away. Raises LedgerError."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise LedgerError(f'cannot remove "{self.path}": {error.strerror}', "Remove it by hand.") from error
