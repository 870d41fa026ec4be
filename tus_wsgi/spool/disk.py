"""Write to temporary files, and convert the errors."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from typing import IO

from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.domain.model import MIB

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def write(data: memoryview, file: IO[bytes]) -> Iterator[memoryview]:
    """Write `data` to `file`, and yield each slice that has been written.

    After a failure, the slices that were yielded are in the file.

    Raises:
        StoreUnavailable: the disk is full or broken.
    """
    try:
        while data:
            count = file.write(data[:MIB])
            yield data[:count]
            data = data[count:]
            if data:
                # File I/O does not switch greenlets, and a part may have hundreds of MiB.
                time.sleep(0)
    except OSError as error:
        raise disk_error(error) from error


def disk_error(error: OSError) -> StoreUnavailable:
    """Return the `StoreUnavailable` for an error of a temporary file."""
    return StoreUnavailable("spool", full=error.errno in _DISK_FULL)
