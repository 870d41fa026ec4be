"""Raise the limit of open files of a process to what its connections need.

Most systems start a program with a limit of 1,024, which it may raise itself up to a second, hard
limit (getrlimit(2)). Programs in Go do so when they start. Without it, a worker with 500 slow
clients would soon accept no more clients, and reach S3 no more.
"""

from __future__ import annotations

import resource

FILES_PER_CONNECTION = 2
"""The socket of a client, and the temporary file of a slow upload or the connection to S3 of a
download."""

OTHER_FILES = 512
"""Files of a worker for everything else: connections to S3 that send parts or are idle, locks,
logs, and what the app opens."""


def needed_files(connections: int) -> int:
    """Return how many files a worker may need.

    Args:
        connections: the clients that it serves at the same time.
    """
    return FILES_PER_CONNECTION * connections + OTHER_FILES


def raise_file_limit(count: int) -> int:
    """Let this process and its future children open `count` files, or as many as the system allows.

    A higher limit stays as it is.

    Returns:
        the limit from now on.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return max(soft, count)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # macOS allows less than its hard limit says
        return soft
    return wanted
