"""`tus-wsgi check`: whether a server that starts with these settings could take uploads.

It tries what a server would do, with its settings and its credentials, and says in plain words
what is in the way. A check may cost seconds, so no server does this at its start.
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

from tus_wsgi.app import default_lock_dir, make_locker
from tus_wsgi.domain.errors import TusError
from tus_wsgi.domain.model import UploadId
from tus_wsgi.operations.diagnostics import Address, diagnose
from tus_wsgi.operations.probe import ID_PREFIX, CheckResult, Probe, Status
from tus_wsgi.settings.settings import LockerKind, Settings, SettingsError, variable_of
from tus_wsgi.stores.s3.bucket import Bucket
from tus_wsgi.stores.s3.client import ChecksumMode, make_client
from tus_wsgi.stores.s3.keys import Keys

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_CLOCK_SKEW = 300.0
"""Seconds that this machine's clock may be off. At 900 AWS refuses every request."""


def check(environ: Mapping[str, str]) -> list[CheckResult]:
    """Everything that can be found out, in the order of a server's start."""
    try:
        settings = Settings.from_environ(environ)
    except SettingsError as error:
        return [CheckResult("settings", Status.FAILED, said) for said in error.mistakes]
    return [
        CheckResult("settings", Status.OK),
        _spool_directory(settings),
        _locker(settings),
        *_bucket(settings),
    ]


def is_well(findings: Iterable[CheckResult]) -> bool:
    """Whether nothing has failed."""
    return all(finding.verdict is Status.OK for finding in findings)


def lines(findings: Iterable[CheckResult]) -> Iterator[str]:
    """A line for each check."""
    for finding in findings:
        verdict = finding.verdict.value.ljust(len(Status.SKIPPED.value))
        detail = f": {finding.detail}" if finding.detail else ""
        yield f"{verdict}  {finding.check}{detail}"


def as_json(findings: Iterable[CheckResult]) -> str:
    """The same for a program: a list of objects with `check`, `verdict` and `detail`."""
    return json.dumps([asdict(finding) for finding in findings], ensure_ascii=False, indent=2)


def _spool_directory(settings: Settings) -> CheckResult:
    name = "spool directory"
    directory = settings.spool_dir or Path(tempfile.gettempdir())
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(bytes(4096))
            file.flush()
    except OSError as error:
        detail = f"{directory}: {error.strerror}: set {variable_of('spool_dir')} to another one"
        return CheckResult(name, Status.FAILED, detail)
    return CheckResult(name, Status.OK, str(directory))


def _locker(settings: Settings) -> CheckResult:
    id = UploadId(ID_PREFIX + secrets.token_urlsafe(16))
    try:
        locker = make_locker(settings)
        with locker.lock(id, on_release_request=lambda: None) as lock:
            lock.assert_held()
    except (ValueError, OSError, TusError, BotoCoreError) as error:
        return CheckResult("locker", Status.FAILED, " ".join(str(error).split()))
    is_file = settings.locker is LockerKind.FILE
    where = f" in {settings.lock_dir or default_lock_dir()}" if is_file else ""
    return CheckResult("locker", Status.OK, settings.locker.value + where)


def _bucket(settings: Settings) -> list[CheckResult]:
    address = Address(settings.s3_bucket, settings.s3_endpoint)
    try:
        client = make_client(
            endpoint=settings.s3_endpoint, parallel_parts=1, checksum=settings.s3_checksum
        )
    except BotoCoreError as error:
        return [CheckResult("credentials", Status.FAILED, diagnose(error, address))]
    clock = _Clock(client)
    bucket = Bucket(
        client, settings.s3_bucket, has_checksums=settings.s3_checksum is not ChecksumMode.OFF
    )
    keys = Keys(settings.s3_object_prefix, settings.s3_metadata_object_prefix)
    findings = Probe(bucket, keys, secrets.token_urlsafe(16), address).run()
    return [*clock.findings(), *findings]


class _Clock:
    """Compares this machine's clock with the one that S3 puts into each answer."""

    def __init__(self, client: S3Client) -> None:
        self._skew: float | None = None
        client.meta.events.register("after-call.s3", self._note)

    def findings(self) -> list[CheckResult]:
        """How far this clock is off; nothing where S3 has not answered."""
        if self._skew is None:
            return []
        said = f"{abs(self._skew):.0f} s {'ahead of' if self._skew > 0 else 'behind'} the service's"
        if abs(self._skew) > MAX_CLOCK_SKEW:
            return [CheckResult("clock", Status.FAILED, f"{said}: set it, best by NTP")]
        return [CheckResult("clock", Status.OK)]

    def _note(self, parsed: Mapping[str, object], **_: object) -> None:
        answer = parsed.get("ResponseMetadata")
        fields = answer.get("HTTPHeaders") if isinstance(answer, Mapping) else None
        date = fields.get("date") if isinstance(fields, Mapping) else None
        if isinstance(date, str):
            now = datetime.now(UTC)
            self._skew = (now - parsedate_to_datetime(date)).total_seconds()
