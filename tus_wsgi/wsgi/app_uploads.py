"""What the application itself can do with uploads: create, terminate and link to them.

No hook is asked: the application itself decides to call these methods.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import TYPE_CHECKING

from tus_wsgi.domain.commands import Create, Download, Downloadable, Terminate
from tus_wsgi.domain.creation import UploadPlan
from tus_wsgi.domain.errors import InvalidPlan, MalformedField, UploadIncomplete
from tus_wsgi.domain.model import (
    Metadata,
    TerminationReason,
    UploadId,
    UploadInfo,
    parse_upload_id,
)
from tus_wsgi.protocol.download import type_and_disposition
from tus_wsgi.protocol.fields import MAX_INTEGER, build_metadata, parse_metadata
from tus_wsgi.service.authorize import Caller, checked_identity
from tus_wsgi.service.uploads import UploadService
from tus_wsgi.wsgi.body import WsgiBody
from tus_wsgi.wsgi.draining import LIVE_BODIES
from tus_wsgi.wsgi.environ import UploadRoutes

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

log = logging.getLogger(__name__)

MAX_LINK_LIFETIME = 7 * 24 * 60 * 60
"""Seconds: the longest lifetime of a presigned URL."""


@dataclass(frozen=True, slots=True)
class CreatedUpload:
    """An upload that the application has created.

    Attributes:
        id: the upload's id.
        url: the URL to which the client sends the file. Every client that knows it can use the
            upload, unless `authorize` refuses the request.
        expires: the time when the upload expires if it is not complete by then; None for never.
    """

    id: UploadId
    url: str
    expires: datetime | None


class AppUploads:
    """The methods of `TusMiddleware` for the application.

    Args:
        service: executes the commands.
        routes: the URLs of uploads.
    """

    def __init__(self, service: UploadService, routes: UploadRoutes) -> None:
        self._service = service
        self._routes = routes
        self._has_warned = False

    def create_upload(
        self,
        *,
        length: int | None,
        metadata: Mapping[str, str | bytes] | None = None,
        owner: str | None = None,
        plan: UploadPlan | Callable[[UploadId], UploadPlan] | None = None,
        environ: WSGIEnvironment | None = None,
    ) -> CreatedUpload:
        """Create an upload, to which a client then sends the file.

        The upload's record is stored when this returns. If the application does not pass the URL on
        to a client, the upload stays until it expires: set `TUS_EXPIRES`.

        Args:
            length: the length of the file in bytes; None if the client declares it later.
            metadata: the metadata, such as `filename` and `filetype`.
            owner: the identity that owns the upload, see `tus_wsgi.domain.hooks.Authorize`.
            plan: the decisions that `on_create` would return. Their `fields` have no effect here.
                To choose a key, which has to contain the id, pass a function: it is called with the
                id of the new upload, and returns the decisions.
            environ: the WSGI environ of the request that the application handles. The upload's URL
                has the scheme, the host and the `SCRIPT_NAME` of this request. Not needed if
                `TUS_PUBLIC_URL` is set.

        Raises:
            ValueError: the URL is unknown, or an argument cannot be used or stored.
            UploadTooLarge: the server does not accept an upload of this length.
            StoreUnavailable: the store did not answer; the upload was not created.
            OnFinishFailed: the file is empty, so the upload is complete, and `on_finish` raised.
        """
        base_url = self._routes.base_url_or_error(environ)
        if length is not None and (type(length) is not int or not 0 <= length <= MAX_INTEGER):
            raise ValueError(f"expected an int from 0 to {MAX_INTEGER} as length, got {length!r}")
        command = Create(length, _checked_metadata(metadata or {}), has_data=False)
        info = self._create(command, Caller(checked_identity(owner), plan=_plan_for(plan)))
        if info.expires is None and not self._has_warned:
            self._has_warned = True
            log.warning("an upload that no client continues stays for ever: TUS_EXPIRES is not set")
        return CreatedUpload(info.id, f"{base_url}/{info.id}", info.expires)

    def _create(self, command: Create, caller: Caller) -> UploadInfo:
        environ = {"wsgi.input": BytesIO(), "CONTENT_LENGTH": "0"}
        no_body = WsgiBody(environ, timeout=1, live=LIVE_BODIES)
        try:
            return self._service.create(command, no_body, None, caller).info
        except InvalidPlan as error:
            raise ValueError(f"expected a valid plan: {'; '.join(error.mistakes)}") from error

    def terminate_upload(self, id: str) -> None:
        """Remove an upload, finished or not, as DELETE does. A running request for it ends.

        Raises:
            UploadNotFound: no upload has this id.
            UploadLocked: another request did not release the upload's lock in time.
            Unavailable: the store or the locker failed; a retry is safe.
        """
        self._service.terminate(Terminate(parse_upload_id(id)), TerminationReason.APP)

    def download_url(self, id: str, *, lifetime: float) -> str | None:
        """Return a presigned URL of the store, from which a client can read a finished upload.

        The response has the same type and file name as a download from this server.

        Args:
            id: the upload.
            lifetime: seconds after which the URL expires, at most `MAX_LINK_LIFETIME`.

        Returns:
            the URL; None if the store does not support it.

        Raises:
            ValueError: the lifetime is out of range.
            UploadNotFound: no upload has this id.
            UploadIncomplete: the upload is not finished.
            UploadGone: the upload has expired, or its object was removed.
            StoreUnavailable: the store did not answer.
        """
        if not 0 < lifetime <= MAX_LINK_LIFETIME:
            raise ValueError(f"expected 0 to {MAX_LINK_LIFETIME} seconds, got {lifetime!r}")
        outcome = self._service.download(Download(parse_upload_id(id), may_redirect=False))
        if not isinstance(outcome, Downloadable):
            raise UploadIncomplete
        type, disposition = type_and_disposition(outcome.info.metadata)
        return outcome.content.presigned_url(lifetime, type=type, disposition=disposition)


def _plan_for(
    plan: UploadPlan | Callable[[UploadId], UploadPlan] | None,
) -> Callable[[UploadId], UploadPlan]:
    if callable(plan):
        return plan
    decided = plan or UploadPlan()
    return lambda _id: decided


def _checked_metadata(given: Mapping[str, str | bytes]) -> Metadata:
    """Return metadata in the form in which clients send it, so that responses can repeat it.

    Raises:
        ValueError: a key is invalid, or the metadata is too long.
    """
    pairs = tuple(
        (key, value.encode() if isinstance(value, str) else value) for key, value in given.items()
    )
    try:
        metadata = parse_metadata(build_metadata(pairs))
    except MalformedField as error:
        raise ValueError(str(error)) from error
    if metadata.pairs != pairs:
        raise ValueError("expected keys without spaces, commas and control characters")
    return metadata
