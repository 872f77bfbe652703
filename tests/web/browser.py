"""Chromium without a screen, driven over a pair of pipes by the DevTools protocol."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE_SECS = 30.0
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)


@dataclass
class Page:
    """A page; `complaints` is what the browser logged or refused, `asked` every address it wanted."""

    _tell: int
    _hear: int
    _session: str | None = None
    _heard: bytes = b""
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def call(self, method: str, **params: Any) -> Any:
        """What the browser answers to a command."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._tell, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE_SECS
        while True:
            said = self._next(until)
            if said.get("id") == number:
                assert "error" not in said, said
                return said["result"]
            self._note(said)

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._heard:
            assert select.select([self._hear], [], [], max(0.0, until - time.monotonic()))[0], "no answer"
            piece = os.read(self._hear, 1 << 20)
            assert piece, "the browser is gone"
            self._heard += piece
        first, _, self._heard = self._heard.partition(b"\0")
        said: dict[str, Any] = json.loads(first)
        return said

    def _note(self, said: dict[str, Any]) -> None:
        params = said.get("params", {})
        if said.get("method") == "Log.entryAdded" and params["entry"].get("source") != "network":
            self.complaints.append(params["entry"]["text"])
        if said.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"])[:500])
        if said.get("method") == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])

    def attach(self, width: int, height: int, dark: bool) -> None:
        """Open an empty page."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def go(self, url: str) -> None:
        """Open an address, and wait until it is drawn and its script has run."""
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """What an expression of JavaScript comes to; a promise is waited for."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, script: str, secs: float = PATIENCE_SECS) -> None:
        """Wait for an expression to become true."""
        end = time.monotonic() + secs
        while not self.run(script):
            assert time.monotonic() < end, f"never: {script}"
            time.sleep(0.05)

    def look(self) -> None:
        """Let the page look for what is new, now; a look of its own that is under way is waited for."""
        self.run("(async () => { while (looking) await new Promise((on) => setTimeout(on, 20)); await look(); })()")

    def text(self, selector: str) -> str:
        """The words of the first element that a selector finds."""
        return str(self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def ids(self) -> list[str]:
        """The parts of the page, in order."""
        found: list[str] = self.run("[...document.querySelector('main').children].map((one) => one.id)")
        return found

    def key(self, name: str) -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name)


@contextlib.contextmanager
def page(home: Path, width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Page]:
    """A browser of its own with one page, ended at the end; it complained of nothing."""
    theirs_in, tell = os.pipe()
    hear, theirs_out = os.pipe()

    def at_their_numbers() -> None:  # the protocol's pipes are descriptors 3 and 4
        incoming, outgoing = os.dup(theirs_in), os.dup(theirs_out)
        os.dup2(incoming, 3)
        os.dup2(outgoing, 4)

    process = subprocess.Popen(
        [CHROMIUM or "", *OPTIONS, f"--user-data-dir={home / 'profile'}"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        close_fds=False,
        preexec_fn=at_their_numbers,  # noqa: PLW1509 - it calls only dup
        start_new_session=True,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    opened = Page(tell, hear)
    try:
        opened.attach(width, height, dark)
        yield opened
        opened.run("0")  # what it has to say until now
    finally:
        with contextlib.suppress(Exception):
            os.write(tell, b'{"id": 0, "method": "Browser.close"}\0')
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(tell)
        os.close(hear)
    assert opened.complaints == []
