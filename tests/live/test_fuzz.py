"""A thousand requests that no client should send, over bare sockets: nothing breaks or changes."""

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
from tests.live.fuzz import Probe, Targets, probes

pytestmark = pytest.mark.live

COUNT = 1000

OFFSET = PART_SIZE + 12_345
"""A part and a tail."""

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) .*?\r\n\r\n", re.DOTALL)


def answers(port: int, probe: Probe) -> list[tuple[int, bool]]:
    """Send it, and read until the server closes: statuses, and whether they are the library's.

    Raises:
        TimeoutError: the server neither answers nor closes.
    """
    with Connection(port, timeout=20) as connection:
        try:
            connection.send(probe.data)
            connection.half_close()
        except OSError:
            pass  # It was refused before its end.
        received = connection.read_to_end()
    heads = _STATUS.finditer(received)
    return [(int(head[1]), b"\r\nTus-Resumable: " in head[0]) for head in heads]


@pytest.mark.timeout(200)
def test_a_thousand_odd_requests_change_nothing(new_deployment: Callable[..., Deployment]) -> None:
    """protocol 1.12. No 5xx; 501 and 505 may come from gunicorn itself, which refuses transfer
    codings and versions that it does not know before the library sees them.
    """
    # pytest-randomly seeds this one, and `-p randomly -p "randomly_seed=..."` repeats it.
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

    tried = probes(COUNT, Targets(paths, OFFSET), random.Random(seed))
    with ThreadPoolExecutor(6) as threads:
        answered = list(threads.map(lambda probe: answers(server.port, probe), tried))

    statuses = Counter(status for one in answered for status, _ in one)
    print(dict(sorted(statuses.items())), "closed without a word:", answered.count([]))
    bad = [
        (probe, one)
        for probe, one in zip(tried, answered, strict=True)
        for status, is_ours in one
        if status >= 500 and (is_ours or status not in {501, 505})
    ]
    assert bad == [], f"seed {seed}"
    created = [(p, one) for p, one in zip(tried, answered, strict=True) if (201, True) in one]
    assert created == [], f"seed {seed}"
    assert sum(is_ours for one in answered for _, is_ours in one) > COUNT / 3, (
        "too few came through"
    )
    assert [tus.offset(path) for path in paths] == [OFFSET] * 3, f"seed {seed}"
    assert deployment.list_contents() == before, f"seed {seed}"
    assert deployment.read_object(finished) == body
    assert server.logged_errors() == [], server.read_log()
    # The uploads are as good as before.
    rest = some_bytes(2 * PART_SIZE)[OFFSET:]
    tus.append(unfinished, OFFSET, rest)
    assert deployment.read_object(unfinished) == body + rest
