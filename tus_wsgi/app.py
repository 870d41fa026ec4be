"""Build the WSGI application from the settings. No other module imports every implementation.

Importing this module has no side effects. Call `create_app` or create a `TusMiddleware` in the
process that serves requests: after the fork, and after gevent has patched the modules that boto3
uses.
"""

from __future__ import annotations

import functools
import logging
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypedDict, Unpack, assert_never

from boto3.session import Session as AwsSession

from tus_wsgi.domain.commands import Content, UrlPresigner
from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.domain.events import MemoryUsed, S3Called
from tus_wsgi.domain.hook_set import HookOptions, Hooks
from tus_wsgi.domain.interfaces import BodyBuffer, Locker, Observer, Store
from tus_wsgi.domain.model import Extension, UploadId, UploadInfo, new_upload_id
from tus_wsgi.domain.plan import ObjectOptions
from tus_wsgi.hooks.carrier import Carrier
from tus_wsgi.hooks.http import HttpCarrier, HttpOptions
from tus_wsgi.hooks.remote import RemoteHookOptions, RemoteHooks
from tus_wsgi.hooks.signature import parse_secret
from tus_wsgi.hooks.wsgi import WsgiCarrier, is_hook_path
from tus_wsgi.lockers.file.locker import FileLocker
from tus_wsgi.lockers.health import LockerCheck
from tus_wsgi.lockers.lease.dynamodb import DynamoDBRecords
from tus_wsgi.lockers.lease.locker import LeaseLocker
from tus_wsgi.lockers.lease.s3 import S3Records
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.lockers.observed import ObservedLocker
from tus_wsgi.observers.log import LogObserver, configure_logging
from tus_wsgi.protocol.cors import CorsPolicy, parse_allow_origin, parse_expose_headers
from tus_wsgi.protocol.download import type_and_disposition
from tus_wsgi.protocol.http import Dialect
from tus_wsgi.protocol.rufh.dialect import Rufh
from tus_wsgi.protocol.rufh.drafts import DRAFTS, Draft
from tus_wsgi.protocol.tus1.dialect import Tus1
from tus_wsgi.service.file_access import Presign
from tus_wsgi.service.uploads import UploadService
from tus_wsgi.service.wrapped_hooks import measure_hooks, wrap_hooks
from tus_wsgi.settings import Settings, SettingsError
from tus_wsgi.settings.hook_values import (
    is_encrypted_or_local,
    parse_events,
    parse_forward_headers,
)
from tus_wsgi.settings.settings import Hosts, LockerKind, Protocols
from tus_wsgi.settings.values import parse_tags
from tus_wsgi.spool.body import SpooledBody
from tus_wsgi.spool.spool import Spool
from tus_wsgi.stores.s3 import S3Store
from tus_wsgi.stores.s3.aws_session import configured_addressing_style, new_session
from tus_wsgi.stores.s3.client import ChecksumMode, make_client
from tus_wsgi.stores.s3.diagnostics import BucketAddress, explain_failure
from tus_wsgi.stores.s3.direct import direct_calls
from tus_wsgi.stores.s3.direct.keepalive import keep_connections_alive, keepalive_options
from tus_wsgi.stores.s3.health import S3Check
from tus_wsgi.stores.s3.keys import Keys
from tus_wsgi.stores.s3.options import NO_OPTIONS, side_object_parameters
from tus_wsgi.wsgi.connection import close_after_response
from tus_wsgi.wsgi.environ import UploadRoutes
from tus_wsgi.wsgi.health import CHECK_TIMEOUT, Check, health_pages
from tus_wsgi.wsgi.middleware import UploadMiddleware
from tus_wsgi.wsgi.pages import MetricsPage, Page, serve_page
from tus_wsgi.wsgi.request_id import RequestIds
from tus_wsgi.wsgi.worker import check_patched

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from tus_wsgi.observers.tracing import TracingObserver

log = logging.getLogger(__name__)

_CONCATENATION = {Extension.CONCATENATION, Extension.CONCATENATION_UNFINISHED}
_CREATION = {
    Extension.CREATION,
    Extension.CREATION_WITH_UPLOAD,
    Extension.CREATION_DEFER_LENGTH,
    *_CONCATENATION,
}

TAIL_SHARE = 4
"""The memory budget divided by this number is for cached tails, the rest for parts in transfer."""


