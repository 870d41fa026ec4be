"""Measure a server: CPU seconds and memory of a process and its children."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import psutil

from tus_wsgi.domain.model import KIB

_RESET_PEAK = "5"
"""Resets the peak memory: https://docs.kernel.org/filesystems/proc.html, `clear_refs`."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The resources used since a meter was created.

    Attributes:
        cpu: seconds in user and system mode, summed over the process and its children.
        peak_rss: the highest peak of any of these processes, in bytes.
    """

    cpu: float
    peak_rss: int


class Meter:
    """A meter of the resources that a process and its children use from now on.

    A new meter resets the peak memory of the processes.
    """

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        for process in self._tree():
            with contextlib.suppress(OSError):
                Path(f"/proc/{process.pid}/clear_refs").write_text(_RESET_PEAK, encoding="ascii")
        self._before = self._cpu()

    def read(self) -> Usage:
        """Return the usage so far."""
        return Usage(self._cpu() - self._before, max(map(peak_memory, self._tree())))

    def _tree(self) -> list[psutil.Process]:
        return [self._root, *self._root.children(recursive=True)]

    def _cpu(self) -> float:
        """Return the CPU seconds of all processes since they started."""
        seconds = 0.0
        for process in self._tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                # The parent's times include its children that have ended.
                times = process.cpu_times()
                seconds += times.user + times.system + times.children_user + times.children_system
        return seconds


def resident_memory(pid: int) -> int:
    """Return the resident bytes of a process and its children, as a sum."""
    root = psutil.Process(pid)
    return sum(process.memory_info().rss for process in [root, *root.children(recursive=True)])


def open_temporary_files(pid: int) -> int:
    """Count the unlinked files with content that a process and its children have open."""
    root = psutil.Process(pid)
    count = 0
    for process in [root, *root.children(recursive=True)]:
        for entry in Path(f"/proc/{process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                is_unlinked = str(entry.readlink()).endswith(" (deleted)")
                if is_unlinked and _has_bytes(entry):
                    count += 1
    return count


def _has_bytes(entry: Path) -> bool:
    # Without this, the empty unlinked file of gunicorn's heartbeat would count.
    return entry.stat().st_size > 0


def peak_memory(process: psutil.Process) -> int:
    """Return the highest resident memory of a process in bytes; 0 if it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * KIB
    return 0
