"""Tune glibc's malloc so that freed memory returns to the system.

At first, glibc gives each block of 128 KiB or more its own mapping. When the first such block is
freed, glibc raises this threshold to the size of the block, up to 32 MiB ("dynamic mmap threshold",
mallopt(3)). From then on, upload parts lie in the heap between small objects, and a freed part
leaves a hole there: with 500 slow clients, a worker grew to a third more than its memory budget.
"""

from __future__ import annotations

import ctypes

from tus_wsgi.domain.model import KIB, MIB

MMAP_THRESHOLD = 128 * KIB
"""Size from which a block gets its own mapping: glibc's initial value, which is now fixed."""

TRIM_THRESHOLD = 8 * MIB
"""Bytes that may be free at the end of the heap. With glibc's 128 KiB, the heap would shrink and
grow with every small upload."""

# From malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def tune_malloc() -> bool:
    """Make malloc return freed memory to the system, in this process and its forks.

    This affects the whole process, so call it in the server's configuration. Large arrays that are
    often allocated and freed (e.g. numpy's) become slower.

    Returns:
        whether malloc was tuned; False without glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    is_mapped: int = mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD)
    is_trimmed: int = mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD)
    return bool(is_mapped and is_trimmed)
