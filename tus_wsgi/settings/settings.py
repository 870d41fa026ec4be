"""What can be set, and how it is read from environment variables.

A field `x` of `Settings` is the variable `TUS_X`. Names are tusd's flags where tusd has the same
thing. The table in the README and `tus-wsgi settings` are made of the fields below, so a setting
that is not explained here does not exist.

All mistakes are reported at once, and a `TUS_` variable that means nothing is one of them: a
misspelt setting must not start a server that ignores it. AWS's own variables (`AWS_DEFAULT_REGION`,
`AWS_ACCESS_KEY_ID` and so on) are boto3's business and are not touched.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, field_validator
from pydantic.dataclasses import dataclass as validated
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ValidationInfo

from tus_wsgi.domain.model import GIB, MIB, TIB
from tus_wsgi.domain.parts import PartLimits
from tus_wsgi.observers.log import LogFormat
from tus_wsgi.protocol.cors import parse_allow_origin
from tus_wsgi.settings.values import (
    build_duration,
    build_size,
    parse_base_path,
    parse_duration,
    parse_size,
    parse_url,
)
from tus_wsgi.stores.s3.client import ChecksumMode

PREFIX = "TUS_"
"""What every variable's name begins with."""


class SettingsError(ValueError):
    """The environment cannot be used. `mistakes` has a sentence for each thing to mend."""

    def __init__(self, mistakes: Iterable[str]) -> None:
        self.mistakes = tuple(mistakes)
        count = "1 mistake" if len(self.mistakes) == 1 else f"{len(self.mistakes)} mistakes"
        super().__init__("\n  ".join([f"{count} in the settings:", *self.mistakes]))


class LockerKind(StrEnum):
    """Where locks live."""

    MEMORY = "memory"
    """In this process: for a single worker."""
    FILE = "file"
    """In the kernel: for any number of workers on one host."""
    DYNAMODB = "dynamodb"
    """In a table of DynamoDB: for any number of hosts."""
    S3 = "s3"
    """In the bucket, where it keeps conditional writes: for any number of hosts."""


class Hosts(StrEnum):
    """How many hosts serve the same uploads."""

    ONE = "one"
    """All workers run on one host."""
    MANY = "many"
    """There are several, and a client may reach any of them."""


def _origins(text: str) -> str:
    parse_allow_origin(text)
    return text


def _reader(parse: Callable[[str], object]) -> BeforeValidator:
    """Text is parsed; what is no text comes from code, or is a default, and is only checked."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


@dataclass(frozen=True, slots=True)
class Formatter:
    """How a field's value is shown, such that it could be set like that."""

    build: Callable[[Any], str]


_Bytes = Annotated[int, _reader(parse_size), Formatter(build_size)]
_Seconds = Annotated[float, _reader(parse_duration), Formatter(build_duration)]
_Url = Annotated[str, _reader(parse_url)]


# Like Field's own, its type has to go with every field's.
def _setting(help: str, *, default: object, unset: str = "empty", **limits: float) -> Any:  # noqa: ANN401
    """A field: its line in the table, its default, and what the table shows for no value."""
    extra: dict[str, Any] = {"unset": unset}
    # `limits` are Field's `gt`, `ge` and `le`, which its overloads cannot take as a mapping.
    field: Any = Field
    return field(default=default, description=help, json_schema_extra=extra, **limits)


