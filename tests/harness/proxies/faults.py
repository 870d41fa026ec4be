"""A proxy in front of an S3 service that lets a chosen call fail, in a chosen way.

It passes bytes on unchanged, the Host field too: so signatures stay valid for whoever signed for
the proxy's address. It answers `Expect: 100-continue` itself, which no signature covers. Seconds
are `float`.
"""

from __future__ import annotations

import contextlib
import enum
import re
import select
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Self

from tests.harness.proxies.s3_calls import (
    Message,
    Operation,
    half,
    header,
    hidden,
    operation_of,
    receive_answer,
    receive_body,
    receive_head,
)

HOST = "127.0.0.1"

PATIENCE = 20.0
"""How long a stalled connection is held open for a client that never gives up, and how long a
service may take for a call that arrives late."""

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
    REFUSAL = "400"
    """S3 answers InvalidRequest, and will never do it."""
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
    GATEWAY_LATE = "504, late"
    GATEWAY_LATER = "504, later"
    GATEWAY_LATEST = "504, latest"
    """The same, but somebody in between has given up first, and says so."""
    EMPTY = "200, empty"
    """S3 has done nothing, and answers 200 without a word. (A removal is carried out, since there
    that is what an answer looks like.)"""
    EMPTIED = "200, emptied"
    """S3 carries the call out, and of its answer only the 200 arrives."""
    ERROR_IN_200 = "200, error"
    """S3 answers 200 before it has begun, and then tells of an error, as AWS does to
    CompleteMultipartUpload and UploadPartCopy."""
    KILL_BEFORE = "kill before"
    """The client is killed before the call reaches S3."""
    KILL_AFTER = "kill after"
    """The client is killed when S3 has carried the call out, before the answer arrives."""

    @property
    def is_slow(self) -> bool:
        """Whether the client notices by its timeout alone."""
        return self in _SILENT

    @property
    def is_late(self) -> bool:
        """Whether S3 carries the call out when nobody waits for it any more."""
        return self in _DELAYS

    @property
    def is_carried_out(self) -> bool:
        """Whether S3 does, sooner or later, what the call asks for."""
        return self in _FORWARDED or self.is_late

    @property
    def is_deadly(self) -> bool:
        """Whether the client dies of it."""
        return self in {Fault.KILL_BEFORE, Fault.KILL_AFTER}


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

_ERROR = (b"500 Internal Server Error", b"InternalError")
_GATEWAY = (b"504 Gateway Timeout", b"")

_ANSWERS = {
    Fault.ERROR: _ERROR,
    Fault.SLOW_DOWN: (b"503 Slow Down", b"SlowDown"),
    Fault.REFUSAL: (b"400 Bad Request", b"InvalidRequest"),
    Fault.GATEWAY_LATE: _GATEWAY,
    Fault.GATEWAY_LATER: _GATEWAY,
    Fault.GATEWAY_LATEST: _GATEWAY,
    Fault.EMPTY: (b"200 OK", b""),
    Fault.EMPTIED: (b"200 OK", b""),
    Fault.ERROR_IN_200: (b"200 OK", b"InternalError"),
}
"""What is answered in S3's place: a status, and a code."""

_FORWARDED = {
    Fault.CUT_AFTER,
    Fault.CUT_WITHIN,
    Fault.STALL_AFTER,
    Fault.KILL_AFTER,
    Fault.EMPTIED,
}

_DELAYS = {
    Fault.LATE: LATE_BY,
    Fault.LATER: LATER_BY,
    Fault.LATEST: LATEST_BY,
    Fault.GATEWAY_LATE: LATE_BY,
    Fault.GATEWAY_LATER: LATER_BY,
    Fault.GATEWAY_LATEST: LATEST_BY,
}

_SILENT = {Fault.STALL_BEFORE, Fault.STALL_AFTER, Fault.LATE, Fault.LATER, Fault.LATEST}


