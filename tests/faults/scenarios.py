"""What is done to the store in the fault ring: each scenario is one upload, or the end of one.

Sizes are in units of a part, in tenths, so that the same scenario runs with parts of 5 MiB and with
parts of a kilobyte.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.harness.clients.concat_uploader import JoiningClient
from tests.harness.clients.rufh_uploader import RufhClient
from tests.harness.clients.transport import Transport
from tests.harness.clients.uploader import TusClient, Way

Uploader = TusClient | JoiningClient
"""A client of a scenario."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """An upload. All sizes are in tenths of a part.

    Attributes:
        name: for the table.
        length: of the file.
        stops: where PATCH requests end; empty for one PATCH.
        first: how much the creation request brings; None for nothing, not even a body.
        deferred: whether the length is said last.
        empty_last: whether it is said by a PATCH without bytes.
        cuts: where the client's connection breaks.
        upto: how far the client gets before it terminates the upload; None if it does not.
        pieces: of which sizes the uploads are that the file is made of; empty for one upload.
        is_early: whether the final upload is begun before its pieces are sent.
        is_rufh: whether the client speaks the IETF's protocol instead of tus.
        step: seconds that pass with each request; 0 where uploads are kept for ever.
        lapses: whether the client, instead of terminating the upload, just goes away.
        with_hook: whether the application has an `on_finish`.
        refusals: how often `on_finish` raises before it accepts.
        extra: bytes more than `length` says, for sizes that fit nowhere.
        is_core: whether it runs with parts of 5 MiB too, where each case moves many bytes.
    """

    name: str
    length: int
    stops: Sequence[int] = ()
    first: int | None = None
    deferred: bool = False
    empty_last: bool = False
    cuts: Sequence[int] = ()
    upto: int | None = None
    pieces: Sequence[int] = ()
    is_early: bool = False
    is_rufh: bool = False
    step: float = 0.0
    lapses: bool = False
    with_hook: bool = True
    refusals: int = 0
    extra: int = 0
    is_core: bool = False

    def file(self, part_size: int) -> bytes:
        """The file: the same bytes each time, and no two parts alike."""
        return _random_bytes(self.length * part_size // 10 + self.extra)

    def way(self, part_size: int) -> Way:
        """How the client sends it."""

        def scaled(tenths: int) -> int:
            exact = tenths * part_size // 10
            return exact + self.extra if tenths == self.length else exact

        return Way(
            stops=[scaled(stop) for stop in self.stops],
            first=None if self.first is None else scaled(self.first),
            deferred=self.deferred,
            empty_last=self.empty_last,
            cuts=[scaled(cut) for cut in self.cuts],
        )

    def client(self, send: Transport, part_size: int) -> Uploader:
        """Who sends it."""
        file, way = self.file(part_size), self.way(part_size)
        if self.pieces:
            ends = [0, *itertools.accumulate(size * part_size // 10 for size in self.pieces)]
            pieces = [file[start:stop] for start, stop in itertools.pairwise(ends)]
            return JoiningClient(send=send, pieces=pieces, is_early=self.is_early)
        kind = RufhClient if self.is_rufh else TusClient
        return kind(send=send, file=file, way=way)

    def goal(self, part_size: int) -> int | None:
        """Bytes to send before the end; None for all."""
        return None if self.upto is None else self.upto * part_size // 10


SCENARIOS = {
    scenario.name: scenario
    for scenario in [
        Scenario(name="empty file", length=0),
        Scenario(name="one part", length=6, is_core=True),
        Scenario(name="one part in pieces", length=6, stops=[2, 4, 6]),
        Scenario(name="five parts", length=41, extra=3, is_core=True),
        Scenario(name="whole parts", length=20),
        Scenario(name="pieces", length=11, stops=[4, 8, 11], is_core=True),
        Scenario(name="small pieces", length=24, stops=[4, 8, 12, 16, 20, 24], extra=1),
        Scenario(name="tail filled exactly", length=25, stops=[5, 10, 13, 20, 25]),
        Scenario(name="created with one part", length=6, first=6, is_core=True),
        Scenario(name="created with one part, no hook", length=6, first=6, with_hook=False),
        Scenario(name="created with parts", length=13, first=13, is_core=True),
        Scenario(name="created with a beginning", length=24, first=14, stops=[24]),
        Scenario(name="created with a small beginning", length=7, first=3, stops=[7]),
        Scenario(name="deferred, short", length=7, stops=[3, 7], deferred=True, is_core=True),
        Scenario(name="deferred, long", length=13, stops=[4, 12, 13], deferred=True, is_core=True),
        Scenario(
            name="deferred, said alone", length=23, stops=[13, 23], deferred=True, empty_last=True
        ),
        Scenario(
            name="deferred, created with data", length=15, first=4, stops=[12, 15], deferred=True
        ),
        Scenario(name="cut within a part", length=17, cuts=[13], extra=7, is_core=True),
        Scenario(name="cut twice", length=34, cuts=[3, 15], extra=7),
        Scenario(name="hook refuses once", length=12, refusals=1),
        Scenario(name="no hook", length=12, with_hook=False),
        Scenario(name="no hook, one part", length=6, with_hook=False, is_core=True),
        Scenario(name="no hook, one part in pieces", length=6, stops=[2, 4, 6], with_hook=False),
        Scenario(name="no hook, one part cut", length=8, cuts=[4], extra=7, with_hook=False),
        Scenario(
            name="no hook, deferred, short", length=7, stops=[3, 7], deferred=True, with_hook=False
        ),
        Scenario(name="no hook, terminated midway", length=8, stops=[3], upto=3, with_hook=False),
        Scenario(name="no hook, terminated, finished", length=8, upto=8, with_hook=False),
        Scenario(name="joined, whole pieces", length=23, pieces=[10, 10, 3]),
        Scenario(name="joined across seams", length=27, pieces=[13, 4, 10], is_core=True),
        Scenario(name="joined into one part", length=6, pieces=[2, 4]),
        Scenario(name="joined before they came", length=17, pieces=[13, 4], is_early=True),
        Scenario(name="kept alive", length=24, stops=range(3, 25, 3), step=480.0, is_core=True),
        Scenario(
            name="kept alive, deferred",
            length=30,
            stops=[2, 4, 6, 24, 30],
            deferred=True,
            step=480.0,
        ),
        Scenario(name="lapsed and swept", length=24, stops=[12], upto=12, step=60.0, lapses=True),
        Scenario(
            name="lapsed and swept, one part", length=8, stops=[3], upto=3, step=60.0, lapses=True
        ),
        Scenario(name="RUFH, one part", length=6, first=6, is_rufh=True),
        Scenario(name="RUFH, parts", length=23, first=23, is_rufh=True, is_core=True),
        Scenario(
            name="RUFH, appended",
            length=24,
            first=4,
            stops=[13, 24],
            deferred=True,
            is_rufh=True,
            is_core=True,
        ),
        Scenario(name="RUFH, cut", length=27, first=27, cuts=[13], extra=7, is_rufh=True),
        Scenario(name="RUFH, completed alone", length=13, first=13, empty_last=True, is_rufh=True),
        Scenario(name="terminated, nothing sent", length=30, upto=0),
        Scenario(name="terminated midway", length=20, stops=[12], upto=12, is_core=True),
        Scenario(name="terminated, one part midway", length=8, stops=[3], upto=3),
        Scenario(name="terminated, deferred", length=8, stops=[3], upto=3, deferred=True),
        Scenario(name="terminated, finished", length=11, upto=11, is_core=True),
        Scenario(name="terminated, finished, one part", length=8, upto=8),
    ]
}

_POOL = random.Random(11).randbytes(1 << 20)


def _random_bytes(size: int) -> bytes:
    """As many bytes, cheaply. Each megabyte begins with its number, so that none equals another."""
    pieces = [number.to_bytes(8, "big") + _POOL[8:] for number in range(-(-size // len(_POOL)))]
    return b"".join(pieces)[:size]
