"""The parameters of PutObject and CreateMultipartUpload for `ObjectOptions`. No I/O.

S3 accepts the parameters with these two calls only: it answers 400 to a GET or a HEAD with the
fields of an encryption. The parts of a multipart upload inherit everything from
CreateMultipartUpload.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from tus_wsgi.domain.plan import ObjectOptions

_PARAMETERS = {
    "content_disposition": "ContentDisposition",
    "content_encoding": "ContentEncoding",
    "content_language": "ContentLanguage",
    "cache_control": "CacheControl",
    "storage_class": "StorageClass",
    "acl": "ACL",
    "encryption": "ServerSideEncryption",
    "kms_key_id": "SSEKMSKeyId",
    "bucket_key": "BucketKeyEnabled",
}

NO_OPTIONS = ObjectOptions()


def write_parameters(options: ObjectOptions) -> dict[str, Any]:
    """Return boto3's parameters, except the Content-Type and the user metadata."""
    if options is NO_OPTIONS:
        return {}
    given = options.given()
    parameters = {
        parameter: given[name] for name, parameter in _PARAMETERS.items() if name in given
    }
    if options.tags:
        parameters["Tagging"] = urlencode(dict(options.tags))
    return parameters


def side_object_parameters(options: ObjectOptions) -> dict[str, Any]:
    """Return the parameters of info objects, tails and locks: the encryption alone.

    A bucket policy that requires encryption refuses every PutObject without these fields.
    """
    encryption = ObjectOptions(
        encryption=options.encryption,
        kms_key_id=options.kms_key_id,
        bucket_key=options.bucket_key,
    )
    return write_parameters(encryption)
