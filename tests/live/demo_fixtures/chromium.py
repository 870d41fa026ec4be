"""A headless Chromium, driven through its own protocol over a pair of pipes.

https://chromedevtools.github.io/devtools-protocol/: JSON messages that end with a NUL byte, sent
on the browser's descriptor 3 and received from its descriptor 4. No port, no driver, no package.
Seconds are `float`.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demo.process import ChildProcess

ANSWER_SECONDS = 30.0

FLAGS = (
    "--headless",
    "--hide-scrollbars",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-pipe",
)


def find_chromium() -> str | None:
    """The browser's command, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


class Chromium:
    """The browser, with nothing in it but a fresh profile."""

    def __init__(self, process: ChildProcess, *, to_browser: int, from_browser: int) -> None:
        self._process = process
        self._to = to_browser
        self._from = from_browser
        self._ids = itertools.count(1)
        self._received = b""
        self.complaints: list[str] = []
        """Exceptions in scripts, and what the content security policy refused."""

    @classmethod
    @contextmanager
    def started(cls, command: str, profile: Path) -> Iterator[Chromium]:
        """A browser that ends with the block. `profile` is made, and holds its log too."""
        profile.mkdir(parents=True)
        their_in, to_browser = os.pipe()
        from_browser, their_out = os.pipe()
        # A shell puts the pipes where the browser looks for them.
        wrapped = f'exec "$@" 3<&{their_in} 4>&{their_out}'
        flags = [*FLAGS, f"--user-data-dir={profile}"]
        try:
            process = ChildProcess(
                ["bash", "-c", wrapped, "bash", command, *flags],
                environ=os.environ,
                log=profile / "chromium.log",
                pass_fds=[their_in, their_out],
            )
        finally:
            os.close(their_in)
            os.close(their_out)
        try:
            yield cls(process, to_browser=to_browser, from_browser=from_browser)
        finally:
            process.stop(grace=0)
            os.close(to_browser)
            os.close(from_browser)

    def page(self, url: str) -> Page:
        """A new tab that shows `url`."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        page.call("Page.enable")
        page.call("Network.enable")
        page.call("Runtime.enable")
        page.call("Log.enable")
        page.open(url)
        return page

    def call(self, method: str, *, session: str | None = None, **params: object) -> dict[str, Any]:
        """Carry out a command of the protocol, and return its result."""
        number = next(self._ids)
        message: dict[str, object] = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == number:
                break
            self._heard(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def _heard(self, event: dict[str, Any]) -> None:
        """Keep what pages complain of."""
        kind, params = event.get("method"), event.get("params", {})
        if kind == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        if kind == "Log.entryAdded" and params["entry"]["source"] in {"security", "javascript"}:
            self.complaints.append(params["entry"]["text"])

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._received:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._from], [], [], max(0, left))
            more = os.read(self._from, 1 << 20) if ready else b""
            assert more, f"the browser fell silent:\n{self._process.log_tail()}"
            self._received += more
        line, self._received = self._received.split(b"\0", 1)
        message: dict[str, Any] = json.loads(line)
        return message


class Page:
    """A tab of the browser."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self._session = session

    def call(self, method: str, **params: object) -> dict[str, Any]:
        return self._browser.call(method, session=self._session, **params)

    def open(self, url: str) -> None:
        """Go to `url`, and wait until the page and its scripts are there."""
        result = self.call("Page.navigate", url=url)
        assert "errorText" not in result, f"{url}: {result['errorText']}"
        self.wait_for("document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited when it is a promise."""
        result = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, f"{expression}: {result['exceptionDetails']}"
        return result["result"].get("value")

    def wait_for(self, expression: str, *, seconds: float = 30.0) -> None:
        """Wait until the expression is true."""
        deadline = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < deadline, (
                f"not within {seconds} s: {expression}\n{self.text()}\n{self._browser.complaints}"
            )
            time.sleep(0.05)

    def text(self) -> str:
        """What a person reads on the page."""
        return str(self.evaluate("document.body.innerText"))

    def drop(self, file: Path, selector: str) -> None:
        """Drag a file from the desktop over the middle of an element, and let go."""
        x, y = self.evaluate(
            f"(() => {{ const at = document.querySelector({json.dumps(selector)})"
            ".getBoundingClientRect(); return [at.x + at.width / 2, at.y + at.height / 2]; })()"
        )
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def network(self, *, offline: bool = False, upload: int = -1) -> None:
        """Cut the network, or slow it down.

        Args:
            offline: whether it is gone.
            upload: bytes a second that go out; -1 for as many as there can be.
        """
        self.call(
            "Network.emulateNetworkConditions",
            offline=offline,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=upload,
        )

    def look(self, *, width: int, height: int, dark: bool = False) -> None:
        """Give the window a size in CSS pixels, and the system a colour scheme."""
        scale = {"deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, **scale)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, file: Path) -> None:
        """The whole page, also what is below the window's edge, as PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))