class TusMiddleware(UploadMiddleware):
    """Resumable uploads into S3 for any WSGI application.

    Args:
        app: receives every request for a path outside of `TUS_BASE_PATH`, unchanged.
        settings: see `Settings`; `from_env` reads them from the environment.
        authorize: called for every request except OPTIONS, before anything else happens. It returns
            the identity of the client, and raises `Denied` to refuse the request. None lets all
            clients in.
        owner_only: whether clients with another identity than the upload's owner get a 404. If not,
            `authorize` decides alone.
        on_create: called before anything of a new upload is stored. It returns the application's
            decisions about the upload, and raises `Denied` to refuse it.
        on_progress: called while a request sends bytes. It may raise `Stop` to end the upload.
        on_finish: called when the object of an upload is complete, before the client gets the
            response, at least once for each id. Its `Answer` is part of the response. If it
            raises, the upload stays unfinished, and the next request for the upload calls it
            again.
        on_terminate: called when an upload is removed, at least once for each id. If it raises, the
            next DELETE of the upload, or a sweep, calls it again.
        observers: called with the events of `tus_wsgi.domain.events`, in addition to the log. See
            `tus_wsgi.domain.interfaces.Observer`.
        store: replaces the S3 store that the settings describe.
        locker: replaces the locker that the settings describe.

    Raises:
        InvalidLockDirectory: TUS_LOCK_DIR cannot be used.
        LockerUnsupported: the service that TUS_LOCKER names cannot be used for locks.
        SettingsError: TUS_SPOOL_DIR accepts no files, or an optional package is missing.
        ServerUnsupported: gevent has not patched the standard library, or too late.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        settings: Settings,
        observers: Iterable[Observer] = (),
        store: Store | None = None,
        locker: Locker | None = None,
        **hooks: Unpack[HookOptions],
    ) -> None:
        check_patched()  # before a client of S3 is made
        tracer = make_tracer(settings)
        given = [_log_observer(settings), *observers, *([] if tracer is None else [tracer])]
        pages, all_observers = make_pages(settings, given)
        events = EventDispatcher(all_observers)
        spool = _make_tested_spool(settings, events)
        session = new_session() if store is None else None
        used_locker = locker or make_locker(settings, all_observers)
        pages |= make_health_pages(settings, session, used_locker)
        service = UploadService(
            store or make_store(settings, spool, events, session),
            used_locker,
            hooks=_observed_hooks(_hooks(settings, app, hooks, events), events, tracer),
            observers=all_observers,
            **_service_options(settings, spool),
        )
        super().__init__(
            _hide_route(app, settings.hooks_wsgi),
            service=service,
            dialects=_dialects(settings, service),
            routes=_routes(settings),
            cors=None if settings.disable_cors else _cors(settings),
            network_timeout=settings.network_timeout,
            min_rate=settings.min_rate,
            observers=all_observers,
            request_ids=RequestIds(settings.request_id_header),
        )
        self._pages = pages
        self._tracer = tracer
        self._is_for_one_process = locker is None and settings.locker is LockerKind.MEMORY

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Handle a request.

        Raises:
            SettingsError: TUS_LOCKER is `memory`, and the server has several processes.
        """
        if self._pages and (page := self._pages.get(environ.get("PATH_INFO", ""))):
            return serve_page(page, environ, start_response)
        if self._is_for_one_process and environ.get("wsgi.multiprocess"):
            mistake = "TUS_LOCKER: memory is for one process, and this server has several"
            raise SettingsError([mistake])
        if self._tracer is None or not self._routes.covers(environ):
            return super().__call__(environ, start_response)
        with self._tracer.request(environ):
            return super().__call__(environ, start_response)

    @classmethod
    def from_env(
        cls,
        app: WSGIApplication,
        *,
        environ: Mapping[str, str] | None = None,
        observers: Iterable[Observer] = (),
        **hooks: Unpack[HookOptions],
    ) -> Self:
        """Create the middleware that the environment variables describe.

        Args:
            app: receives every request for a path outside of `TUS_BASE_PATH`, unchanged.
            environ: replaces `os.environ`.
            observers: see the class.
            hooks: see the class.

        Raises:
            SettingsError: the environment is invalid; the message lists every mistake.
        """
        settings = Settings.from_environ(os.environ if environ is None else environ)
        return cls(app, settings=settings, observers=observers, **hooks)


