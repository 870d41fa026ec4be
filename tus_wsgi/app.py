"""From settings to a WSGI application: the only module that knows every class.

Nothing happens at import. Call `create_app` or make a `TusMiddleware` in the process that serves:
after fork, and after gevent has patched what boto3 is going to use.
"""

from __future__ import annotations

import functools
import logging
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self, assert_never

from tus_wsgi.domain.commands import Content, UrlPresigner
from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.domain.hooks import OnFinish
from tus_wsgi.domain.interfaces import Locker, Observer, Store
from tus_wsgi.domain.model import Extension, UploadInfo, new_upload_id
from tus_wsgi.lockers.file.locker import FileLocker
from tus_wsgi.lockers.lease.dynamodb import DynamoDBRecords
from tus_wsgi.lockers.lease.locker import LeaseLocker
from tus_wsgi.lockers.lease.s3 import S3Records
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.lockers.observed import ObservedLocker
from tus_wsgi.observers.log import LogObserver, configure_logging
from tus_wsgi.protocol.cors import CorsPolicy, parse_allow_origin
from tus_wsgi.protocol.download import type_and_disposition
from tus_wsgi.protocol.rufh.dialect import Rufh
from tus_wsgi.protocol.rufh.drafts import DRAFTS
from tus_wsgi.protocol.tus1.dialect import Tus1
from tus_wsgi.service.uploads import UploadService
from tus_wsgi.settings import Settings, SettingsError
from tus_wsgi.settings.settings import Hosts, LockerKind
from tus_wsgi.spool.body import SpooledBody
from tus_wsgi.spool.spool import Spool
from tus_wsgi.stores.s3 import S3Store
from tus_wsgi.stores.s3.client import ChecksumMode, make_client
from tus_wsgi.stores.s3.keys import Keys
from tus_wsgi.wsgi.connection import close_after_response
from tus_wsgi.wsgi.environ import UploadRoutes
from tus_wsgi.wsgi.middleware import UploadMiddleware

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

_CONCATENATION = (Extension.CONCATENATION, Extension.CONCATENATION_UNFINISHED)

TAIL_SHARE = 4
"""A quarter of the memory budget is for tails that wait for a request; the rest is for parts."""


class TusMiddleware(UploadMiddleware):
    """Resumable uploads into S3 for any WSGI application.

    Args:
        app: gets every request that is not for uploads, untouched.
        settings: see `Settings`; `from_env` reads them from the environment.
        on_finish: called for each upload whose object is whole, before the client is told. It runs
            at least once for each id; while it raises, the upload is not finished.
        observers: called with each event of `tus_wsgi.domain.events`, beside the log.
        store: instead of the S3 store that the settings describe.
        locker: instead of the locker that the settings describe.

    Raises:
        LockDirectoryRefused: TUS_LOCK_DIR cannot be used.
        LockerRefused: the service that TUS_LOCKER names cannot be used for locks.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        settings: Settings,
        on_finish: OnFinish | None = None,
        observers: Iterable[Observer] = (),
        store: Store | None = None,
        locker: Locker | None = None,
    ) -> None:
        everyone = (LogObserver(), *observers)
        spool = make_spool(settings)
        service = UploadService(
            store or make_store(settings, spool),
            locker or make_locker(settings, everyone),
            new_id=lambda: new_upload_id(secrets.token_urlsafe),
            max_size=settings.max_size,
            lifetime=settings.expires,
            extensions=_extensions(settings),
            quarantine=functools.partial(SpooledBody, spool),
            delete_partials=settings.delete_partials,
            presign_url=_url_presigner(settings.download_redirect),
            on_finish=on_finish,
            observers=everyone,
        )
        dialect = Tus1(
            extensions=service.extensions,
            max_size=service.max_size,
            downloads=not settings.disable_download,
        )
        super().__init__(
            app,
            service=service,
            dialects=[*_rufh(settings, service.max_size), dialect],
            mount=UploadRoutes(settings.base_path.rstrip("/"), settings.public_url),
            cors=None if settings.disable_cors else _cors(settings),
            network_timeout=settings.network_timeout,
            observers=everyone,
        )
        self._is_for_one_process = locker is None and settings.locker is LockerKind.MEMORY

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request.

        Raises:
            SettingsError: TUS_LOCKER is `memory`, and the server says that there are more workers.
        """
        if self._is_for_one_process and environ.get("wsgi.multiprocess"):
            raise SettingsError(["TUS_LOCKER: memory is for one process, and this server has more"])
        return super().__call__(environ, start_response)

    @classmethod
    def from_env(
        cls,
        app: WSGIApplication,
        *,
        environ: Mapping[str, str] | None = None,
        on_finish: OnFinish | None = None,
        observers: Iterable[Observer] = (),
    ) -> Self:
        """The middleware that the environment variables describe.

        Args:
            app: gets every request that is not for uploads, untouched.
            environ: instead of `os.environ`.
            on_finish: see the class.
            observers: see the class.

        Raises:
            SettingsError: naming every mistake in the environment.
        """
        settings = Settings.from_environ(os.environ if environ is None else environ)
        return cls(app, settings=settings, on_finish=on_finish, observers=observers)


