"""Start a program as systemd does with a socket unit: the listening socket is descriptor 3.

    python activate.py DESCRIPTOR PROGRAM ARGUMENT...

https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html
"""

from __future__ import annotations

import os
import sys

FIRST_DESCRIPTOR = 3


def main(descriptor: int, command: list[str]) -> None:
    """Replace this process by the program."""
    if descriptor != FIRST_DESCRIPTOR:
        os.dup2(descriptor, FIRST_DESCRIPTOR)
    os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
