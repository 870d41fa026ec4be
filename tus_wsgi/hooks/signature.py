"""Sign documents as Standard Webhooks do, so that a receiver can trust them.

Source: the specification of Standard Webhooks (standardwebhooks.com), section "Signature scheme".
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode, b64encode

SECRET_PREFIX = "whsec_"  # noqa: S105 - the beginning of every secret
MIN_SECRET, MAX_SECRET = 24, 64
"""Bytes of a secret."""


def parse_secret(text: str) -> bytes:
    """Parse a secret such as `whsec_` and 24 to 64 bytes in Base64.

    Raises:
        ValueError: the text is not a secret. The message does not contain it.
    """
    expected = f"expected {SECRET_PREFIX} and {MIN_SECRET} to {MAX_SECRET} bytes in Base64"
    try:
        secret = b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(expected) from None
    if not text.startswith(SECRET_PREFIX) or not MIN_SECRET <= len(secret) <= MAX_SECRET:
        raise ValueError(expected)
    return secret


def sign(secret: bytes, id: str, timestamp: int, document: bytes) -> str:
    """Return the value of the field `webhook-signature`.

    Args:
        secret: the secret that sender and receiver share.
        id: the value of the field `webhook-id`.
        timestamp: the value of the field `webhook-timestamp`, in seconds since 1970.
        document: the body.
    """
    signed = b".".join((id.encode(), str(timestamp).encode(), document))
    return f"v1,{b64encode(hmac.digest(secret, signed, 'sha256')).decode()}"
