"""The options of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tus_wsgi.domain.model import GIB, KIB, MIB


@dataclass(frozen=True, slots=True)
class ExternalTarget:
    """A running server that the benchmarks did not start.

    Attributes:
        name: the name in the tables.
        url: the URL that creates uploads.
        pid: the process to measure, with its children.
        proxy: the URL of the `benchmarks.proxy` that the server uses as its S3 endpoint. Without
            it, scenarios that need a proxy skip this server.
    """

    name: str
    url: str
    pid: int
    proxy: str | None = None

    @classmethod
    def parse(cls, text: str) -> ExternalTarget:
        """Parse `name=URL,pid` or `name=URL,pid,PROXY`.

        Raises:
            ValueError: the text has another form.
        """
        name, _, rest = text.partition("=")
        url, pid, *proxy = rest.split(",")
        return cls(name, url, int(pid), proxy[0] if proxy else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a run. Sizes are in bytes.

    Attributes:
        directory: the directory for data, logs and temporary files.
        rounds: the number of measurements of each target.
        size: the size of a large upload.
        many: the number of concurrent uploads, and the size of each.
        small: the number of small uploads, and the size of each.
        connections: the number of connections for the small uploads.
        slow: the number of slow clients, and the bytes per second of each.
        silent: the number of silent clients, and the number of requests of each kind that another
            client sends meanwhile.
        requests: the number of equal requests of which `growth` measures the mean.
        idle_seconds: how long `growth` measures a worker while its clients send nothing.
        finished: the largest number of finished uploads in the bucket of a sweep.
        part_size: the part size of every target.
        parallel: the number of concurrent parts of an upload, for every target.
        workers: the number of tus_wsgi's workers.
        worker_connections: the connections of each of them; None for gunicorn's default.
        delay: the seconds that the link to a far S3 adds to each call.
        rate: the bytes per second of each connection to a far S3.
        has_peers: whether to measure @tus/server, and tusd if Go is installed.
        has_node: whether the measured peers include @tus/server.
        compared: another commit of this project to measure.
        external: further targets.
        direct: the kinds of uploads with boto3 alone, from `direct.KINDS`. Empty means all.
        s3: URL and bucket of a running S3 to use, with the credentials of the environment. None
            starts one.
    """

    directory: Path
    rounds: int = 5
    size: int = GIB
    many: tuple[int, int] = (50, 64 * MIB)
    small: tuple[int, int] = (2000, 100 * KIB)
    connections: int = 8
    slow: tuple[int, int] = (500, 64 * KIB)
    silent: tuple[int, int] = (1000, 300)
    requests: int = 100
    idle_seconds: float = 15.0
    finished: int = 10_000
    part_size: int = 16 * MIB
    parallel: int = 4
    workers: int = 1
    worker_connections: int | None = None
    delay: float = 0.04
    rate: float = 40_000_000
    has_peers: bool = True
    has_node: bool = True
    compared: str | None = None
    external: tuple[ExternalTarget, ...] = ()
    direct: tuple[str, ...] = ()
    s3: tuple[str, str] | None = None
