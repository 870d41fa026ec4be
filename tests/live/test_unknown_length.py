"""D-14: a body whose length is unknown is stored whole, or refused with 411, on every server.

`docs/servers.md` has the table of what is expected.
"""

from __future__ import annotations

import importlib.util
import os
import random
import re
import socket
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from demo.ports import free_ports
from demo.process import ChildProcess
from tests.harness.clients.http import Connection, Response
from tests.harness.clients.http2 import Http2Connection
from tests.harness.clients.tus import STREAM, TusClient, patch_fields
from tests.harness.sockets import HOST

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "servers.md"
SCRIPTS = Path(sysconfig.get_path("scripts"))

APP = "tests.live.apps.in_memory:application"

START_SECONDS = 60.0
"""A start takes about a second; this is for a machine that does much else."""

HEADING = "Bodies of unknown length"

DATA = random.Random(14).randbytes(1500)
CHUNKS = [DATA[:1], DATA[1:900], DATA[900:]]
"""Small enough to be sent in one packet, so that no server has unread bytes when it closes the
connection: a reset could overtake the response."""

CHUNKED = {"Transfer-Encoding": "chunked"}
PARTIAL = {"Content-Type": "application/partial-upload"}

Command = Callable[[int], list[str]]


@dataclass(frozen=True)
class Server:
    """How to start a server.

    Attributes:
        command: returns the command for a port.
        module: the module that must be installed.
        speaks_http2: whether HTTP/2 is tested too.
    """

    command: Command
    module: str
    speaks_http2: bool = False


def from_python(name: str, module: str) -> Server:
    script = str(ROOT / "tests" / "live" / "apps" / "in_memory.py")
    return Server(lambda port: [sys.executable, script, name, str(port)], module)


def script(name: str, *arguments: str, module: str, speaks_http2: bool = False) -> Server:
    """Return a server that is a command; `ADDRESS` and `PORT` in its arguments are replaced."""

    def command(port: int) -> list[str]:
        values = {"ADDRESS": f"{HOST}:{port}", "PORT": str(port)}
        return [str(SCRIPTS / name), *(values.get(text, text) for text in arguments)]

    return Server(command, module, speaks_http2)


HTTP2 = ("--http-protocols", "h2,h1", "--http2-cleartext", "both")


def gunicorn(worker: str, *arguments: str) -> Server:
    options = ["--worker-class", worker, "--bind", "ADDRESS", "--no-control-socket", *arguments]
    return script("gunicorn", *options, APP, module="gunicorn", speaks_http2=arguments == HTTP2)


APACHE = "Apache with mod_wsgi"

MOD_WSGI = Path(f"/usr/lib/apache2/modules/mod_wsgi.so-{sys.version_info[0]}.{sys.version_info[1]}")
"""Debian's package `libapache2-mod-wsgi-py3` for this version of Python."""

SERVERS = {
    "gunicorn, gevent": gunicorn("gevent", *HTTP2),
    "gunicorn, gthread": gunicorn("gthread", *HTTP2),
    "gunicorn, sync": gunicorn("sync", "--threads", "1"),
    "waitress": script("waitress-serve", "--listen", "ADDRESS", APP, module="waitress"),
    "cheroot": from_python("cheroot", "cheroot"),
    "pywsgi (gevent)": from_python("pywsgi", "gevent"),
    "granian": script(
        *("granian", "--interface", "wsgi", "--host", HOST, "--port", "PORT", APP),
        module="granian",
        speaks_http2=True,
    ),
    "hypercorn": script(
        "hypercorn", "--bind", "ADDRESS", f"wsgi:{APP}", module="hypercorn", speaks_http2=True
    ),
    "uvicorn with a2wsgi": from_python("uvicorn", "a2wsgi"),
    "uWSGI, `--http-socket`": script(
        "uwsgi", "--http-socket", "ADDRESS", "--need-app", "--module", APP, module="pyuwsgi"
    ),
    APACHE: from_python("apache", "werkzeug"),
    "Werkzeug (Flask) development server": from_python("werkzeug", "werkzeug"),
    "Django development server": from_python("django", "django"),
    "bottle": from_python("bottle", "bottle"),
    "wsgiref": from_python("wsgiref", "wsgiref"),
}


