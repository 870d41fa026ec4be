"""The share of a process's concurrency that concatenations may use.

One request for a final upload can make a server read and send thousands of parts. Concatenations
have executors of their own, so the parts of other uploads do not wait behind these parts.
"""

from __future__ import annotations

import threading

from tus_wsgi.stores.s3.executor import ContextExecutor

MAX_CONCURRENT_READS = 4
"""Maximum slices of partial uploads that a process reads at the same time."""

SHARE = 4
"""To send bytes, concatenations may use one in `SHARE` of the parallel part uploads of a process.
Copies take no bandwidth of this server, so only the number of parallel parts limits them."""


class ConcatShare:
    """The executors of concatenations.

    Attributes:
        executor: runs the calls that look up, copy and send parts.
        reads: runs the calls that read slices, while `executor` waits for them.
        sending: is held while a part is read and sent.

    Args:
        parallel_parts: the maximum number of concurrent part uploads of this process.
    """

    def __init__(self, parallel_parts: int) -> None:
        self.executor = ContextExecutor(parallel_parts, thread_name_prefix="tus-concat")
        self.reads = ContextExecutor(MAX_CONCURRENT_READS, thread_name_prefix="tus-read")
        self.sending = threading.BoundedSemaphore(max(1, parallel_parts // SHARE))
