"""What users do with the Django example: a program, because a process has one Django project."""

from __future__ import annotations

import re
import sys

from tus_wsgi.testing import UploadClient, uploads_in_memory

PDF = b"%PDF-1.7\n"


def run(data: str) -> None:
    """Check what each user sees and may do: rows, quota, types by content, and deletion.

    Args:
        data: the directory of the database and the locks.
    """
    import examples.django

    app = examples.django.create_app(data, data)
    from examples.django.files import uploads

    def client_of(name: str) -> UploadClient:
        client = UploadClient(app)
        post(client, "/login", "/login", name=name, password=name)
        return client

    ada, eve, admin = client_of("ada"), client_of("eve"), client_of("admin")
    assert UploadClient(app).upload(PDF).response.status_code == 401
    first = ada.upload(PDF, filename="first.pdf")
    second = ada.upload(PDF, filename="second.pdf")
    assert second.response.status_code == 204
    id = first.url.rpartition("/")[2]
    assert "first.pdf" in ada.get("/").text
    assert "second.pdf" in ada.get("/").text
    assert "first.pdf" not in eve.get("/").text
    assert post(eve, "/", f"/delete/{id}") == 404
    assert eve.get(first.url).status_code == 404

    rejected = ada.upload(b"MZ\x90\x00", filename="letter.pdf").response
    assert rejected.status_code == 415
    assert "letter.pdf" not in ada.get("/").text
    uploads.QUOTA = 20
    assert ada.upload(PDF).response.text == "Your quota has 2 bytes left.\n"

    assert post(ada, "/", f"/delete/{id}") == 302
    assert "first.pdf" not in ada.get("/").text
    id = second.url.rpartition("/")[2]
    page = f"/admin/files/file/{id}/delete/"
    assert eve.get(page).status_code == 302
    assert post(admin, page, page, post="yes") == 302
    assert "second.pdf" not in ada.get("/").text
    assert ada.get(second.url).status_code in (404, 410)


def post(client: UploadClient, page: str, path: str, **data: str) -> int:
    """Send the form of a page; return the status."""
    token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', client.get(page).text)
    assert token is not None
    return client.post(path, data={"csrfmiddlewaretoken": token[1], **data}).status_code


if __name__ == "__main__":
    with uploads_in_memory():
        run(sys.argv[1])
