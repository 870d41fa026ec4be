"""Freed memory returns to the system, even between small objects that stay."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tus_wsgi.domain.model import KIB, MIB

COUNT, SIZE = 400, 160 * KIB

PROGRAM = f"""
import gc, os, sys
from tus_wsgi import tune_malloc

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

if "with" in sys.argv:
    tune_malloc()
del [bytearray({16 * MIB})][0]  # a part was allocated and freed
before = resident()
small, large = [], []
for _ in range({COUNT}):
    large.append(bytearray({SIZE}))
    small.append(bytearray({4 * KIB}))
grown = resident() - before
large.clear()
gc.collect()
print(grown, resident() - before)
"""


def growth(*arguments: str) -> tuple[int, int]:
    """Return how many bytes a process has grown by with its objects, and after it freed them."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    grown, left = map(int, ran.stdout.split())
    return grown, left


def test_freed_memory_returns_to_the_system() -> None:
    grown, left = growth("with")
    assert grown > COUNT * SIZE * 0.9
    assert left < COUNT * SIZE * 0.2


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's behaviour")
def test_glibc_alone_keeps_freed_memory() -> None:
    """The reason for the module. If this fails, the module is no longer needed."""
    _, left = growth()
    assert left > COUNT * SIZE * 0.8
