"""Let S3 get chosen calls late, and let it ignore conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ConnectionClosedError
from botocore.httpsession import URLLib3Session

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONDITIONS = ("If-Match", "If-None-Match")


@dataclass
class LateCalls:
    """Requests that S3 has not received yet, although their connections have failed.

    Attributes:
        requests: the requests, in the order in which they were sent.
    """

    requests: list[AWSPreparedRequest] = field(default_factory=list)

    def arrive(self) -> list[int]:
        """Send the requests now; return the statuses of the responses."""
        return [URLLib3Session().send(request).status_code for request in self.requests]


@contextmanager
def late(
    client: S3Client, is_late: Callable[[AWSPreparedRequest], bool], *, attempts: int = 1
) -> Iterator[LateCalls]:
    """Hold back the first `attempts` of the chosen calls. Later ones reach S3 at once."""
    calls = LateCalls()

    def hold(request: AWSPreparedRequest, **_: Any) -> None:
        if is_late(request) and len(calls.requests) < attempts:
            calls.requests.append(request)
            raise ConnectionClosedError(endpoint_url=request.url)

    client.meta.events.register("before-send.s3", hold)
    try:
        yield calls
    finally:
        client.meta.events.unregister("before-send.s3", hold)


@contextmanager
def ignoring_conditions(client: S3Client) -> Iterator[None]:
    """Remove the conditions of all writes, as a service does that ignores them."""

    def strip(request: Any, **_: Any) -> None:
        for name in CONDITIONS:
            del request.headers[name]

    client.meta.events.register_first("before-sign.s3.PutObject", strip)
    try:
        yield
    finally:
        client.meta.events.unregister("before-sign.s3.PutObject", strip)


def puts(suffix: str) -> Callable[[AWSPreparedRequest], bool]:
    """Return a filter of the PutObjects whose keys end with `suffix`."""
    return lambda request: (
        request.method == "PUT"
        and "partNumber" not in request.url
        and request.url.partition("?")[0].endswith(suffix)
    )
