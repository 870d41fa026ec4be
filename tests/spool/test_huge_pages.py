"""Large buffers are in huge pages if the system has them."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from tus_wsgi.domain.model import MIB
from tus_wsgi.spool import huge_pages
from tus_wsgi.spool.huge_pages import HUGE_PAGE, new_buffer


def is_advised(buffer: bytearray) -> bool:
    """Return whether the kernel may use huge pages in the middle of a buffer."""
    middle = ctypes.addressof(ctypes.c_char.from_buffer(buffer)) + len(buffer) // 2
    is_in_mapping = False
    for line in Path("/proc/self/smaps").read_text(encoding="ascii").splitlines():
        name, *values = line.split()
        if not name.endswith(":"):
            start, end = (int(text, 16) for text in name.split("-"))
            is_in_mapping = start <= middle < end
        elif is_in_mapping and name == "VmFlags:":
            return "hg" in values
    return False


@pytest.mark.parametrize("size", [0, 1, HUGE_PAGE - 1, HUGE_PAGE, 16 * MIB + 1])
def test_a_buffer_has_its_size_and_can_be_written(size: int) -> None:
    buffer = new_buffer(size)
    assert len(buffer) == size
    view = memoryview(buffer)
    view[:] = bytes(size)
    assert buffer == bytearray(size)


def test_a_large_buffer_may_be_in_huge_pages() -> None:
    has_huge_pages = Path("/sys/kernel/mm/transparent_hugepage").is_dir()
    assert is_advised(new_buffer(16 * MIB)) == has_huge_pages


def test_a_system_without_huge_pages_gives_ordinary_buffers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(huge_pages, "IS_SUPPORTED", False)
    assert new_buffer(HUGE_PAGE) == bytearray(HUGE_PAGE)
