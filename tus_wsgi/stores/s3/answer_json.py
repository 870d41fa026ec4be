"""Encode and decode the `Answer` field of the info object: the answer of `on_finish`. No I/O.

| field       | meaning                          |
|-------------|----------------------------------|
| Fields      | the fields of the response       |
| Body        | the body of the response, Base64 |
| ContentType | the Content-Type of the body     |
"""

from __future__ import annotations

import base64

from tus_wsgi.domain.answer import Answer, checked_answer


def encode_answer(answer: Answer) -> dict[str, object]:
    """Return the `Answer` field."""
    return {
        "Fields": dict(answer.fields),
        "Body": base64.b64encode(answer.body).decode("ascii"),
        "ContentType": answer.content_type,
    }


def decode_answer(value: object) -> Answer | None:
    """Parse the `Answer` field; None if there is none.

    Raises:
        ValueError: the field is not an answer that can be sent.
    """
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError("Answer is not an object")  # noqa: TRY004 - one error for all shapes
    fields, body, type = value.get("Fields"), value.get("Body"), value.get("ContentType")
    if not isinstance(fields, dict) or not isinstance(body, str) or not isinstance(type, str):
        raise ValueError("Answer lacks a field")  # noqa: TRY004 - one error for all shapes
    content = base64.b64decode(body, validate=True)
    return checked_answer(Answer(fields=fields, body=content, content_type=type))
