"""A client that sends a file in pieces, each an upload of its own, and has them joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.harness.clients.transport import Transport
from tests.harness.clients.uploader import PATH, BrokenPromise, TusClient, Way


@dataclass(slots=True, kw_only=True)
class FinalClient(TusClient):
    """Asks for an upload that is made of others, and waits until it is.

    Attributes:
        pieces: their URLs.
    """

    pieces: Sequence[str] = ()

    def create(self, cuts: list[int]) -> int | None:
        """Begin the upload.

        Raises:
            BrokenPromise: it cannot be begun.
        """
        fields = {"Upload-Concat": f"final;{' '.join(self.pieces)}"}
        while True:
            self.creations += 1
            answer = self._request("POST", PATH, fields)
            if answer is not None and answer.status == 201:
                self.url = answer.fields["location"]
                self._failures = 0
                return self._believe(answer)
            self._failed(answer, "POST")

    def ask(self) -> tuple[int, bool]:
        """The offset, which the server says when the file is there.

        Raises:
            BrokenPromise: it is not made.
        """
        while True:
            answer = self._request("HEAD", self.url or "", {})
            if answer is not None and answer.status == 200 and answer.offset is not None:
                self._believe(answer)
                return answer.offset, True
            if answer is not None and answer.status == 200:
                raise BrokenPromise("its pieces are there, and it is not made of them")
            self._failed(answer, "HEAD")


@dataclass(slots=True, kw_only=True)
class JoiningClient:
    """Sends one file.

    Attributes:
        send: the way to the server.
        pieces: of the file.
        is_early: whether the final upload is begun before a byte of its pieces is sent.
        said: every request and its answer, for whoever wonders what happened.
    """

    send: Transport
    pieces: Sequence[bytes]
    is_early: bool = False
    said: list[str] = field(default_factory=list)
    _partials: list[TusClient] = field(init=False)
    _final: FinalClient = field(init=False)

    def __post_init__(self) -> None:
        way = Way(is_partial=True)
        self._partials = [
            TusClient(send=self.send, file=piece, way=way, said=self.said) for piece in self.pieces
        ]
        self._final = FinalClient(
            send=self.send, file=b"".join(self.pieces), way=Way(), said=self.said
        )

    @property
    def wanted(self) -> dict[str, bytes]:
        """What has to be there in the end: the files, by the ids of their uploads."""
        return {one.id: one.file for one in [*self._partials, self._final]}

    @property
    def id(self) -> str:
        """The final upload's."""
        return self._final.id

    @property
    def creations(self) -> int:
        """How many creation requests were sent."""
        return sum(one.creations for one in [*self._partials, self._final])

    def upload(self, upto: int | None = None) -> None:
        """Send the pieces, and have them joined.

        Raises:
            BrokenPromise: the server broke one, or the client ran out of patience.
        """
        assert upto is None
        if self.is_early:
            for partial in self._partials:
                partial.create([])
            self._begin_final()
        for partial in self._partials:
            partial.upload()
        if not self.is_early:
            self._begin_final()
        self._final.ask()

    def ask(self) -> tuple[int, bool]:
        """The offset of the final upload.

        Raises:
            BrokenPromise: it is not made.
        """
        return self._final.ask()

    def terminate(self) -> None:
        """Ask for the final upload's end until it is certain."""
        self._final.terminate()

    def ask_for_trace(self) -> None:
        """Make sure that nobody knows the final upload any more."""
        self._final.ask_for_trace()

    def _begin_final(self) -> None:
        self._final.pieces = [partial.url or "" for partial in self._partials]
        self._final.create([])
