"""Make requests like one that boto3 has made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from botocore import UNSIGNED
from botocore.awsrequest import AWSRequest

from tus_wsgi.stores.s3.direct.parameters import RequestParts
from tus_wsgi.stores.s3.direct.signing import QuickSigner, SignedRequest, host_of

if TYPE_CHECKING:
    from botocore.signers import RequestSigner

_FIXED_HEADERS = frozenset(("user-agent",))
"""The header fields that may depend on the client, apart from the signature."""

_SIGNING_CONTEXT = frozenset(("region", "signing_name", "disableDoubleEncoding"))
"""What an endpoint may say about the signature. Access points of several regions and directory
buckets (S3 Express) say more."""

_SIGNER_CONTEXT = ("client_config", "has_streaming_input", "payload_signing_enabled")
"""What botocore's `S3SigV4Auth` reads, in addition to the checksum of a trailer."""


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """What all requests of an operation on a bucket have in common.

    Attributes:
        method: the HTTP method.
        base: the URL before the key.
        host: the host that the requests name.
        headers: the fixed header fields.
        context: the client's settings that the signature depends on.
        signer: the client's signer; None if its requests are not signed.
        signature: the region, the service and the version of the signature.
    """

    method: str
    base: str
    host: str
    headers: Mapping[str, str]
    context: Mapping[str, Any]
    signer: RequestSigner | None
    signature: Mapping[str, Any]

    @classmethod
    def from_request(
        cls, request: AWSRequest, parts: RequestParts, signer: RequestSigner, version: object
    ) -> Self | None:
        """Return the template of a request that boto3 is about to sign.

        Args:
            request: the request.
            parts: what the request should contain for its parameters.
            signer: the client's signer.
            version: the version of the signature.

        Returns:
            the template; None if the request contains anything that this package would not send.
        """
        context: dict[str, Any] = request.context
        signing: dict[str, Any] = context.get("signing") or {}
        headers = {name: str(value) for name, value in request.headers.items()}
        fixed = {name: text for name, text in headers.items() if name.lower() in _FIXED_HEADERS}
        has_known_headers = {**fixed, **parts.headers} == headers
        if not has_known_headers or not _is_known(request, parts, version):
            return None
        return cls(
            method=str(request.method),
            base=str(request.url).removesuffix(parts.target),
            host=host_of(request),
            headers=fixed,
            context={name: context[name] for name in _SIGNER_CONTEXT if name in context},
            signer=None if version is UNSIGNED else signer,
            signature={
                "signing_name": signing.get("signing_name") or signer.signing_name,
                "region_name": signing.get("region") or signer.region_name,
                "signature_version": version,
            },
        )

    def sign(self, parts: RequestParts) -> SignedRequest:
        """Return the signed request.

        Raises:
            BotoCoreError: there are no credentials, or they cannot be renewed.
        """
        url, headers = self.base + parts.target, {**self.headers, **parts.headers}
        context = dict(self.context)
        request = SignedRequest(self.method, url, self.host, headers, parts.body, context)
        if self.signer is not None:
            # botocore's signer gets the credentials each time, so credentials that expire are
            # renewed.
            auth = self.signer.get_auth_instance(**self.signature)
            name, region = self.signature["signing_name"], self.signature["region_name"]
            QuickSigner(auth.credentials, name, region).sign(request)
        return request


def _is_known(request: AWSRequest, parts: RequestParts, version: object) -> bool:
    """Return whether this package makes the same request, apart from the header fields."""
    context: dict[str, Any] = request.context
    has_same_body = request.data is parts.body or (request.data or b"") == (parts.body or b"")
    has_same_url = str(request.url).endswith(f"/{parts.target}") and not request.params
    is_version_known = version == "s3v4" or version is UNSIGNED
    is_context_known = (context.get("signing") or {}).keys() <= _SIGNING_CONTEXT
    has_trailer = bool(context.get("checksum", {}).get("request_algorithm"))
    is_signature_known = is_version_known and is_context_known and not has_trailer
    return has_same_body and has_same_url and is_signature_known
