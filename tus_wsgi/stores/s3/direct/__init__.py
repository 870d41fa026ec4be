"""Send the frequent S3 calls with a fraction of boto3's CPU time.

boto3 makes the first call of each operation. `template.py` learns from the request that boto3
signs: the URL of the bucket, the fixed header fields, region and signer. Following calls change
only the key, the parameters and the body, are signed by botocore's signer (`signing.py`), and are
sent over the connection pool of the client (`connection.py`, `pools.py`). All but GetObject use an
open connection without urllib3 (`exchange.py`). So endpoints, credentials that expire, proxies and
certificates are those of the client, and so are the timeouts, except that a long body may take
longer (`pools.py`).

This package reads only successful responses. It passes every other outcome, including errors of the
connection, to boto3 as the outcome of boto3's first attempt (`events.py`). boto3 then decides about
retries, redirects and errors, so a failure has the same number of attempts as a call that boto3
makes alone (D-09).

boto3 makes the whole call if this package does not understand the client or the parameters: see
`DirectCalls`.
"""

from __future__ import annotations

from tus_wsgi.stores.s3.direct.calls import DirectCalls, direct_calls

__all__ = ["DirectCalls", "direct_calls"]
