"""Keep the ids of uploads out of the log.

An upload's id is a capability: every client that knows it may write to the upload and read it. So
the log contains a fingerprint instead: the first eight hex digits of the id's BLAKE2b hash. A
fingerprint identifies an upload in the log. To compute it for a known id, take the first eight
digits of the output of `printf %s ID | b2sum`.
"""

from __future__ import annotations

import logging
import traceback
from hashlib import blake2b
from urllib.parse import quote

MIN_SECRET_LENGTH = 16
"""Minimum characters of an id that is replaced in a traceback. A shorter id is not secret, and a
request for an upload called `e` must not replace every `e` in the log."""


def fingerprint(id: str) -> str:
    """Return the log's name for an upload, which does not reveal the id."""
    return blake2b(id.encode()).hexdigest()[:8]


def hide_id(text: str, id: str) -> str:
    """Replace an id in a text by its fingerprint."""
    # The ids of tusd are `objectId+UploadId`, and its keys contain only the first half.
    for secret in (id, *id.split("+")):
        if len(secret) >= MIN_SECRET_LENGTH:
            text = hide(text, secret, fingerprint(id))
    return text


def hide(text: str, secret: str, replacement: str) -> str:
    """Replace a secret in a text, which URLs contain in plain or quoted form."""
    for form in (secret, quote(secret), quote(secret, safe="")):
        text = text.replace(form, replacement)
    return text


def log_exception(log: logging.Logger, sentence: str, error: BaseException, id: str | None) -> None:
    """Log an exception of the application with its traceback, as an error.

    Args:
        log: the logger.
        sentence: the message, without an id.
        error: the exception. Its message may contain the id.
        id: the upload; None if there is none.
    """
    if not log.isEnabledFor(logging.ERROR):
        return
    text = "".join(traceback.format_exception(error)).rstrip()
    info = (type(error), error, error.__traceback__)
    record = log.makeRecord(log.name, logging.ERROR, __file__, 0, sentence, (), info)
    # Formatters use this text instead of formatting the traceback.
    record.exc_text = text if id is None else hide_id(text, id)
    log.handle(record)
