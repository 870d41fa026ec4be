"""Encode and decode the result of `on_finish` in the info object. No I/O.

The `Answer` field:

| field       | meaning                          |
|-------------|----------------------------------|
| Fields      | the fields of the response       |
| Body        | the body of the response, Base64 |
| ContentType | the Content-Type of the body     |

The `Rejection` field, in the state `rejected` only:

| field            | meaning                                          |
|------------------|--------------------------------------------------|
| Status, Sentence | the status and the body of the response          |
| Fields           | the fields of the response                       |
| Keep             | whether the application keeps the object         |
"""

from __future__ import annotations

import base64

from tus_wsgi.domain.answer import Answer, Rejection, checked_answer, checked_rejection
from tus_wsgi.domain.model import State


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


def encode_rejection(rejection: Rejection) -> dict[str, object]:
    """Return the `Rejection` field."""
    return {
        "Status": rejection.status,
        "Sentence": rejection.sentence,
        "Fields": dict(rejection.fields),
        "Keep": rejection.keep,
    }


def decode_rejection(value: object, state: State) -> Rejection | None:
    """Parse the `Rejection` field.

    Raises:
        ValueError: the field is not a rejection that can be sent, or contradicts the state.
    """
    has_rejection = value is not None
    if has_rejection != (state is State.REJECTED):
        raise ValueError("State and Rejection contradict each other")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError("Rejection is not an object")  # noqa: TRY004 - one error for all shapes
    status, sentence, fields = value.get("Status"), value.get("Sentence"), value.get("Fields")
    if type(status) is not int or not isinstance(sentence, str) or not isinstance(fields, dict):
        raise ValueError("Rejection lacks a field")
    keep = value.get("Keep") is True
    return checked_rejection(Rejection(status=status, sentence=sentence, fields=fields, keep=keep))