class FaultProxy:
    """Listens on a free port. A context manager.

    Args:
        to: the port of the real service.
        kill: ends the client that has this port, for the two faults that do; it returns when the
            client is dead.

    Attributes:
        endpoint: the address to give to the client.
        hides_absence: whether it answers 403 where S3 answers 404 to a reader, as AWS does to
            whoever may not list the bucket.
    """

    def __init__(self, to: int, *, kill: Callable[[int], None] = lambda _port: None) -> None:
        self.hides_absence = False
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

    def go_on(self, plan: Plan) -> None:
        """Do from now on what `plan` says, and forget nothing."""
        with self._mutex:
            self._plan = plan

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
                call = self._note(operation_of(request.head))
                self._land_what_is_due()
                if not self._carry(link, request, call):
                    break
        link.close()
        self._links.discard(link)

    def _note(self, asked: Operation) -> Call:
        with self._mutex:
            call = Call(len(self._calls) + 1, asked.name, asked.key, asked.part)
            fault = self._plan(call)
            if fault is Fault.EMPTY and call.operation in _REMOVALS:
                fault = Fault.EMPTIED
            call = Call(call.number, call.operation, call.key, call.part, fault)
            self._calls.append(call)
            return call

    def _carry(self, link: _Link, request: Message, call: Call) -> bool:
        """Do what the plan says; returns whether the connection goes on."""
        fault = call.fault
        if fault is None:
            answer = link.forward(request)
            if self.hides_absence and call.operation in _READS:
                answer = hidden(answer)
            link.answer(answer.whole)
            return True
        if fault in _FORWARDED:
            answer = link.forward(request)
            if fault is Fault.CUT_WITHIN:
                link.answer(half(answer))
        if fault.is_slow:
            link.wait_for_client_to_go()
        if fault.is_late:
            with self._mutex:
                self._late.append(_Late(request, _DELAYS[fault]))
        if fault in _ANSWERS:
            link.answer(_answer(fault, call))
            return True
        if fault.is_deadly:
            self._kill(link.client_port)
        return False

    def _land_what_is_due(self) -> None:
        with self._mutex:
            due = [late for late in self._late if late.is_due()]
            self._late = [late for late in self._late if late not in due]
        for one in due:
            one.land(self._to)


_READS = {"GetObject", "HeadObject"}
_REMOVALS = {"DeleteObject", "AbortMultipartUpload"}


@dataclass(slots=True, eq=False)
class _Late:
    """A call that is still on its way."""

    request: Message
    remaining: int

    def is_due(self) -> bool:
        self.remaining -= 1
        return self.remaining < 0

    def land(self, port: int) -> None:
        """Send it to the service; whatever becomes of it is nobody's business any more."""
        with (
            contextlib.suppress(OSError),
            socket.create_connection((HOST, port), PATIENCE) as server,
            server.makefile("rb") as answers,
        ):
            server.sendall(self.request.whole)
            receive_answer(answers, self.request)


class _Link:
    """A client's connection, and the one to the service that belongs to it."""

    def __init__(self, client: socket.socket, to: int) -> None:
        self._client = client
        self.client_port: int = client.getpeername()[1]
        self._requests = client.makefile("rb")
        self._to = to
        self._server: socket.socket | None = None
        self._answers: IO[bytes] | None = None

    def receive(self) -> Message | None:
        """The next request, or None when the client has gone."""
        head = receive_head(self._requests)
        if not head:
            return None
        if header(head, b"expect"):
            self._client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = re.sub(rb"(?im)^expect:.*\r\n", b"", head)
        body = receive_body(self._requests, head)
        if body is None:
            return None
        return Message(head, body)

    def forward(self, request: Message) -> Message:
        """What the service answers to the request."""
        if self._server is not None and select.select([self._server], [], [], 0)[0]:
            self._hang_up()  # it has closed the idle connection
        if self._server is None:
            self._server = socket.create_connection((HOST, self._to))
            self._server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._answers = self._server.makefile("rb")
        assert self._answers is not None
        self._server.sendall(request.whole)
        return receive_answer(self._answers, request)

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


def _answer(fault: Fault, call: Call) -> bytes:
    """What is said in S3's place."""
    status, code = _ANSWERS[fault]
    text = b"<Error><Code>%s</Code><Message>by the proxy</Message></Error>" % code
    body = b"" if call.operation == "HeadObject" or not code else text
    fields = b"Content-Type: application/xml\r\nContent-Length: %d\r\n" % len(body)
    return b"HTTP/1.1 %s\r\n%s\r\n%s" % (status, fields, body)
