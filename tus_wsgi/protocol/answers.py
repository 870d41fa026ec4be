"""Add the answer of the application's `on_finish` hook to a reply."""

from __future__ import annotations

from dataclasses import replace

from tus_wsgi.domain.model import UploadInfo
from tus_wsgi.protocol.http import Reply


def with_answer(reply: Reply, info: UploadInfo, *, has_body: bool) -> Reply:
    """Return the reply with the fields of the answer, which scripts of other origins may read.

    Args:
        reply: the reply to a request for a finished upload.
        info: the upload. If it has no answer, the reply is returned unchanged.
        has_body: whether the reply may have a body. A 204 with a body becomes a 200.
    """
    answer = info.answer
    if answer is None:
        return reply
    fields = [*reply.fields, *answer.fields.items()]
    exposed = (*reply.exposed, *answer.fields)
    if not has_body or not answer.body:
        return replace(reply, fields=fields, exposed=exposed)
    fields.append(("Content-Type", answer.content_type))
    status = 200 if reply.status == 204 else reply.status
    return replace(reply, status=status, fields=fields, exposed=exposed, body=answer.body)
