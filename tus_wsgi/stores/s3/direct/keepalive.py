"""TCP keep-alive for connections to S3, DynamoDB and hook endpoints, which stay open while idle.

A NAT or a firewall drops an idle connection silently: the NAT gateways of AWS after 350 seconds,
others earlier. The next call on it gets no answer, and waits until its timeout. Linux sends its
first probe after two hours by default, which is too late.

https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-troubleshooting.html
"""

from __future__ import annotations

import socket

IDLE_SECONDS = 30
"""Seconds without traffic after which the kernel sends a probe. Few NATs drop connections earlier.
"""

PROBE_INTERVAL = 5
"""Seconds between probes."""

MAX_PROBES = 3
"""Unanswered probes after which the kernel closes the connection."""

_VALUES = {
    "TCP_KEEPIDLE": IDLE_SECONDS,
    "TCP_KEEPINTVL": PROBE_INTERVAL,
    "TCP_KEEPCNT": MAX_PROBES,
}


def keepalive_options() -> list[tuple[int, int, int]]:
    """Return the arguments of `setsockopt`: level, option and value. Some systems lack options."""
    names = {name: getattr(socket, name, None) for name in _VALUES}
    timing = [
        (socket.IPPROTO_TCP, option, _VALUES[name])
        for name, option in names.items()
        if option is not None
    ]
    return [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), *timing]


def keep_connections_alive(client: object) -> None:
    """Apply the options to the connections that a boto3 client opens from now on.

    If this version of botocore has a different HTTP client, the system's timing stays in effect.

    Args:
        client: a boto3 client, for any service.
    """
    endpoint = getattr(client, "_endpoint", None)
    options = getattr(getattr(endpoint, "http_session", None), "_socket_options", None)
    if isinstance(options, list):  # the pools that the client opens refer to this list
        options.extend(option for option in keepalive_options() if option not in options)
