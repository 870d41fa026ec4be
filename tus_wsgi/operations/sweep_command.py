"""`tus-wsgi sweep`: from settings to a sweep, and from its deeds to lines and JSON."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import click
from botocore.exceptions import BotoCoreError

from tus_wsgi.app import make_locker, make_store
from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.domain.hooks import OnFinish
from tus_wsgi.domain.interfaces import Store
from tus_wsgi.operations.diagnostics import Address, diagnose
from tus_wsgi.operations.listing import Listing
from tus_wsgi.operations.sweep import AT_ONCE, ActionKind, Sweep, SweepPolicy, SweepResult
from tus_wsgi.service.finish import Finisher
from tus_wsgi.settings.settings import LockerKind, Settings, SettingsError
from tus_wsgi.settings.values import parse_duration
from tus_wsgi.stores.s3.bucket import Bucket
from tus_wsgi.stores.s3.client import ChecksumMode, make_client
from tus_wsgi.stores.s3.keys import Keys


def run(*, is_dry: bool, min_age: str, on_finish: str | None, has_hook: bool, is_json: bool) -> int:
    """The command. Deeds go to the output as they are done, and how far it is to a terminal.

    Returns:
        the exit code: 1 if a deed failed, 2 if it could not begin.
    """
    try:
        settings = Settings.from_environ(os.environ)
        sweep = make_sweep(
            settings,
            min_age=parse_duration(min_age),
            hook=_load(on_finish) if on_finish else None,
            has_hook=has_hook,
            is_dry=is_dry,
        )
    except (ValueError, BotoCoreError) as error:
        click.echo(str(error), err=True)
        return 2
    actions: list[SweepResult] = []
    for action in sweep.run():
        actions.append(action)
        if not is_json:
            click.echo(line(action, settings))
    if is_json:
        click.echo(as_json(actions, sweep.examined, is_dry=is_dry, settings=settings))
    else:
        click.echo(summary(actions, sweep.examined, is_dry=is_dry))
    return 1 if any(action.kind is ActionKind.FAILED for action in actions) else 0


def make_sweep(
    settings: Settings, *, min_age: float, hook: OnFinish | None, has_hook: bool, is_dry: bool
) -> Sweep:
    """The sweep over the bucket that the settings describe.

    Args:
        settings: those of the server.
        min_age: see `SweepPolicy`.
        hook: the application's.
        has_hook: whether the application has one. If so, and it is not here, the server has to
            finish what is full.
        is_dry: see `SweepPolicy`.

    Raises:
        ValueError: there is a hook, and there is none.
        SettingsError: the server's locks are out of reach.
        LockDirectoryRefused, LockerRefused: see `make_locker`.
    """
    if hook is not None and not has_hook:
        raise ValueError("--on-finish and --no-hook: an application has a hook or has none")
    if settings.locker is LockerKind.MEMORY and not is_dry:
        raise SettingsError(
            ["TUS_LOCKER: memory is for one process: stop that server, and sweep with another one"]
        )
    mode = settings.s3_checksum
    client = make_client(endpoint=settings.s3_endpoint, parallel_parts=AT_ONCE, checksum=mode)
    store = make_store(settings)
    may_finish = hook is not None or not has_hook
    finisher = _finisher(settings, store, hook) if may_finish else None
    return Sweep(
        store,
        make_locker(settings),
        Bucket(client, settings.s3_bucket, has_checksums=mode is not ChecksumMode.OFF),
        keys=Keys(settings.s3_object_prefix, settings.s3_metadata_object_prefix),
        listing=Listing(client, settings.s3_bucket),
        policy=_rules(settings, store, finisher, min_age=min_age, is_dry=is_dry),
        on_progress=_show_progress,
    )


def _finisher(settings: Settings, store: Store, hook: OnFinish | None) -> Finisher:
    discard = store.discard if settings.delete_partials else None
    return Finisher(hook, EventDispatcher(()), discard=discard)


def _rules(
    settings: Settings, store: Store, finisher: Finisher | None, *, min_age: float, is_dry: bool
) -> SweepPolicy:
    return SweepPolicy(
        now=datetime.now(UTC),
        min_age=min_age,
        finisher=finisher,
        max_size=settings.max_size or store.max_size,
        is_dry=is_dry,
    )


def _show_progress(examined: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"{examined} looked at\r", nl=False, err=True)


def _load(name: str) -> OnFinish:
    """The function that `module:function` names.

    Raises:
        ValueError: there is none.
    """
    module, _, function = name.partition(":")
    # As gunicorn does: an application need not be installed.
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"expected module:function of the hook, got {name!r}: {error}") from error
    return cast("OnFinish", found)


def line(action: SweepResult, settings: Settings) -> str:
    """One deed in words."""
    said = _said(action, settings)
    return f"{action.kind.value.ljust(8)}  {action.name}{f': {said}' if said else ''}"


def summary(actions: Iterable[SweepResult], examined: int, *, is_dry: bool) -> str:
    """What it came to, in one line."""
    counts = Counter(action.kind for action in actions)
    deeds = ", ".join(f"{counts[deed]} {deed.value}" for deed in ActionKind if counts[deed])
    return f"{examined} looked at, {deeds or 'nothing to do'}{' (dry run)' if is_dry else ''}"


def as_json(
    actions: Iterable[SweepResult], examined: int, *, is_dry: bool, settings: Settings
) -> str:
    """The same for a program."""
    deeds = [
        {"deed": action.kind.value, "name": action.name, "detail": _said(action, settings)}
        for action in actions
    ]
    return json.dumps({"dry_run": is_dry, "examined": examined, "deeds": deeds}, indent=2)


def _said(action: SweepResult, settings: Settings) -> str:
    if action.error is None:
        return action.detail
    return diagnose(action.error, Address(settings.s3_bucket, settings.s3_endpoint))