@pytest.fixture(
    # .ci/run does not install Apache.
    params=[
        *(name for name in SERVERS if name != APACHE),
        pytest.param(APACHE, marks=pytest.mark.long),
    ]
)
def name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == APACHE and not MOD_WSGI.exists():
        pytest.skip(f"{MOD_WSGI} is missing: install libapache2-mod-wsgi-py3")
    if importlib.util.find_spec(SERVERS[name].module) is None:
        pytest.skip(f"{SERVERS[name].module} is not installed")
    return name


@contextmanager
def running_server(name: str, directory: Path) -> Iterator[tuple[int, ChildProcess]]:
    """Run a server. Yield its port and its process; the process is killed in the end."""
    port = free_ports({"http": ()})["http"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = ChildProcess(SERVERS[name].command(port), environ=environ, log=directory / "log")
    try:
        deadline = time.monotonic() + START_SECONDS
        while not listens(port):
            assert process.running(), process.log_tail()
            assert time.monotonic() < deadline, process.log_tail()
            time.sleep(0.02)
        yield port, process
    finally:
        process.stop(grace=0)


@pytest.fixture
def port(name: str, tmp_path: Path) -> Iterator[int]:
    """The port of the running server."""
    with running_server(name, tmp_path) as (port, _):
        yield port


def listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), 1).close()
    except OSError:
        return False
    return True


def table(heading: str) -> dict[str, list[str]]:
    """Return the cells of the table below a heading of the documentation, by server."""
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
    rows = re.findall(r"^\| (.+) \|$", section.partition("\n## ")[0], re.MULTILINE)
    cells = [row.split(" | ") for row in rows]
    return {row[0]: row[1:] for row in cells if row[0] in SERVERS}


def send_chunked(port: int, method: str, path: str, fields: Mapping[str, str]) -> Response:
    with Connection(port) as connection:
        head = connection.encode_head(method, path, {**fields, **CHUNKED})
        body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in CHUNKS)
        connection.expect(method)
        connection.send(head + body + b"0\r\n\r\n")
        return connection.read_response()


def send_http2(port: int, method: str, path: str, fields: Mapping[str, str]) -> Response:
    with Http2Connection(port) as connection:
        return connection.read_response(connection.request(method, path, fields, CHUNKS))


Send = Callable[[int, str, str, Mapping[str, str]], Response]


def outcome_of(port: int, send: Send) -> str:
    """Send the same data in both protocols, and return what the server did with it.

    Returns:
        "stored", or "411" if nothing was stored.
    """
    tus = TusClient(port)
    path = tus.create(len(DATA))
    appended = send(port, "PATCH", path, patch_fields(0))
    created = send(port, "POST", "/files", {"Upload-Complete": "?1"})
    if appended.status == created.status == 411:
        assert tus.offset(path) == 0
        assert appended["Tus-Resumable"] == "1.0.0"
        assert created["Upload-Complete"] == "?0"
        assert created.get("Location") is None
        # A refused request leaves the upload usable.
        assert tus.request("PATCH", path, {**STREAM, "Upload-Offset": "0"}, DATA).status == 204
    else:
        assert (appended.status, appended.offset) == (204, len(DATA)), appended
        assert created.status == 201, created
        assert tus.request("GET", urlsplit(created["Location"]).path).body == DATA
    assert tus.request("GET", path).body == DATA
    return "411" if appended.status == 411 else "stored"


def test_a_body_of_unknown_length_is_stored_whole_or_refused(name: str, port: int) -> None:
    """D-14: the outcome is the one in the documentation."""
    chunked = outcome_of(port, send_chunked)
    unsized = outcome_of(port, send_http2) if SERVERS[name].speaks_http2 else "no body"
    assert [chunked, unsized] == table(HEADING)[name]
    check_that_uploads_work(port)
    check_that_requests_without_a_body_work(port)
    if chunked == "stored":
        check_that_a_cut_body_is_not_complete(port)


