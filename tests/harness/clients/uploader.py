"""A client that uploads a whole file with tus 1.0.0, and holds the server to its acknowledgements.

Unlike `clients.tus.TusClient`, which sends single requests that have to succeed, it continues after
any failure: it asks for the offset and resumes from there, as tus-js-client does, and repeats a
failed creation.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import ClassVar

from tests.harness.clients.http import Response
from tests.harness.clients.transport import Transport

MAX_FAILURES = 6
"""Failures in a row after which the client gives up: enough for every single and double fault."""

BASE_PATH = "/files"

REJECTED = 422
"""The status with which the application rejects a file."""

ANSWER_FIELD = "X-Answer"
"""The field of the application's answer to a finished upload."""

APPENDED = {200, 204}
"""The statuses of a successful PATCH: with the body of an answer, and without a body."""


class ProtocolError(AssertionError):
    """The server contradicted itself, or the client cannot resume."""


@dataclass(slots=True, kw_only=True)
class UploadScript:
    """How a file is sent.

    Attributes:
        patch_ends: the offsets at which PATCH requests end.
        first: bytes in the creation request; None for a creation without a body.
        is_deferred: whether the length is declared by the last PATCH only.
        has_empty_last: whether that PATCH is empty.
        cuts: offsets at which the connection breaks, once each.
        is_partial: whether the upload is a partial upload of a concatenation.
    """

    patch_ends: Sequence[int] = ()
    first: int | None = None
    is_deferred: bool = False
    has_empty_last: bool = False
    cuts: Iterable[int] = ()
    is_partial: bool = False


