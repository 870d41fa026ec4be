"""The application's answer to the client whose file is complete, or its rejection of the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tus_wsgi.domain.descriptions import parse_media_type
from tus_wsgi.domain.plan import checked_added_fields
from tus_wsgi.domain.response_fields import NO_FIELDS

MAX_ANSWER_SIZE = 4 * 1024
"""The largest size of an answer (fields and body together) or a rejection (fields and sentence
together), in bytes. Both are stored in the upload's record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Fields and a body for the response that tells a client that its upload is finished.

    The answer is stored with the upload, so that a client whose response was lost gets it again: a
    HEAD gets the fields, and a PATCH at the end of the upload gets the fields and the body.

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
        ValueError: the answer has an invalid value, or is too large.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """The recorded decision of the application that it will never accept a file.

    Attributes:
        status: the status of the response, from 400 to 499.
        sentence: the body of the response.
        fields: fields of the response.
        keep: whether the object stays, because the application handles it.
    """

    status: int
    sentence: str
    fields: Mapping[str, str] = field(default_factory=dict)
    keep: bool = False


class Rejected(Exception):
    """The application will never accept this file. `on_finish` raises it.

    The decision is recorded, the object is removed, and the client gets the status, the sentence
    and the fields. Later requests for the upload get a 410.

    Args:
        status: the status of the response, from 400 to 499.
        sentence: the body of the response, for the user of the client.
        fields: fields of the response.
        keep: whether the object stays, for example because the application has moved the decision
            to a reviewer. The application then removes it itself.

    Raises:
        ValueError: the status is not from 400 to 499, a field cannot be sent, or sentence and
            fields are too long.
    """

    def __init__(
        self,
        status: int = 422,
        sentence: str = "",
        *,
        fields: Mapping[str, str] = NO_FIELDS,
        keep: bool = False,
    ) -> None:
        rejection = Rejection(
            status=status,
            sentence=sentence or "the application rejected this file",
            fields=fields,
            keep=keep,
        )
        self.rejection = checked_rejection(rejection)
        super().__init__(self.rejection.sentence)


def checked_rejection(rejection: Rejection) -> Rejection:
    """Return a copy of a rejection, after checking that it can be stored and sent.

    Raises:
        ValueError: the rejection has an invalid value, or is too large.
    """
    status, sentence = rejection.status, rejection.sentence
    if not 400 <= status <= 499:
        raise ValueError(f"expected a status from 400 to 499, got {status!r}")
    if not isinstance(sentence, str):
        raise ValueError(f"expected a sentence, got {type(sentence).__name__}")  # noqa: TRY004
    fields = checked_added_fields(rejection.fields)
    size = sum(len(name) + len(value) for name, value in fields.items()) + len(sentence)
    if size > MAX_ANSWER_SIZE:
        raise ValueError(f"expected at most {MAX_ANSWER_SIZE} characters, got {size}")
    return Rejection(
        status=int(status), sentence=sentence, fields=dict(fields), keep=bool(rejection.keep)
    )
