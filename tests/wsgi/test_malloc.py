"""Freed memory goes back to the system, also between small things that stay."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tus_wsgi.domain.model import KIB, MIB

COUNT, PIECE = 400, 160 * KIB

PROGRAM = f"""
import gc, os, sys
from tus_wsgi import tune_malloc

def size():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

if "with" in sys.argv:
    tune_malloc()
del [bytearray({16 * MIB})][0]  # a part came and went
before = size()
small, large = [], []
for _ in range({COUNT}):
    large.append(bytearray({PIECE}))
    small.append(bytearray({4 * KIB}))
grown = size() - before
large.clear()
gc.collect()
print(grown, size() - before)
"""


def sizes(*arguments: str) -> tuple[int, int]:
    """Bytes by which a process has grown with what it holds, and once it has let go of it."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    grown, left = map(int, ran.stdout.split())
    return grown, left


def test_what_is_freed_goes_back_to_the_system() -> None:
    grown, left = sizes("with")
    assert grown > COUNT * PIECE * 0.9
    assert left < COUNT * PIECE * 0.2


@pytest.mark.skipif(sys.platform != "linux", reason="it is about glibc")
def test_it_does_not_by_itself() -> None:
    """The reason for the module. Where this fails it is not needed any more."""
    _, left = sizes()
    assert left > COUNT * PIECE * 0.8
