"""Send requests over the connection pool of a boto3 client."""

from __future__ import annotations

import http.client
import io
import os
import queue
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from botocore import exceptions
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.httpsession import mask_proxy_url
from urllib3 import Retry
from urllib3 import exceptions as urllib3_errors
from urllib3.connectionpool import HTTPConnectionPool

from tus_wsgi.domain.read_limit import limited
from tus_wsgi.stores.s3.direct import exchange
from tus_wsgi.stores.s3.direct.liveness import is_usable
from tus_wsgi.stores.s3.direct.pools import READS
from tus_wsgi.stores.s3.direct.signing import host_of

_NO_RETRIES = Retry(total=False)

_EXPERIMENT = "BOTO_EXPERIMENTAL__ADD_PROXY_HOST_HEADER"
"""A variable that changes what botocore sends to proxies."""


@dataclass(slots=True)
class Attempt:
    """The outcome of a request: a response or an exception.

    Attributes:
        url: the URL of the request.
        status: the status of the response.
        headers: the header fields of the response, by case-insensitive names.
        content: the body of the response; None if it is to be read from `raw`.
        raw: urllib3's response.
        error: what boto3's HTTP client would raise.
    """

    url: str
    status: int = 0
    headers: Any = None
    content: bytes | None = None
    raw: Any = None
    error: Exception | None = None

    @classmethod
    def of(cls, response: AWSResponse, *, is_stream: bool) -> Self:
        """Return the outcome that a handler of an event has chosen."""
        content = None if is_stream else response.content
        return cls(response.url, response.status_code, response.headers, content, response.raw)

    def response(self) -> AWSResponse:
        """Return the response as botocore's HTTP client does.

        Raises:
            HTTPClientError: the request failed without a response.
        """
        if self.error is not None:
            raise self.error
        raw = self.raw if self.content is None else _ReadBody(self.content)
        return AWSResponse(self.url, self.status, self.headers, raw)