@dataclass(slots=True, kw_only=True)
class TusUploader:
    """Upload one file.

    Attributes:
        send: the transport to the server.
        file: what is sent.
        script: how it is sent.
        acknowledged: the highest offset that the server has confirmed.
        expires: the latest expiry that the server has announced.
        url: the URL of the upload, once it exists.
        transcript: every request and its response, for the report of a failure.
        creations: how many creation requests were sent.
        max_failures: failures in a row after which the client gives up.
        last_status: the status of the last failure.
        answer: the application's answer, once the server has sent it.
    """

    send: Transport
    file: bytes
    script: UploadScript
    acknowledged: int = 0
    expires: datetime | None = None
    url: str | None = None
    transcript: list[str] = field(default_factory=list)
    creations: int = 0
    max_failures: int = MAX_FAILURES
    last_status: int | None = None
    answer: str | None = None
    _failures: int = 0

    version_fields: ClassVar[Mapping[str, str]] = {"Tus-Resumable": "1.0.0"}
    """Fields of every request."""

    @property
    def expected_objects(self) -> dict[str, bytes]:
        """The files that the bucket has in the end, by the ids of their uploads."""
        return {self.id: self.file}

    @property
    def id(self) -> str:
        """The upload's id."""
        assert self.url is not None
        return self.url.rpartition("/")[2]

    def upload(self, upto: int | None = None) -> None:
        """Send the file, and check the offset that the server then states.

        Args:
            upto: the offset at which to stop; None for the whole file.

        Raises:
            ProtocolError: the server contradicted itself, or too many requests failed.
        """
        goal = len(self.file) if upto is None else upto
        cuts = sorted(self.script.cuts)
        offset = 0 if self.url is not None else self.create(cuts)
        self.send_rest(offset, goal, cuts, is_complete=not self.script.is_deferred)
        offset, _ = self.query_offset()
        if offset != goal:
            raise ProtocolError(f"{goal} bytes were acknowledged, but the offset is {offset}")

    def upload_until_rejected(self) -> None:
        """Send the file until the server says that the application rejects it.

        If the response to the last PATCH is lost, the response to the next HEAD is a 410.

        Raises:
            ProtocolError: the server accepts the file, or contradicts itself.
        """
        if not self._is_rejected(self.upload):
            raise ProtocolError("the file was accepted")

    def resume_until_rejected(self) -> None:
        """Ask for the offset, and send the rest, if the upload exists. A rejection is no error.

        Raises:
            ProtocolError: the server contradicted itself, or too many requests failed.
        """
        self._is_rejected(self.resume)

    def _is_rejected(self, send: Callable[[], None]) -> bool:
        """Send the file; return whether the application has rejected it."""
        try:
            send()
        except ProtocolError:
            if self.last_status in {REJECTED, 410}:
                self._failures = 0
                return True
            raise
        return False

    def resume(self, upto: int | None = None) -> None:
        """Ask for the offset, and send the rest, if the upload exists.

        Args:
            upto: the offset at which to stop; None for the whole file.

        Raises:
            ProtocolError: the server contradicted itself, or too many requests failed.
        """
        if self.url is not None:
            goal = len(self.file) if upto is None else upto
            self.send_rest(None, goal, [], is_complete=False)

    def send_rest(
        self, offset: int | None, goal: int, cuts: list[int], *, is_complete: bool
    ) -> None:
        """Send the bytes from `offset` to `goal`.

        Args:
            offset: where to start; None to ask the server.
            goal: where to stop.
            cuts: where the connection breaks, once each.
            is_complete: whether the server knows that no bytes follow those of the file.
        """
        while True:
            if offset is None:
                offset, is_complete = self.query_offset()
            elif offset >= goal and (is_complete or goal < len(self.file)):
                return
            else:
                # At the end of the file, an empty request declares the length.
                offset = self.append(offset, goal, cuts)
                is_complete = is_complete or offset == len(self.file)

    def terminate(self) -> None:
        """Delete the upload, and repeat the request until it is certain.

        Raises:
            ProtocolError: the upload cannot be deleted.
        """
        while True:
            response = self._request("DELETE", self.url or "", {})
            if response is not None and response.status in {204, 404, 410}:
                return
            self._count_failure(response, "DELETE")

    def assert_gone(self) -> None:
        """Check that the server does not know the upload any more.

        Raises:
            ProtocolError: the server knows the upload, or cannot say.
        """
        while True:
            response = self._request("HEAD", self.url or "", {})
            if response is not None and response.status in {404, 410}:
                return
            self._count_failure(response, "HEAD")

    def create(self, cuts: list[int]) -> int | None:
        """Create the upload; return the offset, or None if the response does not state it.

        Args:
            cuts: offsets at which the connection breaks. Those that it reaches are removed.

        Raises:
            ProtocolError: the upload cannot be created.
        """
        fields = {"Upload-Metadata": f"filename {base64.b64encode(b'a file.bin').decode()}"}
        if self.script.is_partial:
            fields["Upload-Concat"] = "partial"
        if self.script.is_deferred:
            fields["Upload-Defer-Length"] = "1"
        else:
            fields["Upload-Length"] = str(len(self.file))
        while True:
            self.creations += 1
            if self.script.first is None:
                response = self._request("POST", BASE_PATH, fields)
            else:
                response = self._send_bytes("POST", BASE_PATH, fields, (0, self.script.first), cuts)
            if response is not None and response.status == 201:
                self.url = response["Location"]
                self._failures = 0
                return 0 if self.script.first is None else self._acknowledge(response)
            self._count_failure(response, "POST")

    def query_offset(self) -> tuple[int, bool]:
        """Return the offset, and whether the server knows the length.

        Raises:
            ProtocolError: the offset is lower than an earlier one, or the server does not state it.
        """
        while True:
            response = self._request("HEAD", self.url or "", {})
            if response is not None and response.status == 200:
                offset = self._acknowledge(response)
                if offset is None:
                    raise ProtocolError("the response to HEAD has no offset")
                return offset, "upload-length" in response.fields
            self._count_failure(response, "HEAD")

    def append(self, offset: int, goal: int, cuts: list[int]) -> int | None:
        """Send the next bytes up to the end of a PATCH request.

        Returns:
            The offset that the server confirms. None if the caller has to ask for it: after a
            failure, and before the empty request that ends a file.
        """
        stop = min((end for end in self.script.patch_ends if end > offset), default=goal)
        is_empty_last = offset == len(self.file)
        is_last = is_empty_last or (stop == len(self.file) and not self.script.has_empty_last)
        fields = {"Upload-Offset": str(offset)}
        if self.script.is_deferred and is_last:
            fields["Upload-Length"] = str(len(self.file))
        response = self._send_bytes("PATCH", self.url or "", fields, (offset, stop), cuts)
        if response is None or response.status not in APPENDED:
            self._count_failure(response, "PATCH")
            return None
        confirmed = self._acknowledge(response)
        if confirmed != stop:
            raise ProtocolError(f"PATCH up to {stop} was answered with {confirmed}")
        self._failures = 0
        if self.script.has_empty_last and stop == len(self.file):
            return None
        return confirmed

    def _send_bytes(
        self,
        method: str,
        url: str,
        fields: Mapping[str, str],
        span: tuple[int, int],
        cuts: list[int],
    ) -> Response | None:
        """Send the bytes of the file in `span`, or fewer if the first of `cuts` is within it."""
        start, stop = span
        end = stop
        if cuts and start < cuts[0] < stop:
            end = cuts.pop(0)
        typed = {**fields, "Content-Type": self._content_type(method)}
        return self._request(method, url, typed, self.file[start:end], stop - start)

    def _content_type(self, _method: str) -> str:
        return "application/offset+octet-stream"

    def _request(
        self,
        method: str,
        url: str,
        fields: Mapping[str, str],
        body: bytes = b"",
        content_length: int = 0,
    ) -> Response | None:
        """Send a request, and check what its response says of the upload.

        Args:
            method: the method.
            url: the target.
            fields: header fields, without `version_fields`.
            body: the bytes to send.
            content_length: bytes to announce. If `body` is shorter, the connection breaks after it.

        Returns:
            The response, or None if the connection broke.
        """
        request = f"{method} {fields.get('Upload-Offset', '')}+{len(body)}"
        try:
            response = self.send(
                method,
                url,
                {**self.version_fields, **fields},
                body,
                content_length,
                on_interim=self._on_interim,
            )
        except OSError as error:
            self.transcript.append(f"{request} -> {type(error).__name__}")
            return None
        self.transcript.append(f"{request} -> {response.status} {response.offset}")
        if not response.is_success and response.offset is not None:
            self._acknowledge(response)
        self._note_expiry(response)
        if response.is_success and method != "DELETE":
            self._note_answer(response)
        return response

    def _on_interim(self, response: Response) -> None:
        """Refuse interim responses: tus has none."""
        raise ProtocolError(f"unexpected interim response: {response}")

    def _note_expiry(self, response: Response) -> None:
        """Check that the expiry does not move backwards."""
        text = response.get("Upload-Expires")
        if text is None:
            return
        expires = parsedate_to_datetime(text)
        if self.expires is not None and expires < self.expires:
            raise ProtocolError(f"the upload expired at {self.expires}, and now at {expires}")
        self.expires = expires

    def _note_answer(self, response: Response) -> None:
        """Check that the application's answer is repeated, and stays the same."""
        answer = response.get(ANSWER_FIELD)
        if self.answer not in {None, answer}:
            raise ProtocolError(f"the answer was {self.answer}, and now it is {answer}")
        self.answer = answer

    def _acknowledge(self, response: Response) -> int | None:
        """Check the offset of a response against the earlier ones, note it, and return it.

        Return None if the response has no offset.
        """
        offset = response.offset
        if offset is None:
            return None
        if offset < self.acknowledged:
            raise ProtocolError(f"the offset decreased from {self.acknowledged} to {offset}")
        if offset > len(self.file):
            raise ProtocolError(f"the offset {offset} is beyond the length {len(self.file)}")
        if offset > self.acknowledged:
            self._failures = 0  # each cut of the connection lets some bytes pass
        self.acknowledged = offset
        return offset

    def _count_failure(self, response: Response | None, method: str) -> None:
        """Count a failed request.

        Raises:
            ProtocolError: clients do not retry after this response, or too many requests failed.
        """
        self._failures += 1
        status = None if response is None else response.status
        self.last_status = status
        if status is not None and not _is_retried(status):
            raise ProtocolError(f"{method} was answered with {status}, which clients do not retry")
        if self._failures >= self.max_failures:
            count = self._failures
            raise ProtocolError(f"{method} failed {count} times in a row, last: {status}")


def _is_retried(status: int) -> bool:
    """Whether tus-js-client retries after this status: 409, 423 and 5xx."""
    return status in {409, 423} or status >= 500
