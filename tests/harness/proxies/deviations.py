"""Services that differ from the one behind the fault proxy, in the calls for copied parts."""

from __future__ import annotations

from collections.abc import Callable

from tests.harness.proxies.faults import Call, CannedReply

Deviation = Callable[[Call], CannedReply | None]
"""Returns the response of the other service to a call. The service behind the proxy does not get
that call. Returns None for a call that both services answer alike: the proxy forwards it."""

COPY_REFUSALS = {
    "501": CannedReply("501 Not Implemented", "NotImplemented"),
    "403": CannedReply("403 Forbidden", "AccessDenied"),
    "405": CannedReply("405 Method Not Allowed", "MethodNotAllowed"),
    # MinIO, if the multipart upload has checksums
    "checksum missing": CannedReply("400 Bad Request", "InvalidArgument"),
    "without an ETag": CannedReply("200 OK", body=b"<CopyPartResult></CopyPartResult>"),
    "empty": CannedReply("200 OK"),
}
"""Responses to UploadPartCopy of services that do not copy the part."""


def no_deviation(_call: Call) -> None:
    """Behave as the service behind the proxy."""


def answering(operation: str, reply: CannedReply) -> Deviation:
    """Return a service that gives this response to every call of an operation."""
    return lambda call: reply if call.operation == operation else None


def requiring_checksums() -> Deviation:
    """Return a service that refuses to complete an upload with copied parts.

    Such a service does not compute the checksum of a copied part, but requires one of every part.
    """
    copied: set[int | None] = set()

    def reply(call: Call) -> CannedReply | None:
        if call.operation == "UploadPartCopy":
            copied.add(call.part)
        if call.operation == "UploadPart":
            copied.discard(call.part)
        if call.operation == "CompleteMultipartUpload" and copied:
            return CannedReply("400 Bad Request", "InvalidPart")
        return None

    return reply
