"""What concerns uploads: how much and what may be uploaded, and what the database knows.

`TUS` in the settings names these hooks, and lets in the users that are logged in.
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


def new_upload(upload):
    """Refuse what exceeds the quota."""
    left = QUOTA - used_bytes(upload.owner)
    if left < (upload.length or 1):
        raise Denied(413, f"Your quota has {left} bytes left.")
    return UploadPlan(max_size=left)


def uploaded(upload):
    """Look at the first bytes, and add a row to the database."""
    with upload.open() as file:
        start = file.read(8)
    type = next((TYPES[bytes] for bytes in TYPES if start.startswith(bytes)), None)
    if type is None:
        raise Rejected(415, "Only PDF, PNG and JPEG files are accepted.")
    name = upload.filename or "file"
    row = {"user_id": upload.owner, "name": name, "size": upload.length, "type": type}
    with transaction.atomic():
        # Not `create`, because the hook may run twice for one upload.
        File.objects.update_or_create(id=upload.id, defaults=row)
        # Two uploads at the same time may have had the same bytes left.
        if used_bytes(upload.owner) > QUOTA:
            raise Rejected(413, "Your quota is used up.")


def removed(gone):
    """Delete the row of an upload that the user, a client or a sweep removes."""
    File.objects.filter(id=gone.id).delete()
