"""`tus-wsgi check`: whether a server with these settings and credentials can accept uploads.

The checks do what a server would do, and explain each failure. They may take seconds, so a server
does not run them when it starts.
"""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError

from tus_wsgi.app import (
    default_lock_dir,
    doubt_about_locker,
    make_keys,
    make_locker,
    make_object_options,
)
from tus_wsgi.domain.errors import TusError
from tus_wsgi.domain.model import UploadId
from tus_wsgi.operations.probe import ID_PREFIX, CheckResult, Probe, Status
from tus_wsgi.settings.settings import Hosts, LockerKind, Settings, SettingsError, variable_of
from tus_wsgi.stores.s3.bucket import Bucket
from tus_wsgi.stores.s3.client import ChecksumMode, make_client
from tus_wsgi.stores.s3.diagnostics import BucketAddress, diagnose
from tus_wsgi.stores.s3.options import side_object_parameters, write_parameters

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_CLOCK_SKEW = 300.0
"""Seconds by which the clock of this machine may be wrong. AWS refuses requests at 900."""


def run_checks(environ: Mapping[str, str]) -> list[CheckResult]:
    """Run every check, in the order in which a server needs what they check."""
    try:
        settings = Settings.from_environ(environ)
    except SettingsError as error:
        return [CheckResult("settings", Status.FAILED, mistake) for mistake in error.mistakes]
    return [
        CheckResult("settings", Status.OK),
        _check_spool_directory(settings),
        _check_locker(settings, environ),
        *_check_bucket(settings),
    ]


def all_passed(results: Iterable[CheckResult]) -> bool:
    """Return whether every check passed, possibly with a warning."""
    return all(result.status in {Status.OK, Status.WARNING} for result in results)


def format_lines(results: Iterable[CheckResult]) -> Iterator[str]:
    """Yield one line of text for each result."""
    for result in results:
        status = result.status.value.ljust(len(Status.SKIPPED.value))
        detail = f": {result.detail}" if result.detail else ""
        yield f"{status}  {result.check}{detail}"


def format_json(results: Iterable[CheckResult]) -> str:
    """Return the results as a JSON list of objects with `check`, `status` and `detail`."""
    return json.dumps([asdict(result) for result in results], ensure_ascii=False, indent=2)


def _check_spool_directory(settings: Settings) -> CheckResult:
    name = "spool directory"
    directory = settings.spool_dir or Path(tempfile.gettempdir())
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(bytes(4096))
            file.flush()
    except OSError as error:
        advice = f"set {variable_of('spool_dir')} to another directory"
        return CheckResult(name, Status.FAILED, f"{directory}: {error.strerror}: {advice}")
    return CheckResult(name, Status.OK, str(directory))


def _check_locker(settings: Settings, environ: Mapping[str, str]) -> CheckResult:
    id = UploadId(ID_PREFIX + secrets.token_urlsafe(16))
    try:
        locker = make_locker(settings)
        with locker.lock(id, on_release_request=lambda: None) as lock:
            lock.assert_held()
    except (ValueError, OSError, TusError, BotoCoreError) as error:
        return CheckResult("locker", Status.FAILED, " ".join(str(error).split()))
    is_file = settings.locker is LockerKind.FILE
    directory = f" in {settings.lock_dir or default_lock_dir()}" if is_file else ""
    doubt = doubt_about_locker(settings, environ)
    if doubt is None:
        return CheckResult("locker", Status.OK, settings.locker.value + directory)
    status = Status.FAILED if settings.hosts is Hosts.MANY else Status.WARNING
    return CheckResult("locker", status, doubt)


def _check_bucket(settings: Settings) -> list[CheckResult]:
    address = BucketAddress(settings.s3_bucket, settings.s3_endpoint)
    try:
        client = make_client(
            endpoint=settings.s3_endpoint,
            parallel_parts=1,
            checksum=settings.s3_checksum,
            addressing=settings.s3_addressing_style,
        )
    except BotoCoreError as error:
        return [CheckResult("credentials", Status.FAILED, diagnose(error, address))]
    clock = _ClockCheck(client)
    options = make_object_options(settings)
    bucket = Bucket(
        client,
        settings.s3_bucket,
        has_checksums=settings.s3_checksum is not ChecksumMode.OFF,
        write_parameters=side_object_parameters(options),
    )
    probe = Probe(
        bucket,
        make_keys(settings),
        secrets.token_urlsafe(16),
        address,
        data_parameters=write_parameters(options),
    )
    results = probe.run()
    return [*clock.results(), *results]


class _ClockCheck:
    """Compares the clock of this machine with the `Date` header field of S3's responses."""

    def __init__(self, client: S3Client) -> None:
        self._skew: float | None = None
        client.meta.events.register("after-call.s3", self._on_response)

    def results(self) -> list[CheckResult]:
        """Return the result; none if S3 has not answered."""
        if self._skew is None:
            return []
        direction = "ahead of" if self._skew > 0 else "behind"
        if abs(self._skew) > MAX_CLOCK_SKEW:
            detail = f"{abs(self._skew):.0f} s {direction} the service's: synchronize it with NTP"
            return [CheckResult("clock", Status.FAILED, detail)]
        return [CheckResult("clock", Status.OK)]

    def _on_response(self, parsed: Mapping[str, object], **_: object) -> None:
        metadata = parsed.get("ResponseMetadata")
        fields = metadata.get("HTTPHeaders") if isinstance(metadata, Mapping) else None
        date = fields.get("date") if isinstance(fields, Mapping) else None
        if isinstance(date, str):
            now = datetime.now(UTC)
            self._skew = (now - parsedate_to_datetime(date)).total_seconds()
