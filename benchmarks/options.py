"""What can be asked of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tus_wsgi.domain.model import GIB, KIB, MIB


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A server that somebody else has started.

    Attributes:
        name: in the tables.
        url: where uploads are created.
        pid: of the process that is accounted for, with its children.
        proxy: the URL of the `benchmarks.proxy` that is its way to S3; without one it is left out
            where calls are counted.
    """

    name: str
    url: str
    pid: int
    proxy: str | None = None

    @classmethod
    def parse(cls, text: str) -> Elsewhere:
        """From `name=URL,pid` or `name=URL,pid,PROXY`.

        Raises:
            ValueError: it is neither.
        """
        name, _, rest = text.partition("=")
        url, pid, *proxy = rest.split(",")
        return cls(name, url, int(pid), proxy[0] if proxy else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Sizes are bytes.

    Attributes:
        directory: for everything that is written.
        rounds: how often each target is measured.
        size: of a large upload.
        many: how many uploads run at once, and how large each of them is.
        small: how many small uploads there are, and how large each of them is.
        connections: that carry the small uploads.
        slow: how many slow clients there are, and the bytes a second of each.
        part_size: of every target.
        parallel: parts of an upload that are on their way at once, of every target.
        workers: of our server.
        delay: seconds that each call to a far S3 takes longer.
        rate: bytes a second that a connection to a far S3 carries.
        has_peers: whether @tus/server takes part.
        others: more targets.
        direct: the ways of uploading with boto3 alone, of `direct.KINDS`; all of them if empty.
        s3: URL and bucket of an S3 to use instead of one of our own; the credentials are those of
            the environment.
    """

    directory: Path
    rounds: int = 5
    size: int = GIB
    many: tuple[int, int] = (50, 64 * MIB)
    small: tuple[int, int] = (2000, 100 * KIB)
    connections: int = 8
    slow: tuple[int, int] = (500, 64 * KIB)
    part_size: int = 16 * MIB
    parallel: int = 4
    workers: int = 1
    delay: float = 0.04
    rate: float = 40_000_000
    has_peers: bool = True
    others: tuple[Elsewhere, ...] = ()
    direct: tuple[str, ...] = ()
    s3: tuple[str, str] | None = None
