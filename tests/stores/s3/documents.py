"""The documents of S3's successful responses."""

from __future__ import annotations


def document_for(method: str, url: str) -> bytes:
    """Return the body of a successful response."""
    if method != "POST":
        return b""
    if url.endswith("?uploads"):
        return b"""<InitiateMultipartUploadResult>
            <Key>a</Key><UploadId>u</UploadId></InitiateMultipartUploadResult>"""
    return b"""<?xml version="1.0" encoding="UTF-8"?>
        <CompleteMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
        <Key>a</Key><ETag>&quot;e-1&quot;</ETag><ChecksumCRC32>AAAAAA==</ChecksumCRC32>
        </CompleteMultipartUploadResult>"""
