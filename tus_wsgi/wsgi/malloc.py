"""Memory that is freed goes back to the system, so a worker is as large as what it holds.

glibc begins by giving each piece of 128 KiB or more a mapping of its own. When the first of them is
freed it raises that bound to the size of it, up to 32 MiB ("dynamic mmap threshold", mallopt(3)).
From then on parts lie between small things that stay, and what they leave is a hole: beside 500
slow clients a worker grew by a third more than its budget.
"""

from __future__ import annotations

import ctypes

from tus_wsgi.domain.model import KIB, MIB

MAPPED_FROM = 128 * KIB
"""Bytes from which on a piece has a mapping of its own: as glibc has it before it changes it."""

KEPT_ON_TOP = 8 * MIB
"""Bytes that may be free at the heap's end. glibc's 128 KiB would have it shrink and grow with
every small upload."""

# From malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def tune_malloc() -> bool:
    """See to it that freed memory goes back to the system, in this process and those it forks.

    It concerns everything in the process, so it belongs into a server's configuration. Large arrays
    that come and go all the time (numpy's, say) cost more with it.

    Returns:
        whether there was something to set; elsewhere than in glibc there is not.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    is_mapped: int = mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM)
    is_trimmed: int = mallopt(_M_TRIM_THRESHOLD, KEPT_ON_TOP)
    return bool(is_mapped and is_trimmed)
