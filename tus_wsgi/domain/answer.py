"""The application's answer to the client whose file is complete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tus_wsgi.domain.descriptions import parse_media_type
from tus_wsgi.domain.plan import checked_added_fields

MAX_ANSWER_SIZE = 4 * 1024
"""Bytes of the fields and the body of an answer together. They are in the upload's record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Fields and a body for the response that tells a client that its upload is finished.

    The answer is stored with the upload and repeated: the fields in each response to HEAD, both in
    the response to a PATCH at the end of the upload. So a client whose response was lost gets it.

    Attributes:
        fields: fields of the response.
        body: the body of the response; empty for none.
        content_type: the Content-Type of the body.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_type: str = "application/json"


def checked_answer(answer: Answer) -> Answer:
    """Return a copy of an answer, after checking that it can be stored and sent.

    Raises:
        ValueError: it cannot.
    """
    if not isinstance(answer, Answer):
        raise ValueError(f"expected an Answer or None, got a {type(answer).__name__}")  # noqa: TRY004
    try:
        fields = checked_added_fields(answer.fields)
        size = sum(len(name) + len(value) for name, value in fields.items()) + len(answer.body)
    except (AttributeError, TypeError) as error:
        raise ValueError("expected fields of str, and a body of bytes") from error
    if not isinstance(answer.body, bytes):
        raise ValueError(f"expected a body of bytes, got {type(answer.body).__name__}")  # noqa: TRY004
    if size > MAX_ANSWER_SIZE:
        raise ValueError(f"expected at most {MAX_ANSWER_SIZE} bytes of fields and body, got {size}")
    if parse_media_type(answer.content_type) is None:
        raise ValueError(f"expected a media type, got {answer.content_type!r}")
    return replace(answer, fields=dict(fields))
