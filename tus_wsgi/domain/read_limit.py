"""How long a request waits until the store begins to answer a read.

Usually as long as the store's own timeout, a minute for S3. A HEAD waits less, because a client
that gets no offset starts again at zero: behind a proxy, it would get the proxy's 504 after a
minute. So the server answers 423 before that, and the client asks again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

HEAD_SECONDS = 3.0
"""The limit of each attempt in a HEAD. boto3 makes three attempts with up to three seconds between
them, so a HEAD ends after twelve seconds."""

_limit: ContextVar[float | None] = ContextVar("_limit", default=None)


@contextmanager
def limited_reads(seconds: float = HEAD_SECONDS) -> Iterator[None]:
    """Limit the reads in this context and its threads. Writes keep their time (D-09)."""
    token = _limit.set(seconds)
    try:
        yield
    finally:
        _limit.reset(token)


def limited(timeout: float | None) -> float | None:
    """Return the timeout for a read: `timeout` or the limit of this context, whichever is shorter.

    Args:
        timeout: in seconds; None for no timeout.
    """
    limit = _limit.get()
    if limit is None or timeout is None:
        return timeout if limit is None else limit
    return min(timeout, limit)
