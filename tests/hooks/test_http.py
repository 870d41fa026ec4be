"""Hooks that an HTTP endpoint answers."""

from __future__ import annotations

import hmac
import json
import socket
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from tests.hooks.handler import JSON, Handler, serving
from tests.hooks.remote_app import remote_app, send_in_process
from tests.hooks.scenario import metadata
from tus_wsgi import Settings, SettingsError
from tus_wsgi.domain.events import HookCalled
from tus_wsgi.domain.hooks import Request
from tus_wsgi.domain.model import UploadId
from tus_wsgi.hooks.carrier import HookCall, HookCallFailed
from tus_wsgi.hooks.http import HttpCarrier, HttpOptions
from tus_wsgi.hooks.queue import DeliveryQueue
from tus_wsgi.hooks.signature import parse_secret, sign
from tus_wsgi.hooks.tusd_json import HookEvent, HookResponse
from tus_wsgi.settings.table import table

DOCUMENT = json.dumps({"Type": "x", "Event": {"Upload": {"MetaData": {}}}}).encode()
ID = UploadId("an-id")

WAIT = 20.0


def call(
    event: HookEvent = HookEvent.PRE_FINISH,
    id: str = "1",
    upload: UploadId = ID,
    fields: Mapping[str, str] | None = None,
) -> HookCall:
    environ = {"HTTP_HOST": "evil.example"}
    request = Request("PATCH", "/files/an-id", fields or {}, "192.0.2.1", environ)
    return HookCall(event, upload, id, DOCUMENT, request)


class Sleeps(list[float]):
    """Records how long it was called to wait."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def carrier(url: str, sleeps: Sleeps | None = None, **options: Any) -> HttpCarrier:
    sleep = Sleeps() if sleeps is None else sleeps
    return HttpCarrier(url, HttpOptions(**{"timeout": WAIT, **options}), sleep=sleep)


def statuses(*given: str) -> Callable[[Any, Any], Any]:
    """Return a function that answers its first call with the first status, and so on."""
    left = list(given)

    def respond(_document: Any, start_response: Any) -> Any:
        start_response(left.pop(0), [*JSON, ("Content-Length", "2")])
        return [b"{}"]

    return respond


# -- the request -----------------------------------------------------------------------------------


def test_a_document_is_signed_and_its_id_is_the_same_in_each_attempt() -> None:
    handler, sleeps = Handler(), Sleeps()
    handler.respond = statuses("500 No", "503 No", "200 OK")
    secret = b"0123456789abcdef01234567"
    with serving(handler) as url:
        carrier(url, sleeps, secret=secret).ask(call(id="post-finish.1"))
    assert [environ["HTTP_WEBHOOK_ID"] for environ in handler.environs] == ["post-finish.1"] * 3
    for environ in handler.environs:
        assert abs(int(environ["HTTP_WEBHOOK_TIMESTAMP"]) - time.time()) < 300
        signed = f"post-finish.1.{environ['HTTP_WEBHOOK_TIMESTAMP']}.".encode() + environ["body"]
        expected = b64encode(hmac.digest(secret, signed, "sha256")).decode()
        assert environ["HTTP_WEBHOOK_SIGNATURE"] == f"v1,{expected}"
        assert environ["CONTENT_TYPE"] == "application/json"
    assert len(sleeps) == 2
    assert 0.5 <= sleeps[0] <= 1.5
    assert 1.0 <= sleeps[1] <= 3.0


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of standardwebhooks.com."""
    secret = parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_only_the_named_fields_of_the_client_are_forwarded() -> None:
    handler = Handler()
    with serving(handler) as url:
        given = {"authorization": "Bearer x", "cookie": "a=1", "x-evil": "a\r\nb: c"}
        carrier(url, forward=("Authorization", "X-Evil", "X-Missing")).tell(call(fields=given))
    (environ,) = handler.environs
    assert environ["HTTP_AUTHORIZATION"] == "Bearer x"
    assert not {"HTTP_COOKIE", "HTTP_X_EVIL", "HTTP_X_MISSING", "HTTP_B"} & set(environ)
    assert environ["HTTP_HOST"].startswith("127.0.0.1:")


# -- failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["400 No", "404 No", "429 No", "302 Found", "307 Again"])
def test_only_server_errors_are_tried_again_and_redirects_are_not_followed(status: str) -> None:
    handler = Handler()

    def respond(_document: Any, start_response: Any) -> Any:
        start_response(status, [*JSON, ("Location", "/elsewhere"), ("Content-Length", "0")])
        return []

    handler.respond = respond
    with serving(handler) as url, pytest.raises(HookCallFailed, match=status[:3]):
        carrier(url).tell(call())
    assert [environ["PATH_INFO"] for environ in handler.environs] == ["/hooks"]


