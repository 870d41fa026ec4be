"""The compact descriptions of services say the same as botocore's."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest
from botocore.loaders import create_loader
from botocore.model import ServiceModel
from botocore.regions import EndpointResolver

from tus_wsgi.stores.s3.aws_descriptions import SERVICES, CompactFileLoader


def load(name: str, *, is_compact: bool) -> Any:
    loader = create_loader()
    if is_compact:
        loader.file_loader = CompactFileLoader()
    return loader.load_data(name)


@pytest.mark.parametrize("kind", ["service-2", "endpoint-rule-set-1"])
def test_the_description_of_s3_is_the_same(kind: str) -> None:
    name = f"s3/2006-03-01/{kind}"
    assert load(name, is_compact=True) == load(name, is_compact=False)


def test_the_order_of_members_is_kept() -> None:
    """S3's XML has an order."""
    name = "s3/2006-03-01/service-2"
    models = [ServiceModel(load(name, is_compact=compact), "s3") for compact in (True, False)]
    compact, full = (
        {shape: list(getattr(model.shape_for(shape), "members", ())) for shape in model.shape_names}
        for model in models
    )
    assert compact == full


def test_the_endpoints_of_the_services_in_use_are_the_same() -> None:
    compact = EndpointResolver(load("endpoints", is_compact=True))
    full = EndpointResolver(load("endpoints", is_compact=False))
    regions = [
        region
        for partition in full.get_available_partitions()
        for region in full.get_available_endpoints("sts", partition, allow_non_regional=True)
    ]
    assert len(regions) > 20
    for service in SERVICES:
        for region in [*regions, "eu-new-9"]:
            expected = full.construct_endpoint(service, region)
            assert compact.construct_endpoint(service, region) == expected


def test_another_service_gets_the_default_endpoint_of_its_partition() -> None:
    session = botocore.session.get_session()
    session.get_component("data_loader").file_loader = CompactFileLoader()
    client = session.create_client("sqs", region_name="eu-central-1")
    assert client.meta.endpoint_url == "https://sqs.eu-central-1.amazonaws.com"


def test_a_missing_file_is_reported_as_missing() -> None:
    loader = CompactFileLoader()
    assert not loader.exists("/no/such/file")
    assert loader.load_file("/no/such/file") is None
