"""A client of resumable uploads for HTTP, interop version 8, that relies on interim responses.

A 104 with a Location means that the upload exists there. A 104 with an offset means that the bytes
before it are stored, whatever happens to the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tests.harness.clients.http import Response
from tests.harness.clients.uploader import APPENDED, BASE_PATH, ProtocolError, TusUploader

UPLOAD_RESUMPTION_SUPPORTED = 104

COMPLETE = "?1"
INCOMPLETE = "?0"


@dataclass(slots=True, kw_only=True)
class RufhUploader(TusUploader):
    """Upload one file. Its length is declared at once, unless the script defers it.

    Attributes:
        interim_count: how many interim responses arrived.
    """

    interim_count: int = 0

    version_fields: ClassVar[Mapping[str, str]] = {"Upload-Draft-Interop-Version": "8"}

    def upload(self, upto: int | None = None) -> None:
        """Send the file, and check the offset that the server then states.

        Args:
            upto: the offset at which to stop; None for the whole file.

        Raises:
            ProtocolError: the server contradicted itself, or too many requests failed.
        """
        goal = len(self.file) if upto is None else upto
        cuts = sorted(self.script.cuts)
        offset = self.create(cuts)
        is_complete = offset == len(self.file) and not self.script.has_empty_last
        self.send_rest(offset, goal, cuts, is_complete=is_complete)
        offset, is_complete = self.query_offset()
        if offset != goal or (goal == len(self.file) and not is_complete):
            raise ProtocolError(
                f"{goal} bytes were acknowledged, but the offset is {offset}, {is_complete=}"
            )
        if not self.interim_count:
            raise ProtocolError("there was no interim response")

    def create(self, cuts: list[int]) -> int | None:
        """Create the upload; return the offset, or None if the caller has to ask for it.

        Args:
            cuts: offsets at which the connection breaks. Those that it reaches are removed.

        Raises:
            ProtocolError: the upload cannot be created.
        """
        first = self.script.first or 0
        fields = {"Upload-Complete": self._completeness(first)}
        if not self.script.is_deferred:
            fields["Upload-Length"] = str(len(self.file))
        while True:
            self.creations += 1
            response = self._send_bytes("POST", BASE_PATH, fields, (0, first), cuts)
            if response is not None and response.status == 201:
                self.url = response["Location"]
                self._failures = 0
                return self._acknowledge(response)
            self._count_failure(response, "POST")
            if self.url is not None:  # an interim response had a Location
                return None

    def query_offset(self) -> tuple[int, bool]:
        """Return the offset, and whether the upload is complete.

        Raises:
            ProtocolError: the offset is lower than an earlier one, or the server does not state it.
        """
        while True:
            response = self._request("HEAD", self.url or "", {})
            if response is not None and response.status == 204:
                offset = self._acknowledge(response)
                if offset is None:
                    raise ProtocolError("the response to HEAD has no offset")
                return offset, response["Upload-Complete"] == COMPLETE
            self._count_failure(response, "HEAD")

    def append(self, offset: int, goal: int, cuts: list[int]) -> int | None:
        """Send the next bytes up to the end of a PATCH request.

        Returns:
            The offset that the server confirms. None if the caller has to ask for it: after a
            failure, and before the empty request that ends a file.
        """
        stop = min((end for end in self.script.patch_ends if end > offset), default=goal)
        is_all_sent = offset == len(self.file)
        fields = {
            "Upload-Offset": str(offset),
            "Upload-Complete": COMPLETE if is_all_sent else self._completeness(stop),
        }
        response = self._send_bytes("PATCH", self.url or "", fields, (offset, stop), cuts)
        if response is None or response.status not in APPENDED:
            self._count_failure(response, "PATCH")
            return None
        confirmed = self._acknowledge(response)
        if confirmed != stop:
            raise ProtocolError(f"PATCH up to {stop} was answered with {confirmed}")
        self._failures = 0
        is_complete = response["Upload-Complete"] == COMPLETE
        if is_complete != (fields["Upload-Complete"] == COMPLETE):
            raise ProtocolError(f"PATCH with {fields} was answered with {dict(response.fields)}")
        is_empty_last_left = confirmed == len(self.file) and not is_complete
        return None if is_empty_last_left else confirmed

    def _completeness(self, stop: int) -> str:
        """Return the Upload-Complete of a request whose body ends at the offset `stop`."""
        is_last = stop == len(self.file) and not self.script.has_empty_last
        return COMPLETE if is_last else INCOMPLETE

    def _content_type(self, method: str) -> str:
        return "application/partial-upload" if method == "PATCH" else "application/octet-stream"

    def _on_interim(self, response: Response) -> None:
        """Note the URL and the offset that a 104 confirms."""
        if response.status != UPLOAD_RESUMPTION_SUPPORTED:
            raise ProtocolError(f"unexpected interim response: {response}")
        self.transcript.append(f"104 {dict(response.fields)}")
        self.interim_count += 1
        self.url = response.fields.get("location", self.url)
        self._acknowledge(response)
