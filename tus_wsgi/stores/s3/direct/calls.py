"""Decide for each call whether it is sent directly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSRequest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from tus_wsgi.stores.s3.direct.connection import Attempt, Route, find_route
from tus_wsgi.stores.s3.direct.events import CallEvents, EndpointEvents, first_attempt
from tus_wsgi.stores.s3.direct.parameters import RequestParts, Serializer
from tus_wsgi.stores.s3.direct.pools import adapt_connections
from tus_wsgi.stores.s3.direct.responses import read_success
from tus_wsgi.stores.s3.direct.signing import SignedRequest
from tus_wsgi.stores.s3.direct.template import RequestTemplate

if TYPE_CHECKING:
    from botocore.signers import RequestSigner
    from mypy_boto3_s3 import S3Client

OPERATIONS = (
    "PutObject",
    "CreateMultipartUpload",
    "UploadPart",
    "CompleteMultipartUpload",
    "GetObject",
    "HeadObject",
    "DeleteObject",
)
"""The operations that may be sent directly."""

_STREAMS = frozenset(("GetObject",))
"""The operations whose responses have a body that the caller reads."""

_ORDINARY_REFUSALS = frozenset((403, 404, 409, 412, 416, 501))
"""Statuses of errors after which the template remains valid."""


@dataclass(frozen=True, slots=True)
class _Target:
    """A template, and the connections for its requests."""

    template: RequestTemplate
    route: Route


@dataclass(slots=True)
class _Capture:
    """A call that boto3 makes, and the template of its request."""

    parts: RequestParts
    template: RequestTemplate | None = None


_CAPTURE: ContextVar[_Capture | None] = ContextVar("_CAPTURE", default=None)


class DirectCalls:
    """The frequent calls of a boto3 client, with boto3's parameters and exceptions.

    boto3 makes the whole call if

    - handlers of events see or change it, such as those of botocore's Stubber,
    - a tool that traces calls has replaced boto3's method for calls,
    - a parameter or the kind of body is unknown: the bytes of a body must be a bytearray,
    - the signature is not version 4, or the endpoint asks for more than a signature,
    - this version of botocore is not understood.

    Args:
        client: the client.
    """

    def __init__(self, client: S3Client) -> None:
        self._boto: dict[str, Callable[..., Any]] = {
            "PutObject": client.put_object,
            "CreateMultipartUpload": client.create_multipart_upload,
            "UploadPart": client.upload_part,
            "CompleteMultipartUpload": client.complete_multipart_upload,
            "GetObject": client.get_object,
            "HeadObject": client.head_object,
            "DeleteObject": client.delete_object,
        }
        # By operation and bucket; None if boto3 makes these calls.
        self._targets: dict[tuple[str, str], _Target | None] = {}
        self._events: CallEvents | None = None  # None if boto3 makes all calls
        with suppress(AttributeError):  # this version of botocore has other internals
            adapt_connections(client)
        # A tool that traces calls replaces the method by another kind of object.
        if type(BaseClient.__dict__.get("_make_api_call")) is FunctionType:
            try:
                self._attach(client)
            except AttributeError:  # this version of botocore has other internals
                self._events = None

    def _attach(self, client: Any) -> None:
        endpoint = client._endpoint
        model = client.meta.service_model
        self._serializers = {name: Serializer(model.operation_model(name)) for name in OPERATIONS}
        self._session = endpoint.http_session
        self._events = CallEvents(client)
        endpoint._event_emitter = EndpointEvents(endpoint._event_emitter)
        client.meta.events.register_last("before-sign.s3", self._capture_template)

    def put_object(self, **parameters: Any) -> dict[str, Any]:
        """Write an object."""
        return self.call("PutObject", parameters)

    def create_multipart_upload(self, **parameters: Any) -> dict[str, Any]:
        """Create a multipart upload."""
        return self.call("CreateMultipartUpload", parameters)

    def upload_part(self, **parameters: Any) -> dict[str, Any]:
        """Write a part."""
        return self.call("UploadPart", parameters)

    def complete_multipart_upload(self, **parameters: Any) -> dict[str, Any]:
        """Make an object from the parts of a multipart upload."""
        return self.call("CompleteMultipartUpload", parameters)

    def get_object(self, **parameters: Any) -> dict[str, Any]:
        """Read an object."""
        return self.call("GetObject", parameters)

    def head_object(self, **parameters: Any) -> dict[str, Any]:
        """Read the header fields of an object."""
        return self.call("HeadObject", parameters)

    def delete_object(self, **parameters: Any) -> dict[str, Any]:
        """Delete an object."""
        return self.call("DeleteObject", parameters)

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Make a call, and return what boto3 returns.

        Raises:
            ClientError, BotoCoreError: as boto3 does.
        """
        parts = self._parts(operation, parameters)
        if parts is None:
            return self._call_boto(operation, parameters)
        target_key = operation, parameters["Bucket"]
        if target_key not in self._targets:
            return self._call_and_learn(target_key, parameters, parts)
        target = self._targets[target_key]
        if target is None:
            return self._call_boto(operation, parameters)
        attempt = self._send(operation, target, parts)
        response = read_success(operation, attempt)
        if response is not None:
            return response
        if attempt.status not in _ORDINARY_REFUSALS:
            self._targets.pop(target_key, None)
        with first_attempt(attempt):
            return self._call_boto(operation, parameters)

    def _parts(self, operation: str, parameters: Mapping[str, Any]) -> RequestParts | None:
        if self._events is None or self._events.have_unknown_handlers(operation):
            return None
        return self._serializers[operation].serialize(parameters)

    def _call_boto(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        response: dict[str, Any] = self._boto[operation](**parameters)
        return response

    def _call_and_learn(
        self, target_key: tuple[str, str], parameters: Mapping[str, Any], parts: RequestParts
    ) -> dict[str, Any]:
        """Let boto3 make the call, and keep the template of its request for the next calls."""
        capture = _Capture(parts)
        token = _CAPTURE.set(capture)
        try:
            response = self._call_boto(target_key[0], parameters)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] in _ORDINARY_REFUSALS:
                self._remember(target_key, capture)
            raise
        finally:
            _CAPTURE.reset(token)
        self._remember(target_key, capture)
        return response

    def _remember(self, target_key: tuple[str, str], capture: _Capture) -> None:
        template = capture.template
        route = None if template is None else find_route(self._session, template.base)
        if template is None or route is None:
            self._targets[target_key] = None  # boto3 makes these calls
        else:
            self._targets[target_key] = _Target(template, route)

    def _capture_template(
        self,
        request: AWSRequest,
        request_signer: RequestSigner,
        signature_version: object,
        **_: object,
    ) -> None:
        """Take the template from a request. A handler of botocore's event `before-sign`."""
        capture = _CAPTURE.get()
        if capture is not None:
            capture.template = RequestTemplate.from_request(
                request, capture.parts, request_signer, signature_version
            )

    def _send(self, operation: str, target: _Target, parts: RequestParts) -> Attempt:
        request = target.template.sign(parts)
        is_stream = operation in _STREAMS
        assert self._events is not None
        if self._events.have_send_handlers(operation):
            attempt = self._ask_handlers(self._events, operation, request)
            if attempt is not None:
                return attempt
        return target.route.send(
            request.method, request.url, request.headers, request.body, is_stream=is_stream
        )

    def _ask_handlers(
        self, events: CallEvents, operation: str, request: SignedRequest
    ) -> Attempt | None:
        """Return the outcome that a handler of `before-send` chooses; None to send the request."""
        is_stream = operation in _STREAMS
        prepared = request.prepare()
        prepared.stream_output = is_stream
        try:
            response = events.before_send(operation, prepared)
            return None if response is None else Attempt.of(response, is_stream=is_stream)
        except Exception as error:  # noqa: BLE001 - as botocore does
            return Attempt(request.url, error=error)


def direct_calls(client: S3Client) -> DirectCalls:
    """Return the direct calls of a client: always the same object."""
    attributes = vars(client)
    if _ATTRIBUTE not in attributes:
        attributes[_ATTRIBUTE] = DirectCalls(client)
    calls: DirectCalls = attributes[_ATTRIBUTE]
    return calls


_ATTRIBUTE = "_tus_wsgi_direct_calls"
"""The attribute of a client. A dictionary of weak references would keep all clients alive, because
their direct calls refer to them."""