@contextmanager
def raw_server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve each connection with a function, after the head of its request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=answer_one, args=(connection,), daemon=True).start()

        def answer_one(connection: socket.socket) -> None:
            with connection:
                connection.recv(65536)
                try:
                    answer(connection)
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/?token=secret"
        listener.shutdown(socket.SHUT_RDWR)


def silent(connection: socket.socket) -> None:
    connection.recv(65536)  # until the client closes


def dripping(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.02)


def killed(_connection: socket.socket) -> None:
    """Close the connection without a response, as if the process had been killed."""


def killed_later(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")


def not_http(connection: socket.socket) -> None:
    connection.sendall(b"220 mail.example ESMTP\r\n" * 100)


@pytest.mark.parametrize("answer", [silent, dripping, killed, killed_later, not_http])
def test_an_endpoint_without_a_response_is_tried_again_and_then_given_up(answer: Any) -> None:
    attempts: list[object] = []

    def count(connection: socket.socket) -> None:
        attempts.append(connection)
        answer(connection)

    with raw_server(count) as url, pytest.raises(HookCallFailed) as caught:
        carrier(url, timeout=0.2, tries=2).ask(call())
    assert len(attempts) == 2
    assert not any(text in str(caught.value) for text in ("secret", "127.0.0.1", ID))


def test_an_endpoint_that_is_down_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    sleeps = Sleeps()
    with pytest.raises(HookCallFailed, match="NewConnectionError"):
        carrier(f"http://127.0.0.1:{port}/", sleeps, tries=3).tell(call())
    assert len(sleeps) == 2


def test_a_response_without_end_is_read_to_the_limit_only() -> None:
    sent = 0

    def endless(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while True:
            sent += connection.send(b" " * 65536)

    with raw_server(endless) as url:
        with pytest.raises(HookCallFailed, match="more than 5120 bytes"):
            carrier(url).ask(call())
        carrier(url).tell(call())  # the body does not matter
    assert sent < 100 * 1024 * 1024


# -- the queue -------------------------------------------------------------------------------------


class Deliveries:
    """Delivers documents when the test permits it, and records their ids.

    Attributes:
        ids: the ids of the delivered documents, in order.
        may_deliver: released by the test once for each delivery.
        began: released by each delivery that begins.
    """

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.may_deliver = threading.Semaphore(0)
        self.began = threading.Semaphore(0)

    def __call__(self, call: HookCall, on_response: Any) -> None:
        """Deliver a document. The ids `fails` and `bug` have a failure of their own."""
        self.began.release()
        assert self.may_deliver.acquire(timeout=WAIT)
        self.ids.append(call.id)
        if call.id == "fails":
            raise HookCallFailed("no")
        if call.id == "bug":
            raise LookupError(ID)
        if on_response is not None:
            on_response(HookResponse(stop_upload=True))


def test_only_the_newest_progress_of_an_upload_waits() -> None:
    deliveries = Deliveries()
    queue = DeliveryQueue(deliveries)
    progress = HookEvent.POST_RECEIVE
    queue.put(call(HookEvent.POST_CREATE, "first"), None)
    assert deliveries.began.acquire(timeout=WAIT)
    for number in range(5):
        queue.put(call(progress, f"a{number}"), None)
        queue.put(call(progress, f"b{number}", UploadId("another")), None)
        queue.put(call(HookEvent.POST_CREATE, f"c{number}"), None)
    deliveries.may_deliver.release(20)
    assert queue.wait(WAIT)
    assert deliveries.ids == ["first", "a4", "b4", "c0", "c1", "c2", "c3", "c4"]


def test_a_full_queue_drops_documents_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    deliveries = Deliveries()
    events: list[HookCalled] = []
    queue = DeliveryQueue(deliveries, max_waiting=2, on_event=events.append)
    queue.put(call(HookEvent.POST_CREATE, "first"), None)
    assert deliveries.began.acquire(timeout=WAIT)
    for number in range(100):
        queue.put(call(HookEvent.POST_CREATE, str(number)), None)
    deliveries.may_deliver.release(20)
    assert queue.wait(WAIT)
    assert (deliveries.ids, queue.dropped) == (["first", "0", "1"], 98)
    assert [event.error for event in events].count("Dropped") == 98
    assert {event.hook for event in events} == {"post-create"}
    assert 1 <= len(caplog.records) <= 8
    assert ID not in caplog.text


def test_the_queue_survives_failures_and_starts_again(caplog: pytest.LogCaptureFixture) -> None:
    deliveries = Deliveries()
    queue = DeliveryQueue(deliveries)
    deliveries.may_deliver.release(20)
    for id in ("fails", "bug", "fine"):
        queue.put(call(HookEvent.POST_CREATE, id), None)
        assert queue.wait(WAIT)
    assert deliveries.ids == ["fails", "bug", "fine"]
    assert "LookupError" in caplog.text
    assert ID not in caplog.text


def test_a_document_is_delivered_after_the_next_one_if_no_thread_could_be_started(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    deliveries = Deliveries()
    queue = DeliveryQueue(deliveries)
    deliveries.may_deliver.release(20)

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        queue.put(call(HookEvent.POST_CREATE, "first"), None)
        assert not queue.wait(0)
    assert "can't start new thread" in caplog.text
    queue.put(call(HookEvent.POST_CREATE, "second"), None)
    assert queue.wait(WAIT)
    assert deliveries.ids == ["first", "second"]


# -- stopping --------------------------------------------------------------------------------------


@pytest.mark.parametrize("over", ["wsgi", "http"])
def test_the_endpoint_stops_an_upload_while_it_is_received(over: str) -> None:
    handler = Handler()
    with remote_app(over, handler, {"TUS_PROGRESS_HOOKS_INTERVAL": "0"}) as app:
        send = send_in_process(app)
        tus = {"Tus-Resumable": "1.0.0"}
        fields = {**tus, "Upload-Length": "9999", "Upload-Metadata": metadata("stop.txt")}
        path = send("POST", "/files", fields, b"").fields["location"].partition("localhost")[2]
        type = "application/offset+octet-stream"
        offset, status, body = 0, 204, b""
        while status == 204:  # over HTTP, until the response has arrived
            append = {**tus, "Upload-Offset": str(offset), "Content-Type": type}
            status, _, body = send("PATCH", path, append, b"x")
            offset += 1
            time.sleep(0.01)
        assert (status, body) == (403, b"stopped")
        assert send("HEAD", path, tus, b"").status in (404, 410)
        while "post-terminate" not in handler.events():
            assert handler.answered.acquire(timeout=WAIT)
        assert handler.of("pre-finish") == []


# -- settings --------------------------------------------------------------------------------------

SECRET = f"whsec_{b64encode(b'x' * 32).decode()}"


def settings(**given: str) -> Settings:
    return Settings.from_environ({"TUS_S3_BUCKET": "b", **given})


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/h?token=secret",
        "http://127.0.0.1:8000/h",
        "http://[::1]/",
        "http://localhost",
    ],
)
def test_encrypted_and_local_endpoints_are_accepted(url: str) -> None:
    assert settings(TUS_HOOKS_HTTP=url).hooks_http == url


def test_plain_http_to_another_host_has_to_be_allowed() -> None:
    for url in ("http://example.com/", "http://10.0.0.1/", "http://127.0.0.1.example.com/"):
        with pytest.raises(SettingsError, match="TUS_HOOKS_HTTP_INSECURE"):
            settings(TUS_HOOKS_HTTP=url)
        settings(TUS_HOOKS_HTTP=url, TUS_HOOKS_HTTP_INSECURE="true")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("TUS_HOOKS_HTTP", "https://user:secret@example.com/"),
        ("TUS_HOOKS_HTTP", "https://example.com/#secret"),
        ("TUS_HOOKS_HTTP", "ftp://secret.example.com/"),
        ("TUS_HOOKS_HTTP", "https://example.com/a secret"),
        ("TUS_HOOKS_HTTP", "https://example.com:secret/"),
        ("TUS_HOOKS_HTTP_SECRET", "whsec_secret"),
        ("TUS_HOOKS_HTTP_SECRET", SECRET.removeprefix("whsec_") + "secret"),
        ("TUS_HOOKS_HTTP_SECRET", "secret" * 10),
        ("TUS_HOOKS_HTTP_FORWARD_HEADERS", "Host"),
        ("TUS_HOOKS_HTTP_FORWARD_HEADERS", "Webhook-Id"),
        ("TUS_HOOKS_HTTP_FORWARD_HEADERS", "a b"),
        ("TUS_HOOKS_ENABLED_EVENTS", "pre-creation"),
        ("TUS_HOOKS_HTTP_RETRY", "0"),
    ],
)
def test_an_invalid_setting_is_refused_without_showing_a_secret(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(**{name: text})
    assert name in str(caught.value)
    assert "secret" not in str(caught.value)


def test_both_carriers_exclude_each_other() -> None:
    with pytest.raises(SettingsError, match="TUS_HOOKS_WSGI is set too"):
        settings(TUS_HOOKS_WSGI="/hooks", TUS_HOOKS_HTTP="https://example.com")


def test_the_table_of_settings_hides_the_secret_and_the_query() -> None:
    url = "https://example.com/hooks?token=secret-token"
    rows = table(settings(TUS_HOOKS_HTTP=url, TUS_HOOKS_HTTP_SECRET=SECRET))
    values = {row.variable: row.value for row in rows}
    assert values["TUS_HOOKS_HTTP"] == "https://example.com/hooks?***"
    assert "whsec" not in values["TUS_HOOKS_HTTP_SECRET"]
    assert b64decode(SECRET.removeprefix("whsec_")) == parse_secret(SECRET)
