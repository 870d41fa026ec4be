"""Fingerprints replace ids in log lines, tracebacks and reports of errors."""

from __future__ import annotations

import logging
import re
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tus_wsgi.domain.hidden_ids import fingerprint
from tus_wsgi.domain.model import UploadId, new_upload_id
from tus_wsgi.observers.hide_ids import HidingFormatter, hide_ids

ID = UploadId("QTzW1Qy0m2mLw0b0nXq3fA")
TUSD_ID = UploadId("24e533e02ec3bc40c387f1a0e460e216+2~abc.DEF_-")


@pytest.mark.parametrize("id", [ID, TUSD_ID])
@pytest.mark.parametrize(
    "line",
    [
        '127.0.0.1 - - [01/Jan/2026] "PATCH /files/{} HTTP/1.1" 204 0 "-" "curl"',
        "Error handling request GET /app/files/{}?x=1",
        "final;http://h/files/{} http://h/files/{}",
        '{{"path": "/files/{}", "quoted": "\\"/files/{}\\""}}',
    ],
)
def test_an_id_in_a_path_becomes_its_fingerprint(line: str, id: UploadId) -> None:
    hidden = hide_ids(line.replace("{}", id))
    assert hidden == line.replace("{}", fingerprint(id))
    assert hide_ids(line.replace("{}", quote(id, safe=""))) == hidden


@given(st.binary(min_size=16, max_size=16))
def test_every_id_is_hidden(random: bytes) -> None:
    id = new_upload_id(lambda _size: urlsafe_b64encode(random).decode().rstrip("="))
    assert hide_ids(f"GET /files/{id} HTTP/1.1") == f"GET /files/{fingerprint(id)} HTTP/1.1"
    assert hide_ids(f"https://s3/bucket/{id}.info") == f"https://s3/bucket/{fingerprint(id)}.info"


@pytest.mark.parametrize("path", ["/", "/files", "/static/app.3f2a.js", f"/{ID}x", f"/a-{ID}"])
def test_other_paths_stay(path: str) -> None:
    assert hide_ids(f"GET {path} HTTP/1.1") == f"GET {path} HTTP/1.1"


def test_tracebacks_are_hidden_too() -> None:
    error = ValueError(f"http://s3/bucket/{ID}.part")
    record = logging.LogRecord("x", logging.ERROR, "", 0, "failed", (), (ValueError, error, None))
    text = HidingFormatter(logging.Formatter("%(message)s")).format(record)
    assert text == f"failed\nValueError: http://s3/bucket/{fingerprint(ID)}.part"


def test_the_hook_for_sentry_in_the_documentation_hides_ids() -> None:
    page = (Path(__file__).parents[2] / "docs" / "ids-in-logs.md").read_text(encoding="utf-8")
    section = page.partition("\n## Sentry\n")[2]
    example = re.search(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert example is not None
    names: dict[str, Any] = {}
    code = example[1].replace("import sentry_sdk\n", "").partition("sentry_sdk.init")[0]
    exec(code, names)
    url = f"http://example.com/files/{ID}"
    event = {"request": {"url": url}, "transaction": f"PATCH /files/{ID}"}
    assert ID not in str(names["without_ids"](event, {}))
    assert names["without_ids"]({}, {}) == {}