class _ReadBody(io.BytesIO):
    """A body that was read, with the method of urllib3's responses that botocore uses."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


class Route:
    """The way to a bucket: a connection pool, directly or through a proxy.

    Args:
        session: the HTTP client of a boto3 client.
        url: a URL in the bucket.

    Raises:
        AttributeError: this version of botocore has a different HTTP client.
    """

    def __init__(self, session: Any, url: str) -> None:
        proxy = session._proxy_config.proxy_url_for(url)
        manager = session._get_connection_manager(url, proxy)
        self._pool: HTTPConnectionPool = manager.connection_from_url(url)
        session._setup_ssl_cert(self._pool, url, session._verify)
        self._proxy = proxy
        target: str = session._get_request_target(url, proxy)
        self._start = len(url) - len(target)  # where the request target begins in a URL
        self._host = host_of(AWSRequest("PUT", url))
        # Whether requests may be sent over open connections without urllib3.
        self._is_open_usable = proxy is None and hasattr(socket, "TCP_INFO")

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytearray | None,
        *,
        is_stream: bool,
    ) -> Attempt:
        """Send a request, once.

        Args:
            method: the HTTP method.
            url: the URL.
            headers: all header fields.
            body: the body, which is sent without a copy if it is large; None for a GET or HEAD.
            is_stream: whether the caller reads the body of the response.
        """
        if not is_stream:
            attempt = self._send_over_open(method, url, headers, body)
            if attempt is not None:
                return attempt
        try:
            # The arguments are those of botocore's `URLLib3Session.send`.
            response = self._pool.urlopen(
                method,
                url[self._start :],
                body=body,  # type: ignore[arg-type] # urllib3 accepts any buffer
                headers=headers,
                retries=_NO_RETRIES,
                assert_same_host=False,
                preload_content=False,
                decode_content=False,
                chunked=False,
                enforce_content_length=False,
            )
            content = None if is_stream else response.read()
        except Exception as error:  # noqa: BLE001 - as botocore does
            return Attempt(url, error=self._translate(error, url))
        return Attempt(url, response.status, response.headers, content, response)

    def _send_over_open(
        self, method: str, url: str, headers: Mapping[str, str], body: bytearray | None
    ) -> Attempt | None:
        """Send a request over an open connection; None if there is none.

        urllib3 then has to open a connection, or to talk to the proxy.
        """
        size = None if body is None else len(body)
        head = exchange.build_head(method, url[self._start :], self._host, headers, size)
        connection = None if head is None else self._take_open()
        if connection is None or head is None:
            return None
        is_reusable = False
        try:
            response = self._exchange(connection.sock, method, url, head, body or bytearray())
            is_reusable = not response.is_last
        except Exception as error:  # noqa: BLE001 - as botocore does
            return Attempt(url, error=self._translate(_as_of_urllib3(error), url))
        finally:
            if not is_reusable:
                connection.close()
            self._pool._put_conn(connection if is_reusable else None)
        return Attempt(url, response.status, response.headers, response.content)

    def _take_open(self) -> Any:
        """Take an open connection from the pool; return None if there is none."""
        if not self._is_open_usable or self._pool.pool is None:
            return None
        try:
            connection = self._pool.pool.get(block=False)
        except queue.Empty:
            return None
        if connection is not None and connection.sock is not None:
            with suppress(OSError, AttributeError):  # not a TCP connection
                if is_usable(connection.sock):
                    return connection
        self._pool._put_conn(connection)
        return None

    def _exchange(
        self, sock: Any, method: str, url: str, head: bytes, body: bytearray
    ) -> exchange.Response:
        """Send a request and receive the response, with the timeout for reading.

        Raises:
            OSError, HTTPException, HTTPError: there is no response.
        """
        timeout = self._pool.timeout.read_timeout
        sock.settimeout(limited(timeout) if method in READS else timeout)
        exchange.send(sock, head, body)
        try:
            return exchange.receive(sock, method)
        except TimeoutError as error:
            raise urllib3_errors.ReadTimeoutError(self._pool, url, "Read timed out.") from error

    def _translate(self, error: Exception, url: str) -> Exception:
        """Return the exception that `URLLib3Session.send` raises for an exception of urllib3."""
        for causes, result in _EXCEPTIONS.items():
            if isinstance(error, causes):
                proxy = mask_proxy_url(self._proxy)
                translated: Exception = result(endpoint_url=url, proxy_url=proxy, error=error)
                return translated
        return exceptions.HTTPClientError(error=error)


def _as_of_urllib3(error: Exception) -> Exception:
    """Return the exception that `urlopen` raises for an exception of a socket or http.client."""
    if isinstance(error, ssl.SSLError):
        return urllib3_errors.SSLError(error)
    if isinstance(error, (OSError, http.client.HTTPException)):
        return urllib3_errors.ProtocolError("Connection aborted.", error)
    return error


_EXCEPTIONS: dict[type[Exception] | tuple[type[Exception], ...], Any] = {
    urllib3_errors.SSLError: exceptions.SSLError,
    (urllib3_errors.NewConnectionError, socket.gaierror): exceptions.EndpointConnectionError,
    urllib3_errors.ProxyError: exceptions.ProxyConnectionError,
    urllib3_errors.ConnectTimeoutError: exceptions.ConnectTimeoutError,
    urllib3_errors.ReadTimeoutError: exceptions.ReadTimeoutError,
    urllib3_errors.ProtocolError: exceptions.ConnectionClosedError,
}
"""botocore's exceptions by those of urllib3. The first match counts."""


def find_route(session: object, url: str) -> Route | None:
    """Return the way to the bucket of a URL; None if botocore's HTTP client is not understood."""
    if os.environ.get(_EXPERIMENT):
        return None
    try:
        return Route(session, url)
    except AttributeError:
        return None
