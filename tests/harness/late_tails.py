"""Writes of tails that reach S3 late: after other requests have written newer tails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ConnectionClosedError
from botocore.httpsession import URLLib3Session

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class LateTails:
    """Delays attempts to write tails until `arrive` is called; the client sees a lost connection.

    Args:
        count: how many attempts are delayed.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._late: list[AWSPreparedRequest] = []

    @contextmanager
    def delayed(self, client: S3Client) -> Iterator[None]:
        """Delay the next attempts of this client, `count` in all, until the block ends."""
        events: Any = client.meta.events  # its stubs do not know handlers that raise
        events.register("before-send.s3", self._delay)
        try:
            yield
        finally:
            events.unregister("before-send.s3", self._delay)

    def arrive(self) -> None:
        """Send the delayed attempts to S3."""
        assert self._late
        for request in self._late:
            URLLib3Session().send(request)

    def _delay(self, request: AWSPreparedRequest, **_: Any) -> None:
        if request.method == "PUT" and ".part" in request.url and self._count:
            self._count -= 1
            self._late.append(request)
            raise ConnectionClosedError(endpoint_url=request.url)
