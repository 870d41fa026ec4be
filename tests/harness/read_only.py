"""Run a program as in a container: another user, no capabilities, and a read-only root.

    python read_only.py DIRECTORY... -- PROGRAM ARGUMENT...

The program can write to the directories and to /dev only. Linux's Landlock enforces this, also for
root: https://docs.kernel.org/userspace-api/landlock.html. If this process is root, the program sees
itself as a user who is not in /etc/passwd.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import sys
from pathlib import Path

USER = 10001
"""The user of the image."""

_CLONE_NEWUSER = 0x10000000

_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_LAST_CAPABILITY = 40

# The numbers are the same on all architectures.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PATH_BENEATH = 1

_WRITES = sum(1 << bit for bit in (1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14))
"""LANDLOCK_ACCESS_FS_: WRITE_FILE, REMOVE_DIR and _FILE, MAKE_ of each kind, TRUNCATE."""

_libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> None:
    """Replace this process by the program."""
    split = arguments.index("--")
    directories, command = arguments[:split], arguments[split + 1 :]
    os.chdir("/")
    if os.getuid() == 0:
        # Some containers forbid user namespaces: then the program stays root, without capabilities.
        with contextlib.suppress(PermissionError):
            _become_user()
        for capability in range(_LAST_CAPABILITY + 1):
            _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _restrict_writes(["/dev", *directories])
    os.execvp(command[0], command)


def _become_user() -> None:
    """Enter a user namespace in which root of the outside is `USER`."""
    _check(_libc.unshare(_CLONE_NEWUSER))
    for name, text in {
        "setgroups": "deny",
        "uid_map": f"{USER} 0 1",
        "gid_map": f"{USER} 0 1",
    }.items():
        Path("/proc/self", name).write_text(text, encoding="ascii")


def _restrict_writes(directories: list[str]) -> None:
    """Let this process write to nothing but the directories."""
    handled = struct.pack("Q", _WRITES)
    ruleset = _check(_libc.syscall(_CREATE_RULESET, handled, len(handled), 0))
    for directory in directories:
        opened = os.open(directory, os.O_PATH)
        rule = struct.pack("=Qi", _WRITES, opened)
        _check(_libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
    _check(_libc.syscall(_RESTRICT_SELF, ruleset, 0))


def _check(result: int) -> int:
    """Return the result of a system call; raise OSError if it failed."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


if __name__ == "__main__":
    main(sys.argv[1:])
