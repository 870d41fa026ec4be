"""The XML documents of multipart uploads: which parts an object has, and what S3 has made.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html
https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

_RESULTS = {
    "CreateMultipartUpload": ("InitiateMultipartUploadResult", "UploadId"),
    "CompleteMultipartUpload": ("CompleteMultipartUploadResult", "ETag"),
}
"""By operation: the name of the document of its response, and a field that it must have."""


def has_document(operation: str) -> bool:
    """Return whether the response of an operation is a document."""
    return operation in _RESULTS


def build_parts_document(upload: Mapping[str, Any]) -> bytearray:
    """Return the document of boto3's parameter `MultipartUpload`, as boto3 writes it."""
    parts = "".join(_element("Part", _elements(part)) for part in upload["Parts"])
    root = "CompleteMultipartUpload"
    return bytearray(f'<{root} xmlns="{_NAMESPACE}">{parts}</{root}>'.encode())


def _elements(fields: Mapping[str, Any]) -> str:
    return "".join(_element(name, escape(str(value))) for name, value in fields.items())


def _element(name: str, content: str) -> str:
    return f"<{name}>{content}</{name}>"


def read_result(operation: str, content: bytes | None) -> dict[str, Any] | None:
    """Return the fields of a response's document; None for any other document or content.

    S3 may report an error in a document with status 200, after it has sent the status.
    """
    name, required_field = _RESULTS[operation]
    # Like botocore, ignore the encoding that the document declares. Python does not know all of
    # them, and S3 sends UTF-8.
    parser = ET.XMLParser(encoding="utf-8")  # noqa: S314 - botocore reads S3's documents with it
    try:
        root = ET.fromstring(content or b"", parser)  # noqa: S314
    except ET.ParseError:
        return None
    fields = {_local_name(child.tag): child.text or "" for child in root}
    is_result = _local_name(root.tag) == name and bool(fields.get(required_field))
    return fields if is_result else None


def _local_name(tag: str) -> str:
    """Return the name of an element without its namespace, which some services omit."""
    return tag.rpartition("}")[2]
