"""Store uploads in a bucket of AWS S3 or a compatible service.

An upload has at most three objects:

| object | key                          | lifetime                                                |
|--------|------------------------------|---------------------------------------------------------|
| data   | object prefix + id           | a multipart upload until finished, then the object      |
| info   | metadata prefix + id + .info | from creation; kept when finished; deleted last         |
| tail   | metadata prefix + id + .part | while the newest bytes do not fill a part               |

Names and JSON fields follow tusd, so tusd's tools can read them.

Permissions: `s3:AbortMultipartUpload`, `s3:DeleteObject`, `s3:GetObject`,
`s3:ListMultipartUploadParts` and `s3:PutObject` on the objects of the bucket, and no others.

Costs in S3 calls: a creation takes 1, or 2 with a multipart upload. A HEAD takes 1 to 3. A PATCH of
k parts takes at most k + 3, plus 1 to read the tail, 1 to write or delete it, and 2 to finish. A
final upload of n partial uploads and k parts takes 2n to look up the partial uploads, k to store
the parts, 1 for each slice of a part that spans several partial uploads, and 5 more. UploadPartCopy
needs only `s3:GetObject` and `s3:PutObject`.

The durability rules D-01 to D-14 that the modules name are explained in `docs/durability.md`.
"""

from tus_wsgi.stores.s3.store import S3Store

__all__ = ["S3Store"]
