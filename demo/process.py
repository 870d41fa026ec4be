"""Child processes that never outlive their parent's use of them.

Each child runs in a process group of its own. Ctrl-C in the terminal therefore reaches only the
parent, which stops its children in the right order. Stopping a child ends its whole group and
nothing outside it. Times are `float` seconds.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class SetupError(Exception):
    """A program is missing or a server failed. The message says what to do and is shown as is."""


class ChildProcess:
    """A program with a log file, in a process group of its own.

    Args:
        command: the program and its arguments.
        environ: its complete environment.
        log: the file for both of its output streams. An existing file is replaced.
        pass_fds: file descriptors to inherit.
        directory: its working directory; None for that of this process.

    Raises:
        OSError: the program cannot be executed.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        environ: Mapping[str, str],
        log: Path,
        pass_fds: Sequence[int] = (),
        directory: Path | None = None,
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
                cwd=directory,
            )

    @property
    def pid(self) -> int:
        """The process id, which is also the id of the process group."""
        return self._process.pid

    def running(self) -> bool:
        """Return whether the process is still running."""
        return self.exit_code() is None

    def exit_code(self) -> int | None:
        """Return the exit code: negative for a signal, None while the process runs.

        If the process has ended, kill what it has started.
        """
        code = self._process.poll()
        if code is not None:
            self._kill_group()
        return code

    def stop(self, *, grace: float) -> None:
        """End the process and everything that it started. A second call does nothing.

        Args:
            grace: the seconds between SIGTERM and SIGKILL. With 0, only SIGKILL is sent.
        """
        if grace > 0 and self.running():
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        self._kill_group()
        self._process.wait()

    def _kill_group(self) -> None:
        """Kill the rest of the group, only once: the kernel may reuse the id afterwards."""
        if self._group_ended:
            return
        self._group_ended = True
        # macOS reports EPERM for a group that consists of a zombie only.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def log_tail(self, *, lines: int = 15) -> str:
        """Return the last lines of the log."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])
