"""A proxy in front of an S3 service that lets a chosen call fail, in a chosen way.

It speaks just enough HTTP/1.1 to tell where one call ends and the next begins, and passes bytes on
unchanged, the Host field too: so signatures stay valid for whoever signed for the proxy's address.
It answers `Expect: 100-continue` itself, which no signature covers. Seconds are `float`.
"""

from __future__ import annotations

import contextlib
import enum
import re
import select
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import IO, Self
from urllib.parse import parse_qs, unquote, urlsplit

HOST = "127.0.0.1"

PATIENCE = 20.0
"""How long a stalled connection is held open for a client that never gives up."""

LATE_BY = 2
LATER_BY = 7
LATEST_BY = 9
"""So many calls are answered before one arrives at S3 that is late, later or latest.

The first lands while the client asks how far it is; the others when it has gone on from there, just
before and just after the next tail is acknowledged.
"""


class Fault(enum.Enum):
    """What happens to a call."""

    ERROR = "500"
    """S3 answers InternalError, and has done nothing."""
    SLOW_DOWN = "503"
    """S3 answers SlowDown, and has done nothing."""
    CUT_BEFORE = "cut before"
    """The connection is lost before the call reaches S3."""
    CUT_AFTER = "cut after"
    """S3 carries the call out, and the connection is lost before a byte of the answer is there."""
    CUT_WITHIN = "cut within"
    """S3 carries the call out, and the connection is lost in the middle of the answer."""
    STALL_BEFORE = "stall before"
    """The call never reaches S3, and nobody says so until the client gives up."""
    STALL_AFTER = "stall after"
    """S3 carries the call out, and its answer does not come until the client has given up."""
    LATE = "late"
    """The call reaches S3 soon after the client has given up, and is then carried out."""
    LATER = "later"
    LATEST = "latest"
    """The same long after the client has given up, when others have done its work."""
    KILL_BEFORE = "kill before"
    """The client is killed before the call reaches S3."""
    KILL_AFTER = "kill after"
    """The client is killed when S3 has carried the call out, before the answer arrives."""

    @property
    def is_slow(self) -> bool:
        """Whether the client notices by its timeout alone."""
        return self in {Fault.STALL_BEFORE, Fault.STALL_AFTER} or self.is_late

    @property
    def is_late(self) -> bool:
        """Whether S3 carries the call out when nobody waits for it any more."""
        return self in _DELAYS

    @property
    def is_carried_out(self) -> bool:
        """Whether S3 does, sooner or later, what the call asks for."""
        return self in _FORWARDED or self.is_late


@dataclass(frozen=True, slots=True)
class Call:
    """A call that came by.

    Attributes:
        number: counted from 1.
        operation: S3's name for it.
        key: of the object.
        part: the part's number, where there is one.
        fault: what was done to it.
    """

    number: int
    operation: str
    key: str
    part: int | None = None
    fault: Fault | None = None

    def __str__(self) -> str:
        suffix = self.key.rpartition(".")[2] if "." in self.key else "data"
        return f"{self.number} {self.operation} {suffix}"


Plan = Callable[[Call], Fault | None]
"""What to do with a call."""

_ANSWERS = {
    Fault.ERROR: (b"500 Internal Server Error", b"InternalError"),
    Fault.SLOW_DOWN: (b"503 Slow Down", b"SlowDown"),
}

_FORWARDED = {Fault.CUT_AFTER, Fault.CUT_WITHIN, Fault.STALL_AFTER, Fault.KILL_AFTER}

_DELAYS = {Fault.LATE: LATE_BY, Fault.LATER: LATER_BY, Fault.LATEST: LATEST_BY}

_NO_BODY = re.compile(rb"HTTP/1\.1 (1\d\d|204|304) ")


