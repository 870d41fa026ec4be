"""Programs that run beside this one, and end with it.

Each is started in a process group of its own: a Ctrl-C in the terminal reaches this process
alone, which then stops the others in the right order. Stopping ends the whole group, and never
anything outside it. Seconds are `float`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class SetupError(Exception):
    """Something that a developer can mend; the message says how, and is meant to be shown."""


class ChildProcess:
    """A program with a log file, in a process group of its own.

    Args:
        command: the program and its arguments.
        environ: its whole environment.
        log: where its output goes, both streams. An earlier log is replaced.
        pass_fds: descriptors that it inherits.

    Raises:
        OSError: the program cannot be run at all.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        environ: Mapping[str, str],
        log: Path,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.log = log
        self._group_ended = False
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=pass_fds,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id, which is its group's id too."""
        return self._process.pid

    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.exit_code() is None

    def exit_code(self) -> int | None:
        """What it ended with, minus the signal's number if one ended it; None while it runs."""
        code = self._process.poll()
        if code is not None:
            self._end_group()
        return code

    def stop(self, *, grace: float) -> None:
        """End it and all that it started. A second call does nothing.

        Args:
            grace: seconds between SIGTERM and SIGKILL; at 0 there is no SIGTERM.
        """
        if grace > 0 and self.running():
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        self._end_group()
        self._process.wait()

    def _end_group(self) -> None:
        """Kill what is left of the group: once, because its id may be another's afterwards."""
        if self._group_ended:
            return
        self._group_ended = True
        # macOS answers EPERM for a group of which only a zombie is left.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def log_tail(self, *, lines: int = 15) -> str:
        """The last lines of its log: what it said before it failed."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])
