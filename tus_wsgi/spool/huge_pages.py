"""Buffers in huge pages, so that the kernel provides 2 MiB at a time instead of 4 KiB.

Each page that is used for the first time interrupts the process, and the kernel clears it. For a
new buffer of 16 MiB in pages of 4 KiB, that takes as much CPU time as receiving its content.

https://docs.kernel.org/admin-guide/mm/transhuge.html
"""

from __future__ import annotations

import ctypes
import mmap

from tus_wsgi.domain.model import MIB

HUGE_PAGE = 2 * MIB
"""Bytes of a huge page of x86-64 and of most ARM systems. Smaller buffers get none."""

IS_SUPPORTED = hasattr(mmap, "MADV_HUGEPAGE") and hasattr(ctypes, "pythonapi")
"""Whether the system is Linux, and the interpreter CPython."""

if IS_SUPPORTED:
    _madvise = ctypes.CDLL(None).madvise
    # `bytearray(size)` writes zeros to all pages before they can become huge pages.
    # https://docs.python.org/3/c-api/bytearray.html
    _new_unwritten = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t)(
        ("PyByteArray_FromStringAndSize", ctypes.pythonapi)
    )


def new_buffer(size: int) -> bytearray:
    """Return a buffer of any content, in huge pages where the system has them.

    Args:
        size: in bytes.

    Raises:
        MemoryError: the system has too little memory.
    """
    if size < HUGE_PAGE or not IS_SUPPORTED:
        return bytearray(size)
    buffer: bytearray = _new_unwritten(None, size)
    address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    start = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
    length = address + size - start
    # A failure changes nothing: the system keeps its small pages.
    _madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), mmap.MADV_HUGEPAGE)
    return buffer