class FaultProxy:
    """Listens on a free port. A context manager.

    Args:
        to: the port of the real service.
        kill: ends the client that has this port, for the two faults that do; it returns when the
            client is dead.

    Attributes:
        endpoint: the address to give to the client.
    """

    def __init__(self, to: int, *, kill: Callable[[int], None] = lambda _port: None) -> None:
        self._to = to
        self._kill = kill
        self._mutex = threading.Lock()
        self._plan: Plan = lambda _call: None
        self._calls: list[Call] = []
        self._late: list[_Late] = []
        self._listener = socket.create_server((HOST, 0), backlog=64)
        self._links: set[_Link] = set()
        self.endpoint = f"http://{HOST}:{self._listener.getsockname()[1]}"
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def calls(self) -> list[Call]:
        """Those since `begin`."""
        with self._mutex:
            return list(self._calls)

    def begin(self, plan: Plan) -> None:
        """Forget the calls so far, and do from now on what `plan` says."""
        with self._mutex:
            self._plan = plan
            self._calls = []
            self._late = []

    def settle(self) -> None:
        """Let what is late arrive at last, and do no harm any more."""
        with self._mutex:
            self._plan = lambda _call: None
            late, self._late = self._late, []
        for one in late:
            one.land(self._to)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(5)
        for link in list(self._links):
            link.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                client, _ = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                link = _Link(client, self._to)
                self._links.add(link)
                threading.Thread(target=self._serve, args=[link], daemon=True).start()

    def _serve(self, link: _Link) -> None:
        """Carry one client's calls, one after the other."""
        with contextlib.suppress(OSError):
            while (request := link.receive()) is not None:
                call = self._note(request)
                self._land_what_is_due()
                if not self._carry(link, request, call):
                    break
        link.close()
        self._links.discard(link)

    def _note(self, request: _Message) -> Call:
        with self._mutex:
            call = Call(len(self._calls) + 1, *_operation(request.head))
            call = replace(call, fault=self._plan(call))
            self._calls.append(call)
            return call

    def _carry(self, link: _Link, request: _Message, call: Call) -> bool:
        """Do what the plan says; returns whether the connection goes on."""
        fault = call.fault
        if fault is None:
            link.answer(link.forward(request).whole)
            return True
        if fault in _ANSWERS:
            link.answer(_refusal(call))
            return True
        if fault in _FORWARDED:
            answer = link.forward(request)
            if fault is Fault.CUT_WITHIN:
                link.answer(_half(answer))
        if fault.is_slow:
            link.wait_for_client_to_go()
        if fault.is_late:
            with self._mutex:
                self._late.append(_Late(request, _DELAYS[fault]))
        if fault in {Fault.KILL_BEFORE, Fault.KILL_AFTER}:
            self._kill(link.client_port)
        return False

    def _land_what_is_due(self) -> None:
        with self._mutex:
            due = [late for late in self._late if late.is_due()]
            self._late = [late for late in self._late if late not in due]
        for one in due:
            one.land(self._to)


@dataclass(frozen=True, slots=True)
class _Message:
    """A request or an answer. `head` ends with its empty line; `body` is as it is on the wire."""

    head: bytes
    body: bytes

    @property
    def whole(self) -> bytes:
        return self.head + self.body


@dataclass(slots=True, eq=False)
class _Late:
    """A call that is still on its way."""

    request: _Message
    remaining: int

    def is_due(self) -> bool:
        self.remaining -= 1
        return self.remaining < 0

    def land(self, port: int) -> None:
        with socket.create_connection((HOST, port)) as server, server.makefile("rb") as answers:
            server.sendall(self.request.whole)
            _receive_answer(answers, self.request)


