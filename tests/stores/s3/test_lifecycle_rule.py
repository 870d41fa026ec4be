"""`deploy/aws/lifecycle.json`, which removes the noncurrent versions of tails."""

from __future__ import annotations

import json
from pathlib import Path

from tests.stores.s3.stubbed_bucket import StubbedBucket
from tus_wsgi.domain.model import UploadId
from tus_wsgi.stores.s3.keys import Keys

RULES = Path(__file__).parents[3] / "deploy" / "aws" / "lifecycle.json"


def test_the_rule_is_valid_and_covers_tails_but_no_files(stubbed: StubbedBucket) -> None:
    configuration = json.loads(RULES.read_text())
    stubbed.add_response("put_bucket_lifecycle_configuration")
    stubbed.client.put_bucket_lifecycle_configuration(
        Bucket="bucket", LifecycleConfiguration=configuration
    )
    (rule,) = configuration["Rules"]
    keys, id = Keys("files/", "tus/"), UploadId("a")
    prefix = rule["Filter"]["Prefix"]
    assert keys.tail(id).startswith(prefix)
    assert not keys.data(id).startswith(prefix)
