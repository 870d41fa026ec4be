"""A client that sends a file as partial uploads, and has the server concatenate them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.harness.clients.transport import Transport
from tests.harness.clients.uploader import (
    BASE_PATH,
    MAX_FAILURES,
    ProtocolError,
    TusUploader,
    UploadScript,
)


@dataclass(slots=True, kw_only=True)
class FinalUploader(TusUploader):
    """Create a final upload, and wait until the server has concatenated it.

    Attributes:
        partial_urls: the URLs of its partial uploads.
    """

    partial_urls: Sequence[str] = ()

    def create(self, cuts: list[int]) -> int | None:
        """Create the final upload; return the offset if the server states it.

        Raises:
            ProtocolError: the upload cannot be created.
        """
        fields = {"Upload-Concat": f"final;{' '.join(self.partial_urls)}"}
        while True:
            self.creations += 1
            response = self._request("POST", BASE_PATH, fields)
            if response is not None and response.status == 201:
                self.url = response["Location"]
                self._failures = 0
                return self._acknowledge(response)
            self._count_failure(response, "POST")

    def query_offset(self) -> tuple[int, bool]:
        """Return the offset, and True: the server knows the length of every final upload.

        Raises:
            ProtocolError: the file does not exist, so the response has no offset.
        """
        while True:
            response = self._request("HEAD", self.url or "", {})
            if response is not None and response.status == 200 and response.offset is not None:
                self._acknowledge(response)
                return response.offset, True
            if response is not None and response.status == 200:
                raise ProtocolError("the partial uploads are finished, but not concatenated")
            self._count_failure(response, "HEAD")


@dataclass(slots=True, kw_only=True)
class ConcatUploader:
    """Upload one file as the concatenation of several.

    Attributes:
        send: the transport to the server.
        parts: the content of the partial uploads.
        creates_final_first: whether the final upload is created before any byte is sent.
        max_failures: failures in a row after which the client gives up.
        transcript: every request and its response, for the report of a failure.
    """

    send: Transport
    parts: Sequence[bytes]
    creates_final_first: bool = False
    max_failures: int = MAX_FAILURES
    transcript: list[str] = field(default_factory=list)
    _partials: list[TusUploader] = field(init=False)
    _final: FinalUploader = field(init=False)

    def __post_init__(self) -> None:
        self._partials = [
            TusUploader(
                send=self.send,
                file=part,
                script=UploadScript(is_partial=True),
                transcript=self.transcript,
                max_failures=self.max_failures,
            )
            for part in self.parts
        ]
        self._final = FinalUploader(
            send=self.send,
            file=b"".join(self.parts),
            script=UploadScript(),
            transcript=self.transcript,
            max_failures=self.max_failures,
        )

    @property
    def expected_objects(self) -> dict[str, bytes]:
        """The files that the bucket has in the end, by the ids of their uploads."""
        return {uploader.id: uploader.file for uploader in [*self._partials, self._final]}

    @property
    def id(self) -> str:
        """The final upload's id."""
        return self._final.id

    @property
    def creations(self) -> int:
        """How many creation requests were sent."""
        return sum(uploader.creations for uploader in [*self._partials, self._final])

    def upload(self, upto: int | None = None) -> None:
        """Send the partial uploads, and create the final one.

        Args:
            upto: always None: this client sends whole files.

        Raises:
            ProtocolError: the server contradicted itself, or too many requests failed.
        """
        assert upto is None
        if self.creates_final_first:
            for partial in self._partials:
                partial.create([])
            self._create_final()
        for partial in self._partials:
            partial.upload()
        if not self.creates_final_first:
            self._create_final()
        self._final.query_offset()

    def resume(self, upto: int | None = None) -> None:
        """Continue the first partial upload that is not complete, or query the final upload.

        Args:
            upto: always None: this client sends whole files.

        Raises:
            ProtocolError: the server contradicted itself, or too many requests failed.
        """
        assert upto is None
        for partial in self._partials:
            if partial.acknowledged < len(partial.file):
                partial.resume()
                return
        if self._final.url is not None:
            self._final.query_offset()

    def query_offset(self) -> tuple[int, bool]:
        """Return the offset of the final upload, and True.

        Raises:
            ProtocolError: the file does not exist.
        """
        return self._final.query_offset()

    def terminate(self) -> None:
        """Delete the final upload, and repeat the request until it is certain."""
        self._final.terminate()

    def assert_gone(self) -> None:
        """Check that the server does not know the final upload any more."""
        self._final.assert_gone()

    def _create_final(self) -> None:
        self._final.partial_urls = [partial.url or "" for partial in self._partials]
        self._final.create([])