@validated(frozen=True, slots=True, kw_only=True, config={"validate_default": True})
class Settings:
    """Everything that can be set. Sizes are in bytes, durations in seconds.

    A field is checked against those above it, so the order matters.
    """

    base_path: Annotated[str, _reader(parse_base_path)] = _setting(
        "path of the uploads: requests for it and below it are answered here", default="/files"
    )
    public_url: _Url | None = _setting(
        "URL of `TUS_BASE_PATH` as clients see it, where a proxy changes it",
        default=None,
        unset="from the request",
    )
    s3_bucket: str = Field(description="bucket that uploads go to")
    s3_object_prefix: str = _setting("prefix of the objects' keys", default="")
    s3_metadata_object_prefix: str = _setting(
        "prefix of the keys of `.info` and `.part` objects instead",
        default="",
        unset="the objects' prefix",
    )
    s3_endpoint: _Url | None = _setting(
        "URL of the S3 service; its buckets are then addressed by path",
        default=None,
        unset="boto3's",
    )
    s3_min_part_size: _Bytes = _setting(
        "smallest part that the service takes, the last one apart", default=5 * MIB, gt=0
    )
    s3_part_size: _Bytes = _setting("preferred size of a part", default=16 * MIB, gt=0)
    s3_max_part_size: _Bytes = _setting(
        "largest part that the service takes", default=5 * GIB, gt=0
    )
    s3_max_multipart_parts: int = _setting(
        "most parts that the service takes for an object", default=10_000, gt=0, le=10_000
    )
    s3_max_object_size: _Bytes = _setting(
        "largest object that the service holds", default=5 * TIB, gt=0
    )
    s3_concurrent_part_uploads: int = _setting(
        "parts that a process sends at the same time", default=10, gt=0
    )
    s3_checksum: ChecksumMode = _setting(
        "what S3 verifies: `auto` (CRC-32), `required` (SHA-256 too), `off` (where it is refused)",
        default=ChecksumMode.AUTO,
    )
    memory_budget: _Bytes = _setting(
        "memory for parts on their way, per process; beyond it they wait on disk",
        default=256 * MIB,
        ge=0,
    )
    spool_dir: Path | None = _setting(
        "temporary directory for parts that wait on disk", default=None, unset="the system's"
    )
    locker: LockerKind = _setting(
        "where locks live: `file` (one host), `dynamodb` or `s3` (many), `memory` (one process)",
        default=LockerKind.FILE,
    )
    lock_dir: Path | None = _setting(
        "directory of the locks of `file`, the same for all workers",
        default=None,
        unset="ours, in the system's",
    )
    lock_table: str = _setting(
        "table of the locks of `dynamodb`, the same for all hosts; `tus-wsgi create-lock-table`",
        default="",
        unset="required for `dynamodb`",
    )
    s3_lock_object_prefix: str = _setting(
        "prefix of the keys of the locks of `s3`, the same for all hosts; for nothing else",
        default="",
        unset="`locks/` after the prefix of `.info` objects",
    )
    hosts: Hosts = _setting(
        "`many` where several hosts serve the same uploads, so that the locker is checked for it",
        default=Hosts.ONE,
    )
    max_size: _Bytes = _setting(
        "largest upload that is accepted; 0 for what the service can hold", default=0, ge=0
    )
    expires: _Seconds = _setting(
        "life of an unfinished upload, moved on by its requests; 0 for ever", default=0.0, ge=0
    )
    network_timeout: _Seconds = _setting(
        "silence of a client that ends its request, or a download; what came is kept",
        default=60.0,
        gt=0,
    )
    acquire_lock_timeout: _Seconds = _setting(
        "wait for another request to let go of an upload, before 423 is answered", default=5.0, ge=0
    )
    disable_download: bool = _setting("refuse GET", default=False)
    download_redirect: _Seconds = _setting(
        "validity of the URL of the S3 service that GET redirects to; 0 to send the file from here",
        default=0.0,
        ge=0,
        le=7 * 24 * 60 * 60,
    )
    disable_termination: bool = _setting("refuse DELETE", default=False)
    disable_concatenation: bool = _setting("refuse partial and final uploads", default=False)
    delete_partials: bool = _setting(
        "remove partial uploads once a final one is made of them", default=False
    )
    disable_cors: bool = _setting("send no CORS fields and answer no preflight", default=False)
    cors_allow_origin: Annotated[str, _reader(_origins)] = _setting(
        "origins that may upload, with commas between: `*`, origins, regexes (matched whole)",
        default="*",
    )
    cors_allow_credentials: bool = _setting("let pages send cookies along", default=False)
    cors_max_age: _Seconds = _setting(
        "time for which a browser may remember a preflight's answer", default=86400.0, ge=0
    )
    log_format: LogFormat = _setting(
        "form of the log lines of plain `gunicorn`: `text` or `json`", default=LogFormat.TEXT
    )

    @field_validator("s3_bucket")
    @classmethod
    def _is_named(cls, bucket: str) -> str:
        if not bucket or "/" in bucket:
            raise ValueError(f"expected the name of a bucket, got {bucket!r}")
        return bucket

    @field_validator("s3_part_size", "s3_max_part_size")
    @classmethod
    def _at_least_the_size_before(cls, size: int, info: ValidationInfo) -> int:
        before = {"s3_part_size": "s3_min_part_size", "s3_max_part_size": "s3_part_size"}
        other = before[info.field_name or ""]
        if size < info.data.get(other, 0):
            least = build_size(info.data[other])
            raise ValueError(f"is {build_size(size)}, less than {variable_of(other)} ({least})")
        return size

    @field_validator("lock_table")
    @classmethod
    def _is_there_for_dynamodb(cls, table: str, info: ValidationInfo) -> str:
        if info.data.get("locker") is LockerKind.DYNAMODB and not table:
            name = variable_of("locker")
            raise ValueError(f"it is required with {name}=dynamodb, and not set")
        return table

    @field_validator("hosts")
    @classmethod
    def _reaches_all_hosts(cls, hosts: Hosts, info: ValidationInfo) -> Hosts:
        if hosts is Hosts.MANY and info.data.get("locker") is LockerKind.MEMORY:
            name = variable_of("locker")
            raise ValueError(f"is many, and {name}=memory excludes nobody in other processes")
        return hosts

    @field_validator("max_size")
    @classmethod
    def _fits_the_service(cls, size: int, info: ValidationInfo) -> int:
        try:
            most = _limits(info.data).max_length
        except KeyError:
            return size  # a limit is wrong itself, and has been reported
        if size > most:
            raise ValueError(
                f"is {build_size(size)}, and the service holds {build_size(most)} at most"
                f" by the limits {variable_of('s3_max_part_size')},"
                f" {variable_of('s3_max_multipart_parts')} and {variable_of('s3_max_object_size')}"
            )
        return size

    @property
    def part_limits(self) -> PartLimits:
        """What the service allows of parts and objects."""
        return _limits({name: getattr(self, name) for name in setting_fields()})

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """The settings that a mapping such as `os.environ` says. An empty value is none at all.

        Raises:
            SettingsError: naming every mistake that there is.
        """
        fields = {variable_of(name): name for name in setting_fields()}
        mistakes = [
            _unknown(name, fields)
            for name in sorted(environ)
            if name.startswith(PREFIX) and name not in fields and not _SERVICE.fullmatch(name)
        ]
        given = {field: text for name, field in fields.items() if (text := environ.get(name))}
        try:
            settings = TypeAdapter(cls).validate_python(given)
        except ValidationError as error:
            details = error.errors(include_url=False)
            raise SettingsError([*mistakes, *map(_mistake, details)]) from None
        if settings.locker is LockerKind.MEMORY and _workers(environ) > 1:
            name = variable_of("locker")
            mistakes.append(f"{name}: memory is for one process, and WEB_CONCURRENCY asks for more")
        if mistakes:
            raise SettingsError(mistakes)
        return settings