def create_app(environ: Mapping[str, str] | None = None) -> TusMiddleware:
    """Create an application that serves only uploads, and configure the log.

    This is the application of `gunicorn.conf.py`.

    Raises:
        SettingsError: the environment is invalid; the message lists every mistake.
    """
    settings = Settings.from_environ(os.environ if environ is None else environ)
    if settings.hooks_wsgi:
        mistake = "TUS_HOOKS_WSGI: there is no application that could answer; use TUS_HOOKS_HTTP"
        raise SettingsError([mistake])
    configure_logging(settings.log_format)
    return TusMiddleware(_not_found, settings=settings)


def _hide_route(app: WSGIApplication, path: str) -> WSGIApplication:
    """Return the application without its route of hooks, which clients must not call.

    Args:
        app: the wrapped application.
        path: the path of the route; empty for none.
    """

    def hiding(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        is_hidden = is_hook_path(environ.get("PATH_INFO", ""), path)
        target = _not_found if is_hidden else app
        return target(environ, start_response)

    return hiding if path else app


def _hooks(
    settings: Settings, app: WSGIApplication, given: HookOptions, events: EventDispatcher
) -> Hooks:
    """Return all hooks: the functions that are `given`, and the hooks outside of the process.

    Raises:
        SettingsError: the same hook is given and outside of the process.
    """
    remote = make_remote_hooks(settings, app, events)
    twice = [name for name in remote if given.get(name) is not None]
    if twice:
        mistake = f"TUS_HOOKS_ENABLED_EVENTS: the application has the hooks {', '.join(twice)} too"
        raise SettingsError([f"{mistake}; leave out their events"])
    options: HookOptions = {**given, **remote}  # type: ignore[typeddict-unknown-key]
    return Hooks(progress_interval=settings.progress_hooks_interval, **options)


_NO_EVENTS = EventDispatcher(())


def make_remote_hooks(
    settings: Settings, app: WSGIApplication | None = None, events: EventDispatcher = _NO_EVENTS
) -> RemoteHookOptions:
    """Create the hooks outside of the process that the settings describe.

    Args:
        settings: the settings.
        app: the wrapped application; None if there is none, as in a sweep.
        events: receives the outcome of each delivery that no request depends on.
    """
    enabled = parse_events(settings.hooks_enabled_events)
    on_event = events.dispatch
    if settings.hooks_wsgi and app is not None:
        carrier: Carrier = WsgiCarrier(
            app, settings.hooks_wsgi, public_url=settings.public_url, on_event=on_event
        )
        return RemoteHooks(carrier, enabled).hooks()
    if settings.hooks_http is not None:
        if settings.hooks_http_insecure and not is_encrypted_or_local(settings.hooks_http):
            log.warning("TUS_HOOKS_HTTP is not encrypted: the network can read ids of uploads")
        options = _http_options(settings)
        carrier = HttpCarrier(settings.hooks_http, options, on_event=on_event)
        return RemoteHooks(carrier, enabled).hooks()
    return {}


def _http_options(settings: Settings) -> HttpOptions:
    secret = settings.hooks_http_secret
    return HttpOptions(
        timeout=settings.hooks_http_timeout,
        tries=settings.hooks_http_retry,
        backoff=settings.hooks_http_backoff,
        size_limit=settings.hooks_http_size_limit,
        forward=parse_forward_headers(settings.hooks_http_forward_headers),
        secret=None if secret is None else parse_secret(secret.get_secret_value()),
        socket_options=tuple(keepalive_options()),
    )


def make_tracer(settings: Settings) -> TracingObserver | None:
    """Return the observer that creates spans, if the settings ask for it.

    Raises:
        SettingsError: the package is missing.
    """
    if not settings.tracing:
        return None
    try:
        from tus_wsgi.observers import tracing  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise SettingsError(["TUS_TRACING: needs the package tus-wsgi-s3[tracing]"]) from error
    return tracing.TracingObserver(settings.base_path.rstrip("/"))


def _observed_hooks(hooks: Hooks, events: EventDispatcher, tracer: TracingObserver | None) -> Hooks:
    """Return hooks whose calls are measured and traced, if an observer wants to know."""
    hooks = measure_hooks(hooks, events)
    return hooks if tracer is None else wrap_hooks(hooks, tracer.hook)


def make_pages(
    settings: Settings, observers: Sequence[Observer]
) -> tuple[dict[str, Page], Sequence[Observer]]:
    """Return the page of the metrics by its path, and the observers with the observer for the page.

    Without such a page, return no page and the same observers.

    Raises:
        SettingsError: a package is missing.
    """
    if not settings.metrics_path:
        return {}, observers
    try:
        from tus_wsgi.observers import prometheus  # noqa: PLC0415 - an extra
    except ImportError as error:
        mistake = "TUS_METRICS_PATH: needs the package tus-wsgi-s3[prometheus]"
        raise SettingsError([mistake]) from error
    own = [item for item in observers if isinstance(item, prometheus.PrometheusObserver)]
    if own:
        metrics = own[0]
    else:
        metrics = prometheus.page_observer()
        observers = [*observers, metrics]
    token = settings.metrics_token.get_secret_value() if settings.metrics_token else ""
    page = MetricsPage(metrics.page, prometheus.CONTENT_TYPE, token, metrics.is_shared)
    return {settings.metrics_path: page}, observers


def _log_observer(settings: Settings) -> LogObserver:
    address = BucketAddress(settings.s3_bucket, settings.s3_endpoint)
    return LogObserver(explain=functools.partial(explain_failure, address=address))


def make_spool(settings: Settings, events: EventDispatcher = _NO_EVENTS) -> Spool:
    """Create the spool, which buffers bytes in transfer. A process needs only one.

    Args:
        settings: the settings.
        events: receives the events of the memory.
    """
    directory = None if settings.spool_dir is None else str(settings.spool_dir)
    on_memory: Callable[[int], None] | None = None
    if events.wants(MemoryUsed):

        def on_memory(size: int) -> None:
            events.dispatch(MemoryUsed(size))

    return Spool(
        settings.memory_budget - _tail_budget(settings),
        directory,
        disk_budget=settings.disk_budget,
        on_memory=on_memory,
    )


def _make_tested_spool(settings: Settings, events: EventDispatcher) -> Spool:
    """Create the spool, and a file, because uploads need files only while memory is short.

    Raises:
        SettingsError: TUS_SPOOL_DIR accepts no files. A full disk is no mistake.
    """
    spool = make_spool(settings, events)
    if settings.spool_dir is None:
        return spool
    try:
        spool.file().close()
    except StoreUnavailable as error:
        if error.full:
            return spool
        why = getattr(error.__cause__, "strerror", None) or error.__cause__
        mistake = f"TUS_SPOOL_DIR: expected a directory that accepts files ({why})"
        raise SettingsError([f"{mistake}, got {str(settings.spool_dir)!r}"]) from error
    return spool


def _on_call(events: EventDispatcher) -> Callable[[S3Called], None] | None:
    """Return the function that receives the calls of S3, if an observer wants to know them."""
    return events.dispatch if events.wants(S3Called) else None


def _tail_budget(settings: Settings) -> int:
    return settings.memory_budget // TAIL_SHARE


def make_store(
    settings: Settings,
    spool: Spool | None = None,
    events: EventDispatcher = _NO_EVENTS,
    session: AwsSession | None = None,
) -> S3Store:
    """Create the S3 store that the settings describe.

    Args:
        settings: the settings.
        spool: buffers the parts of the store; None creates a new spool.
        events: receives the events of S3 calls.
        session: see `make_client`.
    """
    return S3Store(
        make_client(
            endpoint=settings.s3_endpoint,
            parallel_parts=settings.s3_concurrent_part_uploads,
            checksum=settings.s3_checksum,
            addressing=settings.s3_addressing_style,
            session=session,
        ),
        settings.s3_bucket,
        keys=make_keys(settings),
        limits=settings.part_limits,
        spool=spool or make_spool(settings),
        parallel_parts=settings.s3_concurrent_part_uploads,
        has_checksums=settings.s3_checksum is not ChecksumMode.OFF,
        tail_budget=_tail_budget(settings),
        object_options=make_object_options(settings),
        on_call=_on_call(events),
    )


def make_health_pages(
    settings: Settings, session: AwsSession | None, locker: Locker
) -> dict[str, Page]:
    """Return the health pages by path; empty if the settings ask for none.

    Args:
        settings: the settings.
        session: see `make_client`; None if the store is the application's.
        locker: the locker.
    """
    if not settings.health_path:
        return {}
    checks: dict[str, Check] = {}
    if session is not None:
        # With short timeouts and no retries, the next check soon finds that S3 is back.
        client = make_client(
            endpoint=settings.s3_endpoint,
            parallel_parts=1,
            addressing=settings.s3_addressing_style,
            session=session,
            timeout=CHECK_TIMEOUT,
        )
        prefix = make_keys(settings).info_prefix
        checks["s3"] = S3Check(client, settings.s3_bucket, prefix)
    # A check must not be counted as the lock of an upload.
    inner = locker.locker if isinstance(locker, ObservedLocker) else locker
    if not isinstance(inner, LeaseLocker):
        checks["locks"] = LockerCheck(inner)
    elif settings.locker is not LockerKind.S3:
        # Locks in the bucket are covered by the check of S3, which costs less than a lock.
        checks["locks"] = inner.check
    return health_pages(settings.health_path, checks)


def make_keys(settings: Settings) -> Keys:
    """Return the keys of objects that the settings describe."""
    return Keys(
        settings.s3_object_prefix,
        settings.s3_metadata_object_prefix,
        settings.s3_lock_object_prefix,
        settings.s3_object_key,
    )


def make_object_options(settings: Settings) -> ObjectOptions:
    """Return the options of all objects that the settings describe."""
    options = ObjectOptions(
        cache_control=settings.s3_cache_control or None,
        tags=parse_tags(settings.s3_tags) or None,
        storage_class=settings.s3_storage_class or None,
        acl=settings.s3_acl or None,
        encryption=None if settings.s3_sse is None else settings.s3_sse.value,
        kms_key_id=settings.s3_sse_kms_key_id or None,
        bucket_key=settings.s3_bucket_key,
    )
    return options if options.given() else NO_OPTIONS


def make_locker(settings: Settings, observers: Iterable[Observer] = ()) -> Locker:
    """Create the locker that the settings describe.

    Args:
        settings: the settings.
        observers: called with each event of a lock.

    Raises:
        InvalidLockDirectory: TUS_LOCK_DIR cannot be used.
        LockerUnsupported: the service that TUS_LOCKER names cannot be used for locks.
    """
    events = EventDispatcher(observers)
    doubt = doubt_about_locker(settings, os.environ)
    if doubt is not None:
        log.warning(doubt)
    return ObservedLocker(_new_locker(settings, events), events.dispatch)


def doubt_about_locker(settings: Settings, environ: Mapping[str, str]) -> str | None:
    """Return why locks may not exclude all processes; None if there is no doubt.

    Args:
        settings: the settings.
        environ: the environment. In Kubernetes, each pod is a host of its own.
    """
    if settings.locker not in {LockerKind.FILE, LockerKind.MEMORY}:
        return None
    problem = f"TUS_LOCKER={settings.locker} works on a single host only"
    if settings.hosts is Hosts.MANY:
        return f"TUS_HOSTS is many, but {problem}: set TUS_LOCKER=dynamodb or s3"
    if environ.get("KUBERNETES_SERVICE_HOST") and not environ.get("TUS_HOSTS"):
        return (
            f"each pod of Kubernetes is a host of its own, and {problem}: set TUS_LOCKER=dynamodb"
            " or s3, or TUS_HOSTS=one if there is never more than one pod"
        )
    return None


def _new_locker(settings: Settings, events: EventDispatcher) -> Locker:
    timeout = settings.acquire_lock_timeout
    match settings.locker:
        case LockerKind.MEMORY:
            return MemoryLocker(timeout=timeout)
        case LockerKind.FILE:
            return FileLocker(settings.lock_dir or default_lock_dir(), timeout=timeout)
        case LockerKind.DYNAMODB:
            open_table = functools.partial(_open_lock_table, settings.lock_table)
            return LeaseLocker(open_table, timeout=timeout, on_event=events.dispatch)
        case LockerKind.S3:
            open_records = _lease_records_in_s3(settings, events)
            return LeaseLocker(open_records, timeout=timeout, on_event=events.dispatch)
        case _:
            assert_never(settings.locker)


def _open_lock_table(name: str) -> DynamoDBRecords:
    records = DynamoDBRecords(name)
    keep_connections_alive(records.client)
    return records


def _lease_records_in_s3(settings: Settings, events: EventDispatcher) -> Callable[[], S3Records]:
    return functools.partial(
        S3Records,
        settings.s3_bucket,
        make_keys(settings).lock_prefix,
        endpoint=settings.s3_endpoint,
        addressing=settings.s3_addressing_style or configured_addressing_style(),
        write_parameters=side_object_parameters(make_object_options(settings)),
        on_call=_on_call(events),
        fast_calls=direct_calls,
    )


def default_lock_dir() -> Path:
    """Return the default lock directory: one for each user, the same for all workers of a host."""
    return Path(tempfile.gettempdir()) / f"tus-wsgi-{os.getuid()}"


class _ServiceOptions(TypedDict):
    """The arguments of `UploadService` that follow from the settings."""

    new_id: Callable[[], UploadId]
    max_size: int
    lifetime: float
    extensions: list[Extension]
    body_buffer: BodyBuffer
    delete_partials: bool
    presign_url: UrlPresigner
    presign: Presign


def _service_options(settings: Settings, spool: Spool) -> _ServiceOptions:
    return {
        "new_id": lambda: new_upload_id(secrets.token_urlsafe),
        "max_size": settings.max_size,
        "lifetime": settings.expires,
        "extensions": _extensions(settings),
        "body_buffer": functools.partial(SpooledBody, spool),
        "delete_partials": settings.delete_partials,
        "presign_url": _url_presigner(settings.download_redirect),
        "presign": presign,
    }


def _extensions(settings: Settings) -> list[Extension]:
    excluded = {
        *(_CREATION if settings.disable_creation else ()),
        *((Extension.CREATION_DEFER_LENGTH,) if settings.disable_defer_length else ()),
        *((Extension.TERMINATION,) if settings.disable_termination else ()),
        *(() if settings.expires else (Extension.EXPIRATION,)),
        *(_CONCATENATION if settings.disable_concatenation else ()),
    }
    return [extension for extension in Extension if extension not in excluded]


def _url_presigner(lifetime: float) -> UrlPresigner:
    """Return the function that makes presigned URLs, valid for `lifetime` seconds.

    The response to such a URL has the same type and file name as a download from this server. If
    `lifetime` is 0, the function returns None.
    """

    def presign_url(info: UploadInfo, content: Content) -> str | None:
        return presign(info, content, lifetime) if lifetime else None

    return presign_url


def presign(info: UploadInfo, content: Content, lifetime: float) -> str | None:
    """Return a presigned URL of a file, with the type and the name of a download from this server.

    None if the store does not support presigned URLs.
    """
    type, disposition = type_and_disposition(info.metadata)
    return content.presigned_url(lifetime, type=type, disposition=disposition)


def _dialects(settings: Settings, service: UploadService) -> list[Dialect]:
    """Return the dialects; the last one handles the requests that no other dialect claims."""
    protocols = settings.protocols
    # Without tus, the newest draft handles the requests that no other dialect claims.
    rufh: list[Dialect] = []
    if protocols is not Protocols.TUS:
        rufh += [_rufh(draft, settings, service) for draft in reversed(DRAFTS)]
    tus = Tus1(
        extensions=service.extensions,
        max_size=service.max_size,
        downloads=not settings.disable_download,
        with_ietf=protocols is Protocols.BOTH,
    )
    return rufh if protocols is Protocols.IETF else [*rufh, tus]


def _rufh(draft: Draft, settings: Settings, service: UploadService) -> Rufh:
    return Rufh(
        draft,
        is_newest=draft is DRAFTS[0],
        max_size=service.max_size,
        downloads=not settings.disable_download,
        terminations=not settings.disable_termination,
        creations=not settings.disable_creation,
        deferred_lengths=not settings.disable_defer_length,
    )


def _routes(settings: Settings) -> UploadRoutes:
    base_path = settings.base_path.rstrip("/")
    return UploadRoutes(base_path, settings.public_url, settings.method_override)


def _cors(settings: Settings) -> CorsPolicy:
    return CorsPolicy(
        allow_origins=parse_allow_origin(settings.cors_allow_origin),
        allow_credentials=settings.cors_allow_credentials,
        max_age=int(settings.cors_max_age),
        expose_headers=parse_expose_headers(settings.cors_expose_headers),
    )


def _not_found(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    text = b"There is nothing here but uploads.\n"
    fields = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(text)))]
    fields.append(("Cache-Control", "no-store"))
    start_response("404 Not Found", fields)
    return close_after_response([text], environ, start_response)
