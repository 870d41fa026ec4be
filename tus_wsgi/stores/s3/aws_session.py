"""Create boto3 sessions that share botocore's description of S3, which takes 4 MiB.

gunicorn's master loads the description before it forks the workers, which then share its memory.
A description has no state and no connections.
"""

from __future__ import annotations

import functools
from contextlib import suppress
from datetime import datetime

import boto3.s3.inject  # noqa: F401 - boto3 imports it for the first client
import botocore.session
from boto3.session import Session
from botocore.exceptions import BotoCoreError
from botocore.loaders import Loader, create_loader
from botocore.utils import parse_timestamp

from tus_wsgi.domain.addressing import AddressingStyle
from tus_wsgi.stores.s3.aws_descriptions import CompactFileLoader


def new_session() -> Session:
    """Return a new session.

    Raises:
        BotoCoreError: the configuration of AWS is invalid.
    """
    core = botocore.session.get_session()
    loader = _loader(core.get_config_variable("data_path"))
    core.register_component("data_loader", loader)
    parsers = core.get_component("response_parser_factory")
    parsers.set_parser_defaults(timestamp_parser=_parse_time)
    session = Session(botocore_session=core)
    # Each session adds boto3's directory to the shared loader. Keep each path once.
    loader.search_paths[:] = dict.fromkeys(loader.search_paths)
    return session


def load_description() -> None:
    """Load the description of S3 that sessions of this process and its children use.

    Best effort: if the configuration of AWS is invalid, the first session reports it.
    """
    with suppress(BotoCoreError):
        loader = _loader(botocore.session.get_session().get_config_variable("data_path"))
        # "endpoints" is first: almost nothing of it is kept, and the other files use the memory
        # that it frees.
        for name in ("endpoints", "partitions", "sdk-default-configuration"):
            loader.load_data_with_path(name)
        for kind in ("service-2", "endpoint-rule-set-1"):
            loader.load_service_model("s3", kind)


def configured_addressing_style() -> AddressingStyle | None:
    """Return the `addressing_style` of the AWS configuration file; None if it is `auto` or not set.

    https://docs.aws.amazon.com/cli/latest/topic/s3-config.html

    Raises:
        BotoCoreError: the configuration of AWS is invalid.
    """
    configured = botocore.session.get_session().get_config_variable("s3")
    style = configured.get("addressing_style") if isinstance(configured, dict) else None
    return AddressingStyle(style) if style in set(AddressingStyle) else None


def _parse_time(text: str) -> datetime:
    """Return the time in a response.

    botocore spends two thirds of the time of a listing on the times of its entries, because its
    parser knows many formats.

    Raises:
        ValueError: the text is no time.
    """
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return parse_timestamp(text)
    return time if time.tzinfo is not None else parse_timestamp(text)


@functools.cache
def _loader(data_path: str | None) -> Loader:
    """Return the shared loader. `data_path` has further descriptions (AWS_DATA_PATH), if any."""
    loader = create_loader(data_path)
    loader.file_loader = CompactFileLoader()
    return loader
