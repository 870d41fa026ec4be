"""Requests that a tus client sends, to tusd and to this server, and what hooks learn of them."""

from __future__ import annotations

import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.hooks.handler import Handler

DATA = b"hello world"
COMMON = {"Tus-Resumable": "1.0.0", "User-Agent": "scenario"}
COMPARED_FIELDS = ("X-Row", "X-Reason", "X-Changed", "Content-Type", "Upload-Offset")


class Response(NamedTuple):
    """A response; the names of `fields` are in lower case."""

    status: int
    fields: dict[str, str]
    body: bytes


Send = Callable[[str, str, dict[str, str], bytes], Response]
"""Sends a request: method, path, fields, body."""

SendSlowly = Callable[[str, dict[str, str], int], Response]
"""Sends a PATCH byte by byte, until there is a response: path, fields, length of the body."""

SLOW_LENGTH = 1000
"""Bytes of an upload that is stopped while they come."""

_CREATED = {"pre-create": 1, "post-create": 1}
_FINISHED = {"pre-finish": 1, "post-finish": 1}
EXPECTED = {
    "accepted": {**_CREATED, "post-receive": 2, **_FINISHED},
    "deferred": {**_CREATED, "post-receive": 1, **_FINISHED},
    "rejected": {"pre-create": 1},
    "changed": _CREATED,
    "own id": {"pre-create": 1},
    "kept": {**_CREATED, "pre-terminate": 1},
    "terminated": {**_CREATED, "pre-terminate": 1, "post-terminate": 1},
    "concatenated": {"pre-create": 3, "post-create": 3, **_FINISHED},
    "stopped": {**_CREATED, "post-terminate": 1},
}
"""The events of each case, and how many documents of each differ, at least."""


