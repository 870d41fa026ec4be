"""The example of an ASGI app in docs/servers.md runs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

TEXT = (Path(__file__).parents[2] / "docs" / "servers.md").read_text(encoding="utf-8")

TUS = {"Host": "example.com", "Tus-Resumable": "1.0.0"}
STREAM = {"Content-Type": "application/offset+octet-stream"}

DATA = b"0123456789"


async def call(
    app: Any, method: str, path: str, fields: Mapping[str, str], body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    """Send a request to an ASGI app as a server does.

    Returns:
        The status, the header fields with names in lower case, and the body of the response.
    """
    sent: list[Any] = []
    requests = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return requests.pop() if requests else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    named = {**TUS, **fields, "Content-Length": str(len(body))}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "server": ("example.com", 80),
        "client": ("127.0.0.1", 9),
        "headers": [(name.lower().encode(), value.encode()) for name, value in named.items()],
    }
    await app(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:])


async def append(app: Any, path: str, offset: int, data: bytes) -> int:
    """Append bytes to an upload and return the status."""
    fields = {**STREAM, "Upload-Offset": str(offset)}
    status, _, _ = await call(app, "PATCH", path, fields, data)
    return status


async def upload_through(app: Any) -> None:
    """Upload a file in two requests, download it, and get pages of the app around it."""
    status, fields, _ = await call(app, "POST", "/api/files", {"Upload-Length": "10"})
    assert status == 201
    url = urlsplit(fields["location"])
    assert url.netloc == "example.com"
    assert url.path.startswith("/api/files/")
    assert await append(app, url.path, 0, DATA[:4]) == 204
    status, fields, _ = await call(app, "HEAD", url.path, {})
    assert (status, fields["upload-offset"]) == (200, "4")
    assert await append(app, url.path, 4, DATA[4:]) == 204
    _, _, content = await call(app, "GET", url.path, {})
    assert content == DATA
    for path, expected in (("/api/elsewhere", 404), ("/docs", 200)):
        status, _, _ = await call(app, "GET", path, {})
        assert status == expected


@pytest.mark.usefixtures("tus_store")
def test_a_mounted_middleware_serves_uploads_below_the_path_of_the_mount(
    capsys: pytest.CaptureFixture[str],
) -> None:
    section = TEXT.partition("\n## FastAPI and Starlette\n")[2]
    example = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert example is not None
    names: dict[str, Any] = {}
    exec(example[1], names)
    asyncio.run(upload_through(names["app"]))
    assert capsys.readouterr().out == "None 10\n"