def variable_of(field: str) -> str:
    """The environment variable that sets `field`."""
    return PREFIX + field.upper()


def setting_fields() -> dict[str, FieldInfo]:
    """Return the fields of `Settings` by name, in the order of their definition."""
    fields: dict[str, FieldInfo] = Settings.__pydantic_fields__  # type: ignore[attr-defined]
    return fields


def _workers(environ: Mapping[str, str]) -> int:
    """How many workers gunicorn and its kind start, as far as the environment tells."""
    text = environ.get("WEB_CONCURRENCY", "")
    return int(text) if text.isascii() and text.isdigit() else 1


def _limits(values: Mapping[str, int]) -> PartLimits:
    return PartLimits(
        part_size=values["s3_part_size"],
        min_part_size=values["s3_min_part_size"],
        max_part_size=values["s3_max_part_size"],
        max_parts=values["s3_max_multipart_parts"],
        max_object_size=values["s3_max_object_size"],
    )


# What Kubernetes tells the pods of a Service named "tus", or "tus-...".
_SERVICE = re.compile(
    PREFIX + r"(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_\w+)?)?)"
)


def _unknown(name: str, known: Iterable[str]) -> str:
    # The value stays unsaid: who knows what a variable holds that we know nothing about.
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return f"{name}: no such setting" + (f"; did you mean {near[0]}?" if near else "")


def _mistake(detail: ErrorDetails) -> str:
    name = variable_of(str(detail["loc"][0]))
    if detail["type"] in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return f"{name}: it is required, and not set"
    if detail["type"] == "value_error":
        return f"{name}: {detail['ctx']['error']}"
    said = detail["msg"] if detail["type"] == "enum" else detail["msg"].partition(",")[0]
    rule = said.replace("Input should be", "must be")
    return f"{name}: {rule}, got {detail['input']!r}"