class Scenario:
    """Runs each case, and collects its responses and documents.

    Args:
        send: sends a request to the server.
        send_slowly: sends a PATCH slowly.
        handler: the handler that the server calls.
        seconds: how long to wait for the events of a case.
    """

    def __init__(
        self, send: Send, send_slowly: SendSlowly, handler: Handler, *, seconds: float = 20
    ) -> None:
        self._send = send
        self._send_slowly = send_slowly
        self._handler = handler
        self._seconds = seconds
        self._responses: list[Response] = []
        self._ids: list[str] = []

    def run(self) -> dict[str, Any]:
        """Return the normalised responses and documents of each case."""
        cases = {
            "accepted": self._accepted,
            "deferred": self._deferred,
            "rejected": lambda: self.post(None),
            "changed": lambda: self.request("HEAD", self.post("change.txt")),
            "own id": lambda: self.post("id.txt"),
            "kept": lambda: self.request("DELETE", self.post("keep.txt")),
            "terminated": lambda: self.request("DELETE", self.post("a.txt")),
            "concatenated": self._concatenated,
            "stopped": self._stopped,
        }
        return {name: self._run(name, case) for name, case in cases.items()}

    def _run(self, name: str, case: Callable[[], object]) -> Any:
        """Run a case, wait for its events, and return its responses and documents.

        Their ids, addresses and keys are replaced, because they differ in each run.
        """
        first = len(self._handler.documents)
        self._responses, self._ids = [], []
        case()
        deadline = time.monotonic() + self._seconds
        while not self._is_complete(name, first):
            assert time.monotonic() < deadline, (name, self._handler.events()[first:])
            time.sleep(0.02)
        return self._normalised(
            {
                "responses": [_compared(response) for response in self._responses],
                "documents": self._documents(name, first),
            }
        )

    def _is_complete(self, name: str, first: int) -> bool:
        """Return whether every expected event of a case came; its documents begin at `first`."""
        found = self._documents(name, first)
        counts = {event: len(documents) for event, documents in found.items()}
        if name == "concatenated":  # tusd finishes partial uploads too
            finals = [d for d in found.get("post-finish", ()) if d["Event"]["Upload"]["IsFinal"]]
            counts["post-finish"] = len(finals)
        return all(counts.get(event, 0) >= count for event, count in EXPECTED[name].items())

    def _documents(self, name: str, first: int) -> dict[str, Any]:
        """Return the documents of this case by event.

        Documents of an earlier case may come late, so the ids of the uploads decide.
        """
        documents = self._handler.documents[first:]
        ids = {"", *self._ids}
        return _by_event(
            document
            for document in documents
            if document["Type"] in EXPECTED[name] and document["Event"]["Upload"]["ID"] in ids
        )

    def _accepted(self) -> None:
        """Send a file in two requests. The second waits until a hook knows of the first."""
        path = self.post("a.txt", first_pairs="note ,")
        self.patch(path, 0, DATA[:5])
        # Newer progress would replace progress that is not delivered yet.
        deadline = time.monotonic() + self._seconds
        while not self._progress(self._ids[0]):
            assert time.monotonic() < deadline, self._handler.events()
            time.sleep(0.02)
        self.patch(path, 5, DATA[5:])

    def _progress(self, id: str) -> list[dict[str, Any]]:
        documents = self._handler.of("post-receive")
        return [document for document in documents if document["Event"]["Upload"]["ID"] == id]

    def _deferred(self) -> None:
        fields = {"Upload-Defer-Length": "1", "Upload-Metadata": metadata("a.txt")}
        path = self._created(self.request("POST", "/files/", fields))
        self.patch(path, 0, DATA, {"Upload-Length": str(len(DATA))})

    def _concatenated(self) -> None:
        parts = []
        for data in (DATA[:5], DATA[5:]):
            path = self.post("a.txt", {"Upload-Concat": "partial"}, len(data))
            self.patch(path, 0, data)
            parts.append(path)
        concat = f"final;{' '.join(parts)}"
        fields = {"Upload-Concat": concat, "Upload-Metadata": metadata("a.txt")}
        self._created(self.request("POST", "/files/", fields))

    def _stopped(self) -> None:
        path = self.post("stop.txt", length=SLOW_LENGTH)
        type = "application/offset+octet-stream"
        fields = {**COMMON, "Upload-Offset": "0", "Content-Type": type}
        self._responses.append(self._send_slowly(path, fields, SLOW_LENGTH))
        self.request("HEAD", path)

    def post(
        self,
        name: str | None,
        fields: dict[str, str] | None = None,
        length: int = len(DATA),
        first_pairs: str = "",
    ) -> str:
        """Create an upload and return its path; "" if the creation was refused.

        Args:
            name: the file name in the metadata; None for no metadata.
            fields, length: the header fields, and the upload's length.
            first_pairs: metadata before the file name, with a comma at the end.
        """
        given = {"Upload-Length": str(length), **(fields or {})}
        if name is not None:
            given["Upload-Metadata"] = first_pairs + metadata(name)
        return self._created(self.request("POST", "/files/", given))

    def patch(
        self, path: str, offset: int, data: bytes, fields: dict[str, str] | None = None
    ) -> Response:
        """Append data to an upload."""
        type = "application/offset+octet-stream"
        given = {"Upload-Offset": str(offset), "Content-Type": type, **(fields or {})}
        return self.request("PATCH", path, given, data)

    def request(
        self, method: str, path: str, fields: dict[str, str] | None = None, data: bytes = b""
    ) -> Response:
        """Send a request of tus."""
        response = self._send(method, path, {**COMMON, **(fields or {})}, data)
        self._responses.append(response)
        return response

    def _created(self, response: Response) -> str:
        path = urlsplit(response.fields.get("location", "")).path
        if path:
            self._ids.append(path.rpartition("/")[2])
        return path

    def _normalised(self, value: Any) -> Any:
        """Replace what differs in each run: ids, addresses, the bucket and the key."""
        if isinstance(value, dict):
            return {key: self._normalised(child) for key, child in value.items()}
        if isinstance(value, list):
            return [self._normalised(child) for child in value]
        if not isinstance(value, str):
            return value
        for number, id in enumerate(self._ids):
            value = value.replace(id, f"<id {number}>").replace(id.partition("+")[0], "<key>")
        value = re.sub(r"\b127\.0\.0\.1:\d+|localhost(:\d+)?", "<host>", value)
        return re.sub(r"^<host>:?\d*$", "<host>", value)


def metadata(name: str) -> str:
    """Return the field of a file with a name."""
    return f"filename {b64encode(name.encode()).decode()}"


def _compared(response: Response) -> dict[str, Any]:
    fields = {name: response.fields.get(name.lower()) for name in COMPARED_FIELDS}
    if not response.body:
        fields["Content-Type"] = None  # it describes nothing
    return {
        "status": response.status,
        "fields": {name: value for name, value in fields.items() if value is not None},
        "body": response.body.decode(),
    }


def _by_event(documents: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the different documents of each event, by offset.

    How often progress is reported depends on the time, and the order of the events is not promised.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for document in documents:
        if document["Type"] == "post-terminate":
            # It depends on the time in tusd, and is unknown here.
            document["Event"]["Upload"]["Offset"] = 0
        same = found.setdefault(document["Type"], [])
        if document not in same:
            same.append(document)
    return {event: sorted(same, key=_order) for event, same in sorted(found.items())}


def _order(document: dict[str, Any]) -> tuple[bool, int, str]:
    upload = document["Event"]["Upload"]
    return upload["IsFinal"], upload["Offset"], document["Event"]["HTTPRequest"]["URI"]
