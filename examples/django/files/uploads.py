"""The hooks: how much users may upload, which types, and the rows of the database.

`TUS` in the settings names these hooks, and `require_login`, which decides who may upload.
"""

from django.db import transaction

from tus_wsgi import Denied, Rejected, UploadPlan

from .models import File, used_bytes

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


def new_upload(upload):
    """Refuse an upload that exceeds the quota."""
    left = QUOTA - used_bytes(upload.owner)
    # A length of None is not known yet: the file needs at least one byte.
    if left < (upload.length or 1):
        raise Denied(413, f"Your quota has {left} bytes left.")
    return UploadPlan(max_size=left)


def uploaded(upload):
    """Reject a file by its first bytes, or add a row to the database."""
    with upload.open() as file:
        start = file.read(8)
    type = type_of(start)
    if type is None:
        raise Rejected(415, "Only PDF, PNG and JPEG files are accepted.")
    name = upload.filename or "file"
    row = {"user_id": upload.owner, "name": name, "size": upload.length, "type": type}
    with transaction.atomic():
        # Not `create`, because the hook may run twice for one upload.
        File.objects.update_or_create(id=upload.id, defaults=row)
        # Uploads that ran at the same time may each have had the whole rest of the quota.
        if used_bytes(upload.owner) > QUOTA:
            raise Rejected(413, "Your quota is used up.")


def removed(gone):
    """Delete the row of an upload that the user, a client or a sweep removes."""
    File.objects.filter(id=gone.id).delete()