class _Link:
    """A client's connection, and the one to the service that belongs to it."""

    def __init__(self, client: socket.socket, to: int) -> None:
        self._client = client
        self.client_port: int = client.getpeername()[1]
        self._requests = client.makefile("rb")
        self._to = to
        self._server: socket.socket | None = None
        self._answers: IO[bytes] | None = None

    def receive(self) -> _Message | None:
        """The next request, or None when the client has gone."""
        head = _receive_head(self._requests)
        if not head:
            return None
        if _header(head, b"expect"):
            self._client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = re.sub(rb"(?im)^expect:.*\r\n", b"", head)
        body = _receive_body(self._requests, head)
        if body is None:
            return None
        return _Message(head, body)

    def forward(self, request: _Message) -> _Message:
        """What the service answers to the request."""
        if self._server is not None and select.select([self._server], [], [], 0)[0]:
            self._hang_up()  # it has closed the idle connection
        if self._server is None:
            self._server = socket.create_connection((HOST, self._to))
            self._server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._answers = self._server.makefile("rb")
        assert self._answers is not None
        self._server.sendall(request.whole)
        return _receive_answer(self._answers, request)

    def answer(self, answer: bytes) -> None:
        """Send bytes to the client."""
        self._client.sendall(answer)

    def wait_for_client_to_go(self) -> None:
        """Return when the client has hung up, or after `PATIENCE`."""
        self._client.settimeout(PATIENCE)
        with contextlib.suppress(OSError):
            self._client.recv(1)

    def close(self) -> None:
        """Hang up on both sides."""
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)
        self._client.close()
        self._hang_up()

    def _hang_up(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            # Another thread may be reading; shutdown wakes it.
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()


def _operation(head: bytes) -> tuple[str, str, int | None]:
    """S3's name for a request, the key, and the part's number."""
    method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
    url = urlsplit(target)
    key = unquote(url.path).lstrip("/").partition("/")[2]
    query = parse_qs(url.query, keep_blank_values=True)
    multipart = "uploads" in query or "uploadId" in query
    names = {
        ("POST", True): "CreateMultipartUpload"
        if "uploads" in query
        else "CompleteMultipartUpload",
        ("PUT", True): "UploadPart",
        ("GET", True): "ListParts",
        ("DELETE", True): "AbortMultipartUpload",
        ("PUT", False): "PutObject",
        ("GET", False): "GetObject",
        ("HEAD", False): "HeadObject",
        ("DELETE", False): "DeleteObject",
    }
    part = int(query["partNumber"][0]) if "partNumber" in query else None
    return names.get((method, multipart), f"{method} {target}"), key, part


def _refusal(call: Call) -> bytes:
    assert call.fault is not None
    status, code = _ANSWERS[call.fault]
    text = b"<Error><Code>%s</Code><Message>by the proxy</Message></Error>" % code
    body = b"" if call.operation == "HeadObject" else text
    fields = b"Content-Type: application/xml\r\nContent-Length: %d\r\n" % len(body)
    return b"HTTP/1.1 %s\r\n%s\r\n%s" % (status, fields, body)


def _half(answer: _Message) -> bytes:
    """The answer up to the middle of its body; where it has none, some of its fields."""
    if answer.body:
        return answer.head + answer.body[: len(answer.body) // 2]
    lines = answer.head.splitlines(keepends=True)
    return b"".join(lines[: len(lines) // 2])


def _receive_answer(stream: IO[bytes], request: _Message) -> _Message:
    head = _receive_head(stream)
    if not head:
        raise ConnectionError("the service hung up")
    if request.head.startswith(b"HEAD ") or _NO_BODY.match(head):
        return _Message(head, b"")
    body = _receive_body(stream, head)
    if body is None:
        raise ConnectionError("the service hung up within its answer")
    return _Message(head, body)


def _receive_head(stream: IO[bytes]) -> bytes:
    lines: list[bytes] = []
    while line := stream.readline():
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)
    return b""


def _receive_body(stream: IO[bytes], head: bytes) -> bytes | None:
    """A body as it is on the wire; None when the connection ended within it."""
    if _header(head, b"transfer-encoding") == b"chunked":
        return _receive_chunks(stream)
    length = int(_header(head, b"content-length") or b"0")
    body = stream.read(length)
    return body if len(body) == length else None


def _receive_chunks(stream: IO[bytes]) -> bytes | None:
    pieces: list[bytes] = []
    while line := stream.readline():
        size = int(line.split(b";")[0], 16)
        pieces += [line, stream.read(size + 2)]
        if size == 0:
            return b"".join(pieces)
    return None


def _header(head: bytes, name: bytes) -> bytes:
    found = re.search(rb"(?im)^%s:[ \t]*(.*?)[ \t]*\r\n" % re.escape(name), head)
    return found[1].lower() if found else b""
