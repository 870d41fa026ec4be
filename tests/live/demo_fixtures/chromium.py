"""Control a headless Chromium through the DevTools protocol over a pair of pipes.

https://chromedevtools.github.io/devtools-protocol/: JSON messages that end with a NUL byte, sent
to the browser's file descriptor 3 and received from its file descriptor 4. This needs no port, no
driver and no package. Times are `float` seconds.
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

REPLY_SECONDS = 30.0

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
    """Return the path of the browser, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


class Chromium:
    """A browser with an empty profile."""

    def __init__(self, process: ChildProcess, *, to_browser: int, from_browser: int) -> None:
        self._process = process
        self._to = to_browser
        self._from = from_browser
        self._ids = itertools.count(1)
        self._received = b""
        self.errors: list[str] = []
        """Exceptions in scripts, and violations of the content security policy."""

    @classmethod
    @contextmanager
    def started(cls, command: str, profile: Path) -> Iterator[Chromium]:
        """Run a browser until the block ends. `profile` is created and contains the log."""
        profile.mkdir(parents=True)
        browser_in, to_browser = os.pipe()
        from_browser, browser_out = os.pipe()
        # A shell duplicates the pipes to the descriptors that the browser uses.
        script = f'exec "$@" 3<&{browser_in} 4>&{browser_out}'
        flags = [*FLAGS, f"--user-data-dir={profile}"]
        try:
            process = ChildProcess(
                ["bash", "-c", script, "bash", command, *flags],
                environ=os.environ,
                log=profile / "chromium.log",
                pass_fds=[browser_in, browser_out],
            )
        finally:
            os.close(browser_in)
            os.close(browser_out)
        try:
            yield cls(process, to_browser=to_browser, from_browser=from_browser)
        finally:
            process.stop(grace=0)
            os.close(to_browser)
            os.close(from_browser)

    def open_page(self, url: str) -> Page:
        """Open a new tab that shows `url`."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        page.call("Page.enable")
        page.call("Network.enable")
        page.call("Runtime.enable")
        page.call("Log.enable")
        page.navigate(url)
        return page

    def call(self, method: str, *, session: str | None = None, **params: object) -> dict[str, Any]:
        """Run a command of the protocol and return its result. Record errors that arrive before."""
        message_id = next(self._ids)
        message: dict[str, object] = {"id": message_id, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + REPLY_SECONDS
        while True:
            reply = self._receive(deadline)
            if reply.get("id") == message_id:
                break
            self._record_error(reply)
        assert "error" not in reply, f"{method}: {reply['error']}"
        result: dict[str, Any] = reply["result"]
        return result

    def _record_error(self, event: dict[str, Any]) -> None:
        """Record the event if it reports an error of a page."""
        kind, params = event.get("method"), event.get("params", {})
        if kind == "Runtime.exceptionThrown":
            self.errors.append(str(params["exceptionDetails"]))
        if kind == "Log.entryAdded" and params["entry"]["source"] in {"security", "javascript"}:
            self.errors.append(params["entry"]["text"])

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._received:
            timeout = max(0, deadline - time.monotonic())
            ready, _, _ = select.select([self._from], [], [], timeout)
            more = os.read(self._from, 1 << 20) if ready else b""
            assert more, f"the browser did not reply:\n{self._process.log_tail()}"
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

    def navigate(self, url: str) -> None:
        """Navigate to `url` and wait until the page and its scripts are loaded."""
        result = self.call("Page.navigate", url=url)
        assert "errorText" not in result, f"{url}: {result['errorText']}"
        self.wait_for("document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression. A promise is awaited."""
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
                f"not true within {seconds} s: {expression}\n{self.text()}\n{self._browser.errors}"
            )
            time.sleep(0.05)

    def text(self) -> str:
        """Return the visible text of the page."""
        return str(self.evaluate("document.body.innerText"))

    def drop(self, file: Path, selector: str) -> None:
        """Drop a file on the middle of an element."""
        x, y = self.evaluate(
            f"(() => {{ const box = document.querySelector({json.dumps(selector)})"
            ".getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def emulate_network(self, *, offline: bool = False) -> None:
        """Take the browser offline or online."""
        self.call(
            "Network.emulateNetworkConditions",
            offline=offline,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=-1,
        )

    def emulate_display(self, *, width: int, height: int, dark: bool = False) -> None:
        """Set the size of the window in CSS pixels, and the colour scheme of the system."""
        scale = {"deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, **scale)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, file: Path) -> None:
        """Save the whole page as PNG, including the part below the window's edge."""
        image = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(image["data"]))
