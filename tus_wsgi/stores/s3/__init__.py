"""Uploads in a bucket of AWS S3 or a compatible service.

Three objects at most belong to an upload:

| object | key                          | life                                                    |
|--------|------------------------------|---------------------------------------------------------|
| data   | object prefix + id           | a multipart upload until finished, then the object      |
| info   | metadata prefix + id + .info | from creation on; kept after finish; removed last       |
| tail   | metadata prefix + id + .part | only while the newest bytes do not fill a part          |

Names and JSON fields follow tusd, so its tools can read them.

Permissions: exactly `s3:AbortMultipartUpload`, `s3:DeleteObject`, `s3:GetObject`,
`s3:ListMultipartUploadParts` and `s3:PutObject`, on the objects of the bucket.

Costs, in S3 calls: creation 1, or 2 with a multipart upload; a HEAD 1 to 3; a PATCH of k parts at
most k + 3, one more to read a tail back and one more to write or remove it, and 2 to finish. A
final upload of n partial ones and k parts: 2 n to look at them, k, one for each piece of a part
across a seam, and 5. (UploadPartCopy needs `s3:GetObject` and `s3:PutObject`, no more.)
"""

from tus_wsgi.stores.s3.store import S3Store

__all__ = ["S3Store"]
