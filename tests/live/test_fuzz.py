"""A thousand invalid requests over plain sockets: no server error, and no upload changes."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness.clients.http import Connection
from tests.harness.clients.tus import TusClient
from tests.harness.data import some_bytes
from tests.harness.servers.deployment import PART_SIZE, Deployment
from tests.live.fuzz import InvalidRequest, Targets, invalid_requests

pytestmark = pytest.mark.live

COUNT = 1000

OFFSET = PART_SIZE + 12_345
"""The offset of every upload: a part and a tail."""

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) .*?\r\n\r\n", re.DOTALL)


def send(port: int, request: InvalidRequest) -> list[tuple[int, bool]]:
    """Send a request and read until the server closes the connection.

    Returns:
        The status of each response, and whether tus_wsgi sent it rather than gunicorn.

    Raises:
        TimeoutError: the server neither responded nor closed the connection.
    """
    with Connection(port, timeout=20) as connection:
        try:
            connection.send(request.data)
            connection.half_close()
        except OSError:
            pass  # The server rejected the request before its end.
        received = connection.read_to_end()
    heads = _STATUS.finditer(received)
    return [(int(head[1]), b"\r\nTus-Resumable: " in head[0]) for head in heads]


@pytest.mark.timeout(200)
def test_a_thousand_invalid_requests_change_nothing(
    new_deployment: Callable[..., Deployment],
) -> None:
    """protocol 1.12: no 5xx from tus_wsgi.

    gunicorn itself may answer 501 or 505: it rejects transfer codings and versions that it does not
    know before tus_wsgi sees the request.
    """
    # pytest-randomly sets this seed. `-p "randomly_seed=..."` repeats a run.
    seed = random.getrandbits(32)
    print(f"seed {seed}")
    deployment = new_deployment()
    server = deployment.start(workers=2)
    tus = TusClient(server.port)
    body = some_bytes(OFFSET)
    unfinished, deferred = tus.create(2 * PART_SIZE), tus.create(None)
    for path in (unfinished, deferred):
        tus.append(path, 0, body)
    finished = tus.upload(body)
    paths = [unfinished, deferred, finished]
    before = deployment.list_contents()

    requests = invalid_requests(COUNT, Targets(paths, OFFSET), random.Random(seed))
    with ThreadPoolExecutor(6) as threads:
        responses = list(threads.map(lambda request: send(server.port, request), requests))

    all_responses = [response for several in responses for response in several]
    statuses = Counter(status for status, _ in all_responses)
    print(dict(sorted(statuses.items())), "closed without a response:", responses.count([]))
    server_errors = [
        (request, several)
        for request, several in zip(requests, responses, strict=True)
        for status, by_tus_wsgi in several
        if status >= 500 and (by_tus_wsgi or status not in {501, 505})
    ]
    assert server_errors == [], f"seed {seed}"
    created = [
        (request, several)
        for request, several in zip(requests, responses, strict=True)
        if (201, True) in several
    ]
    assert created == [], f"seed {seed}"
    from_tus_wsgi = [status for status, by_tus_wsgi in all_responses if by_tus_wsgi]
    assert len(from_tus_wsgi) > COUNT / 3, "too few reached tus_wsgi"
    assert [tus.offset(path) for path in paths] == [OFFSET] * 3, f"seed {seed}"
    assert deployment.list_contents() == before, f"seed {seed}"
    assert deployment.read_object(finished) == body
    assert server.logged_errors() == [], server.read_log()
    # The unfinished upload can still be completed.
    rest = some_bytes(2 * PART_SIZE)[OFFSET:]
    tus.append(unfinished, OFFSET, rest)
    assert deployment.read_object(unfinished) == body + rest
