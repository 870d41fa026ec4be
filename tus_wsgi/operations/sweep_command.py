"""`tus-wsgi sweep`: run a sweep with the settings of the server, and print its results."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, cast

import click
from botocore.exceptions import BotoCoreError

from tus_wsgi.app import (
    make_keys,
    make_locker,
    make_object_options,
    make_remote_hooks,
    make_store,
    presign,
)
from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.domain.hooks import OnFinish
from tus_wsgi.domain.interfaces import Locker
from tus_wsgi.domain.termination import OnTerminate
from tus_wsgi.hooks.tusd_json import HookEvent
from tus_wsgi.operations.listing import Listing
from tus_wsgi.operations.partials import PartialRemover
from tus_wsgi.operations.progress import Progress
from tus_wsgi.operations.strict_bucket import StrictBucket
from tus_wsgi.operations.sweep import MAX_WORKERS, ActionKind, Sweep, SweepPolicy, SweepResult
from tus_wsgi.service.finish import Finisher
from tus_wsgi.service.termination import Terminator
from tus_wsgi.settings import Settings, SettingsError
from tus_wsgi.settings.hook_values import parse_events
from tus_wsgi.settings.settings import LockerKind
from tus_wsgi.settings.values import parse_duration
from tus_wsgi.stores.s3.client import ChecksumMode, make_client
from tus_wsgi.stores.s3.diagnostics import BucketAddress, diagnose
from tus_wsgi.stores.s3.options import side_object_parameters
from tus_wsgi.stores.s3.store import S3Store

_MEMORY_LOCKER = (
    "TUS_LOCKER: memory is for one process: stop the server, and sweep with another locker"
)

_UNKNOWN_ADVICE = (
    "Unknown multipart uploads and objects may be those of another deployment or program. A "
    "lifecycle rule (AbortIncompleteMultipartUpload) removes multipart uploads by age. If only "
    "this deployment uses the prefix, run the sweep with --abort-unknown, and delete the unknown "
    "objects by hand."
)


def run(
    *,
    is_dry: bool,
    min_age: str,
    on_finish: str | None,
    on_terminate: str | None,
    server_has_hook: bool,
    abort_unknown: bool,
    reads_all: bool,
    is_json: bool,
) -> int:
    """Run the command. Print results as they come, and the progress if stderr is a terminal.

    Returns:
        the exit code: 0; 1 if an action failed; 2 if the sweep could not start.
    """
    try:
        settings = Settings.from_environ(os.environ)
        sweep = make_sweep(
            settings,
            min_age=parse_duration(min_age),
            hook=_load_hook(on_finish) if on_finish else None,
            on_terminate=_load_hook(on_terminate) if on_terminate else None,
            server_has_hook=server_has_hook,
            is_dry=is_dry,
            abort_unknown=abort_unknown,
            reads_all=reads_all,
        )
    except (ValueError, BotoCoreError) as error:
        click.echo(str(error), err=True)
        return 2
    return report(sweep, settings, is_dry=is_dry, is_json=is_json)


def report(sweep: Sweep, settings: Settings, *, is_dry: bool, is_json: bool) -> int:
    """Run the sweep and print its results; return the exit code."""
    results: list[SweepResult] = []
    progress = Progress(sys.stderr)
    for result in sweep.run(progress.show):
        results.append(result)
        if not is_json:
            progress.clear()
            click.echo(format_line(result, settings))
    progress.clear()
    if is_json:
        click.echo(format_json(results, sweep.examined, is_dry=is_dry, settings=settings))
    else:
        if any(result.kind is ActionKind.UNKNOWN for result in results):
            click.echo(_UNKNOWN_ADVICE)
        click.echo(format_summary(results, sweep.examined, is_dry=is_dry))
    return 1 if any(result.kind is ActionKind.FAILED for result in results) else 0


def make_sweep(
    settings: Settings,
    *,
    min_age: float,
    hook: OnFinish | None,
    server_has_hook: bool,
    is_dry: bool,
    abort_unknown: bool,
    on_terminate: OnTerminate | None = None,
    reads_all: bool = False,
) -> Sweep:
    """Create the sweep for the bucket in the settings.

    Args:
        settings: the settings of the server.
        min_age, is_dry, abort_unknown, reads_all: see `SweepPolicy`.
        hook, on_terminate: the `on_finish` and `on_terminate` hooks of the application.
        server_has_hook: whether the server calls an `on_finish` hook. If it does and `hook` is
            None, the sweep leaves it to the server to finish the full uploads.

    Raises:
        ValueError: `hook` is given, and `server_has_hook` is False.
        SettingsError: `TUS_LOCKER` is `memory`, so the sweep cannot see the server's locks.
        InvalidLockDirectory, LockerUnsupported: the locker cannot be used.
    """
    hook, on_terminate, has_remote = with_remote_hooks(settings, hook, on_terminate)
    server_has_hook = server_has_hook or has_remote
    _check(settings, hook, server_has_hook=server_has_hook, is_dry=is_dry)
    tools = _make_tools(settings)
    policy = SweepPolicy(
        now=datetime.now(UTC),
        min_age=min_age,
        finisher=_make_finisher(settings, tools, hook, server_has_hook=server_has_hook),
        max_size=settings.max_size or tools.store.max_size,
        is_dry=is_dry,
        abort_unknown=abort_unknown,
        terminator=_make_terminator(on_terminate, server_has_hook=server_has_hook),
        reads_all=reads_all,
    )
    return _build(settings, tools, policy)


_ENDS = {HookEvent.PRE_FINISH, HookEvent.POST_FINISH, HookEvent.POST_TERMINATE}


def with_remote_hooks(
    settings: Settings, on_finish: OnFinish | None, on_terminate: OnTerminate | None
) -> tuple[OnFinish | None, OnTerminate | None, bool]:
    """Replace each missing hook by a request to the endpoint in `TUS_HOOKS_HTTP`, if that is set.

    Returns:
        both hooks, and whether the server calls a remote hook at the end of uploads. The sweep
        cannot call a route of the application (`TUS_HOOKS_WSGI`). Without a hook of its own, it
        then leaves the uploads that need the hook to the server.
    """
    remote = make_remote_hooks(settings)
    has_remote_hooks = bool(settings.hooks_wsgi or settings.hooks_http)
    has_events = not _ENDS.isdisjoint(parse_events(settings.hooks_enabled_events))
    return (
        on_finish or remote.get("on_finish"),
        on_terminate or remote.get("on_terminate"),
        has_remote_hooks and has_events,
    )


def _check(
    settings: Settings, hook: OnFinish | None, *, server_has_hook: bool, is_dry: bool
) -> None:
    if hook is not None and not server_has_hook:
        raise ValueError("--on-finish and --no-hook exclude each other: use one of them")
    if settings.locker is LockerKind.MEMORY and not is_dry:
        raise SettingsError([_MEMORY_LOCKER])


class _Tools(NamedTuple):
    store: S3Store
    locker: Locker
    bucket: StrictBucket
    listing: Listing


def _make_tools(settings: Settings) -> _Tools:
    mode = settings.s3_checksum
    client = make_client(
        endpoint=settings.s3_endpoint,
        parallel_parts=MAX_WORKERS,
        checksum=mode,
        addressing=settings.s3_addressing_style,
    )
    bucket = StrictBucket(
        client,
        settings.s3_bucket,
        has_checksums=mode is not ChecksumMode.OFF,
        write_parameters=side_object_parameters(make_object_options(settings)),
    )
    listing = Listing(client, settings.s3_bucket)
    return _Tools(make_store(settings), make_locker(settings), bucket, listing)


def _build(settings: Settings, tools: _Tools, policy: SweepPolicy) -> Sweep:
    return Sweep(
        tools.store,
        tools.locker,
        tools.bucket,
        keys=make_keys(settings),
        listing=tools.listing,
        policy=policy,
    )


def _make_terminator(hook: OnTerminate | None, *, server_has_hook: bool) -> Terminator | None:
    return None if hook is None and server_has_hook else Terminator(hook, EventDispatcher(()))


def _make_finisher(
    settings: Settings, tools: _Tools, hook: OnFinish | None, *, server_has_hook: bool
) -> Finisher | None:
    if hook is None and server_has_hook:
        return None  # The server finishes the uploads.
    # A sweep removes partial uploads only with strict reads (D-07) and under a lock (D-10).
    store = tools.store.with_bucket(tools.bucket.with_listing(tools.listing))
    discard = PartialRemover(store, tools.locker) if settings.delete_partials else None
    return Finisher(hook, EventDispatcher(()), discard=discard, presign=presign)


def _load_hook(name: str) -> Callable[[Any], Any]:
    """Import the function that `module:function` names.

    Raises:
        ValueError: the module or the function does not exist.
    """
    module, _, function = name.partition(":")
    # Like gunicorn, so that the application need not be installed.
    sys.path.insert(0, str(Path.cwd()))
    try:
        hook = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"expected module:function of the hook, got {name!r}: {error}") from error
    return cast("Callable[[Any], Any]", hook)


def format_line(result: SweepResult, settings: Settings) -> str:
    """Return one result as a line of text."""
    detail = _detail(result, settings)
    line = f"{result.kind.value.ljust(8)}  {result.name}"
    return f"{line}: {detail}" if detail else line


def format_summary(results: Iterable[SweepResult], examined: int, *, is_dry: bool) -> str:
    """Return the number of entries and of each kind of action, as a line of text."""
    counts = Counter(result.kind for result in results)
    actions = ", ".join(f"{counts[kind]} {kind.value}" for kind in ActionKind if counts[kind])
    return f"{examined} examined, {actions or 'nothing to do'}{' (dry run)' if is_dry else ''}"


def format_json(
    results: Iterable[SweepResult], examined: int, *, is_dry: bool, settings: Settings
) -> str:
    """Return the report as a JSON object with `dry_run`, `examined` and `results`."""
    entries = [
        {"kind": result.kind.value, "name": result.name, "detail": _detail(result, settings)}
        for result in results
    ]
    return json.dumps({"dry_run": is_dry, "examined": examined, "results": entries}, indent=2)


def _detail(result: SweepResult, settings: Settings) -> str:
    if result.error is None:
        return result.detail
    return diagnose(result.error, BucketAddress(settings.s3_bucket, settings.s3_endpoint))
