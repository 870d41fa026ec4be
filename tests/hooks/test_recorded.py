"""Documents and responses recorded from tusd, and those of this server for the same requests.

To record them again, run the test of tusd with `RECORD_TUSD=1`: it writes the file.
"""

from __future__ import annotations

import copy
import http.client
import json
import os
import select
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from demo.seaweedfs import SeaweedFS
from tests.harness.servers.tusd import running_tusd
from tests.hooks.handler import Handler, serving
from tests.hooks.remote_app import (
    EVENTS,
    remote_app,
    send_in_process,
    send_slowly_in_process,
)
from tests.hooks.scenario import Response, Scenario, SendSlowly
from tus_wsgi.stores.s3.record import UploadRecord

RECORDED = Path(__file__).with_name("tusd_recorded.json")


def send_to(url: str) -> Any:
    """Return the function that sends requests to a server, without fields that nothing asks for."""
    netloc = urlsplit(url).netloc

    def send(method: str, path: str, fields: dict[str, str], data: bytes) -> Response:
        connection = http.client.HTTPConnection(netloc, timeout=60)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in {**fields, "Content-Length": str(len(data))}.items():
                connection.putheader(name, value)
            connection.endheaders(data)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Response(response.status, found, response.read())
        finally:
            connection.close()

    return send


def send_slowly_to(url: str) -> SendSlowly:
    """Return the function that sends a PATCH byte by byte to a server."""
    address = urlsplit(url)

    def send_slowly(path: str, fields: dict[str, str], length: int) -> Response:
        connection = http.client.HTTPConnection(address.netloc, timeout=60)
        connection.putrequest("PATCH", path, skip_accept_encoding=True)
        for name, value in {**fields, "Content-Length": str(length)}.items():
            connection.putheader(name, value)
        connection.endheaders()
        with connection.sock:
            for _ in range(length):
                if select.select([connection.sock], [], [], 0.01)[0]:
                    break
                connection.sock.send(b"x")
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Response(response.status, found, response.read())

    return send_slowly


@pytest.mark.long
@pytest.mark.timeout(900)  # the first run builds tusd
def test_one_handler_serves_tusd_and_this_server(s3: SeaweedFS, tmp_path: Path) -> None:
    """The recorded documents and responses are those of tusd, and those of both carriers."""
    handler = Handler()
    with serving(handler) as hooks:
        options = [f"-hooks-http={hooks}", f"-hooks-enabled-events={EVENTS}"]
        with running_tusd(tmp_path, s3, [*options, "-progress-hooks-interval=100ms"]) as url:
            recorded = Scenario(send_to(url), send_slowly_to(url), handler).run()
        for carrier in ("http", "wsgi"):
            compare(run(carrier, handler), copy.deepcopy(recorded))
    if os.environ.get("RECORD_TUSD"):
        text = json.dumps(recorded, indent=1, sort_keys=False, ensure_ascii=False)
        RECORDED.write_text(text + "\n", encoding="utf-8")
    assert recorded == json.loads(RECORDED.read_text(encoding="utf-8"))


@pytest.fixture
def recorded() -> Any:
    return json.loads(RECORDED.read_text(encoding="utf-8"))


def test_every_document_and_response_is_as_from_tusd(carrier: str, recorded: Any) -> None:
    compare(run(carrier, Handler()), recorded)


def run(carrier: str, handler: Handler) -> Any:
    """Return what this server does in each case."""
    with remote_app(carrier, handler, {"TUS_PROGRESS_HOOKS_INTERVAL": "0"}) as app:
        return Scenario(send_in_process(app), send_slowly_in_process(app), handler).run()


def compare(ours: Any, recorded: Any) -> None:
    assert list(ours) == list(recorded)
    for name, case in ours.items():
        expected = as_documented(name, recorded[name])
        assert case["responses"] == expected["responses"], name
        assert case["documents"] == expected["documents"], name


def as_documented(name: str, case: Any) -> Any:
    """Return what this server does in a case, by the differences in docs/moving-from-tusd.md."""
    responses, documents = case["responses"], case["documents"]
    for documents_of_event in documents.values():
        for document in documents_of_event:
            upload = document["Event"]["Upload"]
            if upload["Storage"]:
                # `test_the_storage_has_the_keys_of_tusd` compares it.
                upload["Storage"] = {"Type": "memory"}
    if name == "own id":
        # The id cannot be chosen.
        responses[0] = {"status": 503, "fields": {"Content-Type": PLAIN}, "body": TRY_AGAIN}
    if name == "concatenated":
        for response in (responses[1], responses[3]):
            # The last PATCH of each partial upload: only the final upload is a file to finish.
            response.update(status=204, body="")
            response["fields"] = {"Upload-Offset": response["fields"]["Upload-Offset"]}
        for event in ("pre-finish", "post-finish"):
            finals = [each for each in documents[event] if each["Event"]["Upload"]["IsFinal"]]
            documents[event] = finals
        responses[-1]["status"] = 201  # of a creation
        # The partial uploads are looked up after the hook was asked, so the length is unknown.
        final = documents["pre-create"][-1]["Event"]["Upload"]
        final.update(Size=0, SizeIsDeferred=True)
    return case


PLAIN = "text/plain; charset=utf-8"
TRY_AGAIN = "the server cannot do this now; nothing that it acknowledged is lost, so try again\n"


def test_the_storage_has_the_keys_of_tusd(recorded: Any) -> None:
    upload = recorded["accepted"]["documents"]["post-finish"][0]["Event"]["Upload"]
    record = UploadRecord.__dict__["storage"].fget
    ours = record(type("Record", (), {"bucket": "uploads", "key": "<key>"}))
    assert ours == upload["Storage"]