def create_app(environ: Mapping[str, str] | None = None) -> TusMiddleware:
    """Uploads and nothing else, with logging set up: what plain `gunicorn` serves.

    Raises:
        SettingsError: naming every mistake in the environment.
    """
    settings = Settings.from_environ(os.environ if environ is None else environ)
    configure_logging(settings.log_format)
    return TusMiddleware(_nothing_here, settings=settings)


def make_spool(settings: Settings) -> Spool:
    """The memory and the disk for bytes on their way, one for each process."""
    directory = None if settings.spool_dir is None else str(settings.spool_dir)
    return Spool(settings.memory_budget - _tail_budget(settings), directory)


def _tail_budget(settings: Settings) -> int:
    return settings.memory_budget // TAIL_SHARE


def make_store(settings: Settings, spool: Spool | None = None) -> S3Store:
    """The S3 store that the settings describe.

    Args:
        settings: what can be set.
        spool: where its parts wait; None for a new one.
    """
    return S3Store(
        make_client(
            endpoint=settings.s3_endpoint,
            parallel_parts=settings.s3_concurrent_part_uploads,
            checksum=settings.s3_checksum,
        ),
        settings.s3_bucket,
        keys=Keys(settings.s3_object_prefix, settings.s3_metadata_object_prefix),
        limits=settings.part_limits,
        spool=spool or make_spool(settings),
        parallel_parts=settings.s3_concurrent_part_uploads,
        has_checksums=settings.s3_checksum is not ChecksumMode.OFF,
        tail_budget=_tail_budget(settings),
    )


def make_locker(settings: Settings, observers: Iterable[Observer] = ()) -> Locker:
    """The locker that the settings describe.

    Args:
        settings: what can be set.
        observers: told of every lock.

    Raises:
        LockDirectoryRefused: TUS_LOCK_DIR cannot be used.
        LockerRefused: the service that TUS_LOCKER names cannot be used for locks.
    """
    dispatch = EventDispatcher(observers).dispatch
    timeout = settings.acquire_lock_timeout
    locker: Locker
    match settings.locker:
        case LockerKind.MEMORY:
            locker = MemoryLocker(timeout=timeout)
        case LockerKind.FILE:
            if settings.hosts is Hosts.MANY:
                log.warning("TUS_HOSTS is many, and TUS_LOCKER=file excludes nobody on other hosts")
            locker = FileLocker(settings.lock_dir or default_lock_dir(), timeout=timeout)
        case LockerKind.DYNAMODB:
            table = functools.partial(DynamoDBRecords, settings.lock_table)
            locker = LeaseLocker(table, timeout=timeout, tell=dispatch)
        case LockerKind.S3:
            locker = LeaseLocker(_lock_objects(settings), timeout=timeout, tell=dispatch)
        case _:
            assert_never(settings.locker)
    return ObservedLocker(locker, dispatch)


def _lock_objects(settings: Settings) -> Callable[[], S3Records]:
    # An upload's id is all of its key behind the prefix and has no slash, so no key meets these.
    beside = Keys(settings.s3_object_prefix, settings.s3_metadata_object_prefix).lock_prefix
    return functools.partial(
        S3Records,
        settings.s3_bucket,
        settings.s3_lock_object_prefix or beside,
        endpoint=settings.s3_endpoint,
    )


def default_lock_dir() -> Path:
    """A directory of this user's, the same for all of a host's workers."""
    return Path(tempfile.gettempdir()) / f"tus-wsgi-{os.getuid()}"


def _extensions(settings: Settings) -> list[Extension]:
    without = {
        *((Extension.TERMINATION,) if settings.disable_termination else ()),
        *(() if settings.expires else (Extension.EXPIRATION,)),
        *(_CONCATENATION if settings.disable_concatenation else ()),
    }
    return [extension for extension in Extension if extension not in without]


def _url_presigner(lifetime: float) -> UrlPresigner:
    """What makes links that hold for so many seconds; for 0 there are none.

    The store answers there with the type and the name that a file has here.
    """

    def presign_url(info: UploadInfo, content: Content) -> str | None:
        if not lifetime:
            return None
        type, disposition = type_and_disposition(info.metadata)
        return content.presigned_url(lifetime, type=type, disposition=disposition)

    return presign_url


def _rufh(settings: Settings, max_size: int) -> list[Rufh]:
    newest = DRAFTS[0]
    return [
        Rufh(
            draft,
            is_newest=draft is newest,
            max_size=max_size,
            downloads=not settings.disable_download,
            terminations=not settings.disable_termination,
        )
        for draft in DRAFTS
    ]


def _cors(settings: Settings) -> CorsPolicy:
    return CorsPolicy(
        allow_origins=parse_allow_origin(settings.cors_allow_origin),
        allow_credentials=settings.cors_allow_credentials,
        max_age=int(settings.cors_max_age),
    )


def _nothing_here(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    text = b"There is nothing here but uploads.\n"
    fields = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(text)))]
    start_response("404 Not Found", fields)
    return close_after_response([text], environ, start_response)
