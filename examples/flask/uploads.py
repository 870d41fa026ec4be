"""The hooks: who may upload, how much, which types, and the rows of the database.

`TUS_S3_OBJECT_KEY` in `__init__.py` chooses the keys.
"""

from flask import abort, session
from sqlalchemy import delete

from examples.models import File, new_session, used_bytes
from tus_wsgi import Rejected, UploadPlan
from tus_wsgi.frameworks.flask import Tus

QUOTA = 100 * 1024 * 1024

TYPES = {
    b"%PDF-": "application/pdf",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
}
"""The accepted types, by the first bytes of a file."""


def type_of(start):
    """Return the type of a file that begins with these bytes; None if it is not accepted."""
    for first_bytes, type in TYPES.items():
        if start.startswith(first_bytes):
            return type
    return None


tus = Tus()


@tus.authorize
def user(_access):
    """Identify the client by its login. Each user has access to its own uploads only."""
    return session.get("user") or abort(401, "Log in first.")


@tus.on_create
def new_upload(upload):
    """Refuse an upload that exceeds the quota."""
    with new_session() as db:
        left = QUOTA - used_bytes(db, int(upload.owner))
    # A length of None is not known yet: the file needs at least one byte.
    if left < (upload.length or 1):
        abort(413, f"Your quota has {left} bytes left.")
    return UploadPlan(max_size=left)


@tus.on_finish
def uploaded(upload):
    """Reject a file by its first bytes, or add a row to the database."""
    with upload.open() as file:
        start = file.read(8)
    type = type_of(start)
    if type is None:
        raise Rejected(415, "Only PDF, PNG and JPEG files are accepted.")
    owner, name = int(upload.owner), upload.filename or "file"
    with new_session.begin() as db:
        # `merge`, because the hook may run twice for one upload.
        db.merge(File(id=upload.id, user_id=owner, name=name, size=upload.length, type=type))
        # Uploads that ran at the same time may each have had the whole rest of the quota.
        if used_bytes(db, owner) > QUOTA:
            raise Rejected(413, "Your quota is used up.")


@tus.on_terminate
def removed(gone):
    """Delete the row of an upload that the user, a client or a sweep removes."""
    with new_session.begin() as db:
        db.execute(delete(File).where(File.id == gone.id))