def check_that_uploads_work(port: int) -> None:
    """A file is uploaded in two requests, read, and deleted."""
    tus = TusClient(port)
    path = tus.create(len(DATA), {"Upload-Metadata": "filename YS50eHQ="})
    tus.append(path, 0, DATA[:1000])
    assert tus.offset(path) == 1000
    assert tus.patch(path, 0, DATA).status == 409
    tus.append(path, 1000, DATA[1000:])
    assert tus.request("GET", path).body == DATA
    part = tus.request("GET", path, {"Range": "bytes=5-9"})
    assert (part.status, part.body) == (206, DATA[5:10])
    assert tus.delete(path).status == 204
    assert tus.head(path).status == 404
    assert tus.request("GET", "/elsewhere").status == 404


def check_that_requests_without_a_body_work(port: int) -> None:
    """RFC 9112, section 6.3: a request of HTTP/1.1 with neither field has no body."""
    tus = TusClient(port)
    path = tus.create(0)
    assert tus.request("PATCH", path, {**STREAM, "Upload-Offset": "0"}).status == 204
    assert tus.request("OPTIONS", path).status in {200, 204}
    assert tus.offset(path) == 0
    assert tus.request("GET", path).body == b""
    assert tus.request("DELETE", path).status == 204


def resume_after_cut(tus: TusClient, path: str) -> int:
    """Send what is missing of the upload; return the status of the response."""
    with Connection(tus.port) as connection:
        connection.request("HEAD", path)
        state = connection.read_response()
    assert state["Upload-Complete"] == "?0"
    assert state.offset is not None
    assert state.offset <= 600
    rest = {**STREAM, "Upload-Offset": str(state.offset), "Upload-Length": str(len(DATA))}
    return tus.request("PATCH", path, rest, DATA[state.offset :]).status


def check_that_a_cut_body_is_not_complete(port: int) -> None:
    """The client disconnects within a chunk. What is stored is what it has sent."""
    tus = TusClient(port)
    path = tus.create(None)
    fields = {**PARTIAL, **CHUNKED, "Upload-Offset": "0", "Upload-Complete": "?1"}
    with Connection(port) as connection:
        head = connection.encode_head("PATCH", path, fields)
        connection.send(head + b"%x\r\n%s" % (len(DATA), DATA[:600]))
    # The first HEAD may reach the server before the cut body does.
    while (status := resume_after_cut(tus, path)) == 409:
        continue
    assert status == 204
    assert tus.request("GET", path).body == DATA


@pytest.mark.parametrize("name", ["gunicorn, gevent", "gunicorn, gthread"], indirect=True)
def test_requests_of_http2_need_no_content_length(name: str, port: int) -> None:
    """D-14: the server tells an empty body from one of unknown length, and a reset from an end."""
    fields = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(DATA))}
    with Http2Connection(port) as connection:
        stream = connection.request("POST", "/files", fields)
        created = connection.read_response(stream)
        assert created.status == 201
        path = urlsplit(created["Location"]).path
        stream = connection.request("PATCH", path, patch_fields(7), CHUNKS)
        assert connection.read_response(stream).status == 409
        stream = connection.request("PATCH", path, patch_fields(0), [DATA[:600]], ends=False)
        connection.reset(stream)
        stream = connection.request("HEAD", path, {"Tus-Resumable": "1.0.0"})
        offset = connection.read_response(stream).offset
        assert offset is not None
        assert offset <= 600
        stream = connection.request("PATCH", path, patch_fields(offset), [DATA[offset:]])
        assert connection.read_response(stream).status == 204
        stream = connection.request("GET", path)
        assert connection.read_response(stream).body == DATA


def test_the_documentation_lists_all_servers() -> None:
    assert list(table(HEADING)) == list(SERVERS)
