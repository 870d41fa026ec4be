"""Check that S3 answers, with a permission that every server has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from tus_wsgi.domain.aws_errors import AwsErrorKind, classify_error

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NAME = "tus-wsgi-health"
"""The end of the key that the check reads. No upload has it."""


class S3Check:
    """A check that reads an object that does not exist. One GetObject.

    `NoSuchKey` proves that S3 answers, knows the bucket and accepts the credentials. So does
    `AccessDenied`, which is AWS's answer for a missing object if the credentials lack
    `s3:ListBucket`. A wrong key or signature has another code. See
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html ("Permissions").

    Args:
        client: a client with a short timeout: see `make_client`.
        bucket: the bucket's name.
        prefix: the prefix of the key.
    """

    def __init__(self, client: S3Client, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._key = prefix + NAME

    def __call__(self) -> None:
        """Ask S3.

        Raises:
            ClientError, BotoCoreError, OSError: S3 did not answer as a working service does.
        """
        try:
            response = self._client.get_object(Bucket=self._bucket, Key=self._key)
        except ClientError as error:
            answer = classify_error(error)
            if answer.kind is not AwsErrorKind.NOT_FOUND and answer.code != "AccessDenied":
                raise
        else:
            response["Body"].close()
