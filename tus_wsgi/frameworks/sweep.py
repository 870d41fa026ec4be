"""Run a sweep with the settings and hooks of an app."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn, TypedDict, TypeVar, Unpack

import click

from tus_wsgi.domain.hooks import OnFinish
from tus_wsgi.domain.termination import OnTerminate
from tus_wsgi.operations.sweep_command import make_sweep, report
from tus_wsgi.settings import Settings
from tus_wsgi.settings.values import parse_duration

DEFAULT_MIN_AGE = "1d"


class SweepOptions(TypedDict):
    """The options of a command, see `sweep`."""

    is_dry: bool
    min_age: str
    reads_all: bool


_Command = TypeVar("_Command", bound=Callable[..., object])


def sweep_options(command: _Command) -> _Command:
    """Add the options `is_dry`, `min_age` and `reads_all` to a command of click. A decorator."""
    for option in (
        click.option("--read-all", "reads_all", is_flag=True, help=_READ_ALL),
        click.option("--min-age", default=DEFAULT_MIN_AGE, show_default=True, help=_MIN_AGE),
        click.option("--dry-run", "is_dry", is_flag=True, help=_DRY_RUN),
    ):
        command = option(command)
    return command


_DRY_RUN = "Print the actions without taking them."
_MIN_AGE = "Minimum age of orphaned multipart uploads and tails."
_READ_ALL = "Also read records that look finished."


def run_command(
    settings: Settings,
    on_finish: OnFinish | None,
    on_terminate: OnTerminate | None,
    **options: Unpack[SweepOptions],
) -> NoReturn:
    """Run a sweep as a command of click, and end the process with its exit code.

    Raises:
        UsageError: the sweep cannot start.
    """
    try:
        code = sweep(settings, on_finish, on_terminate, **options)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    sys.exit(code)


def sweep(
    settings: Settings,
    on_finish: OnFinish | None,
    on_terminate: OnTerminate | None = None,
    *,
    is_dry: bool,
    min_age: str,
    reads_all: bool = False,
) -> int:
    """Run and print a sweep like `tus-wsgi sweep`; return its exit code.

    Args:
        settings: the settings of the app.
        on_finish: the hook of the app; None if it has none.
        on_terminate: the same, for uploads that are removed.
        is_dry: whether to print the actions without taking them.
        min_age: the minimum age of orphaned multipart uploads and tails, such as `1d`.
        reads_all: whether to read the records of uploads that look finished too.

    Raises:
        ValueError: the settings or `min_age` do not allow a sweep.
        InvalidLockDirectory, LockerUnsupported: the locker cannot be used.
    """
    work = make_sweep(
        settings,
        min_age=parse_duration(min_age),
        hook=on_finish,
        on_terminate=on_terminate,
        server_has_hook=on_finish is not None,
        is_dry=is_dry,
        abort_unknown=False,
        reads_all=reads_all,
    )
    return report(work, settings, is_dry=is_dry, is_json=False)
